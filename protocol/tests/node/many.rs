//! Messages to a group and to everyone: each member once, no receipts, *sent* is all the sender is told. Who lacks a part asks.

use std::collections::{BTreeMap, BTreeSet};

use mesh_protocol::frame::Kind;
use mesh_protocol::{Address, Control, Feedback, PART_LEN, Priority, Segment, SendOutcome, SmallNode, Step};

use crate::net::{Log, Net, OnAir, Opened, Reception, address, open, secs, text};

const GROUP: Address = Address::new(0x8123);

#[test]
fn everyone_gets_it_once() {
    for len in [6, 200, 2 * PART_LEN + 50] {
        let mut net = Net::<SmallNode>::line(4);
        let bytes = text(len);
        let id = net.send(1, Address::EVERYONE, Priority::Medium, secs(120), &bytes).unwrap();
        net.run(secs(60));
        for at in [0, 2, 3] {
            assert_eq!(net.received(at), [(2, id, bytes.clone())], "{len} bytes at station {at}");
            assert!(!net.log(at).contains(&Log::Again { source: 2, id }), "{len} bytes");
        }
        assert_eq!(net.outcome(1, id).unwrap().1, SendOutcome::Sent);
        for at in 0..4 {
            assert!(
                net.sent_by(at).iter().all(|frame| frame.kind != Kind::Control || frame.ttl == 1),
                "hellos and sums, to neighbours: nobody answers"
            );
        }
    }
}

#[test]
fn a_group_is_for_its_members() {
    let mut net = Net::<SmallNode>::line(4);
    for at in [2, 3] {
        assert!(net.stations[at].node.join_group(GROUP));
    }
    let bytes = text(40);
    let id = net.send(0, GROUP, Priority::High, secs(20), &bytes).unwrap();
    net.run(secs(10));
    assert_eq!(net.outcome(0, id).unwrap().1, SendOutcome::Sent);
    assert_eq!(net.received(1), [], "a relay that is no member");
    for at in [2, 3] {
        assert_eq!(net.received(at), [(1, id, bytes.clone())]);
    }

    net.stations[3].node.leave_group(GROUP);
    net.send(0, GROUP, Priority::High, secs(20), b"again").unwrap();
    net.run(secs(10));
    assert_eq!((net.received(2).len(), net.received(3).len()), (2, 1));
}

#[test]
fn who_may_have_nothing_of_a_few_segments_gets_all_of_them_twice() {
    let mut net = Net::<SmallNode>::full(2);
    // Loses every frame of its first SEQs, all copies: the first round of the message.
    net.rule(|frame, _| {
        let frame = open(&frame.bytes);
        match frame.kind == Kind::Segment && frame.seq < 5 {
            true => Reception::Lose,
            false => Reception::Pass,
        }
    });
    let bytes = text(30);
    let id = net.send(0, Address::EVERYONE, Priority::High, secs(20), &bytes).unwrap();
    net.run(secs(5));
    assert_eq!(net.received(1), [(1, id, bytes)]);
}

/// A rule that keeps the first SEQ of each of these segments from the stations that `from` holds.
fn lose_once(
    segments: &'static [u8],
    from: impl Fn(usize) -> bool + 'static,
) -> impl FnMut(&OnAir, usize) -> Reception {
    let mut first = BTreeMap::new();
    move |frame, to| {
        let frame = open(&frame.bytes);
        if frame.kind != Kind::Segment {
            return Reception::Pass;
        }
        let index = Segment::parse(&frame.body).unwrap().offset;
        let seq = *first.entry(index).or_insert(frame.seq);
        if segments.contains(&index) && seq == frame.seq && from(to) {
            Reception::Lose
        } else {
            Reception::Pass
        }
    }
}

/// What left station 0: how often each segment, copies of one SEQ counted once. And who asked for segments.
fn sent_and_asked(net: &Net) -> (Vec<usize>, Vec<u16>) {
    let frames: BTreeSet<_> = net
        .air
        .iter()
        .map(|frame| open(&frame.bytes))
        .map(|frame| (frame.src, frame.seq, frame.kind == Kind::Segment, frame.body))
        .collect();
    let mut sent = BTreeMap::<u8, usize>::new();
    let mut asked = Vec::new();
    for (src, _, segment, body) in frames {
        if segment {
            *sent.entry(Segment::parse(&body).unwrap().offset).or_default() += 1;
        } else if let Ok(Control::Feedback(Feedback::Nack(_))) = Control::parse(&body) {
            asked.push(src);
        }
    }
    (sent.into_values().collect(), asked)
}

#[test]
fn who_lacks_segments_asks_for_them_and_nothing_else_is_sent_again() {
    for priority in Priority::ALL {
        let mut net = Net::<SmallNode>::line(4);
        net.rule(lose_once(&[2, 5], |to| to == 3));
        let bytes = text(72);
        let id = net.send(0, Address::EVERYONE, priority, secs(20), &bytes).unwrap();
        net.run(secs(10));
        for at in 1..4 {
            assert_eq!(net.received(at), [(1, id, bytes.clone())], "{priority}, station {at}");
        }
        assert_eq!(net.outcome(0, id).unwrap().1, SendOutcome::Sent);
        assert_eq!(sent_and_asked(&net), (vec![1, 1, 2, 1, 1, 2, 1, 1], vec![4]), "{priority}");
    }
}

#[test]
fn no_hop_keeps_a_nack_and_so_its_source_acks_none() {
    // Where all of many ask a source with a slow radio, acks of what they ask took all of it, and nobody got what was missing.
    let mut net = Net::<SmallNode>::line(4);
    net.run(secs(60));
    net.rule(lose_once(&[2, 5], |to| to == 3));
    net.air.clear();
    let id = net.send(0, Address::EVERYONE, Priority::Low, secs(20), &text(72)).unwrap();
    net.run(secs(10));
    assert_eq!(net.outcome(0, id).unwrap().1, SendOutcome::Sent);
    let is_nack = |frame: &Opened| frame.kind == Kind::Control && frame.body[0] == 0x0a;
    let asked: Vec<_> =
        net.sent_by(3).into_iter().filter(is_nack).map(|frame| (frame.next, frame.seq)).collect();
    assert!(!asked.is_empty() && asked.iter().all(|(next, _)| *next == Some(3)), "by its route: {asked:?}");
    let named = |frame: &Opened| u32::from_be_bytes([0, frame.body[3], frame.body[4], frame.body[5]]);
    for at in 0..4 {
        let acks =
            net.sent_by(at).into_iter().filter(|frame| frame.kind == Kind::Control && frame.body[0] == 9);
        let of_nacks =
            acks.filter(|ack| ack.body[1..3] == [0, 4] && asked.iter().any(|(_, seq)| *seq == named(ack)));
        assert_eq!(of_nacks.count(), 0, "station {at}");
    }
}

#[test]
fn the_last_segment_is_missed_like_any_other() {
    let mut net = Net::<SmallNode>::line(3);
    net.rule(lose_once(&[7], |to| to == 2));
    let bytes = text(72);
    let id = net.send(0, Address::EVERYONE, Priority::High, secs(20), &bytes).unwrap();
    net.run(secs(10));
    assert_eq!(net.received(2), [(1, id, bytes)]);
}

#[test]
fn of_many_that_lack_the_same_few_say_so() {
    let mut net = Net::<SmallNode>::full(12);
    net.rule(lose_once(&[3, 4], |_| true));
    let bytes = text(100);
    let id = net.send(0, Address::EVERYONE, Priority::Medium, secs(20), &bytes).unwrap();
    net.run(secs(10));
    for at in 1..12 {
        assert_eq!(net.received(at), [(1, id, bytes.clone())], "station {at}");
    }
    let (sent, asked) = sent_and_asked(&net);
    assert_eq!(sent, [1, 1, 1, 2, 2, 1, 1, 1, 1, 1, 1]);
    assert!((1..=3).contains(&asked.len()), "{asked:?}");
}

#[test]
fn a_receiver_that_gets_no_answer_stops_asking() {
    let mut net = Net::<SmallNode>::full(2);
    let mut sent = 0;
    // The sender is gone in the middle of its message.
    net.rule(move |frame, _| {
        sent += usize::from(open(&frame.bytes).kind == Kind::Segment);
        if sent > 6 { Reception::Lose } else { Reception::Pass }
    });
    net.send(0, Address::EVERYONE, Priority::High, secs(60), &text(200)).unwrap();
    net.run(secs(30));
    let (_, asked) = sent_and_asked(&net);
    assert_eq!(asked, [2, 2, 2]);
}

/// What station 0 was told last of how many have its message.
fn reached(net: &Net, id: u32) -> Option<(u16, u16)> {
    let steps = net.stations[0].app.steps.iter().rev();
    steps.filter(|(of, _)| *of == id).find_map(|(_, step)| match step {
        Step::Reached { at_least, known } => Some((*at_least, *known)),
        _ => None,
    })
}

#[test]
fn the_sender_hears_how_many_have_it() {
    for len in [5, 100] {
        let mut net = Net::<SmallNode>::line(5);
        net.run(secs(12));
        for at in 1..5 {
            let now = net.now;
            net.stations[at].node.set_route(now, address(0), address(at - 1), 1).unwrap();
        }
        let before = net.air.len();
        let id = net.send(0, Address::EVERYONE, Priority::Medium, secs(20), &text(len)).unwrap();
        net.run(secs(6));
        assert_eq!(net.outcome(0, id).unwrap().1, SendOutcome::Sent);
        let (at_least, known) = reached(&net, id).unwrap();
        assert_eq!(at_least, 4, "{len} bytes");
        assert!(known <= 4);
        let sums: BTreeSet<_> = net.air[before..]
            .iter()
            .map(|frame| open(&frame.bytes))
            .filter(|frame| matches!(Control::parse(&frame.body), Ok(Control::Feedback(Feedback::Tally(_)))))
            .map(|frame| (frame.src, frame.seq))
            .collect();
        assert_eq!(sums.len(), 4, "each node one, to the next");
    }
}

#[test]
fn what_is_lost_is_not_counted_and_no_node_is_twice() {
    for seed in 0..6 {
        let mut net = Net::<SmallNode>::full(8);
        net.run(secs(12));
        net.lossy(30, seed);
        let id = net.send(0, Address::EVERYONE, Priority::Medium, secs(20), &text(60)).unwrap();
        net.run(secs(8));
        let has_it = (1..8).filter(|&at| !net.received(at).is_empty()).count();
        let at_least = reached(&net, id).map_or(0, |(at_least, _)| usize::from(at_least));
        assert!(at_least > 0 && at_least <= has_it, "{at_least} of {has_it}");
    }
}

#[test]
fn a_node_is_in_eight_groups_at_most_and_in_no_node() {
    let mut net = Net::<SmallNode>::new(1);
    let node = &mut net.stations[0].node;
    assert!(!node.join_group(address(4)));
    assert!(!node.join_group(Address::EVERYONE));
    for n in 0..8 {
        assert!(node.join_group(Address::new(0x8000 + n)));
        assert!(node.join_group(Address::new(0x8000)), "twice is once");
    }
    assert!(!node.join_group(Address::new(0x9000)));
    node.leave_group(Address::new(0x8003));
    assert!(node.join_group(Address::new(0x9000)));
}

#[test]
fn a_message_to_everyone_goes_on_beside_two_long_ones_to_single_nodes() {
    let mut net = Net::<SmallNode>::full(3);
    for to in [1, 2] {
        net.send(0, address(to), Priority::Medium, secs(600), &text(20 * PART_LEN)).unwrap();
    }
    net.run(secs(2));
    let bytes = text(60);
    let id = net.send(0, Address::EVERYONE, Priority::Low, secs(20), &bytes).unwrap();
    net.run(secs(20));
    assert_eq!(net.outcome(0, id).unwrap().1, SendOutcome::Sent);
    for at in [1, 2] {
        assert_eq!(net.received(at), [(1, id, bytes.clone())], "station {at}: the long ones are not over");
    }
}
