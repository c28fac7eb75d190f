//! What a run of simulated gateways showed.

use std::collections::BTreeSet;
use std::fmt;

use mesh_agent::api::{Message, MessageRef, Outcome, Receipt};
use mesh_protocol::{PerClass, Priority};
use sha2::{Digest, Sha256};

/// Something that an agent was shown of its message.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenReceipt {
    /// When, in microseconds.
    pub at_us: u64,
    /// Which agent, from 0.
    pub agent: usize,
    /// What.
    pub receipt: Receipt,
}

/// Something that an agent was given.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrival {
    /// When, in microseconds.
    pub at_us: u64,
    /// Which agent, from 0.
    pub agent: usize,
    /// What.
    pub message: Message,
}

/// What agents and devices saw in a run, seen from its end.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunReport {
    /// Hash of every frame sent and heard, by whom and when.
    pub trace: String,
    /// Advertising events.
    pub transmitted: u64,
    /// Frames that reached a host.
    pub received: u64,
    /// Transactions of all disks together.
    pub commits: u64,
    /// When it ended, in microseconds.
    pub ended_us: u64,
    /// Messages that were accepted.
    pub accepted: usize,
    /// Messages of which nobody has said whether they are accepted, as their gateway went.
    pub doubtful: usize,
    /// Messages that were not said, as the gateway was away.
    pub unsaid: usize,
    /// Messages that were refused.
    pub refused: usize,
    /// Accepted messages that were still on their way when it ended, in time.
    pub open: usize,
    /// How many messages of each priority were accepted, the most urgent first.
    pub by_priority: PerClass<usize>,
    /// Every receipt, in the order in which they came. One whose ack a power cut has swallowed comes twice.
    pub receipts: Vec<SeenReceipt>,
    /// Every message, in the order in which they came.
    pub arrivals: Vec<Arrival>,
    /// What should not have been.
    pub problems: Vec<String>,
}

impl RunReport {
    /// One number for all that happened: the trace, and what every agent was shown and given, in order.
    #[must_use]
    pub fn digest(&self) -> String {
        let hash = Sha256::digest(format!("{:?}", Digested(self)));
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// How many messages ended so, each counted once.
    #[must_use]
    pub fn outcomes(&self, outcome: Outcome) -> usize {
        let ids: BTreeSet<MessageRef> = self
            .receipts
            .iter()
            .filter(|seen| seen.receipt.outcome == outcome)
            .map(|seen| seen.receipt.id)
            .collect();
        ids.len()
    }
}

/// A report as it is hashed. The hash of a seed is to be the same in every version, so the names in it are those of the first one.
struct Digested<'a>(&'a RunReport);

impl fmt::Debug for Digested<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.0;
        let receipts: Vec<DigestedReceipt<'_>> = report.receipts.iter().map(DigestedReceipt).collect();
        f.debug_struct("DayReport")
            .field("trace", &report.trace)
            .field("transmitted", &report.transmitted)
            .field("received", &report.received)
            .field("commits", &report.commits)
            .field("ended_us", &report.ended_us)
            .field("accepted", &report.accepted)
            .field("doubtful", &report.doubtful)
            .field("unsaid", &report.unsaid)
            .field("refused", &report.refused)
            .field("open", &report.open)
            .field("by_priority", &Priority::ALL.map(|priority| report.by_priority[priority]))
            .field("receipts", &receipts)
            .field("arrivals", &report.arrivals)
            .field("problems", &report.problems)
            .finish()
    }
}

struct DigestedReceipt<'a>(&'a SeenReceipt);

impl fmt::Debug for DigestedReceipt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SeenReceipt { at_us, agent, receipt } = self.0;
        f.debug_struct("Told").field("at_us", at_us).field("agent", agent).field("receipt", receipt).finish()
    }
}
