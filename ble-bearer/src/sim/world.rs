//! The world: air, stations and what happens next.
//!
//! Owns the order of events and carries them between the air, the simulated devices and the seats. A state
//! machine without clock and without IO: [`World::step`] does one thing at the time it is due, and nobody sleeps.
//! Letting it follow a clock on the wall is [`super::pace`]'s business. This file is what the world consists of; `step` is how
//! it goes on, `report` what reaches hosts, `devices` how devices are run.

mod devices;
mod report;
mod step;

pub use step::Step;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use mesh_protocol::{Instant, Rng};

use super::air::{Air, AirCounters, AirSettings};
use super::controller::Controller;
use super::geometry::{Position, StationId, Topology};
use super::hearer::Hearer;
use super::lockstep::Shared;
use super::queue::Alarms;
use super::seat::{SimBearer, SimClock};
use super::spec::RadioSpec;
use super::station::{Observer, Radio, Station};
use crate::{BearerEvent, RADIO_LINK};
use report::{Late, ReceptionReport};

/// A simulated device, its controller and its alarms.
#[derive(Debug)]
struct Device<S> {
    station: S,
    controller: Controller,
    /// How often in a row it asked to run at once, and at what time.
    spins: (Instant, u32),
}

/// Who is at a station.
#[derive(Debug)]
enum Occupant<S> {
    Device(Box<Device<S>>),
    /// An asynchronous device, by its seat's number.
    Seat(usize),
}

/// Alarms of station `n`: its own timer is number `2n`, its radio's `2n + 1`.
const ALARMS: usize = 2;

/// Air, devices of type `S`, and seats for asynchronous devices, watched by `O`.
#[derive(Debug)]
pub struct World<S, O = ()> {
    air: Air,
    occupants: Vec<Occupant<S>>,
    alarms: Alarms,
    /// In order of their times: every report takes equally long.
    reports: VecDeque<ReceptionReport>,
    /// Lists of hearers to be used again.
    spare: Vec<Vec<Hearer>>,
    /// What a watcher holds back, by when it is let go and in which order.
    late: BTreeMap<(Instant, u64), Late>,
    held_back: u64,
    /// Since when each station has had power.
    powered_at: Vec<Instant>,
    rng: Rng,
    observer: O,
    shared: Arc<Shared>,
}

impl<S: Station> World<S> {
    /// An empty world at time zero. `seed` decides everything that is random in the air and in the controllers.
    #[must_use]
    pub fn new(seed: u64, topology: Topology) -> Self {
        Self::with_observer(seed, topology, AirSettings::default(), ())
    }
}

impl<S: Station, O: Observer<S>> World<S, O> {
    /// An empty world with such an air that `observer` watches.
    #[must_use]
    pub fn with_observer(seed: u64, topology: Topology, settings: AirSettings, observer: O) -> Self {
        let mut rng = Rng::stream(seed, "world");
        Self {
            air: Air::new(rng.next_u64(), topology, settings),
            occupants: Vec::new(),
            alarms: Alarms::default(),
            reports: VecDeque::new(),
            spare: Vec::new(),
            late: BTreeMap::new(),
            held_back: 0,
            powered_at: Vec::new(),
            rng,
            observer,
            shared: Arc::default(),
        }
    }

    /// Adds a device with the usual radio. It is first run at the time of adding, when the world goes on.
    pub fn add(&mut self, position: Position, station: S) -> StationId {
        self.add_with(position, RadioSpec::default(), station)
    }

    /// Adds a device with such a radio.
    pub fn add_with(&mut self, position: Position, spec: RadioSpec, station: S) -> StationId {
        let (id, controller) = self.add_station(position, spec);
        self.occupants.push(Occupant::Device(Box::new(Device {
            station,
            controller,
            spins: (Instant::ZERO, 0),
        })));
        let now = self.now();
        self.alarms.set(id.index() * ALARMS, Some(now));
        id
    }

    /// Adds a place for an asynchronous device, with the usual radio. The world stands still until the bearer is first
    /// waited on, or dropped.
    pub fn seat(&mut self, position: Position) -> (StationId, SimBearer, SimClock) {
        self.seat_with(position, RadioSpec::default())
    }

    /// Adds a place for an asynchronous device with such a radio.
    pub fn seat_with(&mut self, position: Position, spec: RadioSpec) -> (StationId, SimBearer, SimClock) {
        let up = link_up(&spec);
        let (id, controller) = self.add_station(position, spec);
        let mut state = self.shared.lock();
        let key = state.add_seat(id, controller);
        state.give(key.index, up);
        drop(state);
        self.occupants.push(Occupant::Seat(key.index));
        let bearer = SimBearer::new(Arc::clone(&self.shared), key);
        let clock = SimClock::new(Arc::clone(&self.shared), key);
        (id, bearer, clock)
    }

    /// Gives a seat to a new bearer: power is back. An earlier bearer that still exists is cut off. `None` when `id` is
    /// not a seat.
    pub fn reseat(&mut self, id: StationId) -> Option<(SimBearer, SimClock)> {
        let Some(Occupant::Seat(index)) = self.occupants.get(id.index()) else {
            return None;
        };
        let up = link_up(self.air.spec(id)?);
        let mut state = self.shared.lock();
        let (key, waker) = state.reseat(*index);
        state.give(key.index, up);
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        let bearer = SimBearer::new(Arc::clone(&self.shared), key);
        let clock = SimClock::new(Arc::clone(&self.shared), key);
        Some((bearer, clock))
    }

    fn add_station(&mut self, position: Position, spec: RadioSpec) -> (StationId, Controller) {
        let id = self.air.add(position, spec.clone());
        self.powered_at.push(Instant::ZERO);
        for _ in 0..ALARMS {
            self.alarms.add();
        }
        (id, Controller::new(self.rng.clone().fork(u64::from(id.0)), spec))
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.shared.lock().now()
    }

    /// The device at `id`; `None` when there is none or it is a seat.
    #[must_use]
    pub fn station(&self, id: StationId) -> Option<&S> {
        match self.occupants.get(id.index())? {
            Occupant::Device(device) => Some(&device.station),
            Occupant::Seat(_) => None,
        }
    }

    /// The device at `id`, without running it afterwards: what changes a deadline goes through [`World::poke`].
    pub fn station_mut(&mut self, id: StationId) -> Option<&mut S> {
        match self.occupants.get_mut(id.index())? {
            Occupant::Device(device) => Some(&mut device.station),
            Occupant::Seat(_) => None,
        }
    }

    /// Does something to the device at `id` now, then runs it if it has power. `None` when there is none or it is a seat.
    pub fn poke<R>(
        &mut self,
        id: StationId,
        poke: impl FnOnce(&mut S, Instant, &mut Radio<'_>) -> R,
    ) -> Option<R> {
        let now = self.now();
        let Some(Occupant::Device(device)) = self.occupants.get_mut(id.index()) else {
            return None;
        };
        let mut radio = Radio { now, controller: &mut device.controller, scan: None };
        let result = poke(&mut device.station, now, &mut radio);
        if let Some(plan) = radio.scan {
            self.air.set_scan(now, id, plan);
        }
        if self.air.is_powered(id) {
            self.run(now, id);
        }
        Some(result)
    }

    /// Switches a device off or on. Off, it neither hears nor is run, and what it was sending or was about to hear breaks off and is
    /// forgotten. On again, it is run at once: what has become of its RAM is its own business. Nothing when it is a seat,
    /// whose power is its bearer's.
    pub fn set_powered(&mut self, id: StationId, powered: bool) {
        let now = self.now();
        let Some(Occupant::Device(device)) = self.occupants.get_mut(id.index()) else {
            return;
        };
        if self.air.is_powered(id) == powered {
            return;
        }
        self.air.set_powered(now, id, powered);
        device.controller.reset();
        let alarm = id.index() * ALARMS;
        self.alarms.set(alarm, powered.then_some(now));
        self.alarms.set(alarm + 1, None);
        self.powered_at[id.index()] = now;
    }

    /// How many stations there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.occupants.len()
    }

    /// Whether there is no station.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.occupants.is_empty()
    }

    /// The air, to look at.
    #[must_use]
    pub fn air(&self) -> &Air {
        &self.air
    }

    /// What happened on the air so far.
    #[must_use]
    pub fn counters(&self) -> AirCounters {
        self.air.counters()
    }

    /// The observer.
    #[must_use]
    pub fn observer(&self) -> &O {
        &self.observer
    }

    /// The observer, to change.
    pub fn observer_mut(&mut self) -> &mut O {
        &mut self.observer
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl<S, O> Drop for World<S, O> {
    /// Whoever waits for a frame learns that none will come.
    fn drop(&mut self) {
        let wake = self.shared.lock().close();
        wake.into_iter().for_each(Waker::wake);
    }
}

/// A simulated adapter's one link is up from the start.
fn link_up(spec: &RadioSpec) -> BearerEvent {
    BearerEvent::LinkUp { link: RADIO_LINK, info: spec.link_info() }
}
