//! Letting one thing happen after the other.
//!
//! Owns the order: who is next when nobody can go on by himself. What happens then is the world's, a disk's,
//! or the end of a gateway.

use std::sync::{Arc, Mutex};

use ble_bearer::sim::Step;
use gateway::engine::EngineError;
use mesh_protocol::{Instant, Rng};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::error::TestbedError;
use super::idle::{Beside, Idle};
use super::simulated_gateway::{Running, SimulatedGateway};
use super::testbed::{Shared, Shutdown, Testbed, lock};
use super::world::PreparedWorld;

impl Testbed {
    pub(super) fn new(prepared: PreparedWorld) -> Result<Self, TestbedError> {
        let PreparedWorld { seed, network, world, gateways, ttl, within, listens } = prepared;
        let mut seeds = Rng::stream(seed, "gateways");
        let clock = gateways.first().map(|first| Beside::new(first.seat.1.clone()));
        let gateways =
            (0..).zip(gateways).map(|(n, seat)| SimulatedGateway::new(n, seat, ttl, seeds.fork(n as u64)));
        let shared = Shared {
            within: Instant::ZERO + within,
            network,
            gateways: Mutex::new(gateways.collect()),
            world: Mutex::new(world),
            shutdowns: Mutex::default(),
            news: Notify::new(),
            listens,
        };
        Ok(Self { shared: Arc::new(shared), clock: clock.ok_or(TestbedError::NoGateway(0))? })
    }

    pub(super) fn start(&self, gateway: usize) -> Result<(), TestbedError> {
        let mut gateways = lock(&self.shared.gateways);
        let simulated = gateways.get_mut(gateway).ok_or(TestbedError::NoGateway(gateway))?;
        simulated.start(&self.shared.network)
    }

    /// Lets things happen, one at a time, until the script has ended.
    pub(super) async fn drive<T: Send + 'static>(
        &self,
        idle: &Idle,
        script: JoinHandle<T>,
    ) -> Result<T, TestbedError> {
        loop {
            idle.wait().await;
            if script.is_finished() {
                match script.await {
                    Ok(result) => return Ok(result),
                    Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                    Err(_) => unreachable!("nobody aborts the script"),
                }
            }
            let shutdown = lock(&self.shared.shutdowns).pop_front();
            if let Some(Shutdown { gateway, cut, gone }) = shutdown {
                let result = self.end(gateway, cut).await;
                // Whoever asked may have gone.
                let _ = gone.send(result);
                continue;
            }
            let by_itself = lock(&self.shared.gateways).iter_mut().enumerate().find_map(ended);
            if let Some((gateway, ended)) = by_itself {
                return match ended.await {
                    Ok(Ok(())) => Err(TestbedError::Ended(gateway)),
                    Ok(Err(error)) => Err(TestbedError::Engine(gateway, error)),
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                };
            }
            if lock(&self.shared.gateways).iter().any(SimulatedGateway::write) {
                continue;
            }
            self.go_on()?;
        }
    }

    /// Lets the world go on until that gives someone something to do, or until there are news of devices for whoever listens.
    fn go_on(&self) -> Result<(), TestbedError> {
        let mut world = lock(&self.shared.world);
        let mut happened = false;
        loop {
            match world.step_until(self.shared.within) {
                Step::Done(_) if self.shared.listens && world.observer().1.has_news() => {
                    self.shared.news.notify_one();
                    return Ok(());
                }
                Step::Done(_) => happened = true,
                Step::Still(_) if happened => return Ok(()),
                Step::Still(still) => return Err(TestbedError::Stuck { at: world.now().as_micros(), still }),
                Step::Quiet(_) => {
                    let seconds = self.shared.within.since(Instant::ZERO).as_millis() / 1_000;
                    return Err(TestbedError::Endless(seconds));
                }
            }
        }
    }

    async fn end(&self, gateway: usize, cut: bool) -> Result<(), TestbedError> {
        let running = {
            let mut gateways = lock(&self.shared.gateways);
            let simulated = gateways.get_mut(gateway).ok_or(TestbedError::NoGateway(gateway))?;
            if cut { simulated.cut() } else { simulated.running.take() }
        };
        let Some(running) = running else { return Ok(()) };
        let hand = running.hand.clone();
        if cut {
            running.cut().await;
        } else {
            running.stop().await.map_err(|error| TestbedError::Engine(gateway, error))?;
        }
        lock(&self.shared.gateways)[gateway].commits += hand.commits();
        Ok(())
    }

    /// Stops all gateways, one after the other; how often they committed.
    pub(super) async fn end_all(&self) -> Result<u64, TestbedError> {
        for gateway in 0..self.gateways() {
            self.end(gateway, false).await?;
        }
        Ok(lock(&self.shared.gateways).iter().map(|simulated| simulated.commits).sum())
    }
}

fn ended(
    (n, simulated): (usize, &mut SimulatedGateway),
) -> Option<(usize, JoinHandle<Result<(), EngineError>>)> {
    if simulated.running.as_ref().is_some_and(Running::has_ended) {
        return simulated.running.take().map(|running| (n, running.engine));
    }
    None
}
