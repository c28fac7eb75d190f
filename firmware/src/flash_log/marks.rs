//! Replay marks that are kept over a restart.
//!
//! Owns the table of them: one mark for each source, which only goes up.
//!
//! A board has a table of the size of its node's. There it is never full: a source from which a node has taken something is never forgotten,
//! so that a node brings marks of no more sources than it has room for, those of earlier lives among them.

use heapless::Vec;
use mesh_protocol::{Address, ReplayMark};

/// A table of marks, one for each source.
pub trait Marks {
    /// The mark of a source.
    fn get(&self, source: Address) -> Option<ReplayMark>;

    /// Keeps the higher of this mark and the one that is there. `false`, and nothing changes, when there is no room for another source.
    fn raise(&mut self, mark: ReplayMark) -> bool;

    /// For how many sources more there is room.
    fn room(&self) -> usize;

    /// All of them.
    fn iter(&self) -> impl Iterator<Item = ReplayMark> + '_;
}

/// Whether `mark` says no more than `kept` does: a later epoch outdoes every SEQ of an earlier one.
pub(crate) fn covers(kept: ReplayMark, mark: ReplayMark) -> bool {
    (kept.epoch, kept.seq) >= (mark.epoch, mark.seq)
}

/// Marks of at most `N` sources, in no order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MarkTable<const N: usize>(Vec<ReplayMark, N>);

impl<const N: usize> MarkTable<N> {
    /// An empty one.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }
}

impl<const N: usize> Marks for MarkTable<N> {
    fn get(&self, source: Address) -> Option<ReplayMark> {
        self.0.iter().find(|mark| mark.src == source).copied()
    }

    fn raise(&mut self, mark: ReplayMark) -> bool {
        match self.0.iter_mut().find(|kept| kept.src == mark.src) {
            Some(kept) => {
                if !covers(*kept, mark) {
                    *kept = mark;
                }
                true
            }
            None => self.0.push(mark).is_ok(),
        }
    }

    fn room(&self) -> usize {
        N - self.0.len()
    }

    fn iter(&self) -> impl Iterator<Item = ReplayMark> + '_ {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn mark(source: u16, epoch: u32, seq: u32) -> ReplayMark {
        ReplayMark { src: Address::new(source), epoch, seq }
    }

    #[test]
    fn marks_only_go_up_and_a_full_table_takes_no_other_source() {
        let mut marks = MarkTable::<2>::new();
        for (raised, kept) in
            [(mark(1, 1, 7), 7), (mark(1, 1, 5), 7), (mark(1, 2, 3), 3), (mark(1, 1, 99), 3)]
        {
            assert!(marks.raise(raised));
            assert_eq!(marks.get(Address::new(1)).map(|mark| mark.seq), Some(kept));
        }
        assert!(marks.raise(mark(2, 1, 1)));
        assert_eq!(marks.room(), 0);
        assert!(!marks.raise(mark(3, 1, 1)), "no room");
        assert!(marks.raise(mark(2, 1, 2)), "one that is there goes on");
        assert_eq!(marks.iter().count(), 2);
    }
}
