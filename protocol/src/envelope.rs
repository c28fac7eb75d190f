//! The envelope: what an agent's message says besides its body.
//!
//! Owns the bytes inside a message. One byte says the type and which fields follow, so that a reading of a
//! sensor still fits a single frame. What two nodes say to each other again and again is said once: an envelope can give
//! a number to its type, flags and names, its *context*, and later ones name that number instead. The core carries envelopes and
//! never reads them; gateways and devices do, and who keeps contexts is for them.

use serde::{Deserialize, Serialize};

use crate::varint;
use crate::{Address, MessageId, MessageType};

/// The longest agent or group name in bytes.
pub const NAME_MAX: usize = 32;
/// The longest body in bytes.
pub const BODY_MAX: usize = 64 * 1024;
/// Contexts from one node to another: 5 bits.
pub const CONTEXTS: usize = 32;

const FORM_BITS: u8 = 0x07;
/// Forms beside the message types: a body behind a context and the number of the message it answers, an envelope that
/// defines a context, a body behind a context.
const SHORT_REPLY: u8 = 5;
const DEFINITION: u8 = 6;
const SHORT: u8 = 7;
const NAMES: u8 = 0x10;
const PROCESSED: u8 = 0x20;
const REPLY: u8 = 0x40;
const TEXT: u8 = 0x80;
/// Zero. With it, what follows is [`carried`](crate::Carried).
pub(crate) const RESERVED: u8 = 0x08;
/// Definition, type, two names and a reference, each as long as it can be.
pub const ENVELOPE_HEAD_MAX: usize = 1 + 1 + 2 * (1 + NAME_MAX) + 3 + 5;

/// A message in the whole network: the node that sent it, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageRef {
    /// Who sent it.
    pub node: Address,
    /// Its number there.
    pub id: MessageId,
}

/// The number of a context between two nodes, below [`CONTEXTS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContextId(u8);

impl ContextId {
    /// The low 5 bits of `bits`.
    #[must_use]
    pub const fn new(bits: u8) -> Self {
        Self(bits & (CONTEXTS as u8 - 1))
    }

    /// The 5 bits.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }
}

/// One message between agents.
///
/// ```
/// use mesh_protocol::{Envelope, MessageType};
///
/// let reading = Envelope {
///     kind: MessageType::Notification,
///     from: "sensor",
///     to: "alice",
///     processed: false,
///     reply_to: None,
///     text: true,
///     body: b"21.5 C",
/// };
/// let mut bytes = [0; 32];
/// let len = reading.write(&mut bytes)?;
/// assert_eq!(Envelope::parse(&bytes[..len])?, reading);
/// # Ok::<(), mesh_protocol::EnvelopeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// What it asks of the receiver.
    pub kind: MessageType,
    /// The sending agent; empty for the node itself.
    pub from: &'a str,
    /// The receiving agent or group; empty for the node's own agent.
    pub to: &'a str,
    /// Whether the sender wants to know when the agent has acknowledged it.
    pub processed: bool,
    /// The message this one answers.
    pub reply_to: Option<MessageRef>,
    /// Whether the body is UTF-8 text.
    pub text: bool,
    /// At most [`BODY_MAX`] bytes.
    pub body: &'a [u8],
}

/// A message as it crosses the mesh.
///
/// ```
/// use mesh_protocol::{ContextId, ENVELOPE_HEAD_MAX, EncodedEnvelope};
///
/// // Type and names were in an earlier message: one byte says them again.
/// let short = EncodedEnvelope::Short { context: ContextId::new(3), reply_to: None, body: b"21.6 C" };
/// let mut head = [0; ENVELOPE_HEAD_MAX];
/// assert_eq!(short.write_head(&mut head)?, 1);
/// # Ok::<(), mesh_protocol::EnvelopeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodedEnvelope<'a> {
    /// All is said.
    Whole {
        /// Type, flags and names are this context of the sender's from now on.
        defines: Option<ContextId>,
        /// The message.
        envelope: Envelope<'a>,
    },
    /// Type, flags and names were said before.
    Short {
        /// In the message that defined this.
        context: ContextId,
        /// The receiving node's message that this one answers.
        reply_to: Option<MessageId>,
        /// At most [`BODY_MAX`] bytes; whether it is text, the context knows.
        body: &'a [u8],
    },
}

/// Why an envelope could not be written or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvelopeError {
    /// A name is longer than [`NAME_MAX`] bytes.
    NameTooLong,
    /// The body is longer than [`BODY_MAX`] bytes.
    BodyTooLong,
    /// The bytes are not an envelope.
    Malformed,
    /// It names a context that is not known.
    UnknownContext,
    /// The buffer is too small.
    NoRoom,
}

impl core::fmt::Display for EnvelopeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::NameTooLong => "a name is longer than 32 bytes",
            Self::BodyTooLong => "the body is longer than 65536 bytes",
            Self::Malformed => "the bytes are not an envelope",
            Self::UnknownContext => "the names were said in a message that is not known here",
            Self::NoRoom => "the envelope does not fit the buffer",
        })
    }
}

impl core::error::Error for EnvelopeError {}

impl<'a> EncodedEnvelope<'a> {
    /// Writes everything before the body into `out`; returns its length. The body's bytes follow as they are.
    ///
    /// # Errors
    /// [`EnvelopeError`] for names or a body that are too long.
    pub fn write_head(&self, out: &mut [u8; ENVELOPE_HEAD_MAX]) -> Result<usize, EnvelopeError> {
        if self.body().len() > BODY_MAX {
            return Err(EnvelopeError::BodyTooLong);
        }
        match self {
            Self::Whole { defines: None, envelope } => envelope.put_head(out),
            Self::Whole { defines: Some(context), envelope } => {
                out[0] = DEFINITION | context.0 << 3;
                Ok(1 + envelope.put_head(&mut out[1..])?)
            }
            Self::Short { context, reply_to: None, .. } => {
                out[0] = SHORT | context.0 << 3;
                Ok(1)
            }
            Self::Short { context, reply_to: Some(id), .. } => {
                out[0] = SHORT_REPLY | context.0 << 3;
                Ok(1 + put_number(id.0, &mut out[1..])?)
            }
        }
    }

    /// Reads a whole message.
    ///
    /// # Errors
    /// [`EnvelopeError`] for bytes that are no message, names or bodies that are too long, text that is not UTF-8.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, EnvelopeError> {
        let (&first, mut rest) = bytes.split_first().ok_or(EnvelopeError::Malformed)?;
        let context = ContextId(first >> 3);
        let encoded = match first & FORM_BITS {
            DEFINITION => Self::Whole { defines: Some(context), envelope: Envelope::take(rest)? },
            SHORT => Self::Short { context, reply_to: None, body: rest },
            SHORT_REPLY => Self::Short {
                context,
                reply_to: Some(MessageId(take_number(&mut rest, u32::BITS)?)),
                body: rest,
            },
            _ => Self::Whole { defines: None, envelope: Envelope::take(bytes)? },
        };
        if encoded.body().len() > BODY_MAX {
            return Err(EnvelopeError::BodyTooLong);
        }
        Ok(encoded)
    }

    const fn body(&self) -> &'a [u8] {
        match self {
            Self::Whole { envelope, .. } => envelope.body,
            Self::Short { body, .. } => body,
        }
    }
}

impl<'a> Envelope<'a> {
    /// Writes everything before the body into `out`; returns its length. The body's bytes follow as they are.
    ///
    /// # Errors
    /// [`EnvelopeError`] for names or a body that are too long.
    pub fn write_head(&self, out: &mut [u8; ENVELOPE_HEAD_MAX]) -> Result<usize, EnvelopeError> {
        EncodedEnvelope::Whole { defines: None, envelope: *self }.write_head(out)
    }

    fn put_head(&self, out: &mut [u8]) -> Result<usize, EnvelopeError> {
        if self.from.len() > NAME_MAX || self.to.len() > NAME_MAX {
            return Err(EnvelopeError::NameTooLong);
        }
        let names = !self.from.is_empty() || !self.to.is_empty();
        let flag = |set, bit| if set { bit } else { 0 };
        out[0] = self.kind.bits()
            | flag(names, NAMES)
            | flag(self.processed, PROCESSED)
            | flag(self.reply_to.is_some(), REPLY)
            | flag(self.text, TEXT);
        let mut len = 1;
        if names {
            for name in [self.from, self.to] {
                len += put_name(name, &mut out[len..])?;
            }
        }
        if let Some(reply_to) = self.reply_to {
            len += put_number(reply_to.node.bits().into(), &mut out[len..])?;
            len += put_number(reply_to.id.0, &mut out[len..])?;
        }
        Ok(len)
    }

    /// Writes the whole envelope into `out`; returns its length.
    ///
    /// # Errors
    /// [`EnvelopeError`] for names or a body that are too long, or when `out` is too short.
    pub fn write(&self, out: &mut [u8]) -> Result<usize, EnvelopeError> {
        let mut head = [0; ENVELOPE_HEAD_MAX];
        let len = self.write_head(&mut head)?;
        let end = len + self.body.len();
        let out = out.get_mut(..end).ok_or(EnvelopeError::NoRoom)?;
        out[..len].copy_from_slice(&head[..len]);
        out[len..].copy_from_slice(self.body);
        Ok(end)
    }

    /// Reads a whole message, for who keeps no contexts.
    ///
    /// # Errors
    /// As [`EncodedEnvelope::parse`], and [`EnvelopeError::UnknownContext`] for a message that names one.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, EnvelopeError> {
        match EncodedEnvelope::parse(bytes)? {
            EncodedEnvelope::Whole { envelope, .. } => Ok(envelope),
            EncodedEnvelope::Short { .. } => Err(EnvelopeError::UnknownContext),
        }
    }

    /// Reads a message that says all: it neither defines nor names a context.
    pub(crate) fn parse_whole(bytes: &'a [u8]) -> Result<Self, EnvelopeError> {
        let envelope = Self::take(bytes)?;
        if envelope.body.len() > BODY_MAX {
            return Err(EnvelopeError::BodyTooLong);
        }
        Ok(envelope)
    }

    fn take(bytes: &'a [u8]) -> Result<Self, EnvelopeError> {
        let (&flags, mut rest) = bytes.split_first().ok_or(EnvelopeError::Malformed)?;
        let kind = MessageType::from_bits(flags & FORM_BITS).ok_or(EnvelopeError::Malformed)?;
        if flags & RESERVED != 0 {
            return Err(EnvelopeError::Malformed);
        }
        let (from, to) =
            if flags & NAMES != 0 { (take_name(&mut rest)?, take_name(&mut rest)?) } else { ("", "") };
        let reply_to = if flags & REPLY != 0 {
            let node = Address::new(take_number(&mut rest, u16::BITS)? as u16);
            Some(MessageRef { node, id: MessageId(take_number(&mut rest, u32::BITS)?) })
        } else {
            None
        };
        if from.len() > NAME_MAX || to.len() > NAME_MAX {
            return Err(EnvelopeError::NameTooLong);
        }
        let text = flags & TEXT != 0;
        if text && core::str::from_utf8(rest).is_err() {
            return Err(EnvelopeError::Malformed);
        }
        Ok(Self { kind, from, to, processed: flags & PROCESSED != 0, reply_to, text, body: rest })
    }
}

pub(crate) fn put_number(value: u32, out: &mut [u8]) -> Result<usize, EnvelopeError> {
    varint::put(value, out).ok_or(EnvelopeError::NoRoom)
}

pub(crate) fn take_number(bytes: &mut &[u8], bits: u32) -> Result<u32, EnvelopeError> {
    varint::take(bytes, bits).ok_or(EnvelopeError::Malformed)
}

/// Writes a name behind its length.
fn put_name(name: &str, out: &mut [u8]) -> Result<usize, EnvelopeError> {
    let len = put_number(name.len() as u32, out)?;
    let room = out.get_mut(len..len + name.len()).ok_or(EnvelopeError::NoRoom)?;
    room.copy_from_slice(name.as_bytes());
    Ok(len + name.len())
}

fn take_name<'a>(bytes: &mut &'a [u8]) -> Result<&'a str, EnvelopeError> {
    let len = take_number(bytes, u32::BITS)? as usize;
    let (name, rest) = bytes.split_at_checked(len).ok_or(EnvelopeError::Malformed)?;
    *bytes = rest;
    core::str::from_utf8(name).map_err(|_| EnvelopeError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sensor_reading_fits_a_single_frame() {
        let envelope = Envelope {
            kind: MessageType::Notification,
            from: "",
            to: "",
            processed: false,
            reply_to: None,
            text: true,
            body: b"21.5 C",
        };
        let mut out = [0; 16];
        assert_eq!(envelope.write(&mut out), Ok(7));
        assert_eq!(Envelope::parse(&out[..7]), Ok(envelope));
    }

    #[test]
    fn every_field_returns_as_it_was() {
        let name = "n".repeat_into_32();
        for kind in MessageType::ALL {
            let envelope = Envelope {
                kind,
                from: core::str::from_utf8(&name).unwrap(),
                to: "bob",
                processed: true,
                reply_to: Some(MessageRef { node: Address::new(0x7fff), id: MessageId(u32::MAX) }),
                text: false,
                body: &[0xff; 100],
            };
            let mut out = [0; ENVELOPE_HEAD_MAX + 100];
            let len = envelope.write(&mut out).unwrap();
            assert_eq!(Envelope::parse(&out[..len]), Ok(envelope));
        }
    }

    #[test]
    fn what_is_no_envelope_is_refused() {
        assert_eq!(Envelope::parse(&[]), Err(EnvelopeError::Malformed));
        assert_eq!(Envelope::parse(&[RESERVED]), Err(EnvelopeError::Malformed));
        assert_eq!(Envelope::parse(&[SHORT_REPLY]), Err(EnvelopeError::Malformed), "answers what?");
        for inner in [SHORT_REPLY, DEFINITION, SHORT] {
            assert_eq!(Envelope::parse(&[DEFINITION, inner, 1]), Err(EnvelopeError::Malformed), "{inner}");
        }
        assert_eq!(Envelope::parse(&[NAMES, 2, b'a']), Err(EnvelopeError::Malformed));
        assert_eq!(Envelope::parse(&[TEXT, 0xff]), Err(EnvelopeError::Malformed), "not UTF-8");
        let mut long = [b'a'; 40];
        long[0] = NAMES;
        long[1] = 33;
        long[35] = 0;
        assert_eq!(Envelope::parse(&long), Err(EnvelopeError::NameTooLong));
    }

    #[test]
    fn what_was_said_before_takes_one_byte() {
        let envelope = Envelope {
            kind: MessageType::Task,
            from: "agent_001",
            to: "worker_001",
            processed: false,
            reply_to: None,
            text: false,
            body: &[7; 8],
        };
        for bits in 0..CONTEXTS as u8 {
            let context = ContextId::new(bits);
            let encodings = [
                EncodedEnvelope::Whole { defines: Some(context), envelope },
                EncodedEnvelope::Short { context, reply_to: None, body: envelope.body },
                EncodedEnvelope::Short { context, reply_to: Some(MessageId(127)), body: envelope.body },
            ];
            for (encoded, len) in encodings.into_iter().zip([23, 1, 2]) {
                let mut head = [0; ENVELOPE_HEAD_MAX];
                assert_eq!(encoded.write_head(&mut head), Ok(len));
                let bytes = [&head[..len], envelope.body].concat();
                assert_eq!(EncodedEnvelope::parse(&bytes), Ok(encoded));
                let plain = match encoded {
                    EncodedEnvelope::Whole { .. } => Ok(envelope),
                    EncodedEnvelope::Short { .. } => Err(EnvelopeError::UnknownContext),
                };
                assert_eq!(Envelope::parse(&bytes), plain, "who keeps no contexts reads definitions");
            }
        }
    }

    trait Repeat {
        fn repeat_into_32(&self) -> [u8; NAME_MAX];
    }
    impl Repeat for &str {
        fn repeat_into_32(&self) -> [u8; NAME_MAX] {
            [self.as_bytes()[0]; NAME_MAX]
        }
    }
}
