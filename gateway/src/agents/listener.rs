//! Where agents find the gateway: a TCP port and a Unix socket.
//!
//! Owns binding, and serving until it is told to stop. Which connections are let in is decided in [`super::acceptor`].

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use ble_bearer::WallClock;
use socket2::SockRef;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{MissedTickBehavior, timeout};

use super::acceptor::{Acceptor, accept_tcp, accept_unix, until};
use super::common::{Common, LINGER, Transport};
use super::counters::Counters;
use super::limits::Limits;
use super::listen::{BACKLOG, Listen, ListenError};
use super::port::ToEngine;
use super::token::{LOOK_EVERY, TokenCheck};
use super::unix_socket::UnixSocket;
use crate::access::Audit;
use crate::peering::TlsTransport;

/// The sockets, bound: connections queue up from here on and are served by [`Self::serve`].
#[derive(Debug)]
pub struct Listener {
    tcp: Option<TcpListener>,
    unix: Option<UnixSocket>,
    token: TokenCheck,
    limits: Limits,
    counters: Arc<Counters>,
    tls: Option<TlsTransport>,
}

impl Listener {
    /// Binds the sockets.
    ///
    /// # Errors
    /// If an address other than loopback is asked for without a token, or if a socket cannot be bound.
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
            Some(path) => Some(UnixSocket::open(path).await?),
            None => None,
        };
        Ok(Self { tcp, unix, token, limits, counters: Arc::default(), tls: None })
    }

    /// Also takes TLS over TCP: agents that want it, and other gateways.
    #[must_use]
    pub fn with_tls(self, tls: TlsTransport) -> Self {
        Self { tls: Some(tls), ..self }
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

    /// Serves agents until `stop` is ready. Then it closes the sockets and waits, some seconds at most, for the sessions,
    /// which the engine ends by closing their ports. Dropping the future cuts every session off.
    pub async fn serve(self, engine: mpsc::Sender<ToEngine>, stop: impl Future<Output = ()>) {
        let Self { tcp, unix, token, limits, counters, tls } = self;
        let mut acceptor = Acceptor::new(
            Arc::new(Common {
                // Whoever comes over a socket lives by the wall's clock, whatever time the mesh is in.
                clock: WallClock::start(),
                engine,
                limits,
                token,
                counters,
                next_session: AtomicU64::new(1),
                limited: Arc::new(Semaphore::new(limits.limited())),
            }),
            tls,
        );
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                () = until(acceptor.paused_until()) => acceptor.resume(),
                accepted = accept_tcp(tcp.as_ref()), if acceptor.accepts() => acceptor.admit(accepted, Transport::Tcp),
                accepted = accept_unix(unix.as_ref()), if acceptor.accepts() => acceptor.admit(accepted, Transport::Unix),
                Some(_) = acceptor.sessions.join_next() => {}
                _ = look.tick() => {
                    acceptor.common.token.refresh();
                    let tokens = acceptor.common.token.purged();
                    // Said each time: something of theirs may have been on its way, and an engine that is full is told the next time.
                    if !tokens.is_empty() {
                        let _ = acceptor.common.engine.try_send(ToEngine::Purge { tokens });
                    }
                }
            }
        }
        drop((tcp, unix));
        // A session ends within one linger of its last event and one more of its last byte.
        let _ = timeout(2 * LINGER, async { while acceptor.sessions.join_next().await.is_some() {} }).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_hello_has_its_time_once_whatever_comes_before_it() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let folder = tempfile::tempdir().unwrap();
        let identity = crate::peering::Identity::open(folder.path()).unwrap();
        let key = crate::peering::PeerKey::derive(&[7; 16], 1);
        let me = (mesh_protocol::Address::new(1), mesh_agent::api::Name::new("gateway").unwrap());
        let (_radio, _peering, tls, _connecting) =
            crate::peering::start(crate::radio::NoRadio, identity, key, me);
        let tcp = Some("127.0.0.1:0".parse().unwrap());
        let listen = Listen { tcp, unix: None, token: TokenCheck::open(), limits: Limits::default() };
        let listener = Listener::bind(listen).await.unwrap().with_tls(tls);
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
    async fn a_crowd_that_comes_at_once_finds_the_port() {
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
