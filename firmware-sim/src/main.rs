//! `mesh-sim`: plays scenarios on the simulated air, checks the air against published numbers, breaks things on purpose.
//!
//! Owns the command line. Exit codes: 0 as it should be, 1 not so, 2 wrong usage.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
