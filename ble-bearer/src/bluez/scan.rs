//! What is heard: frames out of the devices that bluetoothd reports.
//!
//! Owns the scan and the sorting of reports. An advert from an address never seen is a new device, whose data have to be
//! asked for; one from a known address is a change of that device's data. Both are listened to.

use std::collections::HashSet;
use std::pin::Pin;

use btleplug::api::{Central, CentralEvent, Manager as _, Peripheral as _, ScanFilter};
use btleplug::platform::{Adapter, Manager, PeripheralId};
use futures_util::{Stream, StreamExt};

use crate::FrameBytes;

/// A scan that runs.
pub(super) struct Scan {
    adapter: Adapter,
    company: u16,
    reports: Pin<Box<dyn Stream<Item = CentralEvent> + Send>>,
    /// Devices that bluetoothd remembers from before; they are reported once without having been heard.
    before: HashSet<PeripheralId>,
}

impl Scan {
    /// Starts to listen. `manager` is made when there is none or it is of no use any more: each holds a connection
    /// to the bus for as long as the runtime lives.
    pub(super) async fn start(
        name: &str,
        company: u16,
        manager: &mut Option<Manager>,
    ) -> Result<Self, btleplug::Error> {
        if let Some(known) = manager.take()
            && known.adapters().await.is_ok()
        {
            *manager = Some(known);
        }
        let manager = match manager {
            Some(manager) => manager,
            none => none.insert(Manager::new().await?),
        };
        let mut adapter = None;
        for known in manager.adapters().await? {
            // "hci0 (usb:v1D6Bp0246d0542)"
            if known.adapter_info().await?.split(' ').next() == Some(name) {
                adapter = Some(known);
            }
        }
        let adapter = adapter.ok_or(btleplug::Error::DeviceNotFound)?;
        let reports = adapter.events().await?;
        let before = adapter.peripherals().await?.iter().map(btleplug::api::Peripheral::id).collect();
        // Asks for duplicates as well: the same address may send other data.
        adapter.start_scan(ScanFilter::default()).await?;
        Ok(Self { adapter, company, reports, before })
    }

    /// The next frame and how loud it was; `None` when there will be no more. Cancelling it may lose a frame.
    pub(super) async fn next(&mut self) -> Option<(FrameBytes, Option<i8>)> {
        loop {
            let (mut data, rssi) = match self.reports.next().await? {
                CentralEvent::DeviceDiscovered(id) if !self.before.remove(&id) => {
                    // Either may fail for a device that is gone by now.
                    let Ok(device) = self.adapter.peripheral(&id).await else { continue };
                    let Ok(Some(properties)) = device.properties().await else { continue };
                    (properties.manufacturer_data, properties.rssi)
                }
                CentralEvent::ManufacturerDataAdvertisement { manufacturer_data, .. } => {
                    (manufacturer_data, None)
                }
                _ => continue,
            };
            let Some(frame) = data.remove(&self.company) else { continue };
            // Longer than any frame, or empty: another program's.
            let Ok(frame) = FrameBytes::from_slice(&frame) else { continue };
            if !frame.is_empty() {
                return Some((frame, rssi.and_then(|rssi| i8::try_from(rssi).ok())));
            }
        }
    }

    /// Ends the scan; what else is there to do if that fails.
    pub(super) async fn stop(self) {
        let _ = self.adapter.stop_scan().await;
    }
}
