//! One device: a small node, its flash, its clock, and an application that answers queries.
//!
//! Owns what firmware would, power cuts included. The node does the mesh; the world does air and time.

use ble_bearer::sim::{Radio, Station, link_info};
use mesh_firmware::flash_log::{self, Marks};
use mesh_firmware::start::announce_after;
use mesh_protocol::{
    Address, Delivery, Duration, EpochKeys, Instant, LinkId, MessageId, NetKey, SendOutcome, Stats, Verdict,
};

use crate::scenario;

/// The same call on a node of either size.
macro_rules! each {
    ($core:expr, $node:ident => $call:expr) => {
        match $core {
            Core::Small($node) => $call,
            Core::Gateway($node) => $call,
        }
    };
}

mod app;
mod boot;
mod chip;
mod clock;
mod flash;
mod memory;
mod trace_events;

pub(crate) use app::posting;
pub use app::{Delivered, Posting};
pub use boot::Options;
pub use clock::LocalClock;
pub use trace_events::{NodeSnapshot, TraceEvent};

use app::{App, Shell};
use boot::{Boot, Core};
use flash::{Change, Flash};
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
    /// A device at `address` whose agents bear `names`; it answers queries to them with the same body.
    #[must_use]
    pub fn new(
        now: Instant,
        address: Address,
        key: &NetKey,
        epoch: u32,
        seed: u64,
        names: Vec<String>,
    ) -> Self {
        Self::with(now, address, key, epoch, seed, Options { names, ..Options::default() })
    }

    /// A device with the node of a gateway, and room for messages of any length; it counts their bytes and keeps none.
    #[must_use]
    pub fn gateway(now: Instant, address: Address, key: &NetKey, epoch: u32, seed: u64) -> Self {
        Self::with(now, address, key, epoch, seed, Options { gateway: true, ..Options::default() })
    }

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
            app: App::new(&boot.options),
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

    /// What follows from flash and from the time of the start.
    fn set_up(&mut self, now: Instant) {
        let Boot { seed, options, .. } = &self.boot;
        self.announce_at = (!options.names.is_empty()).then(|| now + announce_after(*seed));
        let (kept, messages) = (self.flash.kept(), self.flash.messages());
        self.app.postings.start(kept.messages(), messages.outbox.last_key_value().map(|(id, _)| *id));
        if options.durable {
            messages.inbox.iter().for_each(|name| self.app.intake.delivered(*name));
            for (id, posting) in &messages.outbox {
                self.app.postings.push(*id, posting.clone());
            }
        }
        let marks = kept.marks().iter().map(|mark| (mark.src, mark.epoch, mark.seq)).collect();
        let seq = self.reserved();
        self.trace(TraceEvent::Booted { seq, marks });
    }

    /// The node's counters, since the last start.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        each!(&self.node, node => node.stats())
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
    pub fn post(&mut self, posting: Posting) -> MessageId {
        self.promised = None;
        self.app.post(&mut self.flash, posting)
    }

    /// Its power is cut: RAM is gone, and `flash` says what has become of a write under way. The world has to be
    /// [told](ble_bearer::sim::World::set_powered) too.
    pub fn cut(&mut self, flash: scenario::Flash) {
        if !self.powered {
            return;
        }
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
            self.promised = None;
            self.trace(TraceEvent::Jumped);
        }
    }

    fn send_waiting(&mut self, now: Instant) {
        if let Some(up_to) = self.app.postings.reservation() {
            // Together with the first reservation of SEQs, which the node asks for when it is driven.
            self.flash.stage(Change::Log(flash_log::Change::Messages(up_to)));
        }
        while each!(&self.node, node => node.has_room()) {
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
            let sent = each!(&mut self.node, node => {
                let first = node.first_part_len(delivery.destination, delivery.priority, total);
                node.send(local, delivery, total, &posting.envelope[..first])
            });
            match sent {
                Ok(()) => {
                    if self.audit.is_some() {
                        let mut routes = self.boot.options.routes.iter();
                        let by_route = routes.any(|(to, next)| *to == delivery.destination && next != to);
                        let bytes = posting.envelope.clone();
                        self.trace(TraceEvent::Accepted { delivery, bytes, by_route });
                    }
                    self.app.in_flight.insert(id, posting.envelope);
                }
                Err(why) => {
                    self.trace(TraceEvent::Refused(id, why));
                    self.app.outcomes.push((now, id, SendOutcome::Expired));
                    if self.boot.options.durable {
                        self.flash.stage(Change::Completed(id));
                    }
                }
            }
        }
    }

    fn poll_flash(&mut self, now: Instant) {
        let safe = self.flash.poll(now);
        self.app.safe.extend(safe);
    }

    /// Keeps the promises that waited for flash.
    fn act_on_flash(&mut self, now: Instant) {
        self.poll_flash(now);
        while let Some(change) = self.app.safe.pop_front() {
            match change {
                Change::Log(flash_log::Change::Seq { up_to, .. }) => {
                    each!(&mut self.node, node => node.seq_reserved(up_to));
                }
                Change::Inbox { source, id, priority, hops, body, reply_to } => {
                    self.app.intake.delivered((source, id));
                    self.app.delivered.push(Delivered { at: now, source, id, hops, body, reply_to });
                    self.trace(TraceEvent::Delivered(source, id));
                    self.app.intake.owe_receipt((source, id, priority));
                }
                Change::Outbox(id, posting) => _ = self.app.postings.push(id, posting),
                Change::Log(_) | Change::Completed(_) => {}
            }
        }
        while let Some(held) = self.app.intake.pop_safe(self.flash.kept()) {
            let (source, id) = held.name;
            self.app.delivered.push(Delivered { at: now, ..held.message });
            self.trace(TraceEvent::Delivered(source, id));
            if held.wants_receipt {
                self.app.intake.owe_receipt((source, id, held.priority));
            }
        }
        let node = &mut self.node;
        self.app.intake.report(|(source, id, priority)| {
            each!(&mut *node, node => node.report(source, id, priority, Verdict::Delivered))
        });
    }
}

impl Station for Device {
    fn receive(&mut self, now: Instant, frame: &[u8], rssi: i8) -> bool {
        if !self.powered {
            return false;
        }
        self.promised = None;
        let local = self.clock.local(now);
        let before = self.audit.is_some().then(|| self.digest());
        let mut bytes = [0; mesh_protocol::MAX_FRAME];
        if let Some(bytes) = bytes.get_mut(..frame.len()) {
            bytes.copy_from_slice(frame);
            // The node has counted what it did not take.
            let result = each!(&mut self.node, node => node.handle_frame(local, LINK, bytes, Some(rssi)));
            if let Some(before) = before {
                let unchanged = result.is_err() && before == self.digest();
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
            self.up = each!(&mut self.node, node => node.handle_link_up(local, LINK, link_info()));
        }
        if self.announce_at.is_some_and(|at| at <= now) {
            self.announce_at = None;
        }
        let next = loop {
            self.act_on_flash(now);
            self.send_waiting(now);
            if self.announce_at.is_none() {
                for (to, name) in self.app.announce.split_off(0) {
                    each!(&mut self.node, node => node.announce(to, name));
                }
            }
            let Self { boot, node, app, flash, audit, .. } = self;
            let epoch = boot.keys.epoch();
            let shell = &mut Shell { now, epoch, app, flash, audit: audit.as_deref_mut(), radio };
            let next = each!(node, node => node.drive(local, shell));
            self.poll_flash(now);
            let ready = self.app.postings.is_ready(self.flash.kept().messages());
            let idle = !ready || !each!(&self.node, node => node.has_room());
            let said = self.announce_at.is_some() || self.app.announce.is_empty();
            if idle && said && self.app.safe.is_empty() {
                break next;
            }
        };
        let next = next.map(|next| self.clock.world(next));
        let next = [next, self.announce_at, self.flash.poll_timeout()];
        self.promised = next.into_iter().flatten().min();
        self.promised
    }
}
