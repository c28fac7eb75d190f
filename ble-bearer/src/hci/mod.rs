//! Real controllers, over HCI: advertising and scanning through any transport that carries H4 packets.
//!
//! Owns the host's side. [`Host`] is a state machine without clock and IO; [`HciBearer`] runs it over whatever a [`Port`] opens.
//! Knows frames only as bytes.
//!
//! | file | what |
//! |---|---|
//! | `port`, `serial`, `usb` | names of adapters, and opening them |
//! | `bearer` | reading, writing, opening anew |
//! | `host` | one command at a time, health and repair |
//! | `setup` | what a controller can do, and making it ready |
//! | `advert`, `legacy`, `extended`, `pace` | the schedulers |
//! | `examine` | what an adapter is worth |
//! | `command`, `event`, `parts`, `packet` | bytes |

mod advert;
mod bearer;
pub mod command;
pub mod event;
mod examine;
mod extended;
mod host;
mod legacy;
mod options;
mod pace;
pub mod packet;
mod parts;
mod port;
#[cfg(feature = "serial")]
mod serial;
mod setup;
#[cfg(feature = "usb")]
mod usb;

pub use bearer::HciBearer;
pub use examine::{Examination, ExamineError, examine, introduce, loss};
pub use host::{Grade, HCI_LINK, Host, RELAPSE, SILENCE, SILENCE_MOST};
pub use options::{ADV_DELAY, ADV_INTERVAL, COMMAND_TIMEOUT, HciOptions, SCAN_INTERVAL, Scan};
pub use port::{BadPort, Open, OpenError, Port, Stream, adapters};
pub use setup::Adapter;

#[cfg(test)]
mod tests;
