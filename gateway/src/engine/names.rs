//! Where agents are: here or on another node, and what the mesh is told and asked of it.

use mesh_agent::api::Name;
use mesh_protocol::{Address, NameHash};

use super::state::{EngineState, NAMESAKE_NEWS};

impl EngineState {
    pub(super) fn learn(&mut self, hash: NameHash, name: Option<Name>, node: Address) {
        self.note_namesake(hash, node);
        if self.directory.learn(self.now, hash, name, node) {
            self.outgoing.rebind(hash, node);
            self.commands.refill();
        }
        if self.outgoing.waits_for(hash) {
            self.outgoing.named(hash, node);
            self.commands.refill();
        }
    }

    /// Whether to say that an absent agent is here. One that is there, anywhere, answers the first question, and then there is no second.
    pub(super) fn answers_for_absent(&mut self, source: Address, name: NameHash) -> bool {
        self.directory.find(name).is_none() && self.directory.asks_again(self.now, source, name)
    }

    /// An agent of this name is at that node; another may be connected here. Then both operators hear of it.
    fn note_namesake(&mut self, hash: NameHash, node: Address) {
        if node == self.config.address {
            return;
        }
        let Some(&key) = self.by_hash.get(&hash) else { return };
        let Some(agent) = self.agents.get(&key).filter(|agent| agent.is_connected()) else { return };
        let before = self.namesakes.insert(agent.name, (node, self.now));
        if before.is_none_or(|(before, at)| before != node || self.now.since(at) >= NAMESAKE_NEWS) {
            tracing::warn!(agent = %agent.name, %node, "an agent of this name is connected there as well as here");
            self.commands.announce(node, hash);
        }
    }

    /// Agents that are connected here and elsewhere.
    pub(super) fn connected_twice(&self) -> impl Iterator<Item = (Name, Address)> + '_ {
        let news = self.namesakes.iter().filter(|(_, (_, at))| self.now.since(*at) < NAMESAKE_NEWS);
        news.map(|(name, (node, _))| (*name, *node))
    }
}
