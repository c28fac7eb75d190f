//! One gateway of a world: its seat on the air, its disk, and what runs while it has power.
//!
//! Owns start, cut and stop. When a disk is written is `drive`'s to say.

use ble_bearer::sim::{SimBearer, SimClock, StationId};
use firmware_sim::world::Network;
use gateway::COMMANDS;
use gateway::access::Audit;
use gateway::agents::{Limits, MemoryListener};
use gateway::engine::{Engine, EngineConfig, EngineError, Membership, Parts};
use gateway::peering::Peering;
use gateway::store::{Disk, Hand, Store};
use mesh_protocol::{Address, Duration, Rng};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::error::TestbedError;
use super::idle::Beside;
use super::world::GatewaySeat;

/// See the module.
#[derive(Debug)]
pub(super) struct SimulatedGateway {
    number: usize,
    name: String,
    address: Address,
    ttl: u8,
    pub(super) station: StationId,
    /// What the next start takes; `None` while it runs, and after a cut until it is seated again.
    pub(super) seat: Option<(SimBearer, SimClock)>,
    pub(super) disk: Disk,
    /// Jitter of each run, and what survives a cut.
    rng: Rng,
    fresh: bool,
    /// Transactions of runs that have ended.
    pub(super) commits: u64,
    pub(super) running: Option<Running>,
}

/// What has power.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) engine: JoinHandle<Result<(), EngineError>>,
    pub(super) listener: MemoryListener<Beside>,
    stop: watch::Sender<bool>,
    pub(super) hand: Hand,
}

impl SimulatedGateway {
    /// The gateway with this number, from 0, on its seat; hops allowed to its messages, and its dice.
    pub(super) fn new(number: usize, seat: GatewaySeat, ttl: u8, rng: Rng) -> Self {
        Self {
            number,
            name: seat.name,
            address: seat.address,
            ttl,
            station: seat.station,
            seat: Some(seat.seat),
            disk: Disk::new(),
            rng,
            fresh: true,
            commits: 0,
            running: None,
        }
    }

    /// Starts it from what its disk holds.
    pub(super) fn start(&mut self, network: &Network) -> Result<(), TestbedError> {
        let n = self.number;
        let (bearer, clock) = self.seat.take().ok_or(TestbedError::On(n))?;
        let opened = Store::open_by_hand(self.disk.clone());
        let (store, recovered, hand) = opened.map_err(|error| TestbedError::Store(n, error))?;
        let (requests, commands) = mpsc::channel(COMMANDS);
        let listener = MemoryListener::new(requests, Limits::default(), Beside::new(clock.clone()));
        let parts = Parts {
            config: self.engine_config(),
            membership: Membership::new(network.key(), network.epoch(), std::mem::take(&mut self.fresh)),
            ttl: self.ttl,
            seed: self.rng.next_u64(),
            bearer,
            clock,
            store,
            recovered,
            commands,
            transport_counters: listener.counters(),
            audit: Audit::off(),
            peering: Peering::none(),
            peers: Vec::new(),
        };
        let engine = Engine::new(parts).map_err(|error| TestbedError::Engine(n, error))?;
        let (stop, stopped) = watch::channel(false);
        let engine = tokio::spawn(engine.run(stopped));
        self.running = Some(Running { engine, listener, stop, hand });
        Ok(())
    }

    fn engine_config(&self) -> EngineConfig {
        EngineConfig {
            name: self.name.clone(),
            address: self.address,
            adapter: "sim".into(),
            default_deadline: Duration::from_secs(60),
            max_agents: 100,
            max_credits: 1_024,
            inbox_messages: 10_000,
            inbox_bytes: 16 << 20,
            inbox_total_bytes: 128 << 20,
        }
    }

    /// Writes the next group of its disk. False when nothing waits.
    pub(super) fn write(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.hand.write())
    }

    /// Cuts its power: what runs, to be ended, and the disk as it is found when the power is back.
    pub(super) fn cut(&mut self) -> Option<Running> {
        let running = self.running.take()?;
        // Before anything is dropped: what a database writes at its end comes too late.
        self.disk = self.disk.after_power_cut(&mut self.rng);
        Some(running)
    }
}

impl Running {
    pub(super) fn has_ended(&self) -> bool {
        self.engine.is_finished()
    }

    /// No goodbye, no last words.
    pub(super) async fn cut(mut self) {
        self.engine.abort();
        let ended = (&mut self.engine).await;
        self.listener.cut().await;
        // Cancelled is what it is meant to be.
        if let Err(error) = ended
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
    }

    /// Says goodbye to the agents and writes what is to be kept.
    pub(super) async fn stop(mut self) -> Result<(), EngineError> {
        let _ = self.stop.send(true);
        let ended = match (&mut self.engine).await {
            Ok(ended) => ended,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        // Sessions end by themselves when the engine has let go of them, at the latest after their linger.
        let mut listener = self.listener;
        tokio::spawn(async move { listener.ended().await });
        ended
    }
}
