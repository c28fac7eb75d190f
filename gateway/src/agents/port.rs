//! The port between a session and the engine: batches of requests one way, a bounded queue of events the other.
//!
//! Owns the bound, so that one slow agent costs a known amount of memory and never makes the engine wait:
//! [`SessionPort::push`] does not block, it refuses. Says nothing about sockets ([`super::session`]) or about what
//! requests mean (the engine).

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mesh_agent::api::{ErrorEvent, Event, Goodbye, Hello, Name, Request};
use tokio::sync::Notify;

use crate::access::{Caller, Holder};

/// The number of a session, unique in one run of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What sessions tell the engine. For one session: `Attach`, any number of `Requests`, `Detach`, in this order.
#[derive(Debug)]
pub enum ToEngine {
    /// An agent said hello; its token has been checked. The engine answers with `welcome`, or with
    /// [`SessionPort::refuse`]. Requests may follow before it has answered.
    Attach {
        /// The session.
        session: SessionId,
        /// Where it comes from.
        caller: Caller,
        /// Where its events go.
        port: SessionPort,
        /// What the agent is called.
        agent: Name,
        /// Whether it is called so for this session alone, and forgotten with it: its hello had no name.
        passing: bool,
        /// What it said; without the token.
        hello: Hello,
        /// The token that it came with, if it is one of those with limits.
        holder: Option<Holder>,
    },
    /// What the token of a session allows has changed.
    Changed {
        /// The session.
        session: SessionId,
        /// What it allows now.
        holder: Option<Holder>,
    },
    /// What waits of the messages that came with these tokens is not to be sent.
    Purge {
        /// Tokens that were removed.
        tokens: Vec<Name>,
    },
    /// What the session asks, in its order. No `hello`, no `bye`, no body over [`mesh_agent::api::MAX_BODY`], no more
    /// groups than [`mesh_agent::api::MAX_GROUPS`].
    Requests {
        /// The session.
        session: SessionId,
        /// One to [`super::MAX_BATCH`] requests.
        batch: Vec<Request>,
    },
    /// The queue of this session has refused an event as [`PushError::Slow`], and has been written out since.
    Room {
        /// The session.
        session: SessionId,
    },
    /// The agent said `bye` or is gone, or the port was closed: nothing of this session follows. The engine may push
    /// what is still outstanding, an `accepted` for instance, and then drops the port, which lets the session end.
    Detach {
        /// The session.
        session: SessionId,
    },
}

/// Why an event was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// The agent reads too slowly: its queue is over the bound. The engine counts it and closes the port.
    #[error("cannot queue the event: the agent reads too slowly and its queue is full; close the session")]
    Slow,
    /// The session is over; a `Detach` is on its way. Not the agent's fault, and nothing to count.
    #[error("cannot queue the event: the session is over; forget it")]
    Closed,
}

/// How much may wait for one agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueBound {
    /// Events.
    pub events: usize,
    /// Bytes, as [`Event::weight`] counts them.
    pub bytes: usize,
}

/// Messages of one session that may wait to be called accepted before no more are read. A guess: four batches; with
/// the answer and the receipt of each far below the queue's bound.
const OUTSTANDING: usize = 1_024;

impl Default for QueueBound {
    /// Guesses: events for some five windows of [`mesh_agent::api::DEFAULT_CREDITS`] with accepted, receipt and message
    /// each, and bytes for those and 16 of the largest messages.
    fn default() -> Self {
        Self { events: 4_096, bytes: 2 * 1024 * 1024 }
    }
}

/// Makes a port: the engine's end, and the session's. The queue between them holds at most `bound`.
#[must_use]
pub fn port(bound: QueueBound) -> (SessionPort, SessionEvents) {
    let shared = Arc::new(Shared {
        bound,
        queue: Mutex::default(),
        wake: Notify::new(),
        ended: Notify::new(),
        paid: Notify::new(),
    });
    (SessionPort(Arc::new(Engine(Arc::clone(&shared)))), SessionEvents(shared))
}

/// The engine's end of a port: where it puts the events of one session. A clone is the same port; when the last one is
/// dropped, the session ends as with [`SessionPort::close`].
#[derive(Clone, Debug)]
pub struct SessionPort(Arc<Engine>);

impl SessionPort {
    /// Puts an event into the agent's queue. Never blocks.
    ///
    /// # Errors
    /// [`PushError::Slow`] when the queue is over its bound: the event is dropped, and the caller closes the port.
    /// A single event of any size fits an empty queue. [`PushError::Closed`] when the session is over.
    pub fn push(&self, event: Event) -> Result<(), PushError> {
        self.0.0.push(event, self.0.0.bound)
    }

    /// The same for what can be shown later as well: it leaves half of the queue to what cannot.
    ///
    /// # Errors
    /// [`PushError`]; no reason to close the port.
    pub fn push_shown(&self, event: Event) -> Result<(), PushError> {
        let QueueBound { events, bytes } = self.0.0.bound;
        self.0.0.push(event, QueueBound { events: events / 2, bytes: bytes / 2 })
    }

    /// Ends the session: what is queued is still written if the agent reads it soon, then `goodbye` with `why`, then
    /// the connection closes. The session answers with `Detach`. Closing twice is the same as once.
    pub fn close(&self, why: impl Into<String>) {
        self.0.0.end([Event::Goodbye(Goodbye { why: why.into() })]);
    }

    /// The same with a fatal error before the `goodbye`.
    pub fn refuse(&self, error: ErrorEvent) {
        self.0.0.refuse(error);
    }

    /// Whether the session is over or ending.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.0.lock().closed
    }
}

/// What the clones of a [`SessionPort`] share, to notice when the last one goes.
#[derive(Debug)]
struct Engine(Arc<Shared>);

impl Drop for Engine {
    fn drop(&mut self) {
        self.0.end([Event::Goodbye(Goodbye { why: "bye".into() })]);
    }
}

/// The session's end of a port.
#[derive(Debug)]
pub struct SessionEvents(Arc<Shared>);

impl SessionEvents {
    /// Waits for events and swaps them against the empty `taken`. True when these are the last ones. Cancel safe.
    pub async fn take(&self, taken: &mut VecDeque<Event>) -> bool {
        loop {
            if let Some(last) = self.0.swap(taken) {
                return last;
            }
            self.0.wake.notified().await;
        }
    }

    /// What is queued now.
    #[must_use]
    pub fn drain(&self) -> VecDeque<Event> {
        let mut taken = VecDeque::new();
        self.0.swap(&mut taken);
        taken
    }

    /// Whether an event was refused since this was last asked.
    pub(super) fn take_refused(&self) -> bool {
        std::mem::take(&mut self.0.lock().refused)
    }

    /// Whether nothing is queued now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.lock().events.is_empty()
    }

    /// Waits until the port is closed, by either end. For one waiter. Cancel safe.
    pub(super) async fn ended(&self) {
        while !self.0.lock().closed {
            self.0.ended.notified().await;
        }
    }

    /// An event of the session's own.
    pub(super) fn push(&self, event: Event) -> Result<(), PushError> {
        self.0.push(event, self.0.bound)
    }

    /// Waits until fewer than [`OUTSTANDING`] answers are outstanding, then notes `more`: who asks faster than it can be answered is
    /// slowed down. `false` when the port is closed. For one waiter. Cancel safe.
    pub(super) async fn answers_follow(&self, more: usize) -> bool {
        loop {
            {
                let mut queue = self.0.lock();
                if queue.closed {
                    return false;
                }
                if queue.outstanding < OUTSTANDING {
                    queue.outstanding += more;
                    return true;
                }
            }
            self.0.paid.notified().await;
        }
    }

    /// Ends the session with a fatal error.
    pub(super) fn refuse(&self, error: ErrorEvent) {
        self.0.refuse(error);
    }
}

impl Drop for SessionEvents {
    /// Nobody reads any more: what is queued goes, and what is pushed from now on is refused.
    fn drop(&mut self) {
        *self.0.lock() = Queue { closed: true, ..Queue::default() };
    }
}

struct Shared {
    bound: QueueBound,
    queue: Mutex<Queue>,
    wake: Notify,
    ended: Notify,
    /// Told when few answers are outstanding again.
    paid: Notify,
}

#[derive(Default)]
struct Queue {
    events: VecDeque<Event>,
    bytes: usize,
    closed: bool,
    /// Whether an event was refused since this was last asked.
    refused: bool,
    /// Messages taken from the agent that it has not been told to be accepted or refused.
    outstanding: usize,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // A queue is whole between any two statements that could panic, so a poisoned one is as good.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, event: Event, bound: QueueBound) -> Result<(), PushError> {
        let weight = event.weight();
        let answers = matches!(event, Event::Accepted(_) | Event::Error(_));
        let mut queue = self.lock();
        if queue.closed {
            return Err(PushError::Closed);
        }
        let was_empty = queue.events.is_empty();
        let full = queue.events.len() >= bound.events || queue.bytes + weight > bound.bytes;
        if full && !was_empty {
            queue.refused = true;
            return Err(PushError::Slow);
        }
        queue.events.push_back(event);
        queue.bytes += weight;
        if answers {
            queue.outstanding = queue.outstanding.saturating_sub(1);
        }
        let paid = queue.outstanding < OUTSTANDING;
        drop(queue);
        if answers && paid {
            self.paid.notify_one();
        }
        // The session takes everything at once, so only the first event has to wake it.
        if was_empty {
            self.wake.notify_one();
        }
        Ok(())
    }

    fn refuse(&self, error: ErrorEvent) {
        let goodbye = Goodbye { why: error.code.to_string() };
        self.end([Event::Error(ErrorEvent { fatal: true, ..error }), Event::Goodbye(goodbye)]);
    }

    fn end<const N: usize>(&self, last: [Event; N]) {
        let mut queue = self.lock();
        if queue.closed {
            return;
        }
        queue.closed = true;
        // The last words may go over the bound: at most two, and nothing follows them.
        queue.events.extend(last);
        drop(queue);
        self.wake.notify_one();
        self.ended.notify_one();
        self.paid.notify_one();
    }

    /// Whether these are the last events; `None` if there are none and more may come.
    fn swap(&self, taken: &mut VecDeque<Event>) -> Option<bool> {
        let mut queue = self.lock();
        if queue.events.is_empty() && !queue.closed {
            return None;
        }
        std::mem::swap(&mut queue.events, taken);
        queue.bytes = 0;
        Some(queue.closed)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queue = self.lock();
        write!(f, "{} events, {} bytes, closed: {}", queue.events.len(), queue.bytes, queue.closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_agent::api::{Body, Destination, ErrorCode, Message, MessageRef, Pong, Refusal};
    use mesh_protocol::{Address, MessageId, MessageType, Priority};

    fn pong(n: u64) -> Event {
        Event::Pong(Pong { reference: Some(n) })
    }

    fn message(bytes: usize) -> Event {
        Event::Message(Message {
            cursor: None,
            id: MessageRef { node: Address::new(1), id: MessageId(1) },
            from: Destination::Node(Address::new(1)),
            to: Destination::Everyone,
            kind: MessageType::Task,
            priority: Priority::Low,
            reply_to: None,
            hops: 0,
            at_us: 0,
            body: Body::data(vec![0; bytes]),
        })
    }

    #[test]
    fn a_full_queue_refuses_and_keeps_what_it_has() {
        let (port, events) = port(QueueBound { events: 2, bytes: 1 << 20 });
        assert_eq!(port.push(pong(1)), Ok(()));
        assert_eq!(port.push(pong(2)), Ok(()));
        assert_eq!(port.push(pong(3)), Err(PushError::Slow));
        assert_eq!(events.drain(), [pong(1), pong(2)]);
        assert_eq!(port.push(pong(4)), Ok(()), "a drained queue takes events again");
    }

    #[test]
    fn bytes_count_too_but_one_event_always_fits() {
        let (port, events) = port(QueueBound { events: 100, bytes: 1_000 });
        assert_eq!(port.push(message(5_000)), Ok(()));
        assert_eq!(port.push(pong(1)), Err(PushError::Slow));
        assert_eq!(events.drain(), [message(5_000)]);
        assert_eq!(port.push(message(300)), Ok(()));
        assert_eq!(port.push(message(600)), Err(PushError::Slow));
    }

    #[test]
    fn what_can_be_shown_later_leaves_room_for_answers() {
        let (port, events) = port(QueueBound { events: 4, bytes: 1 << 20 });
        assert_eq!(port.push_shown(message(1)), Ok(()));
        assert_eq!(port.push_shown(message(1)), Ok(()));
        assert_eq!(port.push_shown(message(1)), Err(PushError::Slow));
        assert!(events.take_refused(), "the engine is told when there is room");
        assert_eq!((port.push(pong(1)), port.push(pong(2))), (Ok(()), Ok(())));
    }

    #[tokio::test]
    async fn who_waits_for_many_answers_is_read_no_further_until_some_are_given() {
        let (port, events) = port(QueueBound::default());
        assert!(events.answers_follow(OUTSTANDING).await);
        let mut more = std::pin::pin!(events.answers_follow(1));
        assert!(std::future::poll_fn(|cx| std::task::Poll::Ready(more.as_mut().poll(cx).is_pending())).await);
        port.push(Event::Error(ErrorEvent::about(None, Refusal::new(ErrorCode::Busy, "no")))).unwrap();
        assert!(more.await);
        port.close("enough");
        assert!(!events.answers_follow(OUTSTANDING).await, "nothing more is read then");
    }

    #[test]
    fn a_closed_port_says_goodbye_once_and_takes_nothing_more() {
        let (port, events) = port(QueueBound::default());
        port.push(pong(1)).unwrap();
        port.close("too slow");
        port.close("again");
        assert!(port.is_closed());
        assert_eq!(port.push(pong(2)), Err(PushError::Closed));
        assert_eq!(events.drain(), [pong(1), Event::Goodbye(Goodbye { why: "too slow".into() })]);
    }

    #[test]
    fn the_session_ends_when_the_engine_lets_go_of_the_port() {
        let (port, events) = port(QueueBound::default());
        let clone = port.clone();
        drop(port);
        assert!(events.drain().is_empty(), "a clone is the same port");
        drop(clone);
        assert_eq!(events.drain(), [Event::Goodbye(Goodbye { why: "bye".into() })]);
    }

    #[test]
    fn the_engine_learns_that_nobody_reads() {
        let (port, events) = port(QueueBound::default());
        drop(events);
        assert_eq!(port.push(pong(1)), Err(PushError::Closed));
    }
}
