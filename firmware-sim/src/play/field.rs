//! The world of a scenario that is played, or that real gateways play.
//!
//! Owns who stands on it: the nodes of one stack, attackers behind them, and seats for the gateways that others run.

use ble_bearer::sim::{RadioSpec, World};
use mesh_protocol::{Instant, NetKey};

use super::watch::{Extras, Watch};
use crate::chaos::{self, Both, Rules, attackers};
use crate::scenario::Scenario;
use crate::stack::mesh::Mesh;
use crate::stack::{Stack, StackKind};
use crate::world::{Network, Seat, WorldBuilder};

/// The world of a scenario: nodes and attackers, its faults, and the watch. Node `n` is station `n`.
pub type Field<S> = World<chaos::Occupant<S>, Both<Rules, Watch>>;

/// The world of a scenario with our own stack, its gateways left to others: a device for every node but for those with
/// `gateway`, which are seats, in order of their numbers.
#[must_use]
pub fn with_seats(scenario: &Scenario, seed: u64) -> (Field<Mesh>, Vec<Seat>) {
    let watch =
        Watch::new(StackKind::Mesh, &Network::random(seed), specs::<Mesh>(scenario), Extras::default());
    let is_gateway = |number: &u32| scenario.nodes.get(number).is_some_and(|node| node.gateway);
    let device = Mesh::nodes(scenario, seed);
    let node = |number: u32| (!is_gateway(&number)).then(|| device(number));
    field(scenario, seed, watch, node)
}

/// The radios of a scenario's nodes by number, and behind them the usual one.
pub(super) fn specs<S: Stack>(scenario: &Scenario) -> Vec<RadioSpec> {
    let own = (0..scenario.node_count()).map(|number| scenario.radio_of(number));
    own.chain([scenario.radio.clone()]).map(|radio| S::radio(&radio, &scenario.stacks)).collect()
}

/// The world of a scenario; where `node` gives none, there is a seat.
pub(super) fn field<S: Stack>(
    scenario: &Scenario,
    seed: u64,
    watch: Watch,
    node: impl Fn(u32) -> Option<S>,
) -> (Field<S>, Vec<Seat>) {
    let (nodes, faults) = (scenario.node_count(), &scenario.faults);
    let start = Instant::ZERO + scenario.settle;
    let rules = Rules::new(faults, nodes, start, seed);
    let mut world = WorldBuilder::of_scenario(scenario, seed, Both(rules, watch));
    world.nodes(scenario, seed, |number, radio| {
        (S::radio(radio, &scenario.stacks), node(number).map(chaos::Occupant::Node))
    });
    let network = Network::random(seed);
    let attackers = attackers(faults, nodes, start, &NetKey::new(network.key()), network.epoch(), seed);
    // They speak our frames, whichever stack is played.
    world.attackers(scenario, seed, &Mesh::radio(&scenario.radio, &scenario.stacks), attackers);
    world.build()
}
