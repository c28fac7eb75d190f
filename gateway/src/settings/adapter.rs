//! What sends and receives, by the name a person gives it.
//!
//! Owns the names. Opening what they name is [`crate::radio`]'s.

use std::fmt;
use std::str::FromStr;

use ble_bearer::hci::Port;
use thiserror::Error;

/// What sends and receives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Adapter {
    /// A simulated air with simulated nodes.
    #[default]
    Sim,
    /// No radio: a gateway that lives from its connections with others over IP.
    None,
    /// A controller over HCI: an adapter of this system, or one at a serial line, USB or TCP.
    Hci(Port),
    /// An adapter that bluetoothd holds and shares, by its name.
    #[cfg(feature = "bluez")]
    Bluez(String),
}

/// A name that names no adapter.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum UnknownAdapter {
    /// Not a name of any kind.
    #[error(
        "{0:?} names no adapter: use none (other gateways over IP alone), hci0 (an adapter of this system), bluez:hci0 (shared with bluetoothd), tcp:HOST:PORT, \
         serial:/dev/ttyACM0 or usb:VID:PID"
    )]
    Name(String),
    /// A kind that this program was built without.
    #[error("{0:?}: this program was built without that; build it with `--features {1}`")]
    Built(String, &'static str),
}

impl fmt::Display for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sim => f.pad("sim"),
            Self::None => f.pad("none"),
            Self::Hci(port) => f.pad(&port.to_string()),
            #[cfg(feature = "bluez")]
            Self::Bluez(name) => f.pad(&format!("bluez:{name}")),
        }
    }
}

impl FromStr for Adapter {
    type Err = UnknownAdapter;

    fn from_str(name: &str) -> Result<Self, UnknownAdapter> {
        let built = |feature| UnknownAdapter::Built(name.to_owned(), feature);
        match name.split_once(':') {
            None if name == "sim" => return Ok(Self::Sim),
            None if name == "none" => return Ok(Self::None),
            #[cfg(not(feature = "bluez"))]
            Some(("bluez", _)) => return Err(built("bluez")),
            #[cfg(feature = "bluez")]
            Some(("bluez", of)) if matches!(of.parse(), Ok(Port::User(_))) => {
                return Ok(Self::Bluez(of.into()));
            }
            Some(("serial", _)) if cfg!(not(feature = "serial")) => return Err(built("serial")),
            Some(("usb", _)) if cfg!(not(feature = "usb")) => return Err(built("usb")),
            _ => {}
        }
        name.parse().map(Self::Hci).map_err(|_| UnknownAdapter::Name(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adapters_are_named_in_one_way_only() {
        for name in ["sim", "none", "hci0", "hci11", "tcp:127.0.0.1:6402"] {
            assert_eq!(name.parse::<Adapter>().unwrap().to_string(), name);
        }
        for name in ["", "SIM", "sim:", "bt0", "hci", "tcp:nowhere"] {
            assert_eq!(name.parse::<Adapter>(), Err(UnknownAdapter::Name(name.to_owned())), "{name}");
        }
    }

    #[test]
    fn a_kind_that_was_not_built_in_names_its_feature() {
        let built = [
            ("bluez:hci0", "bluez", cfg!(feature = "bluez")),
            ("serial:/dev/ttyACM0", "serial", cfg!(feature = "serial")),
            ("usb:0a12:0001", "usb", cfg!(feature = "usb")),
        ];
        for (name, feature, there) in built {
            match name.parse::<Adapter>() {
                Ok(adapter) => assert!(there && adapter.to_string() == name),
                Err(error) => {
                    assert_eq!((error, there), (UnknownAdapter::Built(name.to_owned(), feature), false))
                }
            }
        }
    }
}
