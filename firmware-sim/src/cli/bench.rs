//! `mesh-sim bench`.

use clap::Args;
use firmware_sim::bench;

use super::{CommandFailure, ExitOutcome, print, progress};

#[derive(Args)]
#[command(after_help = "Examples:\n  mesh-sim bench\n  mesh-sim bench --json")]
pub(super) struct BenchArgs {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &BenchArgs) -> ExitOutcome {
    let bar = progress(bench::STEPS, args.json);
    let found = bench::run(|| bar.inc(1));
    bar.finish_and_clear();
    if args.json {
        let text = serde_json::to_string(&found)
            .map_err(|error| CommandFailure::failed(format!("writing the figures as JSON: {error}")))?;
        print(&format!("{text}\n"))?;
    } else {
        print(&bench::table(&found))?;
    }
    Ok(true)
}
