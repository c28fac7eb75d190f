//! Messages of local agents are accepted: checks first, then effects.
//!
//! Owns the order of acceptance: staged, synced, only then said and started. The checks are `admission`'s, what becomes of the messages is
//! `completion`'s.

use mesh_agent::api::{self, Destination, Event, MessageRef, Name, Outcome, Refusal, SendRequest, StepKind};
use mesh_protocol::{Duration, MessageId};

use super::accepted::Accepted;
use super::admission::{Admission, UNWRITTEN_BYTES, is_to_one};
use super::counts::Completed;
use super::encoding::encode;
use super::journal::After;
use super::keys::First;
use super::state::EngineState;
use crate::access::{AuditVerdict, Entry, Holder};
use crate::agents::{MAX_BATCH, SessionId};
use crate::store::{AgentKey, Op};

impl EngineState {
    /// Whether requests can be taken: not while no number is reserved, as at the start, nor while very much waits for
    /// the disk; unless the disk has failed, as then neither will ever end.
    pub(super) fn takes_requests(&self) -> bool {
        let has_numbers = self.numbers.has_ids_for(MAX_BATCH as u32);
        let disk_keeps_up = self.journal.unwritten_bytes() < 2 * UNWRITTEN_BYTES;
        has_numbers && disk_keeps_up || self.journal.failure().is_some()
    }

    pub(super) fn send(&mut self, session: SessionId, key: AgentKey, request: SendRequest) {
        if let Err(refusal) = self.try_send(session, key, &request) {
            self.note(session, key, &request, AuditVerdict::Refused(refusal.code));
            self.refuse(session, request.reference, refusal);
        }
    }

    pub(super) fn try_send(
        &mut self,
        session: SessionId,
        key: AgentKey,
        request: &SendRequest,
    ) -> Result<(), Refusal> {
        let Some(sender) = self.registry.get(key) else { return Ok(()) };
        // Before all checks: an agent that sends again after a lost connection is to get the answer that it would have got then.
        if let Some(number) = request.key
            && let Some(first) = sender.find_key(number)
        {
            let id = MessageRef { node: self.config.address, id: first.id };
            self.note(session, key, request, AuditVerdict::Again(id));
            self.again(session, key, request.reference, number, first);
            return Ok(());
        }
        let (from, admission) = (sender.name(), self.admit(sender, request)?);
        // The last that may refuse it. Nothing has changed so far, and from here on it is accepted.
        let id = self.numbers.take_id(request.durable, &mut self.journal)?;
        if let Some(gives_way) = admission.gives_way {
            self.give_up_ack(gives_way);
        }
        self.outgoing.remember(id, from, request.to);
        self.note(
            session,
            key,
            request,
            AuditVerdict::Accepted(MessageRef { node: self.config.address, id }),
        );
        self.remember_key(key, request, id);
        self.take(session, key, request, id, from, admission);
        Ok(())
    }

    /// Delivers a message here, or starts it on its way, or both.
    fn take(
        &mut self,
        session: SessionId,
        key: AgentKey,
        request: &SendRequest,
        id: MessageId,
        from: Name,
        admission: Admission,
    ) {
        let Admission { receivers, holder, .. } = admission;
        let accepted = self.record(from, holder, request);
        for to in receivers.here {
            self.deliver_own_to_one_of_many(to, id, &accepted);
        }
        if let Destination::Agent { name, node: None } = request.to {
            self.seek(name);
        }
        if receivers.mesh {
            // The copy for the mesh stands on its own: those in inboxes are given back by others, at other times.
            let charge = self.accounts.charge(accepted.token, accepted.body.len());
            if request.durable {
                self.journal.stage(Op::PutOutbox { id, record: encode(&accepted) });
            }
            let deadline = self.now + Duration::from_millis(accepted.deadline_ms.into());
            self.outgoing.insert(id, accepted, charge, deadline, false);
            self.timelines.begin(self.now, id, StepKind::Accepted);
            self.accepted(session, key, request, id);
            // Behind the same sync: after a power cut that undoes the message, its frames would be on the air and nobody its sender.
            self.promise(request.durable, After::Launch(id));
        } else {
            self.timelines.begin(self.now, id, StepKind::Accepted);
            self.accepted(session, key, request, id);
            self.completed_here(from, request, id);
        }
    }

    /// A message that goes nowhere else is delivered as it is accepted.
    fn completed_here(&mut self, from: Name, request: &SendRequest, id: MessageId) {
        let outcome = if is_to_one(&request.to) { Outcome::Delivered } else { Outcome::Sent };
        let (kind, priority, to) = (request.kind, request.priority, Some(self.config.address));
        self.counts.completed(self.now, Completed { to, kind, priority, outcome, age: Some(Duration::ZERO) });
        self.timelines.end(self.now, id, outcome, None, None);
        let receipt = api::Receipt { hops: Some(0), ..self.receipt(request.reference, id, outcome) };
        self.notify(from, receipt, request.durable);
    }

    /// What the store and the outbox keep of a message.
    fn record(&self, from: Name, holder: Option<Holder>, request: &SendRequest) -> Accepted {
        // A deadline that is left out is never longer than what may be asked for.
        let longest = holder.and_then(|holder| holder.quota).map(|quota| quota.deadline());
        let usual =
            longest.map_or(self.config.default_deadline, |longest| longest.min(self.config.default_deadline));
        let deadline_ms =
            request.deadline_ms.unwrap_or_else(|| u32::try_from(usual.as_millis()).unwrap_or(u32::MAX));
        Accepted {
            from,
            reference: request.reference,
            to: request.to,
            kind: request.kind,
            priority: request.priority,
            deadline_ms,
            durable: request.durable,
            reply_to: request.reply_to,
            receipt: request.receipt,
            body: request.body.clone(),
            token: holder.map(|holder| holder.token),
            carriage: None,
        }
    }

    /// Who sent a message of this gateway's, and to whom; where that is still known.
    pub(super) fn sent(&self, message: MessageRef) -> Option<(Name, Destination)> {
        let id = Some(message.id).filter(|_| message.node == self.config.address)?;
        self.outgoing.sent(id)
    }

    /// Notes what became of a message. One that the disk loses afterwards, as the store fails, stays noted as accepted: it may have
    /// been on its way.
    fn note(&self, session: SessionId, agent: AgentKey, send: &SendRequest, verdict: AuditVerdict) {
        let agent = self.registry.get(agent);
        if let Some((agent, caller)) = agent.and_then(|agent| Some((agent, agent.caller()?))) {
            let (session, token) = (session.0, agent.token());
            self.audit.note(&Entry { session, caller, agent: agent.name(), token, send, verdict });
        }
    }

    /// Remembers the key of a message that is being accepted, on disk too if the message is.
    fn remember_key(&mut self, agent: AgentKey, request: &SendRequest, id: MessageId) {
        let Some((sender, key)) = self.registry.get_mut(agent).zip(request.key) else { return };
        // Staged with the message: a power cut takes both, and the agent sends it again, or neither.
        if let Some((row, record)) = sender.remember_key(key, First { id, durable: request.durable }) {
            self.journal.stage(Op::PutKey { agent, row, record: encode(&record) });
        }
    }

    /// A message that was sent before: accepted it was, and nothing else becomes of it.
    fn again(&mut self, session: SessionId, agent: AgentKey, reference: Option<u64>, key: u64, first: First) {
        self.counts.count("messages_sent_again");
        // The first may still wait for the disk, and fail there: the answers must be the same.
        let durable = first.durable && self.journal.is_busy();
        self.promise(durable, After::Again { session, agent, reference, key, first });
    }

    fn accepted(&mut self, session: SessionId, agent: AgentKey, request: &SendRequest, id: MessageId) {
        if request.durable {
            self.journal.after(After::Accepted { session, agent, reference: request.reference, id });
        } else {
            self.say_accepted(session, request.reference, id, false);
        }
    }

    pub(super) fn say_accepted(
        &mut self,
        session: SessionId,
        reference: Option<u64>,
        id: MessageId,
        durable: bool,
    ) {
        let id = MessageRef { node: self.config.address, id };
        let accepted = api::Accepted { reference, id, durable, at_us: self.now.as_micros() };
        self.tell(session, Event::Accepted(accepted));
    }
}
