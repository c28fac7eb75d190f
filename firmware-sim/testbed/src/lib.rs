//! Gateways on the simulated air, under one clock: gateways, their disks, their agents and the air between them, and one seed that
//! decides everything.
//!
//! Owns gateways among simulated devices, each with the real engine, the real store and the real sessions, in one thread, over
//! streams in memory, in simulated time. The world they stand in is a [`Site`], a generated field with relays, or that of a
//! scenario ([`play()`]). What is said in a site is a script's business, an ordinary future, or a [`Workload`]'s; in a scenario it
//! stands in its file. The parts: `world` puts a world together, `simulated_gateway` is one gateway and its power, `idle` knows
//! when nobody has anything to do, `drive` lets the next thing happen then; `agent` lives on one gateway, `record` keeps what agents
//! saw and `judge` says what of it should not have been; `workload` and `play` are scripts, `ledger` takes down the second, and
//! `playable` says which scenarios can be played. [`simulated`] is the air that goes on by the wall's clock, for gateways that do
//! as well; the [`demo`] runs on it.
//!
//! # Why one seed gives one run
//! One thread runs all tasks in the order in which they were woken. Only when every one of them waits does something
//! happen: first a gateway goes that was told to, then the next group of a disk, then, all disks being done, the next
//! event of the world. So no work takes simulated time, whatever it costs, and no two things race. There is no other
//! thread, no socket, and no timer but the world's: the runtime has none, and whoever asked it for one would panic.
//!
//! A script keeps it so if it throws no dice of its own: no `select!` without `biased`, no walk through a hash map, no
//! `watch` channel on which several wait (tokio wakes those in a random order), no other threads, no random numbers but
//! those of [`mesh_protocol::Rng`].
//!
//! ```
//! use mesh_agent::api::codec::Codec;
//! use mesh_agent::api::{Body, Hello, Name, SendRequest};
//! use mesh_testbed::Site;
//! use mesh_protocol::MessageType;
//!
//! let site = Site { relays: 4, gateways: 2, ..Site::default() };
//! let run = || {
//!     site.run(async |testbed| {
//!         let alice = testbed.connect(0, Hello::new(Name::new("alice").unwrap()), Codec::Json).await?;
//!         let mut bob = testbed.connect(1, Hello::new(Name::new("bob").unwrap()), Codec::Postcard).await?;
//!         let hello = SendRequest::new("bob".parse().unwrap(), MessageType::Task, Body::text("hello"));
//!         let sending = alice.handle().send(hello).await?;
//!         let message = bob.inbox().next_message().await?;
//!         Ok::<_, mesh_agent::ClientError>((message.body, sending.receipt().await?))
//!     })
//! };
//! let first = run().unwrap();
//! assert_eq!(first.result.as_ref().unwrap().0, Body::text("hello"));
//! let second = run().unwrap();
//! assert_eq!((first.trace, first.result.unwrap().1), (second.trace, second.result.unwrap().1));
//! ```

mod agent;
pub mod demo;
mod drive;
mod error;
mod idle;
mod judge;
mod ledger;
mod play;
mod playable;
mod record;
mod report;
mod run;
pub mod simulated;
mod simulated_gateway;
mod site;
mod testbed;
#[cfg(test)]
mod tests;
mod witness;
mod workload;
mod world;

pub use error::TestbedError;
pub use idle::Beside;
pub use play::{PlayError, Played, play, run_in};
pub use playable::Unplayable;
pub use report::{Arrival, RunReport, SeenReceipt};
pub use run::Ran;
pub use site::Site;
pub use testbed::Testbed;
pub use workload::{Absence, Ending, Workload};
