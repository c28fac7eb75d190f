//! The network layer of the SIG baseline: the caches of PDUs that a node has heard, and the queues to its sets.
//!
//! Owns the message cache, the replay list, the buffers and which set holds what. What goes into the buffers is for
//! the layers above.

use std::collections::{BTreeMap, VecDeque};

use ble_bearer::Full;
use mesh_protocol::Instant;

use super::pdu::Pdu;

/// PDUs in the network message cache; `docs/simulator.md`, "Stacks to measure against"
/// (`CONFIG_BT_MESH_MSG_CACHE_SIZE` of the main open implementation, Zephyr).
const CACHE: usize = 32;
/// PDUs that wait for being relayed or are; `docs/simulator.md`, "Stacks to measure against"
/// (`CONFIG_BT_MESH_RELAY_BUF_COUNT`).
const RELAY_BUFFERS: usize = 32;
/// Segments that wait for the own set or are in it: Zephyr's `CONFIG_BT_MESH_ADV_BUF_COUNT`.
const SEGMENT_BUFFERS: usize = 6;
/// Acks likewise. A guess: Zephyr lets them share the buffers above, and loses them while a long message fills those.
const ACK_BUFFERS: usize = 6;
/// Senders that the replay list knows. A guess, more than a scenario has nodes: Zephyr's default of 10 would refuse
/// most senders of a large network.
const SENDERS: usize = 4_096;

/// The network message cache: what comes again while it is in there is dropped. Oldest out.
#[derive(Clone, Debug)]
pub(super) struct Cache {
    seen: [(u16, u32); CACHE],
    next: usize,
}

impl Cache {
    /// An empty one: 0 is nobody's address.
    pub(super) const fn new() -> Self {
        Self { seen: [(0, 0); CACHE], next: 0 }
    }

    /// Whether the PDU is in there.
    pub(super) fn contains(&self, origin: (u16, u32)) -> bool {
        self.seen.contains(&origin)
    }

    /// Remembers a PDU in place of the oldest one.
    pub(super) fn add(&mut self, origin: (u16, u32)) {
        self.seen[self.next] = origin;
        self.next = (self.next + 1) % CACHE;
    }
}

/// The replay list: from each sender only what is newer than what was taken last; Mesh Profile 1.0.1, 3.8.8.
#[derive(Clone, Debug, Default)]
pub(super) struct Replay {
    last: BTreeMap<u16, u32>,
}

impl Replay {
    /// Whether a PDU is new. A sender that finds the list full is never heard.
    pub(super) fn is_new(&self, src: u16, seq: u32) -> bool {
        self.last.get(&src).map_or(self.last.len() < SENDERS, |&last| seq > last)
    }

    /// A PDU that was new has been taken. Of segments only the one that completes a
    /// message is: an earlier entry would refuse those that come out of order.
    pub(super) fn taken(&mut self, src: u16, seq: u32) {
        self.last.insert(src, seq);
    }
}

/// What a buffer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An unsegmented message.
    Message,
    /// A segment of the message with this number.
    Segment(u32),
    /// An acknowledgment.
    Ack,
    /// Someone else's PDU.
    Relay,
}

/// A PDU that waits for a set.
#[derive(Clone, Debug)]
struct Waiting {
    pdu: Pdu,
    kind: Kind,
    ready: Instant,
}

/// How many buffers are taken, waiting and on the air together.
#[derive(Clone, Debug, Default)]
struct Taken {
    messages: usize,
    segments: usize,
    acks: usize,
    relays: usize,
}

/// The queues to the advertising sets. Each is first in, first out: there are no priorities.
#[derive(Clone, Debug)]
pub(super) struct Advertiser {
    own: VecDeque<Waiting>,
    relays: VecDeque<Waiting>,
    /// By set: what it holds.
    on_air: Vec<Option<Kind>>,
    taken: Taken,
}

impl Advertiser {
    /// With set 0 and so many for relaying.
    pub(super) fn new(relay_sets: u8) -> Self {
        Self {
            own: VecDeque::new(),
            relays: VecDeque::new(),
            on_air: vec![None; 1 + usize::from(relay_sets)],
            taken: Taken::default(),
        }
    }

    /// Unsegmented messages that wait or are on the air.
    pub(super) const fn messages(&self) -> usize {
        self.taken.messages
    }

    /// Whether a segment would find a buffer.
    pub(super) const fn has_room_for_segment(&self) -> bool {
        self.taken.segments < SEGMENT_BUFFERS
    }

    /// Queues a PDU that may go out from `ready` on.
    ///
    /// # Errors
    /// [`Full`] when all buffers of its kind are taken. Messages are not counted here, but when they are posted.
    pub(super) fn push(&mut self, pdu: Pdu, kind: Kind, ready: Instant) -> Result<(), Full> {
        let limit = match kind {
            Kind::Message => usize::MAX,
            Kind::Segment(_) => SEGMENT_BUFFERS,
            Kind::Ack => ACK_BUFFERS,
            Kind::Relay => RELAY_BUFFERS,
        };
        let taken = self.taken.of(kind);
        if *taken >= limit {
            return Err(Full);
        }
        *taken += 1;
        // Without sets for relaying there is one queue for all, first in, first out: own messages then wait behind relayed ones.
        let shared = self.on_air.len() == 1 || kind != Kind::Relay;
        let queue = if shared { &mut self.own } else { &mut self.relays };
        queue.push_back(Waiting { pdu, kind, ready });
        Ok(())
    }

    /// Fills the free sets with what is ready, through `send`, which may refuse. Returns what was refused: it is gone.
    pub(super) fn fill(
        &mut self,
        now: Instant,
        mut send: impl FnMut(usize, &Pdu, Kind) -> Result<(), Full>,
    ) -> Vec<Kind> {
        let mut refused = Vec::new();
        for set in 0..self.on_air.len() {
            while self.on_air[set].is_none() {
                let queue = if set == 0 { &mut self.own } else { &mut self.relays };
                // What waits for its host delay holds up those behind it: out of order, its SEQ would be a replay.
                let Some(&Waiting { pdu, kind, ready }) = queue.front() else { break };
                if ready > now {
                    break;
                }
                queue.pop_front();
                if send(set, &pdu, kind).is_ok() {
                    self.on_air[set] = Some(kind);
                } else {
                    *self.taken.of(kind) -= 1;
                    refused.push(kind);
                }
            }
        }
        refused
    }

    /// A set is free again; what it held.
    pub(super) fn sent(&mut self, set: usize) -> Option<Kind> {
        let kind = self.on_air.get_mut(set)?.take()?;
        *self.taken.of(kind) -= 1;
        Some(kind)
    }

    /// When something that waits for its host delay may go out. Only where a set is free for it: a busy one reports its end, and the
    /// node is run then.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let (own, relaying) = self.on_air.split_first()?;
        let queues = [(own.is_none(), &self.own), (relaying.contains(&None), &self.relays)];
        let free = queues.into_iter().filter(|(free, _)| *free);
        free.filter_map(|(_, queue)| Some(queue.front()?.ready)).min()
    }
}

impl Taken {
    const fn of(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::Message => &mut self.messages,
            Kind::Segment(_) => &mut self.segments,
            Kind::Ack => &mut self.acks,
            Kind::Relay => &mut self.relays,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_replay_list_hears_those_it_knows_and_nobody_else() {
        let mut replay = Replay::default();
        for src in 1..=SENDERS as u16 {
            assert!(replay.is_new(src, 0));
            replay.taken(src, 0);
        }
        assert!(!replay.is_new(SENDERS as u16 + 1, 9), "no room");
        assert_eq!([0, 1].map(|seq| replay.is_new(1, seq)), [false, true]);
    }
}
