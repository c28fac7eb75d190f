//! Who sends what to whom, and how the messages follow each other.
//!
//! Owns its meaning as plain data. Which messages it comes to is `plan`'s business.

use mesh_protocol::{Duration, MessageType, Priority};

/// Some of the nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// This one.
    Node(u32),
    /// Any of these.
    Nodes(Vec<u32>),
    /// Any node, drawn again for each message.
    Any,
    /// All of them. As a receiver: one message to everyone. As a sender: each of them sends a stream of its own.
    Everyone,
}

/// A stream of messages.
#[derive(Clone, Debug, PartialEq)]
pub struct Traffic {
    /// Who sends.
    pub from: Who,
    /// Who receives, drawn again for each message where it may be several; never the sender itself.
    pub to: Who,
    /// Of what type.
    pub kind: MessageType,
    /// How urgent.
    pub priority: Priority,
    /// Bytes of each body, 0 to 65,536.
    pub bytes: u32,
    /// When no longer wanted.
    pub deadline: Duration,
    /// The first may be sent then, counted from the end of `settle`.
    pub start: Duration,
    /// None is sent from then on, counted from the end of `settle`; `None`: as long as traffic is offered.
    pub stop: Option<Duration>,
    /// How they follow each other.
    pub pattern: Pattern,
}

/// How messages follow each other.
#[derive(Clone, Debug, PartialEq)]
pub enum Pattern {
    /// One after the other: the next one a pause after the answer, or after the deadline without. The receiver answers
    /// each with a body of the same length.
    Ping {
        /// How many.
        count: u32,
        /// From an answer to the next one.
        pause: Duration,
    },
    /// Evenly. Where everyone sends, each begins at a moment of its own within the first `every`.
    Periodic {
        /// From one to the next.
        every: Duration,
        /// Each up to this much later.
        jitter: Duration,
    },
    /// At random, independent of each other.
    Poisson {
        /// How many a second on average.
        rate: f64,
    },
    /// Several at once, evenly. Where everyone sends, all do at once.
    Burst {
        /// How many at once.
        size: u32,
        /// From one burst to the next.
        every: Duration,
    },
    /// Each as soon as the one before is complete.
    Bulk {
        /// How many.
        count: u32,
    },
}
