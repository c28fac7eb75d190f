//! A generated field of relays with gateways at its ends: what the demo and the simulated adapter run on.
//!
//! Owns positions and reach. It is no layout of a scenario: gateways stand outside the grid, and adding some moves no relay.

use ble_bearer::sim::{Position, Topology};
use mesh_protocol::Rng;

/// Between two neighbouring places of the grid, in metres.
const SPACING: f64 = 10.0;
/// How far a node is heard: two places of the grid, about twelve neighbours in the middle of a field.
const RADIUS: f64 = 20.0;
/// Nodes stand off their place by up to this much each way. With it, no two that follow each other on the grid are
/// ever out of range: 10 + 2·2.5 m along a row.
const SCATTER: f64 = 2.5;
/// A gateway stands this far outside its end of the field: well within reach of the first two columns.
const OUTSIDE: f64 = 3.0;
/// A field is at most this long, so that its ends are within the TTL of each other.
const COLUMNS_MAX: usize = 14;

/// Places for relays, and for gateways at both ends of the field.
#[derive(Clone, Debug)]
pub struct RelayField {
    /// One for each relay.
    pub relays: Vec<Position>,
    /// The western and the eastern end first, then places between them.
    pub gateways: Vec<Position>,
    /// The relay nearest to the western gateway, one in the middle, and the one nearest to the eastern gateway.
    pub landmarks: [usize; 3],
}

impl RelayField {
    /// `nodes` relays on a scattered grid, about as long as it is wide, and two gateways.
    #[must_use]
    pub fn new(nodes: u16, seed: u64) -> Self {
        Self::with_gateways(nodes, 2, seed)
    }

    /// The same relays with any number of gateways: from the third on they stand between the ends, as far from each
    /// other as it goes, in turn at the northern and the southern edge of the field.
    #[must_use]
    pub fn with_gateways(nodes: u16, gateways: u16, seed: u64) -> Self {
        let nodes = usize::from(nodes.max(1));
        let columns = ((nodes as f64).sqrt().round() as usize).clamp(1, COLUMNS_MAX.min(nodes));
        let mut rng = Rng::stream(seed, "layout");
        let mut off = || (rng.below(2_001) as f64 / 1_000.0 - 1.0) * SCATTER;
        let relays: Vec<Position> = (0..columns)
            .flat_map(|column| {
                // As even as it goes, each column centred on the line between the gateways.
                let rows = (column + 1) * nodes / columns - column * nodes / columns;
                (0..rows).map(move |row| (column as f64, row as f64 - (rows - 1) as f64 / 2.0))
            })
            .map(|(x, y)| Position::new(x * SPACING + off(), y * SPACING + off()))
            .collect();
        let length = (columns - 1) as f64 * SPACING;
        let ends = [Position::new(-OUTSIDE, 0.0), Position::new(length + OUTSIDE, 0.0)];
        let nearest = |to: Position| {
            (0..nodes).min_by(|a, b| relays[*a].distance(to).total_cmp(&relays[*b].distance(to))).unwrap_or(0)
        };
        let centre = Position::new(length / 2.0, 0.0);
        let landmarks = [nearest(ends[0]), nearest(centre), nearest(ends[1])];
        // The shortest column's half: every place between is among relays.
        let edge = (nodes / columns - 1) as f64 / 2.0 * SPACING;
        let between = (2..gateways).map(|n| {
            let along = length * f64::from(n - 1) / f64::from(gateways - 1);
            Position::new(along, if n % 2 == 0 { edge } else { -edge })
        });
        let gateways = ends.into_iter().take(gateways.into()).chain(between).collect();
        Self { relays, gateways, landmarks }
    }

    /// Its link rule: everyone within reach, and so many percent of the advertising events lost on each link.
    #[must_use]
    pub fn topology(loss_percent: f64) -> Topology {
        // From float to integer, Rust cuts what is no number.
        let loss_ppm = (loss_percent.clamp(0.0, 100.0) * 10_000.0) as u32;
        Topology::Radius { metres: RADIUS, loss_ppm }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_gateways_change_nothing_for_the_others_and_each_hears_a_relay() {
        for nodes in [1, 3, 12, 50, 300] {
            let two = RelayField::new(nodes, 7);
            for gateways in 1..=9 {
                let field = RelayField::with_gateways(nodes, gateways, 7);
                assert_eq!((&field.relays, field.landmarks), (&two.relays, two.landmarks));
                assert_eq!(field.gateways.len(), usize::from(gateways));
                let ends = field.gateways.iter().zip(&two.gateways);
                assert!(ends.into_iter().all(|(one, other)| one == other), "the ends come first");
                for gateway in &field.gateways {
                    let near = field.relays.iter().filter(|relay| relay.distance(*gateway) < RADIUS).count();
                    assert!(near > 0, "{gateways} gateways and {nodes} relays: nobody hears {gateway:?}");
                }
            }
        }
    }
}
