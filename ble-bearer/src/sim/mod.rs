//! The simulated air, and adapters and devices on it.
//!
//! What it is: stations with positions, a medium with real airtimes, scan windows, half duplex, collisions and link
//! loss ([`air`](Air)), the delays and queues of a real controller ([`Controller`]), all driven by one ordered
//! queue of events from one seed ([`World`]). Devices are state machines ([`Station`]); an asynchronous program, the
//! gateway, takes a seat and gets a [`SimBearer`] and a [`SimClock`].
//!
//! What it is not: a model of bits and of radio waves. Nobody moves. It never asks for the time or for randomness; only
//! [`Pacer`] knows a clock on the wall, and only to decide when to go on.
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
//! alice.try_send(link, b"hello")?;
//!
//! // Time stands still while a bearer has something to say: so listen to both.
//! let heard = tokio::select! { event = bob.next_event() => event?, event = alice.next_event() => event? };
//! assert!(matches!(heard, BearerEvent::Frame { bytes, .. } if *bytes == *b"hello"));
//! assert!(clock.now().as_micros() < 15_000);
//! # Ok(())
//! # }
//! ```

mod advert;
mod air;
mod controller;
mod flight;
mod geometry;
mod hearer;
mod host;
mod links;
mod lockstep;
mod pace;
mod power;
mod queue;
mod receiver;
mod seat;
mod spec;
mod station;
mod wlan;
mod world;

#[cfg(test)]
mod tests;

pub use crate::airtime::{CHANNELS, LEGACY_ADV_DATA, Phy, Shape};
pub use advert::{ADV_DATA_MAX, AdvAddress, AdvPdu, Advert, Cargo};
pub use air::{Air, AirCounters, AirSettings, Delivery};
pub use controller::{
    ADV_DELAY, ADV_INTERVAL, COMMAND_LATENCY, Controller, MIN_GAP, REPORT_LATENCY, link_info,
};
pub use geometry::{Link, Position, StationId, Topology};
pub use hearer::Hearer;
pub use host::{HCI_HOLD, HostModel};
pub use lockstep::Still;
pub use pace::Pacer;
pub use receiver::TURNAROUND;
pub use seat::{Hold, SimBearer, SimClock};
pub use spec::{CHANNEL_SWITCH, RadioSpec, SCAN_WINDOW, ScanPlan};
pub use station::{Observer, Radio, Reception, ReceptionVerdict, Station};
pub use wlan::Wlan;
pub use world::{Step, World};
