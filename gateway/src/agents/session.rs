//! One connection: bytes to batches of requests, events to bytes.
//!
//! Owns the rules that need no knowledge of other agents: hello first and in time, the token, the sizes. One task runs
//! both directions. Reading stops while the engine is busy, so that a hasty agent is slowed; writing takes everything
//! that waits at once, so that many small events cost one system call. The engine never waits for either.
//!
//! A session knows no time but that of the clock it is given: the wall's behind a socket, a simulated one where agents
//! live in simulated time.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ble_bearer::Clock;
use bytes::BufMut;
use mesh_agent::api::codec::{Bounds, Codec, DecodeError, Decoder, encode};
use mesh_agent::api::{ErrorCode, ErrorEvent, Event, Hello, MAX_BODY, MAX_GROUPS, Name, Refusal, Request};
use mesh_protocol::Duration as Span;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tracing::debug;

use super::counters::{Counters, count};
use super::listener::Limits;
use super::port::{SessionEvents, SessionId, SessionPort, ToEngine, port};
use super::presence::Presence;
use super::strangers::Stranger;
use super::token::{Pass, TokenCheck};
use crate::access::{Entry, NotLetIn, Verdict};

/// The most requests in one batch to the engine. A guess: one window of credits.
pub const MAX_BATCH: usize = 256;

/// How much is read at a time, in bytes. A guess: a window of small messages.
const READ: usize = 32 * 1024;
/// How much is encoded before it is written, in bytes. A guess: one of the largest messages.
const WRITE: usize = 64 * 1024;
/// How long the last events of a session may take to be read, and the agent's last bytes to come. A guess.
pub(super) const LINGER: Duration = Duration::from_secs(2);
/// How much is read and thrown away after the last event, in bytes, so that a connection reset does not reach the agent
/// before the reason does. A guess.
const DISCARD: u64 = 16 * 1024 * 1024;

/// What all sessions have in common.
#[derive(Debug)]
pub(super) struct Common<C> {
    pub(super) clock: C,
    pub(super) engine: mpsc::Sender<ToEngine>,
    pub(super) limits: Limits,
    pub(super) token: TokenCheck,
    pub(super) counters: Arc<Counters>,
    pub(super) next_session: AtomicU64,
    /// Places for sessions with limits: fewer than for all.
    pub(super) limited: Arc<Semaphore>,
}

/// What the listener knows of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// Anyone may have come in: ask for the token, if there is one.
    Tcp,
    /// One of this gateway's own user.
    Unix,
    /// There is no room; say so and close.
    Full,
}

/// Serves a connection from its first byte to its last. The hello is to come within that time.
pub(super) async fn serve<C, R, W>(
    common: &Common<C>,
    door: Door,
    stranger: Option<Stranger>,
    hello_within: Duration,
    mut reader: R,
    mut writer: W,
) where
    C: Clock,
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let id = SessionId(common.next_session.fetch_add(1, Ordering::Relaxed));
    let (port, events) = port(common.limits.queue);
    let codec = OnceLock::new();
    let mut inbound = Inbound {
        common,
        id,
        events: &events,
        codec: &codec,
        decoder: Decoder::new(Bounds::HELLO),
        stranger,
        place: None,
        attached: false,
        batch_size: 1,
    };
    {
        let mut writing = pin!(write_events(&events, &codec, &mut writer, (&common.engine, id)));
        let mut overtime = pin!(async {
            events.ended().await;
            sleep(&common.clock, LINGER).await;
        });
        let mut reading = pin!(inbound.run(door, hello_within, port, &mut reader));
        let mut reads = true;
        loop {
            // In a fixed order, so that what happens does not depend on dice. Writing first: it ends by itself when what
            // the engine has pushed is written, while an agent that never stops asking could keep reading busy for ever.
            tokio::select! {
                biased;
                _ = &mut writing => break,
                () = &mut reading, if reads => reads = false,
                () = &mut overtime => {
                    count(&common.counters.unread);
                    debug!(session = %id, "the agent did not read its last events in time");
                    break;
                }
            }
        }
    }
    inbound.detach().await;
    drop(inbound);
    drop(events);
    let (mut rest, mut nowhere) = (reader.take(DISCARD), tokio::io::sink());
    let farewell = async { tokio::join!(writer.shutdown(), tokio::io::copy(&mut rest, &mut nowhere)) };
    // Whether the agent hangs up in time or not, the connection is over.
    let _ = within(&common.clock, LINGER, farewell).await;
}

async fn sleep(clock: &impl Clock, span: Duration) {
    let span = Span::from_micros(u64::try_from(span.as_micros()).unwrap_or(u64::MAX));
    clock.sleep_until(clock.now() + span).await;
}

/// What `work` comes to, unless it takes longer than that.
async fn within<T>(clock: &impl Clock, span: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = work => Some(done),
        () = sleep(clock, span) => None,
    }
}

/// The direction from the agent to the engine.
struct Inbound<'a, C> {
    common: &'a Common<C>,
    id: SessionId,
    events: &'a SessionEvents,
    codec: &'a OnceLock<Codec>,
    decoder: Decoder,
    /// What it is until it has said hello as it must. Who was refused stays one until the connection is closed.
    stranger: Option<Stranger>,
    /// Its place among the connections from then on.
    place: Option<OwnedSemaphorePermit>,
    /// Whether the engine knows the session and has to be told of its end.
    attached: bool,
    /// How many requests the last batch had; the next will have about as many.
    batch_size: usize,
}

impl<C> Drop for Inbound<'_, C> {
    /// Cut off, or ended by a bug: its agent is not to look connected for ever. Everyone else has detached.
    fn drop(&mut self) {
        if self.attached {
            // Without room among the requests there is nobody to wait for it: the next event shows that nobody is there.
            let _ = self.common.engine.try_send(ToEngine::Detach { session: self.id });
        }
    }
}

/// The agent has said all it will say, or all that is listened to.
struct Over;

/// Who was let in.
struct Admitted {
    agent: Name,
    /// Whether it has that name for this session alone.
    passing: bool,
    hello: Hello,
    pass: Pass,
    /// Its place among the sessions of its token.
    presence: Option<Presence>,
    /// Its place among those with limits, which leave some to those without.
    limited: Option<OwnedSemaphorePermit>,
}

/// How names begin that sessions are given which named none. Nobody else's do, on any gateway.
const PASSING: &str = "anon-";

/// Whether a name was given to a session that named none.
pub fn is_passing(name: &Name) -> bool {
    name.as_str().starts_with(PASSING)
}

/// A name for a session that gave none. Drawn, so that late answers to a session of an earlier run of the gateway meet nobody.
fn passing_name() -> Option<Name> {
    let mut tag = [0; 4];
    getrandom::fill(&mut tag).ok()?;
    Name::new(&format!("{PASSING}{:08x}", u32::from_be_bytes(tag))).ok()
}

impl<C: Clock> Inbound<'_, C> {
    /// Reads until there is nothing more to read, then tells the engine. What is still owed to the agent is written
    /// meanwhile.
    async fn run<R: AsyncRead + Unpin>(
        &mut self,
        door: Door,
        hello_within: Duration,
        port: SessionPort,
        reader: &mut R,
    ) {
        let limits = &self.common.limits;
        let (span, left) = match door {
            Door::Full => (limits.refusal_within, limits.refusal_within),
            // Some of it may be gone on finding out what is spoken.
            Door::Tcp | Door::Unix => (limits.hello_within, hello_within),
        };
        let common = self.common;
        let admitted = match within(&common.clock, left, self.hello(door, reader)).await {
            Some(Ok(admitted)) => admitted,
            Some(Err(Over)) => return,
            None => {
                count(&self.common.counters.refused_silent);
                let message = format!("no hello came within {} s", span.as_secs());
                let refusal = Refusal::new(ErrorCode::TooLate, message).hint("send it first");
                return self.events.refuse(ErrorEvent::fatal(refusal));
            }
        };
        let Admitted { agent, passing, hello, pass, presence: _presence, limited: _limited } = admitted;
        if let Some(stranger) = self.stranger.take() {
            self.place = stranger.said_hello();
            if self.place.is_none() {
                // It has been told to go, and the connection is being cut.
                return;
            }
        }
        // A permit first: between sending and noting that it was sent there must be no place to be cancelled.
        let Ok(permit) = self.common.engine.reserve().await else {
            return self.engine_gone();
        };
        debug!(session = %self.id, %agent, "attach");
        self.attached = true;
        let holder = pass.holder();
        permit.send(ToEngine::Attach { session: self.id, port, agent, passing, hello, holder });
        let Err(Over) = self.requests(agent, pass, reader).await;
        self.detach().await;
    }

    /// Tells the engine that the session is over, if it knows the session and has not been told.
    async fn detach(&mut self) {
        if !self.attached {
            return;
        }
        if let Ok(permit) = self.common.engine.reserve().await {
            permit.send(ToEngine::Detach { session: self.id });
        }
        self.attached = false;
    }

    /// The first request. Errors are answered here.
    async fn hello<R: AsyncRead + Unpin>(&mut self, door: Door, reader: &mut R) -> Result<Admitted, Over> {
        loop {
            let request = match self.decode() {
                Ok(Some(request)) => request,
                Ok(None) => {
                    self.fill(reader).await?;
                    if door == Door::Full {
                        let message = "the gateway has all the connections it takes";
                        return self.end(
                            Refusal::new(ErrorCode::Overloaded, message)
                                .hint("try again later, or raise the limit in its settings"),
                        );
                    }
                    continue;
                }
                // Before the hello a mistake ends it: who cannot say hello is not one of ours.
                Err(mut error) => {
                    error.fatal = true;
                    if error.code == ErrorCode::TooLarge {
                        error.message = format!(
                            "the first request must be a hello, and none is so long; {}",
                            error.message
                        );
                    }
                    self.events.refuse(error);
                    return Err(Over);
                }
            };
            let Request::Hello(mut hello) = request else {
                count(&self.common.counters.bad_requests);
                let message = "the first request must be a hello";
                return self
                    .end(Refusal::new(ErrorCode::NotWelcome, message).hint("send it before this one"));
            };
            let admitted = match door {
                Door::Unix => Some(Pass::free()),
                Door::Tcp | Door::Full => self.common.token.admit(hello.token.as_ref()),
            };
            let Some(pass) = admitted else {
                count(&self.common.counters.refused_token);
                self.note_not_let_in(hello.name, None, ErrorCode::Unauthorised);
                let (message, hint) = match hello.token {
                    None => (
                        "this gateway asks for an access token",
                        "give it as `token` in the hello, on the command line with --token-file",
                    ),
                    Some(_) => (
                        "the access token is wrong",
                        "give one that `mesh-gateway token add` printed, or the one in the gateway's settings",
                    ),
                };
                return self.end(Refusal::new(ErrorCode::Unauthorised, message).hint(hint).field("token"));
            };
            if let Some(name) = &hello.name
                && let Err(refusal) = pass.allows_name(name)
            {
                count(&self.common.counters.refused_limits);
                self.note_not_let_in(hello.name, pass.token(), refusal.code);
                return self.end(refusal);
            }
            if let Some(name) = hello.name.filter(is_passing) {
                count(&self.common.counters.bad_requests);
                let message = format!(
                    "cannot attach as {name}: names that begin with {PASSING} are for sessions without one of their own"
                );
                let refusal = Refusal::new(ErrorCode::BadRequest, message);
                return self.end(refusal.hint("take another name, or none").field("name"));
            }
            let passing = hello.name.is_none();
            let Some(agent) = hello.name.or_else(passing_name) else {
                let message = "the system gives no random numbers to make a name of";
                return self.end(Refusal::new(ErrorCode::Internal, message).hint("say hello with a name"));
            };
            let limited = match pass.holder().and_then(|holder| holder.quota) {
                None => None,
                Some(_) => match Arc::clone(&self.common.limited).try_acquire_owned() {
                    Ok(place) => Some(place),
                    Err(_) => {
                        count(&self.common.counters.refused_full);
                        let why =
                            format!("cannot attach {agent}: the last connections are kept for the operator");
                        let refusal = Refusal::new(ErrorCode::Overloaded, why);
                        return self.end(refusal.hint("try again later, or raise agents.max_connections"));
                    }
                },
            };
            let presence = match pass.enter(self.id, agent) {
                Ok(presence) => presence,
                Err(refusal) => {
                    count(&self.common.counters.refused_limits);
                    self.note_not_let_in(hello.name, pass.token(), refusal.code);
                    return self.end(refusal);
                }
            };
            hello.token = None;
            self.decoder.set_bounds(Bounds::REQUEST);
            return Ok(Admitted { agent, passing, hello, pass, presence, limited });
        }
    }

    /// Everything after the hello, in batches of what has come.
    async fn requests<R: AsyncRead + Unpin>(
        &mut self,
        agent: Name,
        mut pass: Pass,
        reader: &mut R,
    ) -> Result<std::convert::Infallible, Over> {
        let mut taken_back = pin!(pass.taken_back());
        let mut told = pass.holder();
        loop {
            let mut batch = Vec::with_capacity(self.batch_size);
            let mut over = false;
            while batch.len() < MAX_BATCH {
                match self.decode() {
                    Ok(None) => break,
                    Ok(Some(Request::Bye(_))) => {
                        over = true;
                        break;
                    }
                    Ok(Some(request)) => match self.admit(agent, &mut pass, &request) {
                        Ok(()) => batch.push(request),
                        Err(error) => {
                            self.note(agent, &pass, &request, error.code);
                            over = self.answer(error).is_err();
                        }
                    },
                    Err(error) => over = self.answer(error).is_err(),
                }
                if over {
                    break;
                }
            }
            let full = batch.len() == MAX_BATCH;
            if !batch.is_empty() {
                self.batch_size = batch.len();
                let sends = batch.iter().filter(|request| matches!(request, Request::Send(_))).count();
                if !self.events.owe(sends).await {
                    return Err(Over);
                }
                if pass.holder() != told {
                    told = pass.holder();
                    let changed = ToEngine::Changed { session: self.id, holder: told };
                    if self.common.engine.send(changed).await.is_err() {
                        self.engine_gone();
                        return Err(Over);
                    }
                }
                let requests = ToEngine::Requests { session: self.id, batch };
                if self.common.engine.send(requests).await.is_err() {
                    self.engine_gone();
                    return Err(Over);
                }
            }
            if over {
                return Err(Over);
            }
            if !full {
                let refused = tokio::select! {
                    biased;
                    refused = &mut taken_back => refused,
                    filled = self.fill(reader) => {
                        filled?;
                        continue;
                    }
                };
                count(&self.common.counters.taken_back);
                return self.end(refused);
            }
        }
    }

    /// Notes a message that was refused before the engine saw it; what the engine makes of the others is noted there.
    fn note(&self, agent: Name, pass: &Pass, request: &Request, code: ErrorCode) {
        if let Request::Send(send) = request {
            let (session, token, verdict) = (self.id.0, pass.token(), Verdict::Refused(code));
            self.common.token.audit().note(&Entry { session, agent, token, send, verdict });
        }
    }

    /// Notes that this one was not let in.
    fn note_not_let_in(&self, agent: Option<Name>, token: Option<Name>, code: ErrorCode) {
        let who = NotLetIn { session: self.id.0, agent, token, code };
        self.common.token.audit().note_not_let_in(&who, self.common.clock.now());
    }

    /// Whether a request keeps the rules of the session and of its token; an error is one to answer with.
    fn admit(&self, agent: Name, pass: &mut Pass, request: &Request) -> Result<(), ErrorEvent> {
        let Common { counters, clock, .. } = self.common;
        if let Err(refusal) = pass.renew() {
            count(&counters.taken_back);
            return Err(ErrorEvent::fatal(refusal));
        }
        keeps_the_rules(request).inspect_err(|_| count(&counters.bad_requests))?;
        pass.allows(agent, request, || clock.now()).map_err(|refusal| {
            count(&counters.refused_limits);
            ErrorEvent::about(request.reference(), refusal)
        })
    }

    /// The next request that has come whole; an error is one to answer with, fatal if the rest cannot be read.
    fn decode(&mut self) -> Result<Option<Request>, ErrorEvent> {
        self.decoder.decode().map_err(|error| {
            let long = matches!(error, DecodeError::LongLine(_) | DecodeError::LongFrame { .. });
            count(if long { &self.common.counters.too_long } else { &self.common.counters.bad_requests });
            ErrorEvent::from(&error)
        })
    }

    /// Answers with an error; the session is over if that was fatal, or if the agent does not even read its errors.
    fn answer(&self, error: ErrorEvent) -> Result<(), Over> {
        if !error.fatal && self.events.push(Event::Error(error.clone())).is_ok() {
            return Ok(());
        }
        self.events.refuse(error);
        Err(Over)
    }

    /// Reads what has come.
    async fn fill<R: AsyncRead + Unpin>(&mut self, reader: &mut R) -> Result<(), Over> {
        let decoder = &mut self.decoder;
        let read = poll_fn(|cx| {
            let space = decoder.space();
            space.reserve(READ);
            let poll = pin!(reader.read_buf(&mut space.limit(READ))).poll(cx);
            // An agent that is silent holds no more than it has said: there may be thousands of them.
            if poll.is_pending() {
                decoder.release();
            }
            poll
        });
        let read = read.await;
        if matches!(read, Ok(bytes) if bytes > 0) {
            // The first byte decides, also for the answer.
            if let Some(codec) = self.decoder.codec() {
                self.codec.get_or_init(|| codec);
            }
            return Ok(());
        }
        // A last line without its end is one all the same; who cannot be heard any more has not finished it.
        if matches!(read, Ok(0)) && self.decoder.finish() {
            return Ok(());
        }
        if self.decoder.is_mid_value() {
            count(&self.common.counters.half_requests);
            debug!(session = %self.id, "the connection ended in the middle of a request");
        }
        Err(Over)
    }

    fn end<T>(&self, refusal: Refusal) -> Result<T, Over> {
        self.events.refuse(ErrorEvent::fatal(refusal));
        Err(Over)
    }

    fn engine_gone(&self) {
        let refusal = Refusal::new(ErrorCode::ShuttingDown, "the gateway is going away");
        self.events.refuse(ErrorEvent::fatal(refusal.hint("connect again later")));
    }
}

/// The rules of the session for one request after the hello.
fn keeps_the_rules(request: &Request) -> Result<(), ErrorEvent> {
    let too_large = |message: String| Refusal::new(ErrorCode::TooLarge, message);
    let groups = |doing: &str| {
        too_large(format!("cannot name more than {MAX_GROUPS} groups at once"))
            .hint(format!("{doing} in parts"))
            .field("groups")
    };
    let refusal = match request {
        Request::Send(send) if send.body.len() > MAX_BODY => {
            too_large(format!("cannot send a body of {} bytes: {MAX_BODY} is the most", send.body.len()))
                .hint("send it in parts")
                .field(send.body.field())
        }
        Request::Subscribe(subscribe) if subscribe.groups.len() > MAX_GROUPS => groups("subscribe"),
        Request::Unsubscribe(unsubscribe) if unsubscribe.groups.len() > MAX_GROUPS => groups("unsubscribe"),
        Request::Hello(_) => Refusal::new(ErrorCode::BadRequest, "cannot say hello twice")
            .hint("open another connection for another agent"),
        _ => return Ok(()),
    };
    Err(ErrorEvent::about(request.reference(), refusal))
}

/// The direction from the engine to the agent: until the port is closed and empty, or the connection broken.
async fn write_events<W: AsyncWrite + Unpin>(
    events: &SessionEvents,
    codec: &OnceLock<Codec>,
    writer: &mut W,
    (engine, session): (&mpsc::Sender<ToEngine>, SessionId),
) -> io::Result<()> {
    let mut batch = VecDeque::new();
    let mut bytes = Vec::new();
    loop {
        let last = events.take(&mut batch).await;
        // Who has not said a byte is told in JSON, which people can read.
        let codec = codec.get().copied().unwrap_or(Codec::Json);
        for event in batch.drain(..) {
            encode(&event, codec, &mut bytes).map_err(io::Error::other)?;
            if bytes.len() >= WRITE {
                writer.write_all(&bytes).await?;
                bytes.clear();
            }
        }
        writer.write_all(&bytes).await?;
        bytes.clear();
        writer.flush().await?;
        if last {
            return Ok(());
        }
        if events.take_refused() {
            // An engine that is gone has nothing to show any more.
            let _ = engine.send(ToEngine::Room { session }).await;
        }
        // A session that is silent holds no buffers.
        if events.is_empty() {
            batch = VecDeque::new();
            bytes = Vec::new();
        }
    }
}
