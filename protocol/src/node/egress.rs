//! Frames out: which goes next on which link, and the sealing of own ones, which `drafting` makes.

use heapless::Vec;

use super::continued::ROUND;
use super::custody::says_itself_again;
use super::drafting::{Draft, Own, OwnForm};
use super::forwarding::Egress;
use super::links::Link;
use super::relay::relay_copies;
use super::{Node, Transmit};
use crate::air_queue::{Custody, LinkSet, Piece, Waiting, Whose, link_bit};
use crate::continuation::{self, Continuation};
use crate::control::{ROUTE_BROKEN, ROUTE_REQUEST};
use crate::crypto::Mic;
use crate::frame::{Frame, Kind, encode};
use crate::outbox::{Form, SINGLE_MAX};
use crate::seen::FrameKey;
use crate::steps::Step;
use crate::{Address, Discard, Duration, Instant, LinkId, MAX_FRAME, PerClass, Priority};

/// Jitter of repeats: an advDelay's worth, so that nodes which sent together do not repeat together.
const REPEAT_JITTER: Duration = Duration::from_millis(10);

/// What further copies of an own frame have to know of it.
#[derive(Clone, Copy)]
struct Rest {
    class: Priority,
    seq: u32,
    ttl: u8,
    copies: u8,
    piece: Option<Piece>,
    links: LinkSet,
    custody: Custody,
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
                let opens = self.opens(&link);
                let ready = PerClass::from_fn(|class| opens[class].is_some_and(|at| at <= now));
                let Some(class) = link.shares.pick(ready) else { continue };
                let waiting = PerClass::from_fn(|class| opens[class].is_some());
                if let Some(len) = self.next_frame(now, link.id, class, out) {
                    self.links[at].free_at = now + link.info.min_gap;
                    self.links[at].shares.served(class, waiting);
                    self.stats.frames_sent += 1;
                    if link.info.lossy {
                        self.budget.on_air(now);
                        if class != Priority::Critical {
                            self.stats.frames_paced += u64::from(self.budget.sent(now));
                        }
                    }
                    return Some(Transmit { link: link.id, len });
                }
            }
            None
        }

        /// When each class has its next frame for `link` due, whatever holds it back.
        fn due(&self, link: LinkId) -> PerClass<Option<Instant>> {
            let (own, queued) = (self.own_due(link), self.queue.due(link));
            PerClass::from_fn(|class| own[class].into_iter().chain(queued[class]).min())
        }

        /// When each class may have its next frame on a link. What is below CRITICAL holds back when the budget says so, unless
        /// it has waited for its share long enough.
        fn opens(&self, link: &Link) -> PerClass<Option<Instant>> {
            let due = self.due(link.id);
            let (silence, pauses) = (self.budget.silent_until(), self.budget.paused_until());
            PerClass::from_fn(|class| {
                // On a connection nothing collides.
                if class == Priority::Critical || !link.info.lossy {
                    return due[class];
                }
                let opens = if link.shares.is_starved(class) { pauses } else { silence.max(pauses) };
                due[class].map(|due| due.max(opens))
            })
        }

        /// When a link can have its next frame.
        pub(super) fn next_on(&self, link: &Link) -> Option<Instant> {
            let next = self.opens(link).into_values().into_iter().flatten().min()?;
            Some(next.max(link.free_at))
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
            let own = self.own_due(link)[class].is_some_and(|due| due <= now);
            let own_first = own && (self.own_turn || only_repeats);
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

        /// When each class has its next own frame for `link`.
        fn own_due(&self, link: LinkId) -> PerClass<Option<Instant>> {
            if !self.can_seal() {
                return PerClass::all(None);
            }
            let mut due = self.outbox.due(self.takes(link));
            for own in self.controls.iter().filter(|own| self.wire_of(own).is_none_or(|wire| wire == link)) {
                due[own.priority] = Some(Instant::ZERO);
            }
            due
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
            let pause =
                self.queue.custody(at).map_or(jitter, |(custody, tries)| self.hop_wait(now, custody, tries));
            let (len, relayed, repeat) = self.queue.send(now, link, at, pause, |frame| {
                out[..frame.bytes.len()].copy_from_slice(frame.bytes);
                (frame.bytes.len(), frame.relayed, frame.repeat)
            });
            self.stats.frames_relayed += u64::from(relayed);
            self.stats.repeats_sent += u64::from(repeat);
            Some(len)
        }

        /// Seals an own frame: only now, when it leaves, does it take its SEQ. Were it sealed when it was queued, the
        /// urgent ones that overtake it could push it out of its receivers' replay windows, and one that is given up
        /// would have used a number for nothing.
        fn send_own(
            &mut self,
            now: Instant,
            link: LinkId,
            class: Priority,
            out: &mut [u8; MAX_FRAME],
        ) -> Option<usize> {
            let mut own = self.pick_own(now, link, class)?;
            let mut way = Egress::Flood;
            if let Own::Segment(next) = &mut own {
                way = self.way(now, next)?;
            }
            let mut body = [0; SINGLE_MAX];
            let draft = match own {
                Own::Control(at) => self.draft_control(now, at, &mut body)?,
                Own::Segment(next) => self.draft_segment(next, way, &mut body)?,
            };
            let Draft { destination: dst, egress, .. } = draft;
            // Last of all that can fail but the sealing itself: a number that was taken and not sent is lost.
            let seq = self.seq.take().ok()?;
            let (sealed, ttl) = self.seal(seq, class, &draft, &body[..draft.len], out)?;
            if class == Priority::Critical {
                self.stats.silences += u64::from(self.budget.urgent(now));
            }
            let is_search =
                matches!(draft.form, OwnForm::Control) && matches!(body[0], ROUTE_REQUEST | ROUTE_BROKEN);
            self.want_route_for(now, &draft, class);
            match own {
                Own::Control(at) => self.controls.remove(at),
                Own::Segment(next) => {
                    let attempts = self.outbox.attempts(next);
                    // In busy air every node on the way pauses as this one does. What is CRITICAL does not.
                    let pauses = if class == Priority::Critical { 0 } else { 4 };
                    let quiet = self.paths.timeout(dst, class, self.ttl, attempts);
                    let slowed =
                        if class == Priority::Critical { quiet } else { self.budget.slowed(now, quiet) };
                    let timeout = slowed + self.budget.pause().times(pauses);
                    // What one neighbour takes is paced by its taking it.
                    let paced = egress == Egress::Flood;
                    self.stats.retransmissions += u64::from(self.outbox.sent(now, next, seq, timeout, paced));
                }
            }
            if let Some((id, again)) = draft.message {
                self.steps.push(id, step(egress, dst, again));
            }
            let copies = match (egress, own) {
                // A hello measures what share of single frames arrives: a second copy would make every link look better.
                (Egress::Direct, Own::Control(_)) if is_search => relay_copies(self.neighbours.alive(now)),
                (Egress::Direct, Own::Control(_)) if dst == Address::EVERYONE => 1,
                // All around can pass it on, and who misses it asks.
                _ if dst.is_many() && matches!(draft.form, OwnForm::Of(Form::Segment)) => {
                    self.copies(now, egress, dst, class.max(Priority::Medium))
                }
                _ => self.copies(now, egress, dst, class),
            };
            let links = draft.wire.map_or_else(|| self.links_for(sealed), link_bit);
            if let (Own::Segment(_), Some(piece)) = (own, draft.piece) {
                self.queue.drop_piece(piece);
            }
            if let Own::Control(_) = own
                && egress == Egress::Direct
            {
                self.hop_acks.answered(dst);
            }
            let custody = match draft.wire {
                Some(_) => Custody::NONE,
                None if matches!(own, Own::Control(_)) && says_itself_again(Kind::Control, &body) => {
                    Custody::NONE
                }
                None => self.custody_of(egress, dst, draft.form, class),
            };
            let rest = Rest { class, seq, ttl, copies, piece: draft.piece, links, custody };
            self.keep_rest(now, link, rest, &out[..sealed]);
            Some(sealed)
        }

        /// What has to be flooded for want of a route is a reason to search for one, if more is to come.
        fn want_route_for(&mut self, now: Instant, draft: &Draft, class: Priority) {
            if !draft.destination.is_node() || class == Priority::Critical {
                return;
            }
            if !matches!(draft.form, OwnForm::Control) {
                self.discovery.speaks(now);
            }
            if draft.egress == Egress::Flood && self.next_hop(now, draft.destination).is_none() {
                self.wants_route(
                    now,
                    draft.destination,
                    !matches!(draft.form, OwnForm::Control | OwnForm::Of(Form::Single)),
                );
            }
        }

        /// Seals an own frame; returns its length and TTL. Every field is in range by construction; a frame that could not be encoded
        /// is not sent.
        fn seal(
            &self,
            seq: u32,
            class: Priority,
            draft: &Draft,
            body: &[u8],
            out: &mut [u8; MAX_FRAME],
        ) -> Option<(usize, u8)> {
            let (src, keys) = (self.address, self.keys.current());
            let (kind, mic) = match draft.form {
                OwnForm::Control => (Kind::Control, Mic::Long),
                OwnForm::Of(Form::Single) => (Kind::Single, Mic::Short),
                OwnForm::Of(Form::Segment) => (Kind::Segment, Mic::Short),
                OwnForm::Of(Form::Continuation(transfer, offset)) => {
                    let frame = Continuation { hop: 0, seq, src, transfer, offset, data: body };
                    return Some((continuation::encode(&frame, keys, out).ok()?, ROUND));
                }
            };
            let ttl = if draft.egress == Egress::Direct { 1 } else { self.ttl };
            let next = if let Egress::Over(next) = draft.egress { Some(next) } else { None };
            let frame = Frame {
                ttl,
                ttl0: ttl,
                seq,
                src,
                dst: draft.destination,
                next,
                priority: class,
                kind,
                mic,
                body,
            };
            Some((encode(&frame, keys, out).ok()?, ttl))
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
                custody: rest.custody,
            };
            let jitter = self.rng.jitter(REPEAT_JITTER);
            let pause =
                if rest.custody == Custody::NONE { jitter } else { self.hop_wait(now, rest.custody, 0) };
            match self.queue.push_rest(now, link, pause, waiting) {
                Ok(None) => {}
                Ok(Some(gone)) => self.gave_way(gone),
                Err(_) => self.stats.count(Discard::QueueFull),
            }
        }
    }
);

const fn step(egress: Egress, dst: Address, again: bool) -> Step {
    match (egress, again) {
        (Egress::Flood, false) => Step::Flooded,
        (Egress::Flood, true) => Step::FloodedAgain,
        (Egress::Direct, false) => Step::SentTo(dst),
        (Egress::Direct, true) => Step::SentAgain(dst),
        (Egress::Over(next), false) => Step::SentTo(next),
        (Egress::Over(next), true) => Step::SentAgain(next),
    }
}
