//! What a scenario is taken to mean where its file says nothing, each with its source.
//!
//! Owns values only; which keys they stand for is `file`'s business.

use mesh_protocol::{Duration, MessageType, Priority};

use super::{ControllerModel, Flash, LinkRule, LongPhy, RadioSettings, SigOptions, Stacks};

/// Hellos come every few seconds, so that neighbours know each other after about ten. A guess.
pub(super) const SETTLE: Duration = Duration::from_secs(10);
/// Long enough for a few hundred messages. A guess.
pub(super) const OFFERED: Duration = Duration::from_secs(60);
/// As long as a message of the default deadline may take. A guess.
pub(super) const DRAIN: Duration = Duration::from_secs(60);

/// A reading of a sensor with its time and name. A guess; the body of `mesh-sim`'s first runs.
pub(super) const BYTES: u32 = 24;
/// What a person waits for before asking again. A guess.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);
/// As `mesh_protocol` has it.
pub(super) const KIND: MessageType = MessageType::Notification;
/// As `mesh_protocol` has it.
pub(super) const PRIORITY: Priority = Priority::Medium;

/// ITU-R P.1238: office floors at about 2 GHz, one floor between.
pub(super) const FLOOR_LOSS: f64 = 15.0;
/// ITU-R P.1238: a home at about 2 GHz.
pub(super) const EXPONENT: f64 = 2.8;
/// Half of what ITU-R P.1238 has for a home (8 dB): nodes that someone chose a place for. A guess.
pub(super) const SHADOWING: f64 = 4.0;
/// None unless asked for: it hides what a scenario is about. A guess.
pub(super) const FADING: f64 = 0.0;

/// From floor to floor in an office, in metres. A guess.
pub(super) const FLOOR_HEIGHT: f64 = 3.5;

/// One frame of 1,500 bytes at 12 Mbit/s, in round numbers. A guess.
pub(super) const WLAN_BURST: Duration = Duration::from_millis(1);
/// An access point some rooms away. A guess.
pub(super) const WLAN_DBM: f64 = -70.0;

/// A write to flash is short, so that a power cut seldom meets one.
pub(super) const FLASH: Flash = Flash::Kept;

/// Who hears whom.
pub(super) const LINKS: LinkRule = LinkRule::Propagation {
    exponent: EXPONENT,
    floor_loss: FLOOR_LOSS,
    shadowing: SHADOWING,
    fading: FADING,
    loss: 0.0,
};

/// A radio as small devices have it.
pub(super) const RADIO: RadioSettings = RadioSettings {
    extended: false,
    // What every radio with extended advertising has.
    phy: LongPhy::OneM,
    controller: ControllerModel::Firmware,
    // What most adapters send adverts with. A guess.
    tx_dbm: 0.0,
    // nRF52832 product specification: 1 Mbit/s, ideal transmitter.
    sensitivity_dbm: -96.0,
    // A guess: receivers do better than the 21 dB (C/I co-channel) that the Core Specification asks of them.
    capture_db: 10.0,
    // Zephyr's mesh scans all the time, and changes the channel every 30 ms (BT_MESH_SCAN_INTERVAL_MS).
    scan_interval: Duration::from_millis(30),
    scan_window: Duration::from_millis(30),
};

/// The stacks.
pub(super) const STACKS: Stacks = Stacks {
    // As the devices of `device` have it: more than any field here is long.
    mesh_ttl: 12,
    sig: SIG,
    // As the SIG baseline.
    flood_ttl: 7,
};

/// The SIG baseline as its stacks' examples set it up: three copies, 20 ms apart, of own and of relayed PDUs.
pub(super) const SIG: SigOptions = SigOptions {
    // Zephyr's default TTL (BT_MESH_DEFAULT_TTL).
    ttl: 7,
    transmit: 3,
    transmit_interval: Duration::from_millis(20),
    retransmit: 3,
    retransmit_interval: Duration::from_millis(20),
    // Enough that a relay seldom waits for the one before. A guess.
    relay_sets: 2,
    // None beside the controller's.
    host_delay: Duration::ZERO,
};
