//! Radios of several kinds on one air: what each sends, what each hears, and how often.

use firmware_sim::play::{StackKind, play};
use firmware_sim::results::RunResult;
use firmware_sim::scenario::Scenario;

/// Three nodes in earshot; node 0 sends a message of 8 bytes to node 1 every two seconds.
const THREE: &str = "settle = \"5s\"\noffered = \"20s\"\nlayout.line = { nodes = 3, spacing = 1 }\n\
    links.radius = { reach = 5, attenuation = 80, beyond = 195 }\n\
    traffic = [ { from = 0, to = 1, bytes = BYTES, periodic.every = \"2s\" } ]\n";

fn run(stack: StackKind, bytes: u32, more: &str) -> RunResult {
    let text = format!("{}{more}", THREE.replace("BYTES", &bytes.to_string()));
    let scenario = Scenario::parse("x.toml", &text).unwrap_or_else(|error| panic!("{error}"));
    play(&scenario, stack, 1, false)
}

fn reached(result: &RunResult) -> u32 {
    result.messages.iter().map(|message| message.reached).sum()
}

#[test]
fn a_long_frame_takes_half_the_air_on_2m_and_nobody_without_that_phy_hears_it() {
    // A flood of one part: 11 bytes of header, opcode and body are one long frame.
    let on =
        |phy: &str| run(StackKind::Flood, 200, &format!("radio = {{ extended = true, phy = \"{phy}\" }}\n"));
    let [one, two, coded] = ["1M", "2M", "coded"].map(on);
    assert!([&one, &two, &coded].iter().all(|result| reached(result) == 10));
    let air =
        |result: &RunResult| result.airtime_us.values().sum::<u64>() as f64 / result.air["events"] as f64;
    // Three pointers of 136 us, and the long PDU with 216 bytes of data.
    assert_eq!(air(&one), 3.0 * 136.0 + 80.0 + 8.0 * 226.0);
    assert_eq!(air(&two), 3.0 * 136.0 + 44.0 + 4.0 * 226.0);
    assert_eq!(air(&coded), 3.0 * 136.0 + 720.0 + 64.0 * 226.0);
    let deaf = "radio = { extended = true, phy = \"2M\" }\nnodes = [ { number = 1, phy = \"1M\" } ]\n";
    assert_eq!(reached(&run(StackKind::Flood, 200, deaf)), 0);
    let hears = "radio = { extended = true, phy = \"1M\" }\nnodes = [ { number = 1, phy = \"2M\" } ]\n";
    assert_eq!(reached(&run(StackKind::Flood, 200, hears)), 10, "every one hears LE 1M");
}

#[test]
fn a_receiver_that_has_nothing_to_say_has_what_arrived() {
    // Two nodes: the receiver relays nothing and answers nothing.
    let two = "layout.line = { nodes = 2, spacing = 1 }\nlinks.radius = { reach = 2, attenuation = 90, beyond = 195 }\n\
        traffic = [ { from = 0, to = 1, bytes = 8, periodic.every = \"2s\" } ]\noffered = \"20s\"\n";
    let scenario = Scenario::parse("x.toml", two).unwrap();
    for stack in StackKind::ALL {
        let result = play(&scenario, stack, 1, false);
        let late = result
            .messages
            .iter()
            .filter(|message| message.delivered_us.is_none_or(|at| at > message.sent_us.unwrap() + 100_000));
        assert_eq!((reached(&result), late.count()), (10, 0), "{}", stack.name());
    }
}

#[test]
fn nodes_of_both_kinds_understand_each_other_and_a_flood_is_cut_for_the_shortest_frame() {
    let mixed = "radio = { extended = true }\nnodes = [ { number = 1, extended = false } ]\n";
    for stack in StackKind::ALL {
        let result = run(stack, 60, mixed);
        assert_eq!(reached(&result), 10, "{}", stack.name());
    }
}

#[test]
fn a_gateway_on_a_pi_holds_each_frame_and_sends_no_faster_than_it_can() {
    let nodes = "nodes = [ { number = 0, gateway = true, controller = \"pi4\" } ]\n";
    let (plain, held) = (run(StackKind::Mesh, 300, ""), run(StackKind::Mesh, 300, nodes));
    assert_eq!((reached(&plain), reached(&held)), (10, 10));
    let mean = |result: &RunResult| {
        let took =
            result.messages.iter().map(|message| message.delivered_us.unwrap() - message.sent_us.unwrap());
        took.sum::<u64>() / 10
    };
    // 31.5 ms for each of more than 30 segments, where firmware needs 12 ms.
    assert!(mean(&held) > 2 * mean(&plain), "{} {}", mean(&held), mean(&plain));
    let refused = "nodes = [ { number = 0, controller = \"pi4\", extended = true } ]\n";
    let text = format!("{}{refused}", THREE.replace("BYTES", "1"));
    let error = Scenario::parse("x.toml", &text).unwrap_err().to_string();
    assert!(error.contains("has no `extended` advertising"), "{error}");
}
