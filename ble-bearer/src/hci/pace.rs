//! What a command takes: measured at the start, and kept up with what is measured.
//!
//! Owns the figure that `min_gap` rests on. Takes times, asks for none.

use mesh_protocol::Duration;

/// What a command takes at the least: about what a Raspberry Pi 4 needs.
const LEAST: Duration = Duration::from_micros(500);
/// More than this no command counts for: a host that was stopped for a while says nothing of its speed. A guess.
const MOST: Duration = Duration::from_millis(50);
/// The mean moves by this part of what is new. A guess: a few frames on a legacy controller.
const PART: u64 = 8;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// What each command of the setup took.
    setup: Vec<Duration>,
    mean: Duration,
}

impl Pace {
    /// A command of the setup took this long.
    pub(super) fn learn(&mut self, took: Duration) {
        self.setup.push(took);
    }

    /// The setup is done: its median counts, as one that was late says little of the next.
    pub(super) fn setup_done(&mut self) {
        self.setup.sort_unstable();
        self.mean = self.setup.get(self.setup.len() / 2).copied().unwrap_or(LEAST).min(MOST);
    }

    /// A command took this long.
    pub(super) fn took(&mut self, time: Duration) {
        let (mean, time) = (self.mean.as_micros(), time.min(MOST).as_micros());
        self.mean = Duration::from_micros((mean * (PART - 1) + time) / PART);
    }

    /// What a command is taken to take: half as much again as the mean. One that takes longer still is made up for by the frame that
    /// may wait.
    pub(super) fn latency(&self) -> Duration {
        Duration::from_micros(self.mean.as_micros() * 3 / 2).max(LEAST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(us: u64) -> Duration {
        Duration::from_micros(us)
    }

    #[test]
    fn one_late_command_counts_for_little() {
        let mut pace = Pace::default();
        [1_000, 1_200, 900, 1_100, 80_000].map(us).into_iter().for_each(|took| pace.learn(took));
        pace.setup_done();
        assert_eq!(pace.latency(), us(1_650));
        pace.took(us(9_000_000));
        assert!(pace.latency() < us(12_000));
        let mut quick = Pace::default();
        quick.learn(us(10));
        quick.setup_done();
        assert_eq!(quick.latency(), LEAST);
    }

    #[test]
    fn it_follows_a_host_that_becomes_slower_and_quicker_again() {
        let mut pace = Pace::default();
        pace.learn(us(800));
        pace.setup_done();
        (0..500).for_each(|_| pace.took(us(8_000)));
        assert!(pace.latency() > us(11_500) && pace.latency() <= us(12_000));
        (0..500).for_each(|_| pace.took(us(800)));
        assert!(pace.latency() < us(1_300));
        (0..500).for_each(|_| pace.took(us(9_000_000)));
        assert!(pace.latency() <= us(75_000));
    }
}
