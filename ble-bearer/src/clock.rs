//! The time a bearer lives in: the wall's, or a simulated one.
//!
//! Owns the seam that lets the same engine run on both. Says nothing about calendars.

use std::future::Future;

use mesh_protocol::{Duration, Instant};

/// Where `now` comes from, and how to wait for later.
pub trait Clock: Clone + Send + Sync + 'static {
    /// Keeps a clock still that can stand still, as long as it lives.
    type Hold: Send;

    /// The time. Never runs backwards.
    fn now(&self) -> Instant;

    /// Waits until then.
    ///
    /// A caller that also waits for its bearer polls this future first: a simulated clock goes on as soon as the
    /// bearer is waited for, and by then must know the deadline.
    fn sleep_until(&self, at: Instant) -> impl Future<Output = ()> + Send;

    /// Asks the clock to stand still: something is being done that must not take simulated time.
    fn hold(&self) -> Self::Hold;
}

/// The wall's clock: monotonic, from the moment it was made. Stands still for nobody.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    origin: tokio::time::Instant,
}

impl WallClock {
    /// A clock whose origin is now.
    #[must_use]
    pub fn start() -> Self {
        Self { origin: tokio::time::Instant::now() }
    }
}

impl Clock for WallClock {
    type Hold = ();

    fn now(&self) -> Instant {
        let micros = self.origin.elapsed().as_micros();
        Instant::ZERO + Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    async fn sleep_until(&self, at: Instant) {
        let wall = self.origin + std::time::Duration::from_micros(at.as_micros());
        tokio::time::sleep_until(wall).await;
    }

    fn hold(&self) -> Self::Hold {}
}
