//! Radios of a case: nodes of one kind, or of both, and what drives them.
//!
//! Owns their draws, which take nothing from those of the rest: without radios, a seed's case is what it would be.

use mesh_protocol::Rng;

use crate::scenario::{ControllerModel, LongPhy, Scenario};

/// Gives nodes of about half of all cases other radios.
pub(super) fn add(case: &mut Scenario, seed: u64) {
    let mut rng = Rng::stream(seed, "fuzz radios");
    if rng.chance(500_000) {
        return;
    }
    case.radio.phy = [LongPhy::OneM, LongPhy::OneM, LongPhy::TwoM, LongPhy::Coded][rng.below(4) as usize];
    // All may have extended advertising, or as many as chance has it.
    let share = [0, 300_000, 700_000, 1_000_000][rng.below(4) as usize];
    for number in 0..case.node_count() {
        let extended = rng.chance(share);
        let controller = match (rng.below(6), extended) {
            (0, false) => ControllerModel::Pi4,
            (0, true) => ControllerModel::Bt5Dongle,
            _ => ControllerModel::Firmware,
        };
        let node = case.nodes.entry(number).or_default();
        node.extended = Some(extended);
        node.controller = (controller != ControllerModel::Firmware).then_some(controller);
    }
}

#[cfg(test)]
mod tests {
    use super::super::case;
    use super::*;

    #[test]
    fn every_other_case_has_radios_of_its_own_and_they_are_of_every_kind() {
        let (mut with, mut mixed, mut long) = (0, 0, 0);
        let mut controllers = [0; 3];
        for seed in 0..400 {
            let case = case(seed);
            let radios: Vec<_> = (0..case.node_count()).map(|number| case.radio_of(number)).collect();
            with += u32::from(case.nodes.values().any(|node| node.extended.is_some()));
            mixed += u32::from(!case.is_of_one_radio());
            long += u32::from(radios.iter().all(|radio| radio.extended));
            for radio in &radios {
                assert!(!(radio.extended && radio.controller == ControllerModel::Pi4), "seed {seed}");
                controllers[radio.controller as usize] += 1;
            }
        }
        assert!((150..250).contains(&with) && mixed > 50 && long > 20, "{with} {mixed} {long}");
        assert!(controllers.iter().all(|count| *count > 100), "{controllers:?}");
    }
}
