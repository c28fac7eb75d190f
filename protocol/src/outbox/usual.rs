//! How long messages in segments took of late, from their first frame to the receipt, and whether they were in time.
//!
//! Owns when a message is too late to be begun. Where more is sent than goes through, messages wait until little of their time is left.
//! Begun all the same, each holds up those behind it, and all come too late.

use crate::{Duration, Instant};

/// A moment in so many microseconds: two bytes come round in a quarter of an hour.
const TICK: u64 = 16_000;
/// After a message that came too late, so many must be in time before one is begun late again. A guess: one in nine is spent to find out
/// whether there is still too much.
const WARY_FOR: u16 = 8;
/// The low bits that say how long a message took: a minute at the most.
const MESSAGE_BITS: u32 = 12;
const LONGEST: u16 = (1 << MESSAGE_BITS) - 1;

/// A moment of the last quarter of an hour.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticks(u16);

impl Ticks {
    pub(super) const fn of(now: Instant) -> Self {
        Self((now.as_micros() / TICK) as u16)
    }

    /// From then until now, in ticks.
    pub(super) const fn until(self, now: Instant) -> u16 {
        Self::of(now).0.wrapping_sub(self.0)
    }
}

/// See the module. A small node has next to no room for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usual {
    /// Low bits: what a message took, in ticks, one more if that is known. The others: how many must be in time still.
    message: u16,
    /// What a byte of one took, in thousandths of a tick.
    byte: u16,
}

impl Usual {
    pub(super) const fn new() -> Self {
        Self { message: 0, byte: 0 }
    }

    /// A message of so many bytes was delivered in so many ticks.
    pub(super) fn took(&mut self, bytes: u32, ticks: u16) {
        self.learn(bytes, ticks, self.wary().saturating_sub(1));
    }

    /// A message of so many bytes was begun and not delivered in time, which was so many ticks: it would have taken longer.
    pub(super) fn was_late(&mut self, bytes: u32, ticks: u16) {
        let longer = ticks.saturating_add(ticks / 2);
        if longer > self.of(bytes) && self.message & LONGEST != 0 {
            self.learn(bytes, longer, WARY_FOR);
        } else {
            self.message = self.message & LONGEST | WARY_FOR << MESSAGE_BITS;
        }
    }

    fn learn(&mut self, bytes: u32, ticks: u16, wary: u16) {
        let byte = (u64::from(ticks) * 1_000 / u64::from(bytes.max(1))).min(u16::MAX.into()) as u16;
        let known = self.message & LONGEST;
        let mean = |old: u16, new: u16| match known {
            0 => new,
            _ => ((u32::from(old) * 3 + u32::from(new)) / 4) as u16,
        };
        self.byte = mean(self.byte, byte);
        self.message = mean(known, ticks.min(LONGEST - 1) + 1) | wary << MESSAGE_BITS;
    }

    /// What a message of so many bytes takes, in ticks: as others, or as its bytes if that is less.
    fn of(&self, bytes: u32) -> u16 {
        let by_bytes = u64::from(self.byte) * u64::from(bytes) / 1_000;
        by_bytes.min((self.message & LONGEST).saturating_sub(1).into()) as u16
    }

    /// Whether a message of so many bytes that has so much time left would be too late, of late: half of what it takes is for what goes
    /// before it. Each time it would be, a little less is believed: where none is begun, nothing else says that they are faster again.
    pub(super) fn is_too_late(&mut self, bytes: u32, left: Duration) -> bool {
        let is_late = self.wary() > 0 && left.as_micros() * 2 < u64::from(self.of(bytes)) * TICK * 3;
        if is_late {
            // Then it is two at least.
            let known = self.message & LONGEST;
            self.message -= known / 64 + 1;
        }
        is_late
    }

    const fn wary(&self) -> u16 {
        self.message >> MESSAGE_BITS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn after_one_that_was_late_none_is_begun_with_too_little_time_until_eight_were_in_time() {
        let mut usual = Usual::new();
        usual.was_late(50, 1);
        assert!(!usual.is_too_late(50, ms(0)), "nothing is known of how long they take");
        usual.took(50, 20);
        assert!(usual.is_too_late(50, ms(479)) && !usual.is_too_late(50, ms(480)));
        for _ in 1..8 {
            assert!(usual.is_too_late(50, ms(1)));
            usual.took(50, 20);
        }
        assert!(!usual.is_too_late(50, ms(1)), "perhaps there is not too much any more");
        usual.was_late(50, 1);
        assert!(usual.is_too_late(50, ms(1)));
    }

    #[test]
    fn neither_a_short_one_waits_for_what_long_ones_take_nor_a_long_one_for_its_bytes_at_the_rate_of_short_ones()
     {
        let mut usual = Usual::new();
        for _ in 0..20 {
            usual.took(10_000, 1_000);
        }
        usual.was_late(50, 1);
        // A tenth of a tick for each byte.
        assert!(usual.is_too_late(50, ms(119)) && !usual.is_too_late(50, ms(120)));
        for _ in 0..20 {
            usual.took(10, 10);
        }
        usual.was_late(50, 1);
        assert!(usual.is_too_late(10_000, ms(200)) && !usual.is_too_late(10_000, ms(400)));
        usual.took(1, u16::MAX);
        usual.was_late(50, 1);
        assert!(usual.is_too_late(10_000, ms(1_000)), "no number is too large");
    }

    #[test]
    fn what_one_took_that_nobody_answered_keeps_shorter_ones_back_for_a_while_only() {
        let mut usual = Usual::new();
        usual.took(50, 62);
        usual.was_late(50, 3_750);
        assert!(usual.is_too_late(50, ms(10_000)));
        assert!((0..100).any(|_| !usual.is_too_late(50, ms(10_000))), "none is ever begun again");
    }

    #[test]
    fn ticks_come_round() {
        let at = |s| Instant::ZERO + Duration::from_secs(s);
        assert_eq!(Ticks::of(at(1_040)).until(at(1_060)), 1_250);
    }
}
