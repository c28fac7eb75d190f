//! What agents saw.
//!
//! Owns taking it down. Whether it is what a gateway promises is said by [`super::judge`]. A simulated device counts as an agent that
//! promises less: see [`Record::forgets`].

use std::collections::{BTreeMap, BTreeSet};

use mesh_agent::api::{Accepted, Destination, ErrorEvent, Message, MessageRef, Receipt};
use mesh_protocol::{Instant, PerClass};

use super::report::{Arrival, RunReport, SeenReceipt};
use super::witness::{Said, Witness};

/// Something accepted.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) agent: usize,
    pub(super) said: Said,
    /// Whether it is on a disk.
    pub(super) durable: bool,
    pub(super) at: Instant,
}

/// Everything seen.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) accepted: BTreeMap<MessageRef, Taken>,
    pub(super) doubtful: Vec<Said>,
    pub(super) unsaid: usize,
    pub(super) refused: usize,
    pub(super) receipts: Vec<SeenReceipt>,
    /// Messages that have a receipt.
    pub(super) completed: BTreeSet<MessageRef>,
    pub(super) arrivals: Vec<Arrival>,
    /// Those who lose what they know with their power.
    pub(super) forgetful: BTreeSet<usize>,
    /// Simulated devices that answer by themselves, by what they are addressed as.
    pub(super) echoes: BTreeSet<Destination>,
    /// When each whose gateway was away had it back.
    pub(super) back: BTreeMap<usize, Instant>,
    pub(super) problems: Vec<String>,
}

impl Witness for Record {
    fn accepted(&mut self, _now: Instant, agent: usize, said: Said, accepted: &Accepted) {
        let &Accepted { id, durable, at_us, .. } = accepted;
        let taken = Taken { agent, said, durable, at: Instant::from_micros(at_us) };
        if self.accepted.insert(id, taken).is_some() && !self.forgetful.contains(&agent) {
            self.problems.push(format!("two messages have the number {id}"));
        }
    }

    fn doubt(&mut self, _now: Instant, said: Said) {
        self.doubtful.push(said);
    }

    fn refused(&mut self, _now: Instant, said: Said, error: ErrorEvent) {
        self.refused += 1;
        self.problems.push(format!("a message to {} was refused: {error}", said.to));
    }

    fn unsaid(&mut self, _now: Instant, _said: Said) {
        self.unsaid += 1;
    }

    fn error(&mut self, agent: usize, error: ErrorEvent) {
        self.problems.push(format!("agent {agent} was sent an error: {error}"));
    }

    fn receipt(&mut self, now: Instant, agent: usize, receipt: Receipt) {
        self.completed.insert(receipt.id);
        self.receipts.push(SeenReceipt { at_us: now.as_micros(), agent, receipt });
    }

    fn arrived(&mut self, now: Instant, agent: usize, message: Message) {
        self.arrivals.push(Arrival { at_us: now.as_micros(), agent, message });
    }
}

impl Record {
    /// This one loses what it knows when its power is cut: it may take a message twice.
    pub(super) fn forgets(&mut self, agent: usize) {
        self.forgetful.insert(agent);
    }

    /// What is sent there is answered by a simulated device, and nobody takes down what that says.
    pub(super) fn echoes(&mut self, to: Destination) {
        self.echoes.insert(to);
    }

    /// The gateway of this one is back, and what waited there has its whole deadline again.
    pub(super) fn back(&mut self, now: Instant, agent: usize) {
        self.back.insert(agent, now);
    }

    /// A message was refused for a reason that everyone may have.
    pub(super) const fn turned_away(&mut self) {
        self.refused += 1;
    }

    /// Something else that should not have been.
    pub(super) fn problem(&mut self, what: String) {
        self.problems.push(what);
    }

    /// Whether such a message was accepted.
    pub(super) fn knows(&self, id: MessageRef) -> bool {
        self.accepted.contains_key(&id)
    }

    /// Whether it is known of every accepted message what became of it.
    pub(super) fn is_completed(&self) -> bool {
        self.accepted.keys().all(|id| self.completed.contains(id))
    }

    pub(super) fn report(
        mut self,
        (trace, transmitted, received, commits): (String, u64, u64, u64),
        ended: Instant,
    ) -> RunReport {
        let open = self.judge(ended);
        let mut by_priority = PerClass::all(0);
        for taken in self.accepted.values() {
            by_priority[taken.said.priority] += 1;
        }
        RunReport {
            trace,
            transmitted,
            received,
            commits,
            ended_us: ended.as_micros(),
            accepted: self.accepted.len(),
            doubtful: self.doubtful.len(),
            unsaid: self.unsaid,
            refused: self.refused,
            open,
            by_priority,
            receipts: self.receipts,
            arrivals: self.arrivals,
            problems: self.problems,
        }
    }
}
