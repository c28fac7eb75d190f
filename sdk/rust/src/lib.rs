//! Talk through a mesh gateway: an asynchronous client, and the types that agents and gateways have in common.
//!
//! ```no_run
//! use mesh_agent::api::SendRequest;
//! use mesh_agent::{Agent, MessageType};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let (handle, mut inbox) = Agent::builder("pump".parse()?).connect().await?.split();
//!
//! // Accepted: it is on this gateway's disk. Delivered: it is on the other one's.
//! let news = SendRequest::new("control".parse()?, MessageType::Notification, "the pump is on");
//! let receipt = handle.send(news).await?.receipt().await?;
//! println!("{}: {:?} after {:?} hops", receipt.id, receipt.outcome, receipt.hops);
//!
//! loop {
//!     // Asking for the next message acknowledges the one before.
//!     let message = inbox.next_message().await?;
//!     if message.kind == MessageType::Query {
//!         handle.send(SendRequest::answer(&message, "21.5 C")).await?;
//!     }
//! }
//! # }
//! ```
//!
//! [`Agent`] stays connected: it reconnects when its gateway was away, and no message is lost or doubled by that.
//! [`Client`] is one session, for those who want to decide what follows it. Both give a [`Handle`] for requests, cheap to
//! clone, and the [`Inbox`] that messages come from.
//!
//! Many things at once go through one handle:
//!
//! ```no_run
//! # use std::time::Duration;
//! # use mesh_agent::api::SendRequest;
//! # use mesh_agent::{Handle, MessageType, Priority};
//! # async fn example(handle: Handle) -> Result<(), Box<dyn std::error::Error>> {
//! let mut sent = Vec::new();
//! for n in 0..1_000 {
//!     let task = SendRequest::new("bob@0x0003".parse()?, MessageType::Task, format!("lamp {n} on"));
//!     // Waits only while too much is in flight.
//!     sent.push(handle.send(task.with_priority(Priority::High).within(Duration::from_secs(30))).await?);
//! }
//! for pending in sent {
//!     println!("{:?}", pending.receipt().await?.outcome);
//! }
//!
//! let question = |to: &str| Ok::<_, Box<dyn std::error::Error>>(SendRequest::new(to.parse()?, MessageType::Query, "how warm?"));
//! let (hall, attic) = tokio::join!(handle.query(question("hall")?), handle.query(question("attic")?));
//! println!("{:?} and {:?}", hall?.body.as_text(), attic?.body.as_text());
//!
//! handle.subscribe(vec!["kitchen".parse()?], None).await?;
//! println!("{} agents are known", handle.agents().await?.agents.len());
//! # Ok(())
//! # }
//! ```
//!
//! A gateway elsewhere is best spoken to over TLS (the feature `tls`): `tls:HOST:PORT` is an [`Endpoint`], and
//! [`Endpoint::known_by`] names the one gateway that is meant.
//!
//! [`api`] has the types of the agents' protocol and both codecs; the gateway uses the same ones. What the words mean
//! stands in `docs/agents.md`.

mod agent;
pub mod api;
mod client;
mod endpoint;
mod error;
mod fingerprint;
mod handle;
mod inbox;
mod known;
mod link;
mod pending;
mod tcp;
#[cfg(test)]
mod tests;
mod time;
#[cfg(feature = "tls")]
pub mod tls;

pub use agent::{Agent, AgentBuilder};
pub use client::Client;
pub use endpoint::{Endpoint, EndpointError};
pub use error::{Absence, ClientError};
pub use fingerprint::{Fingerprint, FingerprintError};
pub use handle::Handle;
pub use inbox::{Inbox, Incoming};
pub use known::{KnownError, KnownGateways};
pub use link::Connection;
pub use link::reconnect::Backoff;
pub use mesh_protocol::{Address, MessageId, MessageType, Priority};
pub use pending::Pending;
pub use tcp::{TcpError, connect_tcp, host_port};
pub use time::{Time, Wall};
