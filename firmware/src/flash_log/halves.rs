//! The two halves of the region: where each begins and ends, its head, and the mark that it counts no more.
//!
//! Owns their bytes. When a half begins and which of two counts is decided in the log itself.

use super::LogError;
use super::record::{self, Crc, ERASED, HEAD, MOVED};
use crate::flash::Flash;

/// What a half begins with: `MFL1`, in this order in flash.
const MAGIC: [u8; 4] = *b"MFL1";
/// Bytes of a half's head: magic, generation, CRC-32 of both, ones.
pub(super) const HALF_HEAD: usize = 16;
/// Bytes that are looked at at a time when nothing should be written there.
const SCAN: usize = 32;

/// What stands where a half's head should.
pub(super) enum Half {
    Erased,
    Head(u32),
    Broken,
}

pub(super) fn read_half<F: Flash>(flash: &mut F, half: u32) -> Result<Half, LogError<F::Error>> {
    let mut bytes = [0; HALF_HEAD];
    flash.read(half, &mut bytes).map_err(LogError::Flash)?;
    let [_, _, _, _, g0, g1, g2, g3, ..] = bytes;
    let generation = u32::from_le_bytes([g0, g1, g2, g3]);
    Ok(match bytes {
        [ERASED, ..] if bytes == [ERASED; HALF_HEAD] => Half::Erased,
        _ if bytes == half_head(generation) => Half::Head(generation),
        _ => Half::Broken,
    })
}

pub(super) fn half_head(generation: u32) -> [u8; HALF_HEAD] {
    let mut bytes = [ERASED; HALF_HEAD];
    bytes[..4].copy_from_slice(&MAGIC);
    bytes[4..8].copy_from_slice(&generation.to_le_bytes());
    let crc = Crc::new().add(&bytes[..8]).value();
    bytes[8..12].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Marks a half at its end: the other one counts now.
pub(super) fn mark_moved<F: Flash>(
    flash: &mut F,
    half: u32,
    generation: u32,
) -> Result<(), LogError<F::Error>> {
    let mark = record::head(MOVED, record::begin(generation, MOVED).value());
    flash.write(half + records_len(flash), &mark).map_err(LogError::Flash)
}

/// Whether a half has that mark, or a part of it: nothing else is written there, and not before the head of the other half is whole.
pub(super) fn has_moved<F: Flash>(flash: &mut F, half: u32) -> Result<bool, LogError<F::Error>> {
    let mark = half + records_len(flash);
    Ok(!is_erased(flash, mark, mark + HEAD as u32)?)
}

/// Where records of a half end: behind them is room for the mark.
pub(super) fn records_len<F: Flash>(flash: &F) -> u32 {
    half_len(flash).saturating_sub(HEAD as u32)
}

/// Bytes of a half: whole pages.
pub(super) fn half_len<F: Flash>(flash: &F) -> u32 {
    (flash.capacity() / 2 / F::PAGE * F::PAGE) as u32
}

pub(super) fn is_erased<F: Flash>(flash: &mut F, from: u32, to: u32) -> Result<bool, LogError<F::Error>> {
    let mut at = from;
    while at < to {
        let mut bytes = [0; SCAN];
        let bytes = &mut bytes[..SCAN.min((to - at) as usize)];
        flash.read(at, bytes).map_err(LogError::Flash)?;
        if bytes.iter().any(|byte| *byte != ERASED) {
            return Ok(false);
        }
        at += bytes.len() as u32;
    }
    Ok(true)
}
