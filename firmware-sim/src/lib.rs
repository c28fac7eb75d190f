//! Simulated devices: the real [`mesh_protocol::SmallNode`] with a little application, on the simulated air.
//!
//! Owns the devices, the layouts they stand in and the runs that measure them. The air, the clock and the seats for
//! gateways are [`ble_bearer::sim`]'s.
//!
//! ```
//! use firmware_sim::{Layout, Network, Run};
//!
//! let run = Run { nodes: 12, seed: 1, seconds: 20, messages: 5, ..Run::default() };
//! let report = run.execute();
//! assert_eq!(report.delivered, 5);
//! assert_eq!(report.trace, run.execute().trace, "one seed, one trace");
//! # let _ = (Layout::field(3, 1), Network::random(1));
//! ```

pub mod chaos;
mod device;
pub mod fuzz;
mod layout;
mod network;
pub mod results;
mod run;
pub mod scenario;
pub mod stack;
mod trace;

pub use device::{Delivered, Device, Letter, LocalClock, Look, Note, Options};
pub use layout::Layout;
pub use network::Network;
pub use run::{Report, Run};
pub use trace::Trace;
