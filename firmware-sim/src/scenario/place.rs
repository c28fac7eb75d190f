//! Where the nodes of a scenario stand.
//!
//! Owns the layouts. Only sums, products and square roots, which every machine rounds alike. Who hears whom follows
//! from the link rule and is the world's business.

use mesh_protocol::Rng;

use super::{Layout, NODES_MAX, Place, Scenario};

/// In an office, a node stands off the middle of its cell by up to this share of the cell's sides. A guess: no two are
/// nearer than half a cell.
const OFFICE_SCATTER: f64 = 0.25;
/// How often a place on a disc is drawn again that is too near to another; then the best of these has to do. A guess.
const DISC_DRAWS: u32 = 16;

impl Scenario {
    /// How many nodes there are.
    #[must_use]
    pub fn node_count(&self) -> u32 {
        self.layout.nodes()
    }

    /// The number of the node with this name.
    #[must_use]
    pub fn node_named(&self, name: &str) -> Option<u32> {
        let named = |(number, node): (&u32, &super::NodeOptions)| {
            (node.name.as_deref() == Some(name)).then_some(*number)
        };
        self.nodes.iter().find_map(named)
    }

    /// Where each node stands, by number: the same for the same seed.
    #[must_use]
    pub fn places(&self, seed: u64) -> Vec<Place> {
        let mut places = self.layout.places(&mut Rng::stream(seed, "layout"));
        for (number, node) in &self.nodes {
            if let (Some(place), Some(own)) = (places.get_mut(*number as usize), node.place) {
                *place = own;
            }
        }
        places
    }
}

impl Layout {
    /// How many nodes it has: never more than [`NODES_MAX`].
    pub(super) fn nodes(&self) -> u32 {
        let nodes = match self {
            Self::Line { nodes, .. }
            | Self::Diagonal { nodes, .. }
            | Self::Disc { nodes, .. }
            | Self::Office { nodes, .. } => *nodes,
            Self::Grid { columns, rows, .. } => columns.saturating_mul(*rows),
            Self::Given(places) => u32::try_from(places.len()).unwrap_or(u32::MAX),
        };
        nodes.min(NODES_MAX)
    }

    /// Metres above the ground of a floor.
    pub(super) fn ground(&self, floor: u32) -> f64 {
        match self {
            Self::Office { height, .. } => f64::from(floor) * height,
            _ => 0.0,
        }
    }

    fn places(&self, rng: &mut Rng) -> Vec<Place> {
        let nodes = self.nodes();
        match self {
            Self::Line { spacing, .. } => {
                (0..nodes).map(|n| Place { x: f64::from(n) * spacing, ..Place::default() }).collect()
            }
            Self::Diagonal { spacing, .. } => {
                let at = |n| f64::from(n) * spacing;
                (0..nodes).map(|n| Place { x: at(n), y: at(n), ..Place::default() }).collect()
            }
            Self::Grid { columns, spacing, scatter, .. } => (0..nodes)
                .map(|n| {
                    let (column, row) = (n % columns, n / columns);
                    Place {
                        x: f64::from(column) * spacing + either_way(rng) * scatter,
                        y: f64::from(row) * spacing + either_way(rng) * scatter,
                        ..Place::default()
                    }
                })
                .collect(),
            Self::Disc { radius, apart, .. } => disc(nodes, *radius, *apart, rng),
            Self::Office { floors, width, depth, .. } => (0..*floors)
                .flat_map(|floor| {
                    let z = self.ground(floor);
                    let flat = office_floor(share(nodes, *floors, floor), *width, *depth, rng);
                    flat.into_iter().map(move |(x, y)| Place { x, y, z, floor })
                })
                .collect(),
            Self::Given(places) => places.iter().take(nodes as usize).copied().collect(),
        }
    }
}

/// A number from -1 to 1, all alike.
fn either_way(rng: &mut Rng) -> f64 {
    // 53 bits: all that fit.
    (rng.next_u64() >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
}

/// Of `nodes` in `parts` as equal as it goes, the size of one.
fn share(nodes: u32, parts: u32, part: u32) -> u32 {
    let until = |part: u32| u64::from(nodes) * u64::from(part) / u64::from(parts.max(1));
    // At most `nodes`, so that it fits.
    (until(part + 1) - until(part)) as u32
}

/// Cells about as long as wide, as equal as it goes, one node in each.
fn office_floor(nodes: u32, width: f64, depth: f64, rng: &mut Rng) -> Vec<(f64, f64)> {
    if nodes == 0 {
        return Vec::new();
    }
    let rows = (f64::from(nodes) * depth / width.max(f64::MIN_POSITIVE)).sqrt().round();
    let rows = (rows as u32).clamp(1, nodes);
    let cell_y = depth / f64::from(rows);
    let mut places = Vec::new();
    for row in 0..rows {
        let columns = share(nodes, rows, row);
        let cell_x = width / f64::from(columns);
        for column in 0..columns {
            let x = (f64::from(column) + 0.5 + either_way(rng) * OFFICE_SCATTER) * cell_x;
            let y = (f64::from(row) + 0.5 + either_way(rng) * OFFICE_SCATTER) * cell_y;
            places.push((x, y));
        }
    }
    places
}

/// Around (radius, radius), so that no coordinate is negative.
fn disc(nodes: u32, radius: f64, apart: f64, rng: &mut Rng) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    for _ in 0..nodes {
        let mut best = (f64::NEG_INFINITY, Place::default());
        for _ in 0..DISC_DRAWS {
            let (x, y) = within_circle(rng);
            let place = Place { x: (1.0 + x) * radius, y: (1.0 + y) * radius, ..Place::default() };
            // Square of the distance to the nearest.
            let room = places
                .iter()
                .map(|other| (place.x - other.x).powi(2) + (place.y - other.y).powi(2))
                .fold(f64::INFINITY, f64::min);
            if room > best.0 {
                best = (room, place);
            }
            if room >= apart * apart {
                break;
            }
        }
        places.push(best.1);
    }
    places
}

/// A point of the circle of radius 1 around the origin: points of the square around it until one is inside.
fn within_circle(rng: &mut Rng) -> (f64, f64) {
    loop {
        let (x, y) = (either_way(rng), either_way(rng));
        if x * x + y * y <= 1.0 {
            return (x, y);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(layout: &Layout, seed: u64) -> Vec<Place> {
        layout.places(&mut Rng::stream(seed, "layout"))
    }

    fn flat(layout: &Layout, seed: u64) -> Vec<(f64, f64)> {
        places(layout, seed).iter().map(|place| (place.x, place.y)).collect()
    }

    fn distance(a: &Place, b: &Place) -> f64 {
        ((a.x - b.x).powi(2) + (a.y - b.y).powi(2)).sqrt()
    }

    #[test]
    fn lines_diagonals_and_tidy_grids_stand_where_the_tape_measure_says() {
        assert_eq!(flat(&Layout::Line { nodes: 3, spacing: 2.5 }, 1), [(0.0, 0.0), (2.5, 0.0), (5.0, 0.0)]);
        assert_eq!(
            flat(&Layout::Diagonal { nodes: 3, spacing: 2.0 }, 1),
            [(0.0, 0.0), (2.0, 2.0), (4.0, 4.0)]
        );
        let grid = Layout::Grid { columns: 2, rows: 2, spacing: 10.0, scatter: 0.0 };
        assert_eq!(flat(&grid, 1), [(0.0, 0.0), (10.0, 0.0), (0.0, 10.0), (10.0, 10.0)]);
        let given = vec![Place { x: 1.0, y: 2.0, z: 3.0, floor: 4 }, Place::default()];
        assert_eq!(places(&Layout::Given(given.clone()), 1), given);
    }

    #[test]
    fn a_scattered_grid_keeps_to_its_cells_and_to_its_seed() {
        let grid = |scatter| Layout::Grid { columns: 20, rows: 10, spacing: 10.0, scatter };
        let (tidy, scattered) = (places(&grid(0.0), 7), places(&grid(3.0), 7));
        let off: Vec<f64> = tidy.iter().zip(&scattered).flat_map(|(a, b)| [b.x - a.x, b.y - a.y]).collect();
        assert!(off.iter().all(|off| off.abs() <= 3.0));
        // Of 400 draws some come near each end.
        assert!(off.iter().any(|off| *off > 2.9) && off.iter().any(|off| *off < -2.9));
        assert_eq!(places(&grid(3.0), 7), scattered, "one seed, one layout");
        assert_ne!(places(&grid(3.0), 8), scattered);
    }

    #[test]
    fn a_disc_fills_its_circle_and_keeps_its_nodes_apart() {
        let disc = Layout::Disc { nodes: 300, radius: 100.0, apart: 5.0 };
        let places = places(&disc, 3);
        let middle = Place { x: 100.0, y: 100.0, ..Place::default() };
        assert!(places.iter().all(|place| distance(place, &middle) <= 100.0));
        for (n, a) in places.iter().enumerate() {
            assert!(places[..n].iter().all(|b| distance(a, b) >= 5.0), "node {n}");
        }
        // Half of the area lies within radius / sqrt 2. 300 throws: 150 give or take 4 times 8.7.
        let inner = places.iter().filter(|place| distance(place, &middle) < 100.0 / 2_f64.sqrt()).count();
        assert!((115..185).contains(&inner), "{inner}");
    }

    #[test]
    fn a_disc_without_room_takes_the_best_of_what_it_drew_and_comes_to_an_end() {
        let crowded = places(&Layout::Disc { nodes: 50, radius: 1.0, apart: 100.0 }, 1);
        assert_eq!(crowded.len(), 50);
        assert_ne!(crowded[0], crowded[1]);
    }

    #[test]
    fn an_office_has_its_nodes_on_all_floors_alike_and_within_its_walls() {
        let office = Layout::Office { nodes: 101, floors: 2, width: 60.0, depth: 20.0, height: 3.0 };
        let places = places(&office, 5);
        let on = |floor| places.iter().filter(|place| place.floor == floor).count();
        assert_eq!((on(0), on(1), places.len()), (50, 51, 101));
        for place in &places {
            assert!((0.0..=60.0).contains(&place.x) && (0.0..=20.0).contains(&place.y), "{place:?}");
            assert_eq!(place.z, if place.floor == 1 { 3.0 } else { 0.0 });
        }
        // Four rows of twelve or thirteen: cells of about 5 m by 5 m, and half of that between two at least.
        let ground: Vec<_> = places.iter().filter(|place| place.floor == 0).collect();
        for (n, a) in ground.iter().enumerate() {
            assert!(ground[..n].iter().all(|b| distance(a, b) > 2.0), "node {n}");
        }
    }

    #[test]
    fn an_office_with_more_floors_than_nodes_leaves_floors_empty() {
        let office = Layout::Office { nodes: 2, floors: 5, width: 10.0, depth: 0.0, height: 3.0 };
        assert_eq!(places(&office, 1).iter().map(|place| place.floor).collect::<Vec<_>>(), [2, 4]);
    }
}
