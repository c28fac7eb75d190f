//! A message of a local agent, as it was accepted.

use mesh_agent::api::{Body, Destination, Message, MessageRef, Name, ReceiptRequest};
use mesh_protocol::{Address, Instant, MessageId, MessageType, Priority};
use serde::{Deserialize, Serialize};

use super::carriage::Carriage;
use super::item::Requester;

/// A message as it was accepted; also what the store keeps of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Accepted {
    pub(super) from: Name,
    pub(super) reference: Option<u64>,
    pub(super) to: Destination,
    pub(super) kind: MessageType,
    pub(super) priority: Priority,
    /// Milliseconds from acceptance, and again from a restart: a gateway without a clock cannot know how long it was
    /// off.
    pub(super) deadline_ms: u32,
    pub(super) durable: bool,
    pub(super) reply_to: Option<MessageRef>,
    pub(super) receipt: ReceiptRequest,
    pub(super) body: Body,
    /// The token that it came with. Absent in records of before.
    pub(super) token: Option<Name>,
    /// How it goes on otherwise than straight to its receiver. Absent in records of before.
    pub(super) carriage: Option<Carriage>,
}

impl Accepted {
    /// Whether one agent is to acknowledge it, and the sender to be notified.
    pub(super) fn wants_ack(&self) -> bool {
        let one = matches!(self.to, Destination::Agent { .. } | Destination::Node(_));
        one && self.receipt == ReceiptRequest::Processed && !self.is_of_others()
    }

    /// Whether another gateway's agent has sent it, or a gateway itself: no agent here is told of it, and none has it on its account.
    pub(super) const fn is_of_others(&self) -> bool {
        matches!(self.carriage, Some(Carriage::OnBehalf { .. } | Carriage::Settled { .. }))
    }

    /// Who is to be notified when the receiving agent has processed it, if its sender asked for that. For an agent of this gateway.
    pub(super) fn requester(&self) -> Option<Requester> {
        (self.receipt == ReceiptRequest::Processed).then_some(Requester::Agent(self.from, self.reference))
    }

    /// The message as an agent of this gateway, of address `own`, gets it.
    pub(super) fn message(&self, own: Address, id: MessageId, now: Instant) -> Message {
        Message {
            cursor: None,
            id: MessageRef { node: own, id },
            from: Destination::agent_on(self.from, own),
            to: self.to,
            kind: self.kind,
            priority: self.priority,
            reply_to: self.reply_to,
            hops: 0,
            at_us: now.as_micros(),
            body: self.body.clone(),
        }
    }
}
