//! `frame::decode` against any bytes: no panic, and whatever verifies is exactly what its own content seals to.
//!
//! Chance never finds a MIC, so half of the inputs are first sealed with the right key and then damaged at the
//! places that the input names.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mesh_protocol::continuation::{self, Continuation};
use mesh_protocol::frame::{Frame, Kind, decode, encode, overhead};
use mesh_protocol::{
    Address, CONTINUATION_LEN, EpochKeys, Keyring, MAX_FRAME, Mic, NetKey, Priority, TransferId,
};

fuzz_target!(|input: &[u8]| {
    let Some((&mode, input)) = input.split_first() else {
        return;
    };
    let secret = NetKey::new([7; 16]);
    let [old, new] = [5, 6].map(|epoch| EpochKeys::derive(&secret, epoch));
    let ring = Keyring::with_previous(new.clone(), old.clone());
    let of_epoch = |epoch| if epoch == 6 { &new } else { &old };

    if mode & 2 != 0 {
        return continued(input, &ring, of_epoch);
    }
    if mode & 1 == 0 {
        let mut bytes = input.to_vec();
        check(&mut bytes, &ring, of_epoch);
        return;
    }

    let Some((&[flags, hops, s0, s1, s2, a0, a1, d0, d1, n0, n1, damages], rest)) = input.split_first_chunk()
    else {
        return;
    };
    let next = (flags & 1 != 0).then(|| Address::new(u16::from_be_bytes([n0, n1])));
    let mic = if flags & 2 != 0 { Mic::Long } else { Mic::Short };
    let (damage, body) = rest.split_at(rest.len().min(2 * usize::from(damages % 4)));
    let frame = Frame {
        ttl: hops >> 4,
        ttl0: hops & 15,
        seq: u32::from_be_bytes([0, s0, s1, s2]),
        src: Address::new(u16::from_be_bytes([a0, a1])),
        dst: Address::new(u16::from_be_bytes([d0, d1])),
        next,
        priority: Priority::from_bits(flags >> 2),
        kind: Kind::from_bits(flags >> 4).unwrap_or(Kind::Control),
        mic,
        body: &body[..body.len().min(MAX_FRAME - overhead(next.is_some(), mic))],
    };
    let mut out = [0; MAX_FRAME];
    let Ok(len) = encode(&frame, of_epoch(u32::from(flags >> 7) + 5), &mut out) else {
        return;
    };
    let sealed = &mut out[..len];
    for &[at, with] in damage.as_chunks().0 {
        sealed[usize::from(at) % len] ^= with;
    }
    let whole = damage.as_chunks::<2>().0.iter().all(|&[_, with]| with == 0);
    let mut bytes = sealed.to_vec();
    let verified = check(&mut bytes, &ring, of_epoch);
    assert!(verified || !whole, "an undamaged frame did not verify: {frame:?}");
});

/// The same of a continuation frame: made from the input and damaged where it says, or the input itself.
fn continued<'k>(input: &[u8], ring: &Keyring, of_epoch: impl Fn(u32) -> &'k EpochKeys) {
    let read = |bytes: &mut [u8]| {
        let before = bytes.to_vec();
        let Ok(verified) = continuation::decode(bytes, ring) else {
            return false;
        };
        let mut again = [0; MAX_FRAME];
        let keys = of_epoch(verified.epoch());
        let len = continuation::encode(verified.frame(), keys, &mut again).expect("it was encoded once");
        assert_eq!(again[..len], before, "{verified:?}");
        true
    };
    read(&mut input.to_vec());
    let Some((&[hop, s0, s1, s2, a0, a1, t0, t1, at, with], data)) = input.split_first_chunk() else {
        return;
    };
    let frame = Continuation {
        hop: hop & 3,
        seq: u32::from_be_bytes([0, s0, s1, s2]),
        src: Address::new(u16::from_be_bytes([a0, a1])),
        transfer: TransferId::new(u16::from_be_bytes([t0, t1]) >> 6),
        offset: t1 & 63,
        data: &data[..data.len().min(CONTINUATION_LEN)],
    };
    let mut out = [0; MAX_FRAME];
    let Ok(len) = continuation::encode(&frame, of_epoch(u32::from(hop >> 7) + 5), &mut out) else {
        return;
    };
    out[usize::from(at) % len] ^= with;
    let sound = frame.offset > 0 && !frame.data.is_empty();
    assert!(read(&mut out[..len]) || with != 0 || !sound, "an undamaged frame did not verify: {frame:?}");
}

/// Whether `bytes` verify; if so, sealing what they say must give them again.
fn check<'k>(bytes: &mut [u8], ring: &Keyring, of_epoch: impl Fn(u32) -> &'k EpochKeys) -> bool {
    let before = bytes.to_vec();
    let Ok(verified) = decode(bytes, ring) else {
        return false;
    };
    let mut again = [0; MAX_FRAME];
    let len = encode(verified.frame(), of_epoch(verified.epoch()), &mut again).expect("it was encoded once");
    assert_eq!(again[..len], before, "{verified:?}");
    assert!((1..=16).contains(&verified.hops()));
    true
}
