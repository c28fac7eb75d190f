//! The simulated air that `--adapter sim` and the demo run on: relays, echo agents, and seats for gateways.
//!
//! Owns putting a world together and keeping it going. The gateways on it are the same as on a radio.

use ble_bearer::sim::{AirSettings, Pacer, World};
use firmware_sim::Device;
pub use firmware_sim::world::Seat;
use firmware_sim::world::{Network, RelayField, WorldBuilder};
use tokio::sync::watch;
use tokio::task::JoinHandle;

// What the settings let through is what the simulated network has addresses for.
const _: () = assert!(gateway::settings::ISLANDS == firmware_sim::world::ISLANDS);

/// What to say when [`SimulatedAir::ended`] returns.
pub const AIR_ENDED: &str = "the simulated air has stopped: a simulated device panicked, which is a bug; please report what it said above";

/// What to simulate.
#[derive(Clone, Copy, Debug)]
pub struct Simulation {
    /// Relays, 1 to 1,000.
    pub nodes: u16,
    /// Where they stand, what gets lost, every jitter.
    pub seed: u64,
    /// Simulated seconds in a second; `None` is as fast as it goes.
    pub speed: Option<f64>,
    /// Advertising events lost on each link, in percent.
    pub loss_percent: f64,
    /// The network's key; every run of a gateway needs a fresh one, as its relays begin anew, or the next `run`.
    pub key: [u8; 16],
    /// Which of several airs with one key it is, from 1.
    pub island: u16,
    /// The how-manieth run of that island with that key, from 0.
    pub run: u16,
}

/// A simulated air that goes on until it is dropped.
#[derive(Debug)]
pub struct SimulatedAir {
    network: Network,
    field: RelayField,
    pacer: Pacer<Device>,
    running: JoinHandle<()>,
    /// Closed when `running` ends.
    alive: watch::Receiver<()>,
}

impl SimulatedAir {
    /// Makes an air with `GATEWAYS` seats (one or two, at the ends of the field) and lets its time go on. It stands
    /// still until every seat is taken.
    #[must_use]
    pub fn start<const GATEWAYS: usize>(simulation: &Simulation) -> (Self, [Seat; GATEWAYS]) {
        let network = Network::new(simulation.key).island(simulation.island, simulation.run);
        let field = RelayField::new(simulation.nodes, simulation.seed);
        let topology = RelayField::topology(simulation.loss_percent);
        let mut world = WorldBuilder::new(simulation.seed, topology, AirSettings::default(), ());
        world.seats(&std::array::from_fn::<_, GATEWAYS, _>(|n| field.gateways[n % field.gateways.len()]));
        world.relays(&network, &field, simulation.seed);
        let (world, mut seats) = world.build();
        let seats = std::array::from_fn(|_| seats.remove(0));
        let pacer = Pacer::new(world, simulation.speed);
        let runner = pacer.clone();
        let (alive, watched) = watch::channel(());
        let running = tokio::spawn(async move {
            let _alive = alive;
            runner.run().await;
        });
        (Self { network, field, pacer, running, alive: watched }, seats)
    }

    /// Waits until it goes on no more, which is only when a simulated device has panicked. Cancel safe.
    pub async fn ended(&self) {
        let mut alive = self.alive.clone();
        while alive.changed().await.is_ok() {}
    }

    /// The network's addresses and names.
    #[must_use]
    pub const fn network(&self) -> &Network {
        &self.network
    }

    /// Where everything stands.
    #[must_use]
    pub const fn field(&self) -> &RelayField {
        &self.field
    }

    /// Looks into the world.
    pub fn with<R>(&self, look: impl FnOnce(&mut World<Device>) -> R) -> R {
        self.pacer.with(look)
    }
}

impl Drop for SimulatedAir {
    fn drop(&mut self) {
        self.running.abort();
    }
}
