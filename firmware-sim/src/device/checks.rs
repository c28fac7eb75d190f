//! Two checks that only the device itself can make: that a refused frame has changed nothing, and that timers ring when they should.
//!
//! Owns both. What they find is reported as trace events.

use mesh_protocol::{Answer, Event, Host, Instant, LinkId, MessageId};

use super::Device;
use super::trace_events::TraceEvent;

/// Of so many timers one is tried a microsecond early, on a copy of the node: copying costs more than the timer. A guess.
const TRIED: u32 = 8;

impl Device {
    /// A number for all that can be seen of the node but its counters of discards.
    pub(super) fn digest(&self) -> u64 {
        let mut hash = Fnv::default();
        {
            let node = &*self.node;
            for mark in node.replay_marks() {
                hash.add(u64::from(mark.src.bits()) << 32 | u64::from(mark.seq));
                hash.add(mark.epoch.into());
            }
            for neighbour in node.neighbours() {
                hash.add(neighbour.address.bits().into());
                hash.add(neighbour.last_heard.as_micros());
                let shares =
                    [neighbour.delivery_in, neighbour.delivery_out].map(|share| share.map_or(256, u64::from));
                hash.add(
                    shares[0] << 32
                        | shares[1] << 16
                        | neighbour.rssi.map_or(256, |rssi| u64::from(rssi as u8)),
                );
            }
            for path in node.paths() {
                hash.add(u64::from(path.destination.bits()) << 8 | u64::from(path.hops));
                hash.add(path.last_heard.as_micros());
                hash.add(path.round_trip.map_or(u64::MAX, |trip| trip.as_micros()));
            }
            let (outbox, queue) = node.depth();
            hash.add((outbox as u64) << 32 | queue as u64);
            hash.add(u64::from(node.next_seq()) << 1 | u64::from(node.conflict(Instant::ZERO).is_some()));
            let stats = node.stats();
            for count in [stats.frames_sent, stats.blocks_received] {
                hash.add(count);
            }
        }
        hash.0
    }

    /// When its node has something to do; `None` in air so busy that every frame on it, whoever sent it, moves that.
    pub(super) fn steady_timer(&self, now: Instant) -> Option<Option<Instant>> {
        let paced = self.node.load(self.clock.local(now)).1.is_some();
        (!paced).then(|| self.node.poll_timeout())
    }

    /// The device is run at `now`: whether that is as it was promised, if it is its timer that has rung.
    pub(super) fn check_timer(&mut self, now: Instant, promised: Option<Instant>) {
        let Some(promised) = promised.filter(|at| *at <= now) else { return };
        let other = [self.flash.poll_timeout(), self.announce_at, self.waits_until()];
        let Some(audit) = &mut self.audit else { return };
        if promised < now {
            audit.events.push(TraceEvent::RangLate);
            return;
        }
        audit.timers = audit.timers.wrapping_add(1);
        let tried = audit.timers.is_multiple_of(TRIED);
        let local = self.clock.local(now);
        let due = self.node.poll_timeout().filter(|due| *due <= local);
        let Some(due) = due else {
            if other.into_iter().flatten().all(|at| at > now) {
                audit.events.push(TraceEvent::NothingDue);
            }
            return;
        };
        // A node that would do something now that its timer was not set for has slept through it until now.
        if tried
            && let Some(before) = due.as_micros().checked_sub(1)
            && let Some(mut node) = self.node.small_copy()
        {
            let mut idle = Idle(true);
            node.drive(Instant::from_micros(before), &mut idle);
            if !idle.0 {
                audit.events.push(TraceEvent::DueEarlier);
            }
        }
    }
}

/// A host that remembers whether it had anything to do.
struct Idle(bool);

impl Host for Idle {
    fn transmit(&mut self, _link: LinkId, _frame: &[u8]) {
        self.0 = false;
    }

    fn event(&mut self, _event: Event<'_>) -> Answer {
        self.0 = false;
        Answer::None
    }

    fn load(&mut self, _id: MessageId, _offset: u32, _out: &mut [u8]) -> bool {
        self.0 = false;
        false
    }
}

/// FNV-1a by words (Fowler, Noll and Vo, 1991), with a shift between so that high bits count.
#[derive(Debug)]
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn add(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0000_0100_0000_01b3);
        self.0 ^= self.0 >> 29;
    }
}
