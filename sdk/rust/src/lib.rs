//! Talk through a mesh gateway: an asynchronous client, and the words that agents and gateways have in common.
//!
//! ```no_run
//! use mesh_agent::api::{Body, Hello, SendRequest};
//! use mesh_agent::{Client, Endpoint};
//! use mesh_protocol::MessageType;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect(&Endpoint::default(), Hello::new("alice".parse()?)).await?;
//! let (handle, mut inbox) = client.split();
//! let mut sending = handle.send(SendRequest::new("bob".parse()?, MessageType::Task, Body::text("wash up"))).await?;
//! println!("accepted as {}", sending.accepted().await?.id);
//! let message = inbox.next_message().await?;
//! println!("{} says {:?}", message.from, message.body.as_text());
//! # Ok(())
//! # }
//! ```
//!
//! [`Client`] is one session. [`Client::split`] gives a [`Handle`] to ask with, cheap to clone, and the [`Inbox`] that
//! messages come from. [`api`] has the types of the agents' protocol and both codecs; the gateway uses the same ones.

pub mod api;
mod client;
mod time;

pub use client::{Client, ClientError, Endpoint, EndpointError, Handle, Inbox, Incoming, Pending};
pub use time::{Time, Wall};
