//! Where one packet of the H4 transport ends and the next begins (Core Specification, Volume 4 Part A).
//!
//! Owns the headers of packets that a host sends. What is in them is the controller's business.

use super::Garbage;

/// A command: opcode in two bytes, length in one.
pub const COMMAND: u8 = 0x01;
const ACL_DATA: u8 = 0x02;
const SYNCHRONOUS_DATA: u8 = 0x03;
const ISO_DATA: u8 = 0x05;
/// An event: code and length in a byte each. Only controllers send it.
pub const EVENT: u8 = 0x04;

/// The longest packet of data taken. A guess: eight times what the controller says it has room for; nobody who says more reads what
/// the controller says.
const DATA_MAX: usize = 2_048;

/// The longest packet of a host.
pub const PACKET_MAX: usize = 1 + 4 + DATA_MAX;

/// How long the first packet in `bytes` is; `None` when there is not yet all of it. At most [`PACKET_MAX`].
///
/// # Errors
/// [`Garbage`] when no host's packet starts so.
pub fn length(bytes: &[u8]) -> Result<Option<usize>, Garbage> {
    let length = match *bytes {
        [COMMAND, _, _, length, ..] => 4 + usize::from(length),
        [SYNCHRONOUS_DATA, _, _, length, ..] => 4 + usize::from(length),
        [ACL_DATA, _, _, low, high, ..] => data(bytes, u16::from_le_bytes([low, high]))?,
        // The two bits at the top say something else.
        [ISO_DATA, _, _, low, high, ..] => data(bytes, u16::from_le_bytes([low, high & 0x3f]))?,
        [] | [COMMAND | ACL_DATA | SYNCHRONOUS_DATA | ISO_DATA, ..] => return Ok(None),
        [other, ..] => return Err(Garbage(other)),
    };
    Ok((bytes.len() >= length).then_some(length))
}

fn data(bytes: &[u8], length: u16) -> Result<usize, Garbage> {
    let length = usize::from(length);
    if length > DATA_MAX {
        return Err(Garbage(bytes[0]));
    }
    Ok(5 + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_end_where_their_headers_say() {
        assert_eq!(length(&[]), Ok(None));
        assert_eq!(length(&[1, 3, 12]), Ok(None));
        assert_eq!(length(&[1, 3, 12, 0]), Ok(Some(4)));
        assert_eq!(length(&[1, 3, 12, 2, 9]), Ok(None));
        assert_eq!(length(&[1, 3, 12, 2, 9, 9, 7]), Ok(Some(6)), "another one follows");
        assert_eq!(length(&[2, 0, 0, 1, 0, 9]), Ok(Some(6)));
        assert_eq!(length(&[3, 0, 0, 1, 9]), Ok(Some(5)));
        assert_eq!(length(&[5, 0, 0, 1, 0xc0, 9]), Ok(Some(6)));
    }

    #[test]
    fn what_no_host_sends_is_garbage() {
        assert_eq!(length(&[EVENT, 0x0e, 0]), Err(Garbage(EVENT)));
        assert_eq!(length(b"GET / HTTP/1.1"), Err(Garbage(b'G')));
        assert_eq!(length(&[2, 0, 0, 0xff, 0xff]), Err(Garbage(2)), "more than anyone has room for");
    }
}
