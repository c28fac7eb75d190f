//! What became of accepted messages, and telling their senders.
//!
//! Owns receipts, who waits for acks, and the deadlines of what has not reached the node. A message is settled exactly once.

use mesh_agent::api::{Event, MessageRef, Name, Outcome, Receipt};
use mesh_protocol::{Address, Instant, MessageId, Priority, Reason, SendOutcome};

use super::counts::Completed;
use super::inbox::{Agent, Item};
use super::outgoing::Accepted;
use super::receipt_requests::{Delivered, Full, MESSAGES, OF_ONE};
use super::records;
use super::state::EngineState;
use crate::share::but_a_sixteenth;
use crate::store::Op;

impl EngineState {
    pub(super) fn receipt(
        &self,
        reference: Option<u64>,
        id: MessageId,
        outcome: Outcome,
        hops: Option<u8>,
        why: Option<String>,
    ) -> Receipt {
        Receipt {
            cursor: None,
            reference,
            id: MessageRef { node: self.config.address, id },
            outcome,
            at_node: Some(self.config.address),
            why,
            hops,
            at_us: self.now.as_micros(),
        }
    }

    /// Tells an agent what became of its message: kept until it acks if the message was durable.
    pub(super) fn notify(&mut self, agent: Name, receipt: Receipt, durable: bool) {
        let Some(&key) = self.by_name.get(&agent) else { return };
        if durable && self.put(key, Item::Receipt(receipt.clone()), true, None) {
            return;
        }
        if let Some(session) = self.agents.get(&key).and_then(Agent::session) {
            self.tell(session, Event::Receipt(receipt));
        }
    }

    /// The receiving agent, on another node, has acknowledged a message.
    pub(super) fn acknowledged(&mut self, id: MessageId) {
        let Some((Delivered { from, reference }, durable)) = self.receipt_requests.take(id) else { return };
        if durable {
            self.journal.stage(Op::DeleteOutbox { id });
        }
        let receipt = self.receipt(reference, id, Outcome::Processed, None, None);
        self.notify(from, receipt, durable);
    }

    /// Whether one more message of this agent, which has a token with limits or not, may wait for an ack once it is delivered; and
    /// which one is to be given up for it, if one is.
    pub(super) fn room_to_wait(&self, from: Name, limited: Option<Name>) -> Result<Option<MessageId>, Full> {
        let agent = |name| self.by_name.get(&name).and_then(|key| self.agents.get(key));
        let of_token = |token| {
            let all = self.receipt_requests.of_agents().chain(self.outgoing.wishing());
            let its = all.filter(|(name, _)| agent(**name).is_some_and(|agent| agent.owner == Some(token)));
            its.map(|(_, count)| count).sum::<usize>()
        };
        // What is under way of one that is gone will not wait. It is not sorted out while even with that there is room.
        let is_full = |most| {
            let waiting = self.receipt_requests.len();
            let there = self.outgoing.wishing().filter(|(name, _)| agent(**name).is_some());
            waiting + self.outgoing.len() >= most
                && waiting + there.map(|(_, count)| count).sum::<usize>() >= most
        };
        let most = if limited.is_some() { but_a_sixteenth(MESSAGES) } else { MESSAGES };
        let oldest = if self.receipt_requests.of(from) + self.outgoing.wishing_of(from) >= OF_ONE {
            self.receipt_requests.oldest(self.now, |name| name == from)
        } else if limited.is_some_and(|token| of_token(token) >= OF_ONE) {
            self.receipt_requests
                .oldest(self.now, |name| agent(name).and_then(|agent| agent.owner) == limited)
        } else if is_full(most) {
            self.receipt_requests.oldest(self.now, |_| true)
        } else {
            return Ok(None);
        };
        oldest.map(Some).ok_or(Full)
    }

    /// The sender of this message waits for its ack no longer.
    pub(super) fn give_up_ack(&mut self, id: MessageId) {
        self.counts.count("acks_given_up");
        if let Some((_, true)) = self.receipt_requests.take(id) {
            self.journal.stage(Op::DeleteOutbox { id });
        }
    }

    pub(super) fn complete(
        &mut self,
        id: MessageId,
        outcome: Outcome,
        hops: Option<u8>,
        at: Option<Address>,
        why: Option<String>,
    ) {
        let node = if hops == Some(0) { Some(self.config.address) } else { at };
        let node = node.or_else(|| self.outgoing.receiver(id));
        self.complete_for(node, id, outcome, hops, at, why);
    }

    /// The receiver's node has refused a message.
    fn rejected(&mut self, id: MessageId, reason: Reason, hops: Option<u8>, at: Option<Address>) {
        // That an agent is missing or reads nothing is not its node's fault: the way there has just been shown to work.
        let of_the_agent = matches!(reason, Reason::NoSuchAgent | Reason::InboxFull);
        let node = at.filter(|_| !of_the_agent);
        self.complete_for(node, id, Outcome::Rejected, hops, at, Some(reason.text().into()));
    }

    /// What waits of the messages that came with these tokens is not sent: they were removed.
    pub(super) fn purge(&mut self, tokens: &[Name]) {
        // They are named again and again, and most have nothing here: that is not worth a walk through all messages.
        let tokens: Vec<Name> =
            tokens.iter().copied().filter(|token| self.accounts.of(*token).0 > 0).collect();
        if tokens.is_empty() {
            return;
        }
        for id in self.outgoing.of_tokens(&tokens) {
            let (outcome, why) = match self.outgoing.was_sent_before(id) {
                true => {
                    (Outcome::Unknown, "its access token was removed; it was sent before, or may have been")
                }
                false => (Outcome::Rejected, "its access token was removed before it was sent"),
            };
            self.complete_for(None, id, outcome, None, Some(self.config.address), Some(why.into()));
        }
    }

    /// As [`Self::complete`]; it counts in the figures of `node`.
    fn complete_for(
        &mut self,
        node: Option<Address>,
        id: MessageId,
        outcome: Outcome,
        hops: Option<u8>,
        at: Option<Address>,
        why: Option<String>,
    ) {
        let (outcome, why) = match outcome {
            Outcome::Expired if self.outgoing.was_sent_before(id) => {
                let why = "the deadline passed without an answer; it was sent before, or may have been by an earlier run of the gateway";
                (Outcome::Unknown, Some(why.to_owned()))
            }
            outcome => (outcome, why),
        };
        let age = self.outgoing.age(id, self.now);
        let Some(accepted) = self.outgoing.remove(id) else { return };
        let Accepted { kind, priority, .. } = accepted;
        self.counts.completed(self.now, Completed { to: node, kind, priority, outcome, age });
        // One who is gone is never told, and one who comes under its name later has not asked.
        let waits = outcome == Outcome::Delivered
            && accepted.wants_ack()
            && hops != Some(0)
            && self.by_name.contains_key(&accepted.from);
        let left = Delivered { from: accepted.from, reference: accepted.reference };
        if waits {
            self.receipt_requests.insert(self.now, id, left, accepted.durable);
        }
        if accepted.durable {
            self.journal.stage(match waits {
                true => Op::PutOutbox { id, record: records::encode_waiting(left) },
                false => Op::DeleteOutbox { id },
            });
        }
        self.counts.count(match outcome {
            Outcome::Delivered => "messages_delivered",
            Outcome::Processed => "messages_processed",
            Outcome::Sent => "messages_sent",
            Outcome::Expired => "messages_expired",
            Outcome::Rejected => "messages_rejected",
            Outcome::Unknown => "messages_unknown",
        });
        let mut receipt = self.receipt(accepted.reference, id, outcome, hops, why);
        receipt.at_node = at.or(receipt.at_node);
        self.notify(accepted.from, receipt, accepted.durable);
        self.commands.refill();
    }

    pub(super) fn done(&mut self, id: MessageId, outcome: SendOutcome, hops: Option<u8>) {
        let to = self.outgoing.receiver(id);
        if let (Some(node), SendOutcome::Delivered | SendOutcome::Processed | SendOutcome::Rejected(_)) =
            (to, outcome)
        {
            self.outgoing.resume(node);
        }
        if matches!(outcome, SendOutcome::Delivered | SendOutcome::Processed) {
            self.outgoing.delivered(id);
        }
        match outcome {
            SendOutcome::Delivered => self.complete(id, Outcome::Delivered, hops, to, None),
            SendOutcome::Processed => self.complete(id, Outcome::Processed, hops, to, None),
            SendOutcome::Sent => self.complete(id, Outcome::Sent, None, None, None),
            SendOutcome::Unknown => {
                let why = "the deadline passed without an answer; it may have been delivered".to_owned();
                self.complete(id, Outcome::Unknown, None, None, Some(why));
            }
            SendOutcome::Expired => {
                let why = "the deadline passed before all of it was on the air".to_owned();
                self.complete(id, Outcome::Expired, None, None, Some(why));
            }
            SendOutcome::Rejected(Reason::NoSuchAgent) => match self.outgoing.misdirected(id) {
                Some(name) => {
                    self.directory.forget(name);
                    match self.by_hash.get(&name).and_then(|key| self.agents.get(key)) {
                        // It is where it was before.
                        Some(agent) => self.found_here(agent.key, agent.name),
                        None => self.directory.ask(self.now, name, Priority::High),
                    }
                }
                None => self.rejected(id, Reason::NoSuchAgent, hops, to),
            },
            SendOutcome::Rejected(Reason::UnknownContext) if self.outgoing.say_in_full(id) => {
                self.counts.count("messages_said_in_full");
                self.commands.refill();
            }
            SendOutcome::Rejected(Reason::Forgotten) => {
                let why = "it is older than all that the destination remembers of this node; it may have been delivered";
                self.complete(id, Outcome::Unknown, hops, to, Some(why.to_owned()));
            }
            SendOutcome::Rejected(reason) => self.rejected(id, reason, hops, to),
        }
    }

    /// A message that the node cannot take at all.
    pub(super) fn unsendable(&mut self, id: MessageId, why: &str) {
        // It went nowhere, so it says nothing of any node.
        self.complete_for(None, id, Outcome::Rejected, None, None, Some(why.to_owned()));
    }

    // ---- the clock ----

    pub(super) fn timeout(&mut self) {
        while let Some((id, why, name)) = self.outgoing.overdue(self.now) {
            self.complete(id, Outcome::Expired, None, None, Some(why.to_owned()));
            if let Some(name) = name
                && !self.outgoing.waits_for(name)
            {
                self.directory.drop_question(name);
            }
        }
        for (name, priority) in self.directory.due(self.now) {
            self.commands.find(name, priority);
        }
        for _ in 0..self.incoming.expire(self.now) {
            self.counts.count("assemblies_given_up");
        }
    }

    /// These messages were sent again and again without an answer: the agents they are for may be on other nodes by now.
    pub(super) fn doubt(&mut self, unanswered: impl Iterator<Item = MessageId>) {
        let silent = unanswered.filter_map(|id| self.outgoing.named_receiver(id)).collect();
        for (name, priority) in self.directory.doubt(self.now, &silent) {
            self.commands.find(name, priority);
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        [self.outgoing.next_deadline(), self.directory.next_timeout(), self.incoming.next_timeout()]
            .into_iter()
            .flatten()
            .min()
    }
}
