//! One message on its way: what of its present block is sent, held, and missing.
//!
//! Owns what an ack, a verdict and a timeout mean for one message. Knows no other message.

use heapless::Vec;

use super::outcome::{Delivery, Progress, SendOutcome};
use super::usual::Ticks;
use crate::block::{BlockHead, PART_LEN, Part, head_buffer};
use crate::control::{Ack, Verdict};
use crate::segment::{BLOCK_MAX, Cut, TransferId, all};
use crate::{Address, Duration, Instant, PerClass, Priority};

/// Segments of one message follow each other at this pace, by priority. The urgent go as fast as the link lets
/// them; the others leave every relay a free slot between two, so that a flood of segments does not collide with
/// itself. A guess, to be held against the simulated air.
const PACE: PerClass<Duration> =
    PerClass::new([Duration::ZERO, Duration::ZERO, Duration::from_millis(24), Duration::from_millis(36)]);
/// With at most this many segments missing all are sent again at a timeout, otherwise the last one as a probe.
pub(super) const RESEND_ALL: u32 = 8;
/// Timeouts in a row after which a receiver counts as silent, and other transfers go before. A guess: by then four
/// times the longest round trip has passed.
pub(super) const SILENT_AFTER: u8 = 3;

/// A block to send, in segments or as a single frame.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) delivery: Delivery,
    pub(super) total: u32,
    pub(super) offset: u32,
    pub(super) part_len: u32,
    pub(super) cut: Cut,
    /// The neighbour that the first segment was sent to last, and that takes those in continuation frames.
    pub(super) via: Address,
    /// How often it was cut anew.
    pub(super) cuts: u8,
    /// Whether somebody on the way takes no long frames.
    pub(super) legacy: bool,
    pub(super) transfer: TransferId,
    pub(super) single: bool,
    pub(super) block: Vec<u8, BLOCK_MAX, u16>,
    /// Bit n: the receiver is known to hold segment n.
    pub(super) held: u64,
    /// Bit n: segment n of this block has been on the air.
    pub(super) sent: u64,
    /// Bit n: segment n is to be sent now, as soon as its turn comes.
    pub(super) pending: u64,
    pub(super) next_at: Instant,
    pub(super) timeout_at: Option<Instant>,
    /// Timeouts in a row without a sign of life.
    pub(super) attempts: u8,
    /// Whether the way that it took is broken.
    pub(super) astray: bool,
    /// SEQs of the first and the last of its frames, and how many there were.
    pub(super) first_seq: u32,
    pub(super) last_seq: u32,
    pub(super) frames: u16,
    pub(super) last_sent: Instant,
    /// When the first of all its frames left.
    pub(super) began: Ticks,
    /// Whether a segment of this block went twice: an answer then does not say to which of the two, and shows no round trip.
    pub(super) retransmitted: bool,
    /// Epoch and SEQ of the newest ack.
    pub(super) last_ack: Option<(u32, u32)>,
    /// Whether the application is to supply the part at `offset`.
    pub(super) wants_part: bool,
    /// The whole message has been on the air once.
    pub(super) all_sent: bool,
    pub(super) rounds: u8,
    /// To many; bit n: segment n was sent in the present pass, or the one just over.
    pub(super) passed: u64,
    /// To many: so many nodes are known to have all of it.
    pub(super) tallied: u16,
    /// How many times it was served; the least served of a class goes next.
    pub(super) turn: u32,
    /// The ordinal of the message at this node: the oldest runs first.
    pub(super) born: u32,
}

impl Slot {
    pub(super) const fn new(now: Instant, delivery: Delivery, total: u32, cut: Cut, born: u32) -> Self {
        Self {
            delivery,
            total,
            offset: 0,
            part_len: 0,
            cut,
            via: Address::NONE,
            cuts: 0,
            legacy: false,
            transfer: TransferId::new(0),
            single: false,
            block: Vec::new(),
            held: 0,
            sent: 0,
            pending: 0,
            next_at: now,
            timeout_at: None,
            attempts: 0,
            astray: false,
            first_seq: 0,
            last_seq: 0,
            frames: 0,
            last_sent: now,
            began: Ticks::of(now),
            retransmitted: false,
            last_ack: None,
            wants_part: false,
            all_sent: false,
            rounds: 1,
            passed: 0,
            tallied: 0,
            turn: 0,
            born,
        }
    }

    /// Begins with the part at its offset. A block in segments is a new transfer each time, also when the same part is sent
    /// again: its receiver may still hold the old one, whole, and would answer for that.
    pub(super) fn load(&mut self, now: Instant, own: Address, next_transfer: &mut TransferId, bytes: &[u8]) {
        let whole = bytes.len() == self.total as usize;
        let head = BlockHead {
            message: self.delivery.id,
            part: (!whole).then_some(Part { total: self.total, offset: self.offset }),
        };
        let mut buffer = head_buffer();
        let len = head.write(&mut buffer);
        self.block.clear();
        // `fits_one_block` and `part_len` leave room for head and CRC.
        let _ = self.block.extend_from_slice(&buffer[..len]);
        let _ = self.block.extend_from_slice(bytes);
        self.part_len = bytes.len() as u32;
        self.number(own, next_transfer, whole);
        // The pause behind the block before holds for this one too.
        self.next_at = self.next_at.max(now);
        self.timeout_at = None;
        self.attempts = 0;
        self.cuts = 0;
        self.astray = false;
        self.frames = 0;
        self.retransmitted = false;
        self.wants_part = false;
    }

    /// Segment `index` was sealed for the radio; see [`Outbox::sent`](super::Outbox::sent).
    pub(super) fn sent(&mut self, now: Instant, index: u8, timeout: Duration, paced: bool) -> bool {
        let again = self.was_sent(index);
        let bit = 1u64 << index;
        if !self.has_begun() {
            self.began = Ticks::of(now);
        }
        self.retransmitted |= again;
        self.sent |= bit;
        self.passed |= bit;
        self.pending &= !bit;
        self.last_sent = now;
        self.next_at = now + self.pause(paced);
        // One timer for the whole pass: while segments are still to come, an answer is not late.
        if self.pending == 0 {
            self.all_sent |= self.is_last_part();
            self.timeout_at = Some(now + if self.to_many() { self.many_wait() } else { timeout });
        }
        again
    }

    /// The pause behind a segment.
    fn pause(&self, paced: bool) -> Duration {
        match (self.single || !paced, self.to_many()) {
            (true, _) => Duration::ZERO,
            (false, true) => self.many_pause(),
            (false, false) => PACE[self.delivery.priority],
        }
    }

    /// An ack of this transfer; see [`Outbox::acked`](super::Outbox::acked).
    pub(super) fn acked(
        &mut self,
        now: Instant,
        ack: &Ack,
        stamp: (u32, u32),
        timeout: impl FnOnce(Priority, u8) -> Duration,
    ) -> Option<(Option<Progress>, Option<Duration>)> {
        // Acks overtake each other on the way. An older one would take back what a newer one has said.
        if self.last_ack.is_some_and(|last| stamp <= last) {
            return None;
        }
        self.last_ack = Some(stamp);
        let count = self.count();
        let (held, said) = ack.held_and_said();
        // What the ack speaks of is the truth at the receiver, even when that is less than before: it may have
        // given the set up and begun again. What was never sent nobody holds, whatever an ack says.
        let before = self.held;
        self.held = ((self.held & !said) | held) & all(count) & self.sent;
        // An ack that says nothing new is a sign of life, and no reason to ask faster again.
        if self.held != before {
            self.attempts = 0;
            self.astray = false;
        }
        let sample = self.round_trip(now);
        if self.held == all(count) {
            self.pending = 0;
            if self.is_last_part() {
                // Its receipt comes by itself, or else the timeout asks for it.
                self.timeout_at = Some(now + timeout(self.delivery.priority, self.attempts));
                return Some((None, sample));
            }
            return Some((Some(self.want_part(self.offset + self.part_len)), sample));
        }
        if self.pending == 0 {
            // The first pass is over: what is missing now is lost. Segments the ack does not speak of wait for
            // the next ack, unless nothing else is missing.
            let missing = all(count) & !self.held;
            self.pending = if missing & said != 0 { missing & said } else { missing };
            self.next_at = self.next_at.max(now);
            self.timeout_at = None;
        } else {
            // In the middle of a pass a gap need not be a loss: the segment may still be on its way, or be the next to go.
            self.pending &= !self.held;
            if self.pending == 0 {
                self.pending = all(count) & !self.held;
            }
        }
        Some((None, None))
    }

    /// No neighbour takes segment `index`: it goes again, to all.
    pub(super) fn lost(&mut self, index: u8) {
        let bit = 1u64 << index;
        if self.sent & bit & !self.held != 0 && !self.wants_part {
            self.astray = true;
            self.pending |= bit;
            self.timeout_at = None;
        }
    }

    /// A node on the way has given up one of its frames: what is missing is sent again as if the timer had run out. Once for all
    /// the frames so far, which may all have met the same end.
    pub(super) fn undelivered(&mut self, now: Instant) {
        self.frames = 0;
        if self.pending == 0 && !self.wants_part {
            self.timeout_at = None;
            self.retry(now);
        } else {
            self.astray = true;
        }
    }

    /// The destination's verdict, with the round-trip time where it shows it; `None` if it changes nothing.
    pub(super) fn decided(&mut self, now: Instant, verdict: Verdict) -> Option<(Progress, Option<Duration>)> {
        let outcome = match verdict {
            Verdict::Delivered => SendOutcome::Delivered,
            Verdict::Processed => SendOutcome::Processed,
            Verdict::Rejected(reason) => SendOutcome::Rejected(reason),
            // It is at the first part already: a second copy of the same verdict must not begin it once more.
            Verdict::Restart if self.offset == 0 => return None,
            Verdict::Restart => return Some((self.want_part(0), None)),
        };
        Some((Progress::Done(self.delivery.id, outcome), self.round_trip(now)))
    }

    /// What is due, a deadline first; only what the application has to know is returned.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<Progress> {
        if self.delivery.deadline <= now {
            let outcome = if !self.all_sent {
                SendOutcome::Expired
            } else if self.to_many() {
                SendOutcome::Sent
            } else {
                SendOutcome::Unknown
            };
            return Some(Progress::Done(self.delivery.id, outcome));
        }
        if self.timeout_at.is_none_or(|at| at > now) {
            return None;
        }
        self.timeout_at = None;
        if self.to_many() {
            return self.next_round(now);
        }
        self.retry(now);
        None
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(super) fn next_timeout(&self) -> Instant {
        self.timeout_at.map_or(self.delivery.deadline, |at| at.min(self.delivery.deadline))
    }

    /// The time from the last segment to an answer that comes `now`, if it is an answer to that one (Karn's algorithm,
    /// RFC 6298 section 3).
    fn round_trip(&self, now: Instant) -> Option<Duration> {
        (!self.retransmitted && self.pending == 0).then(|| now.since(self.last_sent))
    }

    pub(super) const fn was_sent(&self, index: u8) -> bool {
        self.sent & 1 << index != 0
    }

    /// How many segments its block takes.
    pub(super) fn count(&self) -> u8 {
        self.cut.count(self.block.len())
    }

    /// Bytes of the part at its offset.
    pub(super) fn wanted(&self) -> usize {
        PART_LEN.min((self.total - self.offset) as usize)
    }

    /// The segment that is sent next, of those that wait.
    pub(super) fn next_index(&self) -> u8 {
        self.pending.trailing_zeros() as u8
    }

    pub(super) fn is_taken(&self, takes: impl Fn(Address, Priority, bool) -> bool) -> bool {
        let again = self.was_sent(self.next_index());
        takes(self.delivery.destination, self.delivery.priority, again)
    }

    pub(super) fn is_last_part(&self) -> bool {
        self.offset + self.part_len == self.total
    }

    pub(super) fn has_begun(&self) -> bool {
        self.sent != 0 || self.offset != 0
    }

    /// Whether the time it takes says how long such messages take: it is in segments to one node, and has been on the air.
    pub(super) fn shows_service(&self) -> bool {
        !self.single && !self.to_many() && self.has_begun()
    }

    /// Whether its receiver may be away: it was silent more than once.
    pub(super) const fn is_unheard(&self) -> bool {
        self.attempts > 1
    }

    /// Whether it only waits for a verdict, or for a sign of life of a receiver that has long been silent.
    pub(super) fn is_idle(&self) -> bool {
        !self.wants_part && (self.held == all(self.count()) || self.attempts >= SILENT_AFTER)
    }

    /// No answer came: send again what is missing, or one segment, the answer to which says what is.
    fn retry(&mut self, now: Instant) {
        let count = if self.single { 1 } else { self.count() };
        let missing = all(count) & !self.held;
        self.attempts = self.attempts.saturating_add(1);
        // Of many that are missing, most may be here and only the ack be lost: one probe costs less than all of them, and
        // its answer says which. Where nothing is missing but the receipt, the probe brings it too.
        // What follows a first segment that is not there says nothing to its receiver.
        let probe = if self.cut.is_continued() && self.held & 1 == 0 { 0 } else { count - 1 };
        // What each hop was heard to take is hardly lost. All of it again, under new SEQs, would also be something to record: when a
        // receiver loses its power, what it took before its last write is kept from it, and no more.
        let taken = self.cut.is_continued() && self.attempts == 1 && !self.astray;
        let all_again = missing != 0 && missing.count_ones() <= RESEND_ALL && !taken;
        self.pending = if all_again { missing } else { 1 << probe };
        self.next_at = self.next_at.max(now);
    }

    /// Stops here until the application supplies the part at `offset`.
    pub(super) fn want_part(&mut self, offset: u32) -> Progress {
        self.offset = offset;
        self.pending = 0;
        self.timeout_at = None;
        self.wants_part = true;
        Progress::WantsPart { id: self.delivery.id, offset, len: self.wanted() }
    }
}
