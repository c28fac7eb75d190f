//! Messages of one priority that wait for room in the node, so that everyone gets a turn.
//!
//! Owns the order: the messages of one agent to one destination leave in the order they came, and such lanes take turns.
//! Neither an agent that sends a thousand nor a destination that takes none holds up the others. What a message is, and
//! how many there may be, is `outgoing`'s.

use std::collections::{BTreeMap, VecDeque};

use mesh_agent::api::Name;
use mesh_protocol::{Address, MessageId};

/// Who sends, and where to.
pub(super) type Lane = (Name, Address);

/// The lanes of one priority.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    /// None is empty.
    lanes: BTreeMap<Lane, VecDeque<MessageId>>,
    /// Every lane once, the next to be served first.
    turns: VecDeque<Lane>,
}

impl Lanes {
    pub(super) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Puts a message at the end of its lane.
    pub(super) fn push(&mut self, lane: Lane, id: MessageId) {
        self.lane(lane).push_back(id);
    }

    /// Puts a message back where it was taken from: its lane is served next.
    pub(super) fn push_first(&mut self, lane: Lane, id: MessageId) {
        self.lane(lane).push_front(id);
        if let Some(at) = self.turns.iter().position(|known| *known == lane) {
            self.turns.remove(at);
            self.turns.push_front(lane);
        }
    }

    /// Takes the next message of the first lane whose destination may have one, and says of which lane.
    pub(super) fn pop(&mut self, may_send: impl Fn(Address) -> bool) -> Option<(Lane, MessageId)> {
        let at = self.turns.iter().position(|(_, to)| may_send(*to))?;
        let lane = self.turns.remove(at)?;
        let waiting = self.lanes.get_mut(&lane)?;
        let id = waiting.pop_front()?;
        if waiting.is_empty() {
            self.lanes.remove(&lane);
        } else {
            // Behind all others: one message is one turn, whoever has how many.
            self.turns.push_back(lane);
        }
        Some((lane, id))
    }

    /// Takes out all that waits for a destination, each lane in its order.
    pub(super) fn take(&mut self, destination: Address) -> Vec<MessageId> {
        self.turns.retain(|(_, to)| *to != destination);
        let lanes: Vec<Lane> = self.lanes.keys().filter(|(_, to)| *to == destination).copied().collect();
        lanes.iter().filter_map(|lane| self.lanes.remove(lane)).flatten().collect()
    }

    /// Takes out a message that waits no more.
    pub(super) fn forget(&mut self, lane: Lane, id: MessageId) {
        let Some(waiting) = self.lanes.get_mut(&lane) else { return };
        waiting.retain(|known| *known != id);
        if waiting.is_empty() {
            self.lanes.remove(&lane);
            self.turns.retain(|known| *known != lane);
        }
    }

    fn lane(&mut self, lane: Lane) -> &mut VecDeque<MessageId> {
        self.lanes.entry(lane).or_insert_with(|| {
            self.turns.push_back(lane);
            VecDeque::new()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(name: &str, to: u16) -> Lane {
        (Name::new(name).unwrap(), Address::new(to))
    }

    fn all(lanes: &mut Lanes) -> Vec<u32> {
        std::iter::from_fn(|| lanes.pop(|_| true)).map(|(_, id)| id.0).collect()
    }

    #[test]
    fn lanes_take_turns_and_each_keeps_its_order() {
        let mut lanes = Lanes::default();
        for n in 1..=3 {
            lanes.push(lane("hasty", 1), MessageId(n));
        }
        lanes.push(lane("hasty", 2), MessageId(10));
        lanes.push(lane("calm", 1), MessageId(20));
        assert_eq!(all(&mut lanes), [1, 10, 20, 2, 3]);
        assert!(lanes.is_empty());
    }

    #[test]
    fn a_destination_that_takes_no_more_holds_up_nobody() {
        let mut lanes = Lanes::default();
        lanes.push(lane("a", 1), MessageId(1));
        lanes.push(lane("a", 2), MessageId(2));
        assert_eq!(lanes.pop(|to| to != Address::new(1)), Some((lane("a", 2), MessageId(2))));
        assert_eq!(lanes.pop(|to| to != Address::new(1)), None);
        assert_eq!(all(&mut lanes), [1]);
    }

    #[test]
    fn what_is_put_back_is_next_and_what_is_forgotten_is_gone() {
        let mut lanes = Lanes::default();
        for (name, n) in [("a", 1), ("b", 2), ("a", 3), ("c", 4)] {
            lanes.push(lane(name, 1), MessageId(n));
        }
        let (of, first) = lanes.pop(|_| true).unwrap();
        lanes.push_first(of, first);
        lanes.forget(lane("b", 1), MessageId(2));
        lanes.forget(lane("b", 1), MessageId(99));
        assert_eq!(all(&mut lanes), [1, 4, 3]);
    }

    #[test]
    fn all_that_waits_for_one_destination_can_be_taken_at_once() {
        let mut lanes = Lanes::default();
        for (name, to, n) in [("b", 1, 1), ("a", 1, 2), ("a", 2, 3), ("b", 1, 4)] {
            lanes.push(lane(name, to), MessageId(n));
        }
        assert_eq!(lanes.take(Address::new(1)), [MessageId(2), MessageId(1), MessageId(4)]);
        assert_eq!(all(&mut lanes), [3]);
    }
}
