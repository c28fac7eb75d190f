//! What its receiver has: of a transfer, and of the frames of one node from the hop before.

use crate::segment::{SEGMENTS_MAX, TransferId};
use crate::{Address, Discard};

/// Segments behind the first gap that an ack can speak of.
const ACK_BITS: u8 = 32;

/// Which segments of a transfer the receiver holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Of which transfer.
    pub transfer: TransferId,
    /// All segments below this one; equal to their number when the block is whole.
    pub base: u8,
    /// Bit n: segment `base + 1 + n`.
    pub behind: u64,
}

impl Ack {
    /// The ack of a receiver that holds the segments in `have`, of `count` in all.
    #[must_use]
    pub const fn of(transfer: TransferId, have: u64, count: u8) -> Self {
        let base = (!have).trailing_zeros() as u8;
        if base >= count {
            return Self { transfer, base: count, behind: 0 };
        }
        let behind = if base >= 63 { 0 } else { (have >> (base + 1)) & ((1 << ACK_BITS) - 1) };
        Self { transfer, base, behind }
    }

    /// The segments that it says are held, and those that it says anything of.
    #[must_use]
    pub(crate) const fn held_and_said(&self) -> (u64, u64) {
        let below = crate::segment::all(self.base);
        let shift = self.base + 1;
        let said = crate::segment::all(if shift + ACK_BITS > 64 { 64 } else { shift + ACK_BITS });
        (below | if shift >= 64 { 0 } else { self.behind << shift }, said)
    }
}

/// Frames of one node that the sender of this has taken from the hop before: it passes them on, or they are for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HopAck {
    /// The node that sealed them.
    pub src: Address,
    /// The SEQ of the newest.
    pub seq: u32,
    /// Bit n: the one with SEQ `seq - 1 - n` as well.
    pub before: u8,
}

impl HopAck {
    /// Whether it names the frame of its `src` with this SEQ.
    #[must_use]
    pub const fn names(&self, seq: u32) -> bool {
        match self.seq.checked_sub(seq) {
            Some(0) => true,
            Some(behind @ 1..=8) => self.before >> (behind - 1) & 1 != 0,
            _ => false,
        }
    }
}

pub(super) fn parse_ack(head: [u8; 2], behind: [u8; 4]) -> Result<Ack, Discard> {
    let head = u16::from_be_bytes(head);
    let (base, behind) = ((head & 0x3f) as u8, u64::from(u32::from_be_bytes(behind)));
    let transfer = TransferId::new(head >> 6);
    // Behind the last place there is none; the first bit says that this one is held as well.
    match (usize::from(base) + 1 == SEGMENTS_MAX, behind) {
        (true, 1) => Ok(Ack { transfer, base: base + 1, behind: 0 }),
        (true, 2..) => Err(Discard::Malformed),
        _ => Ok(Ack { transfer, base, behind }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ack_tells_of_the_first_gap_and_thirty_two_segments_behind_it() {
        let transfer = TransferId::new(1);
        let whole = Ack::of(transfer, u64::MAX, 64);
        assert_eq!((whole.base, whole.behind), (64, 0));
        assert_eq!(whole.held_and_said(), (u64::MAX, u64::MAX));

        let gap = Ack::of(transfer, !(1 << 3), 64);
        assert_eq!(gap.base, 3);
        let (held, said) = gap.held_and_said();
        assert_eq!(said, (1 << 36) - 1, "segments 0 to 35");
        assert_eq!(held, said & !(1 << 3));

        let end = Ack::of(transfer, !(1 << 63), 64);
        assert_eq!((end.base, end.held_and_said()), (63, (u64::MAX >> 1, u64::MAX)));
        assert_eq!(Ack::of(transfer, 0b111, 3).base, 3);
    }

    #[test]
    fn a_hop_ack_names_one_frame_and_eight_before_it() {
        let ack = HopAck { src: Address::new(1), seq: 10, before: 0b1000_0001 };
        assert_eq!((0..=12).filter(|seq| ack.names(*seq)).collect::<Vec<_>>(), [2, 9, 10]);
    }
}
