//! Who may send next: strict priority, with a minimum share for each lower class.
//!
//! Owns the choice between classes only; which frame of a class is sent is for `air_queue` and `outbox`.

use crate::{PerClass, Priority};

/// How many frames of more urgent classes may pass a waiting class in a row before it gets one.
///
/// LOW: 19, so at least 1 in 20 = the 5 % that every class is promised. The two between get more, so that
/// urgency still shows under a flood of CRITICAL. A guess, held by the test below.
const PATIENCE: PerClass<u8> = PerClass::new([0, 4, 9, 19]);

/// Counts how often each waiting class was passed over.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shares {
    passed: PerClass<u8>,
}

impl Shares {
    /// Whether a class was passed over as often as it may be: it goes next, and nothing holds it back.
    pub(crate) fn is_starved(&self, class: Priority) -> bool {
        class != Priority::Critical && self.passed[class] >= PATIENCE[class]
    }

    /// The class to serve, of those with something `ready`.
    pub(crate) fn pick(&self, ready: PerClass<bool>) -> Option<Priority> {
        let waiting = |class: &Priority| ready[*class];
        let starved = |class: &Priority| ready[*class] && self.is_starved(*class);
        // Of the starved the one that has waited the longest for its patience, the least urgent first. In busy air all of them are
        // at each pause's end: were it always the least urgent's turn, the others would get none.
        let overdue = |class: &Priority| u32::from(self.passed[*class]) * 1_000 / u32::from(PATIENCE[*class]);
        let longest = Priority::ALL.into_iter().filter(starved).max_by_key(overdue);
        longest.or_else(|| Priority::ALL.into_iter().find(waiting))
    }

    /// Records that a frame of `served` was sent while the classes in `waiting` had one, be it due or held back by its
    /// pace: what is paced for two of three slots has waited through all three.
    pub(crate) fn served(&mut self, served: Priority, waiting: PerClass<bool>) {
        for (class, passed) in self.passed.iter_mut() {
            if class == served || !waiting[class] {
                *passed = 0;
            } else if class > served {
                *passed = passed.saturating_add(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn under_full_load_the_urgent_lead_and_the_lowest_keeps_five_percent() {
        let mut shares = Shares::default();
        let mut sent = PerClass::all(0u32);
        for _ in 0..2_000 {
            let class = shares.pick(PerClass::all(true)).unwrap();
            shares.served(class, PerClass::all(true));
            sent[class] += 1;
        }
        let [critical, high, medium, low] = Priority::ALL.map(|class| sent[class]);
        assert!(critical > high && high > medium && medium >= low, "{sent:?}");
        assert!(low >= 100, "LOW got {low} of 2000");
    }

    #[test]
    fn low_against_critical_alone_gets_every_twentieth() {
        let mut shares = Shares::default();
        let ready = PerClass::new([true, false, false, true]);
        let low = (0..200)
            .filter(|_| {
                let class = shares.pick(ready).unwrap();
                shares.served(class, ready);
                class == Priority::Low
            })
            .count();
        assert_eq!(low, 10);
    }

    #[test]
    fn a_class_whose_pace_lets_it_out_every_third_slot_gets_every_twentieth_all_the_same() {
        let mut shares = Shares::default();
        let mut last = None;
        let low = (0..2_000)
            .filter(|&slot| {
                let ready = PerClass::new([true, false, false, last.is_none_or(|last| slot - last >= 3)]);
                let class = shares.pick(ready).unwrap();
                shares.served(class, PerClass::new([true, false, false, true]));
                last = if class == Priority::Low { Some(slot) } else { last };
                class == Priority::Low
            })
            .count();
        assert_eq!(low, 100);
    }

    #[test]
    fn where_pauses_starve_all_classes_alike_none_of_them_is_left_out() {
        let mut shares = Shares::default();
        let mut sent = PerClass::all(0u32);
        for slot in 0..2_100 {
            let open = slot % 20 == 19;
            let class = shares.pick(PerClass::new([true, open, open, open])).unwrap();
            shares.served(class, PerClass::all(true));
            sent[class] += 1;
        }
        let [_, high, medium, low] = Priority::ALL.map(|class| sent[class]);
        assert_eq!(high + medium + low, 105, "{sent:?}");
        assert!(high > medium && medium > low && low >= 10, "{sent:?}");
    }

    #[test]
    fn a_class_alone_is_served_at_once() {
        let shares = Shares::default();
        assert_eq!(shares.pick(PerClass::new([false, false, true, false])), Some(Priority::Medium));
        assert_eq!(shares.pick(PerClass::all(false)), None);
    }
}
