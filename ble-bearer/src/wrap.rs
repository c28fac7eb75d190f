//! A bearer around a bearer: watching it, without the inner one knowing.
//!
//! Owns what an observer is shown. Links, pacing and sending are the bearer's inside.

use mesh_protocol::LinkId;

use crate::{Bearer, BearerError, BearerEvent, Full};

/// What passed through a [`Traced`] bearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trace<'a> {
    /// The bearer reported this.
    Event(&'a BearerEvent),
    /// The bearer failed.
    Failed(&'a BearerError),
    /// A frame was handed over.
    Sent {
        /// The link it was meant for.
        link: LinkId,
        /// The frame.
        frame: &'a [u8],
        /// Whether it was taken.
        taken: Result<(), Full>,
    },
}

/// Shows an observer every event and every frame handed over.
#[derive(Debug)]
pub struct Traced<B, F> {
    inner: B,
    observer: F,
}

impl<B: Bearer, F: FnMut(Trace<'_>) + Send> Traced<B, F> {
    /// `inner`, watched by `observer`.
    pub fn new(inner: B, observer: F) -> Self {
        Self { inner, observer }
    }
}

impl<B: Bearer, F: FnMut(Trace<'_>) + Send> Bearer for Traced<B, F> {
    async fn next_event(&mut self) -> Result<BearerEvent, BearerError> {
        let result = self.inner.next_event().await;
        (self.observer)(match &result {
            Ok(event) => Trace::Event(event),
            Err(error) => Trace::Failed(error),
        });
        result
    }

    fn try_send(&mut self, link: LinkId, frame: &[u8]) -> Result<(), Full> {
        let taken = self.inner.try_send(link, frame);
        (self.observer)(Trace::Sent { link, frame, taken });
        taken
    }
}

#[cfg(test)]
mod tests {
    use mesh_protocol::{Duration, LEGACY_FRAME, LinkInfo};

    use super::*;
    use crate::FrameBytes;

    /// Reports a link, then numbered frames without end; takes every second frame.
    struct Numbers(u16);

    impl Bearer for Numbers {
        async fn next_event(&mut self) -> Result<BearerEvent, BearerError> {
            let number = self.0;
            self.0 += 1;
            let link = LinkId(0);
            Ok(match number {
                0 => BearerEvent::LinkUp {
                    link,
                    info: LinkInfo::advertising(LEGACY_FRAME, Duration::from_millis(1)),
                },
                3_000 => return Err(BearerError::Gone("end".into())),
                _ => BearerEvent::Frame {
                    link,
                    bytes: FrameBytes::from_slice(&number.to_be_bytes()).unwrap(),
                    rssi: None,
                },
            })
        }

        fn try_send(&mut self, _link: LinkId, frame: &[u8]) -> Result<(), Full> {
            if frame.is_empty() { Err(Full) } else { Ok(()) }
        }
    }

    #[tokio::test]
    async fn traced_shows_events_sends_and_failures() {
        let mut log = Vec::new();
        let mut bearer = Traced::new(Numbers(2_999), |trace: Trace<'_>| log.push(format!("{trace:?}")));
        bearer.next_event().await.unwrap();
        bearer.next_event().await.unwrap_err();
        bearer.try_send(LinkId(0), b"x").unwrap();
        bearer.try_send(LinkId(0), b"").unwrap_err();
        assert_eq!(log.len(), 4);
        assert!(log[0].contains("[11, 183]"), "{}", log[0]);
        assert!(log[1].starts_with("Failed"), "{}", log[1]);
        assert!(log[2].contains("taken: Ok"), "{}", log[2]);
        assert!(log[3].contains("taken: Err(Full)"), "{}", log[3]);
    }
}
