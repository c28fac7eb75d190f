//! The body of a message: bytes that are shared, not copied, between sessions.
//!
//! Owns the two forms of a body, `text` and `data` (base64 in JSON, raw bytes in postcard). Its size is checked
//! by the session ([`super::MAX_BODY`]).

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The body of a message: text (UTF-8) or bytes. Cloning it copies no bytes.
///
/// ```
/// use mesh_agent::api::Body;
///
/// assert_eq!(Body::from("on").as_text(), Some("on"));
/// assert_eq!(Body::from(vec![1, 2]).as_text(), None, "bytes are no text");
/// ```
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Body {
    bytes: Bytes,
    text: bool,
}

impl Body {
    /// A body of text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self { bytes: Bytes::from(text.into()), text: true }
    }

    /// A body of bytes.
    #[must_use]
    pub fn data(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into(), text: false }
    }

    /// The body from how a store or the air keeps it. What claims to be text and is not UTF-8 is taken as data.
    #[must_use]
    pub fn from_parts(bytes: Bytes, text: bool) -> Self {
        let text = text && std::str::from_utf8(&bytes).is_ok();
        Self { bytes, text }
    }

    /// The bytes of the body, in whichever form it is written.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Whether the body is text.
    #[must_use]
    pub fn is_text(&self) -> bool {
        self.text
    }

    /// The text, if the body is text.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        if self.text { std::str::from_utf8(&self.bytes).ok() } else { None }
    }

    /// The length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The field that JSON has it in.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        if self.text { "text" } else { "data" }
    }

    /// The body as JSON's two fields have it.
    pub(super) fn to_fields(&self) -> (Option<Cow<'_, str>>, Option<Base64>) {
        match self.as_text() {
            Some(text) => (Some(Cow::Borrowed(text)), None),
            None => (None, Some(Base64(self.bytes.clone()))),
        }
    }

    /// The body that JSON's two fields give.
    pub(super) fn from_fields(
        text: Option<Cow<'_, str>>,
        data: Option<Base64>,
    ) -> Result<Self, &'static str> {
        match (text, data) {
            (Some(text), None) => Ok(Self::text(text.into_owned())),
            (None, Some(data)) => Ok(Self::data(data.0)),
            (None, None) => Err("missing field `text` or `data`: a message has one of them"),
            (Some(_), Some(_)) => Err("both `text` and `data`: a message has one of them"),
        }
    }
}

impl From<&str> for Body {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::data(bytes)
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::data(bytes)
    }
}

impl fmt::Debug for Body {
    /// Says what it is and how long, not what is in it: bodies do not belong in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} bytes", if self.text { "text" } else { "data" }, self.bytes.len())
    }
}

/// The binary form: whether it is text, then the bytes. JSON does not see it (its messages have two fields instead).
impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.text, Raw(&self.bytes)).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (text, Owned(bytes)) = Deserialize::deserialize(deserializer)?;
        if text && std::str::from_utf8(&bytes).is_err() {
            return Err(de::Error::custom("the text is not UTF-8: send it as data"));
        }
        Ok(Self { bytes, text })
    }
}

struct Raw<'a>(&'a [u8]);

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

struct Owned(Bytes);

impl<'de> Deserialize<'de> for Owned {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(BytesVisitor).map(Self)
    }
}

struct BytesVisitor;

impl de::Visitor<'_> for BytesVisitor {
    type Value = Bytes;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }
    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
        Ok(Bytes::copy_from_slice(bytes))
    }
}

/// Bytes as JSON writes them: base64, the standard alphabet with padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Base64(Bytes);

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Base64Display::new(&self.0, &STANDARD))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Base64Visitor)
    }
}

struct Base64Visitor;

impl de::Visitor<'_> for Base64Visitor {
    type Value = Base64;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes in base64")
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Base64, E> {
        match STANDARD.decode(text) {
            Ok(bytes) => Ok(Base64(bytes.into())),
            Err(why) => Err(E::custom(format_args!("`data` is not base64 with padding: {why}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_claims_to_be_text_and_is_not_is_kept_as_data() {
        let body = Body::from_parts(Bytes::from_static(&[0xFF, 0xFE]), true);
        assert_eq!(body, Body::data(&[0xFF, 0xFE][..]));
        assert_eq!(Body::from_parts(Bytes::from_static(b"hi"), true).as_text(), Some("hi"));
    }

    #[test]
    fn binary_text_that_is_no_text_is_refused() {
        assert!(postcard::from_bytes::<Body>(&[1, 2, 0xFF, 0xFE]).is_err());
        assert_eq!(postcard::from_bytes(&[0, 2, 0xFF, 0xFE]), Ok(Body::data(&[0xFF, 0xFE][..])));
    }

    #[test]
    fn a_body_never_shows_itself_in_a_log() {
        assert_eq!(format!("{:?}", Body::text("secret")), "text of 6 bytes");
    }
}
