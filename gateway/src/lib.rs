//! A mesh gateway: agents over TCP, messages over the mesh.
//!
//! One task, the [`engine`], owns the mesh node and the bearer. Agents' sessions ([`agents`]) reach it over one bounded
//! channel; what it promises is in the [`store`] first. A [`Gateway`] puts these together from a [`Plan`], over any bearer and
//! any clock. The program `mesh-gateway` runs it on a radio; `mesh-testbed` runs several of them with their agents in simulated time.
//!
//! ```no_run
//! # async fn example() -> Result<(), mesh_agent::ClientError> {
//! use mesh_agent::api::{Body, Destination, Hello, Name, SendRequest};
//! use mesh_agent::{Client, Endpoint};
//! use mesh_protocol::MessageType;
//!
//! let me = Hello::new(Name::new("planner").unwrap());
//! let client = Client::connect(&Endpoint::default(), me).await?;
//! let echo = Destination::agent(Name::new("echo").unwrap());
//! let question = SendRequest::new(echo, MessageType::Query, Body::text("hello?"));
//! println!("{:?}", client.handle().query(question).await?.body.as_text());
//! # Ok(())
//! # }
//! ```

pub mod access;
pub mod agents;
pub mod datadir;
pub mod engine;
mod gateway;
pub mod log;
pub mod network;
pub mod peering;
pub mod radio;
pub mod settings;
mod share;
pub mod store;

pub use access::Audit;
pub use agents::{Limits, Listen, TokenCheck};
pub use engine::{Engine, EngineConfig, EngineError, Membership};
pub use gateway::{COMMANDS, Ended, Gateway, Plan, StartError};
pub use network::Network;
pub use settings::Settings;
pub use store::{Store, StoreError};
