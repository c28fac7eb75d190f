//! Reports, and what is told of ways.

use std::collections::BTreeMap;

use mesh_protocol::Address;

use super::super::*;
use super::{id, name};

pub(super) fn peers() -> Peers {
    let node = Address::new(1);
    let peer = Peer {
        node,
        rssi: Some(-71),
        last_heard_ms: 40,
        delivery_in: Some(0.75),
        delivery_out: Some(0.5),
        hops: Some(1),
    };
    let silent =
        Peer { node, rssi: None, last_heard_ms: 40, delivery_in: None, delivery_out: None, hops: None };
    Peers {
        reference: Some(7),
        peers: vec![peer, silent],
        links: links(),
        fingerprint: Some("cd".repeat(32)),
    }
}

pub(super) fn routes() -> Routes {
    let route = Route {
        destination: Address::new(1),
        next_hop: Some(Address::new(2)),
        cost: 2,
        origin: RouteOrigin::Learned,
        round_trip_ms: Some(90),
        age_ms: 3,
        second_hop: Some(Address::new(4)),
        broken: true,
    };
    Routes {
        reference: None,
        routes: vec![
            Route {
                origin: RouteOrigin::Operator,
                next_hop: None,
                round_trip_ms: None,
                second_hop: None,
                broken: false,
                ..route.clone()
            },
            route,
        ],
    }
}

pub(super) fn timeline() -> Timeline {
    let step =
        |at_us, what| Step { at_us, what, node: None, count: 1, until_us: None, outcome: None, why: None };
    let mut steps = vec![
        step(8, StepKind::Accepted),
        Step { node: Some(Address::new(2)), count: 4, until_us: Some(50), ..step(20, StepKind::Sent) },
    ];
    let kinds = [
        StepKind::Recovered,
        StepKind::Stored,
        StepKind::Naming,
        StepKind::Queued,
        StepKind::Started,
        StepKind::Flooded,
        StepKind::FloodedAgain,
        StepKind::SentAgain,
        StepKind::Repeated,
        StepKind::Custody,
        StepKind::SecondHop,
        StepKind::Repair,
        StepKind::Undelivered,
        StepKind::SetAside,
        StepKind::Kept,
        StepKind::SaidInFull,
        StepKind::Moved,
    ];
    steps.extend(kinds.map(|kind| step(60, kind)));
    steps.push(Step {
        outcome: Some(Outcome::Expired),
        why: Some("it was late".into()),
        ..step(9_000, StepKind::Ended)
    });
    Timeline { reference: Some(7), id: id(17), steps, left_out: 3 }
}

pub(super) fn trace() -> Trace {
    let own = TraceHop {
        hop: 0,
        node: Address::new(1),
        next_hop: Some(Address::new(2)),
        link: Some(0.75),
        after_us: 0,
        keeps: true,
    };
    let end =
        TraceHop { hop: 1, node: Address::new(2), next_hop: None, link: None, after_us: 9_000, keeps: false };
    Trace { reference: Some(7), node: Address::new(2), reached: true, hops: vec![own, end] }
}

pub(super) fn agents() -> Agents {
    let bob = AgentEntry {
        name: name("bob"),
        node: Address::new(1),
        local: true,
        connected: Some(false),
        last_heard_ms: None,
    };
    let carol = AgentEntry {
        name: name("carol"),
        node: Address::new(9),
        local: false,
        connected: None,
        last_heard_ms: Some(40),
    };
    Agents { reference: Some(7), agents: vec![bob, carol] }
}

fn links() -> Vec<PeerLink> {
    let up = PeerLink {
        name: name("cellar"),
        address: "192.168.1.100:7700".into(),
        state: LinkState::Up,
        node: Some(Address::new(9)),
        why: None,
        since_ms: 12,
        last_heard_ms: Some(3),
        fingerprint: Some("ab".repeat(32)),
    };
    let away = PeerLink {
        state: LinkState::Away,
        node: None,
        why: Some("nobody answers".into()),
        last_heard_ms: None,
        fingerprint: None,
        ..up.clone()
    };
    let connecting = PeerLink { state: LinkState::Connecting, why: None, ..away.clone() };
    vec![up, away, connecting]
}

pub(super) fn health() -> Deliveries {
    let figures = Figures {
        settled: 10,
        success_rate: Some(0.5),
        average_latency_ms: Some(120.5),
        p50_latency_ms: Some(96.0),
        p99_latency_ms: Some(700.0),
    };
    let near = PeerDeliveries {
        node: Address::new(2),
        figures,
        last_heard_ms: Some(5),
        delivery_in: Some(0.75),
        delivery_out: Some(0.5),
        hops: Some(1),
        healthy: true,
    };
    let unknown = PeerDeliveries {
        node: Address::new(3),
        figures: Figures::default(),
        last_heard_ms: None,
        delivery_in: None,
        delivery_out: None,
        hops: None,
        healthy: false,
    };
    Deliveries {
        reference: Some(7),
        threshold: 0.75,
        overall: figures,
        peers: vec![near, unknown],
        by_type: BTreeMap::from([("TASK".into(), 10)]),
        by_priority: BTreeMap::from([("HIGH".into(), 10)]),
        by_outcome: BTreeMap::from([("delivered".into(), 5), ("unknown".into(), 5)]),
        airtime: Airtime { frames_sent: 12, sent_us: 4_500 },
    }
}

pub(crate) fn status(problems: Vec<String>) -> Status {
    Status {
        reference: Some(7),
        gateway: "gw".into(),
        node: Address::new(1),
        adapter: "sim".into(),
        version: "0.1.0".into(),
        epoch: 7,
        uptime_ms: 1_000,
        network: StatusNetwork { seq_used_percent: 0.5 },
        agents: StatusAgents { connected: 1, local: 2, remote: 3 },
        outbox: 4,
        inbox: 5,
        radio: StatusRadio {
            frames_sent: 6,
            frames_received: 7,
            neighbours: 8,
            state: "up".into(),
            about: "Bluetooth 5.0".into(),
            trouble: Some("it was away".into()),
            confirmed: 13,
            lost: 14,
            repairs: 15,
        },
        counters: BTreeMap::from([("replay".to_string(), 9), ("mic".to_string(), 10)]),
        store: StatusStore { healthy: true, commits: 11, bytes: 12 },
        health: Health { problems },
    }
}
