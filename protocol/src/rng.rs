//! Reproducible dice: the node's jitter, the simulator's losses.
//!
//! SplitMix64 (Steele, Lea and Flood, 2014): eight bytes of state, the same numbers on every target. Never used
//! for keys.

use crate::Duration;

/// A seeded generator of 64-bit numbers; the same seed gives the same numbers everywhere.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A generator that starts from `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..bound`; zero when `bound` is zero.
    pub const fn below(&mut self, bound: u64) -> u64 {
        ((self.next_u64() as u128 * bound as u128) >> 64) as u64
    }

    /// A span in `ZERO..=most`.
    pub const fn jitter(&mut self, most: Duration) -> Duration {
        Duration::from_micros(self.below(most.as_micros().saturating_add(1)))
    }

    /// Whether an event of probability `parts` in a million happens.
    pub const fn chance(&mut self, parts: u32) -> bool {
        self.below(1_000_000) < parts as u64
    }

    /// A generator of its own for one of several users of the same seed.
    #[must_use]
    pub const fn fork(&mut self, stream: u64) -> Self {
        let mut child = Self(self.next_u64() ^ stream.wrapping_mul(0xd134_2543_de82_ef95));
        child.next_u64();
        child
    }
}
