//! What the invariants found: the first thing that did not hold, and how much was looked at.
//!
//! Owns the shape of findings only.

use std::fmt;

use mesh_protocol::Instant;

/// The first thing that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When.
    pub at: Instant,
    /// At which node, by number.
    pub node: u32,
    /// Which rule.
    pub rule: &'static str,
    /// A sentence.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.at.as_micros() as f64 / 1e6;
        write!(f, "{seconds:.6} s, node {}: {}: {}", self.node, self.rule, self.what)
    }
}

/// Which rule was broken, and how.
pub(super) type Fault = (&'static str, String);

/// How much was looked at: a check that never looked at anything proves nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Times that a device ran.
    pub runs: u64,
    /// Frames sealed.
    pub sealed: u64,
    /// Frames relayed, copies included.
    pub relayed: u64,
    /// Of these, by a node that alone had been asked to.
    pub entrusted: u64,
    /// Receptions of frames that were taken.
    pub taken: u64,
    /// Receptions of frames that were known.
    pub known: u64,
    /// Receptions of frames that were shut out as too old, or by what was kept.
    pub shut_out: u64,
    /// Receptions of frames that nobody sent.
    pub strange: u64,
    /// Messages that nodes took.
    pub accepted: u64,
    /// Messages that reached applications.
    pub delivered: u64,
    /// Messages whose outcome was reported to their senders.
    pub completed: u64,
    /// Messages that went with the power of their device.
    pub lost: u64,
    /// Power cuts.
    pub cuts: u64,
    /// Of these, in the middle of a write.
    pub broken_writes: u64,
    /// Frames that nodes took to hand on, and of which it was checked that they did.
    pub custody: u64,
    /// Frames that members sent in the names of others.
    pub forged: u64,
}

impl Counts {
    /// Adds another's numbers.
    pub fn add(&mut self, other: &Self) {
        let Self {
            runs,
            sealed,
            relayed,
            entrusted,
            taken,
            known,
            shut_out,
            strange,
            accepted,
            delivered,
            completed,
            lost,
            ..
        } = self;
        for (sum, more) in [
            (runs, other.runs),
            (sealed, other.sealed),
            (relayed, other.relayed),
            (entrusted, other.entrusted),
            (taken, other.taken),
            (known, other.known),
            (shut_out, other.shut_out),
            (strange, other.strange),
            (accepted, other.accepted),
            (delivered, other.delivered),
            (completed, other.completed),
            (lost, other.lost),
            (&mut self.cuts, other.cuts),
            (&mut self.broken_writes, other.broken_writes),
            (&mut self.custody, other.custody),
            (&mut self.forged, other.forged),
        ] {
            *sum += more;
        }
    }
}
