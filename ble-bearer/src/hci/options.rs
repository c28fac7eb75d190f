//! How a controller is to be used.
//!
//! Owns the defaults and their reasons.

use mesh_protocol::Duration;

/// From one advertising event to the next: the shortest there is (Core Specification, Vol 6 Part B, 4.4.2.2.1).
pub(super) const ADV_INTERVAL: Duration = Duration::from_millis(20);
/// The random delay that a controller adds to each interval, at most (same place).
pub(super) const ADV_DELAY: Duration = Duration::from_millis(10);
/// How long a scanner stays on one channel: each change of channel costs what arrives just then.
pub(super) const SCAN_INTERVAL: Duration = Duration::from_millis(500);
/// A controller that does not answer within this is stuck; it is what the Linux kernel waits, too.
pub(super) const COMMAND_TIMEOUT: Duration = Duration::from_secs(2);

/// How a controller is to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HciOptions {
    /// Company identifier of the manufacturer data around frames.
    pub company: u16,
    /// Whether extended advertising may be used where the controller has it.
    pub extended: bool,
    /// Whether frames longer than a legacy advert are sent. Nodes with legacy controllers cannot hear those.
    pub long_frames: bool,
    /// From one advertising event of a frame to its next.
    pub adv_interval: Duration,
    /// How much of the time it listens, in percent.
    pub scan_duty: u8,
    /// Random bits: of the address, and of nothing else.
    pub address: u64,
}

impl HciOptions {
    /// The usual options, with an address made of these random bits.
    #[must_use]
    pub const fn new(address: u64) -> Self {
        Self {
            company: 0xffff,
            extended: true,
            long_frames: false,
            adv_interval: ADV_INTERVAL,
            scan_duty: 100,
            address,
        }
    }
}

/// How a controller listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scan {
    /// From one window to the next.
    pub interval: Duration,
    /// How much of the interval it listens, in percent.
    pub duty: u8,
}

impl Scan {
    /// How long it listens in each interval.
    #[must_use]
    pub(super) const fn window(&self) -> Duration {
        Duration::from_micros(self.interval.as_micros() * self.duty as u64 / 100)
    }

    /// Less: some controllers find no time to send when they listen all the time. 70 % is the least, unless it was less before.
    pub(super) fn ease(&mut self) {
        self.duty = self.duty.saturating_sub(10).max(70).min(self.duty);
    }
}

impl Default for Scan {
    /// All the time.
    fn default() -> Self {
        Self { interval: SCAN_INTERVAL, duty: 100 }
    }
}
