//! Random cases: a network, its traffic, and its faults.
//!
//! Owns the draws. A case is a scenario like any other, so that it can be written to a file; what devices have that a scenario
//! does not say follows from the seed (`play`).

use std::collections::BTreeMap;

use mesh_protocol::{Duration, MessageType, Priority, Rng};

use super::features::Features;
use crate::scenario::{
    ControllerModel, FaultKind, Flash, GivenLink, Layout, LinkRule, LongPhy, NodeOptions, Pattern, Place,
    RadioSettings, RuleAction, Scenario, ScheduledFault, SigOptions, Stacks, Traffic, Who,
};

/// Names of cases say how they are judged.
const SAFETY: &str = "fuzz-safety";
const LIVENESS: &str = "fuzz-liveness";

// How large cases are: all guesses, so that ten thousand of them are half an hour's work for two cores.

/// The most nodes.
const NODES: u64 = 50;
/// How far a node is heard, in metres. Only its ratio to the distances counts.
const REACH: f64 = 20.0;
/// What the farthest neighbour's signal loses, in dB: 11 dB above what a receiver needs.
const ATTENUATION: f64 = 85.0;
/// What everyone else's loses: as good as silence.
const BEYOND: f64 = 195.0;
/// The longest path between two nodes, in hops. With it, TTL has one to spare.
const HOPS: u8 = 14;
/// The longest message for a small node, without head and names.
const SMALL: u64 = 500;
/// The longest message for a gateway: some parts.
const LARGE: u64 = 3_000;
/// In a case of liveness, no message gets old before the end.
const FOR_EVER: Duration = Duration::from_secs(3_600);

/// How a case is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Faults until the end: nothing bad may happen.
    Safety,
    /// Faults stop half-way: from then on, messages have to arrive.
    Liveness,
}

impl Mode {
    /// The one in a case's name.
    #[must_use]
    pub fn of(case: &Scenario) -> Self {
        if case.name.starts_with(LIVENESS) { Self::Liveness } else { Self::Safety }
    }
}

/// The case of a seed.
#[must_use]
pub fn case(seed: u64) -> Scenario {
    case_with(seed, Features::ALL)
}

/// The same, with these features alone: the rest is as it would be.
#[must_use]
pub fn case_with(seed: u64, features: Features) -> Scenario {
    let mut rng = Rng::stream(seed, "fuzz case");
    let mode = if rng.chance(500_000) { Mode::Liveness } else { Mode::Safety };
    let share = rng.below(1_000);
    // Small ones more often: the square of what is drawn.
    let count = (2 + (NODES - 1) * share * share / 1_000_000) as u32;
    let places = places(count, &mut rng);
    let links = links(&places, &mut rng);
    let neighbours = neighbours_by_distance(&places);
    let offered = Duration::from_secs(8 + rng.below(25));
    let mut case = Scenario {
        name: if mode == Mode::Liveness { LIVENESS } else { SAFETY }.into(),
        description: format!("case {seed} of the fuzzer"),
        settle: Duration::from_millis(500 + rng.below(5_000)),
        offered,
        drain: Duration::from_secs(if mode == Mode::Liveness { 180 } else { 15 }),
        layout: Layout::Given(places),
        nodes: BTreeMap::new(),
        links,
        radio: radio(&mut rng),
        wlan: None,
        stacks: stacks(HOPS + 1),
        traffic: Vec::new(),
        faults: Vec::new(),
    };
    for node in 0..count {
        let options = node_options(mode, &mut rng);
        if options != NodeOptions::default() {
            case.nodes.insert(node, options);
        }
    }
    for _ in 0..2 + rng.below(20) {
        let traffic = traffic(&case, count, mode, &mut rng);
        case.traffic.push(traffic);
    }
    let until = if mode == Mode::Liveness { Duration::from_micros(offered.as_micros() / 2) } else { offered };
    for _ in 0..rng.below(8) {
        let fault = fault(&case, count, until, mode, &mut rng);
        case.faults.push(fault);
    }
    case.faults.sort_by_key(|fault| fault.at);
    features.add(&mut case, seed, &neighbours);
    case
}

/// A number in `from..to`, in thousandths of the span.
fn between(from: f64, to: f64, rng: &mut Rng) -> f64 {
    from + (to - from) * rng.below(1_001) as f64 / 1_000.0
}

/// Every node within reach of another one, and all within some hops of each other.
fn places(count: u32, rng: &mut Rng) -> Vec<Place> {
    let style = rng.below(3);
    let spacing = between(0.4, 0.9, rng) * REACH;
    let columns = (1..).find(|side| side * side >= count).unwrap_or(1);
    let mut places: Vec<Place> = Vec::new();
    for n in 0..count {
        let (x, y) = match style {
            // In a row.
            0 => (f64::from(n) * spacing, 0.0),
            // In rows and columns, a little off.
            1 => (
                f64::from(n % columns) * spacing + between(-0.5, 0.5, rng),
                f64::from(n / columns) * spacing + between(-0.5, 0.5, rng),
            ),
            // Beside any that is there already.
            _ => {
                let beside = places.get(rng.below(places.len() as u64) as usize).copied().unwrap_or_default();
                let most = 0.65 * REACH;
                (beside.x + between(-most, most, rng), beside.y + between(-most, most, rng))
            }
        };
        places.push(Place { x, y, ..Place::default() });
    }
    // Nearer together until the longest path is short enough.
    while diameter(&neighbours_by_distance(&places)).is_none_or(|hops| hops > HOPS) {
        for place in &mut places {
            (place.x, place.y) = (place.x * 0.8, place.y * 0.8);
        }
    }
    places
}

fn neighbours_by_distance(places: &[Place]) -> Vec<Vec<u32>> {
    let near = |a: &Place, b: &Place| {
        let (x, y) = (a.x - b.x, a.y - b.y);
        x * x + y * y <= REACH * REACH
    };
    let all = || (0_u32..).zip(places);
    all().map(|(n, a)| all().filter(|(m, b)| *m != n && near(a, b)).map(|(m, _)| m).collect()).collect()
}

/// The longest of the shortest paths between two nodes, in hops; `None` where there is no path.
fn diameter(neighbours: &[Vec<u32>]) -> Option<u8> {
    let mut longest = 0;
    for start in 0..neighbours.len() {
        let mut hops: Vec<Option<u8>> = vec![None; neighbours.len()];
        hops[start] = Some(0);
        let mut queue = std::collections::VecDeque::from([start]);
        while let Some(at) = queue.pop_front() {
            for &next in &neighbours[at] {
                let next = next as usize;
                if hops[next].is_none() {
                    hops[next] = hops[at].map(|hops| hops.saturating_add(1));
                    queue.push_back(next);
                }
            }
        }
        for hops in hops {
            longest = longest.max(hops?);
        }
    }
    Some(longest)
}

/// Whether a case can be held to liveness: every sender has a path to its receiver.
pub(super) fn is_connected(case: &Scenario) -> bool {
    let Layout::Given(places) = &case.layout else { return false };
    let neighbours = match &case.links {
        LinkRule::Given(links) => {
            let mut neighbours = vec![Vec::new(); places.len()];
            for link in links {
                for (from, to) in [(link.a, link.b), (link.b, link.a)] {
                    neighbours[from as usize].push(to);
                }
            }
            neighbours
        }
        _ => neighbours_by_distance(places),
    };
    diameter(&neighbours).is_some_and(|hops| hops < case.stacks.mesh_ttl)
}

fn links(places: &[Place], rng: &mut Rng) -> LinkRule {
    let loss = if rng.chance(300_000) { 0.0 } else { between(0.0, 0.3, rng) };
    if rng.chance(700_000) {
        return LinkRule::Radius { reach: REACH, attenuation: ATTENUATION, beyond: BEYOND, loss };
    }
    let mut links = Vec::new();
    for (a, near) in (0..).zip(neighbours_by_distance(places)) {
        for b in near.into_iter().filter(|b| *b > a) {
            links.push(GivenLink {
                a,
                b,
                attenuation: between(50.0, ATTENUATION, rng),
                loss: between(0.0, loss, rng),
            });
        }
    }
    LinkRule::Given(links)
}

fn radio(rng: &mut Rng) -> RadioSettings {
    // From as fast as stacks do it to what run V1 has.
    let scan = Duration::from_millis([30, 100, 3_000][rng.below(3) as usize]);
    RadioSettings {
        extended: false,
        phy: LongPhy::OneM,
        controller: ControllerModel::Firmware,
        tx_dbm: 0.0,
        sensitivity_dbm: -96.0,
        capture_db: 10.0,
        scan_interval: scan,
        scan_window: scan,
    }
}

fn stacks(mesh_ttl: u8) -> Stacks {
    // Only ours runs here; a file has to name something for the others.
    let copies = Duration::from_millis(20);
    let sig = SigOptions {
        ttl: 7,
        transmit: 3,
        transmit_interval: copies,
        retransmit: 3,
        retransmit_interval: copies,
        relay_sets: 2,
        host_delay: Duration::ZERO,
    };
    Stacks { mesh_ttl, sig, flood_ttl: 7 }
}

fn node_options(mode: Mode, rng: &mut Rng) -> NodeOptions {
    let drift_ppm = match rng.below(4) {
        0 => 0.0,
        // Crystals; and now and then something worse.
        1 | 2 => between(-100.0, 100.0, rng),
        _ => between(-20_000.0, 20_000.0, rng),
    };
    let gateway = rng.chance(150_000);
    // Where nobody relays there may be no path.
    let relay = (mode == Mode::Safety && rng.chance(80_000)).then_some(false);
    NodeOptions { gateway, relay, drift_ppm, ..NodeOptions::default() }
}

fn traffic(case: &Scenario, count: u32, mode: Mode, rng: &mut Rng) -> Traffic {
    let from = rng.below(count.into()) as u32;
    let to = (from + 1 + rng.below(u64::from(count) - 1) as u32) % count;
    let everyone = rng.chance(100_000);
    let gateway = !everyone && case.nodes.get(&to).is_some_and(|node| node.gateway);
    let most = if rng.chance(700_000) { 60 } else { SMALL };
    let bytes = match rng.below(10) {
        0..=3 => rng.below(9),
        9 if gateway => rng.below(LARGE),
        _ => rng.below(most),
    };
    let kind = if everyone { MessageType::Notification } else { MessageType::ALL[rng.below(5) as usize] };
    let deadline =
        if mode == Mode::Liveness { FOR_EVER } else { Duration::from_millis(200 + rng.below(40_000)) };
    // One burst each.
    let pattern = Pattern::Burst { size: 1 + rng.below(3) as u32, every: case.offered };
    Traffic {
        from: Who::Node(from),
        to: if everyone { Who::Everyone } else { Who::Node(to) },
        kind,
        priority: Priority::ALL[rng.below(4) as usize],
        bytes: bytes as u32,
        deadline,
        start: rng.jitter(Duration::from_micros(case.offered.as_micros() * 9 / 10)),
        stop: None,
        pattern,
    }
}

fn fault(case: &Scenario, count: u32, until: Duration, mode: Mode, rng: &mut Rng) -> ScheduledFault {
    let latest = Duration::from_micros(until.as_micros() * 9 / 10);
    // Half of the cuts hit a node that has something to do.
    if rng.chance(150_000) {
        let traffic = &case.traffic[rng.below(case.traffic.len() as u64) as usize];
        let at = latest.min(traffic.start + rng.jitter(Duration::from_secs(1)));
        let end = if rng.chance(500_000) { &traffic.from } else { &traffic.to };
        let node = if let Who::Node(node) = end { *node } else { 0 };
        let what = FaultKind::Crash {
            node,
            down: (until - at).min(rng.jitter(Duration::from_secs(5))),
            flash: flash(rng),
        };
        return ScheduledFault { at, what };
    }
    let at = rng.jitter(latest);
    let left = until - at;
    // In a case of liveness a fault ends in time for everything to arrive; in one of safety it may outlast the run.
    let lasts = Duration::from_millis(100) + rng.jitter(left);
    let lasts = if mode == Mode::Liveness { lasts.min(left) } else { lasts };
    let node = |rng: &mut Rng| rng.below(count.into()) as u32;
    let what = match rng.below(16) {
        0..=2 => FaultKind::Crash {
            node: node(rng),
            down: lasts.min(Duration::from_millis(50) + rng.jitter(Duration::from_secs(6))),
            flash: flash(rng),
        },
        3..=5 => FaultKind::Partition { nodes: (0..count).filter(|_| rng.chance(500_000)).collect(), lasts },
        6..=10 => {
            let (action, most) = match rng.below(4) {
                0 => (RuleAction::Drop, 0.9),
                1 => (RuleAction::Delay(rng.jitter(Duration::from_secs(4))), 0.6),
                2 => (RuleAction::Duplicate, 1.0),
                _ => (RuleAction::Corrupt, 0.6),
            };
            let from = rng.chance(400_000).then(|| node(rng));
            let to = rng.chance(400_000).then(|| node(rng));
            FaultKind::Rule { action, share: between(0.05, most, rng), from, to, lasts }
        }
        11 => FaultKind::ClockJump { node: node(rng), by: rng.jitter(Duration::from_secs(40)) },
        12 => FaultKind::Forge { near: node(rng), rate: between(1.0, 40.0, rng), lasts },
        13 | 14 => {
            let after = Duration::from_millis(20) + rng.jitter(Duration::from_secs(12));
            FaultKind::Replay { near: node(rng), after, rate: between(1.0, 40.0, rng), lasts }
        }
        _ => FaultKind::Member { near: node(rng), rate: between(1.0, 8.0, rng), lasts },
    };
    ScheduledFault { at, what }
}

fn flash(rng: &mut Rng) -> Flash {
    [Flash::Kept, Flash::Lost, Flash::Torn][rng.below(3) as usize]
}

/// The end of the last fault, counted as their beginnings are.
pub(super) fn faults_end(case: &Scenario) -> Duration {
    let end = |fault: &ScheduledFault| match fault.what {
        FaultKind::Crash { down: lasts, .. }
        | FaultKind::Partition { lasts, .. }
        | FaultKind::Forge { lasts, .. }
        | FaultKind::Replay { lasts, .. }
        | FaultKind::Member { lasts, .. } => fault.at + lasts,
        FaultKind::Rule { action: RuleAction::Delay(by), lasts, .. } => fault.at + lasts + by,
        FaultKind::Rule { lasts, .. } => fault.at + lasts,
        FaultKind::ClockJump { .. } => fault.at,
    };
    case.faults.iter().map(end).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_as_their_seed_has_it_connected_and_of_every_kind() {
        let (mut kinds, mut sizes, mut modes) = ([0; 7], [0; 2], [0; 2]);
        for seed in 0..400 {
            let case = case(seed);
            assert_eq!(case, super::case(seed), "seed {seed}");
            assert!(is_connected(&case), "seed {seed}");
            let Layout::Given(places) = &case.layout else { panic!() };
            assert!((2..=NODES as usize).contains(&places.len()));
            sizes[usize::from(places.len() > 20)] += 1;
            modes[Mode::of(&case) as usize] += 1;
            if Mode::of(&case) == Mode::Liveness {
                assert!(faults_end(&case).times(2) <= case.offered + Duration::from_secs(8), "seed {seed}");
            }
            for fault in &case.faults {
                kinds[match fault.what {
                    FaultKind::Crash { .. } => 0,
                    FaultKind::Partition { .. } => 1,
                    FaultKind::Rule { .. } => 2,
                    FaultKind::ClockJump { .. } => 3,
                    FaultKind::Forge { .. } => 4,
                    FaultKind::Replay { .. } => 5,
                    FaultKind::Member { .. } => 6,
                }] += 1;
            }
        }
        assert!(kinds.into_iter().all(|count| count > 40), "{kinds:?}");
        assert!(sizes.into_iter().chain(modes).all(|count| count > 100), "{sizes:?} {modes:?}");
    }
}
