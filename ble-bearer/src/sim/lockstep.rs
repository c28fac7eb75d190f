//! What a world and its asynchronous seats share, and the rule that keeps them in step.
//!
//! Owns the simulated time, the seats' inboxes and controllers, the sleepers and the holds, all behind one mutex.
//! [`super::seat`] is the side of the devices, [`super::world`] the side that advances time.
//!
//! The rule: time stands still while anyone is [`Still`]. A seat's engine is at work from the moment it is given a
//! frame, or woken, or leaves its wait, until it waits again. So a busy machine makes a run slower, never
//! different.

mod seats;
mod sleepers;

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
    /// The time now. Running on with the wall, it is made to stand: a time that was once given out is never taken back.
    #[expect(clippy::disallowed_methods, reason = "a clock that follows the wall asks it")]
    pub(super) fn now(&mut self) -> Instant {
        if let Some(running) = self.running {
            // Not past the next event, however late the pacer is: an engine would see a time at which that has not happened yet.
            let shown = running.at(tokio::time::Instant::now()).min(running.limit);
            self.now = self.now.max(shown);
        }
        self.now
    }

    /// Stops the clock where it is.
    pub(super) fn stop_clock(&mut self, by: Stopped) {
        // First as far as it has run: what comes next happens at the time that the wall shows, not at the last event's.
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
        // Seats may have set both since the caller looked, between two of its locks.
        let radio = self.next_radio().map(|(at, _)| at);
        self.limit_clock(radio);
        self.limit_clock(self.next_sleep());
    }

    /// Moves time on to an event, or stays when time has come so far already.
    pub(super) fn advance(&mut self, to: Instant) -> Instant {
        // Time may have been shown further than `to` already: it never goes back.
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
        // Holds first: a pacer makes up for time that an engine worked, and not for time that was held.
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
