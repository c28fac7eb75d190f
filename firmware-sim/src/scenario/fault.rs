//! The faults of a scenario.
//!
//! Owns its meaning as plain data. What it does to a run is `chaos`' business.

use mesh_protocol::Duration;
use serde::{Deserialize, Serialize};

/// A fault and its time.
#[derive(Clone, Debug, PartialEq)]
pub struct ScheduledFault {
    /// When, counted from the end of `settle`.
    pub at: Duration,
    /// What.
    pub what: FaultKind,
}

/// The kinds of faults.
#[derive(Clone, Debug, PartialEq)]
pub enum FaultKind {
    /// Power is cut: RAM is lost, and frames not yet sent too.
    Crash {
        /// Which node.
        node: u32,
        /// Off for this long.
        down: Duration,
        /// What becomes of a write to its flash that the cut interrupts.
        flash: Flash,
    },
    /// These nodes neither hear the others nor are heard by them.
    Partition {
        /// One side.
        nodes: Vec<u32>,
        /// For how long.
        lasts: Duration,
    },
    /// A rule for receptions that have not reached their hosts.
    Rule {
        /// What happens.
        action: RuleAction,
        /// To which share of it, 0 to 1.
        share: f64,
        /// Only from this node.
        from: Option<u32>,
        /// Only to this node.
        to: Option<u32>,
        /// For how long.
        lasts: Duration,
    },
    /// A node's clock runs ahead at once.
    ClockJump {
        /// Which node.
        node: u32,
        /// By how much.
        by: Duration,
    },
    /// An attacker without keys sends frames that look like ours.
    Forge {
        /// Where it stands: as this node.
        near: u32,
        /// How many a second.
        rate: f64,
        /// For how long.
        lasts: Duration,
    },
    /// An attacker without keys sends again what it heard.
    Replay {
        /// Where it stands: as this node.
        near: u32,
        /// So much later.
        after: Duration,
        /// How many a second at most.
        rate: f64,
        /// For how long.
        lasts: Duration,
    },
    /// An attacker with the network's key sends well-sealed nonsense: random kinds, addresses and bodies from an address of
    /// its own.
    Member {
        /// Where it stands: as this node.
        near: u32,
        /// How many a second.
        rate: f64,
        /// For how long.
        lasts: Duration,
    },
}

/// What a power cut does to a write that it interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flash {
    /// Nothing: it was done.
    Kept,
    /// It never happened.
    Lost,
    /// Half of it happened, which a checksum detects.
    Torn,
}

/// What a rule does to a reception.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleAction {
    /// It is not received.
    Drop,
    /// It comes later.
    Delay(Duration),
    /// It comes twice.
    Duplicate,
    /// One bit of it is wrong.
    Corrupt,
}
