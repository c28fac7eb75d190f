//! The envelope: what an agent's message says besides its body.
//!
//! Owns the bytes inside a message. One byte says the type and which fields follow, so that a reading of a
//! sensor still fits a single frame. The core carries envelopes and never reads them; gateways and devices do.

use serde::{Deserialize, Serialize};

use crate::{Address, MessageId, MessageType};

/// The longest agent or group name in bytes.
pub const NAME_MAX: usize = 32;
/// The longest body in bytes.
pub const BODY_MAX: usize = 64 * 1024;

const TYPE_BITS: u8 = 0x07;
const DEADLINE: u8 = 0x08;
const NAMES: u8 = 0x10;
const PROCESSED: u8 = 0x20;
const REPLY: u8 = 0x40;
const TEXT: u8 = 0x80;
/// Type, deadline, two names and a reference, each as long as it can be.
pub const ENVELOPE_HEAD_MAX: usize = 1 + 5 + 2 * (1 + NAME_MAX) + 3 + 5;

/// A message in the whole network: the node that sent it, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageRef {
    /// Who sent it.
    pub node: Address,
    /// Its number there.
    pub id: MessageId,
}

/// One message between agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// What it asks of the receiver.
    pub kind: MessageType,
    /// Milliseconds from the first transmission after which nobody wants it any more.
    pub deadline_ms: Option<u32>,
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

/// Why an envelope could not be written or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvelopeError {
    /// A name is longer than [`NAME_MAX`] bytes.
    NameTooLong,
    /// The body is longer than [`BODY_MAX`] bytes.
    BodyTooLong,
    /// The bytes are not an envelope.
    Malformed,
    /// The buffer is too small.
    NoRoom,
}

impl core::fmt::Display for EnvelopeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::NameTooLong => "a name is longer than 32 bytes",
            Self::BodyTooLong => "the body is longer than 65536 bytes",
            Self::Malformed => "the bytes are not an envelope",
            Self::NoRoom => "the envelope does not fit the buffer",
        })
    }
}

impl core::error::Error for EnvelopeError {}

impl<'a> Envelope<'a> {
    /// Writes everything before the body into `out`; returns its length. The body's bytes follow as they are.
    ///
    /// # Errors
    /// [`EnvelopeError`] for names or a body that are too long.
    pub fn write_head(&self, out: &mut [u8; ENVELOPE_HEAD_MAX]) -> Result<usize, EnvelopeError> {
        if self.from.len() > NAME_MAX || self.to.len() > NAME_MAX {
            return Err(EnvelopeError::NameTooLong);
        }
        if self.body.len() > BODY_MAX {
            return Err(EnvelopeError::BodyTooLong);
        }
        let names = !self.from.is_empty() || !self.to.is_empty();
        let flag = |set, bit| if set { bit } else { 0 };
        out[0] = self.kind.bits()
            | flag(self.deadline_ms.is_some(), DEADLINE)
            | flag(names, NAMES)
            | flag(self.processed, PROCESSED)
            | flag(self.reply_to.is_some(), REPLY)
            | flag(self.text, TEXT);
        let mut len = 1;
        if let Some(deadline) = self.deadline_ms {
            len += put(&deadline, &mut out[len..])?;
        }
        if names {
            len += put(&(self.from, self.to), &mut out[len..])?;
        }
        if let Some(reply_to) = self.reply_to {
            len += put(&reply_to, &mut out[len..])?;
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

    /// Reads a whole message.
    ///
    /// # Errors
    /// [`EnvelopeError`] for bytes that are no envelope, names or bodies that are too long, text that is not
    /// UTF-8.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, EnvelopeError> {
        let (&flags, mut rest) = bytes.split_first().ok_or(EnvelopeError::Malformed)?;
        let deadline_ms = if flags & DEADLINE != 0 { Some(take::<u32>(&mut rest)?) } else { None };
        let (from, to) = if flags & NAMES != 0 { take::<(&str, &str)>(&mut rest)? } else { ("", "") };
        let reply_to = if flags & REPLY != 0 { Some(take::<MessageRef>(&mut rest)?) } else { None };
        if from.len() > NAME_MAX || to.len() > NAME_MAX {
            return Err(EnvelopeError::NameTooLong);
        }
        if rest.len() > BODY_MAX {
            return Err(EnvelopeError::BodyTooLong);
        }
        let text = flags & TEXT != 0;
        if text && core::str::from_utf8(rest).is_err() {
            return Err(EnvelopeError::Malformed);
        }
        let kind = MessageType::from_bits(flags & TYPE_BITS).ok_or(EnvelopeError::Malformed)?;
        Ok(Self {
            kind,
            deadline_ms,
            from,
            to,
            processed: flags & PROCESSED != 0,
            reply_to,
            text,
            body: rest,
        })
    }
}

fn put(value: &impl Serialize, out: &mut [u8]) -> Result<usize, EnvelopeError> {
    postcard::to_slice(value, out).map(|written| written.len()).map_err(|_| EnvelopeError::NoRoom)
}

fn take<'a, T: Deserialize<'a>>(bytes: &mut &'a [u8]) -> Result<T, EnvelopeError> {
    let (value, rest) = postcard::take_from_bytes(bytes).map_err(|_| EnvelopeError::Malformed)?;
    *bytes = rest;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sensor_reading_fits_a_single_frame() {
        let envelope = Envelope {
            kind: MessageType::Notification,
            deadline_ms: None,
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
                deadline_ms: Some(u32::MAX),
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
        assert_eq!(Envelope::parse(&[7]), Err(EnvelopeError::Malformed), "no such type");
        assert_eq!(Envelope::parse(&[DEADLINE]), Err(EnvelopeError::Malformed));
        assert_eq!(Envelope::parse(&[NAMES, 2, b'a']), Err(EnvelopeError::Malformed));
        assert_eq!(Envelope::parse(&[TEXT, 0xff]), Err(EnvelopeError::Malformed), "not UTF-8");
        let mut long = [b'a'; 40];
        long[0] = NAMES;
        long[1] = 33;
        long[35] = 0;
        assert_eq!(Envelope::parse(&long), Err(EnvelopeError::NameTooLong));
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
