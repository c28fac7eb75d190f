//! The air: which advertising PDUs reach which receivers.
//!
//! A state machine without clock and without IO: [`Air::transmit`] starts one advertising event, [`Air::poll_delivery`]
//! says who heard what, [`Air::poll_timeout`] when to ask. How a reception is decided stands in `reception`. Leaves to the
//! controller ([`super::Controller`]) when events start and how long a report takes, to [`crate::airtime`] how long PDUs are, to
//! [`super::spec`] where scanners are, to [`super::links`] who is in range.

mod reception;

use std::collections::VecDeque;
use std::sync::Arc;

use mesh_protocol::{Duration, Instant, Rng};

use super::advert::Cargo;
use super::controller::shape;
use super::flight::{Flight, SECONDARY};
use super::geometry::{Position, StationId, Topology};
use super::hearer::Hearer;
use super::links::Links;
use super::power::{centi, linear};
use super::receiver::{NEVER, Receiver, Span, Tuned, Unit};
use super::spec::{RadioSpec, ScanPlan};
use super::wlan::{Bursts, Wlan};
use crate::FrameBytes;
use crate::airtime::CHANNELS;

/// What the air is like, beside where stations stand.
#[derive(Clone, Debug, PartialEq)]
pub struct AirSettings {
    /// A PDU is received while it is so much stronger than everything else together, in dB. 10 by default
    /// (published values lie between 6 and 14); 300 and more mean that nothing may disturb it.
    pub capture_db: f64,
    /// A wireless LAN beside.
    pub wlan: Option<Wlan>,
}

impl Default for AirSettings {
    fn default() -> Self {
        Self { capture_db: 10.0, wlan: None }
    }
}

/// What happened on the air, counted since the start.
///
/// Losses and receptions are counted once for each PDU and each receiver in range that scans its channel; a
/// receiver on another channel has not lost anything, it hears the event's PDU there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AirCounters {
    /// Advertising events sent.
    pub events: u64,
    /// Time on air in microseconds, all stations and channels together.
    pub airtime_us: u64,
    /// Frames heard.
    pub heard: u64,
    /// PDUs cut by the end of a scan window.
    pub boundary: u64,
    /// PDUs missed because the receiver sent or turned round.
    pub half_duplex: u64,
    /// PDUs lost to others: the receiver was with another one, or could not make it out.
    pub collision: u64,
    /// PDUs that fading made too weak.
    pub weak: u64,
    /// PDUs lost to the link's own loss rate.
    pub link_loss: u64,
    /// PDUs that a power cut at the sender broke off.
    pub cut: u64,
}

/// A frame that somebody received.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// When its PDU ended.
    pub end: Instant,
    /// Who sent it.
    pub from: StationId,
    /// The channel: 37 to 39, or 0 to 36 for an AUX_ADV_IND.
    pub channel: u8,
    /// What it carried.
    pub cargo: &'a Arc<Cargo>,
    /// Who received it, in order of their numbers; at least one.
    pub hearers: &'a [Hearer],
}

/// PDUs to which something happens at a moment: when, whose flight, which PDU of it. In order; what is added is nearly
/// always the last, so that it finds its place at less cost than in a heap.
#[derive(Debug, Default)]
struct Agenda(VecDeque<(Instant, u32, u8)>);

impl Agenda {
    fn add(&mut self, at: Instant, slot: u32, n: usize) {
        let later = self.0.iter().rev().take_while(|due| due.0 > at).count();
        self.0.insert(self.0.len() - later, (at, slot, n as u8));
    }

    fn next(&self) -> Option<Instant> {
        self.0.front().map(|(at, ..)| *at)
    }
}

/// A PDU on a channel.
#[derive(Debug)]
struct OnAir {
    end: Instant,
    from: StationId,
    slot: u32,
    n: u8,
}

/// The shared medium.
#[derive(Debug)]
pub struct Air {
    links: Links,
    /// A signal must be so many times stronger than the rest.
    capture: f32,
    wlan: Option<Bursts>,
    receivers: Vec<Receiver>,
    tuned: Vec<Tuned>,
    units: Vec<Unit>,
    rng: Rng,
    flights: Vec<Flight>,
    free: Vec<u32>,
    /// PDUs that start.
    starts: Agenda,
    /// PDUs that ended one turnaround ago: only then is it known whether a receiver had to turn to sending in the middle.
    judgements: Agenda,
    /// On each channel, the PDUs that were there when one started last.
    on_air: [Vec<OnAir>; SECONDARY + CHANNELS],
    /// Those that received the PDU judged last.
    hearers: Vec<Hearer>,
    counters: AirCounters,
}

impl Air {
    /// Silent air; `seed` decides scan offsets, shadows, fading and losses.
    #[must_use]
    pub fn new(seed: u64, topology: Topology, settings: AirSettings) -> Self {
        let wlan = settings.wlan.map(|wlan| {
            let power = linear(centi(wlan.dbm));
            Bursts { wlan, power, draws: Rng::stream(seed, "wlan") }
        });
        Self {
            links: Links::new(seed, topology, centi(settings.capture_db)),
            capture: linear(centi(settings.capture_db)),
            wlan,
            receivers: Vec::new(),
            tuned: Vec::new(),
            units: Vec::new(),
            rng: Rng::stream(seed, "air"),
            flights: Vec::new(),
            free: Vec::new(),
            starts: Agenda::default(),
            judgements: Agenda::default(),
            on_air: [const { Vec::new() }; SECONDARY + CHANNELS],
            hearers: Vec::new(),
            counters: AirCounters::default(),
        }
    }

    /// Adds a station that listens whenever it does not send.
    pub fn add(&mut self, position: Position, spec: RadioSpec) -> StationId {
        let id = self.links.add(position, spec.tx_dbm, spec.sensitivity_dbm);
        let mut draws = self.rng.clone().fork(u64::from(id.0));
        let round = spec.scan.round();
        self.receivers.push(Receiver { locked: Instant::ZERO, own: NEVER });
        let scan_offset = Duration::from_micros(draws.below(round.as_micros()));
        self.tuned.push(Tuned::STALE);
        let sensitivity = centi(spec.sensitivity_dbm);
        self.units.push(Unit {
            spec,
            powered: true,
            scans: true,
            sensitivity,
            scan_offset,
            draws,
            events: 0,
        });
        id
    }

    /// Switches a station off or on. Off, it hears nothing and counts no losses, and what it was sending breaks off.
    pub fn set_powered(&mut self, now: Instant, id: StationId, powered: bool) {
        let Some(unit) = self.units.get_mut(id.index()) else {
            return;
        };
        if unit.powered == powered {
            return;
        }
        unit.powered = powered;
        self.tuned[id.index()] = if powered { Tuned::STALE } else { Tuned::OFF };
        let receiver = &mut self.receivers[id.index()];
        receiver.locked = Instant::ZERO;
        receiver.own.end = receiver.own.end.min(now);
        for other in self.on_air.iter_mut().flatten().filter(|other| other.from == id) {
            other.end = other.end.min(now);
        }
        for flight in &mut self.flights {
            if flight.from == id && !powered {
                flight.cut = flight.cut.or(Some(now));
            }
        }
        self.give_up(id);
    }

    /// Has a station scan by another plan from now on, its first window on channel 37, or not at all. What it was receiving is lost.
    pub fn set_scan(&mut self, now: Instant, id: StationId, plan: Option<ScanPlan>) {
        let Some(unit) = self.units.get_mut(id.index()) else {
            return;
        };
        unit.scans = plan.is_some();
        if let Some(plan) = plan {
            unit.spec.scan = plan;
            let round = plan.round().as_micros();
            unit.scan_offset = Duration::from_micros(round - now.as_micros() % round);
        }
        if unit.powered {
            self.tuned[id.index()] = Tuned::STALE;
        }
        self.receivers[id.index()].locked = Instant::ZERO;
        self.give_up(id);
    }

    /// What a station was listening to is gone.
    fn give_up(&mut self, id: StationId) {
        for flight in &mut self.flights {
            flight.locked.iter_mut().for_each(|locked| locked.retain(|hearer| hearer.station != id));
            flight.followers.retain(|follower| *follower != id);
        }
    }

    /// Whether a station has power.
    #[must_use]
    pub fn is_powered(&self, id: StationId) -> bool {
        self.units.get(id.index()).is_some_and(|unit| unit.powered)
    }

    /// Where a station stands.
    #[must_use]
    pub fn position(&self, id: StationId) -> Option<Position> {
        self.links.position(id)
    }

    /// A station's radio.
    #[must_use]
    pub fn spec(&self, id: StationId) -> Option<&RadioSpec> {
        self.units.get(id.index()).map(|unit| &unit.spec)
    }

    /// Who can hear `from`, in order of their numbers.
    pub fn listeners(&self, from: StationId) -> impl Iterator<Item = StationId> {
        self.links.listeners(from).iter().map(|neighbour| neighbour.to)
    }

    /// How strong `from` is at `to`, without fading, in dBm; `None` when it cannot be heard there.
    #[must_use]
    pub fn strength(&self, from: StationId, to: StationId) -> Option<f64> {
        Some(f64::from(self.links.neighbour(from, to)?.strength) / 100.0)
    }

    /// What happened so far.
    #[must_use]
    pub const fn counters(&self) -> AirCounters {
        self.counters
    }

    /// The channel (37, 38 or 39) that a station scans at `at`, if any.
    #[must_use]
    pub fn scanned_channel(&self, id: StationId, at: Instant) -> Option<u8> {
        let (channel, _) = self.units.get(id.index())?.scan(at);
        channel.map(|channel| (SECONDARY + channel) as u8)
    }

    /// Starts one advertising event with a frame at `now`; see [`Air::launch`].
    pub fn transmit(&mut self, now: Instant, from: StationId, frame: &FrameBytes) {
        self.launch(now, from, Cargo::frame(frame.clone()));
    }

    /// Starts one advertising event at `now`. Times of successive calls must not run backwards, and a station's
    /// events must not overlap: it has one radio.
    pub fn launch(&mut self, now: Instant, from: StationId, cargo: Cargo) {
        let Some(sender) = self.units.get_mut(from.index()) else {
            return;
        };
        let shape = shape(&sender.spec, &cargo);
        self.links.prepare();
        let receiver = &mut self.receivers[from.index()];
        receiver.own = Span { start: now, end: now + shape.airtime() };
        // What it was receiving it gives up. Those PDUs are judged as lost to half duplex when they end, so nothing is undone here.
        receiver.locked = receiver.locked.min(now);
        let mut draws = sender.draws.clone().fork(sender.events);
        sender.events += 1;
        self.counters.events += 1;
        self.counters.airtime_us += shape.busy().as_micros();
        let secondary = draws.below(SECONDARY as u64) as usize;
        let cargo = Arc::new(cargo);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.flights.push(Flight {
                from,
                start: now,
                shape,
                secondary,
                draws: draws.clone(),
                cut: None,
                cargo: Arc::clone(&cargo),
                locked: Default::default(),
                rivals: Default::default(),
                followers: Vec::new(),
            });
            (self.flights.len() - 1) as u32
        });
        let flight = &mut self.flights[slot as usize];
        (flight.from, flight.start, flight.shape, flight.secondary) = (from, now, shape, secondary);
        (flight.draws, flight.cut) = (draws, None);
        flight.cargo = cargo;
        // Of an event that a power cut broke off.
        flight.followers.clear();
        self.start(slot, 0);
    }

    /// When [`Air::poll_delivery`] has something to do next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.judgements.next(), self.starts.next()].into_iter().flatten().min()
    }

    /// Does the next thing that is due at `now`; a frame that somebody received, if that is what comes of it. Ask
    /// [`Air::poll_timeout`] whether more is due.
    pub fn poll_delivery(&mut self, now: Instant) -> Option<Delivery<'_>> {
        let at = self.poll_timeout().filter(|at| *at <= now)?;
        // Of what happens at the same time, judgements come first: the last ADV_EXT_IND is judged a turnaround
        // after its end, and just then the AUX_ADV_IND starts that those who received it follow.
        if self.judgements.next() == Some(at) {
            let (_, slot, n) = self.judgements.0.pop_front()?;
            return self.judge(slot, n.into());
        }
        let (_, slot, n) = self.starts.0.pop_front()?;
        self.start(slot, n.into());
        None
    }

    /// How many flights and how many remembered PDUs there is room for now.
    #[cfg(test)]
    pub(super) fn footprint(&self) -> (usize, usize) {
        (self.flights.len(), self.on_air.iter().map(Vec::len).sum())
    }
}
