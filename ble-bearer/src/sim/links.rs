//! Who hears whom, and how loud.
//!
//! Owns the links of a world, worked out once as stations are added: for each station those that can receive it, and for each pair
//! the power that arrives, which interferes even where it cannot be received. Leaves the rule behind them to
//! [`super::geometry`].

use mesh_protocol::Rng;

use super::geometry::{Link, Position, StationId, Topology};
use super::power::{SILENCE, centi, linear};

/// Fading makes a link that much louder at most, in standard deviations: [`super::geometry::normal`] knows no more.
const FADING_MOST: i32 = 4;

/// One who can hear a station.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Neighbour {
    pub(super) to: StationId,
    pub(super) loss_ppm: u32,
    /// Strength without fading, in hundredths of a dBm.
    pub(super) strength: i32,
    /// The same in milliwatts.
    pub(super) power: f32,
}

/// The links of a world.
#[derive(Debug)]
pub(super) struct Links {
    rule: Topology,
    seed: u64,
    stations: Vec<(Position, i32, i32)>,
    /// For each station, who can hear it, in order of their numbers.
    listeners: Vec<Vec<Neighbour>>,
    /// For each station the power in milliwatts that arrives at each other one; empty while prepared.
    arriving: Vec<Vec<f32>>,
    /// Whether what follows is worked out.
    prepared: bool,
    /// For each station, one after the other, the power of those that disturb what it hears, in order of their numbers.
    noise: Vec<f32>,
    /// For each station and each word of `loud_at`, where in `noise` the first of its bits is.
    places: Vec<u32>,
    /// A signal must be so much stronger than others, in hundredths of a dB.
    capture: i32,
    /// For each station, one bit for each that disturbs what it hears, one row after the other; empty until prepared.
    loud_at: Vec<u64>,
    /// For each station, one bit for each that disturbs somebody who hears it.
    rivals: Vec<u64>,
}

impl Links {
    /// No stations yet; `seed` decides the shadows, `capture` in hundredths of a dB who disturbs whom.
    pub(super) fn new(seed: u64, rule: Topology, capture: i32) -> Self {
        let (stations, listeners, arriving) = Default::default();
        let (noise, places, loud_at, rivals) = Default::default();
        Self {
            rule,
            seed,
            stations,
            listeners,
            arriving,
            prepared: false,
            noise,
            places,
            capture,
            loud_at,
            rivals,
        }
    }

    /// Adds the next station and its links with those already here. `tx` and `sensitivity` in dBm.
    pub(super) fn add(&mut self, position: Position, tx: f64, sensitivity: f64) -> StationId {
        let new = StationId(u32::try_from(self.stations.len()).unwrap_or(u32::MAX));
        let (tx, sensitivity) = (centi(tx), centi(sensitivity));
        self.unprepare();
        self.stations.push((position, tx, sensitivity));
        self.listeners.push(Vec::new());
        self.arriving.iter_mut().for_each(|row| row.push(0.0));
        self.arriving.push(vec![0.0; self.stations.len()]);
        if let Topology::Given(links) = &self.rule {
            let latest = |link: &&Link| link.from.max(link.to) == new && link.from != link.to;
            let made: Vec<Link> = links.iter().filter(latest).copied().collect();
            for link in made {
                let strength = i32::from(link.rssi) * 100;
                let heard = strength >= self.stations[link.to.index()].2;
                self.connect((link.from, link.to), strength, link.loss_ppm, heard);
            }
            return new;
        }
        let margin = FADING_MOST * self.rule.fading();
        for other in (0..new.0).map(StationId) {
            let (at, other_tx, other_sensitivity) = self.stations[other.index()];
            let mut draws =
                Rng::stream(self.seed, "shadows").fork(u64::from(other.0) << 32 | u64::from(new.0));
            let Some(loss) = self.rule.attenuation(at, position, &mut draws) else {
                continue;
            };
            let loss_ppm = self.rule.loss_ppm();
            let (there, back) = (tx.saturating_sub(loss), other_tx.saturating_sub(loss));
            self.connect((new, other), there, loss_ppm, there.saturating_add(margin) >= other_sensitivity);
            self.connect((other, new), back, loss_ppm, back.saturating_add(margin) >= sensitivity);
        }
        new
    }

    fn connect(&mut self, (from, to): (StationId, StationId), strength: i32, loss_ppm: u32, heard: bool) {
        let power = linear(strength.max(SILENCE));
        self.arriving[from.index()][to.index()] = power;
        let neighbour = Neighbour { to, loss_ppm, strength, power };
        let listeners = &mut self.listeners[from.index()];
        match listeners.binary_search_by_key(&to, |known| known.to) {
            Ok(at) if heard => listeners[at] = neighbour,
            Ok(at) => drop(listeners.remove(at)),
            Err(at) if heard => listeners.insert(at, neighbour),
            Err(_) => {}
        }
    }

    /// Who can hear `from`; nobody when there is no such station.
    pub(super) fn listeners(&self, from: StationId) -> &[Neighbour] {
        self.listeners.get(from.index()).map_or(&[], Vec::as_slice)
    }

    /// The power in milliwatts with which `rival` disturbs what `to` hears: what arrives, if it is at least as strong as the
    /// capture threshold below the weakest that is received. What is weaker is left out: alone it disturbs nothing. Settled
    /// links only.
    pub(super) fn noise(&self, rival: StationId, to: StationId) -> f32 {
        // Bits, places and powers of a receiver lie together in a few hundred bytes: a table of all pairs would not fit a cache.
        let (word, bit) = (rival.index() / 64, rival.index() % 64);
        let at = to.index() * self.words() + word;
        let bits = self.loud_at[at];
        if bits >> bit & 1 == 0 {
            return 0.0;
        }
        let before = (bits & ((1 << bit) - 1)).count_ones();
        self.noise[(self.places[at] + before) as usize]
    }

    /// Whether `rival` disturbs somebody who hears `from`. Settled links only.
    pub(super) fn disturbs(&self, rival: StationId, from: StationId) -> bool {
        let bits = self.rivals[from.index() * self.words() + rival.index() / 64];
        bits >> (rival.index() % 64) & 1 == 1
    }

    /// Words of a row with one bit for each station.
    const fn words(&self) -> usize {
        self.stations.len().div_ceil(64)
    }

    /// `to` as one who can hear `from`.
    pub(super) fn neighbour(&self, from: StationId, to: StationId) -> Option<&Neighbour> {
        let listeners = self.listeners(from);
        listeners.binary_search_by_key(&to, |known| known.to).ok().map(|at| &listeners[at])
    }

    /// Works out what is asked for at every PDU. To be called after stations were added.
    pub(super) fn prepare(&mut self) {
        if self.prepared {
            return;
        }
        let words = self.words();
        let arriving = std::mem::take(&mut self.arriving);
        self.loud_at = vec![0; words * self.stations.len()];
        (self.noise, self.places) = (Vec::new(), Vec::new());
        for (to, (.., sensitivity)) in self.stations.iter().enumerate() {
            let least = linear(sensitivity.saturating_sub(self.capture));
            for word in 0..words {
                self.places.push(self.noise.len() as u32);
                for (rival, row) in arriving.iter().enumerate().skip(word * 64).take(64) {
                    let power = row[to];
                    if power > 0.0 && power >= least {
                        self.loud_at[to * words + word] |= 1 << (rival % 64);
                        self.noise.push(power);
                    }
                }
            }
        }
        self.prepared = true;
        self.rivals.clear();
        for listeners in &self.listeners {
            let at = self.rivals.len();
            self.rivals.resize(at + words, 0);
            for neighbour in listeners {
                let loud = &self.loud_at[neighbour.to.index() * words..][..words];
                self.rivals[at..].iter_mut().zip(loud).for_each(|(all, loud)| *all |= loud);
            }
        }
    }

    /// Back to rows that can be added to. What disturbs nobody has been left out, and is left out for good.
    fn unprepare(&mut self) {
        if self.prepared {
            let count = self.stations.len() as u32;
            let row = |from| (0..count).map(|to| self.noise(StationId(from), StationId(to))).collect();
            self.arriving = (0..count).map(row).collect();
            self.prepared = false;
        }
    }

    pub(super) fn fading(&self) -> i32 {
        self.rule.fading()
    }

    pub(super) fn position(&self, id: StationId) -> Option<Position> {
        self.stations.get(id.index()).map(|(position, ..)| *position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard_by(links: &Links, from: u32) -> Vec<u32> {
        links.listeners(StationId(from)).iter().map(|n| n.to.0).collect()
    }

    #[test]
    fn radius_links_those_within_reach_and_only_those() {
        let mut links = Links::new(1, Topology::Radius { metres: 10.0, loss_ppm: 5 }, 1_000);
        for x in [0.0, 10.0, 20.1] {
            links.add(Position::new(x, 0.0), 0.0, -96.0);
        }
        assert_eq!(heard_by(&links, 0), [1]);
        assert_eq!(heard_by(&links, 1), [0]);
        assert_eq!(heard_by(&links, 2), [] as [u32; 0]);
        assert_eq!(links.neighbour(StationId(0), StationId(1)).map(|to| to.strength), Some(-5_975));
        assert_eq!(links.neighbour(StationId(0), StationId(2)), None);
        links.prepare();
        assert_eq!(links.noise(StationId(0), StationId(2)), 0.0);
        assert_eq!(links.listeners(StationId(0))[0].loss_ppm, 5);
    }

    #[test]
    fn given_links_ignore_positions_and_may_go_one_way() {
        let mut given = Link::both(0, 70, 7).to_vec();
        given.push(Link { from: StationId(3), to: StationId(70), loss_ppm: 1, rssi: -90 });
        given.push(Link { from: StationId(3), to: StationId(70), loss_ppm: 2, rssi: -91 });
        given.extend(Link::both(5, 5, 0));
        let mut links = Links::new(1, Topology::Given(given), 1_000);
        for _ in 0..=70 {
            links.add(Position::default(), 0.0, -96.0);
        }
        assert_eq!(heard_by(&links, 0), [70]);
        assert_eq!(heard_by(&links, 70), [0]);
        assert_eq!(heard_by(&links, 5), [] as [u32; 0]);
        let [neighbour] = links.listeners(StationId(3)) else { panic!("one link") };
        assert_eq!((neighbour.to, neighbour.loss_ppm, neighbour.strength), (StationId(70), 2, -9_100));
        assert_eq!(links.neighbour(StationId(70), StationId(3)), None);
    }

    #[test]
    fn what_is_too_weak_to_be_heard_still_arrives() {
        let rule = Topology::Propagation {
            exponent: 2.0,
            floor_loss: 0.0,
            shadowing: 0.0,
            fading: 0.0,
            loss_ppm: 0,
        };
        let mut links = Links::new(1, rule, 1_000);
        links.add(Position::default(), 0.0, -60.0);
        links.add(Position::new(100.0, 0.0), 20.0, -96.0);
        // 79.75 dB: heard there with the better receiver, and back because the other one is 20 dBm strong.
        assert_eq!(heard_by(&links, 0), [1]);
        links.add(Position::new(101.0, 0.0), 0.0, -60.0);
        assert_eq!(heard_by(&links, 0), [1]);
        links.prepare();
        assert!(links.noise(StationId(0), StationId(2)) == 0.0, "20 dB below the weakest");
        assert_eq!(heard_by(&links, 1), [0, 2]);
    }

    #[test]
    fn rivals_are_those_that_can_disturb_a_listener() {
        let rule = Topology::Propagation {
            exponent: 2.0,
            floor_loss: 0.0,
            shadowing: 0.0,
            fading: 0.0,
            loss_ppm: 0,
        };
        let mut links = Links::new(1, rule, 1_000);
        // Heard up to 10.3 m (−60 dBm), a nuisance up to 32.5 m (−70 dBm).
        for x in [0.0, 10.0, 40.0, 43.0] {
            links.add(Position::new(x, 0.0), 0.0, -60.0);
        }
        let disturb = |links: &mut Links, from| {
            links.prepare();
            let count = links.stations.len() as u32;
            (0..count).filter(|rival| links.disturbs(StationId(*rival), StationId(from))).collect::<Vec<_>>()
        };
        // 0 is heard by 1 at 10 m, which 0 itself and 2 can disturb.
        assert_eq!(disturb(&mut links, 0), [0, 2]);
        // 2 is heard by 3; 0 is too far from it, 1 is not quite.
        assert_eq!(disturb(&mut links, 2), [2]);
        links.add(Position::new(60.0, 0.0), 0.0, -60.0);
        assert_eq!(disturb(&mut links, 2), [2, 4]);
    }
}
