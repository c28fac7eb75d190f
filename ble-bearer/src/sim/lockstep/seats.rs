//! Seats: who sits there, what lies in the inbox, and when an engine is at work.
//!
//! Owns the change between [`Activity::Busy`] and waiting, which is all that time stands still for.

use std::collections::VecDeque;
use std::task::Waker;

use mesh_protocol::Instant;

use super::{Activity, INBOX, Seat, SeatKey, State, Stopped};
use crate::BearerEvent;
use crate::sim::controller::Controller;
use crate::sim::geometry::StationId;

impl State {
    pub(in crate::sim) fn add_seat(&mut self, station: StationId, controller: Controller) -> SeatKey {
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

    /// Empties a seat and gives it to a new bearer.
    pub(in crate::sim) fn reseat(&mut self, index: usize) -> (SeatKey, Option<Waker>) {
        let generation = self.seats[index].generation;
        let waker = self.vacate(SeatKey { index, generation });
        let seat = &mut self.seats[index];
        seat.generation += 1;
        seat.occupied = true;
        seat.activity = Activity::Busy;
        seat.asked = false;
        self.switched.push((seat.station, true));
        // The generation makes the old bearer's key stale, so that what it still does is nobody's.
        let key = SeatKey { index, generation: seat.generation };
        (key, waker)
    }

    /// Power cut: nothing held, nothing waiting, nobody at work.
    pub(in crate::sim) fn vacate(&mut self, key: SeatKey) -> Option<Waker> {
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
    pub(in crate::sim) const fn has_seats(&self) -> bool {
        !self.seats.is_empty()
    }

    pub(in crate::sim) fn take_switched(&mut self) -> impl Iterator<Item = (StationId, bool)> {
        self.switched.drain(..)
    }

    pub(super) fn seat(&mut self, key: SeatKey) -> Option<&mut Seat> {
        self.seats.get_mut(key.index).filter(|seat| seat.generation == key.generation && seat.occupied)
    }

    /// Gives an event to whoever sits at `index`.
    pub(in crate::sim) fn give(&mut self, index: usize, event: BearerEvent) -> Option<Waker> {
        let seat = &mut self.seats[index];
        if !seat.occupied || seat.inbox.len() >= INBOX {
            return None;
        }
        seat.inbox.push_back(event);
        // At work from now on, not only once its task has run: the world must not go on in between. One that sleeps without
        // listening is left to sleep; it finds the event when it asks.
        if seat.activity == Activity::Listening {
            seat.activity = Activity::Busy;
        }
        seat.waker.take()
    }

    /// When the next advertising event of any seat starts, and whose.
    pub(in crate::sim) fn next_radio(&self) -> Option<(Instant, usize)> {
        let timeouts = self.seats.iter().enumerate();
        timeouts.filter_map(|(index, seat)| Some((seat.controller.poll_timeout()?, index))).min()
    }

    pub(in crate::sim) fn radio(&mut self, index: usize) -> (StationId, &mut Controller) {
        let seat = &mut self.seats[index];
        (seat.station, &mut seat.controller)
    }

    /// The controller of a seat and the time, for a frame to be sent now.
    pub(in crate::sim) fn submit<R>(
        &mut self,
        key: SeatKey,
        submit: impl FnOnce(Instant, &mut Controller) -> R,
    ) -> Option<R> {
        let now = self.now();
        let controller = &mut self.seat(key)?.controller;
        let result = submit(now, controller);
        let next = controller.poll_timeout();
        // The clock may be running past the event that has just been set.
        self.limit_clock(next);
        Some(result)
    }

    /// A `next_event` future begins.
    pub(in crate::sim) fn ask(&mut self, key: SeatKey) {
        if let Some(seat) = self.seat(key) {
            seat.asked = true;
        }
    }

    /// A `next_event` future looks into its inbox: an event, or `Ok(None)` while there is none, or `Err` when there
    /// will be none. The waker that this one replaces is left in its place, to be dropped without the lock.
    pub(in crate::sim) fn listen(
        &mut self,
        key: SeatKey,
        waker: &mut Option<Waker>,
    ) -> Result<Option<BearerEvent>, ()> {
        let closed = self.closed;
        let seat = self.seat(key).ok_or(())?;
        // What came before the world closed is still heard.
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
    pub(in crate::sim) fn leave(&mut self, key: SeatKey) -> Option<Waker> {
        let seat = self.seat(key)?;
        seat.asked = false;
        let waker = seat.waker.take();
        // It was dropped in a `select!` in which something else came first: that is work that began by itself, at the wall's time.
        if seat.activity == Activity::Listening {
            seat.activity = Activity::Busy;
            self.stop_clock(Stopped::ByWork);
        }
        waker
    }
}
