//! Where stations stand, and what becomes of a signal between two places.
//!
//! Owns positions and the rules that make attenuation of them. Keeping the links that follow is [`super::links`]'s business;
//! time, channels and collisions are the air's.

use mesh_protocol::Rng;

use super::power::centi;

/// Middle of the band in MHz; the three advertising channels lie at 2402, 2426 and 2480.
const FREQUENCY_MHZ: f64 = 2440.0;
/// The path-loss formula holds from here on, in metres (ITU-R P.1238); nearer counts as this far.
const NEAREST: f64 = 1.0;
/// The number of a station in its world, counted from 0 in the order they were added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StationId(pub u32);

impl StationId {
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// Where a station stands, in metres.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Position {
    /// Metres to the right.
    pub x: f64,
    /// Metres up, on the map.
    pub y: f64,
    /// Metres above the ground.
    pub z: f64,
    /// The floor, for what a ceiling takes away.
    pub floor: u32,
}

impl Position {
    /// The point (`x`, `y`) on the ground floor, in metres.
    #[must_use]
    pub const fn new(x: f64, y: f64) -> Self {
        Self { x, y, z: 0.0, floor: 0 }
    }

    /// How far `other` is, in metres.
    #[must_use]
    pub fn distance(self, other: Self) -> f64 {
        let (dx, dy, dz) = (self.x - other.x, self.y - other.y, self.z - other.z);
        (dx * dx + dy * dy + dz * dz).sqrt()
    }
}

/// What makes links.
#[derive(Clone, Debug, PartialEq)]
pub enum Topology {
    /// Stations no further apart than `metres` hear each other; signal strength follows from the distance as in an open room.
    Radius {
        /// The reach, in metres.
        metres: f64,
        /// Parts in a million of the advertising events that each link loses.
        loss_ppm: u32,
    },
    /// Attenuation grows with the distance up to `metres`, and is `beyond` from there on: the chains of V1 in `docs/simulator.md`.
    Reach {
        /// The reach, in metres.
        metres: f64,
        /// Attenuation at that distance in dB; less in proportion to the distance.
        attenuation: f64,
        /// Attenuation of everything further away, in dB.
        beyond: f64,
        /// Parts in a million of the advertising events that each link loses.
        loss_ppm: u32,
    },
    /// Path loss within buildings, ITU-R P.1238.
    Propagation {
        /// The exponent: 2 in an open room, 1.8 in a corridor, 2.8 in a home.
        exponent: f64,
        /// dB for each floor in between.
        floor_loss: f64,
        /// Standard deviation of what obstacles take of a link, in dB; the same in both directions.
        shadowing: f64,
        /// Standard deviation of the strength from one advertising event to the next, in dB.
        fading: f64,
        /// Parts in a million of the advertising events that each link loses besides.
        loss_ppm: u32,
    },
    /// Exactly these links, whatever the positions. Of links with the same ends the last one counts; a link to
    /// itself is no link.
    Given(Vec<Link>),
}

/// One direction of one link, given outright.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The station that is heard.
    pub from: StationId,
    /// The station that hears it.
    pub to: StationId,
    /// Parts in a million of the advertising events that it loses.
    pub loss_ppm: u32,
    /// Received signal strength, in dBm.
    pub rssi: i8,
}

impl Link {
    /// Both directions of a link between `a` and `b`, with −60 dBm (a guess: a few metres).
    #[must_use]
    pub fn both(a: u32, b: u32, loss_ppm: u32) -> [Self; 2] {
        let link = |from, to| Self { from: StationId(from), to: StationId(to), loss_ppm, rssi: -60 };
        [link(a, b), link(b, a)]
    }
}

impl Topology {
    /// What a signal loses between two places, in hundredths of a dB; `None` when nothing of it arrives. `draws` are of this
    /// pair of stations.
    pub(super) fn attenuation(&self, a: Position, b: Position, draws: &mut Rng) -> Option<i32> {
        let distance = a.distance(b);
        match *self {
            Self::Radius { metres, .. } => {
                let open_room = 2.0;
                (distance <= metres).then(|| centi(path_loss(distance, open_room)))
            }
            Self::Reach { metres, attenuation, beyond, .. } => {
                let loss = if distance <= metres {
                    attenuation * distance / metres.max(f64::MIN_POSITIVE)
                } else {
                    beyond
                };
                Some(centi(loss))
            }
            Self::Propagation { exponent, floor_loss, shadowing, .. } => {
                let floors = f64::from(a.floor.abs_diff(b.floor));
                let loss = path_loss(distance, exponent)
                    + floors * floor_loss
                    + shadowing * normal(draws.next_u64());
                Some(centi(loss))
            }
            Self::Given(_) => None,
        }
    }

    /// Parts in a million of the advertising events that each link loses, of links that follow from the positions.
    pub(super) const fn loss_ppm(&self) -> u32 {
        match *self {
            Self::Radius { loss_ppm, .. }
            | Self::Reach { loss_ppm, .. }
            | Self::Propagation { loss_ppm, .. } => loss_ppm,
            Self::Given(_) => 0,
        }
    }

    /// Standard deviation of the strength from event to event, in hundredths of a dB.
    pub(super) fn fading(&self) -> i32 {
        match *self {
            Self::Propagation { fading, .. } => centi(fading),
            _ => 0,
        }
    }
}

/// Path loss in dB over `distance` metres: 20·log10(f) + 10·N·log10(d) − 28, ITU-R P.1238, see `docs/simulator.md`.
fn path_loss(distance: f64, exponent: f64) -> f64 {
    20.0 * log10(FREQUENCY_MHZ) + 10.0 * exponent * log10(distance.max(NEAREST)) - 28.0
}

/// The decimal logarithm of a number of at least one, by sums and products only: that of the system's library may differ from machine
/// to machine in the last bit, and one bit can decide a link.
fn log10(x: f64) -> f64 {
    let (mut tens, mut x) = (0.0, x.clamp(1.0, f64::MAX));
    while x >= 10.0 {
        x *= 0.1;
        tens += 1.0;
    }
    // ln x = 2 artanh((x - 1) / (x + 1)), of the fourth root, so that the series is short.
    let root = x.sqrt().sqrt();
    let ratio = (root - 1.0) / (root + 1.0);
    let (square, mut power, mut sum) = (ratio * ratio, ratio, 0.0);
    for n in 0..16 {
        sum += power / f64::from(2 * n + 1);
        power *= square;
    }
    tens + 8.0 * sum / std::f64::consts::LN_10
}

/// A number of standard normal distribution out of 64 random bits: four uniform ones added up, which leaves no value beyond 3.5.
pub(super) fn normal(bits: u64) -> f64 {
    let sum: u64 = (0..4).map(|n| bits >> (16 * n) & 0xffff).sum();
    // Each has the variance 2^32 / 12, up to one part in 2^32.
    (sum as f64 - 4.0 * 32_767.5) / (65_536.0 / 3.0_f64.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attenuation_follows_the_rule() {
        let mut draws = Rng::new(1);
        let mut between = |rule: &Topology, metres| {
            rule.attenuation(Position::default(), Position::new(metres, 0.0), &mut draws)
        };
        // 20·log10(2440) − 28 = 39.75 dB at one metre, 20 dB more at ten.
        let room = Topology::Radius { metres: 20.0, loss_ppm: 0 };
        assert_eq!(between(&room, 0.0), Some(3_975));
        assert_eq!(between(&room, 1.0), Some(3_975));
        assert_eq!(between(&room, 10.0), Some(5_975));
        assert_eq!(between(&room, 20.1), None);
        let chain = Topology::Reach { metres: 1.7, attenuation: 95.0, beyond: 195.0, loss_ppm: 0 };
        assert_eq!(between(&chain, 1.7), Some(9_500));
        assert_eq!(between(&chain, 0.85), Some(4_750));
        assert_eq!(between(&chain, 1.8), Some(19_500));
    }

    #[test]
    fn the_logarithm_is_the_logarithm() {
        for x in [1.0, 1.001, 2.0, 9.999, 10.0, 2_440.0, 12_345.678, 1e12] {
            assert!((log10(x) - x.log10()).abs() < 1e-12, "{x}");
        }
        assert_eq!(log10(0.5), 0.0, "less than a metre counts as one");
    }

    #[test]
    fn floors_and_shadows_add_to_the_loss() {
        let rule = |shadowing| Topology::Propagation {
            exponent: 2.8,
            floor_loss: 15.0,
            shadowing,
            fading: 0.0,
            loss_ppm: 0,
        };
        let up = Position { z: 3.0, floor: 1, ..Position::default() };
        let loss = |shadowing, seed| {
            rule(shadowing).attenuation(Position::default(), up, &mut Rng::new(seed)).unwrap()
        };
        // 39.75 + 28 log10(3) + 15.
        assert_eq!(loss(0.0, 1), 3_975 + 1_336 + 1_500);
        let losses: Vec<f64> =
            (0..4_000).map(|seed| f64::from(loss(4.0, seed) - loss(0.0, 1)) / 100.0).collect();
        let mean = losses.iter().sum::<f64>() / 4_000.0;
        let deviation = (losses.iter().map(|loss| loss * loss).sum::<f64>() / 4_000.0).sqrt();
        assert!(mean.abs() < 0.25 && (deviation - 4.0).abs() < 0.2, "{mean} {deviation}");
    }
}
