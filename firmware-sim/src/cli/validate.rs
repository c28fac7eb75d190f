//! `mesh-sim validate`.

use clap::Args;
use firmware_sim::validate::{self, Check};

use super::{CommandFailure, ExitOutcome, print, progress, threads};

#[derive(Args)]
#[command(
    after_help = "Examples:\n  mesh-sim validate\n  mesh-sim validate --json\n\nExit codes: 0 every figure is within its bounds; 1 \
                        one is not; 2 wrong usage."
)]
pub(super) struct ValidateArgs {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Threads to use [default: one for each core]
    #[arg(long)]
    threads: Option<usize>,
}

pub(super) fn run(args: &ValidateArgs) -> ExitOutcome {
    let bar = progress(validate::steps(), args.json);
    let checks = validate::run(threads(args.threads), || bar.inc(1));
    bar.finish_and_clear();
    if args.json {
        let text = serde_json::to_string(&checks)
            .map_err(|error| CommandFailure::failed(format!("writing the checks as JSON: {error}")))?;
        print(&format!("{text}\n"))?;
    } else {
        print(&validate::table(&checks))?;
    }
    Ok(checks.iter().all(Check::passed))
}
