//! What a device has to send and its node has no room for yet: a queue for each class of urgency.
//!
//! Owns the order in which they go and what becomes of those that wait too long. How many may wait is `app`'s business: what flash brings back
//! after a power cut is taken in any case.

use std::collections::VecDeque;

use mesh_firmware::posting::Waiting;
use mesh_firmware::tables::Queue;
use mesh_protocol::{Instant, MessageId, PerClass, Priority};

/// A class that was passed over so often in a row goes next, as at the radio (`docs/protocol.md`, "Priorities"). CRITICAL never waits.
const PATIENCE: PerClass<u8> = PerClass::new([0, 4, 9, 19]);

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct ClassQueue<B> {
    waiting: PerClass<VecDeque<Waiting<B>>>,
    passed: PerClass<u8>,
}

impl<B> Default for ClassQueue<B> {
    fn default() -> Self {
        Self { waiting: PerClass::from_fn(|_| VecDeque::new()), passed: PerClass::all(0) }
    }
}

impl<B> ClassQueue<B> {
    /// The class that goes next: CRITICAL, then one that was passed over too often, then the most urgent.
    pub(super) fn next_class(&self) -> Option<Priority> {
        let mut classes = Priority::ALL.into_iter().filter(|class| !self.waiting[*class].is_empty());
        let first = classes.next()?;
        let patient = |class: &Priority| self.passed[*class] >= PATIENCE[*class];
        let overdue = classes.rev().find(patient).filter(|_| first != Priority::Critical);
        Some(overdue.unwrap_or(first))
    }

    /// How many of a class wait.
    pub(super) fn of_class(&self, class: Priority) -> usize {
        self.waiting[class].len()
    }

    /// When the first of them is no longer wanted.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.waiting.iter().flat_map(|(_, waiting)| waiting).map(|waiting| waiting.deadline).min()
    }

    /// Takes those out that are no longer wanted.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<MessageId> {
        let mut expired = Vec::new();
        for class in Priority::ALL {
            self.waiting[class].retain(|waiting| {
                let wanted = waiting.deadline > now;
                if !wanted {
                    expired.push(waiting.id);
                }
                wanted
            });
        }
        expired
    }
}

impl<B> Queue<Waiting<B>> for ClassQueue<B> {
    fn push(&mut self, item: Waiting<B>) -> bool {
        self.waiting[item.posting.priority].push_back(item);
        true
    }

    fn front(&self) -> Option<&Waiting<B>> {
        self.waiting[self.next_class()?].front()
    }

    fn pop(&mut self) -> Option<Waiting<B>> {
        let next = self.next_class()?;
        for class in Priority::ALL {
            let passed = class != next && !self.waiting[class].is_empty();
            self.passed[class] = if passed { self.passed[class].saturating_add(1) } else { 0 };
        }
        self.waiting[next].pop_front()
    }

    fn len(&self) -> usize {
        self.waiting.iter().map(|(_, waiting)| waiting.len()).sum()
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use mesh_firmware::posting::Posting;
    use mesh_protocol::{Address, Duration};

    use super::*;

    fn waiting(id: u32, priority: Priority, seconds: u64) -> Waiting<()> {
        let within = Duration::from_secs(seconds);
        let posting = Posting { to: Address::new(9), priority, within, envelope: () };
        Waiting { id: MessageId(id), deadline: Instant::ZERO + within, posting }
    }

    #[test]
    fn the_urgent_go_first_and_the_least_urgent_keeps_its_share() {
        let mut queue = ClassQueue::default();
        for id in 0..100 {
            queue.push(waiting(id, Priority::Low, 9));
            queue.push(waiting(100 + id, Priority::High, 9));
        }
        queue.push(waiting(200, Priority::Critical, 9));
        let order: Vec<u32> = (0..42).filter_map(|_| queue.pop()).map(|waiting| waiting.id.0).collect();
        assert_eq!(order[0], 200);
        let low: Vec<usize> = (0..42).filter(|at| order[*at] < 100).collect();
        assert_eq!(
            (low, order[20], order[40]),
            (vec![19, 39], 118, 137),
            "one in twenty, each class in its order"
        );
    }

    #[test]
    fn what_waits_too_long_is_taken_out_wherever_it_stands() {
        let mut queue = ClassQueue::default();
        for (id, seconds) in [(1, 5), (2, 3), (3, 8)] {
            queue.push(waiting(id, Priority::Low, seconds));
        }
        let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
        assert_eq!(queue.next_deadline(), Some(at(3)));
        assert_eq!(queue.expired(at(2)), []);
        assert_eq!(queue.expired(at(5)), [MessageId(1), MessageId(2)]);
        assert_eq!((queue.len(), queue.of_class(Priority::Low), queue.next_deadline()), (1, 1, Some(at(8))));
    }
}
