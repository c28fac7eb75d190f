//! What a figure is, computed from one run.
//!
//! Owns every definition. Nothing is interpolated; percentiles are by nearest rank.

use serde::{Deserialize, Serialize};

use crate::results::{MessageResult, RunResult};
use crate::scenario::Scenario;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// Bits of bodies that arrived, in a second from the first message's offering to the last arrival.
    Rate,
    /// From the offering of a message to its arrival: the mean.
    Mean,
    /// Half of them take at most this.
    P50,
    /// 99 % of them take at most this; of fewer than 100, all.
    P99,
    /// Of the receivers that the offered messages were for, how many were reached.
    Share,
    /// Of the messages that the stack took, how many reached a receiver.
    ShareOfAccepted,
    /// Messages that reached nobody, whether the stack took them or not.
    Lost,
    /// Time on the air of all nodes, hellos and control among it, for each byte that arrived: from the end of `settle` on.
    Airtime,
    /// The same from power-on, so that a few messages pay for all that nodes send to find each other.
    AirtimeWhole,
    /// Time on the air of a node on average, hellos and control among it, for each message offered.
    AirPerNode,
    /// From the first fault to the next arrival.
    Next,
    /// The median time of messages of the last quarter of the offering, over the median of those before the first fault.
    Growth,
    /// The mean time for each hop that a message came.
    PerHop,
}

/// What messages of a run are looked at, and how.
pub(super) struct View<'a> {
    pub(super) run: &'a RunResult,
    pub(super) scenario: &'a Scenario,
    pub(super) traffic: &'a [u32],
    pub(super) within_s: Option<f64>,
}

impl Measure {
    /// Whether more of it is better.
    #[must_use]
    pub const fn more_is_better(self) -> bool {
        matches!(self, Self::Rate | Self::Share | Self::ShareOfAccepted)
    }

    /// The unit.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Rate => "kbit/s",
            Self::Mean | Self::P50 | Self::P99 | Self::Next | Self::PerHop | Self::AirPerNode => "ms",
            Self::Share | Self::ShareOfAccepted => "%",
            Self::Lost => "messages",
            Self::Airtime | Self::AirtimeWhole => "µs/byte",
            Self::Growth => "times",
        }
    }

    /// Its value in a run; `None` where nothing arrived that it could be computed from.
    pub(super) fn of(self, view: &View<'_>) -> Option<f64> {
        match self {
            Self::Rate => view.rate(),
            Self::Mean => mean(&view.times()),
            Self::P50 => rank(view.times(), 50),
            Self::P99 => rank(view.times(), 99),
            Self::Share => {
                let wanted: u32 = view.messages().map(|message| message.wanted).sum();
                (wanted > 0).then(|| 100.0 * f64::from(view.reached()) / f64::from(wanted))
            }
            Self::ShareOfAccepted => {
                let taken = view.messages().filter(|message| message.sent_us.is_some());
                let taken: u32 = taken.map(|message| message.wanted).sum();
                (taken > 0).then(|| 100.0 * f64::from(view.reached()) / f64::from(taken))
            }
            Self::Lost => Some(view.messages().filter(|message| view.time(message).is_none()).count() as f64),
            Self::Airtime => view.for_each_byte(view.settled_airtime_us()),
            Self::AirtimeWhole => view.for_each_byte(view.airtime_us()),
            Self::AirPerNode => {
                let of = view.run.nodes.len() * view.messages().count();
                (of > 0).then(|| view.settled_airtime_us() / 1e3 / of as f64)
            }
            Self::Next => view.next(),
            Self::Growth => view.growth(),
            Self::PerHop => {
                let hops = view.messages().filter(|message| view.time(message).is_some());
                let hops: u32 = hops.filter_map(|message| message.hops).map(u32::from).sum();
                (hops > 0).then(|| view.times().iter().sum::<f64>() / f64::from(hops))
            }
        }
    }
}

impl<'a> View<'a> {
    fn messages(&self) -> impl Iterator<Item = &'a MessageResult> {
        let traffic = self.traffic;
        let wanted = move |message: &&MessageResult| traffic.is_empty() || traffic.contains(&message.traffic);
        self.run.messages.iter().filter(wanted)
    }

    /// From a message's offering to its arrival in milliseconds; `None` if it did not arrive, or after its deadline.
    fn time(&self, message: &MessageResult) -> Option<f64> {
        let took = message.delivered_us?.saturating_sub(message.offered_us) as f64 / 1e3;
        let deadline = self.scenario.traffic.get(message.traffic as usize)?.deadline.as_micros() as f64 / 1e3;
        let within = self.within_s.map_or(deadline, |within| within * 1e3);
        (took <= within).then_some(took)
    }

    fn times(&self) -> Vec<f64> {
        self.messages().filter_map(|message| self.time(message)).collect()
    }

    fn reached(&self) -> u32 {
        // When each of many receivers was reached is not recorded: a limit of time is for messages to one.
        let in_time = |message: &&MessageResult| message.to.is_none() || self.time(message).is_some();
        self.messages().filter(in_time).map(|message| message.reached.min(message.wanted)).sum()
    }

    fn airtime_us(&self) -> f64 {
        self.run.airtime_us.values().sum::<u64>() as f64
    }

    fn settled_airtime_us(&self) -> f64 {
        self.run.settled_airtime_us.values().sum::<u64>() as f64
    }

    fn for_each_byte(&self, airtime_us: f64) -> Option<f64> {
        let arrived = self.messages().filter(|message| self.time(message).is_some());
        let bytes: u64 = arrived.map(|m| u64::from(m.bytes) * u64::from(m.reached)).sum();
        (bytes > 0).then(|| airtime_us / bytes as f64)
    }

    fn rate(&self) -> Option<f64> {
        let first = self.messages().map(|message| message.offered_us).min()?;
        let last = self.messages().filter_map(|message| message.delivered_us).max()?;
        let arrived = self.messages().filter(|message| self.time(message).is_some());
        let bits: u64 = arrived.map(|message| 8 * u64::from(message.bytes)).sum();
        // Bits in a millisecond are kilobits in a second.
        (last > first).then(|| bits as f64 * 1e3 / (last - first) as f64)
    }

    /// When the first fault happens, in microseconds from the beginning.
    fn fault_us(&self) -> Option<u64> {
        let first = self.scenario.faults.first()?;
        Some((self.scenario.settle + first.at).as_micros())
    }

    fn next(&self) -> Option<f64> {
        let fault = self.fault_us()?;
        let after = self.messages().filter_map(|message| message.delivered_us).filter(|at| *at > fault);
        after.min().map(|at| (at - fault) as f64 / 1e3)
    }

    fn growth(&self) -> Option<f64> {
        let fault = self.fault_us()?;
        let last = (self.scenario.settle + self.scenario.offered).as_micros();
        let late = last - self.scenario.offered.as_micros() / 4;
        let times = |in_time: &dyn Fn(u64) -> bool| {
            let messages = self.messages().filter(|message| in_time(message.offered_us));
            rank(messages.filter_map(|message| self.time(message)).collect(), 50)
        };
        Some(times(&|at| at >= late)? / times(&|at| at < fault)?)
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The first value that so many percent do not exceed.
fn rank(mut values: Vec<f64>, percent: usize) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get((values.len() * percent).div_ceil(100).saturating_sub(1)).copied()
}
