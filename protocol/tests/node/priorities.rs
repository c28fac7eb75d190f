//! Priority on the air: the urgent overtake between two segments, at the origin and at every relay, and the lowest
//! keeps its share.

use mesh_protocol::frame::{Frame, Kind};
use mesh_protocol::{
    Address, AnyNode, Discard, GatewayNode, MessageId, Mic, Priority, SendOutcome, SmallNode, Verdict,
};

use crate::net::{INFO, Log, Net, address, ms, open, seal, secs, text};

fn passing(seq: u32, priority: Priority) -> Vec<u8> {
    seal(&Frame {
        ttl: 7,
        ttl0: 7,
        seq,
        src: address(50),
        dst: address(60),
        next: None,
        priority,
        kind: Kind::Single,
        mic: Mic::Short,
        body: &[1, 0, b'x'],
    })
}

#[test]
fn critical_overtakes_a_half_sent_low_message_at_the_origin() {
    let mut net = Net::<SmallNode>::full(2);
    let low = net.send(0, address(1), Priority::Low, secs(60), &text(600)).unwrap();
    net.run(ms(600));
    assert_eq!(net.received(1), [], "half sent");

    let (called, before) = (net.now, net.air.len());
    let critical = net.send(0, address(1), Priority::Critical, secs(5), b"fire").unwrap();
    net.run_until(secs(60), |net| net.outcome(0, low).is_some());

    let next = net.air[before..].iter().find(|frame| frame.from == 0).unwrap();
    assert_eq!(open(&next.bytes).priority, Priority::Critical, "the very next frame");
    assert!(next.at.since(called) <= INFO.min_gap, "as soon as the link is free");
    let order: Vec<u32> = net.received(1).iter().map(|(_, id, _)| *id).collect();
    assert_eq!(order, [critical, low]);
    assert_eq!(net.outcome(0, critical).unwrap().1, SendOutcome::Delivered);
    assert_eq!(net.outcome(0, low).unwrap().1, SendOutcome::Delivered);
}

#[test]
fn critical_overtakes_a_half_sent_low_message_of_another_at_a_relay() {
    // 0 and 3 send through relay 1 to 2.
    let mut net = Net::<SmallNode>::new(4);
    for (a, b) in [(0, 1), (1, 2), (3, 1)] {
        net.join(a, b);
    }
    let low = net.send(0, address(2), Priority::Low, secs(60), &text(600)).unwrap();
    net.run(ms(600));
    let critical = net.send(3, address(2), Priority::Critical, secs(5), b"fire").unwrap();
    net.run_until(secs(60), |net| net.outcome(0, low).is_some());

    let (received, _) = net.stations[2]
        .app
        .log
        .iter()
        .find(|(_, what)| matches!(what, Log::Received { id, .. } if *id == critical))
        .unwrap();
    let (sent, _) = net
        .air
        .iter()
        .map(|frame| (frame.at, open(&frame.bytes)))
        .find(|(_, frame)| frame.src == 4 && frame.priority == Priority::Critical)
        .unwrap();
    assert!(
        received.since(sent) <= ms(2 * 2) + INFO.min_gap,
        "two airtimes and at most the slot that was taken: {} ms",
        received.since(sent).as_millis()
    );
    assert_eq!(net.outcome(0, low).unwrap().1, SendOutcome::Delivered);
}

#[test]
fn waiting_relays_leave_in_the_order_of_their_urgency() {
    let mut net = Net::<SmallNode>::new(1);
    net.inject(0, &passing(0, Priority::Critical)).unwrap();
    let waiting = [Priority::Low, Priority::Medium, Priority::High, Priority::Critical];
    for (n, priority) in waiting.into_iter().enumerate() {
        net.inject(0, &passing(1 + n as u32, priority)).unwrap();
    }
    net.run(secs(1));
    let mut first_copies = Vec::new();
    for frame in net.sent_by(0).iter().filter(|frame| frame.src == address(50).bits()) {
        if !first_copies.contains(&frame.seq) {
            first_copies.push(frame.seq);
        }
    }
    assert_eq!(first_copies, [0, 4, 3, 2, 1]);
}

#[test]
fn while_a_critical_frame_of_others_passes_lower_classes_are_silent() {
    let mut net = Net::<SmallNode>::new(1);
    net.inject(0, &passing(0, Priority::Critical)).unwrap();
    let heard = net.now;
    for seq in 1..5 {
        net.inject(0, &passing(seq, Priority::High)).unwrap();
    }
    net.run(secs(1));
    let (first, rest): (Vec<_>, Vec<_>) =
        net.air.iter().partition(|frame| open(&frame.bytes).priority == Priority::Critical);
    let relays = rest.iter().filter(|frame| open(&frame.bytes).src == address(50).bits()).count();
    assert_eq!((first.len(), relays), (3, 4 * 3), "all copies of all");
    assert!(rest.iter().all(|frame| frame.at.since(heard) >= ms(80)), "the wave is over by then");
}

/// Whether LOW had every twentieth frame of a busy station: at most 19 others pass it in a row.
fn low_had_its_twentieth<M: AnyNode + Clone>(net: &Net<M>, at: usize) -> bool {
    let sent: Vec<Priority> =
        net.air.iter().filter(|frame| frame.from == at).map(|frame| open(&frame.bytes).priority).collect();
    let low = sent.iter().filter(|class| **class == Priority::Low).count();
    println!("{low} of {} frames were LOW", sent.len());
    (low + 1) * 20 >= sent.len()
}

#[test]
fn under_a_flood_of_critical_a_relay_gives_low_its_twentieth() {
    let mut net = Net::<SmallNode>::new(1);
    for seq in (0..4_000).step_by(2) {
        // A frame of each class for each slot of the link: three copies each, so far more than it can send.
        let _ = net.inject(0, &passing(seq, Priority::Critical));
        let _ = net.inject(0, &passing(seq + 1, Priority::Low));
        net.run(INFO.min_gap);
    }
    let busy = 2_000 * 95 / 100;
    assert!(net.air.len() >= busy, "the link was busy all the time: {}", net.air.len());
    assert!(low_had_its_twentieth(&net, 0));
}

/// Keeps `count` CRITICAL messages under way at station 0 until the LOW one is done; returns the LOW one's outcome.
fn low_under_own_critical<M: AnyNode + Clone>(net: &mut Net<M>, to: Address, count: usize) -> SendOutcome {
    let low = net.send(0, address(1), Priority::Low, secs(120), &text(600)).unwrap();
    let mut latest: Vec<u32> = Vec::new();
    while net.outcome(0, low).is_none() {
        latest.retain(|id| net.outcome(0, *id).is_none());
        while latest.len() < count {
            let id = net.send(0, to, Priority::Critical, secs(60), &text(500));
            latest.push(id.unwrap());
        }
        net.run(INFO.min_gap);
    }
    net.outcome(0, low).unwrap().1
}

#[test]
fn under_its_own_flood_of_critical_an_origin_gives_low_its_twentieth() {
    // To somebody who never answers, so that the flood does not end.
    let mut net = Net::<SmallNode>::full(2);
    assert_eq!(low_under_own_critical(&mut net, address(40), 2), SendOutcome::Delivered);
    assert!(low_had_its_twentieth(&net, 0));
}

#[test]
fn low_keeps_its_twentieth_when_the_flood_is_for_the_same_receivers() {
    // More transfers than run to one receiver at a time: they must not be all CRITICAL ones for ever.
    let mut net = Net::<GatewayNode>::full(2);
    assert_eq!(low_under_own_critical(&mut net, Address::EVERYONE, 6), SendOutcome::Delivered);
    assert!(low_had_its_twentieth(&net, 0));
}

#[test]
fn own_frames_and_relays_of_one_class_take_turns() {
    let mut net = Net::<SmallNode>::new(1);
    net.send(0, address(60), Priority::High, secs(60), &text(600)).unwrap();
    for seq in 0..200 {
        let _ = net.inject(0, &passing(seq, Priority::High));
        net.run(INFO.min_gap);
    }
    let sent = net.sent_by(0);
    let foreign = sent.iter().filter(|frame| frame.src == address(50).bits()).count();
    let percent = foreign * 100 / sent.len();
    assert!((30..=70).contains(&percent), "{percent} % were relays");
}

#[test]
fn messages_of_a_class_to_one_node_arrive_in_their_order_however_often_places_are_refilled() {
    let mut net = Net::<GatewayNode>::full(2);
    let mut sent: Vec<u32> = Vec::new();
    while sent.len() < 40 {
        while sent.iter().filter(|id| net.outcome(0, **id).is_none()).count() < 12 {
            sent.push(net.send(0, address(1), Priority::Medium, secs(60), &text(100)).unwrap());
        }
        net.run(INFO.min_gap);
    }
    net.run(secs(30));
    let arrived: Vec<u32> = net.received(1).iter().map(|(_, id, _)| *id).collect();
    assert_eq!(arrived.len(), sent.len());
    for (place, id) in arrived.iter().enumerate() {
        let meant = sent.iter().position(|sent| sent == id).unwrap();
        assert!(place.abs_diff(meant) <= 1, "two run side by side, so neighbours may swap: {arrived:?}");
    }
}

#[test]
fn a_long_critical_one_pauses_one_of_two_half_sent_low_ones_and_costs_neither() {
    let mut net = Net::<SmallNode>::full(2);
    let low = [(); 2].map(|()| net.send(0, address(1), Priority::Low, secs(120), &text(600)).unwrap());
    net.run(ms(600));
    assert_eq!(net.received(1), [], "both are half sent");
    let critical = net.send(0, address(1), Priority::Critical, secs(30), &text(500)).unwrap();
    net.run_until(secs(60), |net| low.iter().all(|id| net.outcome(0, *id).is_some()));
    let order: Vec<u32> = net.received(1).iter().map(|(_, id, _)| *id).collect();
    assert_eq!(order, [critical, low[0], low[1]]);
    let stats = net.stations[1].node.stats();
    assert_eq!(
        stats.discarded(Discard::ReassemblyFull),
        0,
        "never three at once, beyond the one that paused"
    );
}

#[test]
fn a_receipt_that_is_urgent_goes_before_sixteen_low_ones_that_fill_the_queue() {
    let mut net = Net::<SmallNode>::new(1);
    let receipt = |net: &mut Net, n: u32, priority| {
        net.stations[0].node.report(address(50), MessageId(n), priority, Verdict::Delivered)
    };
    for n in 0..16 {
        assert!(receipt(&mut net, n, Priority::Low));
    }
    assert!(!receipt(&mut net, 98, Priority::Low), "full, and no more urgent than the others");
    assert!(receipt(&mut net, 99, Priority::Critical));
    assert_eq!(net.stations[0].node.stats().discarded(Discard::QueueFull), 2);
    net.run(secs(1));
    let receipts: Vec<_> = net
        .sent_by(0)
        .into_iter()
        .filter(|frame| frame.dst == address(50).bits())
        .map(|f| f.priority)
        .collect();
    assert_eq!(receipts[0], Priority::Critical);
}
