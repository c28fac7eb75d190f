//! The bearer's conformance suite against controllers, real and virtual.
//!
//! Owns the arms: where two bearers come from that hear each other. The checks are [`ble_bearer::conformance`]'s. An arm that
//! cannot run says why and counts as skipped, never as passed.
//!
//! | arm | controllers | runs |
//! |---|---|---|
//! | simulated adapter | none: a seat on the simulated air | always, with `ble-bearer`'s own tests |
//! | virtual controllers | our own, over TCP, on the simulated air | always |
//! | RootCanal | Android's, over TCP | where `MESH_ROOTCANAL` names its program (`./ci.sh hw`) |
//! | virtual machine | the kernel's and BlueZ's emulator's | `./ci.sh vm` |
//! | physical | two adapters of this machine | where `MESH_HW_ADAPTER` names them: `hci0,hci1` |

mod hci;
#[cfg(feature = "bluez")]
pub mod meshd;
pub mod process;
mod rootcanal;
mod virtual_controllers;

pub use hci::HciArm;
pub use rootcanal::RootCanal;
pub use virtual_controllers::{ControllerKind, VirtualArm};
