//! What is counted: how often things happened, and how well messages get through, from the messages that ended.
//!
//! Owns the counts and the windows they are taken from. A message counts when it is completed. One between two agents of this gateway
//! counts for the gateway's own address, and takes no time: it is delivered when it is accepted. What is near and how well it hears is the node's to know.
//!
//! Full: the node whose last message was completed longest ago gives way.

use std::collections::{BTreeMap, VecDeque};

use mesh_agent::api::{Figures, Outcome};
use mesh_protocol::{Address, Duration, Instant, MessageType, Priority};

/// The most nodes with figures of their own. A guess: as many as a network of one gateway's agents talks to.
const NODES: usize = 256;

/// One message that ended: whether well, and after what time if it was delivered.
#[derive(Clone, Copy, Debug)]
struct End {
    well: bool,
    latency: Option<Duration>,
}

/// The last [`Figures::WINDOW`] ends.
#[derive(Clone, Debug, Default)]
struct Window {
    ends: VecDeque<End>,
    completed: u64,
    last: Option<Instant>,
}

impl Window {
    fn push(&mut self, now: Instant, end: End) {
        if self.ends.len() == Figures::WINDOW {
            self.ends.pop_front();
        }
        self.ends.push_back(end);
        self.completed += 1;
        self.last = Some(now);
    }

    fn figures(&self) -> Figures {
        let share = |part: usize| part as f32 / self.ends.len() as f32;
        let mut latencies: Vec<u64> =
            self.ends.iter().filter_map(|end| Some(end.latency?.as_micros())).collect();
        latencies.sort_unstable();
        let ms = |us: u64| us as f32 / 1e3;
        let at = |percent: usize| {
            latencies.get((latencies.len() * percent / 100).min(latencies.len().saturating_sub(1)))
        };
        let mean = latencies.iter().sum::<u64>().checked_div(latencies.len() as u64);
        Figures {
            settled: self.completed,
            success_rate: (!self.ends.is_empty())
                .then(|| share(self.ends.iter().filter(|end| end.well).count())),
            average_latency_ms: mean.map(ms),
            p50_latency_ms: at(50).copied().map(ms),
            p99_latency_ms: at(99).copied().map(ms),
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// How often each thing happened, under the name that `status` has for it.
    events: BTreeMap<&'static str, u64>,
    overall: Window,
    nodes: BTreeMap<Address, Window>,
    by_type: BTreeMap<&'static str, u64>,
    by_priority: BTreeMap<&'static str, u64>,
    by_outcome: BTreeMap<&'static str, u64>,
}

/// A message that ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Completed {
    /// The node whose figures it counts in: the one it was for, if that is known and had its part in how it ended.
    pub(super) to: Option<Address>,
    pub(super) kind: MessageType,
    pub(super) priority: Priority,
    pub(super) outcome: Outcome,
    /// Since it was accepted, if that was in this run of the gateway.
    pub(super) age: Option<Duration>,
}

impl Counts {
    /// Something happened once more.
    pub(super) fn count(&mut self, what: &'static str) {
        *self.events.entry(what).or_default() += 1;
    }

    /// How often each thing happened.
    pub(super) fn events(&self) -> &BTreeMap<&'static str, u64> {
        &self.events
    }

    pub(super) fn completed(&mut self, now: Instant, message: Completed) {
        let Completed { to, kind, priority, outcome, age } = message;
        let delivered = matches!(outcome, Outcome::Delivered | Outcome::Processed);
        let end = End { well: delivered || outcome == Outcome::Sent, latency: age.filter(|_| delivered) };
        self.overall.push(now, end);
        if let Some(node) = to.filter(|to| to.is_node()) {
            if !self.nodes.contains_key(&node)
                && self.nodes.len() >= NODES
                && let Some(oldest) =
                    self.nodes.iter().min_by_key(|(_, window)| window.last).map(|(node, _)| *node)
            {
                self.nodes.remove(&oldest);
            }
            self.nodes.entry(node).or_default().push(now, end);
        }
        *self.by_type.entry(kind.name()).or_default() += 1;
        *self.by_priority.entry(priority.name()).or_default() += 1;
        *self.by_outcome.entry(word(outcome)).or_default() += 1;
    }

    /// Completed messages of each type.
    pub(super) fn by_type(&self) -> &BTreeMap<&'static str, u64> {
        &self.by_type
    }

    /// Completed messages of each priority.
    pub(super) fn by_priority(&self) -> &BTreeMap<&'static str, u64> {
        &self.by_priority
    }

    /// Completed messages by what became of them.
    pub(super) fn by_outcome(&self) -> &BTreeMap<&'static str, u64> {
        &self.by_outcome
    }

    pub(super) fn overall(&self) -> Figures {
        self.overall.figures()
    }

    /// The figures of each node that messages went to.
    pub(super) fn nodes(&self) -> BTreeMap<Address, Figures> {
        self.nodes.iter().map(|(node, window)| (*node, window.figures())).collect()
    }
}

/// As the agents' protocol has it.
const fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Delivered => "delivered",
        Outcome::Processed => "processed",
        Outcome::Sent => "sent",
        Outcome::Expired => "expired",
        Outcome::Rejected => "rejected",
        Outcome::Unknown => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(to: u16, outcome: Outcome, ms: u64) -> Completed {
        Completed {
            to: Some(Address::new(to)),
            kind: MessageType::Task,
            priority: Priority::High,
            outcome,
            age: Some(Duration::from_millis(ms)),
        }
    }

    #[test]
    fn figures_are_of_what_ended_and_absent_without() {
        let mut counts = Counts::default();
        assert_eq!(counts.overall(), Figures::default());
        for n in 1..=99 {
            counts.completed(Instant::ZERO, completed(2, Outcome::Delivered, n));
        }
        counts.completed(Instant::ZERO, completed(2, Outcome::Unknown, 60_000));
        counts.completed(Instant::ZERO, completed(0xFFFF, Outcome::Sent, 10));
        let to_two = counts.nodes()[&Address::new(2)];
        assert_eq!(to_two.settled, 100);
        assert_eq!(to_two.success_rate, Some(0.99));
        let latencies = [to_two.average_latency_ms, to_two.p50_latency_ms, to_two.p99_latency_ms];
        assert_eq!(latencies, [Some(50.0), Some(50.0), Some(99.0)], "what never arrived has no latency");
        assert_eq!(counts.nodes().len(), 1, "everyone is no node");
        assert_eq!(counts.overall().settled, 101);
        assert_eq!(counts.by_outcome, BTreeMap::from([("delivered", 99), ("sent", 1), ("unknown", 1)]));
        assert_eq!(counts.by_type, BTreeMap::from([("TASK", 101)]));
    }

    #[test]
    fn old_ends_leave_the_window_and_old_nodes_the_table() {
        let mut counts = Counts::default();
        for _ in 0..10 {
            counts.completed(Instant::ZERO, completed(1, Outcome::Unknown, 0));
        }
        for n in 0..Figures::WINDOW as u64 {
            counts.completed(Instant::ZERO + Duration::from_secs(n), completed(1, Outcome::Delivered, 5));
        }
        assert_eq!(counts.nodes()[&Address::new(1)].success_rate, Some(1.0));
        for node in 2..=NODES as u16 + 1 {
            let now = Instant::ZERO + Duration::from_secs(1_000 + u64::from(node));
            counts.completed(now, completed(node, Outcome::Delivered, 5));
        }
        assert_eq!(counts.nodes().len(), NODES);
        assert!(!counts.nodes().contains_key(&Address::new(1)));
    }
}
