//! Who is in range, and how well the two hear each other.
//!
//! Owns the table fed by hellos and by frames heard from their origin. Decides nothing: density and delivery
//! are for `node` to use.
//!
//! Full: the neighbour heard longest ago gives way, if it is no longer there or no signal strengths are known. Otherwise the weakest
//! does, to one that is clearly stronger: a table that all in range pass through in turn knows nobody long enough to say anything.

use heapless::Vec;

use crate::control::{HELLO_REPORTS, HelloFlags, HelloReport};
use crate::{Address, Duration, Instant, LinkId};

/// Between two hellos at the most, where nothing changes. A guess between airtime and speed.
pub(crate) const HELLO_INTERVAL: Duration = Duration::from_secs(32);
/// A neighbour not heard for three and a half of its hellos no longer counts as there; this is the longest that takes.
pub const ALIVE_FOR: Duration = Duration::from_millis(112_000);
/// And this the shortest: where hellos are fast, three in a row are lost too easily.
const ALIVE_LEAST: Duration = Duration::from_secs(12);
/// Hellos that the delivery estimate looks back on.
const WINDOW: u8 = 16;
/// The share of our frames, in 255ths, that a neighbour must hear to be spoken to directly whatever else leads to it: nine tenths.
const HEARS_WELL: u8 = 230;
/// The same where nothing else leads to it, for a frame that is repeated until that neighbour is heard to have it: with half of
/// them lost, two each way. A guess: beyond that two hops are cheaper.
const REACHED: u8 = 128;
/// Hellos of both sides before such a share is believed: the fast first ones. A guess.
const HELLOS_MIN: u8 = 4;
/// A link has changed when the share that arrives is so much further than where it was, in 255ths.
const CHANGED: u8 = 72;
/// A link that loses more than three of four frames either way is none. A guess.
const USABLE: u8 = 64;
/// The share of a neighbour's frames that arrive, before that is known. A guess.
const GUESSED: u8 = 192;
/// A link that loses nothing, in eighths of a transmission.
const COST_LEAST: u8 = 8;
/// A report of us is believed for as long as the window it covers.
const BELIEVED_FOR: Duration = HELLO_INTERVAL.times(WINDOW as u64);

/// A neighbour gives way to one that is stronger by so many dB. A guess: less, and the two would take turns as they fade.
const STRONGER: i8 = 6;

/// One neighbour as the table holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Who.
    pub address: Address,
    /// When a frame last came from it directly.
    pub last_heard: Instant,
    /// Received signal strength in dBm, smoothed over about eight frames; `None` if the bearer gives none.
    pub rssi: Option<i8>,
    /// Share of its hellos that arrive here, in 255ths; `None` before the second hello.
    pub delivery_in: Option<u8>,
    /// Share of our hellos that arrive there, in 255ths, as it says.
    pub delivery_out: Option<u8>,
    /// When it last said so.
    pub reported_us: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    neighbour: Neighbour,
    /// The connection that it is at the other end of.
    wire: Option<LinkId>,
    /// In sixteenths of a dBm, so that smoothing does not stick.
    rssi_smooth: Option<i16>,
    last_count: Option<u8>,
    /// Bit n: hello number `last_count - n` arrived.
    arrived: u16,
    /// Hellos the window covers so far.
    covered: u8,
    /// As its last hello says.
    flags: HelloFlags,
    /// The share that arrived when its link last changed; `None`: it was not there.
    noticed: Option<u8>,
}

impl Entry {
    /// Whether it was heard lately enough, for the pace of its hellos, to count as there.
    fn is_alive(&self, now: Instant) -> bool {
        let pace = Duration::from_millis(3_500).times(1 << self.flags.pace());
        now.since(self.neighbour.last_heard) <= pace.max(ALIVE_LEAST).min(ALIVE_FOR)
    }
}

/// The neighbours of a node, in no order.
#[derive(Clone, Debug)]
pub struct Neighbours<'a>(core::slice::Iter<'a, Entry>);

impl<'a> Iterator for Neighbours<'a> {
    type Item = &'a Neighbour;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|entry| &entry.neighbour)
    }
}

/// At most `N` neighbours.
#[derive(Clone, Debug)]
pub(crate) struct NeighbourTable<const N: usize> {
    entries: Vec<Entry, N>,
    /// Where the next hello's reports begin.
    report_from: usize,
}

impl<const N: usize> NeighbourTable<N> {
    pub(crate) const fn new() -> Self {
        Self { entries: Vec::new(), report_from: 0 }
    }

    /// A frame came from `address` itself, not by a relay; over the connection `wire`, if that is where it came. Whether it
    /// was not there before.
    pub(crate) fn heard(
        &mut self,
        now: Instant,
        address: Address,
        rssi: Option<i8>,
        wire: Option<LinkId>,
    ) -> bool {
        let Some(entry) = self.entry(now, address, rssi) else { return false };
        let fresh = entry.noticed.is_none();
        entry.neighbour.last_heard = now;
        // One that is heard on the air as well is better reached where nothing is lost.
        entry.wire = wire.or(entry.wire);
        if let Some(rssi) = rssi {
            let sample = i16::from(rssi) * 16;
            let smooth = entry.rssi_smooth.map_or(sample, |old| old + (sample - old) / 8);
            entry.rssi_smooth = Some(smooth);
            entry.neighbour.rssi = Some((smooth / 16) as i8);
        }
        fresh
    }

    /// A hello came from `address`; `own` is what it reports of this node.
    pub(crate) fn hello(
        &mut self,
        now: Instant,
        address: Address,
        count: u8,
        flags: HelloFlags,
        own: Option<u8>,
    ) {
        let Some(entry) = self.entry(now, address, Some(i8::MIN)) else { return };
        entry.flags = flags;
        match entry.last_count {
            None => (entry.arrived, entry.covered) = (1, 1),
            Some(last) => {
                // A gap longer than the window is a restart, or as good as one: the estimate begins again from nothing.
                match count.wrapping_sub(last) {
                    0 => {}
                    missed @ 1..=WINDOW => {
                        entry.arrived = entry.arrived.checked_shl(u32::from(missed)).unwrap_or(0) | 1;
                        entry.covered = entry.covered.saturating_add(missed).min(WINDOW);
                    }
                    _ => (entry.arrived, entry.covered) = (1, 1),
                }
            }
        }
        entry.last_count = Some(count);
        let covered = u32::from(entry.covered);
        entry.neighbour.delivery_in =
            (covered > 1).then(|| (entry.arrived.count_ones().min(covered) * 255 / covered) as u8);
        if own.is_some() {
            entry.neighbour.delivery_out = own;
            entry.neighbour.reported_us = Some(now);
        }
    }

    /// What the next hello says: some neighbours in turn.
    pub(crate) fn reports(&mut self, now: Instant) -> [Option<HelloReport>; HELLO_REPORTS] {
        let mut reports = [None; HELLO_REPORTS];
        let mut filled = 0;
        for step in 0..self.entries.len() {
            let at = (self.report_from + step) % self.entries.len();
            let known = &self.entries[at].neighbour;
            if !self.entries[at].is_alive(now) {
                continue;
            }
            if let Some(delivery) = known.delivery_in {
                reports[filled] = Some(HelloReport::of(known.address, delivery));
                filled += 1;
                if filled == HELLO_REPORTS {
                    self.report_from = at + 1;
                    break;
                }
            }
        }
        reports
    }

    /// How many neighbours are there now.
    pub(crate) fn alive(&self, now: Instant) -> usize {
        self.entries.iter().filter(|entry| entry.is_alive(now)).count()
    }

    /// What a neighbour said on the air came over this connection as well.
    pub(crate) fn wired(&mut self, address: Address, link: LinkId) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.neighbour.address == address) {
            entry.wire = Some(link);
        }
    }

    /// The connection to this neighbour, if there is one.
    pub(crate) fn wire(&self, address: Address) -> Option<LinkId> {
        self.entries.iter().find(|entry| entry.neighbour.address == address)?.wire
    }

    /// A connection is gone.
    pub(crate) fn cut(&mut self, link: LinkId) {
        for entry in self.entries.iter_mut().filter(|entry| entry.wire == Some(link)) {
            entry.wire = None;
        }
    }

    /// Whether `address` is a neighbour that hears us well, so that what is for it needs no one else's help. `said`: how
    /// many hellos this node has sent; no report can cover more.
    pub(crate) fn hears_well(&self, now: Instant, address: Address, said: u32) -> bool {
        self.hears(now, address, said, HEARS_WELL)
    }

    /// The same, of one that hears enough of what is repeated until it is there.
    pub(crate) fn is_reached(&self, now: Instant, address: Address, said: u32) -> bool {
        self.hears(now, address, said, REACHED)
    }

    fn hears(&self, now: Instant, address: Address, said: u32, at_least: u8) -> bool {
        if self.wire(address).is_some() {
            return true;
        }
        said >= u32::from(HELLOS_MIN)
            && self.entries.iter().any(|entry| {
                let known = &entry.neighbour;
                known.address == address
                    && entry.is_alive(now)
                    && entry.covered >= HELLOS_MIN
                    && known.delivery_out.is_some_and(|share| share >= at_least)
                    && known.reported_us.is_some_and(|at| now.since(at) <= BELIEVED_FOR)
            })
    }

    /// What a frame to `address` and its answer cost, in eighths of a transmission; `None` if the link does not carry both ways.
    pub(crate) fn link_cost(&self, now: Instant, address: Address) -> Option<u8> {
        let entry = self.entries.iter().find(|entry| entry.neighbour.address == address)?;
        if entry.wire.is_some() {
            return Some(COST_LEAST);
        }
        let known = &entry.neighbour;
        // Of one that was only just met: it was heard, after all.
        let to_us = u32::from(known.delivery_in.unwrap_or(GUESSED));
        let reported = known.reported_us.filter(|at| now.since(*at) <= BELIEVED_FOR).and(known.delivery_out);
        let from_us = u32::from(reported.unwrap_or_else(|| (to_us * 7 / 8) as u8));
        if to_us.min(from_us) < u32::from(USABLE) {
            return None;
        }
        let cost = u32::from(COST_LEAST) * 255 * 255 / (to_us * from_us);
        Some(cost.clamp(COST_LEAST.into(), u8::MAX.into()) as u8)
    }

    /// Whether `address` is a neighbour that has fallen silent; not of one that was never heard.
    pub(crate) fn fell_silent(&self, now: Instant, address: Address) -> bool {
        self.entries.iter().any(|entry| entry.neighbour.address == address && !entry.is_alive(now))
    }

    /// A frame that named `address` was taken by it, or was not: what it hears of us is measured by what we say.
    pub(crate) fn sent_to(&mut self, now: Instant, address: Address, taken: bool) {
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.neighbour.address == address) else {
            return;
        };
        let before = u16::from(entry.neighbour.delivery_out.unwrap_or(GUESSED));
        let now_taken = if taken { 255 } else { 0 };
        entry.neighbour.delivery_out = Some(((before * 15 + now_taken + 8) / 16) as u8);
        entry.neighbour.reported_us = Some(now);
    }

    /// The share of our frames that arrive at a neighbour, in 255ths, as far as that is known.
    pub(crate) fn heard_there(&self, now: Instant, address: Address) -> Option<u8> {
        let entry = self.entries.iter().find(|entry| entry.neighbour.address == address)?;
        if entry.wire.is_some() {
            return Some(u8::MAX);
        }
        let known = &entry.neighbour;
        known.reported_us.filter(|at| now.since(*at) <= BELIEVED_FOR).and(known.delivery_out)
    }

    /// What a neighbour last said of itself.
    pub(crate) fn flags(&self, address: Address) -> HelloFlags {
        let entry = self.entries.iter().find(|entry| entry.neighbour.address == address);
        entry.map_or(HelloFlags::default(), |entry| entry.flags)
    }

    /// Whether since the last time a neighbour has come or gone, or a link to one has become another.
    pub(crate) fn changed(&mut self, now: Instant) -> bool {
        let mut changed = false;
        for entry in &mut self.entries {
            let share = entry.neighbour.delivery_in.unwrap_or(GUESSED);
            let present = entry.is_alive(now).then_some(share);
            let other = match (entry.noticed, present) {
                (Some(before), Some(share)) => entry.covered >= WINDOW && before.abs_diff(share) >= CHANGED,
                (before, present) => before.is_some() != present.is_some(),
            };
            // While the window fills the share jumps, which says nothing of the link.
            if other || entry.covered < WINDOW {
                entry.noticed = present;
            }
            changed |= other;
        }
        changed
    }

    pub(crate) fn iter(&self) -> Neighbours<'_> {
        Neighbours(self.entries.iter())
    }

    /// The entry of `address`, which came in with `rssi`; `None` if there is no room for it.
    fn entry(&mut self, now: Instant, address: Address, rssi: Option<i8>) -> Option<&mut Entry> {
        let fresh = Entry {
            neighbour: Neighbour {
                address,
                last_heard: now,
                rssi: None,
                delivery_in: None,
                delivery_out: None,
                reported_us: None,
            },
            wire: None,
            rssi_smooth: None,
            last_count: None,
            arrived: 0,
            covered: 0,
            // Until it says otherwise its hellos may be rare.
            flags: HelloFlags::default().with_pace(3),
            noticed: None,
        };
        let at = match self.entries.iter().position(|e| e.neighbour.address == address) {
            Some(at) => at,
            None if self.entries.push(fresh).is_ok() => self.entries.len() - 1,
            None => {
                let gives_way = self.gives_way(now, rssi)?;
                self.entries[gives_way] = fresh;
                gives_way
            }
        };
        Some(&mut self.entries[at])
    }

    fn gives_way(&self, now: Instant, rssi: Option<i8>) -> Option<usize> {
        let oldest = (0..N).min_by_key(|&at| self.entries[at].neighbour.last_heard)?;
        let Some(rssi) = rssi.filter(|_| self.entries[oldest].is_alive(now)) else {
            return Some(oldest);
        };
        let strength = |at: usize| self.entries[at].neighbour.rssi;
        let weakest = (0..N).filter(|&at| strength(at).is_some()).min_by_key(|&at| strength(at))?;
        strength(weakest).filter(|weakest| weakest.saturating_add(STRONGER) <= rssi).map(|_| weakest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(secs)
    }
    const A: Address = Address::new(1);

    fn pace() -> HelloFlags {
        HelloFlags::default().with_pace(3)
    }

    #[test]
    fn delivery_is_the_share_of_hellos_that_arrived() {
        let mut table = NeighbourTable::<4>::new();
        table.hello(at(0), A, 250, pace(), None);
        assert_eq!(table.iter().next().unwrap().delivery_in, None, "one hello says nothing");
        table.hello(at(10), A, 251, pace(), Some(100));
        assert_eq!(table.iter().next().unwrap().delivery_in, Some(255));
        table.hello(at(40), A, 254, pace(), None);
        let a = *table.iter().next().unwrap();
        assert_eq!((a.delivery_in, a.delivery_out), (Some(153), Some(100)), "3 of 5");
        for n in 0..16u8 {
            table.hello(at(50), A, 255u8.wrapping_add(n), pace(), None);
        }
        assert_eq!(table.iter().next().unwrap().delivery_in, Some(255), "the window moved on");
        table.hello(at(60), A, 3, pace(), None);
        assert_eq!(table.iter().next().unwrap().delivery_in, None, "counting from nothing after a restart");
    }

    #[test]
    fn a_full_table_lets_the_one_heard_longest_ago_go() {
        let mut table = NeighbourTable::<2>::new();
        table.heard(at(1), Address::new(1), Some(-60), None);
        table.heard(at(2), Address::new(2), Some(-60), None);
        table.heard(at(3), Address::new(1), Some(-60), None);
        table.heard(at(4), Address::new(3), None, None);
        let mut known = [Address::NONE; 2];
        for (slot, neighbour) in known.iter_mut().zip(table.iter()) {
            *slot = neighbour.address;
        }
        assert_eq!(known, [Address::new(1), Address::new(3)]);
    }

    #[test]
    fn who_is_silent_for_long_no_longer_counts() {
        let mut table = NeighbourTable::<2>::new();
        for (log2, there) in [(0, 12), (2, 14), (3, 28), (5, 112), (15, 112)] {
            table.hello(at(0), A, 0, HelloFlags::default().with_pace(log2), None);
            assert_eq!(table.alive(at(there)), 1, "a hello every {} s", 1 << log2);
            assert_eq!(table.alive(at(there + 1)), 0);
            assert!(table.fell_silent(at(there + 1), A) && !table.fell_silent(at(there), A));
        }
        assert!(!table.fell_silent(at(36), Address::new(2)), "never heard");
    }

    #[test]
    fn what_is_taken_or_not_says_how_well_it_hears() {
        let mut table = NeighbourTable::<2>::new();
        table.hello(at(0), A, 0, pace(), Some(255));
        assert_eq!(table.heard_there(at(0), A), Some(255));
        for _ in 0..6 {
            table.sent_to(at(1), A, false);
        }
        assert!((165..190).contains(&table.heard_there(at(1), A).unwrap()));
        for _ in 0..60 {
            table.sent_to(at(2), A, true);
        }
        assert!(table.heard_there(at(2), A).unwrap() > 245);
        table.sent_to(at(2), Address::new(9), true);
        assert_eq!(table.heard_there(at(2), Address::new(9)), None, "nobody we know");
    }

    #[test]
    fn a_link_costs_what_a_frame_and_its_answer_take() {
        let mut table = NeighbourTable::<2>::new();
        assert_eq!(table.link_cost(at(0), A), None, "nobody we know");
        table.hello(at(0), A, 0, pace(), None);
        assert_eq!(table.link_cost(at(0), A), Some(16), "only just met");
        for n in 1..16 {
            table.hello(at(1), A, n, pace(), Some(255));
        }
        assert_eq!(table.link_cost(at(1), A), Some(8));
        table.hello(at(1), A, 16, pace(), Some(128));
        assert_eq!(table.link_cost(at(1), A), Some(15), "half arrive");
        table.hello(at(1), A, 17, pace(), Some(51));
        assert_eq!(table.link_cost(at(1), A), None, "one way");
        table.heard(at(1), A, None, Some(LinkId(1)));
        assert_eq!(table.link_cost(at(1), A), Some(8), "a connection");
    }

    #[test]
    fn who_comes_and_goes_and_what_becomes_another_link_is_a_change() {
        let mut table = NeighbourTable::<4>::new();
        assert!(!table.changed(at(0)));
        table.heard(at(0), A, None, None);
        assert!(table.changed(at(0)) && !table.changed(at(0)));
        for n in 0..16 {
            table.hello(at(1), A, n, pace(), None);
            assert!(!table.changed(at(1)));
        }
        for n in [17, 19, 21, 23] {
            table.hello(at(1), A, n, pace(), None);
            assert!(!table.changed(at(1)), "a few are lost");
        }
        table.hello(at(1), A, 25, pace(), None);
        assert!(table.changed(at(1)) && !table.changed(at(1)), "a third");
        assert!(table.changed(at(60)) && !table.changed(at(60)), "it is gone");
        table.heard(at(60), A, None, None);
        assert!(table.changed(at(60)), "and back");
    }

    #[test]
    fn a_neighbour_hears_well_while_it_says_so_and_enough_hellos_were_counted() {
        let mut table = NeighbourTable::<4>::new();
        for n in 0..3 {
            table.hello(at(u64::from(n)), A, n, pace(), Some(255));
        }
        assert!(!table.hears_well(at(3), A, 9), "three of its hellos");
        table.hello(at(4), A, 3, pace(), Some(229));
        assert!(!table.hears_well(at(4), A, 9), "not well enough");
        table.hello(at(5), A, 4, pace(), Some(230));
        assert!(!table.hears_well(at(5), A, 3), "three of ours");
        assert!(table.hears_well(at(5), A, 4));
        assert!(!table.hears_well(at(5), Address::new(2), 5), "nobody we know");
        assert!(!table.hears_well(at(41), A, 9), "silent for too long");
        table.heard(at(517), A, None, None);
        assert!(table.hears_well(at(517), A, 9));
        table.heard(at(518), A, None, None);
        assert!(!table.hears_well(at(518), A, 9), "what it said is too old");
        table.hello(at(520), A, 100, pace(), Some(255));
        assert!(!table.hears_well(at(520), A, 9), "it has restarted, and so has its count of us");
    }

    #[test]
    fn reports_take_turns() {
        let mut table = NeighbourTable::<4>::new();
        for n in 1..=4 {
            table.hello(at(0), Address::new(n), 0, pace(), None);
            table.hello(at(1), Address::new(n), 1, pace(), None);
        }
        let mut said = || table.reports(at(2)).map(|report| report.unwrap().neighbour);
        assert_eq!([said(), said(), said()], [[1, 2, 3], [4, 1, 2], [3, 4, 1]]);
    }
}
