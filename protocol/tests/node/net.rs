//! Nodes, their hosts, and an air with given links and seeded loss, driven exactly from deadline to deadline.
//!
//! Owns time and asserts, at every step, what the contract says of `drive` and `poll_timeout`. What the tests
//! expect of messages is theirs.

use std::collections::{BTreeMap, BTreeSet};

use mesh_protocol::continuation;
use mesh_protocol::frame::{Frame, encode};
use mesh_protocol::{
    Address, Answer, AnyNode, Config, Delivery, Discard, Duration, EpochKeys, Event, Host, Instant, Keyring,
    LEGACY_FRAME, LinkId, LinkInfo, MAX_FRAME, MessageId, NameHash, NetKey, Priority, Received, Rng,
    SendError, SendOutcome, SmallNode, Step, TracedHop, Verdict,
};

pub(crate) const EPOCH: u32 = 6;
pub(crate) const LINK: LinkId = LinkId(0);
pub(crate) const T0: Instant = Instant::ZERO;
/// What a raw-HCI bearer says of legacy advertising.
pub(crate) const INFO: LinkInfo = LinkInfo::advertising(LEGACY_FRAME, Duration::from_millis(12));
/// How strongly every frame comes in.
pub(crate) const RSSI: Option<i8> = Some(-60);
/// From the start of a frame to its reception: about the airtime of a legacy advert on three channels.
pub(crate) const AIRTIME: Duration = Duration::from_micros(1_200);
/// Steps of one run; more means that the nodes never come to rest.
const STEPS: usize = 3_000_000;

pub(crate) const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(crate) const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(crate) fn secret() -> NetKey {
    NetKey::new([7; 16])
}

pub(crate) fn keys() -> EpochKeys {
    EpochKeys::derive(&secret(), EPOCH)
}

pub(crate) fn config(address: u16) -> Config {
    Config {
        address: Address::new(address),
        keys: Keyring::new(keys()),
        seed: u64::from(address),
        ttl: 7,
        relay: true,
        seq_start: 0,
        seq_block: 1024,
    }
}

/// Bytes that differ from place to place, so that a part in the wrong place shows.
pub(crate) fn text(len: usize) -> Vec<u8> {
    let mut rng = Rng::new(len as u64);
    (0..len).map(|_| rng.next_u64() as u8).collect()
}

/// `frame`, sealed under this network's key.
pub(crate) fn seal(frame: &Frame<'_>) -> Vec<u8> {
    seal_under(frame, &keys())
}

pub(crate) fn seal_under(frame: &Frame<'_>, keys: &EpochKeys) -> Vec<u8> {
    let mut out = [0; MAX_FRAME];
    let len = encode(frame, keys, &mut out).unwrap();
    out[..len].to_vec()
}

/// The header and content of a frame on the air, opened with this network's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) ttl: u8,
    pub(crate) seq: u32,
    pub(crate) src: u16,
    pub(crate) dst: u16,
    pub(crate) next: Option<u16>,
    pub(crate) priority: Priority,
    pub(crate) kind: mesh_protocol::frame::Kind,
    pub(crate) body: Vec<u8>,
}

pub(crate) fn open(bytes: &[u8]) -> Opened {
    let mut bytes = bytes.to_vec();
    let ring = Keyring::new(keys());
    if continuation::is_continuation(&bytes) {
        let verified = continuation::decode(&mut bytes, &ring).expect("a node sent it, so it verifies");
        let frame = verified.frame();
        return Opened {
            ttl: 4 - frame.hop,
            seq: frame.seq,
            src: frame.src.bits(),
            // Its first segment has said that, and how urgent it is.
            dst: 0,
            next: None,
            priority: Priority::Low,
            kind: mesh_protocol::frame::Kind::Segment,
            body: frame.data.to_vec(),
        };
    }
    let verified = mesh_protocol::frame::decode(&mut bytes, &ring).expect("a node sent it, so it verifies");
    let frame = verified.frame();
    Opened {
        ttl: frame.ttl,
        seq: frame.seq,
        src: frame.src.bits(),
        dst: frame.dst.bits(),
        next: frame.next.map(Address::bits),
        priority: frame.priority,
        kind: frame.kind,
        body: frame.body.to_vec(),
    }
}

/// What a host heard from its node. Parts of a message are one entry, when the message is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Log {
    Received {
        source: u16,
        destination: u16,
        id: u32,
        priority: Priority,
        hops: u8,
        bytes: Vec<u8>,
    },
    /// A message that was taken before, given once more.
    Again {
        source: u16,
        id: u32,
    },
    Done {
        id: u32,
        outcome: SendOutcome,
        hops: Option<u8>,
    },
    Processed {
        source: u16,
        id: u32,
    },
    NextPart {
        id: u32,
        offset: u32,
        len: usize,
    },
    NameWanted {
        source: u16,
        name: NameHash,
    },
    NameAt {
        source: u16,
        name: NameHash,
    },
    Pong {
        source: u16,
        id: u16,
        hops: u8,
    },
    Traced {
        source: u16,
        hop: TracedHop,
    },
    Reserve(u32),
    EpochWanted,
    Conflict(u32),
}

/// A host that keeps what it was told to keep, and answers as it was told to.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) log: Vec<(Instant, Log)>,
    /// What it heard of own messages on their way.
    pub(crate) steps: Vec<(u32, Step)>,
    /// What it says of a whole message; `None`: nothing.
    pub(crate) verdict: Option<Verdict>,
    /// Whether it syncs reservations, and up to where it did.
    pub(crate) syncs: bool,
    pub(crate) reserved: u32,
    /// Own messages that did not fit one block.
    outgoing: BTreeMap<u32, Vec<u8>>,
    incoming: BTreeMap<(u16, u32), Vec<u8>>,
    taken: BTreeSet<(u16, u32)>,
    pub(crate) on_air: Vec<(LinkId, Vec<u8>)>,
    pub(crate) now: Instant,
}

impl App {
    pub(crate) fn new() -> Self {
        Self {
            log: Vec::new(),
            steps: Vec::new(),
            verdict: Some(Verdict::Delivered),
            syncs: true,
            reserved: 0,
            outgoing: BTreeMap::new(),
            incoming: BTreeMap::new(),
            taken: BTreeSet::new(),
            on_air: Vec::new(),
            now: T0,
        }
    }

    fn note(&mut self, what: Log) -> Answer {
        self.log.push((self.now, what));
        Answer::None
    }

    fn received(&mut self, message: &Received<'_>) -> Answer {
        let (source, id) = (message.source.bits(), message.id.0);
        let verdict = |verdict: Option<Verdict>| match verdict {
            Some(verdict) if message.wants_verdict() => Answer::Verdict(verdict),
            _ => Answer::None,
        };
        if self.taken.contains(&(source, id)) {
            if message.is_last() {
                self.note(Log::Again { source, id });
            }
            return verdict(self.verdict);
        }
        let so_far = self.incoming.entry((source, id)).or_default();
        if let Some(part) = message.part {
            if part.offset as usize > so_far.len() {
                return Answer::Verdict(Verdict::Restart);
            }
            so_far.truncate(part.offset as usize);
        }
        so_far.extend_from_slice(message.bytes);
        if !message.is_last() {
            return Answer::None;
        }
        let bytes = self.incoming.remove(&(source, id)).unwrap();
        self.taken.insert((source, id));
        self.note(Log::Received {
            source,
            destination: message.destination.bits(),
            id,
            priority: message.priority,
            hops: message.hops,
            bytes,
        });
        verdict(self.verdict)
    }
}

impl Host for App {
    fn transmit(&mut self, link: LinkId, frame: &[u8]) {
        self.on_air.push((link, frame.to_vec()));
    }

    fn event(&mut self, event: Event<'_>) -> Answer {
        match event {
            Event::Received(message) => self.received(&message),
            Event::NextPart { id, offset, len } => self.note(Log::NextPart { id: id.0, offset, len }),
            Event::Done { id, outcome, hops } => self.note(Log::Done { id: id.0, outcome, hops }),
            Event::Processed { source, id } => self.note(Log::Processed { source: source.bits(), id: id.0 }),
            Event::NameWanted { source, name } => self.note(Log::NameWanted { source: source.bits(), name }),
            Event::NameAt { source, name } => self.note(Log::NameAt { source: source.bits(), name }),
            Event::ReserveSeq { up_to } => {
                self.note(Log::Reserve(up_to));
                if !self.syncs {
                    return Answer::None;
                }
                self.reserved = up_to;
                Answer::Reserved
            }
            Event::Progress { id, step } => {
                self.steps.push((id.0, step));
                Answer::None
            }
            Event::Pong { source, id, hops } => self.note(Log::Pong { source: source.bits(), id, hops }),
            Event::Traced { source, hop } => self.note(Log::Traced { source: source.bits(), hop }),
            Event::EpochWanted => self.note(Log::EpochWanted),
            Event::AddressConflict { seq } => self.note(Log::Conflict(seq)),
            other => panic!("an event this host does not know: {other:?}"),
        }
    }

    fn load(&mut self, id: MessageId, offset: u32, out: &mut [u8]) -> bool {
        let Some(message) = self.outgoing.get(&id.0) else {
            return false;
        };
        let offset = offset as usize;
        out.copy_from_slice(&message[offset..offset + out.len()]);
        true
    }
}

/// The host of a node that must have nothing to say.
struct Silence(Instant);

impl Host for Silence {
    fn transmit(&mut self, _: LinkId, frame: &[u8]) {
        panic!("a frame at {:?}, before anything is due: {frame:?}", self.0);
    }
    fn event(&mut self, event: Event<'_>) -> Answer {
        panic!("an event at {:?}, before anything is due: {event:?}", self.0);
    }
    fn load(&mut self, id: MessageId, _: u32, _: &mut [u8]) -> bool {
        panic!("a part of {id} wanted at {:?}, before anything is due", self.0);
    }
}

/// A frame as it left a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OnAir {
    pub(crate) at: Instant,
    /// Which station, from 0.
    pub(crate) from: usize,
    pub(crate) link: LinkId,
    pub(crate) bytes: Vec<u8>,
}

/// What an air rule makes of a frame on its way to a station.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reception {
    Pass,
    Lose,
}

type Rule = Box<dyn FnMut(&OnAir, usize) -> Reception>;

pub(crate) struct Station<M> {
    pub(crate) node: M,
    pub(crate) app: App,
    due: Option<Instant>,
    on: bool,
}

/// Stations 0, 1, 2.. with the addresses 1, 2, 3..
pub(crate) struct Net<M = SmallNode> {
    pub(crate) now: Instant,
    pub(crate) stations: Vec<Station<M>>,
    /// Everything that left a node, in order.
    pub(crate) air: Vec<OnAir>,
    ears: BTreeSet<(usize, usize)>,
    loss_ppm: u32,
    rng: Rng,
    rule: Option<Rule>,
    under_way: BTreeMap<(Instant, u64), (usize, LinkId, Vec<u8>)>,
    sent: u64,
    next_id: u32,
}

impl<M: AnyNode + Clone> Net<M> {
    /// `count` nodes that do not hear each other yet.
    pub(crate) fn new(count: usize) -> Self {
        Self::with(count, |_| {})
    }

    /// The same, each made with a configuration that `change` had its way with.
    pub(crate) fn with(count: usize, mut change: impl FnMut(&mut Config)) -> Self {
        let mut net = Self {
            now: T0,
            stations: Vec::new(),
            air: Vec::new(),
            ears: BTreeSet::new(),
            loss_ppm: 0,
            rng: Rng::new(0),
            rule: None,
            under_way: BTreeMap::new(),
            sent: 0,
            next_id: 0,
        };
        for n in 0..count {
            let mut config = config(n as u16 + 1);
            change(&mut config);
            let mut node = M::new(T0, config);
            assert!(node.handle_link_up(T0, LINK, INFO));
            net.stations.push(Station { node, app: App::new(), due: Some(T0), on: true });
        }
        net
    }

    /// `count` nodes in a line, each hearing the next.
    pub(crate) fn line(count: usize) -> Self {
        let mut net = Self::new(count);
        net.in_line();
        net
    }

    pub(crate) fn in_line(&mut self) {
        for n in 1..self.stations.len() {
            self.join(n - 1, n);
        }
    }

    /// `count` nodes that all hear each other.
    pub(crate) fn full(count: usize) -> Self {
        let mut net = Self::new(count);
        for a in 0..count {
            for b in 0..a {
                net.join(a, b);
            }
        }
        net
    }

    /// From now on `a` and `b` hear each other.
    pub(crate) fn join(&mut self, a: usize, b: usize) {
        self.ears.insert((a, b));
        self.ears.insert((b, a));
    }

    pub(crate) fn part(&mut self, a: usize, b: usize) {
        self.ears.remove(&(a, b));
        self.ears.remove(&(b, a));
    }

    /// From now on each frame is lost to each listener with this probability.
    pub(crate) fn lossy(&mut self, percent: u32, seed: u64) {
        println!("loss {percent} %, seed {seed}");
        self.loss_ppm = percent * 10_000;
        self.rng = Rng::new(seed);
    }

    /// From now on `rule` decides about each frame on its way to each station.
    pub(crate) fn rule(&mut self, rule: impl FnMut(&OnAir, usize) -> Reception + 'static) {
        self.rule = Some(Box::new(rule));
    }

    pub(crate) fn no_rule(&mut self) {
        self.rule = None;
    }

    /// The power goes; frames on the air still arrive elsewhere.
    pub(crate) fn switch_off(&mut self, at: usize) {
        self.stations[at].on = false;
        self.stations[at].due = None;
    }

    /// A new start with an empty memory; the host's memory is what `app` says.
    pub(crate) fn switch_on(&mut self, at: usize, config: Config, app: App) {
        let mut node = M::new(self.now, config);
        assert!(node.handle_link_up(self.now, LINK, INFO));
        self.stations[at] = Station { node, app, due: Some(self.now), on: true };
    }

    /// Hands a message to a node and drains it; returns the message's number.
    pub(crate) fn send(
        &mut self,
        from: usize,
        to: Address,
        priority: Priority,
        within: Duration,
        bytes: &[u8],
    ) -> Result<u32, SendError> {
        self.next_id += 1;
        let id = self.next_id;
        self.send_as(id, from, to, priority, within, bytes)
    }

    pub(crate) fn send_as(
        &mut self,
        id: u32,
        from: usize,
        to: Address,
        priority: Priority,
        within: Duration,
        bytes: &[u8],
    ) -> Result<u32, SendError> {
        let now = self.now;
        let delivery = Delivery { id: MessageId(id), destination: to, priority, deadline: now + within };
        let station = &mut self.stations[from];
        let first = &bytes[..station.node.first_part_len(to, priority, bytes.len())];
        station.node.send(now, delivery, bytes.len(), first)?;
        station.app.outgoing.insert(id, bytes.to_vec());
        self.drive(from);
        Ok(id)
    }

    /// A frame from nowhere into a node, then the drain.
    pub(crate) fn inject(&mut self, to: usize, bytes: &[u8]) -> Result<(), Discard> {
        let taken = self.stations[to].node.handle_frame(self.now, LINK, &mut bytes.to_vec(), RSSI);
        self.drive(to);
        taken
    }

    /// One full drain of a node, with what the contract says of it.
    pub(crate) fn drive(&mut self, at: usize) {
        let now = self.now;
        let station = &mut self.stations[at];
        if !station.on {
            return;
        }
        station.app.now = now;
        let next = station.node.drive(now, &mut station.app);
        assert_eq!(next, station.node.poll_timeout(), "station {at}");
        assert!(next.is_none_or(|next| next > now), "station {at}: due now, after a drain");
        station.due = next;
        for (link, bytes) in std::mem::take(&mut station.app.on_air) {
            self.on_air(at, link, bytes);
        }
    }

    fn on_air(&mut self, from: usize, link: LinkId, bytes: Vec<u8>) {
        let frame = OnAir { at: self.now, from, link, bytes };
        for to in 0..self.stations.len() {
            if !self.ears.contains(&(from, to)) {
                continue;
            }
            let lost = self.rng.chance(self.loss_ppm)
                || self.rule.as_mut().is_some_and(|rule| rule(&frame, to) == Reception::Lose);
            if !lost {
                self.sent += 1;
                self.under_way.insert((self.now + AIRTIME, self.sent), (to, link, frame.bytes.clone()));
            }
        }
        self.air.push(frame);
    }

    /// Runs for a while.
    pub(crate) fn run(&mut self, span: Duration) {
        let until = self.now + span;
        self.run_while(until, |_| true);
    }

    /// Runs until the condition holds; panics if it does not within `span`.
    pub(crate) fn run_until(&mut self, span: Duration, mut reached: impl FnMut(&Self) -> bool) {
        let until = self.now + span;
        self.run_while(until, |net| !reached(net));
        assert!(reached(self), "not reached within {} ms", span.as_millis());
    }

    fn run_while(&mut self, until: Instant, mut go_on: impl FnMut(&Self) -> bool) {
        for _ in 0..STEPS {
            if !go_on(self) {
                return;
            }
            let frame = self.under_way.keys().next().map(|key| key.0);
            let timer = self.stations.iter().filter_map(|station| station.due).min();
            let Some(next) = frame.into_iter().chain(timer).min().filter(|next| *next <= until) else {
                self.now = until;
                return;
            };
            self.now = next;
            if frame == Some(next)
                && let Some((_, (to, link, mut bytes))) = self.under_way.pop_first()
            {
                if self.stations[to].on {
                    let _ = self.stations[to].node.handle_frame(next, link, &mut bytes, RSSI);
                    self.drive(to);
                }
                continue;
            }
            for at in 0..self.stations.len() {
                if self.stations[at].due == Some(next) {
                    self.nothing_is_due_before(at, next);
                    self.drive(at);
                }
            }
        }
        panic!("the nodes did not come to rest in {STEPS} steps");
    }

    /// A copy of the node, driven a microsecond before its deadline, must have nothing to say.
    fn nothing_is_due_before(&self, at: usize, due: Instant) {
        // Just switched on: it was the power that was due.
        if self.stations[at].node.poll_timeout() != Some(due) {
            return;
        }
        let early = due - Duration::from_micros(1);
        let mut copy = self.stations[at].node.clone();
        let next = copy.drive(early, &mut Silence(early));
        assert_eq!(next, Some(due), "station {at}: driven early, it changed its mind");
    }

    /// What a host heard, without reservations.
    pub(crate) fn log(&self, at: usize) -> Vec<Log> {
        self.stations[at]
            .app
            .log
            .iter()
            .filter(|(_, what)| !matches!(what, Log::Reserve(_)))
            .map(|(_, what)| what.clone())
            .collect()
    }

    /// What became of a message, and when the host was told.
    pub(crate) fn outcome(&self, at: usize, wanted: u32) -> Option<(Instant, SendOutcome)> {
        let mut found = self.stations[at].app.log.iter().filter_map(|(when, what)| match what {
            Log::Done { id, outcome, .. } if *id == wanted => Some((*when, *outcome)),
            _ => None,
        });
        let outcome = found.next();
        assert_eq!(found.next(), None, "one outcome for each message");
        outcome
    }

    /// The messages a host took: source, number, bytes.
    pub(crate) fn received(&self, at: usize) -> Vec<(u16, u32, Vec<u8>)> {
        self.stations[at]
            .app
            .log
            .iter()
            .filter_map(|(_, what)| match what {
                Log::Received { source, id, bytes, .. } => Some((*source, *id, bytes.clone())),
                _ => None,
            })
            .collect()
    }

    /// What a station put on the air, opened.
    pub(crate) fn sent_by(&self, at: usize) -> Vec<Opened> {
        self.air.iter().filter(|frame| frame.from == at).map(|frame| open(&frame.bytes)).collect()
    }
}

impl App {
    /// A host that has lost its memory.
    pub(crate) fn fresh() -> Self {
        Self::new()
    }
}

/// The address of station `at`.
pub(crate) fn address(at: usize) -> Address {
    Address::new(at as u16 + 1)
}
