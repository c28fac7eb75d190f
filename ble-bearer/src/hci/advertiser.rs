//! A controller's advertising, whichever kind it has.
//!
//! Owns the choice between [`Legacy`] and [`Extended`], and the one frame that may wait for either.

use mesh_protocol::{Duration, Instant};

use super::adv_data::AdvData;
use super::command::Command;
use super::extended::Extended;
use super::legacy::Legacy;
use super::tally::Tally;
use crate::Full;

/// How a controller advertises.
#[derive(Debug)]
enum Scheduler {
    Legacy(Legacy),
    Extended(Extended),
}

/// A controller's advertising, and the one frame that may wait for it.
#[derive(Debug)]
pub(super) struct Advertiser {
    scheduler: Scheduler,
    waiting: Option<AdvData>,
}

/// Passes a call on to whichever it is.
macro_rules! either {
    ($self:expr, $scheduler:ident => $call:expr) => {
        match $self {
            Scheduler::Legacy($scheduler) => $call,
            Scheduler::Extended($scheduler) => $call,
        }
    };
}

impl Advertiser {
    /// One frame at a time.
    pub(super) fn legacy(interval: Duration) -> Self {
        Self { scheduler: Scheduler::Legacy(Legacy::new(interval)), waiting: None }
    }

    /// A frame in each set.
    pub(super) fn extended(interval: Duration, sets: u8) -> Self {
        Self { scheduler: Scheduler::Extended(Extended::new(interval, sets)), waiting: None }
    }

    pub(super) fn min_gap(&self, latency: Duration) -> Duration {
        either!(&self.scheduler, scheduler => scheduler.min_gap(latency))
    }

    pub(super) fn submit(&mut self, advert: AdvData) -> Result<(), Full> {
        // One and no more: what waits here is decided and cannot be overtaken, and the node knows better what goes next.
        if self.waiting.is_some() {
            return Err(Full);
        }
        self.waiting = Some(advert);
        Ok(())
    }

    pub(super) fn next(&mut self, now: Instant) -> Option<Command> {
        either!(&mut self.scheduler, scheduler => scheduler.next(now, &mut self.waiting))
    }

    pub(super) fn done(&mut self, now: Instant, ok: bool) {
        either!(&mut self.scheduler, scheduler => scheduler.done(now, ok));
    }

    /// Whether the next frame is wanted now, sooner than the gap says; said once.
    pub(super) fn take_ready(&mut self) -> bool {
        match &mut self.scheduler {
            Scheduler::Legacy(legacy) => legacy.take_over() && self.waiting.is_none(),
            // Several sets are kept busy by the gap, and no busier than that, for the air's sake.
            Scheduler::Extended(_) => false,
        }
    }

    /// What a command costs, where there is news of it; `took` is what the last one took by itself.
    pub(super) fn take_cost(&mut self, took: Duration) -> Option<Duration> {
        match &mut self.scheduler {
            Scheduler::Legacy(legacy) => legacy.take_cost(),
            Scheduler::Extended(_) => Some(took),
        }
    }

    pub(super) fn timeout(&self) -> Option<Instant> {
        either!(&self.scheduler, scheduler => scheduler.timeout())
    }

    pub(super) fn take_tally(&mut self) -> Tally {
        std::mem::take(either!(&mut self.scheduler, scheduler => &mut scheduler.tally))
    }

    pub(super) fn terminated(&mut self, handle: u8, events: u8) {
        if let Scheduler::Extended(extended) = &mut self.scheduler {
            extended.terminated(handle, events);
        }
    }

    pub(super) fn is_dead(&self) -> bool {
        matches!(&self.scheduler, Scheduler::Extended(extended) if extended.is_dead())
    }

    /// Commands that stop all advertising, and a clean state. What waits stays.
    pub(super) fn restart(&mut self) -> Vec<Command> {
        match &mut self.scheduler {
            Scheduler::Legacy(legacy) => vec![legacy.restart()],
            Scheduler::Extended(extended) => extended.restart().collect(),
        }
    }
}
