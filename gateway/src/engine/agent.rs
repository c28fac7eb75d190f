//! One agent: its session, its credits, its subscriptions, its inbox.
//!
//! Owns what is shown to the agent and when. How long what came for it is kept is `inbox`'s.

use std::collections::BTreeMap;

use mesh_agent::api::{ErrorEvent, Event, Name};
use mesh_protocol::{MessageId, MessageType};
use serde::{Deserialize, Serialize};

use super::accounts::Charge;
use super::inbox::{Held, Inbox, Worth};
use super::item::Item;
use super::keys::{First, KeyRecord, Keys};
use crate::access::{Caller, Holder};
use crate::agents::{PushError, SessionId, SessionPort};
use crate::store::AgentKey;

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

#[derive(Debug)]
struct Session {
    id: SessionId,
    caller: Caller,
    port: SessionPort,
    credits: u32,
    /// The token that it came with.
    holder: Option<Holder>,
}

/// An agent of this gateway, connected or not.
#[derive(Debug)]
pub(super) struct Agent {
    key: AgentKey,
    name: Name,
    groups: BTreeMap<Name, Types>,
    /// The token that it came with last: on whose account it stands.
    owner: Option<Name>,
    /// Of the messages it has sent.
    keys: Keys,
    /// It goes with its session, and with it all that waits for it: nothing of it is on the disk.
    passing: bool,
    session: Option<Session>,
    inbox: Inbox,
    /// When it last had a session, in sessions; decides who is forgotten first.
    last_seen: u64,
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
            inbox: Inbox::default(),
            last_seen: 0,
        }
    }

    /// The agent as the store had it.
    pub(super) fn recovered(
        key: AgentKey,
        record: AgentRecord,
        kept: Vec<(u64, Item, Option<Charge>)>,
        keys: Keys,
    ) -> Self {
        let inbox = Inbox::recovered(record.acked, record.reserved, kept);
        Self { groups: record.groups, owner: record.token, keys, inbox, ..Self::new(key, record.name) }
    }

    /// It is there for its session alone from now on.
    pub(super) fn pass(&mut self) {
        self.passing = true;
        self.inbox.reserve_all();
    }

    pub(super) const fn is_passing(&self) -> bool {
        self.passing
    }

    pub(super) const fn key(&self) -> AgentKey {
        self.key
    }

    pub(super) const fn name(&self) -> Name {
        self.name
    }

    pub(super) const fn last_seen(&self) -> u64 {
        self.last_seen
    }

    pub(super) const fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    pub(super) const fn inbox_mut(&mut self) -> &mut Inbox {
        &mut self.inbox
    }

    /// Counts its inbox together with those of others from now on.
    pub(super) fn count_into(&mut self, all: &Held) {
        self.inbox.count_into(all);
    }

    pub(super) fn record(&self) -> AgentRecord {
        let (acked, reserved) = (self.inbox.acked(), self.inbox.reserving());
        AgentRecord { name: self.name, acked, groups: self.groups.clone(), reserved, token: self.owner }
    }

    // ---- whose it is, and what it sent ----

    /// The token that it came with last.
    pub(super) const fn owner(&self) -> Option<Name> {
        self.owner
    }

    /// It comes with this token now. Whether that is another one.
    pub(super) fn set_owner(&mut self, owner: Option<Name>) -> bool {
        std::mem::replace(&mut self.owner, owner) != owner
    }

    /// The message that it used a key for, if that is remembered.
    pub(super) fn find_key(&self, key: u64) -> Option<First> {
        self.keys.find(key)
    }

    /// Remembers a key; the row and record to put on the disk, if they belong there.
    pub(super) fn remember_key(&mut self, key: u64, first: First) -> Option<(u16, KeyRecord)> {
        self.keys.remember(key, first).filter(|_| !self.passing)
    }

    /// A message was not accepted after all; the rows of the disk that say it was.
    pub(super) fn forget_key(&mut self, id: MessageId) -> Vec<u16> {
        self.keys.forget(id)
    }

    // ---- groups ----

    pub(super) const fn groups(&self) -> &BTreeMap<Name, Types> {
        &self.groups
    }

    /// Hears a group from now on, or other types of it; what it heard of it before.
    pub(super) fn subscribe(&mut self, group: Name, types: Types) -> Option<Types> {
        self.groups.insert(group, types)
    }

    /// Hears a group no more; whether it did.
    pub(super) fn unsubscribe(&mut self, group: &Name) -> bool {
        self.groups.remove(group).is_some()
    }

    /// Whether it wants messages of this type from a group.
    pub(super) fn wants(&self, group: &Name, kind: MessageType) -> bool {
        match self.groups.get(group) {
            None => false,
            Some(None) => true,
            Some(Some(types)) => types.contains(&kind),
        }
    }

    // ---- its session ----

    /// Begins a session at `resume` (or behind the last ack) and returns the one it takes the place of, and where it
    /// begins.
    pub(super) fn attach(
        &mut self,
        (id, caller): (SessionId, Caller),
        port: SessionPort,
        holder: Option<Holder>,
        credits: u32,
        resume: Option<u64>,
    ) -> (Option<SessionPort>, u64) {
        let from = self.inbox.begin(resume);
        self.last_seen = id.0;
        let old = self.session.replace(Session { id, caller, port, credits, holder });
        (old.map(|old| old.port), from)
    }

    /// Ends this session, if it is the present one.
    pub(super) fn detach(&mut self, id: SessionId) {
        if self.session.as_ref().is_some_and(|session| session.id == id) {
            self.session = None;
            self.inbox.end();
        }
    }

    /// Ends its session with this reason.
    pub(super) fn refuse(&self, error: ErrorEvent) {
        if let Some(session) = &self.session {
            session.port.refuse(error);
        }
    }

    /// Where its session comes from, if it has one.
    pub(super) fn caller(&self) -> Option<Caller> {
        self.session.as_ref().map(|session| session.caller)
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
            let Some(item) = self.inbox.next() else { return };
            let costs = matches!(item, Item::Message(..));
            if (costs && session.credits == 0) || session.port.push_shown(item.event()).is_err() {
                return;
            }
            session.credits -= u32::from(costs);
            self.inbox.advance();
        }
    }

    /// What would be lost if the gateway forgot it, least first; `None` when it must not.
    pub(super) fn worth(&self) -> Option<Worth> {
        if self.session.is_some() {
            return None;
        }
        let of_groups = if self.groups.is_empty() { Worth::Nothing } else { Worth::SaidToMany };
        self.inbox.worth().map(|of_items| of_items.max(of_groups))
    }
}

/// A session did not read what it was sent, and was closed. What is kept stays for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooSlow;

#[cfg(test)]
mod tests {
    use mesh_agent::api::{Destination, Message};
    use mesh_protocol::{Address, Priority};

    use super::super::item::samples::{message, receipt};
    use super::*;

    fn agent() -> Agent {
        Agent::new(AgentKey(1), Name::new("bob").unwrap())
    }

    #[test]
    fn an_absent_agent_is_worth_what_only_it_would_lose() {
        let worth = |items: &[Item]| {
            let mut bob = agent();
            for item in items {
                bob.inbox.keep(item.clone(), true, None);
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
