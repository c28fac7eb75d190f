//! The command line: from arguments to an exit code.
//!
//! Arguments are read in two stages, as typed (`args`) and as resolved (each command's own file). Nothing here knows
//! how a gateway works: commands are clients of a running one ([`mesh_agent`]), prepare its data directory, or hand
//! over to [`crate::daemon`] and `mesh-testbed`.
//!
//! Exit codes: 0 done, 1 it did not work, 2 wrong usage. A closed pipe on standard output is success.

mod args;
mod body;
mod config;
mod connect;
mod daemon;
#[cfg(feature = "sim")]
mod demo;
mod doctor;
mod fault;
mod frame;
mod inspect;
mod listen;
mod logs;
mod output;
#[cfg(feature = "sim")]
mod play;
mod query;
mod receipt;
#[cfg(feature = "sim")]
mod runs;
mod secret;
mod send;
mod setup;
mod token;
mod values;
mod way;
#[cfg(not(feature = "sim"))]
mod without_sim;

use std::ffi::OsString;
use std::future::Future;
use std::process::ExitCode;

use anyhow::Context;
use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches};
use gateway::log;
use mesh_agent::api::schema;

use args::{Cli, Command};
use fault::{Code, Fault};
use output::Output;

#[cfg(not(feature = "sim"))]
use without_sim::{demo, play};

use crate::stdout::{self, Closed};

/// It did not work.
const FAILED: u8 = 1;
/// The command line is wrong.
const USAGE: u8 = 2;

/// Carries out the process's command line.
#[must_use]
pub(crate) fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    // Also for a command line that cannot be read, as far as it can be.
    let json = arguments.iter().take_while(|argument| *argument != "--").any(|argument| argument == "--json");
    let out = Output { json };
    output::remember_data_dir(&arguments);
    let cli = match parse(&arguments) {
        Ok(cli) => cli,
        Err(error) => return refuse(out, &error),
    };
    let code = match dispatch(cli, out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<Closed>() => ExitCode::SUCCESS,
        Err(error) => {
            let fault = Fault::of(&error);
            fault.tell(out);
            // A missing adapter is a missing word of the command line: systemd must not try again, as it does after a failure.
            let is_usage = matches!(fault.code, Code::Usage | Code::NoAdapter);
            ExitCode::from(if is_usage { USAGE } else { FAILED })
        }
    };
    log::finish();
    code
}

/// Reads the command line; the gateway's own flags are refused in front of a command, which would not see them.
fn parse(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let mut command = Cli::command();
    let matches = command.try_get_matches_from_mut(arguments)?;
    if let Some(name) = matches.subcommand_name() {
        let typed = |id: &&clap::Id| {
            id.as_str() != "json" && matches.value_source(id.as_str()) == Some(ValueSource::CommandLine)
        };
        // Groups have ids too, but only arguments have a source.
        if let Some(id) = matches.ids().find(typed) {
            let flag = id.as_str().replace('_', "-");
            let why = format!(
                "--{flag} before '{name}' is for the gateway itself; write the flags of '{name}' behind it"
            );
            return Err(command.error(clap::error::ErrorKind::ArgumentConflict, why));
        }
    }
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// Shows help, or what is wrong with the command line.
fn refuse(out: Output, error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // Whoever has closed the pipe has read enough help.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.to_string();
    if out.json {
        // What is wrong takes several lines at times; how to write it right follows below.
        let follows = |line: &str| line.starts_with("Usage:") || line.starts_with("For more information");
        let wrong = text.lines().take_while(|line| !follows(line)).map(str::trim);
        let wrong = wrong.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
        Fault::usage(wrong.strip_prefix("error: ").unwrap_or(&wrong)).tell(out);
    } else {
        log::say(&output::tame_lines(&output::without_keys(&text)));
    }
    ExitCode::from(USAGE)
}

fn dispatch(cli: Cli, out: Output) -> anyhow::Result<()> {
    let Some(command) = cli.command else {
        return daemon::run(cli.daemon, out);
    };
    match command {
        Command::Demo(args) => demo::run(args, out),
        Command::Play(args) => play::run(&args, out),
        Command::Send(args) => client(send::run(args, out)),
        Command::Listen(args) => client(listen::run(args, out)),
        Command::Query(args) => client(query::run(args, out)),
        Command::Status(args) => client(inspect::status(args.gateway, out)),
        Command::Health(args) => client(inspect::health(args.gateway, out)),
        Command::Peers(args) => client(inspect::peers(args, out)),
        Command::Routes(args) => client(inspect::routes(args, out)),
        Command::Agents(args) => client(inspect::agents(args, out)),
        Command::Why(args) => client(way::why(args, out)),
        Command::Ping(args) => client(way::ping(args, out)),
        Command::Trace(args) => client(way::trace(args, out)),
        Command::Adapters(args) => client(doctor::adapters(args, out)),
        Command::Doctor(args) => client(doctor::doctor(args, out)),
        Command::Init(args) => setup::init(args, out),
        Command::Invite(args) => setup::invite(&args, out),
        Command::Token(args) => token::run(args, out),
        Command::Config(args) => config::run(args.command, cli.daemon, out),
        Command::Schema(_) => stdout::line(&serde_json::to_string_pretty(&schema::schema())?),
        Command::Frame(args) => frame::run(args.command, out),
    }
}

/// Runs a client of the gateway to its end.
fn client(command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    // One thread: what a client does between two awaits is seen whole by the task that reads for it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("starting: the system gives no more events; close some programs")?.block_on(command)
}
