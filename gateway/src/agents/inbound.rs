//! The direction from the agent to the engine: bytes to requests, and refusals back.
//!
//! Owns what is known of a session while it reads. What the first request has to be stands in [`super::hello`], what follows it in
//! [`super::requests`].

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::OnceLock;

use ble_bearer::Clock;
use bytes::BufMut;
use mesh_agent::api::codec::{Codec, DecodeError, Decoder};
use mesh_agent::api::{ErrorCode, ErrorEvent, Event, Name, Refusal, Request};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::OwnedSemaphorePermit;
use tracing::debug;

use super::common::Common;
use super::counters::count;
use super::port::{SessionEvents, SessionId, ToEngine};
use super::token::Pass;
use super::unauthenticated::PendingHello;
use crate::access::{AuditVerdict, Caller, Entry, NotLetIn};

/// How much is read at a time, in bytes. A guess: a window of small messages.
const READ: usize = 32 * 1024;

/// The direction from the agent to the engine.
pub(super) struct Inbound<'a, C> {
    pub(super) common: &'a Common<C>,
    pub(super) id: SessionId,
    pub(super) caller: Caller,
    pub(super) events: &'a SessionEvents,
    pub(super) codec: &'a OnceLock<Codec>,
    pub(super) decoder: Decoder,
    /// What it is until it has said hello as it must. Who was refused stays one until the connection is closed.
    pub(super) pending: Option<PendingHello>,
    /// Its place among the connections from then on.
    pub(super) place: Option<OwnedSemaphorePermit>,
    /// Whether the engine knows the session and has to be told of its end.
    pub(super) attached: bool,
    /// How many requests the last batch had; the next will have about as many.
    pub(super) batch_size: usize,
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
pub(super) struct Over;

impl<C: Clock> Inbound<'_, C> {
    /// Notes a message that was refused before the engine saw it; what the engine makes of the others is noted there.
    pub(super) fn note(&self, agent: Name, pass: &Pass, request: &Request, code: ErrorCode) {
        if let Request::Send(send) = request {
            let (session, token, verdict) = (self.id.0, pass.token(), AuditVerdict::Refused(code));
            self.common.token.audit().note(&Entry {
                session,
                caller: self.caller,
                agent,
                token,
                send,
                verdict,
            });
        }
    }

    /// Notes that this one was not let in.
    pub(super) fn note_not_let_in(&self, agent: Option<Name>, token: Option<Name>, code: ErrorCode) {
        let who = NotLetIn { session: self.id.0, caller: self.caller, agent, token, code };
        self.common.token.audit().note_not_let_in(&who, self.common.clock.now());
    }

    /// The next request that has come whole; an error is one to answer with, fatal if the rest cannot be read.
    pub(super) fn decode(&mut self) -> Result<Option<Request>, ErrorEvent> {
        self.decoder.decode().map_err(|error| {
            let long = matches!(error, DecodeError::LongLine(_) | DecodeError::LongFrame { .. });
            count(if long { &self.common.counters.too_long } else { &self.common.counters.bad_requests });
            ErrorEvent::from(&error)
        })
    }

    /// Answers with an error; the session is over if that was fatal, or if the agent does not even read its errors.
    pub(super) fn answer(&self, error: ErrorEvent) -> Result<(), Over> {
        if !error.fatal && self.events.push(Event::Error(error.clone())).is_ok() {
            return Ok(());
        }
        self.events.refuse(error);
        Err(Over)
    }

    /// Reads what has come.
    pub(super) async fn fill<R: AsyncRead + Unpin>(&mut self, reader: &mut R) -> Result<(), Over> {
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

    pub(super) fn end<T>(&self, refusal: Refusal) -> Result<T, Over> {
        self.events.refuse(ErrorEvent::fatal(refusal));
        Err(Over)
    }

    pub(super) fn engine_gone(&self) {
        let refusal = Refusal::new(ErrorCode::ShuttingDown, "the gateway is going away");
        self.events.refuse(ErrorEvent::fatal(refusal.hint("connect again later")));
    }
}
