//! The handle that a script has: time, streams to gateways, their power, the world.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ble_bearer::Clock;
use firmware_sim::play::field::Field;
use firmware_sim::stack::mesh::Mesh;
use firmware_sim::world::Network;
use mesh_agent::api::Hello;
use mesh_agent::api::codec::Codec;
use mesh_agent::{Client, ClientError};
use mesh_protocol::{Duration, Instant};
use tokio::io::DuplexStream;
use tokio::sync::{Notify, oneshot};

use super::error::TestbedError;
use super::idle::Beside;
use super::simulated_gateway::SimulatedGateway;

/// Simulated gateways, as their script sees them. Clones are the same ones.
#[derive(Clone, Debug)]
pub struct Testbed {
    pub(super) shared: Arc<Shared>,
    pub(super) clock: Beside,
}

/// What the clones share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) network: Network,
    pub(super) within: Instant,
    pub(super) world: Mutex<Field<Mesh>>,
    pub(super) gateways: Mutex<Vec<SimulatedGateway>>,
    /// Gateways that are to go.
    pub(super) shutdowns: Mutex<VecDeque<Shutdown>>,
    /// Something has happened that whoever listens wants to hear of.
    pub(super) news: Notify,
    pub(super) listens: bool,
}

/// A gateway that is to go, and who wants to know when it is gone.
#[derive(Debug)]
pub(super) struct Shutdown {
    pub(super) gateway: usize,
    /// Without its power, and not in order.
    pub(super) cut: bool,
    pub(super) gone: oneshot::Sender<Result<(), TestbedError>>,
}

/// The lock, whatever became of who had it.
pub(super) fn lock<T: ?Sized>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    // Who panicked while it was held has said so; looking at what is left does no harm.
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// For scripts.
impl Testbed {
    /// The time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Their clock, for whatever wants one.
    #[must_use]
    pub fn clock(&self) -> Beside {
        self.clock.clone()
    }

    /// Waits until then. Everything that happens at one moment happens one after the other, in the order in which it
    /// was waited for, and each is done with before the next begins.
    pub fn until(&self, at: Instant) -> impl Future<Output = ()> + Send + use<> {
        self.clock.wait(at)
    }

    /// Waits so long.
    pub fn pause(&self, span: Duration) -> impl Future<Output = ()> + Send + use<> {
        self.until(self.now() + span)
    }

    /// Attaches an agent to a gateway, from 0.
    ///
    /// # Errors
    /// As [`Client::over`]; [`ClientError::Lost`] as well when there is no such gateway or it has no power.
    pub async fn connect(&self, gateway: usize, hello: Hello, codec: Codec) -> Result<Client, ClientError> {
        Client::over(self.stream(gateway)?, hello, codec, self.clock()).await
    }

    /// A stream to a gateway, from 0, on which nothing has been said.
    ///
    /// # Errors
    /// [`ClientError::Lost`] when there is no such gateway or it has no power.
    pub fn stream(&self, gateway: usize) -> Result<DuplexStream, ClientError> {
        let mut gateways = lock(&self.shared.gateways);
        let running = gateways.get_mut(gateway).and_then(|simulated| simulated.running.as_mut());
        let stream = running.map(|running| running.listener.connect());
        stream.ok_or_else(|| ClientError::Lost(format!("gateway {gateway} has no power")))
    }

    /// Cuts a gateway's power, as soon as every task waits and before anything that waits for a disk is written: what
    /// was not synced is lost, as are frames not yet sent and all its sessions. Returns when nothing is left of it.
    ///
    /// # Errors
    /// [`TestbedError::NoGateway`]. One without power stays so.
    pub async fn cut(&self, gateway: usize) -> Result<(), TestbedError> {
        self.go(gateway, true).await
    }

    /// Stops a gateway in order, as soon as every task waits: it says goodbye to its agents and writes what it has.
    /// Returns when it has ended.
    ///
    /// # Errors
    /// [`TestbedError::NoGateway`], and when it could not write what it promised. One without power stays so.
    pub async fn stop(&self, gateway: usize) -> Result<(), TestbedError> {
        self.go(gateway, false).await
    }

    async fn go(&self, gateway: usize, cut: bool) -> Result<(), TestbedError> {
        let (gone, when_gone) = oneshot::channel();
        lock(&self.shared.shutdowns).push_back(Shutdown { gateway, cut, gone });
        when_gone.await.unwrap_or(Ok(()))
    }

    /// Starts a gateway that was cut or stopped: it starts from what its disk holds.
    ///
    /// # Errors
    /// If it has power, does not exist, or does not start.
    pub fn restart(&self, gateway: usize) -> Result<(), TestbedError> {
        {
            let mut gateways = lock(&self.shared.gateways);
            let simulated = gateways.get_mut(gateway).ok_or(TestbedError::NoGateway(gateway))?;
            if simulated.running.is_some() {
                return Err(TestbedError::On(gateway));
            }
            simulated.seat = lock(&self.shared.world).reseat(simulated.station);
        }
        self.start(gateway)
    }

    /// How many gateways there are.
    #[must_use]
    pub fn gateways(&self) -> usize {
        lock(&self.shared.gateways).len()
    }

    /// The network's addresses and names.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.shared.network
    }

    /// Looks into the world.
    pub fn with<R>(&self, look: impl FnOnce(&mut Field<Mesh>) -> R) -> R {
        look(&mut lock(&self.shared.world))
    }
}
