//! Access for agents as an operator has it: tokens by the command, a gateway that goes by them, and the log of what was sent.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use common::{cable, name, plan};
use gateway::Gateway;
use gateway::access::{AUDIT_FILE, Audit};
use gateway::agents::TokenCheck;
use gateway::engine::Membership;
use mesh_agent::api::{Body, ErrorCode, Hello, SendRequest, Token};
use mesh_agent::{Client, ClientError, Endpoint};
use mesh_protocol::{MessageType, Priority};
use serde_json::{Value, json};

fn run(data_dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mesh-gateway"));
    command.arg("token").args(arguments).arg("--data-dir").arg(data_dir).output().unwrap()
}

fn good(data_dir: &Path, arguments: &[&str]) -> String {
    let output = run(data_dir, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn attach(gateway: &Gateway, agent: &str, token: &str) -> Result<Client, ClientError> {
    let mut hello = Hello::new(name(agent));
    hello.token = Some(Token::new(token));
    Client::connect(&Endpoint::from(gateway.tcp_address().unwrap()), hello).await
}

fn task(to: &str, text: &str) -> SendRequest {
    SendRequest::new(to.parse().unwrap(), MessageType::Task, Body::text(text))
}

/// Whether it is accepted.
async fn sends(client: &Client, request: SendRequest) -> bool {
    client.handle().send(request).await.unwrap().accepted().await.is_ok()
}

#[test]
fn a_token_is_shown_once_listed_with_its_limits_and_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("state");
    assert!(
        !run(&dir, &["add", "plain"]).status.success() && !dir.exists(),
        "a misspelt directory is not made"
    );
    fs::create_dir(&dir).unwrap();
    let limits = [
        "add",
        "sensor",
        "--as",
        "sensor-*",
        "--to",
        "bob",
        "--to",
        "node:0x0003",
        "--max-priority",
        "medium",
        "--rate",
        "5/s",
        "--max-body",
        "100",
        "--no-broadcast",
    ];
    let token = good(&dir, &limits);
    assert!(token.starts_with("mgt_") && token.trim().len() == 36 && token.lines().count() == 1, "{token}");
    let file = fs::read_to_string(dir.join("tokens.toml")).unwrap();
    assert!(!file.contains(token.trim()));
    assert_eq!(fs::metadata(dir.join("tokens.toml")).unwrap().permissions().mode() & 0o777, 0o600);

    let second: Value = serde_json::from_str(&good(&dir, &["add", "plain", "--json"])).unwrap();
    assert!(second["token"].as_str().unwrap().starts_with("mgt_"));
    let listed: Value = serde_json::from_str(&good(&dir, &["list", "--json"])).unwrap();
    let sensor = json!({
        "name": "sensor", "as": ["sensor-*"], "to": ["bob", "node:0x0003"], "max_priority": "MEDIUM", "rate": "5/s",
        "max_body": 100, "max_sessions": 68, "max_agents": 64, "max_groups": 16, "max_messages": 1000,
        "max_bytes": 4_194_304, "max_deadline_s": 3_600, "broadcast": false, "operator": false,
    });
    let plain = json!({ "name": "plain", "broadcast": true, "operator": false });
    assert_eq!(listed, json!({ "tokens": [sensor, plain] }));
    let shown = good(&dir, &["list"]);
    assert!(
        shown.contains("sensor  ever   sensor-*  MEDIUM    5/s   100   68        64      16      1000      4194304  3600s     no         no        bob,node:0x0003"),
        "{shown}"
    );

    // Limited in one way, it is in others too, and it is nobody else.
    let door: Value = serde_json::from_str(&good(
        &dir,
        &["add", "door", "--to", "bob", "--max-sessions", "1", "--max-deadline", "90s", "--json"],
    ))
    .unwrap();
    let told =
        ["as", "max_sessions", "max_agents", "max_messages", "max_deadline_s"].map(|key| door[key].clone());
    assert_eq!(told, [json!(["door"]), json!(1), json!(1), json!(1000), json!(90)]);
    let operator: Value =
        serde_json::from_str(&good(&dir, &["add", "op", "--operator", "--rate", "9/s", "--json"])).unwrap();
    assert!(operator["as"].is_null() && operator["max_sessions"].is_null(), "{operator}");

    // One for some time says until when; one whose time is over stays in the list, as what it is.
    let guest: Value =
        serde_json::from_str(&good(&dir, &["add", "guest", "--expires", "2999-12-31", "--json"])).unwrap();
    assert_eq!((&guest["expires"], &guest["expired"]), (&json!("2999-12-31T00:00:00Z"), &json!(false)));
    assert!(good(&dir, &["list"]).contains("guest   2999-12-31T00:00:00Z  *"), "{}", good(&dir, &["list"]));
    let file = fs::read_to_string(dir.join("tokens.toml")).unwrap();
    assert!(file.contains("expires = \"2999-12-31T00:00:00Z\""), "{file}");
    fs::write(dir.join("tokens.toml"), file.replace("2999-12-31T", "1999-12-31T")).unwrap();
    let listed: Value = serde_json::from_str(&good(&dir, &["list", "--json"])).unwrap();
    let guest = &listed["tokens"][4];
    assert_eq!((&guest["expires"], &guest["expired"]), (&json!("1999-12-31T00:00:00Z"), &json!(true)));
    assert!(good(&dir, &["list"]).contains("guest   expired  *"), "{}", good(&dir, &["list"]));

    good(&dir, &["remove", "sensor"]);
    for (wrong, code, said) in [
        (&["remove", "sensor"][..], 1, "there is none of that name"),
        (&["add", "plain"], 1, "there is one of that name"),
        (&["add", "x", "--no-broadcast", "--to", "group:*"], 2, "leave one of the two out"),
        (&["add", "x", "--rate", "5"], 2, "as in 5/s"),
        (&["add", "x", "--to", "a*b"], 2, "stands at the end"),
        (&["add", "x", "--expires", "soon"], 2, "as in 30d"),
        (&["add", "x", "--expires", "2001-01-01"], 2, "2001-01-01T00:00:00Z is over"),
    ] {
        let output = run(&dir, wrong);
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(code) && told.contains(said), "{wrong:?}: {told}");
    }
}

#[tokio::test]
async fn what_is_sent_and_what_is_refused_stands_in_the_audit_log() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let token = good(
        dir,
        &[
            "add",
            "sensor",
            "--as",
            "alice",
            "--as",
            "bob",
            "--to",
            "bob",
            "--to",
            "nobody@0x0001",
            "--max-priority",
            "MEDIUM",
        ],
    );
    let mut plan = plan(1, cable().0, dir, Membership::new([7; 16], 1, true));
    plan.listen.token = TokenCheck::open().with_tokens_of(dir).unwrap().with_audit(Audit::open(dir).unwrap());
    let gateway = Gateway::start(plan).await.unwrap();
    let refused = attach(&gateway, "alice", "mgt_wrong").await.unwrap_err();
    assert!(
        matches!(&refused, ClientError::Refused(error) if error.code == ErrorCode::Unauthorised),
        "{refused}"
    );

    let alice = attach(&gateway, "alice", token.trim()).await.unwrap();
    let bob = attach(&gateway, "bob", token.trim()).await.unwrap();
    let mut first = task("bob", "the body is nobody's business");
    first.key = Some(4711);
    assert!(sends(&alice, first.clone()).await);
    assert!(sends(&alice, first).await);
    let mut urgent = task("bob", "now!");
    urgent.priority = Priority::High;
    assert!(!sends(&alice, urgent).await);
    assert!(!sends(&alice, task("everyone", "hear, hear")).await);
    assert!(!sends(&alice, task("nobody@0x0001", "hello?")).await);
    // Asking needs no name that the token allows, and nobody's session ends for it.
    let endpoint = Endpoint::from(gateway.tcp_address().unwrap());
    let hello = Hello { token: Some(Token::new(token.trim())), ..Hello::unnamed() };
    let asking = Client::connect(&endpoint, hello).await.unwrap();
    assert_eq!(asking.handle().status().await.unwrap().agents.connected, 2);
    let status = bob.handle().status().await.unwrap();
    assert_eq!((status.counters["audit_dropped"], status.counters["agents_refused_limits"]), (0, 2));
    gateway.stop().await.unwrap();

    let text = fs::read_to_string(dir.join(AUDIT_FILE)).unwrap();
    assert!(!text.contains("business"), "{text}");
    let entries: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // Each says where its session comes from: one port for all of alice's, another one for who was not let in.
    let from: Vec<_> = entries.iter().map(|entry| entry["from"].as_str().unwrap()).collect();
    assert!(from[0].starts_with("127.0.0.1:") && from[1].starts_with("127.0.0.1:"), "{from:?}");
    assert!(from[0] != from[1] && from[1..].iter().all(|other| *other == from[1]), "{from:?}");
    let fields = ["agent", "token", "to", "priority", "bytes", "id", "again", "refused", "not_let_in"];
    let told = |entry: &Value| fields.map(|field| entry[field].to_string()).join(" ");
    let entries: Vec<_> = entries.iter().map(told).collect();
    assert_eq!(
        entries,
        [
            r#""alice" null null null null null null null "unauthorised""#,
            r#""alice" "sensor" "bob" "MEDIUM" 29 "0x0001/1" null null null"#,
            r#""alice" "sensor" "bob" "MEDIUM" 29 null "0x0001/1" null null"#,
            r#""alice" "sensor" "bob" "HIGH" 4 null null "unauthorised" null"#,
            r#""alice" "sensor" "everyone" "MEDIUM" 10 null null "unauthorised" null"#,
            r#""alice" "sensor" "nobody@0x0001" "MEDIUM" 6 null null "unknown_receiver" null"#,
        ]
    );
}
