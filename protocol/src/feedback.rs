//! What the receivers of a message to a group or everyone say back: nack, and tally.
//!
//! Owns their bytes. A nack fits beside NEXT with the long MIC, in 7 bytes; a tally goes one hop.

use crate::segment::{TransferId, all};
use crate::{Address, Discard, MessageId};

pub(crate) const NACK: u8 = 0x0a;
pub(crate) const TALLY: u8 = 0x10;

/// One answer of the receivers of a message to many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feedback {
    /// Of your transfer to many I lack these segments.
    Nack(Nack),
    /// So many more nodes have this message to many. To the next hop towards its sender.
    Tally(Tallied),
}

/// How many nodes have a message to many, as far as the sender of this has counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tallied {
    /// Whose message.
    pub origin: Address,
    /// Which.
    pub message: MessageId,
    /// How many have it that were not said before, at least one.
    pub count: u16,
}

/// Which segments of a transfer to many one of its receivers lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nack {
    /// Of which transfer of the node that it is sent to.
    pub transfer: TransferId,
    /// The first that is missing, below 64.
    pub base: u8,
    /// Bit n: segment `base + 1 + n` is missing too.
    pub behind: u32,
}

impl Nack {
    /// The nack of a receiver that holds the segments in `have`, of `count` in all; `None` if that is all of them.
    #[must_use]
    pub const fn of(transfer: TransferId, have: u64, count: u8) -> Option<Self> {
        let missing = !have & all(count);
        if missing == 0 {
            return None;
        }
        let base = missing.trailing_zeros() as u8;
        Some(Self { transfer, base, behind: (missing >> base >> 1) as u32 })
    }

    /// The segments that it says are missing.
    #[must_use]
    pub const fn missing(&self) -> u64 {
        (1 | (self.behind as u64) << 1) << self.base
    }
}

impl Feedback {
    /// Its bytes.
    pub(crate) const fn bytes(&self) -> ([u8; 9], usize) {
        match *self {
            Self::Nack(Nack { transfer, base, behind }) => {
                // 10 bits of transfer, 6 of base.
                let [t0, t1] = (transfer.bits() << 6 | base as u16 & 63).to_be_bytes();
                let [b0, b1, b2, b3] = behind.to_be_bytes();
                ([NACK, t0, t1, b0, b1, b2, b3, 0, 0], 7)
            }
            Self::Tally(Tallied { origin, message, count }) => {
                let [o0, o1] = origin.bits().to_be_bytes();
                let [m0, m1, m2, m3] = message.0.to_be_bytes();
                let [c0, c1] = count.to_be_bytes();
                ([TALLY, o0, o1, m0, m1, m2, m3, c0, c1], 9)
            }
        }
    }

    pub(crate) const fn parse(body: &[u8]) -> Result<Self, Discard> {
        match *body {
            [NACK, t0, t1, b0, b1, b2, b3] => {
                let head = u16::from_be_bytes([t0, t1]);
                Ok(Self::Nack(Nack {
                    transfer: TransferId::new(head >> 6),
                    base: head as u8 & 63,
                    behind: u32::from_be_bytes([b0, b1, b2, b3]),
                }))
            }
            [TALLY, o0, o1, m0, m1, m2, m3, c0, c1] => {
                let origin = Address::new(u16::from_be_bytes([o0, o1]));
                let count = u16::from_be_bytes([c0, c1]);
                if !origin.is_node() || count == 0 {
                    return Err(Discard::Malformed);
                }
                let message = MessageId(u32::from_be_bytes([m0, m1, m2, m3]));
                Ok(Self::Tally(Tallied { origin, message, count }))
            }
            _ => Err(Discard::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn feedback_returns_as_it_was() {
        for feedback in [
            Feedback::Nack(Nack { transfer: TransferId::new(0x3ff), base: 63, behind: u32::MAX }),
            Feedback::Nack(Nack::of(TransferId::new(1), !0b1010, 64).unwrap()),
            Feedback::Tally(Tallied {
                origin: Address::new(0x7fff),
                message: MessageId(u32::MAX),
                count: 999,
            }),
        ] {
            let (bytes, len) = feedback.bytes();
            assert_eq!(Feedback::parse(&bytes[..len]), Ok(feedback));
        }
        for body in [
            &[NACK, 1, 2, 3, 4, 5][..],
            &[TALLY, 0, 1, 0, 0, 0, 1, 0, 0],
            &[TALLY, 0x80, 1, 0, 0, 0, 1, 0, 1],
            &[],
        ] {
            assert_eq!(Feedback::parse(body), Err(Discard::Malformed));
        }
    }

    #[test]
    fn a_nack_tells_of_the_first_missing_segment_and_thirty_two_behind_it() {
        let nack = |have, count| Nack::of(TransferId::new(1), have, count);
        assert_eq!(nack(u64::MAX, 64), None);
        assert_eq!(nack(0b111, 3), None);
        assert_eq!(nack(0b101, 3).unwrap().missing(), 0b10);
        let first = nack(0, 64).unwrap();
        assert_eq!(first.missing(), (1 << 33) - 1, "the rest is said when these are here");
        assert_eq!(nack(u64::MAX >> 1, 64).unwrap().missing(), 1 << 63);
    }
}
