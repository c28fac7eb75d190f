//! The connection under a client: one task that reads and writes, and what its handles share.
//!
//! Requests are encoded into one buffer by whoever asks, and the [`task`] writes all of it at once; [`events`] are taken to
//! those who wait for them, whom [`state`] knows. When a session ends, [`reconnect`] begins another one, for those who want
//! that.

pub(crate) mod dial;
mod events;
mod mail;
pub(crate) mod reconnect;
pub(crate) mod state;
mod task;

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot, watch};

use crate::api::codec::{Codec, encode};
use crate::api::{Ack, Ask, Bye, Event, Request, SendRequest, Subscribed};
use crate::error::lost;
use crate::{ClientError, Incoming, Time};
use dial::Session;
use reconnect::Reconnect;
use state::{ClientState, Waiters};

/// How many bytes may wait to be written before senders wait, in bytes. A guess: four of the largest messages.
const OUTGOING: usize = 256 * 1024;

/// How a client stands with its gateway.
///
/// ```no_run
/// # async fn example(handle: mesh_agent::Handle) {
/// use mesh_agent::Connection;
///
/// let mut connection = handle.connection();
/// while connection.changed().await.is_ok() {
///     if let Connection::Away { why, attempts } = &*connection.borrow() {
///         eprintln!("away after {attempts} attempts: {why}");
///     }
/// }
/// # }
/// ```
#[derive(Clone, Debug)]
pub enum Connection {
    /// There is a session.
    Up,
    /// The session has ended, and another one is tried for. What is asked meanwhile waits.
    Away {
        /// Why there is none.
        why: ClientError,
        /// How often it was tried since there was one that lasted.
        attempts: u32,
    },
    /// There will never be another session.
    Over(ClientError),
}

/// What the handles of a client share.
#[derive(Debug)]
pub(crate) struct Link {
    shared: Mutex<Shared>,
    /// Something is to be written, or bye was said.
    to_write: Notify,
    /// There is room for more requests.
    room: Notify,
    /// Something is to be read.
    to_read: Notify,
    connection: watch::Sender<Connection>,
    /// How often something came: the silence is measured by it.
    reads: AtomicU64,
    clock: Clock,
}

/// What is waited for and what is to be written, behind one lock: what is asked must be noted and written in one step, or a
/// reconnect in between would miss it.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) state: ClientState,
    outgoing: Outgoing,
}

/// The client's time, for deadlines that go on while the gateway is away.
struct Clock(Box<dyn Fn() -> Duration + Send + Sync>);

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// Requests that wait to be written.
#[derive(Debug)]
struct Outgoing {
    codec: Codec,
    bytes: Vec<u8>,
    /// There is no session. What is asked is kept in the state, and written when there is one.
    away: bool,
    /// Nothing more is to be asked: the session ends when this is written.
    bye: bool,
}

impl Outgoing {
    /// Queues a request to be written, and wakes the writer if there was nothing. False if there is no session now.
    fn put(&mut self, request: &Request, to_write: &Notify) -> Result<bool, ClientError> {
        if self.bye {
            return Err(lost("bye was said"));
        }
        if self.away {
            return Ok(false);
        }
        let first = self.bytes.is_empty();
        encode(request, self.codec, &mut self.bytes).map_err(lost)?;
        if first {
            to_write.notify_one();
        }
        Ok(true)
    }
}

/// Ends the session when the last handle goes.
#[derive(Debug)]
pub(crate) struct Owner(Arc<Link>);

impl Owner {
    pub(crate) fn link(&self) -> &Link {
        &self.0
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.bye();
    }
}

impl Link {
    /// Starts the task of a session, and of those that follow if it is to reconnect.
    pub(crate) fn start(
        session: Session,
        codec: Codec,
        time: impl Time,
        first: u64,
        reconnect: Option<Reconnect>,
    ) -> Arc<Owner> {
        let clock = time.clone();
        let link = Arc::new(Self {
            shared: Mutex::new(Shared {
                state: ClientState::new(&session.welcome, first, reconnect.is_some()),
                outgoing: Outgoing { codec, bytes: Vec::new(), away: false, bye: false },
            }),
            to_write: Notify::new(),
            room: Notify::new(),
            to_read: Notify::new(),
            connection: watch::Sender::new(Connection::Up),
            reads: AtomicU64::new(0),
            clock: Clock(Box::new(move || clock.now())),
        });
        tokio::spawn(Arc::clone(&link).run(session, time, reconnect));
        Arc::new(Owner(link))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Shared> {
        // The table is whole between any two statements that could panic, so a poisoned one is as good.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ---- asking ----

    /// Waits until one more request may be in flight to the gateway.
    pub(crate) async fn room(&self) -> Result<MutexGuard<'_, Shared>, ClientError> {
        loop {
            if let Some(shared) = self.room_now()? {
                return Ok(shared);
            }
            let mut room = pin!(self.room.notified());
            // Enabled before the second look, so that a wake-up in between is not missed.
            room.as_mut().enable();
            if let Some(shared) = self.room_now()? {
                return Ok(shared);
            }
            room.await;
        }
    }

    fn room_now(&self) -> Result<Option<MutexGuard<'_, Shared>>, ClientError> {
        let mut shared = self.lock();
        if let Some(why) = shared.state.closed() {
            return Err(why.clone());
        }
        let has_room = shared.state.has_room() && shared.outgoing.bytes.len() < OUTGOING;
        Ok(has_room.then_some(shared))
    }

    /// Hands over a message, for which there is [room](Self::room).
    pub(crate) fn send(
        &self,
        shared: &mut Shared,
        send: SendRequest,
        waiters: Waiters,
    ) -> Result<(), ClientError> {
        let Shared { state, outgoing } = shared;
        state.send(send, waiters, || (self.clock.0)(), |request| outgoing.put(request, &self.to_write))
    }

    /// Asks the gateway itself.
    pub(crate) async fn ask(&self, question: impl FnOnce(Ask) -> Request) -> Result<Event, ClientError> {
        let answer = {
            let mut shared = self.room().await?;
            let Shared { state, outgoing } = &mut *shared;
            state.ask(question, |request| outgoing.put(request, &self.to_write))?
        };
        self.wait(answer).await
    }

    /// Changes the groups that the agent has subscribed to.
    pub(crate) async fn groups(
        &self,
        request: impl FnOnce(Option<u64>) -> Request,
    ) -> Result<Subscribed, ClientError> {
        let subscribed = {
            let mut shared = self.room().await?;
            let Shared { state, outgoing } = &mut *shared;
            state.groups(request, |request| outgoing.put(request, &self.to_write))?
        };
        self.wait(subscribed).await
    }

    /// Says goodbye after everything asked before.
    pub(crate) fn bye(&self) {
        let outgoing = &mut self.lock().outgoing;
        // Who has said it already is done, and what cannot be written is not said: the connection ends all the same.
        let _ = outgoing.put(&Request::Bye(Bye {}), &self.to_write);
        outgoing.bye = true;
        self.to_write.notify_one();
    }

    /// Waits until bye was said, while there is no session to say it in.
    async fn parting(&self) {
        while !self.lock().outgoing.bye {
            self.to_write.notified().await;
        }
    }

    /// Waits until there is no session any more and will be none.
    pub(crate) async fn over(&self) {
        // The sender lives in self, so waiting cannot fail.
        let mut connection = self.connection.subscribe();
        let _ = connection.wait_for(|connection| matches!(connection, Connection::Over(_))).await;
    }

    pub(crate) fn connection(&self) -> watch::Receiver<Connection> {
        self.connection.subscribe()
    }

    /// Waits for an answer.
    pub(crate) async fn wait<T>(
        &self,
        answer: impl Future<Output = Result<Result<T, ClientError>, oneshot::error::RecvError>>,
    ) -> Result<T, ClientError> {
        answer.await.unwrap_or_else(|_| {
            Err(self.lock().state.closed().cloned().unwrap_or_else(|| lost("nothing more can come")))
        })
    }

    // ---- the inbox ----

    /// The application has handled this.
    pub(crate) fn handled(&self, cursor: u64) -> Result<(), ClientError> {
        let mut shared = self.lock();
        let ack = shared.state.mail.handled(cursor);
        self.acknowledge(&mut shared, ack)
    }

    fn acknowledge(&self, shared: &mut Shared, ack: Option<Ack>) -> Result<(), ClientError> {
        // Without a session it is said by the next one's hello.
        ack.map_or(Ok(()), |ack| shared.outgoing.put(&Request::Ack(ack), &self.to_write).map(drop))
    }

    /// Gives back the credits that are due. A lost connection is no error here.
    fn give_back(&self, shared: &mut Shared) {
        if let Some(credit) = shared.state.mail.credit() {
            let _ = shared.outgoing.put(&Request::Credit(credit), &self.to_write);
        }
    }

    /// Waits for something to read. What was taken before, under which
    /// generation of cursors, is handled when this is first polled; what is taken now stands there instead, if that is wanted. Cancel
    /// safe.
    pub(crate) async fn next(
        &self,
        in_hand: &mut Option<(u64, u32)>,
        auto_ack: bool,
    ) -> Result<Incoming, ClientError> {
        loop {
            {
                let mut shared = self.lock();
                if let Some((cursor, generation)) = in_hand.take()
                    && generation == shared.state.mail.generation()
                {
                    let ack = shared.state.mail.handled(cursor);
                    // A lost connection is an error only when everything that had come has been taken.
                    let _ = self.acknowledge(&mut shared, ack);
                }
                let taken = shared.state.mail.take();
                self.give_back(&mut shared);
                if let Some(incoming) = taken {
                    let generation = shared.state.mail.generation();
                    *in_hand = incoming.cursor().filter(|_| auto_ack).map(|cursor| (cursor, generation));
                    return Ok(incoming);
                }
                if let Some(why) = shared.state.closed() {
                    return Err(why.clone());
                }
            }
            self.to_read.notified().await;
        }
    }
}
