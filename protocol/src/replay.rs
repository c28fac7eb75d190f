//! Replay windows: which (source, SEQ) were taken before.
//!
//! Owns one 96-bit window per source and epoch. Is asked only with verified frames. Whether a copy of a known
//! frame is still of use (a higher TTL) is decided in `seen`.
//!
//! A frame far ahead of its source's window is not taken, as it would shut out all that the source sends until it has come that
//! far. Only a source that goes on there, and for [`STANDS_FOR`] is not heard where it was, has jumped. Windows only ever move up,
//! so that no frame is taken twice whatever is forged.
//!
//! Full table: a source all of whose frames were for others, and only passed on here, gives way to a new one. One that
//! this node has taken something from is never forgotten; where all are such, a new one is refused (fail closed). Of sources that
//! may have jumped, one that has been so for [`STANDS_FOR`] gives way, the oldest first; where none has, a new one waits.

use heapless::Vec;

use crate::frame::SEQ_MAX;
use crate::{Address, Discard, Duration, Instant};

/// SEQs below the highest that can still be told apart: a relay may hold a frame for 2 s, in which a message to many at its pace uses
/// 83. A small node has no room for more.
const WINDOW: u32 = 96;
/// A frame this far ahead of the highest taken is taken at once: 16 blocks of a gateway. A source comes that far by losing a block at
/// each of 16 starts, or while this node misses 18 hours of a frame a second. What a forged frame within it shuts out is as
/// much at the most.
pub const JUMP: u32 = 16 * 4_096;
/// Frames, each with a higher SEQ than the one before, that say together that their source is there now. A guess.
const CONFIRMED_BY: u8 = 3;
/// The first of them came so long ago, and none has come since from where the source was: a neighbour that is there would have
/// said hello meanwhile.
const STANDS_FOR: Duration = Duration::from_secs(35);
/// Sources that may have jumped, at a time. A guess.
const CLAIMS: usize = 8;

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

/// Packed: a small node has 128 of them.
#[derive(Clone, Copy, Debug)]
struct Window {
    src: Address,
    /// Frames that were refused since the last one that was not.
    refused: u16,
    epoch: u32,
    /// The highest SEQ taken, 24 bits, and above them [`TAKEN`](Window::TAKEN) and [`LATE`](Window::LATE).
    seq: u32,
    met: Met,
}

/// Bit n: the SEQ n below the highest was met. Three words, as a window of 128 bits would make each source take half as much again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Met([u32; 3]);

impl Met {
    const ALL: Self = Self([u32::MAX; 3]);
    const ONE: Self = Self([1, 0, 0]);

    const fn has(self, age: u32) -> bool {
        self.0[(age / 32) as usize] & 1 << (age % 32) != 0
    }

    const fn insert(&mut self, age: u32) {
        self.0[(age / 32) as usize] |= 1 << (age % 32);
    }

    /// The highest is so many further on now, and was met.
    fn advance(&mut self, ahead: u32) {
        let [a, b, c] = self.0.map(u128::from);
        let bits = (c << 64 | b << 32 | a).checked_shl(ahead).unwrap_or(0) | 1;
        self.0 = [bits as u32, (bits >> 32) as u32, (bits >> 64) as u32];
    }
}

/// The marks of the sources that a node has taken something from.
#[derive(Clone, Debug)]
pub struct ReplayMarks<'a>(core::slice::Iter<'a, Window>);

impl Iterator for ReplayMarks<'_> {
    type Item = ReplayMark;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.find(|window| window.is(Window::TAKEN)).map(Window::mark)
    }
}

/// Frames of a source far ahead of its window, none of which was taken.
#[derive(Clone, Copy, Debug)]
struct Claim {
    src: Address,
    /// How many there were, each higher than those before.
    said: u8,
    /// The highest of them.
    seq: u32,
    /// When the first one came.
    since: Instant,
}

impl Claim {
    fn is_old(&self, now: Instant) -> bool {
        now.since(self.since) >= STANDS_FOR
    }

    /// Whether a frame goes on where these are.
    const fn leads_to(&self, seq: u32) -> bool {
        seq > self.seq && seq - self.seq <= JUMP
    }

    /// Whether a frame behind these ones says enough.
    fn is_confirmed_by(&self, now: Instant, seq: u32) -> bool {
        self.leads_to(seq) && self.said >= CONFIRMED_BY - 1 && self.is_old(now)
    }
}

impl Window {
    /// Something of the source was taken here, not only passed on.
    const TAKEN: u32 = 1 << 24;
    /// It came when the table was full, so that there may have been a window before of which nothing is left: what its
    /// frames in transit say of paths and neighbours may be old.
    const LATE: u32 = 1 << 25;

    const fn new(mark: ReplayMark, met: Met, flags: u32) -> Self {
        let ReplayMark { src, epoch, seq } = mark;
        Self { src, refused: 0, epoch, seq: seq & SEQ_MAX | flags, met }
    }

    const fn seq(&self) -> u32 {
        self.seq & SEQ_MAX
    }

    const fn is(&self, flag: u32) -> bool {
        self.seq & flag != 0
    }

    const fn mark(&self) -> ReplayMark {
        ReplayMark { src: self.src, epoch: self.epoch, seq: self.seq() }
    }
}

/// At most `N` sources, sorted by address so that a look-up is a binary search.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReplayTable<const N: usize> {
    windows: Vec<Window, N, u16>,
    claims: Vec<Claim, CLAIMS, u8>,
    /// Where to look next for one that gives way.
    hand: u16,
    /// One has given way to the source that is marked next.
    made_room: bool,
}

impl<const N: usize> ReplayTable<N> {
    pub(crate) const fn new() -> Self {
        Self { windows: Vec::new(), claims: Vec::new(), hand: 0, made_room: false }
    }

    /// Looks without marking, so that a later check can still refuse the frame.
    pub(crate) fn check(
        &self,
        now: Instant,
        src: Address,
        epoch: u32,
        seq: u32,
    ) -> Result<Freshness, Discard> {
        let Ok(at) = self.find(src) else {
            return if self.windows.is_full() { Err(Discard::ReplayTableFull) } else { Ok(Freshness::New) };
        };
        let window = &self.windows[at];
        if epoch > window.epoch {
            return Ok(Freshness::New);
        }
        if epoch < window.epoch {
            return Err(Discard::Replay);
        }
        let highest = window.seq();
        if seq > highest {
            let near = seq - highest <= JUMP;
            let confirms = |claim: &Claim| claim.src == src && claim.is_confirmed_by(now, seq);
            let taken = near || self.claims.iter().any(confirms);
            return if taken { Ok(Freshness::New) } else { Err(Discard::SeqJump) };
        }
        match highest - seq {
            age if age >= WINDOW => Err(Discard::Replay),
            age if window.met.has(age) => Ok(Freshness::Met),
            _ => Ok(Freshness::New),
        }
    }

    /// Records what [`check`](Self::check) refused of a source that is known.
    pub(crate) fn refused(&mut self, now: Instant, src: Address, seq: u32, why: Discard) {
        let Ok(at) = self.find(src) else { return };
        let window = &mut self.windows[at];
        window.refused = window.refused.saturating_add(1);
        if why != Discard::SeqJump {
            return;
        }
        let fresh = Claim { src, said: 1, seq, since: now };
        let Some(claim) = self.claims.iter_mut().find(|claim| claim.src == src) else {
            if self.claims.is_full() {
                let oldest = self.claims.iter().enumerate().min_by_key(|(_, claim)| claim.since);
                let gives_way = oldest.filter(|(_, claim)| claim.is_old(now)).map(|(at, _)| at);
                gives_way.map(|at| self.claims.swap_remove(at));
            }
            // Without room it is for a later frame to say it.
            let _ = self.claims.push(fresh);
            return;
        };
        if claim.leads_to(seq) {
            (claim.seq, claim.said) = (seq, claim.said.saturating_add(1));
            return;
        }
        // A copy, or one that was overtaken.
        let late = seq <= claim.seq && claim.seq - seq < WINDOW;
        // One who claims yet more waits until the other claim has had its time; the lesser does less harm.
        let waits = seq > claim.seq && !claim.is_old(now);
        if !late && !waits {
            *claim = fresh;
        }
    }

    /// Sources of which frames were refused since the last one that was taken, and how many.
    pub(crate) fn refusals(&self) -> impl Iterator<Item = (Address, u16)> + '_ {
        self.windows.iter().filter(|window| window.refused > 0).map(|window| (window.src, window.refused))
    }

    /// Makes room for a source in a full table, if there is one that gives way: each in turn.
    pub(crate) fn make_room(&mut self) -> bool {
        let (len, hand) = (self.windows.len(), usize::from(self.hand));
        let gives_way = (0..len).map(|n| (hand + n) % len).find(|at| !self.windows[*at].is(Window::TAKEN));
        if let Some(at) = gives_way {
            let gone = self.windows.remove(at);
            self.forget_claim(gone.src);
            self.hand = at as u16;
            self.made_room = true;
        }
        gives_way.is_some()
    }

    /// Marks what [`check`](Self::check) found to be new; `taken` if it is not only passed on.
    pub(crate) fn mark(&mut self, src: Address, epoch: u32, seq: u32, taken: bool) {
        let taken = if taken { Window::TAKEN } else { 0 };
        let late = if self.made_room { Window::LATE } else { 0 };
        let fresh = Window::new(ReplayMark { src, epoch, seq }, Met::ONE, taken | late);
        // Whoever is heard where it was has not jumped.
        self.forget_claim(src);
        match self.find(src) {
            Err(at) => self.insert(at, fresh),
            Ok(at) if epoch > self.windows[at].epoch => {
                let before = self.windows[at].seq & (Window::TAKEN | Window::LATE);
                self.windows[at] = Window::new(fresh.mark(), Met::ONE, taken | before);
            }
            Ok(at) => {
                let window = &mut self.windows[at];
                window.refused = 0;
                let highest = window.seq();
                if seq > highest {
                    window.met.advance(seq - highest);
                    window.seq += seq - highest;
                } else {
                    window.met.insert(highest - seq);
                }
                window.seq |= taken;
            }
        }
    }

    /// Whether what a source's frames in transit say of the path to it is new.
    pub(crate) fn is_current(&self, src: Address) -> bool {
        self.find(src)
            .is_ok_and(|at| self.windows[at].is(Window::TAKEN) || !self.windows[at].is(Window::LATE))
    }

    /// Restores a mark from before a restart: nothing at or below it is taken again.
    ///
    /// `false` when the table is full of sources that do not give way.
    pub(crate) fn restore(&mut self, mark: ReplayMark) -> bool {
        let window = Window::new(mark, Met::ALL, Window::TAKEN);
        if let Ok(at) = self.find(mark.src) {
            let known = self.windows[at].mark();
            if (mark.epoch, mark.seq) > (known.epoch, known.seq) {
                self.windows[at] = window;
            } else if mark.epoch == known.epoch {
                (known.seq - mark.seq..WINDOW).for_each(|age| self.windows[at].met.insert(age));
            }
            self.windows[at].seq |= Window::TAKEN;
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
    pub(crate) fn marks(&self) -> ReplayMarks<'_> {
        ReplayMarks(self.windows.iter())
    }

    /// The mark of one source.
    pub(crate) fn mark_of(&self, src: Address) -> Option<ReplayMark> {
        self.find(src).ok().map(|at| self.windows[at].mark())
    }

    fn forget_claim(&mut self, src: Address) {
        self.claims.retain(|claim| claim.src != src);
    }

    /// A new window, where there is room.
    fn insert(&mut self, at: usize, window: Window) {
        if self.windows.insert(at, window).is_ok() && at <= usize::from(self.hand) {
            self.hand += 1;
        }
        self.made_room = false;
    }

    pub(crate) fn len(&self) -> usize {
        self.windows.len()
    }

    fn find(&self, src: Address) -> Result<usize, usize> {
        self.windows.binary_search_by_key(&src, |window| window.src)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rng;

    const A: Address = Address::new(1);

    fn take<const N: usize>(
        table: &mut ReplayTable<N>,
        src: Address,
        epoch: u32,
        seq: u32,
    ) -> Result<Freshness, Discard> {
        take_at(table, Instant::ZERO, src, epoch, seq)
    }

    fn take_at<const N: usize>(
        table: &mut ReplayTable<N>,
        now: Instant,
        src: Address,
        epoch: u32,
        seq: u32,
    ) -> Result<Freshness, Discard> {
        let found = table.check(now, src, epoch, seq);
        match found {
            Ok(Freshness::New) => table.mark(src, epoch, seq, true),
            Ok(Freshness::Met) => {}
            Err(why) => table.refused(now, src, seq, why),
        }
        found
    }

    fn at(secs: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(secs)
    }

    #[test]
    fn a_frame_is_new_once_whatever_the_order() {
        let mut table = ReplayTable::<4>::new();
        for seq in [10, 12, 11, 9, 102] {
            assert_eq!(take(&mut table, A, 1, seq), Ok(Freshness::New), "{seq}");
            assert_eq!(take(&mut table, A, 1, seq), Ok(Freshness::Met), "{seq}");
        }
        // 102 - 95 = 7 is the oldest that can be told apart.
        assert_eq!(take(&mut table, A, 1, 7), Ok(Freshness::New));
        assert_eq!(take(&mut table, A, 1, 6), Err(Discard::Replay));
        assert_eq!(take(&mut table, A, 1, 1_000), Ok(Freshness::New));
        assert_eq!(take(&mut table, A, 1, 102), Err(Discard::Replay));
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
            if table.check(at(0), Address::new(src), 1, 1) == Err(Discard::ReplayTableFull) {
                assert!(table.make_room(), "{src}");
            }
            table.mark(Address::new(src), 1, 1, taken);
            table.windows.iter().map(|window| window.src.bits()).collect::<std::vec::Vec<u16>>()
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
        assert_eq!(table.check(at(0), Address::new(5), 1, 1), Err(Discard::ReplayTableFull));
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
        let left: std::vec::Vec<u16> = table.windows.iter().map(|window| window.src.bits()).collect();
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
        assert_eq!(table.check(at(0), A, 1, 50), Ok(Freshness::Met), "nothing up to the mark is taken again");
        assert_eq!(table.check(at(0), A, 1, 51), Ok(Freshness::New));
    }

    #[test]
    fn a_restored_mark_shuts_out_everything_up_to_it() {
        let mut table = ReplayTable::<2>::new();
        assert!(table.restore(ReplayMark { src: A, epoch: 3, seq: 100 }));
        assert!(table.restore(ReplayMark { src: A, epoch: 3, seq: 50 }), "an older mark changes nothing");
        assert_eq!(table.check(at(0), A, 3, 100), Ok(Freshness::Met));
        assert_eq!(table.check(at(0), A, 3, 1), Err(Discard::Replay));
        assert_eq!(table.check(at(0), A, 3, 101), Ok(Freshness::New));
        assert_eq!(table.marks().next(), Some(ReplayMark { src: A, epoch: 3, seq: 100 }));
    }

    /// One sealed frame near the end of the range once muted its source for ever.
    #[test]
    fn one_frame_far_ahead_mutes_nobody() {
        let mut table = ReplayTable::<2>::new();
        assert_eq!(take(&mut table, A, 1, 100), Ok(Freshness::New));
        assert_eq!(take(&mut table, A, 1, 100 + JUMP + 1), Err(Discard::SeqJump));
        assert_eq!(take(&mut table, A, 1, SEQ_MAX), Err(Discard::SeqJump));
        assert_eq!(take(&mut table, A, 1, 99), Ok(Freshness::New), "the window is where it was");
        assert_eq!(take(&mut table, A, 1, 101), Ok(Freshness::New));
        assert_eq!(table.marks().next().unwrap().seq, 101);
        assert_eq!(take(&mut table, A, 1, 101 + JUMP), Ok(Freshness::New), "as far as it goes at once");
    }

    #[test]
    fn a_source_that_goes_on_far_ahead_is_heard_with_the_third_frame_once_it_is_silent_where_it_was() {
        let mut table = ReplayTable::<2>::new();
        assert!(table.restore(ReplayMark { src: A, epoch: 1, seq: 100 }));
        let there = 5_000_000;
        for (secs, seq) in [(0, there), (1, there + 1), (2, there + 1), (10, there + 3), (34, there + 4)] {
            assert_eq!(take_at(&mut table, at(secs), A, 1, seq), Err(Discard::SeqJump));
        }
        assert_eq!(table.refusals().next(), Some((A, 5)));
        assert_eq!(take_at(&mut table, at(35), A, 1, there + 5), Ok(Freshness::New));
        assert_eq!(table.refusals().next(), None);
        assert_eq!(
            take_at(&mut table, at(35), A, 1, there + 4),
            Ok(Freshness::New),
            "it was not taken before"
        );
        assert_eq!(take_at(&mut table, at(35), A, 1, 101), Err(Discard::Replay));

        // Two alone say too little, however long it takes; and a copy says nothing new.
        let far = there + 2 * JUMP;
        for (secs, seq) in [(100, far), (200, far + 9), (300, far + 9), (400, far + 8)] {
            assert_eq!(take_at(&mut table, at(secs), A, 1, seq), Err(Discard::SeqJump));
        }
        assert_eq!(take_at(&mut table, at(401), A, 1, far + 10), Ok(Freshness::New));
    }

    #[test]
    fn a_greater_claim_waits_for_a_lesser_one_and_not_for_ever() {
        let mut table = ReplayTable::<2>::new();
        assert_eq!(take(&mut table, A, 1, 0), Ok(Freshness::New));
        let claim = |table: &mut ReplayTable<2>, secs, seq| take_at(table, at(secs), A, 1, seq);
        let true_one = 1_000_000;
        assert_eq!(claim(&mut table, 0, SEQ_MAX), Err(Discard::SeqJump));
        for (secs, seq) in [(1, true_one), (2, SEQ_MAX), (3, SEQ_MAX - 1), (10, true_one + 1)] {
            assert_eq!(claim(&mut table, secs, seq), Err(Discard::SeqJump));
        }
        assert_eq!(claim(&mut table, 36, true_one + 2), Ok(Freshness::New));
        // A lone claim of long ago does not stand in the way of one above it.
        assert_eq!(claim(&mut table, 40, 2_000_000), Err(Discard::SeqJump));
        for (secs, seq) in [(100, 3_000_000), (110, 3_000_001)] {
            assert_eq!(claim(&mut table, secs, seq), Err(Discard::SeqJump));
        }
        assert_eq!(claim(&mut table, 135, 3_000_002), Ok(Freshness::New));
    }

    #[test]
    fn a_full_list_of_claims_lets_an_old_one_go_and_else_waits() {
        let mut table = ReplayTable::<16>::new();
        let jump =
            |table: &mut ReplayTable<16>, secs, src, seq| take_at(table, at(secs), Address::new(src), 1, seq);
        for src in 1..=10 {
            assert_eq!(jump(&mut table, 0, src, 0), Ok(Freshness::New));
        }
        for src in 1..=9 {
            assert_eq!(jump(&mut table, src.into(), src, 2 * JUMP), Err(Discard::SeqJump));
        }
        assert_eq!(table.claims.len(), CLAIMS);
        for secs in [20, 36, 37, 70] {
            assert_eq!(jump(&mut table, secs, 10, 2 * JUMP + secs as u32), Err(Discard::SeqJump));
        }
        assert!(table.claims.iter().all(|claim| claim.src != Address::new(1)), "the oldest gave way at 36 s");
        assert!(table.claims.iter().any(|claim| claim.src == Address::new(2)));
        assert_eq!(jump(&mut table, 71, 10, 3 * JUMP), Ok(Freshness::New));
    }

    /// All orders of four frames around every edge, at once or after some time: none is taken twice, and the
    /// mark never goes back.
    #[test]
    fn no_order_of_frames_takes_one_twice() {
        const START: u32 = 1_000;
        const SEQS: [u32; 9] = [
            START - WINDOW,
            START - WINDOW + 1,
            START + 1,
            START + JUMP,
            START + JUMP + 1,
            START + JUMP + 2,
            START + 2 * JUMP + 2,
            SEQ_MAX - 1,
            SEQ_MAX,
        ];
        fn go_on(table: &ReplayTable<1>, now: Instant, taken: &mut std::vec::Vec<u32>, left: u32) {
            for seq in SEQS {
                for wait in [Duration::ZERO, STANDS_FOR] {
                    let (mut table, now) = (table.clone(), now + wait);
                    let before = table.marks().next().unwrap().seq;
                    let found = take_at(&mut table, now, A, 1, seq);
                    let mark = table.marks().next().unwrap().seq;
                    assert!(mark >= before && (mark == before || found == Ok(Freshness::New)));
                    assert!(found != Ok(Freshness::New) || !taken.contains(&seq), "{taken:?}, {seq}");
                    if left > 1 {
                        let len = taken.len();
                        taken.extend((found == Ok(Freshness::New)).then_some(seq));
                        go_on(&table, now, taken, left - 1);
                        taken.truncate(len);
                    }
                }
            }
        }
        let mut table = ReplayTable::<1>::new();
        assert_eq!(take(&mut table, A, 1, START), Ok(Freshness::New));
        go_on(&table, at(0), &mut std::vec![START], 4);
    }

    /// Whatever is forged far ahead, and however often: a source that is heard every half a minute is heard.
    #[test]
    fn nobody_mutes_a_live_source_from_far_ahead() {
        for seed in 0..2_000 {
            let mut rng = Rng::new(seed);
            let mut table = ReplayTable::<1>::new();
            let (mut seq, mut now) = (0, at(1));
            assert_eq!(take_at(&mut table, now, A, 1, seq), Ok(Freshness::New));
            for _ in 0..40 {
                let until = now + rng.jitter(STANDS_FOR);
                for _ in 0..rng.below(12) {
                    now = (now + rng.jitter(Duration::from_secs(6))).min(until);
                    let reach = if rng.chance(500_000) { 10 } else { SEQ_MAX };
                    let far = (seq + JUMP + 1 + rng.below(reach.into()) as u32).min(SEQ_MAX);
                    assert_eq!(take_at(&mut table, now, A, 1, far), Err(Discard::SeqJump), "seed {seed}");
                }
                now = until;
                seq += 1 + rng.below(100) as u32;
                assert_eq!(take_at(&mut table, now, A, 1, seq), Ok(Freshness::New), "seed {seed}");
            }
        }
    }

    /// Frames at every edge at any time, restarts among them: none is taken twice, and none at or below what was kept.
    #[test]
    fn no_frame_is_taken_twice() {
        let bases = [0, JUMP - 100, 2 * JUMP, 3 * JUMP + 50, 100 * JUMP, SEQ_MAX - 200];
        let mut jumps = 0;
        for seed in 0..2_000 {
            let mut rng = Rng::new(seed);
            let mut table = ReplayTable::<1>::new();
            let mut taken = std::collections::BTreeSet::new();
            let mut now = at(1);
            for _ in 0..200 {
                now += rng.jitter(Duration::from_secs(20));
                let up_to = 1 + rng.below(bases.len() as u64);
                let seq = bases[rng.below(up_to) as usize] + rng.below(200) as u32;
                let before = table.marks().next().map(|mark| mark.seq);
                let found = take_at(&mut table, now, A, 1, seq);
                assert!(found != Ok(Freshness::New) || taken.insert(seq), "seed {seed}: {seq}");
                let jumped = before.is_some_and(|before| seq.saturating_sub(before) > JUMP);
                jumps += u32::from(found == Ok(Freshness::New) && jumped);
                let mark = table.marks().next();
                if let Some(mark) = mark {
                    assert_eq!(
                        taken.last(),
                        Some(&mark.seq),
                        "seed {seed}: the highest taken is what is kept"
                    );
                    if rng.chance(50_000) {
                        table = ReplayTable::new();
                        assert!(table.restore(mark));
                    }
                }
            }
        }
        assert!(jumps > 100, "{jumps}");
    }
}
