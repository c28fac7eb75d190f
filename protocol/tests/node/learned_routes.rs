//! Learned routes: how they are found, what they save, and what becomes of them when a node goes.

use mesh_protocol::frame::{Frame, Kind};
use mesh_protocol::{Address, Discard, Mic, Priority, RouteOrigin, SendOutcome, SmallNode, Step};

use crate::net::{Net, Opened, address, ms, seal, secs, text};

/// Everything of a kind that was said so far, each frame once.
fn said(net: &Net, fits: impl Fn(&Opened) -> bool) -> Vec<(usize, Opened)> {
    let mut said = Vec::new();
    for at in 0..net.stations.len() {
        for frame in net.sent_by(at) {
            if fits(&frame) && !said.contains(&(at, frame.clone())) {
                said.push((at, frame));
            }
        }
    }
    said
}

fn is_control(frame: &Opened, opcode: u8) -> bool {
    frame.kind == Kind::Control && frame.body.first() == Some(&opcode)
}

/// `columns` by `rows`, each hears the four beside it and the four across.
fn grid(columns: usize, rows: usize) -> Net {
    let mut net = Net::<SmallNode>::new(columns * rows);
    for a in 0..columns * rows {
        for b in 0..a {
            let (x, y) = ((a % columns).abs_diff(b % columns), (a / columns).abs_diff(b / columns));
            if x <= 1 && y <= 1 {
                net.join(a, b);
            }
        }
    }
    net
}

/// How a route leads from one to another, with both ends; stops where it stops.
fn way(net: &Net, from: usize, to: usize) -> Vec<usize> {
    let mut way = vec![from];
    while *way.last().unwrap() != to && way.len() <= net.stations.len() {
        let at = *way.last().unwrap();
        let mut routes = net.stations[at].node.routes(net.now);
        let Some(route) = routes.find(|route| route.destination == address(to) && !route.broken) else {
            break;
        };
        assert_eq!(route.origin, RouteOrigin::Learned);
        way.push(usize::from(route.next_hop.bits()) - 1);
    }
    way
}

#[test]
fn after_half_a_minute_everyone_knows_the_way_to_everyone() {
    let mut net = grid(5, 4);
    net.run(secs(40));
    for from in 0..20 {
        for to in (0..20).filter(|to| *to != from) {
            let way = way(&net, from, to);
            let least = (from % 5).abs_diff(to % 5).max((from / 5).abs_diff(to / 5));
            assert_eq!(way.last(), Some(&to), "{way:?}");
            assert!(way.len() - 1 <= least + 2, "{way:?} for {least} hops");
        }
    }
    let asked = said(&net, |frame| is_control(frame, 6));
    println!("{} frames for 20 nodes to make themselves known", asked.len());
    assert!(asked.len() < 20 * 15, "{}: not everyone says it again", asked.len());
    assert!(asked.iter().all(|(_, frame)| frame.body[3..5] == [0xff, 0xff] && frame.ttl == 1));
    // And a message needs no search and no flood.
    net.air.clear();
    let id = net.send(0, address(19), Priority::Medium, secs(5), &text(8)).unwrap();
    net.run(ms(400));
    assert_eq!(net.outcome(0, id).unwrap().1, SendOutcome::Delivered);
    let data = said(&net, |frame| frame.kind == Kind::Single);
    assert!(data.len() <= 6 && data.iter().all(|(_, frame)| frame.next.is_some()), "{data:?}");
    assert_eq!(said(&net, |frame| is_control(frame, 6)), []);
}

#[test]
fn the_second_message_to_a_node_without_a_route_searches_for_one() {
    let mut net = grid(6, 2);
    net.run(secs(4));
    for n in 0..3 {
        net.air.clear();
        let id = net.send(0, address(11), Priority::Medium, secs(5), &text(8)).unwrap();
        net.run(ms(650));
        assert_eq!(net.outcome(0, id).unwrap().1, SendOutcome::Delivered);
        let asked = said(&net, |frame| is_control(frame, 6)).len();
        let replies = said(&net, |frame| is_control(frame, 7));
        let flooded = said(&net, |frame| frame.kind == Kind::Single && frame.next.is_none()).len();
        match n {
            0 => assert!(asked == 0 && flooded > 4, "it goes at once, and that is all"),
            1 => {
                assert!(asked > 3 && flooded > 4, "it goes at once as well");
                assert!(replies.len() >= 5 && replies.iter().any(|(at, _)| *at == 11));
                assert!(replies.iter().all(|(_, frame)| frame.ttl == 1 && frame.dst < 0x8000));
            }
            _ => assert_eq!((asked, flooded), (0, 0), "and the next one goes by it"),
        }
    }
    assert_eq!(way(&net, 0, 11).last(), Some(&11));
    assert_eq!(way(&net, 11, 0).last(), Some(&0), "the way back was learned from the question");
}

#[test]
fn a_long_block_waits_for_a_route_where_many_would_flood_it() {
    let mut net = grid(5, 4);
    net.run(secs(4));
    net.air.clear();
    let id = net.send(6, address(19), Priority::Low, secs(60), &text(379)).unwrap();
    net.run_until(secs(20), |net| net.outcome(6, id).is_some());
    assert_eq!(net.outcome(6, id).unwrap().1, SendOutcome::Delivered);
    // Continuation frames show no destination.
    let flooded = said(&net, |frame| frame.kind == Kind::Segment && frame.dst == 20 && frame.next.is_none());
    assert_eq!(flooded, [], "all of it went by the route that was searched for first");

    // Where nobody answers it is flooded in the end: whoever it is for may hear it.
    net.air.clear();
    net.send(6, Address::new(0x700), Priority::Low, secs(60), &text(379)).unwrap();
    net.run(secs(2));
    let segments = |net: &Net| said(net, |frame| frame.kind == Kind::Segment && frame.src == 7).len();
    assert_eq!(segments(&net), 0, "while it is searched for");
    net.run(secs(8));
    assert!(segments(&net) > 30, "{}", segments(&net));
}

#[test]
fn many_segments_are_reason_enough() {
    let mut net = grid(6, 2);
    net.run(secs(4));
    net.air.clear();
    net.send(0, address(11), Priority::Low, secs(60), &text(100)).unwrap();
    net.run(secs(1));
    assert!(!said(&net, |frame| is_control(frame, 6) && frame.body[3..5] == [0, 12]).is_empty());
    assert_eq!(way(&net, 0, 11).last(), Some(&11));
}

#[test]
fn a_search_for_nobody_ends_and_is_not_begun_again_at_once() {
    let mut net = grid(4, 2);
    net.run(secs(40));
    net.air.clear();
    for _ in 0..20 {
        net.send(0, Address::new(500), Priority::Medium, secs(2), &text(60)).unwrap();
        net.run(secs(1));
    }
    let own = said(&net, |frame| is_control(frame, 6) && frame.src == 1).len();
    // Three rings, then a rest of 5 s, 10 s, ...
    assert!((3..=9).contains(&own), "{own} questions in 20 s");
}

#[test]
fn who_goes_is_gone_around_after_two_timeouts() {
    let mut net = grid(6, 2);
    net.run(secs(40));
    let before = way(&net, 0, 11);
    assert_eq!(before.last(), Some(&11));
    net.switch_off(before[2]);
    let mut ids = Vec::new();
    for _ in 0..6 {
        ids.push(net.send(0, address(11), Priority::Medium, secs(5), &text(8)).unwrap());
        net.run(secs(1));
    }
    for id in ids {
        assert_eq!(net.outcome(0, id).unwrap().1, SendOutcome::Delivered);
    }
    let after = way(&net, 0, 11);
    assert!(after.last() == Some(&11) && !after.contains(&before[2]), "{before:?}, then {after:?}");
    // And nothing is sent a second time any more.
    let again = net.stations[0].node.stats().retransmissions;
    net.send(0, address(11), Priority::Medium, secs(5), &text(8)).unwrap();
    net.run(secs(1));
    assert_eq!(net.stations[0].node.stats().retransmissions, again);
}

#[test]
fn in_quiet_air_another_next_hop_is_asked_before_the_first_is_given_up() {
    let mut net = grid(6, 3);
    net.run(secs(60));
    let before = way(&net, 6, 11);
    net.switch_off(before[1]);
    let id = net.send(6, address(11), Priority::Medium, secs(5), &text(8)).unwrap();
    net.run(secs(1));
    assert_eq!(net.outcome(6, id).unwrap().1, SendOutcome::Delivered);
    let steps: Vec<Step> =
        net.stations[6].app.steps.iter().filter(|(of, _)| *of == id).map(|(_, step)| *step).collect();
    let first = address(before[1]);
    assert_eq!(steps[..2], [Step::SentTo(first), Step::Repeated(first)]);
    assert!(matches!(steps[2], Step::SecondHop(next) if next != first), "{steps:?}");
    assert!(!steps.contains(&Step::Repair) && !steps.contains(&Step::Flooded), "{steps:?}");
}

fn from_neighbour(seq: u32, ttl0: u8, body: &[u8]) -> Vec<u8> {
    seal(&Frame {
        ttl: ttl0,
        ttl0,
        seq,
        src: Address::new(40),
        dst: Address::EVERYONE,
        next: None,
        priority: Priority::Low,
        kind: Kind::Control,
        mic: Mic::Long,
        body,
    })
}

#[test]
fn a_link_that_carries_one_way_is_no_way() {
    let ask = [6, 0, 50, 0, 60, 0, 1, 0, 0x50];
    for (share, taken) in [(0xf0, Ok(())), (0x10, Err(Discard::WeakLink))] {
        let mut net = Net::<SmallNode>::new(1);
        for n in 0..4 {
            net.inject(0, &from_neighbour(u32::from(n), 1, &[1, n, 0x22, share, 1])).unwrap();
        }
        assert_eq!(net.inject(0, &from_neighbour(9, 1, &ask)), taken);
        assert_eq!(net.stations[0].node.routes(net.now).count(), usize::from(taken.is_ok()));
    }
    // Whoever says it from further away says it of a way that nobody knows.
    let mut net = Net::<SmallNode>::new(1);
    for body in [&ask[..], &[7, 0, 50, 0, 60, 0, 1, 0, 0], &[8, 0, 50, 0, 1]] {
        assert_eq!(net.inject(0, &from_neighbour(u32::from(body[0]), 5, body)), Err(Discard::Malformed));
    }
}
