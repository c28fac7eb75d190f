//! What a member can forge with SEQs alone: to mute another node, or to silence it by its own address. And two nodes that have
//! one address by mistake.

use std::collections::BTreeMap;

use mesh_protocol::frame::{Frame, Kind, SEQ_MAX};
use mesh_protocol::{Address, Config, Discard, Mic, Priority, SendOutcome, SmallNode};

use crate::net::{App, Log, Net, address, config, ms, open, seal, secs, text};

/// A frame to everyone that a member sealed in the name of `src`.
fn forged(src: Address, seq: u32) -> Vec<u8> {
    seal(&Frame {
        ttl: 5,
        ttl0: 7,
        seq,
        src,
        dst: Address::EVERYONE,
        next: None,
        priority: Priority::Low,
        kind: Kind::Single,
        mic: Mic::Short,
        body: &[100, 0, b'x'],
    })
}

fn delivered(net: &mut Net<SmallNode>, from: usize, to: usize, within: u64) -> bool {
    let id = net.send(from, address(to), Priority::High, secs(within), &text(60)).unwrap();
    net.run_until(secs(within + 1), |net| net.outcome(from, id).is_some());
    net.outcome(from, id).unwrap().1 == SendOutcome::Delivered
}

fn conflicts(net: &Net<SmallNode>, at: usize) -> usize {
    net.log(at).iter().filter(|what| matches!(what, Log::Conflict(_))).count()
}

/// It once muted its source at every receiver until the end of the epoch, and all of them thought that they were well.
#[test]
fn one_sealed_frame_far_ahead_mutes_its_source_nowhere() {
    let mut net = Net::<SmallNode>::line(3);
    assert!(delivered(&mut net, 0, 2, 5));
    for seq in [SEQ_MAX, SEQ_MAX - 1, 8_000_000, SEQ_MAX - 2] {
        for at in [1, 2] {
            let before = net.log(at);
            assert_eq!(net.inject(at, &forged(address(0), seq)), Err(Discard::SeqJump));
            assert_eq!(net.log(at), before, "nothing came of it");
        }
    }
    for at in [1, 2] {
        assert!(net.stations[at].node.refusals().any(|(src, count)| src == address(0) && count >= 4));
    }
    assert!(delivered(&mut net, 0, 2, 5));
    net.run(secs(1));
    assert!(net.stations[1].node.refusals().all(|(src, _)| src != address(0)), "it is heard again");
    // It has heard of it itself, and went on as it was: to follow would use up the epoch.
    assert!(conflicts(&net, 0) > 0);
    assert!(net.stations[0].node.next_seq() < 100);
    assert!(net.stations[0].node.conflict(net.now).is_some_and(|known| known.silent_until.is_none()));
}

#[test]
fn a_node_that_goes_on_far_ahead_is_heard_again_by_all_within_a_minute() {
    let mut net = Net::<SmallNode>::line(4);
    assert!(delivered(&mut net, 0, 3, 5));
    net.switch_off(0);
    net.run(secs(5));
    net.switch_on(0, Config { seq_start: 5_000_000, ..config(1) }, App::fresh());
    assert!(delivered(&mut net, 0, 3, 60), "its retransmissions say where it is, hop by hop");
    assert!(net.stations[2].node.stats().discarded(Discard::SeqJump) > 0);
    assert!(net.stations[3].node.replay_marks().any(|mark| mark.src == address(0) && mark.seq >= 5_000_000));
}

/// It once silenced the node until its next start.
#[test]
fn one_frame_under_its_own_address_silences_a_node_for_ten_seconds_and_then_it_is_ahead() {
    let mut net = Net::<SmallNode>::line(2);
    assert!(delivered(&mut net, 0, 1, 5));
    let next = net.stations[0].node.next_seq();
    let frame = forged(address(0), next + 30_000);
    assert_eq!(net.inject(1, &frame), Ok(()), "it is taken for the node's, and shuts out what comes below");
    assert_eq!(net.inject(0, &frame), Err(Discard::AddressConflict));
    let start = net.now;
    let conflict = net.stations[0].node.conflict(net.now).unwrap();
    assert_eq!((conflict.seq, conflict.silent_until), (next + 30_000, Some(start + secs(10))));
    assert_eq!(conflicts(&net, 0), 1);

    let id = net.send(0, address(1), Priority::High, secs(30), b"later").unwrap();
    net.run(ms(9_999));
    assert!(net.sent_by(0).iter().all(|frame| frame.seq < next), "not a hello");
    net.run_until(secs(5), |net| net.outcome(0, id).is_some());
    assert_eq!(net.outcome(0, id).unwrap().1, SendOutcome::Delivered);
    let first = net.sent_by(0).into_iter().find(|frame| frame.seq >= next).unwrap();
    assert_eq!(first.seq, next + 30_000 + 1 + 1_024, "a block behind what the other used");
    assert!(net.stations[0].app.reserved > first.seq, "and reserved like any other");
}

#[test]
fn two_nodes_of_one_address_never_send_two_frames_under_one_seq_once_they_have_heard_each_other() {
    for seed in 1..=5 {
        println!("seed {seed}");
        let mut net = Net::<SmallNode>::with(3, |config| {
            config.seed += seed * 100;
            if config.address == address(2) {
                config.address = address(0);
            }
        });
        for at in [0, 2] {
            net.join(at, 1);
        }
        net.join(0, 2);
        // A copied data directory: both begin alike.
        net.run_until(secs(30), |net| (0..3).any(|at| net.stations[at].node.conflict(net.now).is_some()));
        let heard = net.air.len();
        for _ in 0..20 {
            for from in [0, 2] {
                let _ = net.send(from, address(1), Priority::High, secs(60), &text(40)).unwrap();
            }
            net.run(secs(60));
        }
        let mut frames = BTreeMap::<u32, &[u8]>::new();
        let mut own = 0;
        for on_air in net.air[heard..].iter().filter(|frame| frame.from != 1) {
            let frame = open(&on_air.bytes);
            if frame.src == 1 {
                let first = frames.entry(frame.seq).or_insert(&on_air.bytes);
                assert_eq!(*first, on_air.bytes, "SEQ {}", frame.seq);
                own += 1;
            }
        }
        assert!(own > 20, "{own}");
        assert!(conflicts(&net, 0) + conflicts(&net, 2) >= 2, "both are notified");
        assert!(!net.received(1).is_empty());
    }
}
