//! One device: a small node, its flash, its clock, and an application that answers queries.
//!
//! Owns what firmware would, power cuts included. The node does the mesh; the world does air and time.

use ble_bearer::sim::{Radio, Station};
use mesh_protocol::{Address, EpochKeys, Instant, LinkId, MessageId, NetKey, SendOutcome, Stats};

mod app;
mod boot;
mod checks;
mod chip;
mod class_queue;
mod clock;
mod dropping;
mod flash;
mod memory;
mod power;
mod promises;
mod snapshot;
mod trace_events;

pub(crate) use app::posting;
pub use app::{Delivered, PostError, Posting};
pub use boot::Options;
pub use clock::LocalClock;
pub use snapshot::NodeSnapshot;
pub use trace_events::TraceEvent;

use app::{App, Shell};
use boot::{Boot, Core};
use flash::Flash;
use trace_events::Audit;

/// The one link of a device.
const LINK: LinkId = LinkId(0);

/// A device of the simulated network.
#[derive(Debug)]
pub struct Device {
    boot: Boot,
    node: Core,
    app: App,
    flash: Flash,
    clock: LocalClock,
    up: bool,
    powered: bool,
    announce_at: Option<Instant>,
    /// When it asked to be run next; `None` also when something else has happened since.
    promised: Option<Instant>,
    audit: Option<Box<Audit>>,
}

impl Device {
    /// A device of such a kind, switched on for the first time.
    #[must_use]
    pub fn with(
        now: Instant,
        address: Address,
        key: &NetKey,
        epoch: u32,
        seed: u64,
        options: Options,
    ) -> Self {
        // A clock without drift shows the world's time until the first restart.
        let clock = if options.drift_ppb == 0 {
            LocalClock::exact()
        } else {
            LocalClock::new(now, options.drift_ppb)
        };
        let flash = Flash::used(options.flash_write, epoch, options.used);
        let boot = Boot { address, keys: EpochKeys::derive(key, epoch), seed, count: 0, options };
        let node = boot.node(clock.local(now), &flash);
        let mut device = Self {
            node,
            app: App::new(&boot.options, boot.address, &boot.keys),
            flash,
            clock,
            up: false,
            powered: true,
            announce_at: None,
            promised: None,
            audit: None,
            boot,
        };
        device.set_up(now);
        device
    }

    /// The node's counters, since the last start.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        self.node.stats()
    }

    /// Its address.
    #[must_use]
    pub const fn address(&self) -> Address {
        self.boot.address
    }

    /// First SEQ that the device's flash says is free.
    #[must_use]
    pub const fn reserved(&self) -> u32 {
        self.flash.kept().seq_start(self.boot.keys.epoch())
    }

    /// Messages taken so far, in order, over all starts.
    #[must_use]
    pub fn delivered(&self) -> &[Delivered] {
        &self.app.delivered
    }

    /// What became of this device's own messages, in order, over all starts.
    #[must_use]
    pub fn outcomes(&self) -> &[(Instant, MessageId, SendOutcome)] {
        &self.app.outcomes
    }

    /// Forgets what [`delivered`](Self::delivered) and [`outcomes`](Self::outcomes) show, for those who run without end.
    pub(crate) fn forget_reported(&mut self) {
        self.app.delivered.clear();
        self.app.outcomes.clear();
    }

    /// Own messages that wait or are under way.
    #[must_use]
    pub fn open_messages(&self) -> usize {
        self.app.postings.waiting() + self.app.in_flight.len()
    }

    /// Whether it has power.
    #[must_use]
    pub const fn is_powered(&self) -> bool {
        self.powered
    }

    /// Gives the device something to send; it goes when the device runs next. Returns its number.
    ///
    /// # Errors
    /// [`PostError`], and nothing is sent.
    pub fn post(&mut self, now: Instant, posting: Posting) -> Result<MessageId, PostError> {
        let total = posting.envelope.len();
        let in_parts = self.node.first_part_len(posting.to, posting.priority, total) < total;
        if in_parts && posting.to.is_many() && !self.boot.options.parts_to_many {
            return Err(PostError::TooLong);
        }
        self.promised = None;
        self.app.post(self.clock.local(now), &mut self.flash, posting)
    }

    /// When the first message that waits is no longer wanted, in the world's time.
    fn waits_until(&self) -> Option<Instant> {
        self.app.postings.queue().next_deadline().map(|deadline| self.clock.world(deadline))
    }
}

impl Station for Device {
    fn receive(&mut self, now: Instant, frame: &[u8], rssi: i8) -> bool {
        if !self.powered {
            return false;
        }
        self.promised = None;
        let local = self.clock.local(now);
        // Only when somebody watches: it costs more than the frame.
        let before = self.audit.is_some().then(|| (self.digest(), self.steady_timer(now)));
        let mut bytes = [0; mesh_protocol::MAX_FRAME];
        if let Some(bytes) = bytes.get_mut(..frame.len()) {
            bytes.copy_from_slice(frame);
            // The node has counted what it did not take.
            let result = self.node.handle_frame(local, LINK, bytes, Some(rssi));
            if let Some((before, timer)) = before {
                let same_timer = timer.zip(self.steady_timer(now)).is_none_or(|(was, is)| was == is);
                let unchanged = result.is_err() && before == self.digest() && same_timer;
                self.trace(TraceEvent::Frame { result, unchanged });
            }
        }
        true
    }

    fn run(&mut self, now: Instant, radio: &mut Radio<'_>) -> Option<Instant> {
        if !self.powered {
            return None;
        }
        let promised = self.promised.take();
        self.check_timer(now, promised);
        let local = self.clock.local(now);
        if !self.up {
            self.up = self.node.handle_link_up(local, LINK, self.boot.options.link);
        }
        if self.announce_at.is_some_and(|at| at <= now) {
            self.announce_at = None;
        }
        // Each of these may make room for another: a write that takes no time lets a message go, whose receipt is the next write. Until nothing does.
        let next = loop {
            self.act_on_flash(now);
            self.send_waiting(now);
            if self.announce_at.is_none() {
                for (to, name) in self.app.announce.split_off(0) {
                    self.node.announce(to, name);
                }
            }
            let Self { boot, node, app, flash, audit, .. } = self;
            let epoch = boot.keys.epoch();
            let shell = &mut Shell { now, local, epoch, app, flash, audit: audit.as_deref_mut(), radio };
            let next = node.drive(local, shell);
            self.poll_flash(now);
            let ready = self.app.postings.is_ready(self.flash.kept().messages());
            let idle = !ready || !self.can_send();
            let said = self.announce_at.is_some() || self.app.announce.is_empty();
            if idle && said && self.app.safe.is_empty() {
                break next;
            }
        };
        let next = next.map(|next| self.clock.world(next));
        let next = [next, self.announce_at, self.flash.poll_timeout(), self.waits_until()];
        self.promised = next.into_iter().flatten().min();
        self.promised
    }
}
