//! The clock's side of the node: what is due, and when something is due next.

use super::Node;
use super::events::PendingEvent;
use crate::control::{Control, HelloFlags, Why};
use crate::outbox::Progress;
use crate::{Address, Discard, Instant, LEGACY_FRAME, Priority};

every_size!(
    /// The clock's side.
    impl Node {
        /// Does what is due at `now` and not a frame: acks, deadlines, retransmissions, hellos.
        pub fn handle_timeout(&mut self, now: Instant) {
            self.contest.end_silence(now);
            while let Some(gone) = self.queue.expire(now) {
                if gone.unsent {
                    self.stats.count(Discard::Stale);
                }
                self.gone(gone, Why::Stale);
            }
            self.unheard(now);
            self.say_hop_acks(now);
            self.hand_on_tallies(now);
            while let Some(due) = self.reassembly.due_ack(now) {
                self.control(due.to, due.priority, due.control, due.again);
            }
            for _ in 0..self.reassembly.expire(now) {
                self.stats.count(Discard::ReassemblyAbandoned);
            }
            // An outcome must not be lost: without room for the event it stays due.
            while !self.events.is_full() {
                match self.outbox.handle_timeout(now) {
                    Some(progress) => self.progress(now, progress, None),
                    None => break,
                }
            }
            self.search(now);
            if self.hellos.next() <= now {
                self.hello(now);
            }
        }

        fn hello(&mut self, now: Instant) {
            self.routes.expire(now);
            self.finished.expire(now);
            let (changed, alive) = (self.neighbours.changed(now), self.neighbours.alive(now));
            if self.links.is_empty() {
                // Nobody could hear it: it is not counted as lost.
                self.hellos.pause(now, &mut self.rng);
                return;
            }
            let (count, pace) = self.hellos.say(now, &mut self.rng, changed, alive);
            let reports = self.neighbours.reports(now);
            let mut flags = if self.relay { HelloFlags::RELAYS } else { HelloFlags::default() };
            if self.links.iter().any(|link| link.info.mtu > LEGACY_FRAME) {
                flags = flags.and(HelloFlags::LONG_FRAMES);
            }
            self.backbone.choose(now, &mut self.rng);
            if self.is_relay(now) {
                flags = flags.and(HelloFlags::BACKBONE);
            }
            let hello = Control::Hello { count, flags: flags.with_pace(pace), reports };
            self.control(Address::EVERYONE, Priority::Low, hello, false);
        }

        /// When something is due next; exact: nothing is due before.
        #[must_use]
        pub fn poll_timeout(&self) -> Option<Instant> {
            let timers = [
                Some(self.hellos.next()),
                self.queue.next_expiry(),
                self.queue.next_overdue(),
                self.hop_acks.next_due(),
                self.tallies.next_due(),
                self.reassembly.next_timeout(),
                self.outbox.next_timeout(),
                Some(self.discovery.next_timeout()),
                self.contest.silent_until(),
            ];
            let frames = self.links.iter().filter_map(|link| self.next_on(link));
            timers.into_iter().flatten().chain(frames).min()
        }

        /// Turns what the outbox says into an event.
        pub(super) fn progress(&mut self, now: Instant, progress: Progress, hops: Option<u8>) {
            let (Progress::Done(id, _) | Progress::WantsPart { id, .. }) = progress;
            // Done, or on to the next part: whatever of it still waits for the air is needless.
            self.said(now, id, u64::MAX);
            self.push_event(match progress {
                Progress::Done(id, outcome) => PendingEvent::Done { id, outcome, hops },
                Progress::WantsPart { id, offset, len } => PendingEvent::NextPart { id, offset, len },
            });
        }
    }
);
