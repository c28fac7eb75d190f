//! Messages from the mesh: checks first, then effects. Their sender is answered with a verdict.
//!
//! Owns the verdict on what arrives. *Delivered* is said to the sender behind the sync of the message: it will never send it again. And
//! behind the same sync stands that this number was delivered, or a repeat after a power cut would be a second message.

use mesh_agent::api::{Body, Destination, Message, MessageRef};
use mesh_protocol::{
    Address, Answer, Carried, ContextId, EncodedEnvelope, NameHash, Reason, Received, Verdict,
};

use super::contexts::{Context, Definition};
use super::encoding::encode;
use super::incoming::{Assembled, Known};
use super::item::{Item, Requester};
use super::journal::After;
use super::records;
use super::state::EngineState;
use crate::store::{AgentKey, Op};

/// Of a message to many, whose sender is not answered: the node does not count itself as one that has it, or not once more.
const NOT_COUNTED: Answer = Answer::Verdict(Verdict::Restart);

/// Type, names and body of a message; type and names stand in it or in a context that it refers to.
struct Meaning<'a> {
    /// Type, flags and names.
    context: Context,
    /// The message that it answers.
    reply_to: Option<mesh_protocol::MessageRef>,
    body: &'a [u8],
    /// The context that it defines.
    defines: Option<ContextId>,
}

/// Whom a message is for.
struct Receivers {
    agents: Vec<AgentKey>,
    to: Destination,
}

impl EngineState {
    pub(super) fn received(&mut self, received: &Received<'_>) -> Answer {
        let all = match received.part {
            None => None,
            Some(part) => {
                match self.incoming.part(self.now, received.source, received.id, part, received.bytes) {
                    // Nobody answers a message to many.
                    Assembled::Waiting | Assembled::Restart if !received.destination.is_node() => {
                        return NOT_COUNTED;
                    }
                    Assembled::Waiting => return Answer::None,
                    Assembled::Complete(bytes) => Some(bytes),
                    Assembled::Restart if received.is_last() => return Answer::Verdict(Verdict::Restart),
                    // The node asks for a verdict with the last part only: this one goes by itself.
                    Assembled::Restart => {
                        let &Received { source: to, id, priority, .. } = received;
                        self.commands.report(to, id, priority, Verdict::Restart);
                        return Answer::None;
                    }
                }
            }
        };
        let bytes = all.as_deref().unwrap_or(received.bytes);
        let is_new = matches!(self.incoming.known(received.source, received.id), Known::No);
        let verdict = self.take_in(received, bytes).unwrap_or_else(|reason| {
            self.count_refused(reason);
            Some(Verdict::Rejected(reason))
        });
        match verdict {
            Some(verdict) if received.destination.is_node() => Answer::Verdict(verdict),
            Some(Verdict::Rejected(_)) => NOT_COUNTED,
            _ if !received.destination.is_node() && !is_new => NOT_COUNTED,
            _ => Answer::None,
        }
    }

    fn count_refused(&mut self, reason: Reason) {
        let what = match reason {
            Reason::Malformed => "messages_malformed",
            Reason::UnknownContext => "messages_of_unknown_context",
            Reason::NoSuchAgent => "messages_for_nobody",
            Reason::InboxFull => "inbox_full",
            Reason::Forgotten => "messages_forgotten",
            _ => return,
        };
        self.counts.count(what);
    }

    /// Puts a message where it belongs, and says the verdict, unless that waits for the disk.
    fn take_in(&mut self, received: &Received<'_>, bytes: &[u8]) -> Result<Option<Verdict>, Reason> {
        match Carried::parse(bytes).filter(|_| received.destination.is_node()) {
            None => {
                let encoded = EncodedEnvelope::parse(bytes).map_err(|_| Reason::Malformed)?;
                self.take_message(received, encoded, received)
            }
            Some(Err(_)) => Err(Reason::Malformed),
            // What this node has sent comes back to nobody here.
            Some(Ok(Carried::OnBehalf { of, .. })) if of.node == self.config.address => {
                Err(Reason::Malformed)
            }
            Some(Ok(Carried::Keep { to, seconds, envelope })) => self.keep(received, to, seconds, &envelope),
            Some(Ok(Carried::Settled { id, hops, verdict })) => self.settled(received, id, hops, verdict),
            Some(Ok(Carried::OnBehalf { of, envelope })) => {
                // The mark is that of who brings it, and nothing of it is remembered.
                let original = Received { source: of.node, id: of.id, mark: None, ..*received };
                let whole = EncodedEnvelope::Whole { defines: None, envelope };
                self.take_message(&original, whole, received)
            }
        }
    }

    /// Takes a message that `bearer` has brought: what its source has sent, or another gateway has kept.
    fn take_message(
        &mut self,
        received: &Received<'_>,
        encoded: EncodedEnvelope<'_>,
        bearer: &Received<'_>,
    ) -> Result<Option<Verdict>, Reason> {
        let &Received { source, id, .. } = received;
        match self.incoming.known(source, id) {
            Known::Yes => {
                self.counts.count("messages_repeated");
                return Ok(Some(Verdict::Delivered));
            }
            // The first copy has not been synced: its verdict answers this one too.
            Known::Storing => return Ok(None),
            Known::Forgotten => return Err(Reason::Forgotten),
            Known::No => {}
        }
        let meaning = self.meaning(received, encoded)?;
        // Whatever becomes of the message, its sender is there.
        if let Some(from) = meaning.context.from {
            self.learn(NameHash::of(from.as_str()), Some(from), source);
        }
        let for_nobody = Ok(Some(Verdict::Rejected(Reason::NoSuchAgent)));
        let Some(receivers) = self.receivers_of(received, &meaning.context)? else { return for_nobody };
        let is_for_nobody = received.destination.is_group() && receivers.agents.is_empty();
        // Nothing on the disk speaks of one that is there for its session.
        let lasting = receivers.agents.iter().any(|key| self.registry.is_lasting(*key));
        let failed = self.journal.failure().is_some();
        if failed && lasting && received.destination.is_node() {
            return Err(Reason::Storage);
        }
        // Nobody waits for an answer to what many get: while the store fails, it is shown all the same, and not written.
        let durable = lasting && !failed;
        self.put_in(received, &meaning, receivers, durable);
        self.remember_delivery(received, &meaning, durable);
        self.counts.count("messages_received");
        if is_for_nobody { for_nobody } else { Ok(self.verdict_of(received, bearer, durable)) }
    }

    /// Who gets it; `None` for a message to a group that does not say which.
    fn receivers_of(&self, received: &Received<'_>, context: &Context) -> Result<Option<Receivers>, Reason> {
        let &Received { destination, priority, .. } = received;
        if destination == Address::EVERYONE {
            let agents = self.registry.lasting().map(|agent| agent.key()).collect();
            return Ok(Some(Receivers { agents, to: Destination::Everyone }));
        }
        if destination.is_group() {
            // Several groups may share an address: who is in this one is decided by its name.
            let Some(group) = context.to else { return Ok(None) };
            let subscribed = self.registry.all().filter(|agent| agent.wants(&group, context.kind));
            let agents = subscribed.map(|agent| agent.key()).collect();
            return Ok(Some(Receivers { agents, to: Destination::Group(group) }));
        }
        let name = context.to.unwrap_or_else(|| self.config.agent_name());
        let agent = self.registry.named(name).ok_or(Reason::NoSuchAgent)?;
        if !agent.inbox().has_room_for(self.registry.bound(), priority) {
            return Err(Reason::InboxFull);
        }
        Ok(Some(Receivers { agents: vec![agent.key()], to: Destination::agent_on(name, destination) }))
    }

    /// Into the inboxes of its receivers.
    fn put_in(
        &mut self,
        received: &Received<'_>,
        meaning: &Meaning<'_>,
        receivers: Receivers,
        durable: bool,
    ) {
        let &Received { source, id, priority, hops, .. } = received;
        let Receivers { agents, to } = receivers;
        let context = &meaning.context;
        let from = context.from.map_or(Destination::Node(source), |from| Destination::agent_on(from, source));
        let message = Message {
            cursor: None,
            id: MessageRef { node: source, id },
            from,
            to,
            kind: context.kind,
            priority,
            reply_to: self.answered(meaning, &from, &to),
            hops,
            at_us: self.now.as_micros(),
            body: Body::from_parts(meaning.body.to_vec().into(), context.text),
        };
        let requester = context.processed.then_some(Requester::Node);
        for key in agents {
            let durable = durable && self.registry.is_lasting(key);
            self.deliver(key, Item::Message(message.clone(), requester), durable, None);
        }
    }

    /// The message that it answers, if it comes from that one's receiver and goes to its sender. A member of the network could name any.
    fn answered(
        &mut self,
        meaning: &Meaning<'_>,
        from: &Destination,
        to: &Destination,
    ) -> Option<MessageRef> {
        let answered =
            meaning.reply_to.map(|answered| MessageRef { node: answered.node, id: answered.id })?;
        if let Some((asker, asked)) = self.sent(answered) {
            let to_another = matches!(to, Destination::Agent { name, .. } if *name != asker);
            if to_another || !asked.may_answer(from) {
                self.counts.count("answers_of_others");
                return None;
            }
        }
        Some(answered)
    }

    /// Notes that it was delivered and what it defines, on the disk too if it is there itself.
    fn remember_delivery(&mut self, received: &Received<'_>, meaning: &Meaning<'_>, durable: bool) {
        let &Received { source, id, .. } = received;
        if let Some(number) = meaning.defines {
            let definition = Definition { by: id, context: meaning.context };
            let record = encode(&definition);
            self.contexts.take(source, number, definition);
            self.journal.stage(Op::PutContext { source, context: number, record });
        }
        if durable {
            // With it, so that frames that brought it bring nothing after a power cut.
            let record = records::encode_delivered(received.mark);
            self.journal.stage(Op::PutDelivered { source, id, record });
        }
        let failed = self.journal.failure().is_some();
        for id in self.incoming.remember(source, id, !durable) {
            // While nothing is written, none but rows of before stand there; the next start takes out what is too old.
            if !failed {
                self.journal.stage(Op::DeleteDelivered { source, id });
            }
        }
    }

    /// *Delivered*, at once for what needs no disk. Otherwise nothing yet: it is promised behind the sync, and a sender that hears nothing
    /// asks again.
    fn verdict_of(
        &mut self,
        received: &Received<'_>,
        bearer: &Received<'_>,
        durable: bool,
    ) -> Option<Verdict> {
        let verdict = Verdict::Delivered;
        if !durable {
            return Some(verdict);
        }
        if bearer.destination.is_node() {
            let message = mesh_protocol::MessageRef { node: received.source, id: received.id };
            let &Received { source: to, id, priority, .. } = bearer;
            self.journal.after(After::Report { to, id, priority, verdict, message });
        }
        None
    }

    /// Resolves a message's context; and says which context it defines, if there is room for that definition.
    fn meaning<'a>(
        &self,
        received: &Received<'_>,
        encoded: EncodedEnvelope<'a>,
    ) -> Result<Meaning<'a>, Reason> {
        let &Received { source, id, destination, .. } = received;
        match encoded {
            EncodedEnvelope::Whole { defines, envelope } => {
                let defines = defines.filter(|_| destination.is_node());
                if defines.is_some_and(|number| !self.contexts.takes(source, id, number)) {
                    return Err(Reason::UnknownContext);
                }
                let context = Context::of(&envelope);
                if context.to.is_none() && !envelope.to.is_empty() {
                    return Err(Reason::NoSuchAgent);
                }
                Ok(Meaning { context, reply_to: envelope.reply_to, body: envelope.body, defines })
            }
            EncodedEnvelope::Short { context, reply_to, body } => {
                let meant =
                    if destination.is_node() { self.contexts.meant(source, id, context) } else { None };
                let context = *meant.ok_or(Reason::UnknownContext)?;
                if context.text && std::str::from_utf8(body).is_err() {
                    return Err(Reason::Malformed);
                }
                let answered = |id| mesh_protocol::MessageRef { node: destination, id };
                Ok(Meaning { context, reply_to: reply_to.map(answered), body, defines: None })
            }
        }
    }
}
