//! Letting one thing happen after the other.
//!
//! Owns the order of an office: who is next when nobody can go on by himself. What happens then is the world's, a disk's,
//! or the end of a gateway.

use std::sync::{Arc, Mutex};

use ble_bearer::sim::Step;
use gateway::engine::EngineError;
use mesh_protocol::{Instant, Rng};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::ground::Ground;
use super::idle::{Beside, Idle};
use super::place::{Place, Running};
use super::{Going, Inside, OfficeError, Shared, lock};

impl Inside {
    pub(super) fn new(ground: Ground) -> Result<Self, OfficeError> {
        let Ground { seed, network, world, sites, ttl, within, listens } = ground;
        let mut seeds = Rng::stream(seed, "gateways");
        let clock = sites.first().map(|site| Beside::new(site.seat.1.clone()));
        let places = (0..).zip(sites).map(|(n, site)| Place::new(n, site, ttl, seeds.fork(n as u64)));
        let shared = Shared {
            within: Instant::ZERO + within,
            network,
            places: Mutex::new(places.collect()),
            world: Mutex::new(world),
            goings: Mutex::default(),
            news: Notify::new(),
            listens,
        };
        Ok(Self { shared: Arc::new(shared), clock: clock.ok_or(OfficeError::NoGateway(0))? })
    }

    pub(super) fn start(&self, gateway: usize) -> Result<(), OfficeError> {
        let mut places = lock(&self.shared.places);
        let place = places.get_mut(gateway).ok_or(OfficeError::NoGateway(gateway))?;
        place.start(&self.shared.network)
    }

    /// Lets things happen, one at a time, until the script has ended.
    pub(super) async fn drive<T: Send + 'static>(
        &self,
        idle: &Idle,
        script: JoinHandle<T>,
    ) -> Result<T, OfficeError> {
        loop {
            idle.wait().await;
            if script.is_finished() {
                match script.await {
                    Ok(result) => return Ok(result),
                    Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                    Err(_) => unreachable!("nobody aborts the script"),
                }
            }
            let going = lock(&self.shared.goings).pop_front();
            if let Some(Going { gateway, cut, gone }) = going {
                let result = self.end(gateway, cut).await;
                // Whoever asked may have gone.
                let _ = gone.send(result);
                continue;
            }
            let by_itself = lock(&self.shared.places).iter_mut().enumerate().find_map(ended);
            if let Some((gateway, ended)) = by_itself {
                return match ended.await {
                    Ok(Ok(())) => Err(OfficeError::Ended(gateway)),
                    Ok(Err(error)) => Err(OfficeError::Engine(gateway, error)),
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                };
            }
            if lock(&self.shared.places).iter().any(Place::write) {
                continue;
            }
            self.go_on()?;
        }
    }

    /// Lets the world go on until that gives someone something to do, or until there are news of devices for whoever listens.
    fn go_on(&self) -> Result<(), OfficeError> {
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
                Step::Still(still) => return Err(OfficeError::Stuck { at: world.now().as_micros(), still }),
                Step::Quiet(_) => {
                    let seconds = self.shared.within.since(Instant::ZERO).as_millis() / 1_000;
                    return Err(OfficeError::Endless(seconds));
                }
            }
        }
    }

    async fn end(&self, gateway: usize, cut: bool) -> Result<(), OfficeError> {
        let running = {
            let mut places = lock(&self.shared.places);
            let place = places.get_mut(gateway).ok_or(OfficeError::NoGateway(gateway))?;
            if cut { place.cut() } else { place.running.take() }
        };
        let Some(running) = running else { return Ok(()) };
        let hand = running.hand.clone();
        if cut {
            running.cut().await;
        } else {
            running.stop().await.map_err(|error| OfficeError::Engine(gateway, error))?;
        }
        lock(&self.shared.places)[gateway].commits += hand.commits();
        Ok(())
    }

    /// Stops all gateways, one after the other; how often they committed.
    pub(super) async fn end_all(&self) -> Result<u64, OfficeError> {
        for gateway in 0..self.gateways() {
            self.end(gateway, false).await?;
        }
        Ok(lock(&self.shared.places).iter().map(|place| place.commits).sum())
    }
}

fn ended((n, place): (usize, &mut Place)) -> Option<(usize, JoinHandle<Result<(), EngineError>>)> {
    if place.running.as_ref().is_some_and(Running::has_ended) {
        return place.running.take().map(|running| (n, running.engine));
    }
    None
}
