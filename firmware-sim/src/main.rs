//! `mesh-sim`: plays scenarios on the simulated air, checks the air against published figures, and looks for faults with random
//! networks.
//!
//! Owns the command line. Exit codes: 0 success, 1 the command or a check failed, 2 wrong usage.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
