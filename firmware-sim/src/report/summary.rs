//! The statistics: what became of the messages, by stack and priority, merged over the seeds.
//!
//! Owns every definition of a figure. Percentiles come from sorting all samples, by nearest rank; none is interpolated
//! or estimated. Plots need other groupings: those are in `series`. How figures are shown is for `text` and `page`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::results::{Campaign, MessageResult, RunResult};
use crate::stack::StackKind;

/// A percentile of fewer samples than this is marked wherever it is shown. A guess: below, even a median moves a lot
/// with a single message.
pub const FEW: usize = 10;

/// What stands for a message of which nothing was reported to its sender.
const NOTHING: &str = "nothing";

/// What one stack did, all its runs together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StackSummary {
    /// `mesh`, `sig`, `flood`.
    pub stack: String,
    /// Seeds of its runs, in order.
    pub seeds: Vec<u64>,
    /// Nodes of its largest run.
    pub nodes: usize,
    /// Simulated time of all its runs, in milliseconds.
    pub simulated_ms: u64,
    /// All messages. Its latency and hops are of messages to one node, unless there are none of those.
    pub all: Figures,
    /// The same by priority, the most urgent first; behind them those to everyone.
    pub groups: Vec<Group>,
    /// Advertising events of all nodes, for whatever reason.
    pub events: u64,
    /// Advertising events for each message that arrived anywhere; an answer that came back counts as one more.
    /// `None`: nothing arrived.
    pub events_per_message: Option<f64>,
    /// Bytes of bodies that arrived: of a message to everyone once for each node it reached; answers count too.
    pub delivered_bytes: u64,
    /// Time on air of all nodes, for whatever reason, in microseconds for each of these bytes. `None`: no byte arrived.
    pub airtime_us_per_byte: Option<f64>,
    /// Time on air in microseconds, by cause.
    pub airtime_us: BTreeMap<String, u64>,
    /// What became of PDUs.
    pub air: BTreeMap<String, u64>,
    /// The stack's own counters.
    pub counters: BTreeMap<String, u64>,
}

/// Messages of one priority, to one node each or to everyone.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    /// `CRITICAL`, `HIGH`, `MEDIUM`, `LOW`.
    pub priority: String,
    /// Whether these are the ones to everyone. They are never mixed with others: the last of many nodes is later
    /// than one node.
    pub everyone: bool,
    /// What became of them.
    pub figures: Figures,
}

/// What became of some messages.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// The scenario wanted them sent.
    pub offered: u64,
    /// Of the offered, the stack did not take these.
    pub refused: u64,
    /// Why not, and how many of each.
    pub refusals: BTreeMap<String, u64>,
    /// Of the offered, the stack took these.
    pub sent: u64,
    /// Of the sent, these reached every node they were for.
    pub delivered: u64,
    /// Of the sent, these were for everyone and reached some.
    pub partly: u64,
    /// Of the sent, these reached nobody.
    pub undelivered: u64,
    /// The share of its receivers that a message reached, on average over the offered ones: a refused one reached none.
    /// `None`: nothing was offered.
    pub delivery: Option<f64>,
    /// The same over the sent ones. `None`: nothing was sent.
    pub delivery_of_sent: Option<f64>,
    /// What was reported to senders of the sent, and what was true; `nothing` where nothing was reported.
    #[serde(rename = "told")]
    pub reported: BTreeMap<String, Arrived>,
    /// How often a message reached a receiver again.
    pub duplicates: u64,
    /// From the sender's stack to the receiver's application, of those that arrived; for everyone, to the last node
    /// that was reached.
    pub latency: Quantiles,
    /// From the sender's stack until its answer came back.
    pub round_trip: Quantiles,
    /// Hops of those that arrived.
    pub hops: Hops,
}

/// Messages of which the same was reported, by what was true.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Arrived {
    /// They reached every node they were for.
    pub all: u64,
    /// They were for everyone and reached some.
    pub some: u64,
    /// They reached nobody.
    pub none: u64,
}

/// Percentiles in microseconds, by nearest rank; `None` without samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Quantiles {
    /// How many samples.
    pub samples: usize,
    /// Half of them are at most this.
    pub p50_us: Option<u64>,
    /// 99 % of them are at most this; of fewer than 100 samples, the largest.
    pub p99_us: Option<u64>,
    /// The largest.
    pub max_us: Option<u64>,
}

/// Hop counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Hops {
    /// Of how many messages.
    pub samples: usize,
    /// On average; `None` without samples.
    pub mean: Option<f64>,
    /// The most; `None` without samples.
    pub max: Option<u8>,
}

/// A campaign in figures: the JSON of `mesh-sim run --figures`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CampaignFigures {
    /// The scenario's name.
    pub scenario: String,
    /// The hash over everything that happened on the air, of each run by its stack and seed.
    pub traces: BTreeMap<String, String>,
    /// By stack, ours first.
    pub stacks: Vec<StackSummary>,
}

/// The figures of a campaign, and which runs they are of.
#[must_use]
pub fn figures(campaign: &Campaign) -> CampaignFigures {
    let trace = |run: &RunResult| (format!("{} {}", run.stack, run.seed), run.trace.clone());
    CampaignFigures {
        scenario: campaign.scenario.clone(),
        traces: campaign.runs.iter().map(trace).collect(),
        stacks: summary(campaign),
    }
}

/// By stack, ours first; of several runs of a stack all messages count the same.
#[must_use]
pub fn summary(campaign: &Campaign) -> Vec<StackSummary> {
    by_stack(campaign).into_iter().map(|(stack, runs)| StackSummary::of(stack, &runs)).collect()
}

/// A campaign's runs by stack: ours, then what it is measured against, then any others by name.
pub(super) fn by_stack(campaign: &Campaign) -> Vec<(&str, Vec<&RunResult>)> {
    let mut stacks: BTreeMap<(usize, &str), Vec<&RunResult>> = BTreeMap::new();
    for run in &campaign.runs {
        stacks
            .entry((rank(&StackKind::ALL.map(StackKind::name), &run.stack), &run.stack))
            .or_default()
            .push(run);
    }
    stacks
        .into_iter()
        .map(|((_, stack), mut runs)| {
            runs.sort_by_key(|run| run.seed);
            (stack, runs)
        })
        .collect()
}

/// The place of a name in an order; behind all for one that is not in it.
fn rank(order: &[&str], name: &str) -> usize {
    order.iter().position(|known| *known == name).unwrap_or(order.len())
}

/// What orders groups: to one node before everyone, then the more urgent first, then by name.
pub(super) fn group_key(priority: &str, everyone: bool) -> (bool, usize, &str) {
    (everyone, rank(&["CRITICAL", "HIGH", "MEDIUM", "LOW"], priority), priority)
}

/// The share of its receivers that a message reached, 0 to 1.
pub(super) fn share(message: &MessageResult) -> f64 {
    match (message.sent_us, message.to) {
        (None, _) => 0.0,
        (Some(_), Some(_)) => f64::from(u8::from(message.reached > 0)),
        (Some(_), None) if message.wanted == 0 => 1.0,
        (Some(_), None) => (f64::from(message.reached) / f64::from(message.wanted)).min(1.0),
    }
}

/// How long a message took, in microseconds; `None` if it did not arrive.
pub(super) fn latency(message: &MessageResult) -> Option<u64> {
    if message.reached == 0 {
        return None;
    }
    Some(message.delivered_us?.saturating_sub(message.sent_us?))
}

impl StackSummary {
    fn of(stack: &str, runs: &[&RunResult]) -> Self {
        let messages = || runs.iter().flat_map(|run| &run.messages);
        let mut groups: BTreeMap<_, Vec<&MessageResult>> = BTreeMap::new();
        for message in messages() {
            groups.entry(group_key(&message.priority, message.to.is_none())).or_default().push(message);
        }
        let (mut arrived, mut delivered_bytes) = (0_u64, 0_u64);
        for message in messages().filter(|message| message.sent_us.is_some()) {
            let answers = u64::from(message.answered_us.is_some());
            arrived += u64::from(message.reached > 0) + answers;
            let bytes = u64::from(message.bytes).saturating_mul(u64::from(message.reached) + answers);
            delivered_bytes = delivered_bytes.saturating_add(bytes);
        }
        let airtime_us = merged(runs, |run| &run.airtime_us);
        let events = sum(runs.iter().flat_map(|run| &run.nodes).map(|node| node.sent));
        let per = |total: u64, of: u64| (of > 0).then(|| total as f64 / of as f64);
        Self {
            stack: stack.to_owned(),
            seeds: runs.iter().map(|run| run.seed).collect(),
            nodes: runs.iter().map(|run| run.nodes.len()).max().unwrap_or(0),
            simulated_ms: sum(runs.iter().map(|run| run.simulated_ms)),
            all: Figures::of(messages()),
            groups: groups
                .into_iter()
                .map(|((everyone, _, priority), messages)| Group {
                    priority: priority.to_owned(),
                    everyone,
                    figures: Figures::of(messages.into_iter()),
                })
                .collect(),
            events,
            events_per_message: per(events, arrived),
            delivered_bytes,
            airtime_us_per_byte: per(sum(airtime_us.values().copied()), delivered_bytes),
            airtime_us,
            air: merged(runs, |run| &run.air),
            counters: merged(runs, |run| &run.counters),
        }
    }

    /// Time on air of all runs and causes together, in microseconds.
    #[must_use]
    pub fn airtime_total_us(&self) -> u64 {
        sum(self.airtime_us.values().copied())
    }
}

impl Figures {
    fn of<'a>(messages: impl Iterator<Item = &'a MessageResult> + Clone) -> Self {
        let mut figures = Self::default();
        let (mut shares, mut round_trips) = (0.0, Vec::new());
        for message in messages.clone() {
            figures.offered += 1;
            let Some(sent) = message.sent_us else {
                figures.refused += 1;
                let why = message.refused.as_deref().unwrap_or("no reason given");
                *figures.refusals.entry(why.to_owned()).or_default() += 1;
                continue;
            };
            figures.sent += 1;
            figures.duplicates += u64::from(message.duplicates);
            let share = share(message);
            shares += share;
            let reported = message.outcome.as_deref().unwrap_or(NOTHING);
            let reported = figures.reported.entry(reported.to_owned()).or_default();
            let (truth, counter) = if share >= 1.0 {
                (&mut reported.all, &mut figures.delivered)
            } else if share > 0.0 {
                (&mut reported.some, &mut figures.partly)
            } else {
                (&mut reported.none, &mut figures.undelivered)
            };
            *truth += 1;
            *counter += 1;
            round_trips.extend(message.answered_us.map(|at| at.saturating_sub(sent)));
        }
        let mean = |of: u64| (of > 0).then(|| shares / of as f64);
        figures.delivery = mean(figures.offered);
        figures.delivery_of_sent = mean(figures.sent);
        let one = messages.clone().any(|message| message.to.is_some());
        let timed = messages.filter(|message| message.to.is_some() == one && latency(message).is_some());
        figures.latency = Quantiles::of(timed.clone().filter_map(latency).collect());
        figures.round_trip = Quantiles::of(round_trips);
        figures.hops = Hops::of(timed.filter_map(|message| message.hops).collect());
        figures
    }

    /// Messages of which this outcome was reported to the sender; `nothing`: none was.
    #[must_use]
    pub fn reported(&self, outcome: &str) -> u64 {
        self.reported.get(outcome).map_or(0, Arrived::total)
    }

    /// Whether nothing was ever reported to a sender: the stack has no receipts, or nothing was sent.
    #[must_use]
    pub fn silent(&self) -> bool {
        self.reported.keys().all(|outcome| outcome == NOTHING)
    }

    /// Messages that were reported as delivered, and which reached nobody.
    #[must_use]
    pub fn falsely_delivered(&self) -> u64 {
        self.reported.get("delivered").map_or(0, |arrived| arrived.none)
    }
}

impl Arrived {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.all + self.some + self.none
    }
}

impl Quantiles {
    /// Of these, in any order.
    pub(super) fn of(mut samples: Vec<u64>) -> Self {
        samples.sort_unstable();
        // Nearest rank: the first sample that so many percent do not exceed.
        let at =
            |percent: usize| samples.get((samples.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        Self { samples: samples.len(), p50_us: at(50), p99_us: at(99), max_us: samples.last().copied() }
    }
}

impl Hops {
    fn of(samples: Vec<u8>) -> Self {
        let total: u64 = samples.iter().map(|hops| u64::from(*hops)).sum();
        Self {
            samples: samples.len(),
            mean: (!samples.is_empty()).then(|| total as f64 / samples.len() as f64),
            max: samples.iter().copied().max(),
        }
    }
}

/// Maps of several runs as one.
fn merged<'a>(
    runs: &[&'a RunResult],
    of: impl Fn(&'a RunResult) -> &'a BTreeMap<String, u64>,
) -> BTreeMap<String, u64> {
    let mut all: BTreeMap<String, u64> = BTreeMap::new();
    for (name, value) in runs.iter().flat_map(|run| of(run)) {
        let sum = all.entry(name.clone()).or_default();
        *sum = sum.saturating_add(*value);
    }
    all
}

/// A sum that stays at the largest number instead of wrapping: results may come from a file that anyone wrote.
fn sum(values: impl Iterator<Item = u64>) -> u64 {
    values.fold(0, u64::saturating_add)
}
