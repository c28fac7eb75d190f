//! The daemon: one gateway from its settings until a signal.
//!
//! Owns the order of start and stop and what is printed about it. The gateway itself is the library's.

mod serve;
#[cfg(feature = "sim")]
mod simulated;

use std::path::Path;

use anyhow::Context;
use ble_bearer::{Bearer, WallClock};
use gateway::datadir::DataDir;
use gateway::radio::{self, NoRadio, Patient};
use gateway::settings::{Adapter, Settings};
use gateway::{Gateway, Membership, Network, Plan};

use crate::signals::Signals;
use serve::{announce, engine_config, listen, serve};

/// Files that the gateway has open beside its connections: a guess, with room.
const FILES_BESIDE: u64 = 64;
/// What is said instead, where the simulated air was asked for.
#[cfg(not(feature = "sim"))]
pub(crate) const NO_SIMULATOR: &str = "this program was built without the simulator; name a radio with --adapter, or use a program that \
                                       was built with the feature `sim`";

/// Runs a gateway until it is told to stop; with `json`, what it prints is one JSON object a line.
///
/// # Errors
/// Whatever keeps it from starting, or from writing what it promised.
pub(crate) async fn run(settings: Settings, json: bool) -> anyhow::Result<()> {
    // Before anything that takes time, and before anybody is told that there is something to stop.
    let signals = Signals::listen().context("listening for signals")?;
    let data_dir = DataDir::open(&settings.gateway.data_dir)?;
    check_open_files(settings.agents.max_connections);
    match settings.radio.adapter.clone() {
        #[cfg(feature = "sim")]
        Adapter::Sim => simulated::run(&settings, data_dir.path(), signals, json).await,
        #[cfg(not(feature = "sim"))]
        Adapter::Sim => anyhow::bail!(NO_SIMULATOR),
        Adapter::None => {
            let network = Network::load(data_dir.path())?;
            on_air(&settings, &network, data_dir.path(), NoRadio, WallClock::start(), signals, json).await
        }
        Adapter::Hci(port) => {
            let network = Network::load(data_dir.path())?;
            let clock = WallClock::start();
            let radio = settings.radio.clone();
            let open = move || {
                let (port, radio) = (port.clone(), radio.clone());
                async move { radio::open(&port, &radio, clock).await }
            };
            patient(&settings, &network, data_dir.path(), open, clock, signals, json).await
        }
        #[cfg(feature = "bluez")]
        Adapter::Bluez(name) => {
            let network = Network::load(data_dir.path())?;
            let radio = settings.radio.clone();
            let open = move || {
                let (name, radio) = (name.clone(), radio.clone());
                async move { radio::bluez(&name, &radio).await }
            };
            patient(&settings, &network, data_dir.path(), open, WallClock::start(), signals, json).await
        }
    }
}

/// A gateway of the network with an adapter that may be missing: it is looked for, and what else the gateway has goes on.
async fn patient<B, O, E>(
    settings: &Settings,
    network: &Network,
    data_dir: &Path,
    open: impl Fn() -> O + Send + 'static,
    clock: WallClock,
    mut signals: Signals,
    json: bool,
) -> anyhow::Result<()>
where
    B: Bearer + 'static,
    O: Future<Output = Result<B, E>> + Send + 'static,
    E: std::fmt::Display + Send + 'static,
{
    let bearer = tokio::select! {
        bearer = Patient::new(settings.radio.adapter.to_string(), open) => bearer,
        signal = signals.stop() => return stopped_early(signal),
    };
    on_air(settings, network, data_dir, bearer, clock, signals, json).await
}

/// A signal came before anything was promised to anybody.
fn stopped_early(signal: &str) -> anyhow::Result<()> {
    tracing::info!("{signal} while starting: stopping");
    Ok(())
}

/// A gateway of the network in the data directory.
async fn on_air<B: Bearer + 'static>(
    settings: &Settings,
    network: &Network,
    data_dir: &Path,
    bearer: B,
    clock: WallClock,
    signals: Signals,
    json: bool,
) -> anyhow::Result<()> {
    let plan = Plan {
        config: engine_config(settings, &network.node, network.address),
        // Whoever made the data directory left a record that no SEQ had been used.
        membership: Membership::new(*network.key.as_bytes(), network.epoch, false),
        ttl: settings.mesh.ttl,
        seed: radio::random()?,
        bearer,
        clock,
        data_dir,
        listen: listen(settings)?,
        peers: settings.peers.clone(),
    };
    let gateway = Gateway::start(plan).await?;
    let air = format!("{} of the network {} at {}", network.node, network.name, network.address);
    announce(settings, &gateway, &air, json);
    serve(gateway, signals).await
}

/// Warns when the system lets this process have fewer files than the settings let it have connections.
fn check_open_files(connections: u32) {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let soft = limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next());
    if let Some(soft) = soft.and_then(|soft| soft.parse::<u64>().ok())
        && soft < u64::from(connections) + FILES_BESIDE
    {
        tracing::warn!(
            open_files = soft,
            connections,
            "fewer files may be open than agents.max_connections asks for: raise the limit (`ulimit -n`, or LimitNOFILE= \
             in a systemd unit), or lower the setting"
        );
    }
}
