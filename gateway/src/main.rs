//! The program `mesh-gateway`. Everything is in the library, where tests and the demo reach it too.

use std::process::ExitCode;

fn main() -> ExitCode {
    mesh_gateway::cli::main()
}
