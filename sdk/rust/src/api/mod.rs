//! What agents and the gateway say to each other: the types of the agents' protocol, one set for both codecs.
//!
//! Owns the words ([`Request`], [`Event`]) and their two written forms: JSON for people and for any language,
//! postcard for speed. It does no IO (that is [`crate::Client`]'s and the gateway's) and decides nothing: whether a name is
//! taken or a receiver known is for the engine to say.
//!
//! A type has two forms because the two readers differ. In JSON an absent value is left out, addresses are text, and
//! every object says what it is (`"op"` in requests, `"ev"` in events). In postcard every field is written, in the
//! order given here, and an enum starts with its number. Both are derived from the same definition: the JSON form by
//! serde's attributes on the type, the binary form by listing the fields in `two_forms!`.
//!
//! ```
//! use mesh_agent::api::{Request, SendRequest};
//!
//! let line = r#"{"op":"send","ref":1,"to":"bob@0x0003","type":"TASK","text":"wash up"}"#;
//! let Request::Send(send) = serde_json::from_str(line)? else { unreachable!() };
//! assert_eq!(send.body.as_text(), Some("wash up"));
//! # Ok::<(), serde_json::Error>(())
//! ```

mod body;
pub mod codec;
mod deliveries;
mod destination;
mod error;
mod event;
mod name;
mod operator;
mod outcome;
mod report;
mod request;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(feature = "schema")]
pub mod schema;
#[cfg(feature = "schema")]
mod schema_words;
mod send;
#[cfg(test)]
mod tests;
mod way;

pub use body::Body;
pub use deliveries::{Airtime, Deliveries, Figures, PeerDeliveries};
pub use destination::{Destination, DestinationError, MessageRef, MessageRefError};
pub use error::{ErrorCode, ErrorEvent, Refusal};
pub use event::{Accepted, Done, Event, Goodbye, Message, Pong, Receipt, Subscribed, Welcome};
pub use name::{Name, NameError};
pub use operator::{AgentForget, LinkAdd, LinkRemove, RouteAdd, RouteRemove};
pub use outcome::Outcome;
pub use report::{
    AgentEntry, Agents, Health, LinkState, Peer, PeerLink, Peers, Route, RouteOrigin, Routes, Status,
    StatusAgents, StatusNetwork, StatusRadio, StatusStore,
};
pub use request::{Ack, Ask, Bye, Credit, Hello, Request, Subscribe, Token, Unsubscribe};
pub use send::{ReceiptRequest, SendRequest};
pub use way::{AskNode, AskWhy, Detail, NodePong, Step, StepKind, Timeline, Trace, TraceHop, WaitedFor};

/// The longest body of a message, in bytes, before any encoding.
pub const MAX_BODY: usize = 65_536;
/// The longest name of an agent or a group, in bytes. A guess: longer than host names in use, short enough for a frame.
pub const MAX_NAME: usize = 32;
/// The most groups that one `subscribe` or `unsubscribe` may name. A guess.
pub const MAX_GROUPS: usize = 64;
/// The longest deadline of a message, in milliseconds: a day. A guess: what waits longer is for a store elsewhere.
pub const MAX_DEADLINE_MS: u32 = 86_400_000;
/// How long an answer of a node is waited for unless asked otherwise, in milliseconds. A guess: some round trips over many hops.
pub const PROBE_TIMEOUT_MS: u32 = 3_000;
/// How long it may be waited for at the most, in milliseconds.
pub const MAX_PROBE_TIMEOUT_MS: u32 = 10_000;
/// The credits of a session that does not say how many it wants. A guess: one burst of small messages.
pub const DEFAULT_CREDITS: u32 = 256;

/// Gives a struct its two forms: JSON as its serde attributes say, and for a binary codec every field in the order
/// listed. The struct derives `Serialize` and `Deserialize` with `#[serde(remote = "Self")]`.
macro_rules! two_forms {
    ($name:ident { $($field:ident),* $(,)? }) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    return Self::serialize(self, serializer);
                }
                let Self { $($field),* } = self;
                ($($field,)*).serialize(serializer)
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    return Self::deserialize(deserializer);
                }
                let ($($field,)*) = serde::Deserialize::deserialize(deserializer)?;
                Ok(Self { $($field),* })
            }
        }
    };
}
pub(crate) use two_forms;
