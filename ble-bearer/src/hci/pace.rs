//! What a command takes: measured at the start, and kept up with what is measured.
//!
//! Owns the figure that `min_gap` rests on. Takes times, asks for none.

use mesh_protocol::Duration;

/// What a command takes at the least: about what a Raspberry Pi 4 needs.
const LEAST: Duration = Duration::from_micros(500);
/// What commands may stretch it to: a host that was stopped for a while says nothing of its speed. A guess.
const LONGEST: Duration = Duration::from_millis(50);
/// Commands after which a figure that turned out too long is shortened. A guess: some seconds of traffic.
const REVIEW: u32 = 256;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// What each command of the setup took.
    setup: Vec<Duration>,
    latency: Duration,
    /// The slowest command since the last review, and how many there were.
    slowest: Duration,
    commands: u32,
}

impl Pace {
    /// A command of the setup took this long.
    pub(super) fn learn(&mut self, took: Duration) {
        self.setup.push(took);
    }

    /// The setup is done: a quarter more than three quarters of its commands took. One that was late says little of the next.
    pub(super) fn settle(&mut self) {
        self.setup.sort_unstable();
        let most = self.setup.get(self.setup.len() * 3 / 4).copied().unwrap_or(LEAST);
        self.latency = more(most).max(LEAST).min(LONGEST);
        (self.slowest, self.commands) = (Duration::ZERO, 0);
    }

    /// What a command is taken to take.
    pub(super) const fn latency(&self) -> Duration {
        self.latency
    }

    /// A command took this long. Whether the figure is another one now.
    pub(super) fn took(&mut self, time: Duration) -> bool {
        let before = self.latency;
        self.slowest = self.slowest.max(time);
        self.commands += 1;
        if time > self.latency {
            // By a quarter, not to what this one took: it may have been the only one.
            self.latency = more(self.latency).min(LONGEST);
        }
        if self.commands >= REVIEW {
            self.latency = more(self.slowest).max(LEAST).min(self.latency);
            (self.slowest, self.commands) = (Duration::ZERO, 0);
        }
        self.latency != before
    }
}

/// A quarter more.
fn more(time: Duration) -> Duration {
    Duration::from_micros(time.as_micros() * 5 / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(us: u64) -> Duration {
        Duration::from_micros(us)
    }

    #[test]
    fn one_late_command_of_the_setup_counts_for_little() {
        let mut pace = Pace::default();
        [1_000, 1_200, 900, 1_100, 80_000].map(us).into_iter().for_each(|took| pace.learn(took));
        pace.settle();
        assert_eq!(pace.latency(), us(1_500));
        let mut quick = Pace::default();
        quick.learn(us(10));
        quick.settle();
        assert_eq!(quick.latency(), LEAST);
    }

    #[test]
    fn slower_commands_stretch_it_step_by_step_to_a_bound_and_quicker_ones_shorten_it_at_a_review() {
        let mut pace = Pace::default();
        pace.learn(us(800));
        pace.settle();
        assert!(!pace.took(us(900)));
        assert!(pace.took(us(1_001)) && pace.latency() == us(1_250));
        for _ in 0..100 {
            pace.took(us(9_000_000));
        }
        assert_eq!(pace.latency(), LONGEST);
        for _ in 0..2 * REVIEW {
            pace.took(us(600));
        }
        assert_eq!(pace.latency(), us(750));
    }
}
