//! A whole gateway: data directory, store, engine and the listener for agents, put together.
//!
//! Owns starting and stopping in the right order. Which adapter and clock it runs on is for the caller.

use std::net::SocketAddr;
use std::path::Path;

use ble_bearer::{Bearer, Clock};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::access::Audit;
use crate::agents::{Listen, ListenError, Listener};
use crate::engine::{Engine, EngineConfig, EngineError, Membership, Parts};
use crate::peering::{self, IdentityError, PeerConfig};
use crate::store::{Store, StoreError};

/// Batches of requests that may wait for the engine; a session that finds no room waits. A guess.
pub const COMMANDS: usize = 256;

/// What a gateway is made of.
#[derive(Debug)]
pub struct Plan<'a, B, C> {
    /// Who it is, and its bounds.
    pub config: EngineConfig,
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
    /// The listener for agents.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The gateway's certificate.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Why a gateway ended by itself, which it does only when something is broken. It is to be started again.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// The engine, for a reason it knows.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A part of it is gone, and the rest is of no use without it.
    #[error("{0} stopped, which is a bug: please report what was said above, and start the gateway again")]
    Part(&'static str),
}

/// A gateway that runs.
#[derive(Debug)]
pub struct Gateway {
    tcp: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    engine: JoinHandle<Result<(), EngineError>>,
    sessions: JoinHandle<()>,
    connecting: JoinHandle<()>,
    audit: Audit,
}

impl Gateway {
    /// Opens the store and the listener and starts the engine.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub async fn start<B, C>(plan: Plan<'_, B, C>) -> Result<Self, StartError>
    where
        B: Bearer + 'static,
        C: Clock,
    {
        let Plan { config, membership, ttl, seed, bearer, clock, data_dir, listen, peers } = plan;
        let opened = Store::open(data_dir);
        let (store, recovered) =
            opened.map_err(|error| if membership.fresh { error.of_a_fresh_key() } else { error })?;
        let me = (config.address, config.agent_name());
        let (bearer, peering, tls, connecting) =
            peering::start(bearer, peering::Identity::open(data_dir)?, membership.peer_key.clone(), me);
        let listener = Listener::bind(listen).await?.with_tls(tls);
        let tcp = listener.tcp_address();
        let (requests, commands) = mpsc::channel(COMMANDS);
        let (transport_counters, audit) = (listener.counters(), listener.audit().clone());
        let parts = Parts {
            config,
            membership,
            ttl,
            seed,
            bearer,
            clock,
            store,
            recovered,
            commands,
            transport_counters,
            audit: audit.clone(),
            peering,
            peers,
        };
        let engine = Engine::new(parts)?;
        let (stop, stopped) = watch::channel(false);
        let mut listener_stop = stopped.clone();
        let sessions = tokio::spawn(listener.serve(requests, async move {
            // An error means that the gateway itself is gone.
            let _ = listener_stop.wait_for(|stop| *stop).await;
        }));
        let engine = tokio::spawn(engine.run(stopped));
        Ok(Self { tcp, stop, engine, sessions, connecting, audit })
    }

    /// Where agents connect over TCP, with the port the system chose.
    #[must_use]
    pub const fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp
    }

    /// Waits until a part of it ends by itself, for which there is no good reason. Cancel safe; nothing is to be done with the gateway
    /// behind it but to drop it.
    pub async fn ended(&mut self) -> Ended {
        tokio::select! {
            biased;
            engine = &mut self.engine => match engine {
                Ok(Err(why)) => why.into(),
                Ok(Ok(())) | Err(_) => Ended::Part("the engine"),
            },
            () = gone(&mut self.sessions) => Ended::Part("the listener for agents"),
            () = gone(&mut self.connecting) => Ended::Part("the connections to other gateways"),
            () = self.audit.ended() => Ended::Part("the writer of the audit log"),
        }
    }

    /// Where what agents send is noted.
    #[must_use]
    pub const fn audit(&self) -> &Audit {
        &self.audit
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
    /// [`Ended`] when something promised could not be written.
    pub async fn stop(self) -> Result<(), Ended> {
        let _ = self.stop.send(true);
        let result = self.engine.await;
        // Sessions end when the engine has let go of them.
        let _ = self.sessions.await;
        Ok(result.map_err(|_| Ended::Part("the engine"))??)
    }
}

/// Waits until a task is gone that never ended. One that ends in order does so because the engine has: that is told by the engine.
async fn gone(task: &mut JoinHandle<()>) {
    if task.await.is_ok() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use mesh_agent::api::Name;
    use mesh_protocol::{Address, Duration};

    use super::*;
    use crate::agents::{Limits, TokenCheck};
    use crate::radio::NoRadio;

    async fn gateway(data_dir: &Path) -> Gateway {
        let config = EngineConfig {
            name: Name::new("gateway").unwrap().to_string(),
            address: Address::new(1),
            adapter: "none".into(),
            default_deadline: Duration::from_secs(30),
            max_agents: 10,
            max_credits: 16,
            inbox_messages: 10,
            inbox_bytes: 1 << 20,
            inbox_total_bytes: 1 << 20,
        };
        let listen = Listen { tcp: None, unix: None, token: TokenCheck::open(), limits: Limits::default() };
        let plan = Plan {
            config,
            membership: Membership::new([7; 16], 1, true),
            ttl: 5,
            seed: 1,
            bearer: NoRadio,
            clock: ble_bearer::WallClock::start(),
            data_dir,
            listen,
            peers: Vec::new(),
        };
        Gateway::start(plan).await.unwrap()
    }

    #[tokio::test]
    async fn a_part_that_dies_is_named() {
        for name in ["the engine", "the listener for agents", "the connections to other gateways"] {
            let folder = tempfile::tempdir().unwrap();
            let mut gateway = gateway(folder.path()).await;
            match name {
                "the engine" => gateway.engine.abort(),
                "the listener for agents" => gateway.sessions.abort(),
                _ => gateway.connecting.abort(),
            }
            assert!(matches!(gateway.ended().await, Ended::Part(part) if part == name), "{name}");
        }
    }
}
