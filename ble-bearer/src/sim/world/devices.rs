//! Devices: their timers and radios, and running them.
//!
//! Owns the alarms of simulated devices, and noticing one that never lets time go on.

use mesh_protocol::Instant;

use super::{ALARMS, Occupant, World};
use crate::sim::geometry::StationId;
use crate::sim::station::{Observer, Radio, Station};

/// A device may ask this often in a row to run again at once; then it is stuck. A guess, far above any real need.
const LIVELOCK: u32 = 1_000;

impl<S: Station, O: Observer<S>> World<S, O> {
    /// A device's timer, or its radio.
    pub(super) fn ring(&mut self, now: Instant) {
        let Some(alarm) = self.alarms.pop(now) else {
            return;
        };
        let id = StationId(u32::try_from(alarm / ALARMS).unwrap_or(u32::MAX));
        if alarm % ALARMS == 0 {
            self.run(now, id);
        } else if let Occupant::Device(device) = &mut self.occupants[id.index()] {
            if let Some(cargo) = device.controller.poll_transmit(now) {
                self.air.launch(now, id, cargo.clone());
                self.observer.transmitted(now, id, &cargo.frame);
            }
            let mut sent = false;
            while let Some(set) = device.controller.poll_sent() {
                device.station.sent(now, set);
                sent = true;
            }
            // Running it sets both alarms, as it may have handed over the next frame.
            if sent {
                self.run(now, id);
            } else {
                self.alarms.set(alarm, device.controller.poll_timeout());
            }
        }
    }

    /// Runs a device and sets its alarms again.
    pub(super) fn run(&mut self, now: Instant, id: StationId) {
        let Occupant::Device(device) = &mut self.occupants[id.index()] else {
            return;
        };
        let mut radio = Radio { now, controller: &mut device.controller, scan: None };
        let next = device.station.run(now, &mut radio);
        if let Some(plan) = radio.scan {
            self.air.set_scan(now, id, plan);
        }
        self.observer.ran(now, id, &mut device.station);
        let at_once = next.is_some_and(|next| next <= now);
        device.spins = match device.spins {
            (at, spins) if at_once && at == now => (at, spins + 1),
            _ => (now, u32::from(at_once)),
        };
        assert!(
            device.spins.1 < LIVELOCK,
            "running station {}: it asked {LIVELOCK} times in a row to run again at {} µs; its `run` must return a \
             later time or none",
            id.0,
            now.as_micros()
        );
        let timer = id.index() * ALARMS;
        // A time that has passed means at once: alarms never lie behind the world's time.
        self.alarms.set(timer, next.map(|next| next.max(now)));
        self.alarms.set(timer + 1, device.controller.poll_timeout());
    }
}
