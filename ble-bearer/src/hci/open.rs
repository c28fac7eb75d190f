//! What opening a controller is: a stream of H4 packets, or an error that says what to do.
//!
//! Owns the trait [`Open`] and its errors. Which controllers there are, and how each is opened, is [`super::Port`]'s business.

use std::fmt;
use std::future::Future;
use std::io;

use tokio::io::{AsyncRead, AsyncWrite};

/// Opens a stream of H4 packets to a controller, as often as need be.
pub trait Open: Send + Sync + 'static {
    /// Reads and writes of it are whole packets or parts of them, in order.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Opens it.
    fn open(&self) -> impl Future<Output = Result<Self::Stream, OpenError>> + Send;
}

/// A stream of H4 packets.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl fmt::Debug for dyn Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stream")
    }
}

/// Why an adapter could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The kernel has no Bluetooth.
    #[error(
        "opening {0}: this kernel has no Bluetooth; load it with `sudo modprobe bluetooth`, or use a kernel that has it"
    )]
    NoBluetooth(String),
    /// There is no such adapter.
    #[error("opening {name}: there is no such adapter; {there}; `mesh-gateway adapters` lists them")]
    NoSuchAdapter {
        /// What was asked for.
        name: String,
        /// Those there are, for people.
        there: String,
    },
    /// Someone else has it.
    #[error(
        "opening {name}: it is in use, by bluetoothd or another program; free it with `sudo systemctl disable --now bluetooth` \
         (or `sudo btmgmt --index {index} power off`, until bluetoothd takes it back), or share it with `--adapter bluez:{name}`"
    )]
    Busy {
        /// What was asked for.
        name: String,
        /// Its number.
        index: u16,
    },
    /// The right is missing.
    #[error(
        "opening {name}: the right is missing; give it with `sudo setcap cap_net_admin+ep {program}` (or \
         AmbientCapabilities=CAP_NET_ADMIN in a systemd unit), or share the adapter with `--adapter bluez:{name}`, which needs none"
    )]
    NotPermitted {
        /// What was asked for.
        name: String,
        /// This program.
        program: String,
    },
    /// The radio is switched off.
    #[error("opening {0}: its radio is blocked; free it with `sudo rfkill unblock bluetooth`")]
    Rfkill(String),
    /// The kernel is too old.
    #[error(
        "opening {0}: this kernel cannot give an adapter to one program (that came with Linux 3.13); use a newer one"
    )]
    OldKernel(String),
    /// Nobody answers.
    #[error("connecting to {name}: {error}; check that the controller listens there")]
    Connect {
        /// What was asked for.
        name: String,
        /// Why.
        error: io::Error,
    },
    /// A line or a device.
    #[error("opening {name}: {error}; check that it is plugged in, and that this user may open it")]
    Device {
        /// What was asked for.
        name: String,
        /// Why.
        error: io::Error,
    },
}
