//! Own messages whose receivers are away: another gateway keeps them meanwhile, the last one on the way there that can.
//!
//! Owns when it is asked to, and what its answers mean. The message stays on this gateway's disk: only what became of it, or its deadline,
//! completes it. Bytes: [`Carried`](mesh_protocol::Carried); why so: the decision on store and forward.

use ble_bearer::{Bearer, Clock};
use mesh_agent::api::{Destination, Outcome, StepKind, WaitedFor};
use mesh_protocol::{MessageId, Reason, Received, SendOutcome, Verdict};

use super::accepted::Accepted;
use super::carriage::{Carriage, Handover};
use super::completion::Completion;
use super::encoding::encode;
use super::journal::After;
use super::keepers::Keeper;
use super::state::EngineState;
use super::{Engine, last_heard};
use crate::store::Op;

impl<B: Bearer, C: Clock> Engine<B, C> {
    /// What nobody answers is left alone or handed over, and whoever is heard again gets what waits.
    pub(super) fn mind_the_silent(&mut self) {
        let silent: Vec<MessageId> = self.node.unanswered().collect();
        for id in silent {
            if self.state.leave(id) {
                self.node.cancel(id);
                self.state.commands.refill();
            }
        }
        for (node, since) in self.state.outgoing.resting.awaited() {
            if let Some(at) = last_heard(&self.node, node).filter(|at| *at > since) {
                self.state.outgoing.heard(node, at);
                self.state.keepers.heard(node);
            }
        }
        self.state.wake();
    }
}

impl EngineState {
    /// Nobody has answered a message for long. Whether it is not to be in the node any more.
    fn leave(&mut self, id: MessageId) -> bool {
        let Some(accepted) = self.outgoing.get(id) else { return false };
        if accepted.is_of_others() {
            self.outgoing.rest(self.now, id);
            return true;
        }
        if let Some(Handover { keeper, .. }) = self.outgoing.handover(id) {
            self.keepers.refused(self.now, keeper);
            self.take_over_again(id);
            return true;
        }
        let Some(receiver) = self.outgoing.receiver(id).filter(|_| self.outgoing.may_be_kept(id, self.now))
        else {
            return false;
        };
        match self.keepers.of(self.now, receiver) {
            Keeper::NotNow => false,
            Keeper::Unknown => {
                let number = self.probes.number() as u8;
                self.keepers.asked(self.now, receiver, number);
                self.commands.trace(receiver, number);
                // Where there is no way any more to its receiver, there is one as far as it came.
                if let Some(furthest) = self.timelines.furthest(id) {
                    self.commands.trace(furthest, number);
                }
                false
            }
            Keeper::Found(_, keeper) => {
                self.outgoing.hand_over(id, Some(Handover { keeper, receiver }));
                true
            }
        }
    }

    /// Who was to keep a message has said whether it does, or its deadline has passed before that.
    pub(super) fn handed_over(&mut self, id: MessageId, handover: Handover, outcome: SendOutcome) {
        match outcome {
            SendOutcome::Delivered | SendOutcome::Processed => self.is_kept_by(id, handover),
            SendOutcome::Rejected(_) => {
                self.keepers.refused(self.now, handover.keeper);
                self.take_over_again(id);
            }
            SendOutcome::Sent | SendOutcome::Unknown | SendOutcome::Expired => {
                self.complete(id, Completion::new(Outcome::Unknown)
                    .because("the deadline passed while another gateway was asked to keep it; it may have been delivered")
                    .waiting_for(WaitedFor::Answer))
            }
        }
    }

    /// Another gateway keeps a message from now on.
    fn is_kept_by(&mut self, id: MessageId, handover: Handover) {
        let hops = match self.keepers.of(self.now, handover.receiver) {
            Keeper::Found(hops, keeper) if keeper == handover.keeper => Some(hops),
            _ => None,
        };
        self.timelines.kept(self.now, id, handover.keeper, hops);
        self.counts.count("messages_kept_elsewhere");
        self.outgoing.rest(self.now, id);
        self.stage_outbox(id);
        self.commands.refill();
    }

    /// Nobody else keeps it: it goes straight to its receiver again, behind others.
    fn take_over_again(&mut self, id: MessageId) {
        self.timelines.add(self.now, id, StepKind::SetAside, None);
        self.counts.count("messages_set_aside");
        self.outgoing.hand_over(id, None);
        self.stage_outbox(id);
        self.commands.refill();
    }

    /// The disk is to say who keeps it: after a restart it would be sent, and cross the mesh for nothing.
    fn stage_outbox(&mut self, id: MessageId) {
        if let Some(accepted) = self.outgoing.get(id).filter(|accepted| accepted.durable) {
            self.journal.stage(Op::PutOutbox { id, record: encode(accepted) });
        }
    }

    /// A message of an earlier run goes on.
    pub(super) fn go_on(&mut self, id: MessageId) {
        match self.outgoing.get(id).and_then(|accepted| accepted.carriage) {
            Some(Carriage::KeptBy(Handover { keeper, .. })) => {
                self.timelines.kept(self.now, id, keeper, None);
                self.outgoing.rest(self.now, id);
            }
            Some(Carriage::OnBehalf { of, .. }) => {
                if let Some(Accepted { from, body, .. }) = self.outgoing.get(id) {
                    self.kept.insert(of, id, *from, body.len(), true);
                }
                self.launch(id);
            }
            Some(Carriage::Settled { .. }) => {
                if let Some(Accepted { to: Destination::Node(node), .. }) = self.outgoing.get(id) {
                    self.kept.owe(*node);
                }
                self.launch(id);
            }
            None => self.launch(id),
        }
    }

    /// What was left alone long enough goes on. What another gateway keeps goes there again, or straight to its receiver if that is here.
    pub(super) fn wake(&mut self) {
        while let Some((id, heard)) = self.outgoing.wake(self.now) {
            if heard && self.outgoing.handover(id).is_some() {
                self.outgoing.hand_over(id, None);
                self.stage_outbox(id);
            }
            self.commands.refill();
        }
    }

    /// The gateway that keeps a message says what became of it.
    pub(super) fn settled(
        &mut self,
        received: &Received<'_>,
        id: MessageId,
        hops: u8,
        verdict: Verdict,
    ) -> Result<Option<Verdict>, Reason> {
        let &Received { source, id: number, priority, .. } = received;
        let Some(Handover { keeper, .. }) = self.outgoing.handover(id).filter(|of| of.keeper == source)
        else {
            // Said before, or after the message was completed otherwise; or by somebody who does not keep it.
            self.counts.count("settlements_of_nothing");
            return Ok(Some(Verdict::Delivered));
        };
        let durable = self.outgoing.get(id).is_some_and(|accepted| accepted.durable);
        if durable && self.journal.failure().is_some() {
            return Err(Reason::Storage);
        }
        let hops = Some(received.hops.saturating_add(hops));
        // It may be asked to keep it just now. *Delivered* would be its answer to that, and no longer mean that it is kept.
        self.commands.cancel(id);
        match verdict {
            Verdict::Delivered | Verdict::Processed => self.ended(id, SendOutcome::Delivered, hops),
            // The receiver understands only what comes straight from here.
            Verdict::Rejected(Reason::Malformed | Reason::UnknownContext) | Verdict::Restart => {
                self.keepers.refused(self.now, keeper);
                self.take_over_again(id);
            }
            Verdict::Rejected(reason) => self.ended(id, SendOutcome::Rejected(reason), hops),
        }
        // If it looks for its agent again, nobody keeps it any more.
        self.stage_outbox(id);
        // Behind the same sync: who keeps it would not say it again.
        let message = mesh_protocol::MessageRef { node: source, id: number };
        let report = After::Report { to: source, id: number, priority, verdict: Verdict::Delivered, message };
        self.promise(durable, report);
        Ok(None)
    }
}
