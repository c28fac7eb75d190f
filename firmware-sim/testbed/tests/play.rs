//! Scenarios with real gateways: every promise kept across a power cut, one seed one run, and what cannot be played is said.

use std::collections::{BTreeMap, BTreeSet};

use firmware_sim::play::field::with_seats;
use firmware_sim::scenario::Scenario;
use mesh_agent::api::Outcome;
use mesh_testbed::{PlayError, Played, Unplayable, play};

/// Three gateways and four devices in a row; the gateway in the middle, node 3, is away from 20 s to 26 s.
const SMALL: &str = include_str!("small.toml");
const MIDDLE: u32 = 3;
const CUT_US: u64 = 20_000_000;
const BACK_US: u64 = 26_000_000;

/// A seed to repeat, if one is given.
fn seed() -> u64 {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("seed {seed} (set SEED to repeat another)");
    seed
}

fn small() -> Scenario {
    Scenario::parse("small.toml", SMALL).unwrap_or_else(|error| panic!("{error}"))
}

fn played(scenario: &Scenario, seed: u64) -> Played {
    play(scenario, seed).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn what_gateways_of_a_scenario_accept_survives_a_power_cut_and_comes_once() {
    let Played { report, result } = played(&small(), seed());
    assert_eq!((report.problems, report.refused, report.open), (Vec::<String>::new(), 0, 0));
    assert_eq!((&result.stack[..], result.nodes.len(), result.trace), ("gateways", 7, report.trace));
    assert!(result.nodes.iter().all(|node| node.sent > 0), "gateways send too");

    let of = |traffic: u32| result.messages.iter().filter(move |message| message.traffic == traffic);
    // Among gateways: the one without power says nothing, and nobody else is silent.
    let away = CUT_US..BACK_US + 1_000_000;
    for message in of(0) {
        let offered = message.offered_us;
        match message.refused.as_deref() {
            None => assert_eq!((message.reached, message.duplicates), (1, 0), "{message:?}"),
            Some("down") => assert!(message.from == MIDDLE && away.contains(&offered), "{message:?}"),
            Some(other) => panic!("{other}: {message:?}"),
        }
    }
    let cut = |offered: u64| (CUT_US..BACK_US).contains(&offered);
    let waited: Vec<_> = of(0).filter(|m| m.to == Some(MIDDLE) && cut(m.offered_us)).collect();
    assert!(!waited.is_empty(), "someone wrote to the gateway without power");
    assert!(waited.iter().all(|message| message.delivered_us.is_some_and(|at| at > BACK_US)), "{waited:?}");
    assert!(of(0).any(|m| m.from == MIDDLE && m.refused.is_some()));
    assert!(of(0).any(|m| m.from == MIDDLE && m.sent_us.is_some_and(|at| at > BACK_US)));

    // From a device to a gateway's agent, questions both ways with their answers, and a body that comes in parts.
    assert!(of(1).all(|message| message.reached == 1 && message.to == Some(6)));
    for (traffic, count) in [(2, 8), (3, 8), (4, 3)] {
        let messages: Vec<_> = of(traffic).collect();
        assert_eq!(messages.len(), count);
        assert!(messages.iter().all(|m| m.reached == 1 && m.answered_us > m.delivered_us), "{messages:?}");
    }
    let between: Vec<_> = of(5).map(|message| message.outcome.as_deref()).collect();
    assert!(between.iter().filter(|outcome| **outcome == Some("delivered")).count() >= 7, "{between:?}");
    let all: Vec<_> = of(6).collect();
    assert_eq!((all.len(), all[0].reached, all[0].outcome.as_deref()), (1, 6, Some("sent")));

    // Agents were given exactly what was said to them, and told after it had come.
    let mut copies = BTreeMap::new();
    for arrival in &report.arrivals {
        *copies.entry((arrival.message.id, arrival.agent)).or_insert(0) += 1;
    }
    assert!(copies.values().all(|count| *count == 1));
    let delivered: Vec<_> =
        report.receipts.iter().filter(|t| t.receipt.outcome == Outcome::Delivered).collect();
    assert!(delivered.len() > 60, "{}", delivered.len());
    for told in delivered {
        let came = report.arrivals.iter().find(|arrival| arrival.message.id == told.receipt.id).unwrap();
        assert!(came.message.at_us <= told.receipt.at_us, "{told:?}");
    }
}

#[test]
fn one_seed_is_one_run_of_a_scenario_and_another_seed_another() {
    let (scenario, seed) = (small(), seed());
    let (first, second) = (played(&scenario, seed), played(&scenario, seed));
    assert_eq!(first.report.trace, second.report.trace);
    assert_eq!(first.report.receipts, second.report.receipts);
    assert_eq!(first, second);
    let other = played(&scenario, seed + 1);
    assert_ne!(first.report.trace, other.report.trace);
    assert_eq!(other.report.problems, Vec::<String>::new(), "seed {}", seed + 1);
}

#[test]
fn devices_are_those_of_a_run_without_gateways_and_only_gateways_have_seats() {
    let (world, seats) = with_seats(&small(), 1);
    let numbers: BTreeSet<u32> = seats.iter().map(|seat| seat.station.0).collect();
    assert_eq!(numbers, [0, 3, 6].into());
    for number in 0..7 {
        let station = world.station(ble_bearer::sim::StationId(number));
        let device = station.and_then(|place| place.node()).map(|mesh| mesh.device().address().bits());
        assert_eq!(device, (!numbers.contains(&number)).then_some(number as u16 + 1));
    }
}

#[test]
fn what_a_real_gateway_cannot_do_is_an_error_before_anything_is_played() {
    let jump = SMALL.to_owned() + "[[faults]]\nat = \"1s\"\nclock_jump = { node = \"west\", by = \"1s\" }\n";
    let scenario = Scenario::parse("jump.toml", &jump).unwrap();
    match play(&scenario, 1) {
        Err(PlayError::Unplayable(Unplayable::ClockJump(name))) => assert_eq!(name, "west"),
        other => panic!("{other:?}"),
    }
}

/// Two gateways that hear each other, and a few words.
const PAIR: &str = "settle = \"5s\"\noffered = \"6s\"\nnodes = [{ number = 0, gateway = true }, { number = 1, gateway = true }]\n\
                    layout.line = { nodes = 3, spacing = 5 }\nlinks.radius = { reach = 20, attenuation = 70, beyond = 195 }\n\
                    traffic = [{ from = 0, to = 1, priority = \"HIGH\", periodic.every = \"1s\" }]\n";

#[test]
fn agents_are_there_from_the_first_moment_on() {
    let scenario = Scenario::parse("at-once.toml", &PAIR.replace("5s", "0s")).unwrap();
    let Played { report, result } = played(&scenario, seed());
    assert_eq!((report.problems, report.unsaid), (Vec::<String>::new(), 0));
    assert!(result.messages.iter().all(|message| message.reached == 1), "{:?}", result.messages);
}
