//! Where a run stood, every so often: what a recording holds beside the result.

use serde::{Deserialize, Serialize};

/// Events between two marks. A guess: near enough to find the place, and the file stays small.
pub(crate) const MARK_EVERY: u64 = 1_000;

/// Where a run stood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// How many events had happened.
    pub events: u64,
    /// Simulated time in microseconds.
    pub at_us: u64,
    /// The trace hash so far.
    pub trace: String,
}
