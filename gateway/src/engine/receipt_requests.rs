//! Delivered messages of local agents that the receiving agents, on other nodes, have still to acknowledge.
//!
//! Owns who is to be notified of an ack, and how many may wait, those counted that are still under way. In the store such a message stays
//! in the outbox, as what is left of it, until its sender is notified or gone.
//!
//! Full: a new message that wants an ack is refused; one that has waited for a day gives way to it.

use std::collections::BTreeMap;

use mesh_agent::api::Name;
use mesh_protocol::{Duration, Instant, MessageId};
use serde::{Deserialize, Serialize};

/// Messages of all agents that may wait, and of one, or of all that have one token with limits. Those leave the last sixteenth to others.
/// Guesses: 100 bytes of memory each.
pub(super) const MESSAGES: usize = 4_096;
pub(super) const OF_ONE: usize = 1_024;
/// Who has not acknowledged for so long, of this run, probably never will.
const GIVES_WAY_AFTER: Duration = Duration::from_secs(86_400);

/// What is left of a message; also what the store keeps of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Delivered {
    pub(super) from: Name,
    pub(super) reference: Option<u64>,
}

#[derive(Debug)]
struct Pending {
    delivered: Delivered,
    durable: bool,
    since: Instant,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct ReceiptRequests {
    waiting: BTreeMap<MessageId, Pending>,
    of_agent: BTreeMap<Name, usize>,
}

impl ReceiptRequests {
    /// A message was delivered, and its sender waits for the ack.
    pub(super) fn insert(&mut self, now: Instant, id: MessageId, delivered: Delivered, durable: bool) {
        *self.of_agent.entry(delivered.from).or_default() += 1;
        self.waiting.insert(id, Pending { delivered, durable, since: now });
    }

    /// The message was acknowledged: who waits for that, and whether the store knows it.
    pub(super) fn take(&mut self, id: MessageId) -> Option<(Delivered, bool)> {
        let Pending { delivered, durable, .. } = self.waiting.remove(&id)?;
        if let Some(count) = self.of_agent.get_mut(&delivered.from) {
            *count -= 1;
            if *count == 0 {
                self.of_agent.remove(&delivered.from);
            }
        }
        Some((delivered, durable))
    }

    /// Nobody of this name is there to be notified any more: which of its messages the store knows.
    pub(super) fn forget(&mut self, name: Name) -> Vec<MessageId> {
        let mut kept = Vec::new();
        if self.of_agent.remove(&name).is_some() {
            self.waiting.retain(|id, pending| {
                let stays = pending.delivered.from != name;
                if !stays && pending.durable {
                    kept.push(*id);
                }
                stays
            });
        }
        kept
    }

    /// What has waited longest of those whose senders `may` give way, if it has waited long.
    pub(super) fn oldest(&self, now: Instant, may: impl Fn(Name) -> bool) -> Option<MessageId> {
        let those = self.waiting.iter().filter(|(_, pending)| may(pending.delivered.from));
        let (id, pending) = those.min_by_key(|(_, pending)| pending.since)?;
        (now.since(pending.since) >= GIVES_WAY_AFTER).then_some(*id)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// How many of each agent there are.
    pub(super) fn of_agents(&self) -> impl Iterator<Item = (&Name, &usize)> {
        self.of_agent.iter()
    }

    /// How many of this agent there are.
    pub(super) fn of(&self, name: Name) -> usize {
        self.of_agent.get(&name).copied().unwrap_or(0)
    }

    /// Whether this agent waits for an ack.
    pub(super) fn is_from(&self, name: Name) -> bool {
        self.of_agent.contains_key(&name)
    }
}

/// Too many messages wait for an ack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waited_for_a_day_gives_way_and_of_one_who_is_gone_nothing_is_left() {
        let [alice, bob] = ["alice", "bob"].map(|name| Name::new(name).unwrap());
        let of = |from| Delivered { from, reference: None };
        let mut receipt_requests = ReceiptRequests::default();
        let second = Duration::from_secs(1);
        for (id, from, durable) in [(0, bob, true), (1, alice, true), (2, alice, false), (3, alice, true)] {
            receipt_requests.insert(
                Instant::ZERO + Duration::from_secs(id.into()),
                MessageId(id),
                of(from),
                durable,
            );
        }
        let oldest = |receipt_requests: &ReceiptRequests, after, whose: Option<Name>| {
            receipt_requests.oldest(Instant::ZERO + after, |name| whose.is_none_or(|whose| whose == name))
        };
        let day = GIVES_WAY_AFTER;
        assert_eq!(oldest(&receipt_requests, day, None), Some(MessageId(0)));
        assert_eq!(oldest(&receipt_requests, day, Some(alice)), None, "not a day yet");
        assert_eq!(oldest(&receipt_requests, day + second, Some(alice)), Some(MessageId(1)));
        assert_eq!(receipt_requests.take(MessageId(1)), Some((of(alice), true)));
        assert_eq!(receipt_requests.take(MessageId(1)), None);
        assert_eq!(receipt_requests.forget(alice), [MessageId(3)], "the store does not know the other one");
        assert_eq!((receipt_requests.take(MessageId(2)), receipt_requests.take(MessageId(3))), (None, None));
        assert!(!receipt_requests.is_from(alice) && receipt_requests.is_from(bob));
    }
}
