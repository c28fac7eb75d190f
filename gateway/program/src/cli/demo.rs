//! `mesh-gateway demo`: what its flags come to, and how it ends.

use anyhow::Context;
use mesh_testbed::demo::{self, DemoOptions};

use super::args::DemoArgs;
use super::output::Output;
use crate::stdout;

pub(super) fn run(args: DemoArgs, out: Output) -> anyhow::Result<()> {
    let options = DemoOptions {
        nodes: args.nodes,
        seeds: args.seed.0,
        speed: args.speed.map_or(DemoOptions::default().speed, |speed| speed.0),
        loss_percent: args.loss,
        messages: args.messages,
        json: out.json,
    };
    let good = demo::run(&options, stdout::line).context("running the demo")?;
    anyhow::ensure!(
        good,
        "running the demo: not every accepted message was delivered once or reported truthfully; the table says which"
    );
    Ok(())
}
