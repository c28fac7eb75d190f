//! The program as people and scripts meet it: arguments in; words and an exit code out. No gateway runs here.
#![cfg(feature = "sim")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

/// The golden frame of the wire format, its key and its epoch.
const GOLDEN: &str = "5bb5c15a1e9d8d848d6157885aa9ce1be8c845389e200dcce6eddb";
const KEY: &str = "000102030405060708090a0b0c0d0e0f";
/// `hello, mesh!!`
const BODY: &str = "68656c6c6f2c206d6573682121";

/// Runs the program with nothing of this machine's settings, `input` on standard input.
fn run_with(input: &[u8], arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mesh-gateway"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("MESH_GATEWAY") || ["HOME", "XDG_STATE_HOME", "STATE_DIRECTORY"].contains(&&*name)
        {
            command.env_remove(&*name);
        }
    }
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Who reads no input may be gone by now.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn run(arguments: &[&str]) -> Output {
    run_with(b"", arguments)
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// What a run that must be good printed.
#[track_caller]
fn good(output: &Output) -> String {
    assert_eq!(code(output), 0, "{}", err(output));
    out(output)
}

/// What a run that must fail said: one line, after the program's name.
#[track_caller]
fn failed(output: &Output) -> String {
    assert_eq!((code(output), out(output)), (1, String::new()), "{}", err(output));
    err(output).strip_prefix("mesh-gateway: ").unwrap().trim_end().to_owned()
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn every_command_explains_itself_with_examples_and_exit_codes() {
    let commands = [
        "",
        "demo",
        "play",
        "send",
        "listen",
        "query",
        "status",
        "peers",
        "routes",
        "agents",
        "why",
        "ping",
        "trace",
        "init",
        "invite",
        "config",
        "config check",
        "config show",
        "schema",
        "frame",
        "frame decode",
        "frame encode",
    ];
    for command in commands {
        let mut arguments: Vec<&str> = command.split_whitespace().collect();
        arguments.push("--help");
        let help = good(&run(&arguments));
        for part in ["Usage: mesh-gateway", "Examples:\n", "Exit codes: 0 done; 1 ", "--json"] {
            assert!(help.contains(part), "{command}: no {part:?} in {help}");
        }
    }
    assert!(good(&run(&["frame", "decode", "--help"])).contains("process list"));
    assert!(good(&run(&["--version"])).starts_with("mesh-gateway "));
}

#[test]
fn a_wrong_command_line_is_exit_code_2() {
    let table: &[&[&str]] = &[
        &["--no-such-flag"],
        &["no-such-command"],
        &["status", "--no-such-flag"],
        &["send", "hello"],
        &["send", "--to", "b o b", "hello"],
        &["send", "--to", "bob", "--priority", "soon", "hello"],
        &["send", "--to", "bob", "--deadline", "30 parsecs", "hello"],
        &["listen", "--as", "bob", "--count", "0"],
        &["demo", "--seed", "3..1"],
        &["frame", "decode", GOLDEN],
        &["frame", "decode", "--net-key", "0001", "--epoch", "7", GOLDEN],
        &["config"],
        &["why", "17"],
        &["ping", "0x0003", "--timeout", "11s"],
        &["ping", "0x0003", "--count", "0"],
        &["--ttl", "3", "status"],
        &["--adapter", "sim", "--ttl", "16", "--data-dir", "/nowhere"],
    ];
    for arguments in table {
        let output = run(arguments);
        assert_eq!((code(&output), out(&output)), (2, String::new()), "{arguments:?}");
        assert!(!err(&output).is_empty(), "{arguments:?}");
        assert!(!err(&output).contains("panicked"), "{}", err(&output));
    }
    let told = err(&run(&["--json", "--no-such-flag"]));
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["error"]["code"], "usage");
    assert!(told["error"]["message"].as_str().unwrap().contains("--no-such-flag"), "{told}");
}

#[test]
fn a_gateway_without_an_adapter_says_how_to_try_it() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(&["--data-dir", path(dir.path())]);
    assert_eq!(code(&output), 2);
    for part in ["mesh-gateway.toml", "mesh-gateway --adapter sim", "mesh-gateway init"] {
        assert!(err(&output).contains(part), "{}", err(&output));
    }
    let output = run(&["--adapter", "bt0"]);
    assert_eq!(code(&output), 2);
    for part in ["names no adapter: use none", "or sim, a simulated air"] {
        assert!(err(&output).contains(part), "{}", err(&output));
    }
    // Nothing was made on the way.
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_real_adapter_needs_a_network_and_an_adapter_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(&["--adapter", "hci0", "--data-dir", path(dir.path())]);
    assert_eq!(code(&output), 1);
    let first = format!("run `mesh-gateway init --data-dir {}` first", path(dir.path()));
    assert!(err(&output).contains(&first), "{}", err(&output));
    assert_eq!(code(&run(&["init", "--data-dir", path(dir.path())])), 0);
    // No machine has this many.
    for (adapter, part) in
        [("hci65535", "opening hci65535"), ("tcp:127.0.0.1:1", "connecting to tcp:127.0.0.1:1")]
    {
        // It goes on without it, as it may have connections over IP, and says so.
        let mut gateway = Command::new(env!("CARGO_BIN_EXE_mesh-gateway"))
            .args(["--adapter", adapter, "--listen", "127.0.0.1:0", "--data-dir", path(dir.path())])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(gateway.stderr.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.any(|line| line.contains(part)), "{adapter}: it ended and did not say so");
        gateway.kill().unwrap();
        gateway.wait().unwrap();
    }
    let output = run(&["doctor", "--adapter", "sim"]);
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("name a real adapter"), "{}", err(&output));
}

#[test]
fn a_network_made_elsewhere_is_entered_with_its_key_and_an_address() {
    let dir = tempfile::tempdir().unwrap();
    let (home, key) = (dir.path().join("home"), dir.path().join("key.hex"));
    let init = |address: &str| {
        run(&[
            "init",
            "--json",
            "--net-key-file",
            path(&key),
            "--address",
            address,
            "--epoch",
            "3",
            "--data-dir",
            path(&home),
        ])
    };
    fs::write(&key, "no key\n").unwrap();
    assert!(err(&init("0x0005")).contains("32 hexadecimal digits"));
    fs::write(&key, "000102030405060708090a0b0c0d0e0f\n").unwrap();
    assert!(err(&init("0x8000")).contains("a node's address is 0x0001 to 0x7fff"));
    let output = init("0x0005");
    assert_eq!(code(&output), 0, "{}", err(&output));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&told["address"], &told["epoch"], &told["owner"]),
        (&json!("0x0005"), &json!(3), &json!(false))
    );
    assert_eq!(code(&run(&["invite", "hut", "--data-dir", path(&home)])), 1, "it leases no addresses");
    assert_eq!(code(&run(&["init", "--net-key-file", path(&key)])), 2, "an address is needed");
}

#[test]
fn the_golden_frame_goes_round() {
    let fields = json!({
        "src": 0x0102, "dst": 1, "seq": 1, "ttl": 7, "ttl0": 7, "priority": 1, "kind": 0, "next": null, "mic_len": 4,
        "body": BODY,
    });
    let decode = ["frame", "decode", "--net-key", KEY, "--epoch", "7", "--json"];
    let decoded = good(&run(&[&decode[..], &[GOLDEN]].concat()));
    assert_eq!(serde_json::from_str::<Value>(&decoded).unwrap(), fields);
    let upper = format!("{}\n", GOLDEN.to_uppercase());
    let decoded = good(&run_with(upper.as_bytes(), &[&decode[..], &["-"]].concat()));
    assert_eq!(serde_json::from_str::<Value>(&decoded).unwrap(), fields);

    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    fs::write(&key, format!("{KEY}\n")).unwrap();
    let encode = [
        "frame",
        "encode",
        "--net-key-file",
        path(&key),
        "--epoch",
        "7",
        "--src",
        "0x0102",
        "--dst",
        "1",
        "--seq",
        "1",
    ];
    let encoded =
        run(&[&encode[..], &["--ttl", "7", "--priority", "high", "--kind", "single", BODY]].concat());
    assert_eq!(good(&encoded), format!("{GOLDEN}\n"));
    let encoded =
        run(&[&encode[..], &["--ttl0", "7", "--priority", "1", "--kind", "0", "--json", BODY]].concat());
    assert_eq!(good(&encoded), format!("{{\"frame\":\"{GOLDEN}\"}}\n"));

    let long =
        ["--ttl", "3", "--ttl0", "9", "--priority", "3", "--kind", "control", "--next", "5", "--mic", "8"];
    let encoded = good(&run(&[&encode[..], &long, &[""]].concat()));
    let decoded = good(&run(&[&decode[..], &[encoded.trim()]].concat()));
    let fields = json!({
        "src": 0x0102, "dst": 1, "seq": 1, "ttl": 3, "ttl0": 9, "priority": 3, "kind": 2, "next": 5, "mic_len": 8,
        "body": "",
    });
    assert_eq!(serde_json::from_str::<Value>(&decoded).unwrap(), fields);
}

#[test]
fn a_frame_that_does_not_verify_is_exit_code_1() {
    let decode = ["frame", "decode", "--net-key", KEY, "--epoch"];
    let flipped = GOLDEN.replace("eddb", "eddc");
    let table = [
        ("7", flipped.as_str(), "does not verify: mic"),
        ("8", GOLDEN, "does not verify: unknown_key"),
        ("7", "", "does not verify: too_short"),
        ("7", &"ab".repeat(246), "does not verify: too_long"),
        ("7", "5bb", "not hexadecimal"),
        ("7", "zz", "not hexadecimal"),
        ("7", &"ab".repeat(10_000), "longer than any frame"),
    ];
    for (epoch, frame, why) in table {
        let told = failed(&run(&[&decode[..], &[epoch, frame]].concat()));
        assert!(told.starts_with("decoding the frame: ") && told.contains(why), "{told}");
    }
    let output = run(&[&decode[..], &["7", "--json", &flipped]].concat());
    assert_eq!(code(&output), 1);
    let told: Value = serde_json::from_str(&err(&output)).unwrap();
    assert!(told["error"]["message"].as_str().unwrap().contains("mic"), "{told}");

    let encode =
        ["frame", "encode", "--net-key", KEY, "--epoch", "7", "--dst", "1", "--priority", "0", "--kind", "0"];
    for (fields, why) in [
        (["--src", "0x8000", "--seq", "1", "--ttl", "1", "00"], "SRC"),
        (["--src", "1", "--seq", "16777216", "--ttl", "1", "00"], "SEQ"),
        (["--src", "1", "--seq", "1", "--ttl", "16", "00"], "TTL"),
        (["--src", "1", "--seq", "1", "--ttl", "1", &"00".repeat(245)], "245 bytes"),
    ] {
        let told = failed(&run(&[&encode[..], &fields].concat()));
        assert!(told.starts_with("encoding the frame: ") && told.contains(why), "{told}");
    }
}

#[test]
fn no_error_repeats_a_key() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    // One digit too many, so that the error is about the very key.
    let wrong = format!("{KEY}0");
    fs::write(&key, &wrong).unwrap();
    for arguments in [["--net-key-file", path(&key)], ["--net-key", &wrong]] {
        let output = run(&[&["frame", "decode"], &arguments[..], &["--epoch", "7", GOLDEN]].concat());
        assert!(err(&output).contains("32 hexadecimal digits"), "{}", err(&output));
        assert!(!err(&output).contains(KEY), "{}", err(&output));
    }
    // Keys in places where no key belongs.
    let line = "mesh1:AQABAgMEBQYHCAkKCwwNDg8BAgNodXQGdmFsbGV5__8DUkXglQ";
    let data = path(dir.path());
    for arguments in [
        &["init", "--data-dir", data, "--invite", line][..],
        &["init", "--data-dir", data, line],
        &["--json", "init", "--data-dir", data, line],
        &["frame", "decode", "--epoch", "7", "--net-key-file", KEY, GOLDEN],
        &["frame", "decode", "--epoch", "7", "--net-key-file", path(&key), GOLDEN, KEY],
    ] {
        let output = run(arguments);
        assert!(!output.status.success());
        let said = out(&output) + &err(&output);
        assert!(!said.is_empty() && !said.contains("AQABAg") && !said.contains(KEY), "{said}");
    }
}

#[test]
fn a_network_is_made_and_a_second_gateway_brought_in() {
    let dir = tempfile::tempdir().unwrap();
    let (barn, hut) = (dir.path().join("barn"), dir.path().join("hut"));
    let mut said = String::new();
    let mut note = |output: &Output| said.push_str(&(out(output) + &err(output)));

    let made = run(&["init", "--data-dir", path(&barn), "--network", "farm", "--name", "barn", "--json"]);
    note(&made);
    let about: Value = serde_json::from_str(&good(&made)).unwrap();
    assert_eq!((&about["network"], &about["name"]), (&json!("farm"), &json!("barn")));
    assert_eq!((&about["address"], &about["owner"]), (&json!("0x0001"), &json!(true)));

    let again = run(&["init", "--data-dir", path(&barn)]);
    note(&again);
    let told = failed(&again);
    assert!(told.contains("exists already") && told.contains("--data-dir"), "{told}");

    let invited = run(&["invite", "hut", "--data-dir", path(&barn)]);
    let line = good(&invited);
    assert!(line.starts_with("mesh1:") && line.ends_with('\n') && line.lines().count() == 1, "{line}");
    assert!(err(&invited).contains("0x0002") && !err(&invited).contains("mesh1:"), "{}", err(&invited));
    let twice = run(&["invite", "hut", "--data-dir", path(&barn)]);
    note(&twice);
    assert!(failed(&twice).contains("never leased twice"));

    let joined = run_with(line.as_bytes(), &["init", "--invite", "-", "--data-dir", path(&hut)]);
    note(&joined);
    assert_eq!(
        good(&joined),
        format!(
            "hut is in the network farm at 0x0002; its key is in {}\n",
            hut.join("network.toml").display()
        )
    );
    let not_owner = run(&["invite", "shed", "--data-dir", path(&hut)]);
    note(&not_owner);
    assert!(failed(&not_owner).contains("only the gateway that made the network"));

    for dir in [&barn, &hut] {
        let mode = |name: &str| fs::metadata(dir.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(
            (mode("network.toml"), mode("gateway.redb"), mode("mesh-gateway.toml")),
            (0o600, 0o600, 0o600)
        );
        good(&run(&["config", "check", path(&dir.join("mesh-gateway.toml"))]));
    }
    let file = fs::read_to_string(barn.join("network.toml")).unwrap();
    let key = file.lines().find_map(|line| line.strip_prefix("key = \"")).unwrap().trim_end_matches('"');
    assert!(key.len() == 32 && fs::read_to_string(hut.join("network.toml")).unwrap().contains(key));
    assert!(!said.contains(key) && !said.contains("mesh1:"), "{said}");
}

#[test]
fn both_gateways_begin_with_a_record_that_no_sequence_number_was_used() {
    use gateway::{engine, network::Network, store::Store};
    let dir = tempfile::tempdir().unwrap();
    let (barn, hut) = (dir.path().join("barn"), dir.path().join("hut"));
    good(&run(&["init", "--data-dir", path(&barn)]));
    let line = good(&run(&["invite", "hut", "--data-dir", path(&barn)]));
    good(&run_with(line.as_bytes(), &["init", "--invite", "-", "--data-dir", path(&hut)]));
    for dir in [barn, hut] {
        let network = Network::load(&dir).unwrap();
        let (_store, recovered) = Store::open(&dir).unwrap();
        let fingerprint = engine::fingerprint(network.key.as_bytes(), network.epoch);
        let fresh = engine::fresh_seq(fingerprint, network.address);
        let gateway::store::Op::PutMeta { key, value } = fresh else { panic!("{fresh:?}") };
        assert_eq!(recovered.meta.get(key), Some(&value));
    }
}

#[test]
fn a_bad_invitation_leaves_nothing_behind_and_is_not_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let (barn, hut) = (dir.path().join("barn"), dir.path().join("hut"));
    good(&run(&["init", "--data-dir", path(&barn)]));
    let line = good(&run(&["invite", "hut", "--data-dir", path(&barn), "--json"]));
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["name"], &line["address"]), (&json!("hut"), &json!("0x0002")));
    let line = line["invitation"].as_str().unwrap();
    let cut = &line[..line.len() - 4];
    for wrong in [cut, "", "hello", &"mesh1:".repeat(1_000)] {
        let told = failed(&run_with(wrong.as_bytes(), &["init", "--invite", "-", "--data-dir", path(&hut)]));
        assert!(told.starts_with("reading the invitation"), "{told}");
        assert!(!told.contains(&cut[6..]), "{told}");
    }
    assert!(!hut.exists());
    let missing = failed(&run(&["init", "--invite", "/no/such/file", "--data-dir", path(&hut)]));
    assert!(missing.contains("/no/such/file"), "{missing}");
}

#[test]
fn settings_are_checked_and_shown() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mesh-gateway.toml");
    fs::write(&file, "[gateway]\ndata_dir = '.'\n\n[agents]\nlisen = '127.0.0.1:1'\n").unwrap();
    let told = failed(&run(&["config", "check", path(&file)]));
    assert!(told.contains("mesh-gateway.toml:5: unknown key `lisen`") && told.contains("`listen`"), "{told}");

    fs::write(&file, "[gateway]\ndata_dir = '.'\n[mesh]\nttl = 4\n[sim]\nseed = 9\n").unwrap();
    assert_eq!(good(&run(&["config", "check", path(&file)])), format!("{}: good\n", file.display()));
    let shown = good(&run(&["config", "show", "--config", path(&file), "--ttl", "5", "--json"]));
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&shown["mesh"]["ttl"], &shown["sim"]["seed"]), (&json!(5), &json!(9)));
    let shown = good(&run(&["config", "show", "--data-dir", path(dir.path())]));
    assert!(shown.contains("[mesh]\n") && shown.contains("ttl = 4\n"), "{shown}");
    assert!(failed(&run(&["config", "check", "/no/such.toml"])).contains("/no/such.toml"));
}

#[test]
fn the_environment_counts_less_than_a_flag() {
    let dir = tempfile::tempdir().unwrap();
    let show = |flags: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_mesh-gateway"))
            .args(["config", "show", "--json", "--data-dir", path(dir.path())])
            .args(flags)
            .env("MESH_GATEWAY_TTL", "6")
            .output()
            .unwrap();
        serde_json::from_str::<Value>(&good(&output)).unwrap()["mesh"]["ttl"].clone()
    };
    assert_eq!(show(&[]), json!(6));
    assert_eq!(show(&["--ttl", "7"]), json!(7));
}

#[test]
fn without_a_gateway_a_client_says_what_to_start() {
    let dir = tempfile::tempdir().unwrap();
    let nobody = format!("unix:{}", dir.path().join("none.sock").display());
    let table: &[(&[&str], &str)] = &[
        (&["send", "--to", "bob", "hello"], "sending to bob: "),
        (&["send", "--to", "bob", "--wait", "hello"], "sending to bob: "),
        (&["query", "--to", "bob", "hello"], "asking bob: "),
        (&["listen", "--as", "bob"], "listening as bob: "),
        (&["status"], "asking for the status: "),
        (&["peers"], "asking for the peers: "),
        (&["routes"], "asking for the routes: "),
        (&["agents"], "asking for the agents: "),
    ];
    for (arguments, attempt) in table {
        let told = failed(&run(&[arguments, &["--gateway", &nobody][..]].concat()));
        assert!(told.starts_with(attempt), "{told}");
        assert!(
            told.contains("no gateway answers at unix:") && told.contains("check that it runs there"),
            "{told}"
        );
        let told = error(&run(&[arguments, &["--json", "--gateway", &nobody][..]].concat()));
        assert_eq!(told["code"], "no_gateway", "{told}");
    }
}

/// What a run that must fail said as JSON.
#[track_caller]
fn error(output: &Output) -> Value {
    assert!(!output.status.success());
    let mut told: Value = serde_json::from_slice(&output.stderr).unwrap();
    let error = told["error"].take();
    assert!(error["code"].is_string() && error["message"].is_string(), "{error}");
    error
}

#[test]
fn why_no_gateway_answers_is_told_apart_and_no_simulator_is_offered() {
    let dir = tempfile::tempdir().unwrap();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = silent.local_addr().unwrap().to_string();
    drop(silent);
    let socket = format!("unix:{}", dir.path().join("none.sock").display());
    for (gateway, hint) in [
        (closed.as_str(), "check that it runs there"),
        (socket.as_str(), "check that it runs there"),
        ("no-such-host.invalid:7700", "check the host's name"),
    ] {
        let told = error(&run(&["status", "--json", "--gateway", gateway]));
        assert_eq!(told["code"], "no_gateway", "{told}");
        assert!(told["hint"].as_str().unwrap().contains(hint), "{told}");
        assert!(!told.to_string().contains("--adapter sim"), "{told}");
    }
    let file = dir.path().join("no-token");
    let told = failed(&run(&["status", "--token-file", path(&file)]));
    assert!(told.contains(path(&file)) && told.contains("--token-file"), "{told}");
}

#[test]
fn a_deadline_is_told_in_hours_and_under_the_name_of_the_flag() {
    let told = err(&run(&["send", "--to", "bob", "--deadline", "48h", "x"]));
    assert!(told.contains("--deadline") && told.contains("24h") && !told.contains("86400"), "{told}");
    let told = error(&run(&["send", "--json", "--to", "bob", "--deadline", "48h", "x"]));
    assert_eq!((&told["code"], &told["hint"]), (&json!("usage"), &json!("see --help")));
    assert!(told["message"].as_str().unwrap().ends_with("more than 0 and at most 24h"), "{told}");
    let told = err(&run(&["query", "--to", "bob", "--timeout", "0s", "x"]));
    assert!(told.contains("--timeout") && !told.contains("--deadline"), "{told}");
}

#[test]
fn a_token_has_a_deadline_as_messages_have_them() {
    for wrong in ["0", "25h"] {
        let told = err(&run(&["token", "add", "sensor", "--max-deadline", wrong]));
        assert!(told.contains("--max-deadline") && told.contains("24h"), "{told}");
    }
}

#[test]
fn a_damaged_store_at_the_start_is_told_as_one() {
    let dir = tempfile::tempdir().unwrap();
    let home = path(dir.path());
    good(&run(&["init", "--data-dir", home]));
    fs::write(dir.path().join("gateway.redb"), "no store").unwrap();
    let started = run(&[
        "--json",
        "--adapter",
        "none",
        "--listen",
        "127.0.0.1:0",
        "--log-level",
        "error",
        "--data-dir",
        home,
    ]);
    assert_eq!(code(&started), 1);
    let told = error(&started);
    assert_eq!(told["code"], "storage", "{told}");
}

#[test]
fn a_network_without_an_adapter_does_not_start_the_simulator() {
    let dir = tempfile::tempdir().unwrap();
    let home = path(dir.path());
    let init = run(&["init", "--data-dir", home]);
    good(&init);
    let next = format!("`mesh-gateway --adapter hci0 --data-dir {home}`");
    assert!(err(&init).contains(&next), "{}", err(&init));
    let plain = run(&["--json", "--data-dir", home]);
    assert_eq!(code(&plain), 2, "systemd does not start it again and again");
    let told = error(&plain);
    assert_eq!(told["code"], "no_adapter", "{told}");
    assert!(told["message"].as_str().unwrap().contains("This machine has: "), "{told}");
    assert!(told["hint"].as_str().unwrap().contains("--adapter hci"), "{told}");
    // A name in the settings is as good: what stops it then is that another one runs here.
    fs::write(dir.path().join("mesh-gateway.toml"), "[radio]\nadapter = 'hci65535'\n").unwrap();
    let other = fs::File::create(dir.path().join("gateway.lock")).unwrap();
    other.lock().unwrap();
    let told = error(&run(&["--json", "--data-dir", home]));
    assert!(told["message"].as_str().unwrap().contains("locking the data directory"), "{told}");
}

#[test]
fn secrets_are_written_for_this_user_alone_or_a_warning_says_that_they_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("barn");
    good(&run(&["init", "--data-dir", path(&home)]));
    let mode = |file: &Path| fs::metadata(file).unwrap().permissions().mode() & 0o777;
    for (command, name) in [(&["invite"][..], "hut"), (&["token", "add"], "phone")] {
        let file = dir.path().join(name);
        let made =
            |who: &str| run(&[command, &[who, "--data-dir", path(&home), "--out", path(&file)][..]].concat());
        let output = made(name);
        assert_eq!(good(&output), "", "nothing of it on standard output");
        assert!(err(&output).contains(path(&file)), "{}", err(&output));
        assert_eq!(mode(&file), 0o600);
        let secret = fs::read_to_string(&file).unwrap();
        assert!(secret.starts_with("mesh1:") || secret.starts_with("mgt_"));
        // A file that is there stays as it is, and costs no address and no token.
        let again = made("other");
        assert!(failed(&again).contains("is there already"), "{}", err(&again));
        assert_eq!(fs::read_to_string(&file).unwrap(), secret);
        good(&run(&[command, &["other", "--data-dir", path(&home)][..]].concat()));

        for (bits, warned) in [(0o644, true), (0o600, false)] {
            let open = dir.path().join(format!("{name}-{bits:o}"));
            fs::write(&open, "").unwrap();
            fs::set_permissions(&open, fs::Permissions::from_mode(bits)).unwrap();
            let output = Command::new(env!("CARGO_BIN_EXE_mesh-gateway"))
                .args(command)
                .args([&format!("{name}-{bits:o}"), "--data-dir", path(&home)])
                .stdout(fs::File::create(&open).unwrap())
                .output()
                .unwrap();
            good(&output);
            assert_eq!(err(&output).contains("others can read"), warned, "{}", err(&output));
        }
    }
    // What is read is treated alike: not from a file that others can read.
    let (hut, file) = (dir.path().join("hut-home"), dir.path().join("hut"));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let told = failed(&run(&["init", "--invite", path(&file), "--data-dir", path(&hut)]));
    assert!(told.contains("chmod 600") && !hut.exists(), "{told}");
    let token = dir.path().join("phone");
    fs::set_permissions(&token, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(failed(&run(&["status", "--token-file", path(&token)])).contains("chmod 600"));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    good(&run(&["init", "--invite", path(&file), "--data-dir", path(&hut)]));
}

#[test]
fn the_first_token_says_whom_it_locks_out_and_how_to_go_back() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let add = |name: &str| run(&["token", "add", name, "--data-dir", path(&home)]);
    let told = failed(&add("phone"));
    assert!(told.contains("there is no data directory") && !home.exists(), "{told}");
    fs::create_dir(&home).unwrap();
    let first = add("phone");
    good(&first);
    for part in
        ["every program over TCP", "this machine too", "the Unix socket", "token remove phone", "tokens.toml"]
    {
        assert!(err(&first).contains(part), "no {part:?} in {}", err(&first));
    }
    let second = add("panel");
    good(&second);
    assert!(!err(&second).contains("every program over TCP"), "{}", err(&second));
}

#[test]
fn nobody_is_called_everyone() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let told = failed(&run(&["init", "--name", "everyone", "--data-dir", path(&home)]));
    assert!(told.contains("not `everyone`") && !home.exists(), "{told}");
    good(&run(&["init", "--data-dir", path(&home)]));
    assert!(failed(&run(&["invite", "everyone", "--data-dir", path(&home)])).contains("not `everyone`"));
}

#[test]
fn everything_wrong_in_the_settings_is_named_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mesh-gateway.toml");
    fs::write(
        &file,
        "[agents]\nlisen = '127.0.0.1:1'\nmax_agents = 'many'\naccess_token_file = 'none'\n[foo]\nx = 1\n[mesh]\nttl = 99\n[sim]\nseed = true\n",
    )
    .unwrap();
    let check = ["config", "check", "--data-dir", path(dir.path())];
    let told = failed(&run(&check));
    for part in [
        "toml:2: unknown key `lisen`",
        "toml:3: ",
        "unknown section `[foo]`",
        "toml:8: mesh.ttl",
        "toml:10: ",
        "none",
    ] {
        assert!(told.contains(part), "no {part:?} in {told}");
    }
    assert!(!told.contains("[sim]`?"), "nothing like it is not what was meant: {told}");
    let told = error(&run(&[&check[..], &["--json"]].concat()));
    assert_eq!(told["code"], "settings");
    let problems = told["problems"].as_array().unwrap();
    let lines: Vec<_> = problems.iter().filter_map(|problem| problem["line"].as_u64()).collect();
    assert_eq!(lines, [2, 3, 5, 8, 10], "{told}");
    assert_eq!(problems.len(), 6, "and the token's file: {told}");
}

#[test]
fn a_body_over_64_kib_is_refused_before_anything_is_sent() {
    let told = failed(&run_with(&vec![b'x'; 65_537], &["send", "--to", "bob", "-"]));
    assert!(told.starts_with("sending to bob: reading the body: ") && told.contains("65536"), "{told}");
}

#[test]
fn the_schema_is_json() {
    let schema: Value = serde_json::from_str(&good(&run(&["schema"]))).unwrap();
    assert!(schema["request"].is_object() && schema["event"].is_object());
}

#[test]
fn a_closed_pipe_is_success() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_mesh-gateway"))
        .arg("schema")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((code(&output), err(&output)), (0, String::new()));
}
