//! How much the agents may ask of the gateway.

use std::time::Duration;

use super::port::QueueBound;
use crate::share::but_a_sixteenth;

/// The most connections that have not said hello. A guess: the thousand agents that a gateway is meant for, all at once.
const UNAUTHENTICATED: usize = 1_024;

/// How much the agents may ask of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at the same time.
    pub connections: usize,
    /// Connections at the same time that have not said hello. One more, and the oldest of them is closed.
    pub unauthenticated: usize,
    /// How long a connection may take to say hello.
    pub hello_within: Duration,
    /// How long a connection over the limit may take to say its first byte, which tells the codec to refuse it in.
    pub refusal_within: Duration,
    /// How much may wait for one agent.
    pub queue: QueueBound,
}

impl Limits {
    /// The limits of a gateway that takes so many connections. At most half of them may be unauthenticated.
    #[must_use]
    pub fn of(connections: usize) -> Self {
        Self { connections, unauthenticated: UNAUTHENTICATED.min(connections.div_ceil(2)), ..Self::default() }
    }

    /// Sessions at the same time that came with limited tokens: they leave a sixteenth to the operator and to those without.
    #[must_use]
    pub const fn limited(&self) -> usize {
        but_a_sixteenth(self.connections)
    }
}

impl Default for Limits {
    /// Guesses: twice the thousand agents that a gateway is meant for, half of that for all of them to come back at once, and
    /// 10 s for a person at a keyboard.
    fn default() -> Self {
        Self {
            connections: 2_048,
            unauthenticated: UNAUTHENTICATED,
            hello_within: Duration::from_secs(10),
            refusal_within: Duration::from_secs(1),
            queue: QueueBound::default(),
        }
    }
}
