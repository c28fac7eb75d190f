//! How a scenario is written down: TOML, as `docs/scenarios.md` teaches it.
//!
//! Owns reading and writing, and the words for what is wrong in a file: where it stands and what to do. The keys are in
//! `tables`, single values in `values`, what they mean together in `resolve`, `layout`, `names` and `events`, from a scenario back
//! to text in `write`, and what is wrong in `wrong`.

mod events;
mod layout;
mod names;
mod resolve;
mod tables;
mod values;
mod write;
mod wrong;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;
use toml::de::{DeTable, DeValue};
use toml::{Deserializer, Spanned};

use self::tables::FileTable;
use super::Scenario;

/// Keys of the whole file that are no tables of their own.
const TOP: [&str; 8] = ["name", "description", "settle", "offered", "drain", "nodes", "traffic", "faults"];

/// Why a scenario could not be read.
#[derive(Debug, Error)]
pub enum ScenarioError {
    /// The file could not be read at all.
    #[error("reading the scenario {}: {source}; check the path and who may read it", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is in it is no scenario.
    #[error("{file}:{line}: reading the scenario: {what}")]
    Invalid {
        /// The file, as it was named.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong there, and what to do.
        what: String,
    },
}

impl Scenario {
    /// Reads a scenario file; the scenario and the text it was read from. Without a `name` of its own, it is named after
    /// the file.
    ///
    /// # Errors
    /// [`ScenarioError::Read`], and those of [`parse`](Self::parse).
    pub fn read(path: &Path) -> Result<(Self, String), ScenarioError> {
        let text = fs::read_to_string(path)
            .map_err(|source| ScenarioError::Read { path: path.to_owned(), source })?;
        let scenario = Self::parse(&path.display().to_string(), &text)?;
        Ok((scenario, text))
    }

    /// Reads a scenario from text; `name` is what errors call the file.
    ///
    /// # Errors
    /// [`ScenarioError::Invalid`] for the first thing that is not TOML, not known, of a wrong type, out of range, missing,
    /// or against a rule: its line, and what to do.
    pub fn parse(name: &str, text: &str) -> Result<Self, ScenarioError> {
        let invalid = |at: usize, what: String| ScenarioError::Invalid {
            file: name.to_owned(),
            line: line_of(text, at),
            what,
        };
        let start = |error: &toml::de::Error| error.span().map_or(0, |span| span.start);
        let document = DeTable::parse(text).map_err(|error| invalid(start(&error), no_toml(text, &error)))?;
        let file = FileTable::deserialize(Deserializer::from(document.clone())).map_err(|error| {
            let at = start(&error);
            // An error that spans the whole file is at no key, though one may begin where the file does.
            let everywhere = error.span() == Some(document.span());
            let key = if everywhere { String::new() } else { key_at(&document, at) };
            invalid(at, format!("{key}{}", plain(error.message())))
        })?;
        let stem = Path::new(name).file_stem().unwrap_or_default().to_string_lossy();
        resolve::scenario(file, &stem)
            .map_err(|wrong| invalid(wrong.at, format!("{}{}", key_at(&document, wrong.at), wrong.what)))
    }

    /// The scenario as the text of a file, every value written out: [`parse`](Self::parse) makes the same scenario of it,
    /// provided that all is in the ranges of the file and faults are in order of time.
    #[must_use]
    pub fn to_toml(&self) -> String {
        // The tables hold nothing that TOML has no words for.
        toml::to_string(&write::file(self)).unwrap_or_default()
    }
}

/// The line of an offset, from 1.
fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

/// The key whose value begins at an offset, or the table whose key does, with a colon; empty at the top.
fn key_at(document: &Spanned<DeTable<'_>>, at: usize) -> String {
    match find(document.get_ref(), at) {
        Some(path) if !path.is_empty() => format!("`{}`: ", path.join(".")),
        _ => String::new(),
    }
}

fn find<'a>(table: &'a DeTable<'_>, at: usize) -> Option<Vec<&'a str>> {
    table.iter().find_map(|(key, value)| {
        if key.span().start == at && value.get_ref().as_table().is_none() {
            return Some(Vec::new());
        }
        let mut path = find_value(value, at)?;
        path.insert(0, key.get_ref());
        Some(path)
    })
}

fn find_value<'a>(value: &'a Spanned<DeValue<'_>>, at: usize) -> Option<Vec<&'a str>> {
    let inside = match value.get_ref() {
        DeValue::Table(table) => find(table, at),
        DeValue::Array(list) => list.iter().find_map(|value| find_value(value, at)),
        _ => None,
    };
    inside.or_else(|| (value.span().start == at).then(Vec::new))
}

/// What TOML says, with what is easily overlooked.
fn no_toml(text: &str, error: &toml::de::Error) -> String {
    let message = error.message();
    match error.span().and_then(|span| text.get(span)) {
        Some(key) if message == "duplicate key" => format!(
            "this is not TOML: the key `{key}` is there already; keep one, and mind that what stands below a `[table]` \
             belongs to it"
        ),
        _ => format!("this is not TOML: {message}; correct it"),
    }
}

/// What serde says, in words for those who write scenarios. A message of an unknown form stays as it is.
fn plain(message: &str) -> String {
    let known = |list: &str| list.trim_start_matches("one of ").replace(" or ", ", ");
    if let Some((key, expected)) =
        message.strip_prefix("unknown field ").and_then(|rest| rest.split_once(", expected "))
    {
        // The usual slip: a key of the whole file below the first table.
        let home = if TOP.contains(&key.trim_matches('`')) && !expected.contains("`layout`") {
            "; move it to before the first `[table]`, where it belongs to the whole scenario"
        } else {
            ""
        };
        return format!("unknown key {key}; known here: {}{home}", known(expected));
    }
    if let Some((word, expected)) =
        message.strip_prefix("unknown variant ").and_then(|rest| rest.split_once(", expected "))
    {
        return format!("unknown word {word}; write one of {}", known(expected));
    }
    if let Some((found, expected)) =
        message.strip_prefix("invalid type: ").and_then(|rest| rest.split_once(", expected "))
    {
        // The words of TOML, and those of its manual.
        let found = match found {
            "map" => "a table",
            "sequence" => "a list",
            found => found,
        };
        return format!(
            "{found} does not fit; write {}",
            expected.replace("a sequence", "a list").replace("a map", "a table")
        );
    }
    if let Some(key) = message.strip_prefix("missing field ") {
        return format!("the key {key} is missing; add it");
    }
    message.to_owned()
}

#[cfg(test)]
mod tests;
