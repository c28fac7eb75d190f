//! Agents are forgotten: because somebody asked for it, or to make room for another one.

use mesh_agent::api::{AgentForget, Done, ErrorCode, Event, Name, Refusal};

use super::agent::Agent;
use super::inbox::Worth;
use super::journal::After;
use super::state::EngineState;
use crate::access::Holder;
use crate::agents::SessionId;
use crate::share::but_a_sixteenth;
use crate::store::{AgentKey, Op};

/// What to do while the store does not write.
const STORE_AGAIN: &str = "see `mesh-gateway status`; the store is tried again by itself";

impl EngineState {
    /// Sees to it that one more agent may stand on the account of whoever comes, which is `new` to the gateway or another's so far:
    /// the one that is worth least gives way. Those with limits push out none but their own, and leave some room to others.
    pub(super) fn make_room(&mut self, name: Name, new: bool, holder: Option<Holder>) -> Result<(), Refusal> {
        let lasting = || self.registry.lasting();
        let (all, most) = (lasting().count(), self.config.max_agents);
        let quota = holder.and_then(|holder| Some((holder.token, holder.quota?)));
        let (full, over) = match quota {
            None => (new && all >= most, None),
            Some((token, quota)) => {
                let owned = lasting().filter(|agent| agent.owner() == Some(token)).count();
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
        let mine = |agent: &Agent| quota.is_none_or(|(token, _)| agent.owner() == Some(token));
        // The ack may never come: an agent that waits for one gives way as early as one with an unread receipt.
        let worth = |agent: &Agent| {
            let worth = agent.worth()?;
            Some(if self.receipt_requests.is_from(agent.name()) { Worth::Receipts } else { worth })
        };
        let absent = self.registry.all().filter_map(|agent| Some((worth(agent)?, agent)));
        let least = absent
            .filter(|(_, agent)| mine(agent) && !self.outgoing.usage().is_from(agent.name()))
            .min_by_key(|(worth, agent)| (*worth, agent.last_seen()));
        let Some((worth, gone)) = least else {
            let refused =
                |why: String| Refusal::new(ErrorCode::Overloaded, format!("cannot attach {name}: {why}"));
            return Err(match over {
                Some((token, most)) => refused(format!(
                    "the access token {token} allows {most} agents (max_agents), and none of them can be forgotten"
                ))
                .hint("use one of their names, or ask for another token"),
                None => refused(format!("the gateway keeps {most} agents already")).hint(
                    "raise agents.max_agents in its settings, or take out old ones with `mesh-gateway agents forget NAME`",
                ),
            });
        };
        let (key, name) = (gone.key(), gone.name());
        if worth != Worth::Nothing {
            tracing::warn!(agent = %name, ?worth, "forgotten with all it had, to make room for a new one: raise agents.max_agents");
            self.counts.count("agents_forgotten");
        }
        self.drop_agent(key);
        self.journal.stage(Op::DeleteAgent { agent: key });
        Ok(())
    }

    /// Takes an agent out of all tables but the disk's; of who waits for acks, out of that too.
    pub(super) fn drop_agent(&mut self, key: AgentKey) {
        let Some((agent, unheard)) = self.registry.remove(key) else { return };
        unheard.into_iter().for_each(|group| self.commands.leave(group));
        for id in self.receipt_requests.forget(agent.name()) {
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
        let Some(agent) = self.registry.key_of(name).and_then(|key| self.registry.get_mut(key)) else {
            let refusal = refused(ErrorCode::BadRequest, "there is none of that name");
            return self.refuse(session, reference, refusal.hint("`mesh-gateway agents` lists them"));
        };
        let key = agent.key();
        if own == Some(key) {
            // It goes with the session that it asked on, which still gets the answer.
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
}
