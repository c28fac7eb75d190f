//! The air against numbers that others measured or worked out.
//!
//! Owns the reference numbers, the scenarios that are to reproduce them, and the bounds. All scenarios play with the same settings of
//! the air; what differs between them is what differed between the experiments: where nodes stand, and how their stacks and scanners
//! were set. Numbers are called V1, V4 and V6 as in `docs/simulator.md`.

use ble_bearer::sim::{
    ADV_DELAY, ADV_INTERVAL, Air, AirSettings, Link, Position, RadioSpec, StationId, Topology,
};
use mesh_protocol::{Duration, Instant, MessageType, Priority, Rng};
use serde::Serialize;

use ble_bearer::FrameBytes;

use crate::parallel;
use crate::play::{StackKind, play};
use crate::scenario::{Layout, LinkRule, Pattern, Scenario, Traffic, Who};

/// One number beside its reference.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// Which: `V1 slope`, `V6 N=10 T=25`...
    pub name: String,
    /// Its unit.
    pub unit: &'static str,
    /// What others found.
    pub reference: f64,
    /// What this air gives.
    pub ours: f64,
    /// How far it may be off, in the same unit; `None` where it is only shown.
    pub within: Option<f64>,
}

impl Check {
    /// Whether it is within its bounds.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.within.is_none_or(|within| (self.ours - self.reference).abs() <= within)
    }
}

/// V1: mean round trip in ms over 1 to 9 hops of a chain, 20 samples each, of a reference stack on a simulator that is accurate to the
/// microsecond (NordicPlayground/mesh_demo_nw_sim).
const V1: [f64; 9] = [15.2, 38.0, 55.5, 76.0, 88.3, 100.4, 123.2, 142.7, 159.2];
/// V4: one way in ms over 2 to 6 hops of a line of real nodes (TI, SWRA732, table 6-2, mean over the payloads).
const V4: [f64; 5] = [103.6, 119.9, 134.4, 158.3, 195.5];
/// V6: N advertisers, the mean period T in ms, and the share of events that one continuous scanner hears. Arithmetic:
/// exp(-2 (N - 1) 376 µs / T).
const V6: [(u32, u64); 15] = [
    (10, 25),
    (10, 105),
    (10, 1_005),
    (50, 25),
    (50, 105),
    (50, 1_005),
    (100, 25),
    (100, 105),
    (100, 1_005),
    (500, 25),
    (500, 105),
    (500, 1_005),
    (1_000, 25),
    (1_000, 105),
    (1_000, 1_005),
];
/// Runs of V6 and the periods each lasts: with these the shares vary by less than half a point from seed to seed.
const V6_RUNS: u64 = 60;
const V6_PERIODS: u64 = 10;
/// How many pings for each number of hops. V1 had 20; more make our mean sharper.
const PINGS: u32 = 200;

/// How many steps [`run`] reports.
#[must_use]
pub const fn steps() -> usize {
    V1.len() + V4.len() + V6.len()
}

enum Job {
    V1(usize),
    V4(usize),
    V6(u32, u64),
}

/// Makes every comparison, on so many threads, telling `done` after each step. The same numbers every time.
pub fn run(threads: usize, done: impl Fn() + Sync) -> Vec<Check> {
    let v1 = (1..=V1.len()).map(Job::V1);
    let v4 = (2..2 + V4.len()).map(Job::V4);
    let v6 = V6.iter().map(|&(count, period)| Job::V6(count, period));
    let jobs: Vec<Job> = v1.chain(v4).chain(v6).collect();
    let found = parallel::map(&jobs, threads, |job| {
        let found = match *job {
            Job::V1(hops) => chain(hops),
            Job::V4(hops) => line(hops),
            Job::V6(count, period) => heard(count, period),
        };
        done();
        found
    });
    let (v1, rest) = found.split_at(V1.len());
    let (v4, v6) = rest.split_at(V4.len());
    let mut checks = Vec::new();
    for (hops, (ours, reference)) in (1..).zip(v1.iter().zip(V1)) {
        let name = format!("V1 round trip over {hops} hops");
        checks.push(Check { name, unit: "ms", reference, ours: *ours, within: None });
    }
    let (reference, ours) = (slope(1, &V1), slope(1, v1));
    let within = Some(reference * 0.1);
    checks.push(Check { name: "V1 round trip for each hop".into(), unit: "ms", reference, ours, within });
    for (hops, (ours, reference)) in (2..).zip(v4.iter().zip(V4)) {
        let name = format!("V4 one way over {hops} hops");
        checks.push(Check { name, unit: "ms", reference, ours: *ours, within: None });
    }
    let (reference, ours) = (slope(2, &V4), slope(2, v4));
    let within = Some(reference * 0.25);
    checks.push(Check { name: "V4 one way for each hop".into(), unit: "ms", reference, ours, within });
    for (ours, (count, period)) in v6.iter().zip(V6) {
        let exponent = -2.0 * f64::from(count - 1) * 0.376 / period as f64;
        let name = format!("V6 heard of {count} advertisers every {period} ms");
        let reference = 100.0 * exponent.exp();
        checks.push(Check { name, unit: "%", reference, ours: *ours, within: Some(2.0) });
    }
    // 12 bytes a segment, one event every 20 ms and half the advertising delay: 40 a second; a third with three blind copies.
    let events = 1e6 / (ADV_INTERVAL.as_micros() as f64 + ADV_DELAY.as_micros() as f64 / 2.0);
    let reference = events * 12.0 * 8.0 / 3.0 / 1_000.0;
    let name = "SIG goodput to a neighbour; arithmetic without acks and pauses".to_owned();
    checks.push(Check { name, unit: "kbps", reference, ours: goodput(), within: None });
    checks
}

/// Least squares of values over the numbers from `first` on.
fn slope(first: usize, values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let xs = (first..).map(|x| x as f64);
    let (mean_x, mean_y) = (xs.clone().take(values.len()).sum::<f64>() / n, values.iter().sum::<f64>() / n);
    let (mut above, mut below) = (0.0, 0.0);
    for (x, y) in xs.zip(values) {
        above += (x - mean_x) * (y - mean_y);
        below += (x - mean_x) * (x - mean_x);
    }
    above / below
}

/// A scenario of the SIG baseline in which node 0 sends messages to node `to`, one at a time.
fn one_at_a_time(layout: Layout, links: LinkRule, to: u32) -> Scenario {
    let mut scenario = Scenario::new("validate", layout);
    scenario.links = links;
    scenario.settle = Duration::from_secs(1);
    scenario.offered = Duration::from_secs(u64::from(PINGS) * 2);
    scenario.drain = Duration::from_secs(5);
    scenario.traffic = vec![Traffic {
        from: Who::Node(0),
        to: Who::Node(to),
        kind: MessageType::Query,
        priority: Priority::Medium,
        // About 20 bytes of network PDU.
        bytes: 1,
        deadline: Duration::from_secs(1),
        start: Duration::ZERO,
        stop: None,
        pattern: Pattern::Ping { count: PINGS, pause: Duration::from_millis(317) },
    }];
    scenario
}

/// V1: the mean round trip in ms over so many hops of the chain.
fn chain(hops: usize) -> f64 {
    let layout = Layout::Diagonal { nodes: 10, spacing: 1.0 };
    let links = LinkRule::Radius { reach: 1.7, attenuation: 95.0, beyond: 195.0, loss: 0.0 };
    let mut scenario = one_at_a_time(layout, links, hops as u32);
    scenario.radio.scan_interval = Duration::from_millis(3_000);
    scenario.radio.scan_window = Duration::from_millis(3_000);
    scenario.stacks.sig.ttl = 9;
    let result = play(&scenario, StackKind::Sig, 1, false);
    let trips = result.messages.iter().filter_map(|ping| Some(ping.answered_us? - ping.sent_us?));
    mean_ms(trips)
}

/// V4: the mean one-way latency in ms over so many hops of the line.
fn line(hops: usize) -> f64 {
    let links =
        (0..hops as u32).map(|a| crate::scenario::GivenLink { a, b: a + 1, attenuation: 60.0, loss: 0.0 });
    let layout = Layout::Line { nodes: hops as u32 + 1, spacing: 1.0 };
    let mut scenario = one_at_a_time(layout, LinkRule::Given(links.collect()), hops as u32);
    scenario.radio.scan_interval = Duration::from_millis(20);
    scenario.radio.scan_window = V4_SCAN_WINDOW;
    let sig = &mut scenario.stacks.sig;
    (sig.transmit, sig.transmit_interval) = (1, Duration::from_millis(10));
    (sig.retransmit, sig.retransmit_interval) = (3, Duration::from_millis(10));
    let result = play(&scenario, StackKind::Sig, 1, false);
    mean_ms(result.messages.iter().filter_map(|ping| Some(ping.delivered_us? - ping.sent_us?)))
}

/// The scan window of V4: its source gives an interval of 20 ms and no window. Half of it is a guess; TI's radio has other work too.
const V4_SCAN_WINDOW: Duration = Duration::from_millis(10);

fn mean_ms(micros: impl Iterator<Item = u64>) -> f64 {
    let (count, sum) = micros.fold((0_u64, 0), |(count, sum), micros| (count + 1, sum + micros));
    if count == 0 { f64::NAN } else { sum as f64 / count as f64 / 1_000.0 }
}

/// What the SIG baseline carries between two neighbours, in kbps: messages of its largest size, one after the other.
fn goodput() -> f64 {
    let links =
        LinkRule::Given(vec![crate::scenario::GivenLink { a: 0, b: 1, attenuation: 60.0, loss: 0.0 }]);
    let mut scenario = one_at_a_time(Layout::Line { nodes: 2, spacing: 1.0 }, links, 1);
    scenario.traffic[0].bytes = 379;
    scenario.traffic[0].deadline = Duration::from_secs(60);
    scenario.traffic[0].pattern = Pattern::Bulk { count: PINGS };
    let result = play(&scenario, StackKind::Sig, 1, false);
    let last = result.messages.iter().filter_map(|message| message.delivered_us).max().unwrap_or(0);
    let bits: u64 =
        result.messages.iter().map(|message| u64::from(message.reached * message.bytes) * 8).sum();
    let took = last.saturating_sub(scenario.settle.as_micros());
    bits as f64 * 1_000.0 / took.max(1) as f64
}

/// V6: the share in percent of the events of `count` advertisers with a mean period of `period` ms that one continuous scanner hears.
fn heard(count: u32, period: u64) -> f64 {
    // Phases of advertisers drift apart slowly, so that one long run says less than many short ones.
    let (heard, all) = (0..V6_RUNS)
        .map(|run| heard_once(count, period, run))
        .fold((0, 0), |(heard, all), run| (heard + run.0, all + run.1));
    100.0 * heard as f64 / all as f64
}

/// One run of V6: how many events were heard, of how many.
fn heard_once(count: u32, period: u64, run: u64) -> (u64, u64) {
    let seed = run << 48 | u64::from(count) << 32 | period;
    let links = (1..=count).flat_map(|id| Link::both(0, id, 0)).collect();
    // All are equally strong: whatever overlaps is lost.
    let mut air = Air::new(seed, Topology::Given(links), AirSettings::default());
    for _ in 0..=count {
        air.add(Position::default(), RadioSpec::default());
    }
    let span = period * 1_000 * V6_PERIODS;
    let mut rng = Rng::stream(seed, "advertisers");
    let interval = period * 1_000 - ADV_DELAY.as_micros() / 2;
    let mut starts: Vec<(u64, u32)> = Vec::new();
    for id in 1..=count {
        let mut at = rng.below(period * 1_000);
        while at < span {
            starts.push((at, id));
            at += interval + rng.jitter(ADV_DELAY).as_micros();
        }
    }
    starts.sort_unstable();
    let frame = FrameBytes::from_slice(&[0; 27]).unwrap_or_default();
    for (at, id) in starts {
        let now = Instant::from_micros(at);
        while air.poll_timeout().is_some_and(|due| due <= now) {
            let due = air.poll_timeout().unwrap_or(now);
            let _ = air.poll_delivery(due);
        }
        air.transmit(now, StationId(id), &frame);
    }
    while let Some(due) = air.poll_timeout() {
        let _ = air.poll_delivery(due);
    }
    let counters = air.counters();
    (counters.heard, counters.heard + counters.collision + counters.boundary)
}

/// The checks as a table.
#[must_use]
pub fn table(checks: &[Check]) -> String {
    let mut text = format!("{:<46} {:>9} {:>9}  {:<5} {:>8}\n", "", "reference", "ours", "unit", "bound");
    for check in checks {
        let (bound, verdict) = match check.within {
            None => (String::new(), ""),
            Some(within) => (format!("± {within:.2}"), if check.passed() { "pass" } else { "FAIL" }),
        };
        let Check { name, unit, reference, ours, .. } = check;
        text += &format!("{name:<46} {reference:>9.2} {ours:>9.2}  {unit:<5} {bound:>8}  {verdict}\n");
    }
    let failed = checks.iter().filter(|check| !check.passed()).count();
    text += &match failed {
        0 => "every number is within its bounds\n".to_owned(),
        failed => format!("{failed} of {} numbers are out of their bounds\n", checks.len()),
    };
    text
}
