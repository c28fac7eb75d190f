//! Relaying: how far, how often, which bytes, and what an outsider cannot make of it.

use std::collections::BTreeMap;

use mesh_protocol::frame::{Frame, Kind, retarget_ttl};
use mesh_protocol::{Address, Discard, Mic, Priority, SendOutcome, SmallNode};

use crate::net::{LINK, Net, Opened, address, ms, open, seal, secs, text};

/// A frame from station 50 to station 60, as a node between them hears it that knows neither.
fn passing(seq: u32, priority: Priority, ttl: u8) -> Frame<'static> {
    Frame {
        ttl,
        ttl0: 7,
        seq,
        src: address(50),
        dst: address(60),
        next: None,
        priority,
        kind: Kind::Single,
        mic: Mic::Short,
        body: &[1, 0, b'x'],
    }
}

/// The same bytes with another TTL: what anyone can do to them.
fn with_ttl(bytes: &[u8], from: u8, to: u8) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    retarget_ttl(&mut bytes, from, to);
    bytes
}

/// TTLs with which a station relayed the frame with this SEQ; copies of the same bytes count once.
fn relayed(net: &Net, at: usize, seq: u32) -> Vec<u8> {
    let mut ttls: Vec<u8> = net
        .sent_by(at)
        .iter()
        .filter(|frame| frame.src == address(50).bits() && frame.seq == seq)
        .map(|frame| frame.ttl)
        .collect();
    ttls.dedup();
    ttls
}

#[test]
fn a_ttl_of_three_reaches_the_third_hop_and_no_further() {
    let mut net = Net::<SmallNode>::with(6, |config| config.ttl = 3);
    net.in_line();
    let near = net.send(0, address(3), Priority::High, secs(5), b"near").unwrap();
    let far = net.send(0, address(4), Priority::High, secs(5), b"far").unwrap();
    net.run(secs(10));
    assert_eq!(net.outcome(0, near).unwrap().1, SendOutcome::Delivered);
    assert_eq!(net.outcome(0, far).unwrap().1, SendOutcome::Unknown);
    let foreign = |at: usize| net.sent_by(at).iter().filter(|frame| frame.src == 1).count();
    assert!(foreign(1) > 0 && foreign(2) > 0);
    assert_eq!(foreign(3), 0, "TTL 1 has reached its last node");
}

#[test]
fn a_node_that_does_not_relay_is_the_end_of_the_road() {
    let mut net = Net::<SmallNode>::with(3, |config| config.relay = config.address != address(1));
    net.in_line();
    let next = net.send(0, address(1), Priority::High, secs(5), b"a").unwrap();
    let behind = net.send(0, address(2), Priority::High, secs(5), b"b").unwrap();
    net.run(secs(6));
    assert_eq!(net.outcome(0, next).unwrap().1, SendOutcome::Delivered);
    assert_eq!(net.outcome(0, behind).unwrap().1, SendOutcome::Unknown);
    assert_eq!(net.stations[1].node.stats().frames_relayed, 0);
}

#[test]
fn one_seq_is_one_frame_wherever_it_is_heard() {
    // Relays change the hop byte and nothing else; no two frames share (SRC, SEQ). Under loss and load.
    let mut net = Net::<SmallNode>::full(4);
    net.part(0, 3);
    net.lossy(20, 99);
    for at in 0..4 {
        net.send(at, address((at + 3) % 4), Priority::Medium, secs(60), &text(300)).unwrap();
    }
    net.run(secs(60));
    let mut frames = BTreeMap::new();
    for on_air in &net.air {
        let opened = open(&on_air.bytes);
        let (src, seq) = (opened.src, opened.seq);
        // Of what the MIC guards nothing differs.
        let same = Opened { ttl: 0, next: None, ..opened };
        let first = frames.entry((src, seq)).or_insert_with(|| same.clone());
        assert_eq!(*first, same, "SRC {src:#06x}, SEQ {seq}");
    }
    assert!(frames.len() > 150, "{} frames", frames.len());
    assert!(net.stations[1].node.stats().frames_relayed > 0);
}

#[test]
fn a_copy_with_ttl_1_does_not_silence_a_frame() {
    let mut net = Net::<SmallNode>::new(1);
    let frame = seal(&passing(9, Priority::Critical, 7));
    assert_eq!(net.inject(0, &with_ttl(&frame, 7, 1)), Ok(()), "the outsider was faster");
    net.run(ms(100));
    assert!(relayed(&net, 0, 9).is_empty());

    assert_eq!(net.inject(0, &frame), Err(Discard::Duplicate));
    net.run(ms(100));
    assert_eq!(relayed(&net, 0, 9), [6]);
    let before = net.stations[0].node.stats().frames_relayed;
    assert_eq!(net.inject(0, &frame), Err(Discard::Duplicate));
    net.run(ms(100));
    assert_eq!(relayed(&net, 0, 9), [6]);
    assert_eq!(net.stations[0].node.stats().frames_relayed, before, "and not again");
}

#[test]
fn a_frame_is_relayed_at_most_twice_whatever_its_ttl() {
    let mut net = Net::<SmallNode>::new(1);
    let frame = seal(&passing(9, Priority::High, 7));
    for ttl in 2..=7 {
        let _ = net.inject(0, &with_ttl(&frame, 7, ttl));
        net.run(ms(100));
    }
    assert_eq!(relayed(&net, 0, 9), [1, 2]);
}

#[test]
fn a_higher_ttl_takes_the_place_of_a_copy_that_has_not_left() {
    let mut net = Net::<SmallNode>::new(1);
    net.run(ms(100));
    // The link is busy with another frame, so this one waits.
    net.inject(0, &seal(&passing(1, Priority::High, 7))).unwrap();
    let frame = seal(&passing(2, Priority::High, 7));
    for ttl in [3, 5, 7] {
        let _ = net.inject(0, &with_ttl(&frame, 7, ttl));
    }
    net.run(ms(200));
    assert_eq!(relayed(&net, 0, 2), [6], "one relay, with the best TTL");
}

/// A node with seven neighbours.
fn in_a_crowd() -> Net {
    let mut net = Net::<SmallNode>::new(1);
    for n in 20..27 {
        let hello = Frame {
            ttl: 1,
            ttl0: 1,
            seq: 0,
            src: address(n),
            dst: Address::EVERYONE,
            next: None,
            priority: Priority::Low,
            kind: Kind::Control,
            mic: Mic::Long,
            body: &[1, 0, 0],
        };
        net.inject(0, &seal(&hello)).unwrap();
    }
    assert_eq!(net.stations[0].node.neighbours_alive(net.now), 7);
    net
}

#[test]
fn in_a_crowd_what_others_relay_is_left_out_unless_it_is_urgent() {
    for priority in Priority::ALL {
        let mut net = in_a_crowd();
        // The link is busy for a while, so that there is time to hear the others.
        net.inject(0, &seal(&passing(1, Priority::Critical, 7))).unwrap();
        let frame = seal(&passing(2, priority, 7));
        assert_eq!(net.inject(0, &frame), Ok(()));
        for _ in 0..3 {
            assert_eq!(net.inject(0, &with_ttl(&frame, 7, 6)), Err(Discard::Duplicate));
        }
        net.run(ms(200));
        let suppressed = net.stations[0].node.stats().discarded(Discard::Suppressed);
        if priority.suppressible() {
            assert_eq!((relayed(&net, 0, 2).len(), suppressed), (0, 1), "{priority}");
        } else {
            assert_eq!((relayed(&net, 0, 2), suppressed), (vec![6], 0), "{priority}");
        }
    }
}

#[test]
fn among_few_nobody_is_left_out() {
    let mut net = Net::<SmallNode>::new(1);
    net.inject(0, &seal(&passing(1, Priority::Critical, 7))).unwrap();
    let frame = seal(&passing(2, Priority::Low, 7));
    net.inject(0, &frame).unwrap();
    for _ in 0..6 {
        let _ = net.inject(0, &with_ttl(&frame, 7, 6));
    }
    net.run(ms(200));
    assert_eq!(relayed(&net, 0, 2), [6]);
}

#[test]
fn a_named_next_hop_relays_alone() {
    let mut net = Net::<SmallNode>::new(2);
    let frame = seal(&Frame { next: Some(address(1)), body: b"abc", ..passing(3, Priority::High, 7) });
    for at in 0..2 {
        assert_eq!(net.inject(at, &frame), Ok(()));
    }
    net.run(ms(100));
    assert_eq!(net.stations[0].node.stats().discarded(Discard::NotNextHop), 1);
    assert_eq!((relayed(&net, 0, 3).len(), relayed(&net, 1, 3).len()), (0, 1));
}

#[test]
fn a_frame_for_this_node_is_not_relayed() {
    let mut net = Net::<SmallNode>::new(1);
    let frame = seal(&Frame { dst: address(0), ..passing(3, Priority::High, 7) });
    assert_eq!(net.inject(0, &frame), Ok(()));
    net.run(ms(100));
    assert!(relayed(&net, 0, 3).is_empty());
}

#[test]
fn a_link_that_is_gone_takes_nothing_and_one_that_returns_does() {
    let mut net = Net::<SmallNode>::new(1);
    net.inject(0, &seal(&passing(1, Priority::Low, 7))).unwrap();
    net.stations[0].node.handle_link_down(LINK);
    net.drive(0);
    net.run(secs(30));
    assert_eq!(net.sent_by(0), []);
    assert_eq!(net.stations[0].node.depth().1, 0, "what waited for it alone is gone");
    let now = net.now;
    assert!(net.stations[0].node.handle_link_up(now, LINK, crate::net::INFO));
    net.drive(0);
    net.inject(0, &seal(&passing(2, Priority::Low, 7))).unwrap();
    net.run(ms(100));
    assert_eq!(relayed(&net, 0, 2), [6]);
}
