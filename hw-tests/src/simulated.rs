//! The simulated adapter, which has no controller below it.
//!
//! Owns a fresh world for each check.

use std::convert::Infallible;

use ble_bearer::conformance::{Arm, Pair};
use ble_bearer::sim::{Pacer, Position, SimBearer, SimClock, Topology, World};
use tokio::task::JoinHandle;

/// Two seats in one room.
#[derive(Debug)]
pub struct SimulatedArm {
    seed: u64,
    pacer: Option<JoinHandle<()>>,
}

impl SimulatedArm {
    /// An arm whose first world has this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed, pacer: None }
    }
}

impl Arm for SimulatedArm {
    type Bearer = SimBearer;
    type Clock = SimClock;

    async fn pair(&mut self) -> Result<Pair<SimBearer, SimClock>, String> {
        if let Some(pacer) = self.pacer.take() {
            pacer.abort();
        }
        let room = Topology::Radius { metres: 10.0, loss_ppm: 0 };
        let mut world = World::<Infallible>::new(self.seed, room);
        self.seed += 1;
        let (_, a, clock) = world.seat(Position::new(0.0, 0.0));
        let (_, b, _) = world.seat(Position::new(3.0, 4.0));
        let pacer = Pacer::new(world, None);
        self.pacer = Some(tokio::spawn(async move { pacer.run().await }));
        Ok(Pair { a, b, clock })
    }
}
