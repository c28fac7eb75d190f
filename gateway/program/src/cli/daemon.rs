//! The gateway itself, and what its flags come to.
//!
//! Owns finding the settings file and turning flags into overrides; the rest is [`crate::daemon`]'s.

use std::path::{Path, PathBuf};

use anyhow::Context;
use ble_bearer::hci;
use gateway::datadir;
use gateway::network::NETWORK_FILE;
#[cfg(not(feature = "sim"))]
use gateway::settings::Adapter;
use gateway::settings::{FileSettings, Origin, Overrides, SETTINGS_FILE, Settings, SettingsError};

use super::args::DaemonArgs;
use super::fault::{Code, Failure, usage};
use super::logs;
use super::output::Output;
#[cfg(not(feature = "sim"))]
use super::without_sim::no_simulator;

/// What somebody may begin with who has neither settings nor an adapter.
#[cfg(feature = "sim")]
const FIRST_STEPS: &str =
    "try it on a simulated air with `mesh-gateway --adapter sim`, make a network with `mesh-gateway init`";
#[cfg(not(feature = "sim"))]
const FIRST_STEPS: &str =
    "make a network with `mesh-gateway init`, see this machine's radios with `mesh-gateway adapters`";

pub(super) fn run(args: DaemonArgs, out: Output) -> anyhow::Result<()> {
    let no_adapter = args.adapter.is_none();
    let found = find_file(&args)?;
    if no_adapter && found.is_none() {
        let place = default_file(args.data_dir.as_deref())?;
        return Err(usage(format!(
            "starting the gateway: there is no settings file {} and no --adapter; {FIRST_STEPS}, or see `mesh-gateway --help`",
            place.display()
        ))
        .into());
    }
    let file = found.as_deref().map(FileSettings::read).transpose()?;
    let named = !no_adapter || file.as_ref().is_some_and(FileSettings::names_adapter);
    let settings = settle(file, args)?;
    // The simulated air would answer for imaginary nodes where somebody has made a network of real ones.
    if !named && settings.gateway.data_dir.join(NETWORK_FILE).symlink_metadata().is_ok() {
        return Err(Failure(Code::NoAdapter, without_adapter(&settings.gateway.data_dir)).into());
    }
    #[cfg(not(feature = "sim"))]
    if settings.radio.adapter == Adapter::Sim {
        return Err(no_simulator("starting the gateway").into());
    }
    logs::start(settings.gateway.log, settings.gateway.log_level)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime =
        runtime.context("starting: the system gives no more threads or events; close some programs")?;
    let ended = runtime.block_on(crate::daemon::run(settings, out.json)).context("running the gateway");
    // What is left waits for nothing that matters, a name to be resolved for instance, and may take a minute.
    runtime.shutdown_background();
    ended
}

/// The settings file: the one that is named, else the one in the data directory if it is there.
pub(super) fn find_file(args: &DaemonArgs) -> anyhow::Result<Option<PathBuf>> {
    if let Some(file) = &args.config {
        return Ok(Some(file.clone()));
    }
    // Without a place for state there is no file in it either; who needs the place says so.
    let file = default_file(args.data_dir.as_deref()).ok();
    Ok(file.filter(|file| file.symlink_metadata().is_ok()))
}

/// Where the settings file is when none is named.
pub(super) fn default_file(data_dir: Option<&Path>) -> anyhow::Result<PathBuf> {
    Ok(data_dir_or_default(data_dir)?.join(SETTINGS_FILE))
}

/// The data directory that is named, else the usual one.
pub(super) fn data_dir_or_default(data_dir: Option<&Path>) -> anyhow::Result<PathBuf> {
    Ok(data_dir.map_or_else(datadir::default_path, |named| Ok(named.to_owned()))?)
}

/// What to say where there is a network and nothing to send it with.
fn without_adapter(data_dir: &Path) -> String {
    let found = hci::adapters();
    let list = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
    let example = found.first().map_or("hci0", String::as_str);
    format!(
        "starting the gateway: {} holds a network, and no adapter is set. This machine has: {list}; start it with `mesh-gateway \
         --adapter {example}`, or set radio.adapter in {} (`mesh-gateway adapters` says what each can do, `none` is for IP alone)",
        data_dir.display(),
        data_dir.join(SETTINGS_FILE).display()
    )
}

/// What file, environment and flags come to. The settings file in the data directory speaks of that directory.
pub(super) fn resolve(file: Option<PathBuf>, args: DaemonArgs) -> anyhow::Result<Settings> {
    settle(file.as_deref().map(FileSettings::read).transpose()?, args)
}

fn settle(file: Option<FileSettings>, args: DaemonArgs) -> anyhow::Result<Settings> {
    let over = Overrides {
        adapter: args.adapter,
        data_dir: args.data_dir,
        listen: args.listen,
        unix_socket: args.unix_socket,
        access_token_file: args.access_token_file,
        audit: args.audit,
        name: args.name,
        ttl: args.ttl,
        log: args.log,
        log_level: args.log_level,
        sim_nodes: args.sim_nodes,
        sim_seed: args.seed,
        sim_speed: args.speed,
        sim_loss_percent: args.sim_loss,
        sim_island: args.sim_island,
        sim_key_file: args.sim_key_file,
        ..Overrides::default()
    };
    Settings::resolve(file, over).map_err(|error| match &error {
        SettingsError::Invalid(problems)
            if problems.iter().all(|problem| problem.origin == Origin::Override) =>
        {
            usage(error.to_string()).into()
        }
        _ => error.into(),
    })
}
