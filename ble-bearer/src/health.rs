//! How an adapter is doing, for people and for the gateway's status.
//!
//! Owns the words and counters that every bearer can be asked for. Finding out is each bearer's business.

use std::fmt;

/// Whether an adapter carries frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AdapterState {
    /// It is being set up for the first time.
    Starting,
    /// It sends and receives.
    #[default]
    Up,
    /// It is being repaired.
    Repairing,
    /// It is not there, or cannot be opened; tried again from time to time.
    Away,
}

impl AdapterState {
    /// As a word, for reports.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Up => "up",
            Self::Repairing => "repairing",
            Self::Away => "away",
        }
    }
}

impl fmt::Display for AdapterState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// How an adapter is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Whether it carries frames.
    pub state: AdapterState,
    /// What it is, in the words of whoever runs it.
    pub what: String,
    /// The last trouble, and what was done about it.
    pub trouble: Option<String>,
    /// Frames taken to be sent.
    pub taken: u64,
    /// Of them, frames that the adapter had on the air for their time or, where it says so, confirmed.
    pub sent: u64,
    /// Of them, frames that never were, as far as is known.
    pub lost: u64,
    /// Frames heard.
    pub heard: u64,
    /// Frames heard that nobody fetched in time.
    pub overrun: u64,
    /// Recoveries by level: advertising restarted, scanning restarted, controller reset, adapter opened again.
    pub repairs: [u64; 4],
}
