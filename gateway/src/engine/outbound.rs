//! One message of a local agent on its way into the mesh: what it waits for, and how it says its names.

use mesh_agent::api::{Destination, ReceiptRequest};
use mesh_protocol::{
    Address, CARRIED_HEAD_MAX, Carried, Duration, ENVELOPE_HEAD_MAX, EncodedEnvelope, Envelope, Instant,
    MessageId, NameHash, Verdict,
};

use super::accepted::Accepted;
use super::accounts::Charge;
use super::carriage::{Carriage, Handover};
use super::contexts::{Context, Form, SenderContexts};
use super::queues::Slot;
use crate::agents::is_passing;

/// How many rejections "unknown context" a message that spells out its names may get: late answers to earlier tries without them.
/// About as many as there were such tries. A guess.
const LATE_ANSWERS: u8 = 4;

/// What has less time left is not worth to be kept elsewhere: it would cross the mesh for a wait that is over soon. A guess.
const WORTH_KEEPING: Duration = Duration::from_secs(20);

/// What a message waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waits for the disk.
    Storing,
    /// Waits for the node of this name.
    Naming(NameHash),
    /// Waits for room in the node.
    Queued(Address),
    /// The node has it, for this destination.
    InFlight(Address),
    /// It is left alone for a while, or until its receiver is heard; then it goes to this destination.
    Resting(Address),
}

/// A message on its way.
#[derive(Debug)]
pub(super) struct Outbound {
    pub(super) accepted: Accepted,
    /// On whose account it stands.
    _charge: Option<Charge>,
    pub(super) deadline: Instant,
    pub(super) phase: Phase,
    /// The name by which its receiver is found, if that is to be found.
    pub(super) name: Option<NameHash>,
    /// Whether the name's node was once wrong already.
    misdirected: bool,
    /// Whether it may have been sent before: by an earlier run of the gateway, or before it was put behind others.
    pub(super) sent_before: bool,
    /// Whether its receiver has long been silent: it goes behind all others, whatever its priority.
    pub(super) deferred: bool,
    /// The envelope, while it is in flight in parts.
    encoded: Vec<u8>,
    /// How it says its names, while it is in flight.
    form: Form,
    /// Whether its names are to be said in full: its receiver did not know the context.
    in_full: bool,
    /// How often it was answered that it lacks them though it does not.
    late_answers: u8,
    /// How often it was left alone for its receiver's silence.
    pub(super) rests: u8,
}

impl Outbound {
    pub(super) fn new(
        accepted: Accepted,
        charge: Option<Charge>,
        deadline: Instant,
        sent_before: bool,
    ) -> Self {
        // Asked for at every turn while nobody answers, and a digest is too much for that.
        let name = match accepted.to {
            Destination::Agent { name, node: None } => Some(NameHash::of(name.as_str())),
            _ => None,
        };
        Self {
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
            rests: 0,
        }
    }

    /// Who is to keep it or does, and for whom.
    pub(super) const fn handover(&self) -> Option<Handover> {
        match self.accepted.carriage {
            Some(Carriage::KeptBy(handover)) => Some(handover),
            _ => None,
        }
    }

    /// Whether another gateway may be asked to keep it: nobody has been so far, and it lasts.
    pub(super) fn may_be_kept(&self, now: Instant) -> bool {
        self.accepted.durable && self.accepted.carriage.is_none() && self.deadline.since(now) >= WORTH_KEEPING
    }

    /// Where it waits for room in the node, on its way to `destination`.
    pub(super) const fn slot(&self, destination: Address) -> Slot {
        Slot {
            priority: self.accepted.priority,
            deferred: self.deferred,
            lane: (self.accepted.from, destination),
        }
    }

    /// How it says its names, while it is in flight.
    pub(super) const fn form(&self) -> Form {
        self.form
    }

    /// Its envelope, while it is in flight.
    pub(super) fn encoded(&self) -> &[u8] {
        &self.encoded
    }

    /// It is in flight no more, and its envelope is written again before it is the next time: it may say its names otherwise then.
    pub(super) fn forget_encoded(&mut self) {
        self.encoded = Vec::new();
    }

    /// Its destination does not know the names that it refers to, and is to get all of them. `None` if it keeps saying so of a message
    /// that has them all; otherwise whether it had them all this time.
    pub(super) fn say_in_full(&mut self) -> Option<bool> {
        // An answer to what was said before may be late.
        let late = self.form == Form::Whole;
        if late && self.late_answers >= LATE_ANSWERS {
            return None;
        }
        self.late_answers += u8::from(late);
        // What was said since may have been delivered: *expired* would be too much said from now on.
        self.sent_before |= late;
        self.in_full = true;
        Some(late)
    }

    /// Its destination does not know its agent. The name to look for again, the first time, and where the mesh was to find the node.
    pub(super) fn misdirected(&mut self) -> Option<NameHash> {
        let name = self.name?;
        // Twice would be a circle of nodes that each know another one.
        if std::mem::replace(&mut self.misdirected, true) {
            return None;
        }
        // What it said before may still come there.
        self.in_full = true;
        self.deferred = false;
        Some(name)
    }

    /// Writes the message as it crosses the mesh.
    pub(super) fn write(
        &mut self,
        now: Instant,
        id: MessageId,
        destination: Address,
        contexts: &mut SenderContexts,
    ) {
        let accepted = &self.accepted;
        let to = match &accepted.to {
            Destination::Agent { name, .. } | Destination::Group(name) => name.as_str(),
            Destination::Node(_) | Destination::Everyone => "",
        };
        let reply_to = accepted
            .reply_to
            .map(|reply_to| mesh_protocol::MessageRef { node: reply_to.node, id: reply_to.id });
        let processed = match accepted.carriage {
            Some(Carriage::OnBehalf { processed, .. }) => processed,
            _ => accepted.receipt == ReceiptRequest::Processed,
        };
        let envelope = Envelope {
            kind: accepted.kind,
            from: accepted.from.as_str(),
            to,
            processed: processed && destination.is_node(),
            reply_to,
            text: accepted.body.is_text(),
            body: accepted.body.bytes(),
        };
        if let Some(carried) = carried(accepted.carriage, destination, envelope, self.deadline.since(now)) {
            self.form = Form::Whole;
            let mut head = [0; CARRIED_HEAD_MAX];
            let len = carried.write_head(&mut head).unwrap_or(0);
            self.encoded = [&head[..len], envelope.body].concat();
            return;
        }
        // What may have been sent before may meet its own repeat: nothing of it is to depend on the order.
        let plain = self.in_full || self.sent_before || !destination.is_node();
        // A name that is there for one question is not worth a number, which another name would lose for it.
        let to_passing = matches!(&accepted.to, Destination::Agent { name, .. } if is_passing(name));
        let plain = plain || is_passing(&accepted.from) || to_passing;
        // A short form has room for the number of the receiver's own message.
        let answers_it = reply_to.is_none_or(|reply_to| reply_to.node == destination);
        // Asked for only where it may be used: to ask for a form is to define or use a context.
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

/// What a message says that does not go from its sender's gateway straight to its receiver, in the place of its envelope.
fn carried<'a>(
    carriage: Option<Carriage>,
    destination: Address,
    envelope: Envelope<'a>,
    left: Duration,
) -> Option<Carried<'a>> {
    match carriage? {
        Carriage::OnBehalf { of, .. } => Some(Carried::OnBehalf { of, envelope }),
        Carriage::Settled { id, hops, verdict } => {
            Some(Carried::Settled { id, hops, verdict: Verdict::from_codes(verdict)? })
        }
        Carriage::KeptBy(Handover { keeper, receiver }) => (destination == keeper).then(|| {
            let seconds = u32::try_from(left.as_millis() / 1_000).unwrap_or(u32::MAX);
            Carried::Keep { to: receiver, seconds, envelope }
        }),
    }
}
