//! Frames out: which goes next on which link, and the sealing of own ones.

use heapless::Vec;

use super::continued::ROUND;
use super::forwarding::Egress;
use super::links::Link;
use super::relay::relay_copies;
use super::{Node, Transmit};
use crate::air_queue::{Custody, LinkSet, Piece, Waiting, Whose, link_bit};
use crate::continuation::{self, Continuation};
use crate::control::{CONTROL_MAX, Control, ROUTE_BROKEN, ROUTE_REQUEST};
use crate::control_queue::OwnControl;
use crate::crypto::Mic;
use crate::feedback::Feedback;
use crate::frame::{Frame, Kind, encode, overhead};
use crate::outbox::{Delivery, Form, NextSegment, SINGLE_MAX};
use crate::seen::FrameKey;
use crate::steps::Step;
use crate::{
    Address, Discard, Duration, Instant, LEGACY_FRAME, LinkId, MAX_FRAME, MessageId, PerClass, Priority,
};

/// Jitter of repeats: an advDelay's worth, so that nodes which sent together do not repeat together.
const REPEAT_JITTER: Duration = Duration::from_millis(10);

/// What an own frame is made of.
#[derive(Clone, Copy)]
enum Own {
    Control(usize),
    Segment(NextSegment),
}

/// What frame an own one becomes.
#[derive(Clone, Copy)]
enum OwnForm {
    Control,
    Of(Form),
}

/// An own frame before it has a SEQ.
struct Draft {
    /// Bytes of its body.
    len: usize,
    form: OwnForm,
    destination: Address,
    egress: Egress,
    /// The connection that it goes over, and over nothing else.
    wire: Option<LinkId>,
    piece: Option<Piece>,
    /// The own message that it is of, and whether this has been on the air before.
    message: Option<(MessageId, bool)>,
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
                self.queue.custody(at).map_or(jitter, |(custody, tries)| self.hop_wait(custody, tries));
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
                way = self.way(now, next);
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
            self.wishes(now, &draft, class);
            match own {
                Own::Control(at) => self.controls.remove(at),
                Own::Segment(next) => {
                    let attempts = self.outbox.attempts(next);
                    // In busy air every node on the way pauses as this one does. What is CRITICAL does not.
                    let pauses = if class == Priority::Critical { 0 } else { 4 };
                    let timeout = self.paths.timeout(dst, class, self.ttl, attempts)
                        + self.budget.pause().times(pauses);
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
                None => self.custody_of(egress, dst, draft.form, class),
            };
            let rest = Rest { class, seq, ttl, copies, piece: draft.piece, links, custody };
            self.keep_rest(now, link, rest, &out[..sealed]);
            Some(sealed)
        }

        /// What has to be flooded for want of a route is a reason to search for one, if more is to come.
        fn wishes(&mut self, now: Instant, draft: &Draft, class: Priority) {
            if !draft.destination.is_node() || class == Priority::Critical {
                return;
            }
            if !matches!(draft.form, OwnForm::Control) {
                self.discovery.speaks(now);
            }
            if draft.egress == Egress::Flood && self.next_hop(now, draft.destination).is_none() {
                self.wishes_route(
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

        /// By whom an own segment goes on now. The first of a block in continuation frames says so for the others; when there is no
        /// such neighbour any more, the block is cut anew.
        fn way(&mut self, now: Instant, next: &mut NextSegment) -> Egress {
            let Some(Delivery { id, destination: to, priority, .. }) = self.outbox.delivery(*next) else {
                return Egress::Flood;
            };
            let by_egress = self.egress(now, to, priority);
            let continued = self.outbox.continued_by(*next);
            let is_lost = continued.is_some() && next.index == 0 && by_egress == Egress::Flood;
            let for_all = self.cut_for_all();
            let cut = match self.outbox.wants_cut(*next, for_all) {
                // Long ones that came back were too long for somebody on the way.
                Some(false) => Some(self.cut(now, to, priority, true)),
                None if !is_lost => None,
                _ => Some(for_all),
            };
            if let Some(cut) = cut {
                self.queue.forget(id);
                *next = self.outbox.cut_anew(*next, cut);
            }
            // What has got no answer is flooded: whatever is wrong on the way, another may be whole. What an answer says is missing goes
            // the same way as before.
            let unanswered = self.outbox.again(*next) && self.outbox.is_unanswered(*next);
            match self.outbox.continued_by(*next) {
                None if unanswered || cut == Some(for_all) => Egress::Flood,
                None => by_egress,
                Some(via) if next.index > 0 && via == to => Egress::Direct,
                Some(via) if next.index > 0 => Egress::Over(via),
                Some(_) => {
                    self.outbox.continue_by(*next, if let Egress::Over(by) = by_egress { by } else { to });
                    by_egress
                }
            }
        }

        fn custody_of(&self, egress: Egress, dst: Address, form: OwnForm, class: Priority) -> Custody {
            let kind = match form {
                OwnForm::Control => Kind::Control,
                OwnForm::Of(Form::Single) => Kind::Single,
                OwnForm::Of(Form::Segment | Form::Continuation(..)) => Kind::Segment,
            };
            let custody = self.custody(egress, dst, kind, class);
            match form {
                // It names nobody, and means something only to whom its first segment was handed.
                OwnForm::Of(Form::Continuation(..)) => Custody { named: false, ..custody },
                _ => custody,
            }
        }

        /// Control messages go before segments of their class: an ack or a receipt that waits makes its receiver send again
        /// what is here, which costs more air than it does.
        fn pick_own(&self, now: Instant, link: LinkId, class: Priority) -> Option<Own> {
            let goes_here = |own: &OwnControl| self.wire_of(own).is_none_or(|wire| wire == link);
            self.controls
                .position(|own| own.priority == class && goes_here(own))
                .map(Own::Control)
                .or_else(|| self.outbox.pick(now, class, self.takes(link)).map(Own::Segment))
        }

        fn draft_control(&self, now: Instant, at: usize, body: &mut [u8; SINGLE_MAX]) -> Option<Draft> {
            let own = self.controls.get(at)?;
            let OwnControl { destination, priority, control, again } = *own;
            let mut bytes = [0; CONTROL_MAX];
            let len = control.write(&mut bytes);
            body[..len].copy_from_slice(&bytes[..len]);
            let egress = match control {
                // These are for those who hear them, and no one else.
                Control::Hello { .. }
                | Control::HopAck(_)
                | Control::RouteRequest(_)
                | Control::RouteReply(_)
                | Control::Feedback(Feedback::Tally(_))
                | Control::RouteBroken { .. } => Egress::Direct,
                Control::Ack(_)
                | Control::Receipt { .. }
                | Control::Here(_)
                | Control::Undelivered { .. }
                | Control::Feedback(_)
                | Control::Probe(_)
                    if !again && destination.is_node() =>
                {
                    self.egress(now, destination, priority)
                }
                _ => Egress::Flood,
            };
            let egress = with_room_for_next(egress, Mic::Long, len);
            Some(Draft {
                len,
                form: OwnForm::Control,
                destination,
                egress,
                wire: self.wire_of(own),
                piece: None,
                message: None,
            })
        }

        fn draft_segment(
            &self,
            next: NextSegment,
            way: Egress,
            body: &mut [u8; SINGLE_MAX],
        ) -> Option<Draft> {
            let (len, form, delivery) = self.outbox.body(next, body)?;
            let Delivery { id, destination, priority, .. } = delivery;
            // A group or everyone does not say what it holds, so nothing ever makes such a copy needless.
            let piece = destination.is_node().then(|| Piece::new(id, next.index));
            let again = self.outbox.again(next);
            let egress = match form {
                Form::Continuation(..) => way,
                Form::Single | Form::Segment => with_room_for_next(way, Mic::Short, len),
            };
            let wire = self.wire(destination, priority, again);
            let message = Some((id, again));
            Some(Draft { len, form: OwnForm::Of(form), destination, egress, wire, piece, message })
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
            let pause = if rest.custody == Custody::NONE { jitter } else { self.hop_wait(rest.custody, 0) };
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

/// What does not fit a legacy frame with a next hop is flooded: an ack, a segment of a message that began without a route. A long frame
/// has room for one.
const fn with_room_for_next(egress: Egress, mic: Mic, len: usize) -> Egress {
    let is_long = overhead(false, mic) + len > LEGACY_FRAME;
    match egress {
        Egress::Over(_) if !is_long && overhead(true, mic) + len > LEGACY_FRAME => Egress::Flood,
        egress => egress,
    }
}
