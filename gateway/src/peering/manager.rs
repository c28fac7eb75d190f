//! Connections to other gateways: dialled, taken, given up and dialled again.
//!
//! Owns which gateways are to be connected and which are. Two gateways keep one connection, whoever dialled: of two the one that the
//! lower address dialled stays. A gateway is known by its certificate: who comes under its address with another one is not it. What goes over a connection is `link`'s business, what it is worth to the mesh the node's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mesh_agent::api::{LinkState, Name, PeerLink};
use mesh_agent::connect_tcp;
use mesh_protocol::{Address, LinkId};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::{TlsConnector, TlsStream};

use super::bearer::LinkEvent;
use super::handshake::{HandshakeError, PeerKey, Remote, Side, greet};
use super::identity::{ALPN_PEER, Fingerprint, Identity};
use super::link::ANSWERS_WITHIN;
use super::{CONNECTIONS, PeerConfig};

/// How long a connection may take to come about, each step of it. A guess.
const STEP_WITHIN: Duration = Duration::from_secs(10);
/// From one attempt to the next, at first; doubles each time.
const AGAIN: Duration = Duration::from_millis(500);
/// See [`AGAIN`]. A guess: a gateway that is back is found within half a minute.
const AGAIN_MOST: Duration = Duration::from_secs(30);
/// Frames that wait for one connection. A guess: a second of a busy mesh.
const QUEUE: usize = 256;

/// What everyone who has to do with connections shares.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) identity: Identity,
    key: PeerKey,
    me: (Address, Name),
    events: mpsc::Sender<LinkEvent>,
    table: Mutex<Table>,
    /// A connection has ended.
    freed: Notify,
}

#[derive(Debug, Default)]
struct Table {
    /// Gateways that are to be connected.
    wanted: BTreeMap<Name, Wanted>,
    /// Connections that are up, by link number less one.
    up: [Option<Connection>; CONNECTIONS],
    /// Tells the ends of life of a number apart.
    claims: u64,
}

/// Keeps one connection; the table's count when it was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Keeper(u64);

#[derive(Debug)]
struct Wanted {
    /// Who keeps it; a name that is wanted again has another keeper.
    keeper: Keeper,
    address: String,
    pin: Option<Fingerprint>,
    /// The node found there.
    node: Option<Address>,
    why: Option<String>,
    /// Since when it is as it is.
    since: Instant,
    tried: bool,
}

#[derive(Debug)]
struct Connection {
    remote: Remote,
    from: String,
    /// Who dialled.
    dialler: Address,
    /// For whom, if it was this gateway.
    keeper: Option<Keeper>,
    since: Instant,
    /// When anything came over it last.
    heard: Instant,
    claim: u64,
    /// Another connection takes its place, or it is not wanted any more.
    give_up: Arc<Notify>,
}

impl Wanted {
    /// Whether this is the connection with it: its own, or one that it dialled itself.
    fn has(&self, up: &Connection) -> bool {
        match up.keeper {
            Some(keeper) => keeper == self.keeper,
            None => Some(up.remote.fingerprint) == self.pin,
        }
    }
}

impl Connection {
    /// Whether the other end answers, since when that is so, and why it is not up.
    fn state(&self) -> (LinkState, Instant, Option<String>) {
        let silent = self.heard.elapsed();
        if silent <= ANSWERS_WITHIN {
            return (LinkState::Up, self.since, None);
        }
        let why = format!("it is connected and has said nothing for {} s", silent.as_secs());
        (LinkState::Away, self.heard + ANSWERS_WITHIN, Some(why))
    }
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

    fn table(&self) -> MutexGuard<'_, Table> {
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

    async fn meet(
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
    async fn hold<S>(
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

    fn wants(&self, name: Name, address: String, pin: Option<Fingerprint>) -> Keeper {
        let mut table = self.table();
        table.claims += 1;
        let keeper = Keeper(table.claims);
        let since = Instant::now();
        let wanted = Wanted { keeper, address, pin, node: None, why: None, since, tried: false };
        table.wanted.insert(name, wanted);
        keeper
    }

    /// Whether what is kept under this name is what is wanted.
    fn keeps(&self, name: &Name, want: &PeerConfig) -> bool {
        want.name == *name
            && self.table().wanted.get(name).is_some_and(|known| {
                known.address == want.address && want.pin.is_none_or(|pin| known.pin == Some(pin))
            })
    }

    /// A gateway is not wanted any more. Whether there is a connection for it, which ends then.
    fn let_go(&self, name: Name) -> bool {
        let mut table = self.table();
        let Some(wanted) = table.wanted.remove(&name) else { return false };
        let up = table.up.iter().flatten().find(|up| up.keeper == Some(wanted.keeper));
        up.inspect(|up| up.give_up.notify_one()).is_some()
    }

    fn is_up(&self, print: Fingerprint) -> bool {
        self.table().up.iter().flatten().any(|connection| connection.remote.fingerprint == print)
    }

    /// What is known of each gateway that is wanted or connected.
    pub(super) fn links(&self) -> Vec<PeerLink> {
        let table = self.table();
        let mut links = Vec::new();
        let mut told = Vec::new();
        let ms = |since: Instant| u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        for (name, wanted) in &table.wanted {
            let up = table.up.iter().flatten().find(|up| wanted.has(up));
            told.extend(up.map(|up| up.claim));
            let (state, since, why) = match (up, wanted.tried) {
                (Some(up), _) => up.state(),
                (None, false) => (LinkState::Connecting, wanted.since, None),
                (None, true) => (LinkState::Away, wanted.since, wanted.why.clone()),
            };
            links.push(PeerLink {
                name: *name,
                address: wanted.address.clone(),
                state,
                node: up.map(|up| up.remote.node).or(wanted.node),
                why,
                since_ms: ms(since),
                last_heard_ms: up.map(|up| ms(up.heard)),
                fingerprint: wanted.pin.map(|pin| pin.to_string()),
            });
        }
        for up in table.up.iter().flatten().filter(|up| !told.contains(&up.claim)) {
            let (state, since, why) = up.state();
            links.push(PeerLink {
                name: up.remote.name,
                address: up.from.clone(),
                state,
                node: Some(up.remote.node),
                why,
                since_ms: ms(since),
                last_heard_ms: Some(ms(up.heard)),
                fingerprint: Some(up.remote.fingerprint.to_string()),
            });
        }
        links
    }

    /// The certificates that wanted gateways are known by.
    pub(super) fn pins(&self) -> Vec<(Name, Fingerprint)> {
        self.table().wanted.iter().filter_map(|(name, wanted)| Some((*name, wanted.pin?))).collect()
    }

    /// Connects `name` and stays so, until it is not wanted any more. Dropped while connected, it would leave a link without an end.
    async fn keep(&self, name: Name, keeper: Keeper) {
        let mut again = AGAIN;
        loop {
            let begun = Instant::now();
            let why = match self.dial(name, keeper).await {
                Ok(why) | Err(why) => why,
            };
            let Some(print) = self.note(name, keeper, why) else { return };
            // Its own connection is as good as ours.
            if let Some(print) = print {
                let mut freed = std::pin::pin!(self.freed.notified());
                freed.as_mut().enable();
                while self.is_up(print) {
                    freed.as_mut().await;
                    freed.set(self.freed.notified());
                    freed.as_mut().enable();
                }
            }
            again = if begun.elapsed() > AGAIN_MOST { AGAIN } else { again };
            sleep(jittered(again)).await;
            again = (again * 2).min(AGAIN_MOST);
        }
    }

    /// Notes why a wanted gateway is not connected; the certificate it is known by, or `None` if it is not wanted any more.
    fn note(&self, name: Name, keeper: Keeper, why: String) -> Option<Option<Fingerprint>> {
        let mut table = self.table();
        let wanted = table.wanted.get_mut(&name).filter(|wanted| wanted.keeper == keeper)?;
        if wanted.why.as_ref() != Some(&why) {
            tracing::warn!(peer = %name, address = wanted.address, why, "a gateway is not connected; trying again");
        }
        if !wanted.tried {
            (wanted.tried, wanted.since) = (true, Instant::now());
        }
        wanted.why = Some(why);
        Some(wanted.pin)
    }

    /// One attempt, and if it succeeds all of the connection; why it ended or did not come about.
    async fn dial(&self, name: Name, keeper: Keeper) -> Result<String, String> {
        let (address, pin) = match self.table().wanted.get(&name) {
            Some(wanted) => (wanted.address.clone(), wanted.pin),
            None => return Err("it is not wanted any more".into()),
        };
        let late = |_| format!("{address} does not answer within {} s", STEP_WITHIN.as_secs());
        let stream = timeout(STEP_WITHIN, connect_tcp(&address)).await.map_err(late)?;
        let stream = stream.map_err(|error| format!("{address} cannot be reached: {error}"))?;
        let _ = stream.set_nodelay(true);
        let tls =
            TlsConnector::from(Arc::clone(&self.identity.client)).connect(Identity::server_name(), stream);
        let stream = timeout(STEP_WITHIN, tls).await.map_err(late)?;
        let stream = stream.map_err(|error| HandshakeError::Tls(error.to_string()).to_string())?;
        let (stream, remote) =
            self.meet(stream.into(), Side::Dialler).await.map_err(|error| error.to_string())?;
        if pin.is_some_and(|pin| pin != remote.fingerprint) {
            return Err(format!(
                "it shows another certificate than before ({}): if that is right, remove it and add it again",
                remote.fingerprint
            ));
        }
        if let Some(wanted) = self.table().wanted.get_mut(&name).filter(|wanted| wanted.keeper == keeper) {
            (wanted.node, wanted.pin) = (Some(remote.node), Some(remote.fingerprint));
        }
        let ended = self.hold(stream, remote, address, (self.me.0, Some(keeper))).await;
        if let Some(wanted) = self.table().wanted.get_mut(&name).filter(|wanted| wanted.keeper == keeper) {
            wanted.since = Instant::now();
        }
        ended
    }
}

/// Why a connection is not used whose other end shows a certificate that is not that of the gateway at its address.
fn impostor(remote: &Remote, known: &Name) -> String {
    let Remote { node, name, fingerprint } = remote;
    tracing::warn!(%node, %name, %fingerprint, %known, "a gateway comes under another one's address and is sent away");
    format!("{node} is the address of {known}, which shows another certificate than {fingerprint}")
}

/// Half to all of it, so that two gateways that lost each other do not dial in step.
fn jittered(span: Duration) -> Duration {
    let mut byte = [0; 1];
    // Without random numbers it is in step, which costs a little time.
    let _ = getrandom::fill(&mut byte);
    span.mul_f64(0.5 + f64::from(byte[0]) / 512.0)
}

/// Keeps the connections that are wanted, until nobody can want any more.
pub(super) async fn manage(shared: Arc<Shared>, mut wanted: watch::Receiver<Vec<PeerConfig>>) {
    let mut tasks = JoinSet::new();
    let mut running: BTreeMap<Name, tokio::task::AbortHandle> = BTreeMap::new();
    // Who is not connected any more for a bug, and is tried again, after a pause.
    let mut died: Option<Name> = None;
    loop {
        let wants = wanted.borrow_and_update().clone();
        let gone: Vec<Name> = running
            .keys()
            .filter(|name| !wants.iter().any(|want| shared.keeps(name, want)))
            .copied()
            .collect();
        for name in gone {
            let task = running.remove(&name);
            // A connection ends in order, with its link. What is not connected yet will not be.
            if !shared.let_go(name) {
                task.inspect(tokio::task::AbortHandle::abort);
            }
        }
        for PeerConfig { name, address, pin } in wants {
            if running.contains_key(&name) {
                continue;
            }
            let keeper = shared.wants(name, address, pin);
            let (shared, pause) =
                (Arc::clone(&shared), if died == Some(name) { AGAIN_MOST } else { Duration::ZERO });
            let keep = async move {
                sleep(pause).await;
                shared.keep(name, keeper).await;
            };
            running.insert(name, tasks.spawn(keep));
        }
        died = None;
        loop {
            tokio::select! {
                changed = wanted.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                Some(ended) = tasks.join_next_with_id() => {
                    let Err(bug) = ended.map_err(|error| (error.is_panic(), error.id())) else { continue };
                    let name = running.iter().find(|(_, task)| task.id() == bug.1).map(|(name, _)| *name);
                    if let (true, Some(name)) = (bug.0, name) {
                        tracing::error!(peer = %name, "what keeps a gateway connected stopped, which is a bug: it begins anew");
                        running.remove(&name);
                        died = Some(name);
                        break;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
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
