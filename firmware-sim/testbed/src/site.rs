//! A generated site: gateways around a field of relays.

use std::future::Future;

use ble_bearer::sim::{AirSettings, RadioSpec};
use firmware_sim::chaos::{Both, Rules};
use firmware_sim::play::Watch;
use firmware_sim::world::{Network, RelayField, Seat, WorldBuilder};
use mesh_protocol::{Duration, Instant};

use super::error::TestbedError;
use super::run::{Ran, run};
use super::testbed::Testbed;
use super::world::{GatewaySeat, PreparedWorld};

/// Hops allowed in a site: more than any field here is long.
const TTL: u8 = 12;

/// What to simulate.
#[derive(Clone, Debug)]
pub struct Site {
    /// Decides everything: where relays stand, what gets lost, every jitter, the network's key.
    pub seed: u64,
    /// Relays, 1 to 1,000.
    pub relays: u16,
    /// Gateways, 1 to 100.
    pub gateways: u16,
    /// Advertising events lost on each link, in percent.
    pub loss_percent: f64,
    /// A script that has not ended by then is stuck.
    pub within: Duration,
}

impl Default for Site {
    /// Three gateways in a small field, for at most an hour.
    fn default() -> Self {
        Self { seed: 1, relays: 12, gateways: 3, loss_percent: 10.0, within: Duration::from_secs(3_600) }
    }
}

impl Site {
    /// Runs a script in a new site, and ends when it does, after all gateways with power have stopped in order.
    ///
    /// # Errors
    /// [`TestbedError`] when the script can never end, or a gateway does not run.
    ///
    /// # Panics
    /// When the script or an engine does; and inside another runtime, as it has one of its own.
    pub fn run<F, Fut>(&self, script: F) -> Result<Ran<Fut::Output>, TestbedError>
    where
        F: FnOnce(Testbed) -> Fut,
        Fut: Future<Output: Send> + Send + 'static,
    {
        run(self.world(), script)
    }

    fn world(&self) -> PreparedWorld {
        let count = self.gateways.clamp(1, 100);
        let network = Network::random(self.seed).with_gateways(count);
        let field = RelayField::with_gateways(self.relays, count, self.seed);
        let eyes =
            Both(Rules::new(&[], 0, Instant::ZERO, self.seed), Watch::ours(self.seed, RadioSpec::default()));
        let topology = RelayField::topology(self.loss_percent);
        let mut world = WorldBuilder::new(self.seed, topology, AirSettings::default(), eyes);
        world.seats(&field.gateways);
        world.relays(&network, &field, self.seed);
        let (world, seats) = world.build();
        let gateway = |(n, Seat { station, bearer, clock }): (u16, Seat)| {
            let (name, address) = (format!("gateway-{n}"), network.gateway_address(n));
            GatewaySeat { name, address, station, seat: (bearer, clock) }
        };
        let gateways = (0..).zip(seats).map(gateway).collect();
        PreparedWorld {
            seed: self.seed,
            network,
            world,
            gateways,
            ttl: TTL,
            within: self.within,
            listens: false,
        }
    }
}
