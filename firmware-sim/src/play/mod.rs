//! Playing a scenario: its nodes on the air, its messages sent, what became of them written down.
//!
//! Owns the course of a run. What is observed on the way is `watch`'s business, which messages are due `due`'s, what is made of it all
//! the reports'.

mod due;
pub(crate) mod field;
mod watch;

use std::collections::BTreeMap;

use ble_bearer::sim::{AirCounters, AirSettings, Position, RadioSpec, StationId, Step, Wlan, World};
use mesh_protocol::{Instant, NetKey, Rng};

use self::due::{Due, Message};
use self::field::{position, spec, topology};
use self::watch::{Extras, Follow, Sniffer, Watch};
use crate::chaos::{Both, Faulty, Place, Rules, Schedule, attackers};
use crate::record::Mark;
use crate::results::{LinkResult, MessageResult, NodeResult, RunResult};
use crate::scenario::{Fault, FaultKind, Scenario};
use crate::stack::flood::Flood;
use crate::stack::mesh::Mesh;
use crate::stack::sig::Sig;
use crate::stack::{Fate, Order, Refused, Stack, Target};
use crate::{Network, Options};

/// A network stack that can play a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StackKind {
    /// Ours.
    Mesh,
    /// The SIG baseline.
    Sig,
    /// Plain flooding.
    Flood,
}

impl StackKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Mesh, Self::Sig, Self::Flood];

    /// Its name on the command line and in results.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mesh => "mesh",
            Self::Sig => "sig",
            Self::Flood => "flood",
        }
    }

    /// What its frame is for the sender: `data`, `ack`, `relay`...
    fn cause(self, keys: &watch::Keys, sender: u32, frame: &[u8]) -> &'static str {
        match self {
            Self::Mesh => keys.cause(sender, frame),
            Self::Sig => crate::stack::sig::cause(frame, sender),
            Self::Flood => crate::stack::flood::cause(frame, sender),
        }
    }
}

/// Plays a scenario with a stack; the same seed gives the same result on every machine. With `timeline`, one message is
/// followed, for which the scenario is played a second time.
#[must_use]
pub fn play(scenario: &Scenario, stack: StackKind, seed: u64, timeline: bool) -> RunResult {
    let (mut result, _) = play_with(scenario, stack, seed, Extras::default());
    if timeline && let Some(follow) = Follow::most_hops(&result) {
        let extras = Extras { follow: Some(follow), ..Extras::default() };
        result.timeline = play_with(scenario, stack, seed, extras).0.timeline;
    }
    result
}

/// Plays a scenario and returns its trace hash, its number of events, and marks on the way.
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
    let network = Network::random(seed);
    let options = |number: u32| scenario.nodes.get(&number).cloned().unwrap_or_default();
    let seeds = Rng::stream(seed, "nodes");
    let dice = |number: u32| seeds.clone().fork(u64::from(number)).next_u64();
    match stack {
        StackKind::Mesh => {
            let key = NetKey::new(network.key());
            Run::new(scenario, stack, seed, extras, |number| {
                let node = options(number);
                let options = Options {
                    ttl: scenario.stacks.mesh_ttl,
                    relay: node.relay.unwrap_or(true),
                    gateway: node.gateway,
                    // As the real ones: what a gateway has accepted survives a power cut.
                    durable: node.gateway,
                    drift_ppb: (node.drift_ppm * 1_000.0).round() as i64,
                    ..Options::default()
                };
                Mesh::new(number, options, dice(number), &key)
            })
            .finish()
        }
        StackKind::Sig => Run::new(scenario, stack, seed, extras, |number| {
            let relay = options(number).relay.unwrap_or(true);
            Sig::new(scenario.stacks.sig.clone(), relay, number, dice(number))
        })
        .finish(),
        StackKind::Flood => {
            let frame = spec(&scenario.radio, stack, 0).mtu();
            Run::new(scenario, stack, seed, extras, |number| {
                let relay = options(number).relay.unwrap_or(true);
                Flood::new(scenario.stacks.flood_ttl, frame, relay, number, dice(number))
            })
            .finish()
        }
    }
}

/// The world of a scenario: nodes and those who mean harm, what goes wrong, and the watch.
type Field<S> = World<Place<S>, Both<Rules, Watch>>;

/// A scenario being played.
struct Run<'s, S: Stack + Faulty> {
    scenario: &'s Scenario,
    stack: StackKind,
    seed: u64,
    world: Field<S>,
    schedule: Schedule,
    due: Due,
    messages: Vec<MessageResult>,
    /// Whose they are: sender and its number for it.
    known: BTreeMap<(u32, u32), usize>,
    nodes: u32,
    /// Messages whose end the run waits for.
    open: usize,
}

impl<'s, S: Stack + Faulty> Run<'s, S> {
    fn new(
        scenario: &'s Scenario,
        stack: StackKind,
        seed: u64,
        extras: Extras,
        node: impl Fn(u32) -> S,
    ) -> Self {
        let wlan = scenario.wlan.as_ref().map(|wlan| Wlan {
            duty_ppm: (wlan.duty * 1e6).round() as u32,
            burst: wlan.burst,
            dbm: wlan.dbm,
        });
        let settings = AirSettings { capture_db: scenario.radio.capture_db, wlan };
        let watch = Watch::new(stack, &Network::random(seed), spec(&scenario.radio, stack, 0), extras);
        let places = scenario.places(seed);
        let (nodes, faults) = (places.len() as u32, &scenario.faults);
        let start = Instant::ZERO + scenario.settle;
        let rules = Rules::new(faults, nodes, start, seed);
        let mut world = Field::with_observer(seed, topology(scenario, nodes), settings, Both(rules, watch));
        let relay_sets = scenario.stacks.sig.relay_sets;
        for (number, place) in (0..).zip(&places) {
            let own = scenario.nodes.get(&number).and_then(|node| node.tx_dbm);
            let mut spec = spec(&scenario.radio, stack, relay_sets);
            spec.tx_dbm = own.unwrap_or(spec.tx_dbm);
            world.add_with(position(place), spec, Place::Node(node(number)));
        }
        let network = Network::random(seed);
        let key = NetKey::new(network.key());
        for (near, attacker) in attackers(faults, nodes, start, &key, network.epoch(), seed) {
            let place = places.get(near as usize).map_or(Position::default(), position);
            let spec = spec(&scenario.radio, StackKind::Mesh, 0);
            world.add_with(place, spec, Place::Attacker(Box::new(attacker)));
        }
        Self {
            scenario,
            stack,
            seed,
            due: Due::new(scenario, seed),
            schedule: Schedule::new(faults, start),
            world,
            messages: Vec::new(),
            known: BTreeMap::new(),
            nodes,
            open: 0,
        }
    }

    fn finish(mut self) -> (RunResult, Watch) {
        let start = Instant::ZERO + self.scenario.settle;
        let last = start + self.scenario.offered;
        let end = last + self.scenario.drain;
        loop {
            let next = self.due.next().filter(|next| *next <= last);
            let next = [next, self.schedule.next().filter(|at| *at <= end)].into_iter().flatten().min();
            if next.is_none() && self.world.now() >= last && self.open == 0 {
                break;
            }
            let limit = next.unwrap_or(if self.open == 0 { last } else { end }).min(end);
            match self.world.step_until(limit) {
                Step::Done(now) => self.hear(now),
                // A world without seats never stands still.
                Step::Quiet(_) | Step::Still(_) => {
                    self.world.advance(limit);
                    if next.is_none() && limit == end {
                        break;
                    }
                    self.schedule.apply(&mut self.world);
                    self.send(limit);
                }
            }
        }
        self.result()
    }

    /// Sends what is due.
    fn send(&mut self, now: Instant) {
        for message in self.due.take(now) {
            self.post(now, &message);
        }
    }

    fn post(&mut self, now: Instant, message: &Message) {
        let Message { traffic, from, to, looped } = *message;
        let settings = &self.scenario.traffic[traffic as usize];
        let echo = settings.is_echo();
        let order = Order {
            to,
            kind: settings.kind,
            priority: settings.priority,
            body: vec![0x55; settings.bytes as usize],
            within: settings.deadline,
            echo,
        };
        let up = self.world.air().is_powered(StationId(from));
        let posted =
            self.world.poke(
                StationId(from),
                |node, now, _| if up { node.post(now, &order) } else { Err(Refused::Down) },
            );
        let posted = posted.unwrap_or(Err(Refused::Down));
        let target = match to {
            Target::Node(to) => Some(to),
            Target::Everyone => None,
        };
        self.world.observer_mut().1.posted(now, from, target);
        let number = self.messages.len();
        let nodes = self.nodes;
        self.messages.push(MessageResult {
            traffic,
            from,
            to: target,
            offered_us: now.as_micros(),
            priority: settings.priority.name().to_owned(),
            kind: settings.kind.name().to_owned(),
            bytes: settings.bytes,
            sent_us: posted.is_ok().then(|| now.as_micros()),
            refused: posted.err().map(|why| why.name().to_owned()),
            wanted: if to == Target::Everyone { nodes - 1 } else { 1 },
            ..MessageResult::default()
        });
        match posted {
            Ok(id) => {
                self.known.insert((from, id), number);
                self.open += 1;
                if let Some(looped) = looped {
                    self.due.posted(looped, number, now + settings.deadline);
                }
            }
            Err(_) => {
                if let Some(looped) = looped {
                    self.due.ended(looped, now);
                }
            }
        }
        self.hear(now);
    }

    /// Takes down what has reached applications and what senders were told.
    fn hear(&mut self, now: Instant) {
        let (arrivals, settled) = self.world.observer_mut().1.take();
        for (at, arrival) in arrivals {
            if let Some(asked) = arrival.answers {
                let Some(&number) = self.known.get(&(at, asked)) else { continue };
                let message = &mut self.messages[number];
                if message.answered_us.is_none() {
                    message.answered_us = Some(arrival.at.as_micros());
                    self.settle_if_done(number, now);
                }
                continue;
            }
            let Some(&number) = self.known.get(&(arrival.from, arrival.id)) else { continue };
            let first = self.world.observer_mut().1.first_arrival(number, at);
            let message = &mut self.messages[number];
            if first {
                message.reached += 1;
                message.delivered_us = Some(arrival.at.as_micros());
                message.hops = message.hops.max(Some(arrival.hops));
                self.settle_if_done(number, now);
            } else {
                message.duplicates += 1;
            }
        }
        for (at, settled) in settled {
            let Some(&number) = self.known.get(&(at, settled.id)) else { continue };
            let message = &mut self.messages[number];
            if message.fate.is_none() {
                message.fate = Some(settled.fate.name().to_owned());
                self.settle_if_done(number, now);
            }
        }
        self.due.check(now);
    }

    /// Closes a message of which nothing more is expected.
    fn settle_if_done(&mut self, number: usize, now: Instant) {
        let message = &self.messages[number];
        let settings = &self.scenario.traffic[message.traffic as usize];
        let told = message.fate.is_some() || !self.stack.tells(settings.bytes, message.to.is_some());
        let failed = message
            .fate
            .as_deref()
            .is_some_and(|fate| fate != Fate::Delivered.name() && fate != Fate::Sent.name());
        let reached = message.reached == message.wanted;
        let answered = !settings.is_echo() || message.answered_us.is_some();
        let done = (reached && told && answered) || (failed && message.to.is_some());
        if done && self.world.observer_mut().1.close(number) {
            self.open -= 1;
        }
        // A loop goes on once its message has come back, or its end is known. Of one to everyone no more is known than that
        // it was sent.
        let sent = message.to.is_none() && message.fate.is_some();
        let goes_on = if settings.is_echo() { message.answered_us.is_some() } else { done || sent };
        if goes_on {
            self.due.came_back(number, now);
        }
    }

    fn result(self) -> (RunResult, Watch) {
        let Self { scenario, stack, seed, mut world, mut messages, .. } = self;
        let now = world.now();
        for message in &mut messages {
            message.silent = is_silent(scenario, stack, message, now);
        }
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
        // Those who mean harm stand behind the nodes, and in no report.
        let count = places.len() as u32;
        let links = watch.links().filter(|((from, to), _)| *from < count && *to < count);
        let links = links.map(|((from, to), heard)| LinkResult {
            from,
            to,
            rssi: world.air().strength(StationId(from), StationId(to)).unwrap_or(-127.0),
            heard,
            // A scanner that changes its channel within an event can hear it twice.
            delivery: (heard as f64 / watch.node(from).sent.max(1) as f64).min(1.0),
        });
        let mut counters: BTreeMap<String, u64> = BTreeMap::new();
        for number in 0..world.len() as u32 {
            if let Some(node) = world.station(StationId(number)) {
                for (name, count) in node.counters() {
                    *counters.entry(name.to_owned()).or_default() += count;
                }
            }
        }
        counters.retain(|_, count| *count > 0);
        let result = RunResult {
            stack: stack.name().to_owned(),
            seed,
            trace: watch.digest(),
            simulated_ms: now.as_micros() / 1_000,
            nodes: nodes.collect(),
            links: links.collect(),
            messages,
            airtime_us: watch.airtime(),
            air: air_counters(&world),
            counters,
            timeline: watch.timeline(),
        };
        let nothing = Watch::new(stack, &Network::random(seed), RadioSpec::default(), Extras::default());
        (result, std::mem::replace(&mut world.observer_mut().1, nothing))
    }
}

/// Plays a scenario with several stacks and seeds, on so many threads, and tells `done` after each. The order of the results does not
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
        let result = play(scenario, *stack, *seed, timeline && Some(*seed) == first);
        done();
        result
    })
}

impl StackKind {
    /// The AD structure around its frames, behind the length: type, and for manufacturer data the company.
    const fn ad_type(self) -> &'static [u8] {
        match self {
            Self::Mesh | Self::Flood => &[0xff, 0xff, 0xff],
            Self::Sig => &[0x2a],
        }
    }

    /// From which node to which node a frame carries a part of a message; `None` for one that carries none, or for many.
    fn route(self, keys: &watch::Keys, frame: &[u8]) -> Option<(u32, u32)> {
        match self {
            Self::Mesh => keys.route(frame),
            Self::Sig => crate::stack::sig::route(frame),
            Self::Flood => crate::stack::flood::route(frame),
        }
    }

    /// Whether a sender is told what became of such a message.
    const fn tells(self, bytes: u32, to_one: bool) -> bool {
        match self {
            Self::Mesh => true,
            Self::Sig => to_one && bytes > crate::stack::sig::UNSEGMENTED,
            Self::Flood => false,
        }
    }
}

fn air_counters<S: Stack>(world: &Field<S>) -> BTreeMap<String, u64> {
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

/// Whether a message was taken and lost, and its sender not told in time. Of stacks that tell; a sender whose power was cut is told nothing.
fn is_silent(scenario: &Scenario, stack: StackKind, message: &MessageResult, now: Instant) -> bool {
    let Some(sent) = message.sent_us.filter(|_| stack == StackKind::Mesh && message.reached == 0) else {
        return false;
    };
    let over = Instant::from_micros(sent) + scenario.traffic[message.traffic as usize].deadline <= now;
    let cut = |fault: &Fault| matches!(fault.what, FaultKind::Crash { node, .. } if node == message.from);
    match message.fate.as_deref() {
        None => over && !scenario.faults.iter().any(cut),
        told => told == Some(Fate::Delivered.name()),
    }
}
