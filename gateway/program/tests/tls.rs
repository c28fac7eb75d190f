//! Commands over TLS: a gateway is met once, and known from then on.
#![cfg(feature = "sim")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// A command of a user whose state is in this folder.
fn run(state: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mesh-gateway"));
    for name in ["MESH_GATEWAY", "MESH_GATEWAY_FINGERPRINT", "MESH_GATEWAY_TOKEN_FILE"] {
        command.env_remove(name);
    }
    command.args(arguments).env("XDG_STATE_HOME", state).output().unwrap()
}

fn said(output: &Output) -> (i32, String) {
    let text = [&output.stdout[..], &output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

#[test]
fn a_gateway_is_met_once_and_a_changed_certificate_is_an_error_that_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let (home, state) = (folder.path().join("home"), folder.path().join("state"));
    let (mut child, ready) = common::program(&home, "2");
    let tcp = ready["tcp"].as_str().unwrap().to_owned();
    let tls = format!("tls:{tcp}");
    let told = run(&state, &["peers", "--json", "--gateway", &tcp]);
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    let fingerprint = told["fingerprint"].as_str().unwrap().to_owned();
    assert!(!state.exists(), "without TLS nothing is kept");

    // The first time it is said, the second time it is known.
    let (code, first) = said(&run(&state, &["agents", "--gateway", &tls]));
    assert!(
        code == 0 && first.contains("was met for the first time") && first.contains(&fingerprint),
        "{first}"
    );
    let known = state.join("mesh-gateway/known-gateways");
    assert_eq!(fs::metadata(&known).unwrap().permissions().mode() & 0o777, 0o600);
    let kept = fs::read_to_string(&known).unwrap();
    assert!(kept.ends_with(&format!("\n{tcp} {fingerprint}\n")), "{kept}");
    let (code, second) = said(&run(&state, &["agents", "--gateway", &tls]));
    assert!(code == 0 && !second.contains("first time"), "{second}");

    // Each command that connects.
    for command in [
        &["status"][..],
        &["health"],
        &["peers"],
        &["routes"],
        &["agents"],
        &["send", "--to", "echo", "--wait", "hello"],
        &["query", "--to", "echo", "hello"],
        &["peers", "add", "cellar", "127.0.0.1:9"],
        &["peers", "remove", "cellar"],
        &["routes", "add", "0x0005", "--via", "0x0003"],
        &["routes", "remove", "0x0005"],
        &["agents", "forget", "nobody"],
        &["ping", "0x0005"],
        &["trace", "0x0005"],
        &["why", "0x0001/1"],
        &["listen", "--as", "bob"],
    ] {
        let adds = command.starts_with(&["peers", "add"]);
        let flag = if adds { "--gateway-fingerprint" } else { "--fingerprint" };
        let wrong = "ab".repeat(32);
        let output = run(&state, &[command, &["--gateway", &tcp, flag, &wrong, "--json"]].concat());
        let (code, text) = said(&output);
        assert!(code == 1 && text.contains("\"code\":\"wrong_gateway\""), "{command:?}: {text}");
    }
    let (code, pinned) = said(&run(&state, &["agents", "--gateway", &tcp, "--fingerprint", &fingerprint]));
    assert_eq!(code, 0, "{pinned}");
    let (code, nonsense) = said(&run(&state, &["agents", "--gateway", &tcp, "--fingerprint", "abc"]));
    assert!(code == 2 && nonsense.contains("64 hexadecimal digits"), "{nonsense}");

    // It loses its certificate.
    child.kill().unwrap();
    child.wait().unwrap();
    let identity = find(&home, "tls.identity").unwrap();
    fs::remove_file(identity).unwrap();
    let mut again = common::gateway_command_at(&home, "2", "error", &tcp);
    again.stdout(std::process::Stdio::piped());
    let (mut child, _) = common::start(&mut again);
    let output = run(&state, &["agents", "--gateway", &tls, "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error["error"]["code"], "wrong_gateway");
    let text = error.to_string();
    for part in
        [&fingerprint, "Nothing was sent", "`mesh-gateway peers`", &format!("remove the line of {tcp}")]
    {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    assert_eq!(fs::read_to_string(&known).unwrap(), kept, "it stays known by the old one");

    // As the error says.
    fs::write(&known, "").unwrap();
    assert_eq!(said(&run(&state, &["agents", "--gateway", &tls])).0, 0);
    // Others may not say who is known.
    fs::set_permissions(&known, fs::Permissions::from_mode(0o666)).unwrap();
    let (code, exposed) = said(&run(&state, &["agents", "--gateway", &tls]));
    assert!(code == 1 && exposed.contains("chmod 600"), "{exposed}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_token_that_would_cross_a_network_in_the_clear_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "a-token-of-some-length").unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    let token = token.to_str().unwrap();
    let print = "ab".repeat(32);
    // Nobody is there, and what is said before is all there is.
    for (gateway, more, warned) in [
        ("no-such-host.invalid:9", &["--token-file", token][..], true),
        ("no-such-host.invalid:9", &[], false),
        ("no-such-host.invalid:9", &["--token-file", token, "--fingerprint", &print], false),
        ("tls:no-such-host.invalid:9", &["--token-file", token], false),
        ("127.0.0.1:9", &["--token-file", token], false),
        ("[::1]:9", &["--token-file", token], false),
        ("localhost:9", &["--token-file", token], false),
    ] {
        let (code, text) = said(&run(folder.path(), &[&["status", "--gateway", gateway][..], more].concat()));
        assert_eq!((code, text.contains("give --gateway tls:")), (1, warned), "{gateway} {more:?}: {text}");
    }
}

/// The file of that name below a folder.
fn find(folder: &Path, name: &str) -> Option<std::path::PathBuf> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find_map(|path| if path.is_dir() { find(&path, name) } else { path.ends_with(name).then_some(path) })
}
