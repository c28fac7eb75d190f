//! Where a client's messages come from.

use std::sync::Arc;

use crate::ClientError;
use crate::api::{ErrorEvent, Message, Receipt};
use crate::link::Owner;

/// Something that nobody in particular waits for.
///
/// ```no_run
/// # async fn example(mut inbox: mesh_agent::Inbox) -> Result<(), mesh_agent::ClientError> {
/// use mesh_agent::Incoming;
///
/// match inbox.next().await? {
///     Incoming::Message(message) => println!("{}: {:?}", message.from, message.body),
///     Incoming::Receipt(receipt) => println!("{} was {:?}", receipt.id, receipt.outcome),
///     Incoming::Error(error) => eprintln!("{error}"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    /// A message for the agent.
    Message(Message),
    /// What became of a message of an earlier run of the agent.
    Receipt(Receipt),
    /// An error that names no request.
    Error(ErrorEvent),
}

impl Incoming {
    /// Its place in the agent's inbox, to be acknowledged, if it has one.
    #[must_use]
    pub fn cursor(&self) -> Option<u64> {
        match self {
            Self::Message(message) => message.cursor,
            Self::Receipt(receipt) => receipt.cursor,
            Self::Error(_) => None,
        }
    }

    pub(crate) fn forget_cursor(&mut self) {
        match self {
            Self::Message(message) => message.cursor = None,
            Self::Receipt(receipt) => receipt.cursor = None,
            Self::Error(_) => {}
        }
    }
}

/// Where messages come from. Each is acknowledged when the next one is asked for, unless that is turned off: until then the
/// gateway shows it again to the next run of the program.
///
/// ```no_run
/// # async fn example(mut inbox: mesh_agent::Inbox, handle: mesh_agent::Handle) -> Result<(), mesh_agent::ClientError> {
/// inbox.set_auto_ack(false);
/// loop {
///     let message = inbox.next_message().await?;
///     // What is handled is acknowledged; what is not is shown again to the next run.
///     if let Some(cursor) = message.cursor {
///         handle.ack(cursor)?;
///     }
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Inbox {
    owner: Arc<Owner>,
    auto_ack: bool,
    /// What the application is handling now, and in which of the gateway's lives.
    in_hand: Option<(u64, u32)>,
}

impl Inbox {
    pub(crate) fn new(owner: Arc<Owner>) -> Self {
        Self { owner, auto_ack: true, in_hand: None }
    }

    /// Whether asking for the next one acknowledges the one before; true at first. Otherwise the application calls
    /// [`crate::Handle::ack`].
    pub fn set_auto_ack(&mut self, auto_ack: bool) {
        self.auto_ack = auto_ack;
    }

    /// Waits for the next thing to come. Cancel safe. After a connection is lost for good, what had come is still given
    /// out.
    ///
    /// # Errors
    /// If the connection is lost, an [`crate::Agent`]'s for good, and everything that had come has been taken.
    pub async fn next(&mut self) -> Result<Incoming, ClientError> {
        self.owner.link().next(&mut self.in_hand, self.auto_ack).await
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
