//! The command line of `mesh-sim`.
//!
//! Owns arguments, progress bars and exit codes. What the commands do is the library's business.

mod bench;
mod compare;
mod fuzz;
mod run;
mod serve;
mod validate;

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

#[derive(Parser)]
#[command(
    version,
    about,
    after_help = "Exit codes: 0 success; 1 the command or a check failed; 2 wrong usage."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Plays a scenario and prints how its messages fared
    Run(run::RunArgs),
    /// Plays a recorded run again and reports whether, and where, it differs
    Replay(run::ReplayArgs),
    /// Plays the rows of our table beside the others, and says what is as wanted
    Compare(compare::CompareArgs),
    /// Serves virtual Bluetooth controllers on the air of a scenario to hosts that speak HCI over TCP
    Serve(serve::ServeArgs),
    /// Compares the simulated air with published and calculated figures
    Validate(validate::ValidateArgs),
    /// Plays random networks with random faults and checks every invariant after every event
    Fuzz(fuzz::FuzzArgs),
    /// Measures the speed of the simulation
    Bench(bench::BenchArgs),
}

/// Why a command ended badly, and with which exit code.
struct CommandFailure {
    text: String,
    code: u8,
}

impl CommandFailure {
    /// The command failed.
    fn failed(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: 1 }
    }

    /// Wrong usage.
    fn usage(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: 2 }
    }
}

/// How a command ends: whether every check passed.
type ExitOutcome = Result<bool, CommandFailure>;

pub(crate) fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Replay(args) => run::replay(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Validate(args) => validate::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Bench(args) => bench::run(&args),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(CommandFailure { text, code }) => {
            // With standard error closed, the exit code is all that is left.
            let _ = writeln!(std::io::stderr(), "mesh-sim: {text}");
            ExitCode::from(code)
        }
    }
}

/// Prints a text; a closed standard output is no failure.
fn print(text: &str) -> Result<(), CommandFailure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(CommandFailure::failed(format!("printing the result: {error}")))
        }
        _ => Ok(()),
    }
}

/// A progress bar on standard error for so many steps; hidden where nobody would see it.
fn progress(steps: usize, quiet: bool) -> ProgressBar {
    let target = if quiet || steps < 2 { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len}, {eta} to go");
    let bar = ProgressBar::with_draw_target(Some(steps as u64), target);
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// How many threads to use: as many as there are cores, unless a number is given.
fn threads(asked: Option<usize>) -> usize {
    asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// Numbers as FIRST..LAST, both included, or one alone.
fn range(text: &str) -> Result<Vec<u64>, String> {
    let number = |text: &str| text.parse::<u64>().map_err(|_| format!("{text:?} is no number"));
    let (first, last) = match text.split_once("..") {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(text)?, number(text)?),
    };
    if first > last {
        return Err(format!("{first} is above {last}"));
    }
    if last - first >= 1_000_000 {
        return Err("at most a million at a time".into());
    }
    Ok((first..=last).collect())
}
