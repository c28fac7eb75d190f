//! What a gateway tells of the way of its messages, over five hops of simulated air: why one came late and why others did not arrive, and
//! who stands on the way.

use ble_bearer::sim::StationId;
use firmware_sim::scenario::Scenario;
use mesh_agent::api::codec::Codec;
use mesh_agent::api::{
    Body, Destination, Hello, Name, Outcome, Receipt, SendRequest, StepKind, Timeline, WaitedFor,
};
use mesh_agent::{Client, MessageType};
use mesh_protocol::{Address, Duration};
use mesh_testbed::{Testbed, run_in};

/// Gateways at both ends of a row, four devices between, and another device beside the first of them.
const ROW: &str = r#"
    settle = "30s"
    offered = "10m"
    nodes = [
        { number = 0, name = "west", gateway = true },
        { number = 1, routes = { 0 = 0, 5 = 2 } },
        { number = 2, routes = { 0 = 1, 5 = 3 } },
        { number = 3, routes = { 0 = 2, 5 = 4 } },
        { number = 4, routes = { 0 = 3, 5 = 5 } },
        { number = 5, name = "east", gateway = true },
    ]
    links.given = [
        { a = 0, b = 1, attenuation = 50 }, { a = 1, b = 2, attenuation = 50 },
        { a = 2, b = 3, attenuation = 50 }, { a = 3, b = 4, attenuation = 50 },
        { a = 4, b = 5, attenuation = 50 },
        { a = 0, b = 6, attenuation = 50 }, { a = 6, b = 2, attenuation = 50 },
    ]
    layout.line = { nodes = 7, spacing = 5 }
    traffic = [ { from = 1, to = 2, bytes = 4, periodic = { every = "1h" } } ]
"#;

const SEED: u64 = 7;

fn address(node: u16) -> Address {
    Address::new(node + 1)
}

async fn attach(testbed: &Testbed, gateway: usize, name: &str) -> Client {
    testbed.connect(gateway, Hello::new(Name::new(name).unwrap()), Codec::Json).await.unwrap()
}

fn task(to: &str, within_s: u64) -> SendRequest {
    SendRequest::new(to.parse().unwrap(), MessageType::Task, "are the roses wet?")
        .within(std::time::Duration::from_secs(within_s))
}

/// The routes of both gateways, along the row.
async fn give_routes(west: &Client, east: &Client) {
    west.handle().add_route(address(5), address(1), 1).await.unwrap();
    east.handle().add_route(address(0), address(4), 1).await.unwrap();
}

async fn story(client: &Client, send: SendRequest) -> (Receipt, Timeline) {
    let receipt = client.handle().send(send).await.unwrap().receipt().await.unwrap();
    let timeline = client.handle().why(receipt.id).await.unwrap();
    (receipt, timeline)
}

fn kinds(timeline: &Timeline) -> Vec<StepKind> {
    timeline.steps.iter().map(|step| step.what).collect()
}

fn run<F, Fut>(script: F)
where
    F: FnOnce(Testbed) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let scenario = Scenario::parse("row.toml", ROW).unwrap_or_else(|error| panic!("{error}"));
    run_in(&scenario, SEED, script).unwrap();
}

#[test]
fn a_trace_shows_all_five_hops_and_a_ping_their_time() {
    run(async |testbed| {
        let (west, east) = (attach(&testbed, 0, "alice").await, attach(&testbed, 1, "bob").await);
        testbed.pause(Duration::from_secs(70)).await;
        give_routes(&west, &east).await;

        let pong = west.handle().ping_node(address(5), 3_000).await.unwrap();
        assert_eq!((pong.node, pong.hops), (address(5), Some(5)));
        // No faster than a gateway asks.
        testbed.pause(Duration::from_secs(1)).await;
        let nobody = west.handle().ping_node(address(30), 1_000).await.unwrap();
        assert_eq!((nobody.round_trip_us, nobody.hops), (None, None));

        let mut trace = west.handle().trace_node(address(5), 3_000).await.unwrap();
        // An answer may be lost: it is asked once.
        for _ in 0..10 {
            if trace.hops.len() == 6 {
                break;
            }
            testbed.pause(Duration::from_secs(2)).await;
            trace = west.handle().trace_node(address(5), 3_000).await.unwrap();
        }
        assert!(trace.reached, "{trace:?}");
        let way: Vec<_> = trace.hops.iter().map(|hop| (hop.hop, hop.node, hop.next_hop)).collect();
        let expected: Vec<_> = (0..6)
            .map(|hop| (hop, address(hop.into()), (hop < 5).then(|| address(u16::from(hop) + 1))))
            .collect();
        assert_eq!(way, expected);
        for hop in &trace.hops[..5] {
            assert!(hop.link.is_some_and(|link| link > 0.8), "{hop:?}");
        }
        assert!(trace.hops[1..].iter().all(|hop| hop.after_us > 0), "{trace:?}");
        println!("{trace:#?}");
    });
}

#[test]
fn why_tells_of_a_repair() {
    run(async |testbed| {
        let (west, mut east) = (attach(&testbed, 0, "alice").await, attach(&testbed, 1, "bob").await);
        testbed.pause(Duration::from_secs(70)).await;
        give_routes(&west, &east).await;
        let (receipt, timeline) = story(&west, task("bob", 30)).await;
        assert_eq!((receipt.outcome, receipt.detail), (Outcome::Delivered, None));
        let sent = timeline.steps.iter().find(|step| step.what == StepKind::Sent).unwrap();
        assert_eq!(sent.node, Some(address(1)), "by its route");
        east.inbox().next_message().await.unwrap();

        // The next hop of the route loses its power; the device beside it is still there.
        testbed.with(|world| world.set_powered(StationId(1), false));
        let (receipt, timeline) = story(&west, task("bob", 30)).await;
        println!("{timeline:#?}");
        assert_eq!(receipt.outcome, Outcome::Delivered);
        let kinds = kinds(&timeline);
        assert_eq!(kinds[..2], [StepKind::Accepted, StepKind::Stored]);
        let asked = kinds.iter().position(|kind| *kind == StepKind::Sent).unwrap();
        assert_eq!(timeline.steps[asked].node, Some(address(1)));
        let repeated = timeline.steps.iter().find(|step| step.what == StepKind::Repeated).unwrap();
        assert_eq!(repeated.node, Some(address(1)), "it was not heard to pass it on");
        let repaired = [StepKind::SecondHop, StepKind::Repair, StepKind::Flooded, StepKind::FloodedAgain];
        assert!(kinds[asked..].iter().any(|kind| repaired.contains(kind)), "{kinds:?}");
        let end = timeline.steps.last().unwrap();
        assert_eq!((end.what, end.outcome), (StepKind::Ended, Some(Outcome::Delivered)));
        assert!(timeline.steps.is_sorted_by_key(|step| step.at_us), "{timeline:?}");
        east.inbox().next_message().await.unwrap();
    });
}

#[test]
fn why_and_receipt_tell_where_a_message_stood_that_did_not_arrive() {
    run(async |testbed| {
        let (west, east) = (attach(&testbed, 0, "alice").await, attach(&testbed, 1, "bob").await);
        testbed.pause(Duration::from_secs(70)).await;
        give_routes(&west, &east).await;

        // Nobody knows that agent.
        let (receipt, timeline) = story(&west, task("nobody", 5)).await;
        let detail = receipt.detail.unwrap();
        assert_eq!((receipt.outcome, detail.waited_for), (Outcome::Expired, WaitedFor::Name));
        assert_eq!((detail.last_hop, detail.hops_on), (None, None));
        assert!(detail.since_ms.is_some_and(|ms| (4_900..=5_000).contains(&ms)), "{detail:?}");
        assert_eq!(
            kinds(&timeline),
            [StepKind::Accepted, StepKind::Stored, StepKind::Naming, StepKind::Ended]
        );

        // The other gateway and the device before it are off: it goes as far as there is somebody.
        testbed.with(|world| world.set_powered(StationId(4), false));
        testbed.cut(1).await.unwrap();
        let (receipt, timeline) = story(&west, task("bob@0x0006", 8)).await;
        println!("{timeline:#?}\n{receipt:#?}");
        let detail = receipt.detail.unwrap();
        assert_eq!(receipt.outcome, Outcome::Unknown);
        let what = [WaitedFor::Answer, WaitedFor::Route, WaitedFor::Air];
        assert!(what.contains(&detail.waited_for), "{detail:?}");
        assert!(detail.since_ms.is_some_and(|ms| ms <= 8_000), "{detail:?}");
        let kinds = kinds(&timeline);
        assert!(kinds.contains(&StepKind::Sent) && kinds.contains(&StepKind::FloodedAgain), "{kinds:?}");
        let end = timeline.steps.last().unwrap();
        assert_eq!((end.what, end.outcome), (StepKind::Ended, Some(Outcome::Unknown)));

        // What another gateway took over, and what nobody knows of.
        for id in ["0x0006/1", "0x0001/999999"] {
            assert!(west.handle().why(id.parse().unwrap()).await.is_err(), "{id}");
        }
    });
}

/// Devices once counted themselves among those that have a message to everyone, though they had no room to put its parts together.
#[test]
fn who_refuses_a_message_to_everyone_is_not_counted_as_one_that_has_it() {
    run(async |testbed| {
        let (west, mut east) = (attach(&testbed, 0, "alice").await, attach(&testbed, 1, "bob").await);
        testbed.pause(Duration::from_secs(70)).await;
        let send = |bytes| {
            SendRequest::new(Destination::Everyone, MessageType::Notification, Body::data(vec![7; bytes]))
        };
        for (bytes, reached) in [(8, 6), (1_500, 1)] {
            let receipt = west.handle().send(send(bytes)).await.unwrap().receipt().await.unwrap();
            assert_eq!(receipt.outcome, Outcome::Sent);
            assert_eq!(
                receipt.detail.and_then(|detail| detail.reached),
                Some(reached),
                "{bytes}: {receipt:?}"
            );
            assert_eq!(east.inbox().next_message().await.unwrap().body.bytes().len(), bytes);
        }
    });
}
