//! The daemon: one gateway from its settings until a signal.
//!
//! Owns the order of start and stop and what is printed about it. The gateway itself is [`crate::gateway`]'s.

use std::path::Path;
use std::pin::pin;

use anyhow::Context;
use ble_bearer::{Bearer, WallClock};
use firmware_sim::world::RUNS;
use mesh_protocol::{Address, Duration, Rng};

use crate::access::Audit;
use crate::agents::{Limits, Listen, TokenCheck};
use crate::cli::frame::key_file;
use crate::cli::output::line;
use crate::datadir::{self, DataDir};
use crate::engine::{EngineConfig, Membership};
use crate::gateway::{Gateway, Plan};
use crate::network::{NETWORK_FILE, Network};
use crate::radio::{self, NoRadio, Patient};
use crate::settings::{Adapter, Settings};
use crate::signals::{Asked, Signals};
use crate::simulated::{AIR_ENDED, Seat, SimulatedAir, Simulation};

/// Where the data directory holds what belongs to the simulated air.
pub const SIM_FOLDER: &str = "sim";

/// Where it counts the runs of an island, whose devices must not use a number twice under one key.
const RUNS_FILE: &str = "runs";
/// Files that the gateway has open beside its connections: a guess, with room.
const FILES_BESIDE: u64 = 64;

/// Runs a gateway until it is told to stop; with `json`, what it prints is one JSON object a line.
///
/// # Errors
/// Whatever keeps it from starting, or from writing what it promised.
pub async fn run(settings: Settings, json: bool) -> anyhow::Result<()> {
    // Before anything that takes time, and before anybody is told that there is something to stop.
    let signals = Signals::listen().context("listening for signals")?;
    let data_dir = DataDir::open(&settings.gateway.data_dir)?;
    check_open_files(settings.agents.max_connections);
    match settings.radio.adapter.clone() {
        Adapter::Sim => {
            if data_dir.path().join(NETWORK_FILE).exists() {
                tracing::warn!(
                    "the simulated air is a network of its own: the one that this gateway is a member of is not used"
                );
            }
            // A store of its own, too: SEQs of a network that is real are not to be mixed up with those of a game.
            let own = data_dir.path().join(SIM_FOLDER);
            datadir::create(&own)?;
            simulated(&settings, &own, signals, json).await
        }
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
async fn patient<B, O>(
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
    O: Future<Output = anyhow::Result<B>> + Send + 'static,
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

fn engine_config(settings: &Settings, name: &str, address: Address) -> EngineConfig {
    EngineConfig {
        name: settings.gateway.name.clone().unwrap_or_else(|| name.to_owned()),
        address,
        adapter: settings.radio.adapter.to_string(),
        default_deadline: Duration::from_millis(settings.mesh.default_deadline.as_millis() as u64),
        max_agents: settings.agents.max_agents as usize,
        max_credits: settings.agents.max_credits,
        inbox_messages: settings.agents.inbox_messages as usize,
        inbox_bytes: usize::try_from(settings.agents.inbox_bytes).unwrap_or(usize::MAX),
        inbox_total_bytes: usize::try_from(settings.agents.inbox_total_bytes).unwrap_or(usize::MAX),
    }
}

async fn simulated(settings: &Settings, data_dir: &Path, signals: Signals, json: bool) -> anyhow::Result<()> {
    let (key, run) = match &settings.sim.key_file {
        Some(file) => (*key_file(file)?.as_bytes(), next_run(data_dir)?),
        None => {
            let mut key = [0; 16];
            getrandom::fill(&mut key)
                .context("making a key for the simulated network: the system gives no random numbers")?;
            (key, 0)
        }
    };
    let simulation = Simulation {
        nodes: settings.sim.nodes,
        seed: settings.sim.seed,
        speed: Some(settings.sim.speed),
        loss_percent: settings.sim.loss_percent,
        key,
        island: settings.sim.island,
        run,
    };
    let (simulated, [Seat { bearer, clock, .. }]) = SimulatedAir::start(&simulation);
    let plan = Plan {
        config: engine_config(settings, "gateway", simulated.network().gateway_address(0)),
        membership: Membership::new(key, simulated.network().epoch(), run == 0),
        ttl: settings.mesh.ttl,
        seed: Rng::stream(settings.sim.seed, "gateways").next_u64(),
        bearer,
        clock,
        data_dir,
        listen: listen(settings)?,
        peers: settings.peers.clone(),
    };
    let gateway = Gateway::start(plan).await?;
    let echoes = simulated.network().echoes().join(", ");
    let air = format!("{} simulated nodes; some answer queries, as {echoes}", simulation.nodes);
    announce(settings, &gateway, &air, json);
    tokio::select! {
        served = serve(gateway, signals) => served,
        () = simulated.ended() => anyhow::bail!(AIR_ENDED),
    }
}

/// Which run with the islands' key this is. Its simulated devices begin behind the numbers of the run before, so the run counts as soon
/// as it begins.
fn next_run(data_dir: &Path) -> anyhow::Result<u16> {
    let file = data_dir.join(RUNS_FILE);
    let doing = || format!("counting the runs of the simulated island in {}", file.display());
    let run = match std::fs::read_to_string(&file) {
        Ok(text) => text.trim().parse::<u16>().with_context(doing)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error).with_context(doing),
    };
    anyhow::ensure!(
        run < RUNS,
        "starting the simulated island: it has run {RUNS} times with this key, and its devices have no sequence numbers left; give all \
         islands a new key file and empty {}",
        data_dir.display()
    );
    datadir::atomic_write(&file, format!("{}\n", run + 1).as_bytes(), 0o600).with_context(doing)?;
    Ok(run)
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

fn listen(settings: &Settings) -> anyhow::Result<Listen> {
    let token = match &settings.agents.access_token_file {
        Some(path) => TokenCheck::from_file(path)?,
        None => TokenCheck::open(),
    };
    let audit = if settings.agents.audit { Audit::open(&settings.gateway.data_dir)? } else { Audit::off() };
    let token = token.with_tokens_of(&settings.gateway.data_dir)?.with_audit(audit);
    let limits = Limits::of(settings.agents.max_connections as usize);
    Ok(Listen {
        tcp: Some(settings.agents.listen),
        unix: Some(settings.agents.unix_socket.clone()),
        token,
        limits,
    })
}

/// Says on standard output that the gateway is ready. Whoever started it may not want to read that: nobody waits until it is read, and
/// that it cannot be written is no reason to stop.
fn announce(settings: &Settings, gateway: &Gateway, air: &str, json: bool) {
    let tcp = gateway.tcp_address().map(|address| address.to_string()).unwrap_or_default();
    let unix = settings.agents.unix_socket.display().to_string();
    let words = if json {
        serde_json::json!({ "ready": true, "tcp": tcp, "unix": unix, "air": air }).to_string()
    } else {
        let adapter = &settings.radio.adapter;
        format!("agents connect to {tcp} or unix:{unix}\nadapter {adapter}: {air}\nstop with Ctrl-C")
    };
    let said = std::thread::Builder::new().name("ready".into()).spawn(move || {
        if let Err(why) = line(&words) {
            tracing::info!("nobody reads that the gateway is ready: {why}");
        }
    });
    if let Err(why) = said {
        tracing::warn!(%why, "the gateway is ready, and cannot say so on standard output: the system gives no more threads");
    }
}

/// Serves until a signal, then ends in order.
async fn serve(mut gateway: Gateway, mut signals: Signals) -> anyhow::Result<()> {
    let audit = gateway.audit().clone();
    {
        let mut ended = pin!(gateway.ended());
        loop {
            tokio::select! {
                asked = signals.next() => match asked {
                    Asked::Stop(signal) => {
                        tracing::info!("{signal}: stopping");
                        break;
                    }
                    Asked::Reopen => {
                        tracing::info!("SIGHUP: opening the logs anew");
                        audit.reopen();
                    }
                },
                ended = &mut ended => return Err(ended.into()),
            }
        }
    }
    Ok(gateway.stop().await?)
}
