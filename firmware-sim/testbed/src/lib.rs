//! The whole system under one clock: gateways, their disks, their agents and the air between them, and one seed that
//! decides everything.
//!
//! Owns gateways among simulated devices, each with the real engine, the real store and the real sessions, in one thread, over
//! streams in memory, in simulated time. The world they stand in is an [`Office`], a generated field with relays, or that of a
//! scenario ([`play`]). What is said in an office is a script's business, an ordinary future, or a [`Day`]'s; in a scenario it
//! stands in its file. The parts: `ground` puts a world together, `place` is one gateway and its power, `idle` knows when nobody
//! has anything to do, `drive` lets the next thing happen then; `agent` lives on one gateway and `record` judges what agents saw;
//! `day` and `scene` are scripts, `ledger` takes down the second, and `playable` says which scenarios can be played.
//!
//! # Why one seed gives one run
//! One thread runs all tasks in the order in which they were woken. Only when every one of them waits does something
//! happen: first a gateway goes that was told to, then the next group of a disk, then, all disks being done, the next
//! event of the world. So no work takes simulated time, whatever it costs, and no two things race. There is no other
//! thread, no socket, and no timer but the world's: the runtime has none, and whoever asked it for one would panic.
//!
//! A script keeps it so if it throws no dice of its own: no `select!` without `biased`, no walk through a hash map, no
//! `watch` channel on which several wait (tokio wakes those in a random order), no other threads, no random numbers but
//! those of [`mesh_protocol::Rng`].
//!
//! ```
//! use mesh_agent::api::codec::Codec;
//! use mesh_agent::api::{Body, Hello, Name, SendRequest};
//! use mesh_testbed::Office;
//! use mesh_protocol::MessageType;
//!
//! let office = Office { relays: 4, gateways: 2, ..Office::default() };
//! let run = || {
//!     office.run(async |inside| {
//!         let alice = inside.connect(0, Hello::new(Name::new("alice").unwrap()), Codec::Json).await?;
//!         let mut bob = inside.connect(1, Hello::new(Name::new("bob").unwrap()), Codec::Postcard).await?;
//!         let hello = SendRequest::new("bob".parse().unwrap(), MessageType::Task, Body::text("hello"));
//!         let sending = alice.handle().send(hello).await?;
//!         let message = bob.inbox().next_message().await?;
//!         Ok::<_, mesh_agent::ClientError>((message.body, sending.receipt().await?))
//!     })
//! };
//! let first = run().unwrap();
//! assert_eq!(first.result.as_ref().unwrap().0, Body::text("hello"));
//! let second = run().unwrap();
//! assert_eq!((first.trace, first.result.unwrap().1), (second.trace, second.result.unwrap().1));
//! ```

mod agent;
mod day;
pub mod demo;
mod drive;
mod ground;
mod idle;
mod ledger;
mod place;
mod playable;
mod record;
mod scene;
pub mod simulated;

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ble_bearer::Clock;
use ble_bearer::sim::Still;
use firmware_sim::play::field::Field;
use firmware_sim::stack::mesh::Mesh;
use firmware_sim::world::Network;
use gateway::engine::EngineError;
use gateway::store::StoreError;
use mesh_agent::api::Hello;
use mesh_agent::api::codec::Codec;
use mesh_agent::{Client, ClientError};
use mesh_protocol::{Duration, Instant};
use tokio::io::DuplexStream;
use tokio::sync::{Notify, oneshot};

pub use day::{Absence, Day, Ending};
use ground::Ground;
pub use idle::Beside;
use idle::Idle;
use place::Place;
pub use playable::Unplayable;
pub use record::{Arrival, DayReport, Told};
pub use scene::{PlayError, Played, play};

/// What to simulate.
#[derive(Clone, Debug)]
pub struct Office {
    /// Decides everything: where relays stand, what gets lost, every jitter, the network's key.
    pub seed: u64,
    /// Relays, 1 to 1,000.
    pub relays: u16,
    /// Gateways, 1 to 100.
    pub gateways: u16,
    /// Advertising events lost on each link, in percent.
    pub loss_percent: f64,
    /// A script that has not ended by then is stuck.
    pub within: Duration,
}

impl Default for Office {
    /// Three gateways in a small field, for at most an hour.
    fn default() -> Self {
        Self { seed: 1, relays: 12, gateways: 3, loss_percent: 10.0, within: Duration::from_secs(3_600) }
    }
}

/// Why an office could not be run to the end of its script.
#[derive(Debug, thiserror::Error)]
pub enum OfficeError {
    /// No runtime.
    #[error("starting the simulation: {0}; close some programs and try again")]
    Runtime(#[from] std::io::Error),
    /// There is no such gateway.
    #[error("switching gateway {0}: the office has no such gateway; count from 0")]
    NoGateway(usize),
    /// It has power already.
    #[error("switching gateway {0} on: it is on; cut its power first")]
    On(usize),
    /// Its store could not be opened again.
    #[error("starting gateway {0}: {1}")]
    Store(usize, StoreError),
    /// An engine could not start, or not end.
    #[error("running gateway {0}: {1}")]
    Engine(usize, EngineError),
    /// An engine ended by itself.
    #[error(
        "running gateway {0}: its engine ended though nobody told it to, which is a bug; please report it"
    )]
    Ended(usize),
    /// Everyone waits, and someone keeps time still.
    #[error(
        "running the office: all tasks wait, and time stands still at {at} µs ({still:?}); let the script give its hold back \
         before it waits"
    )]
    Stuck {
        /// When, in microseconds.
        at: u64,
        /// Who.
        still: Still,
    },
    /// The script waits for something that does not come.
    #[error(
        "running the office: the script had not ended after {0} simulated s; let it end sooner, or raise `within`"
    )]
    Endless(u64),
}

/// What a run showed.
#[derive(Clone, Debug)]
pub struct Ran<T> {
    /// What the script returned.
    pub result: T,
    /// Hash of every frame sent and heard, by whom and when.
    pub trace: String,
    /// Advertising events.
    pub transmitted: u64,
    /// Frames that reached a host.
    pub received: u64,
    /// Transactions of all disks, those of gateways whose power was cut among them.
    pub commits: u64,
    /// When the script ended.
    pub ended: Instant,
}

impl Office {
    /// Runs a script in a new office and ends when it does, after all gateways with power have stopped in order.
    ///
    /// # Errors
    /// [`OfficeError`] when the script can never end, or a gateway does not run.
    ///
    /// # Panics
    /// When the script or an engine does; and inside another runtime, as it has one of its own.
    pub fn run<F, Fut>(&self, script: F) -> Result<Ran<Fut::Output>, OfficeError>
    where
        F: FnOnce(Inside) -> Fut,
        Fut: Future<Output: Send> + Send + 'static,
    {
        run(self.ground(), script)
    }
}

/// Runs a script in a new world, as [`Office::run`] does.
fn run<F, Fut>(ground: Ground, script: F) -> Result<Ran<Fut::Output>, OfficeError>
where
    F: FnOnce(Inside) -> Fut,
    Fut: Future<Output: Send> + Send + 'static,
{
    let idle = Idle::default();
    let parked = idle.clone();
    // Neither IO nor timers are enabled: what needs either has no place here.
    let runtime =
        tokio::runtime::Builder::new_current_thread().on_thread_park(move || parked.parked()).build()?;
    let inside = Inside::new(ground)?;
    runtime.block_on(async {
        for n in 0..inside.gateways() {
            inside.start(n)?;
        }
        let script = tokio::spawn(script(inside.clone()));
        let result = inside.drive(&idle, script).await?;
        let ended = inside.now();
        // The digest before the goodbyes: what agents do once the script has ended is nobody's interest.
        let (trace, transmitted, received) = inside.with(|world| {
            let trace = world.observer().1.trace();
            (trace.digest(), trace.transmitted, trace.received)
        });
        let commits = inside.end_all().await?;
        Ok(Ran { result, trace, transmitted, received, commits, ended })
    })
}

/// The office as its script sees it. Clones are the same office.
#[derive(Clone, Debug)]
pub struct Inside {
    shared: Arc<Shared>,
    clock: Beside,
}

#[derive(Debug)]
struct Shared {
    network: Network,
    within: Instant,
    world: Mutex<Field<Mesh>>,
    places: Mutex<Vec<Place>>,
    /// Gateways that are to go.
    goings: Mutex<VecDeque<Going>>,
    /// Something has happened that whoever listens wants to hear of.
    news: Notify,
    listens: bool,
}

/// A gateway that is to go, and who wants to know when it is gone.
#[derive(Debug)]
struct Going {
    gateway: usize,
    /// Without its power, and not in order.
    cut: bool,
    gone: oneshot::Sender<Result<(), OfficeError>>,
}

fn lock<T: ?Sized>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    // Who panicked while it was held has said so; looking at what is left does no harm.
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// For scripts.
impl Inside {
    /// The time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// The office's clock, for whatever wants one.
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
        let mut places = lock(&self.shared.places);
        let running = places.get_mut(gateway).and_then(|place| place.running.as_mut());
        let stream = running.map(|running| running.listener.connect());
        stream.ok_or_else(|| ClientError::Lost(format!("gateway {gateway} has no power")))
    }

    /// Cuts a gateway's power, as soon as every task waits and before anything that waits for a disk is written: what
    /// was not synced is lost, as are frames not yet sent and all its sessions. Returns when nothing is left of it.
    ///
    /// # Errors
    /// [`OfficeError::NoGateway`]. One without power stays so.
    pub async fn cut(&self, gateway: usize) -> Result<(), OfficeError> {
        self.go(gateway, true).await
    }

    /// Stops a gateway in order, as soon as every task waits: it says goodbye to its agents and writes what it has.
    /// Returns when it has ended.
    ///
    /// # Errors
    /// [`OfficeError::NoGateway`], and when it could not write what it promised. One without power stays so.
    pub async fn stop(&self, gateway: usize) -> Result<(), OfficeError> {
        self.go(gateway, false).await
    }

    async fn go(&self, gateway: usize, cut: bool) -> Result<(), OfficeError> {
        let (gone, when_gone) = oneshot::channel();
        lock(&self.shared.goings).push_back(Going { gateway, cut, gone });
        when_gone.await.unwrap_or(Ok(()))
    }

    /// Starts a gateway that was cut or stopped: it starts from what its disk holds.
    ///
    /// # Errors
    /// If it has power, does not exist, or does not start.
    pub fn restart(&self, gateway: usize) -> Result<(), OfficeError> {
        {
            let mut places = lock(&self.shared.places);
            let place = places.get_mut(gateway).ok_or(OfficeError::NoGateway(gateway))?;
            if place.running.is_some() {
                return Err(OfficeError::On(gateway));
            }
            place.seat = lock(&self.shared.world).reseat(place.station);
        }
        self.start(gateway)
    }

    /// How many gateways there are.
    #[must_use]
    pub fn gateways(&self) -> usize {
        lock(&self.shared.places).len()
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

#[cfg(test)]
mod tests;
