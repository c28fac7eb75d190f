//! The program `mesh-gateway`: the gateway daemon, and the commands that speak to it.
//!
//! Owns the command line ([`cli`]), the order of start and stop ([`daemon`]), and what the process does with [`signals`]. What a
//! gateway is, is the library `gateway`'s.

mod cli;
mod daemon;
mod signals;
mod stdout;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
