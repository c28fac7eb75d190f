//! The world goes on: the next thing that is due, one after the other.
//!
//! Owns the order of what happens at the same time: receptions decided on the air, reports to hosts, receptions that were held
//! back, devices' radios and timers in the order in which they were set, seats' radios, seats' sleepers. What each of these things
//! does stands in the files beside.

use std::task::Waker;

use mesh_protocol::Instant;

use super::World;
use crate::sim::lockstep::Still;
use crate::sim::station::{Observer, Station};

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
            // Power first: who has just been switched off receives nothing that ends now.
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
        // Of those due at the same time the first one: `min_by_key` keeps it. So the order of `due` is part of every trace.
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
            // Wakers run code of others, which may want the lock.
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
}
