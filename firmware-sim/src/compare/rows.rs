//! The rows of the comparison: which scenarios are played, what is measured in each, and what is wanted.
//!
//! Owns `scenarios/compare/rows.toml` and how a case's scenario is put together: a file, with the row's changes and then the case's laid
//! over it. What a figure is computed from is `measure`'s.

use serde::Deserialize;
use thiserror::Error;
use toml::{Table, Value};

use super::measure::Measure;
use crate::play::StackKind;
use crate::scenario::{Scenario, ScenarioError};

/// The scenarios that rows start from, by name.
const SCENARIOS: [(&str, &str); 10] = [
    ("chain", include_str!("../../../scenarios/compare/chain.toml")),
    ("crossing", include_str!("../../../scenarios/compare/crossing.toml")),
    ("floors", include_str!("../../../scenarios/compare/floors.toml")),
    ("meadow", include_str!("../../../scenarios/compare/meadow.toml")),
    ("demo", include_str!("../../../scenarios/compare/demo.toml")),
    ("shipped chain", include_str!("../../../scenarios/chain.toml")),
    ("shipped field", include_str!("../../../scenarios/field.toml")),
    ("shipped office", include_str!("../../../scenarios/office.toml")),
    ("shipped warehouse", include_str!("../../../scenarios/warehouse.toml")),
    ("shipped campus", include_str!("../../../scenarios/campus.toml")),
];
const ROWS: &str = include_str!("../../../scenarios/compare/rows.toml");

/// What is compared in one or several cases.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// What `--row` takes.
    pub name: String,
    /// What it is about.
    pub what: String,
    /// The scenario that its cases start from.
    pub scenario: String,
    /// Changes of all cases.
    #[serde(default)]
    pub set: Table,
    /// With which stacks; all unless it says so.
    #[serde(default)]
    pub stacks: Vec<String>,
    /// At most so many seeds, where a run takes long.
    pub seeds: Option<usize>,
    /// Its cases.
    pub cases: Vec<Case>,
}

/// One scenario of a row.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What is different in it.
    pub name: String,
    /// Another scenario than the row's.
    pub scenario: Option<String>,
    /// Its changes.
    #[serde(default)]
    pub set: Table,
    /// Whether it is short and steady enough for the quick form.
    #[serde(default)]
    pub quick: bool,
    /// What is measured; nothing in a case that others are divided by.
    #[serde(default)]
    pub figures: Vec<Figure>,
}

/// One figure of a case.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// What it is called, where a case has several.
    #[serde(default)]
    pub what: String,
    /// What it is.
    pub measure: Measure,
    /// Of which traffic, by its place in the scenario; all unless it says so.
    #[serde(default)]
    pub traffic: Vec<u32>,
    /// Only what arrived within so many seconds counts as arrived.
    pub within: Option<f64>,
    /// Divided by the same of this case of the row.
    pub over: Option<String>,
    /// Divided by the same of this stack.
    pub of: Option<String>,
    /// Wanted: at least this.
    pub at_least: Option<f64>,
    /// Wanted: at most this.
    pub at_most: Option<f64>,
    /// Wanted: not worse than any other stack.
    #[serde(default)]
    pub best: bool,
}

/// Why the rows are not what they should be.
#[derive(Debug, Error)]
pub enum RowError {
    /// They are no TOML, or not of this form.
    #[error("reading scenarios/compare/rows.toml: {0}")]
    Form(#[from] toml::de::Error),
    /// A case names a scenario that is not there.
    #[error("reading scenarios/compare/rows.toml: row `{row}`: no scenario is called `{scenario}`")]
    NoScenario {
        /// The row.
        row: String,
        /// What it names.
        scenario: String,
    },
    /// A case's scenario cannot be written down.
    #[error("putting the scenario of row `{row}` together: {source}")]
    Unwritable {
        /// The row.
        row: String,
        /// Why.
        source: toml::ser::Error,
    },
    /// What a case's scenario comes to is none.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RowsFile {
    rows: Vec<Row>,
}

/// All rows, in the order of the table.
///
/// # Errors
/// [`RowError::Form`].
pub fn rows() -> Result<Vec<Row>, RowError> {
    Ok(toml::from_str::<RowsFile>(ROWS)?.rows)
}

impl Row {
    /// The scenario of one of its cases as a file, which `mesh-sim run` plays, and what it means.
    ///
    /// # Errors
    /// [`RowError`], where the row is not in order.
    pub fn scenario(&self, case: &Case) -> Result<(String, Scenario), RowError> {
        let named = case.scenario.as_ref().unwrap_or(&self.scenario);
        let (_, text) = SCENARIOS
            .iter()
            .find(|(name, _)| name == named)
            .ok_or_else(|| RowError::NoScenario { row: self.name.clone(), scenario: named.clone() })?;
        let mut table: Table = toml::from_str(text)?;
        lay_over(&mut table, &self.set);
        lay_over(&mut table, &case.set);
        let name = self.file_name(case);
        table.insert("name".to_owned(), Value::String(name.chars().take(32).collect()));
        let text = toml::to_string(&table)
            .map_err(|source| RowError::Unwritable { row: self.name.clone(), source })?;
        let scenario = Scenario::parse(&format!("{name}.toml"), &text)?;
        Ok((text, scenario))
    }

    /// What a file with the scenario of one of its cases is called, without an ending.
    #[must_use]
    pub fn file_name(&self, case: &Case) -> String {
        let words = case.name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        std::iter::once(self.name.as_str()).chain(words).collect::<Vec<_>>().join("-")
    }

    /// The stacks that play it.
    #[must_use]
    pub fn stacks(&self) -> Vec<StackKind> {
        let named = |kind: &StackKind| self.stacks.is_empty() || self.stacks.iter().any(|s| s == kind.name());
        StackKind::ALL.into_iter().filter(named).collect()
    }
}

/// Lays changes over a table: tables key by key, lists of tables one by one, everything else as a whole.
fn lay_over(table: &mut Table, changes: &Table) {
    for (key, change) in changes {
        match table.get_mut(key) {
            Some(value) => lay_over_value(value, change),
            None => drop(table.insert(key.clone(), change.clone())),
        }
    }
}

fn lay_over_value(value: &mut Value, change: &Value) {
    match (value, change) {
        (Value::Table(table), Value::Table(changes)) => lay_over(table, changes),
        (Value::Array(list), Value::Array(changes)) if changes.iter().all(Value::is_table) => {
            for (n, change) in changes.iter().enumerate() {
                match list.get_mut(n) {
                    Some(value) => lay_over_value(value, change),
                    None => list.push(change.clone()),
                }
            }
        }
        (value, change) => *value = change.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_go_over_tables_key_by_key_and_over_lists_one_by_one() {
        let mut table: Table =
            toml::from_str("a = 1\nb = { c = 2, d = 3 }\nlist = [{ x = 1, y = 2 }]\nplain = [1, 2]").unwrap();
        let changes = "b.d = 4\nlist = [{ y = 5 }, { z = 6 }]\nplain = [3]\ne = 7";
        lay_over(&mut table, &toml::from_str(changes).unwrap());
        let wanted = "a = 1\nb = { c = 2, d = 4 }\nlist = [{ x = 1, y = 5 }, { z = 6 }]\nplain = [3]\ne = 7";
        assert_eq!(table, toml::from_str(wanted).unwrap());
    }

    #[test]
    fn every_row_is_in_order() {
        let rows = rows().unwrap();
        let mut names = std::collections::BTreeSet::new();
        for row in &rows {
            assert!(names.insert(&row.name), "{}: two rows of one name", row.name);
            assert!(
                row.stacks.iter().all(|name| StackKind::named(name).is_some()),
                "{}: an unknown stack",
                row.name
            );
            for case in &row.cases {
                let (text, scenario) =
                    row.scenario(case).unwrap_or_else(|error| panic!("{}: {error}", row.name));
                assert_eq!(Scenario::parse("again", &text).unwrap(), scenario);
                for figure in &case.figures {
                    let of = |name: &String| {
                        StackKind::named(name).is_some_and(|kind| row.stacks().contains(&kind))
                    };
                    let over = |name: &String| row.cases.iter().any(|case| case.name == *name);
                    let who = format!("{}, {}: {}", row.name, case.name, figure.what);
                    assert!(figure.of.as_ref().is_none_or(of), "{who}: no such stack");
                    assert!(figure.over.as_ref().is_none_or(over), "{who}: no such case");
                    assert!(figure.at_least.is_none() || figure.at_most.is_none(), "{who}: one goal");
                    let more = figure.measure.more_is_better();
                    assert!(!more || figure.at_most.is_none(), "{who}: more of it is better");
                    assert!(more || figure.at_least.is_none(), "{who}: less of it is better");
                    let there = scenario.traffic.len() as u32;
                    assert!(figure.traffic.iter().all(|traffic| *traffic < there), "{who}: no such traffic");
                }
            }
        }
    }
}
