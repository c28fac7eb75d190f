//! Receivers that are away: the last gateway on the way keeps what is for them, brings it when they are back, and says so.

use std::collections::BTreeMap;

use ble_bearer::sim::StationId;
use firmware_sim::scenario::Scenario;
use mesh_agent::api::codec::Codec;
use mesh_agent::api::{Destination, Hello, Name, Outcome, SendRequest, StepKind};
use mesh_agent::{Client, MessageType};
use mesh_protocol::{Address, Duration, Rng};
use mesh_testbed::{Absence, Ending, Testbed, Workload, run_in};

/// Gateways west, hut and east in a row, and a device between west and hut.
const ROW: &str = r#"
    settle = "30s"
    offered = "40m"
    nodes = [
        { number = 0, name = "west", gateway = true },
        { number = 1 },
        { number = 2, name = "hut", gateway = true },
        { number = 3, name = "east", gateway = true },
    ]
    links.given = [
        { a = 0, b = 1, attenuation = 50 }, { a = 1, b = 2, attenuation = 50 }, { a = 2, b = 3, attenuation = 50 },
    ]
    layout.line = { nodes = 4, spacing = 5 }
    traffic = [ { from = 1, to = 2, bytes = 4, periodic = { every = "1h" } } ]
"#;

const WEST: usize = 0;
const HUT: usize = 1;
const EAST: usize = 2;
const SEED: u64 = 7;

fn address(node: u16) -> Address {
    Address::new(node + 1)
}

async fn attach(testbed: &Testbed, gateway: usize, name: &str) -> Client {
    testbed.connect(gateway, Hello::new(Name::new(name).unwrap()), Codec::Json).await.unwrap()
}

fn task(text: &str, within_s: u64) -> SendRequest {
    SendRequest::new("bob@0x0004".parse().unwrap(), MessageType::Task, text)
        .with_durable(true)
        .within(std::time::Duration::from_secs(within_s))
}

fn row() -> Scenario {
    Scenario::parse("row.toml", ROW).unwrap_or_else(|error| panic!("{error}"))
}

fn run<F, Fut>(script: F)
where
    F: FnOnce(Testbed) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    run_in(&row(), SEED, script).unwrap();
}

/// Waits until a counter of a gateway has come so far.
async fn until(testbed: &Testbed, client: &Client, name: &str, count: u64) {
    let mut seconds = 0;
    while counter(client, name).await < count {
        testbed.pause(Duration::from_secs(1)).await;
        seconds += 1;
        assert!(seconds < 300, "{name}: {:#?}", client.handle().status().await.unwrap().counters);
    }
}

async fn counter(client: &Client, name: &str) -> u64 {
    client.handle().status().await.unwrap().counters.get(name).copied().unwrap_or(0)
}

#[test]
fn the_gateway_before_a_receiver_that_is_away_keeps_a_message_and_brings_it_when_its_sender_is_away() {
    run(async |testbed| {
        let (alice, hut) = (attach(&testbed, WEST, "alice").await, attach(&testbed, HUT, "warden").await);
        let bob = attach(&testbed, EAST, "bob").await;
        testbed.pause(Duration::from_secs(60)).await;
        let first = alice.handle().send(task("while all are there", 60)).await.unwrap();
        assert_eq!(first.receipt().await.unwrap().outcome, Outcome::Delivered);
        drop(bob);
        testbed.cut(EAST).await.unwrap();
        let mut pending = alice.handle().send(task("water the roses", 1_200)).await.unwrap();
        let id = pending.accepted().await.unwrap().id;
        until(&testbed, &alice, "messages_kept_elsewhere", 1).await;
        assert_eq!(counter(&hut, "messages_kept_now").await, 1);

        // Now its sender is away, and its receiver comes back.
        drop(alice);
        testbed.cut(WEST).await.unwrap();
        testbed.restart(EAST).unwrap();
        let mut bob = attach(&testbed, EAST, "bob").await;
        let mut texts = Vec::new();
        while texts.last().is_none_or(|text| text != "water the roses") {
            let message = bob.inbox().next_message().await.unwrap();
            assert_eq!(message.id.node, address(0));
            texts.push(message.body.as_text().unwrap().to_owned());
        }
        until(&testbed, &hut, "messages_brought", 1).await;
        // And its sender hears of it, once it is back itself.
        testbed.restart(WEST).unwrap();
        let mut alice = attach(&testbed, WEST, "alice").await;
        let receipt = loop {
            match alice.inbox().next().await.unwrap() {
                mesh_agent::Incoming::Receipt(receipt) if receipt.id == id => break receipt,
                _ => {}
            }
        };
        assert_eq!(
            (receipt.outcome, receipt.at_node, receipt.hops),
            (Outcome::Delivered, Some(address(3)), Some(3))
        );
        let story = alice.handle().why(id).await.unwrap();
        assert!(story.steps.iter().any(|step| step.what == StepKind::Kept && step.node == Some(address(2))));
        testbed.pause(Duration::from_secs(60)).await;
        assert_eq!(counter(&hut, "messages_kept_now").await, 0);
        assert_eq!(hut.handle().status().await.unwrap().outbox, 0, "nothing is left of it");
        assert_eq!(alice.handle().status().await.unwrap().outbox, 0);
        let again = tokio::select! {
            message = bob.inbox().next_message() => Some(message),
            () = testbed.pause(Duration::from_secs(120)) => None,
        };
        assert!(again.is_none(), "once: {again:?}");
    });
}

#[test]
fn a_device_gets_what_was_kept_for_it_and_its_answer_goes_to_who_has_asked() {
    let mut scenario = ROW.replace("{ number = 3, name = \"east\", gateway = true },", "");
    scenario = scenario.replace("settle", "# Not a gateway, number 3 is a device.\n    settle");
    let scenario = Scenario::parse("device.toml", &scenario).unwrap_or_else(|error| panic!("{error}"));
    run_in(&scenario, SEED, async |testbed: Testbed| {
        let (mut alice, hut) = (attach(&testbed, WEST, "alice").await, attach(&testbed, HUT, "warden").await);
        testbed.pause(Duration::from_secs(60)).await;
        testbed.with(|world| world.set_powered(StationId(3), false));
        let ask = SendRequest::new(Destination::Node(address(3)), MessageType::Query, "how warm is it?");
        let ask = ask.with_durable(true).within(std::time::Duration::from_secs(600));
        let pending = alice.handle().send(ask).await.unwrap();
        until(&testbed, &hut, "messages_kept_now", 1).await;
        testbed.with(|world| world.set_powered(StationId(3), true));
        let receipt = pending.receipt().await.unwrap();
        assert_eq!((receipt.outcome, receipt.at_node), (Outcome::Delivered, Some(address(3))), "{receipt:?}");
        let answer = alice.inbox().next_message().await.unwrap();
        assert_eq!((answer.reply_to, answer.body.as_text()), (Some(receipt.id), Some("how warm is it?")));
        testbed.pause(Duration::from_secs(60)).await;
        assert_eq!(hut.handle().status().await.unwrap().outbox, 0);
    })
    .unwrap();
}

#[test]
fn when_who_keeps_a_message_is_gone_it_goes_straight_to_a_receiver_that_is_heard() {
    let aside = "{ a = 2, b = 3, attenuation = 50 }, { a = 1, b = 4, attenuation = 50 }, { a = 4, b = 3, attenuation = 50 },";
    let text = ROW.replace("{ a = 2, b = 3, attenuation = 50 },", aside).replace("nodes = 4", "nodes = 5");
    let scenario = Scenario::parse("two-ways.toml", &text).unwrap_or_else(|error| panic!("{error}"));
    run_in(&scenario, SEED, async |testbed: Testbed| {
        let alice = attach(&testbed, WEST, "alice").await;
        testbed.pause(Duration::from_secs(60)).await;
        testbed.with(|world| world.set_powered(StationId(4), false));
        testbed.cut(EAST).await.unwrap();
        let pending = alice.handle().send(task("it takes two ways", 1_200)).await.unwrap();
        until(&testbed, &alice, "messages_kept_elsewhere", 1).await;
        testbed.cut(HUT).await.unwrap();
        testbed.with(|world| world.set_powered(StationId(4), true));
        testbed.restart(EAST).unwrap();
        let mut bob = attach(&testbed, EAST, "bob").await;
        let receipt = pending.receipt().await.unwrap();
        assert_eq!((receipt.outcome, receipt.hops), (Outcome::Delivered, Some(3)), "{receipt:?}");
        assert_eq!(bob.inbox().next_message().await.unwrap().body.as_text(), Some("it takes two ways"));
        // And once, though the other one comes back with it.
        testbed.restart(HUT).unwrap();
        let hut = attach(&testbed, HUT, "warden").await;
        until(&testbed, &hut, "messages_brought", 1).await;
        assert_eq!(counter(&bob, "messages_repeated").await, 1);
        let again = tokio::select! {
            message = bob.inbox().next_message() => Some(message),
            () = testbed.pause(Duration::from_secs(60)) => None,
        };
        assert!(again.is_none(), "{again:?}");
        until(&testbed, &alice, "settlements_of_nothing", 1).await;
    })
    .unwrap();
}

#[test]
fn what_a_gateway_has_no_room_to_keep_goes_on_by_itself() {
    run(async |testbed| {
        const MESSAGES: usize = 70;
        let (alice, hut) = (attach(&testbed, WEST, "alice").await, attach(&testbed, HUT, "warden").await);
        drop(attach(&testbed, EAST, "bob").await);
        testbed.pause(Duration::from_secs(60)).await;
        testbed.cut(EAST).await.unwrap();
        let mut pending = Vec::new();
        for n in 0..MESSAGES {
            pending.push(alice.handle().send(task(&n.to_string(), 1_800)).await.unwrap());
        }
        until(&testbed, &hut, "messages_not_kept", 1).await;
        assert_eq!(counter(&hut, "messages_kept_now").await, 64, "of one agent");
        testbed.restart(EAST).unwrap();
        let mut bob = attach(&testbed, EAST, "bob").await;
        let mut came = std::collections::BTreeSet::new();
        while came.len() < MESSAGES {
            let text = bob.inbox().next_message().await.unwrap().body.as_text().unwrap().to_owned();
            assert!(came.insert(text.clone()), "{text} came twice");
        }
        for pending in pending {
            assert_eq!(pending.receipt().await.unwrap().outcome, Outcome::Delivered);
        }
        testbed.pause(Duration::from_secs(60)).await;
        assert_eq!(counter(&hut, "messages_kept_now").await, 0);
    });
}

/// Everyone is back long before.
const DEADLINE_MS: u32 = 1_200_000;

/// Seeds of the random test: `KEEPING_RUNS`, from `KEEPING_SEED` on.
fn seeds() -> std::ops::Range<u64> {
    let number =
        |name: &str, usual| std::env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(usual);
    let first = number("KEEPING_SEED", 1);
    first..first + number("KEEPING_RUNS", 6)
}

/// Each gateway is away now and then: east for long, so that what is for it is kept, the others at any moment of that, amid a sentence or
/// a write. All have power at the end.
fn absences(rng: &mut Rng) -> Vec<Absence> {
    let mut absences = Vec::new();
    for gateway in [WEST, HUT, EAST] {
        let (times, longest) =
            if gateway == EAST { (1 + rng.below(3), 200_000) } else { (rng.below(3), 40_000) };
        let mut after = 0;
        for _ in 0..times {
            after += 500 + rng.below(30_000);
            let lasts = 500 + rng.below(longest);
            let how = [Ending::Cut, Ending::MidSentence, Ending::Stop][rng.below(3) as usize];
            absences.push(Absence {
                gateway,
                after: Duration::from_millis(after),
                lasts: Duration::from_millis(lasts),
                how,
            });
            after += lasts;
        }
    }
    absences
}

#[test]
fn nothing_is_lost_or_comes_twice_though_everyone_loses_its_power_while_messages_are_kept() {
    let scenario = row();
    let mut all = BTreeMap::<String, u64>::new();
    let mut accepted = 0;
    for seed in seeds() {
        let absences = absences(&mut Rng::stream(seed, "absences"));
        let gap = Duration::from_secs(6);
        let usual = Workload::default();
        let workload = Workload {
            agents: 1,
            messages: 16,
            gap,
            deadline_ms: DEADLINE_MS,
            echo: false,
            absences,
            ..usual
        };
        let (report, counters) = workload.run_in(&scenario, seed).unwrap();
        let found = (&report.problems, report.open);
        assert_eq!(found, (&Vec::new(), 0), "seed {seed}, KEEPING_SEED to repeat it");
        // It ends when all is completed: but for answers to queries, which are wanted for a minute, nothing waited for its deadline.
        assert!(report.ended_us < u64::from(DEADLINE_MS) * 1_000, "seed {seed}: {} µs", report.ended_us);
        accepted += report.accepted;
        for (name, count) in counters {
            *all.entry(name).or_default() += count;
        }
    }
    let count = |name: &str| all.get(name).copied().unwrap_or(0);
    println!(
        "seeds {:?}: {accepted} accepted; of the last runs of their gateways: {} kept elsewhere, {} kept, {} brought, {} settled twice",
        seeds(),
        count("messages_kept_elsewhere"),
        count("messages_kept"),
        count("messages_brought"),
        count("settlements_of_nothing"),
    );
    assert!(
        ["messages_kept_elsewhere", "messages_kept", "messages_brought"].iter().all(|name| count(name) > 0)
    );
}
