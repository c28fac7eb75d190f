//! Who stands on the air that hosts share: devices of the scenario, and controllers whose hosts are elsewhere.
//!
//! Owns the world of a served scenario. What devices say is `residents`' business.

use std::sync::Arc;

use ble_bearer::sim::{Observer, Radio, Reception, Station, StationId};
use mesh_protocol::{Instant, Rng};
use tokio::sync::Notify;

use super::residents::{Resident, residents};
use super::{Field, Options};
use crate::scenario::Scenario;
use crate::stack::Stack;
use crate::stack::mesh::{Mesh, options as device_options};
use crate::virtual_controller::VirtualController;
use crate::world::{Network, WorldBuilder};

/// A station.
#[derive(Debug)]
pub(super) enum Site {
    /// A device of the scenario.
    Device(Box<Resident>),
    /// A place for a host.
    Host(Box<Host>),
}

/// A controller, and who is notified when it has something to say.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) controller: VirtualController,
    pub(super) waits: Arc<Notify>,
}

impl Site {
    pub(super) fn controller(&self) -> Option<&VirtualController> {
        match self {
            Self::Host(host) => Some(&host.controller),
            Self::Device(_) => None,
        }
    }
}

impl Station for Site {
    /// Devices are given frames; controllers look at whole adverts.
    fn receive(&mut self, now: Instant, frame: &[u8], rssi: i8) -> bool {
        match self {
            Self::Device(device) => device.receive(now, frame, rssi),
            Self::Host(_) => false,
        }
    }

    fn hear(&mut self, now: Instant, reception: &Reception<'_>) -> bool {
        match self {
            Self::Device(device) => device.hear(now, reception),
            Self::Host(host) => host.controller.hear(now, reception),
        }
    }

    fn sent(&mut self, now: Instant, set: usize) {
        match self {
            Self::Device(device) => device.sent(now, set),
            Self::Host(host) => host.controller.sent(now, set),
        }
    }

    fn run(&mut self, now: Instant, radio: &mut Radio<'_>) -> Option<Instant> {
        match self {
            Self::Device(device) => device.run(now, radio),
            Self::Host(host) => {
                let next = host.controller.run(now, radio);
                if host.controller.has_events() {
                    host.waits.notify_one();
                }
                next
            }
        }
    }
}

/// Counts what each station sends.
#[derive(Debug, Default)]
pub(super) struct Tally(Vec<u64>);

impl Tally {
    pub(super) fn adverts(&self, station: StationId) -> u64 {
        self.0.get(station.0 as usize).copied().unwrap_or(0)
    }
}

impl Observer<Site> for Tally {
    fn transmitted(&mut self, _now: Instant, from: StationId, _frame: &[u8]) {
        if let Some(count) = self.0.get_mut(from.0 as usize) {
            *count += 1;
        }
    }
}

/// The world of a scenario whose gateways are places for hosts; and how much of its traffic is left out.
pub(super) fn field(scenario: &Scenario, options: Options) -> (Field, u64) {
    let seed = options.seed;
    // Nobody stands here who means harm: what goes wrong is left out.
    let scenario = &Scenario { faults: Vec::new(), ..scenario.clone() };
    let tally = Tally(vec![0; scenario.node_count() as usize]);
    let mut world = WorldBuilder::of_scenario(scenario, seed, tally);
    let network = Network::random(seed);
    let dice = Rng::stream(seed, "nodes");
    let (mut said, left_out) = residents(scenario, seed);
    world.nodes(scenario, seed, |number, radio| {
        let node = scenario.nodes.get(&number).cloned().unwrap_or_default();
        let mut rng = dice.clone().fork(u64::from(number));
        if node.gateway {
            let tx_dbm = radio.tx_dbm.round().clamp(-127.0, 20.0) as i8;
            let controller = VirtualController::new(options.controller, StationId(number), tx_dbm, rng);
            let host = Host { controller, waits: Arc::default() };
            (options.controller.spec(radio), Some(Site::Host(Box::new(host))))
        } else {
            // Whoever has a name answers queries that are sent to it.
            let named =
                crate::Options { names: node.name.into_iter().collect(), ..device_options(scenario, number) };
            let mesh = Mesh::new(number, named, rng.next_u64(), &network);
            let resident = Resident::new(mesh, said.remove(&number).unwrap_or_default());
            (Mesh::radio(radio, &scenario.stacks), Some(Site::Device(Box::new(resident))))
        }
    });
    (world.build().0, left_out)
}
