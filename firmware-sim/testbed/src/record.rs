//! What agents saw, and whether that is what a gateway promises.
//!
//! Owns the verdict: everything accepted is delivered exactly once or truthfully reported, in this order, and nothing else is
//! delivered. A simulated device counts as an agent that promises less: see [`Record::forgets`].

use std::collections::{BTreeMap, BTreeSet};

use mesh_agent::api::{Accepted, Body, Destination, ErrorEvent, Message, MessageRef, Name, Outcome, Receipt};
use mesh_protocol::{Duration, Instant, MessageType, PerClass, Priority};
use sha2::{Digest, Sha256};

use super::agent::Witness;

/// Something that an agent was told of its message.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
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

/// A day, seen from its end.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DayReport {
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
    pub receipts: Vec<Told>,
    /// Every message, in the order in which they came.
    pub arrivals: Vec<Arrival>,
    /// What should not have been.
    pub problems: Vec<String>,
}

impl DayReport {
    /// One number for all that happened: the trace, and what every agent was told and given, in order.
    #[must_use]
    pub fn digest(&self) -> String {
        let hash = Sha256::digest(format!("{self:?}"));
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// How many messages ended so, each counted once.
    #[must_use]
    pub fn outcomes(&self, outcome: Outcome) -> usize {
        let ids: BTreeSet<MessageRef> = self
            .receipts
            .iter()
            .filter(|told| told.receipt.outcome == outcome)
            .map(|told| told.receipt.id)
            .collect();
        ids.len()
    }
}

/// Something an agent says.
#[derive(Clone, Debug)]
pub(super) struct Said {
    /// The agent that says it, and the type; `None` for a device, which tells no application.
    pub(super) by: Option<(Name, MessageType)>,
    pub(super) to: Destination,
    pub(super) body: Body,
    pub(super) priority: Priority,
    /// How long it is wanted. Without, its sender has to know what became of it when all is over, whenever that is.
    pub(super) within: Option<Duration>,
    /// The script's number for it.
    pub(super) number: Option<usize>,
}

impl Said {
    /// Whether type and names are those of what came, where both ends are agents.
    fn is_what_came(&self, message: &Message) -> bool {
        let name = |destination: &Destination| match destination {
            Destination::Agent { name, .. } => Some(*name),
            _ => None,
        };
        let (Some((by, kind)), Some(from)) = (self.by, name(&message.from)) else { return true };
        let to = name(&self.to).is_none_or(|to| name(&message.to) == Some(to));
        (by, kind) == (from, message.kind) && to
    }
}

/// Something accepted.
#[derive(Debug)]
struct Taken {
    agent: usize,
    said: Said,
    /// Whether it is on a disk.
    durable: bool,
    at: Instant,
}

/// When its deadline has passed, a sender is told within so much: its session may have to come back. A guess.
const TOLD_WITHIN: Duration = Duration::from_secs(2);

/// Everything seen.
#[derive(Debug, Default)]
pub(super) struct Record {
    accepted: BTreeMap<MessageRef, Taken>,
    doubtful: Vec<Said>,
    pub(super) unsaid: usize,
    refused: usize,
    receipts: Vec<Told>,
    /// Messages that have a receipt.
    settled: BTreeSet<MessageRef>,
    arrivals: Vec<Arrival>,
    /// Those who lose what they know with their power.
    forgetful: BTreeSet<usize>,
    /// When each whose gateway was away had it back.
    back: BTreeMap<usize, Instant>,
    problems: Vec<String>,
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
        self.problems.push(format!("agent {agent} was told of an error: {error}"));
    }

    fn receipt(&mut self, now: Instant, agent: usize, receipt: Receipt) {
        self.settled.insert(receipt.id);
        self.receipts.push(Told { at_us: now.as_micros(), agent, receipt });
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
    pub(super) fn is_settled(&self) -> bool {
        self.accepted.keys().all(|id| self.settled.contains(id))
    }

    pub(super) fn report(
        mut self,
        (trace, transmitted, received, commits): (String, u64, u64, u64),
        ended: Instant,
    ) -> DayReport {
        let open = self.judge(ended);
        let mut by_priority = PerClass::all(0);
        for taken in self.accepted.values() {
            by_priority[taken.said.priority] += 1;
        }
        DayReport {
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

    /// Whether there is still time to tell the sender of a message what became of it.
    fn is_in_time(&self, taken: &Taken, ended: Instant) -> bool {
        let since = self.back.get(&taken.agent).map_or(taken.at, |back| taken.at.max(*back));
        taken.said.within.is_some_and(|within| since + within + TOLD_WITHIN > ended)
    }

    /// Looks for what should not have been; how many messages are still on their way, in time.
    fn judge(&mut self, ended: Instant) -> usize {
        let mut open = 0;
        let mut problems = std::mem::take(&mut self.problems);
        let mut outcomes: BTreeMap<MessageRef, &Told> = BTreeMap::new();
        for told in &self.receipts {
            let before = outcomes.insert(told.receipt.id, told);
            if before.is_some_and(|before| before.receipt.outcome != told.receipt.outcome) {
                problems.push(format!("message {} ended in two ways: {told:?}", told.receipt.id));
            }
            if self.accepted.get(&told.receipt.id).is_some_and(|taken| taken.agent != told.agent) {
                problems.push(format!("somebody else was told what became of message {}", told.receipt.id));
            }
        }
        let mut copies: BTreeMap<(MessageRef, usize), usize> = BTreeMap::new();
        let mut first_at: BTreeMap<MessageRef, u64> = BTreeMap::new();
        for Arrival { agent, message, .. } in &self.arrivals {
            *copies.entry((message.id, *agent)).or_default() += 1;
            let first = first_at.entry(message.id).or_insert(message.at_us);
            *first = message.at_us.min(*first);
            match self.accepted.get(&message.id) {
                Some(taken) if taken.said.body == message.body => {
                    if !taken.said.is_what_came(message) {
                        problems
                            .push(format!("message {} arrived with other names: {message:?}", message.id));
                    }
                }
                Some(_) => problems.push(format!("message {} arrived with other bytes", message.id)),
                // An echo's answer was said by no agent here, but it answers one.
                None if message.reply_to.is_some_and(|asked| self.accepted.contains_key(&asked)) => {}
                None if self.doubtful.iter().any(|said| said.body == message.body) => {}
                None => problems.push(format!("message {} arrived and nobody sent it", message.id)),
            }
        }
        for ((id, agent), count) in &copies {
            if *count > 1 && !self.forgetful.contains(agent) {
                problems.push(format!("message {id} came {count} times to agent {agent}"));
            }
        }
        for (id, taken) in &self.accepted {
            let said = &taken.said;
            let arrived = copies.range((*id, 0)..=(*id, usize::MAX)).count();
            let Some(told) = outcomes.get(id) else {
                if !taken.durable || self.is_in_time(taken, ended) {
                    open += 1;
                    continue;
                }
                problems.push(format!(
                    "message {id} to {} was accepted and nobody was told what became of it",
                    said.to
                ));
                continue;
            };
            let outcome = told.receipt.outcome;
            let here = match said.to {
                Destination::Agent { name, .. } => name.as_str() != "echo",
                Destination::Node(_) => true,
                Destination::Group(_) | Destination::Everyone => false,
            };
            match outcome {
                Outcome::Delivered if here && arrived != 1 => {
                    problems.push(format!(
                        "message {id} to {} was reported delivered and came to {arrived} agents",
                        said.to
                    ));
                }
                // `at_us` is when a gateway had it on its disk; its agent may be shown it later.
                Outcome::Delivered if here && first_at.get(id).is_some_and(|at| *at > told.receipt.at_us) => {
                    problems
                        .push(format!("message {id} to {} was reported delivered before it came", said.to));
                }
                Outcome::Expired | Outcome::Rejected if arrived > 0 => {
                    problems.push(format!("message {id} to {} was reported {outcome:?} and came", said.to));
                }
                _ => {}
            }
        }
        self.problems = problems;
        open
    }
}

#[cfg(test)]
mod tests {
    use mesh_protocol::{Address, MessageId, MessageType};

    use super::*;

    const ID: MessageRef = MessageRef { node: Address::new(1), id: MessageId(7) };

    fn said(text: &str) -> Said {
        let to = "bob".parse().unwrap();
        let by = Some((Name::new("alice").unwrap(), MessageType::Task));
        Said { by, to, body: Body::text(text), priority: Priority::High, within: None, number: None }
    }

    /// Agent 0 has said something to bob, who is agent 1, and it was accepted.
    fn accepted() -> Record {
        let mut record = Record::default();
        record.accepted(
            Instant::ZERO,
            0,
            said("hello"),
            &Accepted { reference: None, id: ID, durable: true, at_us: 0 },
        );
        record
    }

    fn told(record: &mut Record, agent: usize, outcome: Outcome) {
        let receipt = Receipt {
            cursor: None,
            reference: None,
            id: ID,
            outcome,
            at_node: None,
            why: None,
            hops: None,
            at_us: 0,
        };
        record.receipt(Instant::ZERO, agent, receipt);
    }

    fn came(record: &mut Record, text: &str) {
        came_from(record, "alice", text);
    }

    fn came_from(record: &mut Record, from: &str, text: &str) {
        let message = Message {
            cursor: None,
            id: ID,
            from: Destination::agent_on(Name::new(from).unwrap(), ID.node),
            to: "bob".parse().unwrap(),
            kind: MessageType::Task,
            priority: Priority::High,
            reply_to: None,
            hops: 1,
            at_us: 0,
            body: Body::text(text),
        };
        record.arrived(Instant::ZERO, 1, message);
    }

    fn problems(record: Record) -> Vec<String> {
        record.report((String::new(), 0, 0, 0), Instant::ZERO).problems
    }

    #[test]
    fn what_is_promised_is_no_problem() {
        for outcome in [Outcome::Delivered, Outcome::Unknown] {
            let mut record = accepted();
            assert!(!record.is_settled());
            told(&mut record, 0, outcome);
            came(&mut record, "hello");
            // A power cut has swallowed the ack of the receipt.
            told(&mut record, 0, outcome);
            assert!(record.is_settled());
            assert_eq!(problems(record), Vec::<String>::new());
        }
        for outcome in [Outcome::Expired, Outcome::Rejected, Outcome::Unknown] {
            let mut record = accepted();
            told(&mut record, 0, outcome);
            assert_eq!(problems(record), Vec::<String>::new());
        }
        let mut doubtful = Record::default();
        doubtful.doubt(Instant::ZERO, said("hello"));
        came(&mut doubtful, "hello");
        assert_eq!(problems(doubtful), Vec::<String>::new());
    }

    #[test]
    fn every_lie_and_every_loss_is_a_problem() {
        type Deed = fn(&mut Record);
        let cases: [(&str, &[Deed]); 9] = [
            ("nobody was told", &[|record| came(record, "hello")]),
            ("came to 0 agents", &[|record| told(record, 0, Outcome::Delivered)]),
            (
                "came 2 times",
                &[
                    |record| told(record, 0, Outcome::Delivered),
                    |record| came(record, "hello"),
                    |record| came(record, "hello"),
                ],
            ),
            (
                "Expired and came",
                &[|record| told(record, 0, Outcome::Expired), |record| came(record, "hello")],
            ),
            (
                "Rejected and came",
                &[|record| told(record, 0, Outcome::Rejected), |record| came(record, "hello")],
            ),
            ("other bytes", &[|record| told(record, 0, Outcome::Delivered), |record| came(record, "hollo")]),
            (
                "other names",
                &[|record| told(record, 0, Outcome::Delivered), |record| came_from(record, "carol", "hello")],
            ),
            (
                "two ways",
                &[|record| told(record, 0, Outcome::Unknown), |record| told(record, 0, Outcome::Expired)],
            ),
            ("somebody else", &[|record| told(record, 1, Outcome::Expired)]),
        ];
        for (problem, deeds) in cases {
            let mut record = accepted();
            deeds.iter().for_each(|deed| deed(&mut record));
            let found = problems(record);
            assert!(found.len() == 1 && found[0].contains(problem), "{problem}: {found:?}");
        }
        let mut stranger = Record::default();
        came(&mut stranger, "hello");
        assert!(problems(stranger)[0].contains("nobody sent it"));
    }

    #[test]
    fn a_receipt_before_the_delivery_is_a_problem() {
        for (came_at, told_at, wrong) in [(5, 5, false), (5, 7, false), (5, 4, true)] {
            let mut record = accepted();
            told(&mut record, 0, Outcome::Delivered);
            came(&mut record, "hello");
            record.receipts[0].receipt.at_us = told_at;
            record.arrivals[0].message.at_us = came_at;
            let found = problems(record);
            assert_eq!(found.iter().any(|problem| problem.contains("before it came")), wrong, "{found:?}");
        }
    }

    #[test]
    fn who_has_time_left_need_not_be_told_yet() {
        let at = |secs| Instant::ZERO + Duration::from_secs(secs);
        let wanted = |durable| {
            let mut record = Record::default();
            let said = Said { within: Some(Duration::from_secs(5)), ..said("hello") };
            record.accepted(at(0), 0, said, &Accepted { reference: None, id: ID, durable, at_us: 0 });
            record
        };
        let report = |record: Record, ended| {
            let report = record.report((String::new(), 0, 0, 0), at(ended));
            (report.open, report.problems.len())
        };
        assert_eq!(report(wanted(true), 6), (1, 0));
        assert_eq!(report(wanted(true), 7), (0, 1), "five seconds and two are over");
        let mut back = wanted(true);
        back.back(at(4), 0);
        assert_eq!(report(back, 10), (1, 0), "it has its whole deadline again");
        assert_eq!(report(wanted(false), 100), (1, 0), "nobody has promised to tell");
    }

    #[test]
    fn only_who_loses_its_memory_may_take_a_message_twice() {
        for (forgetful, wrong) in [(1, 0), (2, 1)] {
            let mut record = accepted();
            record.forgets(forgetful);
            told(&mut record, 0, Outcome::Delivered);
            came(&mut record, "hello");
            came(&mut record, "hello");
            assert_eq!(problems(record).len(), wrong, "{forgetful} forgets, 1 has it twice");
        }
    }
}
