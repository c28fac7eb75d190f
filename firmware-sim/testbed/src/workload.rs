//! A workload for a site: agents on every gateway, who say everything there is to say to each other, while gateways come and
//! go.
//!
//! Owns the script: who speaks when, and which gateway goes when. How an agent lives on meanwhile is `agent`'s business; what was
//! seen goes into `record`, which judges it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use firmware_sim::scenario::Scenario;
use mesh_agent::api::{Body, Destination, Hello, Message, Name, NameError, SendRequest};
use mesh_protocol::{Duration, Instant, MessageType, Priority};
use tokio::task::JoinSet;

use super::agent::{Agent, codec};
use super::error::TestbedError;
use super::play::{PlayError, run_in};
use super::record::Record;
use super::report::RunReport;
use super::site::Site;
use super::testbed::{Testbed, lock};
use super::witness::Witness;

/// The mesh has this long to find itself before the first message.
const QUIET: Duration = Duration::from_secs(8);
/// When it is known of everything what became of it, this long is still listened for what comes twice. A guess: above
/// what a repeat takes through a field.
const AFTER: Duration = Duration::from_secs(10);
/// The group that every second agent hears.
const GROUP: &str = "second";
/// A simulated device that answers what is sent to it.
const ECHO: &str = "echo";

/// What happens in it.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Agents on each gateway.
    pub agents: usize,
    /// Messages of each agent to the others, one of another type and priority after the other.
    pub messages: usize,
    /// How many of them it says at one moment.
    pub together: usize,
    /// Between two messages of one agent, on average.
    pub gap: Duration,
    /// When a message is no longer wanted, in milliseconds.
    pub deadline_ms: u32,
    /// Bytes of one large message from the first agent to the last; 0 for none.
    pub large: usize,
    /// Whether the gateways' first agents ask a device that is called `echo`.
    pub echo: bool,
    /// Gateways that are away for a while.
    pub absences: Vec<Absence>,
}

/// A gateway that is away for a while.
#[derive(Clone, Copy, Debug)]
pub struct Absence {
    /// Which, from 0.
    pub gateway: usize,
    /// When, from the first message on.
    pub after: Duration,
    /// How long.
    pub lasts: Duration,
    /// How it goes.
    pub how: Ending,
}

/// How a gateway goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Its power is cut.
    Cut,
    /// Its power is cut while one of its agents says something, which is on no disk then.
    MidSentence,
    /// It is told to stop, says goodbye and writes what it has.
    Stop,
}

impl Default for Workload {
    /// Two agents on each gateway, two messages in a second and a half from each, and nobody is away.
    fn default() -> Self {
        Self {
            agents: 2,
            messages: 10,
            together: 2,
            gap: Duration::from_millis(750),
            deadline_ms: 60_000,
            large: 2_000,
            echo: true,
            absences: Vec::new(),
        }
    }
}

fn agent_name(agent: usize) -> Result<Name, NameError> {
    Name::new(&format!("agent-{agent}"))
}

fn to_agent(agent: usize) -> Option<Destination> {
    // Names of a few letters are names.
    agent_name(agent).ok().map(Destination::agent)
}

/// Something said: when, and what.
type Plan = Vec<(Instant, SendRequest)>;

impl Workload {
    /// Runs it in a site.
    ///
    /// # Errors
    /// As [`Site::run`].
    pub fn run(&self, site: &Site) -> Result<RunReport, TestbedError> {
        let workload = self.clone();
        let ran = site.run(|testbed| async move { workload.live(testbed).await })?;
        let record = ran.result?;
        Ok(record.report((ran.trace, ran.transmitted, ran.received, ran.commits), ran.ended))
    }

    /// Runs it among the gateways and devices of a scenario; and says what the gateways that are there at the end have counted since
    /// their last start.
    ///
    /// # Errors
    /// As [`super::play()`].
    pub fn run_in(
        &self,
        scenario: &Scenario,
        seed: u64,
    ) -> Result<(RunReport, BTreeMap<String, u64>), PlayError> {
        let workload = self.clone();
        let ran = run_in(scenario, seed, |testbed| async move {
            let record = workload.live(testbed.clone()).await?;
            Ok::<_, TestbedError>((record, counted(&testbed).await))
        })?;
        let (record, counters) = ran.result?;
        let report = record.report((ran.trace, ran.transmitted, ran.received, ran.commits), ran.ended);
        Ok((report, counters))
    }

    async fn live(self, testbed: Testbed) -> Result<Record, TestbedError> {
        let record = Shared::default();
        if let Ok(echo) = Name::new(ECHO) {
            lock(&record).echoes(Destination::agent(echo));
        }
        let start = testbed.now() + QUIET;
        let mut all = JoinSet::new();
        let mut ends = start;
        let mut agents = Vec::new();
        // The first agents of all gateways, then the second ones.
        for number in 0..testbed.gateways() * self.agents {
            let Ok(name) = agent_name(number) else { continue };
            let group = Name::new(GROUP).ok().filter(|_| number % 2 == 1);
            let witness: Arc<Mutex<dyn Witness>> = record.clone();
            let agent = Agent {
                number,
                gateway: number % testbed.gateways(),
                name,
                codec: codec(number),
                groups: group.into_iter().collect(),
                answer,
                testbed: testbed.clone(),
                handle: Arc::default(),
                witness,
            };
            tokio::spawn(agent.clone().listen());
            let plan = self.plan(&testbed, number, start);
            ends = ends.max(plan.last().map_or(start, |(at, _)| *at));
            all.spawn(speak(agent.clone(), plan));
            agents.push(agent);
        }
        for absence in self.absences.iter().copied() {
            ends = ends.max(start + absence.after + absence.lasts);
            let agent = agents.get(absence.gateway).filter(|_| absence.gateway < testbed.gateways());
            let agent = agent.cloned().ok_or(TestbedError::NoGateway(absence.gateway))?;
            all.spawn(lose_gateway(agent, start + absence.after, absence));
        }
        while let Some(joined) = all.join_next().await {
            match joined {
                Ok(result) => result?,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
        // Everything is completed within its deadline; answers to the last queries come a little later, and a message
        // whose gateway was away has its whole deadline again.
        let last = ends + Duration::from_millis(u64::from(self.deadline_ms)).times(2);
        while testbed.now() < last && !lock(&record).is_completed() {
            testbed.pause(Duration::from_secs(1)).await;
        }
        testbed.pause(AFTER).await;
        Ok(std::mem::take(&mut *lock(&record)))
    }

    /// What an agent says.
    fn plan(&self, testbed: &Testbed, agent: usize, start: Instant) -> Plan {
        let gateways = testbed.gateways();
        let agents = gateways * self.agents;
        let mut said = Vec::new();
        let combinations = MessageType::ALL.into_iter().flat_map(|kind| Priority::ALL.map(|p| (kind, p)));
        // Each agent begins elsewhere, so that together they say all there is.
        let combinations = combinations.cycle().skip(agent * self.messages).take(self.messages);
        for (n, (kind, priority)) in combinations.enumerate() {
            // Everyone speaks to everyone in turn, but not to itself.
            let other = (agent + 1 + n % (agents - 1).max(1)) % agents;
            let text = format!("{agent} to {other}: {} {priority} {n}", kind.name());
            said.push((to_agent(other), kind, priority, Body::text(text)));
        }
        if agent < gateways {
            let name = |text: &str| Name::new(text).ok();
            let text = |to: &str| Body::text(format!("{agent} to {to}"));
            let group = name(GROUP).map(Destination::Group);
            let echo = name(ECHO).map(Destination::agent).filter(|_| self.echo);
            let everyone = Some(Destination::Everyone);
            said.extend([
                (group, MessageType::Notification, Priority::Medium, text("the group")),
                (everyone, MessageType::Notification, Priority::High, text("everyone")),
                (echo, MessageType::Query, Priority::Medium, text("the echo")),
            ]);
        }
        if self.large > 0 && agent == 0 {
            let bytes: Vec<u8> = (0..self.large).map(|n| ((n * 31) >> 3) as u8).collect();
            said.push((to_agent(agents - 1), MessageType::ParameterUpdate, Priority::Low, Body::data(bytes)));
        }
        let together = self.together.max(1);
        let moments = said.into_iter().enumerate();
        let plan = moments.filter_map(|(n, (to, kind, priority, body))| {
            // All agents speak at the same moments.
            let at = start + self.gap.times((n / together * together) as u64);
            let request = SendRequest::new(to?, kind, body).with_durable(true);
            Some((at, SendRequest { priority, deadline_ms: Some(self.deadline_ms), ..request }))
        });
        plan.collect()
    }
}

type Shared = Arc<Mutex<Record>>;

/// The counters of all gateways that have power, added up.
async fn counted(testbed: &Testbed) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for gateway in 0..testbed.gateways() {
        let Ok(name) = Name::new("counter") else { continue };
        let Ok(client) = testbed.connect(gateway, Hello::new(name), codec(0)).await else { continue };
        for (name, count) in client.handle().status().await.map(|status| status.counters).unwrap_or_default()
        {
            *sums.entry(name).or_default() += count;
        }
    }
    sums
}

/// Says what the plan has for an agent. What it cannot say as its gateway is away, it does not say.
async fn speak(agent: Agent, plan: Plan) -> Result<(), TestbedError> {
    for (at, request) in plan {
        agent.testbed.until(at).await;
        agent.say(request, None).await;
    }
    Ok(())
}

/// The gateway of an agent is away for a while.
async fn lose_gateway(agent: Agent, at: Instant, absence: Absence) -> Result<(), TestbedError> {
    let Agent { gateway, number, testbed, .. } = &agent;
    testbed.until(at).await;
    match absence.how {
        Ending::Stop => testbed.stop(*gateway).await?,
        Ending::Cut => testbed.cut(*gateway).await?,
        Ending::MidSentence => {
            if let Some(to) = to_agent(number + 1) {
                let text = format!("last words of {number} at {} µs", at.as_micros());
                agent.say(SendRequest::new(to, MessageType::Task, Body::text(text)), None).await;
            }
            testbed.cut(*gateway).await?;
        }
    }
    testbed.until(at + absence.lasts).await;
    testbed.restart(*gateway)
}

fn answer(message: &Message) -> SendRequest {
    let body = Body::text(format!("answer to {}", message.id));
    SendRequest {
        priority: message.priority,
        reply_to: Some(message.id),
        ..SendRequest::new(message.from, MessageType::Response, body)
    }
}
