//! Android's virtual controllers, over TCP.
//!
//! Owns starting the program and ending it. It is not part of this project: `MESH_ROOTCANAL` names it.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;

use ble_bearer::hci::Port;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

/// The variable that names the program.
const PROGRAM: &str = "MESH_ROOTCANAL";
/// Within this it listens, or never. A guess.
const STARTS_WITHIN: Duration = Duration::from_secs(20);

/// A running RootCanal; it ends when this is dropped. Each connection is another controller, and all hear each other.
#[derive(Debug)]
pub struct RootCanal {
    _child: Child,
    port: u16,
}

impl RootCanal {
    /// Starts it on free ports.
    ///
    /// # Errors
    /// Why it does not run.
    pub async fn start() -> Result<Self, String> {
        let program = std::env::var(PROGRAM).map_err(|_| {
            format!("{PROGRAM} does not name its program: `./ci.sh hw` installs it and runs this")
        })?;
        let mut ports = [0; 4];
        for port in &mut ports {
            *port = free_port().await.map_err(|error| format!("finding a free port: {error}"))?;
        }
        let names = ["hci_port", "test_port", "link_port", "link_ble_port"];
        let arguments = names.iter().zip(ports).map(|(name, port)| format!("--{name}={port}"));
        let child = Command::new(&program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("starting {program}: {error}"))?;
        let there = async {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, ports[0])).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let started = tokio::time::timeout(STARTS_WITHIN, there).await;
        started.map_err(|_| format!("{program} does not listen on port {}", ports[0]))?;
        Ok(Self { _child: child, port: ports[0] })
    }

    /// A way to a fresh controller, each time it is opened.
    #[must_use]
    pub fn port(&self) -> Port {
        Port::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)).to_string())
    }
}

async fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?.local_addr()?.port())
}
