//! The task that keeps an adapter in use: sends, hears, and starts over when bluetoothd or the adapter went away.
//!
//! Owns the pace of frames and the pauses between attempts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use btleplug::platform::Manager;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::advertisement::Advertisement;
use super::bus::reason;
use super::pace::Pace;
use super::session::Session;
use super::{BluezOptions, OpenError, Sending, info};
use crate::retry::Retry;
use crate::{BearerEvent, FrameBytes, RADIO_LINK};

/// Frames of the trial that finds out how long one takes: without content, so nobody takes them for frames.
const TRIAL: usize = 5;
/// How long the last frame stays on the air when none follows. Shorter than the 1.28 s after which a controller sends it
/// again; until then it costs nothing.
const LINGER: Duration = Duration::from_secs(1);
/// The least time that a frame stays on the air, whatever the bus took of its gap. A guess: bluetoothd, kernel and
/// controller have five commands to pass on.
const ON_AIR_LEAST: Duration = Duration::from_millis(20);

/// Why sending and hearing ended.
enum End {
    /// The bearer was dropped.
    Closed,
    /// Something went away; what.
    Trouble(String),
}

pub(super) struct Worker {
    adapter: String,
    options: BluezOptions,
    session: Session,
    /// Measured at the start of the session, and while it lasts.
    pace: Pace,
    manager: Option<Manager>,
    retry: Retry,
    frames: mpsc::Receiver<FrameBytes>,
    events: mpsc::Sender<BearerEvent>,
    up: Arc<AtomicBool>,
}

impl Worker {
    pub(super) async fn open(
        adapter: &str,
        options: BluezOptions,
        frames: mpsc::Receiver<FrameBytes>,
        events: mpsc::Sender<BearerEvent>,
        up: Arc<AtomicBool>,
    ) -> Result<Self, OpenError> {
        let mut manager = None;
        let (session, pace) = start(adapter, options, &mut manager).await?;
        let (adapter, retry) = (adapter.to_owned(), Retry::new());
        Ok(Self { adapter, options, session, pace, manager, retry, frames, events, up })
    }

    /// Runs until the bearer is dropped.
    pub(super) async fn run(mut self) {
        loop {
            self.up.store(true, Ordering::Relaxed);
            let up = BearerEvent::LinkUp { link: RADIO_LINK, info: info(self.pace.min_gap()) };
            let end = match self.events.send(up).await {
                Err(_) => End::Closed,
                Ok(()) => {
                    let Self { session, frames, events, options, pace, retry, .. } = &mut self;
                    let Session { advertisement, scan, trouble, .. } = session;
                    let hear = async {
                        while let Some((bytes, rssi)) = scan.next().await {
                            // Whoever runs the node is behind: lost, as on the air.
                            let _ = events.try_send(BearerEvent::Frame { link: RADIO_LINK, bytes, rssi });
                        }
                        End::Trouble("bluetoothd reports nothing any more".to_owned())
                    };
                    tokio::select! {
                        why = trouble.recv() => {
                            End::Trouble(why.unwrap_or_else(|| "the system bus is gone".to_owned()))
                        }
                        end = send(advertisement, frames, events, options.sending, pace, retry) => end,
                        end = hear => end,
                    }
                }
            };
            self.up.store(false, Ordering::Relaxed);
            let why = match end {
                End::Closed => return self.session.close().await,
                End::Trouble(why) => why,
            };
            if self.events.send(BearerEvent::LinkDown { link: RADIO_LINK, why }).await.is_err() {
                return self.session.close().await;
            }
            match self.again().await {
                Some(worker) => self = worker,
                None => return,
            }
        }
    }

    /// Tries until there is a session again; `None` if the bearer is dropped meanwhile.
    async fn again(mut self) -> Option<Self> {
        self.session.close().await;
        loop {
            // What was handed over as the link went down is lost.
            let ended = async { while self.frames.recv().await.is_some() {} };
            tokio::select! {
                () = ended => return None,
                () = sleep(Duration::from_millis(self.retry.pause().as_millis())) => {}
            }
            if let Ok((session, pace)) = start(&self.adapter, self.options, &mut self.manager).await {
                return Some(Self { session, pace, ..self });
            }
        }
    }
}

/// A session, and how far apart frames must be: as bluetoothd, this kernel and this machine's load make it.
async fn start(
    adapter: &str,
    options: BluezOptions,
    manager: &mut Option<Manager>,
) -> Result<(Session, Pace), OpenError> {
    let mut session = Session::open(adapter, options.company, manager).await?;
    match measure(&mut session.advertisement, options.sending).await {
        Ok(slowest) => Ok((session, Pace::new(slowest, options.gap))),
        Err(error) => {
            session.close().await;
            Err(OpenError::Refused { adapter: adapter.to_owned(), what: "advertising", why: reason(&error) })
        }
    }
}

/// The longest time that one of a few frames took.
async fn measure(advertisement: &mut Advertisement, sending: Sending) -> Result<Duration, dbus::Error> {
    let mut longest = Duration::ZERO;
    for frame in 0..=TRIAL {
        let start = Instant::now();
        put(advertisement, &FrameBytes::new(), sending).await?;
        // The first is registered, which those that follow at once are spared.
        if frame > 0 {
            longest = longest.max(start.elapsed());
        }
    }
    Ok(longest)
}

/// Puts one frame on the air, for as long as it must be there.
async fn put(
    advertisement: &mut Advertisement,
    frame: &FrameBytes,
    sending: Sending,
) -> Result<(), dbus::Error> {
    advertisement.show(frame).await?;
    sleep(ON_AIR_LEAST).await;
    match sending {
        Sending::Update => Ok(()),
        Sending::Register => advertisement.hide().await,
    }
}

/// Sends frame after frame, a gap apart, and says when the gap has changed.
async fn send(
    advertisement: &mut Advertisement,
    frames: &mut mpsc::Receiver<FrameBytes>,
    events: &mpsc::Sender<BearerEvent>,
    sending: Sending,
    pace: &mut Pace,
    retry: &mut Retry,
) -> End {
    let mut on_air = false;
    let mut due = Instant::now();
    loop {
        // The advertisement stays registered in between, without data: registering takes several times as long as a
        // change, and would have to be part of the gap.
        let frame = match timeout(LINGER, frames.recv()).await {
            Ok(frame) => frame,
            Err(_) if !on_air => frames.recv().await,
            Err(_) => {
                on_air = false;
                match put(advertisement, &FrameBytes::new(), sending).await {
                    Ok(()) => continue,
                    Err(error) => return failed("taking a frame off the air", &error),
                }
            }
        };
        let Some(frame) = frame else { return End::Closed };
        sleep_until(due).await;
        let start = Instant::now();
        // After a small delay counted from when it was due, lest many of them add up to a frame that is refused.
        let late = start.duration_since(due) < pace.gap();
        due = if late { due } else { start } + pace.gap();
        if let Err(error) = put(advertisement, &frame, sending).await {
            return failed("sending a frame", &error);
        }
        retry.works();
        on_air = advertisement.is_registered();
        if pace.took(start.elapsed()) {
            // Told again with the next change when there is no room for it.
            let _ = events.try_send(BearerEvent::LinkUp { link: RADIO_LINK, info: info(pace.min_gap()) });
        }
    }
}

fn failed(what: &str, error: &dbus::Error) -> End {
    End::Trouble(format!("{what} failed ({})", reason(error)))
}
