//! Searches for a network, traffic and faults under which an invariant does not hold.
//!
//! Owns seeds: each is one case, and the same one everywhere. `case`, `routes` and `radios` draw it, `play` plays it, `shrink` makes one that fails
//! smaller.
//!
//! ```
//! let stats = firmware_sim::fuzz::run(1).expect("seed 1 is a good one");
//! assert!(stats.counts.runs > 0);
//! ```

mod case;
mod features;
mod play;
mod radios;
mod routes;
mod shrink;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::{Mutex, PoisonError};

use crate::chaos::{Allowance, Counts, Violation};
use crate::parallel;
use crate::scenario::Scenario;

pub use case::{Mode, case, case_with};
pub use features::Features;
pub use play::play;
pub use shrink::shrink;

/// The figures of one case or several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// How many cases.
    pub cases: u64,
    /// Simulated time, in milliseconds.
    pub simulated_ms: u64,
    /// Messages given to devices.
    pub posted: u64,
    /// Power cuts, restarts and jumps of clocks.
    pub faults: u64,
    /// What became of receptions that met a rule.
    pub met: BTreeMap<&'static str, u64>,
    /// Frames that attackers sent.
    pub attacks: u64,
    /// How often each allowance of members excused each of its rules.
    pub excused: BTreeMap<(&'static str, &'static str), u64>,
    /// What the invariants looked at.
    pub counts: Counts,
}

impl Stats {
    /// Adds another's numbers.
    pub fn add(&mut self, other: &Self) {
        self.cases += other.cases;
        self.simulated_ms += other.simulated_ms;
        self.posted += other.posted;
        self.faults += other.faults;
        self.attacks += other.attacks;
        for (name, count) in &other.met {
            *self.met.entry(name).or_default() += count;
        }
        for (name, count) in &other.excused {
            *self.excused.entry(*name).or_default() += count;
        }
        self.counts.add(&other.counts);
    }
}

/// A case in which something did not hold.
#[derive(Clone, Debug, PartialEq)]
pub struct FuzzFailure {
    /// The seed.
    pub seed: u64,
    /// What did not hold.
    pub violation: Violation,
    /// The case: that of the seed, or less of it.
    pub case: Scenario,
    /// What cases might have.
    pub features: Features,
}

impl FuzzFailure {
    /// The command that runs it again, as its seed has it.
    #[must_use]
    pub fn command(&self) -> String {
        format!("mesh-sim fuzz --seeds {0}..{0}{1}", self.seed, self.features.flag())
    }
}

impl fmt::Display for FuzzFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {} ({}): {}\n  {}", self.seed, self.case.name, self.violation, self.command())
    }
}

/// Runs the case of one seed.
///
/// # Errors
/// What did not hold.
pub fn run(seed: u64) -> Result<Stats, Box<FuzzFailure>> {
    run_with(seed, Features::ALL)
}

/// Runs the case of one seed, with these features alone.
///
/// # Errors
/// What did not hold.
pub fn run_with(seed: u64, features: Features) -> Result<Stats, Box<FuzzFailure>> {
    play(&case_with(seed, features), seed).map_err(|failure| Box::new(FuzzFailure { features, ..*failure }))
}

/// Runs the case of one seed where this allowance of members excuses nothing.
///
/// # Errors
/// What did not hold: so a rule that it excuses, if the seed needs it.
pub fn run_without(seed: u64, allowance: &Allowance) -> Result<Stats, Box<FuzzFailure>> {
    play::play_without(&case(seed), seed, Some(allowance))
}

/// How far [`many`] has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Seeds that are done.
    pub done: u64,
    /// Seeds in all.
    pub all: u64,
    /// Of those done, the ones that failed.
    pub failed: u64,
}

/// The result of many seeds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FuzzReport {
    /// Of those that held, all together.
    pub stats: Stats,
    /// Those that did not, in order of their seeds.
    pub failures: Vec<FuzzFailure>,
}

/// Runs the cases of many seeds on so many threads (0 counts as 1), and calls `progress` after each. The same seeds give the same
/// report, however many threads there are.
pub fn many(seeds: RangeInclusive<u64>, threads: usize, progress: impl FnMut(Progress) + Send) -> FuzzReport {
    many_with(seeds, Features::ALL, threads, progress)
}

/// The same, with these features alone.
pub fn many_with(
    seeds: RangeInclusive<u64>,
    features: Features,
    threads: usize,
    progress: impl FnMut(Progress) + Send,
) -> FuzzReport {
    let seeds: Vec<u64> = seeds.collect();
    let start = Progress { done: 0, all: seeds.len() as u64, failed: 0 };
    let shared = Mutex::new((start, progress));
    let results = parallel::map(&seeds, threads, |seed| {
        let result = run_with(*seed, features);
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let (so_far, progress) = &mut *shared;
        so_far.done += 1;
        so_far.failed += u64::from(result.is_err());
        progress(*so_far);
        result
    });
    let mut report = FuzzReport::default();
    for result in results {
        match result {
            Ok(stats) => report.stats.add(&stats),
            Err(failure) => report.failures.push(*failure),
        }
    }
    report
}
