//! What two nodes say to each other again and again, said once: the type, flags and names of messages under a number.
//!
//! Owns both ends. As a sender, which contexts a node is known to have; as a receiver, which ones each source has defined.
//! How they look on the air is `mesh_protocol`'s `EncodedEnvelope`.
//!
//! # Why a number never means the wrong names
//! A source defines a context in a message, and uses it in later ones (of higher numbers) once that message is delivered: by then
//! the definition is on the receiver's disk. A message that defines has a higher number than all that have defined or used
//! any context of that receiver: messages leave in another order than they are numbered in, and an old one must not undo what a newer
//! one on its way refers to. The receiver takes a definition only from a message newer than the one it has it from, and reads
//! by it only messages newer than that one. Anything else it rejects, and the sender says it again with all names.

use std::collections::BTreeMap;

use mesh_agent::api::Name;
use mesh_protocol::{Address, CONTEXTS, ContextId, Envelope, MessageId, MessageType};
use serde::{Deserialize, Serialize};

/// Nodes that contexts are used towards; the one used longest ago gives way. A guess: more are hardly talked to at a time.
const TO_NODES: usize = 256;
/// Definitions kept of all sources together, 80 bytes each; of further ones the messages are wanted with all names.
const KEPT: usize = 8_192;
/// So often may a node not know a context that was defined for it, until all is said in full to it: it keeps no contexts.
const REFUSED_MOST: u8 = 2;

/// What a context stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Context {
    pub(super) kind: MessageType,
    pub(super) processed: bool,
    pub(super) text: bool,
    /// `None` for the node itself.
    pub(super) from: Option<Name>,
    /// `None` for the node's own agent.
    pub(super) to: Option<Name>,
}

impl Context {
    /// What this envelope says beside its body and the message it answers.
    pub(super) fn of(envelope: &Envelope<'_>) -> Self {
        let &Envelope { kind, processed, text, from, to, .. } = envelope;
        Self { kind, processed, text, from: Name::new(from).ok(), to: Name::new(to).ok() }
    }
}

/// How a message says its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// In full.
    Whole,
    /// In full, and as the definition of a context.
    Defining(ContextId),
    /// By a context.
    Short(ContextId),
}

#[derive(Debug)]
struct Slot {
    context: Context,
    /// The message that defines it.
    by: MessageId,
    /// Whether that one was delivered.
    known: bool,
    used: u64,
}

#[derive(Debug, Default)]
struct Receiver {
    slots: BTreeMap<ContextId, Slot>,
    /// The newest message that has defined or used a context; none that is older may define one.
    newest: MessageId,
    /// Incidents in a row, and the newest message as of the last: refusals of what was in flight then say nothing new.
    refused: (u8, MessageId),
    used: u64,
}

/// The sender's end.
#[derive(Debug, Default)]
pub(super) struct SenderContexts {
    receivers: BTreeMap<Address, Receiver>,
    /// The newest of all receivers that gave way.
    forgotten: MessageId,
    /// Counts uses, so that the longest ago is known.
    uses: u64,
}

impl SenderContexts {
    /// How to say this to a node in the message of this number.
    pub(super) fn form(&mut self, to: Address, id: MessageId, context: Context) -> Form {
        if !self.receivers.contains_key(&to) && self.receivers.len() >= TO_NODES {
            let longest_ago = self.receivers.iter().min_by_key(|(_, receiver)| receiver.used);
            if let Some(address) = longest_ago.map(|(address, _)| *address)
                && let Some(receiver) = self.receivers.remove(&address)
            {
                self.forgotten = self.forgotten.max(receiver.newest);
            }
        }
        self.uses += 1;
        let newest = self.forgotten;
        let fresh = || Receiver { newest, ..Receiver::default() };
        let receiver = self.receivers.entry(to).or_insert_with(fresh);
        receiver.used = self.uses;
        if receiver.refused.0 >= REFUSED_MOST {
            return Form::Whole;
        }
        if let Some((number, slot)) = receiver.slots.iter_mut().find(|(_, slot)| slot.context == context) {
            slot.used = self.uses;
            // Until it is known to be there, a reference to it could arrive before it; and older messages meant nothing by it.
            if !slot.known || id <= slot.by {
                return Form::Whole;
            }
            receiver.newest = receiver.newest.max(id);
            return Form::Short(*number);
        }
        if id <= receiver.newest {
            return Form::Whole;
        }
        // None is vacant as long as all definitions are on their way: one of those may still arrive after what would replace it.
        let Some(number) = receiver.vacant() else { return Form::Whole };
        receiver.newest = id;
        receiver.slots.insert(number, Slot { context, by: id, known: false, used: self.uses });
        Form::Defining(number)
    }

    /// A message was delivered in this form.
    pub(super) fn delivered(&mut self, to: Address, id: MessageId, form: Form) {
        let Some(receiver) = self.receivers.get_mut(&to) else { return };
        match form {
            Form::Whole => {}
            Form::Defining(number) => {
                if let Some(slot) = receiver.slots.get_mut(&number).filter(|slot| slot.by == id) {
                    slot.known = true;
                }
            }
            // It keeps contexts after all.
            Form::Short(_) => receiver.refused.0 = 0,
        }
    }

    /// A message in this form is no longer under way and was not delivered, or nobody knows.
    pub(super) fn given_up(&mut self, to: Address, id: MessageId, form: Form) {
        if let Form::Defining(number) = form
            && let Some(receiver) = self.receivers.get_mut(&to)
            && receiver.slots.get(&number).is_some_and(|slot| slot.by == id && !slot.known)
        {
            // The receiver may have taken this definition nevertheless. The next one has a higher message number and replaces it there.
            receiver.slots.remove(&number);
        }
    }

    /// A node does not know the context that the message of this number refers to.
    pub(super) fn refused(&mut self, by: Address, id: MessageId) {
        if let Some(receiver) = self.receivers.get_mut(&by).filter(|receiver| id > receiver.refused.1) {
            // It has lost its disk, or has no room: nothing that was defined there counts.
            receiver.slots.clear();
            receiver.refused = (receiver.refused.0.saturating_add(1), receiver.newest);
        }
    }
}

impl Receiver {
    /// A number to define: one that is free, or else the one used longest ago of those that are known.
    fn vacant(&mut self) -> Option<ContextId> {
        let free = (0..CONTEXTS as u8).map(ContextId::new).find(|number| !self.slots.contains_key(number));
        let longest_ago = || {
            let known = self.slots.iter().filter(|(_, slot)| slot.known);
            known.min_by_key(|(_, slot)| slot.used).map(|(number, _)| *number)
        };
        free.or_else(longest_ago)
    }
}

/// A definition as the store keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Definition {
    /// The message that it is from.
    pub(super) by: MessageId,
    pub(super) context: Context,
}

/// The receiver's end.
#[derive(Debug, Default)]
pub(super) struct ReceiverContexts {
    definitions: BTreeMap<(Address, ContextId), Definition>,
}

impl ReceiverContexts {
    /// The definitions as the store had them.
    pub(super) fn recovered(rows: impl IntoIterator<Item = ((Address, ContextId), Definition)>) -> Self {
        Self { definitions: rows.into_iter().collect() }
    }

    /// What the message of this number means by a context; `None` if that is not known.
    pub(super) fn meant(&self, source: Address, id: MessageId, number: ContextId) -> Option<&Context> {
        let definition = self.definitions.get(&(source, number))?;
        (definition.by < id).then_some(&definition.context)
    }

    /// Whether a definition in the message of this number can be taken.
    pub(super) fn takes(&self, source: Address, id: MessageId, number: ContextId) -> bool {
        match self.definitions.get(&(source, number)) {
            Some(definition) => definition.by < id,
            None => self.definitions.len() < KEPT,
        }
    }

    /// Stores a definition that [`Self::takes`] has allowed.
    pub(super) fn take(&mut self, source: Address, number: ContextId, definition: Definition) {
        self.definitions.insert((source, number), definition);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAR: Address = Address::new(2);

    fn context(from: &str) -> Context {
        Context {
            kind: MessageType::Task,
            processed: false,
            text: false,
            from: Name::new(from).ok(),
            to: Name::new("bob").ok(),
        }
    }

    fn id(id: u32) -> MessageId {
        MessageId(id)
    }

    fn number(form: Form) -> ContextId {
        match form {
            Form::Defining(number) | Form::Short(number) => number,
            Form::Whole => panic!("it names no context"),
        }
    }

    #[test]
    fn a_context_is_used_once_its_definition_is_delivered_and_by_later_messages_only() {
        let mut sender = SenderContexts::default();
        let defining = sender.form(FAR, id(5), context("alice"));
        assert!(matches!(defining, Form::Defining(_)));
        assert_eq!(sender.form(FAR, id(6), context("alice")), Form::Whole, "it may still be lost");
        sender.delivered(FAR, id(5), defining);
        assert_eq!(sender.form(FAR, id(7), context("alice")), Form::Short(number(defining)));
        assert_eq!(sender.form(FAR, id(4), context("alice")), Form::Whole, "of before the definition");
        assert_ne!(sender.form(FAR, id(8), context("carol")), Form::Short(number(defining)));
    }

    #[test]
    fn nothing_older_than_what_is_on_its_way_defines_anything() {
        let mut sender = SenderContexts::default();
        let defining = sender.form(FAR, id(5), context("alice"));
        sender.delivered(FAR, id(5), defining);
        assert!(matches!(sender.form(FAR, id(10), context("alice")), Form::Short(_)), "and takes long");
        assert_eq!(sender.form(FAR, id(8), context("carol")), Form::Whole, "as it waited for its name");
        sender.refused(FAR, id(10));
        assert_eq!(sender.form(FAR, id(9), context("carol")), Form::Whole, "whatever was refused since");
        let lost = sender.form(FAR, id(11), context("alice"));
        assert!(matches!(lost, Form::Defining(_)));
        sender.given_up(FAR, id(11), lost);
        assert_eq!(sender.form(FAR, id(7), context("carol")), Form::Whole, "it may still come");
        // Nor where the receiver was forgotten meanwhile.
        for n in 0..TO_NODES as u16 {
            sender.form(Address::new(0x100 + n), id(12), context("dave"));
        }
        assert_eq!(sender.form(FAR, id(11), context("carol")), Form::Whole);
        assert!(matches!(sender.form(FAR, id(13), context("carol")), Form::Defining(_)));
    }

    #[test]
    fn a_definition_that_was_not_delivered_is_made_again() {
        let mut sender = SenderContexts::default();
        let first = sender.form(FAR, id(5), context("alice"));
        sender.given_up(FAR, id(5), first);
        let second = sender.form(FAR, id(6), context("alice"));
        assert!(matches!(second, Form::Defining(_)));
        sender.given_up(FAR, id(5), first);
        sender.delivered(FAR, id(6), second);
        sender.given_up(FAR, id(6), second);
        assert!(matches!(sender.form(FAR, id(7), context("alice")), Form::Short(_)), "as it is known");
    }

    #[test]
    fn the_context_used_longest_ago_gives_way_and_one_on_its_way_does_not() {
        let mut sender = SenderContexts::default();
        for n in 0..CONTEXTS as u32 {
            let form = sender.form(FAR, id(1 + n), context(&format!("agent-{n}")));
            assert!(matches!(form, Form::Defining(_)));
        }
        assert_eq!(sender.form(FAR, id(40), context("alice")), Form::Whole, "all are on their way");
        for n in [3, 1] {
            let number = Form::Defining(ContextId::new(n));
            sender.delivered(FAR, id(1 + u32::from(n)), number);
        }
        sender.form(FAR, id(41), context("agent-1"));
        assert_eq!(number(sender.form(FAR, id(42), context("alice"))), ContextId::new(3));
    }

    #[test]
    fn who_keeps_no_contexts_is_soon_told_everything() {
        let mut sender = SenderContexts::default();
        for n in 1..=u32::from(REFUSED_MOST) {
            let defining = sender.form(FAR, id(10 * n), context("alice"));
            assert!(matches!(defining, Form::Defining(_)));
            sender.delivered(FAR, id(10 * n), defining);
            assert!(matches!(sender.form(FAR, id(10 * n + 1), context("alice")), Form::Short(_)));
            for on_its_way in [1, 0] {
                sender.refused(FAR, id(10 * n + on_its_way));
            }
        }
        assert_eq!(sender.form(FAR, id(99), context("alice")), Form::Whole);
    }

    #[test]
    fn a_number_means_what_it_meant_when_the_message_was_numbered() {
        let mut receiver = ReceiverContexts::default();
        let zero = ContextId::new(0);
        assert_eq!(receiver.meant(FAR, id(9), zero), None);
        for (by, from) in [(5, "alice"), (8, "carol")] {
            assert!(receiver.takes(FAR, id(by), zero));
            receiver.take(FAR, zero, Definition { by: id(by), context: context(from) });
        }
        assert_eq!(receiver.meant(FAR, id(9), zero), Some(&context("carol")));
        for early in [6, 8] {
            assert_eq!(receiver.meant(FAR, id(early), zero), None, "it may have meant alice");
            assert!(
                !receiver.takes(FAR, id(early), zero),
                "held back on its way, it would undo what came after it"
            );
        }
        assert_eq!(receiver.meant(Address::new(3), id(9), zero), None, "another node's zero");
    }

    #[test]
    fn a_full_table_takes_no_new_number() {
        let mut receiver = ReceiverContexts::default();
        for n in 0..KEPT {
            let (source, number) = (Address::new(1 + (n / CONTEXTS) as u16), ContextId::new(n as u8));
            assert!(receiver.takes(source, id(1), number));
            receiver.take(source, number, Definition { by: id(1), context: context("alice") });
        }
        assert!(!receiver.takes(Address::new(0x7000), id(1), ContextId::new(0)));
        assert!(
            receiver.takes(Address::new(1), id(2), ContextId::new(0)),
            "what is there can be defined again"
        );
        assert_eq!(receiver.definitions.len(), KEPT);
    }
}
