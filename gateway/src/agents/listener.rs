//! The doors for agents: a TCP port and a Unix socket.
//!
//! Owns binding, the limit on connections, and starting a [`super::session`] for each. What a session says does not
//! concern it.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use ble_bearer::WallClock;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, sleep_until, timeout};
use tracing::{debug, warn};

use super::counters::{Counters, count};
use super::port::{QueueBound, ToEngine};
use super::session::{self, Common, Door, LINGER};
use super::strangers::{Stranger, Strangers};
use super::token::{LOOK_EVERY, TokenCheck};
use crate::access::Audit;
use crate::peering::{Door as TlsDoor, Visitor};
use crate::share::but_a_sixteenth;

/// How long to wait after a connection could not be taken, at first and at the most; doubles each time. Guesses: file descriptors come back
/// when sessions end.
const ACCEPT_PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];
/// That connections cannot be taken is said so often at the most. A guess.
const ACCEPT_SAID: Duration = Duration::from_secs(60);
/// Connections that may wait to be taken, as far as the system allows. A guess: the thousand agents that a gateway is meant for, all at once.
const BACKLOG: i32 = 1_024;
/// How many connections over the limit are told so at the same time; more are closed without a word. A guess.
const REFUSALS: usize = 64;

/// The most connections that have not said hello. A guess: the thousand agents that a gateway is meant for, all at once.
const STRANGERS: usize = 1_024;
/// How long a TCP connection may be silent before the system asks whether the other end is there, how often it then asks,
/// and how many times. Guesses: a peer that lost its power is noticed within two minutes, for a packet a minute.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(15))
    .with_retries(4);

/// How much the agents may ask of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at the same time.
    pub connections: usize,
    /// Connections at the same time that have not said hello. One more, and the oldest of them is closed.
    pub strangers: usize,
    /// How long a connection may take to say hello.
    pub hello_within: Duration,
    /// How long a connection over the limit may take to say its first byte, which tells the codec to refuse it in.
    pub refusal_within: Duration,
    /// How much may wait for one agent.
    pub queue: QueueBound,
}

impl Limits {
    /// The limits of a gateway that takes so many connections. At most half of them may be strangers.
    #[must_use]
    pub fn of(connections: usize) -> Self {
        Self { connections, strangers: STRANGERS.min(connections.div_ceil(2)), ..Self::default() }
    }

    /// Sessions at the same time that came with limited tokens: they leave a sixteenth to the operator and to those without.
    #[must_use]
    pub const fn limited(&self) -> usize {
        but_a_sixteenth(self.connections)
    }
}

impl Default for Limits {
    /// Guesses: twice the thousand agents that a gateway is meant for, half of that for all of them to come back at once, and
    /// 10 s for a person at a keyboard.
    fn default() -> Self {
        Self {
            connections: 2_048,
            strangers: STRANGERS,
            hello_within: Duration::from_secs(10),
            refusal_within: Duration::from_secs(1),
            queue: QueueBound::default(),
        }
    }
}

/// Where agents find the gateway, and what is asked of them.
#[derive(Clone, Debug)]
pub struct Listen {
    /// The TCP address; port 0 takes a free one.
    pub tcp: Option<SocketAddr>,
    /// The path of the Unix socket. Its mode lets in this gateway's user and root alone, and they are asked for no token; where
    /// somebody has changed that mode, others are asked as over TCP.
    pub unix: Option<PathBuf>,
    /// The tokens asked for over TCP.
    pub token: TokenCheck,
    /// The limits.
    pub limits: Limits,
}

/// Why the gateway cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Others on the network could connect, and nothing is asked of them.
    #[error(
        "cannot listen on {0}: others on the network could send in your name; make an access token with `mesh-gateway token \
         add NAME`, or use 127.0.0.1"
    )]
    NeedsToken(SocketAddr),
    /// The TCP port cannot be had.
    #[error("cannot listen on {address}: {why}; stop what uses the port or choose another one")]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        why: io::Error,
    },
    /// A gateway answers on the Unix socket.
    #[error("cannot listen on {}: another gateway answers there; stop it or choose another path", .0.display())]
    InUse(PathBuf),
    /// Something else is at the place of the Unix socket.
    #[error("cannot listen on {}: a file that is no socket is there; move it or choose another path", .0.display())]
    NotASocket(PathBuf),
    /// The Unix socket cannot be made.
    #[error("cannot listen on {}: {why}; choose a path in a folder the gateway may write", path.display())]
    Unix {
        /// The path.
        path: PathBuf,
        /// What the system says.
        why: io::Error,
    },
}

/// The doors, open: connections queue up from here on and are served by [`Self::serve`].
#[derive(Debug)]
pub struct Listener {
    tcp: Option<TcpListener>,
    unix: Option<UnixDoor>,
    token: TokenCheck,
    limits: Limits,
    counters: Arc<Counters>,
    tls: Option<TlsDoor>,
}

impl Listener {
    /// Opens the doors.
    ///
    /// # Errors
    /// If an address other than loopback is asked for without a token, or if a door cannot be opened.
    pub async fn bind(listen: Listen) -> Result<Self, ListenError> {
        let Listen { tcp, unix, token, limits } = listen;
        let tcp = match tcp {
            Some(address) if !address.ip().is_loopback() && !token.admits_some() => {
                return Err(ListenError::NeedsToken(address));
            }
            Some(address) => {
                let failed = |why| ListenError::Tcp { address, why };
                let listener = TcpListener::bind(address).await.map_err(failed)?;
                // It listens already; this makes its queue longer.
                SockRef::from(&listener).listen(BACKLOG).map_err(failed)?;
                Some(listener)
            }
            None => None,
        };
        let unix = match unix {
            Some(path) => Some(UnixDoor::open(path).await?),
            None => None,
        };
        Ok(Self { tcp, unix, token, limits, counters: Arc::default(), tls: None })
    }

    /// Also takes TLS over TCP: agents that want it, and other gateways.
    #[must_use]
    pub fn with_tls(self, door: TlsDoor) -> Self {
        Self { tls: Some(door), ..self }
    }

    /// The TCP address, with the port the system chose.
    #[must_use]
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().and_then(|tcp| tcp.local_addr().ok())
    }

    /// Where what agents send is noted.
    #[must_use]
    pub const fn audit(&self) -> &Audit {
        self.token.audit()
    }

    /// What is counted here.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Serves agents until `stop` is ready. Then it closes the doors and waits, some seconds at most, for the sessions,
    /// which the engine ends by closing their ports. Dropping the future cuts every session off.
    pub async fn serve(self, engine: mpsc::Sender<ToEngine>, stop: impl Future<Output = ()>) {
        let Self { tcp, unix, token, limits, counters, tls } = self;
        let next_session = AtomicU64::new(1);
        // A socket's own other end: what this process is to those who ask.
        let own_user = UnixStream::pair().and_then(|(own, _)| own.peer_cred()).map(|own| own.uid()).ok();
        let mut hall = Hall {
            own_user,
            strangers: Strangers::new(limits.strangers),
            room: Arc::new(Semaphore::new(limits.connections)),
            refusals: Arc::new(Semaphore::new(REFUSALS)),
            tls,
            common: Arc::new(Common {
                // Whoever comes over a socket lives by the wall's clock, whatever time the mesh is in.
                clock: WallClock::start(),
                engine,
                limits,
                token,
                counters,
                next_session,
                limited: Arc::new(Semaphore::new(limits.limited())),
            }),
            sessions: JoinSet::new(),
            trouble: Trouble::default(),
        };
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                () = until(hall.trouble.until) => hall.trouble.until = None,
                accepted = accept_tcp(tcp.as_ref()), if hall.trouble.until.is_none() => hall.admit(accepted, Door::Tcp),
                accepted = accept_unix(unix.as_ref()), if hall.trouble.until.is_none() => hall.admit(accepted, Door::Unix),
                Some(_) = hall.sessions.join_next() => {}
                _ = look.tick() => {
                    hall.common.token.refresh();
                    let tokens = hall.common.token.purged();
                    // Said each time: something of theirs may have been on its way, and an engine that is full is told the next time.
                    if !tokens.is_empty() {
                        let _ = hall.common.engine.try_send(ToEngine::Purge { tokens });
                    }
                }
            }
        }
        drop((tcp, unix));
        // A session ends within one linger of its last event and one more of its last byte.
        let _ = timeout(2 * LINGER, async { while hall.sessions.join_next().await.is_some() {} }).await;
    }
}

/// The sessions and the room for them.
struct Hall {
    /// The user this process runs as; unknown, and everyone is a stranger.
    own_user: Option<u32>,
    strangers: Strangers,
    room: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    tls: Option<TlsDoor>,
    common: Arc<Common<WallClock>>,
    sessions: JoinSet<()>,
    trouble: Trouble,
}

/// What it means that connections cannot be taken, for want of file descriptors say: growing pauses, and few words.
#[derive(Debug, Default)]
struct Trouble {
    /// No connection is taken before.
    until: Option<Instant>,
    /// The last pause; none since a connection was taken.
    pause: Option<Duration>,
    /// When it was said last, and how often it happened since.
    said: Option<Instant>,
    unsaid: u64,
}

impl Trouble {
    /// A connection could not be taken. How many times it was not said before, if it is to be said now.
    fn again(&mut self, now: Instant) -> Option<u64> {
        let [first, longest] = ACCEPT_PAUSES;
        let pause = self.pause.map_or(first, |pause| (2 * pause).min(longest));
        (self.pause, self.until) = (Some(pause), Some(now + pause));
        if self.said.is_some_and(|said| now < said + ACCEPT_SAID) {
            self.unsaid += 1;
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

/// That moment; never, if there is none.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl Hall {
    fn admit(&mut self, accepted: io::Result<Stream>, door: Door) {
        let counters = &self.common.counters;
        let stream = match accepted {
            Ok(stream) => {
                self.trouble.pause = None;
                stream
            }
            Err(why) => {
                count(&counters.accept_errors);
                if let Some(before) = self.trouble.again(Instant::now()) {
                    warn!(%why, before, "cannot take connections, and tries again: raise the limit on open files if it stays so");
                }
                return;
            }
        };
        self.strangers.make_room();
        if self.room.available_permits() == 0 {
            // Who has said nothing holds no place that somebody could use.
            self.strangers.oldest_goes();
        }
        let (place, door) = match Arc::clone(&self.room).try_acquire_owned() {
            Ok(place) => (place, door),
            Err(_) => {
                count(&counters.refused_full);
                let Ok(place) = Arc::clone(&self.refusals).try_acquire_owned() else {
                    return;
                };
                (place, Door::Full)
            }
        };
        count(&counters.connections);
        let door = match (&stream, door) {
            (Stream::Unix(stream), Door::Unix) if !is_ours(stream, self.own_user) => Door::Tcp,
            (_, door) => door,
        };
        let common = Arc::clone(&self.common);
        let (stranger, leave) = self.strangers.enter(place);
        // Who finds no room is told so in the clear.
        let tls = self.tls.clone().filter(|_| door == Door::Tcp);
        self.sessions.spawn(async move {
            // Cut off without a word: it said none, and would only hold its place while the words wait to be read.
            tokio::select! {
                biased;
                () = leave.told() => count(&common.counters.refused_crowd),
                () = serve_one(&common, door, tls, stranger, stream) => {}
            }
        });
    }
}

/// Each way of serving is in a box of its own: otherwise every connection holds room for the largest, several times over.
async fn serve_one(
    common: &Common<WallClock>,
    door: Door,
    tls: Option<TlsDoor>,
    stranger: Stranger,
    stream: Stream,
) {
    let begun = Instant::now();
    // Until the hello there is one time for all: for the first byte, for TLS, and for the hello itself.
    let left = || common.limits.hello_within.saturating_sub(begun.elapsed());
    match stream {
        Stream::Tcp(mut stream) => match tls {
            Some(tls) if speaks_tls(&stream, left()).await => {
                Box::pin(serve_tls(common, &tls, stranger, left, stream)).await;
            }
            _ => {
                let (reader, writer) = stream.split();
                Box::pin(session::serve(common, door, Some(stranger), left(), reader, writer)).await;
            }
        },
        Stream::Unix(mut stream) => {
            let (reader, writer) = stream.split();
            Box::pin(session::serve(common, door, Some(stranger), left(), reader, writer)).await;
        }
    }
}

/// Whether whoever opened this Unix socket is this process's user, or root, who could read the tokens anyway.
fn is_ours(stream: &UnixStream, own_user: Option<u32>) -> bool {
    match stream.peer_cred() {
        Ok(peer) => peer.uid() == 0 || Some(peer.uid()) == own_user,
        Err(why) => {
            debug!(%why, "cannot tell who opened the Unix socket: a token is asked for");
            false
        }
    }
}

/// Whether the first byte, which is left where it is, begins TLS. What comes too late does not.
async fn speaks_tls(stream: &tokio::net::TcpStream, within: Duration) -> bool {
    let mut first = [0];
    matches!(timeout(within, stream.peek(&mut first)).await, Ok(Ok(1)) if TlsDoor::is_for(first[0]))
}

/// A connection that begins with TLS: an agent's, or another gateway's.
async fn serve_tls(
    common: &Common<WallClock>,
    tls: &TlsDoor,
    stranger: Stranger,
    left: impl Fn() -> Duration,
    stream: tokio::net::TcpStream,
) {
    match tls.open(stream, left()).await {
        Ok(Visitor::Agent(stream)) => {
            let (reader, writer) = tokio::io::split(stream);
            session::serve(common, Door::Tcp, Some(stranger), left(), reader, writer).await;
        }
        Ok(Visitor::Gateway(guest)) => {
            // Its place is its own from here on. Without one it was told to go just now.
            if let Some(_place) = stranger.said_hello() {
                guest.stay().await;
            }
        }
        Err(why) => {
            count(&common.counters.refused_tls);
            debug!(%why, "a TLS handshake came to nothing");
        }
    }
}

enum Stream {
    Tcp(tokio::net::TcpStream),
    Unix(UnixStream),
}

async fn accept_tcp(listener: Option<&TcpListener>) -> io::Result<Stream> {
    let Some(listener) = listener else {
        return std::future::pending().await;
    };
    let (stream, from) = listener.accept().await?;
    // Events are written as they come, many at once; waiting for more would only add delay.
    if let Err(why) = stream.set_nodelay(true) {
        debug!(%from, %why, "cannot turn off Nagle's algorithm");
    }
    if let Err(why) = SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE) {
        debug!(%from, %why, "cannot have the system notice when the other end is gone");
    }
    Ok(Stream::Tcp(stream))
}

async fn accept_unix(door: Option<&UnixDoor>) -> io::Result<Stream> {
    let Some(door) = door else {
        return std::future::pending().await;
    };
    Ok(Stream::Unix(door.listener.accept().await?.0))
}

/// A Unix socket, whose file goes when it closes.
#[derive(Debug)]
struct UnixDoor {
    listener: UnixListener,
    path: PathBuf,
}

impl UnixDoor {
    async fn open(path: PathBuf) -> Result<Self, ListenError> {
        make_way(&path).await?;
        let failed = |why| ListenError::Unix { path: path.clone(), why };
        // Bound under another name and moved when its mode is right, so that there is no moment in which others can
        // open it. The move also replaces a stale socket at once.
        let mut draft = path.clone().into_os_string();
        draft.push(format!(".{}", std::process::id()));
        let draft = PathBuf::from(draft);
        let listener = UnixListener::bind(&draft).map_err(failed)?;
        SockRef::from(&listener).listen(BACKLOG).map_err(failed)?;
        let placed = std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o600))
            .and_then(|()| std::fs::rename(&draft, &path));
        if let Err(why) = placed {
            let _ = std::fs::remove_file(&draft);
            return Err(failed(why));
        }
        Ok(Self { listener, path })
    }
}

impl Drop for UnixDoor {
    fn drop(&mut self) {
        if let Err(why) = std::fs::remove_file(&self.path) {
            debug!(path = %self.path.display(), %why, "cannot remove the socket");
        }
    }
}

/// Sees that nobody answers at the socket's place, and that nothing else is there.
async fn make_way(path: &Path) -> Result<(), ListenError> {
    let failed = |why| ListenError::Unix { path: path.to_owned(), why };
    match std::fs::symlink_metadata(path) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(why) => return Err(failed(why)),
        Ok(found) if !found.file_type().is_socket() => return Err(ListenError::NotASocket(path.to_owned())),
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        Err(why) if matches!(why.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => {
            Ok(())
        }
        Ok(_) => Err(ListenError::InUse(path.to_owned())),
        Err(why) => Err(failed(why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn trouble_with_connections_is_said_once_a_minute_and_tried_again_ever_more_seldom() {
        let (mut trouble, begin) = (Trouble::default(), Instant::now());
        let mut said = Vec::new();
        let mut now = begin;
        for _ in 0..50 {
            said.extend(trouble.again(now).map(|before| ((now - begin).as_secs(), before)));
            now = trouble.until.unwrap();
        }
        // 0.1, 0.3, 0.7, 1.5, 3.1 s and then every 2 s.
        assert_eq!(said, [(0, 0), (61, 33)]);
        trouble.pause = None;
        trouble.again(now);
        assert_eq!(trouble.until, Some(now + ACCEPT_PAUSES[0]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hello_has_its_time_once_whatever_comes_before_it() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let folder = tempfile::tempdir().unwrap();
        let identity = crate::peering::Identity::open(folder.path()).unwrap();
        let key = crate::peering::PeerKey::derive(&[7; 16], 1);
        let me = (mesh_protocol::Address::new(1), mesh_agent::api::Name::new("gateway").unwrap());
        let (_radio, _peering, door, _connecting) =
            crate::peering::start(crate::radio::NoRadio, identity, key, me);
        let tcp = Some("127.0.0.1:0".parse().unwrap());
        let listen = Listen { tcp, unix: None, token: TokenCheck::open(), limits: Limits::default() };
        let listener = Listener::bind(listen).await.unwrap().with_tls(door);
        let address = listener.tcp_address().unwrap();
        let (engine, _requests) = mpsc::channel(1);
        tokio::spawn(listener.serve(engine, std::future::pending()));
        // The first byte of TLS and no more; half a hello. In simulated time.
        for first in [&[22][..], b"{"] {
            let begun = Instant::now();
            let mut silent = tokio::net::TcpStream::connect(address).await.unwrap();
            tokio::time::sleep(Duration::from_secs(9)).await;
            silent.write_all(first).await.unwrap();
            let mut answer = Vec::new();
            silent.read_to_end(&mut answer).await.unwrap();
            assert_eq!(begun.elapsed().as_secs(), 10, "{first:?}");
        }
    }

    #[tokio::test]
    async fn a_crowd_that_comes_at_once_finds_the_door() {
        let tcp = Some("127.0.0.1:0".parse().unwrap());
        let listen = Listen { tcp, unix: None, token: TokenCheck::open(), limits: Limits::default() };
        let listener = Listener::bind(listen).await.unwrap();
        // Nobody is taken yet: all of them wait in the system's queue, which is 128 long unless told.
        let address = listener.tcp_address().unwrap();
        let connect = |_| std::net::TcpStream::connect_timeout(&address, Duration::from_secs(5));
        let crowd: Vec<_> = (0..300).map(connect).collect();
        assert_eq!(crowd.iter().filter(|one| one.is_err()).count(), 0);
    }
}
