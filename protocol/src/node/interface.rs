//! The words between a node and its application: configuration, events, answers, errors.
//!
//! Owns their meaning. What leads to them is for the other files of this folder.

use crate::block::Part;
use crate::control::{NameHash, Verdict};
use crate::crypto::Keyring;
use crate::outbox::SendOutcome;
use crate::probe::TracedHop;
use crate::replay::ReplayMark;
use crate::steps::Step;
use crate::{Address, LinkId, MessageId, Priority};
#[cfg(doc)]
use crate::{MESSAGE_MAX, Node};

/// What a node needs to know when it is made.
///
/// ```
/// use mesh_protocol::{Address, Config, EpochKeys, Keyring, NetKey};
///
/// let key = NetKey::new([7; 16]); // from the network's owner, with the address
/// let config = Config {
///     address: Address::new(0x0102),
///     keys: Keyring::new(EpochKeys::derive(&key, 1)),
///     seed: 0x5eed, // from the device's own entropy
///     ttl: 5,
///     relay: true,
///     seq_start: 0, // what `Event::ReserveSeq` had written last
///     seq_block: 1024,
/// };
/// # let _ = config;
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    /// Its lease from the network's owner; one node's address.
    pub address: Address,
    /// The keys to send and accept with.
    pub keys: Keyring,
    /// Seeds jitter; nothing secret. Different for each node and each start.
    pub seed: u64,
    /// Hops allowed to own frames, 1 to 15.
    pub ttl: u8,
    /// Whether to relay frames of others.
    pub relay: bool,
    /// The first SEQ that no earlier run of this node can have used under the current key.
    pub seq_start: u32,
    /// The most SEQs to reserve at a time: 4096 on a gateway, 1024 on a small node. The first reservations are smaller.
    pub seq_block: u32,
}

/// How many entries the tables of a node have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Nodes whose frames it takes.
    pub sources: usize,
    /// Neighbours and paths, so many of each.
    pub peers: usize,
    /// Own messages on their way.
    pub outbox: usize,
    /// Frames that wait for the air.
    pub queue: usize,
    /// Groups that it is in.
    pub groups: usize,
    /// Routes, the operator's and learned ones.
    pub routes: usize,
}

/// A frame to hand to a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// To which link.
    pub link: LinkId,
    /// Bytes of the buffer that are the frame.
    pub len: usize,
}

/// A message, or a part of one, from another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received<'a> {
    /// Who sent it.
    pub source: Address,
    /// This node, a group of its, or everyone.
    pub destination: Address,
    /// Its number at the source.
    pub id: MessageId,
    /// How urgent.
    pub priority: Priority,
    /// How many hops the last frame of it came.
    pub hops: u8,
    /// Where these bytes stand in the message; `None` when they are all of it.
    pub part: Option<Part>,
    /// How far its source's frames were taken. Kept together with the message, and [restored](crate::Node::restore_mark)
    /// after a restart, it shuts out all repeats of frames that brought it.
    pub mark: Option<ReplayMark>,
    /// The bytes.
    pub bytes: &'a [u8],
}

impl Received<'_> {
    /// Whether these bytes end the message.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.part.is_none_or(|part| part.offset as usize + self.bytes.len() == part.total as usize)
    }

    /// Whether the source waits for a verdict, to be given by [`Answer::Verdict`] or [`Node::report`].
    #[must_use]
    pub fn wants_verdict(&self) -> bool {
        self.destination.is_node() && self.is_last()
    }
}

/// What a node reports to its application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Bytes of a message arrived. Parts of one message come in order.
    Received(Received<'a>),
    /// The next bytes of an own message are wanted: [`Node::supply`] exactly `len` of them.
    NextPart {
        /// Of which message.
        id: MessageId,
        /// From which byte on.
        offset: u32,
        /// How many.
        len: usize,
    },
    /// An own message is done.
    Done {
        /// Which.
        id: MessageId,
        /// What became of it.
        outcome: SendOutcome,
        /// Hops from the node that answered.
        hops: Option<u8>,
    },
    /// Something happened to an own message on its way. Only for telling its story: with many at once the oldest are left out.
    Progress {
        /// Which.
        id: MessageId,
        /// What.
        step: Step,
    },
    /// The receiving agent acknowledged an own message that was delivered before.
    Processed {
        /// By which node.
        source: Address,
        /// Which.
        id: MessageId,
    },
    /// A node looks for an agent of this name; answer with [`Node::announce`] if it is here.
    NameWanted {
        /// Who asks.
        source: Address,
        /// The name's hash.
        name: NameHash,
    },
    /// A node has an agent of this name.
    NameAt {
        /// Which node.
        source: Address,
        /// The name's hash.
        name: NameHash,
    },
    /// The answer to [`Node::ping`].
    Pong {
        /// Who is there.
        source: Address,
        /// The number that the ping had.
        id: u16,
        /// How many hops the answer came.
        hops: u8,
    },
    /// An answer to [`Node::trace`].
    Traced {
        /// Who answers; this node itself is the first.
        source: Address,
        /// What it says.
        hop: TracedHop,
    },
    /// Write and sync that SEQs below `up_to` are used, then call [`Node::seq_reserved`].
    ReserveSeq {
        /// First SEQ that stays free.
        up_to: u32,
    },
    /// Three quarters of the SEQs that this address has in this epoch are used: it needs a new one before they end.
    EpochWanted,
    /// Another node sends under this node's address. This one says nothing of its own until [`Node::conflict`] says, and then goes on
    /// beyond what the other has sent; if that is too far ahead, it goes on as it was.
    AddressConflict {
        /// The SEQ that this node never sent.
        seq: u32,
    },
}

/// What an application answers to an event at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing, or later.
    None,
    /// To [`Event::Received`] of a last part: this became of the message.
    Verdict(Verdict),
    /// To [`Event::ReserveSeq`]: written and synced.
    Reserved,
}

/// Whoever runs a node with [`Node::drive`].
///
/// ```
/// use mesh_protocol::*;
///
/// /// A relay: it has a radio and flash, and no application.
/// struct Relay {
///     reserved: u32,
/// }
///
/// impl Host for Relay {
///     fn transmit(&mut self, link: LinkId, frame: &[u8]) {
///         // Into the controller.
///         # let _ = (link, frame);
///     }
///
///     fn event(&mut self, event: Event<'_>) -> Answer {
///         match event {
///             Event::ReserveSeq { up_to } => {
///                 self.reserved = up_to; // into flash
///                 Answer::Reserved
///             }
///             Event::Received(_) => Answer::Verdict(Verdict::Rejected(Reason::NoSuchAgent)),
///             _ => Answer::None,
///         }
///     }
///
///     fn load(&mut self, _id: MessageId, _offset: u32, _out: &mut [u8]) -> bool {
///         false // it sends nothing of its own
///     }
/// }
///
/// # let config = Config {
/// #     address: Address::new(1),
/// #     keys: Keyring::new(EpochKeys::derive(&NetKey::new([7; 16]), 1)),
/// #     seed: 1, ttl: 5, relay: true, seq_start: 0, seq_block: 1024,
/// # };
/// let mut relay = Relay { reserved: 0 };
/// let mut node = SmallNode::new(Instant::ZERO, config);
/// let next = node.drive(Instant::ZERO, &mut relay);
/// assert!(next > Some(Instant::ZERO) && relay.reserved > 0);
/// ```
pub trait Host {
    /// Puts a frame on a link; a link that cannot take it loses it, as the air would.
    fn transmit(&mut self, link: LinkId, frame: &[u8]);
    /// Hears an event.
    fn event(&mut self, event: Event<'_>) -> Answer;
    /// Fills `out` with the bytes of an own message from `offset` on; `false` if they are not there (any more).
    fn load(&mut self, id: MessageId, offset: u32, out: &mut [u8]) -> bool;
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The outbox is full: wait for an outcome.
    OutboxFull,
    /// No bytes, or more than [`MESSAGE_MAX`].
    Length,
    /// The first part has not the length that [`Node::first_part_len`] gives.
    FirstPart,
    /// The destination is nobody, or this node itself.
    Destination,
    /// A message of this number is on its way.
    IdInUse,
    /// All SEQs that this address has in this epoch are used.
    SeqExhausted,
}

impl core::fmt::Display for SendError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::OutboxFull => "the outbox is full: wait for an outcome",
            Self::Length => "a message has 1 to 65792 bytes",
            Self::FirstPart => "the first part has the wrong length",
            Self::Destination => "the destination is nobody, or this node itself",
            Self::IdInUse => "a message of this number is on its way",
            Self::SeqExhausted => {
                "all sequence numbers of this address are used, 100 %: nothing is sent any more; give it a new address"
            }
        })
    }
}

impl core::error::Error for SendError {}

/// Why a route was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RouteError {
    /// The destination is not another node.
    Destination,
    /// The next hop is not another node.
    NextHop,
    /// The table is full of routes that the operator gave.
    Full,
}

impl core::fmt::Display for RouteError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Destination => "a route leads to another node: 0x0001 to 0x7fff, and not this one",
            Self::NextHop => "the next hop of a route is another node: 0x0001 to 0x7fff, and not this one",
            Self::Full => "the table of routes is full: remove one",
        })
    }
}

impl core::error::Error for RouteError {}
