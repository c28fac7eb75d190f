//! Messages of local agents on their way into the mesh.
//!
//! Owns what was accepted and is not completed: waiting for the disk, for a name, for room in the node, or in flight. Keeps
//! no promises itself: the steps that need the disk are in `acceptance` and `completion`.

use std::collections::{BTreeMap, BTreeSet};

use mesh_agent::api::{Destination, Name, WaitedFor};
use mesh_protocol::{Address, Duration, Instant, MessageId, NameHash, Priority};

use super::accepted::Accepted;
use super::accounts::Charge;
use super::contexts::{Form, SenderContexts};
use super::outbound::{Outbound, Phase};
use super::outbox_usage::OutboxUsage;
use super::queues::Queues;
use super::recent::Recent;
use super::resting::Resting;

/// What the node is to send next.
#[derive(Debug)]
pub(super) struct Dequeued {
    pub(super) id: MessageId,
    pub(super) destination: Address,
    pub(super) priority: Priority,
    pub(super) deadline: Instant,
    /// Whether another gateway may be asked to keep it.
    pub(super) may_be_kept: bool,
}

/// A message whose deadline has passed before the node had it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Overdue {
    pub(super) id: MessageId,
    /// What it waited for, in words and in one word.
    pub(super) why: &'static str,
    pub(super) waited_for: WaitedFor,
    /// The name whose node was not found.
    pub(super) name: Option<NameHash>,
}

/// Everything accepted for the mesh and not completed.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    pub(super) messages: BTreeMap<MessageId, Outbound>,
    /// Deadlines of what is not in flight; the node watches the others.
    deadlines: BTreeSet<(Instant, MessageId)>,
    queues: Queues,
    usage: OutboxUsage,
    contexts: SenderContexts,
    recent: Recent,
    /// What is left alone for a while.
    pub(super) resting: Resting,
}

impl Outgoing {
    pub(super) const fn usage(&self) -> &OutboxUsage {
        &self.usage
    }

    /// Who sent a message of this gateway's agents, and to whom, is to be known for a while, also when it is completed at once.
    pub(super) fn remember(&mut self, id: MessageId, from: Name, to: Destination) {
        self.recent.remember(id, from, to);
    }

    /// Who sent a message, and to whom; where that is still known.
    pub(super) fn sent(&self, id: MessageId) -> Option<(Name, Destination)> {
        let under_way = || self.get(id).map(|accepted| (accepted.from, accepted.to));
        self.recent.find(id).or_else(under_way)
    }

    /// Takes a message; it stays put until [`name`](Self::name) or [`queue`](Self::queue).
    pub(super) fn insert(
        &mut self,
        id: MessageId,
        accepted: Accepted,
        charge: Option<Charge>,
        deadline: Instant,
        sent_before: bool,
    ) {
        self.usage.add(&accepted);
        self.deadlines.insert((deadline, id));
        self.messages.insert(id, Outbound::new(accepted, charge, deadline, sent_before));
    }

    /// Whether it may have been sent before, so that *expired* would be too much said.
    pub(super) fn was_sent_before(&self, id: MessageId) -> bool {
        self.messages.get(&id).is_some_and(|outbound| outbound.sent_before)
    }

    /// How long ago it was accepted; `None` if it may have been sent before, as then nobody knows.
    pub(super) fn age(&self, id: MessageId, now: Instant) -> Option<Duration> {
        let message = self.messages.get(&id).filter(|message| !message.sent_before)?;
        let all = Duration::from_millis(message.accepted.deadline_ms.into());
        Some(Duration::from_micros(all.as_micros().saturating_sub(message.deadline.since(now).as_micros())))
    }

    pub(super) fn get(&self, id: MessageId) -> Option<&Accepted> {
        self.messages.get(&id).map(|outbound| &outbound.accepted)
    }

    /// It waits until the node of `name` is known.
    pub(super) fn name(&mut self, id: MessageId, name: NameHash) {
        if let Some(outbound) = self.messages.get_mut(&id) {
            outbound.phase = Phase::Naming(name);
        }
    }

    /// It waits for room in the node.
    pub(super) fn queue(&mut self, id: MessageId, destination: Address) {
        if let Some(outbound) = self.messages.get_mut(&id) {
            outbound.phase = Phase::Queued(destination);
            self.queues.push(outbound.slot(destination), id);
        }
    }

    /// The node of a name is known now: what waited for it is queued, and returned.
    pub(super) fn named(&mut self, name: NameHash, node: Address) -> Vec<MessageId> {
        let waiting: Vec<_> = self.naming(name).collect();
        for id in &waiting {
            self.queue(*id, node);
        }
        waiting
    }

    /// The node of a name is another now: what waits for room and was never sent goes there. What was sent may have been delivered, and
    /// stays: elsewhere it would be a second message.
    pub(super) fn rebind(&mut self, name: NameHash, node: Address) {
        let moved: Vec<(MessageId, Address)> = self
            .messages
            .iter()
            .filter_map(|(id, outbound)| match outbound.phase {
                Phase::Queued(before)
                    if before != node && !outbound.sent_before && outbound.name == Some(name) =>
                {
                    Some((*id, before))
                }
                _ => None,
            })
            .collect();
        for (id, before) in moved {
            if let Some(outbound) = self.messages.get(&id) {
                self.queues.forget(outbound.slot(before), id);
            }
            self.queue(id, node);
        }
    }

    /// What came with these tokens and waits for a name or for room.
    pub(super) fn of_tokens(&self, tokens: &[Name]) -> Vec<MessageId> {
        let waits = |outbound: &Outbound| {
            matches!(outbound.phase, Phase::Naming(_) | Phase::Queued(_) | Phase::Resting(_))
        };
        let is_theirs =
            |outbound: &Outbound| outbound.accepted.token.is_some_and(|token| tokens.contains(&token));
        let theirs = self.messages.iter().filter(|(_, outbound)| waits(outbound) && is_theirs(outbound));
        theirs.map(|(id, _)| *id).collect()
    }

    /// The name by which the receiver of a message is found, and its priority.
    pub(super) fn named_receiver(&self, id: MessageId) -> Option<(NameHash, Priority)> {
        let outbound = self.messages.get(&id)?;
        outbound.name.map(|name| (name, outbound.accepted.priority))
    }

    /// Whether anything waits for the node of a name.
    pub(super) fn waits_for(&self, name: NameHash) -> bool {
        self.naming(name).next().is_some()
    }

    /// The name behind a hash, if a message waits for it.
    pub(super) fn name_of(&self, hash: NameHash) -> Option<Name> {
        let id = self.naming(hash).next()?;
        match self.get(id)?.to {
            Destination::Agent { name, .. } => Some(name),
            _ => None,
        }
    }

    /// What waits for the node of a name.
    pub(super) fn naming(&self, name: NameHash) -> impl Iterator<Item = MessageId> + '_ {
        self.messages.iter().filter(move |(_, o)| o.phase == Phase::Naming(name)).map(|(id, _)| *id)
    }

    /// The most urgent message that the node may have now, and its envelope.
    pub(super) fn dequeue(&mut self, now: Instant) -> Option<(Dequeued, &[u8])> {
        let (id, destination) = self.queues.pop()?;
        let outbound = self.messages.get_mut(&id)?;
        let priority = outbound.accepted.priority;
        self.deadlines.remove(&(outbound.deadline, id));
        outbound.phase = Phase::InFlight(destination);
        // Only now: which contexts its receiver has is known best when it leaves.
        outbound.write(now, id, destination, &mut self.contexts);
        let may_be_kept = outbound.may_be_kept(now);
        let dequeued = Dequeued { id, destination, priority, deadline: outbound.deadline, may_be_kept };
        Some((dequeued, outbound.encoded()))
    }

    /// Whether something waits for a place in the node that those in flight may have.
    pub(super) fn is_crowded(&self) -> bool {
        self.queues.is_crowded()
    }

    /// A node has answered, or was heard to be back: what was deferred for it takes its old place. Whether there was anything.
    pub(super) fn resume(&mut self, destination: Address) -> bool {
        let deferred = self.queues.take_deferred(destination);
        let any = !deferred.is_empty();
        for id in deferred {
            if let Some(outbound) = self.messages.get_mut(&id) {
                outbound.deferred = false;
            }
            self.queue(id, destination);
        }
        any
    }

    /// Notes that the node has given it up or given it back, or is done with it.
    fn release(&mut self, id: MessageId, destination: Address, form: Form) {
        self.contexts.given_up(destination, id, form);
        self.queues.release(destination);
    }

    /// Nobody has answered it for long: it goes behind all that waits, and may have been delivered.
    pub(super) fn defer(&mut self, id: MessageId) {
        let Some(outbound) = self.messages.get_mut(&id) else { return };
        let Phase::InFlight(destination) = outbound.phase else { return };
        outbound.sent_before = true;
        outbound.deferred = true;
        outbound.forget_encoded();
        let form = outbound.form();
        self.deadlines.insert((outbound.deadline, id));
        self.release(id, destination, form);
        self.queue(id, destination);
    }

    /// The node would not take it after all: it goes back to the head of its queue.
    pub(super) fn requeue(&mut self, id: MessageId, destination: Address) {
        if let Some(outbound) = self.messages.get_mut(&id) {
            self.deadlines.insert((outbound.deadline, id));
            outbound.phase = Phase::Queued(destination);
            // It is written again when it leaves: by then it may say its names otherwise.
            outbound.forget_encoded();
            self.queues.push_first(outbound.slot(destination), id);
            let form = outbound.form();
            self.release(id, destination, form);
        }
    }

    /// The node delivered it: what it defined is known there now.
    pub(super) fn delivered(&mut self, id: MessageId) {
        if let Some(outbound) = self.messages.get(&id)
            && let Phase::InFlight(destination) = outbound.phase
        {
            self.contexts.delivered(destination, id, outbound.form());
        }
    }

    /// The destination does not know the names that it refers to: it goes there again, with them. `false` if it keeps saying so of a
    /// message that has them all.
    pub(super) fn say_in_full(&mut self, id: MessageId) -> bool {
        let Some(outbound) = self.messages.get_mut(&id) else { return false };
        let Phase::InFlight(destination) = outbound.phase else { return false };
        let Some(late) = outbound.say_in_full() else { return false };
        // First out of flight, which may take back a definition of its own; then all that is said to be unknown there.
        self.requeue(id, destination);
        if !late {
            self.contexts.refused(destination, id);
        }
        true
    }

    /// Fills `out` with the bytes of an envelope in flight from `offset` on.
    pub(super) fn load(&self, id: MessageId, offset: u32, out: &mut [u8]) -> bool {
        let offset = offset as usize;
        let encoded = self.messages.get(&id).map(Outbound::encoded);
        match encoded.and_then(|encoded| encoded.get(offset..offset + out.len())) {
            Some(bytes) => {
                out.copy_from_slice(bytes);
                true
            }
            None => false,
        }
    }

    /// The one node that a message under way is for.
    pub(super) fn receiver(&self, id: MessageId) -> Option<Address> {
        let outbound = self.messages.get(&id)?;
        if let Some(handover) = outbound.handover() {
            return Some(handover.receiver);
        }
        match outbound.phase {
            Phase::InFlight(node) => Some(node).filter(|node| node.is_node()),
            _ => None,
        }
    }

    /// It is neither in the node nor in a queue any more.
    pub(super) fn pause(&mut self, id: MessageId) {
        let Some(outbound) = self.messages.get_mut(&id) else { return };
        self.resting.remove(id);
        match outbound.phase {
            Phase::InFlight(destination) => {
                outbound.forget_encoded();
                let form = outbound.form();
                self.deadlines.insert((outbound.deadline, id));
                self.release(id, destination, form);
            }
            Phase::Queued(destination) => self.queues.forget(outbound.slot(destination), id),
            _ => {}
        }
    }

    /// The destination does not know the agent: the first time, and where the mesh was to find the node, the name is
    /// looked for again. `None` when that is not so.
    pub(super) fn misdirected(&mut self, id: MessageId) -> Option<NameHash> {
        let name = self.messages.get_mut(&id)?.misdirected()?;
        self.pause(id);
        if let Some(outbound) = self.messages.get_mut(&id) {
            outbound.accepted.carriage = None;
            outbound.phase = Phase::Naming(name);
        }
        Some(name)
    }

    /// It is completed.
    pub(super) fn remove(&mut self, id: MessageId) -> Option<Accepted> {
        let outbound = self.messages.remove(&id)?;
        self.usage.remove(&outbound.accepted);
        match outbound.phase {
            Phase::InFlight(destination) => self.release(id, destination, outbound.form()),
            Phase::Queued(destination) => {
                self.queues.forget(outbound.slot(destination), id);
                self.deadlines.remove(&(outbound.deadline, id));
            }
            Phase::Storing | Phase::Naming(_) | Phase::Resting(_) => {
                self.deadlines.remove(&(outbound.deadline, id));
            }
        }
        self.resting.remove(id);
        Some(outbound.accepted)
    }

    /// A message whose deadline has passed before it was in flight, and why it could not.
    pub(super) fn overdue(&self, now: Instant) -> Option<Overdue> {
        let &(deadline, id) = self.deadlines.first()?;
        if deadline > now {
            return None;
        }
        let (why, waited_for, name) = match self.messages.get(&id)?.phase {
            Phase::Naming(name) => {
                ("no node answered for that name before the deadline", WaitedFor::Name, Some(name))
            }
            Phase::Storing => ("the deadline passed before it was stored", WaitedFor::Disk, None),
            Phase::Resting(_) => (
                "the deadline passed while its receiver was away; it may have been delivered",
                WaitedFor::Answer,
                None,
            ),
            Phase::Queued(_) | Phase::InFlight(_) => {
                ("the deadline passed while other messages went before it", WaitedFor::Turn, None)
            }
        };
        Some(Overdue { id, why, waited_for, name })
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }
}
