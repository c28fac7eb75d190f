//! The results of a run of a scenario, and of several runs: the JSON of `mesh-sim run --json`.
//!
//! Owns the shape of results. Reports draw them, runs fill them in.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Everything about one scenario: one [`RunResult`] for each stack and seed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Campaign {
    /// The scenario's name.
    pub scenario: String,
    /// What it is about, in the scenario's words.
    pub description: String,
    /// The scenario file as it was read.
    pub source: String,
    /// One for each stack and seed, in that order.
    pub runs: Vec<RunResult>,
}

/// One run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// The name of the stack: `mesh`, `sig`...
    pub stack: String,
    /// The seed.
    pub seed: u64,
    /// Hash over everything that happened on the air.
    pub trace: String,
    /// Simulated time of the whole run, in milliseconds.
    pub simulated_ms: u64,
    /// Where nodes stood and what they did, by number.
    pub nodes: Vec<NodeResult>,
    /// Links over which anything was heard.
    pub links: Vec<LinkResult>,
    /// Every message that the scenario wanted sent, in order.
    pub messages: Vec<MessageResult>,
    /// Time on air in microseconds, all nodes and channels together, by cause: `data`, `ack`, `receipt`, `hello`, `control`,
    /// `relay` and so on.
    pub airtime_us: BTreeMap<String, u64>,
    /// The same from the end of the scenario's `settle` on.
    #[serde(default)]
    pub settled_airtime_us: BTreeMap<String, u64>,
    /// What became of PDUs: `heard`, `lost_collision`, ...
    pub air: BTreeMap<String, u64>,
    /// The stack's counters, all nodes together.
    pub counters: BTreeMap<String, u64>,
    /// One message step by step: the first of the run that needed the most hops.
    pub timeline: Vec<TimelineStep>,
    /// How long messages took that arrived, by class, the most urgent first; behind them those to everyone.
    #[serde(default)]
    pub latency: Vec<LatencyResult>,
    /// How long each hop took of the [ways](MessageResult::way) of messages: from the sending or hearing of a frame at one node to its
    /// hearing at the next.
    #[serde(default)]
    pub hop: Percentiles,
}

/// How long messages of a class took.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatencyResult {
    /// `CRITICAL`, `HIGH`, `MEDIUM` or `LOW`.
    pub priority: String,
    /// Whether these are the ones to everyone: then it is the time to the last node that was reached.
    pub everyone: bool,
    /// Their times.
    #[serde(flatten)]
    pub times: Percentiles,
}

/// Percentiles in microseconds, by nearest rank; `None` without samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Percentiles {
    /// How many samples.
    pub samples: usize,
    /// The smallest.
    pub min_us: Option<u64>,
    /// Half of them are at most this.
    pub p50_us: Option<u64>,
    /// 90 % of them.
    pub p90_us: Option<u64>,
    /// 95 % of them.
    pub p95_us: Option<u64>,
    /// 99 % of them; of fewer than 100 samples, the largest.
    pub p99_us: Option<u64>,
    /// 99.9 % of them; of fewer than 1,000 samples, the largest.
    pub p999_us: Option<u64>,
    /// The largest.
    pub max_us: Option<u64>,
}

impl Percentiles {
    /// Of these, in any order.
    #[must_use]
    pub fn of(mut samples: Vec<u64>) -> Self {
        samples.sort_unstable();
        let at = |thousandths: usize| {
            samples.get((samples.len() * thousandths).div_ceil(1_000).saturating_sub(1)).copied()
        };
        Self {
            samples: samples.len(),
            min_us: samples.first().copied(),
            p50_us: at(500),
            p90_us: at(900),
            p95_us: at(950),
            p99_us: at(990),
            p999_us: at(999),
            max_us: samples.last().copied(),
        }
    }
}

impl RunResult {
    /// How many messages were lost without a report to their senders in time; only of stacks that report every loss.
    #[must_use]
    pub fn silent_losses(&self) -> usize {
        self.messages.iter().filter(|message| message.silent).count()
    }
}

/// One node of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeResult {
    /// Its name in the scenario; empty for most.
    pub name: String,
    /// Metres to the right.
    pub x: f64,
    /// Metres up.
    pub y: f64,
    /// The floor it is on, from 0.
    pub floor: u32,
    /// Advertising events it sent.
    pub sent: u64,
    /// Of its time, the share that it was on the air, 0 to 1.
    pub airtime: f64,
    /// Frames that reached its host.
    pub heard: u64,
}

/// One direction of a link.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LinkResult {
    /// The node that is heard.
    pub from: u32,
    /// The node that hears it.
    pub to: u32,
    /// Signal strength without fading, in dBm.
    pub rssi: f64,
    /// Frames heard over it.
    pub heard: u64,
    /// Of the sender's advertising events, the share that was heard, 0 to 1.
    pub delivery: f64,
    /// Events that it takes on average to get one across and one back: 1 over the product of both deliveries. `None`: nothing was ever
    /// heard the other way.
    #[serde(default)]
    pub etx: Option<f64>,
}

/// One message of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MessageResult {
    /// The traffic of the scenario it belongs to, from 0.
    pub traffic: u32,
    /// The node that sends it.
    pub from: u32,
    /// The node it is for; `None` for everyone.
    pub to: Option<u32>,
    /// `CRITICAL`, `HIGH`, `MEDIUM` or `LOW`.
    pub priority: String,
    /// `TASK`, `QUERY`, `RESPONSE`, `NOTIFICATION` or `PARAMETER_UPDATE`.
    pub kind: String,
    /// Bytes of its body.
    pub bytes: u32,
    /// When the scenario wanted it sent, in microseconds.
    #[serde(default)]
    pub offered_us: u64,
    /// When the stack took it, in microseconds; `None` when it was refused.
    pub sent_us: Option<u64>,
    /// Why the stack did not take it.
    pub refused: Option<String>,
    /// When it reached the receiver, in microseconds; for everyone, when it reached the last that it reached.
    pub delivered_us: Option<u64>,
    /// For everyone: how many nodes it reached; else 1 or 0.
    pub reached: u32,
    /// How many nodes it was for.
    pub wanted: u32,
    /// When its answer came back, in microseconds.
    pub answered_us: Option<u64>,
    /// Hops it came; of several the most.
    pub hops: Option<u8>,
    /// How often it reached a receiver again.
    pub duplicates: u32,
    /// Whether it was lost without a report to the sender in time; only of stacks that report every loss.
    #[serde(default)]
    pub silent: bool,
    /// What was reported to the sender: `delivered`, `unknown`, `expired`, `rejected`; `None` while nothing was.
    #[serde(rename = "fate")]
    pub outcome: Option<String>,
    /// To one node: the way of the frame that completed it, from node to node. Only where the run was told to follow frames.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub way: Vec<WayStep>,
}

/// One node on the way of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WayStep {
    /// Which node.
    pub node: u32,
    /// When it first heard the frame, in microseconds; `None` for the one that sealed it.
    pub heard_us: Option<u64>,
    /// When it first sent it, in microseconds; `None` for the last one.
    pub sent_us: Option<u64>,
}

/// One step in the life of a message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TimelineStep {
    /// When, in microseconds.
    pub at_us: u64,
    /// Which node.
    pub node: u32,
    /// `posted`, `sent`, `heard`, `delivered`.
    pub what: String,
    /// More about it: from whom, how loud.
    #[serde(rename = "note")]
    pub detail: String,
}
