//! Where agents connect, as people write it: an address or a name of this machine, and a port.

use std::net::{SocketAddr, ToSocketAddrs};

use mesh_agent::host_port;

/// The address of this text: of several that a name has, the first one that others understand, IPv4.
///
/// # Errors
/// What to write instead.
pub fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let write = "write an address and a port, as in 127.0.0.1:7700, [::1]:7700, [fe80::1%eth0]:7700 or localhost:7700";
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let (host, port) = host_port(text).filter(|(host, _)| !host.is_empty()).ok_or(write)?;
    let found =
        (host, port).to_socket_addrs().map_err(|why| format!("{host} is not known here ({why}); {write}"))?;
    found.min_by_key(SocketAddr::is_ipv6).ok_or_else(|| format!("{host} has no address; {write}"))
}
