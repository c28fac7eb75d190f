//! What this node was told by head segments that it was asked to pass on: where their continuation frames go.
//!
//! Owns the table. Seals and sends nothing. A wrong entry sends frames to a node that ignores them, or, if that has such a set
//! open, costs a CRC: what a frame says is guarded by its own MIC and the block's CRC, and never by what is here.
//!
//! Full, or a source has its share of places: the one unused for longest, of that source or of all, gives way. Frames of it are then
//! ignored until its head comes again.

use crate::segment::TransferId;
use crate::{Address, Duration, Instant, Priority};

/// An entry that was not used for so long is of an earlier transfer of that number. A guess: as long as reassembly waits.
const LASTS: Duration = Duration::from_secs(10);
/// Entries of one source at the most: no source takes the places of all others. A guess.
const PER_SOURCE: usize = 3;

/// One transfer on its way through this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Context {
    pub(crate) src: Address,
    pub(crate) transfer: TransferId,
    pub(crate) dst: Address,
    pub(crate) next: Address,
    pub(crate) priority: Priority,
    /// HOP of its frames when they come here, modulo 4.
    pub(crate) hop: u8,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    context: Context,
    /// In ticks since the start, wrapping: a small node has no room for more.
    used: u16,
}

/// Entries for each set that the node can put together.
const EACH: usize = 3;

/// At most `3 N` transfers.
#[derive(Clone, Debug)]
pub(crate) struct ContextTable<const N: usize> {
    entries: [[Option<Entry>; EACH]; N],
}

impl<const N: usize> ContextTable<N> {
    pub(crate) const fn new() -> Self {
        Self { entries: [[None; EACH]; N] }
    }

    /// A head segment was passed on; what it says takes the place of what an earlier one of this transfer said.
    pub(crate) fn open(&mut self, now: Instant, context: Context) {
        let entries = self.entries.as_flattened_mut();
        let is_same = |known: &Option<Entry>| known.is_some_and(|known| known.context.is_of(&context));
        let of_source = |known: &Option<Entry>| known.is_some_and(|known| known.context.src == context.src);
        let crowded = entries.iter().filter(|known| of_source(known)).count() >= PER_SOURCE;
        let unused = |at: &usize| entries[*at].map_or(u16::MAX, |known| ticks(now).wrapping_sub(known.used));
        let place = entries.iter().position(is_same).or_else(|| {
            (0..entries.len()).filter(|&at| !crowded || of_source(&entries[at])).max_by_key(unused)
        });
        if let Some(at) = place {
            entries[at] = Some(Entry { context, used: ticks(now) });
        }
    }

    /// Where a continuation frame of this transfer goes.
    pub(crate) fn find(&mut self, now: Instant, src: Address, transfer: TransferId) -> Option<Context> {
        let known = self.entries.as_flattened_mut().iter_mut().flatten().find(|known| {
            known.context.src == src
                && known.context.transfer == transfer
                && ticks(now).wrapping_sub(known.used) < (LASTS.as_micros() >> TICK) as u16
        })?;
        known.used = ticks(now);
        Some(known.context)
    }
}

impl Context {
    fn is_of(&self, other: &Self) -> bool {
        self.src == other.src && self.transfer == other.transfer
    }
}

/// A tick is 2 to this power of microseconds: 65.5 ms.
const TICK: u32 = 16;

fn ticks(now: Instant) -> u16 {
    (now.as_micros() >> TICK) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(src: u16, transfer: u16) -> Context {
        Context {
            src: Address::new(src),
            transfer: TransferId::new(transfer),
            dst: Address::new(9),
            next: Address::new(8),
            priority: Priority::Low,
            hop: 1,
        }
    }

    fn at(ms: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(ms)
    }

    fn knows<const N: usize>(table: &mut ContextTable<N>, now: Instant, src: u16, transfer: u16) -> bool {
        table.find(now, Address::new(src), TransferId::new(transfer)).is_some()
    }

    #[test]
    fn a_head_says_where_the_others_go_until_they_stop_coming() {
        let mut table = ContextTable::<2>::new();
        table.open(at(0), context(1, 5));
        assert_eq!(table.find(at(9_900), Address::new(1), TransferId::new(5)), Some(context(1, 5)));
        assert!(!knows(&mut table, at(9_900), 2, 5) && !knows(&mut table, at(9_900), 1, 6));
        assert!(knows(&mut table, at(19_700), 1, 5), "it was used in between");
        assert!(!knows(&mut table, at(29_800), 1, 5));
        let other = Context { next: Address::new(7), ..context(1, 5) };
        table.open(at(30_000), other);
        assert_eq!(table.find(at(30_000), Address::new(1), TransferId::new(5)), Some(other));
    }

    #[test]
    fn a_full_table_lets_the_one_go_that_was_unused_for_longest() {
        let mut table = ContextTable::<1>::new();
        for src in 1..=3 {
            table.open(at(100 * u64::from(src)), context(src, 1));
        }
        assert!(knows(&mut table, at(500), 1, 1));
        table.open(at(600), context(4, 1));
        assert!(!knows(&mut table, at(700), 2, 1));
        assert!([1, 3, 4].into_iter().all(|src| knows(&mut table, at(700), src, 1)));
    }

    #[test]
    fn a_greedy_source_takes_only_its_own_places() {
        let mut table = ContextTable::<2>::new();
        table.open(at(0), context(2, 1));
        for transfer in 0..100 {
            table.open(at(1 + u64::from(transfer)), context(1, transfer));
        }
        assert!(knows(&mut table, at(200), 2, 1) && knows(&mut table, at(200), 1, 99));
        assert!(!knows(&mut table, at(200), 1, 99 - PER_SOURCE as u16));
    }
}
