//! The commands that show what a running gateway knows, and change it.

use clap::{Args, Subcommand};
use mesh_agent::Fingerprint;
use mesh_agent::api::Name;
use mesh_protocol::Address;

use super::{GatewayArgs, PlaceArgs};
use crate::cli::values;

/// Show how the gateway is; exit code 0 if all is well
#[derive(Args, Debug)]
#[command(after_help = examples!["mesh-gateway status", "mesh-gateway status --json --gateway unix:/run/mesh.sock"])]
pub(in crate::cli) struct StatusArgs {
    #[command(flatten)]
    pub(in crate::cli) gateway: GatewayArgs,
}

/// Show how well messages get through, to each node and in all
#[derive(Args, Debug)]
#[command(after_help = examples!["mesh-gateway health", "mesh-gateway health --json"])]
pub(in crate::cli) struct HealthArgs {
    #[command(flatten)]
    pub(in crate::cli) gateway: GatewayArgs,
}

/// Show which nodes are near and which gateways are connected over IP; add and remove such gateways
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, after_help = examples![
    "mesh-gateway peers",
    "mesh-gateway peers --json",
    "mesh-gateway peers add cellar 192.168.1.100:7700",
    "mesh-gateway peers remove cellar",
])]
pub(in crate::cli) struct PeersArgs {
    #[command(subcommand)]
    pub(in crate::cli) command: Option<PeersCommand>,
    #[command(flatten)]
    pub(in crate::cli) gateway: GatewayArgs,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum PeersCommand {
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
        /// The SHA-256 of the certificate of the gateway that is told to connect, as --fingerprint of the other commands
        #[arg(long, env = "MESH_GATEWAY_FINGERPRINT", value_name = "HEX")]
        gateway_fingerprint: Option<Fingerprint>,
        #[command(flatten)]
        place: PlaceArgs,
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
pub(in crate::cli) struct RoutesArgs {
    #[command(subcommand)]
    pub(in crate::cli) command: Option<RoutesCommand>,
    #[command(flatten)]
    pub(in crate::cli) gateway: GatewayArgs,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum RoutesCommand {
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
pub(in crate::cli) struct AgentsArgs {
    #[command(subcommand)]
    pub(in crate::cli) command: Option<AgentsCommand>,
    #[command(flatten)]
    pub(in crate::cli) gateway: GatewayArgs,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum AgentsCommand {
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
