//! The command line as typed: every flag with its meaning, its environment variable and its examples.
//!
//! Owns names, help texts and what can be checked word by word. What the words come to is resolved by each command.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use gateway::settings::{Adapter, LogFormat, LogLevel, listen_address};
use mesh_agent::Endpoint;
use mesh_agent::api::{Destination, MessageRef, Name, ReceiptRequest};
use mesh_protocol::{Address, MessageType, Priority};

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
mod radio;
#[cfg(feature = "sim")]
mod sim;
mod token;
#[cfg(not(feature = "sim"))]
mod without_sim;

pub(super) use frame::{DecodeArgs, EncodeArgs, FrameArgs, FrameCommand, KeyArgs};
pub(super) use radio::{AdaptersArgs, DoctorArgs};
#[cfg(feature = "sim")]
pub(super) use sim::{DemoArgs, PlayArgs};
pub(super) use token::{TokenAddArgs, TokenArgs, TokenCommand};
#[cfg(not(feature = "sim"))]
pub(super) use without_sim::{DemoArgs, PlayArgs};

#[derive(Debug, Parser)]
#[command(
    name = "mesh-gateway",
    version,
    about = "Programs talk to each other over an encrypted Bluetooth LE mesh",
    long_about = "Programs (\"agents\") talk to each other over an encrypted Bluetooth LE mesh.\n\n\
        Without a command it runs the gateway: agents connect to it over TCP or a Unix socket. Settings come from \
        flags, else from the environment, else from the settings file, else they are the defaults.",
    after_help = examples![
        "mesh-gateway --adapter sim --sim-nodes 20       a gateway on a simulated air",
        "mesh-gateway demo                               two gateways and 50 nodes, in this process",
        "mesh-gateway query --to echo 'are you there?'   ask a running gateway's mesh",
        "mesh-gateway init                               a network, to be used with a radio",
        "mesh-gateway --adapter hci0                     a gateway on this machine's Bluetooth",
    ]
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
    /// What sends and receives: sim (a simulated air), none (other gateways over IP alone), hci0, bluez:hci0, tcp:HOST:PORT, serial:PATH or usb:VID:PID
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
    /// Simulated nodes beside this gateway, 1 to 1000 [default: 50]
    #[arg(long, env = "MESH_GATEWAY_SIM_NODES", value_name = "N")]
    pub(super) sim_nodes: Option<u16>,
    /// Where the simulated nodes stand and what gets lost [default: 1]
    #[arg(long, env = "MESH_GATEWAY_SEED", value_name = "S")]
    pub(super) seed: Option<u64>,
    /// Simulated seconds in a second, 0.01 to 1000 [default: 1]
    #[arg(long, env = "MESH_GATEWAY_SPEED", value_name = "X", value_parser = values::speed)]
    pub(super) speed: Option<f64>,
    /// Frames lost on each simulated link, in percent [default: 10]
    #[arg(long, env = "MESH_GATEWAY_SIM_LOSS", value_name = "PERCENT", value_parser = values::percent)]
    pub(super) sim_loss: Option<f64>,
    /// Which of several simulated islands of one network this is, 1 to 31 [default: 1]
    #[arg(long, env = "MESH_GATEWAY_SIM_ISLAND", value_name = "N")]
    pub(super) sim_island: Option<u16>,
    /// A file with the key that the simulated islands share: 32 hexadecimal digits [default: a new key for each run]
    #[arg(long, env = "MESH_GATEWAY_SIM_KEY_FILE", value_name = "FILE")]
    pub(super) sim_key_file: Option<PathBuf>,
}

/// Where a running gateway is found.
#[derive(Args, Debug)]
pub(super) struct GatewayArgs {
    /// The gateway: HOST:PORT or unix:PATH
    #[arg(long, env = "MESH_GATEWAY", value_name = "ADDR", default_value = "127.0.0.1:7700")]
    pub(super) gateway: Endpoint,
    /// A file, readable by its owner alone, with the access token that the gateway asks for
    #[arg(long, env = "MESH_GATEWAY_TOKEN_FILE", value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
}

/// Send a message
///
/// Prints the message's name (as in 0x0001/17) when the gateway has accepted it: written, synced, and safe from a power
/// cut. With --wait it goes on until it is known what became of the message, prints that, and ends with 0 if it was
/// delivered, processed or sent, and with 1 otherwise.
#[derive(Args, Debug)]
#[command(after_help = examples![
    "mesh-gateway send --to bob 'the pump is on'",
    "mesh-gateway send --to bob@0x0003 --type TASK --priority HIGH --deadline 30s --wait 'open the valve'",
    "mesh-gateway send --to group:kitchen --type PARAMETER_UPDATE - < table.bin",
    "mesh-gateway send --to bob -- '-40 degrees'       a body that begins with a dash",
])]
pub(super) struct SendArgs {
    /// Where it goes: bob, bob@0x0003, node:0x0003, group:kitchen or everyone
    #[arg(long, value_name = "NAME")]
    pub(super) to: Destination,
    /// Who sends it. A name has one session at a time: not one that is listening. Without this the gateway gives it a name and
    /// forgets it at the end, and what is answered to it is not kept
    #[arg(long = "as", value_name = "NAME")]
    pub(super) name: Option<Name>,
    /// TASK, QUERY, RESPONSE, NOTIFICATION or PARAMETER_UPDATE, in any case
    #[arg(long = "type", value_name = "TYPE", default_value = "NOTIFICATION", value_parser = values::message_type)]
    pub(super) kind: MessageType,
    /// CRITICAL, HIGH, MEDIUM or LOW, in any case
    #[arg(long, value_name = "PRIORITY", default_value = "MEDIUM", value_parser = values::priority)]
    pub(super) priority: Priority,
    /// After this it is worth nothing: a number and ms, s, m or h, at most 24h [default: the gateway's]
    #[arg(long, value_name = "TIME", value_parser = values::deadline)]
    pub(super) deadline: Option<Duration>,
    /// Do not write it to disk first: faster, and lost with the gateway's power
    #[arg(long)]
    pub(super) no_durable: bool,
    /// The message it answers, as in 0x0001/17
    #[arg(long, value_name = "MESSAGE")]
    pub(super) reply_to: Option<MessageRef>,
    /// What to wait for: the destination's gateway has it, or the agent there has acknowledged it
    #[arg(long, value_name = "RECEIPT", default_value = "delivered")]
    pub(super) receipt: ReceiptArg,
    /// Wait until it is known what became of it, also across a restart of the gateway
    #[arg(long)]
    pub(super) wait: bool,
    #[command(flatten)]
    pub(super) gateway: GatewayArgs,
    /// What it says, at most 64 KiB; - reads standard input. Sent as text if it is UTF-8, else as bytes
    pub(super) body: OsString,
}

/// [`ReceiptRequest`] as a flag.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum ReceiptArg {
    Delivered,
    Processed,
}

impl From<ReceiptArg> for ReceiptRequest {
    fn from(receipt: ReceiptArg) -> Self {
        match receipt {
            ReceiptArg::Delivered => Self::Delivered,
            ReceiptArg::Processed => Self::Processed,
        }
    }
}

/// Print what is sent to an agent, one message a line
///
/// A line is SENDER TYPE PRIORITY BODY, or the message as a JSON object. Each message is acknowledged when it has been
/// printed. When the gateway goes away, listen connects again and goes on where it was. Ctrl-C ends it with 0.
#[derive(Args, Debug)]
#[command(after_help = examples![
    "mesh-gateway listen --as bob",
    "mesh-gateway listen --as cook --group kitchen --group hall --json",
    "mesh-gateway listen --as bob --count 1            end after one message",
])]
pub(super) struct ListenArgs {
    /// Whose messages: the name others send to
    #[arg(long = "as", value_name = "NAME")]
    pub(super) name: Name,
    /// Also hear what is sent to this group; may be given several times. The gateway remembers it for the name
    #[arg(long = "group", value_name = "GROUP")]
    pub(super) groups: Vec<Name>,
    /// End after so many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) count: Option<u64>,
    #[command(flatten)]
    pub(super) gateway: GatewayArgs,
}

/// Ask an agent and print its answer
///
/// Unless --durable, this gateway does not write the question to disk, and without --as never its answer: the answer is the receipt. Who must know that
/// a question was accepted sends it with `send --type QUERY`.
#[derive(Args, Debug)]
#[command(after_help = examples![
    "mesh-gateway query --to echo 'are you there?'",
    "mesh-gateway query --to sensor@0x0003 --timeout 5s temperature",
    "mesh-gateway query --to archive --raw - < question.bin > answer.bin",
])]
pub(super) struct QueryArgs {
    /// Whom to ask: bob, bob@0x0003 or node:0x0003
    #[arg(long, value_name = "NAME")]
    pub(super) to: Destination,
    /// Who asks. A name has one session at a time: not one that is listening [default: a name that the gateway gives, for this question]
    #[arg(long = "as", value_name = "NAME")]
    pub(super) name: Option<Name>,
    /// CRITICAL, HIGH, MEDIUM or LOW, in any case
    #[arg(long, value_name = "PRIORITY", default_value = "MEDIUM", value_parser = values::priority)]
    pub(super) priority: Priority,
    /// How long to wait for the answer: a number and ms, s, m or h, at most 24h
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = values::deadline)]
    pub(super) timeout: Duration,
    /// Print the bytes of the answer as they are. Without it, what would drive a terminal is written out, and what is no text
    /// is shown in hexadecimal digits
    #[arg(long)]
    pub(super) raw: bool,
    /// Have the gateway write the question to disk first
    #[arg(long)]
    pub(super) durable: bool,
    #[command(flatten)]
    pub(super) gateway: GatewayArgs,
    /// The question, at most 64 KiB; - reads standard input
    pub(super) body: OsString,
}

/// Show how the gateway is; exit code 0 if all is well
#[derive(Args, Debug)]
#[command(after_help = examples!["mesh-gateway status", "mesh-gateway status --json --gateway unix:/run/mesh.sock"])]
pub(super) struct StatusArgs {
    #[command(flatten)]
    pub(super) gateway: GatewayArgs,
}

/// Show how well messages get through, to each node and in all
#[derive(Args, Debug)]
#[command(after_help = examples!["mesh-gateway health", "mesh-gateway health --json"])]
pub(super) struct HealthArgs {
    #[command(flatten)]
    pub(super) gateway: GatewayArgs,
}

/// Show which nodes are near and which gateways are connected over IP; add and remove such gateways
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, after_help = examples![
    "mesh-gateway peers",
    "mesh-gateway peers --json",
    "mesh-gateway peers add cellar 192.168.1.100:7700",
    "mesh-gateway peers remove cellar",
])]
pub(super) struct PeersArgs {
    #[command(subcommand)]
    pub(super) command: Option<PeersCommand>,
    #[command(flatten)]
    pub(super) gateway: GatewayArgs,
}

#[derive(Debug, Subcommand)]
pub(super) enum PeersCommand {
    /// Connect with another gateway of this network over IP, from now on and after every restart
    ///
    /// Its certificate is the one it shows first, unless a fingerprint is given; later another one is refused.
    #[command(after_help = examples![
        "mesh-gateway peers add cellar 192.168.1.100:7700",
        "mesh-gateway peers add cellar cellar.local:7700 --fingerprint 5bb5c15a…",
    ])]
    Add {
        /// What it is called here
        name: Name,
        /// Where it listens for agents
        #[arg(value_name = "HOST:PORT")]
        address: String,
        /// The SHA-256 of its certificate, as `mesh-gateway peers` there shows it
        #[arg(long, value_name = "HEX")]
        fingerprint: Option<String>,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
    /// No longer connect with another gateway
    #[command(after_help = examples!["mesh-gateway peers remove cellar"])]
    Remove {
        /// What it is called here
        name: Name,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
}

/// Show how far nodes are reached; add and remove routes of your own
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, after_help = examples![
    "mesh-gateway routes",
    "mesh-gateway routes --json",
    "mesh-gateway routes add 0x0005 --via 0x0003 --cost 2",
    "mesh-gateway routes remove 0x0005",
])]
pub(super) struct RoutesArgs {
    #[command(subcommand)]
    pub(super) command: Option<RoutesCommand>,
    #[command(flatten)]
    pub(super) gateway: GatewayArgs,
}

#[derive(Debug, Subcommand)]
pub(super) enum RoutesCommand {
    /// Send to a node by way of a neighbour, from now on and after every restart
    ///
    /// Only that neighbour passes such frames on. A message that stays without an answer is sent again to everybody, so a wrong
    /// route costs time and never a message.
    #[command(after_help = examples!["mesh-gateway routes add 0x0005 --via 0x0003 --cost 2"])]
    Add {
        /// The node it leads to, as 0x0005
        #[arg(value_parser = values::address)]
        destination: Address,
        /// The neighbour it begins with, as 0x0003
        #[arg(long, value_name = "ADDRESS", value_parser = values::address)]
        via: Address,
        /// What it costs; smaller is better
        #[arg(long, value_name = "N", default_value_t = 1)]
        cost: u16,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
    /// No longer send to a node by way of a neighbour
    #[command(after_help = examples!["mesh-gateway routes remove 0x0005"])]
    Remove {
        /// The node it led to, as 0x0005
        #[arg(value_parser = values::address)]
        destination: Address,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
}

/// Show which agents are known; forget those of this gateway that do not come again
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, after_help = examples![
    "mesh-gateway agents",
    "mesh-gateway agents --json",
    "mesh-gateway agents forget old-sensor",
])]
pub(super) struct AgentsArgs {
    #[command(subcommand)]
    pub(super) command: Option<AgentsCommand>,
    #[command(flatten)]
    pub(super) gateway: GatewayArgs,
}

#[derive(Debug, Subcommand)]
pub(super) enum AgentsCommand {
    /// Forget an agent of this gateway, with all that waits for it
    ///
    /// One that is connected is not forgotten: stop that program first. What it sent goes on.
    #[command(after_help = examples!["mesh-gateway agents forget old-sensor"])]
    Forget {
        /// The agent's name
        name: Name,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
}

/// Make a network, or enter one by invitation
///
/// Writes the network's file (its key, readable by this user alone), a commented settings file and an empty message
/// store into the data directory. The key is never printed. An invitation is good for one node, once: delete it.
#[derive(Args, Debug)]
#[command(after_help = examples![
    "mesh-gateway init --network farm --name barn",
    "mesh-gateway init --invite - < invitation.txt     on the second gateway",
    "ssh barn mesh-gateway invite hut | mesh-gateway init --invite -",
    "mesh-gateway init --net-key-file key.hex --address 0x0005",
])]
pub(super) struct InitArgs {
    /// Where keys and messages are kept [default: see the settings file]
    #[arg(long, env = "MESH_GATEWAY_DATA_DIR", value_name = "DIR")]
    pub(super) data_dir: Option<PathBuf>,
    /// The new network's name
    #[arg(long, value_name = "NAME", default_value = "mesh")]
    pub(super) network: String,
    /// This gateway's name in the new network
    #[arg(long, value_name = "NODE", default_value = "gateway")]
    pub(super) name: String,
    /// Enter the network of this invitation instead; - reads standard input, so that it stands in no process list
    #[arg(long, value_name = "FILE", conflicts_with_all = ["network", "name"])]
    pub(super) invite: Option<PathBuf>,
    /// Enter a network that nobody here has made, such as that of `mesh-sim serve`: a file with its key, 32 hexadecimal digits.
    /// That no other node has --address, and that this one never used a key before, is for you to see to
    #[arg(long, value_name = "FILE", conflicts_with = "invite", requires = "address")]
    pub(super) net_key_file: Option<PathBuf>,
    /// This node's address there
    #[arg(long, value_name = "ADDRESS", value_parser = values::address, requires = "net_key_file")]
    pub(super) address: Option<Address>,
    /// The epoch there [default: 1]
    #[arg(long, value_name = "N", requires = "net_key_file")]
    pub(super) epoch: Option<u32>,
}

/// Lease the next address to a new node and print its invitation
///
/// The one line on standard output holds the network's key: hand it over as you would a key, straight into
/// `mesh-gateway init --invite -` or in a file that you delete. Only the gateway that made the network can invite.
#[derive(Args, Debug)]
#[command(after_help = examples![
    "mesh-gateway invite hut --out invitation.txt",
    "mesh-gateway invite hut | ssh hut mesh-gateway init --invite -",
])]
pub(super) struct InviteArgs {
    /// The new node's name; a name gets one address, once
    pub(super) name: String,
    /// Write the invitation to this new file, readable by this user alone, and not to standard output
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
    /// Where the network is kept [default: see the settings file]
    #[arg(long, env = "MESH_GATEWAY_DATA_DIR", value_name = "DIR")]
    pub(super) data_dir: Option<PathBuf>,
}

/// Check the settings, or show what they come to
#[derive(Args, Debug)]
#[command(after_help = examples!["mesh-gateway config check", "mesh-gateway config show"])]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    pub(super) command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Check a settings file and its access token; everything wrong is named with its line
    #[command(after_help = examples!["mesh-gateway config check", "mesh-gateway config check new.toml"])]
    Check {
        /// The settings file [default: mesh-gateway.toml in the data directory]
        file: Option<PathBuf>,
        /// Where keys and messages are kept [default: see the settings file]
        #[arg(long, env = "MESH_GATEWAY_DATA_DIR", value_name = "DIR")]
        data_dir: Option<PathBuf>,
    },
    /// Show what flags, environment, settings file and defaults come to, as TOML or JSON
    #[command(after_help = examples![
        "mesh-gateway config show",
        "mesh-gateway config show --config new.toml --ttl 4 --json",
    ])]
    Show(Box<DaemonArgs>),
}

/// Print the JSON schema of what agents and gateway say to each other
#[derive(Args, Debug)]
#[command(after_help = examples!["mesh-gateway schema > agents.schema.json"])]
pub(super) struct SchemaArgs {}
