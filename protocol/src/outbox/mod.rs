//! This node's own messages on their way: segments, acks, retransmission, deadlines.
//!
//! Owns what each message still has to send and until when. Takes no SEQ and seals nothing (`node::egress` does),
//! and holds one block of each message at a time: the application supplies the next.
//!
//! Full: a new message is refused, never an old one dropped.

mod answers;
mod cutting;
mod many;
mod outcome;
mod slot;
mod turns;
mod usual;

pub(crate) use outcome::Progress;
pub use outcome::{Delivery, SendOutcome};

use crate::block::single;
use crate::per_class::sooner;
use crate::segment::{Cut, LONG_SEGMENT_LEN, SEGMENT_HEADER, Segment, TransferId};
use crate::{Address, Duration, Instant, MessageId, PerClass, Priority};

use slot::{SILENT_AFTER, Slot};
use usual::Usual;

/// The longest body of a frame of a message; 13 bytes fit a legacy frame with the short MIC.
pub(crate) const SINGLE_MAX: usize = SEGMENT_HEADER + LONG_SEGMENT_LEN;

/// A segment or single frame to seal now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NextSegment {
    pub(crate) slot: usize,
    pub(crate) index: u8,
}

/// What frame a body is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Single,
    Segment,
    /// The segment with this offset of this transfer.
    Continuation(TransferId, u8),
}

/// At most `N` messages.
#[derive(Clone, Debug)]
pub(crate) struct Outbox<const N: usize> {
    slots: [Option<Slot>; N],
    own: Address,
    next_transfer: TransferId,
    turns: u32,
    births: u32,
    usual: Usual,
}

impl<const N: usize> Outbox<N> {
    /// The outbox of the node `own`, whose first transfer has the number `first_transfer`.
    pub(crate) const fn new(own: Address, first_transfer: u16) -> Self {
        Self {
            slots: [const { None }; N],
            own,
            next_transfer: TransferId::new(first_transfer),
            turns: 0,
            births: 0,
            usual: Usual::new(),
        }
    }

    /// The number of the next transfer.
    pub(crate) const fn next_transfer(&self) -> TransferId {
        self.next_transfer
    }

    /// Leaves out so many numbers.
    pub(crate) const fn skip_transfers(&mut self, count: u16) {
        self.next_transfer = TransferId::new(self.next_transfer.bits().wrapping_add(count));
    }

    /// Whether a further message can be taken.
    pub(crate) fn has_room(&self) -> bool {
        self.slots.iter().any(Option::is_none)
    }

    pub(crate) fn holds(&self, id: MessageId) -> bool {
        self.slots().any(|slot| slot.delivery.id == id)
    }

    /// Messages whose receiver is silent.
    pub(crate) fn unanswered(&self) -> impl Iterator<Item = MessageId> + '_ {
        self.slots().filter(|slot| slot.attempts >= SILENT_AFTER).map(|slot| slot.delivery.id)
    }

    pub(crate) fn len(&self) -> usize {
        self.slots().count()
    }

    /// Takes a message of `total` bytes, of which `first` are the first; `false` when there is no room.
    ///
    /// `first` is the whole message if that fits one block, otherwise its first [`PART_LEN`](crate::block::PART_LEN) bytes. The block is
    /// cut so.
    pub(crate) fn push(
        &mut self,
        now: Instant,
        delivery: Delivery,
        total: u32,
        first: &[u8],
        cut: Cut,
    ) -> bool {
        let Some(at) = self.slots.iter().position(Option::is_none) else {
            return false;
        };
        self.births = self.births.wrapping_add(1);
        self.slots[at] = Some(Slot::new(now, delivery, total, cut, self.births));
        self.load(now, at, first);
        if let Some(slot) = &mut self.slots[at]
            && !slot.single
            && !slot.to_many()
            && self.usual.is_too_late(total, delivery.deadline.since(now))
        {
            // It ends at once, and says so.
            slot.delivery.deadline = now;
        }
        true
    }

    /// The application's part of a message that wanted the one at `offset`; `false` if another or none was wanted, or
    /// it has the wrong length.
    pub(crate) fn supply(
        &mut self,
        now: Instant,
        id: MessageId,
        offset: u32,
        bytes: &[u8],
        cut: Cut,
    ) -> bool {
        let Some(at) = self.find(id) else { return false };
        let Some(slot) = &mut self.slots[at] else { return false };
        if !slot.wants_part || slot.offset != offset || bytes.len() != slot.wanted() {
            return false;
        }
        slot.cut = cut;
        self.load(now, at, bytes);
        true
    }

    /// Stops sending a message without a word.
    pub(crate) fn cancel(&mut self, id: MessageId) {
        if let Some(at) = self.find(id) {
            self.slots[at] = None;
        }
    }

    /// When each class can send its next segment. `takes`: whether what is for a node, of a class, said again or not, is asked for at all.
    pub(crate) fn due(&self, takes: impl Fn(Address, Priority, bool) -> bool) -> PerClass<Option<Instant>> {
        let mut due = PerClass::all(None);
        for (_, slot) in self.sending().filter(|(_, slot)| slot.is_taken(&takes) && self.may_run(slot)) {
            sooner(&mut due[slot.delivery.priority], slot.next_at);
        }
        due
    }

    /// The segment of `class` to send now; the messages of a class take turns. `takes` as for [`due`](Self::due).
    pub(crate) fn pick(
        &self,
        now: Instant,
        class: Priority,
        takes: impl Fn(Address, Priority, bool) -> bool,
    ) -> Option<NextSegment> {
        self.sending()
            .filter(|(_, slot)| slot.delivery.priority == class && slot.next_at <= now)
            .filter(|(_, slot)| slot.is_taken(&takes) && self.may_run(slot))
            .min_by_key(|(_, slot)| (slot.turn, slot.born))
            .map(|(slot, found)| NextSegment { slot, index: found.next_index() })
    }

    /// The body of the frame to seal; returns its length, what frame it is for, and for whom it is.
    pub(crate) fn body(
        &self,
        next: NextSegment,
        out: &mut [u8; SINGLE_MAX],
    ) -> Option<(usize, Form, Delivery)> {
        let slot = self.slots.get(next.slot)?.as_ref()?;
        let (len, form) = if slot.single {
            let (number, bytes) = single(&slot.block);
            out[..number.len()].copy_from_slice(number);
            out[number.len()..][..bytes.len()].copy_from_slice(bytes);
            (number.len() + bytes.len(), Form::Single)
        } else if slot.cut.is_continued() && next.index > 0 {
            let piece = slot.cut.piece(&slot.block, next.index);
            out[..piece.len()].copy_from_slice(piece);
            (piece.len(), Form::Continuation(slot.transfer, next.index))
        } else {
            (Segment::cut(slot.transfer, &slot.block, next.index, slot.cut, out), Form::Segment)
        };
        Some((len, form, slot.delivery))
    }

    /// What a segment is of.
    pub(crate) fn delivery(&self, next: NextSegment) -> Option<Delivery> {
        Some(self.slots.get(next.slot)?.as_ref()?.delivery)
    }

    /// For whom a message is, how urgent, and whether somebody on the way takes no long frames.
    pub(crate) fn goes_to(&self, id: MessageId) -> Option<(Address, Priority, bool)> {
        let slot = self.slots().find(|slot| slot.delivery.id == id)?;
        Some((slot.delivery.destination, slot.delivery.priority, slot.legacy))
    }

    /// Of a block whose further segments go as continuation frames: the neighbour that its first one was sent to last, none if it
    /// was not sent.
    pub(crate) fn continued_by(&self, next: NextSegment) -> Option<Address> {
        let slot = self.slots.get(next.slot)?.as_ref()?;
        (slot.cut.is_continued() && !slot.single).then_some(slot.via)
    }

    /// The first segment of such a block is sent to this neighbour.
    pub(crate) fn continue_by(&mut self, next: NextSegment, via: Address) {
        if let Some(Some(slot)) = self.slots.get_mut(next.slot) {
            slot.via = via;
        }
    }

    /// Whether a block is too long to be flooded while there is hope of a route.
    pub(crate) fn is_long(&self, next: NextSegment) -> bool {
        self.slots.get(next.slot).and_then(Option::as_ref).is_some_and(Slot::is_long)
    }

    /// Whether a block was cut for everyone, and none of it has been on the air.
    pub(crate) fn is_unsent_for_all(&self, next: NextSegment) -> bool {
        let slot = self.slots.get(next.slot).and_then(Option::as_ref);
        slot.is_some_and(|slot| slot.is_unsent() && !slot.cut.is_continued())
    }

    /// Nothing of a message is sent before that.
    pub(crate) fn hold(&mut self, next: NextSegment, until: Instant) {
        if let Some(Some(slot)) = self.slots.get_mut(next.slot) {
            slot.next_at = until;
        }
    }

    /// Whether the block is to be cut anew, and if so whether for everyone.
    pub(crate) fn wants_cut(&self, next: NextSegment, for_all: Cut) -> Option<bool> {
        self.slots.get(next.slot)?.as_ref()?.wants_cut(for_all)
    }

    /// Cuts the block anew, as another transfer.
    pub(crate) fn cut_anew(&mut self, next: NextSegment, cut: Cut) -> NextSegment {
        let Some(Some(slot)) = self.slots.get_mut(next.slot) else { return next };
        slot.cut_anew(self.own, &mut self.next_transfer, cut);
        NextSegment { index: slot.next_index(), ..next }
    }

    /// Records that the segment was sealed for the radio; `timeout` is how long to wait for an answer behind the
    /// last one; `paced`: relays pass it on and need a pause behind it. Returns whether the segment had been sent before.
    /// `seq` names the frame.
    pub(crate) fn sent(
        &mut self,
        now: Instant,
        next: NextSegment,
        seq: u32,
        timeout: Duration,
        paced: bool,
    ) -> bool {
        self.turns = self.turns.wrapping_add(1);
        let turn = self.turns;
        let Some(Some(slot)) = self.slots.get_mut(next.slot) else {
            return false;
        };
        slot.turn = turn;
        slot.last_seq = seq;
        if slot.frames == 0 {
            slot.first_seq = seq;
        }
        slot.frames = slot.frames.saturating_add(1);
        slot.sent(now, next.index, timeout, paced)
    }

    /// Takes the next thing that is due: a deadline first, then a timeout. Retransmissions it leads to become
    /// ready; only ends are returned.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Option<Progress> {
        for slot in &mut self.slots {
            let Some(found) = slot else { continue };
            if let Some(progress) = found.handle_timeout(now) {
                if matches!(progress, Progress::Done(..)) && found.shows_service() && !found.is_unheard() {
                    self.usual.was_late(found.total, found.began.until(now));
                }
                release_if_done(slot, progress);
                return Some(progress);
            }
        }
        None
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.slots().map(Slot::next_timeout).min()
    }

    /// Whether this segment has been on the air before.
    pub(crate) fn again(&self, next: NextSegment) -> bool {
        let slot = self.slots.get(next.slot).and_then(Option::as_ref);
        slot.is_some_and(|slot| slot.was_sent(next.index))
    }

    /// Whether it goes again because no answer came, and not because an answer says that it is missing.
    pub(crate) fn is_unanswered(&self, next: NextSegment) -> bool {
        self.slots
            .get(next.slot)
            .and_then(Option::as_ref)
            .is_some_and(|slot| slot.attempts > 0 || slot.astray)
    }

    /// The messages that are on their way.
    pub(crate) fn ids(&self) -> impl Iterator<Item = MessageId> + '_ {
        self.slots().map(|slot| slot.delivery.id)
    }

    /// No answer can have come before that, whatever the timer says: a frame of this message is still being handed on.
    pub(crate) fn postpone(&mut self, id: MessageId, until: Instant) {
        if let Some(Some(slot)) = self.find(id).map(|at| &mut self.slots[at]) {
            slot.timeout_at = slot.timeout_at.map(|at| at.max(until));
        }
    }

    /// No neighbour takes this segment: it goes again, to all.
    pub(crate) fn lost(&mut self, id: MessageId, index: u8) {
        if let Some(Some(slot)) = self.find(id).map(|at| &mut self.slots[at]) {
            slot.lost(index);
        }
    }

    /// For the timeout behind a segment: how often it was tried already.
    pub(crate) fn attempts(&self, next: NextSegment) -> u8 {
        self.slots.get(next.slot).and_then(Option::as_ref).map_or(0, |slot| slot.attempts)
    }

    fn load(&mut self, now: Instant, at: usize, bytes: &[u8]) {
        if let Some(slot) = &mut self.slots[at] {
            slot.load(now, self.own, &mut self.next_transfer, bytes);
        }
    }

    fn find(&self, id: MessageId) -> Option<usize> {
        self.slots.iter().position(|slot| slot.as_ref().is_some_and(|slot| slot.delivery.id == id))
    }

    fn slots(&self) -> impl Iterator<Item = &Slot> + '_ {
        self.slots.iter().flatten()
    }

    fn sending(&self) -> impl Iterator<Item = (usize, &Slot)> + '_ {
        self.slots
            .iter()
            .enumerate()
            .filter_map(|(at, slot)| slot.as_ref().map(|slot| (at, slot)))
            .filter(|(_, slot)| slot.pending != 0)
    }
}

fn release_if_done(slot: &mut Option<Slot>, progress: Progress) {
    if matches!(progress, Progress::Done(..)) {
        *slot = None;
    }
}
