//! Ping and trace: who answers what, over which way, and how often.

use mesh_protocol::frame::{Frame, Kind};
use mesh_protocol::{Address, Discard, Mic, Priority, SmallNode};

use crate::net::{Log, Net, address, ms, seal, secs};

/// Six stations in a line, with the operator's routes from end to end both ways, that have met.
fn routed_line() -> Net {
    let mut net = Net::<SmallNode>::line(6);
    net.run(secs(70));
    let now = net.now;
    for at in 0..5 {
        net.stations[at].node.set_route(now, address(5), address(at + 1), 1).unwrap();
        net.stations[at + 1].node.set_route(now, address(0), address(at), 1).unwrap();
    }
    net
}

/// What station 0 heard of traces: who, which hop, whom it asks next.
fn traced(net: &Net) -> Vec<(u16, u8, u16)> {
    let hops = net.log(0).into_iter().filter_map(|what| match what {
        Log::Traced { source, hop } => Some((source, hop.hop, hop.next.bits())),
        _ => None,
    });
    hops.collect()
}

#[test]
fn a_ping_is_answered_by_its_node_and_nobody_else() {
    let mut net = routed_line();
    assert!(net.stations[0].node.ping(address(5), 77));
    net.drive(0);
    net.run(secs(1));
    let pongs: Vec<Log> = net.log(0).into_iter().filter(|what| matches!(what, Log::Pong { .. })).collect();
    assert_eq!(pongs, [Log::Pong { source: 6, id: 77, hops: 5 }]);
    for at in 1..6 {
        assert!(!net.log(at).iter().any(|what| matches!(what, Log::Pong { .. })), "station {at}");
    }
}

#[test]
fn a_trace_names_every_hop_of_a_route_and_whom_it_asked() {
    let mut net = routed_line();
    let now = net.now;
    assert!(net.stations[0].node.trace(now, address(5), 3));
    net.drive(0);
    net.run(secs(1));
    let mut hops = traced(&net);
    hops.sort_unstable_by_key(|hop| hop.1);
    assert_eq!(hops, [(1, 0, 2), (2, 1, 3), (3, 2, 4), (4, 3, 5), (5, 4, 6), (6, 5, 0)]);
    let qualities = net.log(0).into_iter().filter_map(|what| match what {
        Log::Traced { hop, .. } if hop.next != Address::NONE => Some((hop.id, hop.quality)),
        _ => None,
    });
    assert!(qualities.into_iter().all(|hop| hop == (3, 255)), "nothing is lost here");
}

#[test]
fn a_trace_without_a_route_is_answered_by_its_destination_alone() {
    let mut net = Net::<SmallNode>::line(4);
    net.run(ms(600));
    let now = net.now;
    net.stations[0].node.trace(now, address(3), 9);
    net.drive(0);
    net.run(secs(1));
    let hops = traced(&net);
    assert_eq!(hops[0], (1, 0, 0xffff), "this node floods it");
    assert_eq!(hops[1..], [(4, 3, 0)]);
}

#[test]
fn who_asks_too_often_gets_no_answer() {
    let mut net = Net::<SmallNode>::line(2);
    net.run(ms(600));
    let probe = |seq: u32| {
        seal(&Frame {
            ttl: 5,
            ttl0: 5,
            seq: 1_000 + seq,
            src: Address::new(9),
            dst: address(1),
            next: None,
            priority: Priority::High,
            kind: Kind::Control,
            mic: Mic::Long,
            body: &[0x0c, 0, seq as u8],
        })
    };
    let taken: Vec<_> = (0..8).map(|seq| net.inject(1, &probe(seq))).collect();
    assert_eq!(taken[..6], [Ok(()); 6]);
    assert_eq!(taken[6..], [Err(Discard::TooManyProbes); 2]);
    net.run(ms(250));
    assert_eq!(net.inject(1, &probe(9)), Ok(()));
    assert_eq!(net.stations[1].node.stats().discarded(Discard::TooManyProbes), 2);
}

#[test]
fn a_probe_for_everyone_is_answered_by_nobody() {
    let mut net = Net::<SmallNode>::line(2);
    for (seq, body) in [[0x0c, 0, 1], [0x0d, 0, 1]].into_iter().enumerate() {
        let frame = seal(&Frame {
            ttl: 5,
            ttl0: 5,
            seq: 1_000 + seq as u32,
            src: Address::new(9),
            dst: Address::EVERYONE,
            next: None,
            priority: Priority::High,
            kind: Kind::Control,
            mic: Mic::Long,
            body: &body,
        });
        assert_eq!(net.inject(1, &frame), Err(Discard::Malformed));
    }
}
