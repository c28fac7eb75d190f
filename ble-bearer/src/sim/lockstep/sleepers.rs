//! Sleepers: waits for the clock, and whom the end of one sets to work.
//!
//! Owns the order in which waits end.

use std::task::Waker;

use mesh_protocol::Instant;

use super::{Activity, SeatKey, Sleeper, State, Stopped};

impl State {
    /// Registers a wait, at once and not at its first poll: in a `select!` the bearer may be polled before the
    /// clock, and time must not run past the deadline in between.
    pub(in crate::sim) fn add_sleeper(&mut self, seat: SeatKey, at: Instant, holding: bool) -> u64 {
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

    pub(in crate::sim) fn next_sleep(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Ends the next wait.
    pub(in crate::sim) fn fire_next(&mut self) -> Option<Waker> {
        let (_, id) = self.due.pop_first()?;
        self.fire(id)
    }

    fn fire(&mut self, id: u64) -> Option<Waker> {
        let sleeper = self.sleepers.get_mut(&id)?;
        // Holding or at work from here on, not from when the task has run: otherwise time would go on before it looks.
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
    pub(in crate::sim) fn poll_sleep(&mut self, id: u64, waker: &mut Option<Waker>) -> Option<Vec<Waker>> {
        let sleeper = self.sleepers.get_mut(&id)?;
        let (key, holding) = (sleeper.seat, sleeper.holding);
        if !sleeper.fired {
            std::mem::swap(&mut sleeper.waker, waker);
            if let Some(seat) = self.seat(key)
                && !holding
                // With a `next_event` beside it in a `select!` the seat is not asleep: it listens, once that is polled.
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
    pub(in crate::sim) fn forget(&mut self, id: u64) -> Option<Waker> {
        let sleeper = self.sleepers.remove(&id)?;
        // What a wait has of the clock goes with it: its place in the queue, its hold, or its share of the seat's work.
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
