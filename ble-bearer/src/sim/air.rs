//! The air: which advertising PDUs reach which receivers.
//!
//! A state machine without clock and without IO: [`Air::transmit`] starts one advertising event, [`Air::poll_delivery`]
//! says who heard what, [`Air::poll_timeout`] when to ask. Owns half duplex, locking on, interference, capture and
//! losses. Leaves to the controller ([`super::Controller`]) when events start and how long a report takes, to
//! [`crate::airtime`] how long PDUs are, to [`super::spec`] where scanners are, to [`super::links`] who is in range.
//!
//! # How a reception is decided
//! When a PDU starts, every station that scans its channel, is not sending or turning round, and is not receiving
//! anything else locks on to it, if it is stronger by the capture threshold than all that is on the channel at that
//! moment. It stays with it to its end, whatever comes: a later, stronger PDU only disturbs. When it has ended, it was
//! received if it was stronger by the threshold than everything that overlapped it, added up as power, if the scanner
//! stayed on the channel, and if the station did not turn to sending.
//!
//! An AUX_ADV_IND is received by those who received one of the three ADV_EXT_INDs that point to it, by the same rules.

use std::collections::VecDeque;
use std::sync::Arc;

use mesh_protocol::{Duration, Instant, Rng};

use super::advert::Cargo;
use super::controller::shape;
use super::flight::{Flight, SECONDARY};
use super::geometry::{Position, StationId, Topology, normal};
use super::hearer::Hearer;
use super::links::{Links, Neighbour};
use super::power::{centi, linear};
use super::receiver::{NEVER, Receiver, Span, TURNAROUND, Tuned, Unit};
use super::spec::{RadioSpec, ScanPlan, sensitivity_offset};
use super::wlan::{Bursts, Wlan};
use crate::FrameBytes;
use crate::airtime::CHANNELS;

/// What the air is like, beside where stations stand.
#[derive(Clone, Debug, PartialEq)]
pub struct AirSettings {
    /// A PDU is received while it is so much stronger than everything else together, in dB. 10 by default (the
    /// project's radio model, which sweeps 6 to 14); 300 and more mean that nothing may disturb it.
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
        self.links.settle();
        let receiver = &mut self.receivers[from.index()];
        receiver.own = Span { start: now, end: now + shape.airtime() };
        // What it was receiving it gives up.
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
        // Of what happens at the same time, judgements come first.
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

    /// A PDU starts: who locks on to it.
    fn start(&mut self, slot: u32, n: usize) {
        let flight = &self.flights[slot as usize];
        let pdu = flight.pdu(n);
        if n + 1 < flight.shape.pdus() {
            let next = flight.pdu(n + 1).start;
            self.starts.add(next, slot, n + 1);
        }
        self.judgements.add(pdu.end + TURNAROUND, slot, n);

        let Self { links, receivers, tuned, units, flights, on_air, counters, capture, wlan, .. } = self;
        let flight = &flights[slot as usize];
        if flight.cut.is_some() {
            return;
        }
        let (from, on_air) = (flight.from, &mut on_air[flight.channel(n)]);
        on_air.retain(|other| other.end > pdu.start);
        for other in on_air.iter() {
            if links.disturbs(other.from, from) {
                flights[slot as usize].rivals[n].push(other.from);
            }
            if links.disturbs(from, other.from) {
                flights[other.slot as usize].rivals[usize::from(other.n)].push(from);
            }
        }
        on_air.push(OnAir { end: pdu.end, from, slot, n: n as u8 });
        let flight = &mut flights[slot as usize];
        let wlan = match wlan {
            Some(wlan) if n < CHANNELS => wlan.power(n, Span { start: pdu.start, end: pdu.start }),
            _ => 0.0,
        };
        let rest = Rest { links, rivals: &flight.rivals[n], wlan, capture: *capture };
        let weakest = sensitivity_offset(flight.phy(n));
        let fading = links.fading();
        let (draws, locked) = (&flight.draws, &mut flight.locked[n]);

        // Of one who listens on the PDU's channel; `until` then, or as long as it takes.
        let mut lock = |neighbour: &Neighbour, until: Option<Instant>| {
            let receiver = &mut receivers[neighbour.to.index()];
            let counter = if receiver.own.end + TURNAROUND > pdu.start && receiver.own.start <= pdu.start {
                &mut counters.half_duplex
            } else if receiver.locked > pdu.start {
                &mut counters.collision
            } else {
                let (mut strength, mut power) = (neighbour.strength, neighbour.power);
                if fading > 0 {
                    let bits = draws.clone().fork(u64::from(neighbour.to.0) << 1).next_u64();
                    strength += (f64::from(fading) * normal(bits)).round() as i32;
                    power = linear(strength);
                }
                // Of the usual PHY and without fading, a listener's signal is strong enough.
                let uncertain = fading > 0 || weakest > 0;
                if uncertain && strength < units[neighbour.to.index()].sensitivity + weakest {
                    &mut counters.weak
                } else if rest.drowns(neighbour.to, power) {
                    &mut counters.collision
                } else if let Some(until) = until.filter(|until| *until < pdu.end) {
                    receiver.locked = until;
                    &mut counters.boundary
                } else {
                    receiver.locked = pdu.end;
                    locked.push(Hearer {
                        station: neighbour.to,
                        strength,
                        power,
                        loss_ppm: neighbour.loss_ppm,
                    });
                    return;
                }
            };
            *counter += 1;
        };
        if n < CHANNELS {
            for neighbour in links.listeners(flight.from) {
                let tuned = &mut tuned[neighbour.to.index()];
                if tuned.until <= pdu.start {
                    *tuned = units[neighbour.to.index()].tuned(pdu.start);
                }
                if usize::from(tuned.channel) == n {
                    lock(neighbour, Some(tuned.until));
                }
            }
        } else {
            // Following a pointer, they are on the right channel for as long as it takes.
            let followers = flight.followers.drain(..);
            let neighbours = followers.filter_map(|to| links.neighbour(flight.from, to));
            neighbours.for_each(|neighbour| lock(neighbour, None));
        }
    }

    /// A PDU has ended: who received it.
    fn judge(&mut self, slot: u32, n: usize) -> Option<Delivery<'_>> {
        let Self { links, receivers, units, flights, counters, capture, wlan, hearers, .. } = self;
        let flight = &mut flights[slot as usize];
        let pdu = flight.pdu(n);
        hearers.clear();
        if flight.cut.is_some_and(|cut| cut < pdu.end) {
            counters.cut += flight.locked[n].len() as u64;
            flight.locked[n].clear();
        }
        if !flight.locked[n].is_empty() {
            let wlan = match wlan {
                Some(wlan) if n < CHANNELS => wlan.power(n, pdu),
                _ => 0.0,
            };
            let rest = Rest { links, rivals: &flight.rivals[n], wlan, capture: *capture };
            for hearer in flight.locked[n].drain(..) {
                let counter = if receivers[hearer.station.index()].sends_in(pdu) {
                    &mut counters.half_duplex
                } else if rest.drowns(hearer.station, hearer.power) {
                    &mut counters.collision
                } else if is_lost(&flight.draws, &hearer) {
                    &mut counters.link_loss
                } else {
                    hearers.push(hearer);
                    continue;
                };
                *counter += 1;
            }
        }
        flight.rivals[n].clear();
        if n + 1 == flight.shape.pdus() {
            self.free.push(slot);
        }
        if !flight.carries(n) {
            let followers = hearers.drain(..).map(|hearer| hearer.station);
            let able = followers.filter(|id| units[id.index()].spec.extended.is_some());
            flight.followers.extend(able);
            flight.followers.sort_unstable();
            flight.followers.dedup();
            return None;
        }
        counters.heard += hearers.len() as u64;
        (!hearers.is_empty()).then_some(Delivery {
            end: pdu.end,
            from: flight.from,
            channel: flight.channel(n) as u8,
            cargo: &flight.cargo,
            hearers,
        })
    }
}

/// Everything else on a channel.
struct Rest<'a> {
    links: &'a Links,
    rivals: &'a [StationId],
    wlan: f32,
    capture: f32,
}

impl Rest<'_> {
    /// Whether it makes a signal of `power` milliwatts at `to` unreadable.
    fn drowns(&self, to: StationId, power: f32) -> bool {
        let arriving = self.rivals.iter().map(|rival| self.links.noise(*rival, to));
        let sum = arriving.sum::<f32>() + self.wlan;
        sum > 0.0 && power < self.capture * sum
    }
}

/// The loss draw of one advertising event at one receiver: the same for all its PDUs, and independent of the order in
/// which anything else is drawn.
fn is_lost(draws: &Rng, hearer: &Hearer) -> bool {
    hearer.loss_ppm > 0 && draws.clone().fork(u64::from(hearer.station.0) << 1 | 1).chance(hearer.loss_ppm)
}
