//! Subscriptions: which agents hear which groups, within what an agent, its token and the gateway may.

use std::collections::BTreeSet;

use mesh_agent::api::{self, ErrorCode, Event, Name, Refusal, Subscribe, Subscribed, Unsubscribe};
use mesh_protocol::{Address, GATEWAY_GROUPS};

use super::agent::Agent;
use super::journal::After;
use super::registry::{Registry, group_address};
use super::state::EngineState;
use crate::access::Holder;
use crate::agents::SessionId;
use crate::store::AgentKey;

/// Whether an agent may hear these groups as well.
fn check(registry: &Registry, key: AgentKey, groups: &[Name]) -> Result<(), Refusal> {
    let too_many = |why: String| {
        let why = format!("cannot subscribe: {why}");
        Err(Refusal::new(ErrorCode::TooLarge, why).hint("unsubscribe from some").field("groups"))
    };
    let known = registry.get(key).map(Agent::groups);
    let new = groups.iter().filter(|group| known.is_some_and(|known| !known.contains_key(*group))).count();
    if known.map_or(0, |known| known.len()) + new > api::MAX_GROUPS {
        return too_many(format!("an agent hears at most {} groups", api::MAX_GROUPS));
    }
    let holder = registry.get(key).and_then(Agent::holder);
    if let Some(Holder { token, quota: Some(quota) }) = holder {
        let of_token = registry.all().filter(|agent| agent.owner() == Some(token));
        if of_token.map(|agent| agent.groups().len()).sum::<usize>() + new > quota.groups as usize {
            return too_many(format!(
                "the access token {token} allows its agents {} groups together (max_groups)",
                quota.groups
            ));
        }
    }
    // By address, as the node hears them: two names may share one.
    let unknown: BTreeSet<Address> =
        groups.iter().map(group_address).filter(|address| !registry.hears(*address)).collect();
    if registry.groups() + unknown.len() > GATEWAY_GROUPS {
        return too_many(format!(
            "the agents of this gateway are in {} groups together, and it hears {GATEWAY_GROUPS} at most",
            registry.groups()
        ));
    }
    Ok(())
}

impl EngineState {
    pub(super) fn subscribe(&mut self, session: SessionId, key: AgentKey, request: Subscribe) {
        let Subscribe { reference, groups, types } = request;
        if let Err(refusal) = check(&self.registry, key, &groups) {
            self.refuse(session, reference, refusal);
            // A refusal that has no number could be about anything: what the agent hears after all follows it.
            if reference.is_none() {
                self.subscribed(session, key, None);
            }
            return;
        }
        let mut changed = false;
        for group in groups {
            let subscription = self.registry.subscribe(key, group, &types);
            changed |= subscription.changed;
            if let Some(address) = subscription.first {
                self.commands.join(address);
            }
        }
        if changed {
            self.stage_agent(key);
        }
        self.subscribed(session, key, reference);
    }

    pub(super) fn unsubscribe(&mut self, session: SessionId, key: AgentKey, request: Unsubscribe) {
        let Unsubscribe { reference, groups } = request;
        let mut changed = false;
        for group in groups {
            let Some(unsubscription) = self.registry.unsubscribe(key, &group) else { continue };
            changed = true;
            if let Some(address) = unsubscription.last {
                self.commands.leave(address);
            }
        }
        if changed {
            self.stage_agent(key);
        }
        self.subscribed(session, key, reference);
    }

    fn subscribed(&mut self, session: SessionId, key: AgentKey, reference: Option<u64>) {
        let groups =
            self.registry.get(key).map(|agent| agent.groups().keys().copied().collect()).unwrap_or_default();
        let event = Event::Subscribed(Subscribed { reference, groups });
        self.promise(true, After::Tell { session, event });
    }
}
