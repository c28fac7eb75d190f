//! The golden frame of the wire format, byte for byte, over the public API.
//!
//! A change here is a change of the wire format: it needs a new version, not a new expectation.
#![cfg(feature = "node")]

use mesh_protocol::continuation::{self, Continuation};
use mesh_protocol::frame::{Frame, Kind, decode, encode, overhead, retarget_next, retarget_ttl};
use mesh_protocol::{
    Address, Discard, EpochKeys, Keyring, LEGACY_FRAME, MAX_FRAME, Mic, NetKey, Priority, TransferId,
};

const GOLDEN: &str = "5bb5c15a1e9d8d848d6157885aa9ce1be8c845389e200dcce6eddb";

fn golden() -> Vec<u8> {
    (0..GOLDEN.len()).step_by(2).map(|at| u8::from_str_radix(&GOLDEN[at..at + 2], 16).unwrap()).collect()
}

fn keys() -> EpochKeys {
    EpochKeys::derive(&NetKey::new(core::array::from_fn(|i| i as u8)), 7)
}

const FRAME: Frame<'static> = Frame {
    ttl: 7,
    ttl0: 7,
    seq: 1,
    src: Address::new(0x0102),
    dst: Address::new(0x0001),
    next: None,
    priority: Priority::High,
    kind: Kind::Single,
    mic: Mic::Short,
    body: b"hello, mesh!!",
};

#[test]
fn the_golden_frame_is_made() {
    let mut out = [0; MAX_FRAME];
    let len = encode(&FRAME, &keys(), &mut out).unwrap();
    assert_eq!(out[..len], golden());
    assert_eq!(len, LEGACY_FRAME, "a body of 13 bytes fills a legacy frame");
}

#[test]
fn the_golden_frame_is_read() {
    let mut bytes = golden();
    let ring = Keyring::new(keys());
    let verified = decode(&mut bytes, &ring).unwrap();
    assert_eq!(*verified.frame(), FRAME);
    assert_eq!((verified.epoch(), verified.hops()), (7, 1));
}

#[test]
fn byte_0_is_version_epoch_bit_and_nid() {
    assert_eq!(keys().first_byte(), 0x5b, "V 0, E 1, NID 1b");
    assert_eq!(golden()[0], keys().first_byte());
}

#[test]
fn a_relay_changes_byte_1_and_no_other() {
    let mut relayed = golden();
    retarget_ttl(&mut relayed, 7, 6);
    let changed: Vec<usize> = (0..relayed.len()).filter(|&at| relayed[at] != golden()[at]).collect();
    assert_eq!(changed, [1]);
    assert_eq!(relayed[1], golden()[1] ^ ((7 ^ 6) << 4), "under the mask, by the bits of TTL");

    let ring = Keyring::new(keys());
    let verified = decode(&mut relayed, &ring).unwrap();
    assert_eq!(*verified.frame(), Frame { ttl: 6, ..FRAME });
    assert_eq!(verified.hops(), 2);
}

#[test]
fn sealing_with_ttl_6_is_what_a_relay_makes_of_it() {
    // A relay never seals: this only shows that TTL stands nowhere but in the hop byte.
    let mut out = [0; MAX_FRAME];
    let len = encode(&Frame { ttl: 6, ..FRAME }, &keys(), &mut out).unwrap();
    let mut relayed = golden();
    retarget_ttl(&mut relayed, 7, 6);
    assert_eq!(out[..len], relayed);
}

#[test]
fn ttl_above_ttl0_is_refused() {
    let mut raised = golden();
    retarget_ttl(&mut raised, 7, 8);
    assert_eq!(decode(&mut raised, &Keyring::new(keys())), Err(Discard::Ttl));
}

#[test]
fn no_other_bit_can_change() {
    let ring = Keyring::new(keys());
    for bit in 0..golden().len() * 8 {
        let mut bytes = golden();
        bytes[bit / 8] ^= 0x80 >> (bit % 8);
        let read = decode(&mut bytes, &ring).map(|verified| verified.frame().ttl);
        match bit {
            // The four bits of TTL, 7: a lower one stands for a relay, a higher one is refused.
            8 => assert_eq!(read, Err(Discard::Ttl)),
            9..12 => assert_eq!(read, Ok(7 ^ (0x80 >> (bit - 8 + 4)) as u8)),
            _ => assert!(read.is_err(), "bit {bit} changed, and it was read: {read:?}"),
        }
    }
}

#[test]
fn every_shape_of_frame_returns_as_it_was() {
    let ring = Keyring::new(keys());
    for next in [None, Some(Address::new(0x7fff))] {
        for mic in [Mic::Short, Mic::Long] {
            for len in 0..=MAX_FRAME - overhead(next.is_some(), mic) {
                let body: Vec<u8> = (0..len).map(|i| i as u8).collect();
                let frame = Frame {
                    next,
                    mic,
                    body: &body,
                    seq: 0xff_ffff - len as u32,
                    kind: Kind::Segment,
                    priority: Priority::Low,
                    dst: Address::EVERYONE,
                    ttl: 0,
                    ttl0: 15,
                    src: Address::LAST_NODE,
                };
                let mut out = [0; MAX_FRAME];
                let sealed = encode(&frame, &keys(), &mut out).unwrap();
                assert_eq!(sealed, overhead(next.is_some(), mic) + len);
                assert_eq!(*decode(&mut out[..sealed], &ring).unwrap().frame(), frame);
            }
        }
    }
}

#[test]
fn overheads_are_those_of_the_wire_format() {
    assert_eq!(LEGACY_FRAME - overhead(false, Mic::Short), 13);
    assert_eq!(LEGACY_FRAME - overhead(false, Mic::Long), 9);
    assert_eq!(MAX_FRAME - overhead(false, Mic::Long), 227);
}

#[test]
fn both_epochs_of_a_rotation_are_read_and_no_third() {
    let secret = NetKey::new(core::array::from_fn(|i| i as u8));
    let next = EpochKeys::derive(&secret.ratchet(7), 8);
    let rotating = Keyring::with_previous(next.clone(), keys());
    let mut out = [0; MAX_FRAME];
    let len = encode(&FRAME, &next, &mut out).unwrap();
    assert_eq!(decode(&mut out[..len], &rotating).unwrap().epoch(), 8);
    assert_eq!(decode(&mut golden(), &rotating).unwrap().epoch(), 7);
    assert_eq!(
        decode(&mut golden(), &Keyring::new(next)),
        Err(Discard::UnknownKey),
        "the old key was dropped"
    );
}

/// The same to a next hop, which leaves a body of 11 bytes.
const ROUTED: Frame<'static> = Frame { next: Some(Address::new(0x0304)), body: b"hello, mesh", ..FRAME };
const GOLDEN_ROUTED: &str = "5bb1c15a1e9d8d074b848d6157885aa9ce1be8c845389ef1db5565";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sealed(frame: &Frame<'_>) -> Vec<u8> {
    let mut out = [0; MAX_FRAME];
    let len = encode(frame, &keys(), &mut out).unwrap();
    out[..len].to_vec()
}

#[test]
fn the_golden_frame_with_a_next_hop_is_made_and_read() {
    let bytes = sealed(&ROUTED);
    assert_eq!(hex(&bytes), GOLDEN_ROUTED);
    assert_eq!(bytes.len(), LEGACY_FRAME);
    assert_eq!(*decode(&mut bytes.clone(), &Keyring::new(keys())).unwrap().frame(), ROUTED);
}

#[test]
fn a_relay_that_has_a_route_changes_ttl_and_next_and_no_other_byte() {
    let mut relayed = sealed(&ROUTED);
    retarget_ttl(&mut relayed, 7, 6);
    assert_eq!(retarget_next(&mut relayed, Address::new(0x0304), Some(Address::new(0x0506))), LEGACY_FRAME);
    let changed: Vec<usize> = (0..relayed.len()).filter(|&at| relayed[at] != sealed(&ROUTED)[at]).collect();
    assert_eq!(changed, [1, 7, 8]);
    assert_eq!(relayed, sealed(&Frame { ttl: 6, next: Some(Address::new(0x0506)), ..ROUTED }));
}

#[test]
fn a_relay_that_has_none_takes_two_bytes_out() {
    let mut relayed = sealed(&ROUTED);
    let len = retarget_next(&mut relayed, Address::new(0x0304), None);
    relayed.truncate(len);
    assert_eq!(len, LEGACY_FRAME - 2);
    assert_eq!(relayed, sealed(&Frame { next: None, ..ROUTED }));
}

const CONTINUATION: Continuation<'static> = Continuation {
    hop: 0,
    seq: 2,
    src: Address::new(0x0102),
    transfer: TransferId::new(5),
    offset: 1,
    data: b"fifteen  bytes.",
};
const GOLDEN_CONTINUATION: &str = "db65ca6a63bedecae49c1f454e44f41556259c6c9f33c381f83fea";

#[test]
fn the_golden_continuation_frame_is_made_and_read_and_its_hop_stands_in_two_bits() {
    let mut made = [0; MAX_FRAME];
    let len = continuation::encode(&CONTINUATION, &keys(), &mut made).unwrap();
    assert_eq!(hex(&made[..len]), GOLDEN_CONTINUATION);
    assert_eq!(len, LEGACY_FRAME);
    let ring = Keyring::new(keys());
    for (hop, changes) in [(0, vec![]), (1, vec![4]), (2, vec![0]), (3, vec![0, 4])] {
        let mut bytes = made[..len].to_vec();
        continuation::retarget_hop(&mut bytes, 0, hop);
        let changed: Vec<usize> = (0..len).filter(|&at| bytes[at] != made[at]).collect();
        assert_eq!(changed, changes);
        let verified = continuation::decode(&mut bytes, &ring).unwrap();
        assert_eq!((*verified.frame(), verified.epoch()), (Continuation { hop, ..CONTINUATION }, 7));
    }
}

#[test]
fn neither_kind_of_frame_is_read_as_the_other() {
    let ring = Keyring::new(keys());
    let mut made = [0; MAX_FRAME];
    let len = continuation::encode(&CONTINUATION, &keys(), &mut made).unwrap();
    let mut other = golden();
    other[0] |= 0x80;
    assert_eq!(continuation::decode(&mut other, &ring), Err(Discard::Mic));
    for epoch in [0, 0x40] {
        let mut other = made[..len].to_vec();
        other[0] = other[0] & 0x3f | epoch;
        assert!(matches!(
            decode(&mut other, &ring),
            Err(Discard::UnknownKey | Discard::Mic | Discard::Reserved)
        ));
    }
}
