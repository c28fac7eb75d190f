//! Attackers without a key, and members of bad faith: stations that mean harm.
//!
//! Owns what they send. What comes of it is the nodes' business, and that nothing bad does is what `invariants` checks.

use std::collections::VecDeque;

use ble_bearer::FrameBytes;
use ble_bearer::sim::{Radio, Station, link_info};
use mesh_protocol::frame::{Frame, Kind, SEQ_MAX, TTL_MAX, decode, encode};
use mesh_protocol::{
    Address, BlockHead, Duration, EpochKeys, Instant, Keyring, LEGACY_FRAME, MAX_FRAME, MessageId, Mic,
    NetKey, Priority, Rng, SEGMENT_LEN,
};

use crate::scenario::{FaultKind, ScheduledFault};

/// Frames that an attacker remembers; the oldest gives way. A guess: what is heard in some seconds.
const HEARD: usize = 512;
/// Copies of each frame: once is what a fast sender can do most of.
const COPIES: u8 = 1;
/// Members of bad faith have the last addresses, which no lease has come to yet.
const LAST: u16 = Address::LAST_NODE.bits();

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

fn pick<'a>(heard: &'a VecDeque<(Instant, FrameBytes)>, rng: &mut Rng) -> Option<&'a FrameBytes> {
    heard.get(rng.below(heard.len() as u64) as usize).map(|(_, frame)| frame)
}

/// A frame without a key: noise, noise that begins as what was heard, or what was heard with some of it changed.
fn forge(heard: Option<FrameBytes>, rng: &mut Rng) -> FrameBytes {
    let mut frame = FrameBytes::new();
    let kind = rng.below(4);
    match heard {
        Some(heard) if kind == 0 => {
            frame = heard;
            for _ in 0..=rng.below(3) {
                let bit = rng.below(frame.len() as u64 * 8);
                if let Some(byte) = frame.get_mut((bit / 8) as usize) {
                    *byte ^= 1 << (bit % 8);
                }
            }
        }
        // TTL stands outside the MIC, though under the mask: any change gives some other one.
        Some(heard) if kind == 1 => {
            frame = heard;
            if let Some(hop) = frame.get_mut(1) {
                *hop ^= (rng.below(16) as u8) << 4;
            }
        }
        heard => {
            let len = if kind == 3 { rng.below(LEGACY_FRAME as u64 + 1) as usize } else { LEGACY_FRAME };
            // Noise of legacy length always fits.
            let _ = frame.resize(len, 0);
            frame.iter_mut().for_each(|byte| *byte = rng.next_u64() as u8);
            // Version, epoch and key are in the clear: anyone can copy them.
            if let (Some(heard), Some(first)) =
                (heard.as_ref().and_then(|heard| heard.first()), frame.first_mut())
            {
                *first = *heard;
            }
        }
    }
    frame
}

/// A frame that is well sealed and makes no sense.
fn nonsense<'a>(
    src: Address,
    seq: u32,
    nodes: u32,
    body: &'a mut [u8; MAX_FRAME],
    rng: &mut Rng,
) -> Frame<'a> {
    let dst = match rng.below(8) {
        0 => Address::new(1 + rng.below(u64::from(u16::MAX)) as u16),
        1 | 2 => Address::EVERYONE,
        _ => Address::new(1 + rng.below(u64::from(nodes.clamp(1, u32::from(LAST)))) as u16),
    };
    let ttl0 = rng.below(u64::from(TTL_MAX) + 1) as u8;
    let ttl = rng.below(u64::from(ttl0) + 1) as u8;
    let priority = Priority::from_bits(rng.below(4) as u8);
    let kind = Kind::from_bits(rng.below(3) as u8).unwrap_or(Kind::Control);
    // Now and then the short MIC where the long one must be, and the other way round.
    let long = (kind == Kind::Control) != rng.chance(100_000);
    let mic = if long { Mic::Long } else { Mic::Short };
    let room = LEGACY_FRAME - mesh_protocol::frame::overhead(false, mic);
    body.iter_mut().take(room).for_each(|byte| *byte = rng.next_u64() as u8);
    let mut len = room.min(rng.below(room as u64 + 1) as usize + usize::from(rng.chance(700_000)) * room);
    match kind {
        // Opcodes and lengths as `docs/protocol.md`, "Control messages", has them.
        Kind::Control if rng.chance(800_000) => {
            body[0] = 1 + rng.below(5) as u8;
            len = if body[0] == 3 { 7 } else { 9 };
            if body[0] == 3 {
                body[5] = 1 + rng.below(4) as u8;
                body[6] = rng.below(7) as u8;
                body[1..4].fill(0);
            } else if body[0] == 2 {
                body[1] &= 0x0f;
            }
        }
        // A segment's header that is true to itself: what it belongs to is not.
        Kind::Segment if rng.chance(800_000) && room >= 3 + SEGMENT_LEN => {
            let last = 1 + rng.below(63) as u8;
            let offset = rng.below(u64::from(last)) as u8;
            body[1] = body[1] & 0xf0 | offset >> 2;
            body[2] = offset << 6 | last;
            len = 3 + SEGMENT_LEN;
        }
        // A whole message of a small number.
        Kind::Single if rng.chance(800_000) => {
            (body[0], body[1]) = (rng.below(100) as u8, 0);
            len = len.max(3);
        }
        _ => {}
    }
    let body = &body[..len.min(room)];
    Frame { ttl, ttl0, seq, src, dst, next: None, priority, kind, mic, body }
}

/// The longest body that is forged on purpose.
const FORGED_MAX: usize = 9;

/// Of so many of the frames that it heard.
const LEARNED: usize = 8;

/// What a member learns from one.
struct Learned {
    src: Address,
    dst: Address,
    seq: u32,
    message: Option<MessageId>,
}

/// What it learns from some of what it heard of the nodes of the network, which are not members like itself.
fn learn(
    heard: &VecDeque<(Instant, FrameBytes)>,
    nodes: u32,
    keys: &EpochKeys,
    rng: &mut Rng,
) -> Vec<Learned> {
    let keys = Keyring::new(keys.clone());
    let learned = (0..LEARNED).filter_map(|_| {
        let mut bytes = pick(heard, rng)?.clone();
        let verified = decode(&mut bytes, &keys).ok()?;
        let inside = verified.frame();
        let single = (inside.kind == Kind::Single).then(|| BlockHead::parse(inside.body).ok()).flatten();
        let message = single.map(|(head, _)| head.message);
        Some(Learned { src: inside.src, dst: inside.dst, seq: inside.seq, message })
    });
    learned.filter(|it| u32::from(it.src.bits()) <= nodes).collect()
}

/// Makes of a frame of a member's own one that claims what is not so: its source, a receipt, a name or its urgency. Opcodes as
/// `docs/protocol.md`, "Control messages", has them.
fn forge_as_member<'a>(
    frame: &mut Frame<'a>,
    body: &'a mut [u8; FORGED_MAX],
    learned: &[Learned],
    rng: &mut Rng,
) {
    // Just ahead, beyond a window, blocks ahead, and further than anyone goes.
    let ahead = |seq: u32, rng: &mut Rng| {
        let by = [1, 70, 5_000, 60_000, 70_000, 9_000_000][rng.below(6) as usize];
        (seq + by + rng.below(40) as u32).min(SEQ_MAX)
    };
    match (rng.below(4), learned.first()) {
        (0, Some(victim)) => (frame.src, frame.seq) = (victim.src, ahead(victim.seq, rng)),
        (1, Some(_)) => {
            // A receipt in the name of whoever a message was for.
            let Some((message, from, to)) = learned.iter().find_map(|it| {
                it.message.filter(|_| it.dst.is_node()).map(|message| (message, it.dst, it.src))
            }) else {
                return;
            };
            let seq = learned.iter().find(|it| it.src == from).map_or(1_000, |it| it.seq);
            let [a, b, c, d] = message.0.to_be_bytes();
            let verdict = [[1, 0], [2, 0], [3, 1], [4, 0]][rng.below(4) as usize];
            body[..7].copy_from_slice(&[3, a, b, c, d, verdict[0], verdict[1]]);
            (frame.src, frame.dst, frame.seq) = (from, to, ahead(seq, rng));
            (frame.kind, frame.mic, frame.body) = (Kind::Control, Mic::Long, &body[..7]);
        }
        (2, _) => {
            // An agent of some name is here.
            body[0] = 5;
            body[1..].iter_mut().for_each(|byte| *byte = rng.next_u64() as u8);
            (frame.kind, frame.mic, frame.body) = (Kind::Control, Mic::Long, &body[..]);
        }
        _ => frame.priority = Priority::Critical,
    }
    (frame.ttl, frame.ttl0) = (TTL_MAX, TTL_MAX);
}

#[cfg(test)]
mod tests {
    use ble_bearer::sim::{Observer, Position, StationId, Topology, World};
    use mesh_protocol::Keyring;
    use mesh_protocol::frame::decode;

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
