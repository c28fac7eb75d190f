//! What the demo's programs say to each other, and what they saw.
//!
//! Owns the agents: real ones, over real TCP. They speak at fixed simulated times, during which the simulated clock
//! stands still, so that a busy machine changes nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use ble_bearer::Clock;
use ble_bearer::sim::{Hold, SimClock, StationId};
use firmware_sim::{Delivered, Device};
use gateway::Gateway;
use indicatif::ProgressBar;
use mesh_agent::api::{Body, Destination, Hello, Message, MessageRef, Name, Outcome, Receipt, SendRequest};
use mesh_agent::{Client, ClientError, Endpoint, Handle, Inbox, Pending};
use mesh_protocol::{Address, Duration, Instant, MessageType, PerClass, Priority};
use tokio::task::JoinSet;

use super::report::{DemoReport, Figures};
use crate::record::Record;
use crate::report::Arrival;
use crate::simulated::SimulatedAir;
use crate::witness::{Said, Witness};

/// The mesh has this long to find itself before the first message.
const QUIET: Duration = Duration::from_secs(8);
/// Between two messages of the rounds: light load for a field of relays. A guess, and the reader may raise it.
const GAP: Duration = Duration::from_secs(1);
/// When a message is no longer wanted.
const DEADLINE_MS: u32 = 60_000;
/// The one large message.
const LARGE: usize = 16 * 1024;
/// Single frames to the neighbour, for the latency of one hop.
const PROBES: usize = 40;

/// The agents at both ends.
#[derive(Debug)]
pub(super) struct Ends {
    clocks: Vec<SimClock>,
    agents: Vec<(Handle, Inbox)>,
    probe: Client,
}

/// Names of the agents at the western and the eastern end, and of the one that sends to the neighbour. Their places here are their
/// numbers in the record; one letter, so that a probe fits a single frame.
const NAMES: [&str; 3] = ["planner", "worker", "p"];
const PROBE: usize = 2;
/// The neighbour's number in the record.
const NEIGHBOUR: usize = 3;

impl Ends {
    pub(super) async fn attach(gateways: &[Gateway], clocks: Vec<SimClock>) -> anyhow::Result<Self> {
        let mut agents = Vec::new();
        let connect = |gateway: &Gateway, name: &str| {
            let hello = Name::new(name).map(|name| Hello { credits: 1_024, ..Hello::new(name) });
            let endpoint = gateway.tcp_address().map(Endpoint::from);
            async move {
                let endpoint = endpoint.context("finding the gateway's port")?;
                anyhow::Ok(Client::connect(&endpoint, hello?).await?)
            }
        };
        for (gateway, name) in gateways.iter().zip(NAMES) {
            agents.push(connect(gateway, name).await?.split());
        }
        let probe = connect(&gateways[0], NAMES[PROBE]).await?;
        Ok(Self { clocks, agents, probe })
    }
}

/// Everything seen.
#[derive(Debug, Default)]
struct Seen {
    sent: PerClass<u64>,
    record: Record,
    single_hop: Vec<MessageRef>,
}

type Shared = Arc<Mutex<Seen>>;

fn note<R>(seen: &Shared, what: impl FnOnce(&mut Seen) -> R) -> R {
    what(&mut seen.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Keeps to the plan of what is said when. Between two of its moments nothing else lets time go on: were the clock
/// let go before the next moment is asked for, a busy machine could oversleep it, and say all that it missed at once.
#[derive(Debug)]
struct Script {
    clock: SimClock,
    hold: Option<Hold>,
}

impl Script {
    fn new(clock: SimClock) -> Self {
        let hold = Some(clock.hold());
        Self { clock, hold }
    }

    /// Lets time go on to exactly `at`, where it stands still again.
    async fn until(&mut self, at: Instant) {
        let there = self.clock.sleep_holding(at);
        self.hold = None;
        self.hold = Some(there.await);
    }

    /// Lets time go on.
    fn end(self) -> SimClock {
        self.clock
    }
}

/// How much is said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Traffic {
    pub(super) nodes: u16,
    pub(super) rounds: u32,
    pub(super) seed: u64,
}

impl Traffic {
    pub(super) async fn run(
        self,
        air: &SimulatedAir,
        ends: Ends,
        bar: &ProgressBar,
    ) -> anyhow::Result<DemoReport> {
        let Ends { clocks, agents, probe } = ends;
        let clock = clocks.into_iter().next().context("finding the simulated clock")?;
        let seen = Shared::default();
        let mut receipts = JoinSet::new();
        let mut listeners = JoinSet::new();
        let mut handles = Vec::new();
        for (number, (handle, inbox)) in agents.into_iter().enumerate() {
            handles.push(handle.clone());
            listeners.spawn(listen((number, handle), inbox, clock.clone(), Arc::clone(&seen), bar.clone()));
        }
        let (probe, probe_inbox) = probe.split();

        let mut script = Script::new(clock);
        let mut at = script.clock.now() + QUIET;
        script.until(at).await;
        let events_before = air.with(|world| world.counters().events);

        let large: Vec<u8> = (0..LARGE as u64).map(|n| (n.wrapping_mul(self.seed | 1) >> 3) as u8).collect();
        let large = SendRequest {
            priority: Priority::Low,
            deadline_ms: Some(300_000),
            ..SendRequest::new(agent(NAMES[1])?, MessageType::ParameterUpdate, Body::data(large))
        };
        let mut plan = vec![(0, large)];
        for round in 0..self.rounds {
            for kind in MessageType::ALL {
                for priority in Priority::ALL {
                    for end in 0..2 {
                        let text = format!("{} {round}", kind.name().to_lowercase());
                        let request = SendRequest::new(agent(NAMES[1 - end])?, kind, Body::text(text))
                            .with_durable(true);
                        plan.push((end, SendRequest { priority, deadline_ms: Some(DEADLINE_MS), ..request }));
                    }
                }
            }
        }
        // Every query is answered, and the answer is a message like the others.
        let answers = plan.iter().filter(|(_, request)| request.kind == MessageType::Query).count();
        bar.set_length((plan.len() + PROBES + answers) as u64);
        let neighbour = Destination::Node(air.network().relay_address(air.field().landmarks[0] as u16));
        let every = (plan.len() / PROBES).max(1);
        let mut probes = 0;
        for (n, (end, request)) in plan.into_iter().enumerate() {
            at += GAP;
            script.until(at).await;
            say((end, &handles[end]), request, &script.clock, &seen, &mut receipts, bar).await?;
            if n % every == 0 && probes < PROBES {
                probes += 1;
                let request = SendRequest::new(neighbour, MessageType::Notification, Body::text("ping"));
                let request =
                    SendRequest { priority: Priority::High, deadline_ms: Some(DEADLINE_MS), ..request };
                let half = at + Duration::from_micros(GAP.as_micros() / 2);
                script.until(half).await;
                let id = say((PROBE, &probe), request, &script.clock, &seen, &mut receipts, bar).await?;
                note(&seen, |seen| seen.single_hop.extend(id));
            }
        }
        let clock = script.end();
        while let Some(joined) = receipts.join_next().await {
            joined.context("waiting for receipts")??;
        }
        // Answers to the last queries are under way; they are completed within their deadline.
        let completed = clock.now() + Duration::from_millis(u64::from(DEADLINE_MS) + 1_000);
        drop(clock.sleep_holding(clock.now() + Duration::from_secs(10)).await);
        while note(&seen, |seen| !seen.record.is_completed()) && clock.now() < completed {
            drop(clock.sleep_holding(clock.now() + Duration::from_secs(1)).await);
        }
        let _hold = clock.hold();
        let (events, simulated) = air.with(|world| (world.counters().events, world.now()));
        let relay = air.field().landmarks[0] as u32;
        let deliveries = air.with(|world| device_deliveries(world, relay));
        drop((probe_inbox, listeners));
        let (figures, problems) = note(&seen, |seen| judged(seen, &deliveries, simulated));
        let span = simulated.since(Instant::ZERO).as_millis();
        Ok(DemoReport::new((self.nodes, self.seed), figures, problems, (events - events_before, span)))
    }
}

fn agent(name: &str) -> anyhow::Result<Destination> {
    Ok(Destination::agent(Name::new(name)?))
}

/// Sends now, and waits for its receipt beside.
async fn say(
    from: (usize, &Handle),
    request: SendRequest,
    clock: &SimClock,
    seen: &Shared,
    receipts: &mut JoinSet<anyhow::Result<()>>,
    bar: &ProgressBar,
) -> anyhow::Result<Option<MessageRef>> {
    let Some((id, pending)) = send(from, request, seen).await? else { return Ok(None) };
    let (seen, bar) = (Arc::clone(seen), bar.clone());
    bar.set_message(format!("{:.1} s simulated", clock.now().as_micros() as f64 / 1e6));
    let number = from.0;
    receipts.spawn(async move {
        let receipt = pending.receipt().await?;
        note(&seen, |seen| seen.receipt(number, receipt));
        bar.inc(1);
        Ok(())
    });
    Ok(Some(id))
}

/// Sends and waits until the gateway has accepted it; `None` if it has refused.
async fn send(
    (number, handle): (usize, &Handle),
    request: SendRequest,
    seen: &Shared,
) -> anyhow::Result<Option<(MessageRef, Pending)>> {
    let said = Said {
        by: Some((Name::new(NAMES[number])?, request.kind)),
        to: request.to,
        body: request.body.clone(),
        priority: request.priority,
        within: None,
        number: None,
    };
    note(seen, |seen| seen.sent[said.priority] += 1);
    let mut pending = handle.send(request).await?;
    let accepted = match pending.accepted().await {
        Err(ClientError::Refused(_)) => return Ok(None),
        other => other?,
    };
    note(seen, |seen| seen.record.accepted(Instant::from_micros(accepted.at_us), number, said, &accepted));
    Ok(Some((accepted.id, pending)))
}

/// Takes what comes, and answers queries.
async fn listen(
    (number, handle): (usize, Handle),
    mut inbox: Inbox,
    clock: SimClock,
    seen: Shared,
    bar: ProgressBar,
) -> anyhow::Result<()> {
    loop {
        let message = inbox.next_message().await?;
        // Answering takes no simulated time.
        let hold = clock.hold();
        if message.kind == MessageType::Query {
            answer((number, &handle), &message, &seen, &bar).await?;
        }
        note(&seen, |seen| seen.record.arrived(Instant::from_micros(message.at_us), number, message));
        drop(hold);
    }
}

async fn answer(
    from: (usize, &Handle),
    query: &Message,
    seen: &Shared,
    bar: &ProgressBar,
) -> anyhow::Result<()> {
    let text = format!("answer to {}", query.id);
    let request = SendRequest {
        priority: query.priority,
        reply_to: Some(query.id),
        deadline_ms: Some(DEADLINE_MS),
        ..SendRequest::new(query.from, MessageType::Response, Body::text(text))
    };
    let Some((_, pending)) = send(from, request, seen).await? else { return Ok(()) };
    let (number, seen, bar) = (from.0, Arc::clone(seen), bar.clone());
    tokio::spawn(async move {
        if let Ok(receipt) = pending.receipt().await {
            note(&seen, |seen| seen.receipt(number, receipt));
            bar.inc(1);
        }
    });
    Ok(())
}

/// What a relay has taken.
fn device_deliveries(world: &mut ble_bearer::sim::World<Device>, relay: u32) -> Vec<Delivered> {
    // The two gateways have the first stations.
    world.station(StationId(2 + relay)).map(|device| device.delivered().to_vec()).unwrap_or_default()
}

impl Seen {
    fn receipt(&mut self, number: usize, receipt: Receipt) {
        self.record.receipt(Instant::from_micros(receipt.at_us), number, receipt);
    }
}

/// The figures of all that was seen, and what should not have been.
fn judged(seen: &mut Seen, device: &[Delivered], ended: Instant) -> (Figures, Vec<String>) {
    let mut record = std::mem::take(&mut seen.record);
    for delivered in device {
        record.arrived(delivered.at, NEIGHBOUR, as_message(delivered));
    }
    let mut arrived: BTreeMap<MessageRef, Vec<(u64, &Body)>> = BTreeMap::new();
    for Arrival { message, .. } in &record.arrivals {
        arrived.entry(message.id).or_default().push((message.at_us, &message.body));
    }
    let receipts: BTreeMap<MessageRef, &Receipt> =
        record.receipts.iter().map(|seen| (seen.receipt.id, &seen.receipt)).collect();
    let mut figures = Figures::new(seen.sent);
    for (id, taken) in &record.accepted {
        let (accepted_us, said) = (taken.at.as_micros(), &taken.said);
        let arrived = arrived.get(id).map(Vec::as_slice).unwrap_or_default();
        figures.message(said.priority, accepted_us, &said.body, receipts.get(id).copied(), arrived);
        if seen.single_hop.contains(id)
            && let Some((at, _)) = arrived.first()
        {
            figures.single_hop_us.push(at - accepted_us);
        }
    }
    // Everyone here is there and has room.
    let rejected = receipts.values().filter(|receipt| receipt.outcome == Outcome::Rejected).map(|receipt| {
        let why = receipt.why.as_deref().unwrap_or("no reason given");
        format!("message {} was accepted and then rejected: {why}", receipt.id)
    });
    let rejected: Vec<String> = rejected.collect();
    rejected.into_iter().for_each(|what| record.problem(what));
    (figures, record.problems(ended))
}

/// What a relay was given, as an agent would have been.
fn as_message(delivered: &Delivered) -> Message {
    Message {
        cursor: None,
        id: MessageRef { node: delivered.source, id: delivered.id },
        from: Destination::Node(delivered.source),
        to: Destination::Node(Address::NONE),
        kind: MessageType::Notification,
        priority: Priority::High,
        reply_to: None,
        hops: delivered.hops,
        at_us: delivered.at.as_micros(),
        body: Body::from_parts(delivered.body.clone().into(), true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulated::{Seat, Simulation};

    /// On a busy machine a run of the demo once came to its first moment 80 simulated seconds late, and said 80
    /// messages in one burst.
    #[expect(clippy::disallowed_methods, reason = "the machine is to be busy, on the wall")]
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_script_that_is_kept_from_running_comes_late_to_nothing() {
        let simulation =
            Simulation { nodes: 1, seed: 1, speed: None, loss_percent: 0.0, key: [1; 16], island: 1, run: 0 };
        let (air, [Seat { mut bearer, clock, .. }]) = SimulatedAir::start(&simulation);
        let gateway =
            tokio::spawn(async move { while ble_bearer::Bearer::next_event(&mut bearer).await.is_ok() {} });
        let mut script = Script::new(clock);
        let mut at = script.clock.now();
        for _ in 0..5 {
            at += Duration::from_secs(1);
            script.until(at).await;
            assert_eq!(script.clock.now(), at);
            std::thread::sleep(std::time::Duration::from_millis(5));
            assert_eq!(script.clock.now(), at, "nothing lets time go on between two moments");
        }
        drop((script, air));
        gateway.abort();
    }
}
