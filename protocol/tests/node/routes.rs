//! Routes: who passes a frame on, what becomes of a wrong route, and what an outsider can make of NEXT.

use std::collections::{BTreeMap, BTreeSet};

use mesh_protocol::frame::{Frame, Kind, retarget_next, retarget_ttl};
use mesh_protocol::{
    Address, Discard, LEGACY_FRAME, Mic, Priority, Rng, RouteError, RouteOrigin, SendOutcome, SmallNode,
};

use crate::net::{Net, Opened, Reception, address, ms, seal, secs, text};

/// Five stations in a line and beside each another one, which hears it and its neighbours in the line: 0 to 4, 5 to 9.
fn ladder() -> Net {
    let mut net = Net::<SmallNode>::new(10);
    for at in 0..5 {
        for other in 0..5usize {
            if at < other && other - at == 1 {
                net.join(at, other);
                net.join(5 + at, 5 + other);
            }
            if at.abs_diff(other) <= 1 {
                net.join(at, 5 + other);
            }
        }
    }
    net
}

fn route(net: &mut Net, at: usize, to: usize, next: usize) {
    let now = net.now;
    net.stations[at].node.set_route(now, address(to), address(next), 1).unwrap();
}

/// From 0 to 4 along the line and back.
fn routed_ladder() -> Net {
    let mut net = ladder();
    for at in 0..4 {
        route(&mut net, at, 4, at + 1);
        route(&mut net, at + 1, 0, at);
    }
    net
}

fn relays(net: &Net) -> Vec<u64> {
    net.stations.iter().map(|station| station.node.stats().frames_relayed).collect()
}

/// The frames of messages and their answers that a station sent, each once, however often it sent them.
fn said(net: &Net, at: usize) -> Vec<Opened> {
    let mut said: Vec<Opened> = Vec::new();
    for frame in net.sent_by(at).into_iter().filter(|frame| frame.dst != 0xffff) {
        if !said.contains(&frame) {
            said.push(frame);
        }
    }
    said
}

#[test]
fn who_is_not_on_the_route_passes_nothing_on() {
    let mut relayed = [0, 0];
    for (mut net, relayed) in [ladder(), routed_ladder()].into_iter().zip(&mut relayed) {
        // Long enough to know neighbours, and too short to have learned routes.
        net.run(ms(5_200));
        let id = net.send(0, address(4), Priority::Medium, secs(5), &text(25)).unwrap();
        net.run(ms(600));
        assert_eq!(net.outcome(0, id).unwrap().1, SendOutcome::Delivered);
        assert_eq!(net.received(4), [(1, id, text(25))]);
        assert_eq!(net.stations[0].node.stats().retransmissions, 0);
        *relayed = relays(&net).iter().sum();
        println!("relays {:?}", relays(&net));
        if net.stations[0].node.routes(net.now).any(|route| route.origin == RouteOrigin::Operator) {
            assert_eq!(relays(&net)[4..], [0; 6], "the others");
            // Three hops of a first segment and two continuation frames there and one receipt back, each once but for a few that were late to be heard.
            assert!(
                relays(&net)[1..4].iter().all(|count| (3 + 1..=3 + 3).contains(count)),
                "{:?}",
                relays(&net)
            );
        }
    }
    let [flooded, routed] = relayed;
    assert!(flooded > 2 * routed, "{flooded} relays by flooding, {routed} by the route");
}

#[test]
fn each_relay_names_the_next_one_in_the_first_segment_and_the_others_follow_it() {
    let mut net = routed_ladder();
    net.send(0, address(4), Priority::Medium, secs(5), &text(25)).unwrap();
    net.run(ms(600));
    for at in 0..4 {
        let frames: Vec<_> = said(&net, at).into_iter().filter(|frame| frame.src == 1).collect();
        assert_eq!(frames.len(), 3, "29 bytes with head and CRC");
        assert_eq!((frames[0].next, frames[0].ttl), (Some(address(at + 1).bits()), 7 - at as u8));
        assert!(frames[1..].iter().all(|frame| frame.ttl == 4 - at as u8), "so many have passed them on");
        assert_eq!(frames.iter().map(|frame| frame.body.len()).collect::<Vec<_>>(), [3 + 8, 15, 6]);
    }
    let receipts: Vec<_> = said(&net, 4);
    assert_eq!(receipts.len(), 1, "{receipts:?}");
    assert_eq!((receipts[0].kind, receipts[0].next), (Kind::Control, Some(address(3).bits())));
    assert!(net.air.iter().all(|frame| frame.bytes.len() <= LEGACY_FRAME));
}

#[test]
fn every_length_arrives_by_a_route() {
    // A single frame holds 11 bytes with a head of 2, a block 640 with head and CRC, as without a route.
    let node = &routed_ladder().stations[0].node;
    let fits = |len: &usize| node.first_part_len(address(4), Priority::High, *len) == *len;
    let one_block = (1..=640).rev().find(fits).unwrap();
    assert_eq!(one_block, 640 - 2 - 6);
    let part = node.first_part_len(address(4), Priority::High, 640);
    for around in [9, 12, one_block, 2 * part] {
        for len in around - 1..=around + 1 {
            let mut net = routed_ladder();
            let id = net.send(0, address(4), Priority::High, secs(60), &text(len)).unwrap();
            net.run_until(secs(60), |net| net.outcome(0, id).is_some());
            assert_eq!(net.received(4), [(1, id, text(len))], "{len} bytes");
        }
    }
}

#[test]
fn a_relay_without_a_route_floods() {
    let mut net = ladder();
    route(&mut net, 0, 4, 1);
    let id = net.send(0, address(4), Priority::Medium, secs(5), b"hi").unwrap();
    net.run(ms(600));
    assert_eq!(net.outcome(0, id).unwrap().1, SendOutcome::Delivered);
    let of = |at: usize| said(&net, at).into_iter().filter(|frame| frame.src == 1).collect::<Vec<_>>();
    assert_eq!((of(0).len(), of(0)[0].next), (1, Some(2)), "0 has asked 1");
    assert_eq!((of(1).len(), of(1)[0].next, of(1)[0].ttl), (1, None, 6), "1 asks everybody");
    assert!(of(2).len() == 1 && of(6).len() == 1);
    assert_eq!(of(1)[0].body, of(0)[0].body);
}

#[test]
fn the_last_relay_needs_no_route_to_a_neighbour_that_hears_it_well() {
    let mut net = Net::<SmallNode>::line(3);
    route(&mut net, 0, 2, 1);
    net.run(secs(70));
    net.air.clear();
    net.send(0, address(2), Priority::Medium, secs(5), b"hi").unwrap();
    net.run(ms(100));
    let own = said(&net, 1);
    assert_eq!(own.iter().map(|frame| (frame.src, frame.next)).collect::<Vec<_>>()[0], (1, Some(3)));
}

#[test]
fn a_route_that_leads_nowhere_costs_a_timeout_and_no_message() {
    for len in [5, 25, 600] {
        let mut net = ladder();
        let now = net.now;
        net.stations[0].node.set_route(now, address(4), Address::new(99), 1).unwrap();
        let id = net.send(0, address(4), Priority::High, secs(20), &text(len)).unwrap();
        net.run_until(secs(20), |net| net.outcome(0, id).is_some());
        assert_eq!(net.outcome(0, id).unwrap().1, SendOutcome::Delivered, "{len} bytes");
        assert_eq!(net.received(4), [(1, id, text(len))]);
        let own: Vec<_> = said(&net, 0).into_iter().filter(|frame| frame.kind != Kind::Control).collect();
        let first = own.iter().take_while(|frame| frame.next == Some(99) || frame.dst == 0).count();
        assert!(first > 0 && own[0].next == Some(99) && own[first].next.is_none());
        assert!(own[first..].iter().all(|frame| frame.ttl == 7), "then with the full TTL");
        assert!(own.iter().filter(|frame| frame.kind == Kind::Segment).all(|frame| frame.body.len() <= 15));
    }
}

#[test]
fn a_next_hop_that_has_fallen_silent_is_not_asked() {
    let mut net = routed_ladder();
    net.run(secs(20));
    net.switch_off(1);
    net.run(secs(100));
    net.air.clear();
    let id = net.send(0, address(4), Priority::Medium, secs(5), b"hi").unwrap();
    net.run(ms(600));
    assert_eq!(net.outcome(0, id).unwrap().1, SendOutcome::Delivered);
    assert!(said(&net, 0).iter().all(|frame| frame.next != Some(2)), "what was learned leads around it");
    assert_eq!(net.stations[0].node.stats().retransmissions, 0);
}

#[test]
fn routes_in_a_circle_end_and_the_message_arrives_by_flooding() {
    let mut net = Net::<SmallNode>::line(4);
    route(&mut net, 0, 3, 1);
    route(&mut net, 1, 3, 2);
    route(&mut net, 2, 3, 1);
    let id = net.send(0, address(3), Priority::Medium, secs(5), &text(25)).unwrap();
    net.run_until(secs(5), |net| net.outcome(0, id).is_some());
    assert_eq!(net.outcome(0, id).unwrap().1, SendOutcome::Delivered);
    net.run(secs(3));
    for at in 1..3 {
        let own = said(&net, at);
        let seqs: BTreeSet<u32> = own.iter().filter(|frame| frame.src == 1).map(|frame| frame.seq).collect();
        for seq in seqs {
            let times = own.iter().filter(|frame| (frame.src, frame.seq) == (1, seq)).count();
            assert_eq!(times, 1, "station {at}, SEQ {seq}");
        }
    }
}

#[test]
fn the_urgent_and_what_is_to_many_use_no_routes() {
    let mut net = routed_ladder();
    net.send(0, address(4), Priority::Critical, secs(5), &text(25)).unwrap();
    net.send(0, Address::new(0x9000), Priority::High, secs(5), &text(25)).unwrap();
    net.run(ms(600));
    let own = said(&net, 0);
    assert!(own.len() >= 6 && own.iter().all(|frame| frame.next.is_none()), "{own:?}");
}

#[test]
fn a_route_straight_to_a_neighbour_asks_nobody() {
    let mut net = ladder();
    route(&mut net, 0, 1, 1);
    route(&mut net, 1, 0, 0);
    net.rule(|_, to| if to == 0 { Reception::Lose } else { Reception::Pass });
    let id = net.send(0, address(1), Priority::Medium, secs(5), &text(25)).unwrap();
    net.run(ms(140));
    let own = said(&net, 0);
    assert_eq!(own.len(), 3, "segments of the usual length");
    assert!(own[0].ttl == 1 && own[0].next.is_none());
    let times = net.sent_by(0).iter().filter(|frame| frame.dst != 0xffff).count();
    assert_eq!(times, 6, "none was heard to arrive, and all are said again");
    assert_eq!(relays(&net), [0; 10]);
    net.rule(|_, _| Reception::Pass);
    net.run(secs(2));
    assert_eq!(net.outcome(0, id).unwrap().1, SendOutcome::Delivered);
}

#[test]
fn messages_go_on_while_routes_come_and_go() {
    let mut net = ladder();
    let id = net.send(0, address(4), Priority::High, secs(600), &text(3000)).unwrap();
    net.run(ms(700));
    for at in 0..4 {
        route(&mut net, at, 4, at + 1);
    }
    let other = net.send(0, address(4), Priority::High, secs(600), &text(3000)).unwrap();
    net.run(secs(1));
    for at in 0..4 {
        assert!(net.stations[at].node.remove_route(address(4)));
    }
    net.run_until(secs(600), |net| net.outcome(0, other).is_some() && net.outcome(0, id).is_some());
    let mut received = net.received(4);
    received.sort();
    assert_eq!(received, [(1, id, text(3000)), (1, other, text(3000))]);
}

#[test]
fn losses_on_a_route_are_made_good() {
    for seed in 1..=3 {
        let mut net = routed_ladder();
        net.lossy(15, seed);
        let id = net.send(0, address(4), Priority::Low, secs(600), &text(2000)).unwrap();
        net.run_until(secs(600), |net| net.outcome(0, id).is_some());
        assert_eq!(net.received(4), [(1, id, text(2000))], "seed {seed}");
    }
}

#[test]
fn whatever_routes_say_every_message_arrives_once_and_relaying_has_bounds() {
    let (mut sent, mut by_route) = (0, 0);
    for seed in 1..=30 {
        println!("seed {seed}");
        let mut rng = Rng::new(seed);
        let mut pick = |below: usize| rng.below(below as u64) as usize;
        let count = 4 + pick(6);
        let mut net = Net::<SmallNode>::line(count);
        for _ in 0..count {
            let (a, b) = (pick(count), pick(count));
            if a != b {
                net.join(a, b);
            }
        }
        // Right ones, wrong ones, circles, and to nobody.
        for _ in 0..3 * count {
            let (at, to, next) = (pick(count), pick(count), pick(count + 1));
            if at != to && at != next {
                route(&mut net, at, to, next);
            }
        }
        net.lossy(10, seed);
        let mut ids = Vec::new();
        for _ in 0..6 {
            let (from, to, len) = (pick(count), pick(count), 1 + pick(60));
            if from != to {
                let priority = Priority::ALL[pick(4)];
                let id = net.send(from, address(to), priority, secs(300), &text(len));
                ids.extend(id.map(|id| (from, to, id)));
                net.run(ms(pick(400) as u64));
            }
        }
        net.run_until(secs(300), |net| ids.iter().all(|(from, _, id)| net.outcome(*from, *id).is_some()));
        for (from, to, id) in ids {
            sent += 1;
            assert_eq!(net.outcome(from, id).unwrap().1, SendOutcome::Delivered, "{from} to {to}");
            assert_eq!(net.received(to).iter().filter(|message| message.1 == id).count(), 1);
        }
        for at in 0..count {
            let own = net.sent_by(at);
            let mut relayed = BTreeMap::<_, u32>::new();
            for frame in own.iter().filter(|frame| frame.src != address(at).bits()) {
                *relayed.entry((frame.src, frame.seq)).or_default() += 1;
            }
            // Two relays, each handed to two next hops as often as may be, and then flooded in three copies.
            assert!(relayed.values().all(|count| *count <= 2 * (2 * 12 + 3)), "{relayed:?}");
            by_route += said(&net, at).iter().filter(|frame| frame.next.is_some()).count();
        }
    }
    assert!(sent > 100 && by_route > 60, "{sent} messages, {by_route} frames to a next hop");
}

#[test]
fn a_full_table_says_so_and_drops_nothing() {
    let mut node = Net::<SmallNode>::new(1).stations.remove(0).node;
    let now = crate::net::T0;
    let next = Address::new(500);
    let mut count = 0;
    while node.set_route(now, Address::new(1000 + count), next, count).is_ok() {
        count += 1;
    }
    assert_eq!(count, 96, "as many as there is room for");
    assert_eq!(node.set_route(now, Address::new(2000), next, 0), Err(RouteError::Full));
    assert_eq!(node.set_route(now, Address::new(1003), Address::new(501), 7), Ok(()), "in its own place");
    let known: Vec<_> = node.routes(now).map(|route| route.destination.bits()).collect();
    assert_eq!(known, (1000..1096).collect::<Vec<_>>());
    assert!(node.remove_route(Address::new(1003)) && !node.remove_route(Address::new(1003)));
    assert_eq!(node.set_route(now, Address::new(2000), next, 0), Ok(()));
}

#[test]
fn a_route_leads_from_one_node_to_another() {
    let mut node = Net::<SmallNode>::new(1).stations.remove(0).node;
    let mut set =
        |to: u16, next: u16| node.set_route(crate::net::T0, Address::new(to), Address::new(next), 0);
    for to in [0, 1, 0x8000, 0xffff] {
        assert_eq!(set(to, 2), Err(RouteError::Destination), "{to:#06x}");
        assert_eq!(set(2, to), Err(RouteError::NextHop), "{to:#06x}");
    }
    assert_eq!(set(2, 3), Ok(()));
}

/// A frame from station 50 to station 60 that station 0 is to pass on.
fn entrusted(seq: u32, priority: Priority) -> Vec<u8> {
    seal(&Frame {
        ttl: 7,
        ttl0: 7,
        seq,
        src: address(50),
        dst: address(60),
        next: Some(address(0)),
        priority,
        kind: Kind::Single,
        mic: Mic::Short,
        body: &[1, 0, b'x'],
    })
}

/// The same bytes as anyone can make them: with another next hop, or none.
fn with_next(bytes: &[u8], to: Option<Address>) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let len = retarget_next(&mut bytes, address(0), to);
    bytes.truncate(len);
    bytes
}

#[test]
fn an_outsider_who_changes_next_does_not_silence_a_frame() {
    for priority in Priority::ALL {
        let mut net = Net::<SmallNode>::new(1);
        let frame = entrusted(9, priority);
        assert_eq!(net.inject(0, &with_next(&frame, Some(address(70)))), Ok(()), "the outsider was faster");
        net.run(ms(200));
        assert_eq!(said(&net, 0), [], "another was asked");
        assert_eq!(net.stations[0].node.stats().discarded(Discard::NotNextHop), 1);
        assert_eq!(net.inject(0, &frame), Err(Discard::Duplicate));
        net.run(ms(200));
        assert_eq!(said(&net, 0).len(), 1, "{priority}");

        // Nor by taking it out: then it is flooded, which is more and not less.
        assert_eq!(net.inject(0, &with_next(&entrusted(10, priority), None)), Ok(()));
        net.run(ms(200));
        assert_eq!(said(&net, 0).len(), 2, "{priority}");
    }
}

#[test]
fn a_frame_is_relayed_at_most_twice_whatever_its_next_hop() {
    let mut net = Net::<SmallNode>::new(1);
    route(&mut net, 0, 60, 80);
    let frame = entrusted(9, Priority::High);
    for ttl in 2..=7 {
        for next in [Some(address(70)), Some(address(0)), None] {
            let mut copy = with_next(&frame, next);
            retarget_ttl(&mut copy, 7, ttl);
            let _ = net.inject(0, &copy);
            net.run(ms(200));
        }
    }
    let said: Vec<_> = said(&net, 0).iter().map(|frame| (frame.ttl, frame.next)).collect();
    // Nobody takes it from here, so it is left to all in the end; as far as its first TTL said, and once more as far as it goes.
    assert_eq!(said, [(1, Some(81)), (1, None), (2, Some(81)), (2, None)]);
}

#[test]
fn what_comes_round_in_a_circle_is_given_back_to_its_source_once() {
    let mut net = Net::<SmallNode>::new(1);
    route(&mut net, 0, 60, 80);
    let frame = entrusted(9, Priority::High);
    assert_eq!(net.inject(0, &frame), Ok(()));
    net.run(ms(30));
    let given_back = |net: &Net| {
        let is_undelivered =
            |frame: &&Opened| frame.kind == Kind::Control && frame.body[..] == [0x0b, 0, 0, 9, 1];
        said(net, 0).iter().filter(is_undelivered).count()
    };
    let back = |net: &mut Net, ttl| {
        let mut copy = frame.clone();
        retarget_ttl(&mut copy, 7, ttl);
        assert_eq!(net.inject(0, &copy), Err(Discard::Duplicate));
        net.run(ms(100));
    };
    back(&mut net, 7);
    back(&mut net, 6);
    assert_eq!(given_back(&net), 0, "the hop before asks again, itself or by another one");
    back(&mut net, 5);
    assert_eq!(given_back(&net), 1, "80 has sent it on to this node, and neither would keep it");
    back(&mut net, 5);
    assert_eq!(given_back(&net), 1);
}

#[test]
fn what_one_node_is_asked_to_pass_on_it_does_not_leave_to_others() {
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
    // The link is busy, so that there is time to hear an outsider pretend that others have relayed it.
    net.inject(0, &entrusted(1, Priority::Critical)).unwrap();
    let frame = entrusted(2, Priority::Low);
    assert_eq!(net.inject(0, &frame), Ok(()));
    for _ in 0..4 {
        let mut copy = with_next(&frame, None);
        retarget_ttl(&mut copy, 7, 6);
        assert_eq!(net.inject(0, &copy), Err(Discard::Duplicate));
    }
    net.run(ms(300));
    assert!(said(&net, 0).iter().any(|frame| frame.seq == 2));
    assert_eq!(net.stations[0].node.stats().discarded(Discard::Suppressed), 0);
}
