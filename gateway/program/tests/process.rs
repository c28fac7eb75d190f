//! The gateway as a process among others: what becomes of its log, its signals and its limits.
#![cfg(feature = "sim")]

mod common;

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, PipeReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use common::{gateway_command, name, signal, start};
use mesh_agent::api::{Hello, Outcome, SendRequest};
use mesh_agent::{Client, Endpoint, MessageType};

/// What a pipe of Linux holds.
const PIPE: usize = 64 * 1024;
/// How often a state that must come is asked for.
const ATTEMPTS: usize = 10_000;

/// A gateway that is killed when dropped.
struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> Self {
        Self(start(command.stdout(Stdio::piped())).0)
    }

    /// Whether it ended in order after this signal.
    fn ends_in_order(mut self, by: &str) -> bool {
        signal(&self.0, by);
        self.0.wait().unwrap().code() == Some(0)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn connect(dir: &Path) -> Client {
    let endpoint = Endpoint::Unix(dir.join("agents.sock"));
    Client::connect(&endpoint, Hello::new(name("alice"))).await.unwrap()
}

/// Sends itself a message through the gateway in `dir`.
async fn is_served(dir: &Path) {
    let client = connect(dir).await;
    let send = SendRequest::new("alice".parse().unwrap(), MessageType::Task, "hello");
    let pending = client.handle().send(send).await.unwrap();
    assert_eq!(pending.receipt().await.unwrap().outcome, Outcome::Delivered);
}

/// A counter of the gateway in `dir`, once it is more than nothing. Each attempt is a connection, of which lines are logged.
async fn counter(dir: &Path, counter: &str) -> u64 {
    for _ in 0..ATTEMPTS {
        let count = connect(dir).await.handle().status().await.unwrap().counters[counter];
        if count > 0 {
            return count;
        }
    }
    0
}

/// Serves until so much is logged that lines are dropped, then ends in order.
async fn serves_with(standard_error: impl Into<Stdio>) {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(gateway_command(dir.path(), "5", "trace").stderr(standard_error));
    is_served(dir.path()).await;
    assert!(counter(dir.path(), "log_dropped").await > 0);
    is_served(dir.path()).await;
    assert!(process.ends_in_order("TERM"));
}

fn full_pipe() -> (PipeReader, std::io::PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(&[b'\n'; PIPE]).unwrap();
    (reader, writer)
}

#[tokio::test]
async fn a_full_disk_under_the_log_ends_nothing() {
    serves_with(OpenOptions::new().write(true).open("/dev/full").unwrap()).await;
}

#[tokio::test]
async fn a_log_that_nobody_reads_holds_nothing_up() {
    let (_reader, writer) = full_pipe();
    serves_with(writer).await;
}

#[tokio::test]
async fn a_log_whose_reader_has_gone_ends_nothing() {
    let (_, writer) = std::io::pipe().unwrap();
    serves_with(writer).await;
}

/// As PowerShell's `>` and some editors write files.
#[test]
fn a_byte_order_mark_in_a_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    let path = file.to_str().unwrap();
    let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    for text in ["mesh1:abc", "000102030405060708090a0b0c0d0e0f", "0123456789abcdef"] {
        let marked = format!("\u{FEFF}{text}\n");
        for (bytes, named) in [(marked.clone().into_bytes(), "byte order mark"), (wide(&marked), "UTF-16")] {
            fs::write(&file, bytes).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
            let data_dir = dir.path().join("data");
            let arguments: Vec<&str> = match text.len() {
                9 => vec!["init", "--data-dir", data_dir.to_str().unwrap(), "--invite", path],
                32 => vec!["frame", "decode", "--net-key-file", path, "--epoch", "1", "00"],
                _ => vec!["status", "--token-file", path],
            };
            let output = Command::new(env!("CARGO_BIN_EXE_mesh-gateway")).args(&arguments).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(said.contains(named) && !output.status.success(), "{arguments:?}: {said}");
        }
    }
}

#[test]
fn a_byte_order_mark_in_a_file_of_the_data_directory_is_named_or_taken() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mesh-gateway"));
        let output = command.args(arguments).arg("--data-dir").arg(&data_dir).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (made, said) = run(&["init"]);
    assert!(made, "{said}");
    let (added, said) = run(&["token", "add", "phone"]);
    assert!(added, "{said}");
    let of_files: [(&str, &[&str]); 3] = [
        ("mesh-gateway.toml", &["config", "check"]),
        ("tokens.toml", &["token", "list"]),
        ("network.toml", &["invite", "hut"]),
    ];
    for (file, arguments) in of_files {
        let path = data_dir.join(file);
        let marked = format!("\u{FEFF}{}", fs::read_to_string(&path).unwrap());
        fs::write(&path, marked.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>()).unwrap();
        let (done, said) = run(arguments);
        assert!(!done && said.contains("UTF-16"), "{file}: {said}");
        // TOML has it that a mark of UTF-8 is no part of the text.
        fs::write(&path, marked).unwrap();
        let (done, said) = run(arguments);
        assert!(done, "{file}: {said}");
    }
}

/// What a gateway that was told to listen at `at` says: where it does, or what is wrong.
fn listening(at: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let arguments =
        ["--adapter", "sim", "--sim-nodes", "1", "--log-level", "error", "--json", "--listen", at];
    let mut command = Command::new(env!("CARGO_BIN_EXE_mesh-gateway"));
    command.args(arguments).arg("--data-dir").arg(dir.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = Process(command.spawn().unwrap());
    let mut line = String::new();
    BufReader::new(child.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    if line.is_empty() {
        child.0.stderr.take().unwrap().read_to_string(&mut line).unwrap();
    }
    line
}

#[test]
fn a_gateway_listens_at_a_name_or_says_what_to_write() {
    assert!(listening("localhost:0").contains("\"tcp\":\"127.0.0.1:"));
    assert!(listening("[::1]:0").contains("\"tcp\":\"[::1]:"));
    for wrong in ["localhost", ":7700", "no-such-host.invalid:7700", "127.0.0.1:70000"] {
        let said = listening(wrong);
        assert!(said.contains("127.0.0.1:7700"), "{wrong}: {said}");
    }
    // Understood, with its interface; others could reach it, so it needs a token.
    assert!(listening("[fe80::1%lo]:7700").contains("access token"));
}

#[tokio::test]
async fn an_adapter_that_is_missing_at_the_start_ends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let program = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mesh-gateway"));
        command.stderr(Stdio::null()).env("MESH_GATEWAY_DATA_DIR", dir.path());
        command
    };
    assert!(
        program().args(["init", "--network", "farm", "--name", "barn"]).output().unwrap().status.success()
    );
    // Nobody listens there, as nobody can: it needs root.
    let process =
        Process::start(program().args(["--adapter", "tcp:127.0.0.1:1", "--listen", "127.0.0.1:0", "--json"]));
    is_served(dir.path()).await;
    let health = connect(dir.path()).await.handle().status().await.unwrap().health;
    assert!(health.problems.iter().any(|problem| problem.starts_with("the radio is away: ")), "{health:?}");
    assert!(process.ends_in_order("TERM"));
}

#[test]
fn an_error_at_the_end_is_said_or_not_but_the_process_ends() {
    let dir = tempfile::tempdir().unwrap();
    let first = Process::start(&mut gateway_command(dir.path(), "1", "error"));
    // The data directory is in use; nobody reads why.
    let (_reader, writer) = full_pipe();
    let mut second = gateway_command(dir.path(), "1", "trace");
    assert_eq!(second.stderr(writer).stdout(Stdio::null()).status().unwrap().code(), Some(1));
    assert!(first.ends_in_order("TERM"));
}

#[tokio::test]
async fn nobody_has_to_read_that_it_is_ready() {
    let dir = tempfile::tempdir().unwrap();
    let (_reader, writer) = full_pipe();
    let mut process = Process(gateway_command(dir.path(), "1", "error").stdout(writer).spawn().unwrap());
    while !dir.path().join("agents.sock").exists() {
        assert_eq!(process.0.try_wait().unwrap(), None, "it ended");
        tokio::task::yield_now().await;
    }
    is_served(dir.path()).await;
    assert!(process.ends_in_order("TERM"));
}

/// Of 5,623 gateways that were told to stop as soon as they said that they were ready, 3,516 died without a goodbye.
#[test]
fn a_signal_just_after_ready_is_an_orderly_stop() {
    for _ in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let process = Process::start(&mut gateway_command(dir.path(), "1", "error"));
        assert!(process.ends_in_order("TERM"));
        assert!(!dir.path().join("agents.sock").exists());
    }
}

#[test]
fn a_signal_while_it_starts_is_an_orderly_stop_or_none_was_begun() {
    for _ in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let mut child = gateway_command(dir.path(), "1", "error").stdout(Stdio::null()).spawn().unwrap();
        // Its lock is the first thing that it takes.
        while !dir.path().join("gateway.lock").exists() {
            std::thread::yield_now();
        }
        signal(&child, "TERM");
        let ended = child.wait().unwrap();
        assert_eq!((ended.code(), ended.signal()), (Some(0), None));
    }
}

#[tokio::test]
async fn signals_that_mean_nothing_end_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(gateway_command(dir.path(), "1", "error").arg("--audit"));
    is_served(dir.path()).await;
    for deaf in ["USR1", "USR2", "ALRM", "VTALRM", "PROF", "IO", "STKFLT", "XFSZ", "PIPE", "34", "64"] {
        signal(&process.0, deaf);
        is_served(dir.path()).await;
    }
    let log = dir.path().join("audit.log");
    fs::rename(&log, dir.path().join("audit.old")).unwrap();
    signal(&process.0, "HUP");
    for _ in 0..ATTEMPTS {
        if log.exists() {
            break;
        }
        connect(dir.path()).await;
    }
    assert!(log.exists());
    assert!(process.ends_in_order("QUIT"));
}

#[tokio::test]
async fn a_file_that_may_not_grow_is_an_error_and_not_the_end() {
    let dir = tempfile::tempdir().unwrap();
    // At the limit already: the next byte is too much.
    let limit = 4 << 20;
    File::create(dir.path().join("audit.log")).unwrap().set_len(limit).unwrap();
    let gateway = gateway_command(dir.path(), "1", "error");
    let mut limited = Command::new("sh");
    // In blocks of 512 bytes.
    limited.args(["-c", &format!("ulimit -f {}; exec \"$@\" --audit", limit / 512), "sh"]);
    limited.arg(gateway.get_program()).args(gateway.get_args()).stderr(Stdio::null());
    let process = Process::start(&mut limited);
    is_served(dir.path()).await;
    assert!(counter(dir.path(), "audit_dropped").await > 0);
    assert!(process.ends_in_order("TERM"));
}
