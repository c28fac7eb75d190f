//! The contract between whoever runs a node and whatever carries its frames.
//!
//! Owns the trait and its words. How frames get on the air is for the implementations; when they do is for the node,
//! which paces itself by [`LinkInfo::min_gap`], or by the bearer where that knows better.

use std::future::Future;

use mesh_protocol::{LinkId, LinkInfo, MAX_FRAME};

use crate::Health;

/// The link of every bearer that is one radio. Whoever puts further links beside a radio numbers them from 1.
pub const RADIO_LINK: LinkId = LinkId(0);

/// The bytes of one frame, held in place.
pub type FrameBytes = heapless::Vec<u8, MAX_FRAME>;

/// What a bearer reports.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "frames are the common case, and a box would be a heap allocation for each"
)]
pub enum BearerEvent {
    /// A link can be used; comes before the first frame on it, and again when its properties change.
    LinkUp {
        /// Which link.
        link: LinkId,
        /// What it can do, honestly.
        info: LinkInfo,
    },
    /// A link cannot be used any more.
    LinkDown {
        /// Which link.
        link: LinkId,
        /// What happened, for people.
        why: String,
    },
    /// The adapter is done with a frame sooner than `min_gap` promised, and takes the next one. A bearer need never say so.
    Ready {
        /// Which link.
        link: LinkId,
    },
    /// A frame was heard, whole.
    Frame {
        /// On which link.
        link: LinkId,
        /// The frame, without the AD header around it.
        bytes: FrameBytes,
        /// How loud, in dBm, if the adapter says.
        rssi: Option<i8>,
    },
}

/// A bearer is of no use any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BearerError {
    /// The adapter or its driver is gone for good.
    #[error("using the adapter: {0}; start the gateway again when the adapter is back")]
    Gone(String),
}

/// A frame was not taken: the adapter has no room, or the frame does not fit the link. It is lost, as on the air.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the adapter took no frame: it is busy, or the frame is longer than the link's MTU")]
pub struct Full;

/// Frames on and off the air.
pub trait Bearer: Send {
    /// The next event. Cancel safe: a future that is dropped has lost nothing.
    ///
    /// # Errors
    /// [`BearerError`] when no event will ever come again.
    fn next_event(&mut self) -> impl Future<Output = Result<BearerEvent, BearerError>> + Send;

    /// Puts a frame on a link once, without waiting.
    ///
    /// # Errors
    /// [`Full`] when it is not taken; nothing is kept of it.
    fn try_send(&mut self, link: LinkId, frame: &[u8]) -> Result<(), Full>;

    /// How the adapter is doing. A bearer that cannot break is always well.
    fn health(&mut self) -> Health {
        Health::default()
    }

    /// Learns that frames do not arrive though the adapter says nothing of it, for whoever runs the node can see that: an
    /// adapter that can recover begins with the gentlest level. `before` is how often this was called in a row already.
    fn suspect(&mut self, why: &str, before: u32) {
        let _ = (why, before);
    }
}
