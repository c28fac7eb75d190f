//! Cases in which the simulator once said something else than what happened.

use firmware_sim::play::{StackKind, play};
use firmware_sim::results::{MessageResult, RunResult};
use firmware_sim::scenario::Scenario;

fn run(name: &str, text: &str, stack: StackKind) -> RunResult {
    let scenario = Scenario::parse(name, text).unwrap_or_else(|error| panic!("{error}"));
    play(&scenario, stack, 1, false)
}

#[test]
fn a_floods_receiver_that_says_nothing_has_what_arrived() {
    let result = run("flood_leaf.toml", include_str!("cases/flood_leaf.toml"), StackKind::Flood);
    assert_eq!(result.messages.len(), 10);
    for message in &result.messages {
        assert!(message.delivered_us.unwrap() - message.sent_us.unwrap() < 100_000, "{message:?}");
    }
}

#[test]
fn what_a_device_cannot_send_in_time_is_refused_or_expires_and_the_urgent_goes_first() {
    let result =
        run("deadline_and_order.toml", include_str!("cases/deadline_and_order.toml"), StackKind::Mesh);
    let of = |priority: &str| -> Vec<&MessageResult> {
        result.messages.iter().filter(|message| message.priority == priority).collect()
    };
    let (low, critical) = (of("LOW"), of("CRITICAL"));
    let refused = low.iter().filter(|message| message.refused.as_deref() == Some("busy")).count();
    // 32 wait, two are at the node, which keeps its third place for what is CRITICAL.
    assert_eq!((low.len(), refused), (200, 166));
    for message in low.iter().filter(|message| message.refused.is_none()) {
        let took = message.delivered_us.map(|at| at - message.sent_us.unwrap());
        // A frame on the air at the deadline may still arrive.
        assert!(took.is_none_or(|took| took < 1_050_000), "{message:?}");
        let told = message.outcome.as_deref();
        assert!(matches!(told, Some("delivered" | "expired" | "unknown")), "{message:?}");
        assert!(told != Some("delivered") || took.is_some(), "{message:?}");
        assert!(told != Some("expired") || took.is_none(), "{message:?}");
    }
    assert!(low.iter().any(|message| message.outcome.as_deref() == Some("expired")));
    for message in &critical {
        assert!(message.delivered_us.unwrap() - message.sent_us.unwrap() < 150_000, "{message:?}");
    }
    assert_eq!(critical.len(), 10);
}

#[test]
fn nobody_answers_a_call_to_everyone_with_a_receipt() {
    let result = run("receipts_to_all.toml", include_str!("cases/receipts_to_all.toml"), StackKind::Mesh);
    let call = &result.messages[0];
    assert_eq!((call.reached, call.wanted, call.outcome.as_deref()), (11, 11, Some("sent")));
    assert_eq!(result.airtime_us.get("receipt"), None, "{:?}", result.airtime_us);
}

#[test]
fn a_message_to_all_that_plain_devices_cannot_take_is_refused() {
    let text = include_str!("cases/1k_to_devices.toml");
    let result = run("1k_to_devices.toml", text, StackKind::Mesh);
    assert_eq!(result.messages.len(), 8);
    for message in &result.messages {
        assert_eq!((message.refused.as_deref(), message.sent_us), (Some("too long"), None));
    }
    assert_eq!(result.airtime_us.get("data"), None, "nothing of them is on the air");
    // A message to one of them is refused there, and its sender hears so.
    let one =
        text.replace("\"everyone\"", "7").replace("burst = { size = 1, every = \"40s\" }", "bulk.count = 1");
    let result = run("1k_to_one.toml", &one, StackKind::Mesh);
    let told = result.messages.iter().map(|message| (message.reached, message.outcome.as_deref()));
    assert_eq!(told.collect::<Vec<_>>(), [(0, Some("rejected"))]);
}

/// Four nodes in a row; node 0 sends to node 3.
const ROW: &str = "settle = \"20s\"\noffered = \"20s\"\nlayout.line = { nodes = 4, spacing = 1 }\n\
    links.radius = { reach = 1.2, attenuation = 80, beyond = 195, loss = 0.2 }\n\
    traffic = [ { from = 0, to = 3, bytes = 60, priority = \"HIGH\", periodic.every = \"2s\" },\n\
    { from = 1, to = \"everyone\", bytes = 8, periodic.every = \"5s\" } ]\n";

#[test]
fn the_way_of_each_message_is_known_hop_by_hop_whichever_stack_carried_it() {
    let scenario = Scenario::parse("row.toml", ROW).unwrap();
    for stack in StackKind::ALL {
        let result = play(&scenario, stack, 3, true);
        let one = || result.messages.iter().filter(|message| message.to.is_some());
        let arrived = one().filter(|message| message.reached > 0).count();
        assert!(arrived >= 4, "{}: {arrived}", stack.name());
        for message in one().filter(|message| message.reached > 0) {
            let nodes: Vec<u32> = message.way.iter().map(|step| step.node).collect();
            assert_eq!(nodes, [0, 1, 2, 3], "{}: {:?}", stack.name(), message.way);
            let times: Vec<u64> =
                message.way.iter().flat_map(|step| [step.heard_us, step.sent_us]).flatten().collect();
            assert!(times.len() == 6 && times.is_sorted(), "{}: {:?}", stack.name(), message.way);
            let (sent, delivered) = (message.sent_us.unwrap(), message.delivered_us.unwrap());
            assert!(sent <= times[0] && times[5] <= delivered, "{}: {message:?}", stack.name());
        }
        assert_eq!(result.hop.samples, 3 * arrived);
        assert!(
            result.messages.iter().filter(|message| message.to.is_none()).all(|call| call.way.is_empty())
        );
        let latency: Vec<_> =
            result.latency.iter().map(|group| (group.priority.as_str(), group.everyone)).collect();
        assert_eq!(latency, [("HIGH", false), ("MEDIUM", true)], "{}", stack.name());
        let times = result.latency[0].times;
        assert_eq!(times.samples, arrived);
        assert!(times.min_us < times.p50_us && times.p50_us <= times.p90_us && times.p90_us <= times.max_us);
        // Four of five events get through the loss, and some of them meet a receiver that sends or changes its channel.
        assert_eq!(result.links.len(), 6);
        for link in &result.links {
            let back = result.links.iter().find(|back| (back.to, back.from) == (link.from, link.to)).unwrap();
            assert_eq!(link.etx, Some(1.0 / (link.delivery * back.delivery)));
            assert!((1.0 / 0.64..3.5).contains(&link.etx.unwrap()), "{link:?}");
        }
        let plain = play(&scenario, stack, 3, false);
        assert_eq!(plain.trace, result.trace, "to be followed changes nothing");
        assert!(plain.messages.iter().all(|message| message.way.is_empty()));
    }
}
