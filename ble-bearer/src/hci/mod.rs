//! Real controllers, over HCI: advertising and scanning through any transport that carries H4 packets.
//!
//! Owns the host's side. `Host` is a state machine without clock and IO; [`HciBearer`] runs it over whatever a [`Port`] opens.
//! Knows frames only as bytes.
//!
//! | file | what |
//! |---|---|
//! | `open`, `port`, `serial`, `usb` | names of adapters, and opening them |
//! | `bearer` | reading, writing, opening again |
//! | `host` | one command at a time, health and recovery |
//! | `setup` | what a controller can do, and making it ready |
//! | `advertiser`, `legacy`, `extended`, `tally`, `pace` | putting frames on the air |
//! | `examine` | what an adapter is worth |
//! | `command`, `event`, `parts`, `adv_data`, `packet` | bytes |

mod adv_data;
mod advertiser;
mod bearer;
mod command;
mod event;
mod examine;
mod extended;
mod host;
mod legacy;
mod open;
mod options;
mod pace;
mod packet;
mod parts;
mod port;
#[cfg(feature = "serial")]
mod serial;
mod setup;
mod tally;
#[cfg(feature = "usb")]
mod usb;

pub use bearer::HciBearer;
pub use examine::{Examination, ExamineError, examine, introduce, loss};
pub use open::{Open, OpenError, Stream};
pub use options::HciOptions;
pub use port::{BadPort, Port, adapters};
pub use setup::Adapter;

#[cfg(test)]
mod tests;
