//! Whether a message of a local agent is accepted: the checks, in their order. Nothing changes here.

use mesh_agent::api::{self, Destination, ErrorCode, MessageRef, Name, ReceiptRequest, Refusal, SendRequest};
use mesh_protocol::MessageId;

use super::agent::Agent;
use super::receipt_requests::{Full, MESSAGES, OF_ONE};
use super::refusals::{refused, store_failed};
use super::state::EngineState;
use crate::access::{Holder, Quota};
use crate::share::but_a_sixteenth;
use crate::store::AgentKey;

/// Bytes that may wait for the disk before durable messages are refused. A guess: a second of a slow SD card.
pub(super) const UNWRITTEN_BYTES: u64 = 16 * 1024 * 1024;

const AFTER_A_RECEIPT: &str = "send it again after a receipt";

/// Who gets a message.
#[derive(Debug)]
pub(super) struct Receivers {
    /// Agents of this gateway.
    pub(super) here: Vec<AgentKey>,
    /// Whether it goes into the mesh as well.
    pub(super) mesh: bool,
}

impl Receivers {
    /// How many copies of the message wait here.
    fn copies(&self) -> usize {
        self.here.len() + usize::from(self.mesh)
    }
}

/// What an accepted message takes.
#[derive(Debug)]
pub(super) struct Admission {
    pub(super) receivers: Receivers,
    /// The token that it comes with, if that has limits.
    pub(super) holder: Option<Holder>,
    /// The message whose sender waits for an ack no longer, to make room for this one.
    pub(super) gives_way: Option<MessageId>,
}

impl EngineState {
    pub(super) fn admit(&self, sender: &Agent, request: &SendRequest) -> Result<Admission, Refusal> {
        if request.durable && self.journal.failure().is_some() {
            return Err(store_failed());
        }
        let receivers = self.receivers(sender.name(), &request.to)?;
        self.has_room(sender, request, &receivers)?;
        if request.deadline_ms.is_some_and(|deadline| deadline > api::MAX_DEADLINE_MS) {
            return Err(refused(ErrorCode::BadRequest, "its deadline is more than 24 hours away")
                .hint(format!("give it one of at most {} ms", api::MAX_DEADLINE_MS))
                .field("deadline_ms"));
        }
        if let Some(answered) = request.reply_to {
            self.may_answer(answered, sender.name(), &request.to)?;
        }
        let one = is_to_one(&request.to);
        let first = receivers.here.first().and_then(|to| self.registry.get(*to));
        // Of many receivers, one that reads nothing does not hold up the others.
        if one && first.is_some_and(|to| !to.inbox().has_room_for(self.registry.bound(), request.priority)) {
            let why = format_args!("the inbox of {} is full", request.to);
            return Err(refused(ErrorCode::Busy, why).hint("send it later"));
        }
        let holder = sender.holder();
        if let Some(Holder { token, quota: Some(quota) }) = holder {
            self.has_quota(token, &quota, receivers.copies(), request.body.len())?;
        }
        let mut gives_way = None;
        if receivers.mesh && one && request.receipt == ReceiptRequest::Processed {
            let limited = holder.filter(|holder| holder.quota.is_some()).map(|holder| holder.token);
            gives_way = self.room_to_wait(sender.name(), limited).map_err(|Full| {
                let why = "too many messages, of yours or of all, wait to be acknowledged";
                refused(ErrorCode::Busy, why)
                    .hint("send it again after a receipt that says processed, or with receipt: delivered")
            })?;
        }
        Ok(Admission { receivers, holder, gives_way })
    }

    /// Whether there is room for a message: on its way to the disk, for its receipt, and on its way to the mesh.
    fn has_room(&self, sender: &Agent, request: &SendRequest, receivers: &Receivers) -> Result<(), Refusal> {
        let copies = receivers.copies() as u64 * request.body.len() as u64;
        let unwritten = self.journal.unwritten_bytes();
        // With nothing before it, one message of any size is taken.
        if request.durable && unwritten > 0 && unwritten + copies > UNWRITTEN_BYTES {
            return Err(
                refused(ErrorCode::Busy, "the disk is slower than the senders").hint("send it again later")
            );
        }
        // Its receipt will come there, whatever becomes of it.
        if !sender.inbox().has_room(self.registry.bound()) {
            return Err(refused(ErrorCode::Busy, "your inbox is full").hint("ack what you have handled"));
        }
        if receivers.mesh && !self.outgoing.usage().has_room(request.body.len(), request.priority) {
            return Err(refused(ErrorCode::Busy, "too much waits for the air").hint(AFTER_A_RECEIPT));
        }
        if receivers.mesh && !self.outgoing.usage().has_room_for(sender.name(), request.body.len()) {
            let why = "a quarter of what may wait for the air is yours already";
            return Err(refused(ErrorCode::Busy, why).hint(AFTER_A_RECEIPT));
        }
        Ok(())
    }

    /// Agents of this gateway that a message goes to, and whether it goes into the mesh.
    fn receivers(&self, from: Name, to: &Destination) -> Result<Receivers, Refusal> {
        let me = self.config.address;
        let to_many = |wants: &dyn Fn(&Agent) -> bool| {
            let others = self.registry.all().filter(|agent| agent.name() != from && wants(agent));
            Receivers { here: others.map(Agent::key).collect(), mesh: true }
        };
        let here = |name: Name| match self.registry.key_of(name) {
            Some(key) => Ok(Receivers { here: vec![key], mesh: false }),
            None => {
                let why = format_args!("no agent {name} has ever attached to this gateway");
                Err(refused(ErrorCode::UnknownReceiver, why)
                    .hint("`mesh-gateway agents` lists those that have")
                    .field("to"))
            }
        };
        match to {
            Destination::Agent { name, node } if *node == Some(me) => here(*name),
            Destination::Agent { name, node: None } if self.is_here(*name).is_some() => here(*name),
            Destination::Node(node) if *node == me => here(self.config.agent_name()),
            Destination::Agent { .. } | Destination::Node(_) => {
                Ok(Receivers { here: Vec::new(), mesh: true })
            }
            Destination::Group(group) => Ok(to_many(&|agent| agent.groups().contains_key(group))),
            Destination::Everyone => Ok(to_many(&|agent| !agent.is_passing())),
        }
    }

    /// Whether the agent `from` may send an answer to this message: it was its receiver, and the answer goes to its sender, as far as
    /// both are known. A message that follows one of the agent's own is no answer.
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
            Destination::Node(node) if *node != self.config.address || asker != self.config.agent_name() => {}
            _ => return Ok(()),
        }
        no(
            "is not from whom you answer",
            "send the answer to whom the message came from, or leave reply_to out",
        )
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

    /// Whether one more message of this agent, which has a token with limits or not, may wait for an ack once it is delivered; and
    /// which one is to be given up for it, if one is.
    fn room_to_wait(&self, from: Name, limited: Option<Name>) -> Result<Option<MessageId>, Full> {
        let agent = |name| self.registry.named(name);
        let of_token = |token| {
            let all = self.receipt_requests.of_agents().chain(self.outgoing.usage().requests());
            let its = all.filter(|(name, _)| agent(**name).is_some_and(|agent| agent.owner() == Some(token)));
            its.map(|(_, count)| count).sum::<usize>()
        };
        // What is under way of one that is gone will not wait. It is not sorted out while even with that there is room.
        let is_full = |most| {
            let waiting = self.receipt_requests.len();
            let there = self.outgoing.usage().requests().filter(|(name, _)| agent(**name).is_some());
            waiting + self.outgoing.usage().messages() >= most
                && waiting + there.map(|(_, count)| count).sum::<usize>() >= most
        };
        let most = if limited.is_some() { but_a_sixteenth(MESSAGES) } else { MESSAGES };
        let oldest = if self.receipt_requests.of(from) + self.outgoing.usage().requests_of(from) >= OF_ONE {
            self.receipt_requests.oldest(self.now, |name| name == from)
        } else if limited.is_some_and(|token| of_token(token) >= OF_ONE) {
            self.receipt_requests.oldest(self.now, |name| agent(name).and_then(Agent::owner) == limited)
        } else if is_full(most) {
            self.receipt_requests.oldest(self.now, |_| true)
        } else {
            return Ok(None);
        };
        oldest.map(Some).ok_or(Full)
    }
}

/// Whether one agent gets it, so that there is one who can refuse or acknowledge it.
pub(super) const fn is_to_one(to: &Destination) -> bool {
    matches!(to, Destination::Agent { .. } | Destination::Node(_))
}
