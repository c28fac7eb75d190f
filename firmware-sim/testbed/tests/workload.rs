//! Simulated gateways under one clock: several of them with agents, power cuts, and one seed that decides everything.

use std::process::Command;

use mesh_agent::api::Outcome;
use mesh_protocol::{Duration, MessageType, Priority};
use mesh_testbed::{Absence, Ending, RunReport, Site, Workload};

/// Set for the child process: which seed it is to live through.
const CHILD_SEED: &str = "TEST_WHOLE_SEED";

/// A seed to repeat, if one is given.
fn seed() -> u64 {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("seed {seed} (set SEED to repeat another)");
    seed
}

/// Four gateways with two agents each. The second loses its power in the middle of a sentence, the last one some time
/// later, and the first is stopped and started again.
fn busy_run(seed: u64) -> RunReport {
    let site = Site { seed, relays: 12, gateways: 4, loss_percent: 10.0, ..Site::default() };
    let away = |gateway, after, lasts, how| Absence {
        gateway,
        after: Duration::from_millis(after),
        lasts: Duration::from_millis(lasts),
        how,
    };
    let absences = vec![
        away(1, 2_300, 2_000, Ending::MidSentence),
        away(3, 4_600, 1_500, Ending::Cut),
        away(0, 5_400, 1_000, Ending::Stop),
    ];
    let workload = Workload { absences, ..Workload::default() };
    let report = workload.run(&site).unwrap();
    println!(
        "{} accepted ({} delivered, {} sent to many, {} unknown, {} expired, {} rejected), {} doubtful, {} unsaid; \
         {} commits, {} frames sent, {} heard, {} s",
        report.accepted,
        report.outcomes(Outcome::Delivered),
        report.outcomes(Outcome::Sent),
        report.outcomes(Outcome::Unknown),
        report.outcomes(Outcome::Expired),
        report.outcomes(Outcome::Rejected),
        report.doubtful,
        report.unsaid,
        report.commits,
        report.transmitted,
        report.received,
        report.ended_us / 1_000_000
    );
    report
}

#[test]
fn everything_accepted_is_delivered_once_or_truthfully_reported_across_power_cuts() {
    let report = busy_run(seed());
    assert_eq!(report.problems, Vec::<String>::new());
    assert_eq!(report.refused, 0);
    assert!(report.unsaid > 0, "agents fell silent while their gateways were away");
    assert!(report.by_priority.iter().all(|(_, count)| *count >= 10), "{:?}", report.by_priority);
    for kind in MessageType::ALL {
        for priority in Priority::ALL {
            let came = report
                .arrivals
                .iter()
                .any(|arrival| arrival.message.kind == kind && arrival.message.priority == priority);
            assert!(came, "no {kind:?} of {priority} ever came");
        }
    }
    let delivered = report.outcomes(Outcome::Delivered);
    assert!(delivered * 10 > report.accepted * 6, "{delivered} of {}", report.accepted);
    // Who speaks in the moment of a cut is not told that it was accepted, and it was not.
    assert!(report.doubtful > 0);
    let last_words = |text: Option<&str>| text.is_some_and(|text| text.starts_with("last words"));
    assert!(!report.arrivals.iter().any(|arrival| last_words(arrival.message.body.as_text())));
}

#[test]
fn one_seed_is_one_run_here_and_in_another_process() {
    let seed = seed();
    let first = busy_run(seed);
    let second = busy_run(seed);
    assert_eq!(first.trace, second.trace);
    assert_eq!(first.receipts, second.receipts);
    assert_eq!(first.arrivals, second.arrivals);
    assert_eq!(first, second);

    // Another process has other addresses in memory, other dice and another time.
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "child_process_of_the_same_run"])
        .env(CHILD_SEED, seed.to_string())
        .output()
        .unwrap();
    let said = String::from_utf8(child.stdout).unwrap();
    let digest =
        said.lines().find_map(|line| line.split_once("digest ")).expect("the child says its digest").1;
    assert_eq!(digest, first.digest());

    let other = busy_run(seed + 1);
    assert_ne!(other.trace, first.trace);
    assert_ne!(other.receipts, first.receipts);
}

/// Not a story of its own: the process that the test above starts.
#[test]
fn child_process_of_the_same_run() {
    if let Some(seed) = std::env::var(CHILD_SEED).ok().and_then(|seed| seed.parse().ok()) {
        println!("digest {}", busy_run(seed).digest());
    }
}
