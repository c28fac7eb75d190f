//! What a device reported while it ran, event by event.
//!
//! Owns which rule each event is held against. The rules themselves are in `frames`, `messages` and `order`; receptions, in `reception`.

use mesh_protocol::{Address, Instant, MessageId, Priority, SendOutcome};

use super::allowed::MEMBER_MAY_SEND_AS_ANYONE;
use super::findings::Fault;
use super::frames::Handed;
use super::messages::Showing;
use super::state::{Invariants, NodeHistory};
use super::windows::Windows;
use crate::{NodeSnapshot, TraceEvent};

/// Room for the body of a frame of one message: `SINGLE_MAX` in `docs/protocol.md`.
const SINGLE_MAX: usize = 13;
/// The same beside NEXT.
const ROUTED_SINGLE_MAX: usize = 11;

impl Invariants {
    pub(super) fn check_events(
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
            self.frames.unsettled(now, node);
        }
        // In busy air classes wait for more than their turn.
        let paced = std::mem::replace(&mut history.paced, snapshot.paced) || snapshot.paced;
        if paced {
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
                    self.handed(now, node, snapshot, &frame, sealing && !paced, history)?
                }
                TraceEvent::Accepted { delivery, bytes, by_route } => {
                    let (id, priority) = (delivery.id, delivery.priority);
                    self.messages.accepted(now, address, &delivery, &bytes, snapshot.durable)?;
                    // By what way a message to one node goes may be known only later.
                    let by_route = by_route || delivery.destination.is_node();
                    let by_route = by_route && priority != Priority::Critical;
                    let most = if by_route { ROUTED_SINGLE_MAX } else { SINGLE_MAX };
                    if head_len(id) + bytes.len() <= most {
                        history.order.accepted(priority, id);
                    }
                }
                TraceEvent::Refused(..) => {}
                TraceEvent::Shown { source, destination, id, priority, part, bytes } => {
                    let what = Showing { name: (source, id), destination, priority, part, bytes: &bytes };
                    self.shown(now, snapshot, &what)?;
                }
                TraceEvent::Delivered(source, id) => self.messages.delivered(address, (source, id))?,
                TraceEvent::Verdict(source, id, verdict) => {
                    self.messages.verdict(address, (source, id), verdict)
                }
                TraceEvent::Done(id, outcome) => {
                    history.order.done(id);
                    let done = self.messages.done(now, snapshot.clock, (address, id), outcome);
                    let done = done.or_else(|fault| {
                        // What a member says in its own name of what was sent to it, as of the rest, need not make sense.
                        let to = self.messages.destination((address, id));
                        let its_word = to.is_some_and(|to| self.members.contains(&to));
                        let answered = fault.0 == "receipt" && outcome != SendOutcome::Sent;
                        if answered && its_word { Ok(()) } else { Err(fault) }
                    });
                    self.allowed.reported((address, id), done)?;
                }
                TraceEvent::Jumped => {
                    self.frames.unsettled(now, node);
                    self.messages.jumped(address);
                }
                TraceEvent::Cut { in_write } => {
                    self.counts.cuts += 1;
                    self.frames.unsettled(now, node);
                    self.counts.broken_writes += u64::from(in_write);
                    self.messages.cut(address, snapshot.durable);
                    history.order.reset(true);
                }
                TraceEvent::Booted { seq, marks } => self.booted(now, address, seq, &marks, history)?,
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

    /// It handed a frame to its radio: one of its own, or one that it relays.
    fn handed(
        &mut self,
        now: Instant,
        node: u32,
        snapshot: &NodeSnapshot,
        frame: &[u8],
        sealing: bool,
        history: &mut NodeHistory,
    ) -> Result<(), Fault> {
        let address = snapshot.address;
        let handed = self.frames.handed(now, (node, history.boot), address, snapshot.reserved, frame)?;
        let Some(Handed { key, priority, single, forged }) = handed else { return Ok(()) };
        if forged && !self.allowed.excuses(&MEMBER_MAY_SEND_AS_ANYONE, "genuine") {
            return Err(("genuine", format!("it relayed what was forged of {}", key.src)));
        }
        if key.src != address && !snapshot.relays {
            return Err(("relays", "it relays, and was told not to".into()));
        }
        // A node that cannot seal has only the frames of others to choose from: then the order says nothing of its classes.
        if sealing {
            history.order.handed(priority)?;
        }
        single.into_iter().for_each(|id| history.order.done(id));
        Ok(())
    }

    /// It showed a message, or a part of one, to its application.
    fn shown(&mut self, now: Instant, snapshot: &NodeSnapshot, what: &Showing<'_>) -> Result<(), Fault> {
        // What members say in their own names need not make sense.
        if self.members.contains(&what.name.0) {
            return Ok(());
        }
        let (node, room) = (snapshot.address, snapshot.paths.1);
        let strange = what.destination.is_group() && !self.is_in(node, what.destination);
        let shown = if strange {
            Err((
                "sent",
                format!("it has message {} of {}, for a group that it is not in", what.name.1, what.name.0),
            ))
        } else {
            self.messages.shown(now, node, room, what)
        };
        // Excused or not, it takes a place among what the node remembers, and pushes out something genuine.
        if shown.is_err() {
            self.messages.shown_forged(now, node, room, what.name);
        }
        self.allowed.shown(what.name, shown)
    }

    /// Its power is back.
    fn booted(
        &mut self,
        now: Instant,
        address: Address,
        seq: u32,
        marks: &[(Address, u32, u32)],
        history: &mut NodeHistory,
    ) -> Result<(), Fault> {
        if seq < history.used_below {
            let before = history.used_below;
            return Err(("backwards", format!("it starts at SEQ {seq}, and had come to {before}")));
        }
        history.boot += 1;
        self.messages.booted(now, address);
        // RAM is gone, and with it every window: only what flash says is left.
        history.windows = Windows::restored(marks);
        history.honest = history.windows.clone();
        // It may begin behind SEQs that it had reserved and never used, and it may not begin before: that was checked above.
        history.next_seq = 0;
        Ok(())
    }
}

/// Bytes of the head of a whole message: its number as varint, and a zero.
fn head_len(id: MessageId) -> usize {
    let bits = (32 - id.0.leading_zeros()).max(1) as usize;
    bits.div_ceil(7) + 1
}
