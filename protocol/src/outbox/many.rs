//! A message to a group or everyone on its way: its pace, its rounds, and what its receivers say they lack.
//!
//! Owns what a message to many does otherwise than one to a single node, which is answered. The rest is `slot`'s.

use super::outcome::{Progress, SendOutcome};
use super::slot::Slot;
use crate::segment::all;
use crate::tallies::TALLIED_AFTER;
use crate::{Duration, Instant, PerClass};

/// Segments of a message to many follow each other at this pace, by priority: every node is to hear each of them, and many pass it
/// on. At the pace of the link the urgent collide with themselves and reach a tenth of an office; at this one they reach all of it.
const PACE_TO_MANY: PerClass<Duration> = PerClass::new([
    Duration::from_millis(24),
    Duration::from_millis(24),
    Duration::from_millis(36),
    Duration::from_millis(36),
]);
/// Who misses a single frame to many does not know of it, and who misses one of a few segments may have none of them: so many
/// go this often. Of more segments, the missing ones are asked for.
const ROUNDS_TO_MANY: u8 = 2;
/// See [`ROUNDS_TO_MANY`].
const FEW: u8 = 4;
/// Between two rounds.
const ROUND_GAP: Duration = Duration::from_millis(300);
/// Behind the last segment to many: so long those who lack some have time to say so. Their second nack comes within it.
const NACKS_FOR: Duration = Duration::from_secs(2);
/// So long behind a repeat a nack that asks for it again is older than it.
const NACK_AGE: Duration = Duration::from_millis(150);
/// Nacks that come within this are answered together.
const NACKS_GATHER: Duration = Duration::from_millis(60);
impl Slot {
    pub(super) const fn to_many(&self) -> bool {
        self.delivery.destination.is_many()
    }

    pub(super) fn many_pause(&self) -> Duration {
        PACE_TO_MANY[self.delivery.priority]
    }

    /// Whether another round follows the present one.
    fn has_round(&self) -> bool {
        self.rounds < ROUNDS_TO_MANY && (self.single || self.count() <= FEW)
    }

    /// How long to wait behind a pass to many.
    pub(super) fn many_wait(&self) -> Duration {
        if self.has_round() {
            ROUND_GAP
        } else if self.single {
            TALLIED_AFTER
        } else {
            NACKS_FOR
        }
    }

    /// One of many lacks these segments: they are sent again. `false` if nothing comes of it.
    pub(super) fn nacked(&mut self, now: Instant, missing: u64) -> bool {
        // What is still to come nobody lacks.
        let mut missing = missing & all(self.count()) & self.sent;
        if self.pending == 0 && now.since(self.last_sent) < NACK_AGE {
            missing &= !self.passed;
        }
        if missing == 0 {
            return false;
        }
        if self.pending == 0 {
            self.passed = 0;
            self.next_at = self.next_at.max(now + NACKS_GATHER);
            self.timeout_at = None;
        }
        self.pending |= missing & !self.passed;
        true
    }

    /// Everything was sent once more, and nobody lacks anything: begin the next round, or the next part, or be done.
    pub(super) fn next_round(&mut self, now: Instant) -> Option<Progress> {
        if self.has_round() {
            self.rounds += 1;
            self.pending = if self.single { 1 } else { all(self.count()) };
            self.next_at = now;
            return None;
        }
        if self.is_last_part() {
            return Some(Progress::Done(self.delivery.id, SendOutcome::Sent));
        }
        self.rounds = 1;
        Some(self.want_part(self.offset + self.part_len))
    }
}
