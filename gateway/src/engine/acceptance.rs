//! Messages of local agents: refused, delivered here, or accepted for the mesh.
//!
//! Owns the order of acceptance: staged, synced, only then said and started. What becomes of them is `completion`'s.

use std::fmt::Display;

use mesh_agent::api::{
    self, Destination, ErrorCode, Event, Message, MessageRef, Name, Outcome, ReceiptRequest, Refusal,
    SendRequest,
};
use mesh_protocol::{Address, Duration, MessageId, NameHash, Priority};

use super::accounts::Charge;
use super::counts::Completed;
use super::encoding::encode;
use super::inbox::{Agent, InboxBound, Item, Wish};
use super::journal::After;
use super::keys::First;
use super::outgoing::Accepted;
use super::receipt_requests::Full;
use super::state::{EngineState, UNWRITTEN_BYTES, wants};
use crate::access::{Entry, Holder, Quota, Verdict};
use crate::agents::SessionId;
use crate::store::{AgentKey, Op};

/// What to do while the store does not write; the words for agents and for the command line.
pub(super) const STORE_FAILED: &str = "see `mesh-gateway status`; the store is tried again by itself, and durable messages are taken then; one that is not durable (`durable: false`, `--no-durable`) is still taken, and may be lost";
const AFTER_A_RECEIPT: &str = "send it again after a receipt";

/// Why a message is not taken.
pub(super) fn refused(code: ErrorCode, why: impl Display) -> Refusal {
    Refusal::new(code, format!("cannot accept the message: {why}"))
}

impl EngineState {
    pub(super) fn send(&mut self, session: SessionId, key: AgentKey, request: SendRequest) {
        if let Err(refusal) = self.try_send(session, key, &request) {
            self.note(session, key, &request, Verdict::Refused(refusal.code));
            self.refuse(session, request.reference, refusal);
        }
    }

    pub(super) fn try_send(
        &mut self,
        session: SessionId,
        key: AgentKey,
        request: &SendRequest,
    ) -> Result<(), Refusal> {
        let Some(sender) = self.agents.get(&key) else { return Ok(()) };
        let from = sender.name;
        if let Some(key_of_it) = request.key
            && let Some(first) = sender.keys.find(key_of_it)
        {
            let id = MessageRef { node: self.config.address, id: first.id };
            self.note(session, key, request, Verdict::Again(id));
            self.again(session, key, request.reference, key_of_it, first);
            return Ok(());
        }
        let bound = self.inbox_bound();
        if request.durable && self.journal.failure().is_some() {
            return Err(refused(ErrorCode::Storage, "the store has failed").hint(STORE_FAILED));
        }
        let (local, mesh) = self.receivers(from, &request.to)?;
        let copies = (local.len() + usize::from(mesh.is_some())) as u64 * request.body.len() as u64;
        let unwritten = self.journal.unwritten_bytes();
        if request.durable && unwritten > 0 && unwritten + copies > UNWRITTEN_BYTES {
            return Err(
                refused(ErrorCode::Busy, "the disk is slower than the senders").hint("send it again later")
            );
        }
        if !sender.has_room(bound) {
            return Err(refused(ErrorCode::Busy, "your inbox is full").hint("ack what you have handled"));
        }
        if mesh.is_some() && !self.outgoing.has_room(request.body.len(), request.priority) {
            return Err(refused(ErrorCode::Busy, "too much waits for the air").hint(AFTER_A_RECEIPT));
        }
        if mesh.is_some() && !self.outgoing.has_room_for(from, request.body.len()) {
            let why = "a quarter of what may wait for the air is yours already";
            return Err(refused(ErrorCode::Busy, why).hint(AFTER_A_RECEIPT));
        }
        if request.deadline_ms.is_some_and(|deadline| deadline > api::MAX_DEADLINE_MS) {
            return Err(refused(ErrorCode::BadRequest, "its deadline is more than 24 hours away")
                .hint(format!("give it one of at most {} ms", api::MAX_DEADLINE_MS))
                .field("deadline_ms"));
        }
        if let Some(answered) = request.reply_to {
            self.may_answer(answered, from, &request.to)?;
        }
        let one = matches!(request.to, Destination::Agent { .. } | Destination::Node(_));
        if one
            && local
                .first()
                .and_then(|to| self.agents.get(to))
                .is_some_and(|to| !to.has_room_for(bound, request.priority))
        {
            let why = format_args!("the inbox of {} is full", request.to);
            return Err(refused(ErrorCode::Busy, why).hint("send it later"));
        }
        let holder = self.agents.get(&key).and_then(Agent::holder);
        if let Some(Holder { token, quota: Some(quota) }) = holder {
            self.has_quota(token, &quota, local.len() + usize::from(mesh.is_some()), request.body.len())?;
        }
        let mut gives_way = None;
        if mesh.is_some() && one && request.receipt == ReceiptRequest::Processed {
            let limited = holder.filter(|holder| holder.quota.is_some()).map(|holder| holder.token);
            gives_way = self.room_to_wait(from, limited).map_err(|Full| {
                let why = "too many messages, of yours or of all, wait to be acknowledged";
                refused(ErrorCode::Busy, why)
                    .hint("send it again after a receipt that says processed, or with receipt: delivered")
            })?;
        }
        let token = holder.map(|holder| holder.token);
        // The last that may refuse it. Nothing has changed so far, and from here on it is accepted.
        let id = self.take_id(request.durable)?;
        if let Some(gives_way) = gives_way {
            self.give_up_ack(gives_way);
        }
        self.recent.remember(id, from, request.to);
        self.note(session, key, request, Verdict::Accepted(MessageRef { node: self.config.address, id }));
        self.remember(key, request, id);

        let only_here = mesh.is_none();
        for to in local {
            self.deliver_here(to, from, id, request, token);
        }
        if let Destination::Agent { name, node: None } = request.to {
            self.seek(name);
        }
        if only_here {
            self.accepted(session, key, request, id);
            let outcome = if one { Outcome::Delivered } else { Outcome::Sent };
            let (kind, priority, to) = (request.kind, request.priority, Some(self.config.address));
            self.counts
                .completed(self.now, Completed { to, kind, priority, outcome, age: Some(Duration::ZERO) });
            let receipt = self.receipt(request.reference, id, outcome, Some(0), None);
            self.notify(from, receipt, request.durable);
            return Ok(());
        }
        // One that is left out is never longer than what may be asked for.
        let longest = holder.and_then(|holder| holder.quota).map(|quota| quota.deadline());
        let usual =
            longest.map_or(self.config.default_deadline, |longest| longest.min(self.config.default_deadline));
        let deadline_ms =
            request.deadline_ms.unwrap_or_else(|| u32::try_from(usual.as_millis()).unwrap_or(u32::MAX));
        let accepted = Accepted {
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
            token,
        };
        let charge = self.accounts.charge(token, request.body.len());
        if request.durable {
            self.journal.stage(Op::PutOutbox { id, record: encode(&accepted) });
        }
        let deadline = self.now + Duration::from_millis(deadline_ms.into());
        self.outgoing.insert(id, accepted, charge, deadline, false);
        self.accepted(session, key, request, id);
        self.promise(request.durable, After::Launch(id));
        Ok(())
    }

    /// An answer of an agent of this gateway comes from who was asked and goes to who asked, as far as that is known. What follows a
    /// message of one's own answers nobody.
    fn may_answer(&self, answered: MessageRef, from: Name, to: &Destination) -> Result<(), Refusal> {
        let no = |why: &str, hint: &str| {
            Err(refused(ErrorCode::BadRequest, format_args!("{answered} {why}")).hint(hint).field("reply_to"))
        };
        let Some((asker, asked)) = self.sent(answered).filter(|(asker, _)| *asker != from) else {
            return Ok(());
        };
        if !asked.may_answer(&Destination::agent_on(from, self.config.address)) {
            return no(
                "was not sent to you",
                "give the id of a message that came to you, or leave reply_to out",
            );
        }
        match to {
            Destination::Agent { name, .. } if *name != asker => {}
            Destination::Node(node) if *node != self.config.address || asker != self.own_agent() => {}
            _ => return Ok(()),
        }
        no(
            "is not from whom you answer",
            "send the answer to whom the message came from, or leave reply_to out",
        )
    }

    /// Who sent a message of this gateway's, and to whom; where that is still known.
    pub(super) fn sent(&self, message: MessageRef) -> Option<(Name, Destination)> {
        let id = Some(message.id).filter(|_| message.node == self.config.address)?;
        let under_way = || self.outgoing.get(id).map(|accepted| (accepted.from, accepted.to));
        self.recent.find(id).or_else(under_way)
    }

    /// Whether so many more copies of a message may wait on a token's account.
    fn has_quota(&self, token: Name, quota: &Quota, copies: usize, len: usize) -> Result<(), Refusal> {
        let (messages, bytes) = self.accounts.of(token);
        let over = |what: String| {
            let why =
                format_args!("the access token {token} allows {what} to wait, on their way or in inboxes");
            Err(refused(ErrorCode::Busy, why).hint("send it again when some of them have been taken"))
        };
        if messages + copies > quota.messages as usize {
            return over(format!("{} messages (max_messages)", quota.messages));
        }
        if bytes + copies * len > quota.bytes as usize {
            return over(format!("{} bytes of messages (max_bytes)", quota.bytes));
        }
        Ok(())
    }

    /// Mail has come for an agent that is away from here: it may be elsewhere, and its mail is to go there from then on.
    fn seek(&mut self, name: Name) {
        if self.by_name.get(&name).is_none_or(|key| self.is_connected(*key)) {
            return;
        }
        let hash = NameHash::of(name.as_str());
        if self.directory.find(hash).is_none() && self.directory.seek(self.now, hash) {
            self.commands.find(hash, Priority::Low);
        }
    }

    /// Notes what became of a message. One that the disk loses afterwards, as the store fails, stays noted as accepted: it may have
    /// been on its way.
    fn note(&self, session: SessionId, agent: AgentKey, send: &SendRequest, verdict: Verdict) {
        if let Some(agent) = self.agents.get(&agent) {
            let (session, token) = (session.0, agent.token());
            self.audit.note(&Entry { session, agent: agent.name, token, send, verdict });
        }
    }

    /// Remembers the key of a message that is being accepted, on disk too if the message is.
    pub(super) fn remember(&mut self, agent: AgentKey, request: &SendRequest, id: MessageId) {
        let Some((sender, key)) = self.agents.get_mut(&agent).zip(request.key) else { return };
        let row = sender.keys.remember(key, First { id, durable: request.durable });
        let passing = sender.is_passing();
        if let Some((row, record)) = row.filter(|_| !passing) {
            self.journal.stage(Op::PutKey { agent, row, record: encode(&record) });
        }
    }

    /// A message that was sent before: accepted it was, and nothing else becomes of it.
    pub(super) fn again(
        &mut self,
        session: SessionId,
        agent: AgentKey,
        reference: Option<u64>,
        key: u64,
        first: First,
    ) {
        self.counts.count("messages_sent_again");
        // The first may still wait for the disk.
        let durable = first.durable && self.journal.is_busy();
        self.promise(durable, After::Again { session, agent, reference, key, first });
    }

    /// Agents of this gateway that a message goes to, and where in the mesh it goes (`None`: nowhere).
    pub(super) fn receivers(
        &self,
        from: Name,
        to: &Destination,
    ) -> Result<(Vec<AgentKey>, Option<()>), Refusal> {
        let me = self.config.address;
        let others = |wants: &dyn Fn(&Agent) -> bool| {
            self.agents
                .values()
                .filter(|agent| agent.name != from && wants(agent))
                .map(|agent| agent.key)
                .collect()
        };
        let here = |name: &Name| match self.by_name.get(name) {
            Some(key) => Ok((vec![*key], None)),
            None => {
                let why = format_args!("no agent {name} has ever attached to this gateway");
                Err(refused(ErrorCode::UnknownReceiver, why)
                    .hint("`mesh-gateway agents` lists those that have")
                    .field("to"))
            }
        };
        match to {
            Destination::Agent { name, node } if *node == Some(me) => here(name),
            Destination::Agent { name, node: None } if self.is_here(*name).is_some() => here(name),
            Destination::Node(node) if *node == me => here(&self.own_agent()),
            Destination::Agent { .. } | Destination::Node(_) => Ok((Vec::new(), Some(()))),
            Destination::Group(group) => Ok((others(&|agent| agent.groups.contains_key(group)), Some(()))),
            Destination::Everyone => Ok((others(&|agent| !agent.is_passing()), Some(()))),
        }
    }

    /// The agent that answers for this node: the one that bears the gateway's own name.
    pub(super) fn own_agent(&self) -> Name {
        self.config.agent_name()
    }

    pub(super) fn deliver_here(
        &mut self,
        to: AgentKey,
        from: Name,
        id: MessageId,
        request: &SendRequest,
        token: Option<Name>,
    ) {
        if let Destination::Group(group) = request.to
            && !self.agents.get(&to).is_some_and(|agent| wants(agent, &group, request.kind))
        {
            return;
        }
        let message = Message {
            cursor: None,
            id: MessageRef { node: self.config.address, id },
            from: Destination::agent_on(from, self.config.address),
            to: request.to,
            kind: request.kind,
            priority: request.priority,
            reply_to: request.reply_to,
            hops: 0,
            at_us: self.now.as_micros(),
            body: request.body.clone(),
        };
        let wish =
            (request.receipt == ReceiptRequest::Processed).then_some(Wish::Agent(from, request.reference));
        self.put(to, Item::Message(message, wish), request.durable, token);
    }

    /// Puts an item into an inbox and shows it, once it is synced if it is durable. `false` when the inbox is full.
    pub(super) fn put(&mut self, to: AgentKey, item: Item, durable: bool, token: Option<Name>) -> bool {
        let bound = self.inbox_bound();
        let Some(agent) = self.agents.get_mut(&to) else { return false };
        // Receipts always fit: there are no more of them than messages under way.
        if let Item::Message(message, _) = &item
            && !agent.has_room_for(bound, message.priority)
        {
            self.counts.count("inbox_full");
            return false;
        }
        let charge = self.accounts.charge(token, item.body_len());
        if durable {
            // It is on the disk with all that belongs to it, or nothing of it is: while the store fails, it waits with that.
            let cursor = agent.keep(item, true, charge);
            if !agent.is_passing()
                && let Some(record) = agent.last_kept()
            {
                self.journal.stage(Op::PutInbox { agent: to, cursor, record });
            }
            self.journal.after(After::Show(to, cursor));
        } else if self.journal.failure().is_some() {
            agent.hold(item, charge);
            self.show(to);
        } else {
            self.keep_in_memory(to, item, charge);
        }
        true
    }

    /// Puts an item into an inbox that need not be on the disk, and shows it.
    pub(super) fn keep_in_memory(&mut self, to: AgentKey, item: Item, charge: Option<Charge>) {
        let Some(agent) = self.agents.get_mut(&to) else { return };
        let reserves = agent.reserves();
        agent.keep(item, false, charge);
        if let Some(up_to) = reserves {
            self.stage_agent(to);
            self.journal.after(After::CursorsReserved(to, up_to));
        }
        self.show(to);
    }

    pub(super) fn accepted(
        &mut self,
        session: SessionId,
        agent: AgentKey,
        request: &SendRequest,
        id: MessageId,
    ) {
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
                        self.directory.ask(self.now, hash, priority);
                    }
                }
            }
        }
        self.commands.refill();
    }

    pub(super) fn inbox_bound(&self) -> InboxBound {
        InboxBound {
            messages: self.config.inbox_messages,
            bytes: self.config.inbox_bytes,
            total_bytes: self.config.inbox_total_bytes,
        }
    }
}
