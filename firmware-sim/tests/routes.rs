//! Routes that a scenario gives to its devices: they go by them, also after a power cut, and lose nothing by wrong ones.

use ble_bearer::sim::StationId;
use firmware_sim::play::{StackKind, field::with_seats, play, post};
use firmware_sim::scenario::{Flash, Scenario};
use firmware_sim::stack::{Order, Target, mesh::Mesh};
use firmware_sim::{Device, Options};
use mesh_protocol::{Address, Discard, Duration, Instant, MessageType, NetKey, Priority};

/// Two paths from 0 to 3, by 1 and by 2.
const DIAMOND: &str = r#"
    settle = "30s"
    offered = "10s"
    links.given = [
        { a = 0, b = 1, attenuation = 50 }, { a = 0, b = 2, attenuation = 50 },
        { a = 1, b = 3, attenuation = 50 }, { a = 2, b = 3, attenuation = 50 },
    ]
    layout.line = { nodes = 4, spacing = 5 }
    traffic = [ { from = 0, to = 3, bytes = 40, priority = "HIGH", burst = { size = 3, every = "10s" } } ]
"#;

fn scenario(nodes: &str) -> Scenario {
    Scenario::parse("diamond.toml", &format!("nodes = [{nodes}]\n{DIAMOND}"))
        .unwrap_or_else(|error| panic!("{error}"))
}

/// How many frames nodes 1 and 2 relayed of a message from 0 to 3, and how many they left to another.
fn by_each(scenario: &Scenario) -> [(u64, u64); 2] {
    let (mut world, seats) = with_seats(scenario, 1);
    assert!(seats.is_empty());
    world.advance(Instant::ZERO + Duration::from_secs(30));
    let order = Order {
        to: Target::Node(3),
        kind: MessageType::Notification,
        priority: Priority::High,
        body: vec![7; 40],
        within: Duration::from_secs(20),
        echo: false,
    };
    let device = |node: Option<&Mesh>| node.unwrap().device().stats().clone();
    let stats = |world: &firmware_sim::play::field::Field<Mesh>| {
        [1, 2].map(|n| device(world.station(StationId(n)).and_then(|place| place.node())))
    };
    let before = stats(&world);
    post(&mut world, 0, &order).unwrap();
    world.advance(Instant::ZERO + Duration::from_secs(32));
    let after = stats(&world);
    let arrived = world.station(StationId(3)).and_then(|place| place.node()).unwrap();
    assert_eq!(arrived.device().delivered().len(), 1);
    [0, 1].map(|n| {
        let left = |stats: &mesh_protocol::Stats| stats.discarded(Discard::NotNextHop);
        (after[n].frames_relayed - before[n].frames_relayed, left(&after[n]) - left(&before[n]))
    })
}

#[test]
fn only_the_next_hop_passes_a_message_on() {
    let [one, two] = by_each(&scenario("{ number = 0, routes = { 3 = 1 } }"));
    // Only the first segment and the messages between nodes name their next hop; those behind it say by their context whose they are.
    assert!(one.0 >= 5 && two.0 == 0 && two.1 >= 1, "1: {one:?}, 2: {two:?}");
    assert_eq!(one.1, 0, "1 was asked");
    let [one, two] = by_each(&scenario(""));
    assert!((one.0 == 0) != (two.0 == 0), "a learned one leads over either: 1: {one:?}, 2: {two:?}");
}

#[test]
fn with_wrong_routes_everything_arrives_all_the_same_and_other_stacks_know_none() {
    let lost = "{ number = 0, routes = { 3 = 1 } }, { number = 1, relay = false }";
    let round = "{ number = 0, routes = { 3 = 1 } }, { number = 1, routes = { 3 = 2 } }, \
                 { number = 2, routes = { 3 = 1 } }";
    for nodes in [lost, round] {
        let result = play(&scenario(nodes), StackKind::Mesh, 1, false);
        let delivered = result.messages.iter().filter(|message| message.delivered_us.is_some()).count();
        assert_eq!(delivered, 3, "{nodes}");
    }
    for stack in [StackKind::Sig, StackKind::Flood] {
        let [with, without] =
            [scenario(round), scenario("")].map(|scenario| play(&scenario, stack, 1, false).trace);
        assert_eq!(with, without, "{stack:?}");
    }
}

#[test]
fn a_device_has_its_routes_whenever_it_starts_and_as_many_as_fit() {
    let route = |to: u16| (Address::new(to), Address::new(2));
    for (gateway, most) in [(false, 96), (true, 1_024)] {
        let options = Options { gateway, routes: (3..1_200).map(route).collect(), ..Options::default() };
        let key = NetKey::new([3; 16]);
        let mut device = Device::with(Instant::ZERO, Address::new(1), &key, 1, 1, options);
        assert_eq!(device.snapshot(Instant::ZERO).routes, (most, most));
        device.cut(Flash::Kept);
        let later = Instant::ZERO + Duration::from_secs(1);
        device.restart(later);
        assert_eq!(device.snapshot(later).routes, (most, most), "after a power cut");
    }
}
