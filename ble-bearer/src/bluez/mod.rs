//! An adapter of Linux, shared with other programs, by way of BlueZ's daemon on the system bus.
//!
//! Owns [`BluezBearer`] and why one cannot be opened. Needs no rights and takes nothing away from others; in return
//! bluetoothd decides when a frame leaves, and a frame takes a message over the bus each way. How a frame is shown is
//! `advertisement`'s business, how one is heard `scan`'s, what both stand on `session`'s, how far apart frames are
//! `pace`'s, and what happens when it breaks `worker`'s.

mod advertisement;
mod bus;
mod pace;
mod scan;
mod session;
mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mesh_protocol::{Duration, LEGACY_FRAME, LinkId, LinkInfo};
use tokio::sync::mpsc;

use crate::{AdapterState, Bearer, BearerError, BearerEvent, FrameBytes, Full, Health, RADIO_LINK};
use worker::Worker;

/// Heard frames that wait for whoever runs the node; further ones are lost, as on the air. A guess: two seconds of a
/// busy neighbourhood.
const HEARD: usize = 256;

/// How frames are handed to bluetoothd.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sending {
    /// One advertisement stays registered while there are frames, and its data change.
    #[default]
    Update,
    /// Each frame is an advertisement of its own: registered, shown, unregistered. For a bluetoothd that takes no
    /// notice of changed data, and to compare.
    Register,
}

/// What can be chosen about a [`BluezBearer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BluezOptions {
    /// How frames are handed to bluetoothd.
    pub sending: Sending,
    /// The least time from the start of one frame to the start of the next. When bluetoothd turns out to be slower the
    /// link says more, and says so again when that changes.
    pub gap: Duration,
    /// Company identifier of the manufacturer data around frames.
    pub company: u16,
}

impl Default for BluezOptions {
    /// Updates, 50 ms apart: about what bluetoothd, kernel and controller were seen to take for a frame.
    fn default() -> Self {
        Self { sending: Sending::Update, gap: Duration::from_millis(50), company: 0xffff }
    }
}

/// Why an adapter cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// There is no system bus, or it lets nobody in.
    #[error(
        "opening the Bluetooth adapter: the system bus cannot be reached ({0}); start dbus-daemon, or give \
             its address in DBUS_SYSTEM_BUS_ADDRESS"
    )]
    NoBus(String),
    /// Nobody on the bus is BlueZ.
    #[error(
        "opening the Bluetooth adapter: bluetoothd is not running; start it with `systemctl start bluetooth`, \
             or install the package bluez"
    )]
    NoDaemon,
    /// bluetoothd is there, but has no such adapter.
    #[error(
        "opening the Bluetooth adapter {adapter}: bluetoothd knows of no such adapter; {}",
        there_are(present)
    )]
    NoAdapter {
        /// What was asked for.
        adapter: String,
        /// What there is.
        present: Vec<String>,
    },
    /// The adapter is switched off.
    #[error(
        "opening the Bluetooth adapter {0}: it is switched off; switch it on with `bluetoothctl power on`, and if \
             that is refused, lift the block with `rfkill unblock bluetooth`"
    )]
    Off(String),
    /// The adapter cannot send adverts, or this bluetoothd cannot make it.
    #[error(
        "opening the Bluetooth adapter {0}: bluetoothd offers no advertising on it; use an adapter with \
             Bluetooth 4.0 or later"
    )]
    NoAdvertising(String),
    /// Something else went wrong between us and bluetoothd.
    #[error(
        "opening the Bluetooth adapter {adapter}: {what} failed ({why}); see what `journalctl -u bluetooth` says"
    )]
    Refused {
        /// What was asked for.
        adapter: String,
        /// What was attempted.
        what: &'static str,
        /// What came back.
        why: String,
    },
}

fn there_are(present: &[String]) -> String {
    match present {
        [] => "it has none: plug one in, and look for it with `bluetoothctl list`".to_owned(),
        present => format!("name one of those there are: {}", present.join(", ")),
    }
}

/// Frames on and off the air through bluetoothd.
///
/// Takes one frame while another is being sent; a third is [`Full`]. When the adapter or bluetoothd goes away the link
/// goes down, and up again when they are back. Dropping it takes its advert off the air and ends its scan, in the
/// background: the runtime must go on for a moment.
#[derive(Debug)]
pub struct BluezBearer {
    frames: mpsc::Sender<FrameBytes>,
    events: mpsc::Receiver<BearerEvent>,
    up: Arc<AtomicBool>,
    health: Health,
}

impl BluezBearer {
    /// Opens an adapter by its name, such as `hci0`. Must be called within a tokio runtime with IO and time.
    ///
    /// # Errors
    /// [`OpenError`] says what is missing and what to do about it.
    pub async fn open(adapter: &str, options: BluezOptions) -> Result<Self, OpenError> {
        let (frames, waiting) = mpsc::channel(1);
        let (heard, events) = mpsc::channel(HEARD);
        let up = Arc::new(AtomicBool::new(false));
        let worker = Worker::open(adapter, options, waiting, heard, Arc::clone(&up)).await?;
        tokio::spawn(worker.run());
        let what = format!("{adapter}, shared by bluetoothd");
        let health = Health { state: AdapterState::Starting, what, ..Health::default() };
        Ok(Self { frames, events, up, health })
    }
}

impl Bearer for BluezBearer {
    async fn next_event(&mut self) -> Result<BearerEvent, BearerError> {
        let event = self.events.recv().await;
        let event = event
            .ok_or_else(|| BearerError::Gone("the task that talks to bluetoothd has ended".to_owned()))?;
        match &event {
            BearerEvent::LinkUp { .. } => {
                // The first is no repair.
                self.health.repairs[3] += u64::from(self.health.state == AdapterState::Away);
                self.health.state = AdapterState::Up;
            }
            BearerEvent::LinkDown { why, .. } => {
                self.health.state = AdapterState::Away;
                self.health.trouble = Some(why.clone());
            }
            BearerEvent::Frame { .. } => self.health.heard += 1,
            BearerEvent::Ready { .. } => {}
        }
        Ok(event)
    }

    fn try_send(&mut self, link: LinkId, frame: &[u8]) -> Result<(), Full> {
        let fits = link == RADIO_LINK && !frame.is_empty() && frame.len() <= LEGACY_FRAME;
        if !fits || !self.up.load(Ordering::Relaxed) {
            return Err(Full);
        }
        let bytes = FrameBytes::from_slice(frame).map_err(|_| Full)?;
        self.frames.try_send(bytes).map_err(|_| Full)?;
        self.health.taken += 1;
        // bluetoothd says nothing of what becomes of it.
        Ok(())
    }

    fn health(&mut self) -> Health {
        self.health.clone()
    }
}

/// What the link can do.
fn info(min_gap: Duration) -> LinkInfo {
    LinkInfo::advertising(LEGACY_FRAME, min_gap)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_adapters_there_are() {
        let present = vec!["hci0".to_owned(), "hci1".to_owned()];
        let error = OpenError::NoAdapter { adapter: "hci7".to_owned(), present };
        assert_eq!(
            error.to_string(),
            "opening the Bluetooth adapter hci7: bluetoothd knows of no such adapter; name one of those there are: \
             hci0, hci1"
        );
        let error = OpenError::NoAdapter { adapter: "hci7".to_owned(), present: Vec::new() };
        assert!(error.to_string().contains("it has none"), "{error}");
    }

    #[tokio::test]
    async fn one_frame_waits_and_a_second_is_full() {
        let (frames, _waiting) = mpsc::channel(1);
        let (_heard, events) = mpsc::channel(1);
        let up = Arc::new(AtomicBool::new(true));
        let mut bearer = BluezBearer { frames, events, up: Arc::clone(&up), health: Health::default() };
        assert_eq!(bearer.try_send(LinkId(1), b"x"), Err(Full));
        assert_eq!(bearer.try_send(RADIO_LINK, &[0; LEGACY_FRAME + 1]), Err(Full));
        assert_eq!(bearer.try_send(RADIO_LINK, b""), Err(Full));
        up.store(false, Ordering::Relaxed);
        assert_eq!(bearer.try_send(RADIO_LINK, b"x"), Err(Full));
        up.store(true, Ordering::Relaxed);
        assert_eq!(bearer.try_send(RADIO_LINK, &[0; LEGACY_FRAME]), Ok(()));
        assert_eq!(bearer.try_send(RADIO_LINK, b"x"), Err(Full));
    }

    #[tokio::test]
    async fn a_worker_that_is_gone_is_an_error_and_no_panic() {
        let (frames, _) = mpsc::channel(1);
        let (_, events) = mpsc::channel(1);
        let up = Arc::new(AtomicBool::new(true));
        let mut bearer = BluezBearer { frames, events, up, health: Health::default() };
        assert!(matches!(bearer.next_event().await, Err(BearerError::Gone(_))));
        assert_eq!(bearer.try_send(RADIO_LINK, b"x"), Err(Full));
    }
}
