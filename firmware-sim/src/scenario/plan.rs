//! The messages of a scenario: when each is sent, by whom and to whom.
//!
//! Owns the plan of open traffic, whose times follow from the scenario and the seed alone, and the order of senders and
//! receivers of closed loops, whose times follow from answers and are the run's business. Each traffic draws from
//! numbers of its own, so that a change of one leaves the others as they were. Only sums, products and comparisons,
//! which every machine does alike.

use std::sync::Arc;

use mesh_protocol::{Duration, Rng};

use super::{MESSAGES_MAX, Pattern, Scenario, Traffic, Who};
use crate::stack::Target;

/// A plan ends here whatever the scenario says: random traffic may come to more than it does on average, and a scenario
/// that was never a file may ask for anything.
const PLAN_MAX: usize = 2 * MESSAGES_MAX as usize;

/// A message of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// When it is sent, counted from the end of `settle`.
    pub at: Duration,
    /// The traffic it belongs to: an index of [`Scenario::traffic`].
    pub traffic: u32,
    /// Who sends it.
    pub from: u32,
    /// Who receives it.
    pub to: Target,
}

/// Messages of which each waits for what became of the one before: those of a [`Pattern::Ping`] or [`Pattern::Bulk`],
/// one after the other. As an iterator it says who sends the next one to whom, and ends with the count.
#[derive(Clone, Debug)]
pub struct ClosedLoop {
    /// The traffic it belongs to: an index of [`Scenario::traffic`].
    pub traffic: u32,
    /// When the first is sent, counted from the end of `settle`.
    pub start: Duration,
    /// From here on none is sent, counted from the end of `settle`.
    pub stop: Duration,
    /// From the end of one to the next.
    pub pause: Duration,
    left: u32,
    stream: Stream,
}

impl Iterator for ClosedLoop {
    type Item = (u32, Target);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        Some(self.stream.pair())
    }
}

impl Scenario {
    /// Every message of periodic, random and burst traffic, in order of time; of several at one moment, that of the
    /// earlier traffic comes first. The same for the same seed. What is left out: [`loops`](Self::loops).
    #[must_use]
    pub fn plan(&self, seed: u64) -> Vec<Planned> {
        let mut plan = Vec::new();
        for (index, traffic) in (0..).zip(&self.traffic) {
            for mut stream in self.streams(traffic, index, seed) {
                let first = plan.len();
                stream.times(&traffic.pattern, self.window(traffic), PLAN_MAX - first, |at, (from, to)| {
                    plan.push(Planned { at, traffic: index, from, to });
                });
            }
        }
        plan.sort_by_key(|planned| (planned.at, planned.traffic));
        plan
    }

    /// The closed loops, in order of traffic: one for each of ping and bulk, and where everyone sends, one for each
    /// sender. The same for the same seed.
    #[must_use]
    pub fn loops(&self, seed: u64) -> Vec<ClosedLoop> {
        let mut loops = Vec::new();
        for (index, traffic) in (0..).zip(&self.traffic) {
            let (left, pause) = match traffic.pattern {
                Pattern::Ping { count, pause } => (count, pause),
                Pattern::Bulk { count } => (count, Duration::ZERO),
                Pattern::Periodic { .. } | Pattern::Poisson { .. } | Pattern::Burst { .. } => continue,
            };
            let (start, stop) = self.window(traffic);
            for stream in self.streams(traffic, index, seed) {
                loops.push(ClosedLoop { traffic: index, start, stop, pause, left, stream });
            }
        }
        loops
    }

    /// How many messages a traffic asks for: exactly, or on average where chance decides.
    pub(super) fn asked(&self, traffic: &Traffic) -> u64 {
        let (start, stop) = self.window(traffic);
        let span = (stop - start).as_micros();
        let each = match traffic.pattern {
            Pattern::Ping { count, .. } | Pattern::Bulk { count } => u64::from(count),
            Pattern::Periodic { every, .. } => span.div_ceil(every.as_micros().max(1)),
            // From float to integer, Rust cuts what is too large or no number.
            Pattern::Poisson { rate } => (rate * span as f64 / MICROS).ceil() as u64,
            Pattern::Burst { size, every } => {
                span.div_ceil(every.as_micros().max(1)).saturating_mul(size.into())
            }
        };
        let streams = match traffic.from {
            Who::Everyone => Pairs::new(self, traffic).senders.len() as u64,
            Who::Node(_) | Who::Nodes(_) | Who::Any => 1,
        };
        each.saturating_mul(streams)
    }

    /// Whether anyone of those who send has someone to send to.
    pub(super) fn has_pairs(&self, traffic: &Traffic) -> bool {
        !Pairs::new(self, traffic).senders.is_empty()
    }

    /// From when to when a traffic goes on, counted from the end of `settle`.
    fn window(&self, traffic: &Traffic) -> (Duration, Duration) {
        (traffic.start, traffic.stop.unwrap_or(self.offered).min(self.offered))
    }

    fn streams(&self, traffic: &Traffic, index: u32, seed: u64) -> Vec<Stream> {
        let pairs = Arc::new(Pairs::new(self, traffic));
        let rng = Rng::stream(seed, "traffic").fork(index.into());
        let stream = |sender: Option<u32>| {
            let rng = rng.clone().fork(sender.map_or(0, |sender| u64::from(sender) + 1));
            Stream { rng, pairs: Arc::clone(&pairs), sender }
        };
        match traffic.from {
            _ if pairs.senders.is_empty() => Vec::new(),
            Who::Everyone => pairs.senders.iter().map(|sender| stream(Some(*sender))).collect(),
            Who::Node(_) | Who::Nodes(_) | Who::Any => vec![stream(None)],
        }
    }
}

/// One stream of messages and its random numbers.
#[derive(Clone, Debug)]
struct Stream {
    rng: Rng,
    pairs: Arc<Pairs>,
    /// The one who sends, where everyone does; else it is drawn.
    sender: Option<u32>,
}

impl Stream {
    fn pair(&mut self) -> (u32, Target) {
        self.pairs.draw(self.sender, &mut self.rng)
    }

    /// Calls `send` for each message from `start` until before `stop`, but at most `most` times.
    fn times(
        &mut self,
        pattern: &Pattern,
        (start, stop): (Duration, Duration),
        most: usize,
        mut send: impl FnMut(Duration, (u32, Target)),
    ) {
        let mut at = start;
        let mut left = most;
        if let (Pattern::Periodic { every, .. }, Some(_)) = (pattern, self.sender) {
            // One moment for everyone would be a collision of all with all.
            at = at + Duration::from_micros(self.rng.below(every.as_micros()));
        }
        if let Pattern::Poisson { rate } = pattern {
            at = at + self.pause(*rate);
        }
        while at < stop && left > 0 {
            left -= 1;
            let after = match pattern {
                Pattern::Periodic { every, jitter } => {
                    let late = at + self.rng.jitter(*jitter);
                    let pair = self.pair();
                    if late < stop {
                        send(late, pair);
                    }
                    *every
                }
                Pattern::Poisson { rate } => {
                    send(at, self.pair());
                    self.pause(*rate)
                }
                Pattern::Burst { size, every } => {
                    let size = left.saturating_add(1).min(*size as usize);
                    for _ in 0..size {
                        send(at, self.pair());
                    }
                    left -= size.saturating_sub(1);
                    *every
                }
                Pattern::Ping { .. } | Pattern::Bulk { .. } => return,
            };
            at = at + after;
        }
    }

    /// From one random event to the next, at `rate` a second.
    fn pause(&mut self, rate: f64) -> Duration {
        // No rate, no event: a division by zero is infinite, and as an integer the longest time there is.
        Duration::from_micros((exponential(&mut self.rng) / rate.max(0.0) * MICROS) as u64)
    }
}

/// Microseconds in a second.
const MICROS: f64 = 1_000_000.0;

/// A number of the exponential distribution of mean 1: von Neumann's method of 1951, which only compares. Logarithms
/// differ from machine to machine.
fn exponential(rng: &mut Rng) -> f64 {
    let mut whole = 0.0;
    loop {
        let first = rng.next_u64();
        let (mut last, mut run) = (first, 1_u32);
        loop {
            let next = rng.next_u64();
            if next >= last {
                break;
            }
            (last, run) = (next, run + 1);
        }
        // A falling run is of odd length with probability e^-x, where x is its first number.
        if run % 2 == 1 {
            return whole + first as f64 / 2.0_f64.powi(64);
        }
        whole += 1.0;
    }
}

/// Who may send and who may receive, each in order and once.
#[derive(Clone, Debug)]
struct Pairs {
    /// Of those who send, the ones with a receiver besides themselves.
    senders: Vec<u32>,
    /// `None`: one message to everyone.
    receivers: Option<Vec<u32>>,
}

impl Pairs {
    fn new(scenario: &Scenario, traffic: &Traffic) -> Self {
        let count = scenario.node_count();
        let numbers = |who: &Who| -> Vec<u32> {
            let mut numbers = match who {
                Who::Node(number) => vec![*number],
                Who::Nodes(numbers) => numbers.clone(),
                Who::Any | Who::Everyone => (0..count).collect(),
            };
            numbers.retain(|number| *number < count);
            numbers.sort_unstable();
            numbers.dedup();
            numbers
        };
        let mut senders = numbers(&traffic.from);
        let receivers = (traffic.to != Who::Everyone).then(|| numbers(&traffic.to));
        match receivers.as_deref() {
            None if count < 2 => senders.clear(),
            Some([]) => senders.clear(),
            Some([only]) => senders.retain(|sender| sender != only),
            None | Some(_) => {}
        }
        Self { senders, receivers }
    }

    /// The sender is one of `senders`, which are not empty.
    fn draw(&self, sender: Option<u32>, rng: &mut Rng) -> (u32, Target) {
        let from = sender.unwrap_or_else(|| self.senders[rng.below(self.senders.len() as u64) as usize]);
        let Some(receivers) = &self.receivers else { return (from, Target::Everyone) };
        let mut at =
            rng.below((receivers.len() - usize::from(receivers.binary_search(&from).is_ok())) as u64);
        if let Ok(own) = receivers.binary_search(&from)
            && at >= own as u64
        {
            at += 1;
        }
        (from, Target::Node(receivers[at as usize]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten nodes, 60 s, and this traffic.
    fn scenario(traffic: &str) -> Scenario {
        let text = format!("layout.line = {{ nodes = 10, spacing = 5 }}\n{traffic}");
        Scenario::parse("plan.toml", &text).unwrap_or_else(|error| panic!("{error}"))
    }

    fn micros(plan: &[Planned]) -> Vec<u64> {
        plan.iter().map(|planned| planned.at.as_micros()).collect()
    }

    #[test]
    fn periodic_traffic_comes_to_the_microsecond() {
        let plan = scenario(
            "[[traffic]]\nfrom = 3\nto = 4\nstart = \"1s\"\nstop = \"2s\"\nperiodic.every = \"300ms\"\n\
             [[traffic]]\nfrom = 5\nto = \"everyone\"\nstart = \"1s\"\nstop = \"1s1ms\"\nburst = { size = 2, every = \"1s\" }\n",
        )
        .plan(1);
        let message = |ms, traffic, from, to| Planned { at: Duration::from_millis(ms), traffic, from, to };
        assert_eq!(
            plan,
            [
                message(1_000, 0, 3, Target::Node(4)),
                message(1_000, 1, 5, Target::Everyone),
                message(1_000, 1, 5, Target::Everyone),
                message(1_300, 0, 3, Target::Node(4)),
                message(1_600, 0, 3, Target::Node(4)),
                message(1_900, 0, 3, Target::Node(4)),
            ]
        );
    }

    #[test]
    fn jitter_makes_later_but_not_too_late() {
        let traffic = "[[traffic]]\nfrom = 3\nto = 4\nperiodic = { every = \"100ms\", jitter = \"80ms\" }\n";
        for seed in 0..20 {
            let times = micros(&scenario(traffic).plan(seed));
            // The last one may be moved past the end, where none is sent any more; here the end is 100 ms after it.
            assert_eq!(times.len(), 600, "seed {seed}");
            let late: Vec<u64> = (0..).zip(&times).map(|(n, at)| at - n * 100_000).collect();
            assert!(late.iter().all(|late| *late <= 80_000), "seed {seed}");
            assert!(
                late.iter().any(|late| *late < 8_000) && late.iter().any(|late| *late > 72_000),
                "seed {seed}"
            );
        }
        let over = "[[traffic]]\nfrom = 3\nto = 4\nstop = \"10ms\"\nperiodic = { every = \"1s\", jitter = \"1s\" }\n";
        let sent = (0..1_000).filter(|seed| !scenario(over).plan(*seed).is_empty()).count();
        // One in a hundred stays before the end: 10 of 1,000, give or take 4 times 3.2.
        assert!((1..23).contains(&sent), "seeds 0 to 999: {sent}");
    }

    #[test]
    fn where_everyone_sends_each_does_at_its_own_time() {
        let plan = scenario("[[traffic]]\nfrom = \"everyone\"\nto = 4\nperiodic.every = \"20s\"\n").plan(2);
        // All but the receiver, three times in a minute.
        assert_eq!(plan.len(), 9 * 3);
        for sender in (0..10).filter(|sender| *sender != 4) {
            let own: Vec<_> = plan.iter().filter(|planned| planned.from == sender).copied().collect();
            let times = micros(&own);
            assert!(times[0] < 20_000_000, "node {sender}");
            assert_eq!([times[1] - times[0], times[2] - times[1]], [20_000_000; 2], "node {sender}");
        }
        let mut phases = micros(&plan[..9]);
        phases.dedup();
        assert_eq!(phases.len(), 9, "nobody at the same moment as another");
    }

    #[test]
    fn random_traffic_has_the_rate_and_the_spread_of_a_poisson_process() {
        let scenario =
            scenario("offered = \"10m\"\n[[traffic]]\nfrom = \"any\"\nto = \"any\"\npoisson.rate = 5\n");
        let (mut count, mut squares, mut short) = (0.0, 0.0, 0.0);
        for seed in 0..20 {
            let times = micros(&scenario.plan(seed));
            count += times.len() as f64;
            squares += (times.len() as f64 - 3_000.0).powi(2);
            short += times.windows(2).filter(|pair| pair[1] - pair[0] < 200_000).count() as f64;
        }
        // 60,000 expected, standard deviation 245.
        assert!((59_000.0..61_000.0).contains(&count), "seeds 0 to 19: {count}");
        // The variance is the mean, 3,000; of twenty, it is within a factor of three but once in thousands.
        assert!((1_000.0..9_000.0).contains(&(squares / 20.0)), "seeds 0 to 19: {squares}");
        // Of the pauses, 1 - 1/e are shorter than the average one.
        assert!((0.625..0.64).contains(&(short / count)), "seeds 0 to 19: {}", short / count);
    }

    #[test]
    fn senders_and_receivers_are_drawn_evenly_and_never_the_same() {
        let scenario = scenario(
            "[[traffic]]\nfrom = \"any\"\nto = [1, 2, 2]\nburst = { size = 6000, every = \"1h\" }\n\
             [[traffic]]\nfrom = [1, 2]\nto = 2\nburst = { size = 10, every = \"1h\" }\n",
        );
        let plan = scenario.plan(5);
        let mut counts = std::collections::BTreeMap::new();
        for planned in plan.iter().filter(|planned| planned.traffic == 0) {
            assert_ne!(Target::Node(planned.from), planned.to);
            let Target::Node(to) = planned.to else { panic!("to everyone") };
            *counts.entry((planned.from, to)).or_insert(0) += 1;
        }
        // Eight senders with two receivers, 300 each, and two with one, 600: give or take 4 times 17 and 24.
        assert_eq!(counts.len(), 18);
        for ((from, to), count) in counts {
            let expected = if from == 1 || from == 2 { 500..700 } else { 230..370 };
            assert!(expected.contains(&count), "seed 5: {from} to {to}: {count}");
        }
        let only: Vec<_> = plan.iter().filter(|planned| planned.traffic == 1).collect();
        assert_eq!(only.len(), 10);
        assert!(only.iter().all(|planned| planned.from == 1), "who is the only receiver does not send");
    }

    #[test]
    fn one_seed_one_plan_and_a_change_of_one_traffic_leaves_the_others() {
        let traffic = |rate| {
            format!(
                "[[traffic]]\nfrom = \"any\"\nto = \"any\"\npoisson.rate = {rate}\n\
                 [[traffic]]\nfrom = \"everyone\"\nto = \"any\"\npoisson.rate = 0.5\n"
            )
        };
        let (one, other) = (scenario(&traffic(1)), scenario(&traffic(3)));
        assert_eq!(one.plan(7), one.plan(7));
        assert_ne!(one.plan(7), one.plan(8));
        let second = |plan: Vec<Planned>| -> Vec<Planned> {
            plan.into_iter().filter(|planned| planned.traffic == 1).collect()
        };
        assert_eq!(second(one.plan(7)), second(other.plan(7)));
    }

    /// The plan of this seed when the test was written: the same on every machine.
    #[test]
    fn the_plan_of_a_seed_is_pinned() {
        let scenario =
            scenario("[[traffic]]\nfrom = \"any\"\nto = \"any\"\nstop = \"4s\"\npoisson.rate = 1\n");
        let plan: Vec<_> = scenario.plan(1).iter().map(|p| (p.at.as_micros(), p.from, p.to)).collect();
        let pinned = [
            (1_066_947, 5, 1),
            (1_229_023, 8, 0),
            (1_582_555, 4, 9),
            (1_601_530, 9, 6),
            (2_054_233, 4, 5),
            (2_475_274, 0, 3),
            (2_985_564, 6, 8),
            (3_344_098, 3, 8),
        ];
        assert_eq!(plan, pinned.map(|(at, from, to)| (at, from, Target::Node(to))));
    }

    #[test]
    fn closed_loops_are_left_to_the_runner_with_all_it_needs() {
        let scenario = scenario(
            "[[traffic]]\nfrom = 0\nto = 9\nstart = \"2s\"\nping = { count = 3, pause = \"1s\" }\n\
             [[traffic]]\nfrom = 1\nto = 2\nperiodic.every = \"30s\"\n\
             [[traffic]]\nfrom = \"everyone\"\nto = [4, 5]\nstop = \"9s\"\nbulk.count = 2\n",
        );
        assert!(scenario.plan(1).iter().all(|planned| planned.traffic == 1));
        let loops = scenario.loops(1);
        assert_eq!(loops.len(), 1 + 10);
        let ping = &loops[0];
        assert_eq!(
            (ping.traffic, ping.start, ping.stop),
            (0, Duration::from_secs(2), Duration::from_secs(60))
        );
        assert_eq!(ping.pause, Duration::from_secs(1));
        assert_eq!(ping.clone().collect::<Vec<_>>(), [(0, Target::Node(9)); 3]);
        for (sender, bulk) in (0..).zip(&loops[1..]) {
            assert_eq!((bulk.traffic, bulk.stop, bulk.pause), (2, Duration::from_secs(9), Duration::ZERO));
            let pairs: Vec<_> = bulk.clone().collect();
            assert_eq!(pairs.len(), 2);
            for (from, to) in pairs {
                assert_eq!(from, sender);
                assert!(to != Target::Node(from) && (to == Target::Node(4) || to == Target::Node(5)));
            }
        }
    }

    #[test]
    fn a_plan_ends_whatever_a_scenario_that_was_no_file_asks_for() {
        let mut scenario = scenario("[[traffic]]\nfrom = 0\nto = 1\nbulk.count = 1\n");
        for pattern in [
            Pattern::Periodic { every: Duration::ZERO, jitter: Duration::ZERO },
            Pattern::Poisson { rate: f64::INFINITY },
            Pattern::Burst { size: u32::MAX, every: Duration::ZERO },
        ] {
            scenario.traffic[0].pattern = pattern;
            assert_eq!(scenario.plan(1).len(), PLAN_MAX);
        }
        for rate in [0.0, -1.0, f64::NAN] {
            scenario.traffic[0].pattern = Pattern::Poisson { rate };
            assert_eq!(scenario.plan(1), [], "{rate}");
        }
        scenario.traffic[0].from = Who::Node(10);
        scenario.traffic[0].pattern = Pattern::Bulk { count: 1 };
        assert!(scenario.loops(1).is_empty(), "there is no node 10");
    }

    #[test]
    fn exponential_numbers_have_mean_and_tail_of_their_distribution() {
        let mut rng = Rng::new(9);
        let numbers: Vec<f64> = (0..100_000).map(|_| exponential(&mut rng)).collect();
        let mean = numbers.iter().sum::<f64>() / 1e5;
        assert!((0.985..1.015).contains(&mean), "seed 9: {mean}");
        for (over, share) in [(0.5, 0.606_5), (1.0, 0.367_9), (3.0, 0.049_8)] {
            let found = numbers.iter().filter(|number| **number > over).count() as f64 / 1e5;
            assert!((found - share).abs() < 0.007, "seed 9: {found} over {over}");
        }
    }
}
