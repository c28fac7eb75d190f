//! What a station's radio is and does while it does not send.
//!
//! Owns the state that a reception depends on: what is scanned until when, what it stays with, when it sends itself. What is received is
//! decided in [`super::air`].

use mesh_protocol::{Duration, Instant, Rng};

use super::spec::RadioSpec;

/// A radio needs about this long between sending and receiving (`docs/simulator.md`).
pub const TURNAROUND: Duration = Duration::from_micros(300);

/// A stretch of time, its end excluded.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    pub(super) start: Instant,
    pub(super) end: Instant,
}

/// Overlaps nothing.
pub(super) const NEVER: Span = Span { start: Instant::from_micros(u64::MAX), end: Instant::ZERO };

/// What a station's radio is doing. Small: this is what every PDU looks at.
#[derive(Debug)]
pub(super) struct Receiver {
    /// It stays with a PDU until then.
    pub(super) locked: Instant,
    /// Its own latest advertising event.
    pub(super) own: Span,
}

impl Receiver {
    /// Whether its latest own event keeps it from hearing something in `span`.
    pub(super) fn sends_in(&self, span: Span) -> bool {
        self.own.start < span.end + TURNAROUND && span.start < self.own.end + TURNAROUND
    }
}

/// The channel that a station scans, and until when: looked at for everyone in range of every PDU, so that those on other
/// channels cost next to nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tuned {
    pub(super) until: Instant,
    /// 0 to 2, or none.
    pub(super) channel: u8,
}

impl Tuned {
    pub(super) const NONE: u8 = u8::MAX;
    /// Without power, for good.
    pub(super) const OFF: Self = Self { until: Instant::from_micros(u64::MAX), channel: Self::NONE };
    /// Not known.
    pub(super) const STALE: Self = Self { until: Instant::ZERO, channel: Self::NONE };
}

/// What a station's radio is.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) spec: RadioSpec,
    pub(super) powered: bool,
    /// Whether it scans at all.
    pub(super) scans: bool,
    /// The weakest signal received on LE 1M, in hundredths of a dBm.
    pub(super) sensitivity: i32,
    /// Where in its round of scan windows it stood at time zero.
    pub(super) scan_offset: Duration,
    /// What its advertising events meet is drawn from here, each at its own place.
    pub(super) draws: Rng,
    /// Advertising events it has sent.
    pub(super) events: u64,
}

impl Unit {
    /// The channel (0..3) it scans at `at`, if any, and until when that stays so.
    pub(super) fn scan(&self, at: Instant) -> (Option<usize>, Instant) {
        if !self.scans {
            return (None, Instant::from_micros(u64::MAX));
        }
        self.spec.scan.at(at, self.scan_offset)
    }

    #[cold]
    pub(super) fn tuned(&self, at: Instant) -> Tuned {
        match self.scan(at) {
            (Some(channel), until) => Tuned { until, channel: channel as u8 },
            (None, until) => Tuned { until, channel: Tuned::NONE },
        }
    }
}
