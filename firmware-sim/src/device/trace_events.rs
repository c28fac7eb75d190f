//! What a device reports to those who check on it.
//!
//! Owns the list of events. Judging them is `chaos::invariants`' business. A device that nobody watches reports nothing.

use mesh_protocol::{Address, Delivery, Discard, MessageId, Part, Priority, SendError, SendOutcome, Verdict};

use super::Device;

/// Something that happened in a device, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TraceEvent {
    /// A frame came from the air.
    Frame {
        /// What the node said.
        result: Result<(), Discard>,
        /// Whether all that can be seen of the node, but for counters of discards, is as before.
        unchanged: bool,
    },
    /// The node handed a frame to the radio.
    Handed(Vec<u8>),
    /// The node took a message of this device.
    Accepted {
        /// Whom it is for, and how.
        delivery: Delivery,
        /// All of its bytes.
        bytes: Vec<u8>,
        /// Whether a route by another node leads there.
        by_route: bool,
    },
    /// The node did not take it.
    Refused(MessageId, SendError),
    /// The node showed the application a message, or a part of one.
    Shown {
        /// Who sent it.
        source: Address,
        /// To this node, a group, or everyone.
        destination: Address,
        /// Its number there.
        id: MessageId,
        /// How urgent.
        priority: Priority,
        /// Where the bytes stand; `None` when they are all of it.
        part: Option<Part>,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// The application has a message: from here on a receipt may say so.
    Delivered(Address, MessageId),
    /// The application refused it, or wants it from the beginning.
    Verdict(Address, MessageId, Verdict),
    /// What became of an own message.
    Done(MessageId, SendOutcome),
    /// The clock jumped ahead.
    Jumped,
    /// Power was cut; whether that broke a write to flash.
    Cut {
        /// A write was under way.
        in_write: bool,
    },
    /// Power is back, and flash says that SEQs from here on are free.
    Booted {
        /// The first of them.
        seq: u32,
        /// The highest SEQs taken earlier: source, epoch, SEQ.
        marks: Vec<(Address, u32, u32)>,
    },
    /// Something was due before the node said so.
    DueEarlier,
    /// The timer rang, and nothing was due.
    NothingDue,
    /// The timer rang later than it had been set for.
    RangLate,
}

/// What a watched device keeps for those who watch.
#[derive(Debug, Default)]
pub(super) struct Audit {
    pub(super) events: Vec<TraceEvent>,
    pub(super) timers: u32,
}

impl Device {
    /// From here on the device reports events.
    pub fn watch(&mut self) {
        self.audit.get_or_insert_default();
    }

    /// The events since last asked, in order.
    pub fn trace_events(&mut self) -> Vec<TraceEvent> {
        self.audit.as_mut().map(|audit| std::mem::take(&mut audit.events)).unwrap_or_default()
    }

    pub(super) fn trace(&mut self, event: TraceEvent) {
        if let Some(audit) = &mut self.audit {
            audit.events.push(event);
        }
    }
}
