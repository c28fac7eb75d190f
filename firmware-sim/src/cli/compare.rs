//! `mesh-sim compare`.

use std::path::{Path, PathBuf};

use clap::Args;
use firmware_sim::compare::{self, Comparison, QUICK_SEEDS, Row, Selection};

use super::{CommandFailure, ExitOutcome, print, progress, range, run::write, threads};

/// How many seeds are played where none are given.
const SEEDS: u64 = 10;

#[derive(Args)]
#[command(
    after_help = "Examples:\n  mesh-sim compare\n  mesh-sim compare --row bulk --row repair --seeds 1..3\n  \
                  mesh-sim compare --quick --against docs/figures/compare.json\n  mesh-sim compare --row bulk --scenarios target/bulk\n\n\
                  Exit codes: 0 everything was measured, and nothing is worse than recorded; 1 something is worse than recorded by more than a \
                  fifth, or could not be measured; 2 wrong usage."
)]
pub(super) struct CompareArgs {
    /// Only this row; may be given several times [default: all]
    #[arg(long, value_name = "NAME")]
    row: Vec<String>,
    /// A seed, or several as FIRST..LAST, both included [default: 1..10, fewer for rows that take long; 1..3 with --quick]
    #[arg(long, value_parser = seeds)]
    seeds: Option<Seeds>,
    /// Only our stack, and the others where ours is divided by theirs
    #[arg(long)]
    ours: bool,
    /// The same for short and steady cases, with few seeds
    #[arg(long)]
    quick: bool,
    /// Fail where our stack is worse by more than a fifth than this file says, which `tools/figures compare` wrote
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Write the scenarios into a folder, for `mesh-sim run`, and play nothing
    #[arg(long, value_name = "FOLDER", conflicts_with = "against")]
    scenarios: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Threads to use [default: one for each core]
    #[arg(long)]
    threads: Option<usize>,
}

#[derive(Clone)]
struct Seeds(Vec<u64>);

fn seeds(text: &str) -> Result<Seeds, String> {
    range(text).map(Seeds)
}

pub(super) fn run(args: &CompareArgs) -> ExitOutcome {
    let failed = |error: compare::RowError| CommandFailure::failed(error.to_string());
    let rows = compare::rows().map_err(failed)?;
    if let Some(unknown) = args.row.iter().find(|name| rows.iter().all(|row| row.name != **name)) {
        let known = rows.iter().map(|row| row.name.as_str()).collect::<Vec<_>>().join(", ");
        return Err(CommandFailure::usage(format!("comparing: no row is called {unknown:?}: {known}")));
    }
    if let Some(folder) = &args.scenarios {
        return write_scenarios(&rows, &args.row, folder);
    }
    // Before anything is played: a wrong path should not cost minutes.
    let recorded = args.against.as_deref().map(read).transpose()?;
    let last = if args.quick { QUICK_SEEDS } else { SEEDS };
    let seeds = args.seeds.as_ref().map_or_else(|| (1..=last).collect(), |Seeds(seeds)| seeds.clone());
    let selection = Selection {
        seeds,
        all_seeds: args.seeds.is_some(),
        rows: args.row.clone(),
        quick: args.quick,
        ours: args.ours || args.quick,
    };
    let bar = progress(2, args.json);
    let found = compare::compare(&rows, &selection, threads(args.threads), |total| {
        bar.set_length(total as u64);
        bar.inc(1);
    });
    bar.finish_and_clear();
    let found = found.map_err(failed)?;
    if args.json {
        let text = serde_json::to_string(&found)
            .map_err(|error| CommandFailure::failed(format!("writing the figures as JSON: {error}")))?;
        print(&format!("{text}\n"))?;
    } else {
        print(&compare::table(&found))?;
    }
    let fallen = recorded.map(|recorded| found.fallen(&recorded)).unwrap_or_default();
    if fallen.is_empty() {
        return Ok(true);
    }
    let worse = compare::fallen_table(&fallen);
    Err(CommandFailure::failed(format!(
        "comparing: worse than recorded by more than a fifth:\n{}",
        worse.trim_end()
    )))
}

/// What was recorded: the quick form's figures, where the file has both.
fn read(path: &Path) -> Result<Comparison, CommandFailure> {
    let wrong = |why: String| CommandFailure::usage(format!("reading {}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let mut value: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    if let Some(quick) = value.get_mut("quick") {
        value = quick.take();
    }
    serde_json::from_value(value).map_err(|error| wrong(error.to_string()))
}

fn write_scenarios(rows: &[Row], names: &[String], folder: &Path) -> ExitOutcome {
    std::fs::create_dir_all(folder).map_err(|error| {
        CommandFailure::failed(format!("making the folder {}: {error}", folder.display()))
    })?;
    for row in rows.iter().filter(|row| names.is_empty() || names.contains(&row.name)) {
        for case in &row.cases {
            let (text, _) = row.scenario(case).map_err(|error| CommandFailure::failed(error.to_string()))?;
            let path = folder.join(format!("{}.toml", row.file_name(case)));
            write(&path, "the scenario", text.as_bytes())?;
            print(&format!("{}\n", path.display()))?;
        }
    }
    Ok(true)
}
