//! When this node says hello: fast while it gets to know its neighbours, then ever more seldom while nothing changes (Trickle, RFC 6206).
//!
//! Owns the pace. Knows no neighbours; what has changed it is told.

use crate::neighbours::HELLO_INTERVAL;
use crate::{Duration, Instant, Rng};

/// The first hello after the start: soon, so that a new node is known within seconds.
const FIRST_HELLO: Duration = Duration::from_millis(500);
/// Fast hellos after a start, and one more for each so many neighbours, as a hello speaks of three: so that links are known both ways.
const FAST: u32 = 5;
const FAST_PER_NEIGHBOURS: usize = 3;
const FAST_MOST: u32 = 10;
/// The pause after a change, in seconds as a power of two: a neighbour that has come is spoken of within a few of these.
const CHANGED_PACE: u8 = 1;
/// The longest pause, as a power of two.
const SLOWEST: u8 = (HELLO_INTERVAL.as_millis() / 1000).ilog2() as u8;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hellos {
    at: Instant,
    /// Hellos so far; their low byte is on the air.
    count: u32,
    /// The pause that `at` ends, in seconds as a power of two.
    pace: u8,
}

impl Hellos {
    pub(crate) fn new(now: Instant, rng: &mut Rng) -> Self {
        Self { at: now + rng.jitter(FIRST_HELLO), count: 0, pace: 0 }
    }

    pub(crate) const fn count(&self) -> u32 {
        self.count
    }

    /// When the next one is due.
    pub(crate) const fn next(&self) -> Instant {
        self.at
    }

    /// A hello is due: its number, and the pace until the next. `changed`: someone came or went since the last, or a link is another.
    pub(crate) fn say(&mut self, now: Instant, rng: &mut Rng, changed: bool, neighbours: usize) -> (u8, u8) {
        let number = self.count as u8;
        self.count = self.count.saturating_add(1);
        let fast = (FAST + (neighbours / FAST_PER_NEIGHBOURS) as u32).min(FAST_MOST);
        self.pace = if self.count < fast {
            0
        } else if changed {
            self.pace.min(CHANGED_PACE)
        } else {
            (self.pace + 1).min(SLOWEST)
        };
        self.at = now + pause(self.pace, rng);
        (number, self.pace)
    }

    /// One is due and cannot be said.
    pub(crate) fn pause(&mut self, now: Instant, rng: &mut Rng) {
        self.at = now + pause(CHANGED_PACE, rng);
    }

    /// Someone is there who was not: it is to hear of this node soon.
    pub(crate) fn hurry(&mut self, now: Instant, rng: &mut Rng) {
        if self.pace > CHANGED_PACE {
            self.pace = CHANGED_PACE;
            self.at = self.at.min(now + pause(CHANGED_PACE, rng));
        }
    }
}

/// Less or more a tenth, so that neighbours do not stay in step.
fn pause(pace: u8, rng: &mut Rng) -> Duration {
    let pause = Duration::from_secs(1 << pace);
    let tenth = Duration::from_micros(pause.as_micros() / 10);
    pause - tenth + rng.jitter(tenth.times(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pauses behind the next hellos, in seconds.
    fn paces(hellos: &mut Hellos, rng: &mut Rng, changed: bool, neighbours: usize, count: usize) -> Vec<u64> {
        (0..count)
            .map(|_| {
                let now = hellos.next();
                let (_, pace) = hellos.say(now, rng, changed, neighbours);
                let pause = hellos.next().since(now).as_micros() as f64 / 1e6;
                let exact = f64::from(1 << pace);
                assert!(pause >= 0.9 * exact && pause <= 1.1 * exact, "{pause}");
                1 << pace
            })
            .collect()
    }

    #[test]
    fn hellos_are_fast_at_first_and_rare_where_nothing_changes() {
        let mut rng = Rng::new(1);
        let mut hellos = Hellos::new(Instant::ZERO, &mut rng);
        assert!(hellos.next() <= Instant::ZERO + FIRST_HELLO);
        assert_eq!(paces(&mut hellos, &mut rng, true, 3, 5), [1; 5]);
        assert_eq!(paces(&mut hellos, &mut rng, false, 3, 7), [2, 4, 8, 16, 32, 32, 32]);
        assert_eq!(paces(&mut hellos, &mut rng, true, 3, 2), [2, 2]);
        assert_eq!(paces(&mut hellos, &mut rng, false, 3, 6), [4, 8, 16, 32, 32, 32]);
        let (due, now) = (hellos.next(), hellos.next() - Duration::from_secs(20));
        hellos.hurry(now, &mut rng);
        assert!(hellos.next() < due && hellos.next().since(now) <= Duration::from_millis(2_200));
        let due = hellos.next();
        hellos.hurry(now, &mut rng);
        assert_eq!(hellos.next(), due, "not again and again");
        assert_eq!(hellos.count(), 20);
    }

    #[test]
    fn in_a_crowd_more_of_them_are_fast() {
        let mut rng = Rng::new(1);
        let mut hellos = Hellos::new(Instant::ZERO, &mut rng);
        assert_eq!(paces(&mut hellos, &mut rng, false, 24, 11), [1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 4]);
    }
}
