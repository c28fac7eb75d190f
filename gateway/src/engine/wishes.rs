//! Delivered messages of local agents that the receiving agents, on other nodes, have still to acknowledge.
//!
//! Owns who is to be told of an ack, and how many may wait. In the store such a message stays in the outbox, as what is left of it.
//!
//! Full: a new message that wants an ack is refused; one that has waited for a day gives way to it.

use std::collections::BTreeMap;

use mesh_agent::api::Name;
use mesh_protocol::{Duration, Instant, MessageId};
use serde::{Deserialize, Serialize};

/// Messages of all agents that may wait, and of one. Guesses: 100 bytes of memory each.
const MESSAGES: usize = 4_096;
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
struct Wish {
    delivered: Delivered,
    durable: bool,
    since: Instant,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    waiting: BTreeMap<MessageId, Wish>,
    of_agent: BTreeMap<Name, usize>,
}

impl Wishes {
    /// A message was delivered, and its sender waits for the ack.
    pub(super) fn insert(&mut self, now: Instant, id: MessageId, delivered: Delivered, durable: bool) {
        *self.of_agent.entry(delivered.from).or_default() += 1;
        self.waiting.insert(id, Wish { delivered, durable, since: now });
    }

    /// The message was acknowledged: who waits for that, and whether the store knows it.
    pub(super) fn take(&mut self, id: MessageId) -> Option<(Delivered, bool)> {
        let Wish { delivered, durable, .. } = self.waiting.remove(&id)?;
        if let Some(count) = self.of_agent.get_mut(&delivered.from) {
            *count -= 1;
            if *count == 0 {
                self.of_agent.remove(&delivered.from);
            }
        }
        Some((delivered, durable))
    }

    /// Whether one more message of this agent may wait: at once, or in the place of the one given back.
    pub(super) fn room(&self, now: Instant, from: Name) -> Result<Option<MessageId>, Full> {
        let of_one = self.of_agent.get(&from).copied().unwrap_or_default() >= OF_ONE;
        if !of_one && self.waiting.len() < MESSAGES {
            return Ok(None);
        }
        let may = self.waiting.iter().filter(|(_, wish)| !of_one || wish.delivered.from == from);
        let oldest = may.min_by_key(|(_, wish)| wish.since);
        let gone = oldest.filter(|(_, wish)| now.since(wish.since) >= GIVES_WAY_AFTER);
        gone.map(|(id, _)| Some(*id)).ok_or(Full)
    }

    /// Agents that wait for an ack.
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
    fn one_agent_leaves_room_to_the_others_and_what_waited_for_a_day_gives_way() {
        let [alice, bob] = ["alice", "bob"].map(|name| Name::new(name).unwrap());
        let of = |from| Delivered { from, reference: None };
        let mut wishes = Wishes::default();
        let mut now = Instant::ZERO;
        for n in 0..OF_ONE as u32 {
            assert_eq!(wishes.room(now, alice), Ok(None));
            wishes.insert(now, MessageId(n), of(alice), true);
            now += Duration::from_secs(1);
        }
        assert_eq!((wishes.room(now, alice), wishes.room(now, bob)), (Err(Full), Ok(None)));
        now = Instant::ZERO + GIVES_WAY_AFTER;
        assert_eq!(wishes.room(now, alice), Ok(Some(MessageId(0))));
        assert_eq!(wishes.take(MessageId(0)), Some((of(alice), true)));
        assert_eq!((wishes.take(MessageId(0)), wishes.room(now, alice)), (None, Ok(None)));
        now += Duration::from_secs(1);
        for n in OF_ONE as u32..=MESSAGES as u32 {
            wishes.insert(now, MessageId(n), of(Name::new(&format!("a{}", n % 8)).unwrap()), false);
        }
        assert_eq!(wishes.room(now, bob), Ok(Some(MessageId(1))), "of all, the oldest");
        assert!(wishes.is_from(alice) && !wishes.is_from(bob));
    }
}
