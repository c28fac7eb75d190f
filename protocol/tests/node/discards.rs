//! Every reason to discard, reached on purpose; a reason without a test fails the list at the end.
//!
//! Each case gives the frame that must be refused, what is refused, and that nothing came of it.

use std::collections::BTreeSet;

use mesh_protocol::frame::{Frame, Kind, decode, retarget_ttl};
use mesh_protocol::{Address, Discard, EpochKeys, Keyring, Mic, Priority, SmallNode, block_crc};

use crate::net::{EPOCH, INFO, LINK, Net, T0, address, keys, ms, seal, seal_under, secret, secs};

const FRAME: Frame<'static> = Frame {
    ttl: 7,
    ttl0: 7,
    seq: 40,
    src: Address::new(100),
    dst: Address::new(1),
    next: None,
    priority: Priority::High,
    kind: Kind::Single,
    mic: Mic::Short,
    body: &[1, 0, b'x'],
};

fn control(seq: u32, body: &[u8]) -> Vec<u8> {
    seal(&Frame { kind: Kind::Control, mic: Mic::Long, seq, body, ..FRAME })
}

/// Segment `offset` of two, of transfer 5.
fn segment(seq: u32, offset: u8, last: u8, data: &[u8]) -> Vec<u8> {
    let body = [&[0, 0x50 | offset >> 2, offset << 6 | last], data].concat();
    seal(&Frame { kind: Kind::Segment, seq, body: &body, ..FRAME })
}

/// A new node, the frames that it takes first, and the one it must refuse.
fn refuses(before: &[Vec<u8>], frame: &[u8]) -> Discard {
    let mut net = Net::<SmallNode>::new(1);
    for bytes in before {
        net.inject(0, bytes).expect("the frames before are good");
    }
    let marks: Vec<_> = net.stations[0].node.replay_marks().collect();
    let log = net.log(0);
    let why = net.inject(0, frame).expect_err("this one is not");
    assert_eq!(net.stations[0].node.stats().discarded(why), 1, "{why:?} is counted once");
    assert_eq!(net.log(0), log, "{why:?}: nothing was delivered");
    if matches!(why, Discard::Mic | Discard::UnknownKey | Discard::Version | Discard::Ttl | Discard::Address)
    {
        assert!(net.stations[0].node.replay_marks().eq(marks), "{why:?}: no state was written");
        assert_eq!(net.stations[0].node.depth(), (0, 0), "{why:?}: nothing is relayed");
    }
    why
}

#[test]
fn refused_by_length_version_key_or_mic() {
    let good = seal(&FRAME);
    assert_eq!(refuses(&[], &good[..13]), Discard::TooShort);
    assert_eq!(refuses(&[], &[]), Discard::TooShort);
    assert_eq!(refuses(&[], &[0x5b; 28]), Discard::TooLong);

    let mut version = good.clone();
    version[0] |= 0x80;
    // With that bit it is read as a continuation frame, and is none.
    assert_eq!(refuses(&[], &version), Discard::Mic);
    assert_eq!(decode(&mut version, &Keyring::new(keys())), Err(Discard::Version));

    let other_epoch = seal_under(&FRAME, &EpochKeys::derive(&secret(), EPOCH + 1));
    assert_eq!(refuses(&[], &other_epoch), Discard::UnknownKey);

    let mut forged = good.clone();
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(refuses(&[], &forged), Discard::Mic);

    let mut raised = seal(&Frame { ttl0: 5, ttl: 5, ..FRAME });
    retarget_ttl(&mut raised, 5, 6);
    assert_eq!(refuses(&[], &raised), Discard::Ttl);
}

#[test]
fn refused_by_reserved_bits_and_values() {
    let mut reserved = seal(&FRAME);
    reserved[1] ^= 1;
    assert_eq!(refuses(&[], &reserved), Discard::Reserved, "the hop byte's low bits");
}

/// Seals what [`encode`](mesh_protocol::frame::encode) refuses to, by the words of the wire format alone: header
/// bytes 1 to 6, then the plaintext, under the short MIC.
fn forge(header: [u8; 6], text: &[u8]) -> Vec<u8> {
    use aes::Aes128Enc;
    use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
    use ccm::aead::AeadInOut;
    use ccm::consts::{U4, U13};

    let epoch = EPOCH.to_be_bytes();
    let mut derived = [0; 49];
    hkdf::Hkdf::<sha2::Sha256>::new(Some(b"mesh-gw v1 net"), &[7; 16]).expand(&epoch, &mut derived).unwrap();
    let mut nonce = [0; 13];
    nonce[0] = 0x10;
    nonce[1..6].copy_from_slice(&header[1..]);
    nonce[8..12].copy_from_slice(&epoch);
    let ccm = ccm::Ccm::<Aes128Enc, U4, U13>::new_from_slice(&derived[1..17]).unwrap();
    let mut sealed = text.to_vec();
    let mic = ccm.encrypt_inout_detached(&Array(nonce), &[], (&mut sealed[..]).into()).unwrap();
    sealed.extend(mic);

    let mut mask = Array([0; 16]);
    mask[5..9].copy_from_slice(&epoch);
    mask[9..].copy_from_slice(&sealed[..7]);
    Aes128Enc::new_from_slice(&derived[17..33]).unwrap().encrypt_block(&mut mask);
    let first = (EPOCH as u8 & 1) << 6 | derived[0] & 0x3f;
    let masked = header.iter().zip(&mask).map(|(byte, mask)| byte ^ mask);
    [first].into_iter().chain(masked).chain(sealed).collect()
}

#[test]
fn a_frame_made_by_the_words_of_the_wire_format_is_the_one_that_encode_makes() {
    let made = forge([0x70, 0, 0, 40, 0, 100], &[0, 1, 0x47, 1, 0, b'x']);
    assert_eq!(made, seal(&FRAME));
}

#[test]
fn refused_by_what_only_a_member_can_seal() {
    let inner = [0, 1, 0x47, 1, 0, b'x'];
    for (header, text, why) in [
        ([0x70, 0, 0, 40, 0, 0], inner, Discard::Address),
        ([0x70, 0, 0, 40, 0x80, 1], inner, Discard::Address),
        ([0x70, 0, 0, 40, 0, 100], [0, 0, 0x47, 1, 0, b'x'], Discard::Address),
        ([0x70, 0, 0, 40, 0, 100], [0, 1, 0x77, 1, 0, b'x'], Discard::Reserved),
        ([0x80, 0, 0, 40, 0, 100], inner, Discard::Ttl),
    ] {
        assert_eq!(refuses(&[], &forge(header, &text)), why, "{header:02x?} {text:02x?}");
    }
}

#[test]
fn refused_as_own_or_of_a_twin() {
    let own = |seq| seal(&Frame { src: address(0), dst: address(5), seq, ..FRAME });
    assert_eq!(refuses_after_a_start(&own(3)), Discard::Own);
    assert_eq!(refuses_after_a_start(&own(2_000)), Discard::AddressConflict);
}

/// A node whose earlier run used the SEQs below 1024.
fn refuses_after_a_start(frame: &[u8]) -> Discard {
    let mut net = Net::<SmallNode>::with(1, |config| config.seq_start = 1024);
    let why = net.inject(0, frame).unwrap_err();
    assert_eq!(net.stations[0].node.stats().discarded(why), 1);
    assert_eq!(net.stations[0].node.replay_marks().count(), 0);
    why
}

#[test]
fn refused_as_known() {
    let at = |seq| seal(&Frame { seq, ..FRAME });
    assert_eq!(refuses(&[at(40)], &at(40)), Discard::Duplicate);
    assert_eq!(refuses(&[at(200)], &at(104)), Discard::Replay, "96 behind");
    // The same message under a new SEQ.
    assert_eq!(refuses(&[at(40)], &at(41)), Discard::Duplicate);
}

#[test]
fn refused_by_content() {
    for (frame, why) in [
        (seal(&Frame { body: &[], ..FRAME }), Discard::Malformed),
        (segment(40, 1, 0, &[1]), Discard::Malformed),
        (control(40, &[9, 9]), Discard::Malformed),
        // A hello is for the first hop; one that says otherwise is no hello.
        (control(40, &[1, 0, 0]), Discard::Malformed),
        // An ack, a receipt for nothing.
        (control(40, &[2, 0, 0x41, 0, 0, 0, 0]), Discard::Unexpected),
        (control(40, &[3, 0, 0, 0, 1, 1, 0]), Discard::Unexpected),
    ] {
        assert_eq!(refuses(&[], &frame), why, "{frame:02x?}");
    }
    let weak = seal(&Frame { kind: Kind::Control, body: &[3, 0, 0, 0, 1, 1, 0], ..FRAME });
    assert_eq!(refuses(&[], &weak), Discard::WeakMic);
    assert_eq!(refuses(&[segment(1, 0, 1, &[1; 10])], &segment(2, 1, 2, &[1; 10])), Discard::SegmentConflict);
    let crc = [&[1; 3][..], &[0, 0]].concat();
    assert_ne!(crc[3..], block_crc(FRAME.src, FRAME.dst, &[1; 13]));
    assert_eq!(refuses(&[segment(1, 0, 1, &[1; 10])], &segment(2, 1, 1, &crc)), Discard::Crc);
}

#[test]
fn a_whole_block_that_says_nothing_is_malformed() {
    // A part behind the end of its message, with the right CRC.
    let block = [&[1, 5, 9][..], &[7; 10]].concat();
    let whole = [&block[..], &block_crc(FRAME.src, FRAME.dst, &block)].concat();
    assert_eq!(
        refuses(&[segment(1, 0, 1, &whole[..10])], &segment(2, 1, 1, &whole[10..])),
        Discard::Malformed
    );
}

#[test]
fn a_control_message_with_the_short_mic_changes_nothing() {
    // A forger who guesses 32 bits must not be able to end a message.
    let mut net = Net::<SmallNode>::new(1);
    let id = net.send(0, Address::new(100), Priority::High, secs(30), b"hi").unwrap();
    let receipt = [3, 0, 0, 0, id as u8, 1, 0];
    let weak = seal(&Frame { kind: Kind::Control, body: &receipt, ..FRAME });
    assert_eq!(net.inject(0, &weak), Err(Discard::WeakMic));
    assert_eq!(net.outcome(0, id), None);
    assert_eq!(net.stations[0].node.replay_marks().count(), 0);
    assert_eq!(net.inject(0, &control(41, &receipt)), Ok(()));
    assert!(net.outcome(0, id).is_some());
}

#[test]
fn an_ack_that_is_older_than_the_last_is_unexpected() {
    let mut net = Net::<SmallNode>::full(2);
    net.part(0, 1);
    let id = net.send(0, address(1), Priority::High, secs(30), &[5; 100]).unwrap();
    net.run(ms(300));
    let sent = net.sent_by(0);
    let first = sent.iter().find(|frame| frame.kind == Kind::Segment).unwrap();
    let ack = |seq, base: u16| {
        let [high, low] = (u16::from_be_bytes([first.body[0], first.body[1]]) >> 4 << 6 | base).to_be_bytes();
        let body = [2, high, low, 0, 0, 0, 0];
        seal(&Frame {
            src: address(1),
            dst: address(0),
            kind: Kind::Control,
            mic: Mic::Long,
            seq,
            body: &body,
            ..FRAME
        })
    };
    assert_eq!(net.inject(0, &ack(20, 4)), Ok(()));
    assert_eq!(net.inject(0, &ack(19, 1)), Err(Discard::Unexpected));
    assert_eq!(net.outcome(0, id), None);
}

/// Where each reason is reached.
const REACHED: &[(Discard, &str)] = &[
    (Discard::TooShort, "refused_by_length_version_key_or_mic"),
    (Discard::TooLong, "refused_by_length_version_key_or_mic"),
    (Discard::Version, "refused_by_length_version_key_or_mic"),
    (Discard::UnknownKey, "refused_by_length_version_key_or_mic"),
    (Discard::Reserved, "refused_by_reserved_bits_and_values"),
    (Discard::Mic, "refused_by_length_version_key_or_mic"),
    (Discard::Ttl, "refused_by_length_version_key_or_mic"),
    (Discard::Address, "refused_by_what_only_a_member_can_seal"),
    (Discard::Own, "refused_as_own_or_of_a_twin"),
    (Discard::AddressConflict, "refused_as_own_or_of_a_twin"),
    (Discard::Replay, "refused_as_known"),
    (Discard::SeqJump, "forged: one_sealed_frame_far_ahead_mutes_its_source_nowhere"),
    (Discard::ReplayTableFull, "bounds: sources"),
    (Discard::Duplicate, "refused_as_known"),
    (Discard::NotNextHop, "flooding: a_named_next_hop_relays_alone"),
    (Discard::WeakLink, "learned_routes: a_link_that_carries_one_way_is_no_way"),
    (Discard::NoContext, "continued: what_no_head_has_announced_changes_nothing"),
    (Discard::QueueFull, "bounds: air_queue"),
    (Discard::Stale, "bounds: air_queue_what_waits_for_two_seconds"),
    (Discard::Suppressed, "flooding: in_a_crowd"),
    (Discard::Malformed, "refused_by_content"),
    (Discard::WeakMic, "refused_by_content"),
    (Discard::ReassemblyFull, "bounds: reassembly"),
    (Discard::SegmentConflict, "refused_by_content"),
    (Discard::ReassemblyAbandoned, "bounds: reassembly_what_stands_still"),
    (Discard::Crc, "refused_by_content"),
    (Discard::Unexpected, "refused_by_content"),
    (Discard::TooManyProbes, "probes"),
    (Discard::EventQueueFull, "bounds: events"),
];

#[test]
fn every_reason_has_its_test() {
    let reached: Vec<Discard> = REACHED.iter().map(|(why, _)| *why).collect();
    assert_eq!(reached, Discard::ALL, "each reason, in order");
    let names: BTreeSet<&str> = Discard::ALL.iter().map(|why| why.name()).collect();
    assert_eq!(names.len(), Discard::ALL.len(), "names differ");
    let mut node = SmallNode::new(T0, crate::net::config(1));
    assert!(node.handle_link_up(T0, LINK, INFO));
    assert!(node.stats().discards().all(|(_, count)| count == 0));
    assert_eq!(keys().epoch(), EPOCH);
}
