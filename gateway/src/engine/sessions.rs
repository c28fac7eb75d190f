//! Sessions: who is attached, and what is said to it.
//!
//! Owns the beginning and the end of a session. What agents send is `acceptance`'s, what they say of their inboxes `inbox_requests`'.

use mesh_agent::api::{self, ErrorCode, ErrorEvent, Event, Hello, Name, Refusal, Welcome};
use mesh_protocol::NameHash;

use super::agent::{Agent, TooSlow};
use super::encoding::encode;
use super::journal::After;
use super::state::EngineState;
use crate::access::{Caller, Holder};
use crate::agents::{SessionId, SessionPort};
use crate::store::{AgentKey, Op};

impl EngineState {
    pub(super) fn attach(
        &mut self,
        (session, caller): (SessionId, Caller),
        port: SessionPort,
        (name, passing): (Name, bool),
        hello: &Hello,
        holder: Option<Holder>,
    ) {
        let known = self.registry.key_of(name);
        let key = match self.place_for(name, passing, holder) {
            Ok(key) => key,
            Err(refusal) => return port.refuse(ErrorEvent::fatal(refusal)),
        };
        let Some(agent) = self.registry.get_mut(key) else { return };
        let changed = agent.set_owner(holder.map(|holder| holder.token));
        let credits = hello.credits.min(self.config.max_credits);
        // A cursor from another life of this agent says nothing about this one.
        let resume = hello.resume.filter(|cursor| agent.inbox().knows(*cursor));
        let (old, resumed_from) = agent.attach((session, caller), port, holder, credits, resume);
        if let Some(old) = old {
            let why = format!("a newer session has the name {name} now");
            let refusal = Refusal::new(ErrorCode::NameTaken, why).hint("use another name to have both");
            old.refuse(ErrorEvent::fatal(refusal.field("name")));
        }
        if changed || known.is_none() {
            self.stage_agent(key);
        }
        self.registry.bind(session, key);
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
            // It has handled what it resumes behind, though its ack may have been lost with the connection.
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

    /// The agent that a session is to be of, which may be a new one.
    fn place_for(&mut self, name: Name, passing: bool, holder: Option<Holder>) -> Result<AgentKey, Refusal> {
        let known = self.registry.named(name);
        if known.is_some_and(|agent| passing || agent.is_passing()) {
            // It would get what is meant for the other one.
            let why = format!("cannot attach {name}: a session has that name for itself");
            return Err(Refusal::new(ErrorCode::NameTaken, why).hint("use another one, or try again"));
        }
        if passing {
            // There are no more of them than sessions, so they take nobody's place.
            return Ok(self.new_agent(name, Agent::pass));
        }
        let owner = holder.map(|holder| holder.token);
        let own = known.is_some_and(|agent| agent.owner() == owner);
        let known = known.map(Agent::key);
        if !own {
            self.make_room(name, known.is_none(), holder)?;
        }
        Ok(known.unwrap_or_else(|| self.new_agent(name, |_| ())))
    }

    fn new_agent(&mut self, name: Name, make: impl FnOnce(&mut Agent)) -> AgentKey {
        let key = self.registry.free_key();
        let mut agent = Agent::new(key, name);
        make(&mut agent);
        // It is in no group yet, so there is none to join.
        self.registry.insert(agent);
        key
    }

    /// What the token of a session allows has changed.
    pub(super) fn changed(&mut self, session: SessionId, holder: Option<Holder>) {
        if let Some(agent) = self.agent_of(session).and_then(|key| self.registry.get_mut(key)) {
            agent.changed(holder);
        }
    }

    pub(super) fn stage_agent(&mut self, key: AgentKey) {
        if let Some(agent) = self.registry.get(key).filter(|agent| !agent.is_passing()) {
            self.journal.stage(Op::PutAgent { agent: key, record: encode(&agent.record()) });
        }
    }

    /// A session has ended; what the disk still holds back for it is pushed to it before it is let go.
    pub(super) fn detach(&mut self, session: SessionId) {
        self.promise(self.journal.is_busy(), After::Detach(session));
    }

    pub(super) fn let_go(&mut self, session: SessionId) {
        if let Some(key) = self.registry.unbind(session) {
            if let Some(agent) = self.registry.get_mut(key) {
                agent.detach(session);
                // It was here last.
                self.directory.forget(NameHash::of(agent.name().as_str()));
                self.directory.drop_namesake(agent.name());
            }
            self.end_passing(key);
        }
    }

    /// One that was there for its session goes when that has ended.
    fn end_passing(&mut self, key: AgentKey) {
        if self.registry.get(key).is_some_and(|agent| agent.is_passing() && !agent.is_connected()) {
            self.drop_agent(key);
        }
    }

    pub(super) fn close_sessions(&mut self) {
        for (session, key) in self.registry.unbind_all() {
            if let Some(agent) = self.registry.get_mut(key) {
                agent.refuse(ErrorEvent::fatal(
                    Refusal::new(ErrorCode::ShuttingDown, "the gateway is going away")
                        .hint("connect again later"),
                ));
                agent.detach(session);
            }
        }
    }

    /// The agent of a session.
    pub(super) fn agent_of(&self, session: SessionId) -> Option<AgentKey> {
        self.registry.of_session(session)
    }

    pub(super) fn tell(&mut self, session: SessionId, event: Event) {
        let Some(key) = self.agent_of(session) else { return };
        let Some(agent) = self.registry.get_mut(key) else { return };
        // A promise may outlive the session that it was made to: its successor did not ask.
        if agent.session() == Some(session) && agent.tell(event) == Err(TooSlow) {
            self.counts.count("sessions_too_slow");
            self.let_go(session);
        }
    }

    pub(super) fn refuse(&mut self, session: SessionId, reference: Option<u64>, refusal: Refusal) {
        self.counts.count("requests_refused");
        self.tell(session, Event::Error(ErrorEvent::about(reference, refusal)));
    }
}
