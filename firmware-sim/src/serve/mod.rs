//! A simulated mesh that other processes' Bluetooth hosts join: virtual controllers over TCP, on the air of a scenario.
//!
//! Owns the server: sockets, who has which place, and what is counted. What a host can do is [`crate::virtual_controller`]'s business,
//! who stands on the air `site`'s, one connection `connection`'s. This is the one place of this crate that opens sockets and follows
//! the clock on the wall; what happens on the air does not depend on either but through what hosts do, and when.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use firmware_sim::scenario::Scenario;
//! use firmware_sim::serve::{Options, Server};
//!
//! let scenario = Scenario::parse("pair.toml", r#"
//!     layout.line = { nodes = 2, spacing = 5 }
//!     nodes = [{ number = 0, gateway = true }]
//!     traffic = []
//! "#)?;
//! let server = Server::bind(&scenario, Options::default()).await?;
//! println!("HCI at {}", server.local_addr());
//! # Ok(())
//! # }
//! ```

mod connection;
mod residents;
mod site;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ble_bearer::sim::{AirCounters, Pacer, StationId, World};
use mesh_protocol::Address;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::scenario::Scenario;
use crate::stack::mesh;
use crate::virtual_controller::{ControllerCounters, ControllerKind};
use crate::world::Network;
use site::{Site, Tally};

/// News that wait for whoever asks; more are lost, as counters have them all. A guess.
const NEWS: usize = 256;
/// After a connection that could not be taken, the next is tried so much later. A guess: it lasts until a descriptor is free.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// The world that hosts share.
type Field = World<Site, Tally>;

/// How a scenario is served.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Where to listen. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Decides everything that is random on the air, and the network's key.
    pub seed: u64,
    /// Which controller hosts find.
    pub controller: ControllerKind,
    /// Simulated seconds for each second on the wall.
    pub speed: f64,
}

impl Default for Options {
    /// On a free port of this machine, seed 1, a Raspberry Pi 4, as fast as the wall's clock.
    fn default() -> Self {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self { listen, seed: 1, controller: ControllerKind::default(), speed: 1.0 }
    }
}

/// Why a scenario cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Nobody could join.
    #[error(
        "serving the scenario {0}: it has no gateway; give some nodes `gateway = true`, controllers stand at those"
    )]
    NoPlace(String),
    /// The address is not to be had.
    #[error("listening on {0}: {1}; choose another address or port, or end what has it")]
    Listen(SocketAddr, std::io::Error),
}

/// A place for a host: a gateway of the scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPlace {
    /// The node's number.
    pub node: u32,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// The address that a mesh node there is to have.
    pub address: Address,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// A host has come and has this node's place.
    Came {
        /// Which node.
        node: u32,
        /// From where.
        peer: SocketAddr,
    },
    /// A host has come and found no place.
    Full {
        /// From where.
        peer: SocketAddr,
    },
    /// A host has gone, and the place is free.
    Gone {
        /// Which node.
        node: u32,
        /// It had sent something that is no packet.
        garbage: bool,
    },
    /// A connection could not be taken.
    NotTaken,
}

/// What has been counted since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// At each place, in order of [`Server::places`].
    pub places: Vec<PlaceCounters>,
    /// Connections that were closed at once, as every place was taken.
    pub turned_away: u64,
    /// What happened on the air.
    pub air: AirCounters,
    /// Messages that devices sent each other.
    pub posted: u64,
    /// Messages that reached devices, those from hosts among them.
    pub arrived: u64,
    /// Frames that devices heard and threw away, whatever for.
    pub discarded: u64,
}

/// What has been counted at one place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlaceCounters {
    /// Whether a host has it now.
    pub taken: bool,
    /// Advertising events sent.
    pub adverts: u64,
    /// What its controller did.
    pub controller: ControllerCounters,
}

/// A served scenario. It ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    local: SocketAddr,
    places: Vec<HostPlace>,
    network: Network,
    left_out: u64,
    shared: Arc<Shared>,
    news: mpsc::Receiver<News>,
    /// Closed when the world goes on no more.
    alive: watch::Receiver<()>,
    tasks: Vec<JoinHandle<()>>,
}

/// What server and connections share.
#[derive(Debug)]
struct Shared {
    pacer: Pacer<Site, Tally>,
    places: Mutex<Places>,
    news: mpsc::Sender<News>,
}

#[derive(Debug)]
struct Places {
    /// Which stations they are, and whether a host has them.
    taken: Vec<(StationId, bool)>,
    turned_away: u64,
}

impl Shared {
    fn places(&self) -> MutexGuard<'_, Places> {
        // Nothing panics half-way through a change.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whoever listens; that nobody does is no failure.
    fn tell(&self, news: News) {
        let _ = self.news.try_send(news);
    }

    /// The first free place.
    fn take(&self) -> Option<StationId> {
        let mut places = self.places();
        let free = places.taken.iter_mut().find(|(_, taken)| !taken);
        if let Some((station, taken)) = free {
            *taken = true;
            return Some(*station);
        }
        places.turned_away += 1;
        None
    }

    fn give_back(&self, station: StationId) {
        for (other, taken) in &mut self.places().taken {
            if *other == station {
                *taken = false;
            }
        }
    }
}

impl Server {
    /// Starts to serve a scenario: its gateways are places for hosts, its other nodes devices that send each other what the scenario
    /// has for them. What concerns gateways, and what goes wrong, is left out.
    ///
    /// # Errors
    /// [`ServeError`] when the scenario has no gateway, or the address is not to be had.
    pub async fn bind(scenario: &Scenario, options: Options) -> Result<Self, ServeError> {
        let (world, left_out) = site::field(scenario, options);
        let gateways =
            scenario.nodes.iter().filter(|(number, node)| node.gateway && **number < world.len() as u32);
        let places: Vec<HostPlace> = gateways
            .map(|(number, node)| HostPlace {
                node: *number,
                name: node.name.clone(),
                address: mesh::address(*number),
            })
            .collect();
        if places.is_empty() {
            return Err(ServeError::NoPlace(scenario.name.clone()));
        }
        let failed = |error| ServeError::Listen(options.listen, error);
        let listener = TcpListener::bind(options.listen).await.map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;
        let (sender, news) = mpsc::channel(NEWS);
        let taken = places.iter().map(|place| (StationId(place.node), false)).collect();
        let shared = Arc::new(Shared {
            pacer: Pacer::new(world, Some(options.speed)),
            places: Mutex::new(Places { taken, turned_away: 0 }),
            news: sender,
        });
        let pacer = shared.pacer.clone();
        let (going, alive) = watch::channel(());
        let tasks = vec![
            tokio::spawn(async move {
                let _going = going;
                pacer.run().await;
            }),
            tokio::spawn(accept(listener, Arc::clone(&shared))),
        ];
        Ok(Self {
            local,
            places,
            network: Network::random(options.seed),
            left_out,
            shared,
            news,
            alive,
            tasks,
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The places for hosts, in the order in which they are given away.
    #[must_use]
    pub fn places(&self) -> &[HostPlace] {
        &self.places
    }

    /// The network that the devices are in: a node that is to talk with them has its key, and its place's address.
    #[must_use]
    pub const fn network(&self) -> &Network {
        &self.network
    }

    /// Messages and loops of the scenario that are left out, as a gateway sends or receives them, or a sender is drawn for each message
    /// of a loop.
    #[must_use]
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }

    /// What has been counted so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let (taken, turned_away) = {
            let places = self.shared.places();
            (places.taken.clone(), places.turned_away)
        };
        self.shared.pacer.with(|world| {
            let places = taken.iter().map(|(station, taken)| PlaceCounters {
                taken: *taken,
                adverts: world.observer().adverts(*station),
                controller: world
                    .station(*station)
                    .and_then(Site::controller)
                    .map(|controller| controller.counters())
                    .unwrap_or_default(),
            });
            let (mut posted, mut arrived, mut discarded) = (0, 0, 0);
            for number in 0..world.len() as u32 {
                if let Some(Site::Device(device)) = world.station(StationId(number)) {
                    posted += device.posted();
                    arrived += device.arrived();
                    discarded += device.discarded();
                }
            }
            Counters {
                places: places.collect(),
                turned_away,
                air: world.counters(),
                posted,
                arrived,
                discarded,
            }
        })
    }

    /// What happens next; `None` when the world goes on no more, which is only when a device has panicked. News that nobody asked for in
    /// time are lost.
    pub async fn next_news(&mut self) -> Option<News> {
        tokio::select! {
            biased;
            news = self.news.recv() => news,
            _ = self.alive.changed() => None,
        }
    }

    /// Ends it: every connection is closed.
    pub async fn stop(mut self) {
        for task in &self.tasks {
            task.abort();
        }
        for task in std::mem::take(&mut self.tasks) {
            // It was just aborted.
            let _ = task.await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Gives places away. Connections end with it.
#[expect(clippy::disallowed_methods, reason = "hosts over TCP live in the wall's time")]
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, peer) = tokio::select! {
            Some(_) = connections.join_next() => continue,
            taken = listener.accept() => match taken {
                Ok(taken) => taken,
                Err(_) => {
                    shared.tell(News::NotTaken);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        match shared.take() {
            Some(station) => {
                shared.tell(News::Came { node: station.0, peer });
                connections.spawn(connection::serve(Arc::clone(&shared), station, stream));
            }
            None => shared.tell(News::Full { peer }),
        }
    }
}
