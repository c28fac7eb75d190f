//! A gateway on the simulated air: `--adapter sim`.

use std::path::Path;

use anyhow::Context;
use firmware_sim::world::RUNS;
use gateway::datadir;
use gateway::network::{NETWORK_FILE, NetKey};
use gateway::settings::Settings;
use gateway::{Gateway, Membership, Plan};
use mesh_protocol::Rng;
use mesh_testbed::simulated::{AIR_ENDED, Seat, SimulatedAir, Simulation};

use super::serve::{announce, engine_config, listen, serve};
use crate::signals::Signals;

/// Where the data directory holds what belongs to the simulated air.
const SIM_FOLDER: &str = "sim";
/// Where it counts the runs of an island, whose devices must not use a number twice under one key.
const RUNS_FILE: &str = "runs";

/// Runs a gateway on the simulated air until it is told to stop.
pub(super) async fn run(
    settings: &Settings,
    data_dir: &Path,
    signals: Signals,
    json: bool,
) -> anyhow::Result<()> {
    if data_dir.join(NETWORK_FILE).exists() {
        tracing::warn!(
            "the simulated air is a network of its own: the one that this gateway is a member of is not used"
        );
    }
    // A store of its own, too: SEQs of a network that is real are not to be mixed up with those of a game.
    let data_dir = &data_dir.join(SIM_FOLDER);
    datadir::create(data_dir)?;
    let (key, run) = match &settings.sim.key_file {
        Some(file) => (*NetKey::read(file)?.as_bytes(), next_run(data_dir)?),
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
