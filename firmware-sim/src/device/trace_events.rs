//! What a device reports to those who check on it.
//!
//! Owns the list of events, and two checks that only the device can make: that a refused frame has changed nothing, and
//! that timers ring when they should. Judging the rest is `chaos::invariants`' business. A device that nobody watches
//! reports nothing.

use mesh_protocol::{
    Address, Answer, Delivery, Discard, Event, Host, Instant, LinkId, MessageId, Part, Priority, SendError,
    SendOutcome, Verdict,
};

use super::{Core, Device};

/// Of so many timers one is tried a microsecond early, on a copy of the node: copying costs more than the timer. A guess.
const TRIED: u32 = 8;

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

/// What can be seen of a device after it ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeSnapshot {
    /// Whether it has power; without, the rest is what it was before.
    pub powered: bool,
    /// What its clock shows.
    pub clock: Instant,
    /// Its address.
    pub address: Address,
    /// The epoch it sends under.
    pub epoch: u32,
    /// The next SEQ.
    pub next_seq: u32,
    /// SEQs below this are reserved in flash.
    pub reserved: u32,
    /// Own messages under way, and how many can be.
    pub outbox: (usize, usize),
    /// Frames that wait for the radio, and how many can.
    pub queue: (usize, usize),
    /// Sources, and how many can be known.
    pub sources: (usize, usize),
    /// Neighbours, and how many can be known.
    pub neighbours: (usize, usize),
    /// Paths to others, and how many can be known.
    pub paths: (usize, usize),
    /// Routes, and how many it can have.
    pub routes: (usize, usize),
    /// Neighbours heard lately.
    pub alive: usize,
    /// Whether it remembers over a power cut what it delivered and what it sends.
    pub durable: bool,
    /// Whether it has the tables of a gateway.
    pub gateway: bool,
    /// Whether it relays.
    pub relays: bool,
    /// Whether it has heard its own address from another node.
    pub conflict: bool,
    /// Whether the node is able to send own frames: numbers are reserved and nobody else uses its address.
    pub can_seal: bool,
}

/// What a watched device keeps for those who watch.
#[derive(Debug, Default)]
pub(super) struct Audit {
    pub(super) events: Vec<TraceEvent>,
    timers: u32,
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

    /// What can be seen of it, at the world's time `now`.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> NodeSnapshot {
        // The sizes of `SmallNode` and `GatewayNode` in `protocol/src/lib.rs`.
        let gateway = matches!(self.node, Core::Gateway(_));
        let (outbox, queue, peers) = if gateway { (16, 64, 128) } else { (3, 20, 24) };
        let local = self.clock.local(now);
        each!(&self.node, node => NodeSnapshot {
            powered: self.powered,
            clock: local,
            address: node.address(),
            epoch: node.epoch(),
            next_seq: node.next_seq(),
            reserved: self.reserved(),
            outbox: (node.depth().0, outbox),
            queue: (node.depth().1, queue),
            sources: node.replay_use(),
            neighbours: (node.neighbours().count(), peers),
            paths: (node.paths().count(), peers),
            routes: (node.routes().count(), peers),
            alive: node.neighbours_alive(local),
            durable: self.boot.options.durable,
            gateway,
            relays: self.boot.options.relay,
            conflict: node.conflict(local).is_some(),
            can_seal: node.can_seal(),
        })
    }

    /// A number for all that can be seen of the node but its counters of discards.
    pub(super) fn digest(&self) -> u64 {
        let mut hash = Fnv::default();
        each!(&self.node, node => {
            for mark in node.replay_marks() {
                hash.add(u64::from(mark.src.bits()) << 32 | u64::from(mark.seq));
                hash.add(mark.epoch.into());
            }
            for neighbour in node.neighbours() {
                hash.add(neighbour.address.bits().into());
                hash.add(neighbour.last_heard.as_micros());
                let shares = [neighbour.delivery_in, neighbour.delivery_out].map(|share| share.map_or(256, u64::from));
                hash.add(shares[0] << 32 | shares[1] << 16 | neighbour.rssi.map_or(256, |rssi| u64::from(rssi as u8)));
            }
            for path in node.paths() {
                hash.add(u64::from(path.destination.bits()) << 8 | u64::from(path.hops));
                hash.add(path.last_heard.as_micros());
                hash.add(path.round_trip.map_or(u64::MAX, |trip| trip.as_micros()));
            }
            let (outbox, queue) = node.depth();
            hash.add((outbox as u64) << 32 | queue as u64);
            hash.add(u64::from(node.next_seq()) << 1 | u64::from(node.conflict(Instant::ZERO).is_some()));
            hash.add(node.poll_timeout().map_or(u64::MAX, Instant::as_micros));
            let stats = node.stats();
            for count in [stats.frames_sent, stats.blocks_received] {
                hash.add(count);
            }
        });
        hash.0
    }

    /// The device is run at `now`: whether that is as it was promised, if it is its timer that has rung.
    pub(super) fn check_timer(&mut self, now: Instant, promised: Option<Instant>) {
        let Some(promised) = promised.filter(|at| *at <= now) else { return };
        let Some(audit) = &mut self.audit else { return };
        if promised < now {
            audit.events.push(TraceEvent::RangLate);
            return;
        }
        audit.timers = audit.timers.wrapping_add(1);
        let tried = audit.timers.is_multiple_of(TRIED);
        let local = self.clock.local(now);
        let due = each!(&self.node, node => node.poll_timeout()).filter(|due| *due <= local);
        let other = [self.flash.poll_timeout(), self.announce_at];
        let Some(due) = due else {
            if other.into_iter().flatten().all(|at| at > now) {
                audit.events.push(TraceEvent::NothingDue);
            }
            return;
        };
        if let (Core::Small(node), true, Some(before)) = (&self.node, tried, due.as_micros().checked_sub(1)) {
            let mut idle = Idle(true);
            node.clone().drive(Instant::from_micros(before), &mut idle);
            if !idle.0 {
                audit.events.push(TraceEvent::DueEarlier);
            }
        }
    }
}

/// A host that remembers whether it had anything to do.
struct Idle(bool);

impl Host for Idle {
    fn transmit(&mut self, _link: LinkId, _frame: &[u8]) {
        self.0 = false;
    }

    fn event(&mut self, _event: Event<'_>) -> Answer {
        self.0 = false;
        Answer::None
    }

    fn load(&mut self, _id: MessageId, _offset: u32, _out: &mut [u8]) -> bool {
        self.0 = false;
        false
    }
}

/// FNV-1a by words (Fowler, Noll and Vo, 1991), with a shift between so that high bits count.
#[derive(Debug)]
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn add(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0000_0100_0000_01b3);
        self.0 ^= self.0 >> 29;
    }
}
