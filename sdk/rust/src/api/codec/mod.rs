//! The two codecs: JSON lines, and postcard behind a length.
//!
//! Owns how requests and events stand in a stream of bytes, and the bounds: nothing is buffered past them, whatever the
//! other side sends. Reads and writes no socket; [`Decoder`] is given bytes and [`encode()`] fills a buffer.
//!
//! The first byte of a session decides. `{` begins a JSON line, and so does a byte order mark, to be refused as one. Anything else is
//! the first byte of a length: a frame is a big-endian `u32` and that many bytes of postcard. No frame within the bounds begins with
//! `{` (0x7b), which would be a length of 2 GiB. The gateway answers in the codec it was spoken to.

mod decode;
mod encode;
mod error;

pub use decode::Decoder;
pub use encode::{EncodeError, encode};
pub use error::DecodeError;

use super::MAX_BODY;

/// Bytes of a frame's length.
const PREFIX: usize = 4;

/// The longest request beside its body, in bytes: a token, or [`super::MAX_GROUPS`] names, with room. A guess.
const OVERHEAD: usize = 4 * 1024;

/// How requests and events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// One JSON object a line.
    Json,
    /// A big-endian `u32` length, then postcard.
    Postcard,
}

impl Codec {
    /// The codec of a session that starts with this byte.
    #[must_use]
    pub const fn of_first_byte(byte: u8) -> Self {
        if matches!(byte, b'{' | 0xEF | 0xFE | 0xFF) { Self::Json } else { Self::Postcard }
    }
}

/// What the first bytes of a text say of how it was written, where that is not how texts are read here. Some editors and shells begin
/// texts so, and it does not show.
#[must_use]
pub fn byte_order_mark(text: &[u8]) -> Option<&'static str> {
    match text {
        [0xEF, 0xBB, 0xBF, ..] => Some("it begins with a byte order mark (BOM)"),
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => Some("it is UTF-16, by its byte order mark (BOM)"),
        _ => None,
    }
}

/// How long one value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The longest JSON line, in bytes, without its end.
    pub line: usize,
    /// The longest postcard frame, in bytes, without its length.
    pub frame: usize,
}

impl Bounds {
    /// What the gateway takes as the first request, of somebody it does not know yet.
    pub const HELLO: Self = Self { line: OVERHEAD, frame: OVERHEAD };
    /// What the gateway takes. A line has room for the longest body with every byte written as `\u00xx`, six bytes
    /// for one; base64 needs less.
    pub const REQUEST: Self = Self { line: 6 * MAX_BODY + OVERHEAD, frame: MAX_BODY + OVERHEAD };
    /// What a client takes. Wider, because a list of agents or peers is longer than a message; a guess that is enough
    /// for some 10,000 of them.
    pub const EVENT: Self = Self { line: 1024 * 1024, frame: 1024 * 1024 };
}
