//! One advertising event on its way, and who is with its PDUs.
//!
//! Owns the geometry of an event in time and over the channels. Who locks on and who receives is decided in [`super::air`].

use std::sync::Arc;

use mesh_protocol::{Instant, Rng};

use super::advert::Cargo;
use super::geometry::StationId;
use super::hearer::Hearer;
use super::receiver::Span;
use crate::airtime::{CHANNELS, Phy, Shape};

/// Channels that AUX_ADV_INDs are sent on: 0 to 36. The advertising channels follow.
pub(super) const SECONDARY: usize = 37;

/// One advertising event on its way.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) from: StationId,
    pub(super) start: Instant,
    pub(super) shape: Shape,
    /// Where its AUX_ADV_IND goes, 0 to 36.
    pub(super) secondary: usize,
    /// What it meets is drawn from here, for each receiver at its own place.
    pub(super) draws: Rng,
    /// Power was cut then.
    pub(super) cut: Option<Instant>,
    pub(super) cargo: Arc<Cargo>,
    /// For each PDU, who is with it.
    pub(super) locked: [Vec<Hearer>; CHANNELS + 1],
    /// For each PDU, who overlaps it and can disturb one of those.
    pub(super) rivals: [Vec<StationId>; CHANNELS + 1],
    /// Who knows of the AUX_ADV_IND.
    pub(super) followers: Vec<StationId>,
}

impl Flight {
    pub(super) fn pdu(&self, n: usize) -> Span {
        let start = self.start + self.shape.start(n);
        Span { start, end: start + self.shape.length(n) }
    }

    /// The channel of PDU `n`: 0 to 36, and the advertising channels from there on.
    pub(super) fn channel(&self, n: usize) -> usize {
        if n < CHANNELS { SECONDARY + n } else { self.secondary }
    }

    /// How PDU `n` is sent.
    pub(super) const fn phy(&self, n: usize) -> Phy {
        match self.shape {
            Shape::Extended(_, phy) if n >= CHANNELS => phy,
            _ => Phy::OneM,
        }
    }

    /// Whether PDU `n` has the frame in it.
    pub(super) const fn carries(&self, n: usize) -> bool {
        matches!(self.shape, Shape::Legacy(_)) || n >= CHANNELS
    }
}
