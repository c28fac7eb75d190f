//! Who stands on the air that hosts share: devices of the scenario, and controllers whose hosts are elsewhere.
//!
//! Owns the world of a served scenario. What devices say is `residents`' business.

use std::sync::Arc;

use ble_bearer::sim::{AirSettings, Observer, Radio, Reception, Station, StationId, Wlan};
use mesh_protocol::{Instant, NetKey, Rng};
use tokio::sync::Notify;

use super::residents::{Resident, residents};
use super::{Field, Options};
use crate::Network;
use crate::play::StackKind;
use crate::play::field::{position, spec, topology};
use crate::scenario::Scenario;
use crate::stack::mesh::{Mesh, routes};
use crate::virtual_controller::VirtualController;

/// A station.
#[derive(Debug)]
pub(super) enum Site {
    /// A device of the scenario.
    Device(Box<Resident>),
    /// A place for a host.
    Host(Box<Host>),
}

/// A controller, and who is told when it has something to say.
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
    let wlan = scenario.wlan.as_ref().map(|wlan| Wlan {
        duty_ppm: (wlan.duty * 1e6).round() as u32,
        burst: wlan.burst,
        dbm: wlan.dbm,
    });
    let settings = AirSettings { capture_db: scenario.radio.capture_db, wlan };
    // Nobody stands here who means harm: what goes wrong is left out.
    let scenario = &Scenario { faults: Vec::new(), ..scenario.clone() };
    let places = scenario.places(seed);
    let tally = Tally(vec![0; places.len()]);
    let mut world = Field::with_observer(seed, topology(scenario, places.len() as u32), settings, tally);
    let key = NetKey::new(Network::random(seed).key());
    let dice = Rng::stream(seed, "nodes");
    let (mut said, left_out) = residents(scenario, seed);
    for (number, place) in (0..).zip(&places) {
        let node = scenario.nodes.get(&number).cloned().unwrap_or_default();
        let mut radio = scenario.radio.clone();
        radio.tx_dbm = node.tx_dbm.unwrap_or(radio.tx_dbm);
        let rng = dice.clone().fork(u64::from(number));
        if node.gateway {
            let tx_dbm = radio.tx_dbm.round().clamp(-127.0, 20.0) as i8;
            let controller = VirtualController::new(options.controller, StationId(number), tx_dbm, rng);
            let host = Host { controller, waits: Arc::default() };
            world.add_with(position(place), options.controller.spec(&radio), Site::Host(Box::new(host)));
        } else {
            let mut rng = rng;
            let options = crate::Options {
                ttl: scenario.stacks.mesh_ttl,
                relay: node.relay.unwrap_or(true),
                drift_ppb: (node.drift_ppm * 1_000.0).round() as i64,
                routes: routes(&node),
                // Whoever has a name answers queries that are sent to it.
                names: node.name.into_iter().collect(),
                ..crate::Options::default()
            };
            let mesh = Mesh::new(number, options, rng.next_u64(), &key);
            let resident = Resident::new(mesh, said.remove(&number).unwrap_or_default());
            let spec = spec(&radio, StackKind::Mesh, 0);
            world.add_with(position(place), spec, Site::Device(Box::new(resident)));
        }
    }
    (world, left_out)
}
