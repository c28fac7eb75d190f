//! The readers of a verified frame's body against any bytes: no panic, and nothing out of range comes out.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mesh_protocol::{Address, segments};
use mesh_protocol::{
    BlockHead, CONTROL_MAX, Control, LONG_SEGMENT_LEN, MESSAGE_MAX, SEGMENTS_MAX, Segment, block_crc,
};

fuzz_target!(|input: &[u8]| {
    if let Ok(control) = Control::parse(input) {
        assert!(input.len() <= CONTROL_MAX);
        match control {
            Control::Hello { reports, .. } => {
                assert!(
                    reports.iter().flatten().all(|report| report.neighbour < 0x1000 && report.delivery < 16)
                );
            }
            Control::Ack(ack) => {
                assert!(usize::from(ack.base) <= SEGMENTS_MAX && ack.transfer.bits() < 0x400);
            }
            Control::HopAck(ack) => {
                assert!(ack.src.is_node() && ack.seq <= 0xff_ffff && ack.names(ack.seq));
            }
            Control::Undelivered { seq, .. } => assert!(seq <= 0xff_ffff),
            Control::RouteRequest(request) => {
                assert!(request.origin.is_node() && request.ttl < 16 && request.hops < 16);
                assert!(request.target.is_node() || request.target == Address::EVERYONE);
            }
            Control::RouteReply(reply) => assert!(reply.origin.is_node() && reply.target.is_node()),
            Control::RouteBroken { destination, .. } => assert!(destination.is_node()),
            _ => {}
        }
    }
    if let Ok(segment) = Segment::parse(input) {
        assert!(segment.offset <= segment.last && usize::from(segment.last) < SEGMENTS_MAX);
        assert!((1..=LONG_SEGMENT_LEN).contains(&segment.data.len()));
        assert_eq!(segments(segment.data.len(), LONG_SEGMENT_LEN), 1);
    }
    if let Ok((head, bytes)) = BlockHead::parse(input) {
        assert!(bytes.len() < input.len());
        if let Some(part) = head.part {
            assert!(part.total as usize <= MESSAGE_MAX && !bytes.is_empty());
            assert!(part.offset as usize + bytes.len() <= part.total as usize);
        }
    }
    if let Ok((head, bytes)) = BlockHead::of_single(input) {
        assert!(bytes.len() < input.len() && head.part.is_none());
    }
    let _ = block_crc(Address::EVERYONE, Address::NONE, input);
});
