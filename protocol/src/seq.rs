//! SEQ numbers: never twice under one key, not even over a power cut.
//!
//! Owns the counter and its reservation. A block of numbers is written and synced by the host before the first
//! of them is used; after a restart the node goes on behind the last reserved one, or where the host says that it stopped.
//! The first block is small and each is twice the one before, so that a node that starts often and says little does not
//! use up its numbers by starting. Never wraps.

use crate::frame::SEQ_MAX;

/// The first block after a start. A guess: some minutes of a quiet node's hellos.
pub const FIRST_BLOCK: u32 = 64;

/// Why there is no next number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SeqError {
    /// The host has not yet confirmed a reservation.
    NotReserved,
    /// All 24 bits are used: under this address nothing more is sent in this epoch.
    Exhausted,
}

/// The counter of one epoch.
#[derive(Clone, Debug)]
pub(crate) struct SeqCounter {
    next: u32,
    /// First number that is not reserved.
    limit: u32,
    /// The limit asked for and not yet confirmed, if any.
    asked: Option<u32>,
    /// How many the last reservation asked for was good for.
    block: u32,
    /// How many the next one will be.
    next_block: u32,
    /// The most of a block.
    most: u32,
    warned: bool,
}

impl SeqCounter {
    /// Goes on at `start`, the first number that was never used, in blocks of at most `most`.
    pub(crate) const fn new(start: u32, most: u32) -> Self {
        let most = if most == 0 { 1 } else { most };
        let next_block = if most < FIRST_BLOCK { most } else { FIRST_BLOCK };
        Self { next: start, limit: start, asked: None, block: 0, next_block, most, warned: false }
    }

    /// The reservation to ask the host for, once for each block: when half of the last one is used.
    pub(crate) fn wants(&mut self) -> Option<u32> {
        if self.asked.is_some()
            || self.limit > SEQ_MAX
            || self.limit.saturating_sub(self.next) > self.block / 2
        {
            return None;
        }
        self.block = self.next_block;
        self.next_block = self.block.saturating_mul(2).min(self.most);
        let up_to = self.limit.max(self.next).saturating_add(self.block).min(SEQ_MAX + 1);
        self.asked = Some(up_to);
        Some(up_to)
    }

    /// Whether [`wants`](Self::wants) or [`low`](Self::low) has something to say.
    pub(crate) fn has_news(&self) -> bool {
        self.clone().wants().is_some() || self.clone().low()
    }

    /// The host has synced "everything below `up_to` may be used".
    pub(crate) fn reserved(&mut self, up_to: u32) {
        if self.asked == Some(up_to) {
            self.asked = None;
        }
        self.limit = self.limit.max(up_to.min(SEQ_MAX + 1));
    }

    /// Leaves out `seq`, which another used, and a block behind it. What comes then is reserved first like any other.
    pub(crate) fn go_beyond(&mut self, seq: u32) {
        self.next = self.next.max(seq.saturating_add(1 + self.most).min(SEQ_MAX + 1));
    }

    /// Takes the next number.
    pub(crate) fn take(&mut self) -> Result<u32, SeqError> {
        self.ready()?;
        let seq = self.next;
        self.next += 1;
        Ok(seq)
    }

    /// Whether [`take`](Self::take) would succeed.
    pub(crate) const fn ready(&self) -> Result<(), SeqError> {
        if self.next > SEQ_MAX {
            Err(SeqError::Exhausted)
        } else if self.next >= self.limit {
            Err(SeqError::NotReserved)
        } else {
            Ok(())
        }
    }

    /// Whether this node cannot have sent `seq`: it lies ahead of all it ever used.
    pub(crate) const fn never_sent(&self, seq: u32) -> bool {
        seq >= self.next
    }

    /// `true` once, when three quarters are used: time for a new address.
    pub(crate) const fn low(&mut self) -> bool {
        let low = !self.warned && self.next > SEQ_MAX / 4 * 3;
        self.warned |= low;
        low
    }

    pub(crate) const fn next(&self) -> u32 {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_sent_before_the_reservation_is_synced() {
        let mut seq = SeqCounter::new(0, 8);
        assert_eq!(seq.take(), Err(SeqError::NotReserved));
        assert_eq!(seq.wants(), Some(8));
        assert_eq!(seq.wants(), None, "asked once");
        assert_eq!(seq.take(), Err(SeqError::NotReserved));
        seq.reserved(8);
        for expected in 0..4 {
            assert_eq!(seq.wants(), None);
            assert_eq!(seq.take(), Ok(expected));
        }
        assert_eq!(seq.wants(), Some(16), "half is used: ask ahead");
        for expected in 4..8 {
            assert_eq!(seq.take(), Ok(expected));
        }
        assert_eq!(seq.take(), Err(SeqError::NotReserved));
        seq.reserved(16);
        assert_eq!(seq.take(), Ok(8));
    }

    #[test]
    fn blocks_begin_small_and_grow_with_use() {
        let mut seq = SeqCounter::new(10, 4096);
        let mut limits = Vec::new();
        for _ in 0..20_000 {
            if let Some(up_to) = seq.wants() {
                limits.push(up_to);
                seq.reserved(up_to);
            }
            seq.take().unwrap();
        }
        let sizes: Vec<u32> =
            [10].iter().chain(&limits).zip(&limits).map(|(before, up_to)| up_to - before).collect();
        assert_eq!(sizes[..8], [64, 128, 256, 512, 1024, 2048, 4096, 4096]);
    }

    #[test]
    fn a_node_that_starts_often_and_stops_in_order_uses_up_what_it_says() {
        let mut next = 0;
        for _ in 0..SEQ_MAX / 2 {
            let mut seq = SeqCounter::new(next, 4096);
            let up_to = seq.wants().unwrap();
            seq.reserved(up_to);
            seq.take().unwrap();
            next = seq.next();
        }
        assert_eq!(next, SEQ_MAX / 2);
    }

    #[test]
    fn it_never_wraps() {
        let mut seq = SeqCounter::new(SEQ_MAX - 1, 4096);
        assert_eq!(seq.wants(), Some(SEQ_MAX + 1));
        seq.reserved(SEQ_MAX + 1);
        assert!(seq.low());
        assert!(!seq.low(), "said once");
        assert_eq!(seq.take(), Ok(SEQ_MAX - 1));
        assert_eq!(seq.take(), Ok(SEQ_MAX));
        assert_eq!(seq.take(), Err(SeqError::Exhausted));
        assert_eq!(seq.wants(), None);
    }

    #[test]
    fn a_number_ahead_of_the_counter_was_sent_by_someone_else() {
        let mut seq = SeqCounter::new(100, 10);
        seq.reserved(110);
        assert_eq!(seq.take(), Ok(100));
        assert!(!seq.never_sent(99), "an earlier run may have sent it");
        assert!(!seq.never_sent(100));
        assert!(seq.never_sent(101));
    }
}
