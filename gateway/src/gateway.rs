//! A whole gateway: data directory, store, engine and the doors for agents, put together.
//!
//! Owns starting and stopping in the right order. Which adapter and clock it runs on is for the caller.

use std::net::SocketAddr;
use std::path::Path;

use ble_bearer::{Bearer, Clock};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::agents::{Listen, ListenError, Listener};
use crate::engine::{Engine, EngineError, Identity, Membership, Parts};
use crate::peering::{self, IdentityError, PeerConfig};
use crate::store::{Store, StoreError};

/// Batches of requests that may wait for the engine; a session that finds no room waits. A guess.
pub(crate) const COMMANDS: usize = 256;

/// What a gateway is made of.
#[derive(Debug)]
pub struct Plan<'a, B, C> {
    /// Who it is, and its bounds.
    pub identity: Identity,
    /// Its network.
    pub membership: Membership,
    /// Hops allowed to its messages, 1 to 15.
    pub ttl: u8,
    /// Seeds the node's jitter.
    pub seed: u64,
    /// How it sends and receives.
    pub bearer: B,
    /// Its time.
    pub clock: C,
    /// Where it keeps messages; the caller holds its lock.
    pub data_dir: &'a Path,
    /// Where agents and other gateways find it.
    pub listen: Listen,
    /// Gateways to be connected with.
    pub peers: Vec<PeerConfig>,
}

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The message store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The doors for agents.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The gateway's certificate.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// A gateway that runs.
#[derive(Debug)]
pub struct Gateway {
    tcp: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    engine: JoinHandle<Result<(), EngineError>>,
    sessions: JoinHandle<()>,
    connecting: JoinHandle<()>,
}

impl Gateway {
    /// Opens the store and the doors and starts the engine.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub async fn start<B, C>(plan: Plan<'_, B, C>) -> Result<Self, StartError>
    where
        B: Bearer + 'static,
        C: Clock,
    {
        let Plan { identity, membership, ttl, seed, bearer, clock, data_dir, listen, peers } = plan;
        let (store, recovered) = Store::open(data_dir)?;
        let me = (identity.address, identity.agent_name());
        let (bearer, peering, door, connecting) =
            peering::start(bearer, peering::Identity::open(data_dir)?, membership.peer_key.clone(), me);
        let listener = Listener::bind(listen).await?.with_tls(door);
        let tcp = listener.tcp_address();
        let (requests, commands) = mpsc::channel(COMMANDS);
        let (doors, audit) = (listener.counters(), listener.audit().clone());
        let parts = Parts {
            identity,
            membership,
            ttl,
            seed,
            bearer,
            clock,
            store,
            recovered,
            commands,
            doors,
            audit,
            peering,
            peers,
        };
        let engine = Engine::new(parts)?;
        let (stop, stopped) = watch::channel(false);
        let mut doors_stop = stopped.clone();
        let sessions = tokio::spawn(listener.serve(requests, async move {
            // An error means that the gateway itself is gone.
            let _ = doors_stop.wait_for(|stop| *stop).await;
        }));
        let engine = tokio::spawn(engine.run(stopped));
        Ok(Self { tcp, stop, engine, sessions, connecting })
    }

    /// Where agents connect over TCP, with the port the system chose.
    #[must_use]
    pub const fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp
    }

    /// Waits until the engine ends by itself, which it does only when something is broken. Cancel safe.
    pub async fn ended(&mut self) -> Result<(), EngineError> {
        flatten((&mut self.engine).await)
    }

    /// Ends at once: no goodbye, no last words to the mesh.
    ///
    /// For tests of what a power cut leaves behind.
    pub async fn cut(self) {
        self.sessions.abort();
        self.connecting.abort();
        self.engine.abort();
        // Cancelled is what they are meant to be.
        let _ = self.engine.await;
    }

    /// Says goodbye to the agents, writes what is to be kept, and ends.
    ///
    /// # Errors
    /// [`EngineError`] when something promised could not be written.
    pub async fn stop(self) -> Result<(), EngineError> {
        let _ = self.stop.send(true);
        let result = flatten(self.engine.await);
        // Sessions end when the engine has let go of them.
        let _ = self.sessions.await;
        result
    }
}

fn flatten(joined: Result<Result<(), EngineError>, tokio::task::JoinError>) -> Result<(), EngineError> {
    match joined {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // Cancelled: the runtime is going away.
        Err(_) => Ok(()),
    }
}
