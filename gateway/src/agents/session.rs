//! One connection: bytes to batches of requests, events to bytes.
//!
//! Owns the rules that need no knowledge of other agents: hello first and in time, the token, the sizes. One task runs
//! both directions. Reading stops while the engine is busy, so that a hasty agent is slowed; writing takes everything
//! that waits at once, so that many small events cost one system call. The engine never waits for either.
//!
//! A session knows no time but that of the clock it is given: the wall's behind a socket, a simulated one where agents
//! live in simulated time.

use std::future::Future;
use std::pin::pin;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ble_bearer::Clock;
use mesh_agent::api::codec::{Bounds, Decoder};
use mesh_agent::api::{ErrorCode, ErrorEvent, Refusal};
use mesh_protocol::Duration as Span;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tracing::debug;

use super::common::{Common, LINGER, Transport};
use super::counters::count;
use super::hello::Admitted;
use super::inbound::{Inbound, Over};
use super::outbound::write_events;
use super::port::{SessionId, SessionPort, ToEngine, port};
use super::unauthenticated::PendingHello;
use crate::access::Caller;

/// How much is read and thrown away after the last event, in bytes, so that a connection reset does not reach the agent
/// before the reason does. A guess.
const DISCARD: u64 = 16 * 1024 * 1024;

/// Serves a connection from its first byte to its last. The hello is to come within that time.
pub(super) async fn serve<C, R, W>(
    common: &Common<C>,
    (transport, caller): (Transport, Caller),
    pending: Option<PendingHello>,
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
        caller,
        events: &events,
        codec: &codec,
        decoder: Decoder::new(Bounds::HELLO),
        pending,
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
        let mut reading = pin!(inbound.run(transport, hello_within, port, &mut reader));
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

impl<C: Clock> Inbound<'_, C> {
    /// Reads until there is nothing more to read, then tells the engine. What is still outstanding is written
    /// meanwhile.
    async fn run<R: AsyncRead + Unpin>(
        &mut self,
        transport: Transport,
        hello_within: Duration,
        port: SessionPort,
        reader: &mut R,
    ) {
        let limits = &self.common.limits;
        let (span, left) = match transport {
            Transport::Full => (limits.refusal_within, limits.refusal_within),
            // Some of it may be gone on finding out what is spoken.
            Transport::Tcp | Transport::Unix => (limits.hello_within, hello_within),
        };
        let common = self.common;
        let admitted = match within(&common.clock, left, self.hello(transport, reader)).await {
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
        if let Some(pending) = self.pending.take() {
            self.place = pending.said_hello();
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
        permit.send(ToEngine::Attach {
            session: self.id,
            caller: self.caller,
            port,
            agent,
            passing,
            hello,
            holder,
        });
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
}
