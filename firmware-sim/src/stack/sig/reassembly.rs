//! The receiving half of the SIG baseline's transport: segments put together, and when to say which have come.
//!
//! Owns the incomplete messages, those lately completed, and the ack timer. Whether a segment is new at all, the message
//! cache and the replay list have decided before.

use std::collections::VecDeque;

use mesh_protocol::{Duration, Instant};

use super::pdu::{self, ALL_NODES, Ack, Header, SEGMENT, Segment};

/// Messages put together at a time. A guess in favour of this stack: Zephyr's default is 1.
const ASSEMBLIES: usize = 8;
/// Messages remembered as complete, so that their segments are acknowledged when they come again. A guess.
const COMPLETED: usize = 32;
/// The ack timer; Mesh Profile 1.0.1, 3.5.3.4, and `docs/simulator.md`, "Stacks to measure against".
const ACK_BASE: Duration = Duration::from_millis(150);
/// For each hop of the TTL; the same places.
const ACK_PER_HOP: Duration = Duration::from_millis(50);
/// After so long without a new segment a message is given up; Mesh Profile 1.0.1, 3.5.3.4: at least 10 s.
const INCOMPLETE: Duration = Duration::from_secs(10);

/// Which message: who sent it, to whom, and its number.
type Key = (u16, u16, u32);

/// A message of which segments have come.
#[derive(Clone, Debug)]
struct Assembly {
    key: Key,
    last: u8,
    have: u32,
    bytes: Vec<u8>,
    ack_at: Option<Instant>,
    gives_up: Instant,
}

/// What a segment has led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SegmentResult {
    /// Nothing yet.
    Kept,
    /// The message was complete before: it is acknowledged again.
    Repeated(Option<Ack>),
    /// The message is complete, with its TransMIC.
    Complete(u32, Vec<u8>, Option<Ack>),
    /// It had come before, or it belongs to a message that its sender has given up.
    Stale,
    /// There is no room for another message.
    NoRoom,
}

/// An ack that a timer has made due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DueAck {
    /// To whom.
    pub(super) to: u16,
    /// The ack.
    pub(super) ack: Ack,
}

/// Incomplete and completed messages.
#[derive(Clone, Debug)]
pub(super) struct Incoming {
    assemblies: Vec<Assembly>,
    completed: VecDeque<(Key, u8)>,
    ack_after: Duration,
    given_up: u64,
}

impl Incoming {
    /// With the TTL that acks are sent with.
    pub(super) fn new(ttl: u8) -> Self {
        let ack_after = ACK_BASE + ACK_PER_HOP.times(u64::from(ttl));
        Self { assemblies: Vec::new(), completed: VecDeque::new(), ack_after, given_up: 0 }
    }

    /// Messages that were given up before they were complete.
    pub(super) const fn given_up(&self) -> u64 {
        self.given_up
    }

    /// A segment for this node or for everyone.
    pub(super) fn segment(&mut self, now: Instant, header: Header, segment: Segment<'_>) -> SegmentResult {
        let id = pdu::message_id(header.seq, segment.zero);
        let key @ (src, dst, _) = (header.src, header.dst, id);
        if let Some(&(_, last)) = self.completed.iter().find(|(completed, _)| *completed == key) {
            return SegmentResult::Repeated(ack(key, all(last)));
        }
        let at = match self.find(key, segment.last) {
            Ok(at) => at,
            Err(refused) => return refused,
        };
        let Some(at) = at.or_else(|| self.begin(now, key, segment.last)) else {
            return SegmentResult::NoRoom;
        };
        let assembly = &mut self.assemblies[at];
        // One that was there already starts the timer too: the ack for it may have been lost.
        if dst != ALL_NODES && assembly.ack_at.is_none() {
            assembly.ack_at = Some(now + self.ack_after);
        }
        // Any segment counts, a repeated one too: it shows that the sender still tries.
        assembly.gives_up = now + INCOMPLETE;
        if !assembly.add(segment) {
            return SegmentResult::Stale;
        }
        if assembly.have == all(assembly.last) {
            let whole = self.assemblies.remove(at);
            self.completed.truncate(COMPLETED - 1);
            self.completed.push_front((key, whole.last));
            return SegmentResult::Complete(id, whole.bytes, ack((src, dst, id), whole.have));
        }
        SegmentResult::Kept
    }

    /// Acks that are due; gives up messages whose time is over.
    pub(super) fn due(&mut self, now: Instant) -> Vec<DueAck> {
        let before = self.assemblies.len();
        self.assemblies.retain(|assembly| assembly.gives_up > now);
        self.given_up += (before - self.assemblies.len()) as u64;
        let due = self.assemblies.iter_mut().filter(|assembly| assembly.ack_at.is_some_and(|at| at <= now));
        due.filter_map(|assembly| {
            assembly.ack_at = None;
            Some(DueAck { to: assembly.key.0, ack: ack(assembly.key, assembly.have)? })
        })
        .collect()
    }

    /// When something is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let times = |assembly: &Assembly| [assembly.ack_at, Some(assembly.gives_up)];
        self.assemblies.iter().flat_map(times).flatten().min()
    }

    /// Where the message is put together, if that has begun.
    fn find(&mut self, key: Key, last: u8) -> Result<Option<usize>, SegmentResult> {
        let (src, dst, id) = key;
        let same = |assembly: &Assembly| (assembly.key.0, assembly.key.1) == (src, dst);
        let Some(at) = self.assemblies.iter().position(same) else { return Ok(None) };
        let known = &self.assemblies[at];
        if known.key == key {
            return if known.last == last { Ok(Some(at)) } else { Err(SegmentResult::Stale) };
        }
        // Numbers are SEQs, so a lower one is older: a late copy of it must not end the message that its sender has gone on to.
        if known.key.2 > id {
            return Err(SegmentResult::Stale);
        }
        // A sender sends one message at a time to each destination: it has given the older one up.
        self.assemblies.remove(at);
        self.given_up += 1;
        Ok(None)
    }

    fn begin(&mut self, now: Instant, key: Key, last: u8) -> Option<usize> {
        if self.assemblies.len() >= ASSEMBLIES {
            return None;
        }
        let bytes = vec![0; (usize::from(last) + 1) * SEGMENT];
        let gives_up = now + INCOMPLETE;
        self.assemblies.push(Assembly { key, last, have: 0, bytes, ack_at: None, gives_up });
        Some(self.assemblies.len() - 1)
    }
}

impl Assembly {
    /// Whether the segment was missing.
    fn add(&mut self, segment: Segment<'_>) -> bool {
        let bit = 1 << segment.index;
        let from = usize::from(segment.index) * SEGMENT;
        if self.have & bit != 0 {
            return false;
        }
        let Some(room) = self.bytes.get_mut(from..from + segment.bytes.len()) else { return false };
        room.copy_from_slice(segment.bytes);
        if segment.index == self.last {
            self.bytes.truncate(from + segment.bytes.len());
        }
        self.have |= bit;
        true
    }
}

/// The block of a complete message.
const fn all(last: u8) -> u32 {
    u32::MAX >> (31 - last as u32)
}

/// An ack, unless the message is for everyone.
fn ack((_, dst, id): Key, block: u32) -> Option<Ack> {
    (dst != ALL_NODES).then(|| Ack { zero: pdu::zero(id), block })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_32_messages_are_acknowledged_again_and_older_ones_begin_again() {
        let mut incoming = Incoming::new(7);
        let mut segment = |id: u32, index| {
            let header = Header { ttl: 7, seq: id + u32::from(index), src: 2, dst: 1 };
            let segment = Segment { zero: pdu::zero(id), index, last: 1, bytes: &[9; SEGMENT] };
            incoming.segment(Instant::ZERO, header, segment)
        };
        for id in (0..33).map(|step| step * 10) {
            let whole = Ack { zero: pdu::zero(id), block: 0b11 };
            assert_eq!(segment(id, 1), SegmentResult::Kept);
            assert_eq!(segment(id, 1), SegmentResult::Stale);
            assert_eq!(segment(id, 0), SegmentResult::Complete(id, vec![9; 24], Some(whole)));
            assert_eq!(segment(id, 0), SegmentResult::Repeated(Some(whole)));
        }
        assert!(matches!(segment(10, 0), SegmentResult::Repeated(_)), "one of the last 32");
        assert_eq!(segment(0, 0), SegmentResult::Kept, "forgotten");
    }

    #[test]
    fn a_segment_that_had_come_before_starts_the_ack_timer_too() {
        let at = |millis| Instant::ZERO + Duration::from_millis(millis);
        let mut incoming = Incoming::new(2);
        let header = Header { ttl: 2, seq: 5, src: 2, dst: 1 };
        let segment = Segment { zero: 5, index: 0, last: 1, bytes: &[9; SEGMENT] };
        let due = DueAck { to: 2, ack: Ack { zero: 5, block: 1 } };
        incoming.segment(at(0), header, segment);
        assert_eq!((incoming.next_due(), incoming.due(at(250))), (Some(at(250)), vec![due]));
        assert_eq!(incoming.next_due(), Some(at(10_000)), "no segment, no ack");
        incoming.segment(at(900), Header { seq: 7, ..header }, segment);
        assert_eq!((incoming.next_due(), incoming.due(at(1_150))), (Some(at(1_150)), vec![due]));
    }
}
