//! Which hop acks of this node are due: of frames that it has taken from the hop before, and that nobody hears it pass on.
//!
//! Owns when each is due. One hop ack names several frames of a source, so those of segments wait a little for more.
//!
//! Full: the oldest gives way; its hop before asks again, and is told then.

use heapless::Vec;

use crate::seen::FrameKey;
use crate::{Address, Duration, Instant, PerClass, Priority};

/// Sources that an ack is due to at a time.
const OUTSTANDING: usize = 4;
/// An ack of segments waits at most this long for more of them, by priority; less than a hop is waited for.
pub(crate) const GATHER: PerClass<Duration> = PerClass::new([
    Duration::from_millis(40),
    Duration::from_millis(40),
    Duration::from_millis(50),
    Duration::from_millis(50),
]);
/// So many segments are acked without waiting for more, by priority.
const ENOUGH: PerClass<u8> = PerClass::new([4, 4, 4, 4]);

/// An ack that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outstanding {
    /// The newest frame.
    pub(crate) key: FrameKey,
    pub(crate) priority: Priority,
    frames: u8,
    /// Whether all came from their source itself, so that an answer end to end says as much.
    direct: bool,
    due: Instant,
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct HopAcks {
    outstanding: Vec<Outstanding, OUTSTANDING>,
}

impl HopAcks {
    pub(crate) const fn new() -> Self {
        Self { outstanding: Vec::new() }
    }

    /// An ack of this frame is due within `within`.
    pub(crate) fn add(
        &mut self,
        now: Instant,
        key: FrameKey,
        priority: Priority,
        within: Duration,
        direct: bool,
    ) {
        let due = now + within;
        let of_source = |ack: &&mut Outstanding| ack.key.src == key.src && ack.key.epoch == key.epoch;
        if let Some(ack) = self.outstanding.iter_mut().find(of_source) {
            // One that is too far behind to be named with the newest is said first, or the newest is.
            if ack.key.seq.abs_diff(key.seq) <= 8 {
                ack.key.seq = ack.key.seq.max(key.seq);
                ack.priority = ack.priority.min(priority);
                ack.frames = ack.frames.saturating_add(1);
                ack.direct &= direct;
                ack.due = ack.due.min(due);
                if ack.frames >= ENOUGH[ack.priority] {
                    ack.due = now;
                }
                return;
            }
        }
        if self.outstanding.is_full() {
            // Its hop before asks again, and is told then.
            self.outstanding.remove(0);
        }
        // There is room: it was made.
        let _ = self.outstanding.push(Outstanding { key, priority, frames: 1, direct, due });
    }

    /// An answer end to end goes straight to `src`: what came from there needs no other.
    pub(crate) fn answered(&mut self, src: Address) {
        self.outstanding.retain(|ack| ack.key.src != src || !ack.direct);
    }

    /// Takes the next that is due.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Outstanding> {
        let at = self.outstanding.iter().position(|ack| ack.due <= now)?;
        Some(self.outstanding.remove(at))
    }

    /// When one is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.outstanding.iter().map(|ack| ack.due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Instant = Instant::ZERO;

    fn key(src: u16, seq: u32) -> FrameKey {
        FrameKey { src: Address::new(src), epoch: 0, seq }
    }

    fn add(acks: &mut HopAcks, key: FrameKey) {
        acks.add(T0, key, Priority::Low, GATHER[Priority::Low], true);
    }

    #[test]
    fn segments_are_acked_together_after_a_while_or_when_there_are_enough() {
        let mut acks = HopAcks::new();
        for seq in [7, 9, 8] {
            add(&mut acks, key(1, seq));
        }
        assert_eq!((acks.due(T0), acks.next_due()), (None, Some(T0 + Duration::from_millis(50))));
        add(&mut acks, key(1, 10));
        let due = acks.due(T0).unwrap();
        assert_eq!((due.key, due.frames), (key(1, 10), 4));
        assert_eq!(acks.next_due(), None);
    }

    #[test]
    fn an_answer_to_the_source_is_enough_for_what_came_from_it_itself() {
        let mut acks = HopAcks::new();
        add(&mut acks, key(1, 7));
        acks.add(T0, key(2, 7), Priority::High, Duration::ZERO, false);
        acks.answered(Address::new(1));
        acks.answered(Address::new(2));
        assert_eq!(acks.due(T0).unwrap().key, key(2, 7));
        assert_eq!(acks.next_due(), None);
    }

    #[test]
    fn a_full_table_lets_the_oldest_go() {
        let mut acks = HopAcks::new();
        for src in 1..=OUTSTANDING as u16 + 1 {
            add(&mut acks, key(src, 1));
        }
        let later = T0 + Duration::from_secs(1);
        let said: Vec<u16, 8> =
            core::iter::from_fn(|| acks.due(later)).map(|ack| ack.key.src.bits()).collect();
        assert_eq!(said[..], [2, 3, 4, 5]);
    }
}
