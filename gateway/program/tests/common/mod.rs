//! The program as a process, and the library's gateways on a cable beside it.
#![allow(dead_code, unused_imports, reason = "each test file uses its own part of this")]

#[path = "../../../tests/common/mod.rs"]
mod cable;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

pub(crate) use cable::*;

/// The program on a small simulated air, and what it says once it is ready.
pub(crate) fn program(dir: &Path, sim_nodes: &str) -> (Child, serde_json::Value) {
    start(gateway_command(dir, sim_nodes, "error").stdout(Stdio::piped()))
}

/// The command line that [`program`] runs, with log lines from `log_level` on.
pub(crate) fn gateway_command(dir: &Path, sim_nodes: &str, log_level: &str) -> Command {
    gateway_command_at(dir, sim_nodes, log_level, "127.0.0.1:0")
}

/// The same with agents at this address.
pub(crate) fn gateway_command_at(dir: &Path, sim_nodes: &str, log_level: &str, listen: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mesh-gateway"));
    command
        .args(["--adapter", "sim", "--sim-nodes", sim_nodes, "--listen", listen])
        .args(["--log-level", log_level, "--json", "--data-dir"])
        .arg(dir);
    command
}

/// Starts a gateway whose standard output is a pipe, and waits until it is ready.
pub(crate) fn start(command: &mut Command) -> (Child, serde_json::Value) {
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(ready["ready"], true);
    (child, ready)
}

/// Sends a signal.
pub(crate) fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}
