//! The world: air, stations and what happens next.
//!
//! Owns the order of events and carries them between the air, the simulated devices and the seats. A state
//! machine without clock and without IO: [`World::step`] does one thing at the time it is due, and nobody sleeps.
//! Letting it follow a clock on the wall is [`super::pace`]'s business.
//!
//! What is due at the same time happens in this order: receptions decided on the air, reports to hosts, receptions that
//! were held back, devices' radios and timers in the order in which they were set, seats' radios, seats' sleepers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use mesh_protocol::{Duration, Instant, Rng};

use super::advert::{Advert, Cargo};
use super::air::{Air, AirCounters, AirSettings, Delivery};
use super::controller::{Controller, REPORT_LATENCY, link_info};
use super::geometry::{Position, StationId, Topology};
use super::hearer::Hearer;
use super::lockstep::{Shared, Still};
use super::queue::Alarms;
use super::seat::{SIM_LINK, SimBearer, SimClock};
use super::spec::RadioSpec;
use super::station::{Observer, Radio, Reception, Station, Verdict};
use crate::{BearerEvent, FrameBytes};

/// A device may ask this often in a row to run again at once; then it is stuck. A guess, far above any real need.
const LIVELOCK: u32 = 1_000;

/// What [`World::step`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// One event, at this time.
    Done(Instant),
    /// Nothing: the next event, if there is one, lies beyond the limit.
    Quiet(Option<Instant>),
    /// Nothing: a seat keeps time from going on.
    Still(Still),
}

/// A frame on its way from controllers to their hosts.
#[derive(Debug)]
struct Report {
    at: Instant,
    end: Instant,
    from: StationId,
    channel: u8,
    cargo: Arc<Cargo>,
    hearers: Vec<Hearer>,
}

/// A reception that a watcher holds back, and when it is let go.
#[derive(Debug)]
struct Late {
    end: Instant,
    from: StationId,
    to: StationId,
    channel: u8,
    rssi: i8,
    frame: FrameBytes,
    advert: Option<Arc<Advert>>,
}

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
enum Place<S> {
    Device(Box<Device<S>>),
    /// An asynchronous device, by its seat's number.
    Seat(usize),
}

/// Alarms of station `n`: its own timer is number `2n`, its radio's `2n + 1`.
const ALARMS: usize = 2;

/// What is due next.
#[derive(Clone, Copy, Debug)]
enum Due {
    Air,
    Report,
    Late,
    Alarm,
    SeatRadio(usize),
    Sleeper,
}

/// Air, devices of type `S`, and seats for asynchronous devices, watched by `O`.
#[derive(Debug)]
pub struct World<S, O = ()> {
    air: Air,
    places: Vec<Place<S>>,
    alarms: Alarms,
    /// In order of their times: every report takes equally long.
    reports: VecDeque<Report>,
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
            places: Vec::new(),
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
        let (id, controller) = self.add_place(position, spec);
        self.places.push(Place::Device(Box::new(Device { station, controller, spins: (Instant::ZERO, 0) })));
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
        let (id, controller) = self.add_place(position, spec);
        let mut state = self.shared.lock();
        let key = state.add_seat(id, controller);
        state.give(key.index, link_up());
        drop(state);
        self.places.push(Place::Seat(key.index));
        let bearer = SimBearer::new(Arc::clone(&self.shared), key);
        let clock = SimClock::new(Arc::clone(&self.shared), key);
        (id, bearer, clock)
    }

    /// Gives a seat away anew: power is back. An earlier bearer that still exists is cut off. `None` when `id` is
    /// not a seat.
    pub fn reseat(&mut self, id: StationId) -> Option<(SimBearer, SimClock)> {
        let Some(Place::Seat(index)) = self.places.get(id.index()) else {
            return None;
        };
        let mut state = self.shared.lock();
        let (key, waker) = state.reseat(*index);
        state.give(key.index, link_up());
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        let bearer = SimBearer::new(Arc::clone(&self.shared), key);
        let clock = SimClock::new(Arc::clone(&self.shared), key);
        Some((bearer, clock))
    }

    fn add_place(&mut self, position: Position, spec: RadioSpec) -> (StationId, Controller) {
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
        match self.places.get(id.index())? {
            Place::Device(device) => Some(&device.station),
            Place::Seat(_) => None,
        }
    }

    /// The device at `id`, without running it afterwards: what changes a deadline goes through [`World::poke`].
    pub fn station_mut(&mut self, id: StationId) -> Option<&mut S> {
        match self.places.get_mut(id.index())? {
            Place::Device(device) => Some(&mut device.station),
            Place::Seat(_) => None,
        }
    }

    /// Does something to the device at `id` now, then runs it if it has power. `None` when there is none or it is a seat.
    pub fn poke<R>(
        &mut self,
        id: StationId,
        poke: impl FnOnce(&mut S, Instant, &mut Radio<'_>) -> R,
    ) -> Option<R> {
        let now = self.now();
        let Some(Place::Device(device)) = self.places.get_mut(id.index()) else {
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

    /// Switches a device off or on. Off, it neither hears nor is run, and what it was sending or being told breaks off and is
    /// forgotten. On again, it is run at once: what has become of its RAM is its own business. Nothing when it is a seat,
    /// whose power is its bearer's.
    pub fn set_powered(&mut self, id: StationId, powered: bool) {
        let now = self.now();
        let Some(Place::Device(device)) = self.places.get_mut(id.index()) else {
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
        self.places.len()
    }

    /// Whether there is no station.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
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

/// Going on.
impl<S: Station, O: Observer<S>> World<S, O> {
    /// When the next event is due; `None` when nothing will ever happen by itself.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let state = self.shared.lock();
        let seats = [state.next_radio().map(|(at, _)| at), state.next_sleep()];
        let reports = self.reports.front().map(|report| report.at);
        let own = [self.air.poll_timeout(), reports, self.next_late(), self.alarms.next()];
        own.into_iter().chain(seats).flatten().min()
    }

    /// Does the next thing that is due, whenever that is.
    pub fn step(&mut self) -> Step {
        self.step_until(Instant::from_micros(u64::MAX))
    }

    /// Goes on until everything due at or before `to` has happened and time is `to`. False when a seat keeps time
    /// from getting there.
    pub fn advance(&mut self, to: Instant) -> bool {
        loop {
            match self.step_until(to) {
                Step::Done(_) => {}
                Step::Quiet(_) => {
                    self.shared.lock().advance(to);
                    return true;
                }
                Step::Still(_) => return false,
            }
        }
    }

    /// Does the next thing if it is due at or before `limit`.
    ///
    /// # Panics
    /// When a device asks a thousand times in a row to run again at once: that is a bug in the device, and without
    /// the panic the world would never go on.
    pub fn step_until(&mut self, limit: Instant) -> Step {
        let mut state = self.shared.lock();
        let mut due = [
            self.air.poll_timeout().map(|at| (at, Due::Air)),
            self.reports.front().map(|report| (report.at, Due::Report)),
            self.next_late().map(|at| (at, Due::Late)),
            self.alarms.next().map(|at| (at, Due::Alarm)),
            None,
            None,
        ];
        // A world without seats is spared looking for what only they do.
        if state.has_seats() {
            let now = state.now();
            for (id, powered) in state.take_switched() {
                self.air.set_powered(now, id, powered);
                self.powered_at[id.index()] = now;
            }
            if let Some(still) = state.still() {
                return Step::Still(still);
            }
            due[4] = state.next_radio().map(|(at, index)| (at, Due::SeatRadio(index)));
            due[5] = state.next_sleep().map(|at| (at, Due::Sleeper));
        }
        // Of those due at the same time the first one: `min_by_key` keeps it.
        let Some((at, due)) = due.into_iter().flatten().min_by_key(|(at, _)| *at) else {
            return Step::Quiet(None);
        };
        if at > limit {
            return Step::Quiet(Some(at));
        }
        let now = state.advance(at);
        match due {
            Due::SeatRadio(index) => {
                let (from, controller) = state.radio(index);
                if let Some(cargo) = controller.poll_transmit(now) {
                    self.air.launch(now, from, cargo.clone());
                    self.observer.transmitted(now, from, &cargo.frame);
                }
            }
            Due::Sleeper => {
                let waker = state.fire_next();
                drop(state);
                waker.into_iter().for_each(Waker::wake);
            }
            Due::Air => {
                drop(state);
                self.receive(now);
            }
            Due::Report => {
                drop(state);
                self.report(now);
            }
            Due::Late => {
                drop(state);
                self.let_go(now);
            }
            Due::Alarm => {
                drop(state);
                self.ring(now);
            }
        }
        Step::Done(now)
    }

    /// Receptions that the air has decided start on their way to the hosts.
    fn receive(&mut self, now: Instant) {
        let Some(Delivery { end, from, channel, cargo, hearers }) = self.air.poll_delivery(now) else {
            return;
        };
        let mut told = self.spare.pop().unwrap_or_default();
        told.clear();
        told.extend_from_slice(hearers);
        let at = end + REPORT_LATENCY;
        let cargo = Arc::clone(cargo);
        self.reports.push_back(Report { at, end, from, channel, cargo, hearers: told });
    }

    /// A frame reaches hosts.
    fn report(&mut self, now: Instant) {
        let Some(report) = self.reports.pop_front() else {
            return;
        };
        let Report { end, from, channel, cargo, hearers, .. } = &report;
        let (frame, advert) = (&cargo.frame, cargo.advert.as_deref());
        for hearer in hearers {
            let (end, from, to, channel) = (*end, *from, hearer.station, *channel);
            // A power cut in between: nobody is there who could be told.
            if !self.air.is_powered(to) || self.powered_at[to.index()] > end {
                continue;
            }
            let reception = Reception { end, from, to, channel, rssi: hearer.rssi(), frame, advert };
            match self.observer.verdict(now, &reception) {
                Verdict::Pass => self.deliver(now, &reception),
                Verdict::Drop => {}
                Verdict::Delay(by) => self.hold_back(now, &reception, by),
                Verdict::Again(by) => {
                    self.deliver(now, &reception);
                    self.hold_back(now, &reception, by);
                }
                Verdict::Replace(other) => {
                    self.deliver(now, &Reception { frame: &other, advert: None, ..reception });
                }
            }
        }
        self.spare.push(report.hearers);
    }

    fn hold_back(&mut self, now: Instant, reception: &Reception<'_>, by: Duration) {
        let &Reception { end, from, to, channel, rssi, frame, advert } = reception;
        self.held_back += 1;
        let advert = advert.map(|advert| Arc::new(advert.clone()));
        let late = Late { end, from, to, channel, rssi, frame: frame.clone(), advert };
        self.late.insert((now + by, self.held_back), late);
    }

    fn next_late(&self) -> Option<Instant> {
        self.late.first_key_value().map(|((at, _), _)| *at)
    }

    /// A reception that was held back reaches its host.
    fn let_go(&mut self, now: Instant) {
        let Some((_, late)) = self.late.pop_first() else {
            return;
        };
        let Late { end, from, to, channel, rssi, frame, advert } = late;
        if self.air.is_powered(to) && self.powered_at[to.index()] <= end {
            let advert = advert.as_deref();
            self.deliver(now, &Reception { end, from, to, channel, rssi, frame: &frame, advert });
        }
    }

    /// One host is told.
    fn deliver(&mut self, now: Instant, reception: &Reception<'_>) {
        let Reception { to, rssi, frame, .. } = *reception;
        self.observer.received(now, reception);
        match &mut self.places[to.index()] {
            Place::Device(device) => {
                if device.station.hear(now, reception) {
                    self.run(now, to);
                }
            }
            // An advert without a frame in it is nothing to an engine.
            Place::Seat(_) if !reception.has_frame() => {}
            Place::Seat(index) => {
                let event = BearerEvent::Frame { link: SIM_LINK, bytes: frame.clone(), rssi: Some(rssi) };
                let waker = self.shared.lock().give(*index, event);
                waker.into_iter().for_each(Waker::wake);
            }
        }
    }

    /// A device's timer, or its radio.
    fn ring(&mut self, now: Instant) {
        let Some(alarm) = self.alarms.pop(now) else {
            return;
        };
        let id = StationId(u32::try_from(alarm / ALARMS).unwrap_or(u32::MAX));
        if alarm % ALARMS == 0 {
            self.run(now, id);
        } else if let Place::Device(device) = &mut self.places[id.index()] {
            if let Some(cargo) = device.controller.poll_transmit(now) {
                self.air.launch(now, id, cargo.clone());
                self.observer.transmitted(now, id, &cargo.frame);
            }
            let mut sent = false;
            while let Some(set) = device.controller.poll_sent() {
                device.station.sent(now, set);
                sent = true;
            }
            if sent {
                self.run(now, id);
            } else {
                self.alarms.set(alarm, device.controller.poll_timeout());
            }
        }
    }

    /// Runs a device and sets its alarms anew.
    fn run(&mut self, now: Instant, id: StationId) {
        let Place::Device(device) = &mut self.places[id.index()] else {
            return;
        };
        let mut radio = Radio { now, controller: &mut device.controller, scan: None };
        let next = device.station.run(now, &mut radio);
        if let Some(plan) = radio.scan {
            self.air.set_scan(now, id, plan);
        }
        self.observer.ran(now, id, &mut device.station);
        let at_once = next.is_some_and(|next| next <= now);
        device.spins = match device.spins {
            (at, spins) if at_once && at == now => (at, spins + 1),
            _ => (now, u32::from(at_once)),
        };
        assert!(
            device.spins.1 < LIVELOCK,
            "running station {}: it asked {LIVELOCK} times in a row to run again at {} µs; its `run` must return a \
             later time or none",
            id.0,
            now.as_micros()
        );
        let timer = id.index() * ALARMS;
        self.alarms.set(timer, next.map(|next| next.max(now)));
        self.alarms.set(timer + 1, device.controller.poll_timeout());
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
fn link_up() -> BearerEvent {
    BearerEvent::LinkUp { link: SIM_LINK, info: link_info() }
}
