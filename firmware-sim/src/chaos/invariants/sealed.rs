//! What is kept of a genuine frame, and how it is read.
//!
//! Owns the reading of frames of both formats. That one is genuine, `frames` knows.

use std::collections::BTreeMap;

use mesh_protocol::frame::{Kind, decode};
use mesh_protocol::{
    Address, BlockHead, Control, Instant, Keyring, MAX_FRAME, MessageId, Priority, Segment, continuation,
};

use super::allowed::Forged;
use super::frame_hash::{HOP, continued, continued_hop, next_bytes, plain, plain_without_next, routed};
use super::relays::Passage;

/// HOP counts modulo so many. Here it is counted down like TTL: from this, as its owner sends it, to 1, and then again.
pub(super) const ROUND: u8 = 4;

/// For whom the blocks are that come in continuation frames, and how urgent: by source and transfer.
pub(super) type Heads = BTreeMap<(Address, u16), (Address, Priority)>;

/// Which frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) src: Address,
    pub(super) epoch: u32,
    pub(super) seq: u32,
}

/// A genuine frame.
#[derive(Clone, Debug)]
pub(super) struct Sealed {
    pub(super) hash: u64,
    /// The same of its bytes with any NEXT, if it has one; and that one, as it reads and as it stands.
    pub(super) routed: Option<(u64, Address, u16)>,
    pub(super) hop: u8,
    pub(super) origin: u32,
    pub(super) at: Instant,
    pub(super) own_copies: u8,
    /// The next hops that its owner named, in order; the last one none, if it was sent to all.
    pub(super) named: Vec<Option<Address>>,
    /// Whether the node that it is for has heard it.
    pub(super) arrived: bool,
    pub(super) ttl0: u8,
    pub(super) dst: Address,
    pub(super) priority: Priority,
    /// The message in it, if it is a whole one.
    pub(super) single: Option<MessageId>,
    /// The transfer whose other segments come in continuation frames.
    pub(super) head: Option<u16>,
    /// Whether it is such a frame: then [`ROUND`] is its TTL0.
    pub(super) continued: bool,
    pub(super) content: Forged,
    pub(super) passages: BTreeMap<u32, Passage>,
    /// Whether somebody heard it with a TTL or HOP that no node had sent: an outsider may so make the hop before believe that it was
    /// passed on. It costs time, and the source sends it again.
    altered: bool,
}

/// Opens a frame: which one it is, its TTL, and the rest.
pub(super) fn open(keys: &Keyring, heads: &Heads, frame: &[u8]) -> Option<(Key, u8, Sealed)> {
    if continuation::is_continuation(frame) {
        return open_continued(keys, heads, frame);
    }
    let mut bytes = [0; MAX_FRAME];
    let bytes = bytes.get_mut(..frame.len())?;
    bytes.copy_from_slice(frame);
    let verified = decode(bytes, keys).ok()?;
    let inside = verified.frame();
    let single = (inside.kind == Kind::Single).then(|| BlockHead::of_single(inside.body).ok()).flatten();
    let single = single.map(|(head, _)| head.message);
    let content = match (inside.kind, single, Control::parse(inside.body)) {
        (Kind::Control, _, Ok(Control::Receipt { message, .. })) => Forged::Receipt((inside.dst, message)),
        (Kind::Control, _, Ok(Control::Undelivered { .. })) => Forged::Undelivered(inside.dst),
        (Kind::Segment, ..) => Forged::Segment,
        (_, Some(message), _) => Forged::Message(message),
        _ => Forged::Other,
    };
    let segment = (inside.kind == Kind::Segment).then(|| Segment::parse(inside.body).ok()).flatten();
    let key = Key { src: inside.src, epoch: verified.epoch(), seq: inside.seq };
    let sealed = Sealed {
        hash: if inside.next.is_some() { plain_without_next(frame) } else { plain(frame) },
        routed: inside.next.map(|next| (routed(frame), next, next_bytes(frame))),
        hop: frame[HOP],
        origin: 0,
        at: Instant::ZERO,
        own_copies: 1,
        named: vec![inside.next],
        arrived: false,
        ttl0: inside.ttl0,
        dst: inside.dst,
        priority: inside.priority,
        single,
        head: segment.filter(|segment| segment.continued).map(|segment| segment.transfer.bits()),
        continued: false,
        content,
        passages: BTreeMap::new(),
        altered: false,
    };
    Some((key, inside.ttl, sealed))
}

fn open_continued(keys: &Keyring, heads: &Heads, frame: &[u8]) -> Option<(Key, u8, Sealed)> {
    let mut bytes = [0; MAX_FRAME];
    let bytes = bytes.get_mut(..frame.len())?;
    bytes.copy_from_slice(frame);
    let verified = continuation::decode(bytes, keys).ok()?;
    let inside = verified.frame();
    let key = Key { src: inside.src, epoch: verified.epoch(), seq: inside.seq };
    // Whose head nobody has seen means nothing to anybody.
    let head = heads.get(&(inside.src, inside.transfer.bits())).copied();
    let (dst, priority) = head.unwrap_or((Address::EVERYONE, Priority::Low));
    let sealed = Sealed {
        hash: continued(frame),
        routed: None,
        hop: continued_hop(frame) ^ inside.hop,
        origin: 0,
        at: Instant::ZERO,
        own_copies: 1,
        named: vec![None],
        arrived: false,
        ttl0: ROUND,
        dst,
        priority,
        single: None,
        head: None,
        continued: true,
        content: Forged::Segment,
        passages: BTreeMap::new(),
        altered: false,
    };
    Some((key, ROUND - inside.hop, sealed))
}

impl Sealed {
    /// Whether it carries some of a message of ours that goes to one node: whoever takes it on the way hands it on, or says that it could
    /// not.
    pub(super) fn is_message_to_one(&self) -> bool {
        self.dst.is_node()
            && !matches!(self.content, Forged::Receipt(_) | Forged::Undelivered(..) | Forged::Other)
    }

    /// What `node` did with it, which hears it with this TTL now.
    pub(super) fn passage_of(&mut self, node: u32, ttl: u8) -> &mut Passage {
        self.altered |= ttl != self.ttl0 && !self.passages.values().any(|passage| passage.has_sent(ttl));
        self.passages.entry(node).or_default()
    }

    /// What is wrong if a node took it on its way and did neither.
    pub(super) fn unheard_of(
        &self,
        (_, seq): &(u32, u32),
        src: Address,
        passages: &BTreeMap<u32, Passage>,
        excused: impl Fn(&u32) -> bool,
    ) -> Option<String> {
        // Where ways lead in a circle, who hands it back to a node that had it before cannot know. That one tells its source, if it hears it.
        let handed_back = |passage: &Passage| {
            let told = |(node, other): (&u32, &Passage)| other.has_back_from(passage) && excused(node);
            passages.iter().any(|(node, other)| told((node, other)) || other.has_missed(passage))
        };
        let (node, passage) = passages.iter().filter(|_| !self.altered).find(|(node, passage)| {
            let others = passages.iter().filter(|(other, _)| other != node).map(|(_, other)| other);
            !passage.is_handed_on(others) && !excused(node) && !handed_back(passage)
        })?;
        let dst = self.dst;
        Some(format!(
            "node {node} took SEQ {seq} of {src} to {dst}, and nobody heard more of it: {passage:?}"
        ))
    }
}
