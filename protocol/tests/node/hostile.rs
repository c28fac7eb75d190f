//! Bytes from outsiders: nothing they send changes what the node holds, sends or says.

use mesh_protocol::frame::{Frame, Kind, retarget_ttl};
use mesh_protocol::{
    Address, Instant, MAX_FRAME, Mic, Neighbour, Path, Priority, ReplayMark, Rng, SmallNode,
};

use crate::net::{Net, address, ms, seal, secs, text};

/// Everything that can be seen of a node but its counters of discards.
#[derive(Debug, PartialEq)]
struct Seen {
    marks: Vec<ReplayMark>,
    neighbours: Vec<Neighbour>,
    paths: Vec<Path>,
    depth: (usize, usize),
    next_seq: u32,
    conflict: bool,
    due: Option<Instant>,
    verified: u64,
    sent: u64,
    blocks: u64,
}

fn snapshot(node: &SmallNode) -> Seen {
    Seen {
        marks: node.replay_marks().collect(),
        neighbours: node.neighbours().copied().collect(),
        paths: node.paths().copied().collect(),
        depth: node.depth(),
        next_seq: node.next_seq(),
        conflict: node.conflict(crate::net::T0).is_some(),
        due: node.poll_timeout(),
        verified: node.stats().frames_verified,
        sent: node.stats().frames_sent,
        blocks: node.stats().blocks_received,
    }
}

/// A node in the middle of its work: neighbours, open sets, a message under way.
fn at_work() -> Net {
    working(Net::line(3))
}

fn working(mut net: Net) -> Net {
    net.send(0, address(2), Priority::Medium, secs(60), &text(600)).unwrap();
    net.send(1, address(0), Priority::Low, secs(60), &text(300)).unwrap();
    net.send(2, address(1), Priority::High, secs(60), &text(600)).unwrap();
    net.run(ms(500));
    net
}

#[test]
fn random_bytes_change_nothing() {
    let seed = 0x5eed;
    println!("seed {seed}");
    let mut rng = Rng::new(seed);
    let mut net = at_work();
    let first_byte = crate::net::keys().first_byte();
    let before = snapshot(&net.stations[1].node);
    let discards = |net: &Net| net.stations[1].node.stats().discards().map(|(_, n)| n).sum::<u64>();
    let counted = discards(&net);
    let now = net.now;
    for n in 0..20_000u64 {
        let len = rng.below(MAX_FRAME as u64 + 20) as usize;
        let mut bytes: Vec<u8> = (0..len).map(|_| rng.next_u64() as u8).collect();
        // Most of them get past the key's first byte, with the length of a legacy frame.
        if n % 4 != 0 {
            bytes.truncate(27);
            if let Some(first) = bytes.first_mut() {
                *first = first_byte;
            }
        }
        let node = &mut net.stations[1].node;
        assert!(node.handle_frame(now, crate::net::LINK, &mut bytes, Some(-40)).is_err(), "frame {n}");
        assert_eq!(snapshot(node), before, "frame {n}");
    }
    assert_eq!(discards(&net) - counted, 20_000, "each was counted, once");
    net.run(secs(60));
    assert_eq!(
        (net.received(0).len(), net.received(1).len(), net.received(2).len()),
        (1, 1, 1),
        "work went on"
    );
}

#[test]
fn a_frame_with_any_bit_flipped_changes_nothing() {
    let net = at_work();
    let now = net.now;
    let body = text(13);
    for (kind, mic, body) in [
        (Kind::Single, Mic::Short, &body[..]),
        (Kind::Segment, Mic::Short, &[0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        (Kind::Control, Mic::Long, &[3, 0, 0, 0, 2, 1, 0]),
        (Kind::Control, Mic::Long, &[1, 0, 0]),
    ] {
        let frame = Frame {
            ttl: 7,
            ttl0: 7,
            seq: 9,
            src: address(80),
            dst: address(1),
            next: None,
            priority: Priority::High,
            kind,
            mic,
            body,
        };
        let good = seal(&frame);
        for bit in 0..good.len() * 8 {
            let mut node = net.stations[1].node.clone();
            let before = snapshot(&node);
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 0x80 >> (bit % 8);
            let taken = node.handle_frame(now, crate::net::LINK, &mut bytes, None);
            if (9..12).contains(&bit) {
                // A lower TTL is all that an outsider can make of it.
                continue;
            }
            assert!(taken.is_err(), "{kind:?}, bit {bit}");
            let after = snapshot(&node);
            // The bit that raises TTL is found only behind the MIC.
            let verified = u64::from(after.verified != before.verified);
            assert_eq!(after, Seen { verified: before.verified + verified, ..before }, "{kind:?}, bit {bit}");
        }
    }
}

#[test]
fn what_was_recorded_can_be_replayed_for_ever_to_no_effect() {
    let seed = 77;
    println!("seed {seed}");
    let mut rng = Rng::new(seed);
    // All hear all, so everything recorded was taken once by everyone.
    let mut net = working(Net::full(3));
    net.run(secs(30));
    let recorded: Vec<Vec<u8>> = net.air.iter().map(|frame| frame.bytes.clone()).collect();
    let log = [0, 1, 2].map(|at| net.log(at));
    let sent = |net: &Net| [0, 1, 2].map(|at| net.stations[at].node.next_seq());
    let before = sent(&net);
    let depth = net.stations[1].node.depth();
    for _ in 0..5_000 {
        let mut bytes = recorded[rng.below(recorded.len() as u64) as usize].clone();
        // With any TTL the outsider likes.
        retarget_ttl(&mut bytes, 0, rng.below(16) as u8);
        let at = rng.below(3) as usize;
        assert!(net.inject(at, &bytes).is_err());
    }
    assert_eq!([0, 1, 2].map(|at| net.log(at)), log, "no event");
    for (after, before) in sent(&net).into_iter().zip(before) {
        assert!(after <= before + 1, "no answer but that a frame is known to be here, once");
    }
    assert_eq!(net.stations[1].node.depth(), depth);
}

#[test]
fn a_member_that_sends_nonsense_is_contained() {
    // Sealed with the right key: whatever it says, the node stays within its bounds and comes to rest.
    for seed in 1..=2 {
        println!("seed {seed}");
        let mut rng = Rng::new(seed);
        let mut net = at_work();
        for seq in 0..2_000 {
            let body: Vec<u8> = (0..rng.below(10)).map(|_| rng.next_u64() as u8).collect();
            let kind = [Kind::Single, Kind::Segment, Kind::Control][rng.below(3) as usize];
            let frame = seal(&Frame {
                ttl: 7,
                ttl0: 7,
                seq,
                src: address(40 + rng.below(3) as usize),
                dst: [address(1), Address::EVERYONE, address(9)][rng.below(3) as usize],
                next: None,
                priority: Priority::from_bits(rng.next_u64() as u8),
                kind,
                mic: if kind == Kind::Control { Mic::Long } else { Mic::Short },
                body: &body,
            });
            let _ = net.inject(1, &frame);
            net.run(ms(rng.below(30)));
        }
        net.run(secs(60));
        for (at, source) in [(2, 1), (1, 3)] {
            let own = net.received(at).iter().filter(|(from, ..)| *from == source).count();
            assert_eq!(own, 1, "the others' messages arrived all the same");
        }
    }
}
