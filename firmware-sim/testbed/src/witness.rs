//! Who takes down what agents say and see.

use std::fmt;

use mesh_agent::api::{Accepted, Body, Destination, ErrorEvent, Message, Name, Receipt};
use mesh_protocol::{Duration, Instant, MessageType, Priority};

/// Whoever takes down what agents see, each by its number.
pub(super) trait Witness: fmt::Debug + Send {
    /// A gateway has taken it.
    fn accepted(&mut self, now: Instant, agent: usize, said: Said, accepted: &Accepted);
    /// Nobody has said whether it is taken, as the gateway went.
    fn doubt(&mut self, now: Instant, said: Said);
    /// A gateway has not taken it.
    fn refused(&mut self, now: Instant, said: Said, error: ErrorEvent);
    /// It was not said, as the gateway was away.
    fn unsaid(&mut self, now: Instant, said: Said);
    /// The agent was sent an error that names no message.
    fn error(&mut self, agent: usize, error: ErrorEvent);
    /// The agent was sent a receipt.
    fn receipt(&mut self, now: Instant, agent: usize, receipt: Receipt);
    /// The agent was given a message.
    fn arrived(&mut self, now: Instant, agent: usize, message: Message);
}

/// Something an agent says.
#[derive(Clone, Debug)]
pub(super) struct Said {
    /// The agent that says it, and the type; `None` for a device, which tells no application.
    pub(super) by: Option<(Name, MessageType)>,
    pub(super) to: Destination,
    pub(super) body: Body,
    pub(super) priority: Priority,
    /// How long it is wanted. Without, its sender has to know what became of it when all is over, whenever that is.
    pub(super) within: Option<Duration>,
    /// The script's number for it.
    pub(super) number: Option<usize>,
}

impl Said {
    /// Whether type and names are those of what came, where both ends are agents.
    pub(super) fn is_what_came(&self, message: &Message) -> bool {
        let name = |destination: &Destination| match destination {
            Destination::Agent { name, .. } => Some(*name),
            _ => None,
        };
        let (Some((by, kind)), Some(from)) = (self.by, name(&message.from)) else { return true };
        let to = name(&self.to).is_none_or(|to| name(&message.to) == Some(to));
        (by, kind) == (from, message.kind) && to
    }
}
