//! Records: how changes stand in flash.
//!
//! Owns the bytes and their checksum. Where a record goes is `flash_log`'s business.
//!
//! | bytes | of a record |
//! |---|---|
//! | 4 | CRC-32 of the half's generation, the number of changes and the changes, little-endian as all numbers here |
//! | 2 | how many changes, with every bit turned |
//! | 2 | the same as it is |
//! | 12 each | changes: epoch (4), number (4), address (2), 0, kind |
//! | 0 or 4 | ones, up to a multiple of [`ALIGN`] |
//!
//! The last byte of a head, and that of a change, is never what erased flash has there. Bytes are written in order: so the last one tells a
//! record that a cut broke from one that was whole, and of which flash has lost something since.

use mesh_protocol::{Address, ReplayMark};

use super::Change;

/// Records begin at multiples of this: of the longest word that flash may have.
pub(super) const ALIGN: usize = 8;
/// Bytes before the changes.
pub(super) const HEAD: usize = 8;
/// Bytes of a change.
pub(super) const CHANGE: usize = 12;
/// The most changes of a record: with more, the last byte of its head could be that of erased flash.
pub(super) const MOST: usize = 0xfeff;
/// Stands for the number of changes in what is no record but the mark of a half that counts no more.
pub(super) const MOVED: u16 = 0xfffe;
/// Nothing is written here.
pub(super) const ERASED: u8 = 0xff;

const SEQ: u8 = 1;
const MESSAGES: u8 = 2;
const MARK: u8 = 3;

/// Bytes of a record with so many changes.
pub(super) const fn length(changes: usize) -> usize {
    (HEAD + CHANGE * changes).next_multiple_of(ALIGN)
}

/// How a change stands in flash.
pub(super) fn encode(change: Change) -> [u8; CHANGE] {
    let (kind, address, epoch, number) = match change {
        Change::Seq { epoch, up_to } => (SEQ, 0, epoch, up_to),
        Change::Messages(up_to) => (MESSAGES, 0, 0, up_to),
        Change::Mark(mark) => (MARK, mark.src.bits(), mark.epoch, mark.seq),
    };
    let mut bytes = [0; CHANGE];
    bytes[..4].copy_from_slice(&epoch.to_le_bytes());
    bytes[4..8].copy_from_slice(&number.to_le_bytes());
    bytes[8..10].copy_from_slice(&address.to_le_bytes());
    bytes[11] = kind;
    bytes
}

/// What a change of a whole record says; `None` for a kind that this firmware does not know.
pub(super) fn decode(bytes: [u8; CHANGE]) -> Option<Change> {
    let [e0, e1, e2, e3, n0, n1, n2, n3, a0, a1, _, kind] = bytes;
    let epoch = u32::from_le_bytes([e0, e1, e2, e3]);
    let number = u32::from_le_bytes([n0, n1, n2, n3]);
    match kind {
        SEQ => Some(Change::Seq { epoch, up_to: number }),
        MESSAGES => Some(Change::Messages(number)),
        MARK => {
            let src = Address::new(u16::from_le_bytes([a0, a1]));
            Some(Change::Mark(ReplayMark { src, epoch, seq: number }))
        }
        _ => None,
    }
}

/// The head of a record with so many changes and this checksum.
pub(super) fn head(count: u16, crc: u32) -> [u8; HEAD] {
    let mut bytes = [0; HEAD];
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    bytes[4..6].copy_from_slice(&(!count).to_le_bytes());
    bytes[6..].copy_from_slice(&count.to_le_bytes());
    bytes
}

/// What a head says: how many changes, and their checksum. `None` when it is none.
pub(super) fn read_head(bytes: [u8; HEAD]) -> Option<(u16, u32)> {
    let [r0, r1, r2, r3, i0, i1, c0, c1] = bytes;
    let count = u16::from_le_bytes([c0, c1]);
    // All ones, as where nothing is written, are no head.
    (!count == u16::from_le_bytes([i0, i1])).then(|| (count, u32::from_le_bytes([r0, r1, r2, r3])))
}

/// The checksum of a record, as far as it is known: changes follow one by one.
pub(super) fn begin(generation: u32, count: u16) -> Crc {
    // The generation is in it so that what an erase has left of an older half is never taken for a record of this one.
    Crc::new().add(&generation.to_le_bytes()).add(&count.to_le_bytes())
}

/// CRC-32 (IEEE 802.3), bit by bit: records are short, and a table would cost a small board a kilobyte.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crc(u32);

impl Crc {
    pub(super) const fn new() -> Self {
        Self(!0)
    }

    pub(super) fn add(self, bytes: &[u8]) -> Self {
        Self(bytes.iter().fold(self.0, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
        }))
    }

    pub(super) const fn value(self) -> u32 {
        !self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_usual_one() {
        assert_eq!(Crc::new().add(b"123456789").value(), 0xcbf4_3926);
        assert_eq!(Crc::new().add(b"12345").add(b"6789").value(), 0xcbf4_3926);
    }

    #[test]
    fn the_last_byte_of_a_head_and_of_a_change_is_not_that_of_erased_flash() {
        let mark = ReplayMark { src: Address::new(0xffff), epoch: u32::MAX, seq: u32::MAX };
        let seq = Change::Seq { epoch: u32::MAX, up_to: u32::MAX };
        for change in [seq, Change::Messages(u32::MAX), Change::Mark(mark)] {
            assert_ne!(encode(change).last(), Some(&ERASED));
        }
        assert!((0..=MOST as u16).all(|count| head(count, u32::MAX).last() != Some(&ERASED)));
        assert_eq!(head(MOST as u16 + 1, 0).last(), Some(&ERASED));
    }

    #[test]
    fn changes_are_read_as_they_were_written_and_unknown_ones_are_left_out() {
        let mark = ReplayMark { src: Address::new(0x7ffe), epoch: 0x1234_5678, seq: 0x00ff_fffe };
        for change in [Change::Seq { epoch: 9, up_to: 0x0100_0000 }, Change::Messages(7), Change::Mark(mark)]
        {
            assert_eq!(decode(encode(change)), Some(change));
        }
        assert_eq!(decode([ERASED; CHANGE]), None);
        assert_eq!(read_head([ERASED; HEAD]), None);
        assert_eq!(read_head(head(3, 5)), Some((3, 5)));
        assert!((0..500).all(|count| length(count).is_multiple_of(ALIGN)));
    }
}
