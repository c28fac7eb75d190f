//! From an adapter's name to a bearer that works.
//!
//! Owns the choice of the way, and what is said about it. How a bearer works is `ble-bearer`'s business.

use anyhow::Context;
#[cfg(feature = "bluez")]
use ble_bearer::bluez::{BluezBearer, BluezOptions};
use ble_bearer::hci::{HciBearer, HciOptions, OpenError, Port};
use ble_bearer::{Bearer, BearerError, BearerEvent, Full, WallClock};

use mesh_protocol::LinkId;

use crate::settings::RadioSettings;

/// An adapter, by the way that was open to it.
#[derive(Debug)]
pub enum Radio {
    /// For this program alone.
    Hci(Box<HciBearer<Port, WallClock>>),
    /// Shared by bluetoothd.
    #[cfg(feature = "bluez")]
    Bluez(BluezBearer),
}

/// Opens a controller the best way there is: for this program alone, or, where an adapter of this system is in use or the right is
/// missing, through bluetoothd. Says which way it took, and how to get the better one.
///
/// # Errors
/// Why it cannot be opened, and what to do.
pub async fn open(port: &Port, settings: &RadioSettings, clock: WallClock) -> anyhow::Result<Radio> {
    let refused = match HciBearer::open(port.clone(), options(settings)?, clock).await {
        Ok(bearer) => {
            tracing::info!(adapter = %port, "opened over HCI, for this gateway alone");
            return Ok(Radio::Hci(Box::new(bearer)));
        }
        Err(refused) => refused,
    };
    #[cfg(feature = "bluez")]
    if matches!(refused, OpenError::Busy { .. } | OpenError::NotPermitted { .. }) {
        let name = port.to_string();
        match bluez(&name, settings).await {
            Ok(bearer) => {
                tracing::warn!(
                    "{name} is shared through bluetoothd, which sends a third of the frames that the adapter alone would: {refused}"
                );
                return Ok(Radio::Bluez(bearer));
            }
            Err(also) => anyhow::bail!("{refused}; nor through bluetoothd: {also}"),
        }
    }
    if !cfg!(feature = "bluez") && matches!(refused, OpenError::Busy { .. } | OpenError::NotPermitted { .. })
    {
        anyhow::bail!("{refused} (sharing needs a program built with `--features bluez`, which this is not)");
    }
    Err(refused.into())
}

/// Opens an adapter that bluetoothd shares.
///
/// # Errors
/// Why it cannot be opened, and what to do.
#[cfg(feature = "bluez")]
pub async fn bluez(name: &str, settings: &RadioSettings) -> anyhow::Result<BluezBearer> {
    let options = BluezOptions { company: settings.company_id, ..BluezOptions::default() };
    Ok(BluezBearer::open(name, options).await?)
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

/// A radio that is not there: it takes no frame and hears none.
#[derive(Debug)]
pub struct NoRadio;

impl Bearer for NoRadio {
    async fn next_event(&mut self) -> Result<BearerEvent, BearerError> {
        std::future::pending().await
    }

    fn try_send(&mut self, _: LinkId, _: &[u8], _: u8) -> Result<(), Full> {
        Err(Full)
    }
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
