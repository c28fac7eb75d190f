//! The time a client lives in: the wall's, or a simulated one.
//!
//! Owns the seam that lets a whole system, its agents among it, run in simulated time. Says nothing about calendars.

use std::future::Future;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where a session's numbers begin, and how to wait.
pub trait Time: Clone + Send + Sync + 'static {
    /// Where the numbers of a session's requests begin that starts now. Receipts come with the number of the session
    /// that sent the message, so this is above every number that an earlier session of the agent may have used.
    fn first_number(&self) -> u64;

    /// Waits so long.
    fn pause(&self, span: Duration) -> impl Future<Output = ()> + Send;
}

/// The time on the wall.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wall;

impl Time for Wall {
    /// Microseconds since 1970: no session sends a million messages a second for as long as it lives.
    fn first_number(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(now.as_micros()).unwrap_or(1)
    }

    async fn pause(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }
}
