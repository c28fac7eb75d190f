//! A message on its way to one node: single frames, segments, parts, receipts, and what the air does to them.

use mesh_protocol::frame::Kind;
use mesh_protocol::{
    Address, Discard, MESSAGE_MAX, MessageId, PART_LEN, Priority, Reason, Segment, SendError, SendOutcome,
    SmallNode, Verdict,
};

use crate::net::{App, Log, Net, Reception, address, config, ms, open, secs, text};

#[test]
fn a_single_frame_is_delivered_and_receipted() {
    let mut net = Net::<SmallNode>::full(2);
    let id = net.send(0, address(1), Priority::High, secs(5), b"hi").unwrap();
    net.run_until(secs(1), |net| net.outcome(0, id).is_some());

    assert_eq!(
        net.log(1),
        [Log::Received {
            source: 1,
            destination: 2,
            id,
            priority: Priority::High,
            hops: 1,
            bytes: b"hi".to_vec(),
        }]
    );
    assert_eq!(net.log(0), [Log::Done { id, outcome: SendOutcome::Delivered, hops: Some(1) }]);
    let first = &net.sent_by(0)[0];
    assert_eq!((first.kind, first.dst, &first.body[..]), (Kind::Single, 2, &[1, b'h', b'i'][..]));
}

#[test]
fn where_nobody_else_helps_a_frame_goes_more_than_once_and_byte_identical() {
    let mut net = Net::<SmallNode>::full(2);
    net.rule(|_, to| if to == 0 { Reception::Lose } else { Reception::Pass });
    net.send(0, address(1), Priority::High, secs(5), b"hi").unwrap();
    net.run(ms(110));
    let copies: Vec<_> =
        net.air.iter().filter(|frame| frame.from == 0 && open(&frame.bytes).kind == Kind::Single).collect();
    assert!(copies.len() > 1);
    assert!(copies.iter().all(|copy| copy.bytes == copies[0].bytes));
    let stats = net.stations[0].node.stats();
    assert_eq!((stats.retransmissions, stats.repeats_sent), (0, copies.len() as u64 - 1));
}

#[test]
fn six_hundred_bytes_cross_three_hops_in_segments() {
    let mut net = Net::<SmallNode>::line(4);
    let bytes = text(600);
    let id = net.send(0, address(3), Priority::Medium, secs(30), &bytes).unwrap();
    net.run_until(secs(30), |net| net.outcome(0, id).is_some());

    assert_eq!(net.received(3), [(1, id, bytes)]);
    assert_eq!(net.received(1), [], "a relay delivers nothing");
    assert!(matches!(net.log(3)[0], Log::Received { hops: 3, .. }));
    assert_eq!(net.log(0), [Log::Done { id, outcome: SendOutcome::Delivered, hops: Some(3) }]);
    let segments =
        net.sent_by(0).iter().filter(|frame| frame.kind == Kind::Segment && frame.dst == 4).count();
    assert!(segments >= 61, "602 bytes and a CRC are 61 segments, {segments} were sent");
    assert_eq!(net.stations[0].node.stats().retransmissions, 0, "nothing was lost");
}

#[test]
fn twenty_kib_arrive_in_parts_through_ten_percent_loss() {
    for seed in 1..=3 {
        let mut net = Net::<SmallNode>::line(3);
        net.lossy(10, seed);
        let bytes = text(20 * 1024);
        let id = net.send(0, address(2), Priority::High, secs(600), &bytes).unwrap();
        net.run_until(secs(600), |net| net.outcome(0, id).is_some());

        assert_eq!(net.received(2), [(1, id, bytes.clone())], "seed {seed}");
        let mut expected: Vec<Log> = (PART_LEN..bytes.len())
            .step_by(PART_LEN)
            .map(|offset| Log::NextPart {
                id,
                offset: offset as u32,
                len: PART_LEN.min(bytes.len() - offset),
            })
            .collect();
        expected.push(Log::Done { id, outcome: SendOutcome::Delivered, hops: Some(2) });
        assert_eq!(net.log(0), expected, "each part was asked for once, in order; seed {seed}");
    }
}

#[test]
fn the_largest_message_arrives() {
    let mut net = Net::<SmallNode>::full(2);
    let bytes = text(MESSAGE_MAX);
    let id = net.send(0, address(1), Priority::Critical, secs(3_000), &bytes).unwrap();
    net.run_until(secs(3_000), |net| net.outcome(0, id).is_some());
    assert_eq!(net.received(1), [(1, id, bytes)]);
    assert_eq!(net.outcome(0, id).unwrap().1, SendOutcome::Delivered);
}

#[test]
fn lengths_around_every_boundary_arrive() {
    // A single frame holds 13 bytes with a head of 2, a block 640 with head and CRC; ids of 5 bytes shift both.
    let node = Net::<SmallNode>::new(1).stations.remove(0).node;
    let fits = |len: &usize| node.first_part_len(address(1), Priority::High, *len) == *len;
    let one_block = (1..=PART_LEN + 16).rev().find(fits).unwrap();
    for (id, around) in [
        (1, 11),
        (0xffff_ff00, 7),
        (2, 18),
        (3, one_block),
        (0xffff_fff0, one_block),
        (4, PART_LEN),
        (5, 2 * PART_LEN),
    ] {
        for (n, len) in (around - 2..=around + 2).enumerate() {
            let mut net = Net::<SmallNode>::full(2);
            let (id, bytes) = (id + n as u32, text(len));
            net.send_as(id, 0, address(1), Priority::High, secs(60), &bytes).unwrap();
            net.run_until(secs(60), |net| net.outcome(0, id).is_some());
            assert_eq!(net.received(1), [(1, id, bytes)], "{len} bytes");
            assert_eq!(net.outcome(0, id).unwrap().1, SendOutcome::Delivered, "{len} bytes");
        }
    }
}

/// Loses every control frame with a receipt in it.
fn lose_receipts(net: &mut Net) {
    net.rule(|frame, _| {
        let frame = open(&frame.bytes);
        match frame.kind == Kind::Control && frame.body[0] == 3 {
            true => Reception::Lose,
            false => Reception::Pass,
        }
    });
}

#[test]
fn a_lost_receipt_is_given_again_and_the_host_sees_the_message_once() {
    for len in [4, 200] {
        let mut net = Net::<SmallNode>::line(3);
        lose_receipts(&mut net);
        let bytes = text(len);
        let id = net.send(0, address(2), Priority::High, secs(60), &bytes).unwrap();
        net.run(secs(5));
        assert_eq!(net.outcome(0, id), None, "{len} bytes: nobody has answered");
        let asked_again = net.stations[0].node.stats().retransmissions;
        assert!(asked_again >= 3, "{len} bytes: asked again {asked_again} times");

        net.no_rule();
        net.run_until(secs(10), |net| net.outcome(0, id).is_some());
        assert_eq!(net.outcome(0, id).unwrap().1, SendOutcome::Delivered);
        assert_eq!(
            net.log(2),
            [Log::Received { source: 1, destination: 3, id, priority: Priority::High, hops: 2, bytes }],
            "{len} bytes: once, and nothing else"
        );
        assert!(net.stations[2].node.stats().discarded(Discard::Duplicate) > 0);
    }
}

#[test]
fn after_a_while_the_host_is_asked_again_and_knows_the_message() {
    // What the node remembers of finished messages ends after 20 s; from then on the host's memory counts.
    let mut net = Net::<SmallNode>::full(2);
    lose_receipts(&mut net);
    let id = net.send(0, address(1), Priority::High, secs(120), b"hi").unwrap();
    net.run(secs(20));
    net.no_rule();
    net.run_until(secs(30), |net| net.outcome(0, id).is_some());
    assert_eq!(net.received(1).len(), 1);
    assert_eq!(net.log(1)[1..], [Log::Again { source: 1, id }]);
    assert_eq!(net.outcome(0, id).unwrap().1, SendOutcome::Delivered);
}

#[test]
fn lost_segments_alone_are_sent_again() {
    let mut net = Net::<SmallNode>::full(2);
    // Loses all copies of segments 3 and 17 under the SEQ they first had.
    let mut lost = std::collections::BTreeMap::new();
    net.rule(move |frame, _| {
        let frame = open(&frame.bytes);
        if frame.kind != Kind::Segment {
            return Reception::Pass;
        }
        match Segment::parse(&frame.body).unwrap().offset {
            offset @ (3 | 17) if *lost.entry(offset).or_insert(frame.seq) == frame.seq => Reception::Lose,
            _ => Reception::Pass,
        }
    });
    let id = net.send(0, address(1), Priority::High, secs(30), &text(300)).unwrap();
    net.run_until(secs(30), |net| net.outcome(0, id).is_some());
    assert_eq!(net.outcome(0, id).unwrap().1, SendOutcome::Delivered);
    assert_eq!(net.stations[0].node.stats().retransmissions, 2, "the ack named the two");
}

#[test]
fn a_message_can_be_processed_at_once_or_later() {
    let mut net = Net::<SmallNode>::full(2);
    net.stations[1].app.verdict = Some(Verdict::Processed);
    let at_once = net.send(0, address(1), Priority::High, secs(5), b"one").unwrap();
    net.run_until(secs(1), |net| net.outcome(0, at_once).is_some());
    assert_eq!(net.outcome(0, at_once).unwrap().1, SendOutcome::Processed);

    net.stations[1].app.verdict = Some(Verdict::Delivered);
    let later = net.send(0, address(1), Priority::High, secs(5), b"two").unwrap();
    net.run(secs(1));
    assert_eq!(net.outcome(0, later).unwrap().1, SendOutcome::Delivered);
    let to = address(0);
    net.stations[1].node.report(to, MessageId(later), Priority::High, Verdict::Processed);
    net.drive(1);
    net.run(secs(1));
    assert_eq!(net.log(0).last(), Some(&Log::Processed { source: 2, id: later }));
}

#[test]
fn every_reason_to_refuse_reaches_the_sender() {
    let mut net = Net::<SmallNode>::line(3);
    for reason in Reason::ALL {
        net.stations[2].app.verdict = Some(Verdict::Rejected(reason));
        for len in [3, 100] {
            let id = net.send(0, address(2), Priority::High, secs(10), &text(len)).unwrap();
            net.run_until(secs(10), |net| net.outcome(0, id).is_some());
            assert_eq!(net.outcome(0, id).unwrap().1, SendOutcome::Rejected(reason), "{len} bytes");
        }
    }
}

#[test]
fn a_receiver_that_lost_its_memory_has_the_message_sent_from_the_start() {
    let mut net = Net::<SmallNode>::full(2);
    let bytes = text(4 * PART_LEN);
    let id = net.send(0, address(1), Priority::High, secs(120), &bytes).unwrap();
    let third = Log::NextPart { id, offset: 2 * PART_LEN as u32, len: PART_LEN };
    net.run_until(secs(60), |net| net.log(0).contains(&third));
    assert_eq!(net.received(1), []);

    net.switch_off(1);
    net.run(secs(1));
    let restarted = mesh_protocol::Config { seq_start: net.stations[1].app.reserved, seed: 77, ..config(2) };
    net.switch_on(1, restarted, App::fresh());
    net.run_until(secs(100), |net| net.outcome(0, id).is_some());

    assert_eq!(net.outcome(0, id).unwrap().1, SendOutcome::Delivered);
    assert_eq!(net.received(1), [(1, id, bytes)]);
    let offsets: Vec<_> = net
        .log(0)
        .iter()
        .filter_map(|what| match what {
            Log::NextPart { offset, .. } => Some(*offset as usize / PART_LEN),
            _ => None,
        })
        .collect();
    // The node acks a part as soon as it is whole, so one more is asked for before the host's word arrives.
    assert_eq!(offsets, [1, 2, 3, 0, 1, 2, 3], "rewound once, then straight on");
}

#[test]
fn a_cancelled_message_is_not_sent_on_and_not_told_of() {
    let mut net = Net::<SmallNode>::full(2);
    let id = net.send(0, address(1), Priority::Medium, secs(30), &text(500)).unwrap();
    net.run(ms(200));
    net.stations[0].node.cancel(MessageId(id));
    net.drive(0);
    let before = net.stations[0].node.next_seq();
    net.run(ms(200));
    assert!(net.stations[0].node.next_seq() <= before + 3, "at most a hello and a search");
    assert_eq!(net.log(0), []);
    assert_eq!(net.stations[0].node.depth().0, 0);
    net.run(secs(15));
    assert_eq!(net.log(1), []);
    assert_eq!(net.stations[1].node.stats().discarded(Discard::ReassemblyAbandoned), 1);
}

#[test]
fn messages_that_cannot_be_sent_are_refused_and_change_nothing() {
    let mut net = Net::<SmallNode>::full(2);
    let now = net.now;
    let delivery = mesh_protocol::Delivery {
        id: MessageId(1),
        destination: address(1),
        priority: Priority::Low,
        deadline: now + secs(9),
    };
    let to = |destination| mesh_protocol::Delivery { destination, ..delivery };
    let node = &mut net.stations[0].node;
    for (delivery, total, first, why) in [
        (delivery, 0, 0, SendError::Length),
        (delivery, MESSAGE_MAX + 1, PART_LEN, SendError::Length),
        (delivery, 10, 9, SendError::FirstPart),
        (delivery, 5_000, 5_000, SendError::FirstPart),
        (to(Address::NONE), 2, 2, SendError::Destination),
        (to(address(0)), 2, 2, SendError::Destination),
    ] {
        assert_eq!(node.send(now, delivery, total, &text(first)), Err(why));
        assert_eq!(node.depth(), (0, 0));
    }
    assert_eq!(node.send(now, delivery, 2, b"hi"), Ok(()));
    assert_eq!(node.send(now, delivery, 2, b"ho"), Err(SendError::IdInUse));
    assert_eq!(node.depth(), (1, 0));
    assert!(!node.supply(now, MessageId(1), 0, b"hi"), "no part was asked for");
    assert!(!node.supply(now, MessageId(2), 0, b"hi"), "no such message");
}

#[test]
fn names_are_found_across_the_mesh() {
    use mesh_protocol::NameHash;
    let mut net = Net::<SmallNode>::line(3);
    let name = NameHash::of("worker");
    net.stations[0].node.find_name(name, Priority::High);
    net.drive(0);
    net.run(ms(300));
    assert_eq!(net.log(2), [Log::NameWanted { source: 1, name }]);
    net.stations[2].node.announce(address(0), name);
    net.drive(2);
    net.run(ms(300));
    assert_eq!(net.log(0), [Log::NameAt { source: 3, name }]);
    assert_eq!(net.log(1), [Log::NameWanted { source: 1, name }], "the answer was for one node");
}
