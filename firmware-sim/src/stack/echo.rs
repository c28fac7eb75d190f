//! The application of the stacks that ours is compared with: plain messages, requests, and answers to requests.
//!
//! Owns the one byte that each payload begins with, and the table of requests that wait for an answer. Who carries the
//! payload is the stacks' business.
//!
//! A small body has no room for the number of the request that it answers. So the first byte of a request has a tag of
//! four bits, and its answer has the same one: as models of the Bluetooth SIG do with their transaction identifier,
//! only that it costs no byte.

use std::collections::BTreeMap;

use mesh_protocol::Instant;

/// Requests to one peer that may wait at a time: as many as four bits tell apart.
const TAGS: usize = 16;
/// Opcodes of one byte end before this; Mesh Profile 1.0.1, 3.7.3.1. Which ones are used is a guess.
const PLAIN: u8 = 0x01;
/// Requests: the low four bits are the tag.
const REQUEST: u8 = 0x20;
/// Answers: likewise.
const ANSWER: u8 = 0x40;

/// The first byte of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    /// Nobody answers this.
    Plain,
    /// The receiver answers with the same body and tag.
    Request(u8),
    /// The answer to the request with this tag.
    Answer(u8),
}

impl Opcode {
    /// As a byte.
    pub(super) const fn byte(self) -> u8 {
        match self {
            Self::Plain => PLAIN,
            Self::Request(tag) => REQUEST | tag & 0x0f,
            Self::Answer(tag) => ANSWER | tag & 0x0f,
        }
    }

    /// Takes the first byte off a payload; `None` when it is none of ours.
    pub(super) fn split(payload: &[u8]) -> Option<(Self, &[u8])> {
        let (&first, body) = payload.split_first()?;
        let opcode = match first & 0xf0 {
            0x00 if first == PLAIN => Self::Plain,
            REQUEST => Self::Request(first & 0x0f),
            ANSWER => Self::Answer(first & 0x0f),
            _ => return None,
        };
        Some((opcode, body))
    }

    /// A payload: this byte and a body.
    pub(super) fn payload(self, body: &[u8]) -> Vec<u8> {
        let mut payload = Vec::with_capacity(1 + body.len());
        payload.push(self.byte());
        payload.extend_from_slice(body);
        payload
    }
}

/// A request that waits for its answer.
#[derive(Clone, Copy, Debug)]
struct Open {
    id: u32,
    until: Instant,
}

/// Requests that wait for an answer: at most 16 for each peer. A peer's slots stay once it has been asked anything, so
/// the table is as large as the network at most.
#[derive(Clone, Debug, Default)]
pub(super) struct Echoes {
    peers: BTreeMap<u16, [Option<Open>; TAGS]>,
    next: u8,
}

impl Echoes {
    /// A tag for one more request to `peer`: a free one, else that of the request longest out of its time. `None` when
    /// all wait and are in time.
    pub(super) fn tag(&self, now: Instant, peer: u16) -> Option<u8> {
        let Some(slots) = self.peers.get(&peer) else { return Some(self.next & 0x0f) };
        // The next one after the last used first: an answer that comes late should find its tag unused.
        let around = (0..TAGS).map(|step| (usize::from(self.next) + step) % TAGS);
        around.min_by_key(|&tag| slots[tag].map(|open| open.until)).and_then(|tag| match slots[tag] {
            Some(open) if open.until > now => None,
            _ => u8::try_from(tag).ok(),
        })
    }

    /// A request went to `peer`, and its answer is wanted `until` then.
    pub(super) fn open(&mut self, peer: u16, tag: u8, id: u32, until: Instant) {
        let slots = self.peers.entry(peer).or_default();
        slots[usize::from(tag & 0x0f)] = Some(Open { id, until });
        self.next = (tag + 1) & 0x0f;
    }

    /// The number of the request that this answers, once.
    pub(super) fn answered(&mut self, peer: u16, tag: u8) -> Option<u32> {
        let slot = self.peers.get_mut(&peer)?.get_mut(usize::from(tag))?;
        slot.take().map(|open| open.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_opcode_comes_back_and_no_other_byte_is_one() {
        let tags = (0..16).flat_map(|tag| [Opcode::Request(tag), Opcode::Answer(tag)]);
        let known: Vec<_> = tags.chain([Opcode::Plain]).collect();
        for &opcode in &known {
            assert_eq!(Opcode::split(&opcode.payload(b"hi")), Some((opcode, &b"hi"[..])));
            assert!(opcode.byte() < 0x7f, "longer opcodes begin there");
        }
        let bytes = (0..=u8::MAX).filter(|&byte| Opcode::split(&[byte]).is_some()).count();
        assert_eq!((bytes, known.len()), (33, 33));
        assert_eq!(Opcode::split(&[]), None);
    }

    #[test]
    fn an_answer_finds_its_own_request_once_though_others_wait() {
        let at = Instant::from_micros;
        let mut echoes = Echoes::default();
        for id in 0..16 {
            let tag = echoes.tag(at(0), 7).expect("a free one");
            echoes.open(7, tag, id, at(100 + u64::from(id)));
        }
        assert_eq!(echoes.tag(at(100), 7).map(usize::from), Some(0), "the first is out of time");
        assert_eq!(echoes.tag(at(99), 7), None, "all sixteen wait");
        assert!(echoes.tag(at(99), 8).is_some(), "another peer has its own");

        assert_eq!((echoes.answered(7, 9), echoes.answered(7, 9)), (Some(9), None));
        assert_eq!(echoes.answered(8, 9), None, "nobody asked that one");
        assert_eq!(echoes.tag(at(99), 7), Some(9));
    }
}
