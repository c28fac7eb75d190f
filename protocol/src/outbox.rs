//! This node's own messages on their way: segments, acks, retransmission, deadlines.
//!
//! Owns what each message still has to send and until when. Takes no SEQ and seals nothing (`node::egress` does),
//! and holds one block of each message at a time: the application supplies the next.
//!
//! Full: a new message is refused, never an old one dropped.

use heapless::Vec;

use crate::block::{BlockHead, Part, head_buffer, part_len};
use crate::control::{Ack, Reason, Verdict};
use crate::segment::{BLOCK_MAX, SEGMENT_HEADER, SEGMENT_LEN, Segment, TransferId, all, block_crc, segments};
use crate::{Address, Duration, Instant, MessageId, PerClass, Priority};

/// The longest body of a single legacy frame with the short MIC.
pub(crate) const SINGLE_MAX: usize = SEGMENT_HEADER + SEGMENT_LEN;
/// Segments of one message follow each other at this pace, by priority. The urgent go as fast as the link lets
/// them; the others leave every relay a free slot between two, so that a flood of segments does not collide with
/// itself. A guess, to be held against the simulated air.
const PACE: PerClass<Duration> =
    PerClass::new([Duration::ZERO, Duration::ZERO, Duration::from_millis(24), Duration::from_millis(36)]);
/// With at most this many segments missing all are sent again at a timeout, otherwise the last one as a probe.
const RESEND_ALL: u32 = 8;
/// Messages to many are not acked: everything is sent this many times.
const ROUNDS_TO_MANY: u8 = 2;
/// Between two rounds.
const ROUND_GAP: Duration = Duration::from_millis(300);
/// Timeouts in a row after which a receiver counts as silent, and other transfers go before. A guess: by then four
/// times the longest round trip has passed.
const SILENT_AFTER: u8 = 3;

/// Who a message is for, how urgent it is, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The number under which its outcome will be told; each number of a node names one message for ever.
    pub id: MessageId,
    /// One node, a group, or everyone.
    pub destination: Address,
    /// How urgent.
    pub priority: Priority,
    /// When nobody wants it any more.
    pub deadline: Instant,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// The destination verified it, and stored it if it promises to.
    Delivered,
    /// The receiving agent acknowledged it.
    Processed,
    /// It was for many, who do not answer: it was put on the air.
    Sent,
    /// The destination did not take it.
    Rejected(Reason),
    /// The deadline passed before all of it was on the air: it cannot have been delivered.
    Expired,
    /// The deadline passed without an answer: it may have been delivered.
    Unknown,
}

/// A block to send, in segments or as a single frame.
#[derive(Clone, Debug)]
struct Slot {
    delivery: Delivery,
    total: u32,
    offset: u32,
    part_len: u32,
    /// Bytes of each of its segments: they stay as long as they were when it was taken, whatever routes come and go.
    each: u8,
    transfer: TransferId,
    single: bool,
    block: Vec<u8, BLOCK_MAX>,
    held: u64,
    sent: u64,
    pending: u64,
    next_at: Instant,
    timeout_at: Option<Instant>,
    attempts: u8,
    last_sent: Instant,
    retransmitted: bool,
    last_ack: Option<(u32, u32)>,
    wants_part: bool,
    /// The whole message has been on the air once.
    all_sent: bool,
    rounds: u8,
    /// How many times it was served; the least served of a class goes next.
    turn: u32,
    /// The how-manieth message of this node it is: the oldest runs first.
    born: u32,
}

/// A segment or single frame to seal now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NextSegment {
    pub(crate) slot: usize,
    pub(crate) index: u8,
}

/// What a timeout or an answer led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// This message is done.
    Done(MessageId, SendOutcome),
    /// The next part of this message is wanted: `len` bytes from `offset` on.
    WantsPart { id: MessageId, offset: u32, len: usize },
}

/// At most `N` messages.
#[derive(Clone, Debug)]
pub(crate) struct Outbox<const N: usize> {
    slots: [Option<Slot>; N],
    own: Address,
    next_transfer: TransferId,
    turns: u32,
    births: u32,
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
    /// `first` is the whole message if that fits one block of segments of `each` bytes, otherwise its first [`part_len`].
    pub(crate) fn push(
        &mut self,
        now: Instant,
        delivery: Delivery,
        total: u32,
        first: &[u8],
        each: u8,
    ) -> bool {
        let Some(at) = self.slots.iter().position(Option::is_none) else {
            return false;
        };
        self.births = self.births.wrapping_add(1);
        self.slots[at] = Some(Slot {
            delivery,
            total,
            offset: 0,
            part_len: 0,
            each,
            transfer: TransferId::new(0),
            single: false,
            block: Vec::new(),
            held: 0,
            sent: 0,
            pending: 0,
            next_at: now,
            timeout_at: None,
            attempts: 0,
            last_sent: now,
            retransmitted: false,
            last_ack: None,
            wants_part: false,
            all_sent: false,
            rounds: 1,
            turn: 0,
            born: self.births,
        });
        self.load(now, at, first);
        true
    }

    /// The application's part of a message that wanted the one at `offset`; `false` if another or none was wanted, or
    /// it has the wrong length.
    pub(crate) fn supply(&mut self, now: Instant, id: MessageId, offset: u32, bytes: &[u8]) -> bool {
        let Some(at) = self.find(id) else { return false };
        let Some(slot) = &self.slots[at] else { return false };
        if !slot.wants_part || slot.offset != offset || bytes.len() != slot.wanted() {
            return false;
        }
        self.load(now, at, bytes);
        true
    }

    /// Stops sending a message without a word.
    pub(crate) fn cancel(&mut self, id: MessageId) {
        if let Some(at) = self.find(id) {
            self.slots[at] = None;
        }
    }

    /// Which classes have a segment to send now. `takes`: whether what is for a node, of a class, said again or not, is asked for at all.
    pub(crate) fn ready(
        &self,
        now: Instant,
        takes: impl Fn(Address, Priority, bool) -> bool,
    ) -> PerClass<bool> {
        let mut ready = PerClass::all(false);
        for (_, slot) in self.sending().filter(|(_, slot)| slot.is_taken(&takes)) {
            if slot.next_at <= now && self.may_run(slot) {
                ready[slot.delivery.priority] = true;
            }
        }
        ready
    }

    /// When the next segment can be sent, if any is waiting; `takes` as for [`ready`](Self::ready).
    pub(crate) fn next_send(&self, takes: impl Fn(Address, Priority, bool) -> bool) -> Option<Instant> {
        self.sending()
            .filter(|(_, slot)| slot.is_taken(&takes) && self.may_run(slot))
            .map(|(_, slot)| slot.next_at)
            .min()
    }

    /// The segment of `class` to send now; the messages of a class take turns. `takes` as for [`ready`](Self::ready).
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

    /// The body of the frame to seal; returns its length, whether it is a single frame, and for whom it is.
    pub(crate) fn body(
        &self,
        next: NextSegment,
        out: &mut [u8; SINGLE_MAX],
    ) -> Option<(usize, bool, Delivery)> {
        let slot = self.slots.get(next.slot)?.as_ref()?;
        let len = if slot.single {
            out[..slot.block.len()].copy_from_slice(&slot.block);
            slot.block.len()
        } else {
            Segment::cut(slot.transfer, &slot.block, next.index, usize::from(slot.each), out)
        };
        Some((len, slot.single, slot.delivery))
    }

    /// Notes that the segment was sealed for the radio; `timeout` is how long to wait for an answer behind the
    /// last one; `paced`: relays pass it on and need a pause behind it. Returns whether the segment had been sent before.
    pub(crate) fn sent(&mut self, now: Instant, next: NextSegment, timeout: Duration, paced: bool) -> bool {
        self.turns = self.turns.wrapping_add(1);
        let turn = self.turns;
        let Some(Some(slot)) = self.slots.get_mut(next.slot) else {
            return false;
        };
        let bit = 1u64 << next.index;
        let again = slot.sent & bit != 0;
        slot.turn = turn;
        slot.retransmitted |= again;
        slot.sent |= bit;
        slot.pending &= !bit;
        slot.last_sent = now;
        slot.next_at =
            now + if slot.single || !paced { Duration::ZERO } else { PACE[slot.delivery.priority] };
        if slot.pending == 0 {
            slot.all_sent |= slot.is_last_part();
            slot.timeout_at =
                Some(now + if slot.delivery.destination.is_many() { ROUND_GAP } else { timeout });
        }
        again
    }

    /// An ack of a destination, sealed under (epoch, SEQ) `stamp`; `timeout` is how long to wait for the receipt of a
    /// message of this priority and so many attempts, if nothing else is missing. Also tells the round-trip time, where
    /// the ack shows it. `None` if nothing waits for it.
    pub(crate) fn acked(
        &mut self,
        now: Instant,
        from: Address,
        ack: &Ack,
        stamp: (u32, u32),
        timeout: impl FnOnce(Priority, u8) -> Duration,
    ) -> Option<(Option<Progress>, Option<Duration>)> {
        let slot = self.slots.iter_mut().flatten().find(|slot| {
            slot.delivery.destination == from
                && !slot.single
                && slot.transfer == ack.transfer
                && !slot.wants_part
        })?;
        if slot.last_ack.is_some_and(|last| stamp <= last) {
            return None;
        }
        slot.last_ack = Some(stamp);
        let count = slot.count();
        let (held, told) = ack.held_and_told();
        // What the ack tells of is the truth at the receiver, even when that is less than before: it may have
        // given the set up and begun anew.
        let before = slot.held;
        slot.held = ((slot.held & !told) | held) & all(count) & slot.sent;
        // An ack that says nothing new is a sign of life, and no reason to ask faster again.
        if slot.held != before {
            slot.attempts = 0;
        }
        let sample = (!slot.retransmitted && slot.pending == 0).then(|| now.since(slot.last_sent));
        if slot.held == all(count) {
            slot.pending = 0;
            if slot.is_last_part() {
                slot.timeout_at = Some(now + timeout(slot.delivery.priority, slot.attempts));
                return Some((None, sample));
            }
            return Some((Some(slot.want_part(slot.offset + slot.part_len)), sample));
        }
        if slot.pending == 0 {
            // The first pass is over: what is missing now is lost. Segments the ack does not tell of wait for
            // the next ack, unless nothing else is missing.
            let missing = all(count) & !slot.held;
            slot.pending = if missing & told != 0 { missing & told } else { missing };
            slot.next_at = slot.next_at.max(now);
            slot.timeout_at = None;
        } else {
            slot.pending &= !slot.held;
            if slot.pending == 0 {
                slot.pending = all(count) & !slot.held;
            }
        }
        Some((None, None))
    }

    /// Which message this transfer to a node is of, and which segments that node is known to hold.
    pub(crate) fn held(&self, to: Address, transfer: TransferId) -> Option<(MessageId, u64)> {
        let slot = self
            .slots()
            .find(|slot| slot.delivery.destination == to && !slot.single && slot.transfer == transfer)?;
        Some((slot.delivery.id, slot.held))
    }

    /// A destination's verdict on a message, with the round-trip time where it shows it. `None` if nothing waits
    /// for it.
    pub(crate) fn decided(
        &mut self,
        now: Instant,
        from: Address,
        id: MessageId,
        verdict: Verdict,
    ) -> Option<(Progress, Option<Duration>)> {
        let at = self.find(id)?;
        let slot = self.slots[at].as_mut()?;
        if slot.delivery.destination != from {
            return None;
        }
        let sample = (!slot.retransmitted && slot.pending == 0).then(|| now.since(slot.last_sent));
        let outcome = match verdict {
            Verdict::Delivered => SendOutcome::Delivered,
            Verdict::Processed => SendOutcome::Processed,
            Verdict::Rejected(reason) => SendOutcome::Rejected(reason),
            Verdict::Restart if slot.offset == 0 => return None,
            Verdict::Restart => return Some((slot.want_part(0), None)),
        };
        self.slots[at] = None;
        Some((Progress::Done(id, outcome), sample))
    }

    /// Takes the next thing that is due: a deadline first, then a timeout. Retransmissions it leads to become
    /// ready; only ends are returned.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Option<Progress> {
        for slot in &mut self.slots {
            let Some(found) = slot else { continue };
            if found.delivery.deadline <= now {
                let outcome = if found.delivery.destination.is_many() && found.all_sent {
                    SendOutcome::Sent
                } else if found.all_sent {
                    SendOutcome::Unknown
                } else {
                    SendOutcome::Expired
                };
                let done = Progress::Done(found.delivery.id, outcome);
                *slot = None;
                return Some(done);
            }
            if found.timeout_at.is_some_and(|at| at <= now) {
                found.timeout_at = None;
                if found.delivery.destination.is_many() {
                    if let Some(progress) = found.next_round(now) {
                        if matches!(progress, Progress::Done(..)) {
                            *slot = None;
                        }
                        return Some(progress);
                    }
                } else {
                    found.retry(now);
                }
            }
        }
        None
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.slots()
            .map(|slot| slot.timeout_at.map_or(slot.delivery.deadline, |at| at.min(slot.delivery.deadline)))
            .min()
    }

    /// Whether this segment has been on the air before.
    pub(crate) fn again(&self, next: NextSegment) -> bool {
        let slot = self.slots.get(next.slot).and_then(Option::as_ref);
        slot.is_some_and(|slot| slot.sent & (1 << next.index) != 0)
    }

    /// For the timeout behind a segment: how often it was tried already.
    pub(crate) fn attempts(&self, next: NextSegment) -> u8 {
        self.slots.get(next.slot).and_then(Option::as_ref).map_or(0, |slot| slot.attempts)
    }

    fn load(&mut self, now: Instant, at: usize, bytes: &[u8]) {
        let Some(slot) = &mut self.slots[at] else { return };
        let whole = bytes.len() == slot.total as usize;
        let head = BlockHead {
            message: slot.delivery.id,
            part: (!whole).then_some(Part { total: slot.total, offset: slot.offset }),
        };
        let mut buffer = head_buffer();
        let len = head.write(&mut buffer);
        slot.block.clear();
        // `fits_one_block` and `part_len` leave room for head and CRC.
        let _ = slot.block.extend_from_slice(&buffer[..len]);
        let _ = slot.block.extend_from_slice(bytes);
        slot.single = whole && slot.block.len() <= SEGMENT_HEADER + usize::from(slot.each);
        if !slot.single {
            let crc = block_crc(self.own, slot.delivery.destination, &slot.block);
            let _ = slot.block.extend_from_slice(&crc);
            slot.transfer = self.next_transfer;
            self.next_transfer = slot.transfer.next();
        }
        slot.part_len = bytes.len() as u32;
        slot.held = 0;
        slot.sent = 0;
        slot.pending = if slot.single { 1 } else { all(slot.count()) };
        slot.next_at = slot.next_at.max(now);
        slot.timeout_at = None;
        slot.attempts = 0;
        slot.retransmitted = false;
        slot.last_ack = None;
        slot.wants_part = false;
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

    /// Whether this transfer may run now: no receiver keeps more than two of one source. What has nothing to send but
    /// probes holds no place, and a message to many needs one at each receiver that another transfer goes to.
    fn may_run(&self, slot: &Slot) -> bool {
        if slot.single || slot.is_idle() {
            return true;
        }
        let to = slot.delivery.destination;
        if to.is_many() {
            self.slots().all(|other| self.one_of_two(slot, other.delivery.destination))
        } else {
            self.one_of_two(slot, to)
        }
    }

    /// Whether it is one of the two that run to this receiver: the most urgent one, and of the others the one that has
    /// begun, or else is the oldest; so that no flood of urgent ones stops the others for ever.
    fn one_of_two(&self, slot: &Slot, receiver: Address) -> bool {
        let rivals = || {
            self.slots().filter(|other| {
                let to = other.delivery.destination;
                !other.single && !other.is_idle() && (to == receiver || to.is_many())
            })
        };
        let first = rivals().min_by_key(|other| (other.delivery.priority, !other.has_begun(), other.born));
        let first = first.map(|first| first.born);
        let others = rivals().filter(|other| Some(other.born) != first);
        let second = others.min_by_key(|other| (!other.has_begun(), other.born)).map(|second| second.born);
        [first, second].contains(&Some(slot.born))
    }
}

impl Slot {
    /// How many segments its block takes.
    fn count(&self) -> u8 {
        segments(self.block.len(), self.each.into())
    }

    /// Bytes of the part at its offset.
    fn wanted(&self) -> usize {
        part_len(self.each.into()).min((self.total - self.offset) as usize)
    }

    /// The segment that is sent next, of those that wait.
    fn next_index(&self) -> u8 {
        self.pending.trailing_zeros() as u8
    }

    fn is_taken(&self, takes: impl Fn(Address, Priority, bool) -> bool) -> bool {
        let again = self.sent & 1 << self.next_index() != 0;
        takes(self.delivery.destination, self.delivery.priority, again)
    }

    fn is_last_part(&self) -> bool {
        self.offset + self.part_len == self.total
    }

    fn has_begun(&self) -> bool {
        self.sent != 0 || self.offset != 0
    }

    /// Whether it only waits for a verdict, or for a sign of life of a receiver that has long been silent.
    fn is_idle(&self) -> bool {
        !self.wants_part && (self.held == all(self.count()) || self.attempts >= SILENT_AFTER)
    }

    /// No answer came: send again what is missing, or one segment to be told what is.
    fn retry(&mut self, now: Instant) {
        let count = if self.single { 1 } else { self.count() };
        let missing = all(count) & !self.held;
        self.attempts = self.attempts.saturating_add(1);
        self.pending =
            if missing != 0 && missing.count_ones() <= RESEND_ALL { missing } else { 1 << (count - 1) };
        self.next_at = self.next_at.max(now);
    }

    /// Everything was sent once more: begin the next round, or the next part, or be done.
    fn next_round(&mut self, now: Instant) -> Option<Progress> {
        if self.rounds < ROUNDS_TO_MANY {
            self.rounds += 1;
            self.pending = if self.single { 1 } else { all(self.count()) };
            self.next_at = now;
            return None;
        }
        if self.is_last_part() {
            return Some(Progress::Done(self.delivery.id, SendOutcome::Sent));
        }
        self.rounds = 1;
        Some(self.want_part(self.offset + self.part_len))
    }

    /// Stops here until the application supplies the part at `offset`.
    fn want_part(&mut self, offset: u32) -> Progress {
        self.offset = offset;
        self.pending = 0;
        self.timeout_at = None;
        self.wants_part = true;
        Progress::WantsPart { id: self.delivery.id, offset, len: self.wanted() }
    }
}
