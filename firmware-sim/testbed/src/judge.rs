//! Whether what agents saw is what a gateway promises: everything accepted is delivered exactly once or truthfully reported, in this
//! order, and nothing else is delivered.

use std::collections::BTreeMap;

use mesh_agent::api::{Destination, Message, MessageRef, Outcome};
use mesh_protocol::{Duration, Instant};

use super::record::{Record, Taken};
use super::report::{Arrival, SeenReceipt};

/// When its deadline has passed, a sender has its receipt within so much: its session may have to come back. A guess.
const REPORTED_WITHIN: Duration = Duration::from_secs(2);

/// How often a message came to each agent.
type Copies = BTreeMap<(MessageRef, usize), usize>;

impl Record {
    /// Looks for what should not have been; how many messages are still on their way, in time.
    pub(super) fn judge(&mut self, ended: Instant) -> usize {
        let mut problems = std::mem::take(&mut self.problems);
        let outcomes = self.judge_receipts(&mut problems);
        let (copies, first_at) = self.judge_arrivals(&mut problems);
        let mut open = 0;
        for (id, taken) in &self.accepted {
            let arrived = copies.range((*id, 0)..=(*id, usize::MAX)).count();
            if arrived > 1 && matches!(taken.said.to, Destination::Agent { .. } | Destination::Node(_)) {
                problems.push(format!("message {id} to {} came to {arrived} agents", taken.said.to));
            }
            match outcomes.get(id) {
                Some(seen) => {
                    problems.extend(untrue(*id, taken, seen, arrived, first_at.get(id).copied()));
                }
                None if !taken.durable || self.is_in_time(taken, ended) => open += 1,
                None => problems.push(format!(
                    "message {id} to {} was accepted and nobody was told what became of it",
                    taken.said.to
                )),
            }
        }
        self.problems = problems;
        open
    }

    /// What should not have been in a run that is over, so that it is to be known of everything what became of it.
    pub(super) fn problems(mut self, ended: Instant) -> Vec<String> {
        let open = self.judge(ended);
        if open > 0 {
            self.problems
                .push(format!("{open} messages were accepted and nobody was told what became of them"));
        }
        self.problems
    }

    /// Whether there is still time to tell the sender of a message what became of it.
    fn is_in_time(&self, taken: &Taken, ended: Instant) -> bool {
        let since = self.back.get(&taken.agent).map_or(taken.at, |back| taken.at.max(*back));
        taken.said.within.is_some_and(|within| since + within + REPORTED_WITHIN > ended)
    }

    /// Each message has one outcome, which its sender alone is shown. The last receipt of each.
    fn judge_receipts(&self, problems: &mut Vec<String>) -> BTreeMap<MessageRef, &SeenReceipt> {
        let mut outcomes: BTreeMap<MessageRef, &SeenReceipt> = BTreeMap::new();
        for seen in &self.receipts {
            let before = outcomes.insert(seen.receipt.id, seen);
            if before.is_some_and(|before| before.receipt.outcome != seen.receipt.outcome) {
                problems.push(format!("message {} ended in two ways: {seen:?}", seen.receipt.id));
            }
            if self.accepted.get(&seen.receipt.id).is_some_and(|taken| taken.agent != seen.agent) {
                problems.push(format!("somebody else was told what became of message {}", seen.receipt.id));
            }
        }
        outcomes
    }

    /// Whether a simulated device answers this agent, which asked it: no agent here has said that.
    fn is_answer_of_echo(&self, agent: usize, message: &Message) -> bool {
        let asked = message.reply_to.and_then(|asked| self.accepted.get(&asked));
        asked.is_some_and(|asked| asked.agent == agent && self.echoes.contains(&asked.said.to))
    }

    /// What came is what was sent, once. How often each message came to whom, and when first.
    fn judge_arrivals(&self, problems: &mut Vec<String>) -> (Copies, BTreeMap<MessageRef, u64>) {
        let mut copies = Copies::new();
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
                None if self.is_answer_of_echo(*agent, message) => {}
                None if self.doubtful.iter().any(|said| said.body == message.body) => {}
                None => problems.push(format!("message {} arrived and nobody sent it", message.id)),
            }
        }
        for ((id, agent), count) in &copies {
            if *count > 1 && !self.forgetful.contains(agent) {
                problems.push(format!("message {id} came {count} times to agent {agent}"));
            }
        }
        (copies, first_at)
    }
}

/// What is untrue of the receipt of a message that came to so many agents, first at that moment.
fn untrue(
    id: MessageRef,
    taken: &Taken,
    seen: &SeenReceipt,
    arrived: usize,
    first_at: Option<u64>,
) -> Option<String> {
    let (to, outcome) = (taken.said.to, seen.receipt.outcome);
    let to_many = matches!(to, Destination::Group(_) | Destination::Everyone);
    // What an echo takes arrives at a simulated device, where no agent sees it.
    let here = !to_many && !matches!(to, Destination::Agent { name, .. } if name.as_str() == "echo");
    match outcome {
        Outcome::Delivered | Outcome::Processed if here && arrived == 0 => {
            Some(format!("message {id} to {to} was reported {outcome:?} and never came"))
        }
        // `at_us` is when a gateway had it on its disk; its agent may be shown it later.
        Outcome::Delivered | Outcome::Processed
            if here && first_at.is_some_and(|at| at > seen.receipt.at_us) =>
        {
            Some(format!("message {id} to {to} was reported {outcome:?} before it came"))
        }
        Outcome::Sent if !to_many => {
            Some(format!("message {id} to {to} was reported {outcome:?}, which is for groups and everyone"))
        }
        Outcome::Expired | Outcome::Rejected if arrived > 0 => {
            Some(format!("message {id} to {to} was reported {outcome:?} and came"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use mesh_agent::api::{Accepted, Body, Name, Receipt};
    use mesh_protocol::{Address, MessageId, MessageType, Priority};

    use super::super::witness::{Said, Witness};
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

    fn receipt(record: &mut Record, agent: usize, outcome: Outcome) {
        let receipt = Receipt {
            cursor: None,
            reference: None,
            id: ID,
            outcome,
            at_node: None,
            why: None,
            hops: None,
            at_us: 0,
            detail: None,
        };
        record.receipt(Instant::ZERO, agent, receipt);
    }

    fn came(record: &mut Record, text: &str) {
        came_from(record, "alice", text);
    }

    fn came_from(record: &mut Record, from: &str, text: &str) {
        record.arrived(Instant::ZERO, 1, message(from, text));
    }

    fn message(from: &str, text: &str) -> Message {
        Message {
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
        }
    }

    fn problems(record: Record) -> Vec<String> {
        record.report((String::new(), 0, 0, 0), Instant::ZERO).problems
    }

    #[test]
    fn what_is_promised_is_no_problem() {
        for outcome in [Outcome::Delivered, Outcome::Processed, Outcome::Unknown] {
            let mut record = accepted();
            assert!(!record.is_completed());
            receipt(&mut record, 0, outcome);
            came(&mut record, "hello");
            // A power cut has swallowed the ack of the receipt.
            receipt(&mut record, 0, outcome);
            assert!(record.is_completed());
            assert_eq!(problems(record), Vec::<String>::new());
        }
        for outcome in [Outcome::Expired, Outcome::Rejected, Outcome::Unknown] {
            let mut record = accepted();
            receipt(&mut record, 0, outcome);
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
        let cases: [(&str, &[Deed]); 13] = [
            ("nobody was told", &[|record| came(record, "hello")]),
            ("Delivered and never came", &[|record| receipt(record, 0, Outcome::Delivered)]),
            ("Processed and never came", &[|record| receipt(record, 0, Outcome::Processed)]),
            (
                "Sent, which is for groups",
                &[|record| receipt(record, 0, Outcome::Sent), |record| came(record, "hello")],
            ),
            (
                "came to 2 agents",
                &[
                    |record| receipt(record, 0, Outcome::Delivered),
                    |record| came(record, "hello"),
                    |record| record.arrived(Instant::ZERO, 2, message("alice", "hello")),
                ],
            ),
            (
                "came to 2 agents",
                &[
                    |record| receipt(record, 0, Outcome::Unknown),
                    |record| came(record, "hello"),
                    |record| record.arrived(Instant::ZERO, 2, message("alice", "hello")),
                ],
            ),
            (
                "came 2 times",
                &[
                    |record| receipt(record, 0, Outcome::Delivered),
                    |record| came(record, "hello"),
                    |record| came(record, "hello"),
                ],
            ),
            (
                "Expired and came",
                &[|record| receipt(record, 0, Outcome::Expired), |record| came(record, "hello")],
            ),
            (
                "Rejected and came",
                &[|record| receipt(record, 0, Outcome::Rejected), |record| came(record, "hello")],
            ),
            (
                "other bytes",
                &[|record| receipt(record, 0, Outcome::Delivered), |record| came(record, "hollo")],
            ),
            (
                "other names",
                &[
                    |record| receipt(record, 0, Outcome::Delivered),
                    |record| came_from(record, "carol", "hello"),
                ],
            ),
            (
                "two ways",
                &[
                    |record| receipt(record, 0, Outcome::Unknown),
                    |record| receipt(record, 0, Outcome::Expired),
                ],
            ),
            ("somebody else", &[|record| receipt(record, 1, Outcome::Expired)]),
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
    fn an_answer_that_nobody_said_is_excused_only_where_its_asker_asked_an_echo() {
        for (echo, agent, wrong) in
            [(Some("bob"), 0, 0), (Some("carol"), 0, 1), (None, 0, 1), (Some("bob"), 2, 1)]
        {
            let mut record = accepted();
            if let Some(echo) = echo {
                record.echoes(echo.parse().unwrap());
            }
            receipt(&mut record, 0, Outcome::Delivered);
            came(&mut record, "hello");
            let id = MessageRef { node: Address::new(2), id: MessageId(1) };
            let answer = Message { id, reply_to: Some(ID), ..message("bob", "hello") };
            record.arrived(Instant::ZERO, agent, answer);
            let found = problems(record);
            assert_eq!(found.len(), wrong, "{echo:?} {agent}: {found:?}");
            assert!(found.iter().all(|problem| problem.contains("nobody sent it")), "{found:?}");
        }
    }

    #[test]
    fn a_group_may_be_many() {
        let mut record = Record::default();
        let said = Said { to: "group:team".parse().unwrap(), ..said("hello") };
        record.accepted(
            Instant::ZERO,
            0,
            said,
            &Accepted { reference: None, id: ID, durable: true, at_us: 0 },
        );
        receipt(&mut record, 0, Outcome::Sent);
        for agent in [1, 2] {
            let to = "group:team".parse().unwrap();
            record.arrived(Instant::ZERO, agent, Message { to, ..message("alice", "hello") });
        }
        assert_eq!(problems(record), Vec::<String>::new());
    }

    #[test]
    fn a_receipt_before_the_delivery_is_a_problem() {
        let outcomes = [Outcome::Delivered, Outcome::Processed];
        let times = [(5, 5, false), (5, 7, false), (5, 4, true)];
        for (outcome, (came_at, told_at, wrong)) in
            outcomes.into_iter().flat_map(|one| times.map(|at| (one, at)))
        {
            let mut record = accepted();
            receipt(&mut record, 0, outcome);
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
            receipt(&mut record, 0, Outcome::Delivered);
            came(&mut record, "hello");
            came(&mut record, "hello");
            assert_eq!(problems(record).len(), wrong, "{forgetful} forgets, 1 has it twice");
        }
    }
}
