//! What was promised behind a sync: done when the store has synced it, taken back when the store does not write.
//!
//! Owns what each promise means. Their order is `journal`'s.

use std::collections::BTreeSet;

use mesh_agent::api::{ErrorCode, Event, MessageRef, Refusal};
use mesh_protocol::Reason;

use super::acceptance::{STORE_FAILED, refused};
use super::journal::After;
use super::records;
use super::state::EngineState;
use crate::agents::SessionId;
use crate::store::Op;

impl EngineState {
    pub(super) fn promise(&mut self, durable: bool, after: After) {
        if durable {
            self.journal.after(after);
        } else {
            self.keep_promise(after);
        }
    }

    /// What becomes of promises when the store does not write: senders are told, and what they were to be told is taken back, from
    /// the disk too should it get that far. What is in memory goes on. What was accepted before and has got on since is not taken
    /// back: it is written with the rest, and told then.
    pub(super) fn break_promises(&mut self, broken: Vec<After>) {
        let own = self.config.address;
        let refused: BTreeSet<MessageRef> = broken
            .iter()
            .filter_map(|after| match *after {
                After::Accepted { id, .. } => Some(MessageRef { node: own, id }),
                After::Report { to, id, .. } => Some(MessageRef { node: to, id }),
                _ => None,
            })
            .collect();
        for after in broken {
            self.break_promise(after, &refused);
        }
    }

    fn break_promise(&mut self, after: After, refused: &BTreeSet<MessageRef>) {
        match after {
            After::Accepted { session, agent, reference, id } => {
                if self.outgoing.remove(id).is_some() {
                    self.journal.stage(Op::DeleteOutbox { id });
                }
                let rows =
                    self.agents.get_mut(&agent).map(|sender| sender.keys.forget(id)).unwrap_or_default();
                for row in rows {
                    self.journal.stage(Op::DeleteKey { agent, row });
                }
                self.not_accepted(session, reference);
            }
            After::Again { session, agent, reference, key, first } => {
                // Still known, it was on disk before the store failed.
                let id = MessageRef { node: self.config.address, id: first.id };
                match self.agents.get(&agent).and_then(|sender| sender.keys.find(key)) {
                    Some(known) if known == first && !refused.contains(&id) => {
                        self.say_accepted(session, reference, first.id, first.durable);
                    }
                    _ => self.not_accepted(session, reference),
                }
            }
            After::Tell { session, event: Event::Done(done) } => {
                let why = "what was asked for is done, but the store has failed: it is not kept yet";
                let hint = "see `mesh-gateway status`; it is kept once the store can be written again";
                self.refuse(session, done.reference, Refusal::new(ErrorCode::Storage, why).hint(hint));
            }
            After::Tell { session, event } => self.tell(session, event),
            After::Show(key, _) | After::CursorsReserved(key, _) => {
                if let Some(agent) = self.agents.get_mut(&key) {
                    for cursor in agent.take_back(refused) {
                        self.journal.stage(Op::DeleteInbox { agent: key, cursor });
                    }
                    agent.show();
                }
            }
            After::Report { to, id, priority, .. } => {
                let floor = self.incoming.forget(to, id);
                self.journal.stage(Op::DeleteDelivered { source: to, id });
                if let Some(id) = floor {
                    self.journal.stage(Op::PutDelivered { source: to, id, record: records::FLOOR.to_vec() });
                }
                let verdict = mesh_protocol::Verdict::Rejected(Reason::Storage);
                self.commands.report(to, id, priority, verdict);
            }
            After::Detach(session) => self.let_go(session),
            After::Launch(_) | After::SeqReserved(_) | After::IdsReserved(_) => {}
        }
    }

    fn not_accepted(&mut self, session: SessionId, reference: Option<u64>) {
        self.refuse(
            session,
            reference,
            refused(ErrorCode::Storage, "the store has failed").hint(STORE_FAILED),
        );
    }

    /// Does what was promised behind a sync.
    pub(super) fn keep_promise(&mut self, after: After) {
        match after {
            After::Accepted { session, reference, id, .. } => self.say_accepted(session, reference, id, true),
            After::Again { session, reference, first, .. } => {
                self.say_accepted(session, reference, first.id, first.durable);
            }
            After::Tell { session, event } => self.tell(session, event),
            After::Show(key, cursor) => self.show_through(key, cursor),
            After::CursorsReserved(key, up_to) => {
                if let Some(agent) = self.agents.get_mut(&key) {
                    agent.reserved(up_to);
                    agent.show();
                }
            }
            After::Launch(id) => self.launch(id),
            After::Report { to, id, priority, verdict } => {
                self.incoming.synced(to, id);
                self.commands.report(to, id, priority, verdict);
            }
            After::SeqReserved(up_to) if !self.seqs.grant(up_to) => self.reserve_seqs(up_to),
            After::IdsReserved(up_to) if !self.ids.grant(up_to) => self.stage_ids(up_to),
            After::SeqReserved(up_to) => self.commands.seq_reserved(up_to),
            After::IdsReserved(up_to) => self.ids_reserved = up_to,
            After::Detach(session) => self.let_go(session),
        }
    }
}
