//! What a device does once flash has what it needs: messages go to the node, others count as delivered, receipts are sent.
//!
//! Owns the order of these. Which number, mark or receipt waits for what is decided by the firmware (`mesh_firmware::posting`,
//! `mesh_firmware::intake`).

use mesh_firmware::flash_log;
use mesh_firmware::posting::Waiting;
use mesh_protocol::{Delivery, Instant, MessageId, Priority, SendOutcome, Verdict};

use super::Device;
use super::app::Delivered;
use super::flash::Change;
use super::trace_events::TraceEvent;

impl Device {
    pub(super) fn send_waiting(&mut self, now: Instant) {
        if let Some(up_to) = self.app.postings.reservation() {
            // Together with the first reservation of SEQs, which the node asks for when it is driven.
            self.flash.stage(Change::Log(flash_log::Change::Messages(up_to)));
            self.app.postings.asked(up_to);
        }
        let local = self.clock.local(now);
        for id in self.app.postings.queue_mut().expired(local) {
            self.give_up(now, id);
        }
        while self.can_send() {
            let Some(waiting) = self.app.postings.pop_ready(self.flash.kept().messages()) else {
                return;
            };
            let Waiting { id, deadline, posting } = waiting;
            let total = posting.envelope.len();
            let delivery = Delivery { id, destination: posting.to, priority: posting.priority, deadline };
            // Only the first part: the node asks for later ones when it wants them (`load`).
            let first = self.node.first_part_len(delivery.destination, delivery.priority, total);
            let sent = self.node.send(local, delivery, total, &posting.envelope[..first]);
            match sent {
                Ok(()) => {
                    if self.audit.is_some() {
                        let mut routes = self.boot.options.routes.iter();
                        // Where the next hop is the destination, no other node is named.
                        let by_route = routes.any(|(to, next)| *to == delivery.destination && next != to);
                        let bytes = posting.envelope.clone();
                        self.trace(TraceEvent::Accepted { delivery, bytes, by_route });
                    }
                    self.app.in_flight.insert(id, posting.envelope);
                }
                Err(why) => {
                    self.trace(TraceEvent::Refused(id, why));
                    // There was room: so it is one that the node never takes, and waiting with it would hold up those behind it.
                    self.give_up(now, id);
                }
            }
        }
    }

    /// Whether the next message that waits may go, as far as the node has room: its last place is kept for what is CRITICAL.
    pub(super) fn can_send(&self) -> bool {
        let (used, room) = (self.node.depth().0, self.node.capacity().outbox);
        let kept = |class| usize::from(class != Priority::Critical && room > 1);
        self.app.postings.queue().next_class().is_some_and(|class| used + kept(class) < room)
    }

    /// An own message never leaves.
    fn give_up(&mut self, now: Instant, id: MessageId) {
        self.app.outcomes.push((now, id, SendOutcome::Expired));
        if self.boot.options.durable {
            self.flash.stage(Change::Completed(id));
        }
    }

    pub(super) fn poll_flash(&mut self, now: Instant) {
        let safe = self.flash.poll(now);
        self.app.safe.extend(safe);
    }

    /// Keeps the promises that waited for flash.
    pub(super) fn act_on_flash(&mut self, now: Instant) {
        self.poll_flash(now);
        while let Some(change) = self.app.safe.pop_front() {
            match change {
                Change::Log(flash_log::Change::Seq { up_to, .. }) => {
                    self.node.seq_reserved(up_to);
                }
                Change::Inbox { source, id, priority, hops, body, reply_to, receipt } => {
                    self.app.intake.delivered((source, id));
                    self.app.delivered.push(Delivered { at: now, source, id, hops, body, reply_to });
                    self.trace(TraceEvent::Delivered(source, id));
                    // From the receipt on its source forgets the message: so it comes behind the write. Who calls to many wants none.
                    if let Some((to, id)) = receipt {
                        self.app.intake.owe_receipt((to, id, priority));
                    }
                }
                Change::Outbox { id, posting, posted } => self.app.written(id, posting, posted),
                // Nothing waits for these by name: whoever needs a mark or a number asks what flash has.
                Change::Log(_) | Change::Completed(_) => {}
            }
        }
        // In order of arrival. Marks are written in that order too, so that none waits longer than it must.
        loop {
            let node = &self.node;
            let newest = |source| node.replay_marks().find(|mark| mark.src == source);
            if let Some(mark) = self.app.intake.renew(self.flash.kept(), newest) {
                self.flash.stage(Change::Log(flash_log::Change::Mark(mark)));
            }
            let Some(held) = self.app.intake.pop_safe(self.flash.kept()) else { break };
            let (source, id) = held.name;
            self.app.delivered.push(Delivered { at: now, ..held.message });
            self.trace(TraceEvent::Delivered(source, id));
            if let Some((to, id)) = held.receipt {
                self.app.intake.owe_receipt((to, id, held.priority));
            }
        }
        let node = &mut self.node;
        self.app
            .intake
            .report(|(source, id, priority)| node.report(source, id, priority, Verdict::Delivered));
    }
}
