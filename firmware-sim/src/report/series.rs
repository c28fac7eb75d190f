//! What the plots show: messages by load, by hops, by priority, and arrivals over time.
//!
//! Owns the groupings, each stack by the same categories. The figures themselves are defined in `summary`; drawing is
//! for `charts`.

use std::collections::{BTreeMap, BTreeSet};

use super::summary::{Quantiles, StackSummary, by_stack, group_key, latency, share};
use super::words::shorten;
use crate::results::{Campaign, MessageResult, RunResult};

/// The most bins of the load: what fits side by side with its numbers. A guess.
const BINS: usize = 10;
/// Hop counts beyond share a category: what fits side by side. A guess.
const HOPS: u8 = 12;
/// Points of a curve over time: finer than a screen shows. A guess.
const POINTS: usize = 240;

/// Values by category, for each stack.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Table<T> {
    /// The categories, in order.
    pub(super) categories: Vec<String>,
    /// For each stack, in the order of the summary, one cell for each category.
    pub(super) cells: Vec<Vec<T>>,
}

/// Some messages and how much of them arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Delivery {
    /// Messages offered.
    pub(super) messages: u64,
    /// The sum of their shares.
    shares: f64,
}

impl Delivery {
    /// The share that arrived; `None` without messages.
    pub(super) fn share(&self) -> Option<f64> {
        (self.messages > 0).then(|| self.shares / self.messages as f64)
    }
}

/// Delivery by offered load.
///
/// The load of a message is the number of messages that the scenario offered, anywhere in the mesh, in the same second
/// of the same run, itself included.
pub(super) fn by_load(campaign: &Campaign) -> Table<Delivery> {
    let mut loads: Vec<BTreeMap<u64, Delivery>> = Vec::new();
    for (_, runs) in by_stack(campaign) {
        let mut stack: BTreeMap<u64, Delivery> = BTreeMap::new();
        for run in runs {
            let second = |message: &MessageResult| message.offered_us / 1_000_000;
            let mut offered: BTreeMap<u64, u64> = BTreeMap::new();
            for message in &run.messages {
                *offered.entry(second(message)).or_default() += 1;
            }
            for message in &run.messages {
                let load = offered.get(&second(message)).copied().unwrap_or(0);
                let cell = stack.entry(load).or_default();
                cell.messages += 1;
                cell.shares += share(message);
            }
        }
        loads.push(stack);
    }
    let mut pooled: BTreeMap<u64, u64> = BTreeMap::new();
    for (load, cell) in loads.iter().flatten() {
        *pooled.entry(*load).or_default() += cell.messages;
    }
    let bins = bins(&pooled);
    let cells = loads
        .iter()
        .map(|stack| {
            bins.iter()
                .map(|(low, high)| {
                    stack.range(low..=high).fold(Delivery::default(), |sum, (_, cell)| Delivery {
                        messages: sum.messages + cell.messages,
                        shares: sum.shares + cell.shares,
                    })
                })
                .collect()
        })
        .collect();
    let label = |(low, high): &(u64, u64)| {
        if low == high { low.to_string() } else { format!("{low}–{high}") }
    };
    Table { categories: bins.iter().map(label).collect(), cells }
}

/// Ranges of loads that hold about as many messages each; one for each load where those are few.
fn bins(pooled: &BTreeMap<u64, u64>) -> Vec<(u64, u64)> {
    if pooled.len() <= BINS {
        return pooled.keys().map(|load| (*load, *load)).collect();
    }
    let mut left: u64 = pooled.values().sum();
    let mut bins: Vec<(u64, u64)> = Vec::new();
    let mut open: Option<(u64, u64, u64)> = None; // from, to, messages
    for (load, messages) in pooled {
        let (from, _, held) = open.unwrap_or((*load, *load, 0));
        let held = held + messages;
        let wanted = left.div_ceil((BINS - bins.len()).max(1) as u64);
        if held >= wanted && bins.len() + 1 < BINS {
            bins.push((from, *load));
            left -= held;
            open = None;
        } else {
            open = Some((from, *load, held));
        }
    }
    bins.extend(open.map(|(from, to, _)| (from, to)));
    bins
}

/// Whether the plots of latency are of messages to one node; if there are none of those, of those to everyone.
pub(super) fn to_one(campaign: &Campaign) -> bool {
    let mut messages = campaign.runs.iter().flat_map(|run| &run.messages).peekable();
    messages.peek().is_none() || messages.any(|message| message.to.is_some())
}

/// Latency by the hops that messages came.
pub(super) fn by_hops(campaign: &Campaign) -> Table<Quantiles> {
    let one = to_one(campaign);
    let mut stacks: Vec<BTreeMap<Option<u8>, Vec<u64>>> = Vec::new();
    for (_, runs) in by_stack(campaign) {
        let mut hops: BTreeMap<Option<u8>, Vec<u64>> = BTreeMap::new();
        for message in runs.iter().flat_map(|run| &run.messages).filter(|m| m.to.is_some() == one) {
            if let Some(us) = latency(message) {
                hops.entry(message.hops.map(|hops| hops.min(HOPS + 1))).or_default().push(us);
            }
        }
        stacks.push(hops);
    }
    let all: BTreeSet<Option<u8>> = stacks.iter().flat_map(|hops| hops.keys().copied()).collect();
    Table {
        categories: all
            .iter()
            .map(|hops| match hops {
                None => "not known".to_owned(),
                Some(hops) if *hops > HOPS => format!("> {HOPS}"),
                Some(hops) => hops.to_string(),
            })
            .collect(),
        cells: stacks
            .iter()
            .map(|hops| all.iter().map(|n| Quantiles::of(hops.get(n).cloned().unwrap_or_default())).collect())
            .collect(),
    }
}

/// Latency by priority; those to everyone are categories of their own.
pub(super) fn by_priority(stacks: &[StackSummary]) -> Table<Quantiles> {
    let keys: BTreeSet<_> = stacks
        .iter()
        .flat_map(|stack| stack.groups.iter().map(|group| group_key(&group.priority, group.everyone)))
        .collect();
    let cell = |stack: &StackSummary, key| {
        let group = stack.groups.iter().find(|group| group_key(&group.priority, group.everyone) == key);
        group.map(|group| group.figures.latency).unwrap_or_default()
    };
    Table {
        categories: keys
            .iter()
            .map(|(everyone, _, priority)| {
                format!("{}{}", shorten(priority, 12), if *everyone { " to all" } else { "" })
            })
            .collect(),
        cells: stacks.iter().map(|stack| keys.iter().map(|key| cell(stack, *key)).collect()).collect(),
    }
}

/// How much had arrived after how long.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Arrivals {
    /// Messages offered.
    pub(super) offered: u64,
    /// Of these, messages that arrived.
    pub(super) arrived: u64,
    /// Microseconds, and the share of the offered ones that had arrived by then; in order.
    pub(super) curve: Vec<(u64, f64)>,
}

/// For each stack, how much of the offered messages had arrived after how long.
pub(super) fn arrivals(campaign: &Campaign) -> Vec<Arrivals> {
    let one = to_one(campaign);
    let stack = |runs: Vec<&RunResult>| {
        let of = || runs.iter().flat_map(|run| &run.messages).filter(|m| m.to.is_some() == one);
        let offered = of().count();
        let mut times: Vec<u64> = of().filter_map(latency).collect();
        times.sort_unstable();
        let points = times.len().min(POINTS);
        let curve = (1..=points)
            .map(|n| {
                // The last point is the last arrival, whatever the step.
                let arrived = times.len() * n / points;
                (times[arrived - 1], arrived as f64 / offered as f64)
            })
            .collect();
        Arrivals { offered: offered as u64, arrived: times.len() as u64, curve }
    };
    by_stack(campaign).into_iter().map(|(_, runs)| stack(runs)).collect()
}
