//! What a station's radio can do.
//!
//! Owns the numbers of one radio and its controller, and where its scanner is at a moment. Leaves what comes of them to the air and the
//! controller.

use mesh_protocol::{Duration, Instant};

use super::host::HostModel;
use crate::FrameBytes;
use crate::airtime::{AD_HEADER, CHANNELS, LEGACY_ADV_DATA, Phy, Shape};

/// How long a scanner needs to change its channel: with it, windows of 10 ms lose 4 to 6 % of the PDUs and those of
/// 30 ms 1.3 to 1.9 %, as `docs/simulator.md` has it. A guess.
pub const CHANNEL_SWITCH: Duration = Duration::from_micros(100);
/// How long a scanner stays on one channel (the setting of run V1 in `docs/simulator.md`).
pub const SCAN_WINDOW: Duration = Duration::from_millis(3_000);

/// When a scanner listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanPlan {
    /// From the start of one window to the start of the next, on the next channel. At least 1 ms; less counts as that.
    pub interval: Duration,
    /// How long a window is; at most the interval.
    pub window: Duration,
}

impl ScanPlan {
    /// Listens all the time, for so long on each channel.
    #[must_use]
    pub const fn continuous(window: Duration) -> Self {
        Self { interval: window, window }
    }

    /// How long it takes to come round to the same channel.
    pub(super) fn round(self) -> Duration {
        self.interval.max(Duration::from_millis(1)).times(CHANNELS as u64)
    }

    /// The channel (0..3) scanned at `at`, if any, and until when that stays so. `offset` is where in its round of
    /// three intervals the scanner stood at time zero.
    pub(super) fn at(self, at: Instant, offset: Duration) -> (Option<usize>, Instant) {
        let interval = self.interval.as_micros().max(1_000);
        // Between two windows the radio has to change its channel, however long they are.
        let window = self.window.as_micros().min(interval - CHANNEL_SWITCH.as_micros());
        let place = (at + offset).as_micros();
        let (round, passed) = (place / interval, place % interval);
        if passed < window {
            let channel = (round % CHANNELS as u64) as usize;
            (Some(channel), at + Duration::from_micros(window - passed))
        } else {
            (None, at + Duration::from_micros(interval - passed))
        }
    }
}

/// One radio and its controller.
#[derive(Clone, Debug, PartialEq)]
pub struct RadioSpec {
    /// Transmit power in dBm.
    pub tx_dbm: f64,
    /// The weakest signal received on LE 1M, in dBm.
    pub sensitivity_dbm: f64,
    /// When it listens.
    pub scan: ScanPlan,
    /// Whether it can send and follow extended adverts, and on which PHY it sends them. Legacy ones, all can.
    pub extended: Option<Phy>,
    /// How many advertising sets it has, at least one.
    pub sets: usize,
    /// Bytes of the AD structure around each frame: length, type and, for manufacturer data, the company.
    pub ad_header: usize,
    /// Whether the controller reports to its host when the last event of a set has ended.
    pub reports_sent: bool,
    /// How the host behind it sends a frame.
    pub host: HostModel,
}

impl RadioSpec {
    /// The advertising event that carries a frame of so many bytes: a legacy one if it fits, so that everyone can hear it.
    #[must_use]
    pub fn shape(&self, frame: usize) -> Shape {
        Shape::of(frame + self.ad_header, self.extended.unwrap_or_default())
    }

    /// The longest frame it can send, in bytes.
    #[must_use]
    pub fn mtu(&self) -> usize {
        let legacy = LEGACY_ADV_DATA.saturating_sub(self.ad_header);
        if self.extended.is_some() { FrameBytes::new().capacity() } else { legacy }
    }

    /// Whether it hears what is sent on a PHY: LE 1M, and that of its own long frames.
    pub(super) fn hears(&self, phy: Phy) -> bool {
        self.extended.is_some_and(|own| phy == own || phy == Phy::OneM)
    }
}

/// The weakest signal received on a PHY, in hundredths of a dB above that of LE 1M (`docs/simulator.md`).
pub(super) const fn sensitivity_offset(phy: Phy) -> i32 {
    match phy {
        Phy::OneM => 0,
        Phy::TwoM => 200,
        Phy::CodedS2 => -300,
        Phy::CodedS8 => -800,
    }
}

impl Default for RadioSpec {
    /// A legacy radio as `docs/simulator.md` has it: 0 dBm (a guess: what most adapters send adverts with), −96 dBm, one
    /// advertising set, continuous scanning, manufacturer data.
    fn default() -> Self {
        Self {
            tx_dbm: 0.0,
            sensitivity_dbm: -96.0,
            scan: ScanPlan::continuous(SCAN_WINDOW),
            extended: None,
            sets: 1,
            ad_header: AD_HEADER,
            reports_sent: false,
            host: HostModel::Firmware,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_follow_each_other_over_the_three_channels() {
        let plan = ScanPlan { interval: Duration::from_millis(20), window: Duration::from_millis(5) };
        let at = |micros| plan.at(Instant::from_micros(micros), Duration::ZERO);
        let us = Instant::from_micros;
        assert_eq!(at(0), (Some(0), us(5_000)));
        assert_eq!(at(4_999), (Some(0), us(5_000)));
        assert_eq!(at(5_000), (None, us(20_000)));
        assert_eq!(at(41_000), (Some(2), us(45_000)));
        assert_eq!(at(61_000), (Some(0), us(65_000)));
        let always = ScanPlan::continuous(Duration::from_millis(10));
        assert_eq!(always.at(us(9_899), Duration::ZERO), (Some(0), us(9_900)));
        assert_eq!(always.at(us(9_900), Duration::ZERO), (None, us(10_000)));
        assert_eq!(always.at(us(0), Duration::from_millis(25)), (Some(2), us(4_900)));
    }
}
