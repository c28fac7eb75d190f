//! `mesh-gateway play`: a scenario with real gateways.
//!
//! Owns what is printed of it. What is played, and the verdict, are [`mesh_testbed`]'s.

use std::fmt::Write as _;

use firmware_sim::report;
use firmware_sim::results::Campaign;
use firmware_sim::scenario::Scenario;
use mesh_agent::api::Outcome;
use mesh_testbed::{PlayError, Played, play};
use serde::Serialize;

use super::args::PlayArgs;
use super::fault::usage;
use super::output::Output;
use super::runs::Seeds;
use crate::stdout;

/// All runs together.
#[derive(Serialize)]
struct Summary<'a> {
    scenario: &'a str,
    /// `"kept"`, or what was not.
    verdict: String,
    /// The table's figures: all messages, and those of each priority.
    messages: report::StackSummary,
    runs: Vec<Run<'a>>,
}

/// One run.
#[derive(Serialize)]
struct Run<'a> {
    seed: u64,
    /// Hash of every frame sent and heard.
    trace: &'a str,
    /// Hash of the trace, and of all that agents and devices were told and given.
    digest: String,
    simulated_ms: u64,
    /// Transactions of all disks.
    commits: u64,
    /// Messages that gateways and devices have taken, answers of agents among them.
    accepted: usize,
    delivered: usize,
    unknown: usize,
    expired: usize,
    rejected: usize,
    /// Still on their way at the end, in time.
    open: usize,
    /// Of which nobody has said whether they were accepted, as power went.
    doubtful: usize,
    /// Not said, as the gateway was away.
    unsaid: usize,
    /// What should not have been.
    problems: &'a [String],
}

impl<'a> Run<'a> {
    fn of(played: &'a Played) -> Self {
        let Played { report, result } = played;
        Self {
            seed: result.seed,
            trace: &report.trace,
            digest: report.digest(),
            simulated_ms: result.simulated_ms,
            commits: report.commits,
            accepted: report.accepted,
            delivered: report.outcomes(Outcome::Delivered),
            unknown: report.outcomes(Outcome::Unknown),
            expired: report.outcomes(Outcome::Expired),
            rejected: report.outcomes(Outcome::Rejected),
            open: report.open,
            doubtful: report.doubtful,
            unsaid: report.unsaid,
            problems: &report.problems,
        }
    }

    fn line(&self) -> String {
        let verdict = if self.problems.is_empty() { "kept".to_owned() } else { self.problems.join("; ") };
        format!(
            "seed {}: accepted {}, delivered {}, unknown {}, expired {}, rejected {}, under way {}, doubtful {}, unsaid {}; \
             trace {}; promises: {verdict}",
            self.seed,
            self.accepted,
            self.delivered,
            self.unknown,
            self.expired,
            self.rejected,
            self.open,
            self.doubtful,
            self.unsaid,
            self.trace,
        )
    }
}

/// Plays a scenario with every seed and prints what came of it.
pub(super) fn run(args: &PlayArgs, out: Output) -> anyhow::Result<()> {
    let (scenario, source) = Scenario::read(&args.scenario).map_err(|error| usage(error.to_string()))?;
    let Seeds(seeds) = &args.seeds;
    // Runs know nothing of each other.
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let runs = firmware_sim::parallel::map(seeds, threads, |seed| play(&scenario, *seed));
    let runs: Vec<Played> = runs.into_iter().collect::<Result<_, _>>().map_err(refusal)?;
    let campaign = Campaign {
        scenario: scenario.name.clone(),
        description: scenario.description.clone(),
        source,
        runs: runs.iter().map(|played| played.result.clone()).collect(),
    };
    let broken: Vec<String> = runs
        .iter()
        .filter(|played| !played.is_kept())
        .map(|played| format!("seed {}: {}", played.result.seed, played.report.problems.join("; ")))
        .collect();
    if out.json {
        let messages = report::summary(&campaign).pop();
        let messages = messages.ok_or_else(|| anyhow::anyhow!("playing the scenario: no seed was given"))?;
        let verdict = if broken.is_empty() { "kept".to_owned() } else { broken.join("; ") };
        let runs = runs.iter().map(Run::of).collect();
        let summary = Summary { scenario: &scenario.name, verdict, messages, runs };
        stdout::line(&serde_json::to_string(&summary)?)?;
    } else {
        let mut text = report::table(&campaign);
        for played in &runs {
            // Writing to a string never fails.
            let _ = writeln!(text, "{}", Run::of(played).line());
        }
        stdout::line(text.trim_end())?;
    }
    anyhow::ensure!(
        broken.is_empty(),
        "playing {}: a promise was broken, which is a bug; please report it with the scenario and its seed: {}",
        scenario.name,
        broken.join("; ")
    );
    Ok(())
}

/// What cannot be played is the scenario's fault, all else is ours.
fn refusal(error: PlayError) -> anyhow::Error {
    match error {
        PlayError::Unplayable(why) => usage(why.to_string()).into(),
        PlayError::World(why) => why.into(),
    }
}
