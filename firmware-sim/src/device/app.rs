//! The application of a device: what it sends, what it has taken, and its answers to queries.
//!
//! Owns letters and deliveries, and what of them is in RAM. When something is safe in flash is `flash`'s business.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ble_bearer::sim::Radio;
use mesh_protocol::{
    Address, Answer, Duration, Envelope, EnvelopeError, Event, Host, Instant, LinkId, MessageId, MessageRef,
    MessageType, NameHash, Part, Priority, Reason, Received, ReplayMark, SendOutcome, Verdict,
};
use serde::{Deserialize, Serialize};

use super::flash::{Change, Flash};
use super::notes::{Audit, Note};

/// A device's answers expire after this long.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Messages that wait for flash to have the mark of their source; more are refused. A guess.
const UNMARKED: usize = 8;
/// Answers that wait for room in the node; more queries are refused. A guess.
const ANSWERS: usize = 8;

/// A message to send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// To which node.
    pub to: Address,
    /// How urgent.
    pub priority: Priority,
    /// How long anyone wants it.
    #[serde(with = "micros")]
    pub within: Duration,
    /// The envelope's bytes.
    pub envelope: Vec<u8>,
}

/// Spans as they stand in flash.
mod micros {
    use mesh_protocol::Duration;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(span: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(span.as_micros())
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_micros)
    }
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

/// A message that waits for flash to have the mark of its source.
#[derive(Debug)]
pub(super) struct Unmarked {
    pub(super) mark: ReplayMark,
    pub(super) priority: Priority,
    /// Its sender waits for a receipt.
    pub(super) owed: bool,
    pub(super) delivered: Delivered,
}

/// What a device's application has and has seen.
#[derive(Debug)]
pub(super) struct App {
    pub(super) names: Vec<String>,
    pub(super) next_id: u32,
    /// Numbers below this are asked for in flash.
    pub(super) ids_asked: u32,
    pub(super) waiting: VecDeque<(MessageId, Letter)>,
    pub(super) flying: BTreeMap<MessageId, Vec<u8>>,
    /// Bytes taken of messages that come in parts; `None` where there is no room for those.
    pub(super) parts: Option<BTreeMap<(Address, MessageId), u32>>,
    pub(super) announce: Vec<(Address, NameHash)>,
    /// Messages taken, by which a repeat is recognised: RAM, or a copy of what flash has.
    pub(super) known: BTreeSet<(Address, MessageId)>,
    /// Taken, and not yet safe in flash.
    pub(super) unsafe_yet: BTreeSet<(Address, MessageId)>,
    /// Of these, the ones that flash does not keep: they wait until it has the mark of their source.
    pub(super) unmarked: VecDeque<Unmarked>,
    /// Receipts that the node had no room for.
    pub(super) owed: Vec<(Address, MessageId, Priority)>,
    /// Whether what is taken and what is sent goes to flash first.
    pub(super) durable: bool,
    /// What happened, for whoever made the experiment: no memory of the device's.
    pub(super) delivered: Vec<Delivered>,
    pub(super) outcomes: Vec<(Instant, MessageId, SendOutcome)>,
    /// What has become safe in flash and is not yet acted on.
    pub(super) safe: VecDeque<Change>,
}

/// What stands between a node and its device while the node is driven.
pub(super) struct Shell<'a, 'r> {
    pub(super) now: Instant,
    pub(super) app: &'a mut App,
    pub(super) flash: &'a mut Flash,
    pub(super) audit: Option<&'a mut Audit>,
    pub(super) radio: &'a mut Radio<'r>,
}

impl Host for Shell<'_, '_> {
    fn transmit(&mut self, _link: LinkId, frame: &[u8]) {
        if self.audit.is_some() {
            self.note(Note::Handed(frame.to_vec()));
        }
        // A frame the controller has no room for is lost, as on the air.
        let _ = self.radio.send(frame, 1);
    }

    fn event(&mut self, event: Event<'_>) -> Answer {
        match event {
            Event::Received(received) => self.received(&received),
            Event::ReserveSeq { up_to } => {
                self.flash.stage(Change::Seq(up_to));
                self.app.safe.extend(self.flash.poll(self.now));
                if self.flash.kept().seq >= up_to { Answer::Reserved } else { Answer::None }
            }
            Event::Done { id, outcome, .. } => {
                self.app.flying.remove(&id);
                self.app.outcomes.push((self.now, id, outcome));
                self.note(Note::Done(id, outcome));
                if self.app.durable {
                    self.flash.stage(Change::Settled(id));
                }
                Answer::None
            }
            Event::NameWanted { source, name } => {
                if self.app.names.iter().any(|own| NameHash::of(own) == name) {
                    self.app.announce.push((source, name));
                }
                Answer::None
            }
            _ => Answer::None,
        }
    }

    fn load(&mut self, id: MessageId, offset: u32, out: &mut [u8]) -> bool {
        let offset = offset as usize;
        let Some(bytes) = self.app.flying.get(&id).and_then(|all| all.get(offset..offset + out.len())) else {
            return false;
        };
        out.copy_from_slice(bytes);
        true
    }
}

impl Shell<'_, '_> {
    fn note(&mut self, note: Note) {
        if let Some(audit) = &mut self.audit {
            audit.notes.push(note);
        }
    }

    fn received(&mut self, received: &Received<'_>) -> Answer {
        let &Received { source, destination, id, priority, part, bytes, .. } = received;
        if self.audit.is_some() {
            self.note(Note::Shown { source, destination, id, priority, part, bytes: bytes.to_vec() });
        }
        let verdict = match part {
            None => self.take(received),
            Some(part) => self.take_part(received, part),
        };
        let Some(verdict) = verdict else { return Answer::None };
        if verdict != Verdict::Delivered {
            self.note(Note::Verdict(source, id, verdict));
        }
        if received.wants_verdict() { Answer::Verdict(verdict) } else { Answer::None }
    }

    /// What to say of a part; `None` for nothing yet.
    fn take_part(&mut self, received: &Received<'_>, part: Part) -> Option<Verdict> {
        let &Received { source, id, .. } = received;
        if let Some(verdict) = self.already(received) {
            return verdict;
        }
        let Some(parts) = &mut self.app.parts else { return Some(Verdict::Rejected(Reason::TooLarge)) };
        let taken = parts.get(&(source, id)).copied().unwrap_or(0);
        if part.offset > taken {
            return Some(Verdict::Restart);
        }
        let taken = part.offset + received.bytes.len() as u32;
        if taken == part.total {
            parts.remove(&(source, id));
            return self.deliver(received, Vec::new(), None);
        }
        parts.insert((source, id), taken);
        Some(Verdict::Delivered)
    }

    fn take(&mut self, received: &Received<'_>) -> Option<Verdict> {
        let &Received { source, id, priority, .. } = received;
        if let Some(verdict) = self.already(received) {
            return verdict;
        }
        let envelope = match Envelope::parse(received.bytes) {
            Ok(envelope) => envelope,
            // A device keeps no contexts: it is told the names again.
            Err(EnvelopeError::UnknownContext) => return Some(Verdict::Rejected(Reason::UnknownContext)),
            Err(_) => return Some(Verdict::Rejected(Reason::Malformed)),
        };
        if !envelope.to.is_empty() && !self.app.names.iter().any(|name| name == envelope.to) {
            return Some(Verdict::Rejected(Reason::NoSuchAgent));
        }
        if envelope.kind == MessageType::Query {
            if self.app.waiting.len() >= ANSWERS {
                return Some(Verdict::Rejected(Reason::InboxFull));
            }
            let answer = Envelope {
                kind: MessageType::Response,
                from: envelope.to,
                to: envelope.from,
                processed: false,
                reply_to: Some(MessageRef { node: source, id }),
                text: envelope.text,
                body: envelope.body,
            };
            let answer = letter(source, priority, ANSWER_WITHIN, &answer);
            self.app.post(self.flash, answer);
        }
        self.deliver(received, envelope.body.to_vec(), envelope.reply_to)
    }

    /// What to say of a message that was taken before, or that there is no room for: `Some(None)` while it is on its way to flash.
    fn already(&self, received: &Received<'_>) -> Option<Option<Verdict>> {
        let name = (received.source, received.id);
        if self.app.known.contains(&name) {
            return Some(Some(Verdict::Delivered));
        }
        if self.app.unsafe_yet.contains(&name) {
            return Some(None);
        }
        (self.app.unmarked.len() >= UNMARKED).then_some(Some(Verdict::Rejected(Reason::InboxFull)))
    }

    fn deliver(
        &mut self,
        received: &Received<'_>,
        body: Vec<u8>,
        reply_to: Option<MessageRef>,
    ) -> Option<Verdict> {
        let &Received { source, id, hops, priority, mark, .. } = received;
        // It goes in the same write as the message, or ahead of the delivery: frames that brought it bring nothing after a cut.
        if let Some(mark) = mark {
            self.flash.stage(Change::Mark(mark.src, mark.epoch, mark.seq));
        }
        if self.app.durable {
            self.app.unsafe_yet.insert((source, id));
            self.flash.stage(Change::Inbox { source, id, priority, hops, body, reply_to });
            return None;
        }
        self.app.safe.extend(self.flash.poll(self.now));
        let delivered = Delivered { at: self.now, source, id, hops, body, reply_to };
        if let Some(mark) = mark.filter(|mark| !self.flash.kept().has(*mark)) {
            self.app.unsafe_yet.insert((source, id));
            self.app.unmarked.push_back(Unmarked {
                mark,
                priority,
                owed: received.wants_verdict(),
                delivered,
            });
            return None;
        }
        self.app.known.insert((source, id));
        self.app.delivered.push(delivered);
        self.note(Note::Delivered(source, id));
        Some(Verdict::Delivered)
    }
}

impl App {
    /// Takes a letter and gives it its number.
    pub(super) fn post(&mut self, flash: &mut Flash, letter: Letter) -> MessageId {
        let id = MessageId(self.next_id);
        self.next_id += 1;
        if self.durable {
            flash.stage(Change::Outbox(id, letter));
        } else {
            self.waiting.push_back((id, letter));
        }
        id
    }
}

/// A letter with this envelope in it.
pub(crate) fn letter(to: Address, priority: Priority, within: Duration, envelope: &Envelope<'_>) -> Letter {
    let mut bytes = vec![0; mesh_protocol::ENVELOPE_HEAD_MAX + envelope.body.len()];
    // The envelope came off the air or out of a test: its names and body are within bounds.
    let len = envelope.write(&mut bytes).unwrap_or(0);
    bytes.truncate(len);
    Letter { to, priority, within, envelope: bytes }
}
