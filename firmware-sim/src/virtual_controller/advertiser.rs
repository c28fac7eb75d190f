//! One advertising set as its host has set it up.
//!
//! Owns what legacy and extended advertising have in common: what is advertised, from which address, how often. How commands change it
//! is `legacy`'s and `extended`'s business.

use ble_bearer::sim::{AdvAddress, AdvPdu, Advert};
use mesh_protocol::{Duration, Instant};

use super::call::Status;

/// The unit of advertising intervals (7.8.5).
const INTERVAL_UNIT: u64 = 625;

/// An advertising set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Advertiser {
    /// The radio's number for it.
    pub(super) slot: usize,
    pub(super) pdu: AdvPdu,
    pub(super) interval: Duration,
    /// Whether it sends from a random address.
    pub(super) own_random: bool,
    /// Its random address; those of legacy advertising are the controller's.
    pub(super) random: Option<[u8; 6]>,
    pub(super) data: Vec<u8>,
    /// Kept because a host may set it. Nobody asks for it: there are no scan requests on the simulated air.
    pub(super) response: Vec<u8>,
    /// More of its data is to come.
    pub(super) partial: bool,
    pub(super) enabled: bool,
    /// When it stops by itself.
    pub(super) until: Option<Instant>,
    /// After how many events it stops by itself.
    pub(super) limit: Option<u8>,
}

impl Advertiser {
    /// What a host of legacy commands finds (7.8.5): connectable, 1.28 s.
    pub(super) const fn legacy() -> Self {
        Self::new(0, AdvPdu::Connectable, interval(0x0800), false)
    }

    pub(super) const fn new(slot: usize, pdu: AdvPdu, interval: Duration, own_random: bool) -> Self {
        Self {
            slot,
            pdu,
            interval,
            own_random,
            random: None,
            data: Vec::new(),
            response: Vec::new(),
            partial: false,
            enabled: false,
            until: None,
            limit: None,
        }
    }

    /// What it has on the air.
    pub(super) fn advert(&self, from: AdvAddress) -> Result<Advert, Status> {
        Advert::new(from, self.pdu, &self.data).ok_or(Status::INVALID)
    }
}

/// So many units of an advertising interval.
pub(super) const fn interval(units: u32) -> Duration {
    Duration::from_micros(units as u64 * INTERVAL_UNIT)
}
