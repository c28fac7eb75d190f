//! A network of simulated relays, ready for gateways to take their seats.
//!
//! Owns addresses and names of the relays. Gateways have the first leases, two unless told otherwise.

use ble_bearer::sim::{Observer, Station, Topology, World};
use mesh_protocol::{Address, Instant, NetKey, Rng};

use crate::{Device, Layout, layout::RADIUS};

/// The epoch of every simulated network.
const EPOCH: u32 = 1;
/// The agents that simulated nodes carry: near the western gateway, in the middle, and near the eastern gateway.
const ECHOES: [&str; 3] = ["echo-near", "echo", "echo-far"];

/// The key and the places of a simulated network.
#[derive(Clone, Debug)]
pub struct Network {
    key: [u8; 16],
    gateways: u16,
}

impl Network {
    /// A network with this key, and leases for two gateways.
    #[must_use]
    pub const fn new(key: [u8; 16]) -> Self {
        Self { key, gateways: 2 }
    }

    /// The same with leases for so many gateways; the relays have those behind them.
    #[must_use]
    pub const fn with_gateways(self, gateways: u16) -> Self {
        Self { gateways, ..self }
    }

    /// A network whose key follows from a seed: for runs that are to be repeated, and for nothing else.
    #[must_use]
    pub fn random(seed: u64) -> Self {
        let mut rng = Rng::stream(seed, "network key");
        let mut key = [0; 16];
        for half in key.chunks_exact_mut(8) {
            half.copy_from_slice(&rng.next_u64().to_le_bytes());
        }
        Self::new(key)
    }

    /// The key.
    #[must_use]
    pub const fn key(&self) -> [u8; 16] {
        self.key
    }

    /// The epoch.
    #[must_use]
    pub const fn epoch(&self) -> u32 {
        EPOCH
    }

    /// The address of gateway `n`, from 0.
    #[must_use]
    pub const fn gateway_address(&self, n: u16) -> Address {
        Address::new(1 + n)
    }

    /// The address of relay `n`.
    #[must_use]
    pub const fn relay_address(&self, n: u16) -> Address {
        Address::new(1 + self.gateways + n)
    }

    /// Names of the agents that answer queries, the one nearest to the western gateway first.
    #[must_use]
    pub const fn echoes(&self) -> [&'static str; 3] {
        ECHOES
    }

    /// The link rule of a field: everyone within reach, and a share of the advertising events lost on each link.
    #[must_use]
    pub const fn topology(&self, loss_ppm: u32) -> Topology {
        Topology::Radius { metres: RADIUS, loss_ppm }
    }

    /// Puts the relays of a layout into a world.
    pub fn populate<S, O>(&self, world: &mut World<S, O>, layout: &Layout, seed: u64)
    where
        S: Station + From<Device>,
        O: Observer<S>,
    {
        let key = NetKey::new(self.key);
        let mut rng = Rng::stream(seed, "relays");
        for (n, position) in layout.relays.iter().enumerate() {
            let names = layout
                .landmarks
                .iter()
                .zip(ECHOES)
                .filter(|(landmark, _)| **landmark == n)
                .map(|(_, name)| name.to_owned())
                .collect();
            let address = self.relay_address(n as u16);
            let device = Device::new(Instant::ZERO, address, &key, EPOCH, rng.next_u64(), names);
            world.add(*position, device.into());
        }
    }
}
