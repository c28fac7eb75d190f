//! The figures, and how they are grouped for plots.

use super::ALL;
use super::made::{arrived, campaign, nodes, sent};
use super::synthetic::{self, Plan};
use crate::report::series::{arrivals, by_hops, by_load, by_priority};
use crate::report::{Arrived, FEW, Quantiles, StackSummary, figures, summary, table};
use crate::results::{Campaign, MessageResult, RunResult};

fn one(messages: Vec<MessageResult>) -> Campaign {
    let run =
        RunResult { stack: "mesh".to_owned(), seed: 1, nodes: nodes(&[1]), messages, ..RunResult::default() };
    Campaign { runs: vec![run], ..Campaign::default() }
}

fn ours() -> StackSummary {
    summary(&campaign()).remove(0)
}

#[test]
fn what_became_of_messages_is_counted_once_for_each() {
    let all = ours().all;
    assert_eq!((all.offered, all.refused, all.sent), (7, 1, 6));
    assert_eq!((all.delivered, all.partly, all.undelivered), (3, 1, 2));
    assert_eq!(all.refusals, [("busy".to_owned(), 1)].into());
    // Three arrived, and the one to everyone reached two of three.
    assert_eq!(all.delivery, Some((3.0 + 2.0 / 3.0) / 7.0));
    assert_eq!(all.delivery_of_sent, Some((3.0 + 2.0 / 3.0) / 6.0));
    assert_eq!(all.duplicates, 1);
}

#[test]
fn a_campaign_in_figures_names_each_run_by_what_happened_in_it() {
    let mut campaign = campaign();
    for run in &mut campaign.runs {
        run.trace = format!("trace of {} {}", run.stack, run.seed);
    }
    let found = figures(&campaign);
    assert_eq!(found.traces.len(), campaign.runs.len());
    assert_eq!(found.traces["mesh 1"], "trace of mesh 1");
    assert_eq!(found.stacks, summary(&campaign));
}

#[test]
fn what_senders_were_told_stands_beside_what_was_true() {
    let all = ours().all;
    let told = [
        ("delivered", Arrived { all: 2, some: 0, none: 1 }),
        ("expired", Arrived { all: 0, some: 0, none: 1 }),
        ("unknown", Arrived { all: 1, some: 1, none: 0 }),
    ];
    assert_eq!(all.reported, told.map(|(outcome, arrived)| (outcome.to_owned(), arrived)).into());
    assert_eq!(all.falsely_delivered(), 1);
    assert_eq!((all.reported("unknown"), all.reported("expired"), all.reported("rejected")), (2, 1, 0));
    assert!(!all.silent());
    let flood = &summary(&campaign())[1];
    assert!(flood.all.silent(), "a flood has no receipts");
    assert_eq!(flood.all.reported("nothing"), 1);
}

#[test]
fn latency_and_hops_are_of_what_arrived_at_one_node() {
    let all = ours().all;
    let three = Quantiles { samples: 3, p50_us: Some(20_000), p99_us: Some(30_000), max_us: Some(30_000) };
    assert_eq!(all.latency, three, "without the one to everyone");
    assert_eq!((all.hops.samples, all.hops.mean, all.hops.max), (3, Some(2.0), Some(3)));
    assert_eq!((all.round_trip.samples, all.round_trip.p50_us), (1, Some(60_000)));
}

#[test]
fn messages_to_everyone_are_a_group_of_their_own_behind_the_priorities() {
    let ours = ours();
    let groups: Vec<(&str, bool, u64)> =
        ours.groups.iter().map(|g| (g.priority.as_str(), g.everyone, g.figures.offered)).collect();
    assert_eq!(groups, [("CRITICAL", false, 2), ("LOW", false, 4), ("HIGH", true, 1)]);
    let everyone = &ours.groups[2].figures;
    assert_eq!((everyone.latency.samples, everyone.latency.p50_us), (1, Some(50_000)));
    assert_eq!(everyone.delivery, Some(2.0 / 3.0));
}

#[test]
fn cost_is_of_all_nodes_for_what_arrived() {
    let ours = ours();
    // 10, 20 there and 20 back, 5 at two nodes, 10.
    assert_eq!(ours.delivered_bytes, 70);
    assert_eq!((ours.airtime_total_us(), ours.airtime_us_per_byte), (7_000, Some(100.0)));
    // Four messages and an answer.
    assert_eq!((ours.events, ours.events_per_message), (24, Some(4.8)));
    assert_eq!((ours.seeds, ours.nodes, ours.simulated_ms), (vec![1, 2], 4, 180_000));
    let nothing = summary(&one(vec![sent("LOW", 1, 10, 0)])).remove(0);
    assert_eq!(
        (nothing.airtime_us_per_byte, nothing.events_per_message),
        (None, None),
        "not zero: nothing arrived"
    );
}

#[test]
fn percentiles_are_samples_by_nearest_rank() {
    let of = |n: u64| Quantiles::of((1..=n).rev().collect());
    assert_eq!((of(100).p50_us, of(100).p99_us, of(100).max_us), (Some(50), Some(99), Some(100)));
    assert_eq!((of(101).p50_us, of(101).p99_us), (Some(51), Some(100)));
    assert_eq!((of(99).p99_us, of(2).p50_us, of(1).p99_us), (Some(99), Some(1), Some(1)));
    assert_eq!(of(0), Quantiles::default());
}

#[test]
fn a_percentile_of_few_samples_is_marked() {
    let messages = |n: usize| (0..n).map(|_| arrived(sent("LOW", 1, 1, 0), 5_000, 1)).collect();
    assert!(table(&one(messages(FEW - 1))).contains(" 5.00†"));
    let enough = table(&one(messages(FEW)));
    assert!(enough.contains(" 5.00 ") && !enough.contains("5.00†"), "{enough}");
}

#[test]
fn the_table_says_it_all_in_rows_that_line_up() {
    let text = table(&campaign());
    let rows: Vec<&str> = text.lines().collect();
    assert_eq!(rows[0], "by-hand");
    let cells = |row: &str| row.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        cells(rows[2]),
        [
            "mesh", "all", "7", "1", "6", "3", "52.3", "2", "1", "1", "20.0†", "30.0†", "3", "2.00", "100",
            "4.80"
        ]
    );
    assert_eq!(rows[1].chars().count(), rows[2].chars().count(), "head and figures end together");
    assert_eq!(cells(rows[6])[..9], ["flood", "all", "1", "0", "1", "1", "100", "–", "–"]);
    for note in [
        "mesh: 2 runs of 4 nodes, seeds 1, 2, 180 s",
        "mesh: 1 refused: busy",
        "mesh: 2 sent, but reached nobody",
        "mesh: 1 to everyone reached only some",
        "mesh: 1 reported as delivered, but reached nobody",
        "mesh: there and back p50 60.0† ms, p99 60.0† ms, of 1",
    ] {
        assert!(rows.contains(&note), "{note}\nis missing in\n{text}");
    }
}

#[test]
fn a_messages_load_is_what_was_offered_in_its_second() {
    let table = by_load(&campaign());
    assert_eq!(table.categories, ["1", "2", "3"]);
    let ours: Vec<(u64, Option<f64>)> =
        table.cells[0].iter().map(|cell| (cell.messages, cell.share())).collect();
    // The refused one counts as not delivered.
    assert_eq!(ours, [(2, Some(2.0 / 3.0 / 2.0)), (2, Some(0.5)), (3, Some(2.0 / 3.0))]);
    let flood: Vec<u64> = table.cells[1].iter().map(|cell| cell.messages).collect();
    assert_eq!(flood, [1, 0, 0]);
}

#[test]
fn many_loads_are_joined_and_every_message_stays_in() {
    // One message in the first second, two in the second one, and so on.
    let messages: Vec<MessageResult> =
        (1..=40).flat_map(|load| (0..load).map(move |_| sent("LOW", 1, 1, load * 1_000_000))).collect();
    let all = messages.len() as u64;
    let table = by_load(&one(messages));
    assert_eq!(table.categories.len(), 10);
    assert_eq!((table.categories[0].as_str(), table.categories[9].as_str()), ("1–13", "40"));
    assert_eq!(table.cells[0].iter().map(|cell| cell.messages).sum::<u64>(), all);
    assert!(table.cells[0].iter().all(|cell| cell.messages >= all / 25), "{table:?}");
}

#[test]
fn hops_are_categories_and_the_many_share_one() {
    let far = |hops| arrived(sent("LOW", 1, 1, 0), 1_000 * u64::from(hops), hops);
    let unknown = MessageResult { hops: None, ..far(1) };
    let table = by_hops(&one(vec![far(2), far(2), far(12), far(13), far(90), unknown, sent("LOW", 1, 1, 0)]));
    assert_eq!(table.categories, ["not known", "2", "12", "> 12"]);
    let samples: Vec<usize> = table.cells[0].iter().map(|q| q.samples).collect();
    assert_eq!(samples, [1, 2, 1, 2]);
    assert_eq!(table.cells[0][3].max_us, Some(90_000));
}

#[test]
fn curves_end_at_the_share_that_arrived() {
    let ours = arrivals(&campaign()).remove(0);
    assert_eq!((ours.offered, ours.arrived), (6, 3));
    assert_eq!(ours.curve, [(10_000, 1.0 / 6.0), (20_000, 2.0 / 6.0), (30_000, 0.5)]);
}

#[test]
fn nothing_gets_lost_between_seeds_stacks_and_groups() {
    for seed in 0..5 {
        let plan = Plan { stacks: ALL, seeds: 3, nodes: 12, floors: 2, messages: 300 };
        let campaign = synthetic::campaign(seed, plan);
        let stacks = summary(&campaign);
        assert_eq!(stacks.iter().map(|s| s.stack.as_str()).collect::<Vec<_>>(), ALL, "seed {seed}");
        for stack in &stacks {
            let all = &stack.all;
            assert_eq!(all.offered, 900, "seed {seed}");
            assert_eq!(all.offered, all.refused + all.sent, "seed {seed}");
            assert_eq!(all.sent, all.delivered + all.partly + all.undelivered, "seed {seed}");
            assert_eq!(all.sent, all.reported.values().map(Arrived::total).sum::<u64>(), "seed {seed}");
            assert_eq!(all.refused, all.refusals.values().sum::<u64>(), "seed {seed}");
            let groups = || stack.groups.iter().map(|group| &group.figures);
            assert_eq!(all.offered, groups().map(|f| f.offered).sum::<u64>(), "seed {seed}");
            assert_eq!(all.undelivered, groups().map(|f| f.undelivered).sum::<u64>(), "seed {seed}");
            let to_one: usize =
                stack.groups.iter().filter(|g| !g.everyone).map(|g| g.figures.latency.samples).sum();
            assert_eq!(all.latency.samples, to_one, "seed {seed}");
        }
        assert!(
            stacks[0].all.refused > 0 && stacks[2].all.undelivered > 0,
            "seed {seed}: the dice make bad news"
        );
        assert!(stacks[0].groups.iter().any(|group| group.everyone), "seed {seed}: and messages to everyone");
        for cells in by_load(&campaign).cells {
            assert_eq!(cells.iter().map(|cell| cell.messages).sum::<u64>(), 900, "seed {seed}");
        }
        let table = by_priority(&stacks);
        let samples = |place: usize| table.cells[place].iter().map(|q| q.samples).sum::<usize>();
        assert_eq!(samples(0) as u64, stacks[0].all.delivered + stacks[0].all.partly, "seed {seed}");
        let mut turned = campaign.clone();
        turned.runs.reverse();
        assert_eq!(summary(&turned), stacks, "seed {seed}: the order of runs says nothing");
    }
}

#[test]
fn the_summary_is_json_with_names_that_others_can_rely_on() {
    let json = serde_json::to_value(summary(&campaign())).expect("a summary has nothing that JSON has not");
    assert_eq!(json[0]["stack"], "mesh");
    assert_eq!(json[0]["airtime_us_per_byte"], 100.0);
    assert_eq!(json[0]["all"]["latency"]["p50_us"], 20_000);
    assert_eq!(json[0]["all"]["told"]["delivered"]["none"], 1);
    assert_eq!(json[0]["groups"][1]["priority"], "LOW");
}
