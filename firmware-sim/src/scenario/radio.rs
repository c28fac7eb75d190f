//! Who hears whom, with which radio, and what else is on the air.
//!
//! Owns its meaning as plain data. What becomes of a transmission is decided in `ble_bearer::sim`.

use mesh_protocol::Duration;
use serde::{Deserialize, Serialize};

/// Who hears whom.
#[derive(Clone, Debug, PartialEq)]
pub enum LinkRule {
    /// All nodes within reach, the farther the weaker, and no others.
    Radius {
        /// The reach in metres.
        reach: f64,
        /// Attenuation at that distance in dB; less in proportion to the distance.
        attenuation: f64,
        /// Attenuation of all others in dB: whether that is silence depends on the sensitivity.
        beyond: f64,
        /// Share of the advertising events that every link loses besides, 0 to 1.
        loss: f64,
    },
    /// ITU-R P.1238: 20 log10(MHz) + 10 n log10(metres) - 28 dB.
    Propagation {
        /// The exponent n: 2 in an open room, 1.8 in a corridor, 2.8 in a home.
        exponent: f64,
        /// dB for each floor between two nodes.
        floor_loss: f64,
        /// Standard deviation of a link's shadowing in dB, the same both ways.
        shadowing: f64,
        /// Standard deviation of each advert's fading in dB.
        fading: f64,
        /// Share of the advertising events that every link loses besides, 0 to 1.
        loss: f64,
    },
    /// These, and no others.
    Given(Vec<GivenLink>),
}

/// One link, both ways.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GivenLink {
    /// One end.
    pub a: u32,
    /// The other end.
    pub b: u32,
    /// Attenuation in dB.
    pub attenuation: f64,
    /// Share of the advertising events lost, 0 to 1.
    pub loss: f64,
}

/// A radio and its controller.
#[derive(Clone, Debug, PartialEq)]
pub struct RadioSettings {
    /// Extended advertising, with frames up to 245 bytes; else legacy, up to 27.
    pub extended: bool,
    /// How long frames are sent, where there are any.
    pub phy: LongPhy,
    /// What drives the radio.
    pub controller: ControllerModel,
    /// Transmit power in dBm.
    pub tx_dbm: f64,
    /// The weakest signal that is received, in dBm.
    pub sensitivity_dbm: f64,
    /// A signal is received while it is so much stronger than all others together, in dB.
    pub capture_db: f64,
    /// From the start of one scan window to the next.
    pub scan_interval: Duration,
    /// How long each scan window is; at most the interval.
    pub scan_window: Duration,
}

/// The PHY of extended advertising; its pointers on the primary channels are always on LE 1M.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LongPhy {
    /// LE 1M.
    #[default]
    #[serde(rename = "1M")]
    OneM,
    /// LE 2M.
    #[serde(rename = "2M")]
    TwoM,
    /// LE Coded with eight symbols a bit.
    #[serde(rename = "coded")]
    Coded,
}

/// What drives a node's radio.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ControllerModel {
    /// Firmware on the chip of the radio.
    #[default]
    #[serde(rename = "firmware")]
    Firmware,
    /// A Raspberry Pi 4 behind HCI: legacy advertising, one frame at a time, each held for 31.5 ms.
    #[serde(rename = "pi4")]
    Pi4,
    /// A dongle with Bluetooth 5 behind HCI: four advertising sets, a frame every 6 ms.
    #[serde(rename = "bt5-dongle")]
    Bt5Dongle,
}

/// Interference of a wireless LAN on the advertising channels.
#[derive(Clone, Debug, PartialEq)]
pub struct Wlan {
    /// Share of the time that it sends, 0 to 1.
    pub duty: f64,
    /// How long it sends at a time.
    pub burst: Duration,
    /// How strong it is at every receiver, in dBm.
    pub dbm: f64,
}
