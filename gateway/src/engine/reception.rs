//! From the mesh: messages into inboxes, names into the directory, the node's other news.
//!
//! Owns the verdict on what arrives: nothing is called delivered before it is synced.

use mesh_agent::api::{Body, Destination, Message, MessageRef};
use mesh_protocol::{Address, Answer, ContextId, EncodedEnvelope, NameHash, Reason, Received, Verdict};

use super::contexts::{Context, Definition};
use super::encoding::encode;
use super::inbox::{Item, Wish};
use super::incoming::{Known, Parts};
use super::journal::After;
use super::records;
use super::state::{EngineState, wants};
use crate::store::Op;

/// Type, flags and names; the message that is answered; the body; the context that is defined.
type Meaning<'a> = (Context, Option<mesh_protocol::MessageRef>, &'a [u8], Option<ContextId>);

impl EngineState {
    pub(super) fn received(&mut self, received: &Received<'_>) -> Answer {
        let whole = match received.part {
            None => None,
            Some(part) => {
                match self.incoming.part(self.now, received.source, received.id, part, received.bytes) {
                    Parts::Waiting => return Answer::None,
                    Parts::Whole(bytes) => Some(bytes),
                    // Nobody answers a message to many.
                    Parts::Restart if !received.destination.is_node() => return Answer::None,
                    Parts::Restart if received.is_last() => return Answer::Verdict(Verdict::Restart),
                    Parts::Restart => {
                        let &Received { source: to, id, priority, .. } = received;
                        self.commands.report(to, id, priority, Verdict::Restart);
                        return Answer::None;
                    }
                }
            }
        };
        let bytes = whole.as_deref().unwrap_or(received.bytes);
        match self.message(received, bytes) {
            Some(verdict) if received.destination.is_node() => Answer::Verdict(verdict),
            _ => Answer::None,
        }
    }

    /// Puts a whole message where it belongs; the verdict, unless that waits for the disk.
    pub(super) fn message(&mut self, received: &Received<'_>, bytes: &[u8]) -> Option<Verdict> {
        let &Received { source, id, priority, hops, destination, .. } = received;
        let Ok(encoded) = EncodedEnvelope::parse(bytes) else {
            self.counts.count("messages_malformed");
            return Some(Verdict::Rejected(Reason::Malformed));
        };
        match self.incoming.known(source, id) {
            Known::Yes => {
                self.counts.count("messages_repeated");
                return Some(Verdict::Delivered);
            }
            Known::Storing => return None,
            Known::Forgotten => {
                self.counts.count("messages_forgotten");
                return Some(Verdict::Rejected(Reason::Forgotten));
            }
            Known::No => {}
        }
        let (context, reply_to, body, defines) = match self.meaning(received, encoded) {
            Ok(meaning) => meaning,
            Err(reason) => {
                self.counts.count(match reason {
                    Reason::UnknownContext => "messages_of_unknown_context",
                    Reason::NoSuchAgent => "messages_for_nobody",
                    _ => "messages_malformed",
                });
                return Some(Verdict::Rejected(reason));
            }
        };
        let from = context.from;
        if let Some(from) = from {
            self.learn(NameHash::of(from.as_str()), Some(from), source);
        }
        let (receivers, to) = if destination == Address::EVERYONE {
            let lasting = self.agents.values().filter(|agent| !agent.is_passing());
            (lasting.map(|agent| agent.key).collect(), Destination::Everyone)
        } else if destination.is_group() {
            let group = context.to?;
            let subscribed = self.agents.values().filter(|agent| wants(agent, &group, context.kind));
            (subscribed.map(|agent| agent.key).collect::<Vec<_>>(), Destination::Group(group))
        } else {
            let name = context.to.unwrap_or_else(|| self.own_agent());
            let Some(key) = self.by_name.get(&name).copied() else {
                self.counts.count("messages_for_nobody");
                return Some(Verdict::Rejected(Reason::NoSuchAgent));
            };
            if self.agents.get(&key).is_some_and(|agent| !agent.has_room_for(self.inbox_bound(), priority)) {
                self.counts.count("inbox_full");
                return Some(Verdict::Rejected(Reason::InboxFull));
            }
            (vec![key], Destination::agent_on(name, destination))
        };
        // Nothing on the disk speaks of one that is there for its session.
        let lasting =
            receivers.iter().any(|key| self.agents.get(key).is_some_and(|agent| !agent.is_passing()));
        let failed = self.journal.failure().is_some();
        if failed && lasting && destination.is_node() {
            return Some(Verdict::Rejected(Reason::Storage));
        }
        // Nobody waits for an answer to what many get: while the store fails, it is shown all the same, and not written.
        let durable = lasting && !failed;
        let sender = from.map_or(Destination::Node(source), |from| Destination::agent_on(from, source));
        let mut reply_to = reply_to.map(|reply_to| MessageRef { node: reply_to.node, id: reply_to.id });
        if let Some((asker, asked)) = reply_to.and_then(|answered| self.sent(answered)) {
            let to_another = matches!(to, Destination::Agent { name, .. } if name != asker);
            if to_another || !asked.may_answer(&sender) {
                self.counts.count("answers_of_others");
                reply_to = None;
            }
        }
        let message = Message {
            cursor: None,
            id: MessageRef { node: source, id },
            from: sender,
            to,
            kind: context.kind,
            priority,
            reply_to,
            hops,
            at_us: self.now.as_micros(),
            body: Body::from_parts(body.to_vec().into(), context.text),
        };
        let wish = context.processed.then_some(Wish::Node);
        for key in receivers {
            let durable = durable && self.agents.get(&key).is_some_and(|agent| !agent.is_passing());
            self.put(key, Item::Message(message.clone(), wish), durable, None);
        }
        if let Some(number) = defines {
            let definition = Definition { by: id, context };
            let record = encode(&definition);
            self.contexts.take(source, number, definition);
            self.journal.stage(Op::PutContext { source, context: number, record });
        }
        if durable {
            // With it, so that frames that brought it bring nothing after a power cut.
            let record = records::encode_delivered(received.mark);
            self.journal.stage(Op::PutDelivered { source, id, record });
        }
        for id in self.incoming.remember(source, id, !durable) {
            // While nothing is written, none but rows of before stand there; the next start takes out what is too old.
            if !failed {
                self.journal.stage(Op::DeleteDelivered { source, id });
            }
        }
        self.counts.count("messages_received");
        if !durable {
            return Some(Verdict::Delivered);
        }
        if destination.is_node() {
            let verdict = Verdict::Delivered;
            self.journal.after(After::Report { to: source, id, priority, verdict });
        }
        None
    }

    /// What a message says, be it by a context; and which context it defines, for a definition that can be taken.
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
                Ok((context, envelope.reply_to, envelope.body, defines))
            }
            EncodedEnvelope::Short { context, reply_to, body } => {
                let meant =
                    if destination.is_node() { self.contexts.meant(source, id, context) } else { None };
                let context = *meant.ok_or(Reason::UnknownContext)?;
                if context.text && std::str::from_utf8(body).is_err() {
                    return Err(Reason::Malformed);
                }
                let answered = |id| mesh_protocol::MessageRef { node: destination, id };
                Ok((context, reply_to.map(answered), body, None))
            }
        }
    }
}
