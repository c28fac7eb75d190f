//! The commands that run gateways on the simulated air in their own process.

use std::path::PathBuf;

use clap::Args;
use mesh_testbed::demo::DemoOptions;

use crate::cli::runs::{self, DemoSpeed, Seeds};
use crate::cli::values;

/// Show two gateways and their agents at work over a simulated mesh, in this process
#[derive(Args, Debug)]
#[command(after_help = examples![
    "mesh-gateway demo",
    "mesh-gateway demo --nodes 20 --seed 7 --loss 25",
    "mesh-gateway demo --seed 1..20 --json",
])]
pub(in crate::cli) struct DemoArgs {
    /// Relay nodes between the two gateways, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = DemoOptions::default().nodes,
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(in crate::cli) nodes: u16,
    /// Where the nodes stand and what gets lost; several runs as FIRST..LAST, both included
    #[arg(long, value_name = "S", default_value = "1", value_parser = runs::seeds)]
    pub(in crate::cli) seed: Seeds,
    /// Simulated seconds in a second, or "max" for as fast as it goes [default: so that a run takes well under a minute]
    #[arg(long, value_name = "X", value_parser = runs::demo_speed)]
    pub(in crate::cli) speed: Option<DemoSpeed>,
    /// Advertising events lost on each link, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = DemoOptions::default().loss_percent,
          value_parser = values::percent)]
    pub(in crate::cli) loss: f64,
    /// Rounds of every type at every priority, both ways, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = DemoOptions::default().messages,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(in crate::cli) messages: u32,
}

/// Play a scenario with real gateways, in simulated time
///
/// Each node with `gateway = true` is a whole gateway with its store on a simulated disk, its sessions and one agent; the others are
/// simulated devices as in `mesh-sim run`. One seed decides everything. Prints the table of `mesh-sim run`, and for each seed what
/// was promised and a hash of all that was on the air. Ends with 1 if a promise was broken, and with 2 if the scenario cannot be
/// read, or asks of a gateway what a real one cannot do.
#[derive(Args, Debug)]
#[command(after_help = examples![
    "mesh-gateway play scenarios/office.toml",
    "mesh-gateway play scenarios/office.toml --seed 7",
    "mesh-gateway play scenarios/office.toml --seeds 1..10 --json",
])]
pub(in crate::cli) struct PlayArgs {
    /// The scenario file
    #[arg(value_name = "SCENARIO")]
    pub(in crate::cli) scenario: PathBuf,
    /// A seed, or several as FIRST..LAST, both included
    #[arg(long, value_name = "S", default_value = "1", value_parser = runs::seeds, visible_alias = "seed")]
    pub(in crate::cli) seeds: Seeds,
}
