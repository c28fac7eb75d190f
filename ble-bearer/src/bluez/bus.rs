//! The system bus, as all calls to bluetoothd use it.

use std::time::Duration;

use dbus::Error;

/// BlueZ's name on the bus.
pub(super) const BLUEZ: &str = "org.bluez";
/// How long a call may take. A guess: bluetoothd answers within milliseconds or hangs.
pub(super) const CALL_WITHIN: Duration = Duration::from_secs(5);

/// An error of the bus, for people.
pub(super) fn reason(error: &Error) -> String {
    match (error.message(), error.name()) {
        (Some(message), _) if !message.is_empty() => message.to_owned(),
        (_, Some(name)) => name.to_owned(),
        _ => "no reason given".to_owned(),
    }
}
