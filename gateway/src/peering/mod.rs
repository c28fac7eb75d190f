//! Other gateways over IP: each connection is one more link of the same node, so that islands of radio are one mesh.
//!
//! Owns connecting: certificates, the proof that both ends are of one network, dialling again. What crosses a connection are the same
//! frames as on the air, encrypted under the network's key as there; TLS hides who speaks with whom, and keeps others from filling
//! the connection. Duplicates, priorities, receipts and routes are the node's, which knows no difference between links but their speed.

mod bearer;
mod dial;
mod handshake;
mod identity;
mod link;
mod manager;
mod table;

use std::sync::Arc;
use std::time::Duration;

use mesh_agent::api::{Name, PeerLink};
use mesh_protocol::Address;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsStream};

pub use bearer::Peered;
pub use handshake::PeerKey;
use handshake::Remote;
pub use identity::{Identity, IdentityError};
use manager::Shared;
pub use mesh_agent::Fingerprint;

/// The most connections at a time: what a node has links for, less the radio's.
pub const CONNECTIONS: usize = 7;
/// Frames that came and wait for the engine. A guess: a second of a busy mesh on each connection.
const EVENTS: usize = 1_024;

/// A gateway to be connected with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerConfig {
    /// What it is called here.
    pub name: Name,
    /// Its host and port.
    pub address: String,
    /// The certificate it must show; `None` takes the first one and keeps to it.
    pub pin: Option<Fingerprint>,
}

/// What the engine says and hears about connections.
#[derive(Clone, Debug)]
pub struct Peering(Option<Handle>);

#[derive(Clone, Debug)]
struct Handle {
    shared: Arc<Shared>,
    wanted: Arc<watch::Sender<Vec<PeerConfig>>>,
}

impl Peering {
    /// None, for a gateway without sockets.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// Whether there can be connections at all.
    #[must_use]
    pub const fn is_possible(&self) -> bool {
        self.0.is_some()
    }

    /// These gateways are to be connected from now on, and no others.
    pub fn want(&self, peers: Vec<PeerConfig>) {
        if let Some(handle) = &self.0 {
            handle.wanted.send_replace(peers);
        }
    }

    /// Every gateway that is wanted or connected.
    #[must_use]
    pub fn links(&self) -> Vec<PeerLink> {
        self.0.as_ref().map(|handle| handle.shared.links()).unwrap_or_default()
    }

    /// This gateway's own certificate.
    #[must_use]
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.0.as_ref().map(|handle| handle.shared.identity.fingerprint())
    }

    /// The certificates that wanted gateways are known by.
    #[must_use]
    pub fn pins(&self) -> Vec<(Name, Fingerprint)> {
        self.0.as_ref().map(|handle| handle.shared.pins()).unwrap_or_default()
    }
}

/// Where connections come in: TLS, for gateways and for agents.
#[derive(Clone, Debug)]
pub struct TlsTransport(Arc<Shared>);

impl TlsTransport {
    /// Whether a connection whose first byte is this begins with TLS (RFC 8446, section 5.1: a handshake record).
    #[must_use]
    pub const fn is_for(first: u8) -> bool {
        first == 22
    }

    /// Does the TLS handshake, and hears who a gateway is, all of it in that time.
    pub(crate) async fn open(&self, stream: TcpStream, within: Duration) -> std::io::Result<Visitor> {
        timeout(within, self.handshake(stream)).await?
    }

    async fn handshake(&self, stream: TcpStream) -> std::io::Result<Visitor> {
        let from = stream.peer_addr().map(|from| from.to_string()).unwrap_or_default();
        let acceptor = TlsAcceptor::from(Arc::clone(&self.0.identity.server));
        let stream = TlsStream::from(acceptor.accept(stream).await?);
        if stream.get_ref().1.alpn_protocol() != Some(identity::ALPN_PEER) {
            return Ok(Visitor::Agent(stream));
        }
        let (stream, remote) = self.0.receive(stream).await.map_err(std::io::Error::other)?;
        Ok(Visitor::Gateway(Guest { shared: Arc::clone(&self.0), stream, remote, from }))
    }
}

/// Who came in by TLS.
pub(crate) enum Visitor {
    /// An agent, which has said nothing yet.
    Agent(TlsStream<TcpStream>),
    /// A gateway of this network.
    Gateway(Guest),
}

/// A gateway that dialled.
pub(crate) struct Guest {
    shared: Arc<Shared>,
    stream: TlsStream<TcpStream>,
    remote: Remote,
    from: String,
}

impl Guest {
    /// Carries its frames until it has gone.
    pub(crate) async fn stay(self) {
        self.shared.take(self.stream, self.remote, self.from).await;
    }
}

/// Puts connections beside a radio. The task ends when nobody holds the [`Peering`] any more.
pub fn start<B>(
    radio: B,
    identity: Identity,
    key: PeerKey,
    me: (Address, Name),
) -> (Peered<B>, Peering, TlsTransport, JoinHandle<()>) {
    let (events, heard) = mpsc::channel(EVENTS);
    let shared = Arc::new(Shared::new(identity, key, me, events));
    let (wanted, wants) = watch::channel(Vec::new());
    let managing = tokio::spawn(dial::manage(Arc::clone(&shared), wants));
    let peering = Peering(Some(Handle { shared: Arc::clone(&shared), wanted: Arc::new(wanted) }));
    (Peered::new(radio, heard), peering, TlsTransport(shared), managing)
}
