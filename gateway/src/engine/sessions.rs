//! Sessions and inboxes: who is attached, and what it has acknowledged.
//!
//! Owns what agents ask about themselves. What they send is `acceptance`'s.

use mesh_agent::api::{
    self, AgentForget, Destination, Done, ErrorCode, ErrorEvent, Event, Hello, Message, MessageRef, Name,
    Outcome, ReceiptRequest, Refusal, Welcome,
};
use mesh_protocol::{Address, NameHash, Verdict};

use super::encoding::encode;
use super::inbox::{Acked, Agent, Item, TooSlow, Wish, Worth};
use super::journal::After;
use super::state::{ANNOUNCE_BURST, ANNOUNCE_EVERY, EngineState};
use crate::access::Holder;
use crate::agents::{SessionId, SessionPort};
use crate::share::but_a_sixteenth;
use crate::store::{AgentKey, Op};

/// What to do while the store does not write.
const STORE_AGAIN: &str = "see `mesh-gateway status`; the store is tried again by itself";

impl EngineState {
    pub(super) fn attach(
        &mut self,
        session: SessionId,
        port: SessionPort,
        (name, passing): (Name, bool),
        hello: &Hello,
        holder: Option<Holder>,
    ) {
        let known = self.by_name.get(&name).copied();
        if known.and_then(|key| self.agents.get(&key)).is_some_and(|agent| passing || agent.is_passing()) {
            // It would get what is meant for the other one.
            let why = format!("cannot attach {name}: a session has that name for itself");
            let refusal = Refusal::new(ErrorCode::NameTaken, why).hint("use another one, or try again");
            return port.refuse(ErrorEvent::fatal(refusal));
        }
        let owner = holder.map(|holder| holder.token);
        let key = if passing {
            self.passing_agent(name)
        } else {
            let own = known.and_then(|key| self.agents.get(&key)).is_some_and(|agent| agent.owner == owner);
            if !own && let Err(refusal) = self.make_room(name, known.is_none(), holder) {
                return port.refuse(ErrorEvent::fatal(refusal));
            }
            match known {
                Some(key) => key,
                None => self.new_agent(name),
            }
        };
        let Some(agent) = self.agents.get_mut(&key) else { return };
        let changed = std::mem::replace(&mut agent.owner, owner) != owner;
        let credits = hello.credits.min(self.config.max_credits);
        // A cursor from another life of this agent says nothing about this one.
        let resume = hello.resume.filter(|cursor| agent.knows(*cursor));
        let (old, resumed_from) = agent.attach(session, port, holder, credits, resume);
        if let Some(old) = old {
            let why = format!("a newer session has the name {name} now");
            let refusal = Refusal::new(ErrorCode::NameTaken, why).hint("use another name to have both");
            old.refuse(ErrorEvent::fatal(refusal.field("name")));
        }
        if changed || known.is_none() {
            self.stage_agent(key);
        }
        self.sessions.retain(|_, owner| *owner != key);
        self.sessions.insert(session, key);
        let welcome = Welcome {
            name,
            gateway: self.config.name.clone(),
            node: self.config.address,
            session: session.0,
            resumed_from,
            credits,
            max_body: api::MAX_BODY as u32,
        };
        self.tell(session, Event::Welcome(welcome));
        if let Some(resume) = resume {
            self.ack(key, resume);
        }
        self.show(key);
        if !passing {
            // Wherever it was before.
            self.directory.forget(NameHash::of(name.as_str()));
            self.announce(name);
            self.found_here(key, name);
        }
    }

    /// Messages that wait for the mesh to say where this agent is have arrived.
    pub(super) fn found_here(&mut self, key: AgentKey, name: Name) {
        let hash = NameHash::of(name.as_str());
        let waiting: Vec<_> = self.outgoing.naming(hash).collect();
        for id in waiting {
            let Some(accepted) = self.outgoing.get(id).cloned() else { continue };
            let wish = (accepted.receipt == ReceiptRequest::Processed)
                .then_some(Wish::Agent(accepted.from, accepted.reference));
            let (durable, token) = (accepted.durable, accepted.token);
            let message = Message {
                cursor: None,
                id: MessageRef { node: self.config.address, id },
                from: Destination::agent_on(accepted.from, self.config.address),
                to: accepted.to,
                kind: accepted.kind,
                priority: accepted.priority,
                reply_to: accepted.reply_to,
                hops: 0,
                at_us: self.now.as_micros(),
                body: accepted.body,
            };
            if self.put(key, Item::Message(message, wish), durable, token) {
                self.complete(id, Outcome::Delivered, Some(0), None, None);
            }
        }
        if !self.outgoing.waits_for(hash) {
            self.directory.drop_question(hash);
        }
    }

    /// Sees to it that one more agent may stand on the account of whoever comes, which is `new` to the gateway or another's so far:
    /// the one that is worth least gives way. Those with limits push out none but their own, and leave some room to others.
    fn make_room(&mut self, name: Name, new: bool, holder: Option<Holder>) -> Result<(), Refusal> {
        let lasting = || self.agents.values().filter(|agent| !agent.is_passing());
        let (all, most) = (lasting().count(), self.config.max_agents);
        let quota = holder.and_then(|holder| Some((holder.token, holder.quota?)));
        let (full, over) = match quota {
            None => (new && all >= most, None),
            Some((token, quota)) => {
                let owned = lasting().filter(|agent| agent.owner == Some(token)).count();
                let over = (owned >= quota.agents as usize).then_some((token, quota.agents));
                (over.is_some() || new && all >= but_a_sixteenth(most), over)
            }
        };
        if !full {
            return Ok(());
        }
        if self.journal.failure().is_some() {
            // Each would leave something to be deleted, and one after the other could come.
            let why = format!(
                "cannot attach {name}: another agent would have to be forgotten, and the store has failed"
            );
            return Err(Refusal::new(ErrorCode::Storage, why).hint(STORE_AGAIN));
        }
        let mine = |agent: &Agent| quota.is_none_or(|(token, _)| agent.owner == Some(token));
        // An ack may never come: who waits for one is worth no more than who has not read that it came.
        let worth = |agent: &Agent| {
            let worth = agent.worth()?;
            Some(if self.receipt_requests.is_from(agent.name) { Worth::Receipts } else { worth })
        };
        let absent = self.agents.values().filter_map(|agent| Some((worth(agent)?, agent)));
        let least = absent
            .filter(|(_, agent)| mine(agent) && !self.outgoing.is_from(agent.name))
            .min_by_key(|(worth, agent)| (*worth, agent.last_seen));
        let Some((worth, gone)) = least else {
            let (why, hint) = match over {
                Some((token, most)) => (
                    format!(
                        "the access token {token} allows {most} agents (max_agents), and none of them can be forgotten"
                    ),
                    "use one of their names, or ask for another token",
                ),
                None => (
                    format!("the gateway keeps {most} agents already"),
                    "raise agents.max_agents in its settings, or take out old ones with `mesh-gateway agents forget NAME`",
                ),
            };
            let why = format!("cannot attach {name}: {why}");
            return Err(Refusal::new(ErrorCode::Overloaded, why).hint(hint));
        };
        let (key, name) = (gone.key, gone.name);
        if worth != Worth::Nothing {
            tracing::warn!(agent = %name, ?worth, "forgotten with all it had, to make room for a new one: raise agents.max_agents");
            self.counts.count("agents_forgotten");
        }
        self.drop_agent(key);
        self.journal.stage(Op::DeleteAgent { agent: key });
        Ok(())
    }

    fn new_agent(&mut self, name: Name) -> AgentKey {
        let key = self.free_key();
        self.index(Agent::new(key, name));
        key
    }

    /// What the token of a session allows has changed.
    pub(super) fn changed(&mut self, session: SessionId, holder: Option<Holder>) {
        if let Some(agent) = self.agent_of(session).and_then(|key| self.agents.get_mut(&key)) {
            agent.changed(holder);
        }
    }

    /// An agent for one session. There are no more of them than sessions, so they take nobody's place.
    fn passing_agent(&mut self, name: Name) -> AgentKey {
        let key = self.free_key();
        let mut agent = Agent::new(key, name);
        agent.pass();
        self.index(agent);
        key
    }

    fn free_key(&mut self) -> AgentKey {
        loop {
            let key = AgentKey(self.next_agent);
            self.next_agent = self.next_agent.wrapping_add(1);
            if !self.agents.contains_key(&key) {
                return key;
            }
        }
    }

    /// Takes an agent out of all tables but the disk's; of who waits for acks, out of that too.
    fn drop_agent(&mut self, key: AgentKey) {
        let Some(agent) = self.agents.remove(&key) else { return };
        agent.groups.keys().for_each(|group| self.leave(group));
        self.by_name.remove(&agent.name);
        self.by_hash.remove(&NameHash::of(agent.name.as_str()));
        for id in self.receipt_requests.forget(agent.name) {
            self.journal.stage(Op::DeleteOutbox { id });
        }
    }

    /// An operator, or the agent itself, wants it forgotten: what waits for it is lost, what it sent goes on.
    pub(super) fn forget_agent(&mut self, session: SessionId, forget: AgentForget) {
        let AgentForget { reference, name } = forget;
        let own = self.agent_of(session);
        let refused = |code, why: &str| {
            Refusal::new(code, format!("cannot forget the agent {name}: {why}")).field("name")
        };
        if self.journal.failure().is_some() {
            let refusal = refused(ErrorCode::Storage, "the store has failed").hint(STORE_AGAIN);
            return self.refuse(session, reference, refusal);
        }
        let found = self.by_name.get(&name).and_then(|key| self.agents.get_mut(key));
        let Some(agent) = found else {
            let refusal = refused(ErrorCode::BadRequest, "there is none of that name");
            return self.refuse(session, reference, refusal.hint("`mesh-gateway agents` lists them"));
        };
        let key = agent.key;
        if own == Some(key) {
            agent.pass();
        } else if agent.is_connected() {
            let refusal = refused(ErrorCode::Busy, "it is connected");
            return self.refuse(session, reference, refusal.hint("stop that program first"));
        } else {
            self.drop_agent(key);
        }
        self.journal.stage(Op::DeleteAgent { agent: key });
        self.promise(true, After::Tell { session, event: Event::Done(Done { reference }) });
    }

    pub(super) fn stage_agent(&mut self, key: AgentKey) {
        if let Some(agent) = self.agents.get(&key).filter(|agent| !agent.is_passing()) {
            self.journal.stage(Op::PutAgent { agent: key, record: encode(&agent.record()) });
        }
    }

    /// Tells the mesh that an agent is here, unless that was said of many others just now.
    pub(super) fn announce(&mut self, name: Name) {
        while self.announced > 0 && self.announce_at + ANNOUNCE_EVERY <= self.now {
            self.announced -= 1;
            self.announce_at += ANNOUNCE_EVERY;
        }
        if self.announced == 0 {
            self.announce_at = self.now;
        }
        if self.announced < ANNOUNCE_BURST {
            self.announced += 1;
            self.commands.announce(Address::EVERYONE, NameHash::of(name.as_str()));
        }
    }

    /// A session has ended; what it is owed by the disk is still pushed to it before it is let go.
    pub(super) fn detach(&mut self, session: SessionId) {
        self.promise(self.journal.is_busy(), After::Detach(session));
    }

    pub(super) fn let_go(&mut self, session: SessionId) {
        if let Some(key) = self.sessions.remove(&session) {
            if let Some(agent) = self.agents.get_mut(&key) {
                agent.detach(session);
                // It was here last.
                self.directory.forget(NameHash::of(agent.name.as_str()));
                self.namesakes.remove(&agent.name);
            }
            self.end_passing(key);
        }
    }

    /// One that was there for its session goes when that has ended.
    fn end_passing(&mut self, key: AgentKey) {
        if self.agents.get(&key).is_some_and(|agent| agent.is_passing() && !agent.is_connected()) {
            self.drop_agent(key);
        }
    }

    pub(super) fn close_sessions(&mut self) {
        for (session, key) in std::mem::take(&mut self.sessions) {
            if let Some(agent) = self.agents.get_mut(&key) {
                agent.refuse(ErrorEvent::fatal(
                    Refusal::new(ErrorCode::ShuttingDown, "the gateway is going away")
                        .hint("connect again later"),
                ));
                agent.detach(session);
            }
        }
    }

    /// Puts on the disk what inboxes have in memory only: it was said to be delivered.
    pub(super) fn keep_all(&mut self) {
        for agent in self.agents.values_mut().filter(|agent| agent.has_reserved() && !agent.is_passing()) {
            let key = agent.key;
            for (cursor, record) in agent.in_memory() {
                self.journal.stage(Op::PutInbox { agent: key, cursor, record });
            }
            let record = encode(&agent.record());
            self.journal.stage(Op::PutAgent { agent: key, record });
        }
    }

    /// The store writes again: what inboxes hold for later is kept like everything else that is in memory.
    pub(super) fn keep_held(&mut self) {
        let keys: Vec<AgentKey> = self.agents.keys().copied().collect();
        for key in keys {
            let held = self.agents.get_mut(&key).map(Agent::take_held).unwrap_or_default();
            for (item, charge) in held {
                self.keep_in_memory(key, item, charge);
            }
        }
    }

    /// A session has written out what it had and takes more.
    pub(super) fn room(&mut self, session: SessionId) {
        if let Some(key) = self.agent_of(session) {
            self.show(key);
        }
    }

    /// The agent of a session.
    pub(super) fn agent_of(&self, session: SessionId) -> Option<AgentKey> {
        self.sessions.get(&session).copied()
    }

    pub(super) fn tell(&mut self, session: SessionId, event: Event) {
        let Some(key) = self.agent_of(session) else { return };
        let Some(agent) = self.agents.get_mut(&key) else { return };
        if agent.session() == Some(session) && agent.tell(event) == Err(TooSlow) {
            self.counts.count("sessions_too_slow");
            self.let_go(session);
        }
    }

    pub(super) fn refuse(&mut self, session: SessionId, reference: Option<u64>, refusal: Refusal) {
        self.counts.count("requests_refused");
        self.tell(session, Event::Error(ErrorEvent::about(reference, refusal)));
    }

    /// Everything up to `cursor` is on disk: shows it.
    pub(super) fn show_through(&mut self, key: AgentKey, cursor: u64) {
        if let Some(agent) = self.agents.get_mut(&key) {
            agent.synced(cursor);
            agent.show();
        }
    }

    pub(super) fn show(&mut self, key: AgentKey) {
        if let Some(agent) = self.agents.get_mut(&key) {
            agent.show();
        }
    }

    // ---- requests about the inbox ----

    pub(super) fn credit(&mut self, key: AgentKey, n: u32) {
        if let Some(agent) = self.agents.get_mut(&key) {
            agent.credit(n);
        }
        self.show(key);
    }

    pub(super) fn ack(&mut self, key: AgentKey, cursor: u64) {
        let Some(agent) = self.agents.get_mut(&key) else { return };
        let Some(Acked { items, durable }) = agent.ack(cursor) else { return };
        let (acked, passing) = (agent.acked(), agent.is_passing());
        if durable && !passing {
            if agent.has_none_kept() {
                // With an empty inbox only this record says where the cursors go on.
                self.stage_agent(key);
            }
            self.journal.stage(Op::DeleteInboxThrough { agent: key, cursor: acked });
        }
        for (item, durable) in items {
            if let Item::Message(message, Some(wish)) = item {
                self.processed(&message, wish, durable);
            }
        }
    }

    fn processed(&mut self, message: &Message, wish: Wish, durable: bool) {
        match wish {
            Wish::Node => {
                self.commands.report(message.id.node, message.id.id, message.priority, Verdict::Processed)
            }
            Wish::Agent(sender, reference) => {
                let receipt = self.receipt(reference, message.id.id, Outcome::Processed, Some(0), None);
                self.notify(sender, receipt, durable);
            }
        }
    }
}
