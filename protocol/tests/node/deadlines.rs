//! What a sender is told when time runs out: *expired* only if it cannot have been delivered, otherwise *unknown*.

use mesh_protocol::{Duration, PART_LEN, Priority, SendOutcome, SmallNode};

use crate::net::{LINK, Net, T0, address, ms, secs, text};

#[test]
fn a_message_that_no_link_could_take_expires_exactly_at_its_deadline() {
    let mut net = Net::<SmallNode>::full(2);
    net.stations[0].node.handle_link_down(LINK);
    net.drive(0);
    let id = net.send(0, address(1), Priority::Critical, ms(3_500), b"hi").unwrap();
    net.run(secs(20));
    assert_eq!(net.outcome(0, id), Some((T0 + ms(3_500), SendOutcome::Expired)));
    assert_eq!(net.sent_by(0), []);
    assert_eq!(net.received(1), []);
}

#[test]
fn a_message_that_had_no_seq_expires() {
    let mut net = Net::<SmallNode>::full(2);
    net.stations[0].app.syncs = false;
    let id = net.send(0, address(1), Priority::High, secs(2), b"hi").unwrap();
    net.run(secs(3));
    assert_eq!(net.outcome(0, id), Some((T0 + secs(2), SendOutcome::Expired)));
    assert_eq!(net.sent_by(0), []);
}

#[test]
fn a_message_that_nobody_answered_is_unknown_exactly_at_its_deadline() {
    // The receiver hears, and is not heard.
    for len in [5, 100] {
        let mut net = Net::<SmallNode>::full(2);
        net.rule(|frame, _| match frame.from {
            1 => crate::net::Reception::Lose,
            _ => crate::net::Reception::Pass,
        });
        let bytes = text(len);
        let id = net.send(0, address(1), Priority::High, ms(7_777), &bytes).unwrap();
        net.run(secs(20));
        assert_eq!(net.outcome(0, id), Some((T0 + ms(7_777), SendOutcome::Unknown)), "{len} bytes");
        assert_eq!(net.received(1), [(1, id, bytes)], "it had arrived: unknown is the truth");
    }
}

#[test]
fn a_message_to_nobody_there_is_unknown() {
    let mut net = Net::<SmallNode>::full(2);
    let id = net.send(0, address(7), Priority::Low, secs(3), b"hi").unwrap();
    net.run(secs(4));
    assert_eq!(net.outcome(0, id), Some((T0 + secs(3), SendOutcome::Unknown)));
}

#[test]
fn a_long_message_that_never_was_on_the_air_whole_expires() {
    let mut net = Net::<SmallNode>::full(2);
    let id = net.send(0, address(1), Priority::Low, secs(5), &text(20 * PART_LEN)).unwrap();
    net.run(secs(6));
    assert_eq!(net.outcome(0, id), Some((T0 + secs(5), SendOutcome::Expired)));
    assert_eq!(net.received(1), []);
    // What has expired costs no more air.
    let before = net.stations[0].node.next_seq();
    net.run(secs(1));
    assert!(net.stations[0].node.next_seq() <= before + 1, "at most a hello");
}

#[test]
fn a_deadline_that_has_passed_already_costs_no_air() {
    let mut net = Net::<SmallNode>::full(2);
    net.run(secs(1));
    let now = net.now;
    let id = net.send(0, address(1), Priority::Critical, Duration::ZERO, b"late").unwrap();
    assert_eq!(net.outcome(0, id), Some((now, SendOutcome::Expired)));
    net.run(secs(1));
    assert_eq!(net.received(1), []);
}

#[test]
fn an_answer_just_before_the_deadline_counts() {
    let mut net = Net::<SmallNode>::full(2);
    let probe = net.send(0, address(1), Priority::High, secs(5), b"hi").unwrap();
    net.run_until(secs(5), |net| net.outcome(0, probe).is_some());
    let round_trip = net.outcome(0, probe).unwrap().0.since(T0);

    for (within, expected) in [
        (round_trip + Duration::from_micros(1), SendOutcome::Delivered),
        (round_trip - Duration::from_micros(1), SendOutcome::Unknown),
    ] {
        let mut net = Net::<SmallNode>::full(2);
        let id = net.send(0, address(1), Priority::High, within, b"hi").unwrap();
        net.run(secs(5));
        assert_eq!(net.outcome(0, id).map(|(_, outcome)| outcome), Some(expected));
    }
}

#[test]
fn a_late_receipt_changes_nothing() {
    let mut net = Net::<SmallNode>::full(2);
    net.stations[1].app.verdict = None;
    let id = net.send(0, address(1), Priority::High, secs(1), b"hi").unwrap();
    net.run(secs(2));
    assert_eq!(net.outcome(0, id), Some((T0 + secs(1), SendOutcome::Unknown)));
    let delivered = mesh_protocol::Verdict::Delivered;
    net.stations[1].node.report(address(0), mesh_protocol::MessageId(id), Priority::High, delivered);
    net.drive(1);
    net.run(secs(1));
    assert_eq!(net.log(0).len(), 1, "one outcome, once");
    let unexpected = mesh_protocol::Discard::Unexpected;
    assert!(net.stations[0].node.stats().discarded(unexpected) > 0);
}

#[test]
fn to_many_the_deadline_tells_whether_all_of_it_was_on_the_air() {
    for (within, expected) in [(ms(5), SendOutcome::Sent), (Duration::ZERO, SendOutcome::Expired)] {
        let mut net = Net::<SmallNode>::full(2);
        let id = net.send(0, mesh_protocol::Address::EVERYONE, Priority::High, within, b"hi").unwrap();
        net.run(secs(2));
        assert_eq!(net.outcome(0, id), Some((T0 + within, expected)));
    }
}
