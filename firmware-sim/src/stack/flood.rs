//! A stack to compare ours with: the plain flood, which is also the load of the speed benchmark.
//!
//! Owns one node: [`Flood`] relays every new frame once and hands over what is for it. No suppression, no acks, no
//! retries, no keys. Who sends what and when is the scenario's, time and air are the world's business.
//!
//! A frame is a header of 11 bytes and a part of a message:
//!
//! | bytes | what |
//! | --- | --- |
//! | 0 | TTL: hops left, this one included |
//! | 1-2 | source: the number of the node that sent it first |
//! | 3-6 | SEQ: its number there; the parts of a message have consecutive ones |
//! | 7-8 | destination: a number, or 65,535 for everyone |
//! | 9 | which part, from 0 |
//! | 10 | the last part |
//!
//! All numbers are little-endian. A message is known by its source and the SEQ of its first part. Its first byte says
//! whether it wants an answer, or is one. All parts but the last fill the frame.

mod assembly;
mod recent;

use std::collections::VecDeque;

use mesh_protocol::{Duration, Instant, Rng};

use self::assembly::Assemblies;
use self::recent::RecentFrames;
use super::echo::{Echoes, Opcode};
use super::mesh::FrameKeys;
use super::{Arrival, Completion, Order, Refused, Sets, Stack, Target, node_seeds, relays, station};
use crate::scenario::Scenario;

/// Copies of each frame: as the SIG baseline, so that the two compare.
const COPIES: u8 = 3;
/// From one of these copies to the next: likewise.
const INTERVAL: Duration = Duration::from_millis(20);
/// Bytes before the part.
const HEADER: usize = 11;
/// The shortest frame that carries anything.
const MIN_FRAME: usize = HEADER + 1;
/// The destination that is everyone.
const EVERYONE: u16 = u16::MAX;
/// Frames that wait for being relayed: as many as the SIG baseline has buffers.
const RELAY_QUEUE: usize = 32;
/// Messages of its own that wait. A guess.
const OUTBOX: usize = 32;
/// A node's first SEQ is drawn below this. A guess: then nodes hardly ever number their messages alike.
const FIRST_SEQS: u64 = 1 << 16;

/// A message of its own that waits, or is partly sent.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outgoing {
    id: u32,
    to: u16,
    payload: Vec<u8>,
    next: u8,
}

/// What a node counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    answers_refused: u64,
    answers_stray: u64,
    duplicates: u64,
    malformed: u64,
    radio_full: u64,
    relay_full: u64,
    relayed: u64,
}

/// One node of the plain flood.
///
/// After [`Flood::post`], after [`Flood::sent`] and after a [`Flood::receive`] that returned true,
/// [`Flood::run`] has to be called. It has no timers.
#[derive(Clone, Debug)]
pub struct Flood {
    recent: RecentFrames,
    duplicates: u64,
    address: u16,
    ttl: u8,
    relay: bool,
    /// Bytes of a part that is not the last.
    part: usize,
    seq: u32,
    outbox: VecDeque<Outgoing>,
    relays: VecDeque<Vec<u8>>,
    on_air: bool,
    /// Whether the next frame is one of its own, where both wait.
    own_next: bool,
    assemblies: Assemblies,
    echoes: Echoes,
    arrivals: Vec<Arrival>,
    counts: Counts,
}

impl Flood {
    /// The node with this number, below 65,535; it relays if `relay`. `frame` is the longest frame that the radio
    /// carries: 27 bytes on a legacy one, at least 12. The seed decides the first SEQ and nothing else.
    #[must_use]
    pub fn new(ttl: u8, frame: usize, relay: bool, number: u32, seed: u64) -> Self {
        let first = Rng::stream(seed, "flood").fork(u64::from(number)).below(FIRST_SEQS);
        let part = frame.max(MIN_FRAME) - HEADER;
        Self {
            recent: RecentFrames::new(),
            duplicates: 0,
            address: address(number).unwrap_or(EVERYONE - 1),
            ttl,
            relay,
            part,
            seq: first as u32,
            outbox: VecDeque::new(),
            relays: VecDeque::new(),
            on_air: false,
            own_next: true,
            assemblies: Assemblies::new(part),
            echoes: Echoes::default(),
            arrivals: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// A power cut: all is forgotten but the SEQ and the counters. What was in the set is gone: no [`Flood::sent`] may
    /// follow for it.
    pub fn power_cut(&mut self) {
        self.recent = RecentFrames::new();
        self.outbox.clear();
        self.relays.clear();
        self.on_air = false;
        self.assemblies.clear();
        self.echoes = Echoes::default();
    }

    /// A frame has come in. Whether [`Flood::run`] has to follow; not so for one that came before.
    #[inline]
    pub fn receive(&mut self, now: Instant, frame: &[u8], _rssi: i8) -> bool {
        let Some(head) = frame.first_chunk::<HEADER>() else {
            self.counts.malformed += 1;
            return false;
        };
        // The TTL is not part of the key: a copy that came by a longer path is the same frame.
        let [_, k0, k1, k2, k3, k4, k5, ..] = *head;
        if self.recent.again(u64::from_le_bytes([k0, k1, k2, k3, k4, k5, 0, 0])) {
            self.duplicates += 1;
            return false;
        }
        self.take_new(now, frame, *head)
    }

    /// Sends the next frame through `radio` if its set is free. There is nothing to be run again for.
    pub fn run(&mut self, _now: Instant, radio: &mut impl Sets) -> Option<Instant> {
        while !self.on_air {
            let Some(frame) = self.next_frame() else { break };
            match radio.advertise(0, &frame, COPIES, INTERVAL) {
                Ok(()) => self.on_air = true,
                // It is lost, as on the air.
                Err(_) => self.counts.radio_full += 1,
            }
        }
        None
    }

    /// The last advertising event of what the set held has ended: it is free. [`Flood::run`] has to follow.
    pub fn sent(&mut self, _now: Instant, _set: usize) {
        self.on_air = false;
    }

    /// Takes a message of at most 256 parts less one byte; its number here, which its receiver finds as well: the SEQ
    /// of its first part. Nothing is ever reported of it. [`Flood::run`] has to follow.
    ///
    /// # Errors
    /// [`Refused::TooLong`] for longer bodies, [`Refused::Busy`] when 32 messages wait or 16 requests to that node wait
    /// for their answers, [`Refused::Down`] for a number that is no node's.
    pub fn post(&mut self, now: Instant, order: &Order) -> Result<u32, Refused> {
        let to = match order.to {
            Target::Everyone => EVERYONE,
            Target::Node(number) => address(number).ok_or(Refused::Down)?,
        };
        let tag = match order.echo && to != EVERYONE {
            true => Some(self.echoes.tag(now, to).ok_or(Refused::Busy)?),
            false => None,
        };
        let opcode = tag.map_or(Opcode::Plain, Opcode::Request);
        let id = self.send(to, opcode.payload(&order.body))?;
        if let Some(tag) = tag {
            self.echoes.open(to, tag, id, now + order.within);
        }
        Ok(id)
    }

    /// What reached the application since last asked, in order.
    pub fn arrivals(&mut self) -> Vec<Arrival> {
        std::mem::take(&mut self.arrivals)
    }

    /// Nothing ever: there are no receipts.
    pub const fn completions(&mut self) -> Vec<Completion> {
        Vec::new()
    }

    /// Counters by name, in alphabetical order.
    #[must_use]
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        let counts = &self.counts;
        vec![
            ("answers_refused", counts.answers_refused),
            ("answers_stray", counts.answers_stray),
            ("duplicates", self.duplicates),
            ("malformed", counts.malformed),
            ("radio_full", counts.radio_full),
            ("reassembly_given_up", self.assemblies.given_up()),
            ("relay_full", counts.relay_full),
            ("relayed", counts.relayed),
        ]
    }

    /// A frame that did not come before. Out of line: the path of duplicates stays short.
    #[cold]
    #[inline(never)]
    fn take_new(&mut self, now: Instant, frame: &[u8], head: [u8; HEADER]) -> bool {
        let [ttl, a0, a1, s0, s1, s2, s3, d0, d1, part, last] = head;
        let (source, dst) = (u16::from_le_bytes([a0, a1]), u16::from_le_bytes([d0, d1]));
        if source == self.address {
            // Its own, forgotten since.
            self.duplicates += 1;
            return false;
        }
        let bytes = &frame[HEADER..];
        let fits = if part < last { bytes.len() == self.part } else { bytes.len() <= self.part };
        if part > last || source == EVERYONE || bytes.is_empty() || !fits {
            self.counts.malformed += 1;
            return false;
        }
        let first = u32::from_le_bytes([s0, s1, s2, s3]).wrapping_sub(u32::from(part));
        let relayed = self.relay && dst != self.address && ttl >= 2 && self.pass_on(frame);
        let mut arrived = false;
        if dst == self.address || dst == EVERYONE {
            let whole = match last {
                0 => Some(bytes.to_vec()),
                _ => self.assemblies.add((source, first), part, last, bytes),
            };
            let hops = self.ttl.saturating_sub(ttl).saturating_add(1);
            if let Some(payload) = whole {
                self.deliver(now, source, dst, first, hops, &payload);
                // What reached the application is fetched when the node has run, though it may have nothing to send.
                arrived = true;
            }
        }
        relayed | arrived
    }

    fn pass_on(&mut self, frame: &[u8]) -> bool {
        if self.relays.len() >= RELAY_QUEUE {
            // It stays among the recent frames, so no later copy is relayed here either; other nodes relay it.
            self.counts.relay_full += 1;
            return false;
        }
        let mut frame = frame.to_vec();
        frame[0] -= 1;
        self.relays.push_back(frame);
        self.counts.relayed += 1;
        true
    }

    /// Hands a message to the application, which may answer it.
    fn deliver(&mut self, now: Instant, source: u16, dst: u16, id: u32, hops: u8, payload: &[u8]) {
        let Some((opcode, body)) = Opcode::split(payload) else {
            self.counts.malformed += 1;
            return;
        };
        let answers = match opcode {
            Opcode::Answer(tag) => {
                let Some(request) = self.echoes.answered(source, tag) else {
                    self.counts.answers_stray += 1;
                    return;
                };
                Some(request)
            }
            Opcode::Plain | Opcode::Request(_) => None,
        };
        self.arrivals.push(Arrival { at: now, from: source.into(), id, hops, answers, body: body.to_vec() });
        if let Opcode::Request(tag) = opcode
            && dst != EVERYONE
        {
            let sent = self.send(source, Opcode::Answer(tag).payload(body)).is_ok();
            self.counts.answers_refused += u64::from(!sent);
        }
    }

    fn send(&mut self, to: u16, payload: Vec<u8>) -> Result<u32, Refused> {
        let parts = payload.len().div_ceil(self.part);
        if parts > 256 {
            return Err(Refused::TooLong);
        }
        if self.outbox.len() >= OUTBOX {
            return Err(Refused::Busy);
        }
        let id = self.seq;
        self.seq = self.seq.wrapping_add(parts as u32);
        self.outbox.push_back(Outgoing { id, to, payload, next: 0 });
        Ok(id)
    }

    /// The next frame to send: its own and others' in turn, each first in, first out.
    fn next_frame(&mut self) -> Option<Vec<u8>> {
        // In turn, so that neither a busy neighbourhood nor a long message of its own stops the other.
        let own = !self.outbox.is_empty() && (self.own_next || self.relays.is_empty());
        self.own_next = !own;
        if own { self.cut() } else { self.relays.pop_front() }
    }

    /// Cuts the next part off the first message that waits.
    fn cut(&mut self) -> Option<Vec<u8>> {
        let message = self.outbox.front_mut()?;
        let part = message.next;
        let last = (message.payload.len().div_ceil(self.part) - 1) as u8;
        let from = usize::from(part) * self.part;
        let bytes = &message.payload[from..message.payload.len().min(from + self.part)];
        let mut frame = Vec::with_capacity(HEADER + bytes.len());
        frame.push(self.ttl);
        frame.extend_from_slice(&self.address.to_le_bytes());
        frame.extend_from_slice(&message.id.wrapping_add(u32::from(part)).to_le_bytes());
        frame.extend_from_slice(&message.to.to_le_bytes());
        frame.extend_from_slice(&[part, last]);
        frame.extend_from_slice(bytes);
        message.next = part.wrapping_add(1);
        if part == last {
            self.outbox.pop_front();
        }
        Some(frame)
    }
}

station!(Flood);

impl Stack for Flood {
    const NAME: &'static str = "flood";
    // Manufacturer data of the company for tests.
    const AD_TYPE: &'static [u8] = &[0xff, 0xff, 0xff];
    const NEEDS_SENT: bool = true;
    const REPORTS_LOSSES: bool = false;

    fn reports(_bytes: u32, _to_one: bool) -> bool {
        false
    }

    fn cause(_keys: &FrameKeys, sender: u32, frame: &[u8]) -> &'static str {
        cause(frame, sender)
    }

    fn route(_keys: &FrameKeys, frame: &[u8]) -> Option<(u32, u32)> {
        route(frame)
    }

    fn origin(_keys: &FrameKeys, frame: &[u8]) -> Option<(u32, u32)> {
        let &[_, a0, a1, s0, s1, s2, s3, ..] = frame.first_chunk::<HEADER>()?;
        Some((u16::from_le_bytes([a0, a1]).into(), u32::from_le_bytes([s0, s1, s2, s3])))
    }

    fn nodes(scenario: &Scenario, seed: u64) -> impl Fn(u32) -> Self {
        // All cut messages alike: as what every radio among them can carry.
        let mtu = |radio| Self::radio(&radio, &scenario.stacks).mtu();
        let named = scenario.nodes.keys().map(|number| mtu(scenario.radio_of(*number)));
        let usual =
            (scenario.nodes.len() < scenario.node_count() as usize).then(|| mtu(scenario.radio.clone()));
        let frame = named.chain(usual).min().unwrap_or(MIN_FRAME);
        let seeds = node_seeds(seed);
        move |number| {
            Self::new(scenario.stacks.flood_ttl, frame, relays(scenario, number), number, seeds(number))
        }
    }
}

/// [`Stack::cause`].
fn cause(frame: &[u8], sender: u32) -> &'static str {
    match frame.first_chunk::<HEADER>() {
        None => "other",
        Some(&[_, a0, a1, ..]) if address(sender) == Some(u16::from_le_bytes([a0, a1])) => "data",
        Some(_) => "relay",
    }
}

/// [`Stack::route`].
fn route(frame: &[u8]) -> Option<(u32, u32)> {
    let &[_, a0, a1, _, _, _, _, d0, d1, ..] = frame.first_chunk::<HEADER>()?;
    let (from, to) = (u16::from_le_bytes([a0, a1]), u16::from_le_bytes([d0, d1]));
    (to != EVERYONE).then(|| (from.into(), to.into()))
}

/// The address of a node: its number.
fn address(number: u32) -> Option<u16> {
    u16::try_from(number).ok().filter(|&address| address != EVERYONE)
}

#[cfg(test)]
mod tests;
