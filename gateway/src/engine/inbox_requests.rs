//! Requests of an agent about its inbox: credit for more, and what it has handled.

use mesh_agent::api::{Message, Outcome, Receipt};
use mesh_protocol::Verdict;

use super::inbox::Acked;
use super::item::{Item, Requester};
use super::state::EngineState;
use crate::agents::SessionId;
use crate::store::{AgentKey, Op};

impl EngineState {
    pub(super) fn credit(&mut self, key: AgentKey, n: u32) {
        if let Some(agent) = self.registry.get_mut(key) {
            agent.credit(n);
        }
        self.show(key);
    }

    /// A session has written out what it had and takes more.
    pub(super) fn room(&mut self, session: SessionId) {
        if let Some(key) = self.agent_of(session) {
            self.show(key);
        }
    }

    /// The agent has handled everything up to `cursor`.
    pub(super) fn ack(&mut self, key: AgentKey, cursor: u64) {
        let Some(agent) = self.registry.get_mut(key) else { return };
        let Some(Acked { items, durable }) = agent.inbox_mut().ack(cursor) else { return };
        let (acked, passing) = (agent.inbox().acked(), agent.is_passing());
        if durable && !passing {
            if agent.inbox().has_none_kept() {
                // With an empty inbox only this record says where the cursors go on.
                self.stage_agent(key);
            }
            self.journal.stage(Op::DeleteInboxThrough { agent: key, cursor: acked });
        }
        for (item, durable) in items {
            if let Item::Message(message, Some(requester)) = item {
                self.processed(&message, requester, durable);
            }
        }
    }

    /// *Processed* is said at once: a power cut that takes back the removal only shows the message again to an agent that knows it.
    fn processed(&mut self, message: &Message, requester: Requester, durable: bool) {
        match requester {
            Requester::Node => {
                self.commands.report(message.id.node, message.id.id, message.priority, Verdict::Processed)
            }
            Requester::Agent(sender, reference) => {
                let receipt = self.receipt(reference, message.id.id, Outcome::Processed);
                self.notify(sender, Receipt { hops: Some(0), ..receipt }, durable);
            }
        }
    }
}
