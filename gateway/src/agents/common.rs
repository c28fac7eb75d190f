//! What all sessions of a listener have in common, and what is known of a connection before its first byte.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};

use super::counters::Counters;
use super::limits::Limits;
use super::port::ToEngine;
use super::token::TokenCheck;

/// How long the last events of a session may take to be read, and the agent's last bytes to come. A guess.
pub(super) const LINGER: Duration = Duration::from_secs(2);

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
pub(super) enum Transport {
    /// Anyone may have come in: ask for the token, if there is one.
    Tcp,
    /// One of this gateway's own user.
    Unix,
    /// There is no room; say so and close.
    Full,
}
