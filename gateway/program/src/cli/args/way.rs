//! The commands that ask what became of a message, and how a node is reached.

use std::time::Duration;

use clap::Args;
use mesh_agent::api::MessageRef;

use super::GatewayArgs;
use crate::cli::values;

/// Show what became of a message, step by step
///
/// The gateway that accepted it remembers the last 1,024 messages of its agents, until it stops.
#[derive(Args, Debug)]
#[command(after_help = examples!["mesh-gateway why 0x0001/17", "mesh-gateway why 0x0001/17 --json"])]
pub(in crate::cli) struct WhyArgs {
    /// The message, as in 0x0001/17
    #[arg(value_name = "ID")]
    pub(in crate::cli) id: MessageRef,
    #[command(flatten)]
    pub(in crate::cli) gateway: GatewayArgs,
}

/// Ask a node whether it is there; exit code 0 if it has answered
#[derive(Args, Debug)]
#[command(after_help = examples![
    "mesh-gateway ping 0x0003",
    "mesh-gateway ping bob --count 10",
    "mesh-gateway ping 0x0003 --json",
])]
pub(in crate::cli) struct PingArgs {
    /// The node, as 0x0003, or an agent that is on it
    #[arg(value_name = "NODE")]
    pub(in crate::cli) node: String,
    /// How often to ask
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(in crate::cli) count: u32,
    /// How long to wait for each answer, at most 10s
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = values::probe_timeout)]
    pub(in crate::cli) timeout: Duration,
    #[command(flatten)]
    pub(in crate::cli) gateway: GatewayArgs,
}

/// Show over which nodes a node is reached; exit code 0 if it has answered itself
///
/// Nodes on a route answer. Where there is none, and frames are flooded, only the node itself does.
#[derive(Args, Debug)]
#[command(after_help = examples!["mesh-gateway trace 0x0006", "mesh-gateway trace bob --json"])]
pub(in crate::cli) struct TraceArgs {
    /// The node, as 0x0006, or an agent that is on it
    #[arg(value_name = "NODE")]
    pub(in crate::cli) node: String,
    /// How long to wait for the answers, at most 10s
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = values::probe_timeout)]
    pub(in crate::cli) timeout: Duration,
    #[command(flatten)]
    pub(in crate::cli) gateway: GatewayArgs,
}
