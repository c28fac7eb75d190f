//! The network frame: bytes on the air to meaning and back.
//!
//! Owns the layout, the mask and the order of checks up to the MIC. What a frame's body means is for others
//! (`segment`, `control`, `block`); whether it is new is for `replay` and `seen`.
//!
//! ```text
//! 0      V(1) E(1) NID(6)
//! 1      TTL(4) M(1) R(1) 0(2)     masked, like everything up to SRC or NEXT
//! 2..4   SEQ
//! 5..6   SRC
//! [7..8  NEXT, if R]
//! ..     CCM ciphertext of DST(16) | PRIO(2) KIND(2) TTL0(4) | body
//! last   MIC, 4 or 8 bytes
//! ```

use crate::crypto::{EpochKeys, Keyring, Mic};
use crate::{Address, Discard, MAX_FRAME, Priority};

/// The highest SEQ: 24 bits. It never wraps.
pub const SEQ_MAX: u32 = 0xff_ffff;
/// The highest TTL: 4 bits.
pub const TTL_MAX: u8 = 15;

const HOP: usize = 1;
const SEQ: usize = 2;
const SRC: usize = 5;
const NEXT: usize = 7;
const PLAIN_HEADER: usize = 7;
const NEXT_HEADER: usize = 9;
/// DST and the byte of PRIO, KIND and TTL0, inside the ciphertext.
const INNER: usize = 3;
/// Ciphertext and MIC bytes that feed the mask.
const SAMPLE: usize = 7;
const VERSION_BIT: u8 = 0x80;
const MIC_BIT: u8 = 0x08;
const NEXT_BIT: u8 = 0x04;
const RESERVED_BITS: u8 = 0x03;

/// The shortest frame: header, no body, short MIC.
pub const MIN_FRAME: usize = PLAIN_HEADER + INNER + 4;

/// What a frame's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole block in one frame.
    Single,
    /// One segment of a block.
    Segment,
    /// A control message between nodes.
    Control,
}

impl Kind {
    /// The two bits on the air.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self as u8
    }

    /// The kind of these bits; 3 is reserved.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::Single),
            1 => Some(Self::Segment),
            2 => Some(Self::Control),
            _ => None,
        }
    }
}

/// What a frame says, in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Hops left; a relay lowers it.
    pub ttl: u8,
    /// Hops allowed at the origin; guarded by the MIC.
    pub ttl0: u8,
    /// The number under which the origin sealed it, at most [`SEQ_MAX`].
    pub seq: u32,
    /// The origin.
    pub src: Address,
    /// For whom it is.
    pub dst: Address,
    /// The one neighbour that may relay it, if not all.
    pub next: Option<Address>,
    /// How urgent it is.
    pub priority: Priority,
    /// What the body is.
    pub kind: Kind,
    /// How long the MIC is.
    pub mic: Mic,
    /// The body.
    pub body: &'a [u8],
}

/// Why a frame could not be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// SEQ is above 24 bits.
    Seq,
    /// TTL or TTL0 is above 15, or TTL above TTL0.
    Ttl,
    /// SRC is not one node's address, or DST is none.
    Address,
    /// The frame would be longer than [`MAX_FRAME`].
    TooLong,
    /// A continuation frame without data says nothing, and is too short to be masked.
    Empty,
}

impl core::fmt::Display for EncodeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Seq => "SEQ is above 16777215",
            Self::Ttl => "TTL is above TTL0, or TTL0 above 15",
            Self::Address => "SRC must be 0x0001 to 0x7fff and DST must not be 0x0000",
            Self::TooLong => "the frame would be longer than 245 bytes: shorten the body",
            Self::Empty => "a continuation frame carries at least one byte of data",
        })
    }
}

impl core::error::Error for EncodeError {}

/// A frame whose MIC verified under a key of the network.
///
/// Only [`decode`] makes one, so whatever takes a `Verified` cannot be reached by a forged frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified<'a> {
    frame: Frame<'a>,
    epoch: u32,
}

impl<'a> Verified<'a> {
    /// What the frame says.
    #[must_use]
    pub const fn frame(&self) -> &Frame<'a> {
        &self.frame
    }

    /// The epoch under whose key it verified.
    #[must_use]
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// How many hops it came: 1 from the origin itself.
    #[must_use]
    pub const fn hops(&self) -> u8 {
        self.frame.ttl0 - self.frame.ttl + 1
    }
}

/// Bytes of a frame besides its body.
#[must_use]
pub const fn overhead(next: bool, mic: Mic) -> usize {
    (if next { NEXT_HEADER } else { PLAIN_HEADER }) + INNER + mic.bytes()
}

/// Seals `frame` under `keys` into `out`; returns its length.
///
/// The caller answers for (key, SEQ, SRC) being used for these bytes only.
///
/// # Errors
/// [`EncodeError`] when a field does not fit; `out` is then unchanged.
pub fn encode(frame: &Frame<'_>, keys: &EpochKeys, out: &mut [u8; MAX_FRAME]) -> Result<usize, EncodeError> {
    if frame.seq > SEQ_MAX {
        return Err(EncodeError::Seq);
    }
    if frame.ttl > frame.ttl0 || frame.ttl0 > TTL_MAX {
        return Err(EncodeError::Ttl);
    }
    if !frame.src.is_node() || frame.dst == Address::NONE {
        return Err(EncodeError::Address);
    }
    let len = overhead(frame.next.is_some(), frame.mic) + frame.body.len();
    if len > MAX_FRAME {
        return Err(EncodeError::TooLong);
    }
    let header = if frame.next.is_some() { NEXT_HEADER } else { PLAIN_HEADER };

    out[0] = keys.first_byte();
    out[HOP] = (frame.ttl << 4)
        | if frame.mic == Mic::Long { MIC_BIT } else { 0 }
        | if frame.next.is_some() { NEXT_BIT } else { 0 };
    out[SEQ..SRC].copy_from_slice(&frame.seq.to_be_bytes()[1..]);
    out[SRC..NEXT].copy_from_slice(&frame.src.bits().to_be_bytes());
    if let Some(next) = frame.next {
        out[NEXT..NEXT_HEADER].copy_from_slice(&next.bits().to_be_bytes());
    }
    out[header..header + 2].copy_from_slice(&frame.dst.bits().to_be_bytes());
    out[header + 2] = (frame.priority.bits() << 6) | (frame.kind.bits() << 4) | frame.ttl0;
    out[header + INNER..header + INNER + frame.body.len()].copy_from_slice(frame.body);

    keys.seal(&keys.nonce(frame.seq, frame.src), &mut out[header..len], frame.mic);
    mask(keys, &mut out[..len], header);
    Ok(len)
}

/// Checks length, version, key and MIC, in this order, and decrypts in place.
///
/// Bounded work: at most two keys, each with at most two readings of where the ciphertext begins. `bytes` holds
/// the plaintext afterwards when it succeeds, and nothing of use when it fails.
///
/// # Errors
/// The [`Discard`] that says which check failed first.
pub fn decode<'a>(bytes: &'a mut [u8], keys: &Keyring) -> Result<Verified<'a>, Discard> {
    if bytes.len() < MIN_FRAME {
        return Err(Discard::TooShort);
    }
    if bytes.len() > MAX_FRAME {
        return Err(Discard::TooLong);
    }
    if bytes[0] & VERSION_BIT != 0 {
        return Err(Discard::Version);
    }
    let mut fault = Discard::UnknownKey;
    for candidate in keys.candidates(bytes[0]) {
        // Where the ciphertext begins is itself under the mask that the ciphertext gives: both readings are
        // tried, and the R bit and reserved bits rule out most of the wrong ones before any CCM.
        for header in [PLAIN_HEADER, NEXT_HEADER] {
            match read(bytes, candidate, header) {
                Ok((head, mic)) => return parse(bytes, candidate.epoch(), header, head, mic),
                // A reading that got as far as the MIC says the most about the frame.
                Err(why) if fault != Discard::Mic => fault = why,
                Err(_) => {}
            }
        }
    }
    Err(fault)
}

/// Lowers the TTL of sealed bytes from `from` to `to` without opening them: TTL is masked, but outside the MIC.
pub fn retarget_ttl(bytes: &mut [u8], from: u8, to: u8) {
    if let Some(hop) = bytes.get_mut(HOP) {
        *hop ^= (from ^ to) << 4;
    }
}

/// Names another next hop in sealed bytes that name `from`, or none any more; returns their new length. NEXT and its bit
/// are masked like TTL, and as little guarded by the MIC.
pub fn retarget_next(bytes: &mut [u8], from: Address, to: Option<Address>) -> usize {
    if bytes.len() < NEXT_HEADER {
        return bytes.len();
    }
    if let Some(to) = to {
        for (byte, change) in bytes[NEXT..NEXT_HEADER].iter_mut().zip((from.bits() ^ to.bits()).to_be_bytes())
        {
            *byte ^= change;
        }
        return bytes.len();
    }
    bytes[HOP] ^= NEXT_BIT;
    bytes.copy_within(NEXT_HEADER.., NEXT);
    bytes.len() - (NEXT_HEADER - NEXT)
}

fn mask(keys: &EpochKeys, bytes: &mut [u8], header: usize) {
    let mask = keys.mask(&sample(bytes, header));
    for (byte, mask) in bytes[HOP..header].iter_mut().zip(mask) {
        *byte ^= mask;
    }
}

fn sample(bytes: &[u8], header: usize) -> [u8; SAMPLE] {
    core::array::from_fn(|i| bytes[header + i])
}

/// Unmasks and opens under one key and one reading of the header; on failure `bytes` are as before.
fn read(bytes: &mut [u8], keys: &EpochKeys, header: usize) -> Result<([u8; NEXT_HEADER], Mic), Discard> {
    if bytes.len() < header + INNER + Mic::Short.bytes() {
        return Err(Discard::TooShort);
    }
    let mask = keys.mask(&sample(bytes, header));
    let mut head = [0; NEXT_HEADER];
    for (i, byte) in head[HOP..header].iter_mut().enumerate() {
        *byte = bytes[HOP + i] ^ mask[i];
    }
    let flags = head[HOP];
    if flags & RESERVED_BITS != 0 || (flags & NEXT_BIT != 0) != (header == NEXT_HEADER) {
        return Err(Discard::Reserved);
    }
    let mic = if flags & MIC_BIT != 0 { Mic::Long } else { Mic::Short };
    if bytes.len() < header + INNER + mic.bytes() {
        return Err(Discard::TooShort);
    }
    let seq = u32::from_be_bytes([0, head[SEQ], head[SEQ + 1], head[SEQ + 2]]);
    let src = Address::new(u16::from_be_bytes([head[SRC], head[SRC + 1]]));
    let mut opened = [0; MAX_FRAME];
    let opened = &mut opened[..bytes.len() - header];
    opened.copy_from_slice(&bytes[header..]);
    if !keys.open(&keys.nonce(seq, src), opened, mic) {
        return Err(Discard::Mic);
    }
    bytes[header..].copy_from_slice(opened);
    Ok((head, mic))
}

/// The meaning of opened bytes.
fn parse(
    bytes: &mut [u8],
    epoch: u32,
    header: usize,
    head: [u8; NEXT_HEADER],
    mic: Mic,
) -> Result<Verified<'_>, Discard> {
    let text = &bytes[header..bytes.len() - mic.bytes()];
    let inner = text[2];
    let frame = Frame {
        ttl: head[HOP] >> 4,
        ttl0: inner & 0x0f,
        seq: u32::from_be_bytes([0, head[SEQ], head[SEQ + 1], head[SEQ + 2]]),
        src: Address::new(u16::from_be_bytes([head[SRC], head[SRC + 1]])),
        dst: Address::new(u16::from_be_bytes([text[0], text[1]])),
        next: (header == NEXT_HEADER).then(|| Address::new(u16::from_be_bytes([head[NEXT], head[NEXT + 1]]))),
        priority: Priority::from_bits(inner >> 6),
        kind: Kind::from_bits((inner >> 4) & 3).ok_or(Discard::Reserved)?,
        mic,
        body: &text[INNER..],
    };
    if frame.ttl > frame.ttl0 {
        return Err(Discard::Ttl);
    }
    if !frame.src.is_node() || frame.dst == Address::NONE {
        return Err(Discard::Address);
    }
    Ok(Verified { frame, epoch })
}
