//! Two controllers over HCI.
//!
//! Owns opening both for each check. That they hear each other, and nobody else is on the air, is for whoever names them.

use ble_bearer::WallClock;
use ble_bearer::conformance::{Arm, Pair};
use ble_bearer::hci::{HciBearer, HciOptions, Port};

/// Two ports whose controllers hear each other.
#[derive(Debug)]
pub struct HciArm {
    ports: [Port; 2],
    options: HciOptions,
}

impl HciArm {
    /// An arm of these two.
    #[must_use]
    pub const fn new(ports: [Port; 2], options: HciOptions) -> Self {
        Self { ports, options }
    }
}

impl Arm for HciArm {
    type Bearer = HciBearer<Port, WallClock>;
    type Clock = WallClock;

    async fn pair(&mut self) -> Result<Pair<Self::Bearer, WallClock>, String> {
        let clock = WallClock::start();
        let [a, b] = self.ports.clone();
        let other = HciOptions { address: !self.options.address, ..self.options };
        let a = HciBearer::open(a, self.options, clock).await.map_err(|error| error.to_string())?;
        let b = HciBearer::open(b, other, clock).await.map_err(|error| error.to_string())?;
        Ok(Pair { a, b, clock })
    }
}
