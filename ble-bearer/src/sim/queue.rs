//! The world's ordered queue of alarms.
//!
//! Owns the order (by time, then by when an alarm was set) and the bookkeeping of alarms that were moved. What an
//! alarm means is the world's business ([`super::world`]).
//!
//! An alarm that moves to an earlier time leaves its old entry behind, one that moves to a later time keeps it;
//! both are noticed when the entry comes up. A device whose deadline changes with every frame costs nothing.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use mesh_protocol::Instant;

/// One alarm's times.
#[derive(Clone, Copy, Debug, Default)]
struct Alarm {
    /// When it rings.
    due: Option<Instant>,
    /// Its earliest entry in the heap; later entries are stale.
    queued: Option<Instant>,
}

/// Alarms by number, from 0.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    alarms: Vec<Alarm>,
    heap: BinaryHeap<Reverse<(Instant, u64, usize)>>,
    sequence: u64,
}

impl Alarms {
    /// Adds the next alarm, not set; its number.
    pub(super) fn add(&mut self) -> usize {
        self.alarms.push(Alarm::default());
        self.alarms.len() - 1
    }

    /// Sets an alarm, in place of what it was set to.
    pub(super) fn set(&mut self, number: usize, due: Option<Instant>) {
        self.alarms[number].due = due;
        self.queue(number);
        self.drop_stale();
    }

    /// Sees to it that an alarm has an entry no later than it is due.
    fn queue(&mut self, number: usize) {
        let alarm = &mut self.alarms[number];
        if let Some(due) = alarm.due
            && alarm.queued.is_none_or(|queued| due < queued)
        {
            alarm.queued = Some(due);
            self.sequence += 1;
            self.heap.push(Reverse((due, self.sequence, number)));
        }
    }

    /// Removes entries that mean nothing any more, until the first one is true.
    fn drop_stale(&mut self) {
        while let Some(&Reverse((at, _, number))) = self.heap.peek() {
            let alarm = &mut self.alarms[number];
            if alarm.queued == Some(at) {
                if alarm.due == Some(at) {
                    return;
                }
                alarm.queued = None;
            }
            self.heap.pop();
            self.queue(number);
        }
    }

    /// When the next alarm rings.
    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }

    /// Takes the next alarm if it rings at or before `now`; it is not set afterwards.
    pub(super) fn pop(&mut self, now: Instant) -> Option<usize> {
        let &Reverse((at, _, number)) = self.heap.peek()?;
        if at > now {
            return None;
        }
        self.heap.pop();
        self.alarms[number] = Alarm::default();
        self.drop_stale();
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use mesh_protocol::Rng;

    use super::*;

    #[test]
    fn alarms_ring_in_order_at_the_time_last_set() {
        let at = |micros| Some(Instant::from_micros(micros));
        let mut alarms = Alarms::default();
        let (a, b, c) = (alarms.add(), alarms.add(), alarms.add());
        alarms.set(a, at(50));
        alarms.set(b, at(10));
        alarms.set(b, at(70));
        alarms.set(a, at(20));
        alarms.set(c, at(20));
        alarms.set(a, at(60));
        assert_eq!(alarms.next(), at(20));
        assert_eq!(alarms.pop(Instant::from_micros(19)), None);
        assert_eq!(alarms.pop(Instant::from_micros(99)), Some(c));
        assert_eq!(alarms.next(), at(60));
        assert_eq!(alarms.pop(Instant::from_micros(99)), Some(a));
        alarms.set(b, None);
        assert_eq!(alarms.next(), None);
        assert!(alarms.heap.is_empty());
    }

    #[test]
    fn a_deadline_that_keeps_moving_later_leaves_one_entry() {
        let mut alarms = Alarms::default();
        let alarm = alarms.add();
        for micros in 1..10_000 {
            alarms.set(alarm, Some(Instant::from_micros(micros)));
        }
        assert_eq!(alarms.heap.len(), 1);
    }

    #[test]
    fn random_changes_agree_with_a_plain_list() {
        for seed in 0..50 {
            println!("seed {seed}");
            let mut rng = Rng::new(seed);
            let mut alarms = Alarms::default();
            let mut plain = [None; 8];
            for _ in &plain {
                alarms.add();
            }
            for _ in 0..2_000 {
                let number = rng.below(8) as usize;
                match rng.below(4) {
                    0 => {
                        let next = plain.iter().flatten().min().copied();
                        assert_eq!(alarms.next(), next);
                        if let Some(next) = next {
                            let rung = alarms.pop(next).unwrap();
                            assert_eq!(plain[rung].take(), Some(next));
                        }
                    }
                    kind => {
                        let due = Instant::from_micros(rng.below(1_000));
                        plain[number] = (kind > 1).then_some(due);
                        alarms.set(number, plain[number]);
                    }
                }
            }
        }
    }
}
