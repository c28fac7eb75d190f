use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

const PATH: &str = "/etc/mesh/mesh-gateway.toml";

fn with_data_dir() -> Overrides {
    Overrides { data_dir: Some("/data".into()), ..Overrides::default() }
}

fn resolve(text: &str, over: Overrides) -> Result<Settings, SettingsError> {
    Settings::resolve(Some(FileSettings::parse(Path::new(PATH), text)?), over)
}

fn defaults() -> Settings {
    Settings::resolve(None, with_data_dir()).unwrap()
}

/// The problems as a person reads them.
fn problems(text: &str, over: Overrides) -> Vec<String> {
    match resolve(text, over) {
        Err(SettingsError::Invalid(problems)) => problems.iter().map(ToString::to_string).collect(),
        other => panic!("{other:?}"),
    }
}

/// The template with every key switched on.
fn switched_on() -> String {
    let key_line = |line: &str| {
        line.starts_with("#[[") || line.starts_with('#') && !line.starts_with("# ") && line.contains(" = ")
    };
    TEMPLATE
        .lines()
        .map(|line| if key_line(line) { format!("{}\n", &line[1..]) } else { format!("{line}\n") })
        .collect()
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let expected = Settings {
        gateway: GatewaySettings {
            name: None,
            data_dir: "/data".into(),
            log: LogFormat::Text,
            log_level: LogLevel::Info,
        },
        agents: AgentSettings {
            listen: "127.0.0.1:7700".parse().unwrap(),
            unix_socket: "/data/agents.sock".into(),
            access_token_file: None,
            audit: false,
            max_agents: 1000,
            max_connections: 4096,
            max_credits: 4096,
            inbox_messages: 10_000,
            inbox_bytes: 16_777_216,
            inbox_total_bytes: 134_217_728,
        },
        radio: RadioSettings {
            adapter: Adapter::Sim,
            company_id: 0xFFFF,
            extended: true,
            long_frames: false,
            scan_duty: 100,
        },
        sim: SimSettings { nodes: 50, seed: 1, speed: 1.0, loss_percent: 10.0, island: 1, key_file: None },
        mesh: MeshSettings { ttl: 10, default_deadline: Duration::from_secs(60) },
        peers: Vec::new(),
    };
    assert_eq!(defaults(), expected);
}

#[test]
fn the_template_gives_the_defaults_as_it_is_and_with_every_key_switched_on() {
    assert_eq!(resolve(&template(0xFFFF), with_data_dir()).unwrap(), defaults());
    // But for the one section that there need not be.
    let mut all = resolve(&switched_on(), with_data_dir()).unwrap();
    assert_eq!(all.peers.len(), 1);
    all.peers.clear();
    assert_eq!(all, defaults());
}

#[test]
fn each_wrong_peer_is_named_with_its_line() {
    let text = "[[peer]]\nname = \"a\"\naddress = \"10.0.0.1:7700\"\n\
        [[peer]]\nname = \"a\"\naddress = \"10.0.0.2:7700\"\n\
        [[peer]]\nname = \"b b\"\naddress = \"10.0.0.2:7700\"\n\
        [[peer]]\nname = \"c\"\naddress = \"10.0.0.2\"\n\
        [[peer]]\nname = \"d\"\naddress = \"10.0.0.2:1\"\nfingerprint = \"abc\"\n";
    let error = resolve(text, with_data_dir()).unwrap_err().to_string();
    for said in [
        "5: peer.name = \"a\": there is one",
        "8: peer.name = \"b b\"",
        "12: peer.address",
        "16: peer.fingerprint",
    ] {
        assert!(error.contains(said), "{said}: {error}");
    }
    for (text, said) in [
        ("[peer]\nname = \"a\"\n", "write `[[peer]]`"),
        ("peer = 3\n", "`peer` is a section"),
        ("[[peer]]\nadress = \"a\"\n", "did you mean `address`?"),
    ] {
        let error = resolve(text, with_data_dir()).unwrap_err().to_string();
        assert!(error.contains(said), "{said}: {error}");
    }
}

#[test]
fn the_template_names_every_key_there_is() {
    let file = FileSettings::parse(Path::new(PATH), &switched_on()).unwrap();
    // A key that the template leaves out would be `None` in this list of all the fields.
    let text = format!("{:?}", file.raw);
    assert!(!text.contains("None"), "{text}");
}

#[test]
fn a_network_with_its_own_company_id_gets_a_template_with_it() {
    let settings = resolve(&template(0x0059), with_data_dir()).unwrap();
    assert_eq!(settings.radio.company_id, 0x0059);
}

#[test]
fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
    let text = "[mesh]\nttl = 3\ndefault_deadline_s = 5\n[gateway]\nname = 'hut'\nlog = 'json'\n";
    let over = Overrides { ttl: Some(4), log: Some(LogFormat::Text), ..with_data_dir() };
    let settings = resolve(text, over).unwrap();
    assert_eq!(settings.mesh, MeshSettings { ttl: 4, default_deadline: Duration::from_secs(5) });
    assert_eq!(settings.gateway.log, LogFormat::Text);
    assert_eq!(settings.gateway.name.as_deref(), Some("hut"));
    assert_eq!(settings.gateway.log_level, LogLevel::Info);
}

#[test]
fn paths_are_relative_to_the_file_unless_a_flag_names_them() {
    let text =
        "[gateway]\ndata_dir = 'state'\n[agents]\nunix_socket = '/run/a.sock'\naccess_token_file = 'token'\n";
    let settings = resolve(text, Overrides::default()).unwrap();
    assert_eq!(settings.gateway.data_dir, Path::new("/etc/mesh/state"));
    assert_eq!(settings.agents.unix_socket, Path::new("/run/a.sock"));
    assert_eq!(settings.agents.access_token_file.as_deref(), Some(Path::new("/etc/mesh/token")));
    let over = Overrides { data_dir: Some("here".into()), ..Overrides::default() };
    assert_eq!(resolve(text, over).unwrap().gateway.data_dir, Path::new("here"));
}

#[test]
fn unknown_keys_are_all_named_with_their_lines_and_what_was_probably_meant() {
    let text =
        "colour = 1\n[agents]\nlisten = '127.0.0.1:1'\nlisen = '127.0.0.1:1'\nttl = 3\n\n[mash]\nttl = 3\n";
    assert_eq!(
        problems(text, with_data_dir()),
        [
            format!(
                "{PATH}:1: unknown key `colour` before any section; put it into one of the sections agents, gateway, mesh, peer, radio, sim"
            ),
            format!("{PATH}:4: unknown key `lisen` in `[agents]`; did you mean `listen`?"),
            format!("{PATH}:5: unknown key `ttl` in `[agents]`; it belongs to `[mesh]`"),
            format!("{PATH}:7: unknown section `[mash]`; did you mean `[mesh]`?"),
        ]
    );
    assert_eq!(
        problems("ttl = 3\nmesh = 4\n", with_data_dir()),
        [
            format!("{PATH}:1: unknown key `ttl` before any section; it belongs to `[mesh]`"),
            format!("{PATH}:2: `mesh` is a section: write `[mesh]`"),
        ]
    );
}

#[test]
fn values_out_of_range_are_all_named_with_their_lines_and_ranges() {
    let text = "[mesh]\nttl = 16\ndefault_deadline_s = -1\n[sim]\nspeed = nan\nloss_percent = 101\nseed = -1\n\
                [agents]\ninbox_bytes = 1\nlisten = 'localhost'\n[radio]\nadapter = 'bt9'\ncompany_id = 0x10000\n";
    assert_eq!(
        problems(text, with_data_dir()),
        [
            format!("{PATH}:2: mesh.ttl = 16: use 1 to 15"),
            format!("{PATH}:3: mesh.default_deadline_s = -1: use 1 to 86400"),
            format!("{PATH}:5: sim.speed = NaN: use 0.01 to 1000"),
            format!("{PATH}:6: sim.loss_percent = 101: use 0 to 100"),
            format!("{PATH}:7: sim.seed = -1: use 0 to 9223372036854775807"),
            format!("{PATH}:9: agents.inbox_bytes = 1: use 131072 to 1073741824"),
            format!(
                "{PATH}:10: agents.listen = \"localhost\": write an address and a port, as in 127.0.0.1:7700, [::1]:7700, \
                 [fe80::1%eth0]:7700 or localhost:7700"
            ),
            format!(
                "{PATH}:12: radio.adapter: \"bt9\" names no adapter: use none (other gateways over IP alone), hci0 (an adapter of this system), bluez:hci0 (shared \
                 with bluetoothd), tcp:HOST:PORT, serial:/dev/ttyACM0 or usb:VID:PID"
            ),
            format!("{PATH}:13: radio.company_id = 65536: use 0 to 65535"),
        ]
    );
    let over = Overrides { ttl: Some(0), sim_speed: Some(f64::INFINITY), ..with_data_dir() };
    assert_eq!(
        problems("", over),
        [
            "flags or environment: sim.speed = inf: use 0.01 to 1000",
            "flags or environment: mesh.ttl = 0: use 1 to 15",
        ]
    );
}

#[test]
fn wrong_types_and_broken_toml_are_named_with_their_line() {
    for (text, line) in
        [("[mesh]\nttl = 'ten'\n", 2), ("[mesh]\n\nttl 3\n", 3), ("[mesh]\nttl = 1\nttl = 2\n", 3)]
    {
        let problems = problems(text, with_data_dir());
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with(&format!("{PATH}:{line}: ")), "{problems:?}");
    }
}

#[test]
fn an_address_for_everyone_needs_a_token_and_the_error_says_both_ways_out() {
    for open in ["0.0.0.0:7700", "192.168.1.4:7700", "[::]:7700", "[::ffff:10.0.0.1]:7700"] {
        let text = format!("[agents]\nlisten = '{open}'\n");
        let problems = problems(&text, with_data_dir());
        assert_eq!(problems.len(), 1);
        assert!(problems[0].starts_with(&format!("{PATH}:2: agents.listen = {open}")), "{problems:?}");
        assert!(
            problems[0].contains("127.0.0.1") && problems[0].contains("access_token_file"),
            "{problems:?}"
        );
        let over = Overrides { access_token_file: Some("/token".into()), ..with_data_dir() };
        assert_eq!(resolve(&text, over).unwrap().agents.listen, open.parse().unwrap());
    }
    // A token with limits is one, too; one that was taken back is none.
    let folder = tempfile::tempdir().unwrap();
    let over = || Overrides { data_dir: Some(folder.path().into()), ..Overrides::default() };
    let text = "[agents]\nlisten = '0.0.0.0:7700'\n";
    let name = mesh_agent::api::Name::new("sensor").unwrap();
    access::add(folder.path(), |sha256| access::Grant::new(name, sha256)).unwrap();
    resolve(text, over()).unwrap();
    access::remove(folder.path(), &name, false).unwrap();
    assert!(problems(text, over())[0].contains("mesh-gateway token add NAME"));
    for own in ["127.0.0.1:1", "127.8.8.8:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        resolve(&format!("[agents]\nlisten = '{own}'\n"), with_data_dir()).unwrap();
    }
}

#[test]
fn a_data_dir_too_deep_for_a_socket_is_noticed_before_the_socket_is_bound() {
    let deep = Overrides { data_dir: Some(format!("/{}", "d".repeat(120)).into()), ..Overrides::default() };
    assert!(problems("", deep.clone())[0].contains("107"));
    resolve("[agents]\nunix_socket = '/run/a.sock'\n", deep).unwrap();
}

#[test]
fn check_reads_the_file_and_its_token() {
    let folder = tempfile::tempdir().unwrap();
    let (file, token) = (folder.path().join(SETTINGS_FILE), folder.path().join("token"));
    assert!(matches!(check(&file, None), Err(SettingsError::Read { .. })));
    fs::write(&file, "[gateway]\ndata_dir = '.'\n[agents]\naccess_token_file = 'token'\n").unwrap();
    let missing = check(&file, None).unwrap_err().to_string();
    assert!(missing.contains(&format!("reading the access token {}", token.display())), "{missing}");

    fs::write(&token, "0123456789abcdef\n").unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o644)).unwrap();
    let exposed = check(&file, None).unwrap_err();
    assert!(exposed.to_string().contains(&format!("chmod 600 {}", token.display())), "{exposed}");
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    check(&file, None).unwrap();
    let read = AccessToken::read(&token).unwrap();
    assert_eq!(read.as_str(), "0123456789abcdef");
    assert_eq!(format!("{read:?}"), "AccessToken(..)");

    for bad in
        ["", "short\n", "0123456789 abcdef\n", &"x".repeat(257), "0123456789abcdef\n0123456789abcdef\n"]
    {
        fs::write(&token, bad).unwrap();
        let error = check(&file, None).unwrap_err();
        assert!(error.to_string().contains("it must be one line of"), "{bad:?}: {error}");
        assert!(!error.to_string().contains("cdef"), "{error}");
    }
}

#[test]
fn what_is_unknown_of_the_wrong_type_and_out_of_range_is_told_together() {
    let text = "top = 1\n[mesh]\nttl = 99\nTTL = 1\n[sim]\nseed = true\nnodes = 'x'\nspeed = 2.0\n[[peer]]\nname = 3\naddress = 'x'\n\
        [zzzzzzzzz]\na = 1\n[radios]\n";
    let told = problems(text, with_data_dir());
    let begins: Vec<&str> = told
        .iter()
        .map(|problem| problem.strip_prefix("/etc/mesh/mesh-gateway.toml:").unwrap_or(problem))
        .collect();
    let lines: Vec<&str> = begins.iter().filter_map(|problem| problem.split(':').next()).collect();
    assert_eq!(lines, ["1", "3", "4", "6", "7", "10", "12", "14"], "{told:#?}");
    let has =
        |part: &str| assert!(told.iter().any(|problem| problem.contains(part)), "no {part:?} in {told:#?}");
    has("did you mean `[radio]`?");
    // Nothing is like it, so that all there is is named.
    has(
        "unknown section `[zzzzzzzzz]`; there are `[agents]`, `[gateway]`, `[mesh]`, `[peer]`, `[radio]`, `[sim]`",
    );
    for wrong in [
        "peer = [1]",
        "mesh = 3",
        "[mesh.ttl]\nx = 1",
        "[peer]\nx = 1",
        "[[mesh]]\nttl = 1",
        "peer = [{name = {x = 1}}]",
    ] {
        assert!(!problems(wrong, with_data_dir()).is_empty(), "{wrong}");
    }
}
