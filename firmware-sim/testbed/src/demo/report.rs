//! The demo's figures, as a table and as JSON.
//!
//! Owns counting. Whether a promise was broken is the judge's, as in every run of simulated gateways. Every figure is of messages that agents really sent and received.

use std::fmt;

use mesh_agent::api::{Body, Outcome, Receipt};
use mesh_protocol::{PerClass, Priority};
use serde::Serialize;

/// What happened to the messages of one priority.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// Which priority.
    pub priority: Priority,
    /// Messages the agents sent.
    pub sent: u64,
    /// Messages the gateways accepted.
    pub accepted: u64,
    /// Receipts that said *delivered*.
    pub delivered: u64,
    /// Receipts that said *unknown*.
    pub unknown: u64,
    /// Receipts that said *expired*.
    pub expired: u64,
    /// Receipts that said *rejected*.
    pub rejected: u64,
    /// Messages an agent got more than once, each further time.
    pub duplicates: u64,
    /// Median from acceptance to delivery in milliseconds of simulated time.
    pub p50_ms: Option<f64>,
    /// 99th percentile of the same.
    pub p99_ms: Option<f64>,
    /// Hops on average, as the receipts say.
    pub hops: Option<f64>,
    #[serde(skip)]
    latencies_us: Vec<u64>,
    #[serde(skip)]
    hops_sum: (u64, u64),
}

impl Line {
    const fn new(priority: Priority) -> Self {
        Self {
            priority,
            sent: 0,
            accepted: 0,
            delivered: 0,
            unknown: 0,
            expired: 0,
            rejected: 0,
            duplicates: 0,
            p50_ms: None,
            p99_ms: None,
            hops: None,
            latencies_us: Vec::new(),
            hops_sum: (0, 0),
        }
    }

    fn close(&mut self) {
        self.latencies_us.sort_unstable();
        self.p50_ms = percentile_ms(&self.latencies_us, 0.5);
        self.p99_ms = percentile_ms(&self.latencies_us, 0.99);
        let (sum, count) = self.hops_sum;
        self.hops = (count > 0).then(|| round(sum as f64 / count as f64));
    }

    fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.accepted += other.accepted;
        self.delivered += other.delivered;
        self.unknown += other.unknown;
        self.expired += other.expired;
        self.rejected += other.rejected;
        self.duplicates += other.duplicates;
        self.latencies_us.extend(&other.latencies_us);
        self.hops_sum.0 += other.hops_sum.0;
        self.hops_sum.1 += other.hops_sum.1;
    }
}

/// The counting, message by message.
#[derive(Debug)]
pub(super) struct Figures {
    lines: PerClass<Line>,
    pub(super) single_hop_us: Vec<u64>,
    foreign: u64,
}

impl Figures {
    /// Nothing counted yet but what agents sent, by priority.
    pub(super) fn new(sent: PerClass<u64>) -> Self {
        Self {
            lines: PerClass::from_fn(|priority| Line { sent: sent[priority], ..Line::new(priority) }),
            single_hop_us: Vec::new(),
            foreign: 0,
        }
    }

    /// Counts a message: what was accepted, its receipt, and what arrived.
    pub(super) fn message(
        &mut self,
        priority: Priority,
        accepted_us: u64,
        body: &Body,
        receipt: Option<&Receipt>,
        arrived: &[(u64, &Body)],
    ) {
        let line = &mut self.lines[priority];
        line.accepted += 1;
        line.duplicates += arrived.len().saturating_sub(1) as u64;
        self.foreign += arrived.iter().filter(|(_, got)| *got != body).count() as u64;
        if let Some((at, _)) = arrived.first() {
            line.latencies_us.push(at.saturating_sub(accepted_us));
        }
        let Some(receipt) = receipt else { return };
        match receipt.outcome {
            Outcome::Delivered | Outcome::Processed | Outcome::Sent => {
                line.delivered += 1;
                if let Some(hops) = receipt.hops {
                    line.hops_sum = (line.hops_sum.0 + u64::from(hops), line.hops_sum.1 + 1);
                }
            }
            Outcome::Unknown => line.unknown += 1,
            Outcome::Expired => line.expired += 1,
            Outcome::Rejected => line.rejected += 1,
        }
    }
}

/// What one run showed.
#[derive(Clone, Debug, Serialize)]
pub struct DemoReport {
    /// Relays between the gateways.
    pub nodes: u16,
    /// The seed.
    pub seed: u64,
    /// By priority, the most urgent first.
    pub priorities: Vec<Line>,
    /// Advertising events of all nodes together for each delivered message, the large one among them.
    pub frames_per_message: f64,
    /// Mean time of a single frame to a neighbour, from acceptance to delivery, in milliseconds.
    pub single_hop_ms: Option<f64>,
    /// Messages whose bytes were not those that were sent.
    pub foreign: u64,
    /// Simulated time of the run in milliseconds.
    pub simulated_ms: u64,
    /// `"ok"`, or what was wrong.
    pub verdict: String,
    #[serde(skip)]
    single_hop_us: Vec<u64>,
}

impl DemoReport {
    /// `problems` is what should not have been.
    pub(super) fn new(
        (nodes, seed): (u16, u64),
        figures: Figures,
        mut problems: Vec<String>,
        (events, simulated_ms): (u64, u64),
    ) -> Self {
        let Figures { lines, single_hop_us, foreign } = figures;
        let mut lines = lines.into_values();
        lines.iter_mut().for_each(Line::close);
        let delivered: u64 = lines.iter().map(|line| line.delivered).sum();
        // What is true of no message at all shows nothing.
        if delivered == 0 {
            problems.push("not one message was delivered".into());
        }
        let verdict = if problems.is_empty() { "ok".into() } else { problems.join("; ") };
        Self {
            nodes,
            seed,
            priorities: lines.into(),
            frames_per_message: if delivered == 0 { 0.0 } else { round(events as f64 / delivered as f64) },
            single_hop_ms: mean_ms(&single_hop_us),
            foreign,
            simulated_ms,
            verdict,
            single_hop_us,
        }
    }

    /// Whether every accepted message was delivered exactly once or truthfully reported.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.verdict == "ok"
    }
}

impl fmt::Display for DemoReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        table(f, &self.priorities)?;
        writeln!(
            f,
            "{:.0} advertising events a message, all {} nodes together; {} of simulated time",
            self.frames_per_message,
            self.nodes + 2,
            seconds(self.simulated_ms)
        )?;
        single_hop(f, self.single_hop_ms)?;
        writeln!(f, "verdict: {}", self.verdict)
    }
}

/// Several runs together.
#[derive(Clone, Debug, Serialize)]
pub struct DemoSummary {
    /// Relays between the gateways.
    pub nodes: u16,
    /// The seeds.
    #[serde(rename = "seed")]
    pub seeds: Vec<u64>,
    /// All runs together, by priority.
    pub priorities: Vec<Line>,
    /// Mean over the runs.
    pub frames_per_message: f64,
    /// Mean time of a single frame to a neighbour, in milliseconds.
    pub single_hop_ms: Option<f64>,
    /// Share of the accepted messages that were delivered.
    pub delivered_share: f64,
    /// `"ok"`, or what was wrong in which run.
    pub verdict: String,
    /// Each run.
    pub runs: Vec<DemoReport>,
}

impl DemoSummary {
    /// Puts runs together.
    #[must_use]
    pub fn of(runs: Vec<DemoReport>) -> Self {
        let mut lines = Priority::ALL.map(Line::new);
        for line in &mut lines {
            for other in runs.iter().flat_map(|run| &run.priorities) {
                if other.priority == line.priority {
                    line.add(other);
                }
            }
            line.close();
        }
        let problems: Vec<String> = runs
            .iter()
            .filter(|run| !run.is_good())
            .map(|run| format!("seed {}: {}", run.seed, run.verdict))
            .collect();
        let total = |count: fn(&Line) -> u64| lines.iter().map(count).sum::<u64>() as f64;
        let hops: Vec<u64> = runs.iter().flat_map(|run| run.single_hop_us.iter().copied()).collect();
        Self {
            nodes: runs.first().map_or(0, |run| run.nodes),
            seeds: runs.iter().map(|run| run.seed).collect(),
            frames_per_message: round(
                runs.iter().map(|run| run.frames_per_message).sum::<f64>() / runs.len().max(1) as f64,
            ),
            single_hop_ms: mean_ms(&hops),
            delivered_share: total(|line| line.delivered) / total(|line| line.accepted).max(1.0),
            verdict: if problems.is_empty() { "ok".into() } else { problems.join("; ") },
            priorities: lines.into(),
            runs,
        }
    }
}

impl fmt::Display for DemoSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nAll {} runs together:", self.runs.len())?;
        table(f, &self.priorities)?;
        writeln!(
            f,
            "{:.3} % delivered; {:.0} advertising events a message",
            self.delivered_share * 100.0,
            self.frames_per_message
        )?;
        single_hop(f, self.single_hop_ms)?;
        writeln!(f, "verdict: {}", self.verdict)
    }
}

fn table(f: &mut fmt::Formatter<'_>, lines: &[Line]) -> fmt::Result {
    writeln!(
        f,
        "\n{:<9} {:>5} {:>8} {:>9} {:>7} {:>7} {:>8} {:>10} {:>9} {:>9} {:>5}",
        "priority",
        "sent",
        "accepted",
        "delivered",
        "unknown",
        "expired",
        "rejected",
        "duplicates",
        "p50 ms",
        "p99 ms",
        "hops"
    )?;
    let figure = |value: Option<f64>| value.map_or_else(|| "-".into(), |value| format!("{value:.1}"));
    for line in lines {
        writeln!(
            f,
            "{:<9} {:>5} {:>8} {:>9} {:>7} {:>7} {:>8} {:>10} {:>9} {:>9} {:>5}",
            line.priority,
            line.sent,
            line.accepted,
            line.delivered,
            line.unknown,
            line.expired,
            line.rejected,
            line.duplicates,
            figure(line.p50_ms),
            figure(line.p99_ms),
            figure(line.hops)
        )?;
    }
    Ok(())
}

fn single_hop(f: &mut fmt::Formatter<'_>, ms: Option<f64>) -> fmt::Result {
    match ms {
        Some(ms) => writeln!(f, "{ms:.1} ms on average for a single frame to a neighbour"),
        None => Ok(()),
    }
}

fn seconds(ms: u64) -> String {
    format!("{:.0} s", ms as f64 / 1e3)
}

fn percentile_ms(sorted_us: &[u64], share: f64) -> Option<f64> {
    let last = sorted_us.len().checked_sub(1)?;
    sorted_us.get((last as f64 * share).round() as usize).map(|us| round(*us as f64 / 1e3))
}

fn mean_ms(us: &[u64]) -> Option<f64> {
    (!us.is_empty()).then(|| round(us.iter().sum::<u64>() as f64 / us.len() as f64 / 1e3))
}

fn round(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_in_which_nothing_was_delivered_is_not_ok() {
        let report = DemoReport::new((50, 1), Figures::new(PerClass::all(1)), Vec::new(), (0, 0));
        assert!(!report.is_good());
        assert_eq!(report.verdict, "not one message was delivered");
    }
}
