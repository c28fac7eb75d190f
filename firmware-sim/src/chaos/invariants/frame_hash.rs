//! Numbers by which a frame is known again on the air, after relays have changed what they may change.
//!
//! Owns which bytes those are. They stand under a mask, which is the same for all copies of a frame: so bits that a relay may change are left
//! out, and need no key to be found.

/// Where TTL stands, under the mask, with four other bits.
pub(super) const HOP: usize = 1;
/// Of these the one that says that NEXT is there, and where that stands, under the mask too.
const NEXT_BIT: u8 = 0x04;
const NEXT: std::ops::Range<usize> = 7..9;
/// Where the two bits of HOP stand in a continuation frame, under the mask too: in the first byte bit 6, in the other bit 7.
const HOP_HIGH: usize = 0;
const HOP_LOW: usize = 4;

/// A number for all of a frame without NEXT that no relay may change.
pub(super) fn plain(frame: &[u8]) -> u64 {
    fnv(BASIS, frame.iter().enumerate().map(|(at, byte)| if at == HOP { byte & 0x0f } else { *byte }))
}

/// The same of a frame with NEXT, once a relay has taken that out.
pub(super) fn plain_without_next(frame: &[u8]) -> u64 {
    let left = frame.iter().enumerate().filter(|(at, _)| !NEXT.contains(at));
    fnv(BASIS, left.map(|(at, byte)| if at == HOP { (byte ^ NEXT_BIT) & 0x0f } else { *byte }))
}

/// A number for all of a frame with NEXT that no relay may change but by taking that out.
pub(super) fn routed(frame: &[u8]) -> u64 {
    let left = frame.iter().enumerate().filter(|(at, _)| !NEXT.contains(at));
    fnv(!BASIS, left.map(|(at, byte)| if at == HOP { byte & 0x0f } else { *byte }))
}

/// A number for all of a continuation frame that no relay may change.
pub(super) fn continued(frame: &[u8]) -> u64 {
    let fixed = |(at, byte): (usize, &u8)| match at {
        HOP_HIGH => byte & 0xbf,
        HOP_LOW => byte & 0x7f,
        _ => *byte,
    };
    fnv(BASIS.rotate_left(1), frame.iter().enumerate().map(fixed))
}

/// Its HOP as it stands.
pub(super) fn continued_hop(frame: &[u8]) -> u8 {
    let bit = |at: usize, bit: u8| frame.get(at).map_or(0, |byte| byte >> bit & 1);
    bit(HOP_HIGH, 6) << 1 | bit(HOP_LOW, 7)
}

/// The two bytes of NEXT as they stand.
pub(super) fn next_bytes(frame: &[u8]) -> u16 {
    frame.get(NEXT).map_or(0, |bytes| bytes.iter().fold(0, |all, byte| all << 8 | u16::from(*byte)))
}

/// FNV-1a, 64 bits (Fowler, Noll and Vo, 1991).
const BASIS: u64 = 0xcbf2_9ce4_8422_2325;

fn fnv(basis: u64, bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(basis, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
