//! The settings file: its keys as typed, with the lines they stand in. What values mean, and which are allowed, is
//! decided when they are resolved.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Origin, Problem, SettingsError, TEMPLATE};

/// A settings file as typed: no unknown keys, every value of the right type, ranges not yet checked.
#[derive(Debug, Default)]
pub struct FileSettings {
    pub(super) source: Source,
    pub(super) raw: Raw,
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
    /// [`SettingsError::Read`], or [`SettingsError::Invalid`] for what is not TOML, for unknown keys (all of them, each
    /// with its line and the key that was probably meant) and for values of a wrong type.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let text = fs::read_to_string(path)
            .map_err(|source| SettingsError::Read { path: path.to_owned(), source })?;
        Self::parse(path, &text)
    }

    /// Reads the text of the settings file at `path`; see [`read`](Self::read).
    ///
    /// # Errors
    /// [`SettingsError::Invalid`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, SettingsError> {
        let line_ends = text.match_indices('\n').map(|(at, _)| at).collect();
        let source = Source { path: path.to_owned(), line_ends };
        let toml_error = |error: &toml::de::Error| {
            let offset = error.span().map_or(0, |span| span.start);
            SettingsError::Invalid(vec![Problem {
                origin: source.at(offset),
                what: error.message().to_owned(),
            }])
        };
        let table = DeTable::parse(text).map_err(|error| toml_error(&error))?;
        let unknown = unknown_keys(table.get_ref(), &source);
        if !unknown.is_empty() {
            return Err(SettingsError::Invalid(unknown));
        }
        let raw = toml::from_str(text).map_err(|error| toml_error(&error))?;
        Ok(Self { source, raw })
    }
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
                    format!("unknown section `[{name}]`; did you mean `[{}]`?", nearest(name, &sections)),
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
            format!("unknown key `{key}` in `[{section}]`; did you mean `{}`?", nearest(key, keys))
        }
        None => {
            let all: Vec<_> = known.values().flatten().copied().collect();
            format!("unknown key `{key}` before any section; did you mean `{}`?", nearest(key, &all))
        }
    }
}

/// The candidate that the fewest changed letters turn into `word`; the first of several.
fn nearest<'a>(word: &str, candidates: &[&'a str]) -> &'a str {
    candidates.iter().copied().min_by_key(|candidate| distance(word, candidate)).unwrap_or_default()
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
