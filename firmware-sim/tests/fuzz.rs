//! Random networks with random faults: what must hold does.

use std::ops::RangeInclusive;

use firmware_sim::chaos::ALLOWANCES;
use firmware_sim::fuzz::{self, FuzzReport};

fn seeds(seeds: RangeInclusive<u64>) -> FuzzReport {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    fuzz::many(seeds, threads, |_| {})
}

fn explain(report: &FuzzReport) -> String {
    report.failures.iter().map(|failure| format!("{failure}\n")).collect()
}

#[test]
fn nothing_breaks_over_some_seeds_and_everything_was_looked_at() {
    let report = seeds(1..=12);
    assert!(report.failures.is_empty(), "{}", explain(&report));
    let stats = &report.stats;
    println!("{stats:#?}");
    let counts = stats.counts;
    let looked = [
        counts.sealed,
        counts.relayed,
        counts.entrusted,
        counts.custody,
        counts.taken,
        counts.known,
        counts.shut_out,
        counts.strange,
        counts.accepted,
        counts.delivered,
        counts.completed,
        counts.lost,
        counts.cuts,
        counts.broken_writes,
        stats.attacks,
        stats.faults,
    ];
    assert!(looked.into_iter().all(|count| count > 0), "{stats:?}");
    assert!(stats.met.values().all(|count| *count > 0), "{stats:?}");
}

/// Seeds that need one of the allowances of members each, and together every rule that these excuse.
const NEEDED_BY: [(&str, u64); 4] = [
    ("MEMBER_MAY_SEND_AS_ANYONE", 21),
    ("MEMBER_MAY_CONTEST_ADDRESS", 7),
    ("MEMBER_MAY_SPEND_SEQ", 7),
    ("MEMBER_MAY_FORGE_RECEIPT", 91),
];

#[test]
fn what_members_may_do_is_no_excuse_that_nothing_needs() {
    let mut excused = std::collections::BTreeSet::new();
    for allowance in &ALLOWANCES {
        let mut broken = false;
        for (_, seed) in NEEDED_BY.into_iter().filter(|(name, _)| *name == allowance.name) {
            let stats = fuzz::run(seed).unwrap_or_else(|failure| panic!("{failure}"));
            excused.extend(stats.excused.into_keys());
            let failure = fuzz::run_without(seed, allowance).expect_err("it has to break something");
            assert!(allowance.rules.contains(&failure.violation.rule), "{}: {failure}", allowance.name);
            broken = true;
        }
        assert!(broken, "no seed for {}", allowance.name);
    }
    for allowance in &ALLOWANCES {
        for rule in allowance.rules {
            assert!(excused.contains(&(allowance.name, *rule)), "{} for {rule}", allowance.name);
        }
    }
}

#[test]
fn one_seed_one_result_on_any_number_of_threads() {
    assert_eq!(fuzz::many(9..=11, 1, |_| {}), fuzz::many(9..=11, 3, |_| {}));
}

/// For `tools/mutants.sh`, and for whoever wants to look further: `FUZZ_SEEDS=1..1000`. Stops behind the first failure.
/// With `FUZZ_SHRINK=200` makes it smaller in so many runs.
#[test]
#[ignore = "takes its seeds from FUZZ_SEEDS"]
fn the_seeds_that_are_asked_for() {
    let number = |text: &str| text.parse::<u64>().expect("a number");
    let range = std::env::var("FUZZ_SEEDS").expect("FUZZ_SEEDS=FIRST..LAST");
    let (first, last) = range.split_once("..").expect("FUZZ_SEEDS=FIRST..LAST");
    let (first, last) = (number(first), number(last));
    let mut total = fuzz::Stats::default();
    for from in (first..=last).step_by(50) {
        let report = seeds(from..=last.min(from + 49));
        if let Some(failure) = report.failures.first() {
            let (seed, rule) = (failure.seed, failure.violation.rule);
            println!("CAUGHT seed {seed} rule {rule} after {}", seed - first + 1);
            if let Ok(tries) = std::env::var("FUZZ_SHRINK") {
                let small = fuzz::shrink(failure, number(&tries) as u32);
                println!("smaller: {}\n{:#?}", small.violation, small.case);
            }
            panic!("{}", explain(&report));
        }
        total.add(&report.stats);
    }
    println!("{total:#?}");
}
