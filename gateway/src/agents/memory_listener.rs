//! A listener without sockets: sessions over streams in memory, for agents that live in the gateway's own process and time.
//!
//! Owns making such streams and cutting them all off. The sessions on them are those of [`super::session`], byte for
//! byte; whoever gets a stream is let in as through a Unix socket.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use ble_bearer::Clock;
use tokio::io::{DuplexStream, duplex};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::common::{Common, Transport};
use super::counters::Counters;
use super::limits::Limits;
use super::port::ToEngine;
use super::session;
use super::token::TokenCheck;
use crate::access::Caller;

/// Bytes that a stream holds each way before its writer waits. A guess: about what a socket holds.
const STREAM: usize = 64 * 1024;

/// A place where agents in the same process get their streams. Dropping it cuts every session off.
#[derive(Debug)]
pub struct MemoryListener<C> {
    common: Arc<Common<C>>,
    sessions: JoinSet<()>,
}

impl<C: Clock> MemoryListener<C> {
    /// A listener whose sessions speak to `engine` and take their time from `clock`.
    #[must_use]
    pub fn new(engine: mpsc::Sender<ToEngine>, limits: Limits, clock: C) -> Self {
        let common = Common {
            clock,
            engine,
            limits,
            token: TokenCheck::open(),
            counters: Arc::default(),
            next_session: AtomicU64::new(1),
            limited: Arc::new(Semaphore::new(limits.limited())),
        };
        Self { common: Arc::new(common), sessions: JoinSet::new() }
    }

    /// What is counted here.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.common.counters)
    }

    /// The agent's end of a new stream, whose session has begun. Any number of them.
    pub fn connect(&mut self) -> DuplexStream {
        while self.sessions.try_join_next().is_some() {}
        let (theirs, mine) = duplex(STREAM);
        let common = Arc::clone(&self.common);
        self.sessions.spawn(async move {
            let (reader, writer) = tokio::io::split(mine);
            session::serve(
                &common,
                (Transport::Unix, Caller::Inside),
                None,
                common.limits.hello_within,
                reader,
                writer,
            )
            .await;
        });
        theirs
    }

    /// Waits until every session has ended, which each does when the engine lets go of it and its agent hangs up.
    pub async fn ended(&mut self) {
        while self.sessions.join_next().await.is_some() {}
    }

    /// Cuts every session off and waits until nothing is left of them.
    pub async fn cut(&mut self) {
        self.sessions.shutdown().await;
    }
}
