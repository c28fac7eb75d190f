//! Playing a scenario: nodes on the air send its messages, and what becomes of them is counted.
//!
//! Owns the run. What is observed is `watch`'s business, which messages there are and what became of them [`course`]'s, who
//! stands where [`field`]'s, what is made of it all the reports'. Real gateways play scenarios with the same parts.

pub mod course;
mod due;
pub mod field;
mod mark;
mod watch;
mod ways;

use std::collections::BTreeMap;
use std::sync::Arc;

use ble_bearer::sim::{AirCounters, StationId, Step};
use mesh_protocol::{Instant, Priority};

use self::course::{Course, Message};
use self::field::Field;
pub(crate) use self::mark::MARK_EVERY;
pub use self::mark::Mark;
pub use self::watch::{At, Watch};
use self::watch::{Extras, Follow, Sniffer};
use self::ways::Ways;
use crate::chaos::Schedule;
use crate::results::{LatencyResult, LinkResult, MessageResult, NodeResult, Percentiles, RunResult};
use crate::scenario::Scenario;
pub use crate::stack::StackKind;
use crate::stack::{Order, Refused, Stack, StackNode, Target, WithStack};
use crate::world::Network;

/// Plays a scenario with a stack; the same seed gives the same result on every machine. With `timeline`, the ways of
/// frames are recorded and one message is followed, for which the scenario is played a second time.
#[must_use]
pub fn play(scenario: &Scenario, stack: StackKind, seed: u64, timeline: bool) -> RunResult {
    let ways = timeline.then(Ways::default);
    let (mut result, _) = play_with(scenario, stack, seed, Extras { ways, ..Extras::default() });
    if timeline && let Some(follow) = Follow::most_hops(&result) {
        let extras = Extras { follow: Some(follow), ..Extras::default() };
        result.timeline = play_with(scenario, stack, seed, extras).0.timeline;
    }
    result
}

/// Plays a scenario and returns its trace hash, its number of events, and marks.
pub(crate) fn record(scenario: &Scenario, stack: StackKind, seed: u64) -> (String, u64, Vec<Mark>) {
    let extras = Extras { marks: true, ..Extras::default() };
    let (result, watch) = play_with(scenario, stack, seed, extras);
    (result.trace, watch.events(), watch.into_marks())
}

/// Plays a scenario and returns what was on the air, as a pcapng file: what the node `at` received, or else each advertising event
/// as the first who received it did.
///
/// # Errors
/// When the file cannot be put together.
pub fn capture(
    scenario: &Scenario,
    stack: StackKind,
    seed: u64,
    at: Option<u32>,
) -> std::io::Result<Vec<u8>> {
    let extras = Extras { capture: Some(Sniffer::new(at)?), ..Extras::default() };
    play_with(scenario, stack, seed, extras).1.into_capture()
}

fn play_with(scenario: &Scenario, stack: StackKind, seed: u64, extras: Extras) -> (RunResult, Watch) {
    stack.run(Play { scenario, stack, seed, extras })
}

/// What is to be played, with a stack that is known by its name.
struct Play<'a> {
    scenario: &'a Scenario,
    stack: StackKind,
    seed: u64,
    extras: Extras,
}

impl WithStack for Play<'_> {
    type Output = (RunResult, Watch);

    fn with<S: Stack>(self) -> Self::Output {
        Run::<S>::new(self).finish()
    }
}

/// A scenario being played.
struct Run<S: Stack> {
    stack: StackKind,
    seed: u64,
    world: Field<S>,
    schedule: Schedule,
    course: Course,
}

impl<S: Stack> Run<S> {
    fn new(Play { scenario, stack, seed, extras }: Play<'_>) -> Self {
        let settled = Instant::ZERO + scenario.settle;
        let watch =
            Watch::new(stack, &Network::random(seed), field::specs::<S>(scenario), extras).settled(settled);
        let node = S::nodes(scenario, seed);
        let (world, _) = field::field(scenario, seed, watch, |number| Some(node(number)));
        Self {
            stack,
            seed,
            world,
            schedule: Schedule::new(&scenario.faults, Instant::ZERO + scenario.settle),
            course: Course::new(Arc::new(scenario.clone()), stack, seed),
        }
    }

    fn finish(mut self) -> (RunResult, Watch) {
        let (last, end) = (self.course.last(), self.course.end());
        loop {
            let next = self.course.next();
            let next = [next, self.schedule.next().filter(|at| *at <= end)].into_iter().flatten().min();
            let open = self.course.open();
            if next.is_none() && self.world.now() >= last && open == 0 {
                break;
            }
            let limit = next.unwrap_or(if open == 0 { last } else { end }).min(end);
            match self.world.step_until(limit) {
                Step::Done(now) => self.hear(now),
                // A world without seats never stands still.
                Step::Quiet(_) | Step::Still(_) => {
                    self.world.advance(limit);
                    if next.is_none() && limit == end {
                        break;
                    }
                    // Faults first: a node whose power is cut at this moment takes no message of this moment.
                    self.schedule.apply(&mut self.world);
                    for message in self.course.take(limit) {
                        self.post(limit, &message);
                    }
                }
            }
        }
        let result = result(&self.world, &self.course, self.seed);
        let nothing = Watch::new(self.stack, &Network::random(self.seed), Vec::new(), Extras::default());
        (result, std::mem::replace(&mut self.world.observer_mut().1, nothing))
    }

    fn post(&mut self, now: Instant, message: &Message) {
        let order = self.course.order(message);
        let number = self.course.offered(now, message);
        match post(&mut self.world, message.from, &order) {
            Ok(id) => self.course.accepted(now, number, id),
            Err(why) => self.course.refused(now, number, why.name()),
        }
        // A post runs its station, which may have something to report at once.
        self.hear(now);
    }

    /// Records what has reached applications and what was reported to senders.
    fn hear(&mut self, now: Instant) {
        let (arrivals, completions) = self.world.observer_mut().1.take();
        for (at, arrival) in arrivals {
            self.course.arrived(now, at, &arrival);
        }
        for (at, completion) in completions {
            self.course.reported(now, at, completion.id, completion.outcome);
        }
        self.course.check(now);
    }
}

/// Gives a node of a field something to send; its number there.
///
/// # Errors
/// [`Refused`], and nothing is sent.
pub fn post<S: StackNode>(world: &mut Field<S>, from: u32, order: &Order) -> Result<u32, Refused> {
    let id = StationId(from);
    let up = world.air().is_powered(id);
    let posted = world.poke(id, |node, now, _| if up { node.post(now, order) } else { Err(Refused::Down) });
    let target = match order.to {
        Target::Node(to) => Some(to),
        Target::Everyone => None,
    };
    let now = world.now();
    world.observer_mut().1.posted(now, from, target);
    posted.unwrap_or(Err(Refused::Down))
}

/// The results of a run so far.
#[must_use]
pub fn result<S: StackNode>(world: &Field<S>, course: &Course, seed: u64) -> RunResult {
    let scenario = course.scenario();
    let now = world.now();
    let watch = &world.observer().1;
    let places = scenario.places(seed);
    let nodes = (0..).zip(&places).map(|(number, place)| {
        let seen = watch.node(number);
        let name = scenario.nodes.get(&number).and_then(|node| node.name.clone());
        NodeResult {
            name: name.unwrap_or_default(),
            x: place.x,
            y: place.y,
            floor: place.floor,
            sent: seen.sent,
            airtime: seen.airtime_us as f64 / now.as_micros().max(1) as f64,
            heard: seen.heard,
        }
    });
    // Attackers have the numbers behind the nodes, and are in no report.
    let count = places.len() as u32;
    let links = watch.links().filter(|((from, to), _)| *from < count && *to < count);
    let links = links.map(|((from, to), heard)| LinkResult {
        from,
        to,
        rssi: world.air().strength(StationId(from), StationId(to)).unwrap_or(-127.0),
        heard,
        // At most 1: a scanner that changes its channel within an event can hear that event twice.
        delivery: (heard as f64 / watch.node(from).sent.max(1) as f64).min(1.0),
        etx: None,
    });
    let mut links: Vec<LinkResult> = links.collect();
    add_etx(&mut links);
    let mut messages = course.messages(now);
    for ((from, id, to), way) in watch.ways().into_iter().flat_map(Ways::messages) {
        let message = course.number(*from, *id).and_then(|number| messages.get_mut(number));
        if let Some(message) = message.filter(|message| message.to == Some(*to)) {
            message.way.clone_from(way);
        }
    }
    let mut counters: BTreeMap<String, u64> = BTreeMap::new();
    for number in 0..world.len() as u32 {
        if let Some(node) = world.station(StationId(number)) {
            for (name, count) in node.counters() {
                *counters.entry(name.to_owned()).or_default() += count;
            }
        }
    }
    counters.retain(|_, count| *count > 0);
    RunResult {
        stack: watch.stack().name().to_owned(),
        seed,
        trace: watch.digest(),
        simulated_ms: now.as_micros() / 1_000,
        nodes: nodes.collect(),
        latency: latency(&messages),
        hop: Percentiles::of(messages.iter().flat_map(|message| ways::hops(&message.way)).collect()),
        links,
        messages,
        airtime_us: watch.airtime(),
        settled_airtime_us: watch.settled_airtime(),
        air: air_counters(world),
        counters,
        timeline: watch.timeline(),
    }
}

/// What each link takes there and back.
fn add_etx(links: &mut [LinkResult]) {
    let delivery: BTreeMap<(u32, u32), f64> =
        links.iter().map(|link| ((link.from, link.to), link.delivery)).collect();
    for link in links {
        let back = delivery.get(&(link.to, link.from));
        link.etx = back.map(|back| link.delivery * back).filter(|both| *both > 0.0).map(|both| 1.0 / both);
    }
}

/// How long messages took, by class and whether they were to everyone.
fn latency(messages: &[MessageResult]) -> Vec<LatencyResult> {
    let mut groups = Vec::new();
    for everyone in [false, true] {
        for priority in Priority::ALL {
            let of = messages
                .iter()
                .filter(|message| message.to.is_none() == everyone && message.priority == priority.name());
            let took = of.filter(|message| message.reached > 0);
            let times =
                took.filter_map(|message| Some(message.delivered_us?.saturating_sub(message.sent_us?)));
            let times = Percentiles::of(times.collect());
            if times.samples > 0 {
                groups.push(LatencyResult { priority: priority.name().to_owned(), everyone, times });
            }
        }
    }
    groups
}

/// Plays a scenario with several stacks and seeds, on so many threads, and calls `done` after each. The order of the results does not
/// depend on the threads.
pub fn play_all(
    scenario: &Scenario,
    stacks: &[StackKind],
    seeds: &[u64],
    threads: usize,
    timeline: bool,
    done: impl Fn() + Sync,
) -> Vec<RunResult> {
    let jobs: Vec<(StackKind, u64)> =
        stacks.iter().flat_map(|stack| seeds.iter().map(|seed| (*stack, *seed))).collect();
    let first = seeds.first().copied();
    crate::parallel::map(&jobs, threads, |(stack, seed)| {
        let result = if Some(*seed) == first {
            play(scenario, *stack, *seed, timeline)
        } else {
            let ways = timeline.then(Ways::default);
            play_with(scenario, *stack, *seed, Extras { ways, ..Extras::default() }).0
        };
        done();
        result
    })
}

fn air_counters<S: StackNode>(world: &Field<S>) -> BTreeMap<String, u64> {
    let AirCounters { events, airtime_us, heard, boundary, half_duplex, collision, weak, link_loss, cut } =
        world.counters();
    [
        ("events", events),
        ("airtime_us", airtime_us),
        ("heard", heard),
        ("lost_boundary", boundary),
        ("lost_half_duplex", half_duplex),
        ("lost_collision", collision),
        ("lost_weak", weak),
        ("lost_link", link_loss),
        ("lost_cut", cut),
    ]
    .map(|(name, count)| (name.to_owned(), count))
    .into()
}
