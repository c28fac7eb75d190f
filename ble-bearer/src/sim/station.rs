//! What a simulated device is to its world, and what a watcher of the world is told.
//!
//! Owns the traits [`Station`] and [`Observer`] and the [`Radio`] that a device sends through. When they are called
//! is the world's business ([`super::World`]).

use std::convert::Infallible;

use mesh_protocol::Instant;

use super::controller::Controller;
use super::geometry::StationId;
use crate::Full;

/// A simulated device: a state machine that the world drives.
pub trait Station {
    /// A frame has come in; [`Station::run`] follows at once.
    fn receive(&mut self, now: Instant, frame: &[u8], rssi: i8);

    /// Does whatever is due at `now`, sends through `radio`, and says when to be run again at the latest.
    ///
    /// A new station is run as soon as time goes on from where it was added.
    fn run(&mut self, now: Instant, radio: &mut Radio<'_>) -> Option<Instant>;
}

/// No device at all, for worlds that only have seats.
impl Station for Infallible {
    fn receive(&mut self, _now: Instant, _frame: &[u8], _rssi: i8) {
        match *self {}
    }

    fn run(&mut self, _now: Instant, _radio: &mut Radio<'_>) -> Option<Instant> {
        match *self {}
    }
}

/// What a device sends through.
#[derive(Debug)]
pub struct Radio<'a> {
    pub(super) now: Instant,
    pub(super) controller: &'a mut Controller,
}

impl Radio<'_> {
    /// Hands a frame to the controller, to be sent `copies` times (0 counts as 1).
    ///
    /// # Errors
    /// [`Full`] when it is not taken; see [`Controller::submit`].
    pub fn send(&mut self, frame: &[u8], copies: u8) -> Result<(), Full> {
        self.controller.submit(self.now, frame, copies)
    }
}

/// Watches a world, for traces and for checks after every event.
pub trait Observer {
    /// An advertising event starts at `now`.
    fn transmitted(&mut self, now: Instant, from: StationId, frame: &[u8]) {
        let _ = (now, from, frame);
    }

    /// A frame reaches the host of `to` at `now`.
    fn received(&mut self, now: Instant, to: StationId, from: StationId, frame: &[u8], rssi: i8) {
        let _ = (now, to, from, frame, rssi);
    }
}

/// Nobody watches.
impl Observer for () {}
