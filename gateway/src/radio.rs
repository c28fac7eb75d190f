//! From an adapter's name to a bearer that works.
//!
//! Owns the choice of the way, and what is said about it. How a bearer works is `ble-bearer`'s business.

use anyhow::Context;
use ble_bearer::WallClock;
use ble_bearer::hci::{HciBearer, HciOptions, Port};

use crate::settings::RadioSettings;

/// A bearer on a controller of its own.
pub type Hci = HciBearer<Port, WallClock>;

/// Opens a controller over HCI.
///
/// # Errors
/// Why it cannot be opened, and what to do.
pub async fn hci(port: &Port, settings: &RadioSettings, clock: WallClock) -> anyhow::Result<Hci> {
    Ok(HciBearer::open(port.clone(), options(settings)?, clock).await?)
}

/// How a controller is to be used, with an address of its own for each call.
///
/// # Errors
/// When the system has no random numbers.
pub fn options(settings: &RadioSettings) -> anyhow::Result<HciOptions> {
    Ok(HciOptions {
        company: settings.company_id,
        extended: settings.extended,
        long_frames: settings.long_frames,
        scan_duty: settings.scan_duty,
        ..HciOptions::new(random()?)
    })
}

/// Random bits from the system.
///
/// # Errors
/// When it has none.
pub fn random() -> anyhow::Result<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).context("the system gives no random numbers; try again later")?;
    Ok(u64::from_le_bytes(bytes))
}
