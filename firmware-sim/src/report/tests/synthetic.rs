//! Campaigns made of dice: as large and as bad as a test wants them, and the same for the same seed.
//!
//! Owns nothing of the mesh: the numbers only have the shape of results.

use std::collections::BTreeMap;

use mesh_protocol::Rng;

use crate::results::{Campaign, LinkResult, MessageResult, NodeResult, RunResult, TimelineStep};

/// What to make.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) stacks: &'static [&'static str],
    pub(crate) seeds: u64,
    pub(crate) nodes: u32,
    pub(crate) floors: u32,
    pub(crate) messages: u32,
}

/// Metres that a node is heard over.
const REACH: f64 = 22.0;

/// A campaign of this plan.
pub(crate) fn campaign(seed: u64, plan: Plan) -> Campaign {
    let runs = plan
        .stacks
        .iter()
        .enumerate()
        .flat_map(|(place, stack)| (1..=plan.seeds).map(move |n| (place, *stack, n)))
        .map(|(place, stack, n)| run(Rng::new(seed.wrapping_add(n)), place, stack, n, plan))
        .collect();
    Campaign {
        scenario: "office-morning".to_owned(),
        description: "An office in the morning: sensors report, people ask, and one alarm is for everyone."
            .to_owned(),
        source: "name = \"office-morning\"\nsettle = \"60 s\"\noffered = \"120 s\"\n".to_owned(),
        runs,
    }
}

fn unit(rng: &mut Rng) -> f64 {
    rng.below(1_000_000) as f64 / 1e6
}

fn distance(a: &NodeResult, b: &NodeResult) -> f64 {
    (a.x - b.x).hypot(a.y - b.y) + 12.0 * f64::from(a.floor.abs_diff(b.floor))
}

fn run(mut rng: Rng, place: usize, stack: &str, seed: u64, plan: Plan) -> RunResult {
    let floors = plan.floors.max(1);
    let side = (f64::from(plan.nodes / floors).sqrt() * 9.0).max(30.0);
    let nodes: Vec<NodeResult> = (0..plan.nodes)
        .map(|n| {
            let (x, y) = (unit(&mut rng) * side * 1.3, unit(&mut rng) * side * 0.75);
            let middle = 1.0 - ((x / side / 1.3 - 0.5).abs() + (y / side / 0.75 - 0.5).abs());
            let sent = (200.0 + 1_800.0 * middle * (1.0 + unit(&mut rng))) as u64 * [1, 3, 5][place % 3];
            NodeResult {
                name: match n {
                    0 => "gateway west".to_owned(),
                    1 => "gateway east".to_owned(),
                    7 => "door".to_owned(),
                    _ => String::new(),
                },
                x,
                y,
                floor: n % floors,
                sent,
                airtime: sent as f64 * 1.1e-3 / 180.0,
                heard: sent * 6,
            }
        })
        .collect();
    let mut links = Vec::new();
    for (from, a) in (0..).zip(&nodes) {
        for (to, b) in (0..).zip(&nodes) {
            let metres = distance(a, b);
            if from != to && metres < REACH {
                let delivery = (1.02 - (metres / REACH).powi(3) - 0.1 * unit(&mut rng)).clamp(0.01, 1.0);
                let heard = (a.sent as f64 * delivery) as u64;
                links.push(LinkResult { from, to, rssi: -40.0 - 2.4 * metres, heard, delivery, etx: None });
            }
        }
    }
    let mut second = 0.0;
    let messages: Vec<MessageResult> = (0..plan.messages)
        .map(|n| {
            // Slow, then ever faster.
            second += 240.0 / f64::from(plan.messages)
                * (1.6 - 1.2 * f64::from(n) / f64::from(plan.messages))
                * unit(&mut rng);
            let load = f64::from(n) / f64::from(plan.messages);
            message(&mut rng, place, load, (second * 1e6) as u64, &nodes)
        })
        .collect();
    let weight = [1, 3, 5][place % 3];
    let causes: &[&str] =
        [&["data", "ack", "hello", "control", "relay"][..], &["data", "ack", "relay"], &["data", "relay"]]
            [place % 3];
    let airtime_us: BTreeMap<String, u64> = causes
        .iter()
        .map(|cause| ((*cause).to_owned(), 1_000_000 * weight + rng.below(9_000_000 * weight)))
        .collect();
    let counters = [("heard", 40_000), ("lost_collision", 3_000), ("lost_half_duplex", 900)];
    RunResult {
        stack: stack.to_owned(),
        seed,
        trace: format!("{:016x}{:016x}", rng.next_u64(), rng.next_u64()),
        simulated_ms: 180_000 + rng.below(9_000),
        airtime_us,
        air: counters.map(|(name, most)| (name.to_owned(), rng.below(most))).into(),
        counters: BTreeMap::from([
            ("relayed".to_owned(), rng.below(90_000)),
            ("retries".to_owned(), rng.below(900)),
        ]),
        timeline: timeline(&mut rng, plan.nodes),
        nodes,
        links,
        messages,
        ..RunResult::default()
    }
}

fn message(rng: &mut Rng, place: usize, load: f64, at: u64, nodes: &[NodeResult]) -> MessageResult {
    let all = nodes.len() as u64;
    let (from, to) = (rng.below(all) as u32, rng.below(all) as u32);
    let everyone = rng.chance(30_000);
    let urgency = rng.below(4) as usize;
    let hops = (distance(&nodes[from as usize], &nodes[to as usize]) / REACH * 1.3).ceil().clamp(1.0, 20.0);
    let slow = [1.0, 2.2, 1.4][place % 3] * if place == 0 { [0.6, 0.8, 1.0, 1.6][urgency] } else { 1.0 };
    let latency =
        (hops * 14_000.0 * slow * (0.4 + 1.6 * unit(rng).powi(2)) * (1.0 + 5.0 * load * unit(rng).powi(6)))
            as u64;
    let lost = rng.chance(
        ([2_000.0, 30_000.0, 60_000.0][place % 3] + [10_000.0, 250_000.0, 400_000.0][place % 3] * load * load)
            as u32,
    );
    let refused = place < 2 && load > 0.6 && rng.chance(60_000);
    let wanted = if everyone { nodes.len() as u32 - 1 } else { 1 };
    let reached = match (refused || lost, everyone) {
        (true, true) if !refused => wanted - rng.below(u64::from(wanted) / 3 + 1) as u32,
        (true, _) => 0,
        (false, _) => wanted,
    };
    let arrived = reached > 0;
    let outcome = match place % 3 {
        _ if refused => None,
        0 if arrived && !everyone => Some("delivered"),
        0 => Some("unknown"),
        1 if !arrived => Some(if rng.chance(300_000) { "expired" } else { "unknown" }),
        1 => Some("delivered"),
        _ => None,
    };
    MessageResult {
        traffic: 0,
        from,
        to: (!everyone).then_some(to),
        priority: ["CRITICAL", "HIGH", "MEDIUM", "LOW"][urgency].to_owned(),
        kind: "NOTIFICATION".to_owned(),
        bytes: 24,
        offered_us: at,
        silent: false,
        sent_us: (!refused).then_some(at),
        refused: refused.then(|| "busy".to_owned()),
        delivered_us: arrived.then_some(at + latency),
        reached,
        wanted,
        answered_us: None,
        hops: arrived.then_some(hops as u8),
        duplicates: u32::from(rng.chance(20_000)),
        outcome: outcome.map(str::to_owned),
        ..MessageResult::default()
    }
}

fn timeline(rng: &mut Rng, nodes: u32) -> Vec<TimelineStep> {
    let mut at_us = 61_000_000;
    let mut steps = vec![TimelineStep {
        at_us,
        node: 0,
        what: "posted".to_owned(),
        detail: "24 bytes for node 1".to_owned(),
    }];
    let mut step = |at_us, node, what: &str, detail: String| {
        steps.push(TimelineStep { at_us, node, what: what.to_owned(), detail })
    };
    let mut node = 0;
    for hop in 0..7 {
        at_us += 2_000 + rng.below(9_000);
        step(at_us, node, "sent", format!("TTL {}", 12 - hop));
        let next = 2 + rng.below(u64::from(nodes.max(4)) - 2) as u32;
        for n in 0..4 {
            let other = if n == 0 { next } else { 2 + rng.below(u64::from(nodes.max(4)) - 2) as u32 };
            step(
                at_us + 1_200 + rng.below(500),
                other,
                "heard",
                format!("from {node} at -{} dBm", 60 + rng.below(30)),
            );
        }
        node = next;
    }
    step(at_us + 9_000, 1, "heard", format!("from {node} at -71 dBm"));
    step(at_us + 9_000, 1, "delivered", "7 hops".to_owned());
    step(at_us + 12_000, 1, "sent", "receipt".to_owned());
    step(at_us + 60_000, 0, "settled", "delivered".to_owned());
    steps
}
