//! Messages to a group and to everyone: each member once, no receipts, *sent* is all the sender is told.

use mesh_protocol::frame::Kind;
use mesh_protocol::{Address, PART_LEN, Priority, SendOutcome, SmallNode};

use crate::net::{Log, Net, address, secs, text};

const GROUP: Address = Address::new(0x8123);

#[test]
fn everyone_gets_it_once() {
    for len in [6, 200, 2 * PART_LEN + 50] {
        let mut net = Net::<SmallNode>::line(4);
        let bytes = text(len);
        let id = net.send(1, Address::EVERYONE, Priority::Medium, secs(120), &bytes).unwrap();
        net.run(secs(60));
        for at in [0, 2, 3] {
            assert_eq!(net.received(at), [(2, id, bytes.clone())], "{len} bytes at station {at}");
            assert!(!net.log(at).contains(&Log::Again { source: 2, id }), "{len} bytes");
        }
        assert_eq!(net.outcome(1, id).unwrap().1, SendOutcome::Sent);
        for at in 0..4 {
            assert!(
                net.sent_by(at).iter().all(|frame| frame.kind != Kind::Control || frame.dst == 0xffff),
                "hellos, and nobody answers"
            );
        }
    }
}

#[test]
fn a_group_is_for_its_members() {
    let mut net = Net::<SmallNode>::line(4);
    for at in [2, 3] {
        assert!(net.stations[at].node.join_group(GROUP));
    }
    let bytes = text(40);
    let id = net.send(0, GROUP, Priority::High, secs(20), &bytes).unwrap();
    net.run(secs(10));
    assert_eq!(net.outcome(0, id).unwrap().1, SendOutcome::Sent);
    assert_eq!(net.received(1), [], "a relay that is no member");
    for at in [2, 3] {
        assert_eq!(net.received(at), [(1, id, bytes.clone())]);
    }

    net.stations[3].node.leave_group(GROUP);
    net.send(0, GROUP, Priority::High, secs(20), b"again").unwrap();
    net.run(secs(10));
    assert_eq!((net.received(2).len(), net.received(3).len()), (2, 1));
}

#[test]
fn a_lost_round_is_made_good_by_the_second() {
    let mut net = Net::<SmallNode>::full(2);
    // Loses every frame of its first SEQs, all copies: the first round of the message.
    net.rule(|frame, _| {
        let frame = crate::net::open(&frame.bytes);
        match frame.kind == Kind::Segment && frame.seq < 6 {
            true => crate::net::Reception::Lose,
            false => crate::net::Reception::Pass,
        }
    });
    let bytes = text(50);
    let id = net.send(0, Address::EVERYONE, Priority::High, secs(20), &bytes).unwrap();
    net.run(secs(5));
    assert_eq!(net.received(1), [(1, id, bytes)]);
}

#[test]
fn a_node_is_in_eight_groups_at_most_and_in_no_node() {
    let mut net = Net::<SmallNode>::new(1);
    let node = &mut net.stations[0].node;
    assert!(!node.join_group(address(4)));
    assert!(!node.join_group(Address::EVERYONE));
    for n in 0..8 {
        assert!(node.join_group(Address::new(0x8000 + n)));
        assert!(node.join_group(Address::new(0x8000)), "twice is once");
    }
    assert!(!node.join_group(Address::new(0x9000)));
    node.leave_group(Address::new(0x8003));
    assert!(node.join_group(Address::new(0x9000)));
}

#[test]
fn a_message_to_everyone_goes_on_beside_two_long_ones_to_single_nodes() {
    let mut net = Net::<SmallNode>::full(3);
    for to in [1, 2] {
        net.send(0, address(to), Priority::Medium, secs(600), &text(20 * PART_LEN)).unwrap();
    }
    net.run(secs(2));
    let bytes = text(60);
    let id = net.send(0, Address::EVERYONE, Priority::Low, secs(20), &bytes).unwrap();
    net.run(secs(20));
    assert_eq!(net.outcome(0, id).unwrap().1, SendOutcome::Sent);
    for at in [1, 2] {
        assert_eq!(net.received(at), [(1, id, bytes.clone())], "station {at}: the long ones are not over");
    }
}
