//! One seed, one trace: on every machine, on any number of threads, in debug and in release.

use firmware_sim::play::{StackKind, play, play_all};
use firmware_sim::record::Recording;
use firmware_sim::scenario::Scenario;

/// Messages of all priorities and a large one over a field with shadows, fading and losses.
const SOURCE: &str = include_str!("small.toml");

/// The traces of `mesh-sim run firmware-sim/tests/small.toml --stack all --seed 7 --json -`, built with and without `--release`. A
/// change of one of these is a change of behaviour: look at the other figures before writing it down.
const TRACES: [(StackKind, &str); 3] = [
    (StackKind::Mesh, "eb5bf3875764bb497de26fe6375f710e17a928ff6160dbd090f200536a81e38d"),
    (StackKind::Sig, "62588d65b8b6e48dc3a4e418d105a91451beeda4b0bd90670beddc8610af32c1"),
    (StackKind::Flood, "6125d33a66d3811710be424ea7f916a6f21593306d8e97e61ed76f439f3e472c"),
];

fn scenario() -> Scenario {
    Scenario::parse("small.toml", SOURCE).unwrap()
}

#[test]
fn the_trace_is_the_same_in_debug_and_release() {
    let traces = TRACES.map(|(stack, _)| (stack, play(&scenario(), stack, 7, false).trace));
    assert_eq!(traces, TRACES.map(|(stack, trace)| (stack, trace.to_owned())));
}

#[test]
fn threads_and_repetitions_change_nothing_and_another_seed_does() {
    let seeds = [3, 4, 5];
    let once = play_all(&scenario(), &[StackKind::Mesh, StackKind::Sig], &seeds, 1, true, || {});
    let again = play_all(&scenario(), &[StackKind::Mesh, StackKind::Sig], &seeds, 4, true, || {});
    assert_eq!(once, again);
    assert_eq!(
        once.iter().map(|run| (&run.stack[..], run.seed)).collect::<Vec<_>>(),
        [("mesh", 3), ("mesh", 4), ("mesh", 5), ("sig", 3), ("sig", 4), ("sig", 5),]
    );
    let traces: std::collections::BTreeSet<&str> = once.iter().map(|run| &run.trace[..]).collect();
    assert_eq!(traces.len(), 6);
    assert!(!once[0].timeline.is_empty() && once[1].timeline.is_empty(), "the first seed has a timeline");
}

#[test]
fn a_recording_is_played_again_to_the_last_event_and_a_difference_is_found() {
    let then = Recording::of(&scenario(), SOURCE, StackKind::Mesh, 9);
    let read = Recording::parse(&then.to_text()).unwrap();
    assert_eq!(read, then);
    let (scenario, stack) = read.scenario().unwrap();
    let now = Recording::of(&scenario, &read.source, stack, read.seed);
    assert_eq!(then.difference(&now), None);
    let mut other = Recording::of(&scenario, &read.source, stack, 10);
    other.marks[..2].clone_from_slice(&then.marks[..2]);
    let difference = then.difference(&other).unwrap();
    assert!(difference.starts_with("both were alike up to event 2000 at "), "{difference}");
}

#[test]
fn everything_arrives_over_many_seeds_and_at_a_bounded_cost() {
    for seed in 1..=6 {
        let run = play(&scenario(), StackKind::Mesh, seed, false);
        for message in &run.messages {
            let (wanted, outcome) = if message.to.is_some() { (1, "delivered") } else { (19, "sent") };
            assert_eq!((message.reached, message.duplicates), (wanted, 0), "seed {seed}: {message:?}");
            assert_eq!(message.outcome.as_deref(), Some(outcome), "seed {seed}: {message:?}");
        }
        // Twenty nodes, about five frames a message and a hundred and twenty of the large one for each, and hellos.
        assert!(run.air["events"] < 20_000, "seed {seed}: {:?}", run.air);
        assert_eq!(run.airtime_us.values().sum::<u64>(), run.air["airtime_us"], "every frame has a cause");
        let sent: u64 = run.nodes.iter().map(|node| node.sent).sum();
        let heard: u64 = run.links.iter().map(|link| link.heard).sum();
        assert_eq!(sent, run.air["events"], "seed {seed}");
        assert!(heard <= run.air["heard"] && heard * 100 > run.air["heard"] * 99, "seed {seed}: {heard}");
    }
}
