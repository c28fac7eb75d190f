//! `mesh-sim fuzz`.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use firmware_sim::fuzz::{self, Features, FuzzFailure};

use super::{CommandFailure, ExitOutcome, print, progress, range, run::write, threads};

/// Smaller cases that are tried at the most. A guess: some seconds.
const TRIES: u32 = 400;

#[derive(Args)]
#[command(
    after_help = "Examples:\n  mesh-sim fuzz --seeds 1..200\n  mesh-sim fuzz --seeds 4711 --shrink small.toml\n\nExit codes: 0 every invariant \
                  held for every seed; 1 one did not; 2 wrong usage."
)]
pub(super) struct FuzzArgs {
    /// Seeds as FIRST..LAST, both included, or one
    #[arg(long, default_value = "1..200", value_parser = seeds)]
    seeds: Seeds,
    /// Write the first case that fails, reduced, into a scenario file
    #[arg(long, value_name = "FILE")]
    shrink: Option<PathBuf>,
    /// Leave these out of all cases: routes, radios, groups, several with commas
    #[arg(long, value_name = "FEATURES", value_parser = features, default_value = "", hide_default_value = true)]
    without: Features,
    /// Threads to use [default: one for each core]
    #[arg(long)]
    threads: Option<usize>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone)]
struct Seeds(Vec<u64>);

fn seeds(text: &str) -> Result<Seeds, String> {
    range(text).map(Seeds)
}

fn features(text: &str) -> Result<Features, String> {
    let names = text.split(',').filter(|name| !name.is_empty());
    Features::without(names).map_err(|name| {
        format!("{name:?} is no feature; write some of {}, with commas between", Features::NAMES.join(", "))
    })
}

pub(super) fn run(args: &FuzzArgs) -> ExitOutcome {
    let Seeds(seeds) = &args.seeds;
    let (Some(first), Some(last)) = (seeds.first(), seeds.last()) else {
        return Err(CommandFailure::usage("fuzzing: no seeds; see `mesh-sim fuzz --help`"));
    };
    // A panic of the core is a finding, and is shown as one.
    std::panic::set_hook(Box::new(|_| {}));
    let bar = progress(seeds.len(), args.json);
    let report = fuzz::many_with(*first..=*last, args.without, threads(args.threads), |progress| {
        bar.set_position(progress.done)
    });
    bar.finish_and_clear();
    if let (Some(path), Some(failure)) = (&args.shrink, report.failures.first()) {
        let small = fuzz::shrink(failure, TRIES);
        let text = format!("# Seed {}: {}\n{}", small.seed, small.violation, small.case.to_toml());
        write(path, "the case", text.as_bytes())?;
    }
    // From here on a panic is one of this program.
    drop(std::panic::take_hook());
    let held = report.failures.is_empty();
    if args.json {
        let failures: Vec<_> = report.failures.iter().map(found).collect();
        let stats = &report.stats;
        let excused: Vec<_> = stats.excused.iter().map(excused).collect();
        let text = serde_json::json!({
            "first": first, "last": last, "held": stats.cases, "failures": failures,
            "simulated_ms": stats.simulated_ms, "posted": stats.posted, "faults": stats.faults, "attacks": stats.attacks,
            "forged": stats.counts.forged, "custody": stats.counts.custody, "excused": excused,
        });
        print(&format!("{text}\n"))?;
        return Ok(held);
    }
    let mut text = String::new();
    for failure in &report.failures {
        let _ = writeln!(text, "{failure}");
    }
    let stats = &report.stats;
    let _ = writeln!(
        text,
        "seeds {first} to {last}: {} held, {} did not; {} messages, {} power cuts and clock jumps, {} frames of attackers, {:.1} hours simulated",
        stats.cases,
        report.failures.len(),
        stats.posted,
        stats.faults,
        stats.attacks,
        stats.simulated_ms as f64 / 3.6e6
    );
    print(&text)?;
    Ok(held)
}

fn excused(((allowance, rule), times): (&(&str, &str), &u64)) -> serde_json::Value {
    serde_json::json!({ "allowance": allowance, "rule": rule, "times": times })
}

fn found(failure: &FuzzFailure) -> serde_json::Value {
    serde_json::json!({
        "seed": failure.seed,
        "case": failure.case.name,
        "violation": failure.violation.to_string(),
        "command": failure.command(),
    })
}
