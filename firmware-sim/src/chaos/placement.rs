//! Where attackers stand: next to the nodes that a scenario names.
//!
//! Owns their numbers and links. What they send is `attacker`'s business.

use ble_bearer::sim::{Link, StationId};

use crate::scenario::{FaultKind, ScheduledFault};

/// Where attackers of `faults` stand: as which node each, in order of the faults. The first has the number behind the
/// last node's.
pub fn attackers_near(faults: &[ScheduledFault]) -> impl Iterator<Item = u32> + '_ {
    faults.iter().filter_map(|fault| match fault.what {
        FaultKind::Forge { near, .. } | FaultKind::Replay { near, .. } | FaultKind::Member { near, .. } => {
            Some(near)
        }
        _ => None,
    })
}

/// Where links are given one by one: those of the attackers, who hear and are heard as the nodes they stand by are, and by
/// these besides.
#[must_use]
pub fn links_of_attackers(links: &[Link], nodes: u32, faults: &[ScheduledFault]) -> Vec<Link> {
    let mut added = Vec::new();
    for (number, near) in (nodes..).zip(attackers_near(faults)) {
        added.extend(Link::both(number, near, 0));
        let own = StationId(number);
        for link in links {
            if link.from.0 == near {
                added.push(Link { from: own, ..*link });
            }
            if link.to.0 == near {
                added.push(Link { to: own, ..*link });
            }
        }
    }
    added
}
