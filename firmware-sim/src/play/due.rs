//! Which message of a scenario is due when.
//!
//! Owns the plan of open traffic and the closed loops, whose next message waits for the one before. Who posts them, and what becomes of
//! them, is the run's business.

use std::collections::{BTreeMap, VecDeque};

use mesh_protocol::{Duration, Instant};

use crate::scenario::{ClosedLoop, Pattern, Planned, Scenario, Traffic};
use crate::stack::Target;

/// A message to be sent now.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    /// The traffic it belongs to: an index of [`Scenario::traffic`].
    pub traffic: u32,
    /// The node that sends it.
    pub from: u32,
    /// Who receives it.
    pub to: Target,
    /// The loop it belongs to, if any.
    pub(super) looped: Option<usize>,
}

/// A loop that goes on.
#[derive(Debug)]
struct Loop {
    loops: ClosedLoop,
    state: LoopState,
}

/// What a loop waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LoopState {
    /// The time of its next message.
    Next(Instant),
    /// Its message to be posted.
    Posting,
    /// That message, by its number, to come back; no longer than until then.
    Message(usize, Instant),
    /// Nothing any more.
    Ended,
}

/// What is due.
#[derive(Debug)]
pub(super) struct Due {
    plan: VecDeque<Planned>,
    loops: Vec<Loop>,
    /// Which loop a message belongs to.
    waiting: BTreeMap<usize, usize>,
    start: Instant,
}

impl Due {
    pub(super) fn new(scenario: &Scenario, seed: u64) -> Self {
        let start = Instant::ZERO + scenario.settle;
        let loops = scenario.loops(seed).into_iter().map(|loops| {
            let state = LoopState::Next(start + loops.start);
            Loop { loops, state }
        });
        Self { plan: scenario.plan(seed).into(), loops: loops.collect(), waiting: BTreeMap::new(), start }
    }

    /// When something is due next.
    pub(super) fn next(&self) -> Option<Instant> {
        let planned = self.plan.front().map(|planned| self.start + planned.at);
        let loops = self.loops.iter().filter_map(|looped| match looped.state {
            LoopState::Next(at) | LoopState::Message(_, at) => Some(at),
            LoopState::Posting | LoopState::Ended => None,
        });
        loops.chain(planned).min()
    }

    /// The messages that are to be sent at `now`, in the order of the scenario.
    pub(super) fn take(&mut self, now: Instant) -> Vec<Message> {
        let mut due = Vec::new();
        while let Some(planned) = self.plan.front().filter(|planned| self.start + planned.at <= now) {
            let &Planned { traffic, from, to, .. } = planned;
            due.push(Message { traffic, from, to, looped: None });
            self.plan.pop_front();
        }
        self.check(now);
        for (number, looped) in self.loops.iter_mut().enumerate() {
            let LoopState::Next(at) = looped.state else { continue };
            if at > now {
                continue;
            }
            let over = now >= self.start + looped.loops.stop;
            looped.state = LoopState::Ended;
            if let Some((from, to)) = looped.loops.next().filter(|_| !over) {
                looped.state = LoopState::Posting;
                due.push(Message { traffic: looped.loops.traffic, from, to, looped: Some(number) });
            }
        }
        due.sort_by_key(|message| message.traffic);
        due
    }

    /// A loop's message was taken under this number; it is wanted until then.
    pub(super) fn posted(&mut self, looped: usize, message: usize, until: Instant) {
        self.loops[looped].state = LoopState::Message(message, until);
        self.waiting.insert(message, looped);
    }

    /// A loop's message came to its end at once.
    pub(super) fn ended(&mut self, looped: usize, now: Instant) {
        // Not at the same moment again: a refusal may last.
        let pause = self.loops[looped].loops.pause.max(Duration::from_millis(1));
        self.loops[looped].state = LoopState::Next(now + pause);
    }

    /// A message has come back; if a loop waits for it, that goes on.
    pub(super) fn came_back(&mut self, message: usize, now: Instant) {
        if let Some(looped) = self.waiting.remove(&message) {
            self.loops[looped].state = LoopState::Next(now + self.loops[looped].loops.pause);
        }
    }

    /// Gives up waiting for what is not wanted any more.
    pub(super) fn check(&mut self, now: Instant) {
        for looped in &mut self.loops {
            if let LoopState::Message(message, until) = looped.state
                && until <= now
            {
                self.waiting.remove(&message);
                looped.state = LoopState::Next(until + looped.loops.pause);
            }
        }
    }
}

impl Traffic {
    /// Whether the receiver answers each message.
    pub(crate) const fn is_echo(&self) -> bool {
        matches!(self.pattern, Pattern::Ping { .. })
    }
}
