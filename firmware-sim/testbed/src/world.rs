//! A world with gateways in place, and that of a scenario.
//!
//! Owns putting everyone in place: devices and those who mean harm into the world, gateways onto its seats. What goes on there
//! is `drive`'s business.

use ble_bearer::sim::{SimBearer, SimClock, StationId};
use firmware_sim::play::field::{Field, with_seats};
use firmware_sim::scenario::Scenario;
use firmware_sim::stack::mesh::{Mesh, address};
use firmware_sim::world::{Network, Seat};
use mesh_agent::api::Name;
use mesh_protocol::{Address, Duration};

/// A scenario that has not ended so long after it should have is stuck. A guess.
const BEHIND: Duration = Duration::from_secs(60);

/// A world with everyone in place, before the first moment.
#[derive(Debug)]
pub(super) struct PreparedWorld {
    pub(super) seed: u64,
    pub(super) network: Network,
    pub(super) world: Field<Mesh>,
    pub(super) gateways: Vec<GatewaySeat>,
    /// Hops allowed to the messages of gateways.
    pub(super) ttl: u8,
    /// A script that has not ended by then is stuck.
    pub(super) within: Duration,
    /// Whether somebody wants to hear at once of what happens to devices.
    pub(super) listens: bool,
}

/// Where a gateway goes, and what it is called there.
#[derive(Debug)]
pub(super) struct GatewaySeat {
    pub(super) name: String,
    pub(super) address: Address,
    pub(super) station: StationId,
    pub(super) seat: (SimBearer, SimClock),
}

/// The world of a scenario, whose gateways have these names.
pub(super) fn scenario(scenario: &Scenario, names: &[(u32, Name)], seed: u64) -> PreparedWorld {
    let (world, seats) = with_seats(scenario, seed);
    let gateway = |Seat { station, bearer, clock }: Seat| {
        let StationId(number) = station;
        let known = names.iter().find(|(node, _)| *node == number);
        GatewaySeat {
            name: known.map_or_else(String::new, |(_, name)| name.to_string()),
            address: address(number),
            station,
            seat: (bearer, clock),
        }
    };
    PreparedWorld {
        seed,
        network: Network::random(seed),
        world,
        gateways: seats.into_iter().map(gateway).collect(),
        ttl: scenario.stacks.mesh_ttl,
        within: scenario.settle + scenario.offered + scenario.drain + BEHIND,
        listens: true,
    }
}
