//! One device: a small node, its flash, its clock, and an application that answers queries.
//!
//! Owns what firmware would, power cuts included. The node does the mesh; the world does air and time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ble_bearer::sim::{Radio, Station, link_info};
use mesh_protocol::{
    Address, Delivery, Duration, EpochKeys, Instant, LinkId, MessageId, NameHash, NetKey, ReplayMark,
    SendOutcome, Stats, Verdict,
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
mod clock;
mod flash;
mod notes;

pub(crate) use app::letter;
pub use app::{Delivered, Letter};
pub use boot::Options;
pub use clock::LocalClock;
pub use notes::{Look, Note};

use app::{App, Shell, Unmarked};
use boot::{Boot, Core};
use flash::{Change, Flash, ID_BLOCK};
use notes::Audit;

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
        let flash = Flash::used(options.flash_write, options.used);
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
        // Within the first seconds, each device at its own time.
        self.announce_at =
            (!options.names.is_empty()).then(|| now + Duration::from_millis(1_000 + seed % 3_000));
        let kept = self.flash.kept();
        // Numbers of messages never come again: 0 is none, and behind a restart they go on where none was reserved.
        let first = kept.ids.max(kept.outbox.last_key_value().map_or(0, |(id, _)| id.0 + 1)).max(1);
        self.app.next_id = first;
        self.app.ids_asked = kept.ids;
        if options.durable {
            self.app.known = kept.inbox.clone();
            self.app.waiting = kept.outbox.iter().map(|(id, letter)| (*id, letter.clone())).collect();
        }
        let marks: Vec<_> = kept.marks.iter().map(|(src, (epoch, seq))| (*src, *epoch, *seq)).collect();
        let seq = kept.seq;
        for &(src, epoch, seq) in &marks {
            // As many as this node had room for when it wrote them.
            let _ = each!(&mut self.node, node => node.restore_mark(ReplayMark { src, epoch, seq }));
        }
        self.note(Note::Booted { seq, marks });
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
        self.flash.kept().seq
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
    pub(crate) fn forget_told(&mut self) {
        self.app.delivered.clear();
        self.app.outcomes.clear();
    }

    /// Own messages that wait or are under way.
    #[must_use]
    pub fn unsettled(&self) -> usize {
        self.app.waiting.len() + self.app.flying.len()
    }

    /// Whether it has power.
    #[must_use]
    pub const fn is_powered(&self) -> bool {
        self.powered
    }

    /// Gives the device something to send; it goes when the device runs next. Returns its number.
    pub fn post(&mut self, letter: Letter) -> MessageId {
        self.promised = None;
        self.app.post(&mut self.flash, letter)
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
        self.note(Note::Cut { in_write });
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
            self.note(Note::Jumped);
        }
    }

    fn send_waiting(&mut self, now: Instant) {
        if self.app.next_id + ID_BLOCK / 2 > self.app.ids_asked {
            self.app.ids_asked = self.app.next_id + ID_BLOCK;
            // Together with the first reservation of SEQs, which the node asks for when it is driven.
            self.flash.stage(Change::Ids(self.app.ids_asked));
        }
        while each!(&self.node, node => node.has_room()) {
            let reserved = self.flash.kept().ids;
            if self.app.waiting.front().is_none_or(|(id, _)| id.0 >= reserved) {
                return;
            }
            let Some((id, letter)) = self.app.waiting.pop_front() else { return };
            let total = letter.envelope.len();
            let local = self.clock.local(now);
            let delivery = Delivery {
                id,
                destination: letter.to,
                priority: letter.priority,
                deadline: local + letter.within,
            };
            let sent = each!(&mut self.node, node => {
                let first = node.first_part_len(delivery.destination, delivery.priority, total);
                node.send(local, delivery, total, &letter.envelope[..first])
            });
            match sent {
                Ok(()) => {
                    if self.audit.is_some() {
                        let mut routes = self.boot.options.routes.iter();
                        let by_route = routes.any(|(to, next)| *to == delivery.destination && next != to);
                        let bytes = letter.envelope.clone();
                        self.note(Note::Accepted { delivery, bytes, by_route });
                    }
                    self.app.flying.insert(id, letter.envelope);
                }
                Err(why) => {
                    self.note(Note::Refused(id, why));
                    self.app.outcomes.push((now, id, SendOutcome::Expired));
                    if self.boot.options.durable {
                        self.flash.stage(Change::Settled(id));
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
                Change::Seq(up_to) => each!(&mut self.node, node => node.seq_reserved(up_to)),
                Change::Inbox { source, id, priority, hops, body, reply_to } => {
                    self.app.unsafe_yet.remove(&(source, id));
                    self.app.known.insert((source, id));
                    self.app.delivered.push(Delivered { at: now, source, id, hops, body, reply_to });
                    self.note(Note::Delivered(source, id));
                    self.app.owed.push((source, id, priority));
                }
                Change::Outbox(id, letter) => self.app.waiting.push_back((id, letter)),
                Change::Ids(_) | Change::Mark(..) | Change::Settled(_) => {}
            }
        }
        while self.app.unmarked.front().is_some_and(|next| self.flash.kept().has(next.mark))
            && let Some(Unmarked { priority, owed, delivered, .. }) = self.app.unmarked.pop_front()
        {
            let (source, id) = (delivered.source, delivered.id);
            self.app.unsafe_yet.remove(&(source, id));
            self.app.known.insert((source, id));
            self.app.delivered.push(Delivered { at: now, ..delivered });
            self.note(Note::Delivered(source, id));
            self.app.owed.extend(owed.then_some((source, id, priority)));
        }
        self.app.owed.retain(|&(source, id, priority)| {
            !each!(&mut self.node, node => node.report(source, id, priority, Verdict::Delivered))
        });
    }
}

impl App {
    fn new(options: &Options) -> Self {
        let names = options.names.clone();
        let announce = names.iter().map(|name| (Address::EVERYONE, NameHash::of(name))).collect();
        Self {
            names,
            next_id: 1,
            ids_asked: 0,
            waiting: VecDeque::new(),
            flying: BTreeMap::new(),
            parts: options.gateway.then(BTreeMap::new),
            announce,
            known: BTreeSet::new(),
            unsafe_yet: BTreeSet::new(),
            unmarked: VecDeque::new(),
            owed: Vec::new(),
            durable: options.durable,
            delivered: Vec::new(),
            outcomes: Vec::new(),
            safe: VecDeque::new(),
        }
    }

    /// A power cut: only the experiment's own log stays.
    fn forget(&mut self) {
        self.waiting.clear();
        self.flying.clear();
        if let Some(parts) = &mut self.parts {
            parts.clear();
        }
        self.announce = self.names.iter().map(|name| (Address::EVERYONE, NameHash::of(name))).collect();
        self.known.clear();
        self.unsafe_yet.clear();
        self.unmarked.clear();
        self.owed.clear();
        self.safe.clear();
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
                self.note(Note::Frame { result, unchanged });
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
            let Self { node, app, flash, audit, .. } = self;
            let shell = &mut Shell { now, app, flash, audit: audit.as_deref_mut(), radio };
            let next = each!(node, node => node.drive(local, shell));
            self.poll_flash(now);
            let reserved = self.flash.kept().ids;
            let able = self.app.waiting.front().is_some_and(|(id, _)| id.0 < reserved);
            let idle = !able || !each!(&self.node, node => node.has_room());
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
