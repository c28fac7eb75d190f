//! Where a client's messages come from.

use std::sync::Arc;

use super::ClientError;
use super::link::Owner;
use crate::api::{ErrorEvent, Message, Receipt, Request};

/// Something that nobody in particular waits for.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    /// A message for the agent.
    Message(Message),
    /// What became of a message of an earlier session.
    Receipt(Receipt),
    /// An error that names no request.
    Error(ErrorEvent),
}

impl Incoming {
    fn cursor(&self) -> Option<u64> {
        match self {
            Self::Message(message) => message.cursor,
            Self::Receipt(receipt) => receipt.cursor,
            Self::Error(_) => None,
        }
    }
}

/// Where messages come from. Each is acknowledged when the next one is asked for, unless told otherwise: until then the
/// gateway would send it again after a lost connection.
#[derive(Debug)]
pub struct Inbox {
    owner: Arc<Owner>,
    auto_ack: bool,
    /// What the application is handling now.
    in_hand: Option<u64>,
}

impl Inbox {
    pub(super) fn new(owner: Arc<Owner>) -> Self {
        Self { owner, auto_ack: true, in_hand: None }
    }

    /// Whether asking for the next one acknowledges the one before; true at first. Otherwise the application calls
    /// [`super::Handle::ack`].
    pub fn set_auto_ack(&mut self, auto_ack: bool) {
        self.auto_ack = auto_ack;
    }

    /// Waits for the next thing to come. Cancel safe. After a lost connection, what had come is still given out.
    ///
    /// # Errors
    /// If the connection is lost and everything that had come has been taken.
    pub async fn next(&mut self) -> Result<Incoming, ClientError> {
        let link = &self.owner.0;
        if let Some(cursor) = self.in_hand.take() {
            let ack = link.state().handled(cursor);
            // A lost connection is told below, after what had come before it.
            let _ = ack.map(|ack| link.enqueue(&Request::Ack(ack)));
        }
        let incoming = link.next().await?;
        if self.auto_ack {
            self.in_hand = incoming.cursor();
        }
        Ok(incoming)
    }

    /// Waits for the next message; anything else that comes before it is dropped. Cancel safe.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub async fn next_message(&mut self) -> Result<Message, ClientError> {
        loop {
            if let Incoming::Message(message) = self.next().await? {
                return Ok(message);
            }
        }
    }
}
