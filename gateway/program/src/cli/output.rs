//! What a command says: results on standard output, notes and errors on standard error, for people or as JSON.
//!
//! Owns how it looks.

use std::ffi::OsString;
use std::fmt::Display;
use std::sync::OnceLock;

use gateway::log;
use serde::Serialize;
use serde_json::{Value, json};

use crate::stdout::line;

/// Where a command's words go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    /// Whether a program reads them.
    pub(super) json: bool,
}

impl Output {
    /// A result: the object for programs, the text for people.
    pub(super) fn result(self, object: &impl Serialize, text: impl FnOnce() -> String) -> anyhow::Result<()> {
        if self.json { line(&tame_json(&serde_json::to_string(object)?)) } else { line(&text()) }
    }

    /// Something worth knowing that is not the result.
    pub(super) fn note(self, text: impl Display) {
        let text = with_data_dir(&text.to_string());
        log::say(&if self.json {
            format!("{}\n", tame_json(&json!({ "note": text }).to_string()))
        } else {
            format!("mesh-gateway: {}\n", tame_lines(&text))
        });
    }

    /// What did not work: the object for programs, the text for people.
    pub(super) fn error(self, object: impl FnOnce() -> Value, text: &str) {
        log::say(&if self.json {
            format!("{}\n", tame_json(&object().to_string()))
        } else {
            format!("mesh-gateway: {}\n", tame_lines(text))
        });
    }
}

/// What `--data-dir` says on the command line, as a shell would read it again.
static DATA_DIR: OnceLock<String> = OnceLock::new();

/// Keeps what `--data-dir` says, so that commands that texts name can be typed as they stand there.
pub(super) fn remember_data_dir(arguments: &[OsString]) {
    let texts =
        arguments.iter().take_while(|argument| *argument != "--").filter_map(|argument| argument.to_str());
    let texts: Vec<&str> = texts.collect();
    let at = texts.iter().position(|text| *text == "--data-dir");
    let named = at.and_then(|at| texts.get(at + 1).copied());
    let named = named.or_else(|| texts.iter().find_map(|text| text.strip_prefix("--data-dir=")));
    if let Some(dir) = named {
        let plain = dir.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c));
        let quoted = if plain { dir.to_owned() } else { format!("'{}'", dir.replace('\'', "'\\''")) };
        // One command line a process.
        let _ = DATA_DIR.set(quoted);
    }
}

pub(super) fn with_data_dir(text: &str) -> String {
    DATA_DIR.get().map_or_else(|| text.to_owned(), |dir| repeated(text, dir))
}

/// The text, with `--data-dir` in every command in it that goes by a data directory.
fn repeated(text: &str, dir: &str) -> String {
    const COMMAND: &str = "`mesh-gateway";
    const OF_DATA: [&str; 6] = ["", " --adapter", " init", " invite", " token", " config"];
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(COMMAND) {
        let (before, command) = rest.split_at(at + COMMAND.len());
        out.push_str(before);
        let Some(end) = command.find('`') else {
            rest = command;
            break;
        };
        let (words, behind) = command.split_at(end);
        out.push_str(words);
        let first = words.split(' ').nth(1).map_or_else(String::new, |first| format!(" {first}"));
        if OF_DATA.contains(&first.as_str()) && !words.contains("--data-dir") {
            out.push_str(&format!(" --data-dir {dir}"));
        }
        out.push('`');
        rest = &behind[1..];
    }
    out + rest
}

/// The error and what it comes from as one text, without saying anything twice: many of our errors repeat their source.
pub(super) fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Rows below a heading, each column as wide as it has to be. The last column is not filled up.
pub(super) fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([heading[column].len()]).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let show = |row: &[String; N]| {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    let lines: Vec<String> = [heading.map(str::to_owned)].iter().chain(rows).map(show).collect();
    lines.join("\n")
}

/// Names and values, one pair a line.
pub(super) fn pairs(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let lines: Vec<String> = pairs.iter().map(|(name, value)| format!("{name:width$}  {value}")).collect();
    lines.join("\n")
}

/// A text of somebody else that keeps to its line and to its place on a terminal: what would move or turn what is shown is
/// written out. Everything that came from others and is shown to people goes through here.
pub(super) fn tame(text: &str) -> String {
    tamed(text, |c, tame| tame.extend(c.escape_default()))
}

/// The same line by line, for texts of ours that are several lines and have words of others in them.
pub(super) fn tame_lines(text: &str) -> String {
    text.split('\n').map(tame).collect::<Vec<_>>().join("\n")
}

/// JSON that is as harmless: it escapes but the oldest of control characters. Such a character is in a string there.
fn tame_json(json: &str) -> String {
    tamed(json, |c, tame| tame.push_str(&format!("\\u{:04x}", u32::from(c))))
}

fn tamed(text: &str, write_out: impl Fn(char, &mut String)) -> String {
    let mut tame = String::with_capacity(text.len());
    for c in text.chars() {
        // Marks that turn the direction of writing, and the two separators that are line ends to some.
        let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || turns {
            write_out(c, &mut tame);
        } else {
            tame.push(c);
        }
    }
    tame
}

/// The text with nothing in it that may be a network's key: no invitation, and no hexadecimal number as long as a key.
pub(super) fn without_keys(text: &str) -> String {
    without_keys_but(text, &[])
}

/// The same, where these are known to be none.
pub(super) fn without_keys_but(text: &str, known: &[String]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let word = rest.find(|c: char| !is_of_key(c)).unwrap_or(rest.len());
        let (candidate, behind) = rest.split_at(word);
        let digits = candidate.len() >= 32
            && candidate.bytes().all(|byte| byte.is_ascii_hexdigit())
            && known.iter().all(|known| known != candidate);
        let invitation = out.ends_with("mesh1:") && candidate.len() > 1;
        out.push_str(if digits || invitation { "…" } else { candidate });
        let next = behind.chars().next();
        out.extend(next);
        rest = &behind[next.map_or(0, char::len_utf8)..];
    }
    out
}

/// What invitations and keys are written with.
fn is_of_key(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

/// An API object without the number that ties it to a question nobody sees.
pub(super) fn without_ref(object: &impl Serialize) -> anyhow::Result<Value> {
    let mut value = serde_json::to_value(object)?;
    if let Some(fields) = value.as_object_mut() {
        fields.remove("ref");
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use std::io;

    use anyhow::Context;

    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_have_to_be() {
        let rows = [["0x0001".to_owned(), "1".to_owned()], ["x".to_owned(), "234".to_owned()]];
        assert_eq!(table(["NODE", "N"], &rows), "NODE    N\n0x0001  1\nx       234");
    }

    #[test]
    fn an_error_says_nothing_twice() {
        let source = io::Error::other("disk on fire");
        let error =
            anyhow::Error::new(source).context("reading /x: disk on fire; put it out").context("starting");
        assert_eq!(chain(&error), "starting: reading /x: disk on fire; put it out");
        let error = Err::<(), _>(io::Error::other("no")).context("asking").unwrap_err();
        assert_eq!(chain(&error), "asking: no");
    }

    #[test]
    fn no_key_is_repeated_wherever_it_stands() {
        let key = "000102030405060708090a0b0c0d0e0f";
        assert_eq!(
            without_keys(&format!("unexpected argument '{key}' found")),
            "unexpected argument '…' found"
        );
        assert_eq!(without_keys(&format!("reading ./{key}0.txt: é")), "reading ./….txt: é");
        assert_eq!(without_keys("no file mesh1:AQ-mG_x9: gone"), "no file mesh1:…: gone");
        for harmless in ["mesh1: is how it begins", "0x0102 has 16 hops", ""] {
            assert_eq!(without_keys(harmless), harmless);
        }
    }

    #[test]
    fn a_text_cannot_leave_its_line() {
        assert_eq!(tame("a\nb\u{1b}[2Jé"), "a\\nb\\u{1b}[2Jé");
        assert_eq!(tame("\u{9b}2J\u{7f}\r"), "\\u{9b}2J\\u{7f}\\r");
        assert_eq!(tame("\u{202e}drow\u{2028}"), "\\u{202e}drow\\u{2028}");
        assert_eq!(tame_lines("one\ntwo\u{1b}"), "one\ntwo\\u{1b}");
        let json = serde_json::to_string("\u{9b}\u{7f}\u{202e}\u{1b}").unwrap();
        assert_eq!(tame_json(&json), r#""\u009b\u007f\u202e\u001b""#);
        assert_eq!(serde_json::from_str::<String>(&tame_json(&json)).unwrap(), "\u{9b}\u{7f}\u{202e}\u{1b}");
    }

    #[test]
    fn a_command_in_a_text_goes_to_the_directory_that_was_named() {
        for (text, there) in [
            ("run `mesh-gateway init` first", "run `mesh-gateway init --data-dir /d` first"),
            (
                "`mesh-gateway` and `mesh-gateway --adapter hci0`",
                "`mesh-gateway --data-dir /d` and `mesh-gateway --adapter hci0 --data-dir /d`",
            ),
            ("`mesh-gateway token remove x`", "`mesh-gateway token remove x --data-dir /d`"),
        ] {
            assert_eq!(repeated(text, "/d"), there);
        }
        for same in [
            "`mesh-gateway status`, `mesh-gateway adapters`",
            "an open `mesh-gateway init",
            "none",
            "`mesh-gateway init --data-dir /e`",
        ] {
            assert_eq!(repeated(same, "/d"), same);
        }
    }
}
