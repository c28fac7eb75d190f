//! The sending half of the SIG baseline's transport: long messages in segments, again until they are acknowledged.
//!
//! Owns which segment goes next, rounds and their timers. PDUs and queues are for the network layer.
//!
//! A round sends every segment not yet acknowledged. When the last one has left its set, a pause begins; an ack within
//! it begins the next round at once (Mesh Profile 1.0.1, 3.5.3.3), its end without one does so too. To a group the
//! same rounds go blindly, every segment in each, with a short pause between: as Zephyr does.

use mesh_protocol::{Duration, Instant};

use super::pdu::{self, ALL_NODES, Ack, SEGMENT, Segment};
use crate::stack::ReportedOutcome;

/// Rounds of a message; `docs/simulator.md`, "Stacks to measure against". To a group as well: Zephyr's
/// `CONFIG_BT_MESH_TX_SEG_RETRANS_COUNT` is one for both.
const ROUNDS: u8 = 4;
/// The pause after a round; `docs/simulator.md`, "Stacks to measure against".
const PAUSE: Duration = Duration::from_millis(400);
/// The pause after a round to a group: Zephyr's `CONFIG_BT_MESH_TX_SEG_RETRANS_TIMEOUT_GROUP`.
const GROUP_PAUSE: Duration = Duration::from_millis(50);

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Another one to the same destination is before it.
    Waiting,
    /// In a round; the next segment to look at.
    Sending(u8),
    /// After a round.
    Pausing(Instant),
}

/// A message in segments.
#[derive(Clone, Debug)]
struct Transfer {
    id: u32,
    to: u16,
    /// With its TransMIC.
    bytes: Vec<u8>,
    /// Whether anyone wants to know what became of it.
    reported: bool,
    unacked: u32,
    state: State,
    rounds: u8,
    /// Segments in the network layer's buffers.
    buffered: usize,
    /// No segment goes out before.
    ready: Instant,
}

/// A segment to send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<'a> {
    /// Of which message.
    pub(super) id: u32,
    /// To whom.
    pub(super) to: u16,
    /// The segment.
    pub(super) segment: Segment<'a>,
    /// It may go out from then on.
    pub(super) ready: Instant,
    /// Whether it has gone before.
    pub(super) again: bool,
}

/// Messages in segments, in the order of their posting. Their number is limited when they are posted.
#[derive(Clone, Debug, Default)]
pub(super) struct Outgoing {
    transfers: Vec<Transfer>,
}

impl Outgoing {
    /// How many there are.
    pub(super) const fn len(&self) -> usize {
        self.transfers.len()
    }

    /// Takes a message with its TransMIC; at most 384 bytes, not none. One that waits while its node numbers 8,191 PDUs
    /// is not understood any more, as the segments carry 13 bits of its number; an outbox full of the longest ones,
    /// every round of them, takes half of that.
    pub(super) fn add(&mut self, id: u32, to: u16, bytes: Vec<u8>, reported: bool, ready: Instant) {
        let unacked = u32::MAX >> (pdu::MAX_SEGMENTS - bytes.len().div_ceil(SEGMENT));
        let state = State::Waiting;
        let transfer = Transfer { id, to, bytes, reported, unacked, state, rounds: 0, buffered: 0, ready };
        self.transfers.push(transfer);
    }

    /// The next segment for the network layer to buffer: of the first message that has one, as long as no other to
    /// the same destination is before it.
    pub(super) fn next_segment(&mut self, now: Instant) -> Option<Piece<'_>> {
        let at = (0..self.transfers.len()).find(|&at| {
            let (earlier, rest) = self.transfers.split_at_mut(at);
            let transfer = &mut rest[0];
            let blocked = earlier.iter().any(|other| other.to == transfer.to);
            !blocked && transfer.advance(now)
        })?;
        Some(self.transfers[at].take_segment())
    }

    /// A segment has left its set, or found none.
    pub(super) fn gone(&mut self, now: Instant, id: u32) {
        if let Some(transfer) = self.transfers.iter_mut().find(|transfer| transfer.id == id) {
            transfer.buffered = transfer.buffered.saturating_sub(1);
            transfer.advance(now);
        }
    }

    /// A receiver has acknowledged segments. If that completes a message: its number, and the outcome.
    pub(super) fn acked(&mut self, ready: Instant, from: u16, ack: Ack) -> Option<(u32, ReportedOutcome)> {
        let at = self.transfers.iter().position(|transfer| {
            transfer.to == from && pdu::zero(transfer.id) == ack.zero && transfer.state != State::Waiting
        })?;
        let transfer = &mut self.transfers[at];
        transfer.unacked &= !ack.block;
        let outcome = match (ack.block, transfer.unacked) {
            (0, _) => ReportedOutcome::Rejected,
            (_, 0) => ReportedOutcome::Delivered,
            _ => {
                if matches!(transfer.state, State::Pausing(_)) && transfer.rounds < ROUNDS {
                    transfer.begin_round(ready);
                }
                return None;
            }
        };
        self.finish(at, outcome)
    }

    /// Ends the pauses that are over. Returns what that completes.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(u32, ReportedOutcome)> {
        let mut completed = Vec::new();
        let mut at = 0;
        while let Some(transfer) = self.transfers.get_mut(at) {
            match transfer.state {
                State::Pausing(until) if until <= now && transfer.rounds >= ROUNDS => {
                    completed.extend(self.finish(at, ReportedOutcome::Unknown));
                    continue;
                }
                State::Pausing(until) if until <= now => transfer.begin_round(now),
                _ => (),
            }
            at += 1;
        }
        completed
    }

    /// When the next pause ends.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let pauses = self.transfers.iter().filter_map(|transfer| match transfer.state {
            State::Pausing(until) => Some(until),
            _ => None,
        });
        pauses.min()
    }

    fn finish(&mut self, at: usize, outcome: ReportedOutcome) -> Option<(u32, ReportedOutcome)> {
        let transfer = self.transfers.remove(at);
        // Nobody acknowledges what goes to a group, so there is nothing to tell.
        (transfer.reported && transfer.to != ALL_NODES).then_some((transfer.id, outcome))
    }
}

impl Transfer {
    fn last(&self) -> u8 {
        (self.bytes.len().div_ceil(SEGMENT) - 1) as u8
    }

    fn begin_round(&mut self, ready: Instant) {
        self.state = State::Sending(0);
        self.rounds += 1;
        self.ready = ready;
    }

    /// Goes on to the next segment of the round that is not acknowledged; whether there is one. Where the round is
    /// over, the pause begins.
    fn advance(&mut self, now: Instant) -> bool {
        if self.state == State::Waiting {
            self.begin_round(self.ready);
        }
        let State::Sending(next) = self.state else { return false };
        let found = (next..=self.last()).find(|index| self.unacked >> index & 1 == 1);
        self.state = match found {
            Some(index) => State::Sending(index),
            None if self.buffered > 0 => State::Sending(self.last() + 1),
            None => State::Pausing(now + if self.to == ALL_NODES { GROUP_PAUSE } else { PAUSE }),
        };
        found.is_some()
    }

    /// The segment that [`Transfer::advance`] found.
    fn take_segment(&mut self) -> Piece<'_> {
        let last = self.last();
        let index = match self.state {
            State::Sending(index) => index.min(last),
            State::Waiting | State::Pausing(_) => last,
        };
        self.state = State::Sending(index + 1);
        self.buffered += 1;
        let from = usize::from(index) * SEGMENT;
        let to = self.bytes.len().min(from + SEGMENT);
        let segment = Segment { zero: pdu::zero(self.id), index, last, bytes: &self.bytes[from..to] };
        Piece { id: self.id, to: self.to, segment, ready: self.ready, again: self.rounds > 1 }
    }
}
