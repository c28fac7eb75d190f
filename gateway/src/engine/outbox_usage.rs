//! How much of the outbox is used, by all agents and by each.
//!
//! Owns the bounds. Full: a new message is refused; nothing accepted is ever dropped.

use std::collections::BTreeMap;

use mesh_agent::api::Name;
use mesh_protocol::Priority;

use super::accepted::Accepted;
use crate::share::for_priority;

/// Messages and bytes that may wait. Guesses: hours of what the air carries, and little beside a Pi's memory.
const MESSAGES: usize = 10_000;
const BYTES: usize = 32 * 1024 * 1024;
/// One agent may fill this part of it: a hasty one leaves room to the others.
const SHARE: usize = 4;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct OutboxUsage {
    messages: usize,
    bytes: usize,
    /// Messages and bytes of each agent. None has none.
    of_agent: BTreeMap<Name, (usize, usize)>,
    /// How many of each agent will wait for an ack once they are delivered. None is zero.
    requests: BTreeMap<Name, usize>,
}

impl OutboxUsage {
    /// A message is accepted.
    pub(super) fn add(&mut self, accepted: &Accepted) {
        self.messages += 1;
        self.bytes += accepted.body.len();
        if accepted.is_of_others() {
            return;
        }
        let of_agent = self.of_agent.entry(accepted.from).or_default();
        *of_agent = (of_agent.0 + 1, of_agent.1 + accepted.body.len());
        if accepted.wants_ack() {
            *self.requests.entry(accepted.from).or_default() += 1;
        }
    }

    /// It is completed.
    pub(super) fn remove(&mut self, accepted: &Accepted) {
        let (from, len) = (accepted.from, accepted.body.len());
        self.messages -= 1;
        self.bytes -= len;
        if accepted.is_of_others() {
            return;
        }
        if let Some(of_agent) = self.of_agent.get_mut(&from) {
            *of_agent = (of_agent.0 - 1, of_agent.1 - len);
            if of_agent.0 == 0 {
                self.of_agent.remove(&from);
            }
        }
        if accepted.wants_ack()
            && let Some(count) = self.requests.get_mut(&from)
        {
            *count -= 1;
            if *count == 0 {
                self.requests.remove(&from);
            }
        }
    }

    pub(super) const fn messages(&self) -> usize {
        self.messages
    }

    /// Whether one more message of `len` bytes fits. The last sixteenth is for CRITICAL ones.
    pub(super) fn has_room(&self, len: usize, priority: Priority) -> bool {
        let left = |most| for_priority(most, priority);
        self.messages < left(MESSAGES) && self.bytes + len <= left(BYTES)
    }

    /// Whether this agent may add one more message of `len` bytes.
    pub(super) fn has_room_for(&self, from: Name, len: usize) -> bool {
        let (messages, bytes) = self.of_agent.get(&from).copied().unwrap_or_default();
        messages < MESSAGES / SHARE && bytes + len <= BYTES / SHARE
    }

    /// Whether anything of this agent is under way.
    pub(super) fn is_from(&self, name: Name) -> bool {
        self.of_agent.contains_key(&name)
    }

    /// How many of each agent will wait for an ack once they are delivered.
    pub(super) fn requests(&self) -> impl Iterator<Item = (&Name, &usize)> {
        self.requests.iter()
    }

    /// How many of this agent will.
    pub(super) fn requests_of(&self, name: Name) -> usize {
        self.requests.get(&name).copied().unwrap_or(0)
    }
}
