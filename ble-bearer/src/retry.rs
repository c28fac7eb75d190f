//! The pause before an adapter is opened again.
//!
//! Owns the pause. That an adapter could be opened and set up does not shorten it, as one that takes commands and refuses frames can
//! be set up for ever; only a frame that it is known to have sent does, or to have heard.

use mesh_protocol::Duration;

/// The first pause; each one without a sent frame since the last is twice as long. A guess: a daemon takes a second or two to start.
const FIRST: Duration = Duration::from_millis(500);
/// The longest. A guess: whoever plugs an adapter in again waits no longer.
const LONGEST: Duration = Duration::from_secs(15);

/// The pause from one attempt to open an adapter to the next: twice as long each time, until it is known to work.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    pause: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self::new()
    }
}

impl Retry {
    /// The first pause comes next.
    #[must_use]
    pub const fn new() -> Self {
        Self { pause: FIRST }
    }

    /// How long to wait now.
    pub fn pause(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = pause.times(2).min(LONGEST);
        pause
    }

    /// The adapter has sent a frame, or heard one.
    pub const fn works(&mut self) {
        self.pause = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_until_a_frame_was_sent() {
        let mut retry = Retry::new();
        let mut pauses = || [(); 7].map(|()| retry.pause().as_millis());
        assert_eq!(pauses(), [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000]);
        assert_eq!(pauses()[0], 15_000);
        retry.works();
        assert_eq!(retry.pause(), FIRST);
    }
}
