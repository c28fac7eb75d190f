//! The agents' side of the gateway: listeners, sessions, and the port to the engine.
//!
//! Owns everything between a socket and the engine: who may connect, how bytes become requests, how much may wait for a
//! slow agent. Knows nothing of inboxes, names or the mesh: a request that keeps the rules goes to the engine as it is,
//! over one bounded channel of [`ToEngine`], and events come back over a [`SessionPort`].

#[cfg(test)]
mod access_tests;
#[cfg(test)]
mod client_tests;
mod counters;
#[cfg(test)]
pub(crate) mod fake;
mod listener;
mod lobby;
mod port;
mod presence;
mod session;
mod strangers;
#[cfg(test)]
mod tests;
mod token;

pub use counters::Counters;
pub use listener::{Limits, Listen, ListenError, Listener};
pub use lobby::Lobby;
pub use port::{PushError, QueueBound, SessionEvents, SessionId, SessionPort, ToEngine, port};
pub use session::{MAX_BATCH, is_passing};
pub use token::{Pass, TokenCheck};
