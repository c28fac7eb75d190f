//! A seat at the world for an asynchronous device: the gateway's engine, a test.
//!
//! Owns the device's side: [`SimBearer`], [`SimClock`] and [`Hold`]. Keeping everyone in step is
//! [`super::lockstep`]'s business, advancing time the world's.
//!
//! # How an engine keeps the simulation exact
//! The world stands still while the engine is at work: from being given a frame or woken by its clock, until it
//! waits again in `next_event` with nothing left to hear (or, having no `next_event` future, in
//! [`Clock::sleep_until`]). Leaving a wait for another reason, say a command in the same `select!`, counts as
//! work too. A new seat is at work until its first wait, so time begins when everyone is ready.
//!
//! An engine must therefore come back to its wait without waiting for simulated time to pass elsewhere. A second
//! task, say an agent, uses [`SimClock::sleep_holding`]; work that spans tasks takes a [`Hold`].

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use mesh_protocol::{Instant, LinkId};

use super::lockstep::{SeatKey, Shared};
use crate::{Bearer, BearerError, BearerEvent, Clock, Full, RADIO_LINK};

/// A simulated adapter: a controller on the simulated air.
///
/// Dropping it is a power cut: frames not yet sent are lost, and the seat stays empty until
/// [`World::reseat`](super::World::reseat).
#[derive(Debug)]
pub struct SimBearer {
    shared: Arc<Shared>,
    key: SeatKey,
}

impl SimBearer {
    pub(super) fn new(shared: Arc<Shared>, key: SeatKey) -> Self {
        Self { shared, key }
    }
}

impl Bearer for SimBearer {
    fn next_event(&mut self) -> impl Future<Output = Result<BearerEvent, BearerError>> + Send {
        // Now and not with the first poll: a sleep that is polled before it in a `select!` must know that the seat listens too.
        self.shared.lock().ask(self.key);
        NextEvent { bearer: self }
    }

    fn try_send(&mut self, link: LinkId, frame: &[u8]) -> Result<(), Full> {
        if link != RADIO_LINK {
            return Err(Full);
        }
        let submit = |now, controller: &mut super::Controller| controller.submit(now, frame, 1);
        let result = self.shared.lock().submit(self.key, submit);
        self.shared.changed.notify_one();
        result.unwrap_or(Err(Full))
    }
}

impl Drop for SimBearer {
    fn drop(&mut self) {
        // Bound, so that it is dropped after the lock: dropping a waker may run code that wants it.
        let _waker = self.shared.lock().vacate(self.key);
        self.shared.changed.notify_one();
    }
}

struct NextEvent<'a> {
    bearer: &'a SimBearer,
}

impl Future for NextEvent<'_> {
    type Output = Result<BearerEvent, BearerError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut waker = Some(cx.waker().clone());
        let SimBearer { shared, key } = self.bearer;
        let heard = shared.lock().listen(*key, &mut waker);
        match heard {
            Ok(Some(event)) => Poll::Ready(Ok(event)),
            Ok(None) => {
                shared.changed.notify_one();
                Poll::Pending
            }
            Err(()) => Poll::Ready(Err(BearerError::Gone(
                "the simulated world ended, or the seat was given away".into(),
            ))),
        }
    }
}

impl Drop for NextEvent<'_> {
    fn drop(&mut self) {
        let _waker = self.bearer.shared.lock().leave(self.bearer.key);
    }
}

/// The world's time, as the device in a seat reads it.
///
/// Clones are of the same seat. It works on after its bearer is dropped; a sleeper that nobody's bearer belongs to
/// keeps nobody waiting.
#[derive(Clone, Debug)]
pub struct SimClock {
    shared: Arc<Shared>,
    key: SeatKey,
}

impl SimClock {
    pub(super) fn new(shared: Arc<Shared>, key: SeatKey) -> Self {
        Self { shared, key }
    }

    /// Wakes at exactly `at` (at once when that is past) and keeps the world still from then on until the hold is
    /// dropped. For tasks beside the engine.
    pub fn sleep_holding(&self, at: Instant) -> impl Future<Output = Hold> + Send + use<> {
        let sleep = self.sleep(at, true);
        async move {
            let shared = Arc::clone(&sleep.shared);
            sleep.await;
            Hold { shared }
        }
    }

    fn sleep(&self, at: Instant, holding: bool) -> Sleep {
        let id = self.shared.lock().add_sleeper(self.key, at, holding);
        self.shared.changed.notify_one();
        Sleep { shared: Arc::clone(&self.shared), id }
    }
}

impl Clock for SimClock {
    type Hold = Hold;

    fn now(&self) -> Instant {
        self.shared.lock().now()
    }

    fn sleep_until(&self, at: Instant) -> impl Future<Output = ()> + Send {
        self.sleep(at, false)
    }

    fn hold(&self) -> Hold {
        self.shared.lock().hold();
        Hold { shared: Arc::clone(&self.shared) }
    }
}

/// A wait for simulated time.
struct Sleep {
    shared: Arc<Shared>,
    id: u64,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut waker = Some(cx.waker().clone());
        let over = self.shared.lock().poll_sleep(self.id, &mut waker);
        self.shared.changed.notify_one();
        match over {
            Some(wake) => {
                wake.into_iter().for_each(Waker::wake);
                Poll::Ready(())
            }
            None => Poll::Pending,
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let _waker = self.shared.lock().forget(self.id);
        self.shared.changed.notify_one();
    }
}

/// Keeps the world still while it lives, say while a disk syncs.
#[must_use = "the world goes on when the hold is dropped"]
#[derive(Debug)]
pub struct Hold {
    shared: Arc<Shared>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.shared.lock().release();
        self.shared.changed.notify_one();
    }
}
