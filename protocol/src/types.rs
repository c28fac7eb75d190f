//! The words every part shares: addresses, priorities, message types and numbers.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::Duration;

/// A 16-bit lease from the network's owner.
///
/// `0x0000` none, `0x0001..=0x7FFF` one node, `0x8000..=0xFFFE` a group, `0xFFFF` everyone.
///
/// ```
/// use mesh_protocol::Address;
///
/// let lamp = Address::new(0x0102);
/// assert!(lamp.is_node() && !lamp.is_many());
/// assert!(Address::new(0x8001).is_group() && Address::EVERYONE.is_many());
/// assert_eq!(lamp.to_string(), "0x0102");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Address(u16);

impl Address {
    /// No node; never valid as source or destination.
    pub const NONE: Self = Self(0);
    /// Every node of the network.
    pub const EVERYONE: Self = Self(0xFFFF);
    /// The highest address that one node can hold.
    pub const LAST_NODE: Self = Self(0x7FFF);

    /// The address with these bits.
    #[must_use]
    pub const fn new(bits: u16) -> Self {
        Self(bits)
    }

    /// The address as it stands on the air.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Whether this is one node's address.
    #[must_use]
    pub const fn is_node(self) -> bool {
        self.0 >= 1 && self.0 <= Self::LAST_NODE.0
    }

    /// Whether this is a group's address.
    #[must_use]
    pub const fn is_group(self) -> bool {
        self.0 >= 0x8000 && self.0 != Self::EVERYONE.0
    }

    /// Whether this is more than one node: a group, or everyone.
    #[must_use]
    pub const fn is_many(self) -> bool {
        self.0 >= 0x8000
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:04x}", self.0)
    }
}

/// How urgent a message is, on the air and in every queue.
///
/// ```
/// use mesh_protocol::Priority;
///
/// assert!(Priority::Critical < Priority::Low, "the most urgent comes first");
/// assert_eq!(Priority::from_bits(Priority::High.bits()), Priority::High);
/// assert_eq!(Priority::default().name(), "MEDIUM");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Priority {
    /// Overtakes everything; relays are never suppressed.
    Critical,
    /// Overtakes MEDIUM and LOW; relays are never suppressed.
    High,
    /// The default.
    #[default]
    Medium,
    /// Bulk and housekeeping; keeps at least 5 % of the air.
    Low,
}

impl Priority {
    /// All four, the most urgent first.
    pub const ALL: [Self; 4] = [Self::Critical, Self::High, Self::Medium, Self::Low];

    /// The two bits on the air: 0 CRITICAL to 3 LOW.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self as u8
    }

    /// The priority of these two bits; higher bits are ignored.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::Critical,
            1 => Self::High,
            2 => Self::Medium,
            _ => Self::Low,
        }
    }

    /// Whether a relay may be left out because others were heard to do it.
    #[must_use]
    pub const fn suppressible(self) -> bool {
        matches!(self, Self::Medium | Self::Low)
    }

    /// The name as people write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Critical => "CRITICAL",
            Self::High => "HIGH",
            Self::Medium => "MEDIUM",
            Self::Low => "LOW",
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a message asks of the agent that receives it.
///
/// ```
/// use mesh_protocol::MessageType;
///
/// assert_eq!(MessageType::from_bits(1), Some(MessageType::Query));
/// assert_eq!(MessageType::from_bits(7), None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MessageType {
    /// Work to do.
    Task,
    /// A question that wants a RESPONSE.
    Query,
    /// The answer to a QUERY.
    Response,
    /// Something to know.
    #[default]
    Notification,
    /// New parameters, often large.
    ParameterUpdate,
}

impl MessageType {
    /// All five.
    pub const ALL: [Self; 5] =
        [Self::Task, Self::Query, Self::Response, Self::Notification, Self::ParameterUpdate];

    /// The three bits on the air.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self as u8
    }

    /// The type of these bits, if there is one.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Task,
            1 => Self::Query,
            2 => Self::Response,
            3 => Self::Notification,
            4 => Self::ParameterUpdate,
            _ => return None,
        })
    }

    /// The name as people write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Task => "TASK",
            Self::Query => "QUERY",
            Self::Response => "RESPONSE",
            Self::Notification => "NOTIFICATION",
            Self::ParameterUpdate => "PARAMETER_UPDATE",
        }
    }
}

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The number a node gives to a message; with the node's address it names the message in the whole network.
///
/// ```
/// use mesh_protocol::{Address, MessageId};
///
/// // Each node counts its own; only with the node's address a number names one message.
/// let first = (Address::new(1), MessageId(1));
/// let other = (Address::new(2), MessageId(1));
/// assert_ne!(first, other);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(pub u32);

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A path for frames: one bearer's advertising, or one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u8);

/// Whom a link reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Everyone in range hears it (advertising). What comes in may be sent on over the same link: others hear that.
    Everyone,
    /// One peer hears it (a connection). What comes from that peer need not go back to it.
    Peer,
}

/// Which receivers take frames longer than [`LEGACY_FRAME`](crate::LEGACY_FRAME).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LongFrames {
    /// All that the link reaches.
    Everyone,
    /// Only those that are named as able to: the others hear nothing of a long frame.
    Named,
}

/// What a bearer says, honestly, of one of its links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkInfo {
    /// The longest frame it carries, in bytes.
    pub mtu: usize,
    /// Whom it reaches.
    pub reach: Reach,
    /// Whether frames may be lost on it, so that copies are worth their time.
    pub lossy: bool,
    /// Whom frames longer than a legacy one reach, where `mtu` allows them.
    pub long_frames: LongFrames,
    /// The time between the start of two frames within which each is sure to be taken; the node paces itself by it, unless the
    /// bearer says that it is ready sooner (`Node::link_ready`).
    pub min_gap: Duration,
}

impl LinkInfo {
    /// Advertising: everyone in range hears it, or does not.
    #[must_use]
    pub const fn advertising(mtu: usize, min_gap: Duration) -> Self {
        Self { mtu, reach: Reach::Everyone, lossy: true, long_frames: LongFrames::Everyone, min_gap }
    }

    /// A connection to one peer that loses nothing.
    #[must_use]
    pub const fn connection(mtu: usize, min_gap: Duration) -> Self {
        Self { mtu, reach: Reach::Peer, lossy: false, long_frames: LongFrames::Everyone, min_gap }
    }
}
