//! When something is checked: a frame is on the air, reaches a host, or a device has run.
//!
//! Owns the order of these, and that the first violation ends it.

use ble_bearer::sim::{Observer, Reception, StationId};
use mesh_protocol::Instant;

use super::findings::{Fault, Violation};
use super::state::Invariants;
use crate::chaos::occupant::Watched;
use crate::{NodeSnapshot, TraceEvent};

impl Invariants {
    fn check(
        &mut self,
        now: Instant,
        node: u32,
        snapshot: &NodeSnapshot,
        events: Vec<TraceEvent>,
    ) -> Result<(), Fault> {
        let mut history = self.history.remove(&node).unwrap_or_default();
        let result = self.check_events(now, node, snapshot, events, &mut history).and_then(|()| {
            history.could_seal = snapshot.can_seal;
            if snapshot.powered { self.check_snapshot(snapshot, &mut history) } else { Ok(()) }
        });
        self.history.insert(node, history);
        result
    }
}

impl<S: Watched> Observer<S> for Invariants {
    fn transmitted(&mut self, now: Instant, from: StationId, frame: &[u8]) {
        if from.0 >= self.nodes && !self.members.is_empty() && self.first.is_none() {
            let forged = self.frames.betrayed(now, from.0, &self.members, frame);
            forged.into_iter().for_each(|forged| self.allowed.forged(forged));
        }
    }

    fn received(&mut self, _now: Instant, reception: &Reception<'_>) {
        let to = reception.to.0;
        if to < self.nodes && self.first.is_none() {
            self.current = Some((to, self.frames.look_up(reception.frame)));
        }
    }

    fn ran(&mut self, now: Instant, id: StationId, station: &mut S) {
        let Some(device) = station.device() else { return };
        let events = device.trace_events();
        if self.first.is_some() {
            return;
        }
        self.counts.runs += 1;
        let snapshot = device.snapshot(now);
        if let Err((rule, what)) = self.check(now, id.0, &snapshot, events) {
            self.first = Some(Violation { at: now, node: id.0, rule, what });
        }
    }
}
