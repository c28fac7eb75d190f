//! How a reception is decided: the only place where it is.
//!
//! Owns locking on, interference, capture and losses.
//!
//! When a PDU starts, every station that scans its channel, is not sending or turning round, and is not receiving
//! anything else locks on to it, if it is stronger by the capture threshold than all that is on the channel at that
//! moment. It stays with it to its end, whatever comes: a later, stronger PDU only disturbs. When it has ended, it was
//! received if it was stronger by the threshold than everything that overlapped it, added up as power, if the scanner
//! stayed on the channel, and if the station did not turn to sending.
//!
//! An AUX_ADV_IND is received by those who received one of the three ADV_EXT_INDs that point to it, by the same rules.

use mesh_protocol::{Instant, Rng};

use super::{Air, Delivery, OnAir};
use crate::airtime::CHANNELS;
use crate::sim::geometry::{StationId, normal};
use crate::sim::hearer::Hearer;
use crate::sim::links::{Links, Neighbour};
use crate::sim::power::linear;
use crate::sim::receiver::{Span, TURNAROUND};
use crate::sim::spec::sensitivity_offset;

impl Air {
    /// A PDU starts: who locks on to it.
    pub(super) fn start(&mut self, slot: u32, n: usize) {
        let flight = &self.flights[slot as usize];
        let pdu = flight.pdu(n);
        if n + 1 < flight.shape.pdus() {
            let next = flight.pdu(n + 1).start;
            self.starts.add(next, slot, n + 1);
        }
        self.judgements.add(pdu.end + TURNAROUND, slot, n);
        // The PDUs of an event that a power cut broke off still have their turns, so that its slot is freed with the last.
        if self.flights[slot as usize].cut.is_none() {
            self.overlap(slot, n, pdu);
            self.lock_on(slot, n, pdu);
        }
    }

    /// Whom a PDU that starts disturbs, and who disturbs it.
    fn overlap(&mut self, slot: u32, n: usize, pdu: Span) {
        let Self { links, flights, on_air, .. } = self;
        let flight = &flights[slot as usize];
        let (from, on_air) = (flight.from, &mut on_air[flight.channel(n)]);
        on_air.retain(|other| other.end > pdu.start);
        // Only who can spoil a reception somewhere is kept: most pairs on a large map are too far apart, and every
        // rival would be added up for each listener.
        for other in on_air.iter() {
            if links.disturbs(other.from, from) {
                flights[slot as usize].rivals[n].push(other.from);
            }
            if links.disturbs(from, other.from) {
                flights[other.slot as usize].rivals[usize::from(other.n)].push(from);
            }
        }
        on_air.push(OnAir { end: pdu.end, from, slot, n: n as u8 });
    }

    /// Who of those that listen stays with a PDU that starts, and why the others do not.
    fn lock_on(&mut self, slot: u32, n: usize, pdu: Span) {
        let Self { links, receivers, tuned, units, flights, counters, capture, wlan, .. } = self;
        let flight = &mut flights[slot as usize];
        let wlan = match wlan {
            Some(wlan) if n < CHANNELS => wlan.power(n, Span { start: pdu.start, end: pdu.start }),
            _ => 0.0,
        };
        let rest = Rest { links, rivals: &flight.rivals[n], wlan, capture: *capture };
        let weakest = sensitivity_offset(flight.phy(n));
        let fading = links.fading();
        let (draws, locked) = (&flight.draws, &mut flight.locked[n]);

        // Of one who listens on the PDU's channel; `until` then, or as long as it takes. The first reason counts: the order decides
        // which counter a loss goes to, and that nobody locks on to what cannot be made out.
        let mut lock = |neighbour: &Neighbour, until: Option<Instant>| {
            let receiver = &mut receivers[neighbour.to.index()];
            let counter = if receiver.own.end + TURNAROUND > pdu.start && receiver.own.start <= pdu.start {
                &mut counters.half_duplex
            } else if receiver.locked > pdu.start {
                // It is with another PDU and looks for none beside, however much stronger.
                &mut counters.collision
            } else {
                let (mut strength, mut power) = (neighbour.strength, neighbour.power);
                if fading > 0 {
                    // Drawn for this event and this listener by number: who else is in range, and in which order they are
                    // asked, changes no draw.
                    let bits = draws.clone().fork(u64::from(neighbour.to.0) << 1).next_u64();
                    strength += (f64::from(fading) * normal(bits)).round() as i32;
                    power = linear(strength);
                }
                // Of the usual PHY and without fading, a listener's signal is strong enough.
                let uncertain = fading > 0 || weakest > 0;
                if uncertain && strength < units[neighbour.to.index()].sensitivity + weakest {
                    &mut counters.weak
                } else if rest.drowns(neighbour.to, power) {
                    // Nothing is found in the noise, so the receiver stays free for the next PDU.
                    &mut counters.collision
                } else if let Some(until) = until.filter(|until| *until < pdu.end) {
                    // It locks on all the same, and hears nothing else until its window ends: a scanner does not know how long
                    // a PDU is before it has read the header.
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
    pub(super) fn judge(&mut self, slot: u32, n: usize) -> Option<Delivery<'_>> {
        let Self { links, receivers, units, flights, counters, capture, wlan, hearers, .. } = self;
        let flight = &mut flights[slot as usize];
        let pdu = flight.pdu(n);
        hearers.clear();
        // What ended before the cut was on the air whole.
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
                // Asked again at the end: it may have turned to sending since, and rivals may have come.
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
            let phy = flight.phy(CHANNELS);
            let able = followers.filter(|id| units[id.index()].spec.hears(phy));
            flight.followers.extend(able);
            // A scanner may have heard the pointer on two channels, where its windows change between the PDUs.
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
