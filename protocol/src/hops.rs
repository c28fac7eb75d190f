//! How long neighbours take to pass a frame on, or to say that they have it, and which of them do not.
//!
//! Owns the estimates that repeats to a next hop are timed by, who is shunned, and how often this node may flood what no
//! next hop takes.
//!
//! Full: the neighbour asked longest ago gives way, and is a new one the next time.

use heapless::Vec;

use crate::{Address, Duration, Instant};

/// Next hops that are remembered at a time. A guess: routes of one node lead over few neighbours.
const NEXT_HOPS: usize = 8;
/// What is assumed of a neighbour that nothing was measured of: a link's gap, and that of the neighbour. A guess.
const HOP_TIME: Duration = Duration::from_millis(40);
/// No answer is waited for a shorter time, whatever was measured: the gap of a link and the advertising delay.
const HOP_TIME_MIN: Duration = Duration::from_millis(18);
/// No answer is waited for a longer time.
const HOP_TIME_MAX: Duration = Duration::from_millis(250);
/// Unanswered transmissions in a row, of whatever frames, after which a neighbour is shunned: the more, the more are lost otherwise
/// (for each eighth of them), so that about one in a thousand times it is there.
const MISSES: [u8; 8] = [3, 4, 5, 6, 8, 10, 12, 14];
/// So many more where the air is lively, and answers are late or collide.
const MISSES_LIVELY: u8 = 8;
/// The share that is taken to be lost before any answer was counted: an eighth.
const UNKNOWN_LOSS: u8 = 32;
/// For how long a neighbour is not asked that has not answered, the first time; twice as long each further time.
const SHUNNED_FOR: Duration = Duration::from_millis(300);
/// The most doublings of it.
const SHUNNED_MOST: u8 = 5;
/// Between two frames that are flooded as no next hop takes them; a guess.
const FLOOD_EVERY: Duration = Duration::from_millis(100);
/// So many may go at once.
const FLOODS: u64 = 4;

#[derive(Clone, Debug)]
struct Hop {
    address: Address,
    /// In eighths of a millisecond; zero before anything was measured.
    smooth: u16,
    variation: u16,
    misses: u8,
    /// The share of transmissions that were not answered while it was there, in 255ths.
    lost: u8,
    failures: u8,
    shunned_until: Instant,
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Hops {
    /// Those asked last stand last.
    hops: Vec<Hop, NEXT_HOPS>,
    /// When the allowance of floods is whole again.
    floods_whole: Instant,
}

impl Hops {
    pub(crate) const fn new() -> Self {
        Self { hops: Vec::new(), floods_whole: Instant::ZERO }
    }

    /// How long to wait for `next` to be heard.
    pub(crate) fn timeout(&self, next: Address) -> Duration {
        match self.find(next) {
            Some(hop) if hop.smooth > 0 => {
                let eighths = u64::from(hop.smooth) + 4 * u64::from(hop.variation);
                Duration::from_micros(eighths * 125).max(HOP_TIME_MIN).min(HOP_TIME_MAX)
            }
            _ => HOP_TIME,
        }
    }

    /// `next` has what it was asked to take; `sample` after it was asked, if it was asked once.
    pub(crate) fn answered(&mut self, next: Address, sample: Option<Duration>) {
        let hop = self.entry(next);
        let lost = 255 * u16::from(hop.misses) / (u16::from(hop.misses) + 1);
        hop.lost = ((7 * u16::from(hop.lost) + lost) / 8) as u8;
        hop.misses = 0;
        hop.failures = 0;
        hop.shunned_until = Instant::ZERO;
        let Some(sample) = sample else { return };
        // RFC 6298 section 2: gains of 1/8 and 1/4.
        let sample = (sample.as_micros() / 125).clamp(1, 4_000) as u16;
        if hop.smooth == 0 {
            (hop.smooth, hop.variation) = (sample, sample / 2);
        } else {
            hop.variation = (3 * hop.variation + hop.smooth.abs_diff(sample)) / 4;
            hop.smooth = ((7 * u32::from(hop.smooth) + u32::from(sample)) / 8) as u16;
        }
    }

    /// `next` had what it was asked to take, and was asked again too soon.
    pub(crate) fn hurried(&mut self, next: Address) {
        let hop = self.entry(next);
        hop.variation = (hop.variation + hop.smooth / 16).min(hop.smooth);
    }

    /// `next` was not heard in time, the `tries`th time it was asked for the same, in air that is `lively` or not; whether it is not to be
    /// asked any more.
    pub(crate) fn missed(&mut self, now: Instant, next: Address, tries: u8, lively: bool) -> bool {
        let hop = self.entry(next);
        // Frames that went in a row are missed in a row: one answer that is lost stands for several of them. Each that is asked for
        // again is answered by itself.
        hop.misses = hop.misses.saturating_add(u8::from(tries > 1));
        let enough = MISSES[usize::from(hop.lost / 32)] + if lively { MISSES_LIVELY } else { 0 };
        if hop.misses >= enough && hop.shunned_until <= now {
            hop.shunned_until = now + SHUNNED_FOR.times(1 << hop.failures.min(SHUNNED_MOST));
            hop.failures = hop.failures.saturating_add(1);
            // One more try behind it decides anew.
            hop.misses = enough - 2;
        }
        hop.shunned_until > now
    }

    /// Whether `next` is not to be asked now.
    pub(crate) fn shuns(&self, now: Instant, next: Address) -> bool {
        self.find(next).is_some_and(|hop| hop.shunned_until > now)
    }

    /// Whether a frame that no next hop takes may be flooded now; if so, it counts.
    pub(crate) fn may_flood(&mut self, now: Instant) -> bool {
        let whole = self.floods_whole.max(now);
        if whole > now + FLOOD_EVERY.times(FLOODS - 1) {
            return false;
        }
        self.floods_whole = whole + FLOOD_EVERY;
        true
    }

    fn find(&self, next: Address) -> Option<&Hop> {
        self.hops.iter().find(|hop| hop.address == next)
    }

    /// The entry of `next`, which is then the one asked last.
    fn entry(&mut self, next: Address) -> &mut Hop {
        let at = self.hops.iter().position(|hop| hop.address == next);
        let fresh = Hop {
            address: next,
            smooth: 0,
            variation: 0,
            misses: 0,
            lost: UNKNOWN_LOSS,
            failures: 0,
            shunned_until: Instant::ZERO,
        };
        let hop = match at {
            Some(at) => self.hops.remove(at),
            None if self.hops.is_full() => {
                self.hops.remove(0);
                fresh
            }
            None => fresh,
        };
        // There is room: one was taken out, or the table was not full.
        let _ = self.hops.push(hop);
        let last = self.hops.len() - 1;
        &mut self.hops[last]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Address = Address::new(1);

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn at(n: u64) -> Instant {
        Instant::ZERO + ms(n)
    }

    #[test]
    fn the_time_to_wait_follows_what_was_measured_and_has_bounds() {
        let mut hops = Hops::new();
        assert_eq!(hops.timeout(A), HOP_TIME);
        hops.answered(A, Some(ms(20)));
        assert_eq!(hops.timeout(A), ms(60));
        (0..60).for_each(|_| hops.answered(A, Some(ms(20))));
        assert!(hops.timeout(A) < ms(22), "{:?}", hops.timeout(A));
        hops.answered(A, None);
        hops.hurried(A);
        assert!(hops.timeout(A) > ms(22), "asked too soon");
        (0..60).for_each(|_| hops.answered(A, Some(ms(2))));
        assert_eq!(hops.timeout(A), HOP_TIME_MIN);
        (0..60).for_each(|_| hops.answered(A, Some(ms(5_000))));
        assert_eq!(hops.timeout(A), HOP_TIME_MAX);
    }

    #[test]
    fn who_does_not_answer_is_shunned_for_longer_each_time_and_until_it_does() {
        let mut hops = Hops::new();
        for n in 1..MISSES[usize::from(UNKNOWN_LOSS / 32)] {
            assert!(!hops.missed(at(0), A, 2, false), "{n}");
        }
        assert!(hops.missed(at(0), A, 2, false) && hops.shuns(at(299), A) && !hops.shuns(at(300), A));
        assert!(hops.missed(at(200), A, 2, false), "still");
        assert!(hops.missed(at(300), A, 2, false) || hops.missed(at(300), A, 2, false));
        assert!(hops.shuns(at(899), A) && !hops.shuns(at(900), A));
        hops.answered(A, None);
        assert!(!hops.shuns(at(300), A) && !hops.missed(at(300), A, 2, false));
        // Where every other transmission gets no answer, some more of them say nothing.
        for _ in 0..60 {
            hops.missed(at(5_000), A, 2, false);
            hops.answered(A, None);
        }
        // And in lively air still more.
        let misses = [false, true].map(|lively| {
            let mut hops = hops.clone();
            (1..30).find(|_| hops.missed(at(5_000), A, 2, lively))
        });
        assert_eq!(misses, [Some(6), Some(14)]);
    }

    #[test]
    fn a_full_table_lets_the_one_asked_longest_ago_go() {
        let mut hops = Hops::new();
        for n in 1..=NEXT_HOPS as u16 {
            hops.answered(Address::new(n), Some(ms(20)));
        }
        hops.answered(Address::new(1), None);
        hops.answered(Address::new(100), None);
        assert_eq!(hops.timeout(Address::new(1)), ms(60));
        assert_eq!(hops.timeout(Address::new(2)), HOP_TIME, "forgotten");
    }

    #[test]
    fn floods_are_few() {
        let mut hops = Hops::new();
        let allowed = (0..1_000).filter(|n| hops.may_flood(at(*n))).count();
        assert_eq!(allowed, 4 + 9, "four at once, and ten in a second");
        assert!(!hops.clone().may_flood(at(999)) && hops.may_flood(at(1_000)));
    }
}
