//! Why bytes are not what they should be, and what the gateway answers to them.
//!
//! Owns the words, and finding out which field of a line is wrong.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api::{ErrorCode, ErrorEvent};

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

/// The most of serde_json's words that is repeated, in characters: they may quote a key of any length. A guess.
const MAX_WHY: usize = 200;

/// What serde_json says, without the line number: a line is a whole document, so it would always be 1.
pub(super) fn unreadable<T: DeserializeOwned>(line: &[u8], why: &serde_json::Error) -> DecodeError {
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
/// or nothing. The reader itself does not know the place, as it looks for `op` first.
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
    // Without its tag it is always wrong, but with another error: the tag is tried last.
    let tags = ["op", "ev"];
    let fields = object.keys().filter(|field| !tags.contains(&field.as_str()));
    let found = fields.chain(object.keys().filter(|field| tags.contains(&field.as_str()))).find(|field| {
        let mut without = object.clone();
        without.remove(*field);
        wrong(without).as_ref() != Some(&whole)
    })?;
    Some(found.chars().take(LENGTH).collect())
}
