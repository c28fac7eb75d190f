//! The duplicate cache: per (source, SEQ) the two facts *delivered* and *highest TTL relayed*.
//!
//! TTL is outside the MIC. An outsider could repeat a frame with TTL 1 and so silence it, if a relay remembered
//! only "seen". So a copy with a higher TTL than the one relayed is relayed once more, at most twice in all.
//!
//! Full: four-way sets, the oldest entry of a set gives way. A copy whose entry is gone is refused by the replay
//! window, so forgetting can cost a relay, never a second delivery.

use crate::Address;

const WAYS: usize = 4;
/// A node relays a frame at most this often.
const RELAYS_MAX: u8 = 2;

/// What is known of one frame.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    src: u16,
    epoch_bit: bool,
    seq: u32,
    /// The highest TTL this node has relayed it with; zero when it has not.
    ttl_relayed: u8,
    relays: u8,
    /// When it was last written, in writes to the cache; decides who gives way.
    stamp: u32,
}

/// `N` frames in sets of four; `N` is a multiple of four.
#[derive(Clone, Debug)]
pub(crate) struct SeenCache<const N: usize> {
    entries: [Entry; N],
    writes: u32,
}

/// Which frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameKey {
    pub(crate) src: Address,
    pub(crate) epoch: u32,
    pub(crate) seq: u32,
}

impl<const N: usize> SeenCache<N> {
    const SETS: usize = {
        assert!(N >= WAYS && N.is_multiple_of(WAYS), "the cache holds whole sets of four");
        N / WAYS
    };

    pub(crate) const fn new() -> Self {
        const EMPTY: Entry = Entry { src: 0, epoch_bit: false, seq: 0, ttl_relayed: 0, relays: 0, stamp: 0 };
        Self { entries: [EMPTY; N], writes: 0 }
    }

    /// Notes a frame that is new.
    pub(crate) fn insert(&mut self, key: FrameKey) {
        self.writes = self.writes.wrapping_add(1);
        let writes = self.writes;
        let start = Self::set(key);
        let set = &mut self.entries[start..start + WAYS];
        let mut oldest = 0;
        for i in 1..WAYS {
            if writes.wrapping_sub(set[i].stamp) > writes.wrapping_sub(set[oldest].stamp) {
                oldest = i;
            }
        }
        set[oldest] = Entry {
            src: key.src.bits(),
            epoch_bit: key.epoch & 1 != 0,
            seq: key.seq,
            ttl_relayed: 0,
            relays: 0,
            stamp: writes,
        };
    }

    /// Whether a copy that came with `ttl` should be relayed; if so, notes that it was. Once relayed, only a copy
    /// with a TTL at least `gain` higher is worth another time.
    ///
    /// `None` when nothing is known of the frame.
    pub(crate) fn relay(&mut self, key: FrameKey, ttl: u8, gain: u8) -> Option<bool> {
        let entry = self.find(key)?;
        // TTL 1 has reached its last node.
        let gained = entry.relays == 0 || ttl >= entry.ttl_relayed.saturating_add(gain);
        if ttl < 2 || !gained || entry.relays >= RELAYS_MAX {
            return Some(false);
        }
        entry.ttl_relayed = ttl;
        entry.relays += 1;
        Some(true)
    }

    /// Takes back one relay that [`relay`](Self::relay) noted, because the earlier copy had not left yet.
    pub(crate) fn merged(&mut self, key: FrameKey) {
        if let Some(entry) = self.find(key) {
            entry.relays = entry.relays.saturating_sub(1);
        }
    }

    fn find(&mut self, key: FrameKey) -> Option<&mut Entry> {
        let start = Self::set(key);
        self.entries[start..start + WAYS].iter_mut().find(|entry| {
            entry.src == key.src.bits() && entry.seq == key.seq && entry.epoch_bit == (key.epoch & 1 != 0)
        })
    }

    fn set(key: FrameKey) -> usize {
        // Fibonacci hashing: consecutive SEQs of one source spread over the sets.
        let mixed =
            ((u64::from(key.src.bits()) << 24) ^ u64::from(key.seq)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed >> 32) as usize % Self::SETS) * WAYS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seq: u32) -> FrameKey {
        FrameKey { src: Address::new(7), epoch: 1, seq }
    }

    #[test]
    fn an_outsider_repeating_with_ttl_1_does_not_silence_a_frame() {
        let mut cache = SeenCache::<64>::new();
        cache.insert(key(1));
        assert_eq!(cache.relay(key(1), 1, 1), Some(false), "the forged copy came first");
        assert_eq!(cache.relay(key(1), 6, 1), Some(true), "the true one is still relayed");
        assert_eq!(cache.relay(key(1), 6, 1), Some(false));
        assert_eq!(cache.relay(key(1), 5, 1), Some(false));
        assert_eq!(cache.relay(key(1), 7, 1), Some(true), "once more with a higher TTL");
        assert_eq!(cache.relay(key(1), 9, 1), Some(false), "never a third time");
    }

    #[test]
    fn a_full_set_forgets_its_oldest_frame_only() {
        let mut cache = SeenCache::<4>::new();
        for seq in 1..=5 {
            cache.insert(key(seq));
        }
        assert_eq!(cache.relay(key(1), 5, 1), None);
        for seq in 2..=5 {
            assert_eq!(cache.relay(key(seq), 5, 1), Some(true), "{seq}");
        }
    }

    #[test]
    fn a_merged_copy_does_not_use_up_a_relay() {
        let mut cache = SeenCache::<4>::new();
        cache.insert(key(1));
        assert_eq!(cache.relay(key(1), 4, 1), Some(true));
        assert_eq!(cache.relay(key(1), 5, 1), Some(true));
        cache.merged(key(1));
        assert_eq!(cache.relay(key(1), 6, 1), Some(true));
    }
}
