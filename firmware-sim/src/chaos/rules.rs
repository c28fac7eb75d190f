//! Rules for what is on its way to hosts: partitions, and shares of it that are dropped, delayed, doubled or damaged.
//!
//! Owns the verdict on each reception. When power is cut is `schedule`'s business, what attackers send `attacker`'s.

use ble_bearer::sim::{self, Observer, Reception};
use mesh_protocol::{Duration, Instant, Rng};

use super::placement::attackers_near;
use crate::scenario::{FaultKind, RuleAction, ScheduledFault};

/// What comes twice comes again within so much. A guess: a few events later, so that others come between.
const AGAIN_WITHIN: Duration = Duration::from_millis(20);

#[derive(Clone, Debug)]
enum What {
    /// By number, whether each station is on this side.
    Partition(Vec<bool>),
    Rule {
        action: RuleAction,
        share_ppm: u32,
        from: Option<u32>,
        to: Option<u32>,
    },
}

#[derive(Clone, Debug)]
struct Window {
    from: Instant,
    until: Instant,
    what: What,
}

/// The rules of a scenario. As an observer it says what becomes of receptions.
///
/// Of several rules that apply to a reception, the first in the scenario's order that does something decides; partitions
/// come before all others.
#[derive(Clone, Debug)]
pub struct Rules {
    windows: Vec<Window>,
    /// Those that apply at present.
    active: Vec<usize>,
    /// When that changes next.
    change: Instant,
    rng: Rng,
    counts: [u64; 5],
}

impl Rules {
    /// Those of `faults`, whose times count from `start`; there are so many nodes, and attackers behind them. `seed` decides which
    /// receptions are in a share, and which bit is wrong.
    #[must_use]
    pub fn new(faults: &[ScheduledFault], nodes: u32, start: Instant, seed: u64) -> Self {
        let near: Vec<u32> = attackers_near(faults).collect();
        let mut windows: Vec<Window> = faults
            .iter()
            .filter_map(|fault| {
                let (what, lasts) = match &fault.what {
                    FaultKind::Partition { nodes: side, lasts } => {
                        let mut sides: Vec<bool> = (0..nodes).map(|node| side.contains(&node)).collect();
                        // An attacker is where the node is that it stands by.
                        sides.extend(near.iter().map(|node| side.contains(node)));
                        (What::Partition(sides), *lasts)
                    }
                    FaultKind::Rule { action, share, from, to, lasts } => {
                        // From float to integer, Rust cuts what is too large or no number.
                        let share_ppm = (share * 1_000_000.0).round() as u32;
                        (What::Rule { action: *action, share_ppm, from: *from, to: *to }, *lasts)
                    }
                    _ => return None,
                };
                let from = start + fault.at;
                Some(Window { from, until: from + lasts, what })
            })
            .collect();
        windows.sort_by_key(|window| !matches!(window.what, What::Partition(_)));
        let change = if windows.is_empty() { Instant::MAX } else { Instant::ZERO };
        Self { windows, active: Vec::new(), change, rng: Rng::stream(seed, "rules"), counts: [0; 5] }
    }

    /// How often what was done: dropped (partitions included), delayed, doubled, damaged.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        ["partitioned", "dropped", "delayed", "doubled", "damaged"].into_iter().zip(self.counts)
    }

    /// What becomes of a reception.
    pub fn judge(&mut self, now: Instant, reception: &Reception<'_>) -> sim::ReceptionVerdict {
        if now >= self.change {
            let at = |window: &Window| window.from <= now && now < window.until;
            self.active = (0..self.windows.len()).filter(|&n| at(&self.windows[n])).collect();
            let times = self.windows.iter().flat_map(|window| [window.from, window.until]);
            self.change = times.filter(|time| *time > now).min().unwrap_or(Instant::MAX);
        }
        for &n in &self.active {
            match &self.windows[n].what {
                What::Partition(sides) => {
                    let side =
                        |station: sim::StationId| sides.get(station.0 as usize).copied().unwrap_or(false);
                    if side(reception.from) != side(reception.to) {
                        self.counts[0] += 1;
                        return sim::ReceptionVerdict::Drop;
                    }
                }
                What::Rule { action, share_ppm, from, to } => {
                    let applies = from.is_none_or(|from| from == reception.from.0)
                        && to.is_none_or(|to| to == reception.to.0)
                        && self.rng.chance(*share_ppm);
                    if applies {
                        let action = *action;
                        return self.carry_out(action, reception);
                    }
                }
            }
        }
        sim::ReceptionVerdict::Pass
    }

    fn carry_out(&mut self, action: RuleAction, reception: &Reception<'_>) -> sim::ReceptionVerdict {
        let (counter, verdict) = match action {
            RuleAction::Drop => (1, sim::ReceptionVerdict::Drop),
            RuleAction::Delay(by) => (2, sim::ReceptionVerdict::Delay(by)),
            RuleAction::Duplicate => (3, sim::ReceptionVerdict::Again(self.rng.jitter(AGAIN_WITHIN))),
            RuleAction::Corrupt => {
                let mut frame = reception.frame.clone();
                let bit = self.rng.below(frame.len() as u64 * 8);
                if let Some(byte) = frame.get_mut((bit / 8) as usize) {
                    *byte ^= 1 << (bit % 8);
                }
                (4, sim::ReceptionVerdict::Replace(Box::new(frame)))
            }
        };
        self.counts[counter] += 1;
        verdict
    }
}

impl<S> Observer<S> for Rules {
    fn verdict(&mut self, now: Instant, reception: &Reception<'_>) -> sim::ReceptionVerdict {
        self.judge(now, reception)
    }
}

#[cfg(test)]
mod tests {
    use ble_bearer::FrameBytes;
    use ble_bearer::sim::StationId;

    use super::*;

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn judge(rules: &mut Rules, at: u64, from: u32, to: u32, frame: &FrameBytes) -> sim::ReceptionVerdict {
        let now = Instant::ZERO + secs(at);
        let (from, to) = (StationId(from), StationId(to));
        rules.judge(now, &Reception { end: now, from, to, channel: 37, rssi: -60, frame, advert: None })
    }

    fn rule(action: RuleAction, share: f64, from: Option<u32>, to: Option<u32>) -> ScheduledFault {
        ScheduledFault { at: secs(10), what: FaultKind::Rule { action, share, from, to, lasts: secs(10) } }
    }

    fn frame() -> FrameBytes {
        FrameBytes::from_slice(&[0x5a; 27]).unwrap()
    }

    #[test]
    fn a_partition_stands_between_its_sides_for_its_time_and_attackers_are_on_a_side() {
        let forge =
            ScheduledFault { at: secs(0), what: FaultKind::Forge { near: 1, rate: 1.0, lasts: secs(1) } };
        let split =
            ScheduledFault { at: secs(5), what: FaultKind::Partition { nodes: vec![0, 1], lasts: secs(5) } };
        let mut rules = Rules::new(&[forge, split], 4, Instant::ZERO + secs(100), 1);
        let mut passes =
            |at, from, to| judge(&mut rules, at, from, to, &frame()) == sim::ReceptionVerdict::Pass;
        assert!(passes(104, 0, 2));
        assert!(!passes(105, 0, 2) && !passes(105, 3, 1), "both ways");
        assert!(passes(105, 0, 1) && passes(105, 2, 3));
        assert!(passes(106, 4, 0) && !passes(106, 4, 3), "the attacker is at node 1");
        assert!(passes(110, 0, 2), "over");
    }

    #[test]
    fn a_rule_meets_its_share_of_its_link_and_nothing_else() {
        let faults = [rule(RuleAction::Drop, 0.25, Some(1), Some(2))];
        let mut rules = Rules::new(&faults, 3, Instant::ZERO, 7);
        for (at, from, to) in [(9, 1, 2), (15, 2, 1), (15, 1, 0)] {
            assert!(
                (0..100).all(|_| judge(&mut rules, at, from, to, &frame()) == sim::ReceptionVerdict::Pass)
            );
        }
        let dropped = (0..4_000)
            .filter(|_| judge(&mut rules, 15, 1, 2, &frame()) == sim::ReceptionVerdict::Drop)
            .count();
        assert!((890..1_110).contains(&dropped), "{dropped}: 1,000 give or take four times 27");
        assert_eq!(rules.counts().collect::<Vec<_>>()[1], ("dropped", dropped as u64));
        assert!(
            (0..100).all(|_| judge(&mut rules, 20, 1, 2, &frame()) == sim::ReceptionVerdict::Pass),
            "over"
        );
    }

    #[test]
    fn delay_doubling_and_damage_do_what_they_say() {
        let all = |action| Rules::new(&[rule(action, 1.0, None, None)], 2, Instant::ZERO, 3);
        let late = Duration::from_millis(70);
        assert_eq!(
            judge(&mut all(RuleAction::Delay(late)), 10, 0, 1, &frame()),
            sim::ReceptionVerdict::Delay(late)
        );
        let twice = judge(&mut all(RuleAction::Duplicate), 10, 0, 1, &frame());
        assert!(matches!(twice, sim::ReceptionVerdict::Again(by) if by <= AGAIN_WITHIN), "{twice:?}");
        let mut rules = all(RuleAction::Corrupt);
        let mut places = std::collections::BTreeSet::new();
        for _ in 0..4_000 {
            let sim::ReceptionVerdict::Replace(damaged) = judge(&mut rules, 10, 0, 1, &frame()) else {
                panic!()
            };
            let wrong: Vec<_> =
                (0..27).map(|n| damaged[n] ^ 0x5a).enumerate().filter(|(_, bits)| *bits != 0).collect();
            assert_eq!((wrong.len(), wrong[0].1.count_ones()), (1, 1), "one bit");
            places.insert(wrong[0]);
        }
        assert_eq!(places.len(), 27 * 8, "any bit");
    }
}
