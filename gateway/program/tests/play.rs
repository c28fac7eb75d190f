//! `mesh-gateway play`: what it prints, and how it ends.
#![cfg(feature = "sim")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn command(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mesh-gateway")).arg("play").args(arguments).output().unwrap()
}

fn code(output: &Output) -> (i32, String) {
    (output.status.code().unwrap(), String::from_utf8(output.stderr.clone()).unwrap())
}

fn file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Two gateways that hear each other, and a few words.
const PAIR: &str = "settle = \"5s\"\noffered = \"6s\"\nnodes = [{ number = 0, gateway = true }, { number = 1, gateway = true }]\n\
                    layout.line = { nodes = 3, spacing = 5 }\nlinks.radius = { reach = 20, attenuation = 70, beyond = 195 }\n\
                    traffic = [{ from = 0, to = 1, priority = \"HIGH\", periodic.every = \"1s\" }]\n";

#[test]
fn the_command_prints_a_table_or_one_object_and_ends_with_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let pair = file(folder.path(), "pair.toml", PAIR);
    let output = command(&[&pair, "--seed", "3"]);
    assert_eq!(code(&output), (0, String::new()));
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.starts_with("pair\nstack "), "{table}");
    for part in
        ["gateways", "HIGH", "p99 ms", "\nseed 3: accepted 6, delivered 6, unknown 0", "promises: kept"]
    {
        assert!(table.contains(part), "no {part:?} in {table}");
    }

    let output = command(&[&pair, "--seeds", "3..4", "--json"]);
    assert_eq!(code(&output), (0, String::new()));
    let object: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&object["scenario"], &object["verdict"]), (&"pair".into(), &"kept".into()));
    assert_eq!(
        (&object["messages"]["all"]["offered"], &object["messages"]["all"]["duplicates"]),
        (&12.into(), &0.into())
    );
    assert_eq!(object["messages"]["groups"][0]["priority"], "HIGH");
    assert_eq!((&object["runs"][0]["seed"], &object["runs"][1]["seed"]), (&3.into(), &4.into()));
    let trace = object["runs"][0]["trace"].as_str().unwrap();
    assert!(table.contains(trace), "the same seed in another process");
    assert_ne!(object["runs"][1]["trace"], *trace);
}

#[test]
fn the_command_says_what_is_wrong_with_a_scenario_and_ends_with_two() {
    let folder = tempfile::tempdir().unwrap();
    let none = file(folder.path(), "none.toml", &PAIR.replace("gateway = true", "relay = true"));
    let drift = file(
        folder.path(),
        "drift.toml",
        &PAIR.replacen("gateway = true", "gateway = true, drift_ppm = 5", 1),
    );
    let wrong = file(folder.path(), "wrong.toml", "layout = 3\n");
    let nowhere = folder.path().join("nowhere.toml");
    for (path, part) in [
        (&none[..], "no node of it is a gateway"),
        (&drift, "its clock cannot drift; leave its `drift_ppm` out"),
        (&wrong, "wrong.toml:1: reading the scenario"),
        (nowhere.to_str().unwrap(), "check the path"),
    ] {
        let output = command(&[path]);
        let (code, said) = code(&output);
        assert_eq!((code, output.stdout.len()), (2, 0), "{said}");
        assert!(said.starts_with("mesh-gateway: ") && said.contains(part), "{said}");
    }
    let output = command(&[&none, "--json"]);
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert!(error["error"]["hint"].as_str().unwrap().contains("gateway = true"), "{error}");
    assert_eq!(code(&command(&[])).0, 2);
    assert_eq!(code(&command(&[&none, "--seeds", "3..1"])).0, 2);
}
