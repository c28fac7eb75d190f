//! The air: which advertising PDUs reach which receivers.
//!
//! A state machine without clock and without IO: [`Air::transmit`] puts one advertising event on the three
//! channels, [`Air::poll_delivery`] says who heard it, [`Air::poll_timeout`] when to ask. Owns airtimes, scan
//! windows, half duplex, collisions and link loss. Leaves to the controller ([`super::Controller`]) when events
//! start and how long a report takes, to `geometry` who is in range.
//!
//! A first honest version. Not yet here: capture, added-up interference, fading, extended advertising, WLAN. They
//! belong into `judge`, the only place where a reception is decided.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use mesh_protocol::{Duration, Instant, Rng};

use super::geometry::{Links, Position, StationId, Topology};
use crate::FrameBytes;

/// Bytes of a legacy ADV_NONCONN_IND beside its AdvData: preamble 1, access address 4, header 2, advertiser's
/// address 6, CRC 3 (Core Specification, Vol 6 Part B, 2.1 and 2.3.1.3).
const PDU_OVERHEAD: usize = 1 + 4 + 2 + 6 + 3;
/// Bytes of AdvData around a frame: AD length, AD type 0xFF, company 0xFFFF.
const AD_HEADER: usize = 4;
/// Time of one byte at 1 Mbit/s.
const BYTE: Duration = Duration::from_micros(8);
/// From the end of one PDU of an advertising event to the start of the next ("about 150 µs" in the project's radio
/// model).
const CHANNEL_HOP: Duration = Duration::from_micros(150);
/// A radio needs about this long between sending and receiving (the project's radio model).
pub const TURNAROUND: Duration = Duration::from_micros(300);
/// How long a scanner stays on one channel (the setting of the reference run V1 in the radio model).
pub const SCAN_WINDOW: Duration = Duration::from_millis(3_000);
/// The advertising channels: 37, 38 and 39.
pub const CHANNELS: usize = 3;
/// A PDU is remembered until this long after its end: longer than any event and the turnaround after it, so that
/// every PDU it may have overlapped is judged by then. 245 bytes on three channels take 6.7 ms.
const MEMORY: Duration = Duration::from_millis(8);
/// Own events a station remembers: an event is at least 0.7 ms long, and a judgement looks back 1 ms.
const OWN_EVENTS: usize = 4;

/// How long one PDU with a frame of `len` bytes is on the air.
#[must_use]
pub const fn pdu_airtime(len: usize) -> Duration {
    BYTE.times((PDU_OVERHEAD + AD_HEADER + len) as u64)
}

/// How long one advertising event (a PDU on each channel) with a frame of `len` bytes takes.
#[must_use]
pub const fn event_airtime(len: usize) -> Duration {
    let pdus = pdu_airtime(len).times(CHANNELS as u64).as_micros();
    let hops = CHANNEL_HOP.times(CHANNELS as u64 - 1).as_micros();
    Duration::from_micros(pdus + hops)
}

/// What happened on the air, counted since the start.
///
/// Losses and receptions are counted once for each PDU and each receiver in range that scans its channel; a
/// receiver on another channel has not lost anything, it hears the event's PDU there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AirCounters {
    /// Advertising events sent.
    pub events: u64,
    /// PDUs heard.
    pub heard: u64,
    /// PDUs cut by the end of a scan window.
    pub boundary: u64,
    /// PDUs missed because the receiver sent or turned round.
    pub half_duplex: u64,
    /// PDUs lost to another one on the same channel.
    pub collision: u64,
    /// PDUs lost to the link's own loss rate.
    pub link_loss: u64,
}

/// One PDU that one station received.
#[derive(Clone, Copy, Debug)]
pub struct Heard<'a> {
    /// When the PDU ended.
    pub end: Instant,
    /// Who sent it.
    pub from: StationId,
    /// Who received it.
    pub to: StationId,
    /// Signal strength in dBm.
    pub rssi: i8,
    /// The frame.
    pub frame: &'a FrameBytes,
}

/// A stretch of time, its end excluded.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: Instant,
    end: Instant,
}

impl Span {
    fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    fn widened(self, by: Duration) -> Self {
        Self { start: self.start - by, end: self.end + by }
    }
}

/// A station's receiver.
#[derive(Debug)]
struct Receiver {
    powered: bool,
    /// Where in its round of scan windows it stood at time zero.
    scan_offset: Duration,
    /// Its own last advertising events, oldest overwritten first.
    own: [Span; OWN_EVENTS],
    next_own: usize,
}

impl Receiver {
    /// The channel (0..3) it scans at `at`, and the number of the window.
    fn scan(&self, at: Instant) -> (usize, u64) {
        let window = (at + self.scan_offset).as_micros() / SCAN_WINDOW.as_micros();
        ((window % CHANNELS as u64) as usize, window)
    }
}

/// One advertising event on its way.
#[derive(Debug)]
struct Flight {
    number: u64,
    from: StationId,
    start: Instant,
    frame: FrameBytes,
}

impl Flight {
    fn pdu(&self, channel: usize) -> Span {
        let airtime = pdu_airtime(self.frame.len());
        let start = self.start + (airtime + CHANNEL_HOP).times(channel as u64);
        Span { start, end: start + airtime }
    }
}

/// A PDU whose receptions are still to be decided: when, in which order, whose flight, which channel.
type Pending = Reverse<(Instant, u64, usize, usize)>;

/// The shared medium.
#[derive(Debug)]
pub struct Air {
    links: Links,
    receivers: Vec<Receiver>,
    rng: Rng,
    /// Mixed with an event's number and a receiver's for that pair's loss draw.
    loss_seed: u64,
    flights: Vec<Flight>,
    free: Vec<usize>,
    pending: BinaryHeap<Pending>,
    sequence: u64,
    /// On each channel, the recent PDUs and who sent them, oldest event first.
    recent: [VecDeque<(Span, StationId)>; CHANNELS],
    /// Those that overlap the PDU under judgement; kept for its allocation.
    rivals: Vec<StationId>,
    counters: AirCounters,
}

impl Air {
    /// Silent air; `seed` decides scan offsets and link losses.
    #[must_use]
    pub fn new(seed: u64, topology: Topology) -> Self {
        let mut rng = Rng::new(seed);
        let loss_seed = rng.next_u64();
        Self {
            links: Links::new(topology),
            receivers: Vec::new(),
            rng,
            loss_seed,
            flights: Vec::new(),
            free: Vec::new(),
            pending: BinaryHeap::new(),
            sequence: 0,
            recent: Default::default(),
            rivals: Vec::new(),
            counters: AirCounters::default(),
        }
    }

    /// Adds a station that listens whenever it does not send.
    pub fn add(&mut self, position: Position) -> StationId {
        let round = SCAN_WINDOW.times(CHANNELS as u64);
        self.receivers.push(Receiver {
            powered: true,
            scan_offset: Duration::from_micros(self.rng.below(round.as_micros())),
            own: Default::default(),
            next_own: 0,
        });
        self.links.add(position)
    }

    /// Switches a station's receiver off or on. Off, it hears nothing and counts no losses.
    pub fn set_powered(&mut self, id: StationId, powered: bool) {
        if let Some(receiver) = self.receivers.get_mut(id.index()) {
            receiver.powered = powered;
        }
    }

    /// Where a station stands.
    #[must_use]
    pub fn position(&self, id: StationId) -> Option<Position> {
        self.links.position(id)
    }

    /// Who hears `from`, in order of their numbers.
    pub fn listeners(&self, from: StationId) -> impl Iterator<Item = StationId> {
        self.links.listeners(from).iter().map(|neighbour| neighbour.to)
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> AirCounters {
        self.counters
    }

    /// The channel (37, 38 or 39) that a station scans at `at`.
    #[must_use]
    pub fn scanned_channel(&self, id: StationId, at: Instant) -> Option<u8> {
        let (channel, _) = self.receivers.get(id.index())?.scan(at);
        Some(37 + channel as u8)
    }

    /// Starts one advertising event at `now`. Times of successive calls must not run backwards, and a station's
    /// events must not overlap: it has one radio.
    pub fn transmit(&mut self, now: Instant, from: StationId, frame: &FrameBytes) {
        let Some(sender) = self.receivers.get_mut(from.index()) else {
            return;
        };
        sender.own[sender.next_own] = Span { start: now, end: now + event_airtime(frame.len()) };
        sender.next_own = (sender.next_own + 1) % OWN_EVENTS;

        let flight = Flight { number: self.counters.events, from, start: now, frame: frame.clone() };
        self.counters.events += 1;
        for (channel, recent) in self.recent.iter_mut().enumerate() {
            while recent.front().is_some_and(|(pdu, _)| pdu.end + MEMORY < now) {
                recent.pop_front();
            }
            recent.push_back((flight.pdu(channel), from));
        }
        let first = flight.pdu(0);
        let slot = match self.free.pop() {
            Some(slot) => {
                self.flights[slot] = flight;
                slot
            }
            None => {
                self.flights.push(flight);
                self.flights.len() - 1
            }
        };
        self.schedule(first, slot, 0);
    }

    /// A PDU is judged one turnaround after its end: only then is it known whether a receiver had to turn to
    /// sending in the middle of it.
    fn schedule(&mut self, pdu: Span, slot: usize, channel: usize) {
        self.sequence += 1;
        self.pending.push(Reverse((pdu.end + TURNAROUND, self.sequence, slot, channel)));
    }

    /// When [`Air::poll_delivery`] has something to do next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.pending.peek().map(|Reverse((at, ..))| *at)
    }

    /// Decides the next PDU that is due at `now` and hands over its receptions, in order of the receivers'
    /// numbers. False when none is due.
    pub fn poll_delivery(&mut self, now: Instant, heard: impl FnMut(Heard<'_>)) -> bool {
        if self.poll_timeout().is_none_or(|at| at > now) {
            return false;
        }
        let Some(Reverse((_, _, slot, channel))) = self.pending.pop() else {
            return false;
        };
        self.judge(slot, channel, heard);
        if channel + 1 < CHANNELS {
            let next = self.flights[slot].pdu(channel + 1);
            self.schedule(next, slot, channel + 1);
        } else {
            self.free.push(slot);
        }
        true
    }

    /// How many flights and how many remembered PDUs there is room for now.
    #[cfg(test)]
    pub(super) fn footprint(&self) -> (usize, usize) {
        (self.flights.len(), self.recent.iter().map(VecDeque::len).sum())
    }

    /// Who receives one PDU.
    fn judge(&mut self, slot: usize, channel: usize, mut heard: impl FnMut(Heard<'_>)) {
        let flight = &self.flights[slot];
        let pdu = flight.pdu(channel);
        let last_moment = pdu.end - Duration::from_micros(1);
        let touched = pdu.widened(TURNAROUND);
        self.rivals.clear();
        let rivals =
            self.recent[channel].iter().filter(|(other, from)| *from != flight.from && pdu.overlaps(*other));
        self.rivals.extend(rivals.map(|(_, from)| *from));

        for neighbour in self.links.listeners(flight.from) {
            let receiver = &self.receivers[neighbour.to.index()];
            let (at_start, at_end) = (receiver.scan(pdu.start), receiver.scan(last_moment));
            if !receiver.powered || (at_start.0 != channel && at_end.0 != channel) {
                continue;
            }
            let collides = |&rival: &StationId| self.links.hears(neighbour.to, rival);
            let counter = if at_start != at_end {
                &mut self.counters.boundary
            } else if receiver.own.iter().any(|own| own.overlaps(touched)) {
                &mut self.counters.half_duplex
            } else if self.rivals.iter().any(collides) {
                &mut self.counters.collision
            } else if lost(self.loss_seed, flight.number, neighbour.to, neighbour.loss_ppm) {
                &mut self.counters.link_loss
            } else {
                heard(Heard {
                    end: pdu.end,
                    from: flight.from,
                    to: neighbour.to,
                    rssi: neighbour.rssi,
                    frame: &flight.frame,
                });
                &mut self.counters.heard
            };
            *counter += 1;
        }
    }
}

/// The loss draw of one advertising event at one receiver: the same for its three PDUs, and independent of the
/// order in which anything else is drawn.
fn lost(seed: u64, event: u64, to: StationId, loss_ppm: u32) -> bool {
    loss_ppm > 0 && Rng::new(seed).fork(event).fork(u64::from(to.0)).chance(loss_ppm)
}
