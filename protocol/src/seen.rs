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
/// Of the count of relays: whether it was taken from the hop before, to be passed on or for this node.
const KEPT: u8 = 0x80;
/// And whether it has come round to this node.
const CAME_ROUND: u8 = 0x40;
/// The count itself.
const COUNT: u8 = 0x3f;

/// What is known of one frame.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    /// Of a node's address the 15 bits that it has, and the epoch's lowest.
    source: u16,
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
        const EMPTY: Entry = Entry { source: 0, seq: 0, ttl_relayed: 0, relays: 0, stamp: 0 };
        Self { entries: [EMPTY; N], writes: 0 }
    }

    /// Records a frame that is new.
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
        set[oldest] = Entry { source: source(key), seq: key.seq, ttl_relayed: 0, relays: 0, stamp: writes };
    }

    /// Whether a frame was met and is not forgotten.
    pub(crate) fn knows(&mut self, key: FrameKey) -> bool {
        self.find(key).is_some()
    }

    /// Whether a copy that came with `ttl` should be relayed; if so, records that it was. Once relayed, only a copy
    /// with a TTL at least `gain` higher is worth another time. One of which nothing is known is not relayed.
    pub(crate) fn relay(&mut self, key: FrameKey, ttl: u8, gain: u8) -> bool {
        let Some(entry) = self.find(key) else { return false };
        // TTL 1 has reached its last node.
        let relays = entry.relays & COUNT;
        let gained = relays == 0 || ttl >= entry.ttl_relayed.saturating_add(gain);
        if ttl < 2 || !gained || relays >= RELAYS_MAX {
            return false;
        }
        entry.ttl_relayed = ttl;
        entry.relays += 1;
        true
    }

    /// Records that the relay of before goes, or goes on, with a copy that came with this higher TTL.
    pub(crate) fn raised(&mut self, key: FrameKey, ttl: u8) {
        if let Some(entry) = self.find(key) {
            entry.ttl_relayed = entry.ttl_relayed.max(ttl);
        }
    }

    /// Records that a frame is taken from the hop before.
    pub(crate) fn keep(&mut self, key: FrameKey) {
        if let Some(entry) = self.find(key) {
            entry.relays |= KEPT;
        }
    }

    /// Records that one which was to be relayed was not: there was no room.
    pub(crate) fn refused(&mut self, key: FrameKey) {
        if let Some(entry) = self.find(key) {
            entry.relays = entry.relays.saturating_sub(u8::from(entry.relays & COUNT > 0));
            // What went before still says that a copy with a lower TTL has come back.
            if entry.relays & COUNT == 0 {
                entry.ttl_relayed = 0;
            }
        }
    }

    /// Whether a frame was taken from the hop before.
    pub(crate) fn is_kept(&self, key: FrameKey) -> bool {
        let (start, source) = (Self::set(key), source(key));
        let mut set = self.entries[start..start + WAYS].iter();
        set.any(|entry| entry.source == source && entry.seq == key.seq && entry.relays & KEPT != 0)
    }

    /// Whether a frame that was relayed comes back from where it went, as a TTL lower than it left with says. Once for each: an
    /// outsider could say it again and again.
    pub(crate) fn comes_round(&mut self, key: FrameKey, ttl: u8) -> bool {
        let Some(entry) = self.find(key) else { return false };
        let back = entry.relays & COUNT > 0 && ttl.saturating_add(1) < entry.ttl_relayed;
        let first = back && entry.relays & CAME_ROUND == 0;
        if first {
            entry.relays |= CAME_ROUND;
        }
        first
    }

    fn find(&mut self, key: FrameKey) -> Option<&mut Entry> {
        let start = Self::set(key);
        let source = source(key);
        self.entries[start..start + WAYS]
            .iter_mut()
            .find(|entry| entry.source == source && entry.seq == key.seq)
    }

    fn set(key: FrameKey) -> usize {
        // Fibonacci hashing: consecutive SEQs of one source spread over the sets.
        let mixed =
            ((u64::from(key.src.bits()) << 24) ^ u64::from(key.seq)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed >> 32) as usize % Self::SETS) * WAYS
    }
}

const fn source(key: FrameKey) -> u16 {
    key.src.bits() << 1 | (key.epoch & 1) as u16
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
        assert!(!cache.relay(key(1), 1, 1), "the forged copy came first");
        assert!(cache.relay(key(1), 6, 1), "the true one is still relayed");
        assert!(!cache.relay(key(1), 6, 1));
        assert!(!cache.relay(key(1), 5, 1));
        assert!(cache.relay(key(1), 7, 1), "once more with a higher TTL");
        assert!(!cache.relay(key(1), 9, 1), "never a third time");
    }

    #[test]
    fn a_full_set_forgets_its_oldest_frame_only() {
        let mut cache = SeenCache::<4>::new();
        for seq in 1..=5 {
            cache.insert(key(seq));
        }
        assert!(!cache.relay(key(1), 5, 1));
        for seq in 2..=5 {
            assert!(cache.relay(key(seq), 5, 1), "{seq}");
        }
    }

    #[test]
    fn what_found_no_room_the_second_time_lets_nothing_come_back() {
        let mut cache = SeenCache::<4>::new();
        cache.insert(key(1));
        assert!(cache.relay(key(1), 5, 1));
        cache.refused(key(1));
        assert!(cache.relay(key(1), 5, 1), "the hop before asks again");
        cache.keep(key(1));
        assert!(cache.relay(key(1), 7, 1));
        cache.refused(key(1));
        assert!(!cache.relay(key(1), 4, 1), "it has come round");
        assert!(cache.is_kept(key(1)));
    }

    #[test]
    fn what_comes_back_with_a_lower_ttl_than_it_left_with_has_come_round_once() {
        let mut cache = SeenCache::<4>::new();
        cache.insert(key(1));
        assert!(!cache.comes_round(key(1), 3), "it was not relayed");
        assert!(cache.relay(key(1), 5, 1));
        cache.keep(key(1));
        assert!(!cache.comes_round(key(1), 5), "the hop before asks again");
        assert!(!cache.comes_round(key(1), 4), "another one between, which that hop asked too");
        assert!(cache.comes_round(key(1), 3) && !cache.comes_round(key(1), 3));
        assert!(cache.is_kept(key(1)) && !cache.relay(key(1), 5, 1) && cache.relay(key(1), 6, 1));
        assert!(!cache.relay(key(1), 9, 1), "it does not count as a relay, nor hide one");
    }

    #[test]
    fn a_raised_copy_does_not_use_up_a_relay() {
        let mut cache = SeenCache::<4>::new();
        cache.insert(key(1));
        assert!(cache.relay(key(1), 4, 1));
        cache.raised(key(1), 5);
        assert!(!cache.relay(key(1), 5, 1), "that is on its way");
        assert!(cache.relay(key(1), 6, 1));
    }
}
