//! Answers about the gateway itself: status, peers, routes, agents.
//!
//! Owns nothing: it reads the node and the state and puts it into the agents' words.

use std::collections::BTreeMap;

use ble_bearer::AdapterState;
use mesh_agent::api::{
    AgentEntry, Agents, Airtime, Deliveries, Health, LinkState, Peer, PeerDeliveries, Peers, Route,
    RouteOrigin, Routes, Status, StatusAgents, StatusNetwork, StatusRadio, StatusStore,
};
use mesh_protocol::{Duration, GatewayNode, frame::SEQ_MAX};

use super::air_watch::{AirWatch, THERE};
use super::state::EngineState;
use crate::agents::Counters;
use crate::peering::Peering;
use crate::store::NEW_ADDRESS;

/// A replay table fuller than this is reported: at 100 % new nodes are refused.
const REPLAY_WARN_PERCENT: usize = 80;
/// The success rate from which a node counts as healthy.
const THRESHOLD: f32 = 0.8;

pub(super) fn status(
    state: &EngineState,
    node: &GatewayNode,
    doors: &Counters,
    adapter: &ble_bearer::Health,
    frames_received: u64,
    problems: Vec<String>,
    reference: Option<u64>,
) -> Status {
    let stats = node.stats();
    let store = state.journal.stats();
    let mut counters: BTreeMap<String, u64> =
        state.counters.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
    counters.extend(
        stats
            .discards()
            .filter(|(_, count)| *count > 0)
            .map(|(why, count)| (format!("discard_{}", why.name()), count)),
    );
    counters.extend(
        [
            ("frames_verified", stats.frames_verified),
            ("frames_relayed", stats.frames_relayed),
            ("frames_repeated", stats.repeats_sent),
            ("retransmissions", stats.retransmissions),
            ("blocks_received", stats.blocks_received),
            ("frames_overrun", adapter.overrun),
        ]
        .map(|(name, count)| (name.to_owned(), count)),
    );
    counters.insert("audit_dropped".to_owned(), state.audit.dropped());
    counters.insert("log_dropped".to_owned(), crate::log::dropped());
    counters.extend(doors.snapshot().map(|(name, count)| (name.to_owned(), count)));
    // As `agents` lists them.
    let local = state.agents.values().filter(|agent| !agent.is_passing());
    let connected = local.clone().filter(|agent| agent.is_connected()).count() as u64;
    Status {
        reference,
        gateway: state.config.name.clone(),
        node: state.config.address,
        adapter: state.config.adapter.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        epoch: node.epoch(),
        uptime_ms: state.now.since(state.started).as_millis(),
        network: StatusNetwork { seq_used_percent: node.next_seq() as f32 * 100.0 / (SEQ_MAX + 1) as f32 },
        agents: StatusAgents {
            connected,
            local: local.count() as u64,
            remote: state.directory.named().count() as u64,
        },
        outbox: state.outgoing.len() as u64,
        inbox: state.agents.values().map(|agent| agent.depth() as u64).sum(),
        radio: StatusRadio {
            frames_sent: stats.frames_sent,
            frames_received,
            neighbours: node.neighbours_alive(state.now) as u64,
            state: adapter.state.word().to_owned(),
            about: adapter.what.clone(),
            trouble: adapter.trouble.clone(),
            confirmed: adapter.sent,
            lost: adapter.lost,
            repairs: adapter.repairs.iter().sum(),
        },
        counters,
        store: StatusStore {
            healthy: state.journal.failure().is_none(),
            commits: store.commits,
            bytes: store.bytes_written,
        },
        health: Health { problems },
    }
}

/// What is not well, in sentences.
pub(super) fn problems(
    state: &EngineState,
    node: &GatewayNode,
    peering: &Peering,
    watch: &AirWatch,
    adapter: &ble_bearer::Health,
) -> Vec<String> {
    let mut problems = Vec::new();
    if let Some(error) = state.journal.failure() {
        problems.push(error.to_string());
    }
    if state.store_lost > 0 {
        problems.push(format!(
            "the message store had lost its last {} writes when it was opened: messages accepted or delivered then may be missing, or \
             come again; check the disk, and put no old copies of the file back",
            state.store_lost
        ));
    }
    if let Some(problem) = &state.bearer_problem {
        problems.push(problem.clone());
    } else if adapter.state != AdapterState::Up {
        let why = adapter.trouble.as_deref().unwrap_or("it is being set up");
        problems.push(format!("the radio is {}: {why}; messages are kept", adapter.state));
    } else if let Some(silent) = watch.deaf(state.now) {
        problems
            .push(format!("the radio hears nobody, for {} s now; before it did", silent.as_millis() / 1_000));
    }
    // One that came by itself and has gone is not in the list any more: it was not this gateway's to keep.
    for link in peering.links().iter().filter(|link| link.state == LinkState::Away) {
        let why = link.why.as_deref().unwrap_or("it is not connected");
        problems.push(format!(
            "the gateway {} is away, for {} s now: {why}",
            link.name,
            link.since_ms / 1_000
        ));
    }
    if problems.is_empty()
        && let Some(last) = node.neighbours().max_by_key(|neighbour| neighbour.last_heard)
        && state.now.since(last.last_heard) > THERE
    {
        let silent = state.now.since(last.last_heard).as_millis() / 1_000;
        problems.push(format!("no neighbour is heard, for {silent} s now; the last was {}", last.address));
    }
    if let Some(conflict) = node.conflict(state.now) {
        let address = state.config.address;
        let silence = match conflict.silent_until {
            Some(until) => {
                format!("nothing is sent for another {} s", until.since(state.now).as_millis() / 1_000)
            }
            None => "this one goes on".into(),
        };
        problems.push(format!(
            "another node sends under this gateway's address {address}, last {} s ago; {silence}: invite one of the two again under another \
             name; if there is no other, a member forges",
            state.now.since(conflict.heard).as_millis() / 1_000
        ));
    }
    let neighbours: Vec<_> = node.neighbours().copied().collect();
    problems.extend(watch.problems(state.now, &neighbours));
    for (agent, other) in state.connected_twice() {
        problems.push(format!(
            "an agent {agent} is connected here and at {other}; what is sent to {agent} goes to the one that its sender's gateway heard of last: rename one, or write {agent}@ADDRESS"
        ));
    }
    let (known, most) = node.replay_use();
    if known * 100 >= most * REPLAY_WARN_PERCENT {
        problems
            .push(format!("{known} of at most {most} nodes are known; the ones beyond will not be heard"));
    }
    problems.extend(used_up("sequence", node.next_seq(), SEQ_MAX));
    problems.extend(used_up("message", state.next_id, u32::MAX - 1));
    problems
}

/// How far the numbers of this address are used, if that is far. `last` is the last one there is.
fn used_up(which: &str, next: u32, last: u32) -> Option<String> {
    if next > last {
        Some(format!(
            "all {which} numbers of this address are used, 100 %: nothing more can be sent; {NEW_ADDRESS}"
        ))
    } else if next > last / 4 * 3 {
        let percent = u64::from(next) * 100 / u64::from(last);
        Some(format!(
            "{percent} % of this address's {which} numbers are used, over three quarters; at 100 % it can send nothing: {NEW_ADDRESS} before"
        ))
    } else {
        None
    }
}

pub(super) fn peers(
    state: &EngineState,
    node: &GatewayNode,
    peering: &Peering,
    reference: Option<u64>,
) -> Peers {
    let share = |delivery: u8| f32::from(delivery) / 255.0;
    let mut peers: Vec<Peer> = node
        .neighbours()
        .map(|neighbour| Peer {
            node: neighbour.address,
            rssi: neighbour.rssi,
            last_heard_ms: state.now.since(neighbour.last_heard).as_millis(),
            delivery_in: neighbour.delivery_in.map(share),
            delivery_out: neighbour.delivery_out.map(share),
            // Whoever was near once and is silent may be anywhere.
            hops: (state.now.since(neighbour.last_heard) <= THERE).then_some(1),
        })
        .collect();
    peers.sort_by_key(|peer| peer.node);
    let fingerprint = peering.fingerprint().map(|own| own.to_string());
    Peers { reference, peers, links: peering.links(), fingerprint }
}

/// How well messages get through: to whom they went, and to whom they could go without a relay.
pub(super) fn deliveries(
    state: &EngineState,
    node: &GatewayNode,
    airtime: Airtime,
    reference: Option<u64>,
) -> Deliveries {
    let share = |delivery: u8| f32::from(delivery) / 255.0;
    let mut figures = state.counts.nodes();
    for neighbour in node.neighbours() {
        figures.entry(neighbour.address).or_default();
    }
    let peers = figures.into_iter().map(|(address, figures)| {
        let near = node.neighbours().find(|neighbour| neighbour.address == address);
        let path = node.paths().find(|path| path.destination == address);
        let heard =
            near.map(|near| near.last_heard).into_iter().chain(path.map(|path| path.last_heard)).max();
        let silent = heard.map(|heard| state.now.since(heard));
        let there = silent.is_some_and(|silent| silent <= THERE);
        PeerDeliveries {
            node: address,
            figures,
            last_heard_ms: silent.map(Duration::as_millis),
            delivery_in: near.and_then(|near| near.delivery_in).map(share),
            delivery_out: near.and_then(|near| near.delivery_out).map(share),
            hops: match near {
                Some(near) if state.now.since(near.last_heard) <= THERE => Some(1),
                _ => path.map(|path| path.hops),
            },
            healthy: figures.success_rate.map_or(there, |rate| rate >= THRESHOLD),
        }
    });
    let counts = |counts: &BTreeMap<&'static str, u64>| {
        counts.iter().map(|(word, count)| ((*word).to_owned(), *count)).collect()
    };
    Deliveries {
        reference,
        threshold: THRESHOLD,
        overall: state.counts.overall(),
        peers: peers.collect(),
        by_type: counts(&state.counts.by_type),
        by_priority: counts(&state.counts.by_priority),
        by_outcome: counts(&state.counts.by_outcome),
        airtime,
    }
}

/// The ways to other nodes: those of the table, and for other nodes heard of the flood that reaches them.
pub(super) fn routes(state: &EngineState, node: &GatewayNode, reference: Option<u64>) -> Routes {
    let age = |since| state.now.since(since).as_millis();
    let path_to = |destination| node.paths().find(|path| path.destination == destination);
    let given = node.routes().map(|route| Route {
        destination: route.destination,
        next_hop: Some(route.next_hop),
        cost: route.cost.into(),
        origin: match route.origin {
            mesh_protocol::RouteOrigin::Operator => RouteOrigin::Operator,
            mesh_protocol::RouteOrigin::Learned => RouteOrigin::Learned,
        },
        round_trip_ms: path_to(route.destination).and_then(|path| path.round_trip).map(Duration::as_millis),
        age_ms: age(route.since),
    });
    let flooded =
        node.paths().filter(|path| node.routes().all(|route| route.destination != path.destination));
    let flooded = flooded.map(|path| Route {
        destination: path.destination,
        next_hop: None,
        cost: u32::from(path.hops),
        origin: RouteOrigin::Learned,
        round_trip_ms: path.round_trip.map(Duration::as_millis),
        age_ms: age(path.last_heard),
    });
    let mut routes: Vec<Route> = given.chain(flooded).collect();
    routes.sort_by_key(|route| route.destination);
    Routes { reference, routes }
}

pub(super) fn agents(state: &EngineState, reference: Option<u64>) -> Agents {
    let local = state.agents.values().filter(|agent| !agent.is_passing()).map(|agent| AgentEntry {
        name: agent.name,
        node: state.config.address,
        local: true,
        connected: Some(agent.is_connected()),
        last_heard_ms: None,
    });
    // A session that ends elsewhere is not announced: all that is known is when the agent was heard of.
    let remote = state.directory.named().map(|(name, node, heard)| AgentEntry {
        name,
        node,
        local: false,
        connected: None,
        last_heard_ms: Some(state.now.since(heard).as_millis()),
    });
    let mut agents: Vec<AgentEntry> = local.chain(remote).collect();
    agents.sort_by_key(|agent| (agent.name, agent.node));
    Agents { reference, agents }
}
