//! What a node offers to the air below CRITICAL, so that the air carries it and urgent frames pass.
//!
//! Owns the times before which lower classes stay silent. Who is next among those that may send is for `shares`.

use crate::{Duration, Instant};

/// After a new CRITICAL frame the lower classes are silent for so long: while it floods on, and its answer comes back. Measured in
/// the office: half as long loses a third of what it brings.
const HOLD: Duration = Duration::from_millis(80);
/// However many CRITICAL frames come, one silence is no longer than this,
const HOLD_MOST: Duration = Duration::from_millis(800);
/// and a pause of a tenth of its length follows it.
const PAUSE_SHARE: u64 = 10;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    held_since: Instant,
    held_until: Instant,
}

impl Budget {
    pub(crate) const fn new() -> Self {
        Self { held_since: Instant::ZERO, held_until: Instant::ZERO }
    }

    /// A CRITICAL frame that this node did not know passes: lower classes hold back for a moment. In the pause behind a
    /// silence that was as long as it may be, they do not.
    pub(crate) fn urgent(&mut self, now: Instant) {
        if self.held_until <= now {
            let length = self.held_until.since(self.held_since).as_micros();
            if now.since(self.held_until).as_micros() < length / PAUSE_SHARE {
                return;
            }
            self.held_since = now;
        }
        self.held_until = (now + HOLD).min(self.held_since + HOLD_MOST);
    }

    /// From when on classes below CRITICAL may send.
    pub(crate) const fn opens_at(&self) -> Instant {
        self.held_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn a_critical_frame_silences_the_rest_for_a_moment() {
        let mut budget = Budget::new();
        assert_eq!(budget.opens_at(), at(0));
        budget.urgent(at(1_000));
        assert_eq!(budget.opens_at(), at(1_080));
        budget.urgent(at(1_050));
        assert_eq!(budget.opens_at(), at(1_130), "its answer");
    }

    #[test]
    fn critical_frames_without_end_leave_the_rest_a_tenth_of_the_time() {
        let mut budget = Budget::new();
        let open = (1_000..11_000u64)
            .filter(|&millis| {
                budget.urgent(at(millis));
                budget.opens_at() <= at(millis)
            })
            .count();
        assert_eq!(open, 880, "of 10,000 ms");
    }
}
