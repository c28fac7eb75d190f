//! How a message ended.

use serde::{Deserialize, Serialize};

/// What became of a message, in words that mean one thing each (`docs/agents.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The destination verified it, and stored it if it promises to.
    Delivered,
    /// The receiving agent acknowledged it.
    Processed,
    /// It went out to many, who do not answer each.
    Sent,
    /// Its deadline passed first.
    Expired,
    /// A node refused it; `where` and `why` say who and for what.
    Rejected,
    /// No answer came. It may have arrived.
    Unknown,
}
