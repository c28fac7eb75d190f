//! Continuation frames: the further segments of a block on its way to one node, in a legacy frame with a short header.
//!
//! Owns their layout and mask. The head segment, an ordinary frame, has said whose block it is and where it goes; here only what
//! differs from segment to segment is left. What a node keeps of the head is for `contexts` and `reassembly`.
//!
//! ```text
//! 0      1(1) HOP_hi(1) NID(6)     HOP_hi masked
//! 1..3   SEQ                       masked, like the next two
//! 4..5   HOP_lo(1) SRC(15)
//! 6..    CCM ciphertext of TRANSFER(10) OFFSET(6) | 1 to 15 bytes of the block
//! last   MIC, 4 bytes
//! ```

use crate::crypto::{EpochKeys, Keyring, Mic, NONCE_LEN};
use crate::frame::{EncodeError, SEQ_MAX};
use crate::segment::{CONTINUATION_LEN, SEGMENTS_MAX};
use crate::{Address, Discard, LEGACY_FRAME, TransferId};

/// Bytes before the ciphertext.
const HEADER: usize = 6;
/// TRANSFER and OFFSET, inside the ciphertext.
const INNER: usize = 2;
/// Ciphertext and MIC bytes that feed the mask.
const SAMPLE: usize = 7;
const CONTINUES: u8 = 0x80;
const HOP_HIGH: u8 = 0x40;
const NID: u8 = 0x3f;
/// The top bit of SRC, which no node's address has.
const HOP_LOW: u8 = 0x80;
const OVERHEAD: usize = HEADER + INNER + Mic::Short.bytes();

/// What a continuation frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Continuation<'a> {
    /// How many nodes have passed it on, modulo 4: not guarded by the MIC.
    pub hop: u8,
    /// The number under which the origin sealed it.
    pub seq: u32,
    /// The origin.
    pub src: Address,
    /// Of which transfer of the origin.
    pub transfer: TransferId,
    /// Which segment, from 1.
    pub offset: u8,
    /// 15 bytes of the block, or 1 to 15 in the last segment.
    pub data: &'a [u8],
}

/// A continuation frame whose MIC verified under a key of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifiedContinuation<'a> {
    frame: Continuation<'a>,
    epoch: u32,
}

impl<'a> VerifiedContinuation<'a> {
    /// What it says.
    #[must_use]
    pub const fn frame(&self) -> &Continuation<'a> {
        &self.frame
    }

    /// The epoch under whose key it verified.
    #[must_use]
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }
}

/// Whether these bytes are to be read as a continuation frame.
#[must_use]
pub fn is_continuation(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| first & CONTINUES != 0)
}

/// Seals `frame` under `keys` into `out`; returns its length.
///
/// The caller answers for (key, SEQ, SRC) being used for these bytes only, be it in this format or the other.
///
/// # Errors
/// [`EncodeError`] when a field does not fit; `out` is then unchanged.
pub fn encode(frame: &Continuation<'_>, keys: &EpochKeys, out: &mut [u8]) -> Result<usize, EncodeError> {
    if frame.seq > SEQ_MAX {
        return Err(EncodeError::Seq);
    }
    if !frame.src.is_node() {
        return Err(EncodeError::Address);
    }
    if frame.data.is_empty() {
        return Err(EncodeError::Empty);
    }
    let len = OVERHEAD + frame.data.len();
    if len > LEGACY_FRAME || len > out.len() || usize::from(frame.offset) >= SEGMENTS_MAX {
        return Err(EncodeError::TooLong);
    }
    out[0] = CONTINUES | keys.first_byte() & NID;
    out[1..4].copy_from_slice(&frame.seq.to_be_bytes()[1..]);
    out[4..HEADER].copy_from_slice(&frame.src.bits().to_be_bytes());
    let inner = frame.transfer.bits() << 6 | u16::from(frame.offset);
    out[HEADER..HEADER + INNER].copy_from_slice(&inner.to_be_bytes());
    out[HEADER + INNER..len - Mic::Short.bytes()].copy_from_slice(frame.data);
    keys.seal(&nonce(keys, frame.seq, frame.src), &mut out[HEADER..len], Mic::Short);
    let mask = mask(keys, &out[..len]);
    for (byte, mask) in out.iter_mut().zip(mask) {
        *byte ^= mask;
    }
    retarget_hop(out, 0, frame.hop);
    Ok(len)
}

/// Checks length, key and MIC, in this order, and decrypts in place.
///
/// Bounded work: at most two keys, with one mask and one CCM each. `bytes` holds the plaintext afterwards when it succeeds, and
/// nothing of use when it fails.
///
/// # Errors
/// The [`Discard`] that says which check failed first.
pub fn decode<'a>(bytes: &'a mut [u8], keys: &Keyring) -> Result<VerifiedContinuation<'a>, Discard> {
    if bytes.len() <= OVERHEAD {
        return Err(Discard::TooShort);
    }
    if bytes.len() > LEGACY_FRAME {
        return Err(Discard::TooLong);
    }
    if !is_continuation(bytes) {
        return Err(Discard::Version);
    }
    let mut fault = Discard::UnknownKey;
    for candidate in keys.both().filter(|keys| keys.first_byte() & NID == bytes[0] & NID) {
        let mask = mask(candidate, bytes);
        let head: [u8; HEADER] = core::array::from_fn(|at| bytes[at] ^ mask[at]);
        let seq = u32::from_be_bytes([0, head[1], head[2], head[3]]);
        let src = Address::new(u16::from_be_bytes([head[4] & !HOP_LOW, head[5]]));
        let mut opened = [0; LEGACY_FRAME];
        let opened = &mut opened[..bytes.len() - HEADER];
        opened.copy_from_slice(&bytes[HEADER..]);
        if !candidate.open(&nonce(candidate, seq, src), opened, Mic::Short) {
            fault = Discard::Mic;
            continue;
        }
        bytes[HEADER..].copy_from_slice(opened);
        let (inner, data) = bytes[HEADER..bytes.len() - Mic::Short.bytes()].split_at(INNER);
        let inner = u16::from_be_bytes([inner[0], inner[1]]);
        let offset = (inner & 0x3f) as u8;
        if !src.is_node() {
            return Err(Discard::Address);
        }
        if offset == 0 {
            return Err(Discard::Malformed);
        }
        let hop = u8::from(head[0] & HOP_HIGH != 0) << 1 | u8::from(head[4] & HOP_LOW != 0);
        let frame = Continuation { hop, seq, src, transfer: TransferId::new(inner >> 6), offset, data };
        return Ok(VerifiedContinuation { frame, epoch: candidate.epoch() });
    }
    Err(fault)
}

/// Changes HOP in sealed bytes from `from` to `to`, both modulo 4, without opening them.
pub fn retarget_hop(bytes: &mut [u8], from: u8, to: u8) {
    let change = from ^ to;
    if bytes.len() >= HEADER {
        bytes[0] ^= if change & 2 != 0 { HOP_HIGH } else { 0 };
        bytes[4] ^= if change & 1 != 0 { HOP_LOW } else { 0 };
    }
}

/// As of a frame with the full header, but that the two can never be taken for each other.
fn nonce(keys: &EpochKeys, seq: u32, src: Address) -> [u8; NONCE_LEN] {
    let mut nonce = keys.nonce(seq, src);
    nonce[6] = 1;
    nonce
}

/// What the header is masked with: of the first byte only HOP, as the others say that it is one and of which key.
fn mask(keys: &EpochKeys, bytes: &[u8]) -> [u8; HEADER] {
    let sample: [u8; SAMPLE] = core::array::from_fn(|at| bytes[HEADER + at]);
    let mask = keys.mask(&sample);
    [mask[5] & HOP_HIGH, mask[0], mask[1], mask[2], mask[3], mask[4]]
}

const _: () = assert!(OVERHEAD + CONTINUATION_LEN == LEGACY_FRAME);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NetKey;

    fn keys(epoch: u32) -> EpochKeys {
        EpochKeys::derive(&NetKey::new([7; 16]), epoch)
    }

    fn frame(data: &[u8]) -> Continuation<'_> {
        Continuation {
            hop: 2,
            seq: 0x12_3456,
            src: Address::new(0x7abc),
            transfer: TransferId::new(0x3ff),
            offset: 63,
            data,
        }
    }

    #[test]
    fn every_length_returns_as_it_was_whatever_its_hop() {
        let ring = Keyring::new(keys(7));
        for len in 1..=CONTINUATION_LEN {
            let data: Vec<u8> = (0..len as u8).collect();
            let mut out = [0; LEGACY_FRAME];
            let sealed = encode(&frame(&data), &keys(7), &mut out).unwrap();
            assert_eq!(sealed, OVERHEAD + len);
            for to in 0..4 {
                let mut passed_on = out;
                retarget_hop(&mut passed_on[..sealed], 2, to);
                let verified = decode(&mut passed_on[..sealed], &ring).unwrap();
                assert_eq!(*verified.frame(), Continuation { hop: to, ..frame(&data) });
            }
        }
    }

    #[test]
    fn no_bit_can_change_but_those_of_hop() {
        let ring = Keyring::new(keys(7));
        let mut sealed = [0; LEGACY_FRAME];
        encode(&frame(&[5; CONTINUATION_LEN]), &keys(7), &mut sealed).unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut bytes = sealed;
            bytes[bit / 8] ^= 0x80 >> (bit % 8);
            let read = decode(&mut bytes, &ring).map(|verified| verified.frame().hop);
            match bit {
                1 => assert_eq!(read, Ok(0)),
                32 => assert_eq!(read, Ok(3)),
                _ => assert!(read.is_err(), "bit {bit} changed, and it was read: {read:?}"),
            }
        }
    }

    #[test]
    fn what_is_no_continuation_has_a_name() {
        let ring = Keyring::new(keys(7));
        let mut sealed = [0; LEGACY_FRAME];
        encode(&frame(&[5; CONTINUATION_LEN]), &keys(7), &mut sealed).unwrap();
        assert_eq!(decode(&mut { sealed }[..OVERHEAD], &ring), Err(Discard::TooShort));
        assert_eq!(decode(&mut [0x80; LEGACY_FRAME + 1], &ring), Err(Discard::TooLong));
        assert_eq!(decode(&mut sealed.clone(), &Keyring::new(keys(8))), Err(Discard::UnknownKey));
        let head = Continuation { offset: 0, ..frame(&[1]) };
        let len = encode(&head, &keys(7), &mut sealed).unwrap();
        assert_eq!(
            decode(&mut sealed[..len], &ring),
            Err(Discard::Malformed),
            "the head says more than this"
        );
        assert_eq!(encode(&frame(&[]), &keys(7), &mut [0; 64]), Err(EncodeError::Empty));
        let too_long = frame(&[5; CONTINUATION_LEN + 1]);
        assert_eq!(encode(&too_long, &keys(7), &mut [0; 64]), Err(EncodeError::TooLong));
    }
}
