//! What is said behind a sync: promised, kept when the store has synced it, broken when the store does not write.
//!
//! Owns what each promise means. Their order is `journal`'s.
//!
//! # Why a thing is said only behind a sync
//! Whoever hears something acts on it and never asks again: a sender forgets a message that was accepted, a node one that was delivered.
//! If a power cut could take back what was said, it would be lost, and nobody would know. So everything that somebody may rely on is promised
//! behind what makes it true, and said when that is on the disk. A promise holds nothing up: the input that made it is handled to its end, and
//! all promises of many inputs share one sync.

use std::collections::BTreeSet;

use mesh_agent::api::{ErrorCode, Event, MessageRef, Refusal, StepKind};
use mesh_protocol::{MessageId, Reason, Verdict};

use super::accepted::Accepted;
use super::journal::After;
use super::keys::First;
use super::records;
use super::refusals::store_failed;
use super::state::EngineState;
use crate::store::{AgentKey, Op};

impl EngineState {
    /// Does something behind what was staged so far; what is not durable needs no disk, and is done at once.
    pub(super) fn promise(&mut self, durable: bool, after: After) {
        if durable {
            self.journal.after(after);
        } else {
            self.keep_promise(after);
        }
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
            After::CursorsReserved(key, up_to) => self.cursors_reserved(key, up_to),
            After::Launch(id) => {
                self.timelines.add(self.now, id, StepKind::Stored, None);
                self.launch(id);
            }
            After::Report { to, id, priority, verdict, message } => {
                // From here on a repeat is answered at once, and no longer by this promise.
                self.incoming.synced(message.node, message.id);
                self.commands.report(to, id, priority, verdict);
            }
            After::Kept { of, id, priority } => self.is_kept(of, id, priority),
            After::SeqReserved(up_to) => {
                if self.numbers.seqs_synced(up_to, &mut self.journal) {
                    self.commands.seq_reserved(up_to);
                }
            }
            After::IdsReserved(up_to) => self.numbers.ids_synced(up_to, &mut self.journal),
            After::Detach(session) => self.let_go(session),
        }
    }

    /// What becomes of promises when the store does not write: senders hear of it, and what is refused is taken back, from
    /// the disk too should it get that far. What is in memory goes on. What was accepted before and has got on since is not taken
    /// back: it is written with the rest, and its receipt is sent then.
    pub(super) fn break_promises(&mut self, broken: Vec<After>) {
        // All of them first: an item may stand before the promise that says it is refused.
        let own = self.config.address;
        let refused: BTreeSet<MessageRef> = broken
            .iter()
            .filter_map(|after| match *after {
                After::Accepted { id, .. } => Some(MessageRef { node: own, id }),
                After::Report { message, .. } => Some(MessageRef { node: message.node, id: message.id }),
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
                self.take_back_accepted(agent, id);
                self.refuse(session, reference, store_failed());
            }
            After::Again { session, agent, reference, key, first } => {
                if self.was_accepted(agent, key, first, refused) {
                    self.say_accepted(session, reference, first.id, first.durable);
                } else {
                    self.refuse(session, reference, store_failed());
                }
            }
            After::Tell { session, event: Event::Done(done) } => {
                let why = "what was asked for is done, but the store has failed: it is not kept yet";
                let hint = "see `mesh-gateway status`; it is kept once the store can be written again";
                self.refuse(session, done.reference, Refusal::new(ErrorCode::Storage, why).hint(hint));
            }
            // An answer that lasts nowhere: it only waited for its turn.
            After::Tell { session, event } => self.tell(session, event),
            After::Show(key, _) | After::CursorsReserved(key, _) => self.take_back_shown(key, refused),
            After::Report { to, id, priority, message, .. } => {
                self.take_back_delivered(message);
                self.commands.report(to, id, priority, Verdict::Rejected(Reason::Storage));
            }
            After::Kept { of, id, priority } => self.take_back_kept(of, id, priority),
            After::Detach(session) => self.let_go(session),
            // No agent hears of it, so none is refused it: it is written with the rest, and what it says is true without that.
            After::Launch(id) if self.outgoing.get(id).is_some_and(Accepted::is_of_others) => self.launch(id),
            // What was to be launched is refused with its *accepted*; reservations are made when the store writes again.
            After::Launch(_) | After::SeqReserved(_) | After::IdsReserved(_) => {}
        }
    }

    /// A message that is refused after all is as if it had never been sent: its key may be used for it again.
    fn take_back_accepted(&mut self, agent: AgentKey, id: MessageId) {
        // The record may be in a transaction that the store writes later: its deletion follows it there.
        if self.outgoing.remove(id).is_some() {
            self.journal.stage(Op::DeleteOutbox { id });
        }
        self.timelines.forget(id);
        let rows = self.registry.get_mut(agent).map(|sender| sender.forget_key(id)).unwrap_or_default();
        for row in rows {
            self.journal.stage(Op::DeleteKey { agent, row });
        }
    }

    /// Whether what is sent again was accepted: still known, and not refused just now, it was on disk before the store failed.
    fn was_accepted(&self, agent: AgentKey, key: u64, first: First, refused: &BTreeSet<MessageRef>) -> bool {
        let id = MessageRef { node: self.config.address, id: first.id };
        let known = self.registry.get(agent).and_then(|sender| sender.find_key(key));
        known == Some(first) && !refused.contains(&id)
    }

    /// What is refused leaves the inbox before anybody is shown it; the rest of what was to be shown, and needs no disk, is shown.
    fn take_back_shown(&mut self, key: AgentKey, refused: &BTreeSet<MessageRef>) {
        if let Some(agent) = self.registry.get_mut(key) {
            for cursor in agent.inbox_mut().take_back(refused) {
                self.journal.stage(Op::DeleteInbox { agent: key, cursor });
            }
            agent.show();
        }
    }

    /// A message from the mesh is forgotten, so that its sender may send it again.
    fn take_back_delivered(&mut self, message: mesh_protocol::MessageRef) {
        let mesh_protocol::MessageRef { node: source, id } = message;
        let floor = self.incoming.forget(source, id);
        self.journal.stage(Op::DeleteDelivered { source, id });
        if let Some(id) = floor {
            self.journal.stage(Op::PutDelivered { source, id, record: records::FLOOR.to_vec() });
        }
    }
}
