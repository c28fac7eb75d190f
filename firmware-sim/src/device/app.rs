//! The application of a device: what it sends, what it has taken, and its answers to queries.
//!
//! Owns postings and deliveries, and what of them is in RAM. When something is safe in flash is `flash`'s business.

use std::collections::{BTreeMap, VecDeque};

use ble_bearer::sim::Radio;
use mesh_firmware::answers::{ANSWER_WITHIN, Decision, PartStep, decide, is_wanted, original, take_part};
use mesh_firmware::flash_log;
use mesh_firmware::intake::{Arrival, Held, Intake, Receipt};
use mesh_firmware::posting::{self, Postings};
use mesh_firmware::tables::MessageName;
use mesh_protocol::{
    Address, Answer, Duration, Envelope, EpochKeys, Event, Host, Instant, Keyring, LinkId, MessageId,
    MessageRef, NameHash, Part, PerClass, Priority, Reason, Received, SendOutcome, Verdict,
};

use super::boot::Options;
use super::class_queue::ClassQueue;
use super::dropping::Dropping;
use super::flash::{Change, Flash};
use super::memory::{AllMessages, Unbounded};
use super::trace_events::{Audit, TraceEvent};

/// A message to send.
pub type Posting = posting::Posting<Vec<u8>>;

/// Own messages of each class that may wait for room in the node: as many as the stacks that ours is compared with take. A guess.
const POSTINGS: usize = 32;
/// The same of a gateway, which keeps them on a disk. A guess.
const GATEWAY_POSTINGS: usize = 1_024;

/// Why a device does not take a message that it is given to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostError {
    /// As many of its class as may wait do.
    Full,
    /// It is to many, in parts, and those who put no parts together would have nothing of it.
    TooLong,
}

/// A message that a device has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// When its last segment was verified; where it is kept in flash, when that was written.
    pub at: Instant,
    /// Who sent it.
    pub source: Address,
    /// Its number there.
    pub id: MessageId,
    /// How many hops it came.
    pub hops: u8,
    /// Its body; empty for one that came in parts, which a device counts and does not keep.
    pub body: Vec<u8>,
    /// The message it answers.
    pub reply_to: Option<MessageRef>,
}

/// What a device's application has and has seen.
#[derive(Debug)]
pub(super) struct App {
    pub(super) names: Vec<String>,
    pub(super) postings: Postings<ClassQueue<Vec<u8>>>,
    /// Own messages of each class on their way to flash, behind which they wait in `postings`.
    staged: PerClass<usize>,
    /// How many of each class may wait.
    room: usize,
    pub(super) in_flight: BTreeMap<MessageId, Vec<u8>>,
    /// Bytes taken of messages that come in parts; `None` where there is no room for those.
    pub(super) parts: Option<BTreeMap<MessageName, u32>>,
    pub(super) announce: Vec<(Address, NameHash)>,
    pub(super) intake: Intake<Delivered, AllMessages, Unbounded<Receipt>>,
    /// Whether what is taken and what is sent goes to flash first.
    pub(super) durable: bool,
    /// What happened, for whoever made the experiment: no memory of the device's.
    pub(super) delivered: Vec<Delivered>,
    pub(super) outcomes: Vec<(Instant, MessageId, SendOutcome)>,
    /// What has become safe in flash and is not yet acted on.
    pub(super) safe: VecDeque<Change>,
    /// Whether it drops what it is to pass on.
    dropping: Option<Dropping>,
}

/// What stands between a node and its device while the node is driven.
pub(super) struct Shell<'a, 'r> {
    pub(super) now: Instant,
    /// The same by the device's clock.
    pub(super) local: Instant,
    pub(super) epoch: u32,
    pub(super) app: &'a mut App,
    pub(super) flash: &'a mut Flash,
    pub(super) audit: Option<&'a mut Audit>,
    pub(super) radio: &'a mut Radio<'r>,
}

impl Host for Shell<'_, '_> {
    fn transmit(&mut self, _link: LinkId, frame: &[u8]) {
        if self.audit.is_some() {
            self.trace(TraceEvent::Handed(frame.to_vec()));
        }
        if self.app.dropping.as_ref().is_some_and(|dropping| dropping.drops(frame)) {
            return;
        }
        // A frame the controller has no room for is lost, as on the air.
        let _ = self.radio.send(frame, 1);
    }

    fn event(&mut self, event: Event<'_>) -> Answer {
        match event {
            Event::Received(received) => self.received(&received),
            Event::ReserveSeq { up_to } => {
                let epoch = self.epoch;
                self.flash.stage(Change::Log(flash_log::Change::Seq { epoch, up_to }));
                self.app.safe.extend(self.flash.poll(self.now));
                // Flash that takes its time says so later: until then the node sends nothing new.
                if self.flash.kept().seq_start(epoch) >= up_to { Answer::Reserved } else { Answer::None }
            }
            Event::Done { id, outcome, .. } => {
                self.app.in_flight.remove(&id);
                self.app.outcomes.push((self.now, id, outcome));
                self.trace(TraceEvent::Done(id, outcome));
                if self.app.durable {
                    self.flash.stage(Change::Completed(id));
                }
                Answer::None
            }
            Event::NameWanted { source, name } => {
                if is_wanted(self.app.names.iter(), name) {
                    self.app.announce.push((source, name));
                }
                Answer::None
            }
            _ => Answer::None,
        }
    }

    fn load(&mut self, id: MessageId, offset: u32, out: &mut [u8]) -> bool {
        let offset = offset as usize;
        let Some(bytes) = self.app.in_flight.get(&id).and_then(|all| all.get(offset..offset + out.len()))
        else {
            return false;
        };
        out.copy_from_slice(bytes);
        true
    }
}

impl Shell<'_, '_> {
    fn trace(&mut self, event: TraceEvent) {
        if let Some(audit) = &mut self.audit {
            audit.events.push(event);
        }
    }

    fn received(&mut self, received: &Received<'_>) -> Answer {
        let &Received { source, destination, id, priority, part, bytes, .. } = received;
        if self.audit.is_some() {
            self.trace(TraceEvent::Shown { source, destination, id, priority, part, bytes: bytes.to_vec() });
        }
        let verdict = match part {
            None => self.take(received),
            Some(part) => self.take_part(received, part),
        };
        let Some(verdict) = verdict else { return Answer::None };
        if verdict != Verdict::Delivered {
            self.trace(TraceEvent::Verdict(source, id, verdict));
        }
        // Who refuses a message to many says nothing, and is not counted as one that has it.
        let counts = verdict == Verdict::Delivered && !received.wants_verdict();
        if counts { Answer::None } else { Answer::Verdict(verdict) }
    }

    /// What to say of a part; `None` for nothing yet.
    fn take_part(&mut self, received: &Received<'_>, part: Part) -> Option<Verdict> {
        let &Received { source, id, .. } = received;
        if let Some(verdict) = self.already((source, id)) {
            return verdict;
        }
        let Some(parts) = &mut self.app.parts else { return Some(Verdict::Rejected(Reason::TooLarge)) };
        let taken = parts.get(&(source, id)).copied().unwrap_or(0);
        match take_part(taken, part, received.bytes.len()) {
            PartStep::Restart => Some(Verdict::Restart),
            PartStep::Taken(taken) => {
                parts.insert((source, id), taken);
                Some(Verdict::Delivered)
            }
            PartStep::Complete => {
                parts.remove(&(source, id));
                self.deliver(received, (source, id), Vec::new(), None)
            }
        }
    }

    fn take(&mut self, received: &Received<'_>) -> Option<Verdict> {
        let (name, envelope) = match original(received) {
            Ok(opened) => opened,
            Err(reason) => return Some(Verdict::Rejected(reason)),
        };
        if let Some(verdict) = self.already(name) {
            return verdict;
        }
        let waiting = self.app.waiting(received.priority);
        let envelope = match decide(name, envelope, self.app.names.iter(), waiting) {
            Decision::Refuse(reason) => return Some(Verdict::Rejected(reason)),
            Decision::Deliver(envelope) => envelope,
            Decision::Answer { query, answer } => {
                let answer = posting(name.0, received.priority, ANSWER_WITHIN, &answer);
                // `decide` lets fewer wait than there is room for.
                if self.app.post(self.local, self.flash, answer).is_err() {
                    return Some(Verdict::Rejected(Reason::InboxFull));
                }
                query
            }
        };
        self.deliver(received, name, envelope.body.to_vec(), envelope.reply_to)
    }

    /// What to say of a message that was taken before, or that there is no room for: `Some(None)` while it is on its way to flash.
    fn already(&self, name: MessageName) -> Option<Option<Verdict>> {
        match self.app.intake.arrival(name) {
            Arrival::New => None,
            Arrival::Waits => Some(None),
            Arrival::Verdict(verdict) => Some(Some(verdict)),
        }
    }

    fn deliver(
        &mut self,
        received: &Received<'_>,
        name: MessageName,
        body: Vec<u8>,
        reply_to: Option<MessageRef>,
    ) -> Option<Verdict> {
        let &Received { hops, priority, mark, .. } = received;
        let (source, id) = name;
        let receipt = received.wants_verdict().then_some((received.source, received.id));
        // It goes in the same write as the message, or ahead of the delivery: frames that brought it bring nothing after a cut.
        if let Some(mark) = mark {
            self.flash.stage(Change::Log(flash_log::Change::Mark(mark)));
        }
        if self.app.durable {
            // Its table has room without end.
            let _ = self.app.intake.expect(name);
            self.flash.stage(Change::Inbox { source, id, priority, hops, body, reply_to, receipt });
            return None;
        }
        self.app.safe.extend(self.flash.poll(self.now));
        let message = Delivered { at: self.now, source, id, hops, body, reply_to };
        if let Some(mark) = mark.filter(|mark| !self.flash.kept().has(*mark)) {
            self.app.intake.hold(Held { name, priority, mark, receipt, message });
            return None;
        }
        self.app.intake.delivered(name);
        self.app.delivered.push(message);
        self.trace(TraceEvent::Delivered(source, id));
        Some(Verdict::Delivered)
    }
}

impl App {
    pub(super) fn new(options: &Options, own: Address, keys: &EpochKeys) -> Self {
        let names = options.names.clone();
        let announce = names.iter().map(|name| (Address::EVERYONE, NameHash::of(name))).collect();
        Self {
            names,
            postings: Postings::new(ClassQueue::default()),
            staged: PerClass::all(0),
            room: if options.gateway { GATEWAY_POSTINGS } else { POSTINGS },
            in_flight: BTreeMap::new(),
            parts: options.gateway.then(BTreeMap::new),
            announce,
            intake: Intake::new(AllMessages::default(), AllMessages::default(), Unbounded::default()),
            durable: options.durable,
            delivered: Vec::new(),
            outcomes: Vec::new(),
            safe: VecDeque::new(),
            dropping: options.drops.then(|| Dropping::new(own, Keyring::new(keys.clone()))),
        }
    }

    /// A power cut: only the experiment's own log stays.
    pub(super) fn forget(&mut self) {
        self.postings.clear();
        self.staged = PerClass::all(0);
        self.in_flight.clear();
        if let Some(parts) = &mut self.parts {
            parts.clear();
        }
        self.announce = self.names.iter().map(|name| (Address::EVERYONE, NameHash::of(name))).collect();
        self.intake.clear();
        self.safe.clear();
    }

    /// Own messages of a class that wait.
    pub(super) fn waiting(&self, class: Priority) -> usize {
        self.postings.queue().of_class(class) + self.staged[class]
    }

    /// Takes a posting and gives it its number; its time runs from now on.
    pub(super) fn post(
        &mut self,
        local: Instant,
        flash: &mut Flash,
        posting: Posting,
    ) -> Result<MessageId, PostError> {
        let class = posting.priority;
        if self.waiting(class) >= self.room {
            return Err(PostError::Full);
        }
        let id = self.postings.number().expect("no run sends as many messages as there are numbers");
        if self.durable {
            self.staged[class] += 1;
            flash.stage(Change::Outbox { id, posting, posted: local });
        } else {
            self.postings.push(local, id, posting);
        }
        Ok(id)
    }

    /// A posting has been written to flash: it may go.
    pub(super) fn written(&mut self, id: MessageId, posting: Posting, posted: Instant) {
        let staged = &mut self.staged[posting.priority];
        *staged = staged.saturating_sub(1);
        self.postings.push(posted, id, posting);
    }
}

/// A message to send, with this envelope in it.
pub(crate) fn posting(to: Address, priority: Priority, within: Duration, envelope: &Envelope<'_>) -> Posting {
    let mut bytes = vec![0; mesh_protocol::ENVELOPE_HEAD_MAX + envelope.body.len()];
    // The envelope came off the air or out of a test: its names and body are within bounds.
    let len = envelope.write(&mut bytes).unwrap_or(0);
    bytes.truncate(len);
    Posting { to, priority, within, envelope: bytes }
}
