//! The program without the simulator, as a Raspberry Pi has it: whoever asks for the simulated air is told why it is not there.
#![cfg(not(feature = "sim"))]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn run(data_dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mesh-gateway"));
    command.args(arguments).env("MESH_GATEWAY_DATA_DIR", data_dir).output().unwrap()
}

#[test]
fn what_needs_the_simulator_is_wrong_usage_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("sim.toml");
    fs::write(&settings, "[radio]\nadapter = \"sim\"\n").unwrap();
    let data = folder.path().join("data");
    for arguments in [
        &["demo"][..],
        &["demo", "--nodes", "5", "--json"],
        &["play", "office.toml", "--seeds", "1..3"],
        &["--adapter", "sim", "--sim-nodes", "5"],
        &["--config", settings.to_str().unwrap()],
    ] {
        let output = run(&data, arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{arguments:?}: {said}");
        assert!(said.contains("this program was built without the simulator"), "{arguments:?}: {said}");
    }
    assert!(!data.exists(), "nothing is made for a gateway that cannot be");
}

#[test]
fn commands_that_are_not_there_are_not_shown() {
    let help = run(Path::new("."), &["--help"]);
    let help = String::from_utf8(help.stdout).unwrap();
    let shown =
        |command: &str| help.lines().any(|line| line.trim_start().starts_with(&format!("{command} ")));
    assert!(shown("send") && !shown("demo") && !shown("play"), "{help}");
}

#[test]
fn no_help_and_no_hint_recommends_the_simulator() {
    let folder = tempfile::tempdir().unwrap();
    let commands = ["send", "listen", "query", "status", "health", "peers", "routes", "agents", "adapters"];
    let commands =
        commands.into_iter().chain(["doctor", "init", "invite", "token", "config", "schema", "frame"]);
    let helps = commands.map(|command| vec![command, "--help"]);
    let hints =
        [&[][..], &["-h"], &["--help"], &["config", "show", "--help"], &["adapters"], &["--adapter", "bt9"]];
    for arguments in helps.chain(hints.map(<[&str]>::to_vec)) {
        let output = run(&folder.path().join("data"), &arguments);
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        assert!(!said.is_empty(), "{arguments:?}");
        // A key of `mesh-sim serve`, another program, may be entered.
        let said = said.to_lowercase().replace("mesh-sim serve", "");
        for word in [
            "simulat",
            "--sim-",
            "adapter sim",
            "use sim",
            "or sim",
            "mesh-gateway demo",
            "mesh-gateway play",
            "--seed",
        ] {
            assert!(!said.contains(word), "{arguments:?} says {word}: {said}");
        }
    }
}
