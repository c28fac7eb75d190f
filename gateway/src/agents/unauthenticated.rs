//! Connections that have not said hello: how many there may be, and who goes when there are more.
//!
//! Owns the bound. The one that has been silent longest gives way to the newest: whoever opens connections and says nothing
//! pushes out others of its kind, while an agent says hello in its first packet and is one of them for a moment only. Were
//! the newest refused instead, a few hundred silent connections would lock every agent out. Its place among all
//! connections goes with it at once, however long its socket takes to close.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// All connections of a listener that have not said hello.
#[derive(Clone, Debug)]
pub(super) struct Unauthenticated {
    most: usize,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    /// In the order they came.
    present: BTreeMap<u64, Present>,
}

#[derive(Debug)]
struct Present {
    leave: oneshot::Sender<()>,
    place: OwnedSemaphorePermit,
}

impl Unauthenticated {
    pub(super) fn new(most: usize) -> Self {
        Self { most: most.max(1), waiting: Arc::default() }
    }

    /// Makes sure that there is room for one more: whoever has been one for longest has to go, if need be.
    pub(super) fn make_room(&self) {
        if lock(&self.waiting).present.len() >= self.most {
            self.oldest_goes();
        }
    }

    /// Whoever has been one for longest has to go, and its place is free.
    pub(super) fn oldest_goes(&self) {
        if let Some((_, oldest)) = lock(&self.waiting).present.pop_first() {
            // It may have ended by itself just now.
            let _ = oldest.leave.send(());
        }
    }

    /// One more, with its place among the connections, and what tells it to go.
    pub(super) fn enter(&self, place: OwnedSemaphorePermit) -> (PendingHello, Leave) {
        let mut waiting = lock(&self.waiting);
        let number = waiting.next;
        waiting.next += 1;
        let (leave, requested) = oneshot::channel();
        waiting.present.insert(number, Present { leave, place });
        (PendingHello { number, waiting: Arc::clone(&self.waiting) }, Leave(requested))
    }
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    // Whole between any two statements that could panic.
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One that has not said hello. Dropped when it is gone.
#[derive(Debug)]
pub(super) struct PendingHello {
    number: u64,
    waiting: Arc<Mutex<Waiting>>,
}

impl PendingHello {
    /// It has said hello: its place, and it need not go any more. `None` if it was just asked to.
    pub(super) fn said_hello(self) -> Option<OwnedSemaphorePermit> {
        lock(&self.waiting).present.remove(&self.number).map(|present| present.place)
    }
}

impl Drop for PendingHello {
    fn drop(&mut self) {
        lock(&self.waiting).present.remove(&self.number);
    }
}

/// Ready when a connection has to go; never once it has said hello.
pub(super) struct Leave(oneshot::Receiver<()>);

impl Leave {
    pub(super) async fn requested(self) {
        if self.0.await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;

    use tokio::sync::Semaphore;

    use super::*;

    async fn goes(leave: Leave) -> bool {
        let mut requested = pin!(leave.requested());
        poll_fn(|cx| Poll::Ready(requested.as_mut().poll(cx).is_ready())).await
    }

    #[tokio::test]
    async fn the_one_that_is_silent_longest_goes_with_its_place_and_who_said_hello_stays() {
        let (unauthenticated, room) = (Unauthenticated::new(2), Arc::new(Semaphore::new(3)));
        let enter = || {
            unauthenticated.make_room();
            unauthenticated.enter(Arc::clone(&room).try_acquire_owned().unwrap())
        };
        let (agent, agent_leave) = enter();
        let (silent, silent_leave) = enter();
        let place = agent.said_hello().unwrap();
        let (_third, third_leave) = enter();
        assert_eq!(room.available_permits(), 0);
        let (fourth, fourth_leave) = enter();
        assert!(silent.said_hello().is_none(), "its hello comes too late");
        assert!(!goes(agent_leave).await && goes(silent_leave).await);
        assert!(!goes(third_leave).await && !goes(fourth_leave).await);
        drop(fourth);
        assert_eq!((lock(&unauthenticated.waiting).present.len(), room.available_permits()), (1, 1));
        drop(place);
        assert_eq!(room.available_permits(), 2);
    }
}
