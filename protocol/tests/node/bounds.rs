//! Every table, filled: what its documentation promises for the moment when there is no room.

use mesh_protocol::frame::{Frame, Kind};
use mesh_protocol::{
    Address, Delivery, Discard, Event, GatewayNode, LinkId, MessageId, Mic, NameHash, Priority, ReplayMark,
    Segment, SendError, SmallNode, Verdict, segments,
};

use crate::net::{EPOCH, INFO, LINK, Log, Net, RSSI, T0, address, config, ms, seal, secs, text};

/// A single frame from `src` to `dst`, one hop from here.
fn single(src: u16, dst: Address, seq: u32, priority: Priority, body: &[u8]) -> Vec<u8> {
    seal(&Frame {
        ttl: 7,
        ttl0: 7,
        seq,
        src: Address::new(src),
        dst,
        next: None,
        priority,
        kind: Kind::Single,
        mic: Mic::Short,
        body,
    })
}

/// The first of three segments of transfer `transfer` from `src` to station 0.
fn first_segment(src: u16, seq: u32, transfer: u16, priority: Priority) -> Vec<u8> {
    let [high, low] = (transfer << 4).to_be_bytes();
    let mut body = vec![high, low, 2];
    body.extend([0xaa; 10]);
    assert_eq!(Segment::parse(&body).unwrap().last, 2);
    seal(&Frame {
        ttl: 7,
        ttl0: 7,
        seq,
        src: Address::new(src),
        dst: address(0),
        next: None,
        priority,
        kind: Kind::Segment,
        mic: Mic::Short,
        body: &body,
    })
}

fn discarded(net: &Net, why: Discard) -> u64 {
    net.stations[0].node.stats().discarded(why)
}

#[test]
fn links_a_further_one_is_refused() {
    let mut small = SmallNode::new(T0, config(1));
    assert!(small.handle_link_up(T0, LINK, INFO));
    assert!(small.handle_link_up(T0, LINK, INFO), "the same again is a change, not a further one");
    assert!(!small.handle_link_up(T0, LinkId(1), INFO));

    let mut large = GatewayNode::new(T0, config(1));
    for id in 0..8 {
        assert!(large.handle_link_up(T0, LinkId(id), INFO));
    }
    assert!(!large.handle_link_up(T0, LinkId(8), INFO));
    large.handle_link_down(LinkId(2));
    assert!(large.handle_link_up(T0, LinkId(2), INFO));
}

#[test]
fn sources_a_new_one_is_refused_and_the_old_ones_stay_guarded() {
    let mut net = Net::<SmallNode>::new(1);
    let (_, room) = net.stations[0].node.replay_use();
    for src in 0..room as u16 {
        let frame = single(100 + src, address(0), 1, Priority::Low, &[u8::try_from(src).unwrap(), 0]);
        assert_eq!(net.inject(0, &frame), Ok(()), "source {src}");
        net.run(ms(1));
    }
    assert_eq!(net.stations[0].node.replay_use(), (room, room));
    let delivered = net.log(0).len();
    let unknown = single(99, address(0), 1, Priority::Critical, &[1, 0]);
    assert_eq!(net.inject(0, &unknown), Err(Discard::ReplayTableFull));
    assert_eq!(net.log(0).len(), delivered, "nothing was delivered from it");
    assert_eq!(net.inject(0, &single(100, address(0), 1, Priority::Low, &[0, 0])), Err(Discard::Duplicate));
    assert_eq!(net.inject(0, &single(100, address(60), 2, Priority::Low, &[1, 0])), Ok(()));
    let mark = |src| ReplayMark { src: Address::new(src), epoch: EPOCH, seq: 100 };
    assert!(!net.stations[0].node.restore_mark(mark(99)));
    assert!(net.stations[0].node.restore_mark(mark(100)), "a known source has its place");
    assert_eq!(net.inject(0, &single(100, address(60), 3, Priority::Low, &[1, 0])), Err(Discard::Replay));
}

/// In a hall of 500 nodes a relay once took no more frames of the 129th source on, and cut the mesh in two.
#[test]
fn a_relay_passes_on_more_sources_than_it_has_windows_for() {
    let mut net = Net::<SmallNode>::line(2);
    let (_, room) = net.stations[0].node.replay_use();
    let relayed = |net: &Net| net.stations[1].node.stats().frames_verified;
    // Sources that only pass through give way to each other.
    for src in 0..2 * room as u16 {
        assert_eq!(
            net.inject(0, &single(100 + src, address(60), 1, Priority::Critical, &[1, 0])),
            Ok(()),
            "source {src}"
        );
        net.run(ms(100));
    }
    assert_eq!(discarded(&net, Discard::ReplayTableFull), 0);
    assert!(relayed(&net) >= 2 * room as u64, "{}", relayed(&net));
    // Once it has taken something of as many as fit, its neighbour among them, it still passes on others, each once.
    for src in 0..room as u16 - 1 {
        let frame = single(1_000 + src, address(0), 1, Priority::Critical, &[u8::try_from(src).unwrap(), 0]);
        assert_eq!(net.inject(0, &frame), Ok(()));
        net.run(ms(100));
    }
    net.air.clear();
    let unknown = single(5_000, address(60), 1, Priority::Critical, &[1, 0]);
    assert_eq!(net.inject(0, &unknown), Ok(()));
    net.run(ms(100));
    assert_eq!(net.inject(0, &unknown), Err(Discard::Duplicate));
    net.run(ms(100));
    let passed_on: std::collections::BTreeSet<_> =
        net.sent_by(0).iter().filter(|frame| frame.src == 5_000).map(|frame| frame.ttl).collect();
    assert_eq!(passed_on.len(), 1);
}

#[test]
fn neighbours_and_paths_the_one_heard_longest_ago_gives_way() {
    let mut net = Net::<SmallNode>::new(1);
    for src in 100..124 {
        net.run(ms(100));
        net.inject(0, &single(src, address(60), 1, Priority::Low, &[1, 0])).unwrap();
    }
    let known = |net: &Net| {
        let node = &net.stations[0].node;
        let neighbours: Vec<u16> = node.neighbours().map(|known| known.address.bits()).collect();
        let paths: Vec<u16> = node.paths().map(|known| known.destination.bits()).collect();
        (neighbours, paths)
    };
    let (neighbours, paths) = known(&net);
    assert_eq!((neighbours.len(), paths.len()), (24, 24));
    // The first is heard again, so the second is the oldest.
    for src in [100, 200] {
        net.run(ms(100));
        net.inject(0, &single(src, address(60), 2, Priority::Low, &[1, 0])).unwrap();
    }
    let (neighbours, paths) = known(&net);
    assert_eq!((neighbours.len(), paths.len()), (24, 24));
    assert!(paths.contains(&100) && paths.contains(&200) && !paths.contains(&101), "{paths:?}");
    assert!(!neighbours.contains(&200), "all are there, and it is no stronger: {neighbours:?}");
    net.run(secs(36));
    net.inject(0, &single(100, address(60), 3, Priority::Low, &[1, 0])).unwrap();
    net.inject(0, &single(200, address(60), 3, Priority::Low, &[1, 0])).unwrap();
    let (neighbours, _) = known(&net);
    assert!(neighbours.contains(&200) && neighbours.contains(&100), "{neighbours:?}");
    assert!(!neighbours.contains(&101), "silent for longest: {neighbours:?}");
}

#[test]
fn duplicates_what_is_forgotten_costs_a_relay_and_never_a_delivery() {
    let mut net = Net::<SmallNode>::new(1);
    let own = single(100, address(0), 0, Priority::High, &[1, 0, b'x']);
    net.inject(0, &own).unwrap();
    for n in 0..2_000u32 {
        let src = 101 + (n % 100) as u16;
        let _ = net.inject(0, &single(src, address(60), n / 100, Priority::Low, &[1, 0]));
        net.run(ms(1));
    }
    assert_eq!(net.inject(0, &own), Err(Discard::Duplicate));
    assert_eq!(net.received(0).len(), 1);
    // Every frame of the last round is a known one, remembered or not.
    for src in 101..201 {
        let again = single(src, address(60), 19, Priority::Low, &[1, 0]);
        assert_eq!(net.inject(0, &again), Err(Discard::Duplicate));
    }
}

#[test]
fn reassembly_a_further_transfer_is_refused_unless_it_is_more_urgent() {
    let mut net = Net::<SmallNode>::new(1);
    for (src, priority) in [(100, Priority::Medium), (101, Priority::Low), (102, Priority::High)] {
        assert_eq!(net.inject(0, &first_segment(src, 1, 7, priority)), Ok(()));
    }
    let refused = net.inject(0, &first_segment(103, 1, 7, Priority::Low));
    assert_eq!(refused, Err(Discard::ReassemblyFull));
    assert_eq!(net.inject(0, &first_segment(104, 1, 7, Priority::Critical)), Ok(()));
    // The LOW one gave way: its next segment finds no place any more.
    assert_eq!(net.inject(0, &first_segment(101, 2, 7, Priority::Low)), Err(Discard::ReassemblyFull));
    assert_eq!(
        net.inject(0, &first_segment(100, 2, 7, Priority::Medium)),
        Err(Discard::Duplicate),
        "still here"
    );
}

#[test]
fn reassembly_a_transfer_that_gave_way_is_counted() {
    let mut net = Net::<SmallNode>::new(1);
    for src in 100..103 {
        net.inject(0, &first_segment(src, 1, 7, Priority::Low)).unwrap();
    }
    net.inject(0, &first_segment(103, 1, 7, Priority::Critical)).unwrap();
    assert_eq!(discarded(&net, Discard::ReassemblyAbandoned), 1);
}

#[test]
fn reassembly_a_source_has_two_sets_at_most() {
    let mut net = Net::<SmallNode>::new(1);
    for transfer in [1, 2] {
        assert_eq!(net.inject(0, &first_segment(100, transfer, transfer as u16, Priority::Low)), Ok(()));
    }
    assert_eq!(net.inject(0, &first_segment(100, 3, 3, Priority::Low)), Err(Discard::ReassemblyFull));
    assert_eq!(net.inject(0, &first_segment(101, 1, 1, Priority::Low)), Ok(()), "another source has room");
}

#[test]
fn reassembly_what_stands_still_is_given_up_after_ten_seconds() {
    let mut net = Net::<SmallNode>::new(1);
    for src in 100..103 {
        net.inject(0, &first_segment(src, 1, 7, Priority::Low)).unwrap();
    }
    net.run(ms(9_999));
    assert_eq!(discarded(&net, Discard::ReassemblyAbandoned), 0);
    net.run(ms(1));
    assert_eq!(discarded(&net, Discard::ReassemblyAbandoned), 3);
    assert_eq!(net.inject(0, &first_segment(103, 1, 7, Priority::Low)), Ok(()));
}

#[test]
fn outbox_a_further_message_is_refused_until_one_is_done() {
    let mut net = Net::<SmallNode>::full(2);
    let mut ids = Vec::new();
    for n in 0..3 {
        assert!(net.stations[0].node.has_room());
        ids.push(net.send(0, address(1), Priority::Medium, secs(60), &text(100 + n)).unwrap());
    }
    assert!(!net.stations[0].node.has_room());
    let urgent = net.send(0, address(1), Priority::Critical, secs(60), b"hi");
    assert_eq!(urgent, Err(SendError::OutboxFull), "an old one is never dropped");
    net.run_until(secs(60), |net| net.outcome(0, ids[0]).is_some());
    assert!(net.stations[0].node.has_room());
    net.send(0, address(1), Priority::Critical, secs(60), b"hi").unwrap();
    net.run(secs(20));
    assert_eq!(net.received(1).len(), 4);
}

#[test]
fn air_queue_the_least_urgent_and_newest_gives_way_and_is_counted() {
    let mut net = Net::<SmallNode>::new(1);
    // The link is taken by the first; 20 wait.
    let mut seq = 0;
    let mut pass = |net: &mut Net, priority| {
        seq += 1;
        net.inject(0, &single(100, address(60), seq, priority, &[1, 0])).unwrap();
        seq
    };
    pass(&mut net, Priority::Critical);
    let low: Vec<u32> = (0..30).map(|_| pass(&mut net, Priority::Low)).collect();
    let (_, waiting) = net.stations[0].node.depth();
    let dropped = discarded(&net, Discard::QueueFull);
    assert_eq!(waiting, 20);
    // One more than fits had already left with the repeats of the first.
    assert!((10..=11).contains(&dropped), "{dropped}");

    let urgent = pass(&mut net, Priority::Critical);
    assert_eq!(discarded(&net, Discard::QueueFull), dropped + 1);
    net.run(secs(3));
    let relayed: Vec<u32> =
        net.sent_by(0).iter().filter(|frame| frame.src == 100).map(|frame| frame.seq).collect();
    assert!(relayed.contains(&urgent));
    assert!(relayed.contains(&low[0]), "the oldest LOW stayed");
    assert!(!relayed.contains(&low[29]), "the newest had no place");
}

#[test]
fn air_queue_what_waits_for_two_seconds_is_dropped_and_counted() {
    let mut net = Net::<SmallNode>::new(1);
    // A link that takes one frame in five seconds.
    let slow = mesh_protocol::LinkInfo { min_gap: secs(5), ..INFO };
    let now = net.now;
    assert!(net.stations[0].node.handle_link_up(now, LINK, slow));
    for seq in 1..=4 {
        net.inject(0, &single(100, address(60), seq, Priority::High, &[1, 0])).unwrap();
    }
    net.run(ms(1_999));
    assert_eq!(discarded(&net, Discard::Stale), 0);
    net.run(ms(1));
    assert_eq!(discarded(&net, Discard::Stale), 3, "the first had left");
    assert_eq!(net.stations[0].node.depth().1, 0);
}

#[test]
fn own_controls_the_newest_is_not_taken_and_is_counted() {
    let mut net = Net::<SmallNode>::new(1);
    net.stations[0].app.syncs = false;
    let node = &mut net.stations[0].node;
    for n in 0..16 {
        node.report(address(5), MessageId(n), Priority::High, Verdict::Delivered);
    }
    node.report(address(5), MessageId(3), Priority::High, Verdict::Processed);
    assert_eq!(node.stats().discarded(Discard::QueueFull), 0, "the same message's receipt takes its place");
    node.find_name(NameHash::of("late"), Priority::Critical);
    assert_eq!(node.stats().discarded(Discard::QueueFull), 1);
}

#[test]
fn events_a_host_that_does_not_drain_loses_the_newest_and_the_sender_is_not_told_it_arrived() {
    let mut node = SmallNode::new(T0, config(1));
    assert!(node.handle_link_up(T0, LINK, INFO));
    for seq in 0..8 {
        let mut frame = single(100, address(0), seq, Priority::High, &[seq as u8, 0, b'x']);
        assert_eq!(node.handle_frame(T0, LINK, &mut frame, RSSI), Ok(()));
    }
    let mut ninth = single(100, address(0), 8, Priority::High, &[8, 0, b'x']);
    assert_eq!(node.handle_frame(T0, LINK, &mut ninth, RSSI), Err(Discard::EventQueueFull));

    let mut received = Vec::new();
    while let Some(event) = node.poll_event() {
        if let Event::Received(message) = event {
            received.push(message.id.0);
        }
    }
    assert_eq!(received, (0..8).collect::<Vec<_>>());
    // Sent again under a new SEQ, it is taken.
    let mut again = single(100, address(0), 9, Priority::High, &[8, 0, b'x']);
    assert_eq!(node.handle_frame(T0, LINK, &mut again, RSSI), Ok(()));
}

#[test]
fn events_a_lost_one_is_counted_once() {
    let mut node = SmallNode::new(T0, config(1));
    for seq in 0..9 {
        let mut frame = single(100, address(0), seq, Priority::High, &[seq as u8, 0, b'x']);
        let _ = node.handle_frame(T0, LINK, &mut frame, RSSI);
    }
    assert_eq!(node.stats().discarded(Discard::EventQueueFull), 1);
}

#[test]
fn finished_messages_the_oldest_is_forgotten_and_the_host_is_asked_again() {
    let mut net = Net::<SmallNode>::new(1);
    let message = |n: u32, seq| single(100, address(0), seq, Priority::High, &[n as u8, 0, b'x']);
    for n in 0..25 {
        net.inject(0, &message(n, n)).unwrap();
        net.run(ms(50));
    }
    assert_eq!(net.received(0).len(), 25);
    // The second is remembered by the node, the first by the host alone.
    assert_eq!(net.inject(0, &message(1, 30)), Err(Discard::Duplicate));
    assert_eq!(net.log(0).len(), 25);
    assert_eq!(net.inject(0, &message(0, 31)), Ok(()));
    assert_eq!(net.log(0).last(), Some(&Log::Again { source: 100, id: 0 }));
}

#[test]
fn a_block_of_the_largest_size_fits_every_buffer() {
    assert_eq!(segments(mesh_protocol::BLOCK_MAX, mesh_protocol::SEGMENT_LEN), 64);
    let mut net = Net::<SmallNode>::full(2);
    for priority in Priority::ALL {
        let bytes = text(mesh_protocol::PART_LEN);
        let delivery = Delivery {
            id: MessageId(u32::MAX - priority as u32),
            destination: address(1),
            priority,
            deadline: net.now + secs(60),
        };
        let id = net.send_as(delivery.id.0, 0, address(1), priority, secs(60), &bytes).unwrap();
        net.run_until(secs(60), |net| net.outcome(0, id).is_some());
        assert_eq!(net.received(1).last().unwrap().2, bytes);
    }
}
