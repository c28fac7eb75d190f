//! The command line as typed: every flag with its meaning, its environment variable and its examples.
//!
//! Owns names, help texts and what can be checked word by word. What the words come to is resolved by each command.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use gateway::settings::{Adapter, LogFormat, LogLevel, listen_address};
use mesh_agent::{Endpoint, Fingerprint};

use super::values;

/// Examples and what every command's exit code means.
macro_rules! examples {
    ($($example:literal),+ $(,)?) => {
        concat!(
            "Examples:\n", $("  ", $example, "\n",)+
            "\nExit codes: 0 done; 1 it did not work, standard error says why; 2 wrong usage."
        )
    };
}

mod frame;
mod inspect;
mod message;
mod radio;
mod setup;
#[cfg(feature = "sim")]
mod sim;
mod token;
mod way;
#[cfg(not(feature = "sim"))]
mod without_sim;

pub(super) use frame::{DecodeArgs, EncodeArgs, FrameArgs, FrameCommand, KeyArgs};
pub(super) use inspect::{
    AgentsArgs, AgentsCommand, HealthArgs, PeersArgs, PeersCommand, RoutesArgs, RoutesCommand, StatusArgs,
};
pub(super) use message::{ListenArgs, QueryArgs, SendArgs};
pub(super) use radio::{AdaptersArgs, DoctorArgs};
pub(super) use setup::{ConfigArgs, ConfigCommand, InitArgs, InviteArgs, SchemaArgs};
#[cfg(feature = "sim")]
pub(super) use sim::{DemoArgs, PlayArgs};
pub(super) use token::{TokenAddArgs, TokenArgs, TokenCommand};
pub(super) use way::{PingArgs, TraceArgs, WhyArgs};
#[cfg(not(feature = "sim"))]
pub(super) use without_sim::{DemoArgs, PlayArgs};

#[cfg(feature = "sim")]
const EXAMPLES: &str = examples![
    "mesh-gateway --adapter sim --sim-nodes 20       a gateway on a simulated air",
    "mesh-gateway demo                               two gateways and 50 nodes, in this process",
    "mesh-gateway query --to echo 'are you there?'   ask a running gateway's mesh",
    "mesh-gateway init                               a network, to be used with a radio",
    "mesh-gateway --adapter hci0                     a gateway on this machine's Bluetooth",
];
#[cfg(not(feature = "sim"))]
const EXAMPLES: &str = examples![
    "mesh-gateway init                               a network, to be used with a radio",
    "mesh-gateway adapters                           the radios of this machine",
    "mesh-gateway --adapter hci0                     a gateway on this machine's Bluetooth",
    "mesh-gateway query --to bob 'are you there?'    ask an agent anywhere in the mesh",
];

#[derive(Debug, Parser)]
#[command(
    name = "mesh-gateway",
    version,
    about = "Programs talk to each other over an encrypted Bluetooth LE mesh",
    long_about = "Programs (\"agents\") talk to each other over an encrypted Bluetooth LE mesh.\n\n\
        Without a command it runs the gateway: agents connect to it over TCP or a Unix socket. Settings come from \
        flags, else from the environment, else from the settings file, else they are the defaults.",
    after_help = EXAMPLES
)]
pub(super) struct Cli {
    /// Print results as JSON, and errors too: one object {"error": ".."} on standard error
    #[arg(long, global = true)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) daemon: DaemonArgs,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Demo(DemoArgs),
    Play(PlayArgs),
    Send(SendArgs),
    Listen(ListenArgs),
    Query(QueryArgs),
    Status(StatusArgs),
    Health(HealthArgs),
    Peers(PeersArgs),
    Routes(RoutesArgs),
    Agents(AgentsArgs),
    Why(WhyArgs),
    Ping(PingArgs),
    Trace(TraceArgs),
    Adapters(AdaptersArgs),
    Doctor(DoctorArgs),
    Init(InitArgs),
    Invite(InviteArgs),
    Token(TokenArgs),
    Config(ConfigArgs),
    Schema(SchemaArgs),
    Frame(FrameArgs),
}

/// What the gateway itself is told.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Gateway")]
pub(super) struct DaemonArgs {
    #[cfg_attr(
        feature = "sim",
        doc = "What sends and receives: sim (a simulated air), none (other gateways over IP alone), hci0, bluez:hci0, tcp:HOST:PORT, serial:PATH or usb:VID:PID"
    )]
    #[cfg_attr(
        not(feature = "sim"),
        doc = "What sends and receives: none (other gateways over IP alone), hci0, bluez:hci0, tcp:HOST:PORT, serial:PATH or usb:VID:PID"
    )]
    #[arg(long, env = "MESH_GATEWAY_ADAPTER", value_name = "ADAPTER", value_parser = values::adapter)]
    pub(super) adapter: Option<Adapter>,
    /// The settings file [default: mesh-gateway.toml in the data directory, if it is there]
    #[arg(long, env = "MESH_GATEWAY_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Where keys and messages are kept [default: see the settings file]
    #[arg(long, env = "MESH_GATEWAY_DATA_DIR", value_name = "DIR")]
    pub(super) data_dir: Option<PathBuf>,
    /// Where agents connect over TCP; anything but loopback needs an access token [default: 127.0.0.1:7700]
    #[arg(long, env = "MESH_GATEWAY_LISTEN", value_name = "HOST:PORT", value_parser = listen_address)]
    pub(super) listen: Option<SocketAddr>,
    /// The Unix socket for agents [default: agents.sock in the data directory]
    #[arg(long, env = "MESH_GATEWAY_UNIX_SOCKET", value_name = "PATH")]
    pub(super) unix_socket: Option<PathBuf>,
    /// A file with a token that lets agents in over TCP and allows everything; see also `mesh-gateway token`
    #[arg(long, env = "MESH_GATEWAY_ACCESS_TOKEN_FILE", value_name = "FILE")]
    pub(super) access_token_file: Option<PathBuf>,
    /// Note who sent what where, without bodies: audit.log in the data directory [default: false]
    #[arg(long, env = "MESH_GATEWAY_AUDIT", value_name = "true|false", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub(super) audit: Option<bool>,
    /// This gateway's name [default: gateway]
    #[arg(long, env = "MESH_GATEWAY_NAME", value_name = "NAME")]
    pub(super) name: Option<String>,
    /// The most hops a message from here takes, 1 to 15 [default: 10]
    #[arg(long, env = "MESH_GATEWAY_TTL", value_name = "N")]
    pub(super) ttl: Option<u8>,
    /// How log lines are written: text or json [default: text]
    #[arg(long, env = "MESH_GATEWAY_LOG", value_name = "FORMAT")]
    pub(super) log: Option<LogFormat>,
    /// The least urgent log lines: error, warn, info, debug or trace [default: info]
    #[arg(long, env = "MESH_GATEWAY_LOG_LEVEL", value_name = "LEVEL")]
    pub(super) log_level: Option<LogLevel>,
    // Without the simulator these are known and not shown: whoever types them after `--adapter sim` is told why that is not there.
    /// Simulated nodes beside this gateway, 1 to 1000 [default: 50]
    #[cfg_attr(not(feature = "sim"), arg(hide = true))]
    #[arg(long, env = "MESH_GATEWAY_SIM_NODES", value_name = "N")]
    pub(super) sim_nodes: Option<u16>,
    /// Where the simulated nodes stand and what gets lost [default: 1]
    #[cfg_attr(not(feature = "sim"), arg(hide = true))]
    #[arg(long, env = "MESH_GATEWAY_SEED", value_name = "S")]
    pub(super) seed: Option<u64>,
    /// Simulated seconds in a second, 0.01 to 1000 [default: 1]
    #[cfg_attr(not(feature = "sim"), arg(hide = true))]
    #[arg(long, env = "MESH_GATEWAY_SPEED", value_name = "X", value_parser = values::speed)]
    pub(super) speed: Option<f64>,
    /// Frames lost on each simulated link, in percent [default: 10]
    #[cfg_attr(not(feature = "sim"), arg(hide = true))]
    #[arg(long, env = "MESH_GATEWAY_SIM_LOSS", value_name = "PERCENT", value_parser = values::percent)]
    pub(super) sim_loss: Option<f64>,
    /// Which of several simulated islands of one network this is, 1 to 31 [default: 1]
    #[cfg_attr(not(feature = "sim"), arg(hide = true))]
    #[arg(long, env = "MESH_GATEWAY_SIM_ISLAND", value_name = "N")]
    pub(super) sim_island: Option<u16>,
    /// A file with the key that the simulated islands share: 32 hexadecimal digits [default: a new key for each run]
    #[cfg_attr(not(feature = "sim"), arg(hide = true))]
    #[arg(long, env = "MESH_GATEWAY_SIM_KEY_FILE", value_name = "FILE")]
    pub(super) sim_key_file: Option<PathBuf>,
}

/// Where a running gateway is found, and what it is known by.
#[derive(Args, Debug)]
pub(super) struct GatewayArgs {
    #[command(flatten)]
    pub(super) place: PlaceArgs,
    /// Speak TLS, and only to the gateway whose certificate has this fingerprint; `mesh-gateway peers` there prints it
    #[arg(long, env = "MESH_GATEWAY_FINGERPRINT", value_name = "HEX")]
    pub(super) fingerprint: Option<Fingerprint>,
}

/// Where a running gateway is found.
#[derive(Args, Debug)]
pub(super) struct PlaceArgs {
    /// The gateway: HOST:PORT, tls:HOST:PORT or unix:PATH. With tls: and without a fingerprint, the certificate that it shows first is
    /// kept, and another one refused later
    #[arg(long, env = "MESH_GATEWAY", value_name = "ADDR", default_value = "127.0.0.1:7700")]
    pub(super) gateway: Endpoint,
    /// A file, readable by its owner alone, with the access token that the gateway asks for
    #[arg(long, env = "MESH_GATEWAY_TOKEN_FILE", value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
}
