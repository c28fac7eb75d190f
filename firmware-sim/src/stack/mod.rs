//! What a network stack is to a scenario, whichever it is: ours, or one to measure it against.
//!
//! Owns the trait [`Stack`] and the words it speaks in. Who sends what and when is the scenario's business, what
//! becomes of an advert on the air the world's.

mod echo;
pub mod flood;
pub mod mesh;
pub mod sig;

#[cfg(test)]
mod bus;

use ble_bearer::Full;
use ble_bearer::sim::Station;
use mesh_protocol::{Duration, Instant, MessageType, Priority};

use crate::chaos::Faulty;
use crate::scenario::Flash;

use self::flood::Flood;
use self::sig::Sig;

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
    /// The type it has on its way: whoever has it answers queries, and nothing else.
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
    /// The number that the sender's [`Stack::post`] gave it.
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

impl Fate {
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

/// What a sender was told in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// The receiver has it.
    Delivered,
    /// It was for many, who do not answer: it was put on the air.
    Sent,
    /// Nobody knows.
    Unknown,
    /// It never left.
    Expired,
    /// The receiver refused it.
    Rejected,
}

/// What became of a message, as its sender was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// When the sender was told.
    pub at: Instant,
    /// The number that [`Stack::post`] gave it.
    pub id: u32,
    /// What it was told.
    pub fate: Fate,
}

/// One node of a network stack.
pub trait Stack: Station {
    /// Takes a message; its number here. The world runs the station afterwards.
    ///
    /// # Errors
    /// [`Refused`], and nothing is sent.
    fn post(&mut self, now: Instant, order: &Order) -> Result<u32, Refused>;

    /// What reached the application since last asked, in order.
    fn arrivals(&mut self) -> Vec<Arrival>;

    /// What senders were told since last asked, in order. Stacks without receipts have none.
    fn settled(&mut self) -> Vec<Settled>;

    /// Counters of this stack, by name: discards, relayed, retries. For reports.
    fn counters(&self) -> Vec<(&'static str, u64)>;
}

/// The advertising sets of a controller, for stacks that say when each PDU goes out and how often.
///
/// A set holds one PDU at a time. Set 0 is for what a node has to say itself, the others are for what it relays.
pub trait Sets {
    /// Puts a PDU, without its AD header, into a free set: it goes out `copies` times (0 counts as 1), one `interval`
    /// from the start of one to the next. When the last one has ended, the stack is told that the set is free.
    ///
    /// # Errors
    /// [`Full`] when the set is not free or the PDU does not fit; nothing is kept of it, and no word follows.
    fn advertise(&mut self, set: usize, pdu: &[u8], copies: u8, interval: Duration) -> Result<(), Full>;
}

impl Sets for ble_bearer::sim::Radio<'_> {
    fn advertise(&mut self, set: usize, pdu: &[u8], copies: u8, interval: Duration) -> Result<(), Full> {
        Self::advertise(self, set, pdu, copies, interval)
    }
}

/// A stack that knows no world, as a station of one.
macro_rules! station {
    ($stack:ty) => {
        impl Station for $stack {
            fn receive(&mut self, now: Instant, frame: &[u8], rssi: i8) -> bool {
                Self::receive(self, now, frame, rssi)
            }

            fn run(&mut self, now: Instant, radio: &mut ble_bearer::sim::Radio<'_>) -> Option<Instant> {
                Self::run(self, now, radio)
            }

            fn sent(&mut self, now: Instant, set: usize) {
                Self::sent(self, now, set);
            }
        }

        impl Stack for $stack {
            fn post(&mut self, now: Instant, order: &Order) -> Result<u32, Refused> {
                Self::post(self, now, order)
            }

            fn arrivals(&mut self) -> Vec<Arrival> {
                Self::arrivals(self)
            }

            fn settled(&mut self) -> Vec<Settled> {
                Self::settled(self)
            }

            fn counters(&self) -> Vec<(&'static str, u64)> {
                Self::counters(self)
            }
        }
    };
}

/// What RAM held is gone with the power; what flash keeps is the stack's business. No clock of theirs is kept apart.
macro_rules! faulty {
    ($stack:ty) => {
        impl Faulty for $stack {
            fn cut(&mut self, _now: Instant, _flash: Flash) {
                self.power_cut();
            }

            fn restart(&mut self, _now: Instant) {}

            fn jump(&mut self, _now: Instant, _by: Duration) {}
        }
    };
}

faulty!(Sig);
faulty!(Flood);
station!(Sig);
station!(Flood);
