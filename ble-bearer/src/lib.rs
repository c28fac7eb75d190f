//! Getting frames on and off the air.
//!
//! Owns the [`Bearer`] trait, the [`conformance`] suite that every bearer must pass, wrappers, and, with the feature `sim`,
//! the simulated air. Knows frames only as bytes: what they mean is `mesh-protocol`'s business, who runs the node is the
//! gateway's.

pub mod airtime;
mod bearer;
#[cfg(feature = "bluez")]
#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "bluetoothd is real: it lives in the wall's time, and its interface has hash maps"
)]
pub mod bluez;
#[expect(clippy::disallowed_methods, reason = "one of the two clocks is the wall's")]
mod clock;
pub mod conformance;
#[expect(clippy::disallowed_methods, reason = "a controller is real: it lives in the wall's time")]
pub mod hci;
mod health;
mod retry;
#[cfg(feature = "sim")]
pub mod sim;
mod wrap;

pub use bearer::{Bearer, BearerError, BearerEvent, FrameBytes, Full, RADIO_LINK};
pub use clock::{Clock, WallClock};
pub use health::{AdapterState, Health};
pub use retry::Retry;
pub use wrap::{Trace, Traced};
