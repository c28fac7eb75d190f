//! What a world is made from: a generated field, or a scenario.
//!
//! Owns putting everyone in place: devices and those who mean harm into the world, gateways onto its seats. What goes on there
//! is `drive`'s business.

use ble_bearer::sim::{AirSettings, RadioSpec, SimBearer, SimClock, StationId};
use firmware_sim::chaos::{Both, Rules};
use firmware_sim::play::Watch;
use firmware_sim::play::field::{Field, with_seats};
use firmware_sim::scenario::Scenario;
use firmware_sim::stack::mesh::{Mesh, address};
use firmware_sim::world::{Network, RelayField, Seat, WorldBuilder};
use mesh_agent::api::Name;
use mesh_protocol::{Address, Duration, Instant};

use super::Office;

/// Hops allowed in an office: more than any field here is long.
const TTL: u8 = 12;
/// A scenario that has not ended so long after it should have is stuck. A guess.
const BEHIND: Duration = Duration::from_secs(60);

/// A world with everyone in place, before the first moment.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) seed: u64,
    pub(super) network: Network,
    pub(super) world: Field<Mesh>,
    pub(super) sites: Vec<Site>,
    /// Hops allowed to the messages of gateways.
    pub(super) ttl: u8,
    /// A script that has not ended by then is stuck.
    pub(super) within: Duration,
    /// Whether somebody wants to hear at once of what happens to devices.
    pub(super) listens: bool,
}

/// Where a gateway goes, and what it is called there.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) name: String,
    pub(super) address: Address,
    pub(super) station: StationId,
    pub(super) seat: (SimBearer, SimClock),
}

impl Office {
    pub(super) fn ground(&self) -> Ground {
        let gateways = self.gateways.clamp(1, 100);
        let network = Network::random(self.seed).with_gateways(gateways);
        let field = RelayField::with_gateways(self.relays, gateways, self.seed);
        let eyes =
            Both(Rules::new(&[], 0, Instant::ZERO, self.seed), Watch::ours(self.seed, RadioSpec::default()));
        let topology = RelayField::topology(self.loss_percent);
        let mut world = WorldBuilder::new(self.seed, topology, AirSettings::default(), eyes);
        world.seats(&field.gateways);
        world.relays(&network, &field, self.seed);
        let (world, seats) = world.build();
        let site = |(n, Seat { station, bearer, clock }): (u16, Seat)| {
            let (name, address) = (format!("gateway-{n}"), network.gateway_address(n));
            Site { name, address, station, seat: (bearer, clock) }
        };
        let sites = (0..).zip(seats).map(site).collect();
        Ground { seed: self.seed, network, world, sites, ttl: TTL, within: self.within, listens: false }
    }
}

/// The world of a scenario, whose gateways have these names.
pub(super) fn scenario(scenario: &Scenario, names: &[(u32, Name)], seed: u64) -> Ground {
    let (world, seats) = with_seats(scenario, seed);
    let site = |Seat { station, bearer, clock }: Seat| {
        let StationId(number) = station;
        let known = names.iter().find(|(node, _)| *node == number);
        Site {
            name: known.map_or_else(String::new, |(_, name)| name.to_string()),
            address: address(number),
            station,
            seat: (bearer, clock),
        }
    };
    Ground {
        seed,
        network: Network::random(seed),
        world,
        sites: seats.into_iter().map(site).collect(),
        ttl: scenario.stacks.mesh_ttl,
        within: scenario.settle + scenario.offered + scenario.drain + BEHIND,
        listens: true,
    }
}
