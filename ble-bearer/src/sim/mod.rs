//! The simulated air, and adapters and devices on it.
//!
//! What it is: stations with positions, a medium with real airtimes, scan windows, half duplex, collisions and link
//! loss ([`air`](Air)), the delays and queues of a real controller ([`Controller`]), all driven by one ordered
//! queue of events from one seed ([`World`]). Devices are state machines ([`Station`]); an asynchronous program, the
//! gateway, takes a seat and gets a [`SimBearer`] and a [`SimClock`].
//!
//! What it is not: a model of bits and of radio waves. There is no capture, fading, interference from elsewhere or
//! extended advertising yet, clocks do not drift, nobody moves. It never asks for the time or for randomness; only
//! [`Pacer`] knows a clock on the wall, and only to decide when to go on.

mod air;
mod controller;
mod geometry;
mod lockstep;
mod pace;
mod queue;
mod seat;
mod station;
mod world;

#[cfg(test)]
mod tests;

pub use air::{Air, AirCounters, CHANNELS, Heard, SCAN_WINDOW, TURNAROUND, event_airtime, pdu_airtime};
pub use controller::{
    ADV_DELAY, ADV_INTERVAL, COMMAND_LATENCY, Controller, MIN_GAP, REPORT_LATENCY, link_info,
};
pub use geometry::{Link, Position, StationId, Topology};
pub use lockstep::Still;
pub use pace::Pacer;
pub use seat::{Hold, SIM_LINK, SimBearer, SimClock};
pub use station::{Observer, Radio, Station};
pub use world::{Step, World};
