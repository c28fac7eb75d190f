//! From what a scenario says of places, radios and links to what the simulated air takes.
//!
//! Owns the translation, for runs of scenarios and for the fuzzer alike. What the air makes of it is `ble_bearer::sim`'s.

use ble_bearer::sim::{Link, Phy, Position, RadioSpec, ScanPlan, StationId, Topology};

use super::StackKind;
use crate::chaos::links_of_attackers;
use crate::scenario::{LinkRule, Place, Radio, Scenario};

/// Where a node stands.
pub(crate) const fn position(place: &Place) -> Position {
    Position { x: place.x, y: place.y, z: place.z, floor: place.floor }
}

/// The radio of a node that runs such a stack.
pub(crate) fn spec(radio: &Radio, stack: StackKind, relay_sets: u8) -> RadioSpec {
    let (sets, ad_header, tells_sent) = match stack {
        StackKind::Mesh => (1, 4, false),
        // Length and type: the mesh message has an AD type of its own.
        StackKind::Sig => (1 + usize::from(relay_sets), 2, true),
        StackKind::Flood => (1, 4, true),
    };
    RadioSpec {
        tx_dbm: radio.tx_dbm,
        sensitivity_dbm: radio.sensitivity_dbm,
        scan: ScanPlan { interval: radio.scan_interval, window: radio.scan_window },
        extended: radio.extended.then_some(Phy::OneM),
        sets,
        ad_header,
        tells_sent,
    }
}

/// Who hears whom, attackers behind the `nodes` included.
pub(crate) fn topology(scenario: &Scenario, nodes: u32) -> Topology {
    let ppm = |share: f64| (share * 1e6).round() as u32;
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
            links.extend(links_of_attackers(&links, nodes, &scenario.faults));
            Topology::Given(links)
        }
    }
}
