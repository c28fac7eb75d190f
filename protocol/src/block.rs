//! Blocks: a message, or a part of one, as it crosses the mesh.
//!
//! Owns the head that stands before the bytes of every block: the message's number and, where it does not fit
//! one block, its length and the part's place in it. What the bytes say is `envelope`'s.

use crate::segment::{BLOCK_MAX, CRC_LEN};
use crate::varint::{self, VARINT_MAX};
use crate::{Discard, MessageId};

/// The longest head: a message number, and two numbers up to [`MESSAGE_MAX`].
const HEAD_MAX: usize = VARINT_MAX + 3 + 3;
/// The longest message, head and names of its envelope included: 64 KiB of body and 256 bytes around it.
pub const MESSAGE_MAX: usize = 64 * 1024 + 256;
/// Bytes of a message in each block of a message that does not fit one.
pub const PART_LEN: usize = BLOCK_MAX - CRC_LEN - HEAD_MAX;

/// Whether a message of `len` bytes fits one block, whatever its number.
pub(crate) const fn fits_one_block(len: usize) -> bool {
    // Five bytes of number, one for "whole".
    len + 6 + CRC_LEN <= BLOCK_MAX
}

/// The head of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHead {
    /// Of which message of its source.
    pub message: MessageId,
    /// `None` when the block holds the whole message.
    pub part: Option<Part>,
}

/// Where a part stands in its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Bytes of the whole message, at most [`MESSAGE_MAX`].
    pub total: u32,
    /// Bytes before this part.
    pub offset: u32,
}

impl BlockHead {
    /// Writes the head; returns its length.
    pub(crate) fn write(&self, out: &mut [u8; HEAD_MAX]) -> usize {
        // A whole message is a part of total zero: one byte instead of two numbers.
        let (total, offset) = self.part.map_or((0, None), |part| (part.total, Some(part.offset)));
        let mut len = 0;
        for number in [Some(self.message.0), Some(total), offset].into_iter().flatten() {
            len += varint::put(number, &mut out[len..]).expect("the three are at most 11 bytes");
        }
        len
    }

    /// Splits the body of a single frame into its head and the bytes of the message. The message's number is all of the head: a
    /// single frame holds the whole of one.
    ///
    /// # Errors
    /// [`Discard::Malformed`] when there is no number.
    pub fn of_single(body: &[u8]) -> Result<(Self, &[u8]), Discard> {
        let mut bytes = body;
        let number = varint::take(&mut bytes, u32::BITS).ok_or(Discard::Malformed)?;
        Ok((Self { message: MessageId(number), part: None }, bytes))
    }

    /// Splits a block into its head and the bytes of the message.
    ///
    /// # Errors
    /// [`Discard::Malformed`] when there is no head, or its numbers contradict each other.
    pub fn parse(block: &[u8]) -> Result<(Self, &[u8]), Discard> {
        let mut rest = block;
        let mut number = || varint::take(&mut rest, u32::BITS).ok_or(Discard::Malformed);
        let (message, total) = (MessageId(number()?), number()?);
        if total == 0 {
            return Ok((Self { message, part: None }, rest));
        }
        let offset = number()?;
        let fits = total as usize <= MESSAGE_MAX
            && !rest.is_empty()
            && (offset as usize).checked_add(rest.len()).is_some_and(|end| end <= total as usize);
        if !fits {
            return Err(Discard::Malformed);
        }
        Ok((Self { message, part: Some(Part { total, offset }) }, rest))
    }
}

/// What of a block with the whole of a message goes into a single frame: the number, and the bytes.
pub(crate) fn single(block: &[u8]) -> (&[u8], &[u8]) {
    let number = block.iter().position(|byte| byte & 0x80 == 0).map_or(block.len(), |last| last + 1);
    let (number, rest) = block.split_at(number);
    (number, rest.get(1..).unwrap_or_default())
}

/// Room for any head.
pub(crate) const fn head_buffer() -> [u8; HEAD_MAX] {
    [0; HEAD_MAX]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_message_costs_two_bytes() {
        let head = BlockHead { message: MessageId(100), part: None };
        let mut out = head_buffer();
        assert_eq!(head.write(&mut out), 2);
        assert_eq!(BlockHead::parse(&[100, 0, b'h', b'i']), Ok((head, &b"hi"[..])));
    }

    #[test]
    fn in_a_single_frame_the_number_is_all_of_the_head() {
        for number in [0, 100, 128, 16_383, u32::MAX] {
            let head = BlockHead { message: MessageId(number), part: None };
            let mut out = head_buffer();
            let len = head.write(&mut out);
            let block = [&out[..len], b"hi"].concat();
            let (number, bytes) = single(&block);
            assert_eq!(bytes, b"hi");
            assert_eq!(BlockHead::of_single(&[number, bytes].concat()), Ok((head, bytes)));
        }
        assert_eq!(BlockHead::of_single(&[0x80]), Err(Discard::Malformed));
    }

    #[test]
    fn the_largest_head_fits_and_returns() {
        let part = Part { total: MESSAGE_MAX as u32, offset: MESSAGE_MAX as u32 - 1 };
        let head = BlockHead { message: MessageId(u32::MAX), part: Some(part) };
        let mut out = head_buffer();
        let len = head.write(&mut out);
        let mut block = [7; HEAD_MAX + 1];
        block[..len].copy_from_slice(&out[..len]);
        assert_eq!(BlockHead::parse(&block[..=len]), Ok((head, &[7u8][..])));
    }

    #[test]
    fn parts_outside_their_message_are_malformed() {
        for block in [
            &[][..],
            &[1],
            &[1, 5],                      // no offset
            &[1, 5, 0],                   // an empty part
            &[1, 5, 5, 1],                // behind the end
            &[1, 0xff, 0xff, 0x7f, 0, 1], // longer than any message
        ] {
            assert_eq!(BlockHead::parse(block), Err(Discard::Malformed), "{block:?}");
        }
    }
}
