//! From an adapter's name to a bearer that works.
//!
//! Owns the choice of the way, what is said about it, and that an adapter that is missing when the gateway starts is looked for as one
//! that goes away later. How a bearer works is `ble-bearer`'s business.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

#[cfg(feature = "bluez")]
use ble_bearer::bluez::{self, BluezBearer, BluezOptions};
use ble_bearer::hci::{HciBearer, HciOptions, OpenError, Port};
use ble_bearer::{
    AdapterState, Bearer, BearerError, BearerEvent, Full, Health, RADIO_LINK, Retry, WallClock,
};

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

/// Why an adapter cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum RadioError {
    /// For this program alone.
    #[error(transparent)]
    Hci(#[from] OpenError),
    /// Through bluetoothd, which this program was built without.
    #[error("{0} (sharing needs a program built with `--features bluez`, which this is not)")]
    NotShared(OpenError),
    /// Through bluetoothd.
    #[cfg(feature = "bluez")]
    #[error(transparent)]
    Bluez(#[from] bluez::OpenError),
    /// In neither way.
    #[cfg(feature = "bluez")]
    #[error("{refused}; nor through bluetoothd: {also}")]
    Neither {
        /// For this program alone.
        refused: OpenError,
        /// Through bluetoothd.
        also: Box<Self>,
    },
    /// It needs an address that nobody else has.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

/// The system gives no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random numbers; try again later")]
pub struct NoRandomness(#[source] getrandom::Error);

/// Opens a controller the best way there is: for this program alone, or, where an adapter of this system is in use or the right is
/// missing, through bluetoothd. Says which way it took, and how to get the better one.
///
/// # Errors
/// Why it cannot be opened, and what to do.
pub async fn open(port: &Port, settings: &RadioSettings, clock: WallClock) -> Result<Radio, RadioError> {
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
            Err(also) => return Err(RadioError::Neither { refused, also: Box::new(also) }),
        }
    }
    if !cfg!(feature = "bluez") && matches!(refused, OpenError::Busy { .. } | OpenError::NotPermitted { .. })
    {
        return Err(RadioError::NotShared(refused));
    }
    Err(refused.into())
}

/// Opens an adapter that bluetoothd shares.
///
/// # Errors
/// Why it cannot be opened, and what to do.
#[cfg(feature = "bluez")]
pub async fn bluez(name: &str, settings: &RadioSettings) -> Result<BluezBearer, RadioError> {
    let options = BluezOptions { company: settings.company_id, ..BluezOptions::default() };
    Ok(BluezBearer::open(name, options).await?)
}

/// How a controller is to be used, with an address of its own for each call.
///
/// # Errors
/// When the system has no random numbers.
pub fn options(settings: &RadioSettings) -> Result<HciOptions, NoRandomness> {
    Ok(HciOptions {
        company: settings.company_id,
        extended: settings.extended,
        long_frames: settings.long_frames,
        scan_duty: settings.scan_duty,
        ..HciOptions::new(random()?)
    })
}

/// An adapter that may be missing: it is opened, and if that fails, or it is gone for good later, opened again until it is there.
pub struct Patient<B, F, E> {
    open: F,
    name: String,
    state: State<B, E>,
    /// Why it is not open.
    trouble: Option<String>,
    retry: Retry,
}

enum State<B, E> {
    Open(B),
    Opening(Pin<Box<dyn Future<Output = Result<B, E>> + Send>>),
}

impl<B, F, E> std::fmt::Debug for Patient<B, F, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Patient({})", self.name)
    }
}

impl<B, F, O, E> Patient<B, F, E>
where
    B: Bearer + 'static,
    F: Fn() -> O + Send,
    O: Future<Output = Result<B, E>> + Send + 'static,
    E: std::fmt::Display + Send + 'static,
{
    /// The adapter of this name, opened with `open`. The first attempt is made here, so that its errors are known before anybody waits.
    pub async fn new(name: String, open: F) -> Self {
        let mut new =
            Self { state: State::Opening(Box::pin(open())), open, name, trouble: None, retry: Retry::new() };
        new.attempt().await;
        new
    }

    /// Waits until an attempt to open it has come to something. Cancel safe.
    async fn attempt(&mut self) {
        let State::Opening(opening) = &mut self.state else { return };
        match opening.as_mut().await {
            Ok(bearer) => {
                if self.trouble.take().is_some() {
                    tracing::info!(adapter = self.name, "the adapter is there");
                }
                self.state = State::Open(bearer);
            }
            Err(why) => self.again(why.to_string()),
        }
    }

    fn again(&mut self, why: String) {
        if self.trouble.as_ref() != Some(&why) {
            tracing::error!(
                adapter = self.name,
                why,
                "there is no radio: the gateway goes on without it, and tries again"
            );
        }
        self.trouble = Some(why);
        let (pause, open) = (Duration::from_millis(self.retry.pause().as_millis()), (self.open)());
        self.state = State::Opening(Box::pin(async move {
            tokio::time::sleep(pause).await;
            open.await
        }));
    }
}

impl<B, F, O, E> Bearer for Patient<B, F, E>
where
    B: Bearer + 'static,
    F: Fn() -> O + Send,
    O: Future<Output = Result<B, E>> + Send + 'static,
    E: std::fmt::Display + Send + 'static,
{
    async fn next_event(&mut self) -> Result<BearerEvent, BearerError> {
        loop {
            let State::Open(bearer) = &mut self.state else {
                self.attempt().await;
                continue;
            };
            match bearer.next_event().await {
                Ok(event) => {
                    if matches!(event, BearerEvent::Frame { .. }) {
                        self.retry.works();
                    }
                    return Ok(event);
                }
                Err(gone) => {
                    let why = gone.to_string();
                    self.again(why.clone());
                    return Ok(BearerEvent::LinkDown { link: RADIO_LINK, why });
                }
            }
        }
    }

    fn try_send(&mut self, link: LinkId, frame: &[u8]) -> Result<(), Full> {
        match &mut self.state {
            State::Open(bearer) => bearer.try_send(link, frame),
            State::Opening(_) => Err(Full),
        }
    }

    fn health(&mut self) -> Health {
        match &mut self.state {
            State::Open(bearer) => bearer.health(),
            State::Opening(_) => Health {
                state: AdapterState::Away,
                what: self.name.clone(),
                trouble: self.trouble.clone(),
                ..Health::default()
            },
        }
    }

    fn suspect(&mut self, why: &str, before: u32) {
        if let State::Open(bearer) = &mut self.state {
            bearer.suspect(why, before);
        }
    }
}

impl Bearer for Radio {
    async fn next_event(&mut self) -> Result<BearerEvent, BearerError> {
        match self {
            Self::Hci(bearer) => bearer.next_event().await,
            #[cfg(feature = "bluez")]
            Self::Bluez(bearer) => bearer.next_event().await,
        }
    }

    fn try_send(&mut self, link: LinkId, frame: &[u8]) -> Result<(), Full> {
        match self {
            Self::Hci(bearer) => bearer.try_send(link, frame),
            #[cfg(feature = "bluez")]
            Self::Bluez(bearer) => bearer.try_send(link, frame),
        }
    }

    fn health(&mut self) -> Health {
        match self {
            Self::Hci(bearer) => bearer.health(),
            #[cfg(feature = "bluez")]
            Self::Bluez(bearer) => bearer.health(),
        }
    }

    fn suspect(&mut self, why: &str, before: u32) {
        match self {
            Self::Hci(bearer) => bearer.suspect(why, before),
            #[cfg(feature = "bluez")]
            Self::Bluez(bearer) => bearer.suspect(why, before),
        }
    }
}

/// A radio that is not there: it takes no frame and hears none.
#[derive(Debug)]
pub struct NoRadio;

impl Bearer for NoRadio {
    async fn next_event(&mut self) -> Result<BearerEvent, BearerError> {
        std::future::pending().await
    }

    fn try_send(&mut self, _: LinkId, _: &[u8]) -> Result<(), Full> {
        Err(Full)
    }
}

/// Random bits from the system.
///
/// # Errors
/// When it has none.
pub fn random() -> Result<u64, NoRandomness> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(NoRandomness)?;
    Ok(u64::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use mesh_protocol::LinkInfo;

    use super::*;

    /// Up once, then gone for good.
    #[derive(Debug, Default)]
    struct Once(bool);

    impl Bearer for Once {
        async fn next_event(&mut self) -> Result<BearerEvent, BearerError> {
            if std::mem::replace(&mut self.0, true) {
                return Err(BearerError::Gone("pulled out".into()));
            }
            let info = LinkInfo::advertising(27, mesh_protocol::Duration::ZERO);
            Ok(BearerEvent::LinkUp { link: RADIO_LINK, info })
        }

        fn try_send(&mut self, _: LinkId, _: &[u8]) -> Result<(), Full> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_adapter_that_is_missing_at_the_start_is_looked_for_as_one_that_went_away() {
        let attempts = Arc::new(AtomicU32::new(0));
        let tried = Arc::clone(&attempts);
        let open = move || {
            let attempt = tried.fetch_add(1, Ordering::Relaxed);
            async move { if attempt >= 3 { Ok(Once::default()) } else { Err("there is no such adapter") } }
        };
        let mut radio = Patient::new("hci0".into(), open).await;
        assert_eq!(radio.trouble.as_deref(), Some("there is no such adapter"));
        assert_eq!(radio.health().state, AdapterState::Away);
        assert_eq!(radio.try_send(RADIO_LINK, &[1]), Err(Full));
        let begun = tokio::time::Instant::now();
        for _ in 0..2 {
            assert!(matches!(radio.next_event().await, Ok(BearerEvent::LinkUp { .. })));
            assert_eq!(radio.trouble, None);
            assert_eq!(radio.try_send(RADIO_LINK, &[1]), Ok(()));
            let down = radio.next_event().await;
            assert!(matches!(down, Ok(BearerEvent::LinkDown { why, .. }) if why.contains("pulled out")));
        }
        // Three pauses until it was there, and one after it was gone, each twice the one before.
        assert_eq!(begun.elapsed(), Duration::from_millis(500 + 1_000 + 2_000 + 4_000));
        assert_eq!(attempts.load(Ordering::Relaxed), 6, "one is under way");
    }
}
