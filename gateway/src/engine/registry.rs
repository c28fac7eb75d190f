//! The agents of this gateway: by key, name and session, and which groups they are in together.
//!
//! Owns that these agree: an agent is found under each of them, or under none. What is on the disk of it is for the callers.

use std::collections::BTreeMap;

use mesh_agent::api::Name;
use mesh_protocol::{Address, NameHash};

use super::agent::{Agent, Types};
use super::inbox::{Held, InboxBound};
use crate::agents::SessionId;
use crate::store::AgentKey;

/// See the module.
#[derive(Debug)]
pub(super) struct Registry {
    agents: BTreeMap<AgentKey, Agent>,
    by_name: BTreeMap<Name, AgentKey>,
    by_hash: BTreeMap<NameHash, AgentKey>,
    /// Ordered, so that the gateway's end reaches them in the same order every time.
    sessions: BTreeMap<SessionId, AgentKey>,
    /// How many agents are in each group, by the group's address. None is zero.
    members: BTreeMap<Address, usize>,
    next_key: u32,
    /// Bytes in all inboxes together.
    held: Held,
    bound: InboxBound,
}

/// What a subscription changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Subscription {
    /// Whether the agent hears something else than before.
    pub(super) changed: bool,
    /// The group's address, if nobody here heard it before.
    pub(super) first: Option<Address>,
}

/// What the end of a subscription changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unsubscription {
    /// The group's address, if nobody here hears it any more.
    pub(super) last: Option<Address>,
}

impl Registry {
    pub(super) fn new(bound: InboxBound) -> Self {
        Self {
            agents: BTreeMap::new(),
            by_name: BTreeMap::new(),
            by_hash: BTreeMap::new(),
            sessions: BTreeMap::new(),
            members: BTreeMap::new(),
            next_key: 0,
            held: Held::default(),
            bound,
        }
    }

    // ---- agents ----

    pub(super) fn get(&self, key: AgentKey) -> Option<&Agent> {
        self.agents.get(&key)
    }

    pub(super) fn get_mut(&mut self, key: AgentKey) -> Option<&mut Agent> {
        self.agents.get_mut(&key)
    }

    pub(super) fn key_of(&self, name: Name) -> Option<AgentKey> {
        self.by_name.get(&name).copied()
    }

    pub(super) fn named(&self, name: Name) -> Option<&Agent> {
        self.get(self.key_of(name)?)
    }

    /// The agent whose name has this hash; one that is there for its session alone has none that the mesh could know.
    pub(super) fn hashed(&self, hash: NameHash) -> Option<&Agent> {
        self.get(*self.by_hash.get(&hash)?)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Agent> + Clone {
        self.agents.values()
    }

    /// Those that are not there for one session alone.
    pub(super) fn lasting(&self) -> impl Iterator<Item = &Agent> + Clone {
        self.all().filter(|agent| !agent.is_passing())
    }

    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut Agent> {
        self.agents.values_mut()
    }

    pub(super) fn is_connected(&self, key: AgentKey) -> bool {
        self.get(key).is_some_and(Agent::is_connected)
    }

    /// Whether it is there and not for one session alone, so that the disk may speak of it.
    pub(super) fn is_lasting(&self, key: AgentKey) -> bool {
        self.get(key).is_some_and(|agent| !agent.is_passing())
    }

    /// How much one inbox may hold.
    pub(super) const fn bound(&self) -> InboxBound {
        self.bound
    }

    /// A key that no agent has.
    pub(super) fn free_key(&mut self) -> AgentKey {
        loop {
            let key = AgentKey(self.next_key);
            self.next_key = self.next_key.wrapping_add(1);
            if !self.agents.contains_key(&key) {
                return key;
            }
        }
    }

    /// Takes an agent in; the addresses of its groups that nobody here heard before.
    pub(super) fn insert(&mut self, mut agent: Agent) -> Vec<Address> {
        self.next_key = self.next_key.max(agent.key().0.wrapping_add(1));
        agent.count_into(&self.held);
        self.by_name.insert(agent.name(), agent.key());
        // Who asks the mesh for a name cannot mean one that nobody chose.
        if !agent.is_passing() {
            self.by_hash.insert(NameHash::of(agent.name().as_str()), agent.key());
        }
        let groups: Vec<Name> = agent.groups().keys().copied().collect();
        self.agents.insert(agent.key(), agent);
        groups.iter().filter_map(|group| self.join(group)).collect()
    }

    /// Takes an agent out; the addresses of its groups that nobody here hears any more.
    pub(super) fn remove(&mut self, key: AgentKey) -> Option<(Agent, Vec<Address>)> {
        let agent = self.agents.remove(&key)?;
        let unheard = agent.groups().keys().filter_map(|group| self.leave(group)).collect();
        self.by_name.remove(&agent.name());
        self.by_hash.remove(&NameHash::of(agent.name().as_str()));
        Some((agent, unheard))
    }

    // ---- sessions ----

    /// The agent of a session.
    pub(super) fn of_session(&self, session: SessionId) -> Option<AgentKey> {
        self.sessions.get(&session).copied()
    }

    /// It is the session of this agent, which has no other from now on.
    pub(super) fn bind(&mut self, session: SessionId, agent: AgentKey) {
        self.sessions.retain(|_, known| *known != agent);
        self.sessions.insert(session, agent);
    }

    /// The session has ended; whose it was.
    pub(super) fn unbind(&mut self, session: SessionId) -> Option<AgentKey> {
        self.sessions.remove(&session)
    }

    /// All sessions end.
    pub(super) fn unbind_all(&mut self) -> BTreeMap<SessionId, AgentKey> {
        std::mem::take(&mut self.sessions)
    }

    // ---- groups ----

    /// How many groups are heard here.
    pub(super) fn groups(&self) -> usize {
        self.members.len()
    }

    /// Whether anybody here hears a group.
    pub(super) fn hears(&self, group: Address) -> bool {
        self.members.contains_key(&group)
    }

    pub(super) fn subscribe(&mut self, key: AgentKey, group: Name, types: &Types) -> Subscription {
        let Some(agent) = self.agents.get_mut(&key) else { return Subscription::default() };
        let before = agent.subscribe(group, types.clone());
        let changed = before.as_ref() != Some(types);
        Subscription { changed, first: if before.is_none() { self.join(&group) } else { None } }
    }

    /// `None` if the agent did not hear the group.
    pub(super) fn unsubscribe(&mut self, key: AgentKey, group: &Name) -> Option<Unsubscription> {
        let heard = self.agents.get_mut(&key)?.unsubscribe(group);
        heard.then(|| Unsubscription { last: self.leave(group) })
    }

    /// One more agent is in this group: its address, if it is the first.
    fn join(&mut self, group: &Name) -> Option<Address> {
        let address = group_address(group);
        let members = self.members.entry(address).or_default();
        *members += 1;
        (*members == 1).then_some(address)
    }

    /// One agent fewer is in this group: its address, if there is none left.
    fn leave(&mut self, group: &Name) -> Option<Address> {
        let address = group_address(group);
        let members = self.members.get_mut(&address)?;
        *members -= 1;
        if *members > 0 {
            return None;
        }
        self.members.remove(&address);
        Some(address)
    }
}

/// Where messages to a group go.
pub(super) fn group_address(group: &Name) -> Address {
    NameHash::of(group.as_str()).group_address()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> Name {
        Name::new(name).unwrap()
    }

    fn registry() -> Registry {
        Registry::new(InboxBound { messages: 10, bytes: 1 << 20, total_bytes: 1 << 20 })
    }

    fn add(registry: &mut Registry, who: &str, passing: bool) -> AgentKey {
        let key = registry.free_key();
        let mut agent = Agent::new(key, name(who));
        if passing {
            agent.pass();
        }
        assert_eq!(registry.insert(agent), [], "it is in no group yet");
        key
    }

    #[test]
    fn an_agent_is_found_under_all_its_names_or_under_none() {
        let mut registry = registry();
        let (bob, guest) = (add(&mut registry, "bob", false), add(&mut registry, "guest-1", true));
        let hash = |who: &str| NameHash::of(who);
        assert_eq!(registry.key_of(name("bob")), Some(bob));
        assert_eq!(registry.hashed(hash("bob")).map(Agent::key), Some(bob));
        assert_eq!(registry.key_of(name("guest-1")), Some(guest));
        assert!(
            registry.hashed(hash("guest-1")).is_none(),
            "the mesh cannot ask for a name that nobody chose"
        );
        assert_eq!((registry.all().count(), registry.lasting().count()), (2, 1));
        assert_eq!(registry.remove(bob).map(|(agent, _)| agent.name()), Some(name("bob")));
        assert!(registry.named(name("bob")).is_none() && registry.hashed(hash("bob")).is_none());
        assert_ne!(registry.free_key(), guest, "a key is free when no agent has it");
    }

    #[test]
    fn the_first_agent_joins_a_group_and_the_last_one_leaves_it() {
        let mut registry = registry();
        let (alice, bob) = (add(&mut registry, "alice", false), add(&mut registry, "bob", false));
        let lamps = name("lamps");
        let address = group_address(&lamps);
        let first = registry.subscribe(alice, lamps, &None);
        assert_eq!(first, Subscription { changed: true, first: Some(address) });
        assert_eq!(registry.subscribe(alice, lamps, &None), Subscription::default(), "as it was");
        assert_eq!(registry.subscribe(bob, lamps, &None), Subscription { changed: true, first: None });
        assert_eq!(registry.unsubscribe(alice, &lamps), Some(Unsubscription { last: None }));
        assert_eq!(registry.unsubscribe(alice, &lamps), None);
        let (_, unheard) = registry.remove(bob).unwrap();
        assert_eq!((unheard, registry.groups(), registry.hears(address)), (vec![address], 0, false));
    }

    #[test]
    fn an_agent_has_one_session_at_a_time() {
        let mut registry = registry();
        let bob = add(&mut registry, "bob", false);
        registry.bind(SessionId(1), bob);
        registry.bind(SessionId(2), bob);
        assert_eq!((registry.of_session(SessionId(1)), registry.of_session(SessionId(2))), (None, Some(bob)));
        assert_eq!(registry.unbind(SessionId(1)), None, "it was over already");
        assert_eq!(registry.unbind(SessionId(2)), Some(bob));
    }
}
