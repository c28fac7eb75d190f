//! What an outbox is given, and what comes of it.

use crate::control::Reason;
use crate::{Address, Instant, MessageId, Priority};

/// Who a message is for, how urgent it is, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The number under which its outcome will be told; each number of a node names one message for ever.
    pub id: MessageId,
    /// One node, a group, or everyone.
    pub destination: Address,
    /// How urgent.
    pub priority: Priority,
    /// When nobody wants it any more.
    pub deadline: Instant,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// The destination verified it, and stored it if it promises to.
    Delivered,
    /// The receiving agent acknowledged it.
    Processed,
    /// It was for many, who do not answer: it was put on the air.
    Sent,
    /// The destination did not take it.
    Rejected(Reason),
    /// The deadline passed before all of it was on the air: it cannot have been delivered.
    Expired,
    /// The deadline passed without an answer: it may have been delivered.
    Unknown,
}

/// What a timeout or an answer led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// This message is done.
    Done(MessageId, SendOutcome),
    /// The next part of this message is wanted: `len` bytes from `offset` on.
    WantsPart { id: MessageId, offset: u32, len: usize },
}
