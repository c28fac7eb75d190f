//! Legacy advertising, as a host commands it (Core Specification, Volume 4 Part E, 7.8.5 to 7.8.9).
//!
//! Owns what the commands mean and when they are refused. The events on the air are the radio's business.

use std::ops::RangeInclusive;

use ble_bearer::sim::AdvPdu;

use super::VirtualController;
use super::advertiser::interval;
use super::call::{Call, Reply, Status, is_random};

/// Advertising intervals, in units of 0.625 ms: 20 ms to 10.24 s. For non-connectable adverts too, as from version 5.0 on (7.8.5).
const INTERVALS: RangeInclusive<u16> = 0x0020..=0x4000;
/// All three channels. The simulated air has no adverts on fewer.
pub(super) const CHANNEL_MAP: u8 = 0b111;

impl VirtualController {
    pub(super) fn set_advertising_parameters(&mut self, parameters: &[u8], _: &mut Call<'_, '_>) -> Reply {
        let &[min_low, min_high, max_low, max_high, kind, own, _, _, _, _, _, _, _, channels, policy] =
            parameters
        else {
            return Err(Status::INVALID);
        };
        if self.legacy.enabled {
            return Err(Status::DISALLOWED);
        }
        let min = u16::from_le_bytes([min_low, min_high]);
        let max = u16::from_le_bytes([max_low, max_high]);
        if !INTERVALS.contains(&min) || !INTERVALS.contains(&max) || min > max || policy > 3 {
            return Err(Status::INVALID);
        }
        let pdu = match kind {
            0 => AdvPdu::Connectable,
            2 => AdvPdu::Scannable,
            3 => AdvPdu::NonConnectable,
            // To one device only.
            1 | 4 => return Err(Status::UNSUPPORTED),
            _ => return Err(Status::INVALID),
        };
        check_channels(channels)?;
        let own_random = is_random(own)?;
        (self.legacy.pdu, self.legacy.own_random) = (pdu, own_random);
        self.legacy.interval = interval(min.into());
        Ok(Vec::new())
    }

    /// Used from the next event on.
    pub(super) fn set_advertising_data(&mut self, parameters: &[u8], call: &mut Call<'_, '_>) -> Reply {
        self.legacy.data = significant(parameters)?.to_vec();
        if self.legacy.enabled {
            let from = self.own(self.legacy.own_random, self.random)?;
            call.radio.change(self.legacy.slot, self.legacy.advert(from)?);
        }
        Ok(Vec::new())
    }

    pub(super) fn set_scan_response(&mut self, parameters: &[u8], _: &mut Call<'_, '_>) -> Reply {
        self.legacy.response = significant(parameters)?.to_vec();
        Ok(Vec::new())
    }

    pub(super) fn set_advertising_enable(&mut self, parameters: &[u8], call: &mut Call<'_, '_>) -> Reply {
        match parameters {
            [0] => {
                self.legacy.enabled = false;
                call.radio.stop(self.legacy.slot);
            }
            // It goes on as it does.
            [1] if self.legacy.enabled => {}
            [1] => {
                let from = self.own(self.legacy.own_random, self.random)?;
                let advert = self.legacy.advert(from)?;
                let started = call.radio.start(self.legacy.slot, advert, None, self.legacy.interval);
                started.map_err(|_| Status::MEMORY)?;
                self.legacy.enabled = true;
            }
            _ => return Err(Status::INVALID),
        }
        Ok(Vec::new())
    }
}

/// The significant part of the 31 bytes behind a length.
fn significant(parameters: &[u8]) -> Result<&[u8], Status> {
    let (length, data) = parameters.split_first().ok_or(Status::INVALID)?;
    data.get(..usize::from(*length)).ok_or(Status::INVALID)
}

/// Only some channels are allowed, and not possible here.
pub(super) const fn check_channels(channels: u8) -> Result<(), Status> {
    match channels {
        CHANNEL_MAP => Ok(()),
        1..CHANNEL_MAP => Err(Status::UNSUPPORTED),
        _ => Err(Status::INVALID),
    }
}
