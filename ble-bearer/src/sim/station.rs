//! What a simulated device is to its world, and what a watcher of the world sees.
//!
//! Owns the traits [`Station`] and [`Observer`] and the [`Radio`] that a device sends through. When they are called
//! is the world's business ([`super::World`]).

use std::convert::Infallible;

use mesh_protocol::{Duration, Instant};

use super::advert::Advert;
use super::controller::Controller;
use super::geometry::StationId;
use super::spec::ScanPlan;
use crate::{FrameBytes, Full};

/// A simulated device: a state machine that the world drives.
pub trait Station {
    /// A frame has come in. Whether anything came of it: then [`Station::run`] follows at once.
    fn receive(&mut self, now: Instant, frame: &[u8], rssi: i8) -> bool;

    /// An advert has come in, whatever is in it. Whether anything came of it, as for [`Station::receive`], which is given the frame
    /// unless a station looks at adverts itself; without a frame in it, an advert is nothing to a device.
    fn hear(&mut self, now: Instant, reception: &Reception<'_>) -> bool {
        reception.has_frame() && self.receive(now, reception.frame, reception.rssi)
    }

    /// The last advertising event of what `set` held has ended; [`Station::run`] follows at once. Only called where the radio
    /// [reports it](super::RadioSpec::reports_sent).
    fn sent(&mut self, now: Instant, set: usize) {
        let _ = (now, set);
    }

    /// Does whatever is due at `now`, sends through `radio`, and says when to be run again at the latest.
    ///
    /// A new station is run as soon as time goes on from where it was added.
    fn run(&mut self, now: Instant, radio: &mut Radio<'_>) -> Option<Instant>;
}

/// No device at all, for worlds that only have seats.
impl Station for Infallible {
    fn receive(&mut self, _now: Instant, _frame: &[u8], _rssi: i8) -> bool {
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
    /// What the scanner is to do: follow a plan, or be off.
    pub(super) scan: Option<Option<ScanPlan>>,
}

impl Radio<'_> {
    /// Hands a frame to the controller, to be sent `copies` times (0 counts as 1).
    ///
    /// # Errors
    /// [`Full`] when it is not taken; see [`Controller::submit`].
    pub fn send(&mut self, frame: &[u8], copies: u8) -> Result<(), Full> {
        self.controller.submit(self.now, frame, copies)
    }

    /// Hands a frame to one advertising set; see [`Controller::advertise`].
    ///
    /// # Errors
    /// [`Full`] when it is not taken.
    pub fn advertise(
        &mut self,
        set: usize,
        frame: &[u8],
        copies: u8,
        interval: Duration,
    ) -> Result<(), Full> {
        self.controller.advertise(self.now, set, frame, copies, interval)
    }

    /// Has a set advertise until it is stopped, or in so many events; see [`Controller::start`].
    ///
    /// # Errors
    /// [`Full`] when there is no such set.
    pub fn start(
        &mut self,
        set: usize,
        advert: Advert,
        events: Option<u8>,
        interval: Duration,
    ) -> Result<(), Full> {
        self.controller.start(self.now, set, advert, events, interval)
    }

    /// Has a set carry something else from its next event on; see [`Controller::change`].
    pub fn change(&mut self, set: usize, advert: Advert) {
        self.controller.change(set, advert);
    }

    /// Stops a set; how many of its events have started. See [`Controller::stop`].
    pub fn stop(&mut self, set: usize) -> u64 {
        self.controller.stop(set)
    }

    /// Has the scanner work by this plan from now on, or be off; see [`Air::set_scan`](super::Air::set_scan).
    pub fn scan(&mut self, plan: Option<ScanPlan>) {
        self.scan = Some(plan);
    }
}

/// One reception, as it reaches a host.
#[derive(Clone, Copy, Debug)]
pub struct Reception<'a> {
    /// When the PDU ended.
    pub end: Instant,
    /// Who sent it.
    pub from: StationId,
    /// Who received it.
    pub to: StationId,
    /// The channel: 37 to 39, or 0 to 36 for an AUX_ADV_IND.
    pub channel: u8,
    /// Signal strength in dBm.
    pub rssi: i8,
    /// The frame; empty when an advert has none.
    pub frame: &'a FrameBytes,
    /// The advert around it, where a host put it together itself.
    pub advert: Option<&'a Advert>,
}

impl Reception<'_> {
    /// Whether there is a frame in it.
    #[must_use]
    pub fn has_frame(&self) -> bool {
        self.advert.is_none_or(|advert| advert.frame().is_some())
    }
}

/// What becomes of a reception on its way to the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceptionVerdict {
    /// It reaches the host.
    Pass,
    /// It never does.
    Drop,
    /// It does so much later.
    Delay(Duration),
    /// It does, and once more so much later.
    Again(Duration),
    /// Other bytes reach the host.
    Replace(Box<FrameBytes>),
}

/// Watches a world with devices of type `S`, for traces and for checks after every event, and may meddle with what
/// reaches hosts.
pub trait Observer<S> {
    /// A reception is about to reach a host: what is to become of it. What was delayed is not asked about again.
    fn verdict(&mut self, now: Instant, reception: &Reception<'_>) -> ReceptionVerdict {
        let _ = (now, reception);
        ReceptionVerdict::Pass
    }

    /// An advertising event starts at `now`; `frame` is empty when a host's advert has none.
    fn transmitted(&mut self, now: Instant, from: StationId, frame: &[u8]) {
        let _ = (now, from, frame);
    }

    /// A frame reaches a host at `now`.
    fn received(&mut self, now: Instant, reception: &Reception<'_>) {
        let _ = (now, reception);
    }

    /// A device has run: after it was added, for a frame that it took, for its timer, or because it was poked.
    fn ran(&mut self, now: Instant, id: StationId, station: &mut S) {
        let _ = (now, id, station);
    }
}

/// Nobody watches.
impl<S> Observer<S> for () {}
