//! A device's own clock: fast or slow by a little, set to zero by a restart, and sometimes ahead at once.
//!
//! Owns the conversion between the world's time and a device's, both ways and without rounding that could make a
//! timer ring early. What is timed by it is the node's business.

use mesh_protocol::{Duration, Instant};

/// Parts in a billion that make one.
const BILLION: i128 = 1_000_000_000;
/// A clock runs no slower than half as fast as the world's, and no faster than twice as fast. Real ones differ by
/// far less; the bound keeps time going on.
const DRIFT_MAX: i64 = 500_000_000;

/// A clock that began at zero at some moment of the world's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalClock {
    /// World time from which the next line counts.
    since: Instant,
    /// What the clock showed then.
    shown: Instant,
    drift_ppb: i64,
}

impl LocalClock {
    /// A clock that shows zero at `now`; in each second it gains so many nanoseconds, or loses them.
    #[must_use]
    pub fn new(now: Instant, drift_ppb: i64) -> Self {
        Self { since: now, shown: Instant::ZERO, drift_ppb: drift_ppb.clamp(-DRIFT_MAX, DRIFT_MAX) }
    }

    /// A clock that shows the world's time.
    #[must_use]
    pub const fn exact() -> Self {
        Self { since: Instant::ZERO, shown: Instant::ZERO, drift_ppb: 0 }
    }

    /// What it shows at the world's time `at`; the time at which it began, for anything before.
    #[must_use]
    pub fn local(&self, at: Instant) -> Instant {
        if self.drift_ppb == 0 {
            return self.shown + at.since(self.since);
        }
        let passed = i128::from(at.since(self.since).as_micros());
        let shown = passed * (BILLION + i128::from(self.drift_ppb)) / BILLION;
        self.shown + Duration::from_micros(u64::try_from(shown).unwrap_or(u64::MAX))
    }

    /// The first moment of the world's time at which it shows `local` or more: a timer set for then is neither early nor
    /// later than it must be. Later than everything, if it never does.
    #[must_use]
    pub fn world(&self, local: Instant) -> Instant {
        let left = local.since(self.shown);
        if self.drift_ppb == 0 || left == Duration::ZERO {
            return self.since + left;
        }
        let rate = BILLION + i128::from(self.drift_ppb);
        // The least n with n * rate / BILLION >= left, rounded down there and so up here.
        let passed = (i128::from(left.as_micros()) * BILLION + rate - 1) / rate;
        self.since + Duration::from_micros(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    /// At the world's time `now` it jumps ahead.
    pub fn jump(&mut self, now: Instant, by: Duration) {
        self.shown = self.local(now) + by;
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use mesh_protocol::Rng;

    use super::*;

    #[test]
    fn a_timer_rings_at_the_first_moment_its_time_is_shown_and_never_before() {
        for seed in 0..2_000 {
            let mut rng = Rng::new(seed);
            let start = Instant::from_micros(rng.below(1 << 40));
            let drift = rng.below(400_001) as i64 - 200_000;
            let mut clock = LocalClock::new(start, drift);
            if rng.chance(500_000) {
                clock.jump(start + rng.jitter(Duration::from_secs(99)), rng.jitter(Duration::from_secs(60)));
            }
            let wanted = clock.local(clock.since) + rng.jitter(Duration::from_secs(5_000));
            let rings = clock.world(wanted);
            assert!(clock.local(rings) >= wanted, "seed {seed}: early");
            if rings > clock.since {
                let before = Instant::from_micros(rings.as_micros() - 1);
                assert!(clock.local(before) < wanted, "seed {seed}: late");
            }
        }
    }

    #[test]
    fn it_gains_what_it_is_said_to_and_starts_from_zero() {
        let at = |secs| Instant::ZERO + Duration::from_secs(secs);
        let mut clock = LocalClock::new(at(100), 50_000);
        assert_eq!(clock.local(at(100)), Instant::ZERO);
        assert_eq!(clock.local(at(1_100)), Instant::from_micros(1_000_050_000));
        clock.jump(at(1_100), Duration::from_secs(7));
        assert_eq!(clock.local(at(1_100)), Instant::from_micros(1_007_050_000));
        assert_eq!(LocalClock::exact().local(at(5)), at(5));
        assert_eq!(LocalClock::exact().world(at(5)), at(5));
        assert_eq!(LocalClock::exact().world(Instant::MAX), Instant::MAX);
    }

    #[test]
    fn time_never_runs_backwards_whatever_the_drift() {
        for drift in [i64::MIN, -DRIFT_MAX, -1, 1, DRIFT_MAX, i64::MAX] {
            let clock = LocalClock::new(Instant::from_micros(3), drift);
            let shown: Vec<_> = (0..50).map(|n| clock.local(Instant::from_micros(n))).collect();
            assert!(shown.is_sorted(), "{drift}");
        }
    }
}
