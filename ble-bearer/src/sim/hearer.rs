//! Who received a PDU, and how well.
//!
//! Owns what of a reception is known once it is decided. That it is, is [`super::Air`]'s business.

use super::geometry::StationId;

/// One station that received a PDU.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hearer {
    /// Which.
    pub station: StationId,
    /// Signal strength, in hundredths of a dBm.
    pub(super) strength: i32,
    /// The same in milliwatts.
    pub(super) power: f32,
    /// What the link loses besides, in parts in a million.
    pub(super) loss_ppm: u32,
}

impl Hearer {
    /// Signal strength as a controller reports it: whole dBm, −127 to 20 (Core Specification, Vol 4 Part E, 7.7.65.2).
    #[must_use]
    pub fn rssi(&self) -> i8 {
        (self.strength + 50).div_euclid(100).clamp(-127, 20) as i8
    }
}
