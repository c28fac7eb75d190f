//! How far apart frames must be: measured, and kept up with what is measured.
//!
//! Owns the figure that the link promises. Takes times, asks for none.

use std::time::Duration;

use mesh_protocol::Duration as Micros;

/// Frames after which a gap that turned out too long is shortened. A guess: some seconds of traffic.
const REVIEW: u32 = 64;
/// The longest gap that frames may stretch it to: a bluetoothd that was stopped for a while says nothing of its speed.
/// A guess.
const LONGEST: Duration = Duration::from_millis(500);

/// The gap, and what it rests on.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    least: Duration,
    gap: Duration,
    /// The slowest frame since the last review, and how many there were.
    slowest: Duration,
    frames: u32,
}

impl Pace {
    /// From the slowest of a few frames; never below `least`.
    pub(super) fn new(slowest: Duration, least: Micros) -> Self {
        let least = Duration::from_micros(least.as_micros());
        Self { least, gap: with_room(slowest).max(least), slowest: Duration::ZERO, frames: 0 }
    }

    pub(super) fn gap(&self) -> Duration {
        self.gap
    }

    /// The same, as links have it.
    pub(super) fn min_gap(&self) -> Micros {
        Micros::from_micros(u64::try_from(self.gap.as_micros()).unwrap_or(u64::MAX))
    }

    /// A frame took this long. Whether the gap is another one now.
    pub(super) fn took(&mut self, time: Duration) -> bool {
        self.slowest = self.slowest.max(time);
        self.frames += 1;
        let before = self.gap;
        if time > self.gap {
            // By half, not to what this one took: it may have been the only one.
            self.gap = with_room(self.gap).min(LONGEST).max(self.gap);
        } else if self.frames >= REVIEW {
            self.gap = with_room(self.slowest).max(self.least).min(self.gap);
        }
        if self.frames >= REVIEW {
            (self.slowest, self.frames) = (Duration::ZERO, 0);
        }
        self.gap != before
    }
}

/// Half as much again, for a busy moment, in full 10 ms.
fn with_room(time: Duration) -> Duration {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).saturating_mul(3) / 2;
    Duration::from_millis(millis.div_ceil(10).saturating_mul(10))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_gap_is_half_as_much_again_as_the_slowest_and_never_below_the_least() {
        assert_eq!(Pace::new(ms(41), Micros::from_millis(50)).gap(), ms(70));
        assert_eq!(Pace::new(ms(10), Micros::from_millis(50)).gap(), ms(50));
        assert_eq!(Pace::new(ms(10), Micros::from_millis(50)).min_gap(), Micros::from_millis(50));
    }

    #[test]
    fn a_slow_frame_stretches_the_gap_step_by_step_to_a_bound() {
        let mut pace = Pace::new(ms(20), Micros::from_millis(50));
        assert!(!pace.took(ms(50)));
        let gaps: Vec<_> = (0..8).map(|_| (pace.took(ms(9_000)), pace.gap())).collect();
        let steps = [80, 120, 180, 270, 410, 500].map(|gap| (true, ms(gap)));
        assert_eq!(gaps[..6], steps);
        assert_eq!(gaps[6..], [(false, ms(500)); 2]);
    }

    #[test]
    fn a_gap_that_was_too_long_is_shortened_after_a_while() {
        let mut pace = Pace::new(ms(200), Micros::from_millis(50));
        let changed: Vec<_> = (1..=2 * REVIEW).filter(|_| pace.took(ms(40))).collect();
        assert_eq!((changed, pace.gap()), (vec![REVIEW], ms(60)));
    }

    #[test]
    fn a_measured_gap_beyond_the_bound_stays_until_a_review() {
        let mut pace = Pace::new(ms(2_000), Micros::from_millis(50));
        assert!(!pace.took(ms(4_000)));
        assert_eq!(pace.gap(), ms(3_000));
    }
}
