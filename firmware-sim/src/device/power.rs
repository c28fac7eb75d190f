//! What befalls a device: its power goes and comes back, its clock jumps.
//!
//! Owns what of a device survives that. What is in flash then is `flash`'s business, with what a node begins the firmware's.

use mesh_firmware::flash_log::Marks;
use mesh_firmware::start::announce_after;
use mesh_protocol::{Duration, Instant};

use super::Device;
use super::boot::Boot;
use super::clock::LocalClock;
use super::flash::Change;
use super::trace_events::TraceEvent;
use crate::scenario;

impl Device {
    /// What follows from flash and from the time of the start.
    pub(super) fn set_up(&mut self, now: Instant) {
        let Boot { seed, options, .. } = &self.boot;
        self.announce_at = (!options.names.is_empty()).then(|| now + announce_after(*seed));
        let (kept, messages) = (self.flash.kept(), self.flash.messages());
        // Numbers that were reserved and not used are lost: nobody can know any more which of them went out.
        self.app.postings.start(kept.messages(), messages.outbox.last_key_value().map(|(id, _)| *id));
        if options.durable {
            messages.inbox.iter().for_each(|name| self.app.intake.delivered(*name));
            // Its clock begins anew, and with it the time of each message.
            let local = self.clock.local(now);
            for (id, posting) in &messages.outbox {
                self.app.postings.push(local, *id, posting.clone());
            }
        }
        let marks = kept.marks().iter().map(|mark| (mark.src, mark.epoch, mark.seq)).collect();
        let seq = self.reserved();
        self.trace(TraceEvent::Booted { seq, marks });
    }

    /// Its power is cut: RAM is gone, and `flash` says what has become of a write under way. The world has to
    /// [know](ble_bearer::sim::World::set_powered) too.
    pub fn cut(&mut self, flash: scenario::Flash) {
        if !self.powered {
            return;
        }
        // The node itself stays until the restart: nothing runs it, and what it knew can still be looked at.
        let in_write = self.flash.cut(flash);
        self.powered = false;
        self.promised = None;
        self.app.forget();
        self.trace(TraceEvent::Cut { in_write });
    }

    /// Its power is back: it goes on with what its flash has, and its clock starts from zero.
    pub fn restart(&mut self, now: Instant) {
        if self.powered {
            return;
        }
        self.powered = true;
        self.up = false;
        self.promised = None;
        let found = self.flash.recover();
        // A clock without power starts from zero: nothing in flash may be a time.
        self.clock = LocalClock::new(now, self.boot.options.drift_ppb);
        self.boot.count += 1;
        self.node = self.boot.node(self.clock.local(now), &self.flash);
        self.set_up(now);
        // A message whose write was done, and whose agent has not been shown it yet, is in the inbox now.
        self.app.safe.extend(found.into_iter().filter(|change| matches!(change, Change::Inbox { .. })));
    }

    /// Its clock jumps ahead.
    pub fn jump(&mut self, now: Instant, by: Duration) {
        if self.powered {
            self.clock.jump(now, by);
            // The node's timeout was a time of the clock before the jump: it is asked again before it runs.
            self.promised = None;
            self.trace(TraceEvent::Jumped);
        }
    }
}
