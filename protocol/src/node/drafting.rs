//! Own frames before they are sealed: which is next, what it is made of, and by whom it goes on.

use super::Node;
use super::forwarding::Egress;
use super::relay::DENSE;
use crate::air_queue::{Custody, Piece};
use crate::control::{CONTROL_MAX, Control};
use crate::control_queue::OwnControl;
use crate::crypto::Mic;
use crate::feedback::Feedback;
use crate::frame::{Kind, overhead};
use crate::outbox::{Delivery, Form, NextSegment, SINGLE_MAX};
use crate::{Address, Duration, Instant, LEGACY_FRAME, LinkId, MessageId, Priority};

/// A long block without a route looks for one so often while one is searched for.
const HELD_FOR: Duration = Duration::from_millis(50);

/// What an own frame is made of.
#[derive(Clone, Copy)]
pub(super) enum Own {
    Control(usize),
    Segment(NextSegment),
}

/// What frame an own one becomes.
#[derive(Clone, Copy)]
pub(super) enum OwnForm {
    Control,
    Of(Form),
}

/// An own frame before it has a SEQ.
pub(super) struct Draft {
    /// Bytes of its body.
    pub(super) len: usize,
    pub(super) form: OwnForm,
    pub(super) destination: Address,
    pub(super) egress: Egress,
    /// The connection that it goes over, and over nothing else.
    pub(super) wire: Option<LinkId>,
    pub(super) piece: Option<Piece>,
    /// The own message that it is of, and whether this has been on the air before.
    pub(super) message: Option<(MessageId, bool)>,
}

every_size!(
    /// Own frames before they are sealed.
    impl Node {
        /// By whom an own segment goes on now. The first of a block in continuation frames says so for the others; when there is no
        /// such neighbour any more, the block is cut anew.
        ///
        /// `None`: not yet. A long block waits for a route while one is searched for.
        pub(super) fn way(&mut self, now: Instant, next: &mut NextSegment) -> Option<Egress> {
            let Delivery { id, destination: to, priority, .. } = self.outbox.delivery(*next)?;
            let by_egress = self.egress(now, to, priority);
            let long = self.outbox.is_long(*next) && to.is_node() && priority != Priority::Critical;
            if long && by_egress == Egress::Flood {
                self.wants_route(now, to, true);
                if self.neighbours.alive(now) >= DENSE && self.discovery.searches(to) {
                    self.outbox.hold(*next, now + HELD_FOR);
                    return None;
                }
            }
            let continued = self.outbox.continued_by(*next);
            let is_lost = continued.is_some() && next.index == 0 && by_egress == Egress::Flood;
            let for_all = self.cut_for_all();
            let cut = match self.outbox.wants_cut(*next, for_all) {
                // Long ones that came back were too long for somebody on the way.
                Some(false) => Some(self.cut(now, to, priority, true)),
                // It was cut before there was a route.
                None if long && by_egress != Egress::Flood && self.outbox.is_unsent_for_all(*next) => {
                    Some(self.cut(now, to, priority, self.outbox.goes_to(id)?.2))
                }
                None if !is_lost => None,
                _ => Some(for_all),
            };
            if let Some(cut) = cut {
                self.queue.forget(id);
                *next = self.outbox.cut_anew(*next, cut);
            }
            // What has got no answer is flooded: whatever is wrong on the way, another may be whole. What an answer says is missing goes
            // the same way as before; and all does in busy air, which floods would only make busier.
            let unanswered =
                self.outbox.again(*next) && self.outbox.is_unanswered(*next) && !self.budget.is_busy(now);
            Some(match self.outbox.continued_by(*next) {
                None if unanswered || cut == Some(for_all) => Egress::Flood,
                None => by_egress,
                Some(via) if next.index > 0 && via == to => Egress::Direct,
                Some(via) if next.index > 0 => Egress::Over(via),
                Some(_) => {
                    self.outbox.continue_by(*next, if let Egress::Over(by) = by_egress { by } else { to });
                    by_egress
                }
            })
        }

        pub(super) fn custody_of(
            &self,
            egress: Egress,
            dst: Address,
            form: OwnForm,
            class: Priority,
        ) -> Custody {
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
        pub(super) fn pick_own(&self, now: Instant, link: LinkId, class: Priority) -> Option<Own> {
            let goes_here = |own: &OwnControl| self.wire_of(own).is_none_or(|wire| wire == link);
            self.controls
                .position(|own| own.priority == class && goes_here(own))
                .map(Own::Control)
                .or_else(|| self.outbox.pick(now, class, self.takes(link)).map(Own::Segment))
        }

        pub(super) fn draft_control(
            &self,
            now: Instant,
            at: usize,
            body: &mut [u8; SINGLE_MAX],
        ) -> Option<Draft> {
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
                    if destination.is_node() && (!again || self.budget.is_busy(now)) =>
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

        pub(super) fn draft_segment(
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
    }
);

/// What does not fit a legacy frame with a next hop is flooded: an ack, a segment of a message that began without a route. A long frame
/// has room for one.
const fn with_room_for_next(egress: Egress, mic: Mic, len: usize) -> Egress {
    let is_long = overhead(false, mic) + len > LEGACY_FRAME;
    match egress {
        Egress::Over(_) if !is_long && overhead(true, mic) + len > LEGACY_FRAME => Egress::Flood,
        egress => egress,
    }
}
