//! Groups: which agents hear which, and what the node hears for them.

use std::collections::BTreeSet;

use mesh_agent::api::{self, ErrorCode, Event, Name, Refusal, Subscribe, Subscribed, Unsubscribe};
use mesh_protocol::{Address, GATEWAY_GROUPS, NameHash};

use super::inbox::Agent;
use super::journal::After;
use super::state::EngineState;
use crate::access::Holder;
use crate::agents::SessionId;
use crate::store::AgentKey;

fn too_many_groups(why: String) -> Refusal {
    Refusal::new(ErrorCode::TooLarge, why).hint("unsubscribe from some").field("groups")
}

impl EngineState {
    pub(super) fn subscribe(&mut self, session: SessionId, key: AgentKey, request: Subscribe) {
        let Subscribe { reference, groups, types } = request;
        let known = self.agents.get(&key).map(|agent| &agent.groups);
        let new =
            groups.iter().filter(|group| known.is_some_and(|known| !known.contains_key(*group))).count();
        if known.map_or(0, |known| known.len()) + new > api::MAX_GROUPS {
            let why = format!("cannot subscribe: an agent hears at most {} groups", api::MAX_GROUPS);
            return self.not_subscribed(session, key, reference, too_many_groups(why));
        }
        let holder = self.agents.get(&key).and_then(Agent::holder);
        if let Some(Holder { token, quota: Some(quota) }) = holder {
            let of_token = self.agents.values().filter(|agent| agent.owner == Some(token));
            if of_token.map(|agent| agent.groups.len()).sum::<usize>() + new > quota.groups as usize {
                let why = format!(
                    "cannot subscribe: the access token {token} allows its agents {} groups together (max_groups)",
                    quota.groups
                );
                return self.not_subscribed(session, key, reference, too_many_groups(why));
            }
        }
        let unknown: BTreeSet<Address> =
            groups.iter().map(group_address).filter(|address| !self.members.contains_key(address)).collect();
        if self.members.len() + unknown.len() > GATEWAY_GROUPS {
            let why = format!(
                "cannot subscribe: the agents of this gateway are in {} groups together, and it hears {GATEWAY_GROUPS} at most",
                self.members.len()
            );
            return self.not_subscribed(session, key, reference, too_many_groups(why));
        }
        let mut changed = false;
        for group in groups {
            let Some(agent) = self.agents.get_mut(&key) else { return };
            let before = agent.groups.insert(group, types.clone());
            changed |= before.as_ref() != Some(&types);
            if before.is_none() {
                self.join(&group);
            }
        }
        if changed {
            self.stage_agent(key);
        }
        self.subscribed(session, key, reference);
    }

    /// A refusal that has no number could be about anything: what the agent hears after all follows it.
    fn not_subscribed(&mut self, session: SessionId, key: AgentKey, reference: Option<u64>, why: Refusal) {
        self.refuse(session, reference, why);
        if reference.is_none() {
            self.subscribed(session, key, None);
        }
    }

    /// One more agent is in this group.
    pub(super) fn join(&mut self, group: &Name) {
        let address = group_address(group);
        let members = self.members.entry(address).or_default();
        *members += 1;
        if *members == 1 {
            self.commands.join(address);
        }
    }

    /// One agent fewer is in this group.
    pub(super) fn leave(&mut self, group: &Name) {
        let address = group_address(group);
        let Some(members) = self.members.get_mut(&address) else { return };
        *members -= 1;
        if *members == 0 {
            self.members.remove(&address);
            self.commands.leave(address);
        }
    }

    pub(super) fn unsubscribe(&mut self, session: SessionId, key: AgentKey, request: Unsubscribe) {
        let Unsubscribe { reference, groups } = request;
        let Some(agent) = self.agents.get_mut(&key) else { return };
        let left: Vec<Name> =
            groups.into_iter().filter(|group| agent.groups.remove(group).is_some()).collect();
        for group in &left {
            self.leave(group);
        }
        if !left.is_empty() {
            self.stage_agent(key);
        }
        self.subscribed(session, key, reference);
    }

    fn subscribed(&mut self, session: SessionId, key: AgentKey, reference: Option<u64>) {
        let groups =
            self.agents.get(&key).map(|agent| agent.groups.keys().copied().collect()).unwrap_or_default();
        let event = Event::Subscribed(Subscribed { reference, groups });
        self.promise(true, After::Tell { session, event });
    }
}

fn group_address(group: &Name) -> Address {
    NameHash::of(group.as_str()).group_address()
}
