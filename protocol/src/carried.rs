//! Messages that one gateway keeps for another: what the two say to each other of them, and what a destination gets.
//!
//! Owns these bytes. Each is the whole of a message from node to node, in the place of an [envelope](crate::Envelope), whose reserved bit it
//! has in its first byte. Like envelopes, the core carries them and never reads them.

use crate::control::Verdict;
use crate::envelope::{ENVELOPE_HEAD_MAX, RESERVED, put_number, take_number};
use crate::{Address, Envelope, EnvelopeError, MessageId, MessageRef};

const KEEP: u8 = RESERVED;
const ON_BEHALF: u8 = RESERVED | 1;
const SETTLED: u8 = RESERVED | 2;
/// The longest of what stands before a body: of a message to be kept, its receiver, its seconds and its envelope's head.
pub const CARRIED_HEAD_MAX: usize = 1 + 3 + 5 + ENVELOPE_HEAD_MAX;

/// What one gateway says to another of a message that it keeps for it, or to its destination.
///
/// ```
/// use mesh_protocol::{Address, CARRIED_HEAD_MAX, Carried, Envelope, MessageId, MessageType, Verdict};
///
/// let envelope = Envelope {
///     kind: MessageType::Task,
///     from: "alice",
///     to: "bob",
///     processed: false,
///     reply_to: None,
///     text: true,
///     body: b"water the roses",
/// };
/// let keep = Carried::Keep { to: Address::new(7), seconds: 3_600, envelope };
/// let mut head = [0; CARRIED_HEAD_MAX];
/// let len = keep.write_head(&mut head)?;
/// let bytes = [&head[..len], envelope.body].concat();
/// assert_eq!(Carried::parse(&bytes), Some(Ok(keep)));
/// // An envelope is none of these.
/// assert_eq!(Carried::parse(&[0, 1]), None);
/// # Ok::<(), mesh_protocol::EnvelopeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried<'a> {
    /// Keep this message of mine, of the number under which you get it, until its receiver can be reached.
    Keep {
        /// Its receiver.
        to: Address,
        /// How long at most.
        seconds: u32,
        /// The message.
        envelope: Envelope<'a>,
    },
    /// This message was kept for you.
    OnBehalf {
        /// Whose it is, and its number there.
        of: MessageRef,
        /// The message.
        envelope: Envelope<'a>,
    },
    /// This became of a message that I have kept for you.
    Settled {
        /// Its number with you.
        id: MessageId,
        /// Over how many hops it went from here.
        hops: u8,
        /// What its receiver said.
        verdict: Verdict,
    },
}

impl<'a> Carried<'a> {
    /// Writes everything before the body into `out`; returns its length. The body's bytes follow as they are.
    ///
    /// # Errors
    /// [`EnvelopeError`] for names or a body that are too long.
    pub fn write_head(&self, out: &mut [u8; CARRIED_HEAD_MAX]) -> Result<usize, EnvelopeError> {
        let (form, first, second) = match *self {
            Self::Keep { to, seconds, .. } => (KEEP, to.bits().into(), seconds),
            Self::OnBehalf { of, .. } => (ON_BEHALF, of.node.bits().into(), of.id.0),
            Self::Settled { id, hops, .. } => (SETTLED, hops.into(), id.0),
        };
        out[0] = form;
        let mut len = 1;
        len += put_number(first, &mut out[len..])?;
        len += put_number(second, &mut out[len..])?;
        match self {
            Self::Keep { envelope, .. } | Self::OnBehalf { envelope, .. } => {
                let mut head = [0; ENVELOPE_HEAD_MAX];
                let head_len = envelope.write_head(&mut head)?;
                out[len..len + head_len].copy_from_slice(&head[..head_len]);
                Ok(len + head_len)
            }
            Self::Settled { verdict, .. } => {
                out[len..len + 2].copy_from_slice(&verdict.codes());
                Ok(len + 2)
            }
        }
    }

    /// Reads a whole message; `None` if it is an envelope, or nothing at all.
    ///
    /// # Errors
    /// [`EnvelopeError`] for bytes that are no message, a receiver or an origin that is not one node, and as of an envelope.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Result<Self, EnvelopeError>> {
        let (&form, rest) = bytes.split_first()?;
        matches!(form, KEEP | ON_BEHALF | SETTLED).then(|| Self::take(form, rest))
    }

    fn take(form: u8, mut rest: &'a [u8]) -> Result<Self, EnvelopeError> {
        let first = take_number(&mut rest, u16::BITS)? as u16;
        let second = take_number(&mut rest, u32::BITS)?;
        if form == SETTLED {
            let &[a, b] = rest else { return Err(EnvelopeError::Malformed) };
            let verdict = Verdict::from_codes([a, b]).ok_or(EnvelopeError::Malformed)?;
            let hops = u8::try_from(first).map_err(|_| EnvelopeError::Malformed)?;
            return Ok(Self::Settled { id: MessageId(second), hops, verdict });
        }
        let node = Address::new(first);
        if !node.is_node() {
            return Err(EnvelopeError::Malformed);
        }
        let envelope = Envelope::parse_whole(rest)?;
        Ok(match form {
            KEEP => Self::Keep { to: node, seconds: second, envelope },
            _ => Self::OnBehalf { of: MessageRef { node, id: MessageId(second) }, envelope },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MessageType, NAME_MAX, Reason};

    const NAME: [u8; NAME_MAX] = [b'n'; NAME_MAX];

    fn envelope() -> Envelope<'static> {
        let name = core::str::from_utf8(&NAME).unwrap();
        let reply_to = Some(MessageRef { node: Address::new(0x7fff), id: MessageId(u32::MAX) });
        Envelope {
            kind: MessageType::Query,
            from: name,
            to: name,
            processed: true,
            reply_to,
            text: false,
            body: b"body",
        }
    }

    #[test]
    fn each_returns_as_it_was_however_long_its_fields() {
        let node = Address::new(0x7fff);
        let rejected = Verdict::Rejected(Reason::Forgotten);
        for carried in [
            Carried::Keep { to: node, seconds: u32::MAX, envelope: envelope() },
            Carried::OnBehalf { of: MessageRef { node, id: MessageId(u32::MAX) }, envelope: envelope() },
            Carried::Settled { id: MessageId(u32::MAX), hops: 30, verdict: Verdict::Delivered },
            Carried::Settled { id: MessageId(0), hops: 0, verdict: rejected },
        ] {
            let mut out = [0; CARRIED_HEAD_MAX + 4];
            let mut head = [0; CARRIED_HEAD_MAX];
            let len = carried.write_head(&mut head).unwrap();
            let body: &[u8] = if matches!(carried, Carried::Settled { .. }) { b"" } else { b"body" };
            out[..len].copy_from_slice(&head[..len]);
            out[len..len + body.len()].copy_from_slice(body);
            assert_eq!(Carried::parse(&out[..len + body.len()]), Some(Ok(carried)));
            // Cut anywhere before its body, it is none.
            for cut in 1..len {
                assert!(matches!(Carried::parse(&out[..cut]), Some(Err(_))), "{carried:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn what_is_none_of_them_is_refused_or_left_to_envelopes() {
        for other in [&[][..], &[0], &[RESERVED | 3], &[RESERVED | 5, 0], &[0x18]] {
            assert_eq!(Carried::parse(other), None, "{other:?}");
        }
        let malformed = Some(Err(EnvelopeError::Malformed));
        for bytes in [
            &[KEEP][..],
            &[KEEP, 0, 9, 0],
            &[KEEP, 0x81, 0x80, 0x02, 9, 0],
            &[ON_BEHALF, 5, 9, KEEP, 5, 9, 0],
            &[SETTLED, 1, 9, 9, 9],
            &[SETTLED, 0x80, 0x02, 9, 1, 0],
            &[SETTLED, 1, 9, 1, 0, 0],
        ] {
            assert_eq!(Carried::parse(bytes), malformed, "{bytes:?}");
        }
    }
}
