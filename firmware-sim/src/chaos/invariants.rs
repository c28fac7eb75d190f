//! What must hold after every event, whatever goes wrong: an observer that finds the first moment at which it does not.
//!
//! Owns the list of rules and the state they need. It looks at devices from outside, by the [events](crate::TraceEvent) they report, and
//! at the air. Nothing in it is believed because a node says so, where it can be known otherwise.
//!
//! | rule | what must hold |
//! |---|---|
//! | `unverified` | a frame that its owner never sent is refused by the MIC or a check before it, and changes nothing but counters |
//! | `refused` | a genuine frame that a node has not taken verifies, and is no replay |
//! | `replay` | a node takes each frame once, and none at or below what it kept over a restart |
//! | `genuine` | what a node sends is its own, or was sent by its owner |
//! | `nonce` | of one node, each new frame has a higher SEQ than all before, over restarts |
//! | `reservation` | no SEQ is used that flash does not say is reserved |
//! | `ttl` | a relay lowers TTL; none stands above TTL0 |
//! | `relays` | a node relays a frame at most twice, the second time with a higher TTL; never a copy whose NEXT names another |
//! | `own_copies` | a node sends its own frame at most three times |
//! | `next` | NEXT is changed by the node that it names alone, and leads neither to that itself nor back to the source |
//! | `sent` | what reaches an application was sent: this number, these bytes, to it |
//! | `duplicate` | none does so twice within the window; nor at all, where flash remembers |
//! | `receipt` | a sender hears *delivered* only after the delivery |
//! | `expired` | what a sender heard cannot have arrived has not; nor did it hear so before its time |
//! | `numbers` | a number names one message for ever |
//! | `accounted` | a node holds every message that it took and has said nothing of |
//! | `bounds` | tables hold no more than they have room for |
//! | `share`, `priority` | the urgent go first, and the others get their share |
//! | `timer` | nothing is due before `poll_timeout` says so, and nothing late |
//! | `backwards` | SEQ and epoch never go back |
//! | `conflict` | no node hears its own address from another, as there is none |
//!
//! Members who forge on purpose break some of these by design: which, and when that is excused, stands in `allowed`.

mod allowed;
mod findings;
mod frames;
mod messages;
mod order;
mod windows;

use std::collections::BTreeMap;

use ble_bearer::sim::{Observer, Reception, StationId};
use mesh_protocol::{Address, Discard, EpochKeys, Instant, Keyring, MessageId, NetKey, Priority};

use super::Watched;
use crate::{NodeSnapshot, TraceEvent};
use allowed::Allowed;
pub use allowed::{ALLOWANCES, Allowance};
use allowed::{MEMBER_MAY_SEND_AS_ANYONE, MEMBER_MAY_SPEND_SEQ};
use findings::Fault;
pub use findings::{Counts, Violation};
use frames::{Frames, Handed, Key, Provenance};
use messages::{Messages, Showing};
use order::Order;
use windows::{Known, Windows};

/// Room for the body of a frame of one message: `SINGLE_MAX` in `docs/protocol.md`.
const SINGLE_MAX: usize = 13;
/// The same beside NEXT.
const ROUTED_SINGLE_MAX: usize = 11;

/// One node, as seen so far.
#[derive(Debug, Default)]
struct NodeHistory {
    boot: u32,
    windows: Windows,
    /// The same without what was forged.
    honest: Windows,
    order: Order,
    epoch: u32,
    next_seq: u32,
    could_seal: bool,
}

/// The observer. Devices have to be told to [report events](crate::Device::watch) before they are added.
#[derive(Debug)]
pub struct Invariants {
    nodes: u32,
    members: Vec<Address>,
    frames: Frames,
    messages: Messages,
    allowed: Allowed,
    history: BTreeMap<u32, NodeHistory>,
    /// What has just reached a host, which is about to run.
    current: Option<(u32, Provenance)>,
    first: Option<Violation>,
    counts: Counts,
}

impl Invariants {
    /// For a network with this key, whose nodes are the stations below `nodes`. What is sent under the addresses of
    /// `members`, who are none of these, may make no sense.
    #[must_use]
    pub fn new(key: &NetKey, epoch: u32, nodes: u32, members: Vec<Address>) -> Self {
        Self {
            nodes,
            members,
            frames: Frames::new(Keyring::new(EpochKeys::derive(key, epoch))),
            messages: Messages::default(),
            allowed: Allowed::default(),
            history: BTreeMap::new(),
            current: None,
            first: None,
            counts: Counts::default(),
        }
    }

    /// The first thing that did not hold; afterwards nothing is looked at any more.
    #[must_use]
    pub const fn violation(&self) -> Option<&Violation> {
        self.first.as_ref()
    }

    /// How much was looked at.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let (frames, messages) = (&self.frames, &self.messages);
        Counts {
            sealed: frames.sealed,
            relayed: frames.relays,
            entrusted: frames.entrusted,
            accepted: messages.accepted,
            delivered: messages.delivered,
            completed: messages.completed,
            lost: messages.lost,
            forged: self.allowed.forged,
            ..self.counts
        }
    }

    /// How often each allowance excused each of its rules.
    #[must_use]
    pub const fn excused(&self) -> &BTreeMap<(&'static str, &'static str), u64> {
        &self.allowed.excused
    }

    /// From now on this allowance excuses nothing.
    pub const fn withhold(&mut self, allowance: &Allowance) {
        self.allowed.withheld = Some(allowance.name);
    }

    /// Messages to one node of ours that have not arrived there, but for those that were rejected, got too old or went with their
    /// device's power: source, number, and to whom.
    pub fn missing(&self) -> impl Iterator<Item = (Address, MessageId, Address)> + '_ {
        let known = self.messages.missing().filter(|(_, to)| !self.members.contains(to));
        known.map(|((source, id), to)| (source, id, to))
    }

    fn check(
        &mut self,
        now: Instant,
        node: u32,
        snapshot: &NodeSnapshot,
        events: Vec<TraceEvent>,
    ) -> Result<(), Fault> {
        let mut history = self.history.remove(&node).unwrap_or_default();
        let result = self.check_events(now, node, snapshot, events, &mut history).and_then(|()| {
            history.could_seal = snapshot.can_seal;
            if snapshot.powered { self.check_snapshot(snapshot, &mut history) } else { Ok(()) }
        });
        self.history.insert(node, history);
        result
    }

    fn check_events(
        &mut self,
        now: Instant,
        node: u32,
        snapshot: &NodeSnapshot,
        events: Vec<TraceEvent>,
        history: &mut NodeHistory,
    ) -> Result<(), Fault> {
        let address = snapshot.address;
        let sealing = history.could_seal && snapshot.can_seal;
        if !sealing {
            history.order.reset(false);
        }
        for event in events {
            match event {
                TraceEvent::Frame { result, unchanged } => {
                    if let Some((_, heard)) = self.current.take_if(|(to, _)| *to == node) {
                        self.heard(now, node, snapshot, heard, result, unchanged, history)?;
                    }
                }
                TraceEvent::Handed(frame) => {
                    let handed =
                        self.frames.handed(now, (node, history.boot), address, snapshot.reserved, &frame);
                    let handed = handed.or_else(|fault| match self.frames.with_double(&frame) {
                        Some(handed)
                            if handed.key.src != address
                                && self.allowed.excuses(&MEMBER_MAY_SPEND_SEQ, fault.0) =>
                        {
                            Ok(Some(handed))
                        }
                        _ => Err(fault),
                    })?;
                    let Some(Handed { key, priority, single, forged }) = handed else { continue };
                    if forged && !self.allowed.excuses(&MEMBER_MAY_SEND_AS_ANYONE, "genuine") {
                        return Err(("genuine", format!("it relayed what was forged of {}", key.src)));
                    }
                    if key.src != address && !snapshot.relays {
                        return Err(("relays", "it relays, and was told not to".into()));
                    }
                    if sealing {
                        history.order.handed(priority)?;
                    }
                    single.into_iter().for_each(|id| history.order.done(id));
                }
                TraceEvent::Accepted { delivery, bytes, by_route } => {
                    let (id, priority) = (delivery.id, delivery.priority);
                    self.messages.accepted(now, address, &delivery, &bytes, snapshot.durable)?;
                    let by_route = by_route && priority != Priority::Critical;
                    let most = if by_route { ROUTED_SINGLE_MAX } else { SINGLE_MAX };
                    if head_len(id) + bytes.len() <= most {
                        history.order.accepted(priority, id);
                    }
                }
                TraceEvent::Refused(..) => {}
                TraceEvent::Shown { source, destination, id, priority, part, bytes } => {
                    if !self.members.contains(&source) {
                        let name = (source, id);
                        let what = Showing { name, destination, priority, part, bytes: &bytes };
                        let shown = self.messages.shown(now, address, snapshot.paths.1, &what);
                        if shown.is_err() {
                            self.messages.shown_forged(now, address, snapshot.paths.1, name);
                        }
                        self.allowed.shown(name, shown)?;
                    }
                }
                TraceEvent::Delivered(source, id) => self.messages.delivered(address, (source, id))?,
                TraceEvent::Verdict(source, id, verdict) => {
                    self.messages.verdict(address, (source, id), verdict)
                }
                TraceEvent::Done(id, outcome) => {
                    history.order.done(id);
                    let done = self.messages.done(now, snapshot.clock, (address, id), outcome);
                    self.allowed.reported((address, id), done)?;
                }
                TraceEvent::Jumped => self.messages.jumped(address),
                TraceEvent::Cut { in_write } => {
                    self.counts.cuts += 1;
                    self.counts.broken_writes += u64::from(in_write);
                    self.messages.cut(address, snapshot.durable);
                    history.order.reset(true);
                }
                TraceEvent::Booted { seq, marks } => {
                    if seq < history.next_seq {
                        let before = history.next_seq;
                        return Err((
                            "backwards",
                            format!("it starts at SEQ {seq}, and had come to {before}"),
                        ));
                    }
                    history.boot += 1;
                    self.messages.booted(now, address);
                    history.windows = Windows::restored(&marks);
                    history.honest = history.windows.clone();
                    history.next_seq = 0;
                }
                TraceEvent::DueEarlier => {
                    return Err(("timer", "something was due before poll_timeout said so".into()));
                }
                TraceEvent::NothingDue => {
                    return Err(("timer", "the timer rang, and nothing was due".into()));
                }
                TraceEvent::RangLate => return Err(("timer", "the timer rang late".into())),
            }
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "one reception, from both sides")]
    fn heard(
        &mut self,
        now: Instant,
        node: u32,
        snapshot: &NodeSnapshot,
        heard: Provenance,
        result: Result<(), Discard>,
        unchanged: bool,
        history: &mut NodeHistory,
    ) -> Result<(), Fault> {
        let before_mic = matches!(
            result,
            Err(Discard::TooShort
                | Discard::TooLong
                | Discard::Version
                | Discard::UnknownKey
                | Discard::Reserved
                | Discard::Mic)
        );
        let (key, ttl, next) = match heard {
            Provenance::Forgotten => return Ok(()),
            Provenance::Strange => {
                self.counts.strange += 1;
                let fine = before_mic && unchanged;
                let text = || {
                    format!(
                        "a frame that nobody sent came to {result:?}, and changed something: {}",
                        !unchanged
                    )
                };
                return if fine { Ok(()) } else { Err(("unverified", text())) };
            }
            Provenance::Forged(key, _) => {
                // Its own address makes a node wary, which is a change.
                if result.is_err() && (unchanged || key.src == snapshot.address) {
                    let before = before_mic
                        || matches!(result, Err(Discard::WeakMic | Discard::Address | Discard::Ttl));
                    if before || key.src == snapshot.address {
                        return Ok(());
                    }
                }
                if !self.allowed.excuses(&MEMBER_MAY_SEND_AS_ANYONE, "unverified") {
                    return Err(("unverified", format!("what was forged of {} came to {result:?}", key.src)));
                }
                return self.windowed(key, result, &mut history.windows);
            }
            Provenance::Genuine(key, ttl, next) => (key, ttl, next),
        };
        let ttl0 = self.frames.sealed(key).map_or(0, |sealed| sealed.ttl0);
        let name = |key: Key| format!("SEQ {} of {}", key.seq, key.src);
        if ttl > ttl0 {
            let fine = result == Err(Discard::Ttl) && unchanged;
            let text = || format!("{} with TTL {ttl} of {ttl0} came to {result:?}", name(key));
            return if fine { Ok(()) } else { Err(("unverified", text())) };
        }
        if before_mic || matches!(result, Err(Discard::Ttl)) {
            return Err(("refused", format!("{} came to {result:?}", name(key))));
        }
        if key.src == snapshot.address || matches!(result, Err(Discard::WeakMic | Discard::Address)) {
            let fine = result.is_err() && unchanged;
            return if fine {
                Ok(())
            } else {
                Err(("replay", format!("{}, its own, came to {result:?}", name(key))))
            };
        }
        if next.is_none_or(|next| next == snapshot.address) {
            let copies = relay_copies(snapshot.alive);
            self.frames.heard(now, (node, history.boot), key, ttl, next.is_some(), copies);
        }
        self.windowed(key, result, &mut history.windows)?;
        self.shut_out(key, result, &mut history.honest)
    }

    /// A genuine frame, against the window as it would be without what was forged.
    fn shut_out(&mut self, key: Key, result: Result<(), Discard>, honest: &mut Windows) -> Result<(), Fault> {
        match result {
            Err(Discard::Replay) if honest.lookup(key) == Known::New && !honest.is_jump(key) => {
                if self.allowed.excuses(&MEMBER_MAY_SPEND_SEQ, "refused") {
                    return Ok(());
                }
                Err((
                    "refused",
                    format!("SEQ {} of {} is no replay but for what was forged", key.seq, key.src),
                ))
            }
            Err(Discard::Replay | Discard::SeqJump | Discard::ReplayTableFull) => Ok(()),
            _ => {
                if honest.lookup(key) == Known::New {
                    honest.take(key);
                }
                Ok(())
            }
        }
    }

    /// A frame that verifies, of another node, against the window of its source.
    fn windowed(
        &mut self,
        key: Key,
        result: Result<(), Discard>,
        windows: &mut Windows,
    ) -> Result<(), Fault> {
        let name = |key: Key| format!("SEQ {} of {}", key.seq, key.src);
        let known = windows.lookup(key);
        match (result, known) {
            (Err(Discard::SeqJump), Known::New) if windows.is_jump(key) => {
                self.counts.shut_out += 1;
                Ok(())
            }
            // A copy of one that was not taken.
            (Err(Discard::Duplicate), Known::New) if windows.is_jump(key) => Ok(()),
            (Err(Discard::SeqJump), _) => Err(("refused", format!("{} is no jump", name(key)))),
            (Err(Discard::Replay), Known::New) => Err(("refused", format!("{} is no replay", name(key)))),
            (Err(Discard::Replay | Discard::ReplayTableFull), _) => {
                self.counts.shut_out += 1;
                Ok(())
            }
            (_, Known::New) => {
                self.counts.taken += 1;
                windows.take(key);
                Ok(())
            }
            // A copy, of no use but for its TTL.
            (Err(Discard::Duplicate), Known::Taken | Known::Kept) => {
                self.counts.known += 1;
                Ok(())
            }
            _ => Err(("replay", format!("{} came to {result:?}, and is {known:?}", name(key)))),
        }
    }

    fn check_snapshot(&mut self, snapshot: &NodeSnapshot, history: &mut NodeHistory) -> Result<(), Fault> {
        let tables = [
            ("outbox", snapshot.outbox),
            ("queue", snapshot.queue),
            ("sources", snapshot.sources),
            ("neighbours", snapshot.neighbours),
            ("paths", snapshot.paths),
            ("routes", snapshot.routes),
        ];
        if let Some((name, (used, room))) = tables.into_iter().find(|(_, (used, room))| used > room) {
            return Err(("bounds", format!("its table of {name} holds {used} and has room for {room}")));
        }
        let held = self.messages.open(snapshot.address);
        if held != snapshot.outbox.0 {
            let text = format!(
                "it has taken {held} messages that it has not spoken of, and holds {}",
                snapshot.outbox.0
            );
            return Err(("accounted", text));
        }
        if snapshot.conflict && !self.allowed.contested(snapshot.address) {
            return Err(("conflict", "it thinks that another node has its address".into()));
        }
        if snapshot.epoch < history.epoch || snapshot.next_seq < history.next_seq {
            let (epoch, seq) = (snapshot.epoch, snapshot.next_seq);
            return Err(("backwards", format!("it went back to epoch {epoch}, SEQ {seq}")));
        }
        (history.epoch, history.next_seq) = (snapshot.epoch, snapshot.next_seq);
        // A node whose address is contested may go on beyond what it has reserved, once that is reserved too.
        let waits = !snapshot.can_seal
            && snapshot.next_seq > snapshot.reserved
            && self.allowed.moved(snapshot.address);
        if snapshot.next_seq > snapshot.reserved && !waits {
            let text = format!(
                "it goes on at SEQ {}, and flash has those below {}",
                snapshot.next_seq, snapshot.reserved
            );
            return Err(("reservation", text));
        }
        Ok(())
    }
}

impl<S: Watched> Observer<S> for Invariants {
    fn transmitted(&mut self, now: Instant, from: StationId, frame: &[u8]) {
        if from.0 >= self.nodes && !self.members.is_empty() && self.first.is_none() {
            let forged = self.frames.betrayed(now, from.0, &self.members, frame);
            forged.into_iter().for_each(|forged| self.allowed.forged(forged));
        }
    }

    fn received(&mut self, _now: Instant, reception: &Reception<'_>) {
        let to = reception.to.0;
        if to < self.nodes && self.first.is_none() {
            self.current = Some((to, self.frames.look_up(reception.frame)));
        }
    }

    fn ran(&mut self, now: Instant, id: StationId, station: &mut S) {
        let Some(device) = station.device() else { return };
        let events = device.trace_events();
        if self.first.is_some() {
            return;
        }
        self.counts.runs += 1;
        let snapshot = device.snapshot(now);
        if let Err((rule, what)) = self.check(now, id.0, &snapshot, events) {
            self.first = Some(Violation { at: now, node: id.0, rule, what });
        }
    }
}

/// Bytes of the head of a whole message: its number as postcard's varint, and a zero.
fn head_len(id: MessageId) -> usize {
    let bits = (32 - id.0.leading_zeros()).max(1) as usize;
    bits.div_ceil(7) + 1
}

/// `relay_copies` in `docs/protocol.md`.
const fn relay_copies(alive: usize) -> u8 {
    match alive {
        0..=2 => 3,
        3..=5 => 2,
        _ => 1,
    }
}
