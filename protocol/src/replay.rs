//! Replay windows: which (source, SEQ) were taken before.
//!
//! Owns one 64-bit window per source and epoch. Is asked only with verified frames. Whether a copy of a known
//! frame is still of use (a higher TTL) is decided in `seen`.
//!
//! Full table: a source all of whose frames were for others, and only passed on here, gives way to a new one. One that
//! this node has taken something from is never forgotten; where all are such, a new one is refused (fail closed).

use heapless::Vec;

use crate::{Address, Discard};

/// SEQs below the highest that can still be told apart.
const WINDOW: u32 = 64;

/// How much is known of a verified (source, epoch, SEQ).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// Not met before; now marked.
    New,
    /// Inside the window and met before.
    Met,
}

/// The highest SEQ of a source that a node has taken; kept over a restart, it shuts out older frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayMark {
    /// Whose frames.
    pub src: Address,
    /// In which epoch.
    pub epoch: u32,
    /// The highest SEQ taken.
    pub seq: u32,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    mark: ReplayMark,
    /// Bit n: `mark.seq - n` was met.
    met: u64,
    /// Something of it was taken here, not only passed on.
    taken: bool,
    /// It came when the table was full, so that there may have been a window before of which nothing is left: what its
    /// frames in transit tell of paths and neighbours may be old.
    late: bool,
}

/// At most `N` sources, sorted by address so that a look-up is a binary search.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReplayTable<const N: usize> {
    windows: Vec<Window, N>,
    /// Where to look next for one that gives way.
    hand: usize,
    /// One has given way to the source that is marked next.
    made_room: bool,
}

impl<const N: usize> ReplayTable<N> {
    pub(crate) const fn new() -> Self {
        Self { windows: Vec::new(), hand: 0, made_room: false }
    }

    /// Looks without marking, so that a later check can still refuse the frame.
    pub(crate) fn check(&self, src: Address, epoch: u32, seq: u32) -> Result<Freshness, Discard> {
        let Ok(at) = self.find(src) else {
            return if self.windows.is_full() { Err(Discard::ReplayTableFull) } else { Ok(Freshness::New) };
        };
        let window = &self.windows[at];
        if epoch > window.mark.epoch {
            return Ok(Freshness::New);
        }
        if epoch < window.mark.epoch {
            return Err(Discard::Replay);
        }
        if seq > window.mark.seq {
            return Ok(Freshness::New);
        }
        match window.mark.seq - seq {
            age if age >= WINDOW => Err(Discard::Replay),
            age if window.met & (1 << age) != 0 => Ok(Freshness::Met),
            _ => Ok(Freshness::New),
        }
    }

    /// Makes room for a source in a full table, if there is one that gives way: each in turn.
    pub(crate) fn make_room(&mut self) -> bool {
        let len = self.windows.len();
        let gives_way = (0..len).map(|n| (self.hand + n) % len).find(|at| !self.windows[*at].taken);
        if let Some(at) = gives_way {
            self.windows.remove(at);
            self.hand = at;
            self.made_room = true;
        }
        gives_way.is_some()
    }

    /// Marks what [`check`](Self::check) found to be new; `taken` if it is not only passed on.
    pub(crate) fn mark(&mut self, src: Address, epoch: u32, seq: u32, taken: bool) {
        let fresh = Window { mark: ReplayMark { src, epoch, seq }, met: 1, taken, late: self.made_room };
        match self.find(src) {
            Err(at) => self.insert(at, fresh),
            Ok(at) if epoch > self.windows[at].mark.epoch => {
                let Window { taken: before, late, .. } = self.windows[at];
                self.windows[at] = Window { taken: taken || before, late, ..fresh };
            }
            Ok(at) => {
                let window = &mut self.windows[at];
                window.taken |= taken;
                if seq > window.mark.seq {
                    let ahead = seq - window.mark.seq;
                    window.met = if ahead >= WINDOW { 0 } else { window.met << ahead } | 1;
                    window.mark.seq = seq;
                } else {
                    window.met |= 1 << (window.mark.seq - seq);
                }
            }
        }
    }

    /// Whether what a source's frames in transit tell of the way to it is new.
    pub(crate) fn is_current(&self, src: Address) -> bool {
        self.find(src).is_ok_and(|at| self.windows[at].taken || !self.windows[at].late)
    }

    /// Restores a mark from before a restart: nothing at or below it is taken again.
    ///
    /// `false` when the table is full of sources that do not give way.
    pub(crate) fn restore(&mut self, mark: ReplayMark) -> bool {
        let window = Window { mark, met: u64::MAX, taken: true, late: false };
        if let Ok(at) = self.find(mark.src) {
            let known = self.windows[at].mark;
            if (mark.epoch, mark.seq) > (known.epoch, known.seq) {
                self.windows[at] = window;
            }
            self.windows[at].taken = true;
            return true;
        }
        if self.windows.is_full() && !self.make_room() {
            return false;
        }
        if let Err(at) = self.find(mark.src) {
            self.insert(at, window);
        }
        true
    }

    /// The marks of sources that something was taken from.
    pub(crate) fn marks(&self) -> impl Iterator<Item = ReplayMark> + '_ {
        self.windows.iter().filter(|window| window.taken).map(|window| window.mark)
    }

    /// The mark of one source.
    pub(crate) fn mark_of(&self, src: Address) -> Option<ReplayMark> {
        self.find(src).ok().map(|at| self.windows[at].mark)
    }

    /// A new window, where there is room.
    fn insert(&mut self, at: usize, window: Window) {
        if self.windows.insert(at, window).is_ok() && at <= self.hand {
            self.hand += 1;
        }
        self.made_room = false;
    }

    pub(crate) fn len(&self) -> usize {
        self.windows.len()
    }

    fn find(&self, src: Address) -> Result<usize, usize> {
        self.windows.binary_search_by_key(&src, |window| window.mark.src)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Address = Address::new(1);

    fn take<const N: usize>(
        table: &mut ReplayTable<N>,
        src: Address,
        epoch: u32,
        seq: u32,
    ) -> Result<Freshness, Discard> {
        let found = table.check(src, epoch, seq);
        if found == Ok(Freshness::New) {
            table.mark(src, epoch, seq, true);
        }
        found
    }

    #[test]
    fn a_frame_is_new_once_whatever_the_order() {
        let mut table = ReplayTable::<4>::new();
        for seq in [10, 12, 11, 9, 70] {
            assert_eq!(take(&mut table, A, 1, seq), Ok(Freshness::New), "{seq}");
            assert_eq!(take(&mut table, A, 1, seq), Ok(Freshness::Met), "{seq}");
        }
        // 70 - 63 = 7 is the oldest that can be told apart.
        assert_eq!(take(&mut table, A, 1, 7), Ok(Freshness::New));
        assert_eq!(take(&mut table, A, 1, 6), Err(Discard::Replay));
        assert_eq!(take(&mut table, A, 1, 1_000), Ok(Freshness::New));
        assert_eq!(take(&mut table, A, 1, 70), Err(Discard::Replay));
    }

    #[test]
    fn a_new_epoch_starts_over_and_the_old_one_is_shut() {
        let mut table = ReplayTable::<4>::new();
        assert_eq!(take(&mut table, A, 1, 500), Ok(Freshness::New));
        assert_eq!(take(&mut table, A, 2, 3), Ok(Freshness::New));
        assert_eq!(take(&mut table, A, 1, 501), Err(Discard::Replay));
    }

    #[test]
    fn a_full_table_refuses_new_sources_and_keeps_the_old() {
        let mut table = ReplayTable::<2>::new();
        for src in [1, 2] {
            assert_eq!(take(&mut table, Address::new(src), 1, 1), Ok(Freshness::New));
        }
        assert_eq!(take(&mut table, Address::new(3), 1, 1), Err(Discard::ReplayTableFull));
        assert_eq!(take(&mut table, Address::new(2), 1, 1), Ok(Freshness::Met));
        assert_eq!(take(&mut table, Address::new(1), 1, 2), Ok(Freshness::New));
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn sources_that_were_only_passed_on_give_way_in_turn() {
        let mut table = ReplayTable::<4>::new();
        let pass_on = |table: &mut ReplayTable<4>, src: u16, taken: bool| {
            if table.check(Address::new(src), 1, 1) == Err(Discard::ReplayTableFull) {
                assert!(table.make_room(), "{src}");
            }
            table.mark(Address::new(src), 1, 1, taken);
            table.windows.iter().map(|window| window.mark.src.bits()).collect::<std::vec::Vec<u16>>()
        };
        for (src, taken) in [(1, false), (2, true), (3, false), (4, false)] {
            pass_on(&mut table, src, taken);
        }
        let current = |table: &ReplayTable<4>, src| table.is_current(Address::new(src));
        assert!(current(&table, 1) && current(&table, 3) && !current(&table, 9));
        assert_eq!(pass_on(&mut table, 9, false), [2, 3, 4, 9]);
        assert!(!current(&table, 9), "it may have been here before");
        assert_eq!(pass_on(&mut table, 8, true), [2, 4, 8, 9]);
        assert!(current(&table, 8), "something of it was taken");
        assert_eq!(pass_on(&mut table, 7, true), [2, 7, 8, 9]);
        assert_eq!(pass_on(&mut table, 6, true), [2, 6, 7, 8]);
        assert_eq!(table.marks().count(), 4, "all of which something was taken");
        assert!(!table.make_room(), "something was taken of each");
        assert_eq!(table.check(Address::new(5), 1, 1), Err(Discard::ReplayTableFull));
    }

    /// Two sources with low addresses once drove each other out for ever, while all others stayed.
    #[test]
    fn whoever_has_come_last_gives_way_last() {
        let mut table = ReplayTable::<4>::new();
        for src in 1_000..1_004 {
            table.mark(Address::new(src), 1, 1, false);
        }
        for src in 10..14 {
            assert!(table.make_room());
            table.mark(Address::new(src), 1, 1, false);
            assert!(table.find(Address::new(src)).is_ok());
        }
        let left: std::vec::Vec<u16> = table.windows.iter().map(|window| window.mark.src.bits()).collect();
        assert_eq!(left, [10, 11, 12, 13]);
    }

    #[test]
    fn a_restored_mark_takes_the_place_of_one_in_transit_and_stays() {
        let mut table = ReplayTable::<2>::new();
        table.mark(A, 1, 90, false);
        table.mark(Address::new(2), 1, 1, false);
        let mark = |src, seq| ReplayMark { src: Address::new(src), epoch: 1, seq };
        assert!(table.restore(mark(1, 50)), "known, and newer here");
        assert!(table.restore(mark(3, 7)), "2 gives way");
        assert!(!table.restore(mark(4, 7)));
        assert!(!table.make_room());
        assert_eq!(table.check(A, 1, 20), Err(Discard::Replay));
    }

    #[test]
    fn a_restored_mark_shuts_out_everything_up_to_it() {
        let mut table = ReplayTable::<2>::new();
        assert!(table.restore(ReplayMark { src: A, epoch: 3, seq: 100 }));
        assert!(table.restore(ReplayMark { src: A, epoch: 3, seq: 50 }), "an older mark changes nothing");
        assert_eq!(table.check(A, 3, 100), Ok(Freshness::Met));
        assert_eq!(table.check(A, 3, 1), Err(Discard::Replay));
        assert_eq!(table.check(A, 3, 101), Ok(Freshness::New));
        assert_eq!(table.marks().next(), Some(ReplayMark { src: A, epoch: 3, seq: 100 }));
    }
}
