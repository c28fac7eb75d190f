//! The documentation says what the program does: commands parse, links lead somewhere, bytes and constants are those
//! of the code, and the agents' transcript is what a gateway answers.
#![cfg(feature = "sim")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{cable, gateway};
use mesh_agent::api::schema;
use mesh_protocol::frame::{Frame, Kind, encode};
use mesh_protocol::{Address, EpochKeys, MAX_FRAME, Mic, NetKey, Priority};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// How long an answer may take before the transcript is wrong: far longer than any takes.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every page, by its path from the root.
fn pages() -> BTreeMap<String, String> {
    let mut paths: Vec<String> = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(str::to_owned).into();
    for folder in ["docs", "docs/decisions"] {
        let entries = fs::read_dir(root().join(folder)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        paths.extend(names.filter(|name| name.ends_with(".md")).map(|name| format!("{folder}/{name}")));
    }
    paths.into_iter().map(|path| (path.clone(), read(&path))).collect()
}

/// The fenced blocks of a page: language and content.
fn blocks(page: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in page.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(language), None) => open = Some((language.trim().to_owned(), String::new())),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some((_, content))) => {
                content.push_str(line);
                content.push('\n');
            }
            (None, None) => {}
        }
    }
    assert_eq!(open, None, "a fenced block has no end");
    blocks
}

fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let start = page.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no heading {heading}")) + 1;
    let level = heading.split(' ').next().unwrap();
    let rest = &page[start + heading.len()..];
    &rest[..rest.find(&format!("\n{level} ")).unwrap_or(rest.len())]
}

/// The rows of every table of a text, as cells without their backticks.
fn rows(text: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    text.lines().filter(|line| line.starts_with("| ")).map(cells).collect()
}

// ---- README ----

#[test]
fn the_quick_start_is_two_commands() {
    let readme = read("README.md");
    let shell: Vec<_> = blocks(section(&readme, "## Quick start"))
        .into_iter()
        .filter(|(language, _)| language == "sh")
        .map(|(_, content)| content)
        .collect();
    assert_eq!(shell, ["cargo run --release -p mesh-gateway -- demo\n", "cargo test --workspace\n"]);
}

#[test]
fn every_command_has_a_line_in_the_readme() {
    let readme = read("README.md");
    let table: Vec<String> =
        rows(section(&readme, "## Commands")).into_iter().map(|row| row[0].clone()).collect();
    let help = Command::new(env!("CARGO_BIN_EXE_mesh-gateway")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let listed = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let commands = listed.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    for command in
        commands.filter_map(|line| line.split_whitespace().next()).filter(|command| *command != "help")
    {
        let named = |row: &String| row.trim_matches('`').split_whitespace().nth(1) == Some(command);
        assert!(table.iter().any(named), "README.md, Commands: no line for {command}");
    }
}

#[test]
fn figures_on_the_pages_are_those_that_commands_wrote() {
    let check = Command::new("python3").args(["tools/figures", "check"]).current_dir(root()).output();
    let output = match check {
        Ok(output) => output,
        // `./ci.sh figures` needs it.
        Err(error) => return eprintln!("left out, as there is no python3: {error}"),
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

// ---- command lines and links ----

/// One command line as a shell would cut it: words, quotes, up to a pipe, a redirection or a comment.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(end), c) if c == end => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, '|' | '<' | '>' | '#' | '&' | ';') => break,
            (None, ' ') => words.push(String::new()),
            (_, c) => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn every_command_line_shown_can_be_typed() {
    let mut seen = 0;
    for (path, page) in pages() {
        for (_, content) in
            blocks(&page).iter().filter(|(language, _)| ["sh", "console"].contains(&language.as_str()))
        {
            for line in content.lines() {
                let Some(at) = line.find("mesh-gateway ") else {
                    continue;
                };
                let before = line[..at].trim_start_matches("$ ").trim();
                if !(before.is_empty() || before.ends_with('/') || before.ends_with('|')) {
                    continue;
                }
                let mut arguments = words(&line[at + "mesh-gateway ".len()..]);
                // Commands, flags and values before it are checked, and nothing is carried out; behind `--` it would be a body.
                let end = arguments.iter().position(|word| word == "--").unwrap_or(arguments.len());
                arguments.insert(end, "--help".into());
                let output =
                    Command::new(env!("CARGO_BIN_EXE_mesh-gateway")).args(&arguments).output().unwrap();
                let told = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(output.status.success(), "{path}: {line}\n{told}");
                seen += 1;
            }
        }
    }
    assert!(seen >= 10, "only {seen} command lines were found");
}

/// What GitHub makes of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || ['-', '_'].contains(c)).collect()
}

#[test]
fn every_link_between_pages_leads_somewhere() {
    let pages = pages();
    for (path, page) in &pages {
        for link in page.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if link.starts_with("http") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                root().join(path)
            } else {
                root().join(path).parent().unwrap().join(file)
            };
            assert!(target.exists(), "{path}: the link {link} leads nowhere");
            if !heading.is_empty() {
                let text = fs::read_to_string(&target).unwrap();
                let found = text
                    .lines()
                    .filter(|line| line.starts_with('#'))
                    .map(|line| anchor(line.trim_start_matches('#')));
                assert!(found.into_iter().any(|known| known == heading), "{path}: no heading for {link}");
            }
        }
    }
}

#[test]
fn every_file_named_is_there() {
    let sources =
        ["", "protocol/src", "ble-bearer/src", "firmware-sim/src", "gateway/src", "gateway/src/engine"];
    for (path, page) in pages() {
        for word in page.split('`').skip(1).step_by(2) {
            let is_file = word.ends_with(".rs") && !word.contains(['*', '{', ' ']);
            let there = || sources.iter().any(|folder| root().join(folder).join(word).exists());
            assert!(!is_file || there(), "{path}: there is no file {word}");
        }
    }
}

// ---- architecture.md ----

/// More terms than this nobody learns.
const TERMS_MOST: usize = 60;

#[test]
fn the_glossary_is_short_sorted_and_leads_to_the_code() {
    let page = read("docs/architecture.md");
    let terms: Vec<_> = rows(section(&page, "## Glossary")).into_iter().skip(1).collect();
    assert!((1..=TERMS_MOST).contains(&terms.len()), "{} terms", terms.len());
    for row in &terms {
        let [term, _, path] = row.as_slice() else {
            panic!("not a term, its meaning and its place: {row:?}");
        };
        let path = path.trim_matches('`');
        assert!(!path.is_empty() && root().join(path).exists(), "{term}: there is no {path}");
    }
    for pair in terms.windows(2) {
        let (before, after) = (pair[0][0].to_lowercase(), pair[1][0].to_lowercase());
        assert!(before < after, "{after} belongs before {before}");
    }
}

// ---- decisions ----

#[test]
fn every_decision_has_the_same_form_and_a_line_in_the_list() {
    let list = read("docs/decisions/README.md");
    for (path, page) in pages() {
        let Some(file) = path
            .strip_prefix("docs/decisions/")
            .filter(|file| file.starts_with(|c: char| c.is_ascii_digit()))
        else {
            continue;
        };
        let number: u32 = file[..4].parse().unwrap();
        assert!(page.starts_with(&format!("# {number}. ")), "{path}: the first line is not `# {number}. …`");
        let parts: Vec<_> = page
            .lines()
            .filter_map(|line| line.strip_prefix("**")?.split_once(".**").map(|(part, _)| part))
            .collect();
        assert_eq!(parts, ["Context", "Decision", "Consequences", "What would change our mind"], "{path}");
        assert!(list.contains(&format!("]({file})")), "docs/decisions/README.md: no line for {file}");
    }
}

// ---- protocol.md ----

#[test]
fn the_golden_frame_is_what_the_code_seals() {
    let page = read("docs/protocol.md");
    let golden = section(&page, "### Golden frame");
    let keys = EpochKeys::derive(&NetKey::new(std::array::from_fn(|n| n as u8)), 7);
    let frame = Frame {
        ttl: 7,
        ttl0: 7,
        seq: 1,
        src: Address::new(0x0102),
        dst: Address::new(0x0001),
        next: None,
        priority: Priority::High,
        kind: Kind::Single,
        mic: Mic::Short,
        body: b"hello, mesh!!",
    };
    let mut bytes = [0; MAX_FRAME];
    let len = encode(&frame, &keys, &mut bytes).unwrap();
    let hex: String = bytes[..len].iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(golden.contains(&format!("frame  {hex}\n")), "the code gives {hex}");
    assert_eq!(golden.matches(&hex).count(), 2, "once as bytes and once in the command");
}

/// The files whose every constant must stand in the table: those that are tuned.
const TUNED: [&str; 27] = [
    "air_queue.rs",
    "air_queue/eviction.rs",
    "backbone.rs",
    "budget.rs",
    "contexts.rs",
    "control_queue.rs",
    "discovery.rs",
    "finished.rs",
    "hellos.rs",
    "hop_acks.rs",
    "hops.rs",
    "neighbours.rs",
    "node/custody.rs",
    "node/egress.rs",
    "node/forwarding.rs",
    "node/relay.rs",
    "node/routing.rs",
    "outbox/many.rs",
    "outbox/mod.rs",
    "outbox/slot.rs",
    "paths.rs",
    "reassembly.rs",
    "replay.rs",
    "routes/mod.rs",
    "seen.rs",
    "shares.rs",
    "tallies.rs",
];

/// A constant's value, or a function's body, as the table writes it.
fn in_code(source: &str, name: &str) -> Option<String> {
    if let Some(function) = name.strip_suffix("()") {
        let start = source.find(&format!("const fn {function}("))?;
        let body = source[start..].split_once("{\n")?.1.split_once("\n}")?.0;
        return Some(format!("`{}`", body.split_whitespace().collect::<Vec<_>>().join(" ")));
    }
    let start = source.find(&format!("const {name}: "))?;
    let value = source[start..].split_once('=')?.1.split_once(';')?.0;
    let value = value.split_whitespace().collect::<Vec<_>>().join(" ").replace("Duration::ZERO", "0");
    let value = in_units(&in_units(&value, "Duration::from_millis(", " ms"), "Duration::from_secs(", " s");
    let value =
        value.strip_prefix("PerClass::new(").and_then(|value| value.strip_suffix(')')).unwrap_or(&value);
    Some(value.trim_matches(['[', ']', ' ']).trim_end_matches(',').to_owned())
}

/// `from_millis(1_500)` as `1500 ms`.
fn in_units(value: &str, call: &str, unit: &str) -> String {
    let mut parts = value.split(call);
    let mut text = parts.next().unwrap().to_owned();
    for part in parts {
        let (number, rest) = part.split_once(')').unwrap();
        text += &format!("{}{unit}{rest}", number.replace('_', ""));
    }
    text
}

#[test]
fn the_table_of_constants_is_the_code() {
    let page = read("docs/protocol.md");
    let table: Vec<_> = rows(section(&page, "## Constants")).into_iter().skip(1).collect();
    let mut wrong = Vec::new();
    for row in &table {
        let (name, file) = (row[0].trim_matches('`'), row[2].trim_matches('`'));
        let source = read(&format!("protocol/src/{file}"));
        match in_code(&source, name) {
            Some(value) if value == row[1] => {}
            Some(value) => wrong.push(format!("| `{name}` | {value} | `{file}` |")),
            None => wrong.push(format!("{file} has no {name} any more: take its row out")),
        }
    }
    for file in TUNED {
        let source = read(&format!("protocol/src/{file}"));
        let before_tests = source.split("#[cfg(test)]").next().unwrap();
        let names = before_tests.lines().filter_map(|line| {
            let line = line.trim_start_matches("pub(crate) ");
            line.strip_prefix("const ")?.split_once(": ").map(|(name, _)| name)
        });
        for name in names.filter(|name| name.chars().all(|c| c.is_ascii_uppercase() || c == '_')) {
            let known =
                table.iter().any(|row| row[0] == format!("`{name}`") && row[2] == format!("`{file}`"));
            if !known {
                wrong.push(format!(
                    "| `{name}` | {} | `{file}` |",
                    in_code(&source, name).unwrap_or_default()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "docs/protocol.md, Constants: write these rows\n{}", wrong.join("\n"));
}

// ---- agents.md ----

/// Every word that a schema knows: names of fields, and words with a fixed meaning.
fn vocabulary(schema: &Value, words: &mut Vec<String>) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Object(properties)) = object.get("properties") {
                words.extend(properties.keys().cloned());
            }
            words.extend(object.get("const").and_then(Value::as_str).map(str::to_owned));
            if let Some(Value::Array(values)) = object.get("enum") {
                words.extend(values.iter().filter_map(Value::as_str).map(str::to_owned));
            }
            object.values().for_each(|value| vocabulary(value, words));
        }
        Value::Array(values) => values.iter().for_each(|value| vocabulary(value, words)),
        _ => {}
    }
}

#[test]
fn every_word_of_the_schema_is_explained() {
    let page = read("docs/agents.md");
    let mut words = Vec::new();
    vocabulary(&schema::schema(), &mut words);
    words.sort();
    words.dedup();
    assert!(words.len() > 80, "{words:?}");
    let outcomes: Vec<String> =
        rows(section(&page, "## What became of a message")).into_iter().map(|row| row[0].clone()).collect();
    let missing: Vec<_> = words
        .iter()
        .filter(|word| {
            !page.contains(&format!("`{word}`"))
                && !page.contains(&format!("\"{word}\""))
                && !outcomes.contains(word)
        })
        .collect();
    assert!(missing.is_empty(), "docs/agents.md does not explain {missing:?}");
}

/// One agent's connection, as someone with `nc` has it.
struct Session {
    lines: Lines<BufReader<OwnedReadHalf>>,
    writer: OwnedWriteHalf,
}

impl Session {
    async fn open(address: std::net::SocketAddr) -> Self {
        let (reader, writer) = TcpStream::connect(address).await.unwrap().into_split();
        Self { lines: BufReader::new(reader).lines(), writer }
    }

    async fn next(&mut self) -> Option<String> {
        tokio::time::timeout(PATIENCE, self.lines.next_line()).await.expect("no answer came").unwrap()
    }
}

/// Whether a line is what the transcript says; `…` stands for anything.
fn fits(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap()) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.split_once(part) {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[tokio::test]
async fn the_transcript_is_what_a_gateway_answers() {
    let page = read("docs/agents.md");
    let transcript =
        blocks(&page).into_iter().find(|(language, _)| language == "transcript").expect("a transcript").1;
    let (dir_a, dir_b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (end_a, end_b) = cable();
    let gateways = [gateway(1, end_a, dir_a.path()).await, gateway(2, end_b, dir_b.path()).await];

    let mut sessions: BTreeMap<String, Session> = BTreeMap::new();
    let mut who = String::new();
    for line in transcript.lines() {
        if let Some(header) = line.strip_prefix("# ") {
            let (name, node) = header.split_once(", 0x").expect("a line `# name, 0x0001`");
            who = name.to_owned();
            if !sessions.contains_key(name) {
                let node: usize = node.parse().unwrap();
                let session = Session::open(gateways[node - 1].tcp_address().unwrap()).await;
                sessions.insert(who.clone(), session);
            }
        } else if let Some(sent) = line.strip_prefix("> ") {
            let session = sessions.get_mut(&who).unwrap();
            session.writer.write_all(format!("{sent}\n").as_bytes()).await.unwrap();
        } else if let Some(pattern) = line.strip_prefix("< ") {
            let received = sessions.get_mut(&who).unwrap().next().await.unwrap_or_default();
            assert!(fits(pattern, &received), "{who}\nthe page:    {pattern}\nthe gateway: {received}");
            if received.contains(r#""ev":"goodbye""#) {
                let mut over = sessions.remove(&who).unwrap();
                assert_eq!(over.next().await, None, "something followed the goodbye");
            }
        } else {
            panic!("{line:?} is neither sent, nor received, nor the name of an agent");
        }
    }
    drop(sessions);
    for gateway in gateways {
        gateway.stop().await.unwrap();
    }
}
