//! What becomes of a message at its destination, and of a frame on the way.

/// Why a node that had taken a frame in custody has given it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// No next hop passes it on.
    NoNextHop,
    /// It has waited too long.
    Stale,
    /// It had to give way to others.
    QueueFull,
}

impl Why {
    /// All reasons, in the order of their codes from 1.
    pub const ALL: [Self; 3] = [Self::NoNextHop, Self::Stale, Self::QueueFull];

    /// The reason in words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::NoNextHop => "no next hop passes it on",
            Self::Stale => "it has waited too long",
            Self::QueueFull => "it had to give way to others",
        }
    }
}

/// What a destination did with a message, or why it did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Verified, and stored if the destination promises to.
    Delivered,
    /// The receiving agent acknowledged it.
    Processed,
    /// Not taken, and why.
    Rejected(Reason),
    /// The destination lost earlier parts (it restarted): send from the first part again.
    Restart,
}

/// Why a destination did not take a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No agent of that name is there.
    NoSuchAgent,
    /// The agent's inbox is full.
    InboxFull,
    /// Larger than the destination takes.
    TooLarge,
    /// The deadline had passed on arrival.
    Expired,
    /// Storage failed.
    Storage,
    /// Not a message this destination understands.
    Malformed,
    /// Its names were said in an earlier message, which this destination does not know: they are to be said again.
    UnknownContext,
    /// It is older than all that the destination remembers of its sender, which may have had it before.
    Forgotten,
}

impl Reason {
    /// All reasons, in the order of their codes from 1.
    pub const ALL: [Self; 8] = [
        Self::NoSuchAgent,
        Self::InboxFull,
        Self::TooLarge,
        Self::Expired,
        Self::Storage,
        Self::Malformed,
        Self::UnknownContext,
        Self::Forgotten,
    ];

    const fn code(self) -> u8 {
        self as u8 + 1
    }

    /// The reason in words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::NoSuchAgent => "no agent of that name is there",
            Self::InboxFull => "the agent's inbox is full",
            Self::TooLarge => "larger than the destination takes",
            Self::Expired => "the deadline had passed on arrival",
            Self::Storage => "the destination could not store it",
            Self::Malformed => "the destination could not read it",
            Self::UnknownContext => "the destination does not know the names that it refers to",
            Self::Forgotten => "it is older than all that the destination remembers of this node",
        }
    }
}

impl Verdict {
    /// Two bytes that say it.
    #[must_use]
    pub const fn codes(self) -> [u8; 2] {
        match self {
            Self::Delivered => [1, 0],
            Self::Processed => [2, 0],
            Self::Rejected(reason) => [3, reason.code()],
            Self::Restart => [4, 0],
        }
    }

    /// What two bytes say.
    #[must_use]
    pub fn from_codes(codes: [u8; 2]) -> Option<Self> {
        Some(match codes {
            [1, 0] => Self::Delivered,
            [2, 0] => Self::Processed,
            [3, code] => Self::Rejected(*Reason::ALL.get(usize::from(code).checked_sub(1)?)?),
            [4, 0] => Self::Restart,
            _ => return None,
        })
    }
}
