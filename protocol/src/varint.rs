//! Numbers in as few bytes as they need: seven bits in each, the lowest first, and a set top bit where more follow.
//!
//! Owns the numbers in the heads of blocks and envelopes, which are small nearly always. Control messages have fixed layouts.

/// Bytes of the longest.
pub(crate) const VARINT_MAX: usize = u32::BITS.div_ceil(7) as usize;

/// Writes a number; returns its length, `None` if it does not fit.
pub(crate) fn put(mut value: u32, out: &mut [u8]) -> Option<usize> {
    let mut len = 0;
    loop {
        let more = value > 0x7f;
        *out.get_mut(len)? = value as u8 & 0x7f | u8::from(more) << 7;
        len += 1;
        if !more {
            return Some(len);
        }
        value >>= 7;
    }
}

/// Takes a number of at most `bits` bits, and at most 32, from the front; `None` if none is there, or it is larger.
///
/// A number may be longer than it needs to be: what others wrote that way has always been read.
pub(crate) fn take(bytes: &mut &[u8], bits: u32) -> Option<u32> {
    let mut value = 0;
    for shift in (0..bits).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let low = u32::from(byte & 0x7f);
        // In the last byte only so many bits are left.
        if bits - shift < 7 && low >> (bits - shift) != 0 {
            return None;
        }
        value |= low << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rng;

    #[test]
    fn every_edge_is_written_as_postcard_writes_it_and_returns() {
        let edges = (0..32).flat_map(|bit| [(1u32 << bit) - 1, 1 << bit, u32::MAX >> bit]);
        for value in edges {
            let (mut own, mut other) = ([0; VARINT_MAX], [0; VARINT_MAX]);
            let len = put(value, &mut own).unwrap();
            assert_eq!(&own[..len], postcard::to_slice(&value, &mut other).unwrap());
            assert_eq!(put(value, &mut own[..len - 1]), None, "no room");
            let mut rest = &own[..len];
            assert_eq!((take(&mut rest, 32), rest), (Some(value), &[][..]));
            assert_eq!(take(&mut &own[..len - 1], 32), None, "cut short");
        }
    }

    #[test]
    fn any_bytes_are_read_as_postcard_reads_them() {
        let mut rng = Rng::new(1);
        for _ in 0..200_000 {
            // Of each kind many: bytes that end a number, that go on, that are too large for the last place.
            let bytes: [u8; 6] = core::array::from_fn(|_| {
                [0, 1, 3, 4, 0x0f, 0x10, 0x7f, 0x80, 0x83, 0xff, rng.next_u64() as u8][rng.below(11) as usize]
            });
            let bytes = &bytes[..rng.below(7) as usize];
            let (mut wide, mut narrow) = (bytes, bytes);
            let read = |value: Option<u32>, rest| value.map(|value| (value, rest));
            let (value, short) = (take(&mut wide, 32), take(&mut narrow, 16));
            assert_eq!(read(value, wide), postcard::take_from_bytes::<u32>(bytes).ok(), "{bytes:x?}");
            let expected = postcard::take_from_bytes::<u16>(bytes).ok();
            assert_eq!(read(short, narrow), expected.map(|(value, rest)| (value.into(), rest)), "{bytes:x?}");
        }
    }
}
