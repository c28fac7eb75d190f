//! The bearer's conformance suite against controllers, real and virtual.
//!
//! Owns the arms: where two bearers come from that hear each other. The checks are [`ble_bearer::conformance`]'s. An arm that
//! cannot run says why and counts as skipped, never as passed.

mod hci;

pub use hci::HciArm;
