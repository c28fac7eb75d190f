//! Frames that a neighbour was asked to take, and that stay until it is heard to have them.
//!
//! Owns what is waited for. When to ask again, whom, and what becomes of a frame that nobody takes is for `node`.

use super::{AirQueue, Custody, Entry, Gone, HOP_WINDOW, LAST_WINDOW, Overdue, Piece, Taken};
use crate::control::HopAck;
use crate::frame::retarget_next;
use crate::seen::FrameKey;
use crate::{Address, Duration, Instant, MessageId};

impl<const FRAME: usize> Entry<FRAME> {
    /// Whether it was sent, and its next hop was not heard yet.
    fn is_asked(&self) -> bool {
        self.tries > 0 && self.in_custody()
    }

    pub(super) fn taken(&self, now: Instant) -> Taken {
        let after = (now.as_micros() as u32).wrapping_sub(self.asked_at);
        Taken {
            next: self.frame.custody.next,
            to: self.frame.custody.to,
            piece: self.frame.piece,
            // Which of several transmissions was heard cannot be told (Karn's algorithm).
            again: self.tries > 1,
            after: (self.tries == 1 && self.frame.custody.patience == 0)
                .then_some(Duration::from_micros(after.into())),
        }
    }
}

impl<const N: usize, const FRAME: usize> AirQueue<N, FRAME> {
    /// Whether a frame that is due may be sent: not the first time while its next hop has too many to answer for.
    pub(super) fn may_go(&self, entry: &Entry<FRAME>) -> bool {
        if entry.tries > 0 || !entry.in_custody() {
            return true;
        }
        let Custody { next, to, .. } = entry.frame.custody;
        let asked = self.entries.iter().filter(|e| e.is_asked() && e.frame.custody.next == next).count();
        asked < if next == to { LAST_WINDOW } else { HOP_WINDOW }
    }

    /// How many frames for a node have been handed on and not been heard of.
    pub(crate) fn unheard(&self, to: Address) -> usize {
        self.entries.iter().filter(|entry| entry.frame.custody.to == to && entry.is_asked()).count()
    }

    /// Whether next to nothing else has a place here.
    pub(crate) fn is_full_of_custody(&self) -> bool {
        self.entries.iter().filter(|entry| entry.in_custody()).count() * 4 >= N * 3
    }

    /// Whether own frames wait, for whom so many are under way or for room.
    pub(crate) fn holds_back(&self) -> bool {
        let many = |entry: &Entry<FRAME>| self.unheard(entry.frame.custody.to) >= LAST_WINDOW;
        self.is_full_of_custody() || self.entries.iter().any(many)
    }

    /// The custody of the frame that [`pick`](Self::pick) chose, and how often its next hop was asked.
    pub(crate) fn custody(&self, at: usize) -> Option<(Custody, u8)> {
        let entry = &self.entries[at];
        entry.in_custody().then_some((entry.frame.custody, entry.tries))
    }

    /// The TTL that a frame has which waits here for a neighbour to take it.
    pub(crate) fn holds(&self, key: FrameKey) -> Option<u8> {
        self.entries.iter().find(|entry| entry.frame.key == key && entry.in_custody()).map(|e| e.frame.ttl)
    }

    /// A copy of a frame was heard with `ttl`: if it is lower than that of the one that waits here, its next hop has passed
    /// that on.
    pub(crate) fn passed_on(&mut self, now: Instant, key: FrameKey, ttl: u8) -> Option<Taken> {
        let passed = |e: &Entry<FRAME>| {
            let Custody { next, to, named, .. } = e.frame.custody;
            e.frame.key == key && e.is_asked() && (named || next != to) && ttl < e.frame.ttl
        };
        let at = self.entries.iter().position(passed)?;
        Some(self.entries.swap_remove(at).taken(now))
    }

    /// The next of the frames that `from` says it has.
    pub(crate) fn hop_acked(&mut self, now: Instant, from: Address, ack: &HopAck) -> Option<Taken> {
        let named = |e: &Entry<FRAME>| {
            let Custody { next, to, .. } = e.frame.custody;
            e.frame.key.src == ack.src
                && ack.names(e.frame.key.seq)
                && e.is_asked()
                && (next == from || to == from)
        };
        let at = self.entries.iter().position(named)?;
        Some(self.entries.swap_remove(at).taken(now))
    }

    /// What `from` does not say it has, though it has what was sent after it, is lost: it goes again without waiting.
    pub(crate) fn left_out(&mut self, now: Instant, from: Address, ack: &HopAck) {
        for entry in &mut self.entries {
            let lies_between = entry.frame.key.src == ack.src
                && (ack.seq.saturating_sub(8)..ack.seq).contains(&entry.frame.key.seq)
                && !ack.names(entry.frame.key.seq);
            let due = &mut entry.frame.due;
            if lies_between && entry.tries == 1 && entry.pending == 0 && entry.frame.custody.next == from {
                *due = now.min(*due);
            }
        }
    }

    /// The next frame whose next hop was not heard in time.
    pub(crate) fn overdue(&self, now: Instant) -> Option<Overdue> {
        let late = |e: &Entry<FRAME>| e.is_asked() && e.pending == 0 && e.frame.due <= now;
        let at = self.entries.iter().position(late)?;
        let Entry { frame, tries, .. } = &self.entries[at];
        Some(Overdue {
            at,
            custody: frame.custody,
            src: frame.key.src,
            piece: frame.piece,
            priority: frame.priority,
            tries: *tries,
        })
    }

    /// Whether the next hop of a frame has not been heard to take an earlier one of the same source either.
    pub(crate) fn follows_unheard(&self, at: usize) -> bool {
        let late = &self.entries[at].frame;
        let is_earlier = |e: &Entry<FRAME>| {
            let FrameKey { src, epoch, seq } = e.frame.key;
            (src, epoch) == (late.key.src, late.key.epoch)
                && seq < late.key.seq
                && e.is_asked()
                && e.frame.custody.next == late.custody.next
        };
        self.entries.iter().any(is_earlier)
    }

    /// When one is.
    pub(crate) fn next_overdue(&self) -> Option<Instant> {
        self.entries.iter().filter(|e| e.is_asked() && e.pending == 0).map(|e| e.frame.due).min()
    }

    /// Sends a frame once more, as it is.
    pub(crate) fn repeat(&mut self, now: Instant, at: usize) {
        let entry = &mut self.entries[at];
        entry.pending = entry.frame.again();
        entry.frame.due = now;
    }

    /// Waits longer for the next hop of a frame.
    pub(crate) fn wait(&mut self, at: usize, until: Instant) {
        self.entries[at].frame.due = until;
    }

    /// Hands a frame to another next hop, which it names in the place of the one before.
    pub(crate) fn ask(&mut self, now: Instant, at: usize, custody: Custody) {
        let entry = &mut self.entries[at];
        retarget_next(&mut entry.frame.bytes, entry.frame.custody.next, Some(custody.next));
        entry.frame.custody = custody;
        entry.tries = 0;
        self.repeat(now, at);
    }

    /// Leaves a frame to all that hear it.
    pub(crate) fn flood(&mut self, now: Instant, at: usize, copies: u8) {
        let entry = &mut self.entries[at];
        let len = retarget_next(&mut entry.frame.bytes, entry.frame.custody.next, None);
        entry.frame.bytes.truncate(len);
        entry.frame.custody = Custody { data: entry.frame.custody.data, ..Custody::NONE };
        entry.frame.copies = copies;
        entry.sent = 0;
        entry.tries = 0;
        self.repeat(now, at);
    }

    /// Whatever waits of an own message is not to go any more.
    pub(crate) fn forget(&mut self, message: MessageId) {
        self.entries.retain(|entry| !entry.frame.piece.is_some_and(|piece| piece.is_of(message)));
    }

    /// Takes a frame out that nobody takes.
    pub(crate) fn give_up(&mut self, at: usize) -> Gone {
        self.entries.swap_remove(at).gone()
    }

    /// A neighbour does not answer: nothing that it has been asked for needs to wait any longer.
    pub(crate) fn hurry(&mut self, now: Instant, next: Address) {
        for entry in self.entries.iter_mut().filter(|e| e.is_asked() && e.frame.custody.next == next) {
            entry.frame.due = now;
            entry.pending = 0;
        }
    }

    /// A segment goes once more under a new SEQ: what waits of it is needless.
    pub(crate) fn drop_piece(&mut self, piece: Piece) {
        self.entries.retain(|entry| entry.frame.piece != Some(piece));
    }
}
