//! What a device does once flash has what it needs: messages go to the node, others count as delivered, receipts are sent.
//!
//! Owns the order of these. Which number, mark or receipt waits for what is decided by the firmware (`mesh_firmware::posting`,
//! `mesh_firmware::intake`).

use mesh_firmware::flash_log;
use mesh_protocol::{Delivery, Instant, SendOutcome, Verdict};

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
        while self.node.has_room() {
            let Some((id, posting)) = self.app.postings.pop_ready(self.flash.kept().messages()) else {
                return;
            };
            let total = posting.envelope.len();
            let local = self.clock.local(now);
            let delivery = Delivery {
                id,
                destination: posting.to,
                priority: posting.priority,
                deadline: local + posting.within,
            };
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
                    self.app.outcomes.push((now, id, SendOutcome::Expired));
                    if self.boot.options.durable {
                        self.flash.stage(Change::Completed(id));
                    }
                }
            }
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
                Change::Inbox { source, id, priority, hops, body, reply_to } => {
                    self.app.intake.delivered((source, id));
                    self.app.delivered.push(Delivered { at: now, source, id, hops, body, reply_to });
                    self.trace(TraceEvent::Delivered(source, id));
                    // From the receipt on its source forgets the message: so it comes behind the write.
                    self.app.intake.owe_receipt((source, id, priority));
                }
                Change::Outbox(id, posting) => _ = self.app.postings.push(id, posting),
                // Nothing waits for these by name: whoever needs a mark or a number asks what flash has.
                Change::Log(_) | Change::Completed(_) => {}
            }
        }
        // In order of arrival. Marks are written in that order too, so that none waits longer than it must.
        while let Some(held) = self.app.intake.pop_safe(self.flash.kept()) {
            let (source, id) = held.name;
            self.app.delivered.push(Delivered { at: now, ..held.message });
            self.trace(TraceEvent::Delivered(source, id));
            if held.wants_receipt {
                self.app.intake.owe_receipt((source, id, held.priority));
            }
        }
        let node = &mut self.node;
        self.app
            .intake
            .report(|(source, id, priority)| node.report(source, id, priority, Verdict::Delivered));
    }
}
