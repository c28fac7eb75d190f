//! Frames out: which goes next on which link, and the sealing of own ones.

use heapless::Vec;

use super::{Node, OwnControl, Transmit};
use crate::air_queue::{LinkSet, Piece, Waiting, Whose, link_bit};
use crate::control::{CONTROL_MAX, Control};
use crate::crypto::Mic;
use crate::frame::{Frame, Kind, encode, overhead};
use crate::outbox::{NextSegment, SINGLE_MAX};
use crate::seen::FrameKey;
use crate::{Address, Discard, Duration, Instant, LEGACY_FRAME, LinkId, MAX_FRAME, Priority};

/// Jitter of repeats: an advDelay's worth, so that nodes which sent together do not repeat together.
const REPEAT_JITTER: Duration = Duration::from_millis(10);

/// Which way a frame goes from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Every node in range may pass it on.
    Flood,
    /// It is for nodes in range, and nobody passes it on.
    Direct,
    /// This neighbour alone passes it on.
    Over(Address),
}

/// What an own frame is made of.
#[derive(Clone, Copy)]
enum Own {
    Control(usize),
    Segment(NextSegment),
}

/// What further copies of an own frame have to know of it.
#[derive(Clone, Copy)]
struct Rest {
    class: Priority,
    seq: u32,
    ttl: u8,
    copies: u8,
    piece: Option<Piece>,
    links: LinkSet,
}

every_size!(
    /// Frames out.
    impl Node {
        /// The next frame to hand to a link, written to `out`.
        #[must_use]
        pub fn poll_transmit(&mut self, now: Instant, out: &mut [u8; MAX_FRAME]) -> Option<Transmit> {
            for at in 0..self.links.len() {
                let link = self.links[at];
                if link.free_at > now {
                    continue;
                }
                let ready = self.classes(now, link.id);
                let Some(class) = link.shares.pick(ready) else { continue };
                let waiting = self.classes(Instant::MAX, link.id);
                if let Some(len) = self.next_frame(now, link.id, class, out) {
                    self.links[at].free_at = now + link.info.min_gap;
                    self.links[at].shares.served(class, waiting);
                    self.stats.frames_sent += 1;
                    return Some(Transmit { link: link.id, len, copies: 1 });
                }
            }
            None
        }

        /// Which classes have a frame for `link` that is due by `now`.
        fn classes(&self, now: Instant, link: LinkId) -> [bool; 4] {
            let (own, queued) = (self.own_ready(now, link), self.queue.ready(now, link));
            core::array::from_fn(|class| queued[class] || own[class])
        }

        fn next_frame(
            &mut self,
            now: Instant,
            link: LinkId,
            class: Priority,
            out: &mut [u8; MAX_FRAME],
        ) -> Option<usize> {
            // Own frames and relays of one class take turns; a repeat lets everything that is new go before it.
            let only_repeats = self.queue.pick(now, link, class).is_none_or(|at| self.queue.is_repeat(at));
            let own_first = self.own_ready(now, link)[class as usize] && (self.own_turn || only_repeats);
            let len = if own_first {
                self.send_own(now, link, class, out)
            } else {
                self.send_waiting(now, link, class, out)
            };
            if len.is_some() {
                self.own_turn = !own_first;
            }
            len
        }

        fn own_ready(&self, now: Instant, link: LinkId) -> [bool; 4] {
            if !self.can_seal() {
                return [false; 4];
            }
            let mut ready = self.outbox.ready(now, self.takes(link));
            for own in self.controls.iter().filter(|own| self.wire_of(own).is_none_or(|wire| wire == link)) {
                ready[own.priority as usize] = true;
            }
            ready
        }

        fn send_waiting(
            &mut self,
            now: Instant,
            link: LinkId,
            class: Priority,
            out: &mut [u8; MAX_FRAME],
        ) -> Option<usize> {
            let at = self.queue.pick(now, link, class)?;
            let jitter = self.rng.jitter(REPEAT_JITTER);
            let (len, relayed, repeat) = self.queue.send(now, link, at, jitter, |frame| {
                out[..frame.bytes.len()].copy_from_slice(frame.bytes);
                (frame.bytes.len(), frame.relayed, frame.repeat)
            });
            self.stats.frames_relayed += u64::from(relayed);
            self.stats.repeats_sent += u64::from(repeat);
            Some(len)
        }

        /// Seals an own frame: only now, when it leaves, does it take its SEQ.
        fn send_own(
            &mut self,
            now: Instant,
            link: LinkId,
            class: Priority,
            out: &mut [u8; MAX_FRAME],
        ) -> Option<usize> {
            let own = self
                .controls
                .iter()
                .position(|own| own.priority == class && self.wire_of(own).is_none_or(|wire| wire == link))
                .map(Own::Control)
                .or_else(|| self.outbox.pick(now, class, self.takes(link)).map(Own::Segment))?;
            let mut body = [0; SINGLE_MAX];
            let mut piece = None;
            let wire;
            let (len, kind, mic, dst, way) = match own {
                Own::Control(at) => {
                    let own = self.controls.iter().nth(at)?;
                    wire = self.wire_of(own);
                    let OwnControl { destination, control, again, .. } = *own;
                    let mut bytes = [0; CONTROL_MAX];
                    let len = control.write(&mut bytes);
                    body[..len].copy_from_slice(&bytes[..len]);
                    let way = match control {
                        // A hello is for those who hear it, and no one else.
                        Control::Hello { .. } => Way::Direct,
                        Control::Ack(_) | Control::Receipt { .. } if !again => {
                            self.way(now, destination, class)
                        }
                        _ => Way::Flood,
                    };
                    (len, Kind::Control, Mic::Long, destination, way)
                }
                Own::Segment(next) => {
                    let (len, single, delivery) = self.outbox.body(next, &mut body)?;
                    let kind = if single { Kind::Single } else { Kind::Segment };
                    let to = delivery.destination;
                    // Many do not say what they hold.
                    piece = to.is_node().then(|| Piece::new(delivery.id, next.index));
                    let again = self.outbox.again(next);
                    wire = self.wire(to, class, again);
                    let way = if again { Way::Flood } else { self.way(now, to, class) };
                    (len, kind, Mic::Short, to, way)
                }
            };
            // What does not fit with a next hop is flooded: an ack, a segment of a message that began without a route.
            let way = match way {
                Way::Over(_) if overhead(true, mic) + len > LEGACY_FRAME => Way::Flood,
                way => way,
            };
            let ttl = if way == Way::Direct { 1 } else { self.ttl };
            let seq = self.seq.take().ok()?;
            let frame = Frame {
                ttl,
                ttl0: ttl,
                seq,
                src: self.address,
                dst,
                next: if let Way::Over(next) = way { Some(next) } else { None },
                priority: class,
                kind,
                mic,
                body: &body[..len],
            };
            // Every field is in range by construction; a frame that could not be encoded is not sent.
            let sealed = encode(&frame, self.keys.current(), out).ok()?;
            match own {
                Own::Control(at) => self.forget_control(at),
                Own::Segment(next) => {
                    let attempts = self.outbox.attempts(next);
                    let timeout = self.paths.timeout(dst, class, self.ttl, attempts);
                    self.stats.retransmissions +=
                        u64::from(self.outbox.sent(now, next, timeout, way != Way::Direct));
                }
            }
            let copies = match (way, own) {
                // It measures what arrives.
                (Way::Direct, Own::Control(_)) if dst == Address::EVERYONE => 1,
                _ => self.copies(now, way, dst, class),
            };
            let links = wire.map_or_else(|| self.links_for(sealed), link_bit);
            let rest = Rest { class, seq, ttl, copies, piece, links };
            self.keep_rest(now, link, rest, &out[..sealed]);
            Some(sealed)
        }

        /// The connection that what is for `to` goes over, and over nothing else: to a neighbour at its other end, the first time.
        fn wire(&self, to: Address, class: Priority, again: bool) -> Option<LinkId> {
            // Most nodes have one link, and need not look.
            let may = self.links.len() > 1 && !again && class != Priority::Critical;
            let wire = if may { self.neighbours.wire(to) } else { None };
            wire.filter(|_| self.routes.next_hop(to).is_none())
        }

        /// As [`Self::wire`], of something in the queue of own controls.
        fn wire_of(&self, own: &OwnControl) -> Option<LinkId> {
            match own.control {
                Control::Ack(_) | Control::Receipt { .. } => {
                    self.wire(own.destination, own.priority, own.again)
                }
                _ => None,
            }
        }

        /// When the next own frame for `link` is due.
        pub(super) fn next_own(&self, link: LinkId) -> Option<Instant> {
            if !self.can_seal() {
                return None;
            }
            if self.controls.iter().any(|own| self.wire_of(own).is_none_or(|wire| wire == link)) {
                return Some(Instant::ZERO);
            }
            self.outbox.next_send(self.takes(link))
        }

        /// Whether `link` is one for what is to a node, of a class, said again or not.
        fn takes(&self, link: LinkId) -> impl Fn(Address, Priority, bool) -> bool + '_ {
            move |to, class, again| self.wire(to, class, again).is_none_or(|wire| wire == link)
        }

        /// Which way what is for `to` goes the first time it is said; the second time it takes every way, as the urgent do at
        /// once. A neighbour that hears this node well needs no one to pass it on.
        fn way(&self, now: Instant, to: Address, class: Priority) -> Way {
            if class == Priority::Critical {
                return Way::Flood;
            }
            match self.next_hop(now, to) {
                Some(next) if next == to => Way::Direct,
                Some(next) => Way::Over(next),
                None if self.hears_well(now, to) => Way::Direct,
                None => Way::Flood,
            }
        }

        /// How often to send a frame that is this node's own, or that this node alone was asked to pass on.
        pub(super) fn copies(&self, now: Instant, way: Way, to: Address, class: Priority) -> u8 {
            match way {
                Way::Flood => own_copies(self.neighbours.alive(now), class),
                Way::Direct => copies_to_one(self.hears_well(now, to), true, class),
                Way::Over(next) => copies_to_one(self.hears_well(now, next), false, class),
            }
        }

        pub(super) fn hears_well(&self, now: Instant, to: Address) -> bool {
            self.neighbours.hears_well(now, to, self.hello_count)
        }

        /// Keeps what is left to do of a frame that `link` is about to have: other links, further copies.
        fn keep_rest(&mut self, now: Instant, link: LinkId, rest: Rest, sealed: &[u8]) {
            let Ok(bytes) = Vec::from_slice(sealed) else {
                return;
            };
            let waiting = Waiting {
                key: FrameKey { src: self.address, epoch: self.epoch(), seq: rest.seq },
                bytes,
                priority: rest.class,
                ttl: rest.ttl,
                whose: Whose::Own,
                piece: rest.piece,
                due: now,
                links: rest.links,
                once: self.lossless(),
                copies: rest.copies,
            };
            let jitter = self.rng.jitter(REPEAT_JITTER);
            if self.queue.push_rest(now, link, jitter, waiting) {
                self.stats.count(Discard::QueueFull);
            }
        }
    }
);

/// How often to send an own frame that all pass on: nobody else can do it, so the urgent go once or twice more than a relay
/// would send them. The third copy of CRITICAL takes its 99th percentile down by a tenth
/// (`mesh-sim run scenarios/bulk.toml`).
const fn own_copies(alive: usize, priority: Priority) -> u8 {
    match alive {
        0..=5 => 3,
        _ => match priority {
            Priority::Critical => 3,
            Priority::High => 2,
            _ => 1,
        },
    }
}

/// How often to send a frame that one neighbour takes or passes on, and nobody else: as often as to few neighbours, unless it
/// is known to hear well. `last`: it is for that neighbour itself.
///
/// HIGH goes twice even then, or its 99th percentile rises by half where frames are lost
/// (`mesh-sim run scenarios/office.toml`); and so does what has further hops before it, as the losses of all hops add up
/// before the sender notices.
const fn copies_to_one(hears_well: bool, last: bool, priority: Priority) -> u8 {
    match (hears_well, last, priority.suppressible()) {
        (true, true, true) => 1,
        (true, ..) => 2,
        (false, ..) => 3,
    }
}
