//! What is known of the path to other nodes: hops and round-trip time.
//!
//! Owns the estimate that retransmission timers are made of. It chooses no routes: frames are flooded.
//!
//! Full: the node heard of longest ago gives way.

use heapless::Vec;

use crate::{Address, Duration, Instant, PerClass, Priority};

/// What a relay may hold a frame at the most when it is not congested: event delay and gap for the urgent,
/// jitter besides for the others. Retransmission waits longer than this times the hops, both ways.
const RELAY_DELAY: PerClass<Duration> = PerClass::new([
    Duration::from_millis(25),
    Duration::from_millis(25),
    Duration::from_millis(45),
    Duration::from_millis(45),
]);
/// What the far end may take to reassemble, store and answer: some syncs to a slow card. A guess.
const ANSWER_TIME: Duration = Duration::from_millis(80);
/// Hops that are assumed at the least to a node that was not heard. A guess.
const UNHEARD_HOPS: u8 = 3;
/// No timer is shorter, whatever was measured.
const RTO_MIN: Duration = Duration::from_millis(120);
/// So many attempts of a CRITICAL message wait equally long.
const STEADY_ATTEMPTS: u8 = 3;
/// No timer is longer, so that a path that comes back is found within it.
const RTO_MAX: Duration = Duration::from_secs(4);

/// What is known of the path to one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// To whom.
    pub destination: Address,
    /// Hops of the last frame from there.
    pub hops: u8,
    /// Smoothed round-trip time, once one was measured.
    pub round_trip: Option<Duration>,
    /// When last heard of.
    pub last_heard: Instant,
    variation: Duration,
}

/// At most `N` destinations.
#[derive(Clone, Debug)]
pub(crate) struct PathTable<const N: usize> {
    paths: Vec<Path, N>,
}

impl<const N: usize> PathTable<N> {
    pub(crate) const fn new() -> Self {
        Self { paths: Vec::new() }
    }

    /// A new frame of `source` came over `hops`.
    pub(crate) fn heard(&mut self, now: Instant, source: Address, hops: u8) {
        let fresh =
            Path { destination: source, hops, round_trip: None, last_heard: now, variation: Duration::ZERO };
        match self.paths.iter_mut().find(|path| path.destination == source) {
            Some(path) => (path.hops, path.last_heard) = (hops, now),
            None => {
                if let Err(fresh) = self.paths.push(fresh)
                    && let Some(oldest) = self.paths.iter_mut().min_by_key(|path| path.last_heard)
                {
                    *oldest = fresh;
                }
            }
        }
    }

    /// An answer came `sample` after what it answers was sent, without a retransmission between.
    pub(crate) fn measured(&mut self, destination: Address, sample: Duration) {
        if let Some(path) = self.paths.iter_mut().find(|path| path.destination == destination) {
            // RFC 6298 section 2: gains of 1/8 and 1/4.
            let sample = sample.as_micros();
            match path.round_trip {
                None => {
                    path.round_trip = Some(Duration::from_micros(sample));
                    path.variation = Duration::from_micros(sample / 2);
                }
                Some(smooth) => {
                    let smooth = smooth.as_micros();
                    let variation = path.variation.as_micros();
                    path.variation = Duration::from_micros((3 * variation + smooth.abs_diff(sample)) / 4);
                    path.round_trip = Some(Duration::from_micros((7 * smooth + sample) / 8));
                }
            }
        }
    }

    /// How long to wait for an answer before sending again, the `attempt`th time (0 is the first).
    ///
    /// `ttl`: the hops to assume while none are known to any node. What is CRITICAL does not wait for what other classes have
    /// measured, and keeps its pace for some attempts: the others make way for it.
    pub(crate) fn timeout(&self, destination: Address, priority: Priority, ttl: u8, attempt: u8) -> Duration {
        let path = self.paths.iter().find(|path| path.destination == destination);
        // A node that has heard only its neighbours yet must not take all others for such.
        let farthest = || self.paths.iter().map(|path| path.hops.max(UNHEARD_HOPS).min(ttl)).max();
        let hops = path.map(|path| path.hops).or_else(farthest).unwrap_or(ttl);
        let floor = ANSWER_TIME + RELAY_DELAY[priority].times(2 * u64::from(hops));
        let steady = if priority == Priority::Critical { STEADY_ATTEMPTS } else { 1 };
        let measured = path
            .filter(|_| priority != Priority::Critical || attempt >= steady)
            .and_then(|path| path.round_trip.map(|smooth| smooth + path.variation.times(4)))
            .unwrap_or(floor);
        let base = measured.max(floor).max(RTO_MIN);
        base.times(1 << (attempt + 1).saturating_sub(steady).min(5)).min(RTO_MAX)
    }

    /// Hops to a node that was heard.
    pub(crate) fn hops(&self, of: Address) -> Option<u8> {
        self.paths.iter().find(|path| path.destination == of).map(|path| path.hops)
    }

    pub(crate) fn iter(&self) -> core::slice::Iter<'_, Path> {
        self.paths.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Address = Address::new(1);

    #[test]
    fn the_timer_outlasts_the_slowest_relays_both_ways_and_backs_off() {
        let mut paths = PathTable::<4>::new();
        paths.heard(Instant::ZERO, A, 5);
        let timeout = |class, attempt| paths.timeout(A, class, 10, attempt).as_millis();
        assert_eq!([0, 1, 2, 9].map(|attempt| timeout(Priority::High, attempt)), [330, 660, 1_320, 4_000]);
        let unknown = |paths: &PathTable<4>| paths.timeout(Address::new(2), Priority::Low, 10, 0).as_millis();
        assert_eq!(unknown(&paths), 530, "nothing known of it: no farther than the farthest");
        assert_eq!(unknown(&PathTable::new()), 980, "nothing known at all: all of TTL");
    }

    #[test]
    fn a_slow_path_lengthens_the_timer() {
        let mut paths = PathTable::<4>::new();
        paths.heard(Instant::ZERO, A, 1);
        paths.measured(A, Duration::from_millis(800));
        assert_eq!(paths.timeout(A, Priority::High, 10, 0).as_millis(), 2_400);
        for _ in 0..64 {
            paths.measured(A, Duration::from_millis(20));
        }
        assert_eq!(paths.timeout(A, Priority::High, 10, 0).as_millis(), 130, "never below the floor");
    }

    #[test]
    fn what_is_critical_keeps_its_pace_three_times_whatever_the_others_measure() {
        let mut paths = PathTable::<4>::new();
        paths.heard(Instant::ZERO, A, 3);
        paths.measured(A, Duration::from_millis(200));
        let timeout = |attempt| paths.timeout(A, Priority::Critical, 10, attempt).as_millis();
        assert_eq!([0, 1, 2, 3, 4, 5].map(timeout), [230, 230, 230, 1_200, 2_400, 4_000]);
    }

    #[test]
    fn a_full_table_lets_the_stalest_go() {
        let mut paths = PathTable::<2>::new();
        for (n, secs) in [(1, 1), (2, 2), (1, 3), (3, 4)] {
            paths.heard(Instant::ZERO + Duration::from_secs(secs), Address::new(n), 1);
        }
        assert!(paths.iter().map(|path| path.destination.bits()).eq([1, 3]));
    }
}
