//! Where a gateway is found, as people write it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::tcp::host_port;

/// Where a gateway is found: `HOST:PORT`, or `unix:PATH`.
///
/// ```
/// use mesh_agent::Endpoint;
///
/// assert_eq!("unix:/run/mesh.sock".parse(), Ok(Endpoint::Unix("/run/mesh.sock".into())));
/// assert_eq!("[::1]:7700".parse(), Ok(Endpoint::Tcp("[::1]:7700".into())));
/// assert!("localhost".parse::<Endpoint>().is_err(), "a port is needed");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A host (a name or an address) and a port.
    Tcp(String),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// Why a text is not an [`Endpoint`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot look for a gateway at {0:?}: write HOST:PORT, as in 127.0.0.1:7700, or unix:PATH")]
pub struct EndpointError(String);

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
        let named = host_port(text).is_some_and(|(host, _)| !host.is_empty());
        if named { Ok(Self::Tcp(text.into())) } else { Err(wrong()) }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
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
            "unix:/run/mesh.sock",
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        for text in ["", "localhost", ":7700", "localhost:", "localhost:70000", "[]:7700", "unix:"] {
            assert_eq!(text.parse::<Endpoint>(), Err(EndpointError(text.into())));
        }
        assert_eq!(Endpoint::default().to_string(), "127.0.0.1:7700");
    }
}
