//! From what a scenario says of places, radios, links and nodes to a simulated air with everyone on it.
//!
//! Owns the translation, for runs of scenarios, for the fuzzer and for real gateways alike. What the air makes of it is
//! `ble_bearer::sim`'s.

use ble_bearer::sim::{
    AirSettings, Link, Phy, Position, RadioSpec, ScanPlan, SimBearer, SimClock, StationId, Topology, Wlan,
    World,
};
use mesh_protocol::{Instant, NetKey, Rng};

use super::StackKind;
use super::watch::Watch;
use crate::chaos::{self, Both, Faulty, Rules, attackers, links_of_attackers};
use crate::scenario::{LinkRule, Place, Radio, Scenario};
use crate::stack::Stack;
use crate::stack::mesh::{Mesh, routes};
use crate::{Network, Options};

/// The world of a scenario: nodes and those who mean harm, what goes wrong, and the watch. Node `n` is station `n`.
pub type Field<S> = World<chaos::Place<S>, Both<Rules, Watch>>;

/// A node of a scenario that is none of the world's: someone else sits there.
#[derive(Debug)]
pub struct Seat {
    /// The node's number.
    pub number: u32,
    /// How it sends and receives.
    pub bearer: SimBearer,
    /// Its time.
    pub clock: SimClock,
}

/// The world of a scenario with our own stack, its gateways left to others: a device for every node but for those with
/// `gateway`, which are seats, in order of their numbers.
#[must_use]
pub fn with_seats(scenario: &Scenario, seed: u64) -> (Field<Mesh>, Vec<Seat>) {
    let spec = spec(&scenario.radio, StackKind::Mesh, 0);
    let is_gateway = |number: &u32| scenario.nodes.get(number).is_some_and(|node| node.gateway);
    let device = devices(scenario, seed);
    let node = |number: u32| (!is_gateway(&number)).then(|| device(number));
    field(scenario, StackKind::Mesh, seed, Watch::ours(seed, spec), node)
}

/// The devices of a scenario with our own stack, by number.
pub(super) fn devices(scenario: &Scenario, seed: u64) -> impl Fn(u32) -> Mesh {
    let key = NetKey::new(Network::random(seed).key());
    let dice = dice(seed);
    move |number| {
        let node = scenario.nodes.get(&number).cloned().unwrap_or_default();
        let options = Options {
            ttl: scenario.stacks.mesh_ttl,
            relay: node.relay.unwrap_or(true),
            gateway: node.gateway,
            // As the real ones: what a gateway has accepted survives a power cut.
            durable: node.gateway,
            drift_ppb: (node.drift_ppm * 1_000.0).round() as i64,
            routes: routes(&node),
            ..Options::default()
        };
        Mesh::new(number, options, dice(number), &key)
    }
}

/// What seeds each node.
pub(super) fn dice(seed: u64) -> impl Fn(u32) -> u64 {
    let seeds = Rng::stream(seed, "nodes");
    move |number| seeds.clone().fork(u64::from(number)).next_u64()
}

/// The world of a scenario; where `node` gives none, there is a seat.
pub(super) fn field<S: Stack + Faulty>(
    scenario: &Scenario,
    stack: StackKind,
    seed: u64,
    watch: Watch,
    node: impl Fn(u32) -> Option<S>,
) -> (Field<S>, Vec<Seat>) {
    let wlan = scenario.wlan.as_ref().map(|wlan| Wlan {
        duty_ppm: (wlan.duty * 1e6).round() as u32,
        burst: wlan.burst,
        dbm: wlan.dbm,
    });
    let settings = AirSettings { capture_db: scenario.radio.capture_db, wlan };
    let places = scenario.places(seed);
    let (nodes, faults) = (places.len() as u32, &scenario.faults);
    let start = Instant::ZERO + scenario.settle;
    let rules = Rules::new(faults, nodes, start, seed);
    let mut world = Field::with_observer(seed, topology(scenario, nodes), settings, Both(rules, watch));
    let relay_sets = scenario.stacks.sig.relay_sets;
    let mut seats = Vec::new();
    for (number, place) in (0..).zip(&places) {
        let own = scenario.nodes.get(&number).and_then(|node| node.tx_dbm);
        let mut spec = spec(&scenario.radio, stack, relay_sets);
        spec.tx_dbm = own.unwrap_or(spec.tx_dbm);
        match node(number) {
            Some(node) => {
                world.add_with(position(place), spec, chaos::Place::Node(node));
            }
            None => {
                let (_, bearer, clock) = world.seat_with(position(place), spec);
                seats.push(Seat { number, bearer, clock });
            }
        }
    }
    let network = Network::random(seed);
    let key = NetKey::new(network.key());
    for (near, attacker) in attackers(faults, nodes, start, &key, network.epoch(), seed) {
        let place = places.get(near as usize).map_or(Position::default(), position);
        let spec = spec(&scenario.radio, StackKind::Mesh, 0);
        world.add_with(place, spec, chaos::Place::Attacker(Box::new(attacker)));
    }
    (world, seats)
}

/// Where a node stands.
#[must_use]
pub const fn position(place: &Place) -> Position {
    Position { x: place.x, y: place.y, z: place.z, floor: place.floor }
}

/// The radio of a node that runs such a stack; only the SIG baseline has sets for relaying.
#[must_use]
pub fn spec(radio: &Radio, stack: StackKind, relay_sets: u8) -> RadioSpec {
    let (sets, ad_header, tells_sent) = match stack {
        StackKind::Mesh => (1, 4, false),
        // Length and type: the mesh message has an AD type of its own.
        StackKind::Sig => (1 + usize::from(relay_sets), 2, true),
        StackKind::Flood => (1, 4, true),
    };
    RadioSpec {
        tx_dbm: radio.tx_dbm,
        sensitivity_dbm: radio.sensitivity_dbm,
        scan: ScanPlan { interval: radio.scan_interval, window: radio.scan_window },
        extended: radio.extended.then_some(Phy::OneM),
        sets,
        ad_header,
        tells_sent,
    }
}

/// Who hears whom, attackers behind the `nodes` included.
#[must_use]
pub fn topology(scenario: &Scenario, nodes: u32) -> Topology {
    let ppm = |share: f64| (share * 1e6).round() as u32;
    match &scenario.links {
        LinkRule::Radius { reach, attenuation, beyond, loss } => Topology::Reach {
            metres: *reach,
            attenuation: *attenuation,
            beyond: *beyond,
            loss_ppm: ppm(*loss),
        },
        LinkRule::Propagation { exponent, floor_loss, shadowing, fading, loss } => Topology::Propagation {
            exponent: *exponent,
            floor_loss: *floor_loss,
            shadowing: *shadowing,
            fading: *fading,
            loss_ppm: ppm(*loss),
        },
        LinkRule::Given(links) => {
            let links = links.iter().flat_map(|link| {
                let strength = |from: u32| {
                    let own = scenario.nodes.get(&from).and_then(|node| node.tx_dbm);
                    let tx = own.unwrap_or(scenario.radio.tx_dbm);
                    (tx - link.attenuation).round().clamp(-127.0, 20.0) as i8
                };
                let one = |from: u32, to: u32| Link {
                    from: StationId(from),
                    to: StationId(to),
                    loss_ppm: ppm(link.loss),
                    rssi: strength(from),
                };
                [one(link.a, link.b), one(link.b, link.a)]
            });
            let mut links: Vec<Link> = links.collect();
            links.extend(links_of_attackers(&links, nodes, &scenario.faults));
            Topology::Given(links)
        }
    }
}
