//! The agents' side of the gateway: listeners, sessions, and the port to the engine.
//!
//! Owns everything between a socket and the engine: who may connect, how bytes become requests, how much may wait for a
//! slow agent. Knows nothing of inboxes, names or the mesh: a request that keeps the rules goes to the engine as it is,
//! over one bounded channel of [`ToEngine`], and events come back over a [`SessionPort`].

mod acceptor;
#[cfg(test)]
mod access_tests;
#[cfg(test)]
mod client_tests;
mod common;
mod counters;
#[cfg(test)]
pub(crate) mod fake;
mod hello;
mod inbound;
mod limits;
mod listen;
mod listener;
mod memory_listener;
mod outbound;
mod passing;
mod port;
mod presence;
mod requests;
mod rules;
mod session;
#[cfg(test)]
mod tests;
mod token;
mod tokens;
mod unauthenticated;
mod unix_socket;

pub use counters::Counters;
pub use limits::Limits;
pub use listen::{Listen, ListenError};
pub use listener::Listener;
pub use memory_listener::MemoryListener;
pub use passing::is_passing;
pub use port::{PushError, QueueBound, SessionEvents, SessionId, SessionPort, ToEngine, port};
pub use requests::MAX_BATCH;
pub use token::{NotAdmitted, Pass, TokenCheck};
