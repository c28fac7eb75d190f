//! One agent: its session, its inbox, its credits.
//!
//! Owns what is shown to the agent and when. Everything durable in it is in the store too; staging that is for the
//! callers, who know what else belongs to the same step.

use std::collections::{BTreeMap, VecDeque};

use mesh_protocol::MessageType;
use serde::{Deserialize, Serialize};

use crate::agents::{PushError, SessionId, SessionPort};
use crate::api::{Event, Message, Name, Receipt};
use crate::store::AgentKey;

/// What an inbox keeps until the agent acknowledges it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Item {
    /// A message, and who is to be told when the agent has acknowledged it.
    Message(Message, Option<Wish>),
    /// What became of a message of the agent.
    Receipt(Receipt),
}

/// Who is to be told that a message was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Wish {
    /// The node it came from.
    Node,
    /// An agent of this gateway, under its own number for the message.
    Agent(Name, Option<u64>),
}

impl Item {
    fn weight(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Message(message, _) => message.body.len(),
                Self::Receipt(receipt) => receipt.why.as_ref().map_or(0, String::len),
            }
    }

    fn event(&self) -> Event {
        match self {
            Self::Message(message, _) => Event::Message(message.clone()),
            Self::Receipt(receipt) => Event::Receipt(receipt.clone()),
        }
    }
}

/// Which messages of a group an agent wants: all, or these types.
pub(super) type Types = Option<Vec<MessageType>>;

/// What the store keeps of an agent besides its inbox.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct AgentRecord {
    pub(super) name: Name,
    pub(super) acked: u64,
    pub(super) groups: BTreeMap<Name, Types>,
}

#[derive(Debug)]
struct Session {
    id: SessionId,
    port: SessionPort,
    credits: u32,
}

/// An agent of this gateway, connected or not.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) key: AgentKey,
    pub(super) name: Name,
    pub(super) groups: BTreeMap<Name, Types>,
    session: Option<Session>,
    kept: VecDeque<(u64, Item)>,
    /// How many of `kept` this session has been shown.
    shown: usize,
    /// Messages that were not durable, and wait for credit.
    fleeting: VecDeque<Item>,
    bytes: usize,
    acked: u64,
    next_cursor: u64,
    /// Everything up to here is on disk; what lies behind is shown to nobody, or a power cut could give its cursor to
    /// another item.
    synced: u64,
    /// When it last had a session, in sessions; decides who is forgotten first.
    pub(super) last_seen: u64,
}

/// How much one inbox may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct InboxBound {
    pub(super) messages: usize,
    pub(super) bytes: usize,
}

impl Agent {
    pub(super) const fn new(key: AgentKey, name: Name) -> Self {
        Self {
            key,
            name,
            groups: BTreeMap::new(),
            session: None,
            kept: VecDeque::new(),
            shown: 0,
            fleeting: VecDeque::new(),
            bytes: 0,
            acked: 0,
            next_cursor: 1,
            synced: 0,
            last_seen: 0,
        }
    }

    /// The agent as the store had it.
    pub(super) fn recovered(key: AgentKey, record: AgentRecord, kept: Vec<(u64, Item)>) -> Self {
        let last = kept.last().map_or(record.acked, |(cursor, _)| *cursor).max(record.acked);
        Self {
            groups: record.groups,
            bytes: kept.iter().map(|(_, item)| item.weight()).sum(),
            kept: kept.into(),
            acked: record.acked,
            next_cursor: last + 1,
            synced: last,
            ..Self::new(key, record.name)
        }
    }

    pub(super) fn record(&self) -> AgentRecord {
        AgentRecord { name: self.name, acked: self.acked, groups: self.groups.clone() }
    }

    /// Whether one more item fits.
    pub(super) fn has_room(&self, bound: InboxBound) -> bool {
        self.kept.len() + self.fleeting.len() < bound.messages && self.bytes < bound.bytes
    }

    /// Puts an item into the inbox; returns its place.
    pub(super) fn keep(&mut self, item: Item) -> u64 {
        let cursor = self.next_cursor;
        self.next_cursor += 1;
        self.bytes += item.weight();
        let item = match item {
            Item::Message(message, wish) => Item::Message(Message { cursor: Some(cursor), ..message }, wish),
            Item::Receipt(receipt) => Item::Receipt(Receipt { cursor: Some(cursor), ..receipt }),
        };
        self.kept.push_back((cursor, item));
        cursor
    }

    /// The item that was kept last.
    pub(super) fn last_kept(&self) -> Option<&Item> {
        self.kept.back().map(|(_, item)| item)
    }

    /// Holds a message that is not durable until there is credit for it.
    pub(super) fn hold(&mut self, item: Item) {
        self.bytes += item.weight();
        self.fleeting.push_back(item);
    }

    /// Begins a session at `resume` (or behind the last ack) and returns the one it takes the place of, and where it
    /// begins.
    pub(super) fn attach(
        &mut self,
        id: SessionId,
        port: SessionPort,
        credits: u32,
        resume: Option<u64>,
    ) -> (Option<SessionPort>, u64) {
        let from = resume.unwrap_or(self.acked).clamp(self.acked, self.next_cursor - 1);
        self.shown = self.kept.partition_point(|(cursor, _)| *cursor <= from);
        self.last_seen = id.0;
        let old = self.session.replace(Session { id, port, credits });
        (old.map(|old| old.port), from)
    }

    /// Ends this session, if it is the present one.
    pub(super) fn detach(&mut self, id: SessionId) {
        if self.session.as_ref().is_some_and(|session| session.id == id) {
            self.session = None;
            self.shown = 0;
        }
    }

    pub(super) const fn is_connected(&self) -> bool {
        self.session.is_some()
    }

    pub(super) fn session(&self) -> Option<SessionId> {
        self.session.as_ref().map(|session| session.id)
    }

    pub(super) fn credit(&mut self, n: u32) {
        if let Some(session) = &mut self.session {
            session.credits = session.credits.saturating_add(n);
        }
    }

    /// Tells the agent something that is not kept. `Err` when the session is too slow and has been closed.
    pub(super) fn tell(&mut self, event: Event) -> Result<(), TooSlow> {
        let Some(session) = &self.session else { return Ok(()) };
        match session.port.push(event) {
            Ok(()) | Err(PushError::Closed) => Ok(()),
            Err(PushError::Slow) => {
                session
                    .port
                    .close("too slow: the queue of events is full; read faster, or grant fewer credits");
                self.session = None;
                Err(TooSlow)
            }
        }
    }

    /// Shows the session what is due to it and what its credits allow, as far as its queue has room. Where that ends,
    /// the session tells when there is room again.
    pub(super) fn show(&mut self) {
        while let Some(session) = &mut self.session {
            let fleeting = self.fleeting.front();
            let synced = self.synced;
            let kept =
                self.kept.get(self.shown).filter(|(cursor, _)| *cursor <= synced).map(|(_, item)| item);
            let Some(item) = fleeting.or(kept) else { return };
            let costs = matches!(item, Item::Message(..));
            if (costs && session.credits == 0) || session.port.push(item.event()).is_err() {
                return;
            }
            session.credits -= u32::from(costs);
            if fleeting.is_some() {
                self.bytes -= self.fleeting.pop_front().map_or(0, |item| item.weight());
            } else {
                self.shown += 1;
            }
        }
    }

    /// The agent has handled everything up to `cursor`: gives it away. `None` when nothing changes.
    pub(super) fn ack(&mut self, cursor: u64) -> Option<Vec<Item>> {
        let count = self.kept.partition_point(|(known, _)| *known <= cursor);
        if count == 0 {
            return None;
        }
        self.acked = self.kept[count - 1].0;
        self.shown = self.shown.saturating_sub(count);
        let items: Vec<Item> = self.kept.drain(..count).map(|(_, item)| item).collect();
        self.bytes -= items.iter().map(Item::weight).sum::<usize>();
        Some(items)
    }

    /// Everything up to `cursor` is on disk now.
    pub(super) fn synced(&mut self, cursor: u64) {
        self.synced = self.synced.max(cursor);
    }

    /// Whether a cursor was ever given to this agent.
    pub(super) const fn knows(&self, cursor: u64) -> bool {
        cursor < self.next_cursor
    }

    /// Whether nothing durable waits for an ack.
    pub(super) fn has_none_kept(&self) -> bool {
        self.kept.is_empty()
    }

    pub(super) const fn acked(&self) -> u64 {
        self.acked
    }

    /// Events that wait for this agent.
    pub(super) fn depth(&self) -> usize {
        self.kept.len() + self.fleeting.len()
    }

    /// Whether nothing would be lost if the gateway forgot it.
    pub(super) fn is_forgettable(&self) -> bool {
        self.session.is_none() && self.depth() == 0 && self.groups.is_empty()
    }
}

/// A session did not read what it was sent, and was closed. What is kept stays for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooSlow;
