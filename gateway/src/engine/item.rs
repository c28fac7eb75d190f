//! What an inbox holds: a message or a receipt, and who is to be notified when the agent has acknowledged it.

use mesh_agent::api::{Event, Message, MessageRef, Name, Receipt};
use serde::{Deserialize, Serialize};

/// What an inbox keeps until the agent acknowledges it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Item {
    /// A message, and who asked to be notified when the agent has acknowledged it.
    Message(Message, Option<Requester>),
    /// What became of a message of the agent.
    Receipt(Receipt),
}

/// Who asked for a receipt when the agent has processed a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Requester {
    /// The node it came from.
    Node,
    /// An agent of this gateway, under its own number for the message.
    Agent(Name, Option<u64>),
}

impl Item {
    /// What it counts for in an inbox's bytes.
    pub(super) fn weight(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Message(message, _) => message.body.len(),
                Self::Receipt(receipt) => receipt.why.as_ref().map_or(0, String::len),
            }
    }

    pub(super) fn body_len(&self) -> usize {
        match self {
            Self::Message(message, _) => message.body.len(),
            Self::Receipt(_) => 0,
        }
    }

    /// The message that it is, or that it is about.
    pub(super) const fn id(&self) -> &MessageRef {
        match self {
            Self::Message(message, _) => &message.id,
            Self::Receipt(receipt) => &receipt.id,
        }
    }

    /// The same under this cursor.
    pub(super) fn at(mut self, cursor: Option<u64>) -> Self {
        match &mut self {
            Self::Message(message, _) => message.cursor = cursor,
            Self::Receipt(receipt) => receipt.cursor = cursor,
        }
        self
    }

    pub(super) fn event(&self) -> Event {
        match self {
            Self::Message(message, _) => Event::Message(message.clone()),
            Self::Receipt(receipt) => Event::Receipt(receipt.clone()),
        }
    }
}

/// Items for tests.
#[cfg(test)]
pub(super) mod samples {
    use mesh_agent::api::{Body, Destination, Outcome};
    use mesh_protocol::{Address, MessageId, MessageType, Priority};

    use super::*;

    pub(in super::super) fn message(to: Destination) -> Item {
        let id = MessageRef { node: Address::new(2), id: MessageId(1) };
        let message = Message {
            cursor: None,
            id,
            from: Destination::Node(Address::new(2)),
            to,
            kind: MessageType::Task,
            priority: Priority::Low,
            reply_to: None,
            hops: 1,
            at_us: 0,
            body: Body::text("x"),
        };
        Item::Message(message, None)
    }

    pub(in super::super) fn receipt() -> Item {
        Item::Receipt(Receipt {
            cursor: None,
            reference: Some(7),
            id: MessageRef { node: Address::new(1), id: MessageId(2) },
            outcome: Outcome::Delivered,
            at_node: None,
            why: None,
            hops: None,
            at_us: 0,
            detail: None,
        })
    }
}
