//! How much of the gateway the holders of one token may take, all of them together.
//!
//! Owns the defaults: a token that is limited in any way is limited in this one too, and one that allows everything in none. Sessions
//! are counted where agents connect, the rest by the engine.

use mesh_agent::api::Name;
use mesh_protocol::Duration;

use super::Grant;

/// Agents of a token for names that begin so, and of one for any name: a fleet that shares a token. A guess.
const FLEET: u32 = 64;
/// Sessions beside one for each agent: without a name, or taking over from one that is not known to be gone. A guess.
const SPARE: u32 = 4;
/// Groups of all its agents together: of 256 that a gateway hears. A guess.
const GROUPS: u32 = 16;
/// Messages that wait, on their way or in inboxes here: a tenth of what waits for the air at most.
const MESSAGES: u32 = 1_000;
/// Bytes of their bodies: an eighth of it.
const BYTES: u32 = 4 * 1024 * 1024;
/// The longest deadline. A guess: an hour is far more than the air takes, and not the day that fills the queue.
const DEADLINE_S: u32 = 3_600;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Sessions at the same time.
    pub sessions: u32,
    /// Agents that the gateway knows.
    pub agents: u32,
    /// Groups of all of them, each agent's counted.
    pub groups: u32,
    /// Messages that wait, on their way or in inboxes here.
    pub messages: u32,
    /// Bytes of their bodies.
    pub bytes: u32,
    /// The longest deadline, in seconds.
    pub deadline_s: u32,
}

impl Quota {
    /// The longest deadline.
    #[must_use]
    pub const fn deadline(&self) -> Duration {
        Duration::from_secs(self.deadline_s as u64)
    }
}

/// The token that a session came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// What it is called.
    pub token: Name,
    /// How much its holders may take; `None`: as much as anyone.
    pub quota: Option<Quota>,
}

impl Grant {
    /// How much its holders may take; `None` for a token that allows everything, and for an operator's that says nothing of it.
    #[must_use]
    pub fn quota(&self) -> Option<Quota> {
        let Self { max_sessions, max_agents, max_groups, max_messages, max_bytes, max_deadline_s, .. } =
            *self;
        let said = [max_sessions, max_agents, max_groups, max_messages, max_bytes, max_deadline_s];
        let is_said = said.iter().any(Option::is_some);
        if !is_said && (self.operator || !self.is_limited()) {
            return None;
        }
        let names = u32::try_from(self.names.len()).unwrap_or(FLEET);
        let open = self.names.is_empty() || self.names.iter().any(|name| name.is_prefix());
        let agents = max_agents.unwrap_or(if open { FLEET } else { names });
        Some(Quota {
            sessions: max_sessions.unwrap_or(agents.saturating_add(SPARE)),
            agents,
            groups: max_groups.unwrap_or(GROUPS),
            messages: max_messages.unwrap_or(MESSAGES),
            bytes: max_bytes.unwrap_or(BYTES),
            deadline_s: max_deadline_s.unwrap_or(DEADLINE_S),
        })
    }

    /// Whether it allows less than everything in what it says of names and messages.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        !self.names.is_empty()
            || !self.to.is_empty()
            || self.max_priority.is_some()
            || self.rate.is_some()
            || self.max_body.is_some()
            || !self.broadcast
    }
}
