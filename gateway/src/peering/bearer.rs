//! A radio and the connections to other gateways, as one bearer.
//!
//! Owns the numbers of links: the radio's is `RADIO_LINK`, connections come after it. What a link is, its description says. How a connection comes about is `manager`'s.

use ble_bearer::{Bearer, BearerError, BearerEvent, FrameBytes, Full, Health, RADIO_LINK};
use mesh_protocol::{Duration, LinkId, LinkInfo, MAX_FRAME};
use tokio::sync::mpsc;

/// Between two frames on a connection. A guess: far above what the radio side needs, and no flood.
const MIN_GAP: Duration = Duration::from_micros(500);

/// What happens on the connections.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "frames are the common case, and a box would be a heap allocation for each"
)]
pub(super) enum LinkEvent {
    Up { link: LinkId, frames: mpsc::Sender<FrameBytes> },
    Down { link: LinkId, why: String },
    Frame { link: LinkId, bytes: FrameBytes },
}

/// A radio and the connections to other gateways.
#[derive(Debug)]
pub struct Peered<B> {
    radio: B,
    /// The radio will tell nothing any more; connections may.
    radio_gone: bool,
    events: mpsc::Receiver<LinkEvent>,
    /// By link number, 1 for the first.
    frames: [Option<mpsc::Sender<FrameBytes>>; super::CONNECTIONS],
}

impl<B> Peered<B> {
    pub(super) const fn new(radio: B, events: mpsc::Receiver<LinkEvent>) -> Self {
        Self { radio, radio_gone: false, events, frames: [const { None }; super::CONNECTIONS] }
    }

    fn frames(&mut self, link: LinkId) -> Option<&mut Option<mpsc::Sender<FrameBytes>>> {
        self.frames.get_mut(usize::from(link.0).checked_sub(1)?)
    }

    fn take(&mut self, event: LinkEvent) -> BearerEvent {
        match event {
            LinkEvent::Up { link, frames } => {
                if let Some(place) = self.frames(link) {
                    *place = Some(frames);
                }
                let info = LinkInfo::connection(MAX_FRAME, MIN_GAP);
                BearerEvent::LinkUp { link, info }
            }
            LinkEvent::Down { link, why } => {
                if let Some(place) = self.frames(link) {
                    *place = None;
                }
                BearerEvent::LinkDown { link, why }
            }
            LinkEvent::Frame { link, bytes } => BearerEvent::Frame { link, bytes, rssi: None },
        }
    }
}

impl<B: Bearer> Bearer for Peered<B> {
    async fn next_event(&mut self) -> Result<BearerEvent, BearerError> {
        tokio::select! {
            biased;
            // The radio first: it cannot wait, and a flood from a connection must not keep it.
            event = self.radio.next_event(), if !self.radio_gone => event.or_else(|gone| {
                self.radio_gone = true;
                Ok(BearerEvent::LinkDown { link: RADIO_LINK, why: gone.to_string() })
            }),
            Some(event) = self.events.recv() => Ok(self.take(event)),
        }
    }

    fn try_send(&mut self, link: LinkId, frame: &[u8]) -> Result<(), Full> {
        if link == RADIO_LINK {
            return self.radio.try_send(link, frame);
        }
        let frame = FrameBytes::from_slice(frame).map_err(|_| Full)?;
        match self.frames(link) {
            Some(Some(frames)) => frames.try_send(frame).map_err(|_| Full),
            _ => Err(Full),
        }
    }

    fn health(&mut self) -> Health {
        self.radio.health()
    }

    fn suspect(&mut self, why: &str, before: u32) {
        self.radio.suspect(why, before);
    }
}
