//! The connection under a client: one task that reads and writes, and what its handles share.
//!
//! Requests are encoded into one buffer by whoever asks, and the [`task`] writes all of it at once; [`events`] are taken to
//! those who wait for them, whom [`state`] knows. When a session ends, [`comeback`] begins another one, for those who want
//! that.

pub(crate) mod comeback;
pub(crate) mod dial;
mod events;
mod mail;
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
use comeback::Comeback;
use dial::Session;
use state::{Curious, State};

/// How many bytes may wait to be written before senders wait, in bytes. A guess: four of the largest messages.
const OUTGOING: usize = 256 * 1024;

/// How a client stands with its gateway.
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
    codec: Codec,
    state: Mutex<State>,
    /// Locked behind `state` where both are.
    outgoing: Mutex<Outgoing>,
    /// Something is to be written, or bye was said.
    to_write: Notify,
    /// There is room for more requests.
    room: Notify,
    /// Something is to be read.
    to_read: Notify,
    connection: watch::Sender<Connection>,
    /// How often something came.
    heard: AtomicU64,
    clock: Clock,
}

/// The client's time, for deadlines that go on while the gateway is away.
struct Clock(Box<dyn Fn() -> Duration + Send + Sync>);

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

#[derive(Debug, Default)]
struct Outgoing {
    bytes: Vec<u8>,
    /// There is no session. What is asked is kept in `state`, and written when there is one.
    away: bool,
    /// Nothing more is to be asked: the session ends when this is written.
    bye: bool,
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
    /// Starts the task of a session, and of those that follow if there is a way to come back.
    pub(crate) fn start(
        session: Session,
        codec: Codec,
        time: impl Time,
        first: u64,
        comeback: Option<Comeback>,
    ) -> Arc<Owner> {
        let clock = time.clone();
        let link = Arc::new(Self {
            codec,
            state: Mutex::new(State::new(&session.welcome, first, comeback.is_some())),
            outgoing: Mutex::default(),
            to_write: Notify::new(),
            room: Notify::new(),
            to_read: Notify::new(),
            connection: watch::Sender::new(Connection::Up),
            heard: AtomicU64::new(0),
            clock: Clock(Box::new(move || clock.now())),
        });
        tokio::spawn(Arc::clone(&link).run(session, time, comeback));
        Arc::new(Owner(link))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // The table is whole between any two statements that could panic, so a poisoned one is as good.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn outgoing(&self) -> MutexGuard<'_, Outgoing> {
        self.outgoing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ---- asking ----

    /// Waits while too much is on its way to the gateway. The state is locked: what is asked must be noted and written
    /// in one step, or a reconnect in between would miss it.
    async fn room(&self) -> Result<MutexGuard<'_, State>, ClientError> {
        loop {
            let mut room = pin!(self.room.notified());
            // Enabled before looking, so that what is written in between is not missed.
            room.as_mut().enable();
            {
                let mut state = self.state();
                if let Some(why) = state.closed() {
                    return Err(why.clone());
                }
                if state.has_room() && self.outgoing().bytes.len() < OUTGOING {
                    return Ok(state);
                }
            }
            room.await;
        }
    }

    /// Hands over a message.
    pub(crate) async fn send(&self, send: SendRequest, curious: Curious) -> Result<(), ClientError> {
        let mut state = self.room().await?;
        state.send(send, curious, || (self.clock.0)(), |request| self.enqueue(request))
    }

    /// Asks the gateway itself.
    pub(crate) async fn ask(&self, question: impl FnOnce(Ask) -> Request) -> Result<Event, ClientError> {
        let answer = self.room().await?.ask(question, |request| self.enqueue(request))?;
        self.wait(answer).await
    }

    /// Changes the groups that the agent hears.
    pub(crate) async fn groups(&self, request: Request) -> Result<Subscribed, ClientError> {
        let subscribed = self.room().await?.groups(request, |request| self.enqueue(request))?;
        self.wait(subscribed).await
    }

    /// Queues a request to be written. False if there is no session now; what has to be answered is kept in the state.
    fn enqueue(&self, request: &Request) -> Result<bool, ClientError> {
        let mut outgoing = self.outgoing();
        if outgoing.bye {
            return Err(lost("bye was said"));
        }
        if outgoing.away {
            return Ok(false);
        }
        let first = outgoing.bytes.is_empty();
        encode(request, self.codec, &mut outgoing.bytes).map_err(lost)?;
        drop(outgoing);
        if first {
            self.to_write.notify_one();
        }
        Ok(true)
    }

    /// Says goodbye after everything asked before.
    pub(crate) fn bye(&self) {
        let mut outgoing = self.outgoing();
        if !outgoing.bye && !outgoing.away {
            // What cannot be written is not said; the connection ends all the same.
            let _ = encode(&Request::Bye(Bye {}), self.codec, &mut outgoing.bytes);
        }
        outgoing.bye = true;
        drop(outgoing);
        self.to_write.notify_one();
    }

    /// Waits until bye was said, while there is no session to say it in.
    async fn parting(&self) {
        while !self.outgoing().bye {
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
            Err(self.state().closed().cloned().unwrap_or_else(|| lost("nothing more can come")))
        })
    }

    // ---- the inbox ----

    /// The application has handled this, of the gateway's present life if it says which.
    pub(crate) fn handled(&self, cursor: u64, life: Option<u32>) -> Result<(), ClientError> {
        let mut state = self.state();
        if life.is_some_and(|life| life != state.mail.life()) {
            return Ok(());
        }
        let ack = state.mail.handled(cursor);
        self.acknowledge(ack)
    }

    fn acknowledge(&self, ack: Option<Ack>) -> Result<(), ClientError> {
        // Without a session it is said by the next one's hello.
        ack.map_or(Ok(()), |ack| self.enqueue(&Request::Ack(ack)).map(drop))
    }

    /// Waits for something to read, and in which of the gateway's lives it came. Cancel safe.
    pub(crate) async fn next(&self) -> Result<(Incoming, u32), ClientError> {
        loop {
            {
                let mut state = self.state();
                let taken = state.mail.take();
                if let Some(credit) = state.mail.credit() {
                    // A lost connection is told when everything that had come has been taken.
                    let _ = self.enqueue(&Request::Credit(credit));
                }
                if let Some(incoming) = taken {
                    return Ok((incoming, state.mail.life()));
                }
                if let Some(why) = state.closed() {
                    return Err(why.clone());
                }
            }
            self.to_read.notified().await;
        }
    }
}
