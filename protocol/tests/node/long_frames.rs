//! Frames longer than a legacy one: where all take them, and where one on the way does not.

use mesh_protocol::frame::Kind;
use mesh_protocol::{
    Address, LEGACY_FRAME, LinkInfo, LongFrameNode, LongFrames, MAX_FRAME, Priority, SendOutcome,
};

use crate::net::{INFO, LINK, Net, T0, address, open, secs, text};

const LONG: LinkInfo = LinkInfo { mtu: MAX_FRAME, ..INFO };

/// Nodes in a line whose links are such.
fn line(count: usize, info: LinkInfo) -> Net<LongFrameNode> {
    let mut net = Net::<LongFrameNode>::line(count);
    for station in &mut net.stations {
        assert!(station.node.handle_link_up(T0, LINK, info));
    }
    net
}

/// The lengths of the frames with parts of messages that `from` sealed, one of each SEQ.
fn lengths(net: &Net<LongFrameNode>, from: usize) -> Vec<usize> {
    let mut said = std::collections::BTreeMap::new();
    for frame in &net.air {
        let opened = open(&frame.bytes);
        if opened.src == from as u16 + 1 && opened.kind != Kind::Control {
            said.insert(opened.seq, frame.bytes.len());
        }
    }
    said.into_values().collect()
}

#[test]
fn where_all_take_long_frames_a_message_of_379_bytes_goes_in_two_and_one_of_200_in_one() {
    for hops in [1, 3] {
        let mut net = line(hops + 1, LONG);
        net.run(secs(12));
        for (len, frames) in [(200, vec![215]), (379, vec![243, 174])] {
            net.air.clear();
            let id = net.send(0, address(hops), Priority::High, secs(5), &text(len)).unwrap();
            net.run(secs(1));
            assert_eq!(net.outcome(0, id).map(|(_, outcome)| outcome), Some(SendOutcome::Delivered));
            assert_eq!(lengths(&net, 0), frames, "{len} bytes over {hops} hops");
        }
    }
}

#[test]
fn where_only_some_take_them_a_neighbour_that_says_so_gets_long_ones() {
    let mut net = line(2, LinkInfo { long_frames: LongFrames::Named, ..LONG });
    net.run(secs(70));
    let id = net.send(0, address(1), Priority::Medium, secs(5), &text(100)).unwrap();
    net.run(secs(2));
    assert_eq!(net.outcome(0, id).map(|(_, outcome)| outcome), Some(SendOutcome::Delivered));
    assert_eq!(lengths(&net, 0), [115]);
}

#[test]
fn what_is_too_long_for_somebody_further_on_comes_back_and_goes_in_legacy_frames() {
    let mut net = line(3, LinkInfo { long_frames: LongFrames::Named, ..LONG });
    assert!(net.stations[2].node.handle_link_up(T0, LINK, INFO));
    let now = net.now;
    net.stations[0].node.set_route(now, address(2), address(1), 1).unwrap();
    net.run(secs(70));
    for len in [100, 1000] {
        net.air.clear();
        let id = net.send(0, address(2), Priority::Medium, secs(9), &text(len)).unwrap();
        net.run_until(secs(9), |net| net.outcome(0, id).is_some());
        assert_eq!(net.outcome(0, id).map(|(_, outcome)| outcome), Some(SendOutcome::Delivered));
        let long = lengths(&net, 0).iter().filter(|len| **len > LEGACY_FRAME).count();
        assert!((1..=4).contains(&long), "{len} bytes: {long} long ones, the first ones");
    }
}

#[test]
fn what_is_to_many_goes_in_legacy_frames_where_only_some_take_long_ones() {
    let mut net = line(3, LinkInfo { long_frames: LongFrames::Named, ..LONG });
    net.run(secs(12));
    let id = net.send(0, Address::EVERYONE, Priority::Medium, secs(5), &text(100)).unwrap();
    net.run(secs(4));
    assert_eq!(net.received(2), [(1, id, text(100))]);
    assert!(lengths(&net, 0).iter().all(|len| *len <= LEGACY_FRAME));
}

#[test]
fn what_a_link_says_of_longer_frames_than_the_node_has_room_for_is_not_used() {
    let mut net = Net::<mesh_protocol::SmallNode>::line(2);
    for station in &mut net.stations {
        assert!(station.node.handle_link_up(T0, LINK, LONG));
    }
    net.run(secs(12));
    let id = net.send(0, address(1), Priority::Medium, secs(5), &text(100)).unwrap();
    net.run(secs(2));
    assert_eq!(net.outcome(0, id).map(|(_, outcome)| outcome), Some(SendOutcome::Delivered));
    assert!(net.air.iter().all(|frame| frame.bytes.len() <= LEGACY_FRAME));
}
