//! Our own virtual controllers: the bearer's real HCI code on the simulated air.
//!
//! Owns a served room for each check.

use ble_bearer::WallClock;
use ble_bearer::conformance::{Arm, Pair};
use ble_bearer::hci::{HciBearer, HciOptions, Port};
use firmware_sim::scenario::Scenario;
use firmware_sim::serve::{Options, Server};
pub use firmware_sim::virtual_controller::ControllerKind;

use crate::HciArm;

/// Two places in one room, and nobody else.
const ROOM: &str = r#"
settle = "1s"
offered = "1h"
traffic = []
layout.line = { nodes = 2, spacing = 2 }
nodes = [
    { number = 0, gateway = true },
    { number = 1, gateway = true },
]
"#;

/// Two virtual controllers of one kind.
#[derive(Debug)]
pub struct VirtualArm {
    kind: ControllerKind,
    options: HciOptions,
    seed: u64,
    server: Option<Server>,
}

impl VirtualArm {
    /// An arm whose first room has this seed.
    #[must_use]
    pub const fn new(kind: ControllerKind, options: HciOptions, seed: u64) -> Self {
        Self { kind, options, seed, server: None }
    }
}

impl Arm for VirtualArm {
    type Bearer = HciBearer<Port, WallClock>;
    type Clock = WallClock;

    async fn pair(&mut self) -> Result<Pair<Self::Bearer, WallClock>, String> {
        if let Some(server) = self.server.take() {
            server.stop().await;
        }
        let scenario = Scenario::parse("room.toml", ROOM).map_err(|error| error.to_string())?;
        let options = Options { controller: self.kind, seed: self.seed, ..Options::default() };
        self.seed += 1;
        let server = Server::bind(&scenario, options).await.map_err(|error| error.to_string())?;
        let port = Port::Tcp(server.local_addr().to_string());
        self.server = Some(server);
        HciArm::new([port.clone(), port], self.options).pair().await
    }
}
