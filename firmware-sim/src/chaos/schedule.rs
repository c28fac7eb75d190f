//! Moments at which something befalls a node: its power goes and comes back, its clock jumps.
//!
//! Owns their order. What a node makes of it is its own business, and what receptions meet that of `rules`.

use std::collections::{BTreeMap, VecDeque};

use ble_bearer::sim::{Observer, Station, StationId, World};
use mesh_protocol::{Duration, Instant};

use crate::scenario::{FaultKind, Flash, ScheduledFault};
use crate::stack::Faulty;

/// What happens at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Cut(u32, Flash),
    Restart(u32),
    Jump(u32, Duration),
}

/// The moments of a scenario that are still to come.
#[derive(Clone, Debug)]
pub struct Schedule {
    moments: VecDeque<(Instant, What)>,
    /// How many cuts each node is under: power is back when the last one is over.
    down: BTreeMap<u32, u32>,
}

impl Schedule {
    /// Those of `faults`, whose times count from `start`.
    #[must_use]
    pub fn new(faults: &[ScheduledFault], start: Instant) -> Self {
        let mut moments = Vec::new();
        for fault in faults {
            let at = start + fault.at;
            match fault.what {
                FaultKind::Crash { node, down, flash } => {
                    moments.push((at, What::Cut(node, flash)));
                    moments.push((at + down, What::Restart(node)));
                }
                FaultKind::ClockJump { node, by } => moments.push((at, What::Jump(node, by))),
                _ => {}
            }
        }
        // Of those at the same time, the scenario's order.
        moments.sort_by_key(|(at, _)| *at);
        Self { moments: moments.into(), down: BTreeMap::new() }
    }

    /// When something is due next.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.moments.front().map(|(at, _)| *at)
    }

    /// Does everything that is due by the world's time; node `n` is station `n`. Returns how much that was.
    pub fn apply<S: Station + Faulty, O: Observer<S>>(&mut self, world: &mut World<S, O>) -> usize {
        let now = world.now();
        let mut done = 0;
        while self.next().is_some_and(|at| at <= now)
            && let Some((_, what)) = self.moments.pop_front()
        {
            done += 1;
            match what {
                What::Cut(node, flash) => {
                    let down = self.down.entry(node).or_default();
                    *down += 1;
                    if *down == 1 {
                        let id = StationId(node);
                        world.poke(id, |station, now, _| station.cut(now, flash));
                        world.set_powered(id, false);
                    }
                }
                What::Restart(node) => {
                    let down = self.down.entry(node).or_default();
                    *down = down.saturating_sub(1);
                    if *down == 0 {
                        let id = StationId(node);
                        if let Some(station) = world.station_mut(id) {
                            station.restart(now);
                        }
                        world.set_powered(id, true);
                    }
                }
                What::Jump(node, by) => {
                    if self.down.get(&node).is_none_or(|down| *down == 0) {
                        world.poke(StationId(node), |station, now, _| station.jump(now, by));
                    }
                }
            }
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use ble_bearer::sim::{Position, Radio, Topology};

    use super::*;

    /// Asks to be run every second, and writes down what befalls it.
    #[derive(Default)]
    struct Clockwork(Vec<String>);

    impl Station for Clockwork {
        fn receive(&mut self, _now: Instant, _frame: &[u8], _rssi: i8) -> bool {
            false
        }

        fn run(&mut self, now: Instant, _radio: &mut Radio<'_>) -> Option<Instant> {
            self.0.push(format!("run {}", now.as_micros() / 1_000_000));
            Some(now + Duration::from_secs(1))
        }
    }

    impl Faulty for Clockwork {
        fn cut(&mut self, now: Instant, flash: Flash) {
            self.0.push(format!("cut {} {flash:?}", now.as_micros() / 1_000_000));
        }

        fn restart(&mut self, now: Instant) {
            self.0.push(format!("restart {}", now.as_micros() / 1_000_000));
        }

        fn jump(&mut self, _now: Instant, by: Duration) {
            self.0.push(format!("jump {}", by.as_millis()));
        }
    }

    fn play(faults: &[ScheduledFault], until: u64) -> Vec<String> {
        let mut world = World::<Clockwork>::new(1, Topology::Given(Vec::new()));
        world.add(Position::default(), Clockwork::default());
        let mut schedule = Schedule::new(faults, Instant::ZERO + Duration::from_secs(1));
        while let Some(at) = schedule.next() {
            world.advance(at);
            assert_ne!(schedule.apply(&mut world), 0);
        }
        world.advance(Instant::ZERO + Duration::from_secs(until));
        std::mem::take(&mut world.station_mut(StationId(0)).unwrap().0)
    }

    fn crash(at: u64, down: u64) -> ScheduledFault {
        let (at, down) = (Duration::from_secs(at), Duration::from_secs(down));
        ScheduledFault { at, what: FaultKind::Crash { node: 0, down, flash: Flash::Torn } }
    }

    #[test]
    fn a_node_without_power_is_not_run_and_goes_on_when_it_is_back() {
        // At 3 its own timer comes first; being poked, it is run once more.
        assert_eq!(
            play(&[crash(2, 3)], 7),
            ["run 0", "run 1", "run 2", "run 3", "cut 3 Torn", "run 3", "restart 6", "run 6", "run 7"]
        );
    }

    #[test]
    fn of_two_cuts_that_overlap_the_longer_one_counts() {
        let events = play(&[crash(0, 5), crash(1, 2)], 6);
        assert_eq!(events, ["run 0", "run 1", "cut 1 Torn", "run 1", "restart 6", "run 6"]);
    }

    #[test]
    fn a_clock_jumps_only_while_there_is_power() {
        let jump = |at| ScheduledFault {
            at: Duration::from_secs(at),
            what: FaultKind::ClockJump { node: 0, by: Duration::from_millis(40) },
        };
        let events = play(&[crash(0, 2), jump(1), jump(3)], 5);
        assert_eq!(events.iter().filter(|event| *event == "jump 40").count(), 1);
    }
}
