//! Simulated devices: the real [`mesh_protocol::SmallNode`] with a little application, on the simulated air.
//!
//! Owns the devices, the worlds they stand in, the runs that measure them, and the virtual controllers through which other processes'
//! Bluetooth hosts join them. The air, the clock and the seats for gateways are [`ble_bearer::sim`]'s.
//!
//! ```
//! use firmware_sim::play::{StackKind, play};
//! use firmware_sim::scenario::Scenario;
//!
//! let scenario = Scenario::parse("pair.toml", r#"
//!     offered = "20s"
//!     layout.line = { nodes = 2, spacing = 5 }
//!     traffic = [{ from = 0, to = 1, periodic = { every = "5s" } }]
//! "#)?;
//! let result = play(&scenario, StackKind::Mesh, 1, false);
//! assert!(result.messages.iter().all(|message| message.outcome.as_deref() == Some("delivered")));
//! assert_eq!(result.trace, play(&scenario, StackKind::Mesh, 1, false).trace, "one seed, one trace");
//! # Ok::<(), firmware_sim::scenario::ScenarioError>(())
//! ```

pub mod bench;
pub mod capture;
pub mod chaos;
pub mod compare;
mod device;
pub mod fuzz;
pub mod parallel;
pub mod play;
pub mod record;
pub mod report;
pub mod results;
pub mod scenario;
pub mod serve;
pub mod stack;
mod trace;
pub mod validate;
pub mod virtual_controller;
pub mod world;

pub use device::{Delivered, Device, LocalClock, NodeSnapshot, Options, PostError, Posting, TraceEvent};
pub use trace::Trace;
