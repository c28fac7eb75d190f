//! Attackers without a key, and members of bad faith: stations that mean harm.
//!
//! Owns when they send, and which of the frames they heard they use. The bytes are made in `forgery`; `invariants` checks that no node
//! comes to harm by them.

use std::collections::VecDeque;

use ble_bearer::FrameBytes;
use ble_bearer::sim::{Radio, Station, link_info};
use mesh_protocol::frame::{SEQ_MAX, encode};
use mesh_protocol::{Address, Duration, EpochKeys, Instant, MAX_FRAME, NetKey, Rng};

use super::forgery::{FORGED_MAX, LAST, forge, forge_as_member, learn, nonsense, pick};
use crate::scenario::{FaultKind, ScheduledFault};

/// Frames that an attacker remembers; the oldest gives way. A guess: what is heard in some seconds.
const HEARD: usize = 512;
/// Copies of each frame: once is what a fast sender can do most of.
const COPIES: u8 = 1;

/// What an attacker does.
#[derive(Debug)]
enum Craft {
    Forge,
    Replay { after: Duration },
    Member { address: Address, keys: Box<EpochKeys>, seq: u32, nodes: u32, forger: Option<Rng> },
}

/// A station that means harm.
#[derive(Debug)]
pub struct Attacker {
    craft: Craft,
    from: Instant,
    until: Instant,
    gap: Duration,
    next: Instant,
    heard: VecDeque<(Instant, FrameBytes)>,
    rng: Rng,
    sent: u64,
}

/// The attackers of `faults` in order: as which node each stands, and what it is. Times count from `start`; nodes have the
/// addresses from 1 to `nodes`, and the network's key for the traitors is this one.
#[must_use]
pub fn attackers(
    faults: &[ScheduledFault],
    nodes: u32,
    start: Instant,
    key: &NetKey,
    epoch: u32,
    seed: u64,
) -> Vec<(u32, Attacker)> {
    let mut found = Vec::new();
    for fault in faults {
        let number = found.len() as u64;
        let (near, rate, lasts, craft) = match fault.what {
            FaultKind::Forge { near, rate, lasts } => (near, rate, lasts, Craft::Forge),
            FaultKind::Replay { near, after, rate, lasts } => (near, rate, lasts, Craft::Replay { after }),
            FaultKind::Member { near, rate, lasts } => {
                let address = Address::new(LAST - (number % u64::from(LAST / 2)) as u16);
                let keys = Box::new(EpochKeys::derive(key, epoch));
                (near, rate, lasts, Craft::Member { address, keys, seq: 0, nodes, forger: None })
            }
            _ => continue,
        };
        let from = start + fault.at;
        // No faster than the controller can take; from float to integer, Rust cuts what is too large or no number.
        let gap = Duration::from_micros((1_000_000.0 / rate.max(f64::MIN_POSITIVE)) as u64)
            .max(link_info().min_gap);
        let mut rng = Rng::stream(seed, "attackers");
        let rng = rng.fork(number);
        let (until, heard) = (from + lasts, VecDeque::new());
        found.push((near, Attacker { craft, from, until, gap, next: from, heard, rng, sent: 0 }));
    }
    found
}

impl Attacker {
    /// Frames that it has sent.
    #[must_use]
    pub const fn sent(&self) -> u64 {
        self.sent
    }

    /// The address of one who has the key.
    #[must_use]
    pub const fn member(&self) -> Option<Address> {
        match &self.craft {
            Craft::Member { address, .. } => Some(*address),
            _ => None,
        }
    }

    /// From now on half of what a member sends is forged on purpose: other nodes' frames, receipts, names, urgency. By numbers of
    /// its own, so that the nonsense between stays as it was.
    #[must_use]
    pub fn forging(mut self, rng: Rng) -> Self {
        if let Craft::Member { forger, .. } = &mut self.craft {
            *forger = Some(rng);
        }
        self
    }

    /// What it sends at `now`, if there is anything.
    fn craft(&mut self, now: Instant) -> Option<FrameBytes> {
        match &mut self.craft {
            Craft::Forge => {
                let heard = pick(&self.heard, &mut self.rng).cloned();
                Some(forge(heard, &mut self.rng))
            }
            Craft::Replay { after } => {
                let ripe = self.heard.front().is_some_and(|(at, _)| *at + *after <= now);
                if ripe { self.heard.pop_front().map(|(_, frame)| frame) } else { None }
            }
            Craft::Member { address, keys, seq, nodes, forger } => {
                let mut body = [0; MAX_FRAME];
                let mut frame = nonsense(*address, *seq, *nodes, &mut body, &mut self.rng);
                let mut own = [0; FORGED_MAX];
                if let Some(rng) = forger
                    && rng.chance(500_000)
                {
                    let victims = learn(&self.heard, *nodes, keys, rng);
                    forge_as_member(&mut frame, &mut own, &victims, rng);
                }
                let mut out = [0; MAX_FRAME];
                let len = encode(&frame, keys, &mut out).ok()?;
                // A member may go on from where it likes, but not use a number twice: then it would betray its own text.
                *seq = seq.saturating_add(1 + self.rng.below(3) as u32).min(SEQ_MAX);
                FrameBytes::from_slice(&out[..len]).ok()
            }
        }
    }
}

impl Station for Attacker {
    fn receive(&mut self, now: Instant, frame: &[u8], _rssi: i8) -> bool {
        if let Ok(frame) = FrameBytes::from_slice(frame) {
            if self.heard.len() >= HEARD {
                self.heard.pop_front();
            }
            self.heard.push_back((now, frame));
        }
        false
    }

    fn run(&mut self, now: Instant, radio: &mut Radio<'_>) -> Option<Instant> {
        while self.next <= now && self.next < self.until {
            self.next += self.gap;
            if let Some(frame) = self.craft(now) {
                // What the controller does not take is lost.
                self.sent += u64::from(radio.send(&frame, COPIES).is_ok());
            }
        }
        (self.next < self.until).then_some(self.next.max(self.from))
    }
}

#[cfg(test)]
mod tests {
    use ble_bearer::sim::{Observer, Position, StationId, Topology, World};
    use mesh_protocol::frame::{Frame, Kind, decode};
    use mesh_protocol::{Keyring, Mic, Priority};

    use super::*;

    const KEY: [u8; 16] = [7; 16];

    /// Everything on the air, and when.
    #[derive(Default)]
    struct Tape(Vec<(Instant, Vec<u8>)>);

    impl Observer<Attacker> for Tape {
        fn transmitted(&mut self, now: Instant, _from: StationId, frame: &[u8]) {
            self.0.push((now, frame.to_vec()));
        }
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn at(time: u64) -> Instant {
        Instant::ZERO + secs(time)
    }

    /// One attacker that has heard `heard` just before, and what it sends.
    fn attack(what: FaultKind, heard: &[&[u8]]) -> Vec<(Instant, Vec<u8>)> {
        let faults = [ScheduledFault { at: secs(10), what }];
        let mut world = World::with_observer(
            1,
            Topology::Radius { metres: 10.0, loss_ppm: 0 },
            ble_bearer::sim::AirSettings::default(),
            Tape::default(),
        );
        let (_, attacker) = attackers(&faults, 5, Instant::ZERO, &NetKey::new(KEY), 1, 3).remove(0);
        let id = world.add(Position::default(), attacker);
        world.advance(at(9));
        for frame in heard {
            world.poke(id, |attacker, now, _| attacker.receive(now, frame, -50));
        }
        world.advance(at(60));
        std::mem::take(&mut world.observer_mut().0)
    }

    #[test]
    fn a_forger_sends_at_its_rate_for_its_time_and_never_what_it_heard_unchanged_but_for_ttl() {
        let genuine = [0x5b; 27];
        let sent = attack(FaultKind::Forge { near: 0, rate: 20.0, lasts: secs(10) }, &[&genuine]);
        assert_eq!(sent.len(), 200);
        assert!(sent.iter().all(|(time, _)| *time >= at(10) && *time < at(21)));
        let keys = Keyring::new(EpochKeys::derive(&NetKey::new(KEY), 1));
        assert!(sent.iter().all(|(_, frame)| decode(&mut frame.clone(), &keys).is_err()));
        assert!(
            sent.iter().filter(|(_, frame)| frame.first() == Some(&0x5b)).count() > 150,
            "they look like ours"
        );
        assert!(sent.iter().any(|(_, frame)| frame.len() < 10));
    }

    #[test]
    fn a_member_that_forges_does_so_in_every_way_and_leaves_its_nonsense_as_it_was() {
        let keys = EpochKeys::derive(&NetKey::new(KEY), 1);
        let single = Frame {
            ttl: 3,
            ttl0: 3,
            seq: 40,
            src: Address::new(1),
            dst: Address::new(2),
            next: None,
            priority: Priority::Low,
            kind: Kind::Single,
            mic: Mic::Short,
            body: &[9, 0, b'x'],
        };
        let mut heard = [0; MAX_FRAME];
        let len = encode(&single, &keys, &mut heard).unwrap();
        let faults = [ScheduledFault {
            at: secs(0),
            what: FaultKind::Member { near: 0, rate: 50.0, lasts: secs(20) },
        }];
        let sends = |forging: bool| {
            let (_, mut attacker) = attackers(&faults, 5, Instant::ZERO, &NetKey::new(KEY), 1, 3).remove(0);
            attacker.receive(Instant::ZERO, &heard[..len], -50);
            if forging {
                attacker = attacker.forging(Rng::new(1));
            }
            (0..1_000).filter_map(|n| attacker.craft(at(n))).collect::<Vec<_>>()
        };
        let (plain, forged) = (sends(false), sends(true));
        let same = plain.iter().zip(&forged).filter(|(a, b)| a == b).count();
        assert!((400..600).contains(&same), "{same}");
        let keyring = Keyring::new(keys);
        let mut kinds = [0; 4];
        for frame in forged.iter().filter(|frame| !plain.contains(frame)) {
            let mut bytes = frame.clone();
            // The nonsense that it began as may have the wrong MIC.
            let Ok(verified) = decode(&mut bytes, &keyring) else { continue };
            let frame = verified.frame();
            let control = frame.kind == Kind::Control;
            kinds[0] += u32::from(frame.src == Address::new(1));
            kinds[1] +=
                u32::from(frame.src == Address::new(2) && control && frame.body == [3, 0, 0, 0, 9, 1, 0]);
            kinds[2] += u32::from(control && frame.body.first() == Some(&5));
            kinds[3] += u32::from(frame.priority == Priority::Critical);
        }
        assert!(kinds.into_iter().all(|times| times > 20), "{kinds:?}");
    }

    #[test]
    fn a_replayer_sends_the_same_bytes_so_much_later_and_no_faster_than_its_rate() {
        let what = FaultKind::Replay { near: 0, after: secs(7), rate: 1.0, lasts: secs(30) };
        let sent = attack(what, &[b"one", b"two", b"three"]);
        let frames: Vec<&[u8]> = sent.iter().map(|(_, frame)| frame.as_slice()).collect();
        assert_eq!(frames, [b"one".as_slice(), b"two", b"three"]);
        assert!(sent[0].0 >= at(16), "heard at 9");
        assert!(sent.windows(2).all(|pair| pair[1].0.since(pair[0].0) >= Duration::from_millis(980)));
    }

    #[test]
    fn a_member_sends_frames_that_verify_of_every_kind_from_its_own_address_and_no_number_twice() {
        let sent = attack(FaultKind::Member { near: 0, rate: 50.0, lasts: secs(20) }, &[]);
        let keys = Keyring::new(EpochKeys::derive(&NetKey::new(KEY), 1));
        let mut seqs = std::collections::BTreeSet::new();
        let mut kinds = std::collections::BTreeMap::<u8, u32>::new();
        for (_, frame) in &sent {
            let mut bytes = frame.clone();
            let verified = decode(&mut bytes, &keys).expect("it has the key");
            let frame = verified.frame();
            assert_eq!(frame.src, Address::LAST_NODE);
            assert!(seqs.insert(frame.seq));
            *kinds.entry(frame.kind.bits()).or_default() += 1;
        }
        assert_eq!(sent.len(), 1_000);
        assert!(kinds.len() == 3 && kinds.values().all(|count| *count > 250), "{kinds:?}");
    }
}
