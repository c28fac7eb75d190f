//! Into an inbox: messages of this gateway's agents and of the mesh alike, and receipts. Out of it: what the agent is shown.
//!
//! Owns what is on the disk of an item, and when the agent is shown it.

use mesh_agent::api::{Destination, Event, MessageRef, Name, Outcome, Receipt};
use mesh_protocol::MessageId;

use super::accepted::Accepted;
use super::accounts::Charge;
use super::agent::Agent;
use super::encoding::encode;
use super::item::Item;
use super::journal::After;
use super::state::EngineState;
use crate::store::{AgentKey, Op};

impl EngineState {
    /// Puts an item into an inbox and shows it, once it is synced if it is durable. `false` when the inbox is full.
    pub(super) fn deliver(&mut self, to: AgentKey, item: Item, durable: bool, token: Option<Name>) -> bool {
        let bound = self.registry.bound();
        let Some(agent) = self.registry.get_mut(to) else { return false };
        // Receipts always fit: there are no more of them than messages under way.
        if let Item::Message(message, _) = &item
            && !agent.inbox().has_room_for(bound, message.priority)
        {
            self.counts.count("inbox_full");
            return false;
        }
        let charge = self.accounts.charge(token, item.body_len());
        if durable {
            // It is on the disk with all that belongs to it, or nothing of it is: while the store fails, it waits with that.
            let cursor = agent.inbox_mut().keep(item, true, charge);
            // Not for an agent that exists for its session only: after a power cut nobody could ask for its inbox.
            if !agent.is_passing()
                && let Some(record) = agent.inbox().last_kept()
            {
                self.journal.stage(Op::PutInbox { agent: to, cursor, record });
            }
            self.journal.after(After::Show(to, cursor));
        } else if self.journal.failure().is_some() {
            // A cursor would have to be reserved, and no reservation gets to the disk now: it is shown without one.
            agent.inbox_mut().hold(item, charge);
            self.show(to);
        } else {
            self.keep_in_memory(to, item, charge);
        }
        true
    }

    /// Gives a message of this gateway's agents to another one of them. `false` when its inbox is full.
    pub(super) fn deliver_own(&mut self, to: AgentKey, id: MessageId, accepted: &Accepted) -> bool {
        let message = accepted.message(self.config.address, id, self.now);
        self.deliver(to, Item::Message(message, accepted.requester()), accepted.durable, accepted.token)
    }

    /// The same for one of the agents of a group or of everyone, who may not want messages of its type.
    pub(super) fn deliver_own_to_one_of_many(&mut self, to: AgentKey, id: MessageId, accepted: &Accepted) {
        if let Destination::Group(group) = accepted.to
            && !self.registry.get(to).is_some_and(|agent| agent.wants(&group, accepted.kind))
        {
            return;
        }
        self.deliver_own(to, id, accepted);
    }

    pub(super) fn receipt(&self, reference: Option<u64>, id: MessageId, outcome: Outcome) -> Receipt {
        Receipt {
            cursor: None,
            reference,
            id: MessageRef { node: self.config.address, id },
            outcome,
            at_node: Some(self.config.address),
            why: None,
            hops: None,
            at_us: self.now.as_micros(),
            detail: None,
        }
    }

    /// Notifies an agent of what became of its message: kept until it acks if the message was durable.
    pub(super) fn notify(&mut self, agent: Name, receipt: Receipt, durable: bool) {
        // Whoever was forgotten meanwhile is not notified.
        let Some(key) = self.registry.key_of(agent) else { return };
        if durable && self.deliver(key, Item::Receipt(receipt.clone()), true, None) {
            return;
        }
        if let Some(session) = self.registry.get(key).and_then(Agent::session) {
            self.tell(session, Event::Receipt(receipt));
        }
    }

    /// Everything up to `cursor` is on disk: shows it.
    pub(super) fn show_through(&mut self, key: AgentKey, cursor: u64) {
        if let Some(agent) = self.registry.get_mut(key) {
            agent.inbox_mut().synced(cursor);
            agent.show();
        }
    }

    /// Cursors below `up_to` are reserved on the disk: shows what is in memory under them.
    pub(super) fn cursors_reserved(&mut self, key: AgentKey, up_to: u64) {
        if let Some(agent) = self.registry.get_mut(key) {
            agent.inbox_mut().reserved(up_to);
            agent.show();
        }
    }

    pub(super) fn show(&mut self, key: AgentKey) {
        if let Some(agent) = self.registry.get_mut(key) {
            agent.show();
        }
    }

    /// Puts on the disk what inboxes have in memory only: it was said to be delivered.
    pub(super) fn keep_all(&mut self) {
        let lasting = self.registry.all_mut().filter(|agent| !agent.is_passing());
        for agent in lasting.filter(|agent| agent.inbox().has_reserved()) {
            let key = agent.key();
            for (cursor, record) in agent.inbox_mut().in_memory() {
                self.journal.stage(Op::PutInbox { agent: key, cursor, record });
            }
            let record = encode(&agent.record());
            self.journal.stage(Op::PutAgent { agent: key, record });
        }
    }

    /// The store writes again: what inboxes hold for later is kept like everything else that is in memory.
    pub(super) fn keep_held(&mut self) {
        let keys: Vec<AgentKey> = self.registry.all().map(Agent::key).collect();
        for key in keys {
            let held = self.registry.get_mut(key).map(|agent| agent.inbox_mut().take_held());
            for (item, charge) in held.unwrap_or_default() {
                self.keep_in_memory(key, item, charge);
            }
        }
    }

    /// Puts an item into an inbox that need not be on the disk, and shows it.
    fn keep_in_memory(&mut self, to: AgentKey, item: Item, charge: Option<Charge>) {
        let Some(agent) = self.registry.get_mut(to) else { return };
        // Asked before it is kept: it may itself be the one that uses up what is reserved.
        let reserves = agent.inbox_mut().reserves();
        agent.inbox_mut().keep(item, false, charge);
        if let Some(up_to) = reserves {
            self.stage_agent(to);
            self.journal.after(After::CursorsReserved(to, up_to));
        }
        self.show(to);
    }
}
