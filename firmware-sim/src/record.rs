//! A recording of a run: enough to play it again and to find where it differs.
//!
//! Owns the file of `mesh-sim run --record`: one JSON object with the scenario, the seed, the trace hash of the whole run, and the
//! hash after every thousand events.

use serde::{Deserialize, Serialize};

pub use crate::play::Mark;
use crate::play::{self, MARK_EVERY};
use crate::scenario::Scenario;
use crate::stack::StackKind;

/// A recorded run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recording {
    /// The name of the stack.
    pub stack: String,
    /// The seed.
    pub seed: u64,
    /// The trace hash of the whole run.
    pub trace: String,
    /// Events of the whole run: frames sent and frames that reached a host.
    pub events: u64,
    /// Where it stood, every so often.
    pub marks: Vec<Mark>,
    /// The scenario file.
    pub source: String,
}

impl Recording {
    /// Plays a scenario and records it.
    #[must_use]
    pub fn of(scenario: &Scenario, source: &str, stack: StackKind, seed: u64) -> Self {
        let (trace, events, marks) = play::record(scenario, stack, seed);
        Self { stack: stack.name().to_owned(), seed, trace, events, marks, source: source.to_owned() }
    }

    /// The file's text.
    #[must_use]
    pub fn to_text(&self) -> String {
        // Strings and numbers only: nothing in it can fail to become JSON.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text)
            .map_err(|error| format!("it is not what `mesh-sim run --record` writes: {error}"))
    }

    /// The scenario and the stack that were recorded.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn scenario(&self) -> Result<(Scenario, StackKind), String> {
        let stack = StackKind::named(&self.stack);
        let stack =
            stack.ok_or_else(|| format!("reading the recording: there is no stack {:?}", self.stack))?;
        let scenario = Scenario::parse("recording", &self.source).map_err(|error| error.to_string())?;
        Ok((scenario, stack))
    }

    /// Where another run differs, in words; `None` when it does not.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<String> {
        if (&self.trace, self.events) == (&other.trace, other.events) {
            return None;
        }
        let mut last = (0, 0);
        for (then, now) in self.marks.iter().zip(&other.marks) {
            if then != now {
                break;
            }
            last = (then.events, then.at_us);
        }
        let (events, at_us) = last;
        Some(format!(
            "both were alike up to event {events} at {at_us} µs and went apart within the next {MARK_EVERY}; {} events then, {} now",
            self.events, other.events
        ))
    }
}
