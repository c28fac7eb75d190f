//! A wireless LAN beside the mesh.
//!
//! Owns when it sends and how strong it is. What that does to receptions is the air's business.

use mesh_protocol::{Duration, Rng};

use super::receiver::Span;

/// Bursts of a wireless LAN, on each advertising channel at its own times, equally strong at every receiver.
#[derive(Clone, Debug, PartialEq)]
pub struct Wlan {
    /// Parts in a million of the time that it sends.
    pub duty_ppm: u32,
    /// How long it sends at a time.
    pub burst: Duration,
    /// How strong it is, in dBm.
    pub dbm: f64,
}

/// A wireless LAN at work.
#[derive(Debug)]
pub(super) struct Bursts {
    pub(super) wlan: Wlan,
    /// Its power in milliwatts.
    pub(super) power: f32,
    pub(super) draws: Rng,
}

impl Bursts {
    /// Its power on an advertising channel at any time in `span`.
    pub(super) fn power(&self, channel: usize, span: Span) -> f32 {
        let burst = self.wlan.burst.as_micros().max(1);
        // The end is excluded; an instant is in its slot.
        let last = span.end.as_micros().saturating_sub(1).max(span.start.as_micros());
        let (first, last) = (span.start.as_micros() / burst, last / burst);
        let sends = |slot: u64| {
            let mut draw = self.draws.clone().fork((channel as u64) << 60 | slot);
            draw.chance(self.wlan.duty_ppm)
        };
        if (first..=last).any(sends) { self.power } else { 0.0 }
    }
}
