//! Tables that whoever runs a node has: what waits in order, and which messages are known.
//!
//! Owns the two traits by which the decisions of this crate use such tables, and bounded ones for boards. A host with an allocator has its own.

use heapless::Deque;
use mesh_protocol::{Address, MessageId};

/// Which message: its source, and its number there.
pub type MessageName = (Address, MessageId);

/// What waits, first in, first out.
pub trait Queue<T> {
    /// Puts something behind everything else. `false`, and it is gone, when there is no room.
    fn push(&mut self, item: T) -> bool;

    /// What has waited longest.
    fn front(&self) -> Option<&T>;

    /// Takes that.
    fn pop(&mut self) -> Option<T>;

    /// How much waits.
    fn len(&self) -> usize;

    /// Whether nothing does.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Nothing waits any more.
    fn clear(&mut self);
}

impl<T, const N: usize> Queue<T> for Deque<T, N> {
    fn push(&mut self, item: T) -> bool {
        self.push_back(item).is_ok()
    }

    fn front(&self) -> Option<&T> {
        Self::front(self)
    }

    fn pop(&mut self) -> Option<T> {
        self.pop_front()
    }

    fn len(&self) -> usize {
        Self::len(self)
    }

    fn clear(&mut self) {
        Self::clear(self);
    }
}

/// Messages, by name.
pub trait MessageSet {
    /// Whether it is there.
    fn contains(&self, name: MessageName) -> bool;

    /// Puts it there.
    fn insert(&mut self, name: MessageName);

    /// Takes it out.
    fn remove(&mut self, name: MessageName);

    /// Takes all out.
    fn clear(&mut self);

    /// Whether the next one makes another give way.
    fn is_full(&self) -> bool;
}

/// The last `N` messages; when it is full, the oldest gives way.
///
/// One that has given way and comes again is delivered again. The node itself knows a repeat for half a minute, and what a source sends
/// again after that is something it has had no receipt for: so `N` is the messages that come while receipts may be lost.
#[derive(Clone, Debug, Default)]
pub struct RecentMessages<const N: usize>(Deque<MessageName, N>);

impl<const N: usize> RecentMessages<N> {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Deque::new())
    }
}

impl<const N: usize> MessageSet for RecentMessages<N> {
    fn contains(&self, name: MessageName) -> bool {
        self.0.iter().any(|known| *known == name)
    }

    fn insert(&mut self, name: MessageName) {
        if self.contains(name) {
            return;
        }
        if self.0.is_full() {
            self.0.pop_front();
        }
        // There is room now, but in a table of none.
        let _ = self.0.push_back(name);
    }

    fn remove(&mut self, name: MessageName) {
        for _ in 0..self.0.len() {
            if let Some(known) = self.0.pop_front().filter(|known| *known != name) {
                // It came out of this table.
                let _ = self.0.push_back(known);
            }
        }
    }

    fn clear(&mut self) {
        self.0.clear();
    }

    fn is_full(&self) -> bool {
        self.0.is_full()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn name(id: u32) -> MessageName {
        (Address::new(1), MessageId(id))
    }

    #[test]
    fn the_oldest_message_gives_way_and_the_order_stays() {
        let mut known = RecentMessages::<3>::new();
        for id in [1, 2, 2, 3, 4] {
            known.insert(name(id));
        }
        assert!(!known.contains(name(1)) && known.contains(name(2)));
        known.remove(name(3));
        known.insert(name(5));
        known.insert(name(6));
        let left: Vec<_> = known.0.iter().map(|(_, id)| id.0).collect();
        assert_eq!(left, [4, 5, 6]);
    }

    #[test]
    fn a_full_queue_takes_nothing_and_keeps_what_it_has() {
        let mut queue = Deque::<u8, 2>::new();
        assert!(Queue::push(&mut queue, 1) && Queue::push(&mut queue, 2) && !Queue::push(&mut queue, 3));
        assert_eq!(
            (Queue::pop(&mut queue), Queue::front(&queue), Queue::len(&queue)),
            (Some(1), Some(&2), 1)
        );
    }
}
