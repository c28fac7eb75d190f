//! A frame as advertising data, and whichever way a controller has to put it on the air.
//!
//! Owns the AD structure around a frame and the choice between [`Legacy`] and [`Extended`].

use heapless::Vec;
use mesh_protocol::{Duration, Instant, LEGACY_FRAME, MAX_FRAME};

use super::command::Command;
use super::extended::Extended;
use super::legacy::Legacy;
use crate::Full;
use crate::airtime::AD_HEADER;

const MANUFACTURER_DATA: u8 = 0xff;

/// Advertising data that wait to go out.
#[derive(Debug)]
pub(super) struct Advert {
    pub(super) data: Vec<u8, { MAX_FRAME + AD_HEADER }>,
}

impl Advert {
    pub(super) fn new(company: u16, frame: &[u8]) -> Result<Self, Full> {
        let length = u8::try_from(frame.len() + AD_HEADER - 1).map_err(|_| Full)?;
        let [low, high] = company.to_le_bytes();
        let mut data = Vec::from_slice(&[length, MANUFACTURER_DATA, low, high]).map_err(|_| Full)?;
        data.extend_from_slice(frame).map_err(|_| Full)?;
        Ok(Self { data })
    }
}

/// The longest frame in so many bytes of advertising data.
pub(super) fn frame_within(data: u16) -> usize {
    usize::from(data).saturating_sub(AD_HEADER).clamp(LEGACY_FRAME, MAX_FRAME)
}

/// What became of frames since someone asked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// On the air for their time, or confirmed.
    pub(super) sent: u64,
    /// Never, as far as is known.
    pub(super) lost: u64,
}

/// The way that a controller advertises.
#[derive(Debug)]
enum Way {
    Legacy(Legacy),
    Extended(Extended),
}

/// A controller's advertising, and the one frame that may wait for it.
#[derive(Debug)]
pub(super) struct Advertiser {
    way: Way,
    waiting: Option<Advert>,
}

/// Passes a call on to whichever it is.
macro_rules! either {
    ($self:expr, $way:ident => $call:expr) => {
        match $self {
            Way::Legacy($way) => $call,
            Way::Extended($way) => $call,
        }
    };
}

impl Advertiser {
    /// One frame at a time.
    pub(super) fn legacy(interval: Duration) -> Self {
        Self { way: Way::Legacy(Legacy::new(interval)), waiting: None }
    }

    /// A frame in each set.
    pub(super) fn extended(interval: Duration, sets: u8) -> Self {
        Self { way: Way::Extended(Extended::new(interval, sets)), waiting: None }
    }

    pub(super) fn min_gap(&self, latency: Duration) -> Duration {
        either!(&self.way, way => way.min_gap(latency))
    }

    pub(super) fn submit(&mut self, advert: Advert) -> Result<(), Full> {
        if self.waiting.is_some() {
            return Err(Full);
        }
        self.waiting = Some(advert);
        Ok(())
    }

    pub(super) fn next(&mut self, now: Instant) -> Option<Command> {
        either!(&mut self.way, way => way.next(now, &mut self.waiting))
    }

    pub(super) fn done(&mut self, now: Instant, ok: bool) {
        either!(&mut self.way, way => way.done(now, ok));
    }

    /// Whether the next frame is wanted now, sooner than the gap says; told once.
    pub(super) fn take_ready(&mut self) -> bool {
        match &mut self.way {
            Way::Legacy(legacy) => legacy.take_over() && self.waiting.is_none(),
            // Several sets are kept busy by the gap, and no busier than that, for the air's sake.
            Way::Extended(_) => false,
        }
    }

    /// What a command costs, where there is news of it; `took` is what the last one took by itself.
    pub(super) fn take_cost(&mut self, took: Duration) -> Option<Duration> {
        match &mut self.way {
            Way::Legacy(legacy) => legacy.take_cost(),
            Way::Extended(_) => Some(took),
        }
    }

    pub(super) fn timeout(&self) -> Option<Instant> {
        either!(&self.way, way => way.timeout())
    }

    pub(super) fn take_tally(&mut self) -> Tally {
        std::mem::take(either!(&mut self.way, way => &mut way.tally))
    }

    pub(super) fn terminated(&mut self, handle: u8, events: u8) {
        if let Way::Extended(extended) = &mut self.way {
            extended.terminated(handle, events);
        }
    }

    pub(super) fn is_dead(&self) -> bool {
        matches!(&self.way, Way::Extended(extended) if extended.is_dead())
    }

    /// Commands that stop all advertising, and a clean state. What waits stays.
    pub(super) fn restart(&mut self) -> std::vec::Vec<Command> {
        match &mut self.way {
            Way::Legacy(legacy) => vec![legacy.restart()],
            Way::Extended(extended) => extended.restart().collect(),
        }
    }
}
