//! The settings: one commented TOML file, flags and the environment, resolved into one [`Settings`].
//!
//! Precedence is flag, environment, file, default. The command line reads flags and environment into [`Overrides`];
//! here the file is read and everything is checked, so that whoever gets a `Settings` need not. The settings are not
//! secret: the network's key belongs to [`crate::network`], the access token stays in its own file.

mod adapter;
mod file;
mod keyword;
mod listen;
mod resolve;
mod token;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

pub use adapter::{Adapter, UnknownAdapter};
pub use file::FileSettings;
pub use keyword::{LogFormat, LogLevel, UnknownKeyword};
pub use listen::listen_address;
pub use token::{AccessToken, TokenError};

use crate::access;
use crate::datadir::DataDirError;
use crate::peering::PeerConfig;

/// The settings file in the data directory, read when no other is named.
pub const SETTINGS_FILE: &str = "mesh-gateway.toml";
/// The company identifier for tests and internal use (Bluetooth SIG, Assigned Numbers).
pub const DEFAULT_COMPANY_ID: u16 = 0xFFFF;
/// The most simulated islands of one network: addresses are for no more.
pub const ISLANDS: u16 = 31;
/// The settings file with every key, its meaning, unit, range and default; the only list of the keys there is.
const TEMPLATE: &str = include_str!("template.toml");

/// Everything a gateway can be told, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The process.
    pub gateway: GatewaySettings,
    /// Those who connect.
    pub agents: AgentSettings,
    /// What sends and receives.
    pub radio: RadioSettings,
    /// The simulated air.
    pub sim: SimSettings,
    /// Messages on the mesh.
    pub mesh: MeshSettings,
    /// Other gateways to be connected with over IP.
    pub peers: Vec<PeerConfig>,
}

/// The `[gateway]` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewaySettings {
    /// This gateway's name; `None` leaves it to the network.
    pub name: Option<String>,
    /// Where keys and messages are kept.
    pub data_dir: PathBuf,
    /// How log lines are written.
    pub log: LogFormat,
    /// The least urgent log lines to write.
    pub log_level: LogLevel,
}

/// The `[agents]` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentSettings {
    /// Where agents connect over TCP; loopback unless there is an access token.
    pub listen: SocketAddr,
    /// The Unix socket for agents.
    pub unix_socket: PathBuf,
    /// The file with the token that agents must show; see [`AccessToken::read`].
    pub access_token_file: Option<PathBuf>,
    /// Whether it is noted who sent what where.
    pub audit: bool,
    /// The most agents known, 1 to 100,000.
    pub max_agents: u32,
    /// The most connections at a time, 1 to 100,000.
    pub max_connections: u32,
    /// The most messages sent to one session ahead of its answers, 1 to 65,535.
    pub max_credits: u32,
    /// The most messages that wait for one agent, 1 to 1,000,000.
    pub inbox_messages: u32,
    /// The most bytes that wait for one agent, 131,072 to 1,073,741,824.
    pub inbox_bytes: u64,
    /// The most bytes that wait for all agents together, 1,048,576 to 17,179,869,184.
    pub inbox_total_bytes: u64,
}

/// The `[radio]` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RadioSettings {
    /// What sends and receives.
    pub adapter: Adapter,
    /// The company identifier of our adverts.
    pub company_id: u16,
    /// Whether extended advertising is used where the adapter has it.
    pub extended: bool,
    /// Whether frames longer than a legacy advert are sent.
    pub long_frames: bool,
    /// How much of the time the adapter listens, 10 to 100 percent.
    pub scan_duty: u8,
}

/// The `[sim]` section.
#[derive(Clone, Debug, PartialEq)]
pub struct SimSettings {
    /// Simulated nodes beside the gateway, 1 to 1,000.
    pub nodes: u16,
    /// Where they stand and what gets lost.
    pub seed: u64,
    /// Simulated seconds in a second, 0.01 to 1,000.
    pub speed: f64,
    /// Frames lost on each link, 0 to 100 percent.
    pub loss_percent: f64,
    /// Which of several islands of one network it is, 1 to 31.
    pub island: u16,
    /// The file with the key that the islands share; `None` for a key of its own.
    pub key_file: Option<PathBuf>,
}

/// The `[mesh]` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeshSettings {
    /// The most hops that a message takes, 1 to 15.
    pub ttl: u8,
    /// When a message expires whose sender names no deadline; 1 second to one day.
    pub default_deadline: Duration,
}

/// What flags and environment say, `None` where they say nothing. The command line fills it in; where both are set it
/// has let the flag win. Each is the key of the same name in the file, and checked like it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// `gateway.name`.
    pub name: Option<String>,
    /// `gateway.data_dir`.
    pub data_dir: Option<PathBuf>,
    /// `gateway.log`.
    pub log: Option<LogFormat>,
    /// `gateway.log_level`.
    pub log_level: Option<LogLevel>,
    /// `agents.listen`.
    pub listen: Option<SocketAddr>,
    /// `agents.unix_socket`.
    pub unix_socket: Option<PathBuf>,
    /// `agents.access_token_file`.
    pub access_token_file: Option<PathBuf>,
    /// `agents.audit`.
    pub audit: Option<bool>,
    /// `agents.max_agents`.
    pub max_agents: Option<u32>,
    /// `agents.max_connections`.
    pub max_connections: Option<u32>,
    /// `agents.max_credits`.
    pub max_credits: Option<u32>,
    /// `agents.inbox_messages`.
    pub inbox_messages: Option<u32>,
    /// `agents.inbox_bytes`.
    pub inbox_bytes: Option<u64>,
    /// `agents.inbox_total_bytes`.
    pub inbox_total_bytes: Option<u64>,
    /// `radio.adapter`.
    pub adapter: Option<Adapter>,
    /// `radio.company_id`.
    pub company_id: Option<u16>,
    /// `radio.extended`.
    pub extended: Option<bool>,
    /// `radio.long_frames`.
    pub long_frames: Option<bool>,
    /// `radio.scan_duty`.
    pub scan_duty: Option<u8>,
    /// `sim.nodes`.
    pub sim_nodes: Option<u16>,
    /// `sim.seed`.
    pub sim_seed: Option<u64>,
    /// `sim.speed`.
    pub sim_speed: Option<f64>,
    /// `sim.loss_percent`.
    pub sim_loss_percent: Option<f64>,
    /// `sim.island`.
    pub sim_island: Option<u16>,
    /// `sim.key_file`.
    pub sim_key_file: Option<PathBuf>,
    /// `mesh.ttl`.
    pub ttl: Option<u8>,
    /// `mesh.default_deadline_s`.
    pub default_deadline_s: Option<u32>,
}

/// Why there are no settings.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("reading the settings {path}: {source}; check the path and that this user may read it")]
    Read {
        /// The settings file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// Something in the file, a flag or the environment is wrong; all of it is listed.
    #[error("reading the settings:{}; correct that and check with `mesh-gateway config check`", list(.0))]
    Invalid(Vec<Problem>),
    /// No data directory is named and none can be chosen.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect()
}

/// One thing that is wrong in the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it was said.
    pub origin: Origin,
    /// What is wrong and what would be right.
    pub what: String,
}

/// Where a setting was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In the settings file.
    File {
        /// Which file.
        path: PathBuf,
        /// In which line, from 1.
        line: usize,
    },
    /// In a flag or the environment.
    Override,
    /// Nowhere: it is the default, or follows from other settings.
    Default,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::File { path, line } => write!(f, "{}:{line}: {}", path.display(), self.what),
            Origin::Override => write!(f, "flags or environment: {}", self.what),
            Origin::Default => f.write_str(&self.what),
        }
    }
}

impl Settings {
    /// The settings that a file, if there is one, and overrides come to.
    ///
    /// # Errors
    /// [`SettingsError::Invalid`] with everything that is wrong at once, or [`SettingsError::DataDir`].
    pub fn resolve(file: Option<FileSettings>, over: Overrides) -> Result<Self, SettingsError> {
        match resolve::resolve(file.unwrap_or_default(), over)? {
            (settings, problems) if problems.is_empty() => Ok(settings),
            (_, problems) => Err(SettingsError::Invalid(problems)),
        }
    }
}

/// The commented settings file that `mesh-gateway init` writes, with the network's company id.
#[must_use]
pub fn template(company_id: u16) -> String {
    if company_id == DEFAULT_COMPANY_ID {
        TEMPLATE.to_owned()
    } else {
        TEMPLATE.replace("#company_id = 0xFFFF", &format!("company_id = 0x{company_id:04X}"))
    }
}

/// What the file comes to, with its access tokens read as well: `mesh-gateway config check`. Everything that is wrong is told.
///
/// # Errors
/// [`SettingsError`].
pub fn check(path: &Path, data_dir: Option<PathBuf>) -> Result<Settings, SettingsError> {
    let over = Overrides { data_dir, ..Overrides::default() };
    let (settings, mut problems) = resolve::resolve(FileSettings::read(path)?, over)?;
    let mut note = |what: String| problems.push(Problem { origin: Origin::Default, what });
    if let Some(file) = &settings.agents.access_token_file
        && let Err(error) = AccessToken::read(file)
    {
        note(error.to_string());
    }
    if let Err(error) = access::read_dir(&settings.gateway.data_dir) {
        note(error.to_string());
    }
    if problems.is_empty() { Ok(settings) } else { Err(SettingsError::Invalid(problems)) }
}

#[cfg(test)]
mod tests;
