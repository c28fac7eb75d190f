//! Puts nodes into a world: those of a scenario, or those of a generated field of relays.
//!
//! Owns [`WorldBuilder`], which every simulated world is made with: where stations stand, which radios they have, and who has a seat
//! instead of a station. What the air makes of it is `ble_bearer::sim`'s business. `air` translates what a scenario says of radios
//! and links, `network` has key and addresses, `relay_field` the places of a generated field.

mod air;
mod network;
mod relay_field;

use ble_bearer::sim::{
    AirSettings, Observer, Position, RadioSpec, SimBearer, SimClock, Station, StationId, Topology, World,
};
use mesh_protocol::{Instant, NetKey, Rng};

use crate::chaos::{self, Attacker};
use crate::scenario::{Place, RadioSettings, Scenario};
use crate::{Device, Options};

pub use network::{ISLANDS, Network, RUNS};
pub use relay_field::RelayField;

/// A place on the air for someone outside the world: a gateway.
#[derive(Debug)]
pub struct Seat {
    /// Which station it is; in a scenario the number of the node.
    pub station: StationId,
    /// How it sends and receives.
    pub bearer: SimBearer,
    /// Its time.
    pub clock: SimClock,
}

/// A world to which stations are added in the order of their numbers.
#[derive(Debug)]
pub struct WorldBuilder<S: Station, O: Observer<S>> {
    world: World<S, O>,
    seats: Vec<Seat>,
}

impl<S: Station, O: Observer<S>> WorldBuilder<S, O> {
    /// An empty world. `seed` decides everything that is random in the air and in the controllers.
    #[must_use]
    pub fn new(seed: u64, topology: Topology, settings: AirSettings, observer: O) -> Self {
        Self { world: World::with_observer(seed, topology, settings, observer), seats: Vec::new() }
    }

    /// An empty world with the air of a scenario.
    #[must_use]
    pub fn of_scenario(scenario: &Scenario, seed: u64, observer: O) -> Self {
        Self::new(seed, air::topology(scenario), air::settings(scenario), observer)
    }

    /// Adds every node of a scenario, so that node `n` is station `n`: `node` has the number and the radio of each, and makes the
    /// controller and the station; without a station, the node is a seat.
    pub fn nodes(
        &mut self,
        scenario: &Scenario,
        seed: u64,
        mut node: impl FnMut(u32, &RadioSettings) -> (RadioSpec, Option<S>),
    ) {
        for (number, place) in (0..).zip(scenario.places(seed)) {
            match node(number, &scenario.radio_of(number)) {
                (spec, Some(station)) => drop(self.world.add_with(position(&place), spec, station)),
                (spec, None) => self.seat(position(&place), spec),
            }
        }
    }

    /// Adds seats with the usual radio at these positions.
    pub fn seats(&mut self, positions: &[Position]) {
        for position in positions {
            self.seat(*position, RadioSpec::default());
        }
    }

    fn seat(&mut self, position: Position, spec: RadioSpec) {
        let (station, bearer, clock) = self.world.seat_with(position, spec);
        self.seats.push(Seat { station, bearer, clock });
    }

    /// The world, and its seats in the order of their numbers.
    #[must_use]
    pub fn build(self) -> (World<S, O>, Vec<Seat>) {
        (self.world, self.seats)
    }
}

impl<S: Station + From<Device>, O: Observer<S>> WorldBuilder<S, O> {
    /// Adds the relays of a field, three of which have agents that answer queries ([`Network::echoes`]).
    pub fn relays(&mut self, network: &Network, field: &RelayField, seed: u64) {
        let key = NetKey::new(network.key());
        let mut rng = Rng::stream(seed, "relays");
        for (n, position) in field.relays.iter().enumerate() {
            let echoes = field.landmarks.iter().zip(network.echoes());
            let names =
                echoes.filter(|(landmark, _)| **landmark == n).map(|(_, name)| name.to_owned()).collect();
            let address = network.relay_address(n as u16);
            let options = Options { names, used: network.used(), ..Options::default() };
            let device = Device::with(Instant::ZERO, address, &key, network.epoch(), rng.next_u64(), options);
            self.world.add(*position, device.into());
        }
    }
}

impl<N, O> WorldBuilder<chaos::Occupant<N>, O>
where
    chaos::Occupant<N>: Station,
    O: Observer<chaos::Occupant<N>>,
{
    /// Adds attackers behind the nodes of a scenario, each with such a radio next to the node that it names.
    pub fn attackers(
        &mut self,
        scenario: &Scenario,
        seed: u64,
        spec: &RadioSpec,
        attackers: impl IntoIterator<Item = (u32, Attacker)>,
    ) {
        let places = scenario.places(seed);
        for (near, attacker) in attackers {
            let place = places.get(near as usize).map_or(Position::default(), position);
            self.world.add_with(place, spec.clone(), chaos::Occupant::Attacker(Box::new(attacker)));
        }
    }
}

/// Where a node stands.
const fn position(place: &Place) -> Position {
    Position { x: place.x, y: place.y, z: place.z, floor: place.floor }
}
