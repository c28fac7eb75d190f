//! The campaign that was worked out by hand.

use crate::results::{Campaign, LinkResult, MessageResult, NodeResult, RunResult, TimelineStep};

/// A message that the stack took and that reached nobody.
pub(super) fn sent(priority: &str, to: u32, bytes: u32, at: u64) -> MessageResult {
    MessageResult {
        to: Some(to),
        priority: priority.to_owned(),
        kind: "NOTIFICATION".to_owned(),
        bytes,
        offered_us: at,
        sent_us: Some(at),
        wanted: 1,
        ..MessageResult::default()
    }
}

/// The same, arrived so many microseconds later.
pub(super) fn arrived(message: MessageResult, after: u64, hops: u8) -> MessageResult {
    MessageResult {
        delivered_us: message.sent_us.map(|at| at + after),
        reached: message.reached.max(1),
        hops: Some(hops),
        ..message
    }
}

/// The same, with this report to its sender.
pub(super) fn reported(message: MessageResult, outcome: &str) -> MessageResult {
    MessageResult { outcome: Some(outcome.to_owned()), ..message }
}

/// Nodes in a row that sent so many events.
pub(super) fn nodes(events: &[u64]) -> Vec<NodeResult> {
    let node =
        |(n, sent): (usize, &u64)| NodeResult { x: 10.0 * n as f64, sent: *sent, ..NodeResult::default() };
    events.iter().enumerate().map(node).collect()
}

fn airtime(causes: &[(&str, u64)]) -> std::collections::BTreeMap<String, u64> {
    causes.iter().map(|(cause, us)| ((*cause).to_owned(), *us)).collect()
}

/// Two runs of ours, in which most things happen once, and one of the flood, in which one message arrives.
pub(super) fn campaign() -> Campaign {
    let to_all = MessageResult {
        to: None,
        reached: 2,
        wanted: 3,
        ..reported(sent("HIGH", 0, 5, 3_000_000), "unknown")
    };
    let refused =
        MessageResult { sent_us: None, refused: Some("busy".to_owned()), ..sent("LOW", 3, 20, 1_900_000) };
    let first = vec![
        MessageResult {
            duplicates: 1,
            ..reported(arrived(sent("CRITICAL", 1, 10, 1_000_000), 10_000, 1), "delivered")
        },
        MessageResult {
            answered_us: Some(1_260_000),
            ..reported(arrived(sent("LOW", 2, 20, 1_200_000), 30_000, 2), "unknown")
        },
        refused,
        reported(sent("LOW", 3, 20, 2_500_000), "expired"),
        arrived(to_all, 50_000, 2),
    ];
    let second = vec![
        reported(arrived(sent("CRITICAL", 3, 10, 500_000), 20_000, 3), "delivered"),
        reported(sent("LOW", 3, 20, 500_100), "delivered"),
    ];
    let run = |stack: &str, seed, messages| RunResult {
        stack: stack.to_owned(),
        seed,
        trace: format!("{stack}{seed}"),
        simulated_ms: 90_000,
        messages,
        ..RunResult::default()
    };
    let link = |from, to, delivery| LinkResult { from, to, rssi: -60.0, heard: 5, delivery, etx: None };
    Campaign {
        scenario: "by-hand".to_owned(),
        description: "What can happen to a message.".to_owned(),
        source: "name = \"by-hand\"".to_owned(),
        runs: vec![
            RunResult {
                nodes: nodes(&[7]),
                airtime_us: airtime(&[("relay", 900)]),
                ..run("flood", 1, vec![arrived(sent("CRITICAL", 1, 10, 1_000_000), 40_000, 1)])
            },
            // Not in order: they are brought into it.
            RunResult {
                nodes: nodes(&[4]),
                airtime_us: airtime(&[("data", 1_000)]),
                ..run("mesh", 2, second)
            },
            RunResult {
                nodes: nodes(&[10, 5, 0, 5]),
                links: vec![link(0, 1, 0.9), link(1, 0, 0.7), link(1, 2, 0.2), link(2, 9, 1.0)],
                airtime_us: airtime(&[("ack", 2_000), ("data", 4_000)]),
                timeline: vec![TimelineStep { what: "posted".to_owned(), ..TimelineStep::default() }],
                ..run("mesh", 1, first)
            },
        ],
    }
}
