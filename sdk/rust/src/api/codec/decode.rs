//! Bytes into values.
//!
//! Owns where one value ends and the next begins, and that no more is held than the bounds allow.

use serde::de::DeserializeOwned;

use super::error::{DecodeError, unreadable};
use super::{Bounds, Codec, PREFIX, byte_order_mark};

/// Cuts a stream of bytes into values. Holds what has come of the next value and never more than its bound and one
/// read.
///
/// ```
/// use mesh_agent::api::Request;
/// use mesh_agent::api::codec::{Bounds, Decoder};
///
/// let mut decoder = Decoder::new(Bounds::REQUEST);
/// decoder.space().extend_from_slice(b"{\"op\":\"ping\",\"ref\":7}\n{\"op\":");
/// let ping: Option<Request> = decoder.decode().unwrap();
/// assert_eq!(ping.and_then(|ping| ping.reference()), Some(7));
/// assert_eq!(decoder.decode::<Request>(), Ok(None), "the next line has no end yet");
/// ```
#[derive(Debug)]
pub struct Decoder {
    bounds: Bounds,
    codec: Option<Codec>,
    buffer: Vec<u8>,
    /// Where the next value starts in `buffer`; what lies before it is done.
    start: usize,
    /// How far after `start` has been searched for the end of a line, so that a line in a thousand pieces is
    /// searched once.
    searched: usize,
    /// Whether a carriage return within this line has been looked at: one is enough to know.
    returned: bool,
    lost: bool,
}

impl Decoder {
    /// A decoder that learns its codec from the first byte.
    #[must_use]
    pub const fn new(bounds: Bounds) -> Self {
        Self { bounds, codec: None, buffer: Vec::new(), start: 0, searched: 0, returned: false, lost: false }
    }

    /// A decoder of that codec.
    #[must_use]
    pub const fn with_codec(bounds: Bounds, codec: Codec) -> Self {
        Self {
            bounds,
            codec: Some(codec),
            buffer: Vec::new(),
            start: 0,
            searched: 0,
            returned: false,
            lost: false,
        }
    }

    /// From now on values may be as long as this.
    pub const fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// The codec, once the first byte has come.
    #[must_use]
    pub fn codec(&self) -> Option<Codec> {
        self.codec.or_else(|| self.buffer.get(self.start).map(|&first| Codec::of_first_byte(first)))
    }

    /// Where to append what was read, after [`Self::decode`] has returned `None`; at most some 64 KiB at a time, because
    /// the bound is looked at between reads.
    pub fn space(&mut self) -> &mut Vec<u8> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        &mut self.buffer
    }

    /// Whether a value has begun and not ended: at the end of the stream, a half line or frame.
    #[must_use]
    pub fn is_mid_value(&self) -> bool {
        !self.lost && self.start < self.buffer.len()
    }

    /// The stream has ended: a last line without its end is one all the same. Whether there is one.
    pub fn finish(&mut self) -> bool {
        let last = self.is_mid_value() && self.codec() == Some(Codec::Json);
        if last {
            self.buffer.push(b'\n');
        }
        last
    }

    /// Gives back the memory that holds nothing, for a stream that has gone quiet, be it within a value.
    pub fn release(&mut self) {
        self.space().shrink_to_fit();
    }

    /// The next whole value; `None` when more bytes are needed, and for ever after a fatal error.
    ///
    /// # Errors
    /// Says what is wrong with the next value, which is then skipped. [`DecodeError::is_fatal`] says whether the rest
    /// of the stream can be read.
    pub fn decode<T: DeserializeOwned>(&mut self) -> Result<Option<T>, DecodeError> {
        if self.lost {
            self.buffer.clear();
        }
        let Some(&first) = self.buffer.get(self.start) else {
            return Ok(None);
        };
        let value = match *self.codec.get_or_insert(Codec::of_first_byte(first)) {
            Codec::Json => self.next_line(),
            Codec::Postcard => self.next_frame(),
        };
        if value.as_ref().is_err_and(DecodeError::is_fatal) {
            self.lost = true;
            self.buffer = Vec::new();
            self.start = 0;
        }
        value
    }

    fn next_line<T: DeserializeOwned>(&mut self) -> Result<Option<T>, DecodeError> {
        loop {
            let pending = &self.buffer[self.start..];
            let fresh = &pending[self.searched..];
            let end = fresh.iter().position(|&b| b == b'\n');
            let line = &fresh[..end.unwrap_or(fresh.len())];
            // The first search is quick, and nearly always enough.
            if !self.returned
                && line.contains(&b'\r')
                && let Some(at) = line.windows(2).position(|two| two == b"\r{")
            {
                self.returned = true;
                let first = &pending[..self.searched + at];
                // Else it is a space within a value.
                if serde_json::from_slice::<serde::de::IgnoredAny>(first).is_ok() {
                    return Err(DecodeError::BareReturn);
                }
            }
            let Some(end) = end else {
                // The last byte once more: it may be that return.
                self.searched = pending.len().saturating_sub(1);
                return if pending.len() > self.bounds.line { Err(self.long_line()) } else { Ok(None) };
            };
            let end = self.searched + end;
            let line = self.start..self.start + end;
            self.start += end + 1;
            self.searched = 0;
            self.returned = false;
            if end > self.bounds.line {
                return Err(self.long_line());
            }
            let line = self.buffer[line].trim_ascii();
            // An empty line asks nothing: people press return.
            if line.is_empty() {
                continue;
            }
            if let Some(mark) = byte_order_mark(line) {
                let why = format!("{mark}: write UTF-8 without one");
                return Err(DecodeError::Line { reference: None, field: None, why });
            }
            if line[0] != b'{' {
                let why = "it is not an object: write {\"op\": …} on one line".to_owned();
                return Err(DecodeError::Line { reference: None, field: None, why });
            }
            return serde_json::from_slice(line).map(Some).map_err(|why| unreadable::<T>(line, &why));
        }
    }

    fn long_line(&self) -> DecodeError {
        DecodeError::LongLine(self.bounds.line)
    }

    fn next_frame<T: DeserializeOwned>(&mut self) -> Result<Option<T>, DecodeError> {
        let pending = &self.buffer[self.start..];
        let Some((prefix, rest)) = pending.split_first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*prefix);
        let bound = self.bounds.frame;
        let size = usize::try_from(length).ok().filter(|&size| size <= bound);
        let Some(size) = size else {
            return Err(DecodeError::LongFrame { length, bound });
        };
        let Some(frame) = rest.get(..size) else {
            return Ok(None);
        };
        let value = match postcard::take_from_bytes(frame) {
            Ok((value, [])) => Ok(Some(value)),
            Ok((_, more)) => Err(DecodeError::Frame(format!("{} bytes follow its end", more.len()))),
            Err(why) => Err(DecodeError::Frame(why.to_string())),
        };
        self.start += PREFIX + size;
        value
    }
}
