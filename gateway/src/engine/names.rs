//! Where an agent is, here or on another node: what is said to the mesh and asked of it, and where its messages go.

use mesh_agent::api::{Destination, Name, Outcome, StepKind};
use mesh_protocol::{Address, MessageId, NameHash, Priority};

use super::agent::Agent;
use super::completion::Completion;
use super::state::EngineState;
use crate::store::AgentKey;

impl EngineState {
    /// Where an agent of this name is: here, unless it is away from here and was last heard of elsewhere.
    pub(super) fn is_here(&self, name: Name) -> Option<AgentKey> {
        let key = self.registry.key_of(name)?;
        // Most are connected, and need no hash of their name for each message.
        let elsewhere = || self.directory.find(NameHash::of(name.as_str())).is_some();
        (self.registry.is_connected(key) || !elsewhere()).then_some(key)
    }

    /// An agent of this name is at that node. The name itself is known only when a message came from it or waits for it.
    pub(super) fn learn(&mut self, hash: NameHash, name: Option<Name>, node: Address) {
        self.note_namesake(hash, node);
        if self.directory.learn(self.now, hash, name, node) {
            self.outgoing.rebind(hash, node);
            self.commands.refill();
        }
        if self.outgoing.waits_for(hash) {
            for id in self.outgoing.named(hash, node) {
                self.timelines.add(self.now, id, StepKind::Queued, Some(node));
            }
            self.commands.refill();
        }
    }

    /// A node asks where an agent is.
    pub(super) fn name_wanted(&mut self, source: Address, name: NameHash) {
        if self.answers_for(source, name) {
            self.commands.announce(source, name);
        }
    }

    /// Whether to say to a node that an agent is here.
    fn answers_for(&mut self, source: Address, name: NameHash) -> bool {
        let Some(agent) = self.registry.hashed(name) else { return false };
        if agent.is_connected() {
            return true;
        }
        // A node where it is connected answers the first question, and then no second one comes.
        self.directory.find(name).is_none() && self.directory.asks_again(self.now, source, name)
    }

    /// An agent of this name is at that node; another may be connected here. Then both operators hear of it.
    fn note_namesake(&mut self, hash: NameHash, node: Address) {
        if node == self.config.address {
            return;
        }
        let Some(agent) = self.registry.hashed(hash).filter(|agent| agent.is_connected()) else { return };
        let name = agent.name();
        if self.directory.note_namesake(self.now, name, node) {
            tracing::warn!(agent = %name, %node, "an agent of this name is connected there as well as here");
            self.commands.announce(node, hash);
        }
    }

    /// Tells the mesh that an agent is here, unless that was said of many others just now.
    pub(super) fn announce(&mut self, name: Name) {
        if self.directory.may_announce(self.now) {
            self.commands.announce(Address::EVERYONE, NameHash::of(name.as_str()));
        }
    }

    /// A message has come for an agent that is absent here: it may be connected elsewhere, and its messages are to go there from now on.
    pub(super) fn seek(&mut self, name: Name) {
        if self.registry.named(name).is_none_or(|agent| agent.is_connected()) {
            return;
        }
        let hash = NameHash::of(name.as_str());
        if self.directory.find(hash).is_none() && self.directory.seek(self.now, hash) {
            self.commands.find(hash, Priority::Low);
        }
    }

    /// Starts an accepted message on its way through the mesh: to where its receiver is, or once that is known.
    pub(super) fn launch(&mut self, id: MessageId) {
        let Some(accepted) = self.outgoing.get(id) else { return };
        let priority = accepted.priority;
        match accepted.to {
            Destination::Agent { node: Some(node), .. } | Destination::Node(node) => {
                self.outgoing.queue(id, node)
            }
            Destination::Group(group) => {
                self.outgoing.queue(id, NameHash::of(group.as_str()).group_address())
            }
            Destination::Everyone => self.outgoing.queue(id, Address::EVERYONE),
            Destination::Agent { name, node: None } => {
                let hash = NameHash::of(name.as_str());
                match (self.is_here(name), self.directory.find(hash)) {
                    // It has come to this gateway since the message was accepted.
                    (Some(key), _) => {
                        self.outgoing.name(id, hash);
                        self.found_here(key, name);
                    }
                    (None, Some(node)) => self.outgoing.queue(id, node),
                    (None, None) => {
                        self.outgoing.name(id, hash);
                        self.timelines.add(self.now, id, StepKind::Naming, None);
                        let asker = self.asks_for(id);
                        self.directory.ask(self.now, hash, priority, asker);
                    }
                }
            }
        }
        self.commands.refill();
    }

    /// The token on whose account the mesh is asked for the receiver of a message; none, if it is not limited. Of one whose agent has gone
    /// since it is not known: it counts as limited.
    pub(super) fn asks_for(&self, id: MessageId) -> Option<Name> {
        let accepted = self.outgoing.get(id)?;
        let sender = self.registry.named(accepted.from).and_then(Agent::holder);
        let limited = sender.is_none_or(|holder| holder.quota.is_some());
        accepted.token.filter(|_| limited)
    }

    /// Messages that wait for the mesh to say where this agent is have arrived.
    pub(super) fn found_here(&mut self, key: AgentKey, name: Name) {
        let hash = NameHash::of(name.as_str());
        let waiting: Vec<_> = self.outgoing.naming(hash).collect();
        for id in waiting {
            let Some(accepted) = self.outgoing.get(id).cloned() else { continue };
            // With a full inbox it stays where it is, and is tried again with the agent's next session.
            if self.deliver_own(key, id, &accepted) {
                self.complete(id, Completion { hops: Some(0), ..Completion::new(Outcome::Delivered) });
            }
        }
        if !self.outgoing.waits_for(hash) {
            self.directory.drop_question(hash);
        }
    }
}
