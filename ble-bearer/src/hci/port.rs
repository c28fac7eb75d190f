//! Controllers by name.
//!
//! Owns the names of adapters and opening what they name. What is said over the stream is for `Host`.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::str::FromStr;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::open::{Open, OpenError, Stream};

/// How long a connection over TCP may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Where a controller is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Port {
    /// An adapter of this system, by its number, for nobody but us.
    User(u16),
    /// A controller at a serial line, and its speed in bits a second.
    #[cfg(feature = "serial")]
    Serial(String, u32),
    /// A USB dongle, by vendor and product.
    #[cfg(feature = "usb")]
    Usb(u16, u16),
    /// A controller that speaks H4 over TCP: host and port.
    Tcp(String),
}

/// A name that names no adapter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` names no adapter: use hci0, tcp:HOST:PORT, serial:/dev/ttyACM0 (or serial:/dev/ttyACM0@115200) or usb:VID:PID"
)]
pub struct BadPort(pub String);

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(index) => write!(f, "hci{index}"),
            #[cfg(feature = "serial")]
            Self::Serial(path, _) => write!(f, "serial:{path}"),
            #[cfg(feature = "usb")]
            Self::Usb(vendor, product) => write!(f, "usb:{vendor:04x}:{product:04x}"),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}

impl FromStr for Port {
    type Err = BadPort;

    fn from_str(name: &str) -> Result<Self, BadPort> {
        let bad = || BadPort(name.to_owned());
        if let Some(index) = name.strip_prefix("hci") {
            let digits = !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit());
            return if digits { index.parse().map(Self::User).map_err(|_| bad()) } else { Err(bad()) };
        }
        match name.split_once(':') {
            Some(("tcp", address)) => {
                let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
                let named = !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0);
                if named { Ok(Self::Tcp(address.to_owned())) } else { Err(bad()) }
            }
            #[cfg(feature = "serial")]
            Some(("serial", path)) => {
                let (path, speed) = match path.split_once('@') {
                    Some((path, speed)) => (path, speed.parse().map_err(|_| bad())?),
                    None => (path, 1_000_000),
                };
                if path.starts_with('/') { Ok(Self::Serial(path.to_owned(), speed)) } else { Err(bad()) }
            }
            #[cfg(feature = "usb")]
            Some(("usb", ids)) => {
                let (vendor, product) = ids.split_once(':').ok_or_else(bad)?;
                let id = |text: &str| u16::from_str_radix(text, 16).map_err(|_| bad());
                Ok(Self::Usb(id(vendor)?, id(product)?))
            }
            _ => Err(bad()),
        }
    }
}

impl Open for Port {
    type Stream = Box<dyn Stream>;

    async fn open(&self) -> Result<Self::Stream, OpenError> {
        match self {
            Self::User(index) => user_channel(*index),
            Self::Tcp(address) => {
                let failed = |error| OpenError::Connect { name: self.to_string(), error };
                let connecting = tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect(address));
                let stream = connecting.await.map_err(|late| failed(late.into()))?.map_err(failed)?;
                // Commands are short, and each is waited for.
                stream.set_nodelay(true).map_err(failed)?;
                Ok(Box::new(QuickAck(stream)))
            }
            #[cfg(feature = "serial")]
            Self::Serial(path, speed) => super::serial::open(path, *speed),
            #[cfg(feature = "usb")]
            Self::Usb(vendor, product) => super::usb::open(*vendor, *product).await,
        }
    }
}

#[cfg(target_os = "linux")]
fn user_channel(index: u16) -> Result<Box<dyn Stream>, OpenError> {
    match bt_hci_linux::Socket::new(index) {
        Ok(socket) => Ok(Box::new(socket)),
        Err(error) => Err(explain(index, error)),
    }
}

#[cfg(not(target_os = "linux"))]
fn user_channel(index: u16) -> Result<Box<dyn Stream>, OpenError> {
    Err(OpenError::NoBluetooth(format!("hci{index}")))
}

/// What the kernel means.
fn explain(index: u16, error: io::Error) -> OpenError {
    // Numbers of `asm-generic/errno.h`; the standard library names only some of them.
    const EPERM: i32 = 1;
    const EACCES: i32 = 13;
    const EBUSY: i32 = 16;
    const ENODEV: i32 = 19;
    const EINVAL: i32 = 22;
    const EPROTONOSUPPORT: i32 = 93;
    const ESOCKTNOSUPPORT: i32 = 94;
    const EAFNOSUPPORT: i32 = 97;
    const ERFKILL: i32 = 132;
    let name = format!("hci{index}");
    match error.raw_os_error() {
        Some(EPERM | EACCES) => {
            let program = std::env::current_exe().map(|path| path.display().to_string());
            OpenError::NotPermitted { name, program: program.unwrap_or_else(|_| "mesh-gateway".into()) }
        }
        Some(EBUSY) => OpenError::Busy { name, index },
        Some(ENODEV) => OpenError::NoSuchAdapter { name, there: there() },
        Some(EINVAL) => OpenError::OldKernel(name),
        Some(EPROTONOSUPPORT | ESOCKTNOSUPPORT | EAFNOSUPPORT) => OpenError::NoBluetooth(name),
        Some(ERFKILL) => OpenError::Rfkill(name),
        _ => OpenError::Device { name, error },
    }
}

/// Adapters of this system, by name.
#[must_use]
pub fn adapters() -> Vec<String> {
    let entries = std::fs::read_dir("/sys/class/bluetooth").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    // Connections stand there, too: hci0:12.
    let mut names: Vec<_> = names.filter(|name| matches!(name.parse(), Ok(Port::User(_)))).collect();
    names.sort();
    names
}

fn there() -> String {
    let names = adapters();
    if names.is_empty() { "this system has none".into() } else { format!("there are {}", names.join(", ")) }
}

/// A connection whose data are acknowledged at once: a controller that answers in two pieces would wait 40 ms for the
/// acknowledgement of the first. The system forgets the option, so it is set before each read.
#[derive(Debug)]
struct QuickAck(TcpStream);

impl QuickAck {
    fn set_option(&self) {
        #[cfg(target_os = "linux")]
        // Without it everything works, slower.
        let _ = self.0.set_quickack(true);
    }
}

impl AsyncRead for QuickAck {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.set_option();
        Pin::new(&mut self.0).poll_read(cx, into)
    }
}

impl AsyncWrite for QuickAck {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_said_again() {
        for name in ["hci0", "hci12", "tcp:127.0.0.1:6402", "tcp:[::1]:6402", "tcp:pi.local:1"] {
            assert_eq!(name.parse::<Port>().unwrap().to_string(), name);
        }
        for name in [
            "",
            "hci",
            "hci-1",
            "hci99999",
            "hci+1",
            "tcp:",
            "tcp::1",
            "tcp:host:0",
            "tcp:host",
            "eth0",
            "usb:1",
        ] {
            assert_eq!(name.parse::<Port>(), Err(BadPort(name.to_owned())), "{name}");
        }
    }

    #[test]
    fn each_refusal_of_the_kernel_says_what_to_do() {
        let said = |errno| explain(0, io::Error::from_raw_os_error(errno)).to_string();
        assert!(said(1).contains("setcap cap_net_admin+ep") && said(1).contains("--adapter bluez:hci0"));
        assert!(said(16).contains("btmgmt --index 0 power off"));
        assert!(said(19).contains("there is no such adapter") && said(19).contains("mesh-gateway adapters"));
        assert!(said(22).contains("Linux 3.13"));
        assert!(said(97).contains("modprobe bluetooth"));
        assert!(said(132).contains("rfkill unblock bluetooth"));
        assert!(said(5).contains("check that it is plugged in"));
    }
}
