//! The clock of a client: the wall's, or a simulated one.
//!
//! Owns the seam that lets a whole system, its agents among it, run in simulated time. Says nothing about calendars.

use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use tokio::time::Instant;

/// Numbers in a session's requests fit into this many bits at first, so that JSON's readers that know only doubles keep
/// them whole.
const NUMBER_BITS: u32 = 52;

/// What a client needs of a clock, and of randomness.
pub trait Time: Clone + Send + Sync + 'static {
    /// Where the numbers of the requests begin of a client that starts now. Receipts come with the number of the run
    /// that sent the message, and a repeat is known by it: no earlier run of the agent may have been near this one.
    fn first_number(&self) -> u64;

    /// The time since some moment that stays the same. Never runs backwards.
    fn now(&self) -> Duration;

    /// Waits for this span.
    fn pause(&self, span: Duration) -> impl Future<Output = ()> + Send;
}

/// The time on the wall.
///
/// ```
/// use mesh_agent::{Time, Wall};
///
/// let clock = Wall::default();
/// assert!(clock.now() <= clock.now());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Wall {
    origin: Instant,
}

impl Default for Wall {
    fn default() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Time for Wall {
    /// Random, as the system seeds hash maps. The time of day would not do: machines without a clock of their own
    /// begin at the same one each time.
    fn first_number(&self) -> u64 {
        RandomState::new().build_hasher().finish() >> (u64::BITS - NUMBER_BITS)
    }

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    async fn pause(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_begin_with_different_numbers_that_a_double_can_hold() {
        let (one, two) = (Wall::default().first_number(), Wall::default().first_number());
        assert_ne!(one, two);
        assert!(one < 1 << NUMBER_BITS && two < 1 << NUMBER_BITS);
    }
}
