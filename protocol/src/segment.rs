//! Segments: a block cut into pieces of one frame each, as long as the frames on its way may be.
//!
//! Owns the 3-byte header and the cutting. Putting together is `reassembly`'s, sending `outbox`'s.

use crate::{Address, Discard};

/// Bytes of a block in one segment: a legacy body of 13 bytes less the header.
pub const SEGMENT_LEN: usize = 10;
/// The same where the frame names a next hop, which takes two bytes of it.
pub const SHORT_SEGMENT_LEN: usize = 8;
/// The same in the longest frame, which has room for a next hop.
pub const LONG_SEGMENT_LEN: usize = 226;
/// The same in a continuation frame, which says less of itself.
pub const CONTINUATION_LEN: usize = 15;
/// Segments in a block: 6 bits of offset.
pub const SEGMENTS_MAX: usize = 64;
/// The longest block that is sent in segments, its CRC included.
pub const BLOCK_MAX: usize = SEGMENT_LEN * SEGMENTS_MAX;
/// The others of the block come in continuation frames.
const CONTINUED: u8 = 0x80;
const RESERVED: u8 = 0x40;
/// Bytes of the segment header.
pub(crate) const SEGMENT_HEADER: usize = 3;

/// The number of a transfer of one block between two nodes: 10 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransferId(u16);

impl TransferId {
    /// The low 10 bits of `bits`.
    #[must_use]
    pub const fn new(bits: u16) -> Self {
        Self(bits & 0x03ff)
    }

    /// The 10 bits.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self::new(self.0 + 1)
    }
}

/// One segment, read from a frame's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Of which transfer.
    pub transfer: TransferId,
    /// Which segment, from 0.
    pub offset: u8,
    /// The last segment of the block; their number less one.
    pub last: u8,
    /// Whether all but the first come in continuation frames.
    pub continued: bool,
    /// [`SHORT_SEGMENT_LEN`] to [`LONG_SEGMENT_LEN`] bytes, all of a block the same; the last may have less. Behind a first one that
    /// is continued, [`CONTINUATION_LEN`] bytes.
    pub data: &'a [u8],
}

impl<'a> Segment<'a> {
    /// Reads a frame's body.
    ///
    /// # Errors
    /// [`Discard::Malformed`] when header and length do not fit together.
    pub fn parse(body: &'a [u8]) -> Result<Self, Discard> {
        let Some((&[a, b, c], data)) = body.split_first_chunk() else {
            return Err(Discard::Malformed);
        };
        let segment = Self {
            transfer: TransferId::new(u16::from(a) << 4 | u16::from(b) >> 4),
            offset: (b & 0x0f) << 2 | c >> 6,
            last: c & 0x3f,
            continued: a & CONTINUED != 0,
            data,
        };
        let (len, last) = (data.len(), usize::from(segment.last));
        // Behind a segment that is not the last one there is at least one byte more of the block.
        let whole = segment.offset < segment.last
            && (SHORT_SEGMENT_LEN..=LONG_SEGMENT_LEN).contains(&len)
            && Cut::of(len, segment.continued).before(last) < BLOCK_MAX;
        let tail = segment.offset == segment.last && (1..=LONG_SEGMENT_LEN).contains(&len);
        let alone = !segment.continued || segment.offset == 0 && segment.last > 0;
        if (whole || tail) && alone && a & RESERVED == 0 { Ok(segment) } else { Err(Discard::Malformed) }
    }

    /// The segment `offset` of a block that is cut so, as the body of a frame with the full header; returns its length.
    ///
    /// `block` holds 1 byte to [`SEGMENTS_MAX`] segments and `offset` is one of them.
    pub(crate) fn cut(
        transfer: TransferId,
        block: &[u8],
        offset: u8,
        cut: Cut,
        out: &mut [u8; SEGMENT_HEADER + LONG_SEGMENT_LEN],
    ) -> usize {
        let last = cut.count(block.len()) - 1;
        let data = cut.piece(block, offset);
        let continued = if cut.is_continued() && last > 0 { CONTINUED } else { 0 };
        out[0] = continued | (transfer.0 >> 4) as u8;
        out[1] = (transfer.0 << 4) as u8 | offset >> 2;
        out[2] = offset << 6 | last;
        out[SEGMENT_HEADER..SEGMENT_HEADER + data.len()].copy_from_slice(data);
        SEGMENT_HEADER + data.len()
    }
}

/// How a block is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    first: u8,
    each: u8,
}

impl Cut {
    /// Segments of `each` bytes.
    pub(crate) const fn even(each: usize) -> Self {
        Self::of(each, false)
    }

    /// A first segment of so many bytes, and the others of as many, or in continuation frames.
    pub(crate) const fn of(first: usize, continued: bool) -> Self {
        Self { first: first as u8, each: if continued { CONTINUATION_LEN } else { first } as u8 }
    }

    /// Whether all but the first segment go in continuation frames.
    pub(crate) const fn is_continued(self) -> bool {
        self.first != self.each
    }

    /// Bytes of the first segment.
    pub(crate) const fn first(self) -> usize {
        self.first as usize
    }

    /// Bytes of the block before segment `offset`.
    pub(crate) const fn before(self, offset: usize) -> usize {
        if offset == 0 { 0 } else { self.first as usize + (offset - 1) * self.each as usize }
    }

    /// How many segments a block of `len` bytes takes.
    pub(crate) const fn count(self, len: usize) -> u8 {
        1 + len.saturating_sub(self.first as usize).div_ceil(self.each as usize) as u8
    }

    /// The bytes of segment `offset`.
    pub(crate) fn piece(self, block: &[u8], offset: u8) -> &[u8] {
        let at = usize::from(offset);
        &block[self.before(at)..block.len().min(self.before(at + 1))]
    }
}

/// How many segments of `each` bytes a block of `len` bytes takes.
#[must_use]
pub const fn segments(len: usize, each: usize) -> u8 {
    len.div_ceil(each) as u8
}

/// The bits of the first `count` segments.
#[must_use]
pub(crate) const fn all(count: u8) -> u64 {
    if count >= 64 { u64::MAX } else { (1 << count) - 1 }
}

const CRC: crc::Crc<u16> = crc::Crc::<u16>::new(&crc::CRC_16_IBM_3740);
/// Bytes of the CRC behind a block that is sent in segments.
pub(crate) const CRC_LEN: usize = 2;

/// The CRC of a block between two nodes.
///
/// Each frame is guarded by its own MIC; this one guards against segments of two blocks that came to share a
/// transfer number, so source and destination are part of it.
#[must_use]
pub fn block_crc(src: Address, dst: Address, block: &[u8]) -> [u8; CRC_LEN] {
    let mut digest = CRC.digest();
    digest.update(&src.bits().to_be_bytes());
    digest.update(&dst.bits().to_be_bytes());
    digest.update(block);
    digest.finalize().to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cutting_and_reading_are_inverse_for_every_length() {
        let block: [u8; BLOCK_MAX] = core::array::from_fn(|i| i as u8);
        let lengths = [SEGMENT_LEN, SHORT_SEGMENT_LEN, 100, LONG_SEGMENT_LEN]
            .into_iter()
            .flat_map(|each| (1..=BLOCK_MAX.min(each * SEGMENTS_MAX)).map(move |len| (each, len)));
        for (each, len) in lengths {
            let mut back = [0; BLOCK_MAX];
            let mut filled = 0;
            for offset in 0..segments(len, each) {
                let mut out = [0; SEGMENT_HEADER + LONG_SEGMENT_LEN];
                let n =
                    Segment::cut(TransferId::new(0x2bc), &block[..len], offset, Cut::even(each), &mut out);
                let segment = Segment::parse(&out[..n]).unwrap();
                assert_eq!(
                    (segment.transfer.bits(), segment.offset, segment.last + 1),
                    (0x2bc, offset, segments(len, each))
                );
                back[filled..filled + segment.data.len()].copy_from_slice(segment.data);
                filled += segment.data.len();
            }
            assert_eq!(&back[..filled], &block[..len]);
        }
    }

    #[test]
    fn behind_a_head_that_says_so_the_others_have_fifteen_bytes() {
        for first in [SEGMENT_LEN, SHORT_SEGMENT_LEN] {
            let cut = Cut::of(first, true);
            for len in first + 1..=BLOCK_MAX {
                let block: [u8; BLOCK_MAX] = core::array::from_fn(|i| i as u8);
                let mut out = [0; SEGMENT_HEADER + LONG_SEGMENT_LEN];
                let n = Segment::cut(TransferId::new(5), &block[..len], 0, cut, &mut out);
                let head = Segment::parse(&out[..n]).unwrap();
                assert!(head.continued && usize::from(head.last) == (len - first).div_ceil(CONTINUATION_LEN));
                let pieces =
                    (0..=head.last).flat_map(|offset| cut.piece(&block[..len], offset).iter().copied());
                assert!(pieces.eq(block[..len].iter().copied()), "{len} bytes behind {first}");
            }
        }
    }

    #[test]
    fn a_segment_that_contradicts_itself_is_malformed() {
        for body in [
            &[0u8, 0, 0][..],                               // no data
            &[0, 0],                                        // no header
            &[0x40, 0, 0, 1],                               // a reserved bit
            &[0x80, 0, 0, 1],                               // continued by nothing
            &[0x80, 0, 0x42, 1, 2, 3, 4, 5, 6, 7, 8],       // continued, and not the first
            &[0, 0, 1, 9],                                  // not the last, yet too short
            &[0, 0x08, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10],   // offset behind last
            &[0, 0, 63, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], // so many of this length are no block
            &[0; SEGMENT_HEADER + LONG_SEGMENT_LEN + 1],    // too long
        ] {
            assert_eq!(Segment::parse(body), Err(Discard::Malformed), "{body:?}");
        }
    }
}
