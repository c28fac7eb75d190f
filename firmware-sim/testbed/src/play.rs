//! A scenario played with real gateways: agents say what its traffic has for gateways, devices post the rest, and what goes wrong
//! goes wrong at its time.
//!
//! Owns the script. What is taken down is `ledger`'s business. Which messages there are, and what became of each, is
//! [`firmware_sim::play::course`]'s business, as in runs without gateways; whether a promise was broken is `record`'s.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};

use firmware_sim::chaos::Schedule;
use firmware_sim::play::course::{Course, Message as Wanted};
use firmware_sim::play::{StackKind, post, result};
use firmware_sim::results::RunResult;
use firmware_sim::scenario::{FaultKind, Scenario, ScheduledFault};
use firmware_sim::stack::mesh::address;
use firmware_sim::stack::{Order, Target};
use mesh_agent::api::{Accepted, Body, Destination, Message, Name, SendRequest};
use mesh_protocol::{Duration, Instant, MessageType};

use super::agent::{Agent, codec};
use super::error::TestbedError;
use super::ledger::{Ledger, message};
use super::playable::{self, Unplayable};
use super::record::Record;
use super::report::RunReport;
use super::run::{Ran, run};
use super::testbed::{Testbed, lock};
use super::witness::{Said, Witness};
use super::world;

/// When everything is completed, this long is still listened for what comes twice. A guess: above what a repeat takes through a
/// field.
const AFTER: Duration = Duration::from_secs(10);
/// An agent's answer is wanted so long, in milliseconds: as a device's.
const ANSWER_MS: u32 = 30_000;
/// What such runs are called in tables, where others have the name of their stack.
const STACK: &str = "gateways";

/// Why a scenario could not be played to its end.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    /// Real gateways cannot play it.
    #[error(transparent)]
    Unplayable(#[from] Unplayable),
    /// Something did not run.
    #[error(transparent)]
    World(#[from] TestbedError),
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Played {
    /// What agents and devices were shown and given, by the number of their node, and what should not have been.
    pub report: RunReport,
    /// The messages of the scenario, as a run without gateways counts them.
    pub result: RunResult,
}

impl Played {
    /// Whether every promise was kept.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.report.problems.is_empty()
    }
}

/// Plays a scenario: a real gateway for each node with `gateway`, with one agent that bears its name, and a simulated device
/// for each of the others. The same seed gives the same run on every machine.
///
/// # Errors
/// [`PlayError::Unplayable`] for what a real gateway cannot be told to do; [`PlayError::World`] when one does not run.
///
/// # Panics
/// As [`super::Site::run`].
pub fn play(scenario: &Scenario, seed: u64) -> Result<Played, PlayError> {
    let gateways = playable::gateways(scenario)?;
    let world = world::scenario(scenario, &gateways, seed);
    let scenario = Arc::new(scenario.clone());
    let ran = run(world, |testbed| ScenarioRun::new(testbed, scenario, &gateways, seed).live(seed))?;
    let (record, result) = ran.result?;
    let report = record.report((ran.trace, ran.transmitted, ran.received, ran.commits), ran.ended);
    Ok(Played { report, result })
}

/// Runs a script in the world of a scenario: its devices and real gateways stand there, and what is said and what goes wrong is the
/// script's. The gateways are numbered from 0, in the order of their nodes.
///
/// # Errors
/// As [`play`].
///
/// # Panics
/// As [`super::Site::run`].
pub fn run_in<F, Fut>(scenario: &Scenario, seed: u64, script: F) -> Result<Ran<Fut::Output>, PlayError>
where
    F: FnOnce(Testbed) -> Fut,
    Fut: Future<Output: Send> + Send + 'static,
{
    let mut world = world::scenario(scenario, &playable::gateways(scenario)?, seed);
    world.listens = false;
    Ok(run(world, script)?)
}

/// A power cut of a gateway, or its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Power {
    Cut,
    Back,
}

/// A scenario being played.
struct ScenarioRun {
    testbed: Testbed,
    ledger: Arc<Mutex<Ledger>>,
    /// By the number of their node.
    agents: BTreeMap<u32, Agent>,
    /// What befalls devices.
    devices: Schedule,
    /// What befalls gateways, the next first.
    powers: Vec<(Instant, u32, Power)>,
}

impl ScenarioRun {
    fn new(testbed: Testbed, scenario: Arc<Scenario>, gateways: &[(u32, Name)], seed: u64) -> Self {
        let start = Instant::ZERO + scenario.settle;
        let is_gateway = |node: u32| gateways.iter().any(|(gateway, _)| *gateway == node);
        let (own, others): (Vec<ScheduledFault>, Vec<ScheduledFault>) = scenario
            .faults
            .iter()
            .cloned()
            .partition(|fault| matches!(fault.what, FaultKind::Crash { node, .. } if is_gateway(node)));
        let mut record = Record::default();
        for fault in &others {
            if let FaultKind::Crash { node, .. } = fault.what {
                record.forgets(node as usize);
            }
        }
        for node in (0..scenario.node_count()).filter(|node| !is_gateway(*node)) {
            record.echoes(Destination::Node(address(node)));
        }
        let powers = powers(&own, start);
        let course = Course::new(scenario, StackKind::Mesh, seed);
        let ledger = Arc::new(Mutex::new(Ledger { testbed: testbed.clone(), course, record, asked: 0 }));
        let agents = gateways.iter().enumerate().map(|(gateway, &(node, name))| {
            let witness: Arc<Mutex<dyn Witness>> = ledger.clone();
            let agent = Agent {
                number: node as usize,
                gateway,
                name,
                codec: codec(gateway),
                groups: Vec::new(),
                answer,
                testbed: testbed.clone(),
                handle: Arc::default(),
                witness,
            };
            (node, agent)
        });
        Self { agents: agents.collect(), devices: Schedule::new(&others, start), powers, testbed, ledger }
    }

    async fn live(mut self, seed: u64) -> Result<(Record, RunResult), TestbedError> {
        for agent in self.agents.values() {
            tokio::spawn(agent.clone().listen());
        }
        // All are attached before the first word, even if that comes at once.
        self.testbed.pause(Duration::from_micros(1)).await;
        let (last, end) = {
            let ledger = lock(&self.ledger);
            (ledger.course.last(), ledger.course.end())
        };
        loop {
            self.hear();
            let (due, open) = {
                let ledger = lock(&self.ledger);
                (ledger.course.next(), ledger.course.open() + ledger.asked)
            };
            let power = self.powers.first().map(|(at, ..)| *at);
            let faults = [self.devices.next(), power].into_iter().flatten().filter(|at| *at <= end);
            let next = faults.chain(due).min();
            if next.is_none() && self.testbed.now() >= last && open == 0 {
                break;
            }
            let limit = next.unwrap_or(if open == 0 { last } else { end }).min(end);
            tokio::select! {
                biased;
                () = self.testbed.shared.news.notified() => continue,
                () = self.testbed.until(limit) => {}
            }
            if next.is_none() && limit == end {
                break;
            }
            self.switch().await?;
            self.testbed.with(|world| self.devices.apply(world));
            self.send();
        }
        self.testbed.pause(AFTER).await;
        self.hear();
        let mut ledger = lock(&self.ledger);
        let mut result = self.testbed.with(|world| result(world, &ledger.course, seed));
        STACK.clone_into(&mut result.stack);
        let devices = result.messages.iter().filter(|message| !self.agents.contains_key(&message.from));
        let silent = devices.filter(|message| message.silent).count();
        if silent > 0 {
            ledger
                .record
                .problem(format!("{silent} messages of devices were lost and their senders not told"));
        }
        Ok((std::mem::take(&mut ledger.record), result))
    }

    /// Takes down what has happened at devices.
    fn hear(&self) {
        let news = self.testbed.with(|world| world.observer_mut().1.take());
        lock(&self.ledger).hear(self.testbed.now(), news);
    }

    /// Cuts the power of gateways that is to be cut by now, and gives it back where that is due.
    async fn switch(&mut self) -> Result<(), TestbedError> {
        while let Some(&(at, node, power)) = self.powers.first()
            && at <= self.testbed.now()
        {
            self.powers.remove(0);
            let Some(agent) = self.agents.get(&node) else { continue };
            match power {
                Power::Cut => self.testbed.cut(agent.gateway).await?,
                Power::Back => {
                    self.testbed.restart(agent.gateway)?;
                    lock(&self.ledger).record.back(self.testbed.now(), agent.number);
                }
            }
        }
        Ok(())
    }

    /// Sends what is due.
    fn send(&self) {
        let now = self.testbed.now();
        let due = lock(&self.ledger).course.take(now);
        for wanted in due {
            self.offer(now, &wanted);
            self.hear();
        }
    }

    fn offer(&self, now: Instant, wanted: &Wanted) {
        let mut ledger = lock(&self.ledger);
        let number = ledger.course.offered(now, wanted);
        let mut order = ledger.course.order(wanted);
        stamp(&mut order.body, number);
        if let Some(agent) = self.agents.get(&wanted.from) {
            ledger.asked += 1;
            let (agent, request) = (agent.clone(), self.request(&order));
            tokio::spawn(async move { agent.say(request, Some(number)).await });
            return;
        }
        match self.testbed.with(|world| post(world, wanted.from, &order)) {
            Ok(id) => {
                ledger.course.accepted(now, number, id);
                let to = self.destination(order.to);
                let (within, body) = (Some(order.within), Body::data(order.body));
                let said =
                    Said { by: None, to, body, priority: order.priority, within, number: Some(number) };
                let id = message(address(wanted.from), id);
                let accepted = Accepted { reference: None, id, durable: false, at_us: now.as_micros() };
                ledger.record.accepted(now, wanted.from as usize, said, &accepted);
            }
            Err(why) => ledger.course.refused(now, number, why.name()),
        }
    }

    /// What an agent says.
    fn request(&self, order: &Order) -> SendRequest {
        let body = Body::data(order.body.clone());
        // No message is wanted longer than a day; a part of a millisecond counts as one.
        let ms = u32::try_from(order.within.as_micros().div_ceil(1_000)).unwrap_or(u32::MAX);
        SendRequest {
            priority: order.priority,
            deadline_ms: Some(ms),
            durable: true,
            ..SendRequest::new(self.destination(order.to), order.sent_as(), body)
        }
    }

    /// Agents are written to by their names, devices by their addresses.
    fn destination(&self, to: Target) -> Destination {
        match to {
            Target::Everyone => Destination::Everyone,
            Target::Node(node) => match self.agents.get(&node) {
                Some(agent) => Destination::agent(agent.name),
                None => Destination::Node(address(node)),
            },
        }
    }
}

/// The moments of such crashes. Of two that overlap at one gateway, the longer one counts.
fn powers(crashes: &[ScheduledFault], start: Instant) -> Vec<(Instant, u32, Power)> {
    let mut windows: BTreeMap<u32, Vec<(Instant, Instant)>> = BTreeMap::new();
    for fault in crashes {
        if let FaultKind::Crash { node, down, .. } = fault.what {
            let at = start + fault.at;
            windows.entry(node).or_default().push((at, at + down));
        }
    }
    let mut powers = Vec::new();
    for (node, mut windows) in windows {
        windows.sort_unstable();
        let mut merged: Vec<(Instant, Instant)> = Vec::new();
        for (from, until) in windows {
            match merged.last_mut() {
                Some((_, end)) if from <= *end => *end = until.max(*end),
                _ => merged.push((from, until)),
            }
        }
        for (from, until) in merged {
            powers.extend([(from, node, Power::Cut), (until, node, Power::Back)]);
        }
    }
    powers.sort_unstable();
    powers
}

/// A body that differs from those of other messages, as far as there is room.
fn stamp(body: &mut [u8], number: usize) {
    for (byte, stamp) in body.iter_mut().zip((number as u32).to_le_bytes()) {
        *byte = stamp;
    }
}

/// An agent's answer says what the question said, as a device's does.
fn answer(message: &Message) -> SendRequest {
    SendRequest {
        priority: message.priority,
        reply_to: Some(message.id),
        deadline_ms: Some(ANSWER_MS),
        ..SendRequest::new(message.from, MessageType::Response, message.body.clone())
    }
}
