//! A frame as advertising data.
//!
//! Owns the AD structure around a frame. How it gets on the air is for the schedulers, `legacy` and `extended`.

use heapless::Vec;
use mesh_protocol::{LEGACY_FRAME, MAX_FRAME};

use crate::Full;
use crate::airtime::AD_HEADER;

const MANUFACTURER_DATA: u8 = 0xff;

/// Advertising data that wait to go out.
#[derive(Debug)]
pub(super) struct AdvData {
    pub(super) bytes: Vec<u8, { MAX_FRAME + AD_HEADER }>,
}

impl AdvData {
    pub(super) fn new(company: u16, frame: &[u8]) -> Result<Self, Full> {
        let length = u8::try_from(frame.len() + AD_HEADER - 1).map_err(|_| Full)?;
        let [low, high] = company.to_le_bytes();
        let mut bytes = Vec::from_slice(&[length, MANUFACTURER_DATA, low, high]).map_err(|_| Full)?;
        bytes.extend_from_slice(frame).map_err(|_| Full)?;
        Ok(Self { bytes })
    }
}

/// The longest frame in so many bytes of advertising data.
pub(super) fn frame_within(data: u16) -> usize {
    usize::from(data).saturating_sub(AD_HEADER).clamp(LEGACY_FRAME, MAX_FRAME)
}
