//! Events of the node: one arm each.

use mesh_agent::api::Name;
use mesh_protocol::{Answer, Event, Step};

use super::state::EngineState;
use crate::store::NEW_ADDRESS;

impl EngineState {
    /// An event of the node, with the answer it can have at once.
    pub(super) fn node_event(&mut self, event: Event<'_>) -> Answer {
        match event {
            Event::Received(received) => return self.received(&received),
            Event::Done { id, outcome, hops } => self.done(id, outcome, hops),
            Event::Progress { id, step } => {
                if let Step::Reached { .. } = step {
                    self.known_nodes = None;
                }
                self.timelines.progress(self.now, id, step);
            }
            Event::Pong { source, id, hops } => self.node_pong(source, id, hops),
            Event::Traced { source, hop } => self.node_traced(source, hop),
            Event::Processed { source, id } => self.acknowledged(source, id),
            Event::NameWanted { source, name } => self.name_wanted(source, name),
            Event::NameAt { source, name } => {
                // A hash is no name that could be shown: the message that waits for it knows that.
                let asked = self.outgoing.name_of(name);
                self.learn(name, asked, source);
                // It is back: what was set aside for its silence takes its old place.
                if self.outgoing.resume(source) {
                    self.commands.refill();
                }
            }
            Event::ReserveSeq { up_to } => self.numbers.reserve_seqs(up_to, &mut self.journal),
            Event::EpochWanted => {
                tracing::warn!(
                    "three quarters of this address's SEQs are used; before they end, {NEW_ADDRESS}"
                );
                self.counts.count("epoch_wanted");
            }
            Event::AddressConflict { seq } => self.address_conflict(seq),
            _ => {}
        }
        Answer::None
    }

    fn address_conflict(&mut self, seq: u32) {
        let address = self.config.address;
        tracing::error!(%address, seq, "another node sends under this gateway's address, see `status`: invite one of the two \
             again under another name");
        self.counts.count("address_conflicts");
        // Nodes that hear these frames know this gateway's SEQ, and do not follow a sender that is far ahead of it.
        let connected = self.registry.all().filter(|agent| agent.is_connected());
        let names: Vec<Name> = connected.map(|agent| agent.name()).collect();
        names.into_iter().for_each(|name| self.announce(name));
    }
}
