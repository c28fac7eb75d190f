//! Continuation frames: what a head segment says of the others, and what becomes of those that nothing was said of.

use mesh_protocol::continuation::{self, Continuation, is_continuation, retarget_hop};
use mesh_protocol::frame::{Frame, Kind};
use mesh_protocol::{Address, Discard, LEGACY_FRAME, Mic, Priority, SendOutcome, SmallNode, TransferId};

use crate::net::{Net, Reception, address, keys, ms, open, seal, secs, text};

fn routed_line(count: usize) -> Net {
    let mut net = Net::<SmallNode>::line(count);
    let now = net.now;
    for at in 0..count {
        for to in (0..count).filter(|to| to.abs_diff(at) > 1) {
            let next = if to > at { at + 1 } else { at - 1 };
            net.stations[at].node.set_route(now, address(to), address(next), 1).unwrap();
        }
    }
    net
}

fn sealed(frame: &Continuation<'_>) -> Vec<u8> {
    let mut out = [0; LEGACY_FRAME];
    let len = continuation::encode(frame, &keys(), &mut out).unwrap();
    out[..len].to_vec()
}

const STRAY: Continuation<'static> = Continuation {
    hop: 0,
    seq: 900,
    src: Address::new(77),
    transfer: TransferId::new(5),
    offset: 1,
    data: &[1; 15],
};

#[test]
fn three_hundred_and_seventy_nine_bytes_take_twenty_six_frames_to_a_neighbour_and_over_relays() {
    for hops in [1, 3, 5] {
        let mut net = routed_line(hops + 1);
        net.run(secs(12));
        net.air.clear();
        let id = net.send(0, address(hops), Priority::High, secs(5), &text(379)).unwrap();
        net.run_until(secs(5), |net| net.outcome(0, id).is_some());
        assert_eq!(net.received(hops), [(1, id, text(379))]);
        let mut seqs: Vec<_> =
            net.sent_by(0).into_iter().filter(|frame| frame.kind == Kind::Segment).collect();
        seqs.sort_by_key(|frame| frame.seq);
        seqs.dedup_by_key(|frame| frame.seq);
        assert_eq!(seqs.len(), 26, "{hops} hops: 383 bytes, of which the first frame has 10, or 8");
        assert_eq!(net.stations[0].node.stats().retransmissions, 0);
        for at in 1..hops {
            assert!(net.sent_by(at).iter().all(|frame| frame.dst != 0
                || frame.ttl == ((4 * 8 - at) % 4) as u8
                || at % 4 == 0 && frame.ttl == 4));
        }
    }
}

#[test]
fn what_no_head_has_announced_changes_nothing() {
    let mut net = Net::<SmallNode>::new(1);
    assert_eq!(net.inject(0, &sealed(&STRAY)), Err(Discard::NoContext));
    assert_eq!(net.stations[0].node.replay_marks().count(), 0);
    assert_eq!(net.stations[0].node.depth(), (0, 0));
    assert_eq!(net.stations[0].node.neighbours().count(), 0);
}

#[test]
fn a_head_that_has_nowhere_to_go_is_given_back_and_the_block_goes_to_all() {
    let mut net = Net::<SmallNode>::line(4);
    let now = net.now;
    net.stations[0].node.set_route(now, address(3), address(1), 1).unwrap();
    let id = net.send(0, address(3), Priority::Medium, secs(5), &text(60)).unwrap();
    net.run_until(secs(5), |net| net.outcome(0, id).is_some());
    assert_eq!(net.outcome(0, id).unwrap().1, SendOutcome::Delivered);
    assert!(net.outcome(0, id).unwrap().0 < crate::net::T0 + secs(1));
    assert_eq!(net.received(3), [(1, id, text(60))]);
}

#[test]
fn losses_of_any_frame_are_made_good_and_each_message_arrives_once() {
    for (seed, hops) in [(1, 1), (2, 2), (3, 3), (4, 5)] {
        let mut net = routed_line(hops + 1);
        net.run(secs(12));
        net.lossy(15, seed);
        for priority in [Priority::High, Priority::Medium, Priority::Low] {
            let id = net.send(0, address(hops), priority, secs(60), &text(1500)).unwrap();
            net.run_until(secs(60), |net| net.outcome(0, id).is_some());
            assert_eq!(
                net.outcome(0, id).unwrap().1,
                SendOutcome::Delivered,
                "seed {seed}, {hops} hops, {priority}"
            );
            assert_eq!(net.received(hops).iter().filter(|message| message.1 == id).count(), 1);
        }
    }
}

#[test]
fn a_head_that_is_lost_costs_no_timeout() {
    let mut net = routed_line(2);
    net.run(secs(70));
    let mut lost = false;
    net.rule(move |frame, to| {
        let is_head = to == 1 && !is_continuation(&frame.bytes) && open(&frame.bytes).kind == Kind::Segment;
        if is_head && !std::mem::replace(&mut lost, true) { Reception::Lose } else { Reception::Pass }
    });
    let start = net.now;
    let id = net.send(0, address(1), Priority::High, secs(5), &text(100)).unwrap();
    net.run_until(secs(5), |net| net.outcome(0, id).is_some());
    let (at, outcome) = net.outcome(0, id).unwrap();
    assert_eq!(outcome, SendOutcome::Delivered);
    assert!(at.since(start) < ms(400), "{:?}", at.since(start));
}

#[test]
fn a_repeat_from_further_back_does_not_say_that_the_next_hop_has_a_frame() {
    let mut net = routed_line(5);
    net.run(secs(12));
    let mut lost = false;
    net.rule(move |frame, to| {
        let first = (frame.from, to) == (2, 3) && is_continuation(&frame.bytes);
        if first && !std::mem::replace(&mut lost, true) { Reception::Lose } else { Reception::Pass }
    });
    net.air.clear();
    let id = net.send(0, address(4), Priority::High, secs(5), &text(25)).unwrap();
    let sent = |net: &Net, from: usize| {
        let mut sent = net.air.iter().filter(|frame| frame.from == from && is_continuation(&frame.bytes));
        sent.next().map(|frame| frame.bytes.clone())
    };
    net.run_until(secs(1), |net| sent(net, 2).is_some());
    // The source did not hear that it went on, and is heard as far as there.
    let repeat = sent(&net, 0).unwrap();
    assert_eq!(net.inject(2, &repeat), Err(Discard::Duplicate));
    net.run_until(secs(5), |net| net.outcome(0, id).is_some());
    assert_eq!(net.outcome(0, id).unwrap().1, SendOutcome::Delivered);
    assert_eq!(net.stations[0].node.stats().retransmissions, 0, "it goes again from where it was lost");
}

#[test]
fn hop_can_be_changed_and_a_frame_said_again_and_nothing_comes_of_it() {
    let mut net = routed_line(3);
    net.run(secs(12));
    net.air.clear();
    let id = net.send(0, address(2), Priority::Medium, secs(5), &text(60)).unwrap();
    net.run_until(secs(5), |net| net.outcome(0, id).is_some());
    let recorded: Vec<_> = net
        .air
        .iter()
        .filter(|frame| is_continuation(&frame.bytes))
        .map(|frame| frame.bytes.clone())
        .collect();
    assert!(recorded.len() > 3);
    net.run(secs(1));
    net.air.clear();
    for bytes in &recorded {
        for hop in 0..4 {
            for at in 0..3 {
                let mut changed = bytes.clone();
                retarget_hop(&mut changed, 0, hop);
                assert!(net.inject(at, &changed).is_err());
            }
        }
    }
    net.run(ms(200));
    assert_eq!(net.received(2), [(1, id, text(60))]);
    let data = net.air.iter().map(|frame| open(&frame.bytes)).filter(|frame| frame.kind != Kind::Control);
    assert_eq!(data.count(), 0, "nothing is passed on again");
}

#[test]
fn a_member_that_opens_contexts_without_end_takes_no_others_place() {
    let mut net = routed_line(3);
    net.run(secs(12));
    let id = net.send(0, address(2), Priority::Low, secs(9), &text(379)).unwrap();
    net.run(ms(60));
    for seq in 1..=8u32 {
        let body = [&[0x80 | (seq >> 4) as u8, (seq << 4) as u8, 5][..], &[9; 8]].concat();
        let head = Frame {
            ttl: 7,
            ttl0: 7,
            seq,
            src: Address::new(500),
            dst: address(2),
            next: Some(address(1)),
            priority: Priority::Low,
            kind: Kind::Segment,
            mic: Mic::Short,
            body: &body,
        };
        let _ = net.inject(1, &seal(&head));
    }
    net.run_until(secs(9), |net| net.outcome(0, id).is_some());
    assert_eq!(net.outcome(0, id).unwrap().1, SendOutcome::Delivered);
    assert_eq!(net.received(2), [(1, id, text(379))]);
}

#[test]
fn a_first_segment_that_is_lost_again_and_again_does_not_make_its_receiver_one_that_is_gone() {
    let mut net = Net::<SmallNode>::line(2);
    net.run(secs(60));
    // Whoever has not had the first says nothing of the others, of which eight go in a row: all of that silence is one loss.
    let mut lost = 0;
    net.rule(move |frame, _| {
        let frame = open(&frame.bytes);
        let is_first = frame.kind == Kind::Segment && frame.dst == 2;
        lost += u32::from(is_first);
        if is_first && lost <= 3 { Reception::Lose } else { Reception::Pass }
    });
    net.air.clear();
    let id = net.send(0, address(1), Priority::Low, secs(20), &text(379)).unwrap();
    net.run_until(secs(20), |net| net.outcome(0, id).is_some());
    assert_eq!(net.outcome(0, id).unwrap().1, SendOutcome::Delivered);
    let firsts: Vec<_> =
        net.sent_by(0).into_iter().filter(|frame| frame.kind == Kind::Segment && frame.dst == 2).collect();
    assert!(
        firsts.iter().all(|frame| (frame.ttl, frame.seq) == (1, firsts[0].seq)),
        "none is cut anew: {firsts:?}"
    );
}
