//! Accepted messages reach their end, and their senders are notified.
//!
//! Owns how a message may end. It is completed exactly once: whatever comes first takes it out of the outbox, and what comes later finds it
//! there no more.

use mesh_agent::api::{Destination, Detail, Name, Outcome, Receipt, StepKind, WaitedFor};
use mesh_protocol::{Address, MessageId, Priority, Reason, SendOutcome};

use super::accepted::Accepted;
use super::counts::Completed;
use super::receipt_requests::Delivered;
use super::records;
use super::state::EngineState;
use crate::store::Op;

/// In whose figures a message counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FiguresOf {
    /// Those of the node that it was for, as far as that is known.
    Receiver,
    /// Those of no node: none had its part in how it ended.
    Nobody,
}

/// How a message ended.
#[derive(Clone, Debug)]
pub(super) struct Completion {
    pub(super) outcome: Outcome,
    /// Over how many hops it was delivered; none for an agent of this gateway.
    pub(super) hops: Option<u8>,
    /// The node that says so, if not this one.
    pub(super) at: Option<Address>,
    pub(super) why: Option<String>,
    /// What it waited for when it ended.
    pub(super) waited_for: Option<WaitedFor>,
    pub(super) figures_of: FiguresOf,
}

impl Completion {
    pub(super) const fn new(outcome: Outcome) -> Self {
        Self { outcome, hops: None, at: None, why: None, waited_for: None, figures_of: FiguresOf::Receiver }
    }

    pub(super) fn because(self, why: &str) -> Self {
        Self { why: Some(why.to_owned()), ..self }
    }

    pub(super) fn waiting_for(self, what: WaitedFor) -> Self {
        Self { waited_for: Some(what), ..self }
    }
}

impl EngineState {
    /// The node is done with a message.
    pub(super) fn done(&mut self, id: MessageId, outcome: SendOutcome, hops: Option<u8>) {
        if let Some(handover) = self.outgoing.handover(id) {
            return self.handed_over(id, handover, outcome);
        }
        if self.outgoing.get(id).is_some_and(Accepted::is_of_others) {
            // Whose message it was cannot write down what became of it. It will, or its time will be over.
            if outcome == SendOutcome::Rejected(Reason::Storage) && self.outgoing.is_settlement(id) {
                self.outgoing.rest(self.now, id);
                return self.commands.refill();
            }
            return self.carried(id, outcome, hops);
        }
        let to = self.outgoing.receiver(id);
        if let (Some(node), SendOutcome::Delivered | SendOutcome::Processed | SendOutcome::Rejected(_)) =
            (to, outcome)
        {
            // Whoever answers is there: what was deferred for its silence need not stay behind.
            self.outgoing.resume(node);
        }
        self.ended(id, outcome, hops);
    }

    /// A message was answered by its receiver's node, or its time is over.
    pub(super) fn ended(&mut self, id: MessageId, outcome: SendOutcome, hops: Option<u8>) {
        let to = self.outgoing.receiver(id);
        if matches!(outcome, SendOutcome::Delivered | SendOutcome::Processed) {
            self.outgoing.delivered(id);
        }
        let answered = |outcome| Completion { hops, at: to, ..Completion::new(outcome) };
        let completion = match outcome {
            SendOutcome::Delivered => answered(Outcome::Delivered),
            SendOutcome::Processed => answered(Outcome::Processed),
            SendOutcome::Sent => Completion::new(Outcome::Sent),
            SendOutcome::Unknown => Completion::new(Outcome::Unknown)
                .because("the deadline passed without an answer; it may have been delivered")
                .waiting_for(WaitedFor::Answer),
            SendOutcome::Expired => Completion::new(Outcome::Expired)
                .because("the deadline passed before all of it was on the air, or was too near for what else is on its way")
                .waiting_for(WaitedFor::Air),
            SendOutcome::Rejected(Reason::NoSuchAgent) => match self.outgoing.misdirected(id) {
                // The agent has moved since its node was learned: the message is not over, it looks for it again.
                Some(name) => {
                    self.timelines.add(self.now, id, StepKind::Moved, to);
                    self.directory.forget(name);
                    match self.registry.hashed(name).map(|agent| (agent.key(), agent.name())) {
                        // It is where it was before.
                        Some((key, name)) => self.found_here(key, name),
                        None => {
                            let asker = self.asks_for(id);
                            self.directory.ask(self.now, name, Priority::High, asker);
                        }
                    }
                    return;
                }
                None => rejected(Reason::NoSuchAgent, answered(Outcome::Rejected)),
            },
            SendOutcome::Rejected(Reason::UnknownContext) if self.outgoing.say_in_full(id) => {
                self.counts.count("messages_said_in_full");
                self.timelines.add(self.now, id, StepKind::SaidInFull, to);
                return self.commands.refill();
            }
            // Not *rejected*: an earlier copy may have been taken before its number was forgotten.
            SendOutcome::Rejected(Reason::Forgotten) => answered(Outcome::Unknown).because(
                "it is older than all that the destination remembers of this node; it may have been delivered",
            ),
            SendOutcome::Rejected(reason) => rejected(reason, answered(Outcome::Rejected)),
        };
        self.complete(id, completion);
    }

    /// A message reaches its end.
    pub(super) fn complete(&mut self, id: MessageId, completion: Completion) {
        if self.outgoing.get(id).is_some_and(Accepted::is_of_others) {
            return self.carried(id, SendOutcome::Unknown, None);
        }
        let Completion { outcome, hops, at, why, waited_for, figures_of } = completion;
        let to = match figures_of {
            FiguresOf::Nobody => None,
            FiguresOf::Receiver if hops == Some(0) => Some(self.config.address),
            FiguresOf::Receiver => at.or_else(|| self.outgoing.receiver(id)),
        };
        // *Expired* says that it was not delivered. Of one that was on the air before, nobody can say that.
        let (outcome, why) = match outcome {
            Outcome::Expired if self.outgoing.handover(id).is_some() => {
                let why = "another gateway kept it, and has not said that it was delivered; it may have been";
                (Outcome::Unknown, Some(why.to_owned()))
            }
            Outcome::Expired if self.outgoing.was_sent_before(id) => {
                let why = "the deadline passed without an answer; it was sent before, or may have been by an earlier run of the gateway";
                (Outcome::Unknown, Some(why.to_owned()))
            }
            outcome => (outcome, why),
        };
        let age = self.outgoing.age(id, self.now);
        let Some(accepted) = self.outgoing.remove(id) else { return };
        let Accepted { kind, priority, .. } = accepted;
        self.counts.completed(self.now, Completed { to, kind, priority, outcome, age });
        self.keep_what_is_left(id, &accepted, outcome, hops);
        self.counts.count(match outcome {
            Outcome::Delivered => "messages_delivered",
            Outcome::Processed => "messages_processed",
            Outcome::Sent => "messages_sent",
            Outcome::Expired => "messages_expired",
            Outcome::Rejected => "messages_rejected",
            Outcome::Unknown => "messages_unknown",
        });
        let receipt = self.receipt(accepted.reference, id, outcome);
        let detail = self.timelines.end(self.now, id, outcome, why.as_deref(), waited_for);
        let known = self.known_nodes.filter(|_| accepted.to == Destination::Everyone);
        let detail = detail.map(|detail| of_known(detail, known));
        let receipt = Receipt { at_node: at.or(receipt.at_node), hops, why, detail, ..receipt };
        self.notify(accepted.from, receipt, accepted.durable);
        // It may have left a place in the node.
        self.commands.refill();
    }

    /// Takes a message out of the disk's outbox, but for what an ack of the receiving agent needs. With the receipt, which is staged next:
    /// a power cut between the two would lose the message, or complete it twice.
    fn keep_what_is_left(&mut self, id: MessageId, accepted: &Accepted, outcome: Outcome, hops: Option<u8>) {
        // One who is gone is never notified, and one who comes under its name later has not asked.
        let waits = outcome == Outcome::Delivered
            && accepted.wants_ack()
            && hops != Some(0)
            && self.registry.key_of(accepted.from).is_some();
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
    }

    /// The receiving agent, on another node, has acknowledged a message.
    pub(super) fn acknowledged(&mut self, source: Address, id: MessageId) {
        // Before whoever keeps it has said that it was brought there.
        if self.outgoing.handover(id).is_some_and(|handover| handover.receiver == source) {
            self.commands.cancel(id);
            return self.ended(id, SendOutcome::Processed, None);
        }
        let Some((Delivered { from, reference }, durable)) = self.receipt_requests.take(id) else { return };
        if durable {
            self.journal.stage(Op::DeleteOutbox { id });
        }
        let receipt = self.receipt(reference, id, Outcome::Processed);
        self.notify(from, receipt, durable);
    }

    /// The sender of this message waits for its ack no longer.
    pub(super) fn give_up_ack(&mut self, id: MessageId) {
        self.counts.count("acks_given_up");
        if let Some((_, true)) = self.receipt_requests.take(id) {
            self.journal.stage(Op::DeleteOutbox { id });
        }
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
            let completion = if self.outgoing.was_sent_before(id) {
                Completion::new(Outcome::Unknown)
                    .because("its access token was removed; it was sent before, or may have been")
            } else {
                Completion::new(Outcome::Rejected).because("its access token was removed before it was sent")
            };
            let at = Some(self.config.address);
            self.complete(id, Completion { at, figures_of: FiguresOf::Nobody, ..completion });
        }
    }

    /// A message that the node cannot take at all.
    pub(super) fn unsendable(&mut self, id: MessageId, why: &str) {
        // It went nowhere, so it says nothing of any node.
        let completion = Completion::new(Outcome::Rejected).because(why);
        self.complete(id, Completion { figures_of: FiguresOf::Nobody, ..completion });
    }
}

/// Holds a count against the nodes that are known. Where more have the message, some of them are not, and *all* would be too much said.
fn of_known(detail: Detail, known: Option<u16>) -> Detail {
    Detail { known: known.filter(|known| detail.reached.is_some_and(|reached| reached <= *known)), ..detail }
}

/// The receiver's node has refused a message.
fn rejected(reason: Reason, completion: Completion) -> Completion {
    // That an agent is missing or reads nothing is not its node's fault: the path there has just been shown to work.
    let of_the_agent = matches!(reason, Reason::NoSuchAgent | Reason::InboxFull);
    let figures_of = if of_the_agent { FiguresOf::Nobody } else { FiguresOf::Receiver };
    Completion { figures_of, ..completion.because(reason.text()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_never_more_than_what_it_is_held_against() {
        let counted = |reached| Detail { reached, ..Detail::default() };
        let known_of = |reached, known| of_known(counted(reached), known).known;
        assert_eq!(known_of(Some(3), Some(4)), Some(4));
        assert_eq!(known_of(Some(4), Some(4)), Some(4));
        assert_eq!(known_of(Some(5), Some(4)), None, "one is not known");
        assert_eq!(known_of(None, Some(4)), None, "nothing was counted");
        assert_eq!(known_of(Some(5), None), None);
        assert_eq!(of_known(counted(Some(5)), Some(4)).reached, Some(5));
    }
}
