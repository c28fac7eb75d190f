//! The settings file: its keys as typed, with the lines they stand in. What values mean, and which are allowed, is
//! decided when they are resolved.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use mesh_agent::api::codec::byte_order_mark;
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Origin, Problem, SettingsError, TEMPLATE};

/// A settings file as typed, and what of it cannot be taken: unknown keys, and values of a wrong type. Ranges are not yet checked.
#[derive(Debug, Default)]
pub struct FileSettings {
    pub(super) source: Source,
    pub(super) raw: Raw,
    /// Unknown keys and values of a wrong type; told together with values out of range.
    pub(super) problems: Vec<Problem>,
}

/// Where the text came from, to name lines and folders by.
#[derive(Debug, Default)]
pub(super) struct Source {
    path: PathBuf,
    /// The offset at which each line ends.
    line_ends: Vec<usize>,
}

impl Source {
    pub(super) fn at(&self, offset: usize) -> Origin {
        let line = self.line_ends.partition_point(|end| *end < offset) + 1;
        Origin::File { path: self.path.clone(), line }
    }

    /// A path from the file, seen from the file's folder.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }
}

/// A value and where it stands.
pub(super) type Value<T> = Option<Spanned<T>>;

// Integers are read as wide as TOML has them, so that a number out of range gets our words for the range.

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) gateway: RawGateway,
    pub(super) agents: RawAgents,
    pub(super) radio: RawRadio,
    pub(super) sim: RawSim,
    pub(super) mesh: RawMesh,
    pub(super) peer: Vec<RawPeer>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawGateway {
    pub(super) name: Value<String>,
    pub(super) data_dir: Value<String>,
    pub(super) log: Value<String>,
    pub(super) log_level: Value<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawAgents {
    pub(super) listen: Value<String>,
    pub(super) unix_socket: Value<String>,
    pub(super) access_token_file: Value<String>,
    pub(super) audit: Value<bool>,
    pub(super) max_agents: Value<i64>,
    pub(super) max_connections: Value<i64>,
    pub(super) max_credits: Value<i64>,
    pub(super) inbox_messages: Value<i64>,
    pub(super) inbox_bytes: Value<i64>,
    pub(super) inbox_total_bytes: Value<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawRadio {
    pub(super) adapter: Value<String>,
    pub(super) company_id: Value<i64>,
    pub(super) extended: Value<bool>,
    pub(super) long_frames: Value<bool>,
    pub(super) scan_duty: Value<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawSim {
    pub(super) nodes: Value<i64>,
    pub(super) seed: Value<i64>,
    pub(super) speed: Value<f64>,
    pub(super) loss_percent: Value<f64>,
    pub(super) island: Value<i64>,
    pub(super) key_file: Value<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPeer {
    pub(super) name: Spanned<String>,
    pub(super) address: Spanned<String>,
    #[serde(default)]
    pub(super) fingerprint: Value<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawMesh {
    pub(super) ttl: Value<i64>,
    pub(super) default_deadline_s: Value<i64>,
}

impl FileSettings {
    /// Reads a settings file.
    ///
    /// # Errors
    /// [`SettingsError::Read`], or [`SettingsError::Invalid`] for what is not TOML.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let unread = |source| SettingsError::Read { path: path.to_owned(), source };
        let text = String::from_utf8(fs::read(path).map_err(unread)?);
        let text = text.map_err(|error| match byte_order_mark(error.as_bytes()) {
            Some(mark) => SettingsError::Invalid(vec![Problem {
                origin: Origin::File { path: path.to_owned(), line: 1 },
                what: format!("{mark}: save it as UTF-8"),
            }]),
            None => unread(io::Error::new(io::ErrorKind::InvalidData, error)),
        })?;
        // TOML takes the mark of UTF-8.
        Self::parse(path, &text)
    }

    /// Reads the text of the settings file at `path`; see [`read`](Self::read).
    ///
    /// # Errors
    /// [`SettingsError::Invalid`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, SettingsError> {
        let line_ends = text.match_indices('\n').map(|(at, _)| at).collect();
        let source = Source { path: path.to_owned(), line_ends };
        let wrong = |error: &toml::de::Error| {
            let offset = error.span().map_or(0, |span| span.start);
            Problem { origin: source.at(offset), what: error.message().to_owned() }
        };
        let parsed = DeTable::parse(text).map_err(|error| SettingsError::Invalid(vec![wrong(&error)]))?;
        let mut problems = unknown_keys(parsed.get_ref(), &source);
        let span = parsed.span();
        let mut table = parsed.into_inner();
        keep_known(&mut table);
        // Each time around there is one value less.
        loop {
            let whole = Spanned::new(span.clone(), table.clone());
            match Raw::deserialize(toml::de::Deserializer::from(whole)) {
                Ok(raw) => return Ok(Self { source, raw, problems }),
                Err(error) => {
                    problems.push(wrong(&error));
                    let at = error.span().map_or(0, |span| span.start);
                    if !drop_value(&mut table, at) {
                        return Err(SettingsError::Invalid(problems));
                    }
                }
            }
        }
    }

    /// Whether the file says what the radio is.
    pub fn names_adapter(&self) -> bool {
        self.raw.radio.adapter.is_some()
    }
}

type Entry<'a> = (Spanned<Cow<'a, str>>, Spanned<DeValue<'a>>);

/// The table with these entries alone.
fn filtered<'a>(table: &mut DeTable<'a>, mut keep: impl FnMut(&mut Entry<'a>) -> bool) {
    let all = std::mem::take(table).into_iter();
    *table = all.filter_map(|mut entry| keep(&mut entry).then_some(entry)).collect();
}

/// Leaves out what [`unknown_keys`] names.
fn keep_known(table: &mut DeTable<'_>) {
    let known = known_keys();
    filtered(table, |(name, content)| {
        let name = name.get_ref().as_ref();
        let Some(keys) = known.get(name) else { return false };
        let keep =
            |content: &mut DeTable<'_>| filtered(content, |(key, _)| keys.contains(&key.get_ref().as_ref()));
        match content.get_mut() {
            DeValue::Table(content) if name != LIST => {
                keep(content);
                true
            }
            DeValue::Array(several) if name == LIST => several.iter_mut().all(|one| {
                let DeValue::Table(content) = one.get_mut() else { return false };
                keep(content);
                true
            }),
            _ => false,
        }
    });
}

/// Takes out the value that stands around this offset: of a section, or the whole list of sections.
fn drop_value(table: &mut DeTable<'_>, at: usize) -> bool {
    let mut dropped = false;
    let mut outside = |(_, value): &mut Entry<'_>| {
        let around = value.span().contains(&at);
        dropped |= around;
        !around
    };
    for (_, content) in table.iter_mut() {
        if let DeValue::Table(content) = content.get_mut() {
            filtered(content, &mut outside);
        }
    }
    if !dropped {
        filtered(table, |(name, _)| name.get_ref().as_ref() != LIST || std::mem::replace(&mut dropped, true));
    }
    dropped
}

/// The section that there may be several of.
const LIST: &str = "peer";

/// The keys of each section, as the template has them.
fn known_keys() -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut known = BTreeMap::new();
    let mut section = "";
    for line in TEMPLATE.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
            known.insert(section, Vec::new());
        } else if let Some(name) = line.strip_prefix("#[[").and_then(|rest| rest.strip_suffix("]]")) {
            section = name;
            known.insert(section, Vec::new());
        } else if let Some((key, _)) = line.strip_prefix('#').and_then(|rest| rest.split_once(" = "))
            && !key.contains(' ')
            && let Some(keys) = known.get_mut(section)
        {
            keys.push(key);
        }
    }
    known
}

fn unknown_keys(table: &DeTable<'_>, source: &Source) -> Vec<Problem> {
    let known = known_keys();
    let mut problems = Vec::new();
    let mut found = |offset, what| problems.push((offset, Problem { origin: source.at(offset), what }));
    for (name, content) in table {
        let offset = name.span().start;
        let name = name.get_ref().as_ref();
        match (known.get(name), content.get_ref()) {
            (Some(_), DeValue::Table(_)) if name == LIST => {
                found(offset, format!("`{name}` is a list of sections: write `[[{name}]]`"));
            }
            (Some(keys), DeValue::Table(content)) => {
                for (key, _) in content.iter().filter(|(key, _)| !keys.contains(&key.get_ref().as_ref())) {
                    found(key.span().start, unknown_key(name, key.get_ref(), &known));
                }
            }
            (Some(keys), DeValue::Array(several)) if name == LIST => {
                for one in several.iter() {
                    let DeValue::Table(content) = one.get_ref() else {
                        found(
                            one.span().start,
                            format!("`{name}` is a list of sections: write `[[{name}]]`"),
                        );
                        continue;
                    };
                    for (key, _) in content.iter().filter(|(key, _)| !keys.contains(&key.get_ref().as_ref()))
                    {
                        found(key.span().start, unknown_key(name, key.get_ref(), &known));
                    }
                }
            }
            (Some(_), _) => found(offset, format!("`{name}` is a section: write `[{name}]`")),
            (None, DeValue::Table(_)) => {
                let sections: Vec<_> = known.keys().copied().collect();
                found(
                    offset,
                    format!(
                        "unknown section `[{name}]`; {}",
                        meant(name, &sections, |section| format!("`[{section}]`"))
                    ),
                );
            }
            (None, _) => found(offset, unknown_key("", name, &known)),
        }
    }
    problems.sort_by_key(|(offset, _)| *offset);
    problems.into_iter().map(|(_, problem)| problem).collect()
}

fn unknown_key(section: &str, key: &str, known: &BTreeMap<&'static str, Vec<&'static str>>) -> String {
    if let Some((home, _)) = known.iter().find(|(_, keys)| keys.contains(&key)) {
        let place =
            if section.is_empty() { "before any section".to_owned() } else { format!("in `[{section}]`") };
        return format!("unknown key `{key}` {place}; it belongs to `[{home}]`");
    }
    match known.get(section) {
        Some(keys) => {
            format!("unknown key `{key}` in `[{section}]`; {}", meant(key, keys, |key| format!("`{key}`")))
        }
        None => {
            let all: Vec<_> = known.values().flatten().copied().collect();
            let sections: Vec<_> = known.keys().copied().collect();
            // Those of all sections are too many to list.
            let what = match nearest(key, &all) {
                Some(nearest) => format!("did you mean `{nearest}`?"),
                None => format!("put it into one of the sections {}", sections.join(", ")),
            };
            format!("unknown key `{key}` before any section; {what}")
        }
    }
}

/// What was probably meant, or what there is.
fn meant(word: &str, candidates: &[&str], show: impl Fn(&str) -> String) -> String {
    match nearest(word, candidates) {
        Some(nearest) => format!("did you mean {}?", show(nearest)),
        None => {
            let all: Vec<_> = candidates.iter().map(|candidate| show(candidate)).collect();
            format!("there are {}", all.join(", "))
        }
    }
}

/// The candidate that the fewest changed letters turn into `word`, the first of several; none where most letters would change.
fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let found = candidates.iter().copied().min_by_key(|candidate| distance(word, candidate))?;
    let longer = word.chars().count().max(found.chars().count());
    (distance(word, found) * 2 <= longer).then_some(found)
}

/// Letters to insert, delete or replace (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    // row[j] is the distance of the letters of `a` so far to the first j of `b`.
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_the_textbook_ones() {
        for (a, b, expected) in
            [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("listen", "lisen", 1)]
        {
            assert_eq!((distance(a, b), distance(b, a)), (expected, expected), "{a} {b}");
        }
    }

    #[test]
    fn the_template_lists_the_keys() {
        let known = known_keys();
        assert_eq!(
            known.keys().copied().collect::<Vec<_>>(),
            ["agents", "gateway", "mesh", "peer", "radio", "sim"]
        );
        assert_eq!(known["gateway"], ["name", "data_dir", "log", "log_level"]);
        assert_eq!(known["sim"], ["nodes", "seed", "speed", "loss_percent", "island", "key_file"]);
    }
}
