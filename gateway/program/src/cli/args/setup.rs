//! The commands that make a network, bring others in, and look at settings.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use mesh_protocol::Address;

use super::DaemonArgs;
use crate::cli::values;

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
pub(in crate::cli) struct InitArgs {
    /// Where keys and messages are kept [default: see the settings file]
    #[arg(long, env = "MESH_GATEWAY_DATA_DIR", value_name = "DIR")]
    pub(in crate::cli) data_dir: Option<PathBuf>,
    /// The new network's name
    #[arg(long, value_name = "NAME", default_value = "mesh")]
    pub(in crate::cli) network: String,
    /// This gateway's name in the new network
    #[arg(long, value_name = "NODE", default_value = "gateway")]
    pub(in crate::cli) name: String,
    /// Enter the network of this invitation instead; - reads standard input, so that it stands in no process list
    #[arg(long, value_name = "FILE", conflicts_with_all = ["network", "name"])]
    pub(in crate::cli) invite: Option<PathBuf>,
    /// Enter a network that nobody here has made, such as that of `mesh-sim serve`: a file with its key, 32 hexadecimal digits.
    /// That no other node has --address, and that this one never used a key before, is for you to see to
    #[arg(long, value_name = "FILE", conflicts_with = "invite", requires = "address")]
    pub(in crate::cli) net_key_file: Option<PathBuf>,
    /// This node's address there
    #[arg(long, value_name = "ADDRESS", value_parser = values::address, requires = "net_key_file")]
    pub(in crate::cli) address: Option<Address>,
    /// The epoch there [default: 1]
    #[arg(long, value_name = "N", requires = "net_key_file")]
    pub(in crate::cli) epoch: Option<u32>,
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
pub(in crate::cli) struct InviteArgs {
    /// The new node's name; a name gets one address, once
    pub(in crate::cli) name: String,
    /// Write the invitation to this new file, readable by this user alone, and not to standard output
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) out: Option<PathBuf>,
    /// Where the network is kept [default: see the settings file]
    #[arg(long, env = "MESH_GATEWAY_DATA_DIR", value_name = "DIR")]
    pub(in crate::cli) data_dir: Option<PathBuf>,
}

/// Check the settings, or show what they come to
#[derive(Args, Debug)]
#[command(after_help = examples!["mesh-gateway config check", "mesh-gateway config show"])]
pub(in crate::cli) struct ConfigArgs {
    #[command(subcommand)]
    pub(in crate::cli) command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ConfigCommand {
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
pub(in crate::cli) struct SchemaArgs {}
