//! Events of the node: one arm each.

use mesh_agent::api::Name;
use mesh_protocol::{Answer, Event as NodeEvent};

use super::state::EngineState;
use crate::store::NEW_ADDRESS;

impl EngineState {
    /// An event of the node, with the answer it can have at once.
    pub(super) fn node_event(&mut self, event: NodeEvent<'_>) -> Answer {
        match event {
            NodeEvent::Received(received) => return self.received(&received),
            NodeEvent::Done { id, outcome, hops } => self.done(id, outcome, hops),
            NodeEvent::Processed { id, .. } => self.acknowledged(id),
            NodeEvent::NameWanted { source, name } => {
                if let Some(&key) = self.by_hash.get(&name)
                    && (self.is_connected(key) || self.answers_for_absent(source, name))
                {
                    self.commands.announce(source, name);
                }
            }
            NodeEvent::NameAt { source, name } => {
                // The hash alone is no name that could be shown: the message that waits for it knows it.
                let asked = self.outgoing.name_of(name);
                self.learn(name, asked, source);
            }
            NodeEvent::ReserveSeq { up_to } => {
                self.reserve_seqs(up_to);
            }
            NodeEvent::EpochWanted => {
                tracing::warn!(
                    "three quarters of this address's SEQs are used; before they end, {NEW_ADDRESS}"
                );
                self.counts.count("epoch_wanted");
            }
            NodeEvent::AddressConflict { seq } => {
                let address = self.config.address;
                tracing::error!(%address, seq, "another node sends under this gateway's address, see `status`: invite one of the two \
                     again under another name");
                self.counts.count("address_conflicts");
                // Whoever hears this gateway now knows where it is, and does not follow one who is far ahead of it.
                let names: Vec<Name> = self
                    .agents
                    .values()
                    .filter(|agent| agent.is_connected())
                    .map(|agent| agent.name)
                    .collect();
                names.into_iter().for_each(|name| self.announce(name));
            }
            _ => {}
        }
        Answer::None
    }
}
