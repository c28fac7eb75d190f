//! To a neighbour that is known to hear this node well: said once, and passed on by nobody.

use mesh_protocol::frame::Kind;
use mesh_protocol::{Priority, SendOutcome, SmallNode};

use crate::net::{INFO, Net, Reception, address, ms, open, secs, text};

/// Four nodes that all hear each other and have counted each other's hellos.
fn acquainted() -> Net {
    let mut net = Net::<SmallNode>::full(4);
    net.run(secs(70));
    for station in &net.stations {
        assert!(station.node.neighbours().all(|neighbour| neighbour.delivery_out == Some(255)));
    }
    net.air.clear();
    net
}

/// From now on 0 hears nobody: nothing is answered, and all copies go out.
fn deafen(net: &mut Net) {
    net.rule(|_, to| if to == 0 { Reception::Lose } else { Reception::Pass });
}

/// Frames of messages and their answers so far, as (station, TTL); hellos left out.
fn said(net: &Net) -> Vec<(usize, u8)> {
    let frames = net.air.iter().map(|frame| (frame.from, open(&frame.bytes)));
    frames.filter(|(_, frame)| frame.dst != 0xffff).map(|(from, frame)| (from, frame.ttl)).collect()
}

#[test]
fn a_message_to_a_neighbour_costs_a_frame_a_segment_and_one_for_the_receipt() {
    for priority in [Priority::High, Priority::Medium, Priority::Low] {
        let mut net = acquainted();
        net.send(0, address(1), priority, secs(5), &text(25)).unwrap();
        net.run(secs(1));
        let mut said = said(&net);
        said.sort_unstable();
        // Two of them are continuation frames, which say nothing of TTL.
        assert_eq!(said, [(0, 1), (0, 4), (0, 4), (1, 1)], "{priority}: 29 bytes are three segments");
    }
}

#[test]
fn what_was_answered_is_not_repeated() {
    for priority in Priority::ALL {
        let mut net = Net::<SmallNode>::full(2);
        let id = net.send(0, address(1), priority, secs(5), &text(60)).unwrap();
        net.run(ms(60));
        let before = said(&net).iter().filter(|(from, _)| *from == 0).count();
        net.run_until(secs(5), |net| net.outcome(0, id).is_some());
        net.air.clear();
        net.run(secs(2));
        assert!(before > 0 && said(&net).iter().all(|(from, _)| *from != 0), "{priority}: {:?}", said(&net));
    }
}

#[test]
fn segments_that_nobody_passes_on_leave_nobody_a_pause() {
    let mut net = acquainted();
    net.send(0, address(1), Priority::Low, secs(5), &text(25)).unwrap();
    net.run(ms(500));
    let own = net.air.iter().filter(|frame| frame.from == 0 && open(&frame.bytes).kind == Kind::Segment);
    let at: Vec<_> = own.map(|frame| frame.at).collect();
    assert_eq!(at.len(), 3);
    assert!(at.windows(2).all(|pair| pair[1].since(pair[0]) == INFO.min_gap), "{at:?}");
}

#[test]
fn the_urgent_take_every_way() {
    let mut net = acquainted();
    deafen(&mut net);
    net.send(0, address(1), Priority::Critical, secs(5), b"fire").unwrap();
    net.run(ms(110));
    let said = said(&net);
    assert_eq!(said.iter().filter(|frame| **frame == (0, 7)).count(), 3, "three copies");
    assert!(said.contains(&(2, 6)) && said.contains(&(3, 6)), "and everybody passes them on");
}

#[test]
fn what_a_neighbour_missed_is_said_to_all() {
    // From now on 1 does not hear 0 any more, and 0 cannot know.
    let mut net = acquainted();
    net.rule(|frame, to| if (frame.from, to) == (0, 1) { Reception::Lose } else { Reception::Pass });
    let id = net.send(0, address(1), Priority::Medium, secs(5), b"hi").unwrap();
    net.run(secs(2));
    assert_eq!(net.outcome(0, id).unwrap().1, SendOutcome::Delivered, "by way of another");
    let own: Vec<u8> = said(&net).iter().filter(|(from, _)| *from == 0).map(|(_, ttl)| *ttl).collect();
    let direct = own.iter().take_while(|ttl| **ttl == 1).count();
    assert!((2..8).contains(&direct) && own[direct] == 7, "some times directly, then to all: {own:?}");
    assert_eq!(net.received(1).len(), 1);
}

#[test]
fn a_lost_receipt_is_said_again_to_all() {
    let mut net = acquainted();
    net.rule(|frame, to| if (frame.from, to) == (1, 0) { Reception::Lose } else { Reception::Pass });
    let id = net.send(0, address(1), Priority::Medium, secs(5), b"hi").unwrap();
    net.run(secs(2));
    assert_eq!(net.outcome(0, id).unwrap().1, SendOutcome::Delivered, "by way of another");
    let answers: Vec<u8> = said(&net).iter().filter(|(from, _)| *from == 1).map(|(_, ttl)| *ttl).collect();
    assert_eq!(answers.first(), Some(&1));
    assert!(answers[1..].iter().filter(|ttl| **ttl == 7).count() >= 3, "{answers:?}");
}

#[test]
fn before_enough_hellos_were_counted_nothing_is_taken_for_granted() {
    let mut net = Net::<SmallNode>::full(2);
    net.run(secs(2));
    net.air.clear();
    deafen(&mut net);
    net.send(0, address(1), Priority::Medium, secs(5), b"hi").unwrap();
    net.run(ms(100));
    assert_eq!(said(&net).iter().filter(|frame| **frame == (0, 7)).count(), 3);
}

#[test]
fn hellos_heard_before_are_no_use_to_who_repeats_them() {
    // An outsider records the hellos of 1, which then goes away, and repeats them: 1 does not seem to be there.
    let mut net = acquainted();
    net.run(secs(40));
    let hellos: Vec<Vec<u8>> =
        net.air.iter().filter(|frame| frame.from == 1).map(|frame| frame.bytes.clone()).collect();
    assert!(!hellos.is_empty());
    net.switch_off(1);
    for _ in 0..5 {
        net.run(secs(30));
        for hello in &hellos {
            let _ = net.inject(0, hello);
        }
    }
    net.air.clear();
    net.send(0, address(1), Priority::Medium, secs(5), b"hi").unwrap();
    net.run(ms(100));
    assert_eq!(said(&net).first(), Some(&(0, 7)), "as to anyone who is not near");
}
