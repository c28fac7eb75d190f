//! From what a scenario says of radios and links to the air of a world.
//!
//! Owns the translation of units: shares and decibels of a file into parts per million and signal strengths.

use ble_bearer::sim::{AirSettings, Link, StationId, Topology, Wlan};

use crate::chaos::links_of_attackers;
use crate::scenario::{LinkRule, Scenario};

/// What is the same everywhere on the air.
pub(super) fn settings(scenario: &Scenario) -> AirSettings {
    let wlan = scenario.wlan.as_ref().map(|wlan| Wlan {
        duty_ppm: ppm(wlan.duty),
        burst: wlan.burst,
        dbm: wlan.dbm,
    });
    AirSettings { capture_db: scenario.radio.capture_db, wlan }
}

/// Who hears whom, attackers behind the nodes included.
pub(super) fn topology(scenario: &Scenario) -> Topology {
    match &scenario.links {
        LinkRule::Radius { reach, attenuation, beyond, loss } => Topology::Reach {
            metres: *reach,
            attenuation: *attenuation,
            beyond: *beyond,
            loss_ppm: ppm(*loss),
        },
        LinkRule::Propagation { exponent, floor_loss, shadowing, fading, loss } => Topology::Propagation {
            exponent: *exponent,
            floor_loss: *floor_loss,
            shadowing: *shadowing,
            fading: *fading,
            loss_ppm: ppm(*loss),
        },
        LinkRule::Given(links) => {
            let links = links.iter().flat_map(|link| {
                let strength = |from: u32| {
                    let own = scenario.nodes.get(&from).and_then(|node| node.tx_dbm);
                    let tx = own.unwrap_or(scenario.radio.tx_dbm);
                    (tx - link.attenuation).round().clamp(-127.0, 20.0) as i8
                };
                let one = |from: u32, to: u32| Link {
                    from: StationId(from),
                    to: StationId(to),
                    loss_ppm: ppm(link.loss),
                    rssi: strength(from),
                };
                [one(link.a, link.b), one(link.b, link.a)]
            });
            let mut links: Vec<Link> = links.collect();
            // A link that is not given does not exist, so attackers need some of their own.
            links.extend(links_of_attackers(&links, scenario.node_count(), &scenario.faults));
            Topology::Given(links)
        }
    }
}

/// A share, 0 to 1, in parts per million.
fn ppm(share: f64) -> u32 {
    (share * 1e6).round() as u32
}
