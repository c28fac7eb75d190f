//! Messages as a scenario gives them to a stack and gets them back.
//!
//! Owns orders, refusals, arrivals and outcomes, the same for every stack.

use mesh_protocol::{Duration, Instant, MessageType, Priority};

/// Whom a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The node with this number in the scenario.
    Node(u32),
    /// Every node.
    Everyone,
}

/// A message that a scenario wants sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// To whom.
    pub to: Target,
    /// Of what type; only ours carries it.
    pub kind: MessageType,
    /// How urgent; only ours knows what that is.
    pub priority: Priority,
    /// The body.
    pub body: Vec<u8>,
    /// How long anyone wants it.
    pub within: Duration,
    /// Whether the receiver answers with a body of the same length.
    pub echo: bool,
}

impl Order {
    /// The type it is sent with: receivers answer queries, and nothing else.
    #[must_use]
    pub const fn sent_as(&self) -> MessageType {
        match (self.echo, self.kind) {
            (true, _) => MessageType::Query,
            (false, MessageType::Query) => MessageType::Notification,
            (false, kind) => kind,
        }
    }
}

/// Why a stack did not take a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Longer than the stack can carry.
    TooLong,
    /// No room; later there may be.
    Busy,
    /// Not running.
    Down,
}

/// A message that reached its receiver's application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When.
    pub at: Instant,
    /// The number of the node that sent it.
    pub from: u32,
    /// The number that the sender's [`StackNode::post`](super::StackNode::post) gave it.
    pub id: u32,
    /// How many hops it came; a neighbour's is 1.
    pub hops: u8,
    /// Whether it is an answer, and to which number of ours.
    pub answers: Option<u32>,
    /// Its body; empty where the stack does not keep bodies.
    pub body: Vec<u8>,
}

impl Refused {
    /// Its name in results.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooLong => "too long",
            Self::Busy => "busy",
            Self::Down => "down",
        }
    }
}

impl ReportedOutcome {
    /// Its name in results.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Sent => "sent",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::Rejected => "rejected",
        }
    }
}

/// What was reported to a sender in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReportedOutcome {
    /// The receiver has it.
    Delivered,
    /// It was to everyone, who do not answer: it was put on the air.
    Sent,
    /// Nobody knows.
    Unknown,
    /// It never left.
    Expired,
    /// The receiver refused it.
    Rejected,
}

/// What was reported to the sender of a message: nothing more is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// When it was reported.
    pub at: Instant,
    /// The number that [`StackNode::post`](super::StackNode::post) gave it.
    pub id: u32,
    /// What was reported.
    pub outcome: ReportedOutcome,
}
