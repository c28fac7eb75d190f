//! Knowing when nobody has anything to do, and waiting for simulated time beside a gateway's engine.
//!
//! Owns the seam between the tasks' runtime and the world: [`Idle`] learns from the runtime that its thread would go to
//! sleep, which is when every task waits.

use std::future::{Future, poll_fn};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use ble_bearer::Clock;
use ble_bearer::sim::{Hold, SimClock};
use mesh_agent::Time;
use mesh_protocol::{Duration, Instant};

/// Whoever waits for all others to wait. For one waiter.
#[derive(Clone, Debug, Default)]
pub(super) struct Idle(Arc<Mutex<Option<Waker>>>);

impl Idle {
    /// The runtime's thread has nothing to run. What is woken here, runs next.
    pub(super) fn parked(&self) {
        let waiter = self.lock().take();
        waiter.into_iter().for_each(Waker::wake);
    }

    /// Waits until no task can go on by itself.
    pub(super) async fn wait(&self) {
        let mut asked = false;
        poll_fn(|cx| {
            let mut waiter = self.lock();
            if asked && waiter.is_none() {
                return Poll::Ready(());
            }
            asked = true;
            *waiter = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Waker>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The world's time for tasks beside an engine: agents, and the sessions they speak to.
///
/// Who wakes has the world to itself until it waits again. The engine of the seat is not looked at for it, so that a
/// session that waits is never taken for an engine that does.
#[derive(Clone, Debug)]
pub struct Beside(SimClock);

impl Beside {
    pub(super) const fn new(clock: SimClock) -> Self {
        Self(clock)
    }

    /// Waits until then; the wish counts from now on, not from when it is first looked at.
    pub(super) fn wait(&self, at: Instant) -> impl Future<Output = ()> + Send + use<> {
        let there = self.0.sleep_holding(at);
        // All others wait before time goes on, whether it is held or not.
        async move { drop(there.await) }
    }
}

impl Time for Beside {
    /// Simulated time may stand still while an agent speaks: there is room for a million requests in a microsecond.
    fn first_number(&self) -> u64 {
        self.0.now().as_micros() << 20
    }

    fn now(&self) -> std::time::Duration {
        std::time::Duration::from_micros(self.0.now().as_micros())
    }

    fn pause(&self, span: std::time::Duration) -> impl Future<Output = ()> + Send {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        self.wait(self.0.now() + Duration::from_micros(micros))
    }
}

impl Clock for Beside {
    type Hold = Hold;

    fn now(&self) -> Instant {
        self.0.now()
    }

    fn sleep_until(&self, at: Instant) -> impl Future<Output = ()> + Send {
        self.wait(at)
    }

    fn hold(&self) -> Hold {
        self.0.hold()
    }
}
