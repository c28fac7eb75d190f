//! Which frames of which source a node has taken in its present life.
//!
//! Owns a model of the replay window of its own, so that the node's can be held against it.

use std::collections::BTreeMap;

use mesh_protocol::Address;

use super::sealed::Key;

/// `WINDOW` of `replay.rs` in `docs/protocol.md`.
const WINDOW: u32 = 96;

/// `JUMP` in `docs/protocol.md`.
const JUMP: u32 = 16 * 4_096;

/// Of one source.
#[derive(Clone, Copy, Debug)]
struct Window {
    epoch: u32,
    highest: u32,
    /// Bit n: `highest - n` was taken.
    taken: u128,
}

/// What is known of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    New,
    Taken,
    /// At or below what was kept over a restart.
    Kept,
    Old,
}

/// The windows of one node.
#[derive(Clone, Debug, Default)]
pub(super) struct Windows {
    sources: BTreeMap<Address, Window>,
    kept: BTreeMap<Address, (u32, u32)>,
}

impl Windows {
    /// After a restart with these marks.
    pub(super) fn restored(marks: &[(Address, u32, u32)]) -> Self {
        let windows =
            // All of the window counts as taken: which of these came before the cut, nobody knows any more.
            marks.iter().map(|&(src, epoch, highest)| (src, Window { epoch, highest, taken: u128::MAX }));
        let kept = marks.iter().map(|&(src, epoch, seq)| (src, (epoch, seq)));
        Self { sources: windows.collect(), kept: kept.collect() }
    }

    pub(super) fn lookup(&self, key: Key) -> Known {
        if self.kept.get(&key.src).is_some_and(|kept| (key.epoch, key.seq) <= *kept) {
            return Known::Kept;
        }
        let Some(window) = self.sources.get(&key.src) else { return Known::New };
        if (key.epoch, key.seq) > (window.epoch, window.highest) {
            return Known::New;
        }
        let age = window.highest.saturating_sub(key.seq);
        if key.epoch < window.epoch || age >= WINDOW {
            Known::Old
        } else if window.taken & (1 << age) != 0 {
            Known::Taken
        } else {
            Known::New
        }
    }

    /// Whether a frame is too far ahead to be taken at once.
    pub(super) fn is_jump(&self, key: Key) -> bool {
        let window = self.sources.get(&key.src).filter(|window| window.epoch == key.epoch);
        window.is_some_and(|window| key.seq.saturating_sub(window.highest) > JUMP)
    }

    pub(super) fn take(&mut self, key: Key) {
        let fresh = Window { epoch: key.epoch, highest: key.seq, taken: 1 };
        let window = self.sources.entry(key.src).or_insert(fresh);
        if key.epoch > window.epoch {
            *window = fresh;
        } else if key.seq > window.highest {
            let ahead = key.seq - window.highest;
            window.taken = if ahead >= WINDOW { 1 } else { window.taken << ahead | 1 };
            window.highest = key.seq;
        } else if let Some(bit) = 1_u128.checked_shl(window.highest - key.seq) {
            window.taken |= bit;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(epoch: u32, seq: u32) -> Key {
        Key { src: Address::new(1), epoch, seq }
    }

    #[test]
    fn a_number_is_new_once_within_the_window_and_never_below_what_was_kept() {
        let mut windows = Windows::restored(&[(Address::new(1), 1, 10)]);
        assert_eq!(windows.lookup(key(1, 10)), Known::Kept);
        for seq in [112, 17, 30] {
            assert_eq!(windows.lookup(key(1, seq)), Known::New, "{seq}");
            windows.take(key(1, seq));
            assert_eq!(windows.lookup(key(1, seq)), Known::Taken, "{seq}");
        }
        assert_eq!(windows.lookup(key(1, 16)), Known::Old, "112 - 96");
        windows.take(key(2, 3));
        assert_eq!((windows.lookup(key(1, 99)), windows.lookup(key(2, 2))), (Known::Old, Known::New));
    }
}
