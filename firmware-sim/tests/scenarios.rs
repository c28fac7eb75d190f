//! The scenarios that come with the project are what they say: they parse, ask for plausible loads, and their networks
//! hang together by a path loss worked out here, apart from the simulator's.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use firmware_sim::scenario::{LinkRule, Place, Scenario};
use mesh_protocol::Rng;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios")
}

/// The scenarios for users; those of `mesh-sim compare` lie in a folder of their own.
fn shipped() -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file())
}

fn scenario(name: &str) -> Scenario {
    let path = folder().join(format!("{name}.toml"));
    Scenario::read(&path).unwrap_or_else(|error| panic!("{error}")).0
}

/// A standard normal number (Box and Muller, 1958).
fn normal(rng: &mut Rng) -> f64 {
    let mut unit = || (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    let (one, two) = (unit(), unit());
    (-2.0 * (1.0 - one).ln()).sqrt() * (std::f64::consts::TAU * two).cos()
}

fn attenuation(links: &LinkRule, a: &Place, b: &Place, rng: &mut Rng) -> f64 {
    let metres = ((a.x - b.x).powi(2) + (a.y - b.y).powi(2) + (a.z - b.z).powi(2)).sqrt();
    match links {
        LinkRule::Radius { reach, attenuation, .. } if metres <= *reach => attenuation * metres / reach,
        LinkRule::Radius { beyond, .. } => *beyond,
        LinkRule::Propagation { exponent, floor_loss, shadowing, .. } => {
            20.0 * 2_440_f64.log10() - 28.0
                + 10.0 * exponent * metres.max(1.0).log10()
                + floor_loss * f64::from(a.floor.abs_diff(b.floor))
                + shadowing * normal(rng)
        }
        LinkRule::Given(_) => panic!("none of these gives its links"),
    }
}

/// Who hears whom.
fn neighbours(scenario: &Scenario, seed: u64) -> Vec<Vec<usize>> {
    let places = scenario.places(seed);
    let mut rng = Rng::stream(seed, "shadowing of a test");
    let mut neighbours = vec![Vec::new(); places.len()];
    let power = |node: usize| {
        let own = scenario.nodes.get(&(node as u32)).and_then(|node| node.tx_dbm);
        own.unwrap_or(scenario.radio.tx_dbm)
    };
    for a in 0..places.len() {
        for b in 0..a {
            let loss = attenuation(&scenario.links, &places[a], &places[b], &mut rng);
            if power(a).min(power(b)) - loss >= scenario.radio.sensitivity_dbm {
                neighbours[a].push(b);
                neighbours[b].push(a);
            }
        }
    }
    neighbours
}

/// Hops from one node to every other; `None` for those it cannot reach.
fn hops(neighbours: &[Vec<usize>], from: usize) -> Vec<Option<usize>> {
    let mut hops = vec![None; neighbours.len()];
    hops[from] = Some(0);
    let mut queue = std::collections::VecDeque::from([from]);
    while let Some(node) = queue.pop_front() {
        for next in &neighbours[node] {
            if hops[*next].is_none() {
                hops[*next] = hops[node].map(|hops| hops + 1);
                queue.push_back(*next);
            }
        }
    }
    hops
}

#[test]
fn every_network_hangs_together_and_is_as_dense_and_as_wide_as_meant() {
    // Name, nodes, gateways, average degree, greatest distance in hops.
    for (name, nodes, gateways, degrees, widths) in [
        ("chain", 10, 0, 1.8..=1.8, 9..=9),
        ("field", 50, 0, 7.5..=9.5, 6..=8),
        ("office", 100, 5, 20.0..=30.0, 3..=6),
        ("warehouse", 500, 8, 22.0..=34.0, 5..=9),
        ("campus", 1_000, 10, 26.0..=36.0, 8..=15),
    ] {
        let scenario = scenario(name);
        assert_eq!(scenario.node_count(), nodes, "{name}");
        assert_eq!(scenario.nodes.values().filter(|node| node.gateway).count(), gateways, "{name}");
        for seed in 1..=3 {
            let neighbours = neighbours(&scenario, seed);
            let degree = neighbours.iter().map(Vec::len).sum::<usize>() as f64 / f64::from(nodes);
            let mut width = 0;
            for from in 0..neighbours.len() {
                let hops = hops(&neighbours, from);
                let apart: Vec<usize> = (0..hops.len()).filter(|to| hops[*to].is_none()).collect();
                assert!(apart.is_empty(), "{name}, seed {seed}: node {from} does not reach {apart:?}");
                width = width.max(hops.into_iter().flatten().max().unwrap_or(0));
            }
            println!("{name}, seed {seed}: {nodes} nodes hear {degree:.1} others each, {width} hops at most");
            assert!(degrees.contains(&degree), "{name}, seed {seed}: degree {degree}");
            assert!(widths.contains(&width), "{name}, seed {seed}: {width} hops");
            let stacks = &scenario.stacks;
            for ttl in [stacks.mesh_ttl, stacks.sig.ttl, stacks.flood_ttl] {
                assert!(width <= usize::from(ttl), "{name}, seed {seed}: {width} hops with TTL {ttl}");
            }
        }
    }
}

#[test]
fn loads_are_what_a_flooding_mesh_may_be_asked_to_carry() {
    for path in shipped() {
        let (scenario, source) = Scenario::read(&path).unwrap_or_else(|error| panic!("{error}"));
        let name = &scenario.name;
        assert!(
            source.starts_with("# ") && source.lines().count() <= 100,
            "{name}: short, and says what it is"
        );
        assert!(!scenario.description.is_empty(), "{name}");
        let seconds = scenario.offered.as_millis() as f64 / 1e3;
        let plan = scenario.plan(1);
        // Every node repeats every message, a dozen and more times a millisecond and a half within each earshot.
        let rate = plan.len() as f64 / seconds;
        println!("{name}: {} messages in {seconds} s, {rate:.2} a second", plan.len());
        assert!(rate <= 1.5, "{name}: {rate} messages a second");
        let loops = scenario.loops(1);
        assert!(!plan.is_empty() || !loops.is_empty(), "{name} says nothing");
        for planned in &plan {
            assert!(planned.at < scenario.offered, "{name}: {planned:?}");
        }
        for one in loops {
            // Whatever is not answered takes its deadline; a ping that is answered takes a second or so.
            let traffic = &scenario.traffic[one.traffic as usize];
            let long = one.clone().count() as f64 * (one.pause.as_millis() as f64 / 1e3 + 1.0);
            assert!(long <= seconds, "{name}: {long} s of pings");
            assert!(traffic.deadline <= scenario.offered + scenario.drain, "{name}: {traffic:?}");
        }
    }
}

#[test]
fn the_scenarios_written_out_are_the_same_scenarios() {
    let mut names = BTreeSet::new();
    for path in shipped() {
        let (scenario, _) = Scenario::read(&path).unwrap_or_else(|error| panic!("{error}"));
        let again =
            Scenario::parse("again.toml", &scenario.to_toml()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(again, scenario);
        for seed in 1..=3 {
            assert_eq!(again.plan(seed), scenario.plan(seed));
            assert_eq!(again.places(seed), scenario.places(seed));
        }
        names.insert(scenario.name);
    }
    assert_eq!(Vec::from_iter(names), ["bulk", "campus", "chain", "field", "office", "warehouse"]);
}
