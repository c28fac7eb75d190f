//! From the air to the hosts: reports on their way, what a watcher holds back, and who gets them.
//!
//! Owns what lies between a reception that the air has decided and the host that learns of it.

use std::sync::Arc;
use std::task::Waker;

use mesh_protocol::{Duration, Instant};

use super::{Occupant, World};
use crate::sim::advert::{Advert, Cargo};
use crate::sim::air::Delivery;
use crate::sim::controller::REPORT_LATENCY;
use crate::sim::geometry::StationId;
use crate::sim::hearer::Hearer;
use crate::sim::station::{Observer, Reception, ReceptionVerdict, Station};
use crate::{BearerEvent, FrameBytes, RADIO_LINK};

/// A frame on its way from controllers to their hosts.
#[derive(Debug)]
pub(super) struct ReceptionReport {
    pub(super) at: Instant,
    end: Instant,
    from: StationId,
    channel: u8,
    cargo: Arc<Cargo>,
    hearers: Vec<Hearer>,
}

/// A reception that a watcher holds back, and when it is let go.
#[derive(Debug)]
pub(super) struct Late {
    end: Instant,
    from: StationId,
    to: StationId,
    channel: u8,
    rssi: i8,
    frame: FrameBytes,
    advert: Option<Arc<Advert>>,
}

impl<S: Station, O: Observer<S>> World<S, O> {
    /// Receptions that the air has decided start on their way to the hosts.
    pub(super) fn receive(&mut self, now: Instant) {
        let Some(Delivery { end, from, channel, cargo, hearers }) = self.air.poll_delivery(now) else {
            return;
        };
        // The air uses its list again for the next PDU. Lists go round, as one is needed for every reception of a run.
        let mut receivers = self.spare.pop().unwrap_or_default();
        receivers.clear();
        receivers.extend_from_slice(hearers);
        let at = end + REPORT_LATENCY;
        let cargo = Arc::clone(cargo);
        self.reports.push_back(ReceptionReport { at, end, from, channel, cargo, hearers: receivers });
    }

    /// A frame reaches hosts.
    pub(super) fn report(&mut self, now: Instant) {
        let Some(report) = self.reports.pop_front() else {
            return;
        };
        let ReceptionReport { end, from, channel, cargo, hearers, .. } = &report;
        let (frame, advert) = (&cargo.frame, cargo.advert.as_deref());
        for hearer in hearers {
            let (end, from, to, channel) = (*end, *from, hearer.station, *channel);
            // A power cut in between: the controller that received it has forgotten it, even if power is back by now.
            if !self.air.is_powered(to) || self.powered_at[to.index()] > end {
                continue;
            }
            let reception = Reception { end, from, to, channel, rssi: hearer.rssi(), frame, advert };
            match self.observer.verdict(now, &reception) {
                ReceptionVerdict::Pass => self.deliver(now, &reception),
                ReceptionVerdict::Drop => {}
                ReceptionVerdict::Delay(by) => self.hold_back(now, &reception, by),
                ReceptionVerdict::Again(by) => {
                    self.deliver(now, &reception);
                    self.hold_back(now, &reception, by);
                }
                ReceptionVerdict::Replace(other) => {
                    self.deliver(now, &Reception { frame: &other, advert: None, ..reception });
                }
            }
        }
        self.spare.push(report.hearers);
    }

    fn hold_back(&mut self, now: Instant, reception: &Reception<'_>, by: Duration) {
        let &Reception { end, from, to, channel, rssi, frame, advert } = reception;
        self.held_back += 1;
        let advert = advert.map(|advert| Arc::new(advert.clone()));
        let late = Late { end, from, to, channel, rssi, frame: frame.clone(), advert };
        self.late.insert((now + by, self.held_back), late);
    }

    pub(super) fn next_late(&self) -> Option<Instant> {
        self.late.first_key_value().map(|((at, _), _)| *at)
    }

    /// A reception that was held back reaches its host.
    pub(super) fn let_go(&mut self, now: Instant) {
        let Some((_, late)) = self.late.pop_first() else {
            return;
        };
        let Late { end, from, to, channel, rssi, frame, advert } = late;
        if self.air.is_powered(to) && self.powered_at[to.index()] <= end {
            let advert = advert.as_deref();
            self.deliver(now, &Reception { end, from, to, channel, rssi, frame: &frame, advert });
        }
    }

    /// A reception reaches one host.
    fn deliver(&mut self, now: Instant, reception: &Reception<'_>) {
        let Reception { to, rssi, frame, .. } = *reception;
        self.observer.received(now, reception);
        match &mut self.occupants[to.index()] {
            Occupant::Device(device) => {
                if device.station.hear(now, reception) {
                    self.run(now, to);
                }
            }
            // An advert without a frame in it is nothing to an engine.
            Occupant::Seat(_) if !reception.has_frame() => {}
            Occupant::Seat(index) => {
                let event = BearerEvent::Frame { link: RADIO_LINK, bytes: frame.clone(), rssi: Some(rssi) };
                let waker = self.shared.lock().give(*index, event);
                waker.into_iter().for_each(Waker::wake);
            }
        }
    }
}
