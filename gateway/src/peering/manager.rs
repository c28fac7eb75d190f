//! Connections to other gateways: which are to be, which are, and what is carried over each.
//!
//! Owns which of two connections stays. Two gateways keep one connection, whoever dialled: of two the one that the
//! lower address dialled stays. A gateway is known by its certificate: who comes under its address with another one is not it. What goes over a
//! connection is `link`'s business, what it is worth to the mesh the node's. Who is dialled when is `dial`'s.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mesh_agent::Fingerprint;
use mesh_agent::api::{Name, PeerLink};
use mesh_protocol::{Address, LinkId};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsStream;

use super::bearer::LinkEvent;
use super::handshake::{HandshakeError, PeerKey, Remote, Side, greet};
use super::identity::{ALPN_PEER, Identity};
use super::table::{Connection, Keeper, Table, Wanted};
use super::{CONNECTIONS, PeerConfig};

/// How long a connection may take to come about, each step of it. A guess.
pub(super) const STEP_WITHIN: Duration = Duration::from_secs(10);
/// Frames that wait for one connection. A guess: a second of a busy mesh.
const QUEUE: usize = 256;

/// What everyone who has to do with connections shares.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) identity: Identity,
    pub(super) key: PeerKey,
    pub(super) me: (Address, Name),
    events: mpsc::Sender<LinkEvent>,
    table: Mutex<Table>,
    /// A connection has ended.
    pub(super) freed: Notify,
}

/// A link number in use; dropping it frees the number.
struct Claim<'a> {
    shared: &'a Shared,
    link: LinkId,
    number: u64,
    give_up: Arc<Notify>,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut table = self.shared.table();
        let place = &mut table.up[usize::from(self.link.0) - 1];
        if place.as_ref().is_some_and(|connection| connection.claim == self.number) {
            *place = None;
        }
        drop(table);
        self.shared.freed.notify_waiters();
    }
}

impl Shared {
    pub(super) fn new(
        identity: Identity,
        key: PeerKey,
        me: (Address, Name),
        events: mpsc::Sender<LinkEvent>,
    ) -> Self {
        Self { identity, key, me, events, table: Mutex::default(), freed: Notify::new() }
    }

    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        // It is whole between any two statements that could panic.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hears who dialled.
    pub(super) async fn receive(
        &self,
        stream: TlsStream<TcpStream>,
    ) -> Result<(TlsStream<TcpStream>, Remote), HandshakeError> {
        self.meet(stream, Side::Listener).await
    }

    /// Uses a connection that another gateway dialled, until it ends.
    pub(super) async fn take(&self, stream: TlsStream<TcpStream>, remote: Remote, from: String) {
        if let Err(why) = self.hold(stream, remote, from, (remote.node, None)).await {
            tracing::debug!(peer = %remote.name, why, "a gateway's connection is not used");
        }
    }

    pub(super) async fn meet(
        &self,
        mut stream: TlsStream<TcpStream>,
        side: Side,
    ) -> Result<(TlsStream<TcpStream>, Remote), HandshakeError> {
        let (_, connection) = stream.get_ref();
        let tls = |what: &str| HandshakeError::Tls(what.to_owned());
        if connection.alpn_protocol() != Some(ALPN_PEER) {
            return Err(tls("it does not say that it is one"));
        }
        let certificate = connection.peer_certificates().and_then(|chain| chain.first());
        let fingerprint = Fingerprint::of(certificate.ok_or_else(|| tls("it shows no certificate"))?);
        const LABEL: &[u8] = b"EXPORTER-mesh-gateway-peer";
        let binding = match &stream {
            TlsStream::Client(stream) => stream.get_ref().1.export_keying_material([0; 32], LABEL, None),
            TlsStream::Server(stream) => stream.get_ref().1.export_keying_material([0; 32], LABEL, None),
        };
        let binding = binding.map_err(|error| tls(&error.to_string()))?;
        let greeting = greet(&mut stream, side, &self.key, &binding, self.me, fingerprint);
        let met = timeout(STEP_WITHIN, greeting).await.map_err(|_| tls("it says nothing"))?;
        let remote = met.map_err(|error| match error {
            // A new address would help two gateways, and not one that dials itself.
            HandshakeError::SameAddress(_) if fingerprint == self.identity.fingerprint() => {
                HandshakeError::Itself
            }
            other => other,
        })?;
        Ok((stream, remote))
    }

    /// Uses a connection until it ends; `Err` says why it is not used at all.
    pub(super) async fn hold<S>(
        &self,
        stream: S,
        remote: Remote,
        from: String,
        dialler: (Address, Option<Keeper>),
    ) -> Result<String, String>
    where
        S: AsyncRead + AsyncWrite,
    {
        let claim = self.claim(remote, from, dialler)?;
        let link = claim.link;
        let (frames, outgoing) = mpsc::channel(QUEUE);
        if self.events.send(LinkEvent::Up { link, frames }).await.is_err() {
            return Err("this gateway is going away".into());
        }
        tracing::info!(peer = %remote.name, node = %remote.node, link = link.0, "connected with a gateway");
        let why = tokio::select! {
            why = super::link::carry(stream, outgoing, || self.heard(&claim), async |bytes| {
                self.events.send(LinkEvent::Frame { link, bytes }).await.is_ok()
            }) => why,
            () = claim.give_up.notified() => "this connection with it is not used any more".into(),
        };
        tracing::warn!(peer = %remote.name, node = %remote.node, why, "the connection with a gateway has ended");
        // Before the number is free, so that its next use begins behind the end of this one.
        let _ = self.events.send(LinkEvent::Down { link, why: why.clone() }).await;
        Ok(why)
    }

    fn claim(
        &self,
        remote: Remote,
        from: String,
        (dialler, keeper): (Address, Option<Keeper>),
    ) -> Result<Claim<'_>, String> {
        let mut table = self.table();
        if keeper.is_some_and(|keeper| !table.wanted.values().any(|wanted| wanted.keeper == keeper)) {
            return Err("it is not wanted any more".into());
        }
        let is_wanted = |print| table.wanted.values().any(|wanted| wanted.pin == Some(print));
        let known = table.up.iter().flatten().find(|known| known.remote.node == remote.node);
        match known {
            Some(known) if known.remote.fingerprint == remote.fingerprint => {
                if known.dialler <= dialler {
                    return Err("there is a connection with it already".into());
                }
            }
            Some(known) if is_wanted(known.remote.fingerprint) || !is_wanted(remote.fingerprint) => {
                return Err(impostor(&remote, &known.remote.name));
            }
            // One that is wanted takes the place of one that nobody knows.
            Some(_) => {}
            None => {
                let known = table.wanted.iter().find(|(_, wanted)| wanted.node == Some(remote.node));
                if let Some((name, _)) = known.filter(|_| !is_wanted(remote.fingerprint)) {
                    return Err(impostor(&remote, name));
                }
            }
        }
        // Before the other one ends for this.
        let Some(free) = table.up.iter().position(Option::is_none) else {
            return Err(format!("all {CONNECTIONS} connections are in use: remove one"));
        };
        known.inspect(|known| known.give_up.notify_one());
        table.claims += 1;
        let number = table.claims;
        let give_up = Arc::new(Notify::new());
        table.up[free] = Some(Connection {
            remote,
            from,
            dialler,
            keeper,
            since: Instant::now(),
            heard: Instant::now(),
            claim: number,
            give_up: Arc::clone(&give_up),
        });
        Ok(Claim { shared: self, link: LinkId(free as u8 + 1), number, give_up })
    }

    /// Something came over a connection.
    fn heard(&self, claim: &Claim<'_>) {
        let mut table = self.table();
        let connection = table.up[usize::from(claim.link.0) - 1].as_mut();
        if let Some(connection) = connection.filter(|connection| connection.claim == claim.number) {
            connection.heard = Instant::now();
        }
    }

    pub(super) fn wants(&self, name: Name, address: String, pin: Option<Fingerprint>) -> Keeper {
        let mut table = self.table();
        table.claims += 1;
        let keeper = Keeper(table.claims);
        let since = Instant::now();
        let wanted = Wanted { keeper, address, pin, node: None, why: None, since, tried: false };
        table.wanted.insert(name, wanted);
        keeper
    }

    /// Whether what is kept under this name is what is wanted.
    pub(super) fn keeps(&self, name: &Name, want: &PeerConfig) -> bool {
        want.name == *name
            && self.table().wanted.get(name).is_some_and(|known| {
                known.address == want.address && want.pin.is_none_or(|pin| known.pin == Some(pin))
            })
    }

    /// A gateway is not wanted any more. Whether there is a connection for it, which ends then.
    pub(super) fn let_go(&self, name: Name) -> bool {
        let mut table = self.table();
        let Some(wanted) = table.wanted.remove(&name) else { return false };
        let up = table.up.iter().flatten().find(|up| up.keeper == Some(wanted.keeper));
        up.inspect(|up| up.give_up.notify_one()).is_some()
    }

    pub(super) fn is_up(&self, print: Fingerprint) -> bool {
        self.table().up.iter().flatten().any(|connection| connection.remote.fingerprint == print)
    }

    /// What is known of each gateway that is wanted or connected.
    pub(super) fn links(&self) -> Vec<PeerLink> {
        self.table().links()
    }

    /// The certificates that wanted gateways are known by.
    pub(super) fn pins(&self) -> Vec<(Name, Fingerprint)> {
        self.table().wanted.iter().filter_map(|(name, wanted)| Some((*name, wanted.pin?))).collect()
    }
}

/// Why a connection is not used whose other end shows a certificate that is not that of the gateway at its address.
fn impostor(remote: &Remote, known: &Name) -> String {
    let Remote { node, name, fingerprint } = remote;
    tracing::warn!(%node, %name, %fingerprint, %known, "a gateway comes under another one's address and is sent away");
    format!("{node} is the address of {known}, which shows another certificate than {fingerprint}")
}

#[cfg(test)]
mod tests {
    use mesh_agent::api::LinkState;

    use super::super::link::ANSWERS_WITHIN;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_whose_other_end_says_nothing_is_not_up() {
        let dir = tempfile::tempdir().unwrap();
        let name = |text| Name::new(text).unwrap();
        let (events, _heard) = mpsc::channel(1);
        let identity = Identity::open(dir.path()).unwrap();
        let fingerprint = identity.fingerprint();
        let me = (Address::new(1), name("a"));
        let shared = Shared::new(identity, PeerKey::derive(&[7; 16], 1), me, events);
        let remote = Remote { node: Address::new(2), name: name("b"), fingerprint };
        let claim = shared.claim(remote, "10.0.0.2:1".into(), (Address::new(2), None)).unwrap();
        let link = || shared.links().pop().unwrap();
        assert_eq!((link().state, link().last_heard_ms), (LinkState::Up, Some(0)));
        tokio::time::advance(ANSWERS_WITHIN).await;
        assert_eq!(link().state, LinkState::Up);
        tokio::time::advance(Duration::from_secs(3)).await;
        let silent = link();
        assert_eq!(
            (silent.state, silent.since_ms, silent.last_heard_ms),
            (LinkState::Away, 3_000, Some(18_000))
        );
        assert_eq!(silent.why.as_deref(), Some("it is connected and has said nothing for 18 s"));
        shared.heard(&claim);
        assert_eq!((link().state, link().since_ms, link().why), (LinkState::Up, 18_000, None));
    }
}
