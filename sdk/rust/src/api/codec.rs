//! The two codecs: JSON lines, and postcard behind a length.
//!
//! Owns how requests and events stand in a stream of bytes, and the bounds: nothing is buffered past them, whatever the
//! other side sends. Reads and writes no socket; [`Decoder`] is given bytes and [`encode`] fills a buffer.
//!
//! The first byte of a session decides. `{` begins a JSON line, and so does a byte order mark, to be refused as one. Anything else is
//! the first byte of a length: a frame is a big-endian `u32` and that many bytes of postcard. No frame within the bounds begins with
//! `{` (0x7b), which would be a length of 2 GiB. The gateway answers in the codec it was spoken to.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{ErrorCode, ErrorEvent, MAX_BODY};

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

// What to do about bytes that are not what they should be.
const SCHEMA: &str = "`mesh-gateway schema` prints what can be written";
const ENDS: &str = "end each line with \\n or \\r\\n";
const LESS: &str = "send less at a time";
const FRAMES: &str = "a session that does not start with '{' is a u32 length and postcard";

/// Why bytes are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A line that is not JSON, or not a value of ours. The next line may be good.
    #[error("cannot read the line: {why}; {SCHEMA}")]
    Line {
        /// The line's `ref`, if it has one.
        reference: Option<u64>,
        /// The field that is wrong, if it is one.
        field: Option<String>,
        /// What is wrong with it.
        why: String,
    },
    /// Lines that end with a carriage return alone. The stream is lost.
    #[error("cannot read the line: it ends with \\r alone; {ENDS}")]
    BareReturn,
    /// A line over the bound. The stream is lost.
    #[error("cannot read the line: it is longer than {0} bytes; {LESS}")]
    LongLine(usize),
    /// A frame that is not a value of ours. The stream is lost.
    #[error("cannot read the frame: {0}; {FRAMES}")]
    Frame(String),
    /// A frame over the bound. The stream is lost.
    #[error("cannot read the frame: its length says {length} bytes and {bound} is the most; {FRAMES}")]
    LongFrame {
        /// What its length says, in bytes.
        length: u32,
        /// What is allowed, in bytes.
        bound: usize,
    },
}

impl DecodeError {
    /// Whether nothing more can be read from this stream.
    #[must_use]
    pub const fn is_fatal(&self) -> bool {
        !matches!(self, Self::Line { .. })
    }

    const fn hint(&self) -> &'static str {
        match self {
            Self::Line { .. } => SCHEMA,
            Self::BareReturn => ENDS,
            Self::LongLine(_) => LESS,
            Self::Frame(_) | Self::LongFrame { .. } => FRAMES,
        }
    }
}

/// What the gateway answers to it.
impl From<&DecodeError> for ErrorEvent {
    fn from(error: &DecodeError) -> Self {
        let code = match error {
            DecodeError::Line { .. } | DecodeError::BareReturn | DecodeError::Frame(_) => {
                ErrorCode::BadRequest
            }
            DecodeError::LongLine(_) | DecodeError::LongFrame { .. } => ErrorCode::TooLarge,
        };
        let (reference, field) = match error {
            DecodeError::Line { reference, field, .. } => (*reference, field.clone()),
            _ => (None, None),
        };
        let (text, hint) = (error.to_string(), error.hint());
        let message = text.strip_suffix(hint).and_then(|text| text.strip_suffix("; ")).unwrap_or(&text);
        let fatal = error.is_fatal();
        Self { reference, code, message: message.to_owned(), fatal, hint: Some(hint.to_owned()), field }
    }
}

/// Cuts a stream of bytes into values. Holds what has come of the next value and never more than its bound and one
/// read.
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
    /// Whether a carriage return within this line has been looked at: one is enough to tell.
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

/// The most of serde_json's words that is repeated, in characters: they may quote a key of any length. A guess.
const MAX_WHY: usize = 200;

/// What serde_json says, without the line number: a line is a whole document, so it would always be 1.
fn unreadable<T: DeserializeOwned>(line: &[u8], why: &serde_json::Error) -> DecodeError {
    #[derive(serde::Deserialize)]
    struct Numbered {
        #[serde(rename = "ref")]
        reference: Option<u64>,
    }
    let numbered: Option<Numbered> = serde_json::from_slice(line).ok();
    let text = why.to_string();
    let what = text.rsplit_once(" at line ").map_or(&*text, |(what, _)| what);
    let mut why_short: String = what.chars().take(MAX_WHY).collect();
    if why_short.len() < what.len() {
        why_short.push('…');
    }
    let field = wrong_field::<T>(line, what);
    if let Some(field) = field.as_ref().filter(|field| !what.contains(&format!("`{field}`"))) {
        why_short = format!("`{field}`: {why_short}");
    }
    if why.column() > 0 {
        why_short = format!("{why_short}, at column {}", why.column());
    }
    DecodeError::Line { reference: numbered.and_then(|n| n.reference), field, why: why_short }
}

/// The field of the line that it cannot be read for: the one that is missing, or the one without which something else is wrong
/// or nothing. The reader itself has no place to tell, as it looks for `op` first.
fn wrong_field<T: DeserializeOwned>(line: &[u8], what: &str) -> Option<String> {
    /// More fields than any request has, and few enough to read a line so often.
    const FIELDS: usize = 16;
    /// Longer than any of our names.
    const LENGTH: usize = 64;
    if let Some(missing) = what.strip_prefix("missing field `") {
        let (field, more) = missing.split_once('`')?;
        // Of two that would do, it is neither.
        return more.is_empty().then(|| field.to_owned());
    }
    let object: serde_json::Map<String, Value> = serde_json::from_slice(line).ok()?;
    if object.len() > FIELDS {
        return None;
    }
    let wrong =
        |object| T::deserialize(Value::Object(object)).err().map(|why: serde_json::Error| why.to_string());
    // What is wrong with the text alone, such as a field that is there twice, is gone by now.
    let whole = wrong(object.clone())?;
    // Without its tag it is always wrong, in another way: that one comes last.
    let tags = ["op", "ev"];
    let fields = object.keys().filter(|field| !tags.contains(&field.as_str()));
    let found = fields.chain(object.keys().filter(|field| tags.contains(&field.as_str()))).find(|field| {
        let mut without = object.clone();
        without.remove(*field);
        wrong(without).as_ref() != Some(&whole)
    })?;
    Some(found.chars().take(LENGTH).collect())
}

/// A value that could not be written. With the types of this crate it does not happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot write the value: {0}; this is a mistake in the program, please report it")]
pub struct EncodeError(String);

/// Appends one value to `buffer`, as a line or as a frame.
///
/// # Errors
/// If the value cannot be written; `buffer` is then as it was.
pub fn encode<T: Serialize>(value: &T, codec: Codec, buffer: &mut Vec<u8>) -> Result<(), EncodeError> {
    let start = buffer.len();
    let written = match codec {
        Codec::Json => encode_line(value, buffer),
        Codec::Postcard => encode_frame(value, buffer),
    };
    if written.is_err() {
        buffer.truncate(start);
    }
    written
}

fn encode_line<T: Serialize>(value: &T, buffer: &mut Vec<u8>) -> Result<(), EncodeError> {
    serde_json::to_writer(&mut *buffer, value).map_err(|why| EncodeError(why.to_string()))?;
    buffer.push(b'\n');
    Ok(())
}

fn encode_frame<T: Serialize>(value: &T, buffer: &mut Vec<u8>) -> Result<(), EncodeError> {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; PREFIX]);
    postcard::serialize_with_flavor(value, Appended(buffer)).map_err(|why| EncodeError(why.to_string()))?;
    let length = buffer.len() - start - PREFIX;
    let length = u32::try_from(length).map_err(|_| EncodeError(format!("it has {length} bytes")))?;
    buffer[start..start + PREFIX].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// Lets postcard append to a buffer that is used again.
struct Appended<'a>(&'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Appended<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}
