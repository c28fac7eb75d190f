//! Taking connections: which are let in, which are told that there is no room, and a session for each.
//!
//! Owns the limits on connections, and what is spoken on one: a session in the clear, a session over TLS, or another gateway. What a
//! session says does not concern it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ble_bearer::WallClock;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, warn};

use super::common::{Common, Transport};
use super::counters::count;
use super::session;
use super::unauthenticated::{PendingHello, Unauthenticated};
use super::unix_socket::UnixSocket;
use crate::access::Caller;
use crate::peering::{TlsTransport, Visitor};

/// How long to wait after a connection could not be taken, at first and at the most; doubles each time. Guesses: file descriptors come back
/// when sessions end.
const ACCEPT_PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];
/// That connections cannot be taken is said so often at the most. A guess.
const ACCEPT_SAID: Duration = Duration::from_secs(60);
/// How many connections over the limit are told so at the same time; more are closed without a word. A guess.
const REFUSALS: usize = 64;
/// How long a TCP connection may be silent before the system asks whether the other end is there, how often it then asks,
/// and how many times. Guesses: a peer that lost its power is noticed within two minutes, for a packet a minute.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(15))
    .with_retries(4);

/// The sessions of sockets, and the room for them.
pub(super) struct Acceptor {
    /// The user this process runs as; unknown, and everyone is a pending.
    own_user: Option<u32>,
    unauthenticated: Unauthenticated,
    room: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    tls: Option<TlsTransport>,
    pub(super) common: Arc<Common<WallClock>>,
    pub(super) sessions: JoinSet<()>,
    trouble: AcceptTrouble,
}

/// What it means that connections cannot be taken, for want of file descriptors say: growing pauses, and few words.
#[derive(Debug, Default)]
struct AcceptTrouble {
    /// No connection is taken before.
    until: Option<Instant>,
    /// The last pause; none since a connection was taken.
    pause: Option<Duration>,
    /// When it was said last, and how often it happened since.
    said: Option<Instant>,
    unsaid: u64,
}

impl AcceptTrouble {
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
pub(super) async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl Acceptor {
    pub(super) fn new(common: Arc<Common<WallClock>>, tls: Option<TlsTransport>) -> Self {
        // A socket's own other end: what this process is to those who ask.
        let own_user = UnixStream::pair().and_then(|(own, _)| own.peer_cred()).map(|own| own.uid()).ok();
        Self {
            own_user,
            unauthenticated: Unauthenticated::new(common.limits.unauthenticated),
            room: Arc::new(Semaphore::new(common.limits.connections)),
            refusals: Arc::new(Semaphore::new(REFUSALS)),
            tls,
            common,
            sessions: JoinSet::new(),
            trouble: AcceptTrouble::default(),
        }
    }

    /// Whether connections are taken now.
    pub(super) const fn accepts(&self) -> bool {
        self.trouble.until.is_none()
    }

    /// When they are taken again, if they are not.
    pub(super) const fn paused_until(&self) -> Option<Instant> {
        self.trouble.until
    }

    /// From now on they are.
    pub(super) const fn resume(&mut self) {
        self.trouble.until = None;
    }

    pub(super) fn admit(&mut self, accepted: io::Result<Stream>, transport: Transport) {
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
        self.unauthenticated.make_room();
        if self.room.available_permits() == 0 {
            // Who has said nothing holds no place that somebody could use.
            self.unauthenticated.oldest_goes();
        }
        let (place, transport) = match Arc::clone(&self.room).try_acquire_owned() {
            Ok(place) => (place, transport),
            Err(_) => {
                count(&counters.refused_full);
                let Ok(place) = Arc::clone(&self.refusals).try_acquire_owned() else {
                    return;
                };
                (place, Transport::Full)
            }
        };
        count(&counters.connections);
        let transport = match (&stream, transport) {
            (Stream::Unix(stream), Transport::Unix) if !is_ours(stream, self.own_user) => Transport::Tcp,
            (_, transport) => transport,
        };
        let common = Arc::clone(&self.common);
        let (pending, leave) = self.unauthenticated.enter(place);
        // Who finds no room is told so in the clear.
        let tls = self.tls.clone().filter(|_| transport == Transport::Tcp);
        self.sessions.spawn(async move {
            // Cut off without a word: it said none, and would only hold its place while the words wait to be read.
            tokio::select! {
                biased;
                () = leave.requested() => count(&common.counters.refused_crowd),
                () = serve_one(&common, transport, tls, pending, stream) => {}
            }
        });
    }
}

/// Each way of serving is in a box of its own: otherwise every connection holds room for the largest, several times over.
async fn serve_one(
    common: &Common<WallClock>,
    transport: Transport,
    tls: Option<TlsTransport>,
    pending: PendingHello,
    stream: Stream,
) {
    let begun = Instant::now();
    // Until the hello there is one time for all: for the first byte, for TLS, and for the hello itself.
    let left = || common.limits.hello_within.saturating_sub(begun.elapsed());
    match stream {
        Stream::Tcp(mut stream, from) => match tls {
            Some(tls) if speaks_tls(&stream, left()).await => {
                Box::pin(serve_tls(common, &tls, pending, left, (stream, from))).await;
            }
            _ => {
                let (reader, writer) = stream.split();
                let transport = (transport, Caller::Ip(from));
                Box::pin(session::serve(common, transport, Some(pending), left(), reader, writer)).await;
            }
        },
        Stream::Unix(mut stream) => {
            let (reader, writer) = stream.split();
            let transport = (transport, Caller::Unix);
            Box::pin(session::serve(common, transport, Some(pending), left(), reader, writer)).await;
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
async fn speaks_tls(stream: &TcpStream, within: Duration) -> bool {
    let mut first = [0];
    matches!(timeout(within, stream.peek(&mut first)).await, Ok(Ok(1)) if TlsTransport::is_for(first[0]))
}

/// A connection that begins with TLS: an agent's, or another gateway's.
async fn serve_tls(
    common: &Common<WallClock>,
    tls: &TlsTransport,
    pending: PendingHello,
    left: impl Fn() -> Duration,
    (stream, from): (TcpStream, SocketAddr),
) {
    match tls.open(stream, left()).await {
        Ok(Visitor::Agent(stream)) => {
            let (reader, writer) = tokio::io::split(stream);
            let transport = (Transport::Tcp, Caller::Ip(from));
            session::serve(common, transport, Some(pending), left(), reader, writer).await;
        }
        Ok(Visitor::Gateway(guest)) => {
            // Its place is its own from here on. Without one it was told to go just now.
            if let Some(_place) = pending.said_hello() {
                guest.stay().await;
            }
        }
        Err(why) => {
            count(&common.counters.refused_tls);
            debug!(%why, "a TLS handshake came to nothing");
        }
    }
}

/// A connection that was taken.
pub(super) enum Stream {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

/// The next connection over TCP; none ever without a port. Cancel safe.
pub(super) async fn accept_tcp(listener: Option<&TcpListener>) -> io::Result<Stream> {
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
    Ok(Stream::Tcp(stream, from))
}

/// The next connection over the Unix socket; none ever without one. Cancel safe.
pub(super) async fn accept_unix(socket: Option<&UnixSocket>) -> io::Result<Stream> {
    let Some(socket) = socket else {
        return std::future::pending().await;
    };
    Ok(Stream::Unix(socket.listener.accept().await?.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn trouble_with_connections_is_said_once_a_minute_and_tried_again_ever_more_seldom() {
        let (mut trouble, begin) = (AcceptTrouble::default(), Instant::now());
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
}
