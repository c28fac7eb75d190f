//! A frame that waits, for whom, and what is still to be done with it.

use core::num::NonZeroU32;

use heapless::Vec;

use crate::seen::FrameKey;
use crate::{Address, Duration, Instant, LinkId, MessageId, Priority};

/// One bit for each link.
pub(crate) type LinkSet = u8;

pub(crate) const fn link_bit(link: LinkId) -> LinkSet {
    1 << (link.0 & 7)
}

/// For whom a frame waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// This node sealed it.
    Own,
    /// Another node did, and all that hear it are to pass it on.
    Relayed,
    /// The same, and some are chosen for it: this one is not, and need not where any others are heard to do it.
    Spare,
    /// Another node did, and this one alone was asked to pass it on.
    Entrusted,
}

/// Which segment of which of this node's messages a frame carries: a set bit, 25 bits of the message's number, 6 of the segment's (0 for
/// a single frame). A small node has no room for more, and its outbox no two messages that are 2^25 apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece(NonZeroU32);

impl Piece {
    const SET: NonZeroU32 = NonZeroU32::new(1 << 31).unwrap();

    pub(crate) fn new(message: MessageId, index: u8) -> Self {
        Self(Self::SET | message.0 << 6 & u32::MAX >> 1 | u32::from(index) & 63)
    }

    pub(crate) const fn index(self) -> u32 {
        self.0.get() & 63
    }

    pub(crate) fn is_of(self, message: MessageId) -> bool {
        self.0.get() >> 6 == Self::new(message, 0).0.get() >> 6
    }
}

/// Whom a frame is handed to, so that it stays until that node is heard to have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Custody {
    /// The neighbour that is to take it; none where that is nobody in particular.
    pub(crate) next: Address,
    /// For whom the frame is.
    pub(crate) to: Address,
    /// Whether the frame names it, so that it can name another.
    pub(crate) named: bool,
    /// Whether it carries some of a message, and its source is to be told when it is given up.
    pub(crate) data: bool,
    /// Whether it is the second that is asked.
    pub(crate) second: bool,
    /// Whether it is to be there soon and stands alone.
    pub(crate) urgent: bool,
    /// Milliseconds within which no answer is to be expected.
    pub(crate) patience: u8,
}

impl Custody {
    /// Whoever hears the frame may do with it what it likes.
    pub(crate) const NONE: Self = Self {
        next: Address::NONE,
        to: Address::NONE,
        named: false,
        data: false,
        second: false,
        urgent: false,
        patience: 0,
    };
}

/// A frame that is no longer here though it was to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone {
    pub(crate) key: FrameKey,
    pub(crate) whose: Whose,
    pub(crate) piece: Option<Piece>,
    pub(crate) custody: Custody,
    /// Whether it was never sent.
    pub(crate) unsent: bool,
}

/// A frame and how it is to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Waiting<const FRAME: usize> {
    pub(crate) key: FrameKey,
    /// Their length in a byte: a small node has no room for more.
    pub(crate) bytes: Vec<u8, FRAME, u8>,
    pub(crate) priority: Priority,
    /// The TTL in `bytes`.
    pub(crate) ttl: u8,
    pub(crate) whose: Whose,
    /// What of this node's own messages it carries, if it does.
    pub(crate) piece: Option<Piece>,
    pub(crate) due: Instant,
    pub(crate) links: LinkSet,
    /// Those of the links that lose nothing: one copy does, and no relay of others makes it needless.
    pub(crate) once: LinkSet,
    pub(crate) copies: u8,
    pub(crate) custody: Custody,
}

impl<const FRAME: usize> Waiting<FRAME> {
    /// The links that a further copy is for.
    pub(super) const fn again(&self) -> LinkSet {
        self.links & !self.once
    }
}

#[derive(Clone, Debug)]
pub(super) struct Entry<const FRAME: usize> {
    pub(super) frame: Waiting<FRAME>,
    pub(super) expires: Instant,
    /// Links that have not yet had the present copy.
    pub(super) pending: LinkSet,
    pub(super) sent: u8,
    pub(super) heard: u8,
    /// How often the present next hop was asked,
    pub(super) tries: u8,
    /// and when last: the low bits of the microseconds.
    pub(super) asked_at: u32,
    pub(super) order: u32,
}

impl<const FRAME: usize> Entry<FRAME> {
    /// Whether it is not to leave before a neighbour has taken it. Links that lose nothing need no answer.
    pub(super) fn in_custody(&self) -> bool {
        self.frame.custody.next != Address::NONE && self.frame.again() != 0
    }

    /// Whether it has been sent, and others go before it.
    pub(super) fn is_spare(&self) -> bool {
        self.sent > 0 && !self.in_custody()
    }

    pub(super) fn gone(&self) -> Gone {
        Gone {
            key: self.frame.key,
            whose: self.frame.whose,
            piece: self.frame.piece,
            custody: self.frame.custody,
            unsent: self.sent == 0,
        }
    }

    /// Its links have had it: it waits to be heard of.
    pub(super) fn asked(&mut self, now: Instant, wait: Duration) {
        self.sent = self.sent.saturating_add(1);
        self.tries = self.tries.saturating_add(1);
        self.asked_at = now.as_micros() as u32;
        self.pending = 0;
        self.frame.due = now + wait;
    }
}
