//! Reproducible dice: the node's jitter, the simulator's losses.
//!
//! SplitMix64 (Steele, Lea and Flood, 2014): eight bytes of state, the same numbers on every target. Never used
//! for keys.

use crate::Duration;

/// A seeded generator of 64-bit numbers; the same seed gives the same numbers everywhere.
///
/// ```
/// use mesh_protocol::{Duration, Rng};
///
/// let (mut one, mut other) = (Rng::new(7), Rng::new(7));
/// assert_eq!(one.next_u64(), other.next_u64());
/// assert!(one.jitter(Duration::from_millis(10)) <= Duration::from_millis(10));
/// ```
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
        let mut child = Self(self.next_u64() ^ stream.wrapping_add(1).wrapping_mul(0xd134_2543_de82_ef95));
        child.next_u64();
        child
    }

    /// The generator of one `purpose` of several that share a seed: what one draws says nothing of the others.
    #[must_use]
    pub const fn stream(seed: u64, purpose: &str) -> Self {
        // FNV-1a, 64 bits (Fowler, Noll and Vo, 1991).
        let (bytes, mut hash, mut at) = (purpose.as_bytes(), 0xcbf2_9ce4_8422_2325_u64, 0);
        while at < bytes.len() {
            hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0000_0100_0000_01b3);
            at += 1;
        }
        Self(seed).fork(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_and_forks_of_one_seed_share_no_number() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..20 {
            let mut parent = Rng::new(seed);
            let forks = [0, 1, u64::MAX].map(|stream| parent.clone().fork(stream));
            let purposes = ["air", "layout", "relays"].map(|purpose| Rng::stream(seed, purpose));
            for mut rng in forks.into_iter().chain(purposes) {
                assert!((0..50).all(|_| seen.insert(rng.next_u64())), "seed {seed}");
            }
            assert!(seen.insert(parent.next_u64()), "seed {seed}");
        }
    }
}
