//! A device of a served scenario, and what it says by itself.
//!
//! Owns the traffic that a device sends: planned messages, and loops that wait for what became of the one before. Each device has
//! its own, so that nobody beside the world has to know its time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use ble_bearer::sim::{Radio, Station};
use mesh_protocol::{Duration, Instant};

use crate::scenario::{ClosedLoop, Scenario, Who};
use crate::stack::mesh::Mesh;
use crate::stack::{Order, StackNode, Target};

/// Before a loop tries again what was refused. A guess.
const AGAIN: Duration = Duration::from_secs(1);

/// What a device has to say.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// In order of time: when, of which traffic, to whom.
    plan: VecDeque<(Instant, u32, Target)>,
    loops: Vec<Loop>,
    /// The traffic of the scenario, as orders to no one yet.
    orders: Arc<Vec<Order>>,
}

/// Messages of which each waits for the one before.
#[derive(Debug)]
struct Loop {
    messages: ClosedLoop,
    stop: Instant,
    state: LoopState,
}

#[derive(Clone, Copy, Debug)]
enum LoopState {
    /// The next one is sent then.
    Next(Instant),
    /// This one is under way, and waited for no longer than until then.
    Waits(u32, Instant),
    Ended,
}

impl Loop {
    fn due(&self) -> Option<Instant> {
        match self.state {
            LoopState::Next(at) | LoopState::Waits(_, at) => Some(at),
            LoopState::Ended => None,
        }
    }
}

/// A device.
#[derive(Debug)]
pub(super) struct Resident {
    mesh: Mesh,
    said: Said,
    posted: u64,
    arrived: u64,
}

impl Resident {
    pub(super) const fn new(mesh: Mesh, said: Said) -> Self {
        Self { mesh, said, posted: 0, arrived: 0 }
    }

    /// Messages it has sent by itself.
    pub(super) const fn posted(&self) -> u64 {
        self.posted
    }

    /// Messages that have reached it.
    pub(super) const fn arrived(&self) -> u64 {
        self.arrived
    }

    /// Frames it has thrown away.
    pub(super) fn discarded(&self) -> u64 {
        self.mesh.counters().iter().map(|(_, count)| count).sum()
    }

    fn post(&mut self, now: Instant, traffic: u32, to: Target) -> Option<(u32, Order)> {
        let order = Order { to, ..self.said.orders.get(traffic as usize)?.clone() };
        let id = self.mesh.post(now, &order).ok()?;
        self.posted += 1;
        Some((id, order))
    }

    /// Sends what is due.
    fn say(&mut self, now: Instant) {
        while let Some(&(_, traffic, to)) = self.said.plan.front().filter(|(at, ..)| *at <= now) {
            self.said.plan.pop_front();
            // What is refused is lost, as in a run.
            self.post(now, traffic, to);
        }
        for n in 0..self.said.loops.len() {
            let one = &mut self.said.loops[n];
            if let LoopState::Waits(_, until) = one.state
                && until <= now
            {
                one.state = LoopState::Next(now + one.messages.pause);
            }
            let LoopState::Next(at) = one.state else { continue };
            if at > now {
                continue;
            }
            let (stop, traffic) = (one.stop, one.messages.traffic);
            // Ended unless something goes out: a loop that is over, or has nobody left to write to, sends no more.
            one.state = LoopState::Ended;
            if at < stop
                && let Some((_, to)) = one.messages.next()
            {
                let state = match self.post(now, traffic, to) {
                    Some((id, order)) => LoopState::Waits(id, now + order.within),
                    None => LoopState::Next(now + AGAIN),
                };
                self.said.loops[n].state = state;
            }
        }
    }

    /// Collects what came of it.
    fn collect(&mut self, now: Instant) {
        let arrivals = self.mesh.arrivals();
        self.arrived += arrivals.len() as u64;
        let answered: Vec<u32> = arrivals.iter().filter_map(|arrival| arrival.answers).collect();
        let completions: Vec<u32> = self.mesh.completions().iter().map(|completion| completion.id).collect();
        self.mesh.forget_reported();
        for one in &mut self.said.loops {
            let LoopState::Waits(id, _) = one.state else { continue };
            let echo = self.said.orders.get(one.messages.traffic as usize).is_some_and(|order| order.echo);
            if (if echo { &answered } else { &completions }).contains(&id) {
                one.state = LoopState::Next(now + one.messages.pause);
            }
        }
    }
}

impl Station for Resident {
    fn receive(&mut self, now: Instant, frame: &[u8], rssi: i8) -> bool {
        self.mesh.receive(now, frame, rssi)
    }

    fn run(&mut self, now: Instant, radio: &mut Radio<'_>) -> Option<Instant> {
        self.say(now);
        let next = self.mesh.run(now, radio);
        self.collect(now);
        let plan = self.said.plan.front().map(|(at, ..)| *at);
        let loops = self.said.loops.iter().filter_map(Loop::due);
        loops.chain(plan).chain(next).min()
    }
}

/// What each device of a scenario says by itself, and how many messages and loops are left out: those from or to gateways, and loops in
/// which another one sends each time.
pub(super) fn residents(scenario: &Scenario, seed: u64) -> (BTreeMap<u32, Said>, u64) {
    let is_gateway = |number: u32| scenario.nodes.get(&number).is_some_and(|node| node.gateway);
    let concerns =
        |from: u32, to: Target| is_gateway(from) || matches!(to, Target::Node(to) if is_gateway(to));
    let orders: Vec<Order> = scenario
        .traffic
        .iter()
        .map(|traffic| Order {
            to: Target::Everyone,
            kind: traffic.kind,
            priority: traffic.priority,
            body: vec![0x55; traffic.bytes as usize],
            within: traffic.deadline,
            echo: traffic.is_echo(),
        })
        .collect();
    let orders = Arc::new(orders);
    let start = Instant::ZERO + scenario.settle;
    let mut all: BTreeMap<u32, Said> = BTreeMap::new();
    let mut left_out = 0;
    let mut of = |number: u32, add: &mut dyn FnMut(&mut Said)| {
        let said = all.entry(number).or_default();
        said.orders = Arc::clone(&orders);
        add(said);
    };
    for planned in scenario.plan(seed) {
        if concerns(planned.from, planned.to) {
            left_out += 1;
        } else {
            let one = (start + planned.at, planned.traffic, planned.to);
            of(planned.from, &mut |said| said.plan.push_back(one));
        }
    }
    for messages in scenario.loops(seed) {
        let traffic = scenario.traffic.get(messages.traffic as usize);
        let one_sender = traffic.is_some_and(|traffic| matches!(traffic.from, Who::Node(_) | Who::Everyone));
        let stays = one_sender && messages.clone().all(|(from, to)| !concerns(from, to));
        match messages.clone().next() {
            Some((from, _)) if stays => {
                let state = LoopState::Next(start + messages.start);
                let stop = start + messages.stop;
                of(from, &mut |said| said.loops.push(Loop { messages: messages.clone(), stop, state }));
            }
            Some(_) => left_out += 1,
            None => {}
        }
    }
    (all, left_out)
}
