//! What a network stack is to a scenario, whichever it is: ours, or one to measure it against.
//!
//! Owns the traits [`Stack`] and [`StackNode`]. What they say to each other is in `message`, which stacks there are in `kind`. Who
//! sends what and when is the scenario's business, what becomes of an advert on the air the world's.

mod echo;
pub mod flood;
mod kind;
pub mod mesh;
mod message;
mod sets;
pub mod sig;

#[cfg(test)]
mod bus;

use ble_bearer::sim::{HostModel, Phy, RadioSpec, ScanPlan, Station};
use mesh_protocol::{Duration, Instant, Rng};

use self::mesh::FrameKeys;
use crate::scenario::{Flash, LongPhy, RadioSettings, Scenario, Stacks};

pub use kind::StackKind;
pub(crate) use kind::WithStack;
pub use message::{Arrival, Completion, Order, Refused, ReportedOutcome, Target};
pub use sets::Sets;

/// A station that takes messages and hands them over: a node of a stack, or what stands where a node may stand.
pub trait StackNode: Station {
    /// Takes a message; its number here. The world runs the station afterwards.
    ///
    /// # Errors
    /// [`Refused`], and nothing is sent.
    fn post(&mut self, now: Instant, order: &Order) -> Result<u32, Refused>;

    /// What reached the application since last asked, in order.
    fn arrivals(&mut self) -> Vec<Arrival>;

    /// What was reported to senders since last asked, in order. Stacks without receipts have none.
    fn completions(&mut self) -> Vec<Completion>;

    /// Counters of this stack, by name: discards, relayed, retries. For reports.
    fn counters(&self) -> Vec<(&'static str, u64)>;
}

/// A station that can have faults.
pub trait Faulty: Station {
    /// Power is cut: RAM is lost, and `flash` says what becomes of a write that it interrupts. Until the restart the world neither
    /// runs it nor lets it hear.
    fn cut(&mut self, now: Instant, flash: Flash);

    /// Power is back.
    fn restart(&mut self, now: Instant);

    /// Its clock jumps ahead.
    fn jump(&mut self, now: Instant, by: Duration);
}

/// A network stack: everything that differs from one to the next, beside what its nodes do. One more stack is a module with a
/// type that implements this, and its line of the table in `kind`.
pub trait Stack: StackNode + Faulty + Sized {
    /// Its name on the command line and in results.
    const NAME: &'static str;
    /// Its name in the headings of reports.
    const TITLE: &'static str = Self::NAME;
    /// The AD structure around its frames, behind the length: type, and for manufacturer data the company.
    const AD_TYPE: &'static [u8];
    /// Whether its nodes need to know when an advertising set is free again.
    const NEEDS_SENT: bool;
    /// Whether every loss is reported to its sender before the deadline, so that one that is not breaks a promise.
    const REPORTS_LOSSES: bool;

    /// How many advertising sets a node's controller has.
    #[must_use]
    fn sets(_settings: &Stacks) -> usize {
        1
    }

    /// Whether the outcome is reported to the sender of a message with a body of so many bytes, to one node or to everyone.
    fn reports(bytes: u32, to_one: bool) -> bool;

    /// Why the node with the number `sender` sends a frame: `data`, `ack`, `relay`...; `other` for what is none of this stack.
    fn cause(keys: &FrameKeys, sender: u32, frame: &[u8]) -> &'static str;

    /// From which node to which node a frame carries a part of a message; `None` for one that carries none, or not to one node.
    fn route(keys: &FrameKeys, frame: &[u8]) -> Option<(u32, u32)>;

    /// Which node sealed a frame, and under which number; `None` for what is none of this stack.
    fn origin(keys: &FrameKeys, frame: &[u8]) -> Option<(u32, u32)>;

    /// The nodes of a scenario, by number.
    fn nodes(scenario: &Scenario, seed: u64) -> impl Fn(u32) -> Self;

    /// The controller of a node with such a radio.
    #[must_use]
    fn radio(radio: &RadioSettings, settings: &Stacks) -> RadioSpec {
        usual_radio::<Self>(radio, settings)
    }
}

/// The controller of a node with such a radio, driven by firmware.
fn usual_radio<S: Stack>(radio: &RadioSettings, settings: &Stacks) -> RadioSpec {
    RadioSpec {
        tx_dbm: radio.tx_dbm,
        sensitivity_dbm: radio.sensitivity_dbm,
        scan: ScanPlan { interval: radio.scan_interval, window: radio.scan_window },
        extended: radio.extended.then_some(match radio.phy {
            LongPhy::OneM => Phy::OneM,
            LongPhy::TwoM => Phy::TwoM,
            LongPhy::Coded => Phy::CodedS8,
        }),
        sets: S::sets(settings),
        // The length, and what stands behind it.
        ad_header: 1 + S::AD_TYPE.len(),
        reports_sent: S::NEEDS_SENT,
        // They have their copies timed by the controller, whatever drives it.
        host: HostModel::Firmware,
    }
}

/// What seeds each node of a scenario, by number.
pub(crate) fn node_seeds(seed: u64) -> impl Fn(u32) -> u64 {
    let seeds = Rng::stream(seed, "nodes");
    move |number| seeds.clone().fork(u64::from(number)).next_u64()
}

/// Whether a node of a scenario relays.
fn relays(scenario: &Scenario, number: u32) -> bool {
    scenario.nodes.get(&number).and_then(|node| node.relay).unwrap_or(true)
}

/// The traits of a stack whose nodes know no world and say everything with methods of the same names.
macro_rules! station {
    ($stack:ty) => {
        impl ble_bearer::sim::Station for $stack {
            fn receive(&mut self, now: Instant, frame: &[u8], rssi: i8) -> bool {
                Self::receive(self, now, frame, rssi)
            }

            fn run(&mut self, now: Instant, radio: &mut ble_bearer::sim::Radio<'_>) -> Option<Instant> {
                Self::run(self, now, radio)
            }

            fn sent(&mut self, now: Instant, set: usize) {
                Self::sent(self, now, set);
            }
        }

        impl crate::stack::StackNode for $stack {
            fn post(&mut self, now: Instant, order: &Order) -> Result<u32, Refused> {
                Self::post(self, now, order)
            }

            fn arrivals(&mut self) -> Vec<Arrival> {
                Self::arrivals(self)
            }

            fn completions(&mut self) -> Vec<Completion> {
                Self::completions(self)
            }

            fn counters(&self) -> Vec<(&'static str, u64)> {
                Self::counters(self)
            }
        }

        /// What RAM held is gone with the power; what flash keeps is the stack's business. It has no clock of its own.
        impl crate::stack::Faulty for $stack {
            fn cut(&mut self, _now: Instant, _flash: crate::scenario::Flash) {
                self.power_cut();
            }

            fn restart(&mut self, _now: Instant) {}

            fn jump(&mut self, _now: Instant, _by: mesh_protocol::Duration) {}
        }
    };
}

use station;
