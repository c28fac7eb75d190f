//! Tokens with limits, over real sockets: what their holders are told, and what happens when one is taken back.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use mesh_agent::api::Name;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::fake::{Gateway, Seen, name};
use super::tests::Lines;
use super::{Limits, TokenCheck};
use crate::access::{self, AUDIT_FILE, Audit, Calendar, Grant};

/// A gateway that goes by the tokens of this folder.
async fn gateway(dir: &Path) -> Gateway {
    Gateway::tcp(Limits::default(), TokenCheck::open().with_tokens_of(dir).unwrap()).await
}

/// A new token with these limits.
fn token(dir: &Path, name: &str, limits: impl FnOnce(Grant) -> Grant) -> String {
    let (secret, _) =
        access::add(dir, |sha256| limits(Grant::new(Name::new(name).unwrap(), sha256))).unwrap();
    secret.as_str().to_owned()
}

async fn attach(gateway: &Gateway, name: &str, token: &str) -> Lines<TcpStream> {
    let mut agent = Lines::to(gateway).await;
    agent.say(&json!({"op": "hello", "name": name, "token": token}).to_string()).await;
    assert_eq!(agent.hear().await.unwrap()["ev"], "welcome");
    agent
}

impl Lines<TcpStream> {
    /// Asks for this; code and message of what is refused, nothing for what is not.
    async fn is_told(&mut self, request: Value) -> Option<(String, String)> {
        self.say(&request.to_string()).await;
        let answer = self.hear().await.unwrap();
        if answer["ev"] == "accepted" {
            assert_eq!(self.hear().await.unwrap()["ev"], "receipt");
        }
        if answer["ev"] != "error" || answer["code"] == "unknown_receiver" {
            return None;
        }
        assert_eq!((&answer["fatal"], &answer["ref"]), (&json!(false), &request["ref"]), "{answer}");
        let text = |key: &str| answer[key].as_str().unwrap();
        Some((text("code").to_owned(), format!("{}; {}", text("message"), text("hint"))))
    }
}

fn send(to: &str, more: Value) -> Value {
    let mut send = json!({"op": "send", "ref": 5, "to": to, "type": "TASK", "text": "12345678"});
    for (key, value) in more.as_object().unwrap() {
        send[key] = value.clone();
    }
    send
}

#[tokio::test]
async fn each_limit_of_a_token_is_kept_and_the_session_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let gateway = gateway(dir).await;
    let all = token(dir, "all", |grant| grant);
    let limited = token(dir, "limited", |grant| Grant {
        names: vec!["sensor-*".parse().unwrap()],
        to: vec!["bob".parse().unwrap(), "group:*".parse().unwrap()],
        max_priority: Some(mesh_protocol::Priority::Medium),
        max_body: Some(8),
        broadcast: false,
        ..grant
    });
    let _bob = attach(&gateway, "bob", &all).await;
    let mut sensor = attach(&gateway, "sensor-1", &limited).await;
    assert_eq!(sensor.is_told(send("bob", json!({}))).await, None);
    for (request, what) in [
        (send("alice", json!({})), "write to bob, group:*"),
        (send("group:kitchen", json!({})), "nothing to many"),
        (send("everyone", json!({})), "nothing to many"),
        (send("bob", json!({"priority": "HIGH"})), "MEDIUM at the most"),
        (send("bob", json!({"text": "123456789"})), "bodies of 8 bytes"),
        (json!({"op": "route_remove", "ref": 6, "destination": "0x0002"}), "not an operator's"),
        (json!({"op": "link_remove", "ref": 7, "name": "cellar"}), "not an operator's"),
    ] {
        let (code, why) =
            sensor.is_told(request.clone()).await.unwrap_or_else(|| panic!("{request} was allowed"));
        assert!(code == "unauthorised" && why.contains(what), "{request}: {why}");
    }
    assert_eq!(sensor.is_told(send("bob", json!({}))).await, None, "what is allowed still is");
    assert_eq!(gateway.count("agents_refused_limits"), 7);

    let mut alice = Lines::to(&gateway).await;
    alice.say(&json!({"op": "hello", "name": "alice", "token": limited}).to_string()).await;
    assert!(alice.is_refused("unauthorised").await.contains("limited is for sensor-*"));
}

#[tokio::test]
async fn who_is_not_let_in_stands_in_the_audit_log() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let limited = token(dir, "limited", |grant| Grant { names: vec!["sensor-*".parse().unwrap()], ..grant });
    let audit = Audit::open(dir).unwrap();
    let check = TokenCheck::open().with_tokens_of(dir).unwrap().with_audit(audit.clone());
    let gateway = Gateway::tcp(Limits::default(), check).await;
    for hello in [
        json!({"op": "hello", "name": "mallory", "token": "a wrong one"}),
        json!({"op": "hello", "name": "nobody"}),
        json!({"op": "hello", "name": "alice", "token": limited}),
    ] {
        let mut agent = Lines::to(&gateway).await;
        agent.say(&hello.to_string()).await;
        agent.is_refused("unauthorised").await;
    }
    audit.finish();
    let text = std::fs::read_to_string(dir.join(AUDIT_FILE)).unwrap();
    let mut entries: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for entry in &mut entries {
        let entry = entry.as_object_mut().unwrap();
        let from: SocketAddr = entry.remove("from").unwrap().as_str().unwrap().parse().unwrap();
        assert!(from.ip().is_loopback() && from.port() != gateway.address().port(), "{from}");
        assert!(entry.remove("at_ms").is_some() && entry.remove("session").is_some());
    }
    let no = "unauthorised";
    assert_eq!(
        entries,
        [
            json!({"agent": "mallory", "not_let_in": no}),
            json!({"agent": "nobody", "not_let_in": no}),
            json!({"agent": "alice", "token": "limited", "not_let_in": no}),
        ]
    );
}

#[tokio::test]
async fn an_operators_token_may_change_routes() {
    let folder = tempfile::tempdir().unwrap();
    let operator = token(folder.path(), "operator", |grant| Grant { operator: true, ..grant });
    let gateway = gateway(folder.path()).await;
    let mut alice = attach(&gateway, "alice", &operator).await;
    assert_eq!(alice.is_told(json!({"op": "route_remove", "ref": 6, "destination": "0x0002"})).await, None);
}

#[tokio::test]
async fn over_its_rate_a_token_is_busy_in_all_its_sessions() {
    let folder = tempfile::tempdir().unwrap();
    // Slow enough that no test takes as long as one message's share.
    let slow = token(folder.path(), "slow", |grant| Grant { rate: Some("2/h".parse().unwrap()), ..grant });
    let gateway = gateway(folder.path()).await;
    let mut first = attach(&gateway, "first", &slow).await;
    let mut second = attach(&gateway, "second", &slow).await;
    assert_eq!(first.is_told(send("nobody", json!({}))).await, None);
    assert_eq!(second.is_told(send("nobody", json!({}))).await, None);
    for agent in [&mut first, &mut second] {
        let (code, why) = agent.is_told(send("nobody", json!({}))).await.unwrap();
        assert!(code == "busy" && why.contains("allows 2/h messages; send it again in "), "{why}");
    }
    // Nor are there more questions that cost air.
    for op in ["ping_node", "trace_node"] {
        let (code, why) = first.is_told(json!({"op": op, "ref": 5, "node": "0x0002"})).await.unwrap();
        assert!(code == "busy" && why.contains("allows 2/h messages; ask again in "), "{why}");
    }
    // Others are counted by themselves, so that who may not send can still see why.
    for op in ["ping", "status"] {
        first.say(&json!({"op": op, "ref": 1}).to_string()).await;
        assert_ne!(first.hear().await.unwrap()["ev"], "error", "{op}");
    }
}

#[tokio::test]
async fn a_token_that_is_taken_back_ends_its_sessions_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let mut gateway = gateway(dir).await;
    let (good, bad) = (token(dir, "good", |grant| grant), token(dir, "bad", |grant| grant));
    let mut alice = attach(&gateway, "alice", &good).await;
    // One that only listens.
    let mut mallory = attach(&gateway, "mallory", &bad).await;
    access::remove(dir, &name("bad"), false).unwrap();
    assert!(mallory.is_refused("unauthorised").await.contains("bad was taken back"));
    gateway.until(Seen::Detach(name("mallory"))).await;
    let mut again = Lines::to(&gateway).await;
    again.say(&json!({"op": "hello", "name": "mallory", "token": bad}).to_string()).await;
    assert!(again.is_refused("unauthorised").await.contains("is wrong"));
    alice.say(r#"{"op":"ping","ref":1}"#).await;
    assert_eq!(alice.hear().await, Some(json!({"ev": "pong", "ref": 1})));
    assert_eq!(gateway.count("agents_taken_back"), 1);
}

#[tokio::test]
async fn a_token_that_expires_ends_its_sessions_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let over = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&over);
    let expires: access::Expiry = "2027-01-31T00:00:00Z".parse().unwrap();
    // The last second before it, and the one.
    let (before, after) = (1_801_353_599, 1_801_353_600);
    let calendar = Calendar::new(move || {
        let seconds = if told.load(Ordering::Relaxed) { after } else { before };
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    });
    let audit = Audit::open(dir).unwrap();
    let check = TokenCheck::open().with_tokens_until(dir, calendar).unwrap().with_audit(audit.clone());
    let mut gateway = Gateway::tcp(Limits::default(), check).await;
    let good = token(dir, "good", |grant| grant);
    let guest = token(dir, "guest", |grant| Grant { expires: Some(expires), ..grant });
    let mut alice = attach(&gateway, "alice", &good).await;
    // One that only listens, and one that asks at that very moment.
    let mut listens = attach(&gateway, "listens", &guest).await;
    let mut asks = attach(&gateway, "asks", &guest).await;
    over.store(true, Ordering::Relaxed);
    asks.say(r#"{"op":"ping","ref":1}"#).await;
    for agent in [&mut asks, &mut listens] {
        let why = agent.is_refused("token_expired").await;
        assert!(why.contains("guest has expired, at 2027-01-31T00:00:00Z"), "{why}");
    }
    gateway.until(Seen::Detach(name("listens"))).await;
    let mut again = Lines::to(&gateway).await;
    again.say(&json!({"op": "hello", "name": "late", "token": guest}).to_string()).await;
    again.is_refused("token_expired").await;
    alice.say(r#"{"op":"ping","ref":1}"#).await;
    assert_eq!(alice.hear().await, Some(json!({"ev": "pong", "ref": 1})));
    assert_eq!(gateway.count("agents_expired"), 3);
    audit.finish();
    let text = std::fs::read_to_string(dir.join(AUDIT_FILE)).unwrap();
    let entry: Value = serde_json::from_str(text.trim()).unwrap();
    let fields = ["agent", "token", "not_let_in"].map(|field| &entry[field]);
    assert_eq!(fields, ["late", "guest", "token_expired"], "{text}");
}

#[tokio::test]
async fn silent_connections_make_way_and_keep_no_agent_out() {
    let limits = Limits { connections: 8, unauthenticated: 4, ..Limits::default() };
    let mut gateway = Gateway::tcp(limits, TokenCheck::open()).await;
    let mut alice = Lines::to(&gateway).await;
    alice.hello("alice").await;
    let mut silent = Vec::new();
    // Far more than there is room for, each held open.
    for _ in 0..100 {
        silent.push(Lines::to(&gateway).await);
    }
    // The oldest are closed; the agent that came before and the one that comes now are served.
    let mut bob = Lines::to(&gateway).await;
    bob.hello("bob").await;
    gateway.until(Seen::Attach(name("bob"))).await;
    for first in &mut silent[..90] {
        assert_eq!(first.hear_end().await, None);
    }
    alice.say(r#"{"op":"ping","ref":1}"#).await;
    assert_eq!(alice.hear().await, Some(json!({"ev": "pong", "ref": 1})));
    assert!(gateway.count("agents_refused_crowd") >= 90);
}
