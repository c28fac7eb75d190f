//! The course of a scenario: which messages are due when, what became of each, and whether more is to come.
//!
//! Owns the messages and their counting. Who sends them, and on what air, is up to the player: [`super::play`], or real gateways.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mesh_protocol::Instant;

use super::due::Due;
pub use super::due::Message;
use crate::results::MessageResult;
use crate::scenario::{FaultKind, Scenario, ScheduledFault};
use crate::stack::{Arrival, Order, ReportedOutcome, StackKind, Target};

/// See the module.
///
/// The player asks [`next`](Self::next) when to [`take`](Self::take) what is due, says of each message that it is
/// [`offered`](Self::offered) and then that it was [`accepted`](Self::accepted) or [`refused`](Self::refused), and passes on what
/// [`arrived`](Self::arrived) and what senders were [`reported`](Self::reported).
#[derive(Debug)]
pub struct Course {
    scenario: Arc<Scenario>,
    stack: StackKind,
    due: Due,
    messages: Vec<MessageResult>,
    /// The loop each message belongs to, if any.
    loops: Vec<Option<usize>>,
    /// Whose they are: sender and its number for it.
    known: BTreeMap<(u32, u32), usize>,
    /// Which message reached whom.
    reached: BTreeSet<(usize, u32)>,
    closed: BTreeSet<usize>,
    nodes: u32,
    /// Messages whose end the run waits for.
    open: usize,
}

impl Course {
    /// The course of a scenario with such a seed, at its beginning.
    #[must_use]
    pub fn new(scenario: Arc<Scenario>, stack: StackKind, seed: u64) -> Self {
        Self {
            stack,
            due: Due::new(&scenario, seed),
            messages: Vec::new(),
            loops: Vec::new(),
            known: BTreeMap::new(),
            reached: BTreeSet::new(),
            closed: BTreeSet::new(),
            nodes: scenario.node_count(),
            open: 0,
            scenario,
        }
    }

    /// The scenario.
    #[must_use]
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// Until when messages are sent.
    #[must_use]
    pub fn last(&self) -> Instant {
        Instant::ZERO + self.scenario.settle + self.scenario.offered
    }

    /// When everything ends, whether or not every message is complete.
    #[must_use]
    pub fn end(&self) -> Instant {
        self.last() + self.scenario.drain
    }

    /// When something is to be taken next; `None` when nothing more is sent.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        let last = self.last();
        self.due.next().filter(|next| *next <= last)
    }

    /// Messages whose end is waited for.
    #[must_use]
    pub const fn open(&self) -> usize {
        self.open
    }

    /// The messages that are to be sent now, in the order of the scenario.
    pub fn take(&mut self, now: Instant) -> Vec<Message> {
        self.due.take(now)
    }

    /// What is to be sent.
    #[must_use]
    pub fn order(&self, message: &Message) -> Order {
        let settings = &self.scenario.traffic[message.traffic as usize];
        Order {
            to: message.to,
            kind: settings.kind,
            priority: settings.priority,
            body: vec![0x55; settings.bytes as usize],
            within: settings.deadline,
            echo: settings.is_echo(),
        }
    }

    /// The scenario wants a message sent; its number here.
    pub fn offered(&mut self, now: Instant, message: &Message) -> usize {
        let settings = &self.scenario.traffic[message.traffic as usize];
        let to = match message.to {
            Target::Node(to) => Some(to),
            Target::Everyone => None,
        };
        self.messages.push(MessageResult {
            traffic: message.traffic,
            from: message.from,
            to,
            offered_us: now.as_micros(),
            priority: settings.priority.name().to_owned(),
            kind: settings.kind.name().to_owned(),
            bytes: settings.bytes,
            wanted: if to.is_none() { self.nodes - 1 } else { 1 },
            ..MessageResult::default()
        });
        self.loops.push(message.looped);
        self.messages.len() - 1
    }

    /// The sender's stack has taken a message, and calls it so.
    pub fn accepted(&mut self, now: Instant, number: usize, id: u32) {
        let Some(message) = self.messages.get_mut(number) else { return };
        message.sent_us = Some(now.as_micros());
        self.known.insert((message.from, id), number);
        self.open += 1;
        let deadline = self.scenario.traffic[message.traffic as usize].deadline;
        if let Some(looped) = self.loops[number] {
            self.due.posted(looped, number, now + deadline);
        }
    }

    /// The sender's stack has not taken a message.
    pub fn refused(&mut self, now: Instant, number: usize, why: &str) {
        let Some(message) = self.messages.get_mut(number) else { return };
        message.refused = Some(why.to_owned());
        if let Some(looped) = self.loops[number] {
            self.due.ended(looped, now);
        }
    }

    /// Something has reached the application of a node.
    pub fn arrived(&mut self, now: Instant, at: u32, arrival: &Arrival) {
        if let Some(asked) = arrival.answers {
            // An answer is known by its question, whose sender is the node that it arrives at.
            let Some(&number) = self.known.get(&(at, asked)) else { return };
            let message = &mut self.messages[number];
            if message.answered_us.is_none() {
                message.answered_us = Some(arrival.at.as_micros());
                self.complete_if_done(number, now);
            }
            return;
        }
        let Some(&number) = self.known.get(&(arrival.from, arrival.id)) else { return };
        // Counted for each receiver: a message to everyone arrives often without being a duplicate.
        let first = self.reached.insert((number, at));
        let message = &mut self.messages[number];
        if first {
            message.reached += 1;
            message.delivered_us = Some(arrival.at.as_micros());
            message.hops = message.hops.max(Some(arrival.hops));
            self.complete_if_done(number, now);
        } else {
            message.duplicates += 1;
        }
    }

    /// The stack of a sender has reported what became of the message that it calls so.
    pub fn reported(&mut self, now: Instant, at: u32, id: u32, outcome: ReportedOutcome) {
        let Some(&number) = self.known.get(&(at, id)) else { return };
        let message = &mut self.messages[number];
        if message.outcome.is_none() {
            message.outcome = Some(outcome.name().to_owned());
            self.complete_if_done(number, now);
        }
    }

    /// The message that a sender's stack calls so.
    #[must_use]
    pub fn number(&self, from: u32, id: u32) -> Option<usize> {
        self.known.get(&(from, id)).copied()
    }

    /// Gives up waiting for answers that are not wanted any more.
    pub fn check(&mut self, now: Instant) {
        self.due.check(now);
    }

    /// Completes a message of which nothing more is expected.
    fn complete_if_done(&mut self, number: usize, now: Instant) {
        let message = &self.messages[number];
        let settings = &self.scenario.traffic[message.traffic as usize];
        let reported = message.outcome.is_some() || !self.stack.reports(settings.bytes, message.to.is_some());
        let failed = message.outcome.as_deref().is_some_and(|outcome| {
            outcome != ReportedOutcome::Delivered.name() && outcome != ReportedOutcome::Sent.name()
        });
        let reached = message.reached == message.wanted;
        let answered = !settings.is_echo() || message.answered_us.is_some();
        // A failure ends a message to one node. Of one to everyone, some receivers may still get it.
        let done = (reached && reported && answered) || (failed && message.to.is_some());
        if done && self.closed.insert(number) {
            self.open -= 1;
        }
        // A loop goes on once its message has come back, or its end is known. Of one to everyone no more is known than that
        // it was sent.
        let sent = message.to.is_none() && message.outcome.is_some();
        let goes_on = if settings.is_echo() { message.answered_us.is_some() } else { done || sent };
        if goes_on {
            self.due.came_back(number, now);
        }
    }

    /// The messages, in the order in which they were offered, as they are now.
    #[must_use]
    pub fn messages(&self, now: Instant) -> Vec<MessageResult> {
        let mut messages = self.messages.clone();
        for message in &mut messages {
            message.silent = self.is_silent(message, now);
        }
        messages
    }

    /// Whether a message was taken and lost without a report to its sender in time. Only of stacks that report every loss; a sender
    /// whose power was cut gets no report.
    fn is_silent(&self, message: &MessageResult, now: Instant) -> bool {
        let Some(sent) = message.sent_us.filter(|_| self.stack.reports_losses() && message.reached == 0)
        else {
            return false;
        };
        let deadline = self.scenario.traffic[message.traffic as usize].deadline;
        let over = Instant::from_micros(sent) + deadline <= now;
        let cut = |fault: &ScheduledFault| matches!(fault.what, FaultKind::Crash { node, .. } if node == message.from);
        match message.outcome.as_deref() {
            None => over && !self.scenario.faults.iter().any(cut),
            outcome => outcome == Some(ReportedOutcome::Delivered.name()),
        }
    }
}
