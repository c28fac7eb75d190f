//! The host behind a controller: how it has frames sent.
//!
//! Owns the models of hosts and their times. What a controller makes of them is [`super::Controller`]'s business; the real host of an HCI
//! controller, which two of them imitate, is `ble_bearer::hci`.

use mesh_protocol::Duration;

/// How the host of a controller has a frame sent, and when it gives it the next one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HostModel {
    /// Firmware beside its controller: it orders as many events as it wants, and knows when they are over.
    #[default]
    Firmware,
    /// The HCI bearer on a legacy controller, which never says what it has sent: Set Data, Enable, a hold for as long as an event can take
    /// at the latest, Disable. What goes out in that time once may go out twice.
    HciLegacy,
    /// The HCI bearer on a controller with extended advertising: one event in each of several sets.
    HciSets,
}

/// The hold of [`HostModel::HciLegacy`]: an interval and the longest random delay.
pub const HCI_HOLD: Duration = Duration::from_millis(30);
/// The least time between two frames of [`HostModel::HciSets`], as the HCI bearer has it.
pub(super) const HCI_LEAST_GAP: Duration = Duration::from_millis(6);
