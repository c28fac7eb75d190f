//! Messages of local agents on their way into the mesh.
//!
//! Owns what was accepted and is not settled: waiting for the disk, for a name, for room in the node, or in flight. Keeps
//! no promises itself: the steps that need the disk are in `state`.
//!
//! Full: a new message is refused; nothing accepted is ever dropped.

use std::collections::{BTreeMap, BTreeSet};

use mesh_agent::api::{Destination, Name, ReceiptRequest};
use mesh_protocol::{
    Address, Duration, ENVELOPE_HEAD_MAX, EncodedEnvelope, Envelope, Instant, MessageId, NameHash, PerClass,
    Priority,
};

use super::accepted::Accepted;
use super::accounts::Charge;
use super::contexts::{Context, Form, SenderContexts};
use super::lanes::Lanes;
use super::recent::Recent;
use crate::agents::is_passing;
use crate::share::for_priority;

/// Messages and bytes that may wait. Guesses: hours of what the air carries, and little beside a Pi's memory.
const MESSAGES: usize = 10_000;
const BYTES: usize = 32 * 1024 * 1024;
/// One agent may fill this part of it: a hasty one leaves room to the others.
const SHARE: usize = 4;
/// Messages of each priority in the node at a time: the node has 16 places, and the lower classes leave some of
/// them to the higher ones, so that a CRITICAL message never waits for a LOW one to be answered.
const IN_FLIGHT: PerClass<usize> = PerClass::new([16, 14, 12, 10]);
/// Of these, to one destination: one that sleeps does not take the places of all others. The node sends two long ones
/// to one receiver at a time; four keep it busy with short ones.
const IN_FLIGHT_TO_ONE: usize = 4;
/// Of all in the node, those that were deferred: enough to notice that a receiver is back, and little air. A guess.
const IN_FLIGHT_DEFERRED: usize = 2;

/// So often may a message that says its names be answered that it does not: as often as one that did not was said, about. A guess.
const LATE_ANSWERS: u8 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Waits for the disk.
    Storing,
    /// Waits for the node of this name.
    Naming(NameHash),
    /// Waits for room in the node.
    Queued(Address),
    /// The node has it, for this destination.
    InFlight(Address),
}

#[derive(Debug)]
struct Outbound {
    accepted: Accepted,
    /// On whose account it stands.
    _charge: Option<Charge>,
    deadline: Instant,
    phase: Phase,
    /// The name by which its receiver is found, if that is to be found.
    name: Option<NameHash>,
    /// Whether the name's node was once wrong already.
    misdirected: bool,
    /// Whether it may have been sent before: by an earlier run of the gateway, or before it was put behind others.
    sent_before: bool,
    /// Whether its receiver has long been silent: it goes behind all others, whatever its priority.
    deferred: bool,
    /// The envelope, while it is in flight in parts.
    encoded: Vec<u8>,
    /// How it says its names, while it is in flight.
    form: Form,
    /// Whether its names are to be said in full: its receiver did not know the context.
    in_full: bool,
    /// How often it was answered that it lacks them though it does not.
    late_answers: u8,
}

/// What the node is to send next.
#[derive(Debug)]
pub(super) struct Dequeued {
    pub(super) id: MessageId,
    pub(super) destination: Address,
    pub(super) priority: Priority,
    pub(super) deadline: Instant,
}

/// A message whose deadline has passed before the node had it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Overdue {
    pub(super) id: MessageId,
    /// What it waited for.
    pub(super) why: &'static str,
    /// The name whose node was not found.
    pub(super) name: Option<NameHash>,
}

/// Everything accepted for the mesh and not settled.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    messages: BTreeMap<MessageId, Outbound>,
    /// Deadlines of what is not in flight; the node watches the others.
    deadlines: BTreeSet<(Instant, MessageId)>,
    queues: PerClass<Lanes>,
    /// What was deferred.
    deferred: Lanes,
    in_flight: BTreeMap<Address, usize>,
    bytes: usize,
    /// Messages and bytes of each agent.
    of_agent: BTreeMap<Name, (usize, usize)>,
    /// How many of each agent will wait for an ack once they are delivered.
    wishing: BTreeMap<Name, usize>,
    contexts: SenderContexts,
    recent: Recent,
}

impl Outgoing {
    /// Whether one more message of `len` bytes fits. The last sixteenth is for CRITICAL ones.
    pub(super) fn has_room(&self, len: usize, priority: Priority) -> bool {
        let left = |most| for_priority(most, priority);
        self.messages.len() < left(MESSAGES) && self.bytes + len <= left(BYTES)
    }

    /// Whether this agent may add one more message of `len` bytes.
    pub(super) fn has_room_for(&self, from: Name, len: usize) -> bool {
        let (messages, bytes) = self.of_agent.get(&from).copied().unwrap_or_default();
        messages < MESSAGES / SHARE && bytes + len <= BYTES / SHARE
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
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
        self.bytes += accepted.body.len();
        let of_agent = self.of_agent.entry(accepted.from).or_default();
        *of_agent = (of_agent.0 + 1, of_agent.1 + accepted.body.len());
        if accepted.wants_ack() {
            *self.wishing.entry(accepted.from).or_default() += 1;
        }
        self.deadlines.insert((deadline, id));
        // Asked for at every turn while nobody answers, and a digest is too much for that.
        let name = match accepted.to {
            Destination::Agent { name, node: None } => Some(NameHash::of(name.as_str())),
            _ => None,
        };
        let outbound = Outbound {
            accepted,
            _charge: charge,
            deadline,
            phase: Phase::Storing,
            name,
            misdirected: false,
            sent_before,
            deferred: false,
            encoded: Vec::new(),
            form: Form::Whole,
            in_full: false,
            late_answers: 0,
        };
        self.messages.insert(id, outbound);
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

    /// Whether anything of this agent is under way.
    pub(super) fn is_from(&self, name: Name) -> bool {
        self.of_agent.contains_key(&name)
    }

    /// How many of each agent will wait for an ack once they are delivered.
    pub(super) fn wishing(&self) -> impl Iterator<Item = (&Name, &usize)> {
        self.wishing.iter()
    }

    /// How many of this agent will.
    pub(super) fn wishing_of(&self, name: Name) -> usize {
        self.wishing.get(&name).copied().unwrap_or(0)
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
            let lane = (outbound.accepted.from, destination);
            let lanes = lanes(&mut self.queues, &mut self.deferred, outbound);
            lanes.push(lane, id);
        }
    }

    /// The node of a name is known now: what waited for it is queued. Whether anything did.
    pub(super) fn named(&mut self, name: NameHash, node: Address) {
        let waiting: Vec<_> = self.naming(name).collect();
        for id in waiting {
            self.queue(id, node);
        }
    }

    /// The node of a name is another now: what waits for room and was never sent goes there. What was sent may have been delivered, and
    /// stays.
    pub(super) fn rebind(&mut self, name: NameHash, node: Address) {
        let moved: Vec<(MessageId, Name, Address)> = self
            .messages
            .iter()
            .filter_map(|(id, outbound)| match outbound.phase {
                Phase::Queued(before)
                    if before != node && !outbound.sent_before && outbound.name == Some(name) =>
                {
                    Some((*id, outbound.accepted.from, before))
                }
                _ => None,
            })
            .collect();
        for (id, from, before) in moved {
            if let Some(outbound) = self.messages.get(&id) {
                lanes(&mut self.queues, &mut self.deferred, outbound).forget((from, before), id);
            }
            self.queue(id, node);
        }
    }

    /// What came with these tokens and waits for a name or for room.
    pub(super) fn of_tokens(&self, tokens: &[Name]) -> Vec<MessageId> {
        let waits = |outbound: &Outbound| matches!(outbound.phase, Phase::Naming(_) | Phase::Queued(_));
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
    pub(super) fn dequeue(&mut self) -> Option<(Dequeued, &[u8])> {
        let (id, destination) = self.next_queued()?;
        let outbound = self.messages.get_mut(&id)?;
        let priority = outbound.accepted.priority;
        self.deadlines.remove(&(outbound.deadline, id));
        *self.in_flight.entry(destination).or_default() += 1;
        outbound.phase = Phase::InFlight(destination);
        outbound.write(id, destination, &mut self.contexts);
        let dequeued = Dequeued { id, destination, priority, deadline: outbound.deadline };
        Some((dequeued, &outbound.encoded))
    }

    fn next_queued(&mut self) -> Option<(MessageId, Address)> {
        let all: usize = self.in_flight.values().sum();
        let may_send = |to: Address| self.in_flight.get(&to).is_none_or(|count| *count < IN_FLIGHT_TO_ONE);
        let classes = self.queues.iter_mut().map(|(class, lanes)| (IN_FLIGHT[class], lanes));
        for (bound, lanes) in classes.chain([(IN_FLIGHT_DEFERRED, &mut self.deferred)]) {
            if all >= bound {
                return None;
            }
            if let Some(((_, destination), id)) = lanes.pop(may_send) {
                return Some((id, destination));
            }
        }
        None
    }

    /// Whether something waits for a place in the node that those in flight may have.
    pub(super) fn is_crowded(&self) -> bool {
        self.queues.iter().map(|(_, lanes)| lanes).chain([&self.deferred]).any(|lanes| !lanes.is_empty())
    }

    /// A node has answered: what was deferred for it takes its old place.
    pub(super) fn resume(&mut self, destination: Address) {
        for id in self.deferred.take(destination) {
            if let Some(outbound) = self.messages.get_mut(&id) {
                outbound.deferred = false;
            }
            self.queue(id, destination);
        }
    }

    /// Notes that the node has given it up or given it back, or is done with it.
    fn release(&mut self, id: MessageId, destination: Address, form: Form) {
        self.contexts.given_up(destination, id, form);
        if let Some(count) = self.in_flight.get_mut(&destination) {
            *count -= 1;
            if *count == 0 {
                self.in_flight.remove(&destination);
            }
        }
    }

    /// Nobody has answered it for long: it goes behind all that waits, and may have been delivered.
    pub(super) fn defer(&mut self, id: MessageId) {
        let Some(outbound) = self.messages.get_mut(&id) else { return };
        let Phase::InFlight(destination) = outbound.phase else { return };
        outbound.sent_before = true;
        outbound.deferred = true;
        outbound.encoded = Vec::new();
        let form = outbound.form;
        self.deadlines.insert((outbound.deadline, id));
        self.release(id, destination, form);
        self.queue(id, destination);
    }

    /// The node would not take it after all: it goes back to the head of its queue.
    pub(super) fn requeue(&mut self, id: MessageId, destination: Address) {
        if let Some(outbound) = self.messages.get_mut(&id) {
            self.deadlines.insert((outbound.deadline, id));
            outbound.phase = Phase::Queued(destination);
            outbound.encoded = Vec::new();
            let lane = (outbound.accepted.from, destination);
            let lanes = lanes(&mut self.queues, &mut self.deferred, outbound);
            lanes.push_first(lane, id);
            let form = outbound.form;
            self.release(id, destination, form);
        }
    }

    /// The node delivered it: what it defined is known there now.
    pub(super) fn delivered(&mut self, id: MessageId) {
        if let Some(outbound) = self.messages.get(&id)
            && let Phase::InFlight(destination) = outbound.phase
        {
            self.contexts.delivered(destination, id, outbound.form);
        }
    }

    /// The destination does not know the names that it refers to: it goes there again, with them. `false` if it keeps saying so of a
    /// message that has them all.
    pub(super) fn say_in_full(&mut self, id: MessageId) -> bool {
        let Some(outbound) = self.messages.get_mut(&id) else { return false };
        let Phase::InFlight(destination) = outbound.phase else { return false };
        // An answer to what was said before may be late.
        let late = outbound.form == Form::Whole;
        if late && outbound.late_answers >= LATE_ANSWERS {
            return false;
        }
        outbound.late_answers += u8::from(late);
        // What was said since may have been delivered: *expired* would be too much said from now on.
        outbound.sent_before |= late;
        outbound.in_full = true;
        self.requeue(id, destination);
        if !late {
            self.contexts.refused(destination, id);
        }
        true
    }

    /// Fills `out` with the envelope in flight's bytes from `offset` on.
    pub(super) fn load(&self, id: MessageId, offset: u32, out: &mut [u8]) -> bool {
        let offset = offset as usize;
        let encoded = self.messages.get(&id).map(|outbound| outbound.encoded.as_slice());
        match encoded.and_then(|encoded| encoded.get(offset..offset + out.len())) {
            Some(bytes) => {
                out.copy_from_slice(bytes);
                true
            }
            None => false,
        }
    }

    /// The one node that a message in flight goes to.
    pub(super) fn receiver(&self, id: MessageId) -> Option<Address> {
        match self.messages.get(&id)?.phase {
            Phase::InFlight(node) => Some(node).filter(|node| node.is_node()),
            _ => None,
        }
    }

    /// The destination does not know the agent: the first time, and where the mesh was to find the node, the name is
    /// looked for anew. `None` when that is not so.
    pub(super) fn misdirected(&mut self, id: MessageId) -> Option<NameHash> {
        let outbound = self.messages.get_mut(&id)?;
        let name = outbound.name?;
        if outbound.misdirected {
            return None;
        }
        outbound.misdirected = true;
        // What it said before may still come there.
        outbound.in_full = true;
        outbound.deferred = false;
        let before = std::mem::replace(&mut outbound.phase, Phase::Naming(name));
        if let Phase::InFlight(destination) = before {
            self.deadlines.insert((outbound.deadline, id));
            outbound.encoded = Vec::new();
            let form = outbound.form;
            self.release(id, destination, form);
        }
        Some(name)
    }

    /// It is settled.
    pub(super) fn remove(&mut self, id: MessageId) -> Option<Accepted> {
        let outbound = self.messages.remove(&id)?;
        let (from, len) = (outbound.accepted.from, outbound.accepted.body.len());
        self.bytes -= len;
        if let Some(of_agent) = self.of_agent.get_mut(&from) {
            *of_agent = (of_agent.0 - 1, of_agent.1 - len);
            if of_agent.0 == 0 {
                self.of_agent.remove(&from);
            }
        }
        if outbound.accepted.wants_ack()
            && let Some(count) = self.wishing.get_mut(&from)
        {
            *count -= 1;
            if *count == 0 {
                self.wishing.remove(&from);
            }
        }
        match outbound.phase {
            Phase::InFlight(destination) => self.release(id, destination, outbound.form),
            Phase::Queued(destination) => {
                let lanes = lanes(&mut self.queues, &mut self.deferred, &outbound);
                lanes.forget((from, destination), id);
                self.deadlines.remove(&(outbound.deadline, id));
            }
            Phase::Storing | Phase::Naming(_) => drop(self.deadlines.remove(&(outbound.deadline, id))),
        }
        Some(outbound.accepted)
    }

    /// A message whose deadline has passed before it was in flight, and why it could not.
    pub(super) fn overdue(&self, now: Instant) -> Option<Overdue> {
        let &(deadline, id) = self.deadlines.first()?;
        if deadline > now {
            return None;
        }
        let (why, name) = match self.messages.get(&id)?.phase {
            Phase::Naming(name) => ("no node answered for that name before the deadline", Some(name)),
            Phase::Storing => ("the deadline passed before it was stored", None),
            Phase::Queued(_) | Phase::InFlight(_) => {
                ("the deadline passed while other messages went before it", None)
            }
        };
        Some(Overdue { id, why, name })
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }
}

/// Where a message waits for room in the node.
fn lanes<'a>(queues: &'a mut PerClass<Lanes>, deferred: &'a mut Lanes, outbound: &Outbound) -> &'a mut Lanes {
    if outbound.deferred { deferred } else { &mut queues[outbound.accepted.priority] }
}

impl Outbound {
    /// Writes the message as it crosses the mesh.
    fn write(&mut self, id: MessageId, destination: Address, contexts: &mut SenderContexts) {
        let accepted = &self.accepted;
        let to = match &accepted.to {
            Destination::Agent { name, .. } | Destination::Group(name) => name.as_str(),
            Destination::Node(_) | Destination::Everyone => "",
        };
        let reply_to = accepted
            .reply_to
            .map(|reply_to| mesh_protocol::MessageRef { node: reply_to.node, id: reply_to.id });
        let envelope = Envelope {
            kind: accepted.kind,
            from: accepted.from.as_str(),
            to,
            processed: accepted.receipt == ReceiptRequest::Processed && destination.is_node(),
            reply_to,
            text: accepted.body.is_text(),
            body: accepted.body.bytes(),
        };
        // What may have been sent before may meet its own repeat: nothing of it is to depend on the order.
        let plain = self.in_full || self.sent_before || !destination.is_node();
        // A name that is there for one question is not worth a number, which another name would lose for it.
        let to_passing = matches!(&accepted.to, Destination::Agent { name, .. } if is_passing(name));
        let plain = plain || is_passing(&accepted.from) || to_passing;
        // A short form has room for the number of the receiver's own message.
        let answers_it = reply_to.is_none_or(|reply_to| reply_to.node == destination);
        self.form = if plain { Form::Whole } else { contexts.form(destination, id, Context::of(&envelope)) };
        if matches!(self.form, Form::Short(_)) && !answers_it {
            self.form = Form::Whole;
        }
        let encoded = match self.form {
            Form::Whole => EncodedEnvelope::Whole { defines: None, envelope },
            Form::Defining(context) => EncodedEnvelope::Whole { defines: Some(context), envelope },
            Form::Short(context) => EncodedEnvelope::Short {
                context,
                reply_to: reply_to.map(|reply_to| reply_to.id),
                body: envelope.body,
            },
        };
        let mut head = [0; ENVELOPE_HEAD_MAX];
        // Names and bodies were bounded when the message was accepted.
        let len = encoded.write_head(&mut head).unwrap_or(0);
        self.encoded = [&head[..len], envelope.body].concat();
    }
}
