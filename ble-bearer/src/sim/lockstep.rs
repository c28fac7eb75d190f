//! What a world and its asynchronous seats share, and the rule that keeps them in step.
//!
//! Owns the simulated time, the seats' inboxes and controllers, the sleepers and the holds, all behind one mutex.
//! [`super::seat`] is the side of the devices, [`super::world`] the side that advances time.
//!
//! The rule: time stands still while anyone is [`Still`]. A seat's engine is at work from the moment it is given a
//! frame, or woken, or leaves its wait, until it waits again. So a busy machine makes a run slower, never
//! different.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use mesh_protocol::{Duration, Instant};
use tokio::sync::Notify;

use super::controller::Controller;
use super::geometry::StationId;
use crate::BearerEvent;

/// Frames that wait for an engine that sleeps without listening; more are lost, as a kernel's socket buffer loses
/// them. A guess.
const INBOX: usize = 64;

/// Why time stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Still {
    /// Someone has a [`Hold`](super::Hold).
    Held,
    /// The engine in this seat is at work.
    Busy(StationId),
}

/// What the engine in a seat does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Activity {
    /// It is at work.
    Busy,
    /// It waits for the bearer's next event, perhaps for other things too.
    Listening,
    /// It waits for the clock and has not asked for the bearer's next event.
    Asleep,
}

/// A bearer's or clock's claim to a seat; stale once the bearer is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SeatKey {
    pub(super) index: usize,
    generation: u32,
}

/// One place for an asynchronous device.
#[derive(Debug)]
struct Seat {
    station: StationId,
    generation: u32,
    /// Whether there is a bearer; without, the device is without power.
    occupied: bool,
    activity: Activity,
    /// Whether a `next_event` future exists, polled or not.
    asked: bool,
    /// Sleeps that have come to their end and were not yet looked at.
    woken: usize,
    inbox: VecDeque<BearerEvent>,
    waker: Option<Waker>,
    controller: Controller,
}

/// One wait for the clock.
#[derive(Debug)]
struct Sleeper {
    at: Instant,
    seat: SeatKey,
    /// Takes a hold as it wakes.
    holding: bool,
    fired: bool,
    waker: Option<Waker>,
}

/// How simulated time follows the wall while nothing happens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Running {
    pub(super) wall: tokio::time::Instant,
    pub(super) sim: Instant,
    pub(super) speed: f64,
    /// The world's next event: the clock waits for it there.
    pub(super) limit: Instant,
}

impl Running {
    pub(super) fn at(&self, wall: tokio::time::Instant) -> Instant {
        let passed = wall.saturating_duration_since(self.wall).as_micros();
        // Saturates; exact to the microsecond for 285 years.
        self.sim + Duration::from_micros((passed as f64 * self.speed) as u64)
    }

    /// When the wall will be that far; `None` when it cannot count to it.
    pub(super) fn wall_at(&self, sim: Instant) -> Option<tokio::time::Instant> {
        let ahead = sim.since(self.sim).as_micros() as f64 / self.speed;
        // Rounded up: woken too early, the pacer would only have to wait again.
        let ahead = std::time::Duration::from_micros(ahead.ceil() as u64);
        self.wall.checked_add(ahead)
    }
}

/// Whether, and by what, the clock was stopped while it ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stopped {
    #[default]
    No,
    /// An engine went to work.
    ByWork,
    /// Someone took a hold: that time does not exist.
    ByHold,
}

/// The shared part of a world.
#[derive(Debug, Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// Told whenever the world may be able to go on, or has something earlier to do.
    pub(super) changed: Notify,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing below panics half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
pub(super) struct State {
    now: Instant,
    running: Option<Running>,
    /// What stopped the clock since the pacer last asked.
    stopped: Stopped,
    holds: usize,
    closed: bool,
    seats: Vec<Seat>,
    sleepers: BTreeMap<u64, Sleeper>,
    /// Sleepers that have not fired, in the order in which they will.
    due: BTreeSet<(Instant, u64)>,
    next_sleeper: u64,
    /// Stations switched on or off since the world last looked.
    switched: Vec<(StationId, bool)>,
}

/// Time.
impl State {
    /// The time now. Running on with the wall, it is made to stand: what is told once stays told.
    #[expect(clippy::disallowed_methods, reason = "a clock that follows the wall asks it")]
    pub(super) fn now(&mut self) -> Instant {
        if let Some(running) = self.running {
            let shown = running.at(tokio::time::Instant::now()).min(running.limit);
            self.now = self.now.max(shown);
        }
        self.now
    }

    /// Stops the clock where it is.
    pub(super) fn stop_clock(&mut self, by: Stopped) {
        self.now();
        self.running = None;
        self.stopped = self.stopped.max(by);
    }

    pub(super) fn take_stopped(&mut self) -> Stopped {
        std::mem::take(&mut self.stopped)
    }

    /// Lets the clock run on with the wall, up to what is due next; not while anyone is at work, and no further than what
    /// came in since the caller looked.
    pub(super) fn run_clock(&mut self, running: Running) {
        if self.still().is_some() {
            return;
        }
        self.running = Some(running);
        let radio = self.next_radio().map(|(at, _)| at);
        self.limit_clock(radio);
        self.limit_clock(self.next_sleep());
    }

    /// Moves time on to an event, or stays when time has come so far already.
    pub(super) fn advance(&mut self, to: Instant) -> Instant {
        self.running = None;
        self.now = self.now.max(to);
        self.now
    }

    /// Something will happen at `at`: the clock must not run past it.
    fn limit_clock(&mut self, at: Option<Instant>) {
        if let (Some(running), Some(at)) = (&mut self.running, at) {
            running.limit = running.limit.min(at);
        }
    }

    /// Who keeps time from going on.
    pub(super) fn still(&self) -> Option<Still> {
        if self.holds > 0 {
            return Some(Still::Held);
        }
        let at_work = |seat: &&Seat| seat.occupied && (seat.activity == Activity::Busy || seat.woken > 0);
        self.seats.iter().find(at_work).map(|seat| Still::Busy(seat.station))
    }

    pub(super) fn hold(&mut self) {
        self.stop_clock(Stopped::ByHold);
        self.holds += 1;
    }

    pub(super) fn release(&mut self) {
        self.holds = self.holds.saturating_sub(1);
    }

    pub(super) fn close(&mut self) -> Vec<Waker> {
        self.closed = true;
        self.running = None;
        self.seats.iter_mut().filter_map(|seat| seat.waker.take()).collect()
    }
}

/// Seats.
impl State {
    pub(super) fn add_seat(&mut self, station: StationId, controller: Controller) -> SeatKey {
        let key = SeatKey { index: self.seats.len(), generation: 0 };
        self.seats.push(Seat {
            station,
            generation: 0,
            occupied: true,
            activity: Activity::Busy,
            asked: false,
            woken: 0,
            inbox: VecDeque::new(),
            waker: None,
            controller,
        });
        key
    }

    /// Empties a seat and gives it away anew.
    pub(super) fn reseat(&mut self, index: usize) -> (SeatKey, Option<Waker>) {
        let generation = self.seats[index].generation;
        let waker = self.vacate(SeatKey { index, generation });
        let seat = &mut self.seats[index];
        seat.generation += 1;
        seat.occupied = true;
        seat.activity = Activity::Busy;
        seat.asked = false;
        self.switched.push((seat.station, true));
        let key = SeatKey { index, generation: seat.generation };
        (key, waker)
    }

    /// Power cut: nothing held, nothing waiting, nobody at work.
    pub(super) fn vacate(&mut self, key: SeatKey) -> Option<Waker> {
        let seat = self.seat(key)?;
        seat.occupied = false;
        seat.woken = 0;
        seat.inbox.clear();
        seat.controller.reset();
        let (station, waker) = (seat.station, seat.waker.take());
        self.switched.push((station, false));
        waker
    }

    /// Whether there ever was a seat: without one there is neither hold nor sleeper.
    pub(super) const fn has_seats(&self) -> bool {
        !self.seats.is_empty()
    }

    pub(super) fn take_switched(&mut self) -> impl Iterator<Item = (StationId, bool)> {
        self.switched.drain(..)
    }

    fn seat(&mut self, key: SeatKey) -> Option<&mut Seat> {
        self.seats.get_mut(key.index).filter(|seat| seat.generation == key.generation && seat.occupied)
    }

    /// Gives an event to whoever sits at `index`.
    pub(super) fn give(&mut self, index: usize, event: BearerEvent) -> Option<Waker> {
        let seat = &mut self.seats[index];
        if !seat.occupied || seat.inbox.len() >= INBOX {
            return None;
        }
        seat.inbox.push_back(event);
        if seat.activity == Activity::Listening {
            seat.activity = Activity::Busy;
        }
        seat.waker.take()
    }

    /// When the next advertising event of any seat starts, and whose.
    pub(super) fn next_radio(&self) -> Option<(Instant, usize)> {
        let timeouts = self.seats.iter().enumerate();
        timeouts.filter_map(|(index, seat)| Some((seat.controller.poll_timeout()?, index))).min()
    }

    pub(super) fn radio(&mut self, index: usize) -> (StationId, &mut Controller) {
        let seat = &mut self.seats[index];
        (seat.station, &mut seat.controller)
    }

    /// The controller of a seat and the time, for a frame to be sent now.
    pub(super) fn submit<R>(
        &mut self,
        key: SeatKey,
        submit: impl FnOnce(Instant, &mut Controller) -> R,
    ) -> Option<R> {
        let now = self.now();
        let controller = &mut self.seat(key)?.controller;
        let result = submit(now, controller);
        let next = controller.poll_timeout();
        self.limit_clock(next);
        Some(result)
    }

    /// A `next_event` future begins.
    pub(super) fn ask(&mut self, key: SeatKey) {
        if let Some(seat) = self.seat(key) {
            seat.asked = true;
        }
    }

    /// A `next_event` future looks into its inbox: an event, or `Ok(None)` while there is none, or `Err` when there
    /// will be none. The waker that this one replaces is left in its place, to be dropped without the lock.
    pub(super) fn listen(
        &mut self,
        key: SeatKey,
        waker: &mut Option<Waker>,
    ) -> Result<Option<BearerEvent>, ()> {
        let closed = self.closed;
        let seat = self.seat(key).ok_or(())?;
        if let Some(event) = seat.inbox.pop_front() {
            seat.activity = Activity::Busy;
            return Ok(Some(event));
        }
        if closed {
            return Err(());
        }
        std::mem::swap(&mut seat.waker, waker);
        seat.activity = Activity::Listening;
        Ok(None)
    }

    /// A `next_event` future ends. Was the engine listening, it now is at work.
    pub(super) fn leave(&mut self, key: SeatKey) -> Option<Waker> {
        let seat = self.seat(key)?;
        seat.asked = false;
        let waker = seat.waker.take();
        if seat.activity == Activity::Listening {
            seat.activity = Activity::Busy;
            self.stop_clock(Stopped::ByWork);
        }
        waker
    }
}

/// Sleepers.
impl State {
    /// Registers a wait, at once and not at its first poll: in a `select!` the bearer may be polled before the
    /// clock, and time must not run past the deadline in between.
    pub(super) fn add_sleeper(&mut self, seat: SeatKey, at: Instant, holding: bool) -> u64 {
        let id = self.next_sleeper;
        self.next_sleeper += 1;
        self.sleepers.insert(id, Sleeper { at, seat, holding, fired: false, waker: None });
        if at <= self.now() {
            self.fire(id);
        } else {
            self.due.insert((at, id));
            self.limit_clock(Some(at));
        }
        id
    }

    pub(super) fn next_sleep(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Ends the next wait.
    pub(super) fn fire_next(&mut self) -> Option<Waker> {
        let (_, id) = self.due.pop_first()?;
        self.fire(id)
    }

    fn fire(&mut self, id: u64) -> Option<Waker> {
        let sleeper = self.sleepers.get_mut(&id)?;
        sleeper.fired = true;
        let (seat, holding, waker) = (sleeper.seat, sleeper.holding, sleeper.waker.take());
        if holding {
            self.hold();
        } else if let Some(seat) = self.seat(seat) {
            seat.woken += 1;
        }
        waker
    }

    /// Looks whether a wait is over, and if so ends it: the wakers to wake then. A waker handed in is kept while it
    /// is not, and the one it replaces left in its place.
    pub(super) fn look(&mut self, id: u64, waker: &mut Option<Waker>) -> Option<Vec<Waker>> {
        let sleeper = self.sleepers.get_mut(&id)?;
        let (key, holding) = (sleeper.seat, sleeper.holding);
        if !sleeper.fired {
            std::mem::swap(&mut sleeper.waker, waker);
            if let Some(seat) = self.seat(key)
                && !holding
                && !seat.asked
            {
                seat.activity = Activity::Asleep;
            }
            return None;
        }
        self.sleepers.remove(&id);
        let mut wake = Vec::new();
        if holding {
            return Some(wake); // the hold passes to the caller
        }
        if let Some(seat) = self.seat(key) {
            seat.woken = seat.woken.saturating_sub(1);
            seat.activity = Activity::Busy;
            // Should it not have been the engine that slept: the engine looks up, finds nothing, and waits again.
            wake.extend(seat.waker.take());
            let others = self.sleepers.values_mut().filter(|other| other.seat == key);
            wake.extend(others.filter_map(|other| other.waker.take()));
            self.stop_clock(Stopped::ByWork);
        }
        Some(wake)
    }

    /// Forgets a wait that nobody waits for any more.
    pub(super) fn forget(&mut self, id: u64) -> Option<Waker> {
        let sleeper = self.sleepers.remove(&id)?;
        if !sleeper.fired {
            self.due.remove(&(sleeper.at, id));
        } else if sleeper.holding {
            self.release();
        } else if let Some(seat) = self.seat(sleeper.seat) {
            seat.woken = seat.woken.saturating_sub(1);
        }
        sleeper.waker
    }
}
