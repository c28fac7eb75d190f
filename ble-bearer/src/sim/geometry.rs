//! Who is in range of whom, how loud, and how often a link loses what it carries.
//!
//! Owns positions and the rule that makes links of them. Leaves time, channels and collisions to the air
//! ([`super::air`]). Shadowing, fading and sensitivity come with the deeper air; until then a link either exists
//! or does not.

/// Transmit power in dBm: what most adapters send adverts with. A guess.
const TX_POWER: f64 = 0.0;
/// Path-loss exponent of an open room (ITU-R P.1238, as quoted in the project's radio model).
const PATH_LOSS_EXPONENT: f64 = 2.0;
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
    /// Metres up.
    pub y: f64,
}

impl Position {
    /// The point (`x`, `y`), in metres.
    #[must_use]
    pub const fn new(x: f64, y: f64) -> Self {
        Self { x, y }
    }

    /// How far `other` is, in metres.
    #[must_use]
    pub fn distance(self, other: Self) -> f64 {
        let (dx, dy) = (self.x - other.x, self.y - other.y);
        (dx * dx + dy * dy).sqrt()
    }
}

/// What makes links.
#[derive(Clone, Debug, PartialEq)]
pub enum Topology {
    /// Stations no further apart than `metres` hear each other; signal strength follows from the distance.
    Radius {
        /// The reach, in metres.
        metres: f64,
        /// Parts in a million of the advertising events that each link loses.
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

/// One who hears a station.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Neighbour {
    pub(super) to: StationId,
    pub(super) loss_ppm: u32,
    pub(super) rssi: i8,
}

/// The links of a world, worked out once as stations are added.
#[derive(Debug)]
pub(super) struct Links {
    rule: Topology,
    positions: Vec<Position>,
    /// For each station, who hears it, in order of their numbers.
    listeners: Vec<Vec<Neighbour>>,
    /// For each station, whom it hears, one bit a station.
    hears: Vec<Vec<u64>>,
}

impl Links {
    pub(super) fn new(rule: Topology) -> Self {
        Self { rule, positions: Vec::new(), listeners: Vec::new(), hears: Vec::new() }
    }

    /// Adds the next station and its links with those already here.
    pub(super) fn add(&mut self, position: Position) -> StationId {
        let new = StationId(u32::try_from(self.positions.len()).unwrap_or(u32::MAX));
        self.positions.push(position);
        self.listeners.push(Vec::new());
        self.hears.push(Vec::new());
        let mut made = Vec::new();
        match &self.rule {
            Topology::Radius { metres, loss_ppm } => {
                for (other, at) in (0..new.0).map(StationId).zip(&self.positions) {
                    let distance = position.distance(*at);
                    if distance <= *metres {
                        let link = |from, to| Link { from, to, loss_ppm: *loss_ppm, rssi: rssi(distance) };
                        made.extend([link(new, other), link(other, new)]);
                    }
                }
            }
            Topology::Given(links) => {
                let latest = |link: &&Link| link.from.max(link.to) == new && link.from != link.to;
                made.extend(links.iter().filter(latest));
            }
        }
        for link in made {
            self.connect(link);
        }
        new
    }

    fn connect(&mut self, link: Link) {
        let neighbour = Neighbour { to: link.to, loss_ppm: link.loss_ppm, rssi: link.rssi };
        let listeners = &mut self.listeners[link.from.index()];
        match listeners.binary_search_by_key(&link.to, |known| known.to) {
            Ok(at) => listeners[at] = neighbour,
            Err(at) => listeners.insert(at, neighbour),
        }
        let (word, bit) = (link.from.index() / 64, link.from.index() % 64);
        let row = &mut self.hears[link.to.index()];
        if row.len() <= word {
            row.resize(word + 1, 0);
        }
        row[word] |= 1 << bit;
    }

    /// Who hears `from`; nobody when there is no such station.
    pub(super) fn listeners(&self, from: StationId) -> &[Neighbour] {
        self.listeners.get(from.index()).map_or(&[], Vec::as_slice)
    }

    /// Whether `to` is in range of `from`.
    pub(super) fn hears(&self, to: StationId, from: StationId) -> bool {
        let word = self.hears.get(to.index()).and_then(|row| row.get(from.index() / 64));
        word.is_some_and(|word| word >> (from.index() % 64) & 1 == 1)
    }

    pub(super) fn position(&self, id: StationId) -> Option<Position> {
        self.positions.get(id.index()).copied()
    }
}

/// Received signal strength in dBm over `distance` metres, within HCI's range of −127 to 20.
///
/// 20·log10(f) + 10·N·log10(d) − 28, from the project's radio model (ITU-R P.1238).
fn rssi(distance: f64) -> i8 {
    let loss =
        20.0 * FREQUENCY_MHZ.log10() + 10.0 * PATH_LOSS_EXPONENT * distance.max(NEAREST).log10() - 28.0;
    (TX_POWER - loss).round().clamp(-127.0, 20.0) as i8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard_by(links: &Links, from: u32) -> Vec<u32> {
        links.listeners(StationId(from)).iter().map(|n| n.to.0).collect()
    }

    #[test]
    fn radius_links_those_within_reach_and_only_those() {
        let mut links = Links::new(Topology::Radius { metres: 10.0, loss_ppm: 5 });
        for x in [0.0, 10.0, 20.1] {
            links.add(Position::new(x, 0.0));
        }
        assert_eq!(heard_by(&links, 0), [1]);
        assert_eq!(heard_by(&links, 1), [0]);
        assert_eq!(heard_by(&links, 2), [] as [u32; 0]);
        assert!(links.hears(StationId(0), StationId(1)));
        assert!(!links.hears(StationId(2), StationId(1)));
        assert!(!links.hears(StationId(9), StationId(1)));
        assert_eq!(links.listeners(StationId(0))[0].loss_ppm, 5);
    }

    #[test]
    fn given_links_ignore_positions_and_may_go_one_way() {
        let mut given = Link::both(0, 70, 7).to_vec();
        given.push(Link { from: StationId(3), to: StationId(70), loss_ppm: 1, rssi: -90 });
        given.push(Link { from: StationId(3), to: StationId(70), loss_ppm: 2, rssi: -91 });
        given.extend(Link::both(5, 5, 0));
        let mut links = Links::new(Topology::Given(given));
        for _ in 0..=70 {
            links.add(Position::default());
        }
        assert_eq!(heard_by(&links, 0), [70]);
        assert_eq!(heard_by(&links, 70), [0]);
        assert_eq!(heard_by(&links, 5), [] as [u32; 0]);
        assert_eq!(links.listeners(StationId(3)), [Neighbour { to: StationId(70), loss_ppm: 2, rssi: -91 }]);
        assert!(links.hears(StationId(70), StationId(3)));
        assert!(!links.hears(StationId(3), StationId(70)));
    }

    #[test]
    fn signal_strength_follows_the_path_loss_formula() {
        // 20·log10(2440) − 28 = 39.7 dB at one metre, 20 dB more at ten.
        assert_eq!(rssi(1.0), -40);
        assert_eq!(rssi(10.0), -60);
        assert_eq!(rssi(0.0), -40);
        assert_eq!(rssi(1e9), -127);
    }
}
