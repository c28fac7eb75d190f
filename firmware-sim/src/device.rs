//! One device: a small node, its flash, and an application that answers queries.
//!
//! Owns what firmware would. The node does the mesh; the world does air and time.

use std::collections::{BTreeMap, VecDeque};

use ble_bearer::sim::{Radio, Station, link_info};
use mesh_protocol::{
    Address, Answer, Config, Delivery, Duration, Envelope, EpochKeys, Event, GatewayNode, Host, Instant,
    Keyring, LinkId, MessageId, MessageRef, MessageType, NameHash, NetKey, Outcome, Part, Priority, Reason,
    Received, SmallNode, Stats, Verdict, first_part_len,
};

/// The one link of a device.
const LINK: LinkId = LinkId(0);
/// SEQs reserved at a time; `docs/protocol.md`, "SEQ".
const SEQ_BLOCK: u32 = 1024;
/// Hops allowed to a device's messages unless it is told otherwise: more than any field here is long.
const TTL: u8 = 12;
/// A device's answers expire after this long.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Answers that wait for room in the node; more queries are refused. A guess.
const ANSWERS: usize = 8;

/// A message to send.
#[derive(Clone, Debug)]
pub struct Letter {
    /// To which node.
    pub to: Address,
    /// How urgent.
    pub priority: Priority,
    /// How long anyone wants it.
    pub within: Duration,
    /// The envelope's bytes.
    pub envelope: Vec<u8>,
}

/// A message that a device has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// When its last segment was verified.
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

/// What a device is.
#[derive(Clone, Debug)]
pub struct DeviceConfig {
    /// Its address.
    pub address: Address,
    /// Whether it has the node of a gateway, and room for messages of any length.
    pub gateway: bool,
    /// Whether it relays.
    pub relay: bool,
    /// Hops allowed to its messages.
    pub ttl: u8,
    /// Its dice.
    pub seed: u64,
    /// Its agents; it answers queries to them with the same body.
    pub names: Vec<String>,
}

impl DeviceConfig {
    /// A small device without agents that relays.
    #[must_use]
    pub const fn new(address: Address, seed: u64) -> Self {
        Self { address, gateway: false, relay: true, ttl: TTL, seed, names: Vec::new() }
    }
}

/// What a device's application has and has seen.
#[derive(Debug)]
struct App {
    names: Vec<String>,
    next_id: u32,
    reserved: u32,
    waiting: VecDeque<Letter>,
    flying: BTreeMap<MessageId, Vec<u8>>,
    /// Bytes taken of messages that come in parts; `None` where there is no room for those.
    parts: Option<BTreeMap<(Address, MessageId), u32>>,
    announce: Vec<(Address, NameHash)>,
    delivered: Vec<Delivered>,
    outcomes: Vec<(Instant, MessageId, Outcome)>,
}

/// A node of either size.
#[derive(Debug)]
enum Core {
    Small(Box<SmallNode>),
    Gateway(Box<GatewayNode>),
}

/// The same call on a node of either size.
macro_rules! each {
    ($core:expr, $node:ident => $call:expr) => {
        match $core {
            Core::Small($node) => $call,
            Core::Gateway($node) => $call,
        }
    };
}

/// A device of the simulated network.
#[derive(Debug)]
pub struct Device {
    node: Core,
    app: App,
    up: bool,
    announce_at: Option<Instant>,
}

impl Device {
    /// A device in the network with this key. That of a gateway counts the bytes of messages that come in parts, and keeps none.
    #[must_use]
    pub fn new(now: Instant, config: DeviceConfig, key: &NetKey, epoch: u32) -> Self {
        let DeviceConfig { address, gateway, relay, ttl, seed, names } = config;
        let keys = Keyring::new(EpochKeys::derive(key, epoch));
        let config = Config { address, keys, seed, ttl, relay, seq_start: 0, seq_block: SEQ_BLOCK };
        let node = if gateway {
            Core::Gateway(Box::new(GatewayNode::new(now, config)))
        } else {
            Core::Small(Box::new(SmallNode::new(now, config)))
        };
        let announce = names.iter().map(|name| (Address::EVERYONE, NameHash::of(name))).collect();
        // Within the first seconds, each device at its own time.
        let announce_at = (!names.is_empty()).then(|| now + Duration::from_millis(1_000 + seed % 3_000));
        Self {
            node,
            app: App {
                names,
                // Numbers of messages go on where the SEQs do, so that they never come again after a restart.
                next_id: 1,
                reserved: 0,
                waiting: VecDeque::new(),
                flying: BTreeMap::new(),
                parts: gateway.then(BTreeMap::new),
                announce,
                delivered: Vec::new(),
                outcomes: Vec::new(),
            },
            up: false,
            announce_at,
        }
    }

    /// The node's counters.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        each!(&self.node, node => node.stats())
    }

    /// First SEQ that the device's flash says is free.
    #[must_use]
    pub const fn reserved(&self) -> u32 {
        self.app.reserved
    }

    /// Messages taken so far, in order.
    #[must_use]
    pub fn delivered(&self) -> &[Delivered] {
        &self.app.delivered
    }

    /// What became of this device's own messages, in order.
    #[must_use]
    pub fn outcomes(&self) -> &[(Instant, MessageId, Outcome)] {
        &self.app.outcomes
    }

    /// Gives the device something to send; it goes when the device runs next. Returns its number.
    pub fn post(&mut self, letter: Letter) -> MessageId {
        self.app.waiting.push_back(letter);
        MessageId(self.app.next_id + self.app.waiting.len() as u32 - 1)
    }

    fn send_waiting(&mut self, now: Instant) {
        while each!(&self.node, node => node.has_room()) {
            let Some(letter) = self.app.waiting.pop_front() else { return };
            let id = MessageId(self.app.next_id);
            self.app.next_id += 1;
            let total = letter.envelope.len();
            let delivery = Delivery {
                id,
                destination: letter.to,
                priority: letter.priority,
                deadline: now + letter.within,
            };
            let first = &letter.envelope[..first_part_len(total)];
            match each!(&mut self.node, node => node.send(now, delivery, total, first)) {
                Ok(()) => drop(self.app.flying.insert(id, letter.envelope)),
                Err(_) => self.app.outcomes.push((now, id, Outcome::Expired)),
            }
        }
    }
}

impl Station for Device {
    fn receive(&mut self, now: Instant, frame: &[u8], rssi: i8) -> bool {
        let mut bytes = [0; mesh_protocol::MAX_FRAME];
        if let Some(bytes) = bytes.get_mut(..frame.len()) {
            bytes.copy_from_slice(frame);
            // The node has counted what it did not take.
            let _ = each!(&mut self.node, node => node.handle_frame(now, LINK, bytes, Some(rssi)));
        }
        true
    }

    fn run(&mut self, now: Instant, radio: &mut Radio<'_>) -> Option<Instant> {
        if !self.up {
            self.up = each!(&mut self.node, node => node.handle_link_up(now, LINK, link_info()));
        }
        if self.announce_at.is_some_and(|at| at <= now) {
            self.announce_at = None;
        }
        loop {
            self.send_waiting(now);
            if self.announce_at.is_none() {
                for (to, name) in self.app.announce.split_off(0) {
                    each!(&mut self.node, node => node.announce(to, name));
                }
            }
            let shell = &mut Shell { now, app: &mut self.app, radio };
            let next = each!(&mut self.node, node => node.drive(now, shell));
            let idle = self.app.waiting.is_empty() || !each!(&self.node, node => node.has_room());
            let said = self.announce_at.is_some() || self.app.announce.is_empty();
            if idle && said {
                return [next, self.announce_at].into_iter().flatten().min();
            }
        }
    }
}

struct Shell<'a, 'r> {
    now: Instant,
    app: &'a mut App,
    radio: &'a mut Radio<'r>,
}

impl Host for Shell<'_, '_> {
    fn transmit(&mut self, _link: LinkId, frame: &[u8], copies: u8) {
        // A frame the controller has no room for is lost, as on the air.
        let _ = self.radio.send(frame, copies);
    }

    fn event(&mut self, event: Event<'_>) -> Answer {
        match event {
            Event::Received(received) => self.app.received(self.now, &received),
            Event::ReserveSeq { up_to } => {
                self.app.reserved = up_to;
                Answer::Reserved
            }
            Event::Done { id, outcome, .. } => {
                self.app.flying.remove(&id);
                self.app.outcomes.push((self.now, id, outcome));
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

impl App {
    fn received(&mut self, now: Instant, received: &Received<'_>) -> Answer {
        let verdict = match received.part {
            None => self.take(now, received),
            Some(part) => self.take_part(now, received, part),
        };
        if received.wants_verdict() { Answer::Verdict(verdict) } else { Answer::None }
    }

    fn take_part(&mut self, now: Instant, received: &Received<'_>, part: Part) -> Verdict {
        let &Received { source, id, hops, .. } = received;
        if self.has_delivered(source, id) {
            return Verdict::Delivered;
        }
        let Some(parts) = &mut self.parts else { return Verdict::Rejected(Reason::TooLarge) };
        let taken = parts.get(&(source, id)).copied().unwrap_or(0);
        if part.offset > taken {
            return Verdict::Restart;
        }
        let taken = part.offset + received.bytes.len() as u32;
        if taken == part.total {
            parts.remove(&(source, id));
            self.delivered.push(Delivered { at: now, source, id, hops, body: Vec::new(), reply_to: None });
        } else {
            parts.insert((source, id), taken);
        }
        Verdict::Delivered
    }

    fn take(&mut self, now: Instant, received: &Received<'_>) -> Verdict {
        let &Received { source, id, hops, priority, .. } = received;
        if self.has_delivered(source, id) {
            return Verdict::Delivered;
        }
        let Ok(envelope) = Envelope::parse(received.bytes) else {
            return Verdict::Rejected(Reason::Malformed);
        };
        if !envelope.to.is_empty() && !self.names.iter().any(|name| name == envelope.to) {
            return Verdict::Rejected(Reason::NoSuchAgent);
        }
        if envelope.kind == MessageType::Query {
            if self.waiting.len() >= ANSWERS {
                return Verdict::Rejected(Reason::InboxFull);
            }
            let answer = Envelope {
                kind: MessageType::Response,
                deadline_ms: None,
                from: envelope.to,
                to: envelope.from,
                processed: false,
                reply_to: Some(MessageRef { node: source, id }),
                text: envelope.text,
                body: envelope.body,
            };
            self.waiting.push_back(letter(source, priority, ANSWER_WITHIN, &answer));
        }
        let (body, reply_to) = (envelope.body.to_vec(), envelope.reply_to);
        self.delivered.push(Delivered { at: now, source, id, hops, body, reply_to });
        Verdict::Delivered
    }

    fn has_delivered(&self, source: Address, id: MessageId) -> bool {
        self.delivered.iter().rev().any(|known| (known.source, known.id) == (source, id))
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
