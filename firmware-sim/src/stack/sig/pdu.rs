//! The bytes of the SIG baseline: network PDUs, segments, acknowledgments.
//!
//! Owns their layout, which is that of Mesh Profile 1.0.1 byte for byte, but for this: nothing is encrypted or
//! obfuscated, and where a message integrity code stands is a checksum of the same length. What a PDU means to a node
//! is the rest of the stack's business.

/// The longest network PDU in bytes: a legacy advert of 31 less length and type; Mesh Profile 1.0.1, 3.3.1.
pub(super) const MAX_PDU: usize = 29;
/// Access payload bytes of an unsegmented message; Mesh Profile 1.0.1, table 3.26 (15 bytes with the TransMIC of 4).
pub(super) const MAX_UNSEGMENTED: usize = 11;
/// Bytes of the upper transport PDU in each segment but the last; Mesh Profile 1.0.1, 3.5.2.2.
pub(super) const SEGMENT: usize = 12;
/// Segments of a message; Mesh Profile 1.0.1, 3.5.2.2: `SegN` has five bits.
pub(super) const MAX_SEGMENTS: usize = 32;
/// Access payload bytes of a segmented message: 32 segments less the TransMIC.
pub(super) const MAX_SEGMENTED: usize = MAX_SEGMENTS * SEGMENT - MIC;
/// Every node; Mesh Profile 1.0.1, 3.4.2.4 (all-nodes).
pub(super) const ALL_NODES: u16 = 0xffff;
/// The highest unicast address; Mesh Profile 1.0.1, 3.4.2.2.
pub(super) const LAST_UNICAST: u16 = 0x7fff;
/// SEQs have 24 bits; Mesh Profile 1.0.1, 3.4.4.5.
pub(super) const SEQ_MASK: u32 = 0x00ff_ffff;

/// Bytes of a network header; Mesh Profile 1.0.1, 3.4.4.
const HEADER: usize = 9;
/// Bytes of a TransMIC, and of the NetMIC of access messages; Mesh Profile 1.0.1, 3.4.4.8 and 3.6.2.
const MIC: usize = 4;
/// Bytes of the NetMIC of control messages; Mesh Profile 1.0.1, 3.4.4.8.
const CONTROL_MIC: usize = 8;
/// `IVI` 0 and a `NID` for the first byte. A guess: any will do, all nodes have one network key.
const NETWORK: u8 = 0x68;
/// The bit of control messages beside the TTL; Mesh Profile 1.0.1, 3.4.4.3.
const CONTROL: u8 = 0x80;
/// Header of an unsegmented access message under an application key; Mesh Profile 1.0.1, 3.5.2.1.
const ACCESS: u8 = 0x40;
/// The bit of segmented messages; Mesh Profile 1.0.1, 3.5.2.2.
const SEGMENTED: u8 = 0x80;
/// Opcode of a segment acknowledgment; Mesh Profile 1.0.1, 3.5.2.3.1.
const ACK: u8 = 0x00;
/// `SeqZero` has 13 bits; Mesh Profile 1.0.1, 3.5.2.2.
const ZERO_MASK: u32 = 0x1fff;

/// A network PDU, held in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pdu {
    len: usize,
    bytes: [u8; MAX_PDU],
}

/// What every network PDU says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Hops left, this one included; 1 and 0 are relayed by nobody.
    pub(super) ttl: u8,
    /// The sender's number of this PDU.
    pub(super) seq: u32,
    /// Who sent it first.
    pub(super) src: u16,
    /// Whom it is for.
    pub(super) dst: u16,
}

/// What a network PDU carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lower<'a> {
    /// A whole message: payload and TransMIC.
    Access(&'a [u8]),
    /// A part of one.
    Segment(Segment<'a>),
    /// Which segments a receiver has.
    Ack(Ack),
}

/// A part of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment<'a> {
    /// The low bits of the message's number.
    pub(super) zero: u16,
    /// Which part, from 0.
    pub(super) index: u8,
    /// The last part's index.
    pub(super) last: u8,
    /// Its bytes.
    pub(super) bytes: &'a [u8],
}

/// Which segments a receiver has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ack {
    /// The low bits of the message's number.
    pub(super) zero: u16,
    /// One bit for each segment; none at all: the receiver gives up on the message.
    pub(super) block: u32,
}

impl Pdu {
    /// A PDU with its checksum. Bytes that do not fit are cut off; the stack has none.
    pub(super) fn seal(header: Header, lower: Lower<'_>) -> Self {
        let mut pdu = Self { len: 0, bytes: [0; MAX_PDU] };
        let control = matches!(lower, Lower::Ack(_));
        let [_, seq @ ..] = header.seq.to_be_bytes();
        pdu.push(&[NETWORK, header.ttl & !CONTROL | if control { CONTROL } else { 0 }]);
        pdu.push(&seq);
        pdu.push(&header.src.to_be_bytes());
        pdu.push(&header.dst.to_be_bytes());
        match lower {
            Lower::Access(bytes) => {
                pdu.push(&[ACCESS]);
                pdu.push(bytes);
            }
            Lower::Segment(Segment { zero, index, last, bytes }) => {
                let fields = u32::from(zero) << 10 | u32::from(index) << 5 | u32::from(last);
                let [_, fields @ ..] = fields.to_be_bytes();
                pdu.push(&[ACCESS | SEGMENTED]);
                pdu.push(&fields);
                pdu.push(bytes);
            }
            Lower::Ack(Ack { zero, block }) => {
                pdu.push(&[ACK]);
                pdu.push(&(zero << 2).to_be_bytes());
                pdu.push(&block.to_be_bytes());
            }
        }
        pdu.sign(control);
        pdu
    }

    /// The same PDU as a relay sends it: one hop less.
    pub(super) fn relayed(bytes: &[u8], header: Header) -> Option<Self> {
        let mut pdu = Self { len: 0, bytes: [0; MAX_PDU] };
        let control = bytes.get(1)? & CONTROL != 0;
        pdu.push(bytes.get(..bytes.len().checked_sub(mic_len(control))?)?);
        pdu.bytes[1] = header.ttl.saturating_sub(1) | bytes[1] & CONTROL;
        pdu.sign(control);
        Some(pdu)
    }

    /// Its bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn push(&mut self, bytes: &[u8]) {
        let end = (self.len + bytes.len()).min(MAX_PDU);
        let room = &mut self.bytes[self.len..end];
        room.copy_from_slice(&bytes[..room.len()]);
        self.len = end;
    }

    fn sign(&mut self, control: bool) {
        let sum = checksum(&[self.bytes()]).to_be_bytes();
        self.push(&sum[..mic_len(control)]);
    }
}

const fn mic_len(control: bool) -> usize {
    if control { CONTROL_MIC } else { MIC }
}

/// Who sent these bytes first and what number it gave them, whether or not they are a sound PDU: enough to tell that
/// they came before.
pub(super) fn origin(bytes: &[u8]) -> Option<(u16, u32)> {
    let [network, _, s2, s1, s0, a1, a0, _, _] = *bytes.first_chunk::<HEADER>()?;
    (network == NETWORK).then(|| (u16::from_be_bytes([a1, a0]), u32::from_be_bytes([0, s2, s1, s0])))
}

/// Whether these bytes are an acknowledgment or another control message.
pub(super) fn is_control(bytes: &[u8]) -> bool {
    bytes.get(1).is_some_and(|byte| byte & CONTROL != 0)
}

/// Reads a network PDU; `None` when it is not one, or damaged.
pub(super) fn open(bytes: &[u8]) -> Option<(Header, Lower<'_>)> {
    let (src, seq) = origin(bytes)?;
    if bytes.len() > MAX_PDU || src == 0 || src > LAST_UNICAST {
        return None;
    }
    let control = is_control(bytes);
    let (signed, mic) = bytes.split_at_checked(bytes.len().checked_sub(mic_len(control))?)?;
    if checksum(&[signed]).to_be_bytes()[..mic.len()] != *mic {
        return None;
    }
    let (head, lower) = signed.split_first_chunk::<HEADER>()?;
    let header = Header { ttl: head[1] & !CONTROL, seq, src, dst: u16::from_be_bytes([head[7], head[8]]) };
    let (&kind, rest) = lower.split_first()?;
    let lower = match (control, kind) {
        (true, ACK) => {
            let &[z1, z0, b3, b2, b1, b0] = rest else { return None };
            let zero = u16::from_be_bytes([z1, z0]) >> 2 & ZERO_MASK as u16;
            Lower::Ack(Ack { zero, block: u32::from_be_bytes([b3, b2, b1, b0]) })
        }
        (false, _) if kind & SEGMENTED == 0 => Lower::Access(rest),
        (false, _) => {
            let (&[f2, f1, f0], bytes) = rest.split_first_chunk::<3>()?;
            let fields = u32::from_be_bytes([0, f2, f1, f0]);
            let (index, last) = ((fields >> 5 & 0x1f) as u8, (fields & 0x1f) as u8);
            let whole = bytes.len() == SEGMENT || index == last && (1..=SEGMENT).contains(&bytes.len());
            if index > last || !whole {
                return None;
            }
            Lower::Segment(Segment { zero: (fields >> 10 & ZERO_MASK) as u16, index, last, bytes })
        }
        _ => return None,
    };
    Some((header, lower))
}

/// The low bits of a message's number that its segments carry.
pub(super) const fn zero(id: u32) -> u16 {
    (id & ZERO_MASK) as u16
}

/// A message's number, from one of its segments; Mesh Profile 1.0.1, 3.5.3.1: the largest that ends in these bits and
/// is no larger than the segment's own SEQ.
pub(super) const fn message_id(seq: u32, zero: u16) -> u32 {
    seq.wrapping_sub(seq.wrapping_sub(zero as u32) & ZERO_MASK) & SEQ_MASK
}

/// A payload with its TransMIC.
pub(super) fn seal_payload(src: u16, dst: u16, id: u32, mut payload: Vec<u8>) -> Vec<u8> {
    let sum = payload_sum(src, dst, id, &payload);
    payload.extend_from_slice(&sum);
    payload
}

/// A payload without its TransMIC; `None` when it does not fit.
pub(super) fn open_payload(src: u16, dst: u16, id: u32, bytes: &[u8]) -> Option<&[u8]> {
    let (payload, sum) = bytes.split_last_chunk::<MIC>()?;
    (payload_sum(src, dst, id, payload) == *sum).then_some(payload)
}

fn payload_sum(src: u16, dst: u16, id: u32, payload: &[u8]) -> [u8; MIC] {
    let sum = checksum(&[&src.to_be_bytes(), &dst.to_be_bytes(), &id.to_be_bytes(), payload]).to_be_bytes();
    [sum[0], sum[1], sum[2], sum[3]]
}

/// FNV-1a, 64 bits (Fowler, Noll and Vo, 1991), and a multiplication more so that the high bytes depend on all of it.
fn checksum(parts: &[&[u8]]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.iter());
    let sum = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |sum, &byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    (sum ^ sum >> 29).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Header = Header { ttl: 7, seq: 0x01_2345, src: 0x0203, dst: 0x0405 };

    #[test]
    fn each_pdu_has_the_length_that_the_specification_gives_it_and_comes_back() {
        let message = seal_payload(HEAD.src, HEAD.dst, HEAD.seq, vec![1; MAX_UNSEGMENTED]);
        let segment = Segment { zero: 0x1f5a, index: 30, last: 31, bytes: &[7; SEGMENT] };
        let ack = Ack { zero: 0x0abc, block: 0xdead_beef };
        let cases = [
            (Lower::Access(&message), 9 + 1 + 11 + 4 + 4),
            (Lower::Access(&message[10..]), 9 + 1 + 1 + 4 + 4),
            (Lower::Segment(segment), 9 + 4 + 12 + 4),
            (Lower::Ack(ack), 9 + 7 + 8),
        ];
        for (lower, len) in cases {
            let pdu = Pdu::seal(HEAD, lower);
            assert_eq!(pdu.bytes().len(), len);
            assert_eq!(open(pdu.bytes()), Some((HEAD, lower)));
            assert_eq!(origin(pdu.bytes()), Some((HEAD.src, HEAD.seq)));
            let relayed = Pdu::relayed(pdu.bytes(), HEAD).expect("sound");
            assert_eq!(open(relayed.bytes()), Some((Header { ttl: 6, ..HEAD }, lower)));
        }
        assert_eq!(MAX_SEGMENTED, 380);
    }

    #[test]
    fn no_flipped_bit_and_no_cut_pdu_is_taken_for_sound() {
        let message = seal_payload(HEAD.src, HEAD.dst, HEAD.seq, b"payload".to_vec());
        for lower in [Lower::Access(&message), Lower::Ack(Ack { zero: 5, block: 1 })] {
            let pdu = Pdu::seal(HEAD, lower);
            let bytes = pdu.bytes();
            for bit in 0..bytes.len() * 8 {
                let mut wrong = bytes.to_vec();
                wrong[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(open(&wrong), None, "bit {bit}");
            }
            for len in 0..bytes.len() {
                assert_eq!(open(&bytes[..len]), None, "{len} bytes");
            }
            assert_eq!(open(&[bytes, &[0; 9]].concat()), None);
        }
        assert_eq!(open_payload(HEAD.src, HEAD.dst, HEAD.seq + 1, &message), None);
    }

    #[test]
    fn the_number_of_a_message_is_found_from_any_of_its_segments() {
        for id in [0, 1, 0x1fff, 0x2000, 0x12_3456, SEQ_MASK - 100] {
            for after in [0, 1, 50, 0x1fff] {
                let seq = id + after;
                assert_eq!(message_id(seq & SEQ_MASK, zero(id)), id, "{id} {after}");
            }
        }
    }
}
