//! A stack to compare ours with: Bluetooth Mesh (Mesh Profile 1.0.1) as its main open implementation, Zephyr, sets it up.
//!
//! Owns one node: [`Sig`] puts the layers together and has the application that answers requests. The bytes are
//! `pdu`'s, what goes on the air when is `network`'s, long messages are `segmentation`'s and `reassembly`'s business.
//! Who sends what and when is the scenario's, time and air are the world's.
//!
//! What is left out: encryption (every PDU has the length that it would have), beacons, friends, proxies, the IV
//! update, configuration. Nodes know each other by number: node `n` has the unicast address `n + 1`.

mod counts;
mod network;
mod pdu;
mod reassembly;
mod segmentation;
#[cfg(test)]
mod tests;

use mesh_protocol::{Instant, Rng};

use self::counts::Counts;
use self::network::{Advertiser, Cache, Kind, Replay};
use self::pdu::{ALL_NODES, Ack, Header, LAST_UNICAST, Lower, Pdu};
use self::reassembly::{Incoming, SegmentResult};
use self::segmentation::Outgoing;
use super::echo::{Echoes, Opcode};
use super::mesh::FrameKeys;
use super::{Arrival, Completion, Order, Refused, Sets, Stack, Target, node_seeds, relays, station};
use crate::scenario::{Scenario, SigOptions, Stacks};

/// The longest body that fits an unsegmented message: the access payload less its opcode.
const UNSEGMENTED: u32 = pdu::MAX_UNSEGMENTED as u32 - 1;
/// Messages that wait, are on the air or are not yet complete, all together. A guess.
const OUTBOX: usize = 32;
/// SEQs are stored in steps of so many; after a power cut they go on from the next step: Zephyr's
/// `CONFIG_BT_MESH_SEQ_STORE_RATE`.
const SEQ_STEP: u32 = 128;
/// A node's first SEQ is drawn below this. A guess: then nodes hardly ever number their messages alike.
const FIRST_SEQS: u64 = 1 << 16;

/// One node of the SIG baseline.
///
/// After [`Sig::post`], after [`Sig::sent`], after a [`Sig::receive`] that returned true and at the time that
/// [`Sig::run`] returned, [`Sig::run`] has to be called.
#[derive(Clone, Debug)]
pub struct Sig {
    options: SigOptions,
    relay: bool,
    address: u16,
    seq: u32,
    cache: Cache,
    replay: Replay,
    advertiser: Advertiser,
    outgoing: Outgoing,
    incoming: Incoming,
    echoes: Echoes,
    arrivals: Vec<Arrival>,
    completions: Vec<Completion>,
    counts: Counts,
}

impl Sig {
    /// The node with this number, below 32,767; it relays if `relay`. The seed decides the first
    /// SEQ and nothing else.
    #[must_use]
    pub fn new(options: SigOptions, relay: bool, number: u32, seed: u64) -> Self {
        let first = Rng::stream(seed, "sig").fork(u64::from(number)).below(FIRST_SEQS);
        Self {
            relay,
            address: address(number).unwrap_or(LAST_UNICAST),
            seq: first as u32,
            cache: Cache::new(),
            replay: Replay::default(),
            advertiser: Advertiser::new(options.relay_sets),
            outgoing: Outgoing::default(),
            incoming: Incoming::new(options.ttl),
            echoes: Echoes::default(),
            arrivals: Vec::new(),
            completions: Vec::new(),
            counts: Counts::default(),
            options,
        }
    }

    /// A power cut: all is forgotten but what flash keeps, which is the replay list and the SEQ's next step, and the
    /// counters. What was in the sets is gone: no [`Sig::sent`] may follow for it.
    pub fn power_cut(&mut self) {
        self.counts.reassembly_given_up += self.incoming.given_up();
        self.seq = self.seq.next_multiple_of(SEQ_STEP) & pdu::SEQ_MASK;
        self.cache = Cache::new();
        self.advertiser = Advertiser::new(self.options.relay_sets);
        self.outgoing = Outgoing::default();
        self.incoming = Incoming::new(self.options.ttl);
        self.echoes = Echoes::default();
    }

    /// A PDU has come in. Whether [`Sig::run`] has to follow; not so where nothing changed that has a time.
    pub fn receive(&mut self, now: Instant, bytes: &[u8], _rssi: i8) -> bool {
        let Some(origin) = pdu::origin(bytes) else {
            self.counts.malformed += 1;
            return false;
        };
        if origin.0 == self.address || self.cache.contains(origin) {
            self.counts.duplicates += 1;
            return false;
        }
        let Some((header, lower)) = pdu::open(bytes) else {
            self.counts.malformed += 1;
            return false;
        };
        // Only now: a damaged PDU must not shut out the good copy of it.
        self.cache.add(origin);
        let local = header.dst == self.address || header.dst == ALL_NODES;
        if local {
            self.take(now, header, lower);
        }
        let relays = self.relay && header.dst != self.address && header.ttl >= 2;
        local | (relays && self.pass_on(now, bytes, header))
    }

    /// Does whatever is due at `now`, sends through `radio`, and says when to be run again at the latest.
    pub fn run(&mut self, now: Instant, radio: &mut impl Sets) -> Option<Instant> {
        loop {
            for due in self.incoming.due(now) {
                self.send_ack(now, due.to, due.ack);
            }
            for (id, outcome) in self.outgoing.due(now) {
                self.completions.push(Completion { at: now, id, outcome });
            }
            self.queue_segments(now);
            let options = &self.options;
            let refused = self.advertiser.fill(now, |set, pdu, kind| {
                let (copies, interval) = match kind {
                    Kind::Relay => (options.retransmit, options.retransmit_interval),
                    Kind::Message | Kind::Segment(_) | Kind::Ack => {
                        (options.transmit, options.transmit_interval)
                    }
                };
                radio.advertise(set, pdu.bytes(), copies, interval)
            });
            self.counts.radio_full += refused.len() as u64;
            for &kind in &refused {
                self.gone(now, kind);
            }
            // What was refused has left buffers for more; every round of segments ends in a pause, so this ends too.
            if refused.is_empty() {
                break;
            }
        }
        let times = [self.incoming.next_due(), self.outgoing.next_due(), self.advertiser.next_due()];
        times.into_iter().flatten().min()
    }

    /// The last advertising event of what `set` held has ended: the set is free. [`Sig::run`] has to follow.
    pub fn sent(&mut self, now: Instant, set: usize) {
        if let Some(kind) = self.advertiser.sent(set) {
            self.gone(now, kind);
        }
    }

    /// Takes a message of at most 379 bytes; its number here, which its receiver finds as well: the SEQ reserved for
    /// it. [`Sig::run`] has to follow.
    ///
    /// Segmented messages to one node complete, others never: there is no ack for those.
    ///
    /// # Errors
    /// [`Refused::TooLong`] for longer bodies, [`Refused::Busy`] when 32 messages are not complete or 16 requests to that
    /// node wait for their answers, [`Refused::Down`] for a number that is no node's.
    pub fn post(&mut self, now: Instant, order: &Order) -> Result<u32, Refused> {
        let to = match order.to {
            Target::Everyone => ALL_NODES,
            Target::Node(number) => address(number).ok_or(Refused::Down)?,
        };
        let tag = match order.echo && to != ALL_NODES {
            true => Some(self.echoes.tag(now, to).ok_or(Refused::Busy)?),
            false => None,
        };
        let opcode = tag.map_or(Opcode::Plain, Opcode::Request);
        let id = self.send(now, to, opcode.payload(&order.body), true)?;
        if let Some(tag) = tag {
            self.echoes.open(to, tag, id, now + order.within);
        }
        Ok(id)
    }

    /// What reached the application since last asked, in order.
    pub fn arrivals(&mut self) -> Vec<Arrival> {
        std::mem::take(&mut self.arrivals)
    }

    /// What became of segmented messages to one node since last asked, in order.
    pub fn completions(&mut self) -> Vec<Completion> {
        std::mem::take(&mut self.completions)
    }

    /// Counters by name, in alphabetical order.
    #[must_use]
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        self.counts.by_name(self.incoming.given_up())
    }

    fn pass_on(&mut self, now: Instant, bytes: &[u8], header: Header) -> bool {
        let ready = now + self.options.host_delay;
        let Some(pdu) = Pdu::relayed(bytes, header) else { return false };
        let queued = self.advertiser.push(pdu, Kind::Relay, ready).is_ok();
        *if queued { &mut self.counts.relayed } else { &mut self.counts.relay_full } += 1;
        queued
    }

    fn take(&mut self, now: Instant, header: Header, lower: Lower<'_>) {
        let Header { seq, src, dst, .. } = header;
        if !self.replay.is_new(src, seq) {
            self.counts.replays += 1;
            return;
        }
        let answering = now + self.options.host_delay;
        match lower {
            Lower::Access(bytes) => {
                self.replay.taken(src, seq);
                self.deliver(now, header, seq, bytes);
            }
            Lower::Segment(segment) => match self.incoming.segment(now, header, segment) {
                // The replay list takes complete messages only: segments may come in any order.
                SegmentResult::Kept | SegmentResult::Stale => (),
                SegmentResult::NoRoom => self.counts.reassembly_full += 1,
                SegmentResult::Repeated(ack) => {
                    self.replay.taken(src, seq);
                    ack.into_iter().for_each(|ack| self.send_ack(answering, src, ack));
                }
                SegmentResult::Complete(id, bytes, ack) => {
                    self.replay.taken(src, seq);
                    ack.into_iter().for_each(|ack| self.send_ack(answering, src, ack));
                    self.deliver(now, header, id, &bytes);
                }
            },
            Lower::Ack(ack) if dst == self.address => {
                self.replay.taken(src, seq);
                let completed = self.outgoing.acked(answering, src, ack);
                self.completions.extend(completed.map(|(id, outcome)| Completion { at: now, id, outcome }));
            }
            Lower::Ack(_) => self.counts.malformed += 1,
        }
    }

    fn deliver(&mut self, now: Instant, header: Header, id: u32, bytes: &[u8]) {
        let Header { src, dst, .. } = header;
        let payload = pdu::open_payload(src, dst, id, bytes);
        let Some((opcode, body)) = payload.and_then(Opcode::split) else {
            self.counts.malformed += 1;
            return;
        };
        let answers = match opcode {
            Opcode::Answer(tag) => {
                let Some(request) = self.echoes.answered(src, tag) else {
                    self.counts.answers_stray += 1;
                    return;
                };
                Some(request)
            }
            Opcode::Plain | Opcode::Request(_) => None,
        };
        let hops = self.options.ttl.saturating_sub(header.ttl).saturating_add(1);
        let from = u32::from(src) - 1;
        self.arrivals.push(Arrival { at: now, from, id, hops, answers, body: body.to_vec() });
        if let Opcode::Request(tag) = opcode
            && dst == self.address
        {
            let answer = Opcode::Answer(tag).payload(body);
            if self.send(now + self.options.host_delay, src, answer, false).is_err() {
                self.counts.answers_refused += 1;
            }
        }
    }

    fn send(&mut self, ready: Instant, to: u16, payload: Vec<u8>, reported: bool) -> Result<u32, Refused> {
        if payload.len() > pdu::MAX_SEGMENTED {
            return Err(Refused::TooLong);
        }
        if self.advertiser.messages() + self.outgoing.len() >= OUTBOX {
            return Err(Refused::Busy);
        }
        let id = next_seq(&mut self.seq);
        let segmented = payload.len() > pdu::MAX_UNSEGMENTED;
        let bytes = pdu::seal_payload(self.address, to, id, payload);
        if segmented {
            self.outgoing.add(id, to, bytes, reported, ready);
        } else {
            let pdu = Pdu::seal(self.header(id, to), Lower::Access(&bytes));
            self.advertiser.push(pdu, Kind::Message, ready).map_err(|_| Refused::Busy)?;
        }
        Ok(id)
    }

    fn queue_segments(&mut self, now: Instant) {
        while self.advertiser.has_room_for_segment() {
            let Some(piece) = self.outgoing.next_segment(now) else { return };
            let seq = next_seq(&mut self.seq);
            let header = Header { ttl: self.options.ttl, seq, src: self.address, dst: piece.to };
            let pdu = Pdu::seal(header, Lower::Segment(piece.segment));
            let ready = piece.ready.max(now);
            *if piece.again { &mut self.counts.segments_again } else { &mut self.counts.segments } += 1;
            // There was room.
            let _ = self.advertiser.push(pdu, Kind::Segment(piece.id), ready);
        }
    }

    fn send_ack(&mut self, ready: Instant, to: u16, ack: Ack) {
        let seq = next_seq(&mut self.seq);
        let pdu = Pdu::seal(self.header(seq, to), Lower::Ack(ack));
        let queued = self.advertiser.push(pdu, Kind::Ack, ready).is_ok();
        *if queued { &mut self.counts.acks } else { &mut self.counts.acks_dropped } += 1;
    }

    fn gone(&mut self, now: Instant, kind: Kind) {
        if let Kind::Segment(id) = kind {
            self.outgoing.gone(now, id);
        }
    }

    const fn header(&self, seq: u32, dst: u16) -> Header {
        Header { ttl: self.options.ttl, seq, src: self.address, dst }
    }
}

station!(Sig);

impl Stack for Sig {
    const NAME: &'static str = "sig";
    // The mesh message has an AD type of its own.
    const AD_TYPE: &'static [u8] = &[0x2a];
    const NEEDS_SENT: bool = true;
    const REPORTS_LOSSES: bool = false;

    fn sets(settings: &Stacks) -> usize {
        1 + usize::from(settings.sig.relay_sets)
    }

    /// Only segmented messages to one node are acknowledged.
    fn reports(bytes: u32, to_one: bool) -> bool {
        to_one && bytes > UNSEGMENTED
    }

    fn cause(_keys: &FrameKeys, sender: u32, frame: &[u8]) -> &'static str {
        cause(frame, sender)
    }

    fn route(_keys: &FrameKeys, frame: &[u8]) -> Option<(u32, u32)> {
        route(frame)
    }

    fn origin(_keys: &FrameKeys, frame: &[u8]) -> Option<(u32, u32)> {
        let (src, seq) = pdu::origin(frame)?;
        Some((u32::from(src).checked_sub(1)?, seq))
    }

    fn nodes(scenario: &Scenario, seed: u64) -> impl Fn(u32) -> Self {
        let seeds = node_seeds(seed);
        move |number| Self::new(scenario.stacks.sig.clone(), relays(scenario, number), number, seeds(number))
    }
}

/// [`Stack::cause`]: nothing here is encrypted.
fn cause(bytes: &[u8], sender: u32) -> &'static str {
    match pdu::origin(bytes) {
        None => "other",
        Some((src, _)) if Some(src) != address(sender) => "relay",
        Some(_) if pdu::is_control(bytes) => "ack",
        Some(_) => "data",
    }
}

/// [`Stack::route`].
fn route(bytes: &[u8]) -> Option<(u32, u32)> {
    let (header, _) = pdu::open(bytes).filter(|_| !pdu::is_control(bytes))?;
    let node = |address: u16| (address <= LAST_UNICAST).then(|| u32::from(address).saturating_sub(1));
    Some((node(header.src)?, node(header.dst)?))
}

/// The unicast address of a node.
fn address(number: u32) -> Option<u16> {
    let address = u16::try_from(number.checked_add(1)?).ok()?;
    (address <= LAST_UNICAST).then_some(address)
}

const fn next_seq(seq: &mut u32) -> u32 {
    let this = *seq;
    *seq = (this + 1) & pdu::SEQ_MASK;
    this
}
