//! One set: the segments of a block that are here.
//!
//! Owns what a set knows of itself. When it is opened, acked and given up is for the table.

use super::Origin;
use crate::segment::{BLOCK_MAX, CONTINUATION_LEN, Cut, Segment, TransferId};
use crate::{Address, Duration, Instant, PerClass, Priority};

/// An ack goes out when no new segment came for this long, by priority: three segments at their pace, and the spread
/// of relay delays. A guess, held against the simulated air.
const QUIET: PerClass<Duration> = PerClass::new([
    Duration::from_millis(60),
    Duration::from_millis(60),
    Duration::from_millis(100),
    Duration::from_millis(100),
]);
/// So many times as long where each hop on the way repeats what is lost on it. A guess.
const CUSTODY_QUIET: u64 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Free,
    Open,
    /// Whole, waiting for the application.
    Whole,
}

#[derive(Clone, Debug)]
pub(super) struct Set {
    pub(super) state: State,
    pub(super) src: Address,
    pub(super) dst: Address,
    pub(super) transfer: TransferId,
    pub(super) priority: Priority,
    pub(super) hops: u8,
    pub(super) count: u8,
    pub(super) have: u64,
    /// Bytes of each segment but the last, once one is there; of a set in continuation frames, those of the first.
    pub(super) each: u8,
    /// Whether all but the first come in continuation frames.
    pub(super) continued: bool,
    /// Whether its segments come in custody: what is late is then rarely lost.
    pub(super) in_custody: bool,
    /// Bytes of the last segment, once it is there. Until the set is whole they stand at the end of `bytes`: where they
    /// belong only the others show.
    pub(super) tail: u8,
    pub(super) progressed: Instant,
    pub(super) ack_due: Option<Instant>,
    pub(super) stall_acks: u8,
    pub(super) bytes: [u8; BLOCK_MAX],
}

impl Set {
    /// Where its segments come from.
    pub(super) const fn origin(&self) -> Origin {
        let Self { src, dst, priority, hops, in_custody, .. } = *self;
        Origin { src, dst, priority, hops, in_custody }
    }

    /// For how long nothing new has come when an ack is due.
    pub(super) fn quiet(&self) -> Duration {
        QUIET[self.priority].times(if self.in_custody { CUSTODY_QUIET } else { 1 })
    }

    pub(super) fn len(&self) -> usize {
        self.cut().before((self.count - 1).into()) + usize::from(self.tail)
    }

    pub(super) fn cut(&self) -> Cut {
        Cut::of(self.each.into(), self.continued)
    }

    /// Whether a segment has the length of those that are here. The last one may be shorter. It waits at the end of `bytes`, where no
    /// other may reach.
    pub(super) fn fits(&self, segment: &Segment<'_>) -> bool {
        if self.continued != segment.continued {
            return false;
        }
        let len = segment.data.len() as u8;
        if self.continued && segment.offset != 0 {
            // The head is here, or there were no set.
            let most = CONTINUATION_LEN;
            let last = segment.offset == segment.last;
            return if last {
                self.cut().before(segment.last.into()) + len as usize <= BLOCK_MAX && len as usize <= most
            } else {
                len as usize == most
            };
        }
        let (each, tail) = if segment.offset == segment.last { (self.each, len) } else { (len, self.tail) };
        let same = self.each == 0 || self.each == each;
        same && (each == 0 || self.continued || tail <= each)
            && Cut::of(each.into(), self.continued).before(segment.last.into()) + usize::from(tail)
                <= BLOCK_MAX
    }
}
