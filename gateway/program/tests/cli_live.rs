//! The command line with a gateway that runs: the program twice, as daemon and as client.
#![cfg(feature = "sim")]

mod common;

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use common::signal;
use serde_json::{Value, json};

/// How often a state that must come is asked for. Each attempt starts a process, so this is some seconds.
const ATTEMPTS: usize = 1_000;

/// A gateway on a small simulated air. It is killed when dropped.
struct Daemon {
    child: Child,
    dir: PathBuf,
}

impl Daemon {
    /// Starts it on this data directory and waits until it says that it is ready.
    fn start(dir: &Path) -> Self {
        let (child, _) = common::program(dir, "5");
        Self { child, dir: dir.to_owned() }
    }

    /// The program as a client of this gateway.
    fn client(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mesh-gateway"));
        let gateway = format!("unix:{}", self.dir.join("agents.sock").display());
        command.args(arguments).env("MESH_GATEWAY", gateway).env_remove("MESH_GATEWAY_TOKEN_FILE");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.client(arguments).output().unwrap()
    }

    /// What a client that must succeed printed as JSON.
    #[track_caller]
    fn ask(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Starts `listen` and waits until its agent is there.
    fn listen(&self, name: &str, more: &[&str]) -> Child {
        let child = self.client(&[&["listen", "--as", name], more].concat()).spawn().unwrap();
        let here = |agent: &Value| agent["name"] == json!(name) && agent["connected"] == json!(true);
        let come =
            (0..ATTEMPTS).any(|_| self.ask(&["agents"])["agents"].as_array().unwrap().iter().any(here));
        assert!(come, "{name} did not come");
        child
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
#[expect(clippy::too_many_lines, reason = "one story, command by command")]
fn messages_queries_and_reports_go_over_the_command_line() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(dir.path());

    let bob = daemon.listen("bob", &["--count", "3"]);
    let accepted = daemon.ask(&["send", "--as", "alice", "--to", "bob", "hello"]);
    assert_eq!((&accepted["ev"], &accepted["durable"]), (&json!("accepted"), &json!(true)));
    let receipt = daemon.ask(&[
        "send",
        "--as",
        "alice",
        "--to",
        "bob",
        "--type",
        "task",
        "--priority",
        "High",
        "--wait",
        "a\nb",
    ]);
    assert_eq!((&receipt["outcome"], &receipt["hops"]), (&json!("delivered"), &json!(0)));
    let plain = daemon.run(&["send", "--as", "alice", "--to", "bob", "--no-durable", "--", "-3"]);
    assert!(text(&plain.stdout).starts_with("0x0001/"), "{plain:?}");
    let heard = bob.wait_with_output().unwrap();
    assert_eq!(heard.status.code(), Some(0));
    assert_eq!(
        text(&heard.stdout),
        "alice@0x0001 NOTIFICATION MEDIUM hello\nalice@0x0001 TASK HIGH a\\nb\nalice@0x0001 NOTIFICATION MEDIUM -3\n"
    );
    // What was printed was acknowledged.
    let status = daemon.ask(&["status"]);
    assert_eq!((&status["health"], &status["inbox"]), (&json!("ok"), &json!(0)));

    let answer = daemon.run(&["query", "--to", "echo", "are you there?"]);
    assert_eq!((answer.status.code(), text(&answer.stdout)), (Some(0), "are you there?\n"), "{answer:?}");
    // What comes from others neither drives the terminal nor forges a line; who wants the bytes asks for them.
    let wild = "a\u{1b}[2J\nmesh-gateway: all is well\u{9b}1m\u{202e}x";
    let shown = daemon.run(&["query", "--to", "echo", wild]);
    assert_eq!(text(&shown.stdout), "a\\u{1b}[2J\\nmesh-gateway: all is well\\u{9b}1m\\u{202e}x\n");
    assert_eq!(text(&daemon.run(&["query", "--raw", "--to", "echo", wild]).stdout), wild);
    let shown = daemon.run(&["query", "--json", "--to", "echo", wild]);
    assert!(!text(&shown.stdout).contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{shown:?}");
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["text"], json!(wild), "it is escaped and nothing else");

    // A refusal keeps its code, its hint and its field on the way through the command.
    let refused = daemon.run(&["send", "--json", "--to", "zed@0x0001", "hello?"]);
    let refused: Value = serde_json::from_slice(&refused.stderr).unwrap();
    assert_eq!(
        (&refused["error"]["code"], &refused["error"]["field"]),
        (&json!("unknown_receiver"), &json!("to"))
    );
    assert_eq!(refused["error"]["hint"], json!("`mesh-gateway agents` lists those that have"));
    let silly = daemon.run(&["routes", "add", "0x0005", "--via", "0x0005"]);
    assert_eq!(silly.status.code(), Some(1));
    assert!(text(&silly.stderr).contains("it begins where it ends"), "{silly:?}");
    let dead = daemon.run(&["peers", "add", "dead", "192.0.2.1:7700"]);
    assert!(dead.status.success() && !text(&dead.stdout).contains("is connected"), "{dead:?}");
    assert!(text(&dead.stdout).contains("shows whether it answers"), "{dead:?}");
    assert!(daemon.run(&["peers", "remove", "dead"]).status.success());

    let lost = daemon.run(&["query", "--to", "nobody", "--timeout", "1ms", "are you there?"]);
    assert_eq!((lost.status.code(), text(&lost.stdout)), (Some(1), ""));
    assert!(text(&lost.stderr).starts_with("mesh-gateway: asking nobody: no answer"), "{lost:?}");

    // Nothing is left of commands that came without a name.
    let waited = daemon.run(&["send", "--to", "bob", "--wait", "goodbye"]);
    assert_eq!(waited.status.code(), Some(0), "{waited:?}");
    daemon.ask(&["send", "--to", "bob", "goodbye"]);
    let refused = daemon.run(&["send", "--to", "zed@0x0001", "--wait", "goodbye"]);
    assert!(text(&refused.stderr).contains("no agent zed"), "{refused:?}");
    let here = |agent: &&Value| agent["local"] == json!(true);
    let names = || {
        let agents = daemon.ask(&["agents"])["agents"].as_array().unwrap().clone();
        agents.iter().filter(here).map(|agent| agent["name"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(), [json!("alice"), json!("bob")]);
    let forgotten = daemon.run(&["agents", "forget", "bob"]);
    assert_eq!(text(&forgotten.stdout), "bob is forgotten, with what waited for it\n", "{forgotten:?}");
    assert_eq!(names(), [json!("alice")]);

    let tables = [("peers", "NODE"), ("routes", "TO"), ("agents", "AGENT"), ("status", "health")];
    for (command, start) in tables {
        let shown = daemon.run(&[command]);
        assert!(shown.status.success() && text(&shown.stdout).starts_with(start), "{shown:?}");
    }
    assert!(daemon.ask(&["peers"])["peers"].is_array() && daemon.ask(&["routes"])["routes"].is_array());

    // The subscription follows the hello, so the first messages may go by.
    let mut cook = daemon.listen("cook", &["--group", "kitchen", "--count", "1", "--json"]);
    let heard = (0..ATTEMPTS).any(|_| {
        daemon.ask(&["send", "--as", "alice", "--to", "group:kitchen", "soup"]);
        cook.try_wait().unwrap().is_some()
    });
    assert!(heard);
    let heard: Value = serde_json::from_slice(&cook.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(
        (&heard["ev"], &heard["to"], &heard["text"]),
        (&json!("message"), &json!("group:kitchen"), &json!("soup"))
    );

    let idle = daemon.listen("idle", &[]);
    signal(&idle, "INT");
    assert_eq!(idle.wait_with_output().unwrap().status.code(), Some(0));
    signal(&daemon.child, "TERM");
    assert_eq!(daemon.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_receipt_of_a_message_to_everyone_says_how_many_nodes_have_it() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path());
    // The devices are known and have routes back once they have said hello.
    let counted = (0..ATTEMPTS).find_map(|_| {
        let receipt = daemon.ask(&["send", "--as", "alice", "--to", "everyone", "--wait", "fire"]);
        assert_eq!(receipt["outcome"], json!("sent"));
        let detail = receipt.get("detail")?.clone();
        let known = detail["known"].as_u64().filter(|known| *known > 1)?;
        Some((detail["reached"].as_u64().unwrap(), known))
    });
    let (reached, known) = counted.unwrap();
    // Beside the gateway there are five devices.
    assert!((1..=known).contains(&reached) && known <= 5, "{reached} of {known}");
    let said = daemon.run(&["send", "--as", "alice", "--to", "everyone", "--wait", "it is out"]);
    let said = text(&said.stdout);
    assert!(said.contains(" sent at 0x0001; reached at least ") && said.contains(" known node"), "{said}");

    let receipt = daemon.ask(&["send", "--as", "alice", "--to", "group:nobody", "--wait", "soup"]);
    assert_eq!((&receipt["outcome"], receipt.get("detail")), (&json!("sent"), None));
}

#[test]
fn a_send_that_waits_outlives_a_killed_gateway() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path());
    let mut send =
        daemon.client(&["send", "--to", "nobody", "--deadline", "4s", "--wait", "hello"]).spawn().unwrap();
    let mut told = BufReader::new(send.stderr.take().unwrap());
    let mut accepted = String::new();
    told.read_line(&mut accepted).unwrap();
    let id =
        accepted.strip_prefix("mesh-gateway: accepted as ").unwrap().split(';').next().unwrap().to_owned();
    daemon.kill();

    let _daemon = Daemon::start(dir.path());
    let mut rest = String::new();
    told.read_to_string(&mut rest).unwrap();
    let output = send.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{rest}");
    // Nobody answered, and the gateway that tells it cannot know what the one before had sent.
    assert!(text(&output.stdout).starts_with(&format!("{id} unknown at 0x0001")), "{output:?} {rest}");
    assert!(rest.contains(&format!("{id} is kept there, connecting again")), "{rest}");
}

#[test]
fn the_simulated_air_does_not_touch_the_records_of_the_network_that_was_made_here() {
    let dir = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_mesh-gateway")).args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    run(&["init", "--data-dir", dir.path().to_str().unwrap()]);
    let store = || std::fs::read(dir.path().join("gateway.redb")).unwrap();
    let before = store();
    let mut daemon = Daemon::start(dir.path());
    daemon.ask(&["query", "--to", "echo", "hello"]);
    signal(&daemon.child, "TERM");
    assert_eq!(daemon.child.wait().unwrap().code(), Some(0));
    assert!(before == store(), "or the network's SEQs would be lost, and with them the network");
}

#[test]
fn a_question_is_written_to_disk_only_where_durable_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path());
    let written = |how: &[&str]| {
        let commits = || daemon.ask(&["status"])["store"]["commits"].as_u64().unwrap();
        let before = commits();
        for _ in 0..10 {
            daemon.ask(&[&["query", "--to", "echo", "hello"], how].concat());
        }
        commits() - before
    };
    // Sequence numbers are reserved in blocks, small at first.
    written(&[]);
    let (fleeting, durable) = (written(&[]), written(&["--durable"]));
    assert!(fleeting < 5, "{fleeting} commits for ten questions");
    assert!(durable >= 10, "{durable} commits for ten durable questions");
}

#[test]
fn a_device_that_keeps_no_contexts_is_told_the_names_again_and_soon_always() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path());
    for n in 0..6 {
        let question = n.to_string();
        let answer = daemon.run(&["query", "--as", "asker", "--to", "echo", &question]);
        assert_eq!(text(&answer.stdout), format!("{n}\n"), "{answer:?}");
    }
    assert_eq!(daemon.ask(&["status"])["counters"]["messages_said_in_full"], json!(2));
}

#[test]
fn a_listener_goes_on_where_it_was_after_the_gateway_was_killed() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path());
    let mut bob = daemon.listen("bob", &["--count", "2"]);
    let mut heard = BufReader::new(bob.stdout.take().unwrap());
    daemon.ask(&["send", "--as", "alice", "--to", "bob", "one"]);
    let mut line = String::new();
    heard.read_line(&mut line).unwrap();
    assert_eq!(line, "alice@0x0001 NOTIFICATION MEDIUM one\n");
    daemon.kill();

    let daemon = Daemon::start(dir.path());
    daemon.ask(&["send", "--as", "alice", "--to", "bob", "two"]);
    let mut rest = String::new();
    heard.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "alice@0x0001 NOTIFICATION MEDIUM two\n");
    assert_eq!(bob.wait().unwrap().code(), Some(0));
}

#[test]
fn a_gateway_that_is_told_to_call_itself_says_that_it_is_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (child, ready) = common::program(dir.path(), "1");
    let daemon = Daemon { child, dir: dir.path().to_owned() };
    let own = ready["tcp"].as_str().unwrap();
    assert!(daemon.run(&["peers", "add", "me", own]).status.success());
    let why =
        (0..ATTEMPTS).find_map(|_| daemon.ask(&["peers"])["links"][0]["why"].as_str().map(str::to_owned));
    let why = why.expect("it is tried at once");
    assert!(why.contains("this gateway itself") && !why.contains("lease"), "{why}");
}

#[test]
fn why_ping_and_trace_tell_of_the_way_to_a_device() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path());
    daemon.ask(&["query", "--to", "echo", "hello"]);
    let receipt = daemon.ask(&["send", "--to", "echo", "--wait", "hello"]);
    assert_eq!(receipt["outcome"], json!("delivered"));
    let (id, node) = (receipt["id"].as_str().unwrap(), receipt["where"].as_str().unwrap());

    let story = daemon.ask(&["why", id]);
    let steps = story["steps"].as_array().unwrap();
    assert_eq!((&steps[0]["what"], &steps[1]["what"]), (&json!("accepted"), &json!("stored")));
    let end = steps.last().unwrap();
    assert_eq!((&end["what"], &end["outcome"]), (&json!("ended"), &json!("delivered")));
    assert!(steps.iter().any(|step| step["what"] == "sent" || step["what"] == "flooded"), "{story}");
    let shown = daemon.run(&["why", id]);
    assert!(
        text(&shown.stdout).starts_with(&format!("{id}\n    AFTER  WHAT\n  0.000 s  accepted\n")),
        "{shown:?}"
    );
    assert!(text(&shown.stdout).ends_with(" s  ended: delivered\n"), "{shown:?}");
    let unknown = daemon.run(&["why", "0x0001/4000000"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown.stderr).contains("nothing is known of it"), "{unknown:?}");

    // A ping is sent once, and may be lost; its agent's name means the node.
    let pinged = (0..20).map(|_| daemon.run(&["ping", "echo", "--count", "1", "--json"]));
    let pinged = pinged.into_iter().find(|pinged| pinged.status.success()).expect("one in twenty arrives");
    let pinged: Value = serde_json::from_slice(&pinged.stdout).unwrap();
    assert_eq!(
        (&pinged["node"], &pinged["asked"], &pinged["answered"]),
        (&json!(node), &json!(1), &json!(1))
    );
    let traced = (0..20).map(|_| daemon.run(&["trace", node, "--json"]));
    let traced = traced.into_iter().find(|traced| traced.status.success()).expect("one in twenty arrives");
    let traced: Value = serde_json::from_slice(&traced.stdout).unwrap();
    let hops = traced["hops"].as_array().unwrap();
    assert_eq!(
        (&traced["reached"], &hops[0]["node"], &hops[0]["hop"]),
        (&json!(true), &json!("0x0001"), &json!(0))
    );
    assert_eq!(hops.last().unwrap()["node"], json!(node));

    for (asked, wrong) in [("0x0001", "it is not another node"), ("nobody", "no agent nobody is known here")]
    {
        let refused = daemon.run(&["ping", asked, "--count", "1"]);
        assert_eq!(refused.status.code(), Some(1));
        assert!(text(&refused.stderr).contains(wrong), "{refused:?}");
    }
    // Nobody is there: what came of it is on standard output all the same.
    let silent = daemon.run(&["ping", "0x7000", "--count", "1", "--timeout", "200ms"]);
    assert_eq!(
        text(&silent.stdout),
        "0x7000 did not answer within 200ms\n1 asked, none answered\n",
        "{silent:?}"
    );
    assert!(silent.status.code() == Some(1) && text(&silent.stderr).contains("mesh-gateway trace 0x7000"));
}
