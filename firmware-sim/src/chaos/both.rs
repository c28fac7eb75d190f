//! Two watchers of one world, which has room for one: faults, and what must hold all the same.
//!
//! Owns their order.

use ble_bearer::sim::{Observer, Reception, ReceptionVerdict, StationId};
use mesh_protocol::Instant;

/// Two watchers of one world. The first decides what becomes of a reception, unless it lets it pass.
#[derive(Clone, Debug, Default)]
pub struct Both<A, B>(
    /// The first.
    pub A,
    /// The second.
    pub B,
);

impl<S, A: Observer<S>, B: Observer<S>> Observer<S> for Both<A, B> {
    fn verdict(&mut self, now: Instant, reception: &Reception<'_>) -> ReceptionVerdict {
        match self.0.verdict(now, reception) {
            ReceptionVerdict::Pass => self.1.verdict(now, reception),
            other => other,
        }
    }

    fn transmitted(&mut self, now: Instant, from: StationId, frame: &[u8]) {
        self.0.transmitted(now, from, frame);
        self.1.transmitted(now, from, frame);
    }

    fn received(&mut self, now: Instant, reception: &Reception<'_>) {
        self.0.received(now, reception);
        self.1.received(now, reception);
    }

    fn ran(&mut self, now: Instant, id: StationId, station: &mut S) {
        self.0.ran(now, id, station);
        self.1.ran(now, id, station);
    }
}
