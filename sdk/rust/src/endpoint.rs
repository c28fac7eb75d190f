//! Where a gateway is found, as people write it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::Fingerprint;
use crate::tcp::host_port;

/// Where a gateway is found: `HOST:PORT`, `tls:HOST:PORT`, or `unix:PATH`.
///
/// ```
/// use mesh_agent::Endpoint;
///
/// assert_eq!("tls:barn.local:7700".parse(), Ok(Endpoint::Tls { address: "barn.local:7700".into(), pin: None }));
/// assert_eq!("unix:/run/mesh.sock".parse(), Ok(Endpoint::Unix("/run/mesh.sock".into())));
/// assert_eq!("[::1]:7700".parse(), Ok(Endpoint::Tcp("[::1]:7700".into())));
/// assert!("localhost".parse::<Endpoint>().is_err(), "a port is needed");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A host (a name or an address) and a port. What is said there, the token too, can be read on the way.
    Tcp(String),
    /// The same over TLS 1.3, with the feature `tls`.
    Tls {
        /// A host and a port.
        address: String,
        /// The certificate that the gateway must show. `None` takes the one that it shows first, which is
        /// [kept](crate::KnownGateways), and refuses another one later.
        pin: Option<Fingerprint>,
    },
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// Why a text is not an [`Endpoint`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "cannot look for a gateway at {0:?}: write HOST:PORT, as in 127.0.0.1:7700, tls:HOST:PORT or unix:PATH"
)]
pub struct EndpointError(String);

impl Endpoint {
    /// The same gateway over TLS, and only if it shows the certificate with this fingerprint. A Unix socket stays on this machine and
    /// needs neither.
    #[must_use]
    pub fn known_by(self, fingerprint: Fingerprint) -> Self {
        match self {
            Self::Tcp(address) | Self::Tls { address, .. } => Self::Tls { address, pin: Some(fingerprint) },
            Self::Unix(_) => self,
        }
    }
}

impl Default for Endpoint {
    /// Where a gateway listens unless the settings say otherwise.
    fn default() -> Self {
        Self::Tcp("127.0.0.1:7700".into())
    }
}

impl From<std::net::SocketAddr> for Endpoint {
    fn from(address: std::net::SocketAddr) -> Self {
        Self::Tcp(address.to_string())
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let wrong = || EndpointError(text.into());
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(wrong()) } else { Ok(Self::Unix(path.into())) };
        }
        let (address, tls) = text.strip_prefix("tls:").map_or((text, false), |address| (address, true));
        let named = host_port(address).is_some_and(|(host, _)| !host.is_empty());
        match (named, tls) {
            (true, true) => Ok(Self::Tls { address: address.into(), pin: None }),
            (true, false) => Ok(Self::Tcp(address.into())),
            (false, _) => Err(wrong()),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Tls { address, .. } => write!(f, "tls:{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_host_and_port_or_a_path() {
        for text in [
            "127.0.0.1:7700",
            "[::1]:7700",
            "[fe80::1%eth0]:7700",
            "raspberry.local:7700",
            "tls:raspberry.local:7700",
            "tls:[fe80::1%eth0]:7700",
            "unix:/run/mesh.sock",
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "localhost",
            ":7700",
            "localhost:",
            "localhost:70000",
            "[]:7700",
            "unix:",
            "tls:",
            "tls:7700",
        ] {
            assert_eq!(text.parse::<Endpoint>(), Err(EndpointError(text.into())));
        }
        assert_eq!(Endpoint::default().to_string(), "127.0.0.1:7700");
        let pin: Fingerprint = "ab".repeat(32).parse().unwrap();
        let pinned = Endpoint::Tls { address: "h:1".into(), pin: Some(pin) };
        for text in ["h:1", "tls:h:1"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().known_by(pin), pinned);
        }
        let unix: Endpoint = "unix:/run/mesh.sock".parse().unwrap();
        assert_eq!(unix.clone().known_by(pin), unix);
    }
}
