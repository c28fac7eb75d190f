//! Which frames came before.
//!
//! Owns a set-associative table in one piece of memory: most frames of a flood are duplicates, and looking one up is most of a run's work.

/// Sets of recent frames, a power of two. With [`WAYS`], 256 frames: a guess.
const SETS: usize = 64;
/// Frames in each of these sets: half a cache line.
const WAYS: usize = 4;
/// A key that no frame has: they use 48 bits.
const NONE: u64 = u64::MAX;

/// Recent frames: which ones came before. A set has the oldest out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(align(64))]
pub(super) struct RecentFrames([[u64; WAYS]; SETS]);

impl RecentFrames {
    pub(super) const fn new() -> Self {
        Self([[NONE; WAYS]; SETS])
    }

    /// Whether the frame came before; remembers it if not.
    #[inline]
    pub(super) fn again(&mut self, key: u64) -> bool {
        // Multiplicative hashing (Knuth): consecutive SEQs fall into different sets.
        let set = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - SETS.trailing_zeros());
        let ways = &mut self.0[set as usize % SETS];
        // All of them without a branch between: cheaper than stopping at the right one.
        if ways.iter().fold(false, |found, &way| found | (way == key)) {
            return true;
        }
        ways.rotate_right(1);
        ways[0] = key;
        false
    }
}
