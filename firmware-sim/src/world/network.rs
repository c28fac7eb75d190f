//! The key and the addresses of a simulated network.
//!
//! Owns addresses and names of the relays of a field. Gateways have the first leases, two by default. Several simulated airs
//! may be islands of one network: each then has addresses of its own, and numbers that no earlier run of it has used.

use mesh_protocol::frame::SEQ_MAX;
use mesh_protocol::{Address, Rng};

/// The epoch of every simulated network.
const EPOCH: u32 = 1;
/// Addresses of an island: more than its nodes and gateways.
const ISLAND_ADDRESSES: u16 = 1_024;
/// The most islands of one network: what there are addresses for.
pub const ISLANDS: u16 = Address::LAST_NODE.bits() / ISLAND_ADDRESSES;
/// SEQs and message numbers of each device in one run: days of one, at the rate of a relay that also answers.
const NUMBERS: u32 = 1 << 17;
/// The most runs of an island with one key: what there are SEQs for.
pub const RUNS: u16 = (SEQ_MAX / NUMBERS) as u16;
/// The agents that simulated nodes carry: near the western gateway, in the middle, and near the eastern gateway.
const ECHOES: [&str; 3] = ["echo-near", "echo", "echo-far"];

/// The key and the addresses of a simulated network.
#[derive(Clone, Debug)]
pub struct Network {
    key: [u8; 16],
    gateways: u16,
    island: u16,
    run: u16,
}

impl Network {
    /// A network with this key, and leases for two gateways.
    #[must_use]
    pub const fn new(key: [u8; 16]) -> Self {
        Self { key, gateways: 2, island: 1, run: 0 }
    }

    /// Island `n` of several with one key, 1 to [`ISLANDS`], for the `run`th time, 0 to [`RUNS`] less one.
    #[must_use]
    pub const fn island(self, n: u16, run: u16) -> Self {
        assert!(
            n >= 1 && n <= ISLANDS && run < RUNS,
            "there are not so many islands, or not so many runs of one"
        );
        Self { island: n, run, ..self }
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
        Address::new((self.island - 1) * ISLAND_ADDRESSES + 1 + n)
    }

    /// The address of relay `n`.
    #[must_use]
    pub const fn relay_address(&self, n: u16) -> Address {
        self.gateway_address(self.gateways + n)
    }

    /// SEQs and message numbers below this were used by earlier runs of this island.
    pub(super) fn used(&self) -> u32 {
        u32::from(self.run) * NUMBERS
    }

    /// Names of the agents that answer queries, the one nearest to the western gateway first.
    #[must_use]
    pub const fn echoes(&self) -> [&'static str; 3] {
        ECHOES
    }
}
