//! One seed, one trace: on every machine, in debug and in release.

use firmware_sim::Run;

/// The scenario whose trace is pinned: messages of all priorities and a large one, over a field with losses.
fn run(seed: u64) -> Run {
    Run { nodes: 20, seed, seconds: 10, messages: 12, bulk: 2_000, ..Run::default() }
}

/// What `mesh-sim run --nodes 20 --seed 7 --seconds 10 --messages 12 --bulk 2000` prints, built with and without
/// `--release`. A change of this number is a change of behaviour: look at the other figures before writing it down.
const TRACE: &str = "9f26f5ecad7b35bae0bfbd82587fcfd7e1d09a3905031c830e63a8fbc1a55772";

#[test]
fn the_trace_is_the_same_in_debug_and_release() {
    assert_eq!(run(7).execute().trace, TRACE);
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_seed_another() {
    let (once, again, other) = (run(3).execute(), run(3).execute(), run(4).execute());
    assert_eq!(once.trace, again.trace);
    assert_ne!(once.trace, other.trace);
    assert_eq!(once.air, again.air);
}

#[test]
fn everything_arrives_over_many_seeds_and_at_a_bounded_cost() {
    for seed in 1..=6 {
        let report = run(seed).execute();
        assert_eq!(report.delivered, report.sent, "seed {seed}");
        assert!(report.bulk_s.is_some(), "seed {seed}: the large message arrived");
        assert_eq!(report.outcomes.get("delivered"), Some(&(report.sent + 1)), "seed {seed}");
        // Twenty relays, about five frames a message and twenty of the large one for each: a few times that at most.
        assert!(report.frames_per_message < 2_000.0, "seed {seed}: {} frames", report.frames_per_message);
    }
}
