//! Getting frames on and off the air.
//!
//! Owns the [`Bearer`] trait, the [`conformance`] suite that every bearer must pass, wrappers, and the simulated
//! air ([`sim`]). Knows frames only as bytes: what they mean is `mesh-protocol`'s business, who runs the node is the
//! gateway's.
//!
//! # Example
//! Two adapters on simulated air, and a frame between them:
//! ```
//! use ble_bearer::sim::{Pacer, Position, Topology, World};
//! use ble_bearer::{Bearer, BearerEvent, Clock};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let in_one_room = Topology::Radius { metres: 10.0, loss_ppm: 0 };
//! let mut world = World::<std::convert::Infallible>::new(1, in_one_room);
//! let (_, mut alice, clock) = world.seat(Position::new(0.0, 0.0));
//! let (_, mut bob, _) = world.seat(Position::new(5.0, 0.0));
//! let pacer = Pacer::new(world, None); // as fast as it goes
//! tokio::spawn(async move { pacer.run().await });
//!
//! let BearerEvent::LinkUp { link, .. } = alice.next_event().await? else { panic!("not up") };
//! bob.next_event().await?;
//! alice.try_send(link, b"hello", 1)?;
//!
//! // Time stands still while a bearer has something to say: so listen to both.
//! let heard = tokio::select! { event = bob.next_event() => event?, event = alice.next_event() => event? };
//! assert!(matches!(heard, BearerEvent::Frame { bytes, .. } if *bytes == *b"hello"));
//! assert!(clock.now().as_micros() < 15_000);
//! # Ok(())
//! # }
//! ```

pub mod airtime;
mod bearer;
#[cfg(feature = "bluez")]
pub mod bluez;
mod clock;
pub mod conformance;
pub mod hci;
mod health;
mod retry;
pub mod sim;
mod wrap;

pub use bearer::{Bearer, BearerError, BearerEvent, FrameBytes, Full};
pub use clock::{Clock, WallClock};
pub use health::{AdapterState, Health};
pub use retry::Retry;
pub use wrap::{Lossy, Trace, Traced};
