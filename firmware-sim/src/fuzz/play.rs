//! Plays one case on our own stack and checks the invariants.
//!
//! Owns the run and its verdict. What is drawn is `case`'s business, what must hold `chaos::invariants`'.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ble_bearer::sim::{RadioSpec, StationId, World};
use mesh_protocol::{Address, Duration, Envelope, Instant, NetKey, Rng};

use super::case::{Mode, faults_end};
use super::features::{Features, has_groups};
use super::{FuzzFailure, Stats};
use crate::chaos::{Allowance, Both, Invariants, Occupant, Rules, Schedule, Violation, attackers};
use crate::device::posting;
use crate::scenario::{Layout, Pattern, Scenario, Traffic, Who};
use crate::stack::Stack;
use crate::stack::mesh::{Mesh, address, options};
use crate::world::{Network, WorldBuilder};
use crate::{Device, Options, Posting};

/// Violations are looked for this often; the first one ends the run.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// Faults are over for so long before a case of liveness may end: the longest timer, and neighbours have said hello.
/// A guess.
const AFTER_FAULTS: Duration = Duration::from_secs(5);

type Field = World<Occupant<Device>, Both<Rules, Invariants>>;

/// Plays a case; its figures.
///
/// # Errors
/// What did not hold.
pub fn play(case: &Scenario, seed: u64) -> Result<Stats, Box<FuzzFailure>> {
    play_without(case, seed, None)
}

/// The same, and this allowance of members excuses nothing.
pub(super) fn play_without(
    case: &Scenario,
    seed: u64,
    withheld: Option<&Allowance>,
) -> Result<Stats, Box<FuzzFailure>> {
    let features = Features::ALL;
    let failure = |violation| Box::new(FuzzFailure { seed, violation, case: case.clone(), features });
    // A panic in the core is a finding like any other.
    match catch_unwind(AssertUnwindSafe(|| run(case, seed, withheld))) {
        Ok(result) => result.map_err(failure),
        Err(payload) => {
            let text = payload.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("without a word");
            Err(failure(Violation { at: Instant::ZERO, node: 0, rule: "panic", what: text.into() }))
        }
    }
}

fn run(case: &Scenario, seed: u64, withheld: Option<&Allowance>) -> Result<Stats, Violation> {
    let Layout::Given(places) = &case.layout else {
        let what = "playing a case whose nodes have no given places; give each its place".into();
        return Err(Violation { at: Instant::ZERO, node: 0, rule: "case", what });
    };
    let nodes = u32::try_from(places.len()).unwrap_or(u32::MAX);
    let start = Instant::ZERO + case.settle;
    let network = Network::random(seed);
    let key = NetKey::new(network.key());
    let attackers = attackers(&case.faults, nodes, start, &key, network.epoch(), seed);
    // Members forge in cases of safety only: they can silence a node by design, so that liveness could not be checked.
    let mut forgers = Rng::stream(seed, "forgers");
    let attackers: Vec<_> = attackers
        .into_iter()
        .zip(0..)
        .map(|((near, attacker), number)| {
            let forges = forgers.chance(700_000) && Mode::of(case) == Mode::Safety;
            let rng = forgers.fork(number);
            (near, if forges { attacker.forging(rng) } else { attacker })
        })
        .collect();
    let members = attackers.iter().filter_map(|(_, attacker)| attacker.member()).collect();

    let groups = Groups::new(case, nodes, seed);
    let mut invariants = Invariants::new(&key, network.epoch(), nodes, members);
    invariants.groups((0..nodes).map(|node| (address(node), groups.of(node))));
    withheld.into_iter().for_each(|allowance| invariants.withhold(allowance));
    let watchers = Both(Rules::new(&case.faults, nodes, start, seed), invariants);
    let mut world = WorldBuilder::of_scenario(case, seed, watchers);
    let mut seeds = Rng::stream(seed, "devices");
    let mut rest = Rng::stream(seed, "what a scenario does not say");
    world.nodes(case, seed, |node, radio| {
        let options = Options { groups: groups.of(node), ..random_options(options(case, node), &mut rest) };
        let seed = seeds.next_u64();
        let mut device = Device::with(Instant::ZERO, address(node), &key, network.epoch(), seed, options);
        device.watch();
        (Mesh::radio(radio, &case.stacks), Some(Occupant::Node(device)))
    });
    world.attackers(case, seed, &RadioSpec::default(), attackers);

    let mut play = Play {
        world: world.build().0,
        schedule: Schedule::new(&case.faults, start),
        posts: posts(case, nodes, start, seed),
        stats: Stats { cases: 1, ..Stats::default() },
    };
    play.until(start + case.offered)?;
    match Mode::of(case) {
        Mode::Safety => play.until(start + case.offered + case.drain)?,
        Mode::Liveness => {
            play.complete(start + case.offered.max(faults_end(case) + AFTER_FAULTS), case.drain, nodes)?
        }
    }
    Ok(play.finish())
}

struct Play {
    world: Field,
    schedule: Schedule,
    posts: BTreeMap<(Instant, usize), (u32, Posting)>,
    stats: Stats,
}

impl Play {
    /// Goes on until then, with everything that is planned.
    fn until(&mut self, end: Instant) -> Result<(), Violation> {
        loop {
            let post = self.posts.first_key_value().map(|((at, _), _)| *at);
            let check = self.world.now() + CHECK_EVERY;
            let next = [post, self.schedule.next(), Some(check), Some(end)]
                .into_iter()
                .flatten()
                .min()
                .unwrap_or(end);
            self.world.advance(next.min(end));
            self.world.observer().1.violation().map_or(Ok(()), |violation| Err(violation.clone()))?;
            self.stats.faults += self.schedule.apply(&mut self.world) as u64;
            while let Some(entry) = self.posts.first_entry().filter(|entry| entry.key().0 <= next) {
                let (from, posting) = entry.remove();
                let id = StationId(from);
                let up = self.world.station(id).and_then(Occupant::node).is_some_and(Device::is_powered);
                if up {
                    let posted = self.world.poke(id, |place, now, _| {
                        place.node_mut().is_some_and(|device| device.post(now, posting).is_ok())
                    });
                    self.stats.posted += u64::from(posted == Some(true));
                }
            }
            if next >= end {
                break;
            }
        }
        self.world.observer().1.violation().map_or(Ok(()), |violation| Err(violation.clone()))
    }

    /// Goes on until every message is complete: then all have arrived.
    fn complete(&mut self, earliest: Instant, drain: Duration, nodes: u32) -> Result<(), Violation> {
        self.until(earliest)?;
        let last = self.world.now() + drain;
        loop {
            let busy = (0..nodes).find(|node| {
                let device = self.world.station(StationId(*node)).and_then(Occupant::node);
                device.is_some_and(|device| device.open_messages() > 0)
            });
            let now = self.world.now();
            let violation = |node, what| Err(Violation { at: now, node, rule: "liveness", what });
            let Some(busy) = busy else {
                let missing = self.world.observer().1.missing().next();
                let Some((source, id, to)) = missing else { return Ok(()) };
                let node = u32::from(source.bits()) - 1;
                return violation(
                    node,
                    format!("its message {id} to {to} has not arrived, and it thinks it is done"),
                );
            };
            if now >= last {
                let device = self.world.station(StationId(busy)).and_then(Occupant::node);
                let left = device.map_or(0, Device::open_messages);
                let seconds = drain.as_millis() / 1_000;
                return violation(busy, format!("{left} of its messages wait {seconds} s after all faults"));
            }
            self.until(now + CHECK_EVERY)?;
        }
    }

    fn finish(mut self) -> Stats {
        let Both(rules, invariants) = self.world.observer();
        self.stats.counts = invariants.counts();
        self.stats.excused.clone_from(invariants.excused());
        for (name, count) in rules.counts() {
            self.stats.met.insert(name, count);
        }
        let attackers =
            (0..self.world.len() as u32).filter_map(|n| match self.world.station(StationId(n))? {
                Occupant::Attacker(attacker) => Some(attacker.sent()),
                Occupant::Node(_) => None,
            });
        self.stats.attacks = attackers.sum();
        self.stats.simulated_ms = self.world.now().as_micros() / 1_000;
        self.stats
    }
}

/// The groups of cases that have some.
const GROUPS: [Address; 3] = [Address::new(0x8001), Address::new(0x9abc), Address::new(0xfffe)];

/// Who is in which.
struct Groups(BTreeMap<u32, Vec<Address>>);

impl Groups {
    fn new(case: &Scenario, nodes: u32, seed: u64) -> Self {
        let mut rng = Rng::stream(seed, "fuzz groups");
        let nodes = if has_groups(case) { nodes } else { 0 };
        let groups =
            (0..nodes).map(|node| (node, GROUPS.into_iter().filter(|_| rng.chance(400_000)).collect()));
        Self(groups.collect())
    }

    fn of(&self, node: u32) -> Vec<Address> {
        self.0.get(&node).cloned().unwrap_or_default()
    }
}

/// By chance what a scenario does not say of a node.
fn random_options(options: Options, rng: &mut Rng) -> Options {
    Options {
        // Small blocks and slow flash, so that a cut often meets a write.
        seq_block: [8, 8, 32, 1_024][rng.below(4) as usize],
        flash_write: Duration::from_millis([0, 3, 80, 500][rng.below(4) as usize]),
        durable: rng.chance(500_000),
        ..options
    }
}

/// Every message, by when it is given to its device.
fn posts(
    case: &Scenario,
    nodes: u32,
    start: Instant,
    seed: u64,
) -> BTreeMap<(Instant, usize), (u32, Posting)> {
    let mut posts = BTreeMap::new();
    for (index, traffic) in case.traffic.iter().enumerate() {
        let mut rng = Rng::stream(seed, "bodies").fork(index as u64);
        let (Who::Node(from), Pattern::Burst { size, .. }) = (&traffic.from, &traffic.pattern) else {
            continue;
        };
        for _ in 0..*size {
            let Some(mut posting) = write(traffic, nodes, &mut rng) else { continue };
            if posting.to == Address::EVERYONE && has_groups(case) {
                // Drawn behind the body, so that that stays as it is.
                posting.to = GROUPS[rng.below(GROUPS.len() as u64) as usize];
            }
            posts.insert((start + traffic.start, posts.len()), (*from, posting));
        }
    }
    posts
}

fn write(traffic: &Traffic, nodes: u32, rng: &mut Rng) -> Option<Posting> {
    let to = match traffic.to {
        Who::Node(node) if node < nodes => address(node),
        Who::Everyone => Address::EVERYONE,
        _ => return None,
    };
    let body: Vec<u8> = (0..traffic.bytes).map(|_| rng.next_u64() as u8).collect();
    let envelope = Envelope {
        kind: traffic.kind,
        from: "",
        to: "",
        processed: false,
        reply_to: None,
        text: false,
        body: &body,
    };
    Some(posting(to, traffic.priority, traffic.deadline, &envelope))
}
