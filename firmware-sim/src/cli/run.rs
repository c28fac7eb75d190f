//! `mesh-sim run` and `mesh-sim replay`.

use std::path::{Path, PathBuf};

use clap::Args;
use firmware_sim::play::{StackKind, play_all};
use firmware_sim::record::Recording;
use firmware_sim::report;
use firmware_sim::results::Campaign;
use firmware_sim::scenario::Scenario;

use super::{CommandFailure, ExitOutcome, print, progress, range, threads};

/// What is played when no scenario is named.
const FIELD: &str = include_str!("../../../scenarios/field.toml");

#[derive(Args)]
#[command(
    after_help = "Examples:\n  mesh-sim run\n  mesh-sim run scenarios/office.toml --stack all --seeds 1..10 --report office.html\n  \
                  mesh-sim run scenarios/chain.toml --stack sig --json -\n\nExit codes: 0 every message that our stack accepted arrived, or \
                  its sender got a report; 1 one was lost without a report; 2 wrong usage."
)]
pub(super) struct RunArgs {
    /// A scenario file [default: a field of 50 nodes]
    scenario: Option<PathBuf>,
    #[arg(long, default_value = StackKind::ALL[0].name(), value_parser = stacks, help = stack_help())]
    stack: Stacks,
    /// A seed, or several as FIRST..LAST, both included
    #[arg(long, default_value = "1", value_parser = range_arg, alias = "seed")]
    seeds: Seeds,
    /// Write all results as JSON into a file, or to standard output with "-"
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the figures of the table as JSON into a file, or to standard output with "-"
    #[arg(long, value_name = "FILE")]
    figures: Option<PathBuf>,
    /// Write a page with plots into a file
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Write a capture of the air as pcapng into a file; of the first stack and seed only
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// Capture what the node with this number received [default: each advertising event once]
    #[arg(long, value_name = "NODE", requires = "pcap")]
    pcap_at: Option<u32>,
    /// Write a recording into a file for `mesh-sim replay`; of the first stack and seed only
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Threads to use [default: one for each core]
    #[arg(long)]
    threads: Option<usize>,
}

#[derive(Clone)]
struct Stacks(Vec<StackKind>);

#[derive(Clone)]
struct Seeds(Vec<u64>);

fn stack_help() -> String {
    format!("Which stack: {}, several with commas, or all", StackKind::ALL.map(StackKind::name).join(", "))
}

fn stacks(text: &str) -> Result<Stacks, String> {
    if text == "all" {
        return Ok(Stacks(StackKind::ALL.to_vec()));
    }
    let named = text.split(',').map(|name| {
        StackKind::named(name).ok_or_else(|| {
            let known = StackKind::ALL.map(StackKind::name).join(", ");
            format!("{name:?} is no stack: {known}, several with commas, or all")
        })
    });
    Ok(Stacks(named.collect::<Result<_, _>>()?))
}

fn range_arg(text: &str) -> Result<Seeds, String> {
    range(text).map(Seeds)
}

pub(super) fn read(path: Option<&Path>) -> Result<(Scenario, String), CommandFailure> {
    let read = match path {
        Some(path) => Scenario::read(path),
        None => Scenario::parse("field.toml", FIELD).map(|scenario| (scenario, FIELD.to_owned())),
    };
    read.map_err(|error| CommandFailure::usage(error.to_string()))
}

pub(super) fn write(path: &Path, what: &str, bytes: &[u8]) -> Result<(), CommandFailure> {
    std::fs::write(path, bytes)
        .map_err(|error| CommandFailure::failed(format!("writing {what} to {}: {error}", path.display())))
}

fn write_json(path: &Path, what: &str, value: &impl serde::Serialize) -> Result<(), CommandFailure> {
    let text = serde_json::to_string(value)
        .map_err(|error| CommandFailure::failed(format!("writing {what} as JSON: {error}")))?;
    if path == Path::new("-") { print(&format!("{text}\n")) } else { write(path, what, text.as_bytes()) }
}

pub(super) fn run(args: &RunArgs) -> ExitOutcome {
    let (scenario, source) = read(args.scenario.as_deref())?;
    if let Some(node) = args.pcap_at.filter(|node| *node >= scenario.node_count()) {
        let nodes = scenario.node_count();
        return Err(CommandFailure::usage(format!(
            "capturing at node {node}: the scenario has nodes 0 to {}",
            nodes - 1
        )));
    }
    let (Stacks(stacks), Seeds(seeds)) = (&args.stack, &args.seeds);
    let is_stdout = |path: &Option<PathBuf>| path.as_deref() == Some(Path::new("-"));
    if is_stdout(&args.json) && is_stdout(&args.figures) {
        return Err(CommandFailure::usage(
            "writing the results: --json and --figures cannot both go to standard output; give one a file",
        ));
    }
    let to_stdout = is_stdout(&args.json) || is_stdout(&args.figures);
    let bar = progress(stacks.len() * seeds.len(), to_stdout);
    let timeline = args.report.is_some() || args.json.is_some();
    let runs = play_all(&scenario, stacks, seeds, threads(args.threads), timeline, || bar.inc(1));
    bar.finish_and_clear();
    let campaign =
        Campaign { scenario: scenario.name.clone(), description: scenario.description.clone(), source, runs };
    if let Some(path) = &args.json {
        write_json(path, "the results", &campaign)?;
    }
    if let Some(path) = &args.figures {
        write_json(path, "the figures", &report::figures(&campaign))?;
    }
    if let Some(path) = &args.report {
        write(path, "the report", report::html(&campaign).as_bytes())?;
    }
    if let (Some(stack), Some(seed)) = (stacks.first(), seeds.first()) {
        if let Some(path) = &args.record {
            let recording = Recording::of(&scenario, &campaign.source, *stack, *seed);
            write(path, "the recording", recording.to_text().as_bytes())?;
        }
        if let Some(path) = &args.pcap {
            let bytes = firmware_sim::play::capture(&scenario, *stack, *seed, args.pcap_at)
                .map_err(|error| CommandFailure::failed(format!("capturing the run: {error}")))?;
            write(path, "the capture", &bytes)?;
        }
    }
    if !to_stdout {
        print(&report::table(&campaign))?;
    }
    Ok(campaign.runs.iter().all(|run| run.silent_losses() == 0))
}

#[derive(Args)]
#[command(
    after_help = "Example:\n  mesh-sim run --record field.trace && mesh-sim replay field.trace\n\nExit codes: 0 the same; 1 \
                        different; 2 wrong usage."
)]
pub(super) struct ReplayArgs {
    /// A file that `mesh-sim run --record` wrote
    trace: PathBuf,
}

pub(super) fn replay(args: &ReplayArgs) -> ExitOutcome {
    let text = std::fs::read_to_string(&args.trace).map_err(|error| {
        CommandFailure::usage(format!("reading the recording {}: {error}", args.trace.display()))
    })?;
    let then = Recording::parse(&text).map_err(|why| {
        CommandFailure::usage(format!("reading the recording {}: {why}", args.trace.display()))
    })?;
    let (scenario, stack) = then.scenario().map_err(CommandFailure::usage)?;
    let now = Recording::of(&scenario, &then.source, stack, then.seed);
    match then.difference(&now) {
        None => {
            print(&format!("the same: {} events, trace {}\n", now.events, now.trace))?;
            Ok(true)
        }
        Some(where_) => {
            print(&format!("different: {where_}\n"))?;
            Ok(false)
        }
    }
}
