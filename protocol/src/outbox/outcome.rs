//! What an outbox is given, and what comes of it.

use crate::control::Reason;
use crate::{Address, Instant, MessageId, Priority};

/// Who a message is for, how urgent it is, and until when.
///
/// ```
/// use mesh_protocol::*;
///
/// # let config = Config {
/// #     address: Address::new(1),
/// #     keys: Keyring::new(EpochKeys::derive(&NetKey::new([7; 16]), 1)),
/// #     seed: 1, ttl: 5, relay: true, seq_start: 0, seq_block: 1024,
/// # };
/// let mut node = SmallNode::new(Instant::ZERO, config);
/// let delivery = Delivery {
///     id: MessageId(1),
///     destination: Address::new(2),
///     priority: Priority::High,
///     deadline: Instant::ZERO + Duration::from_secs(5),
/// };
/// node.send(Instant::ZERO, delivery, 2, b"hi")?;
/// assert_eq!(node.send(Instant::ZERO, delivery, 2, b"hi"), Err(SendError::IdInUse));
/// # Ok::<(), SendError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The number under which its outcome is reported; each number of a node names one message for ever.
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
    /// It was to many, who do not answer: it was put on the air.
    Sent,
    /// The destination did not take it.
    Rejected(Reason),
    /// The deadline passed before all of it was on the air, or was too near for all that is on its way: it cannot have been delivered.
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
