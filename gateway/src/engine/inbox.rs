//! One agent: its session, its inbox, its credits.
//!
//! Owns what is shown to the agent and when. Everything durable in it is in the store too; staging that is for the
//! callers, who know what else belongs to the same step.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mesh_agent::api::{Destination, ErrorEvent, Event, Message, MessageRef, Name, Receipt};
use mesh_protocol::{MessageType, Priority};
use serde::{Deserialize, Serialize};

use super::accounts::Charge;
use super::encoding::encode;
use super::keys::Keys;
use crate::access::Holder;
use crate::agents::{PushError, SessionId, SessionPort};
use crate::share::for_priority;
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

    pub(super) fn body_len(&self) -> usize {
        match self {
            Self::Message(message, _) => message.body.len(),
            Self::Receipt(_) => 0,
        }
    }

    /// The message that it is, or that it is about.
    const fn id(&self) -> &MessageRef {
        match self {
            Self::Message(message, _) => &message.id,
            Self::Receipt(receipt) => &receipt.id,
        }
    }

    /// The same in this place of an inbox.
    fn at(mut self, place: Option<u64>) -> Self {
        match &mut self {
            Self::Message(message, _) => message.cursor = place,
            Self::Receipt(receipt) => receipt.cursor = place,
        }
        self
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
    /// Cursors below this one may have been given to items that were never on the disk. Absent in records of before.
    pub(super) reserved: u64,
    /// The token that it came with last. Absent in records of before.
    pub(super) token: Option<Name>,
}

/// Cursors reserved at a time, in one write.
const CURSORS: u64 = 1_024;

/// An item in an inbox, and whether the store has it too.
#[derive(Debug)]
struct Kept {
    cursor: u64,
    item: Item,
    durable: bool,
    /// On whose account it stands.
    charge: Option<Charge>,
}

/// What an ack takes out of an inbox.
#[derive(Debug)]
pub(super) struct Acked {
    /// The items, and whether the store had each.
    pub(super) items: Vec<(Item, bool)>,
    /// Whether it had any.
    pub(super) durable: bool,
}

#[derive(Debug)]
struct Session {
    id: SessionId,
    port: SessionPort,
    credits: u32,
    /// The token that it came with.
    holder: Option<Holder>,
}

/// Bytes that several inboxes hold together.
#[derive(Clone, Debug, Default)]
pub(super) struct Held(Arc<AtomicUsize>);

impl Held {
    pub(super) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// An agent of this gateway, connected or not.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) key: AgentKey,
    pub(super) name: Name,
    pub(super) groups: BTreeMap<Name, Types>,
    /// The token that it came with last: on whose account it stands.
    pub(super) owner: Option<Name>,
    /// Of the messages it has sent.
    pub(super) keys: Keys,
    /// It goes with its session, and with it all that waits for it: nothing of it is on the disk.
    passing: bool,
    session: Option<Session>,
    kept: VecDeque<Kept>,
    /// How many of `kept` this session has been shown.
    shown: usize,
    /// What came after the store had failed and need not be on the disk, and waits for credit.
    fleeting: VecDeque<(Item, Option<Charge>)>,
    bytes: usize,
    /// Where its bytes are counted together with those of others.
    all: Held,
    acked: u64,
    next_cursor: u64,
    /// Everything durable up to here is on disk; what lies behind is shown to nobody, or a power cut could give its cursor to
    /// another item.
    synced: u64,
    /// Cursors below this one are given to no other item after a power cut, and so may be shown without being on disk.
    reserved: u64,
    /// The same, once the disk has it.
    reserving: u64,
    /// When it last had a session, in sessions; decides who is forgotten first.
    pub(super) last_seen: u64,
}

/// How much one inbox may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct InboxBound {
    pub(super) messages: usize,
    pub(super) bytes: usize,
    /// For all inboxes together.
    pub(super) total_bytes: usize,
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.all.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Agent {
    pub(super) fn new(key: AgentKey, name: Name) -> Self {
        Self {
            key,
            name,
            groups: BTreeMap::new(),
            owner: None,
            keys: Keys::default(),
            passing: false,
            session: None,
            kept: VecDeque::new(),
            shown: 0,
            fleeting: VecDeque::new(),
            bytes: 0,
            all: Held::default(),
            acked: 0,
            next_cursor: 1,
            synced: 0,
            reserved: 0,
            reserving: 0,
            last_seen: 0,
        }
    }

    /// It is there for its session alone from now on. No later agent can have its cursors, so all of them may be used.
    pub(super) fn pass(&mut self) {
        self.passing = true;
        (self.reserved, self.reserving) = (u64::MAX, u64::MAX);
    }

    pub(super) const fn is_passing(&self) -> bool {
        self.passing
    }

    /// The agent as the store had it.
    pub(super) fn recovered(
        key: AgentKey,
        record: AgentRecord,
        kept: Vec<(u64, Item, Option<Charge>)>,
        keys: Keys,
    ) -> Self {
        let last = kept.last().map_or(record.acked, |(cursor, ..)| *cursor).max(record.acked);
        let mut agent = Self::new(key, record.name);
        agent.groups = record.groups;
        agent.keys = keys;
        agent.owner = record.token;
        agent.weigh(kept.iter().map(|(_, item, _)| item.weight()).sum());
        let kept = kept.into_iter();
        agent.kept =
            kept.map(|(cursor, item, charge)| Kept { cursor, item, durable: true, charge }).collect();
        agent.acked = record.acked;
        agent.next_cursor = (last + 1).max(record.reserved);
        agent.synced = last;
        (agent.reserved, agent.reserving) = (record.reserved, record.reserved);
        agent
    }

    /// Counts its bytes together with those of others from now on.
    pub(super) fn count_into(&mut self, all: &Held) {
        let bytes = self.bytes;
        self.lighten(bytes);
        self.all = all.clone();
        self.weigh(bytes);
    }

    fn weigh(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.all.0.fetch_add(bytes, Ordering::Relaxed);
    }

    fn lighten(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.all.0.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn record(&self) -> AgentRecord {
        let Self { name, acked, reserving, .. } = *self;
        AgentRecord { name, acked, groups: self.groups.clone(), reserved: reserving, token: self.owner }
    }

    /// Whether one more message of this priority fits. The last sixteenth is for CRITICAL ones.
    pub(super) fn has_room_for(&self, bound: InboxBound, priority: Priority) -> bool {
        let left = |most| for_priority(most, priority);
        self.has_room(InboxBound {
            messages: left(bound.messages),
            bytes: left(bound.bytes),
            total_bytes: left(bound.total_bytes),
        })
    }

    /// Whether one more item fits.
    pub(super) fn has_room(&self, bound: InboxBound) -> bool {
        self.depth() < bound.messages && self.bytes < bound.bytes && self.all.bytes() < bound.total_bytes
    }

    /// Puts an item into the inbox; returns its place. One that is not `durable` is in memory only.
    pub(super) fn keep(&mut self, item: Item, durable: bool, charge: Option<Charge>) -> u64 {
        let cursor = self.next_cursor;
        self.next_cursor += 1;
        self.weigh(item.weight());
        self.kept.push_back(Kept { cursor, item: item.at(Some(cursor)), durable, charge });
        cursor
    }

    /// The item that was kept last, as the store has it.
    pub(super) fn last_kept(&self) -> Option<Vec<u8>> {
        self.kept.back().map(Kept::record)
    }

    /// Whether more cursors have to be reserved for items that are not on disk. If so, its record says which.
    pub(super) fn reserves(&mut self) -> Option<u64> {
        if self.reserving.saturating_sub(self.next_cursor) > CURSORS / 2 {
            return None;
        }
        self.reserving = self.next_cursor + CURSORS;
        Some(self.reserving)
    }

    /// That record is on disk.
    pub(super) fn reserved(&mut self, up_to: u64) {
        self.reserved = self.reserved.max(up_to);
    }

    /// Gives everything that is in memory only, to be put on the disk; its record has to follow it there.
    pub(super) fn in_memory(&mut self) -> impl Iterator<Item = (u64, Vec<u8>)> {
        (self.reserved, self.reserving) = (0, 0);
        self.kept.iter().filter(|kept| !kept.durable).map(|kept| (kept.cursor, kept.record()))
    }

    /// Whether its record has cursors reserved that need not be.
    pub(super) const fn has_reserved(&self) -> bool {
        self.reserving > 0
    }

    /// Holds something that cannot be kept until there is credit for it.
    pub(super) fn hold(&mut self, item: Item, charge: Option<Charge>) {
        self.weigh(item.weight());
        self.fleeting.push_back((item, charge));
    }

    /// The store has failed: takes out what was refused, and receipts of it. What need not be on the disk does not wait for it: it
    /// is shown without a cursor, as cursors that are not on the disk belong to others after a restart. The rest waits. The cursors
    /// of which nothing is to get to the disk.
    pub(super) fn take_back(&mut self, refused: &BTreeSet<MessageRef>) -> Vec<u64> {
        let (mut gone, mut waits) = (Vec::new(), false);
        for kept in std::mem::take(&mut self.kept) {
            let stays = kept.may_be_shown(self.synced, self.reserved);
            if kept.cursor > self.synced && refused.contains(kept.item.id()) {
                self.lighten(kept.item.weight());
                gone.extend(kept.durable.then_some(kept.cursor));
            } else if kept.durable || stays && !waits {
                waits |= !stays;
                self.kept.push_back(kept);
            } else {
                self.lighten(kept.item.weight());
                self.hold(kept.item.at(None), kept.charge);
            }
        }
        gone
    }

    /// The store writes again: what was held meanwhile, to be kept.
    pub(super) fn take_held(&mut self) -> VecDeque<(Item, Option<Charge>)> {
        let held = std::mem::take(&mut self.fleeting);
        self.lighten(held.iter().map(|(item, _)| item.weight()).sum());
        held
    }

    /// Begins a session at `resume` (or behind the last ack) and returns the one it takes the place of, and where it
    /// begins.
    pub(super) fn attach(
        &mut self,
        id: SessionId,
        port: SessionPort,
        holder: Option<Holder>,
        credits: u32,
        resume: Option<u64>,
    ) -> (Option<SessionPort>, u64) {
        let from = resume.unwrap_or(self.acked).clamp(self.acked, self.next_cursor - 1);
        self.shown = self.kept.partition_point(|kept| kept.cursor <= from);
        self.last_seen = id.0;
        let old = self.session.replace(Session { id, port, credits, holder });
        (old.map(|old| old.port), from)
    }

    /// Ends this session, if it is the present one.
    pub(super) fn detach(&mut self, id: SessionId) {
        if self.session.as_ref().is_some_and(|session| session.id == id) {
            self.session = None;
            self.shown = 0;
        }
    }

    /// Ends its session with this reason.
    pub(super) fn refuse(&self, error: ErrorEvent) {
        if let Some(session) = &self.session {
            session.port.refuse(error);
        }
    }

    pub(super) const fn is_connected(&self) -> bool {
        self.session.is_some()
    }

    pub(super) fn session(&self) -> Option<SessionId> {
        self.session.as_ref().map(|session| session.id)
    }

    /// What the token is called that its session came with.
    pub(super) fn token(&self) -> Option<Name> {
        self.holder().map(|holder| holder.token)
    }

    /// The token that its session came with.
    pub(super) fn holder(&self) -> Option<Holder> {
        self.session.as_ref().and_then(|session| session.holder)
    }

    /// What that token allows has changed.
    pub(super) fn changed(&mut self, holder: Option<Holder>) {
        if let Some(session) = &mut self.session {
            session.holder = holder;
        }
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
            let fleeting = self.fleeting.front().map(|(item, _)| item);
            let (synced, reserved) = (self.synced, self.reserved);
            let kept = self.kept.get(self.shown).filter(|kept| kept.may_be_shown(synced, reserved));
            let Some(item) = fleeting.or(kept.map(|kept| &kept.item)) else { return };
            let costs = matches!(item, Item::Message(..));
            if (costs && session.credits == 0) || session.port.push_shown(item.event()).is_err() {
                return;
            }
            session.credits -= u32::from(costs);
            if fleeting.is_some() {
                let weight = self.fleeting.pop_front().map_or(0, |(item, _)| item.weight());
                self.lighten(weight);
            } else {
                self.shown += 1;
            }
        }
    }

    /// The agent has handled everything up to `cursor`: gives it away. `None` when nothing changes.
    pub(super) fn ack(&mut self, cursor: u64) -> Option<Acked> {
        let count = self.kept.partition_point(|known| known.cursor <= cursor);
        if count == 0 {
            return None;
        }
        self.acked = self.kept[count - 1].cursor;
        self.shown = self.shown.saturating_sub(count);
        let items: Vec<(Item, bool)> =
            self.kept.drain(..count).map(|kept| (kept.item, kept.durable)).collect();
        self.lighten(items.iter().map(|(item, _)| item.weight()).sum());
        let durable = items.iter().any(|(_, durable)| *durable);
        Some(Acked { items, durable })
    }

    /// Everything up to `cursor` is on disk now.
    pub(super) fn synced(&mut self, cursor: u64) {
        self.synced = self.synced.max(cursor);
    }

    /// Whether a cursor was ever given to this agent.
    pub(super) const fn knows(&self, cursor: u64) -> bool {
        cursor < self.next_cursor
    }

    /// Whether nothing waits for an ack.
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

    /// What would be lost if the gateway forgot it, least first; `None` when it must not.
    pub(super) fn worth(&self) -> Option<Worth> {
        if self.session.is_some() {
            return None;
        }
        let items = self.kept.iter().map(|kept| &kept.item).chain(self.fleeting.iter().map(|(item, _)| item));
        let of_items = items.map(|item| match item {
            Item::Message(message, _)
                if matches!(message.to, Destination::Group(_) | Destination::Everyone)
                    && message.priority != Priority::Critical =>
            {
                Some(Worth::SaidToMany)
            }
            Item::Message(..) => None,
            Item::Receipt(_) => Some(Worth::Receipts),
        });
        let of_groups = if self.groups.is_empty() { Worth::Nothing } else { Worth::SaidToMany };
        of_items.chain([Some(of_groups)]).try_fold(Worth::Nothing, |most, one| Some(most.max(one?)))
    }
}

impl Kept {
    fn record(&self) -> Vec<u8> {
        encode(&(&self.item, self.charge.as_ref().map(Charge::token)))
    }

    fn may_be_shown(&self, synced: u64, reserved: u64) -> bool {
        self.cursor <= synced || (!self.durable && self.cursor < reserved)
    }
}

/// What an absent agent has here that nobody else has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Worth {
    /// A name.
    Nothing,
    /// Subscriptions, and what was said to groups or everyone and was not CRITICAL.
    SaidToMany,
    /// Receipts that it has not acknowledged, or that may still come.
    Receipts,
}

/// A session did not read what it was sent, and was closed. What is kept stays for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooSlow;

#[cfg(test)]
mod tests {
    use mesh_protocol::{Address, MessageId};

    use super::*;
    use mesh_agent::api::{Body, MessageRef, Outcome};

    fn message(to: Destination) -> Item {
        let id = MessageRef { node: Address::new(2), id: MessageId(1) };
        let message = Message {
            cursor: None,
            id,
            from: Destination::Node(Address::new(2)),
            to,
            kind: MessageType::Task,
            priority: Priority::Low,
            reply_to: None,
            hops: 1,
            at_us: 0,
            body: Body::text("x"),
        };
        Item::Message(message, None)
    }

    fn receipt() -> Item {
        Item::Receipt(Receipt {
            cursor: None,
            reference: Some(7),
            id: MessageRef { node: Address::new(1), id: MessageId(2) },
            outcome: Outcome::Delivered,
            at_node: None,
            why: None,
            hops: None,
            at_us: 0,
        })
    }

    fn agent() -> Agent {
        Agent::new(AgentKey(1), Name::new("bob").unwrap())
    }

    #[test]
    fn a_failing_disk_takes_back_what_was_refused_and_nothing_else() {
        let mut bob = agent();
        let to_bob = || message(Destination::Node(Address::new(1)));
        assert_eq!(
            (bob.keep(to_bob(), true, None), bob.keep(to_bob(), true, None), bob.keep(receipt(), true, None)),
            (1, 2, 3)
        );
        bob.synced(1);
        let refused = [*to_bob().id()].into();
        assert_eq!(bob.take_back(&refused), [2]);
        let kept: Vec<u64> = bob.kept.iter().map(|kept| kept.cursor).collect();
        assert_eq!(kept, [1, 3], "of the same number, the first is on the disk");
        assert_eq!(bob.take_back(&[*receipt().id()].into()), [3]);
    }

    #[test]
    fn what_is_in_memory_only_is_shown_under_reserved_cursors() {
        let mut bob = agent();
        let to_bob = || message(Destination::Node(Address::new(1)));
        let shown = |bob: &Agent| -> Vec<u64> {
            let may = bob.kept.iter().filter(|kept| kept.may_be_shown(bob.synced, bob.reserved));
            may.map(|kept| kept.cursor).collect()
        };
        let up_to = bob.reserves().unwrap();
        bob.keep(to_bob(), false, None);
        assert_eq!((shown(&bob), bob.reserves()), (vec![], None));
        bob.reserved(up_to);
        bob.keep(to_bob(), true, None);
        assert_eq!(shown(&bob), [1], "the second must be on disk");
        let record = bob.record();
        assert!(!bob.ack(1).unwrap().durable && bob.ack(2).unwrap().durable);
        let again = Agent::recovered(AgentKey(1), record, Vec::new(), Keys::default());
        assert_eq!((again.next_cursor, again.acked), (up_to, 0), "no cursor is given twice");
        while bob.next_cursor < up_to - CURSORS / 2 {
            assert_eq!(bob.reserves(), None);
            bob.keep(to_bob(), false, None);
        }
        assert_eq!(bob.reserves(), Some(up_to + CURSORS / 2), "in time");
    }

    #[test]
    fn a_failing_disk_takes_nothing_that_it_need_not_have() {
        let mut bob = agent();
        let to_bob = || message(Destination::Node(Address::new(1)));
        bob.reserved(9);
        for durable in [false, true, false] {
            bob.keep(to_bob(), durable, None);
        }
        assert!(bob.take_back(&BTreeSet::new()).is_empty());
        let kept: Vec<u64> = bob.kept.iter().map(|kept| kept.cursor).collect();
        assert_eq!(kept, [1, 2], "the second waits for the disk, the third not for the second");
        let [(Item::Message(held, _), _)] = bob.fleeting.make_contiguous() else { panic!("the third") };
        assert_eq!(held.cursor, None);
    }

    #[test]
    fn bytes_are_counted_together_through_every_change() {
        let all = Held::default();
        let mut bob = agent();
        bob.keep(receipt(), true, None);
        bob.count_into(&all);
        let one = all.bytes();
        bob.keep(message(Destination::Everyone), false, None);
        bob.hold(receipt(), None);
        assert!(one > 0 && all.bytes() == bob.bytes);
        let bound = InboxBound { messages: 10, bytes: 1 << 20, total_bytes: all.bytes() };
        assert!(!bob.has_room(bound) && bob.has_room(InboxBound { total_bytes: all.bytes() + 1, ..bound }));
        bob.ack(1);
        bob.synced(1);
        bob.take_back(&[*receipt().id()].into());
        assert_eq!(all.bytes(), bob.bytes);
        drop(bob);
        assert_eq!(all.bytes(), 0);
    }

    #[test]
    fn an_absent_agent_is_worth_what_only_it_would_lose() {
        let worth = |items: &[Item]| {
            let mut bob = agent();
            for item in items {
                bob.keep(item.clone(), true, None);
            }
            bob.worth()
        };
        let (to_all, to_bob) = (message(Destination::Everyone), message(Destination::Node(Address::new(1))));
        assert_eq!(worth(&[]), Some(Worth::Nothing));
        assert_eq!(worth(&[to_all.clone(), to_all.clone()]), Some(Worth::SaidToMany));
        assert_eq!(worth(&[receipt(), to_all.clone()]), Some(Worth::Receipts));
        assert_eq!(worth(&[to_all.clone(), to_bob]), None);
        let Item::Message(to_all, _) = to_all else { unreachable!() };
        let alarm = Item::Message(Message { priority: Priority::Critical, ..to_all }, None);
        assert_eq!(worth(&[alarm]), None, "an alarm that it has not read");
        let mut bob = agent();
        bob.groups.insert(Name::new("g").unwrap(), None);
        assert_eq!(bob.worth(), Some(Worth::SaidToMany));
    }
}
