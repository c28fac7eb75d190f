//! Real sockets, a small engine: what agents see when they keep the rules and when they do not.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use mesh_agent::api::codec::{Codec, encode};
use mesh_agent::api::{Hello, Request};
use mesh_protocol::Rng;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UnixStream};

use super::fake::{Gateway, Seen, name};
use super::{Limits, Listen, ListenError, Listener, QueueBound, TokenCheck};
use crate::settings::AccessToken;

/// What `nc` is to a person: lines out, lines in.
pub(super) struct Lines<S>(BufReader<S>);

impl Lines<TcpStream> {
    pub(super) async fn to(gateway: &Gateway) -> Self {
        Self(BufReader::new(TcpStream::connect(gateway.address()).await.unwrap()))
    }
}

impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin> Lines<S> {
    pub(super) async fn say(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
        self.0.write_all(b"\n").await.unwrap();
    }

    /// The next event; `None` when the gateway has closed.
    pub(super) async fn hear(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.0.read_line(&mut line).await {
            Ok(0) => None,
            Ok(_) => Some(serde_json::from_str(&line).unwrap()),
            Err(why) => panic!("{why}"),
        }
    }

    /// The next event, if the gateway does not hang up instead.
    pub(super) async fn hear_end(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.0.read_line(&mut line).await {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(serde_json::from_str(&line).unwrap()),
        }
    }

    pub(super) async fn hello(&mut self, name: &str) -> Value {
        self.say(&json!({"op": "hello", "name": name}).to_string()).await;
        self.hear().await.unwrap()
    }

    /// The fatal error with this code, its goodbye, and the end.
    pub(super) async fn is_refused(&mut self, code: &str) -> String {
        let error = self.hear().await.unwrap();
        assert_eq!(
            (&error["ev"], &error["code"], &error["fatal"]),
            (&json!("error"), &json!(code), &json!(true))
        );
        assert_eq!(self.hear().await, Some(json!({"ev": "goodbye", "why": code})));
        assert_eq!(self.hear().await, None);
        error["message"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn two_people_with_nc_talk() {
    let mut gateway = Gateway::open().await;
    let mut alice = Lines::to(&gateway).await;
    assert_eq!(
        alice.hello("alice").await,
        json!({"ev": "welcome", "name": "alice", "gateway": "fake", "node": "0x0001", "session": 1,
               "resumed_from": 0, "credits": 256, "max_body": 65536})
    );
    let mut bob = Lines::to(&gateway).await;
    bob.hello("bob").await;
    alice.say(r#"{"op":"send","ref":1,"to":"bob","type":"TASK","priority":"HIGH","text":"wash up"}"#).await;
    assert_eq!(
        alice.hear().await.unwrap(),
        json!({"ev": "accepted", "ref": 1, "id": "0x0001/1", "durable": false, "at_us": 0})
    );
    assert_eq!(
        alice.hear().await.unwrap(),
        json!({"ev": "receipt", "ref": 1, "id": "0x0001/1", "outcome": "delivered", "where": "0x0001",
               "hops": 0, "at_us": 0})
    );
    assert_eq!(
        bob.hear().await.unwrap(),
        json!({"ev": "message", "cursor": 1, "id": "0x0001/1", "from": "alice@0x0001", "to": "bob", "type": "TASK",
               "priority": "HIGH", "hops": 0, "at_us": 0, "text": "wash up"})
    );
    bob.say(r#"{"op":"ack","cursor":1}"#).await;
    bob.say(r#"{"op":"bye"}"#).await;
    assert_eq!(bob.hear().await, Some(json!({"ev": "goodbye", "why": "bye"})));
    assert_eq!(bob.hear().await, None);
    gateway.until(Seen::Ack(name("bob"), 1)).await;
    gateway.until(Seen::Detach(name("bob"))).await;
    alice.say(r#"{"op":"send","ref":2,"to":"bob","type":"TASK","text":"still there?"}"#).await;
    let error = alice.hear().await.unwrap();
    assert_eq!(
        (&error["code"], &error["ref"], &error["fatal"]),
        (&json!("unknown_receiver"), &json!(2), &json!(false))
    );
}

#[tokio::test]
async fn half_closing_is_a_bye_that_still_gets_its_answers() {
    let mut gateway = Gateway::open().await;
    let mut alice = Lines::to(&gateway).await;
    alice.say("{\"op\":\"hello\",\"name\":\"alice\"}\n{\"op\":\"ping\",\"ref\":1}").await;
    alice.0.shutdown().await.unwrap();
    assert_eq!(alice.hear().await.unwrap()["ev"], "welcome");
    assert_eq!(alice.hear().await, Some(json!({"ev": "pong", "ref": 1})));
    assert_eq!(alice.hear().await.unwrap()["ev"], "goodbye");
    assert_eq!(alice.hear().await, None);
    gateway.until(Seen::Detach(name("alice"))).await;
}

#[tokio::test]
async fn a_mistake_is_named_and_the_session_goes_on() {
    let gateway = Gateway::open().await;
    let mut alice = Lines::to(&gateway).await;
    alice.hello("alice").await;
    let groups = vec!["g"; mesh_agent::api::MAX_GROUPS + 1];
    let table = [
        (json!({"op": "dance", "ref": 1}), "bad_request", json!(1)),
        (json!({"op": "ping", "ref": 2, "colour": "red"}), "bad_request", json!(2)),
        (json!({"op": "hello", "name": "alice"}), "bad_request", Value::Null),
        (json!({"op": "subscribe", "groups": groups}), "too_large", Value::Null),
        (json!({"op": "unsubscribe", "groups": groups}), "too_large", Value::Null),
        (
            json!({"op": "send", "ref": 3, "to": "alice", "type": "TASK", "text": "x".repeat(65_537)}),
            "too_large",
            json!(3),
        ),
        (json!("no object"), "bad_request", Value::Null),
    ];
    for (line, code, number) in &table {
        alice.say(&line.to_string()).await;
        let error = alice.hear().await.unwrap();
        assert_eq!(
            (&error["ev"], &error["code"], &error["ref"]),
            (&json!("error"), &json!(code), number),
            "{line}"
        );
        assert_eq!(error["fatal"], json!(false), "{line}");
    }
    alice.say(r#"{"op":"ping","ref":9}"#).await;
    assert_eq!(alice.hear().await, Some(json!({"ev": "pong", "ref": 9})));
    assert_eq!(gateway.count("agents_bad_requests"), table.len() as u64);
}

#[tokio::test]
async fn who_does_not_say_hello_first_is_sent_away() {
    let gateway = Gateway::open().await;
    let mut rude = Lines::to(&gateway).await;
    rude.say(r#"{"op":"ping"}"#).await;
    rude.is_refused("not_welcome").await;
    let mut wrong = Lines::to(&gateway).await;
    wrong.say(r#"{"op":"hello","name":"two words"}"#).await;
    assert!(wrong.is_refused("bad_request").await.contains("the name has the character ' '"));
    let mut web = TcpStream::connect(gateway.address()).await.unwrap();
    web.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    web.read_to_end(&mut answer).await.unwrap();
    assert!(String::from_utf8_lossy(&answer).contains("a session that does not start with '{'"));
}

#[tokio::test]
async fn who_says_nothing_is_sent_away() {
    let limits = Limits { hello_within: Duration::ZERO, ..Limits::default() };
    let gateway = Gateway::tcp(limits, TokenCheck::open()).await;
    Lines::to(&gateway).await.is_refused("too_late").await;
    assert_eq!(gateway.count("agents_refused_silent"), 1);
}

#[tokio::test]
async fn a_name_that_is_taken_is_refused_by_the_engine() {
    let gateway = Gateway::open().await;
    let mut first = Lines::to(&gateway).await;
    first.hello("alice").await;
    let mut second = Lines::to(&gateway).await;
    second.say(r#"{"op":"hello","name":"alice"}"#).await;
    second.is_refused("name_taken").await;
    first.say(r#"{"op":"ping"}"#).await;
    assert_eq!(first.hear().await, Some(json!({"ev": "pong"})));
}

#[tokio::test]
async fn the_token_is_asked_for() {
    let check = TokenCheck::new(&AccessToken::new("0123456789abcdef").unwrap());
    let gateway = Gateway::tcp(Limits::default(), check).await;
    let mut none = Lines::to(&gateway).await;
    none.say(r#"{"op":"hello","name":"alice"}"#).await;
    assert!(none.is_refused("unauthorised").await.contains("asks for an access token"));
    let mut wrong = Lines::to(&gateway).await;
    wrong.say(r#"{"op":"hello","name":"alice","token":"0123456789abcdeX"}"#).await;
    assert!(wrong.is_refused("unauthorised").await.contains("is wrong"));
    let mut right = Lines::to(&gateway).await;
    right.say(r#"{"op":"hello","name":"alice","token":"0123456789abcdef"}"#).await;
    assert_eq!(right.hear().await.unwrap()["ev"], "welcome");
    assert_eq!(gateway.count("agents_refused_token"), 2);
}

#[tokio::test]
async fn a_line_of_10_mib_is_refused_and_the_reason_arrives() {
    let mut gateway = Gateway::open().await;
    let mut alice = Lines::to(&gateway).await;
    alice.hello("alice").await;
    alice.0.write_all(b"{").await.unwrap();
    alice.say(&" ".repeat(10 * 1024 * 1024)).await;
    let message = alice.is_refused("too_large").await;
    assert!(message.contains("it is longer than 397312 bytes"), "{message}");
    gateway.until(Seen::Detach(name("alice"))).await;
    assert_eq!(gateway.count("agents_too_long"), 1);
}

#[tokio::test]
async fn a_line_cut_off_by_the_end_is_counted() {
    let mut gateway = Gateway::open().await;
    let mut alice = Lines::to(&gateway).await;
    alice.hello("alice").await;
    alice.0.write_all(br#"{"op":"send","to""#).await.unwrap();
    alice.0.shutdown().await.unwrap();
    assert_eq!(alice.hear().await.unwrap()["code"], "bad_request");
    gateway.until(Seen::Detach(name("alice"))).await;
    assert_eq!(gateway.count("agents_bad_requests"), 1);
    let mut bob = TcpStream::connect(gateway.address()).await.unwrap();
    bob.write_all(&[0, 0]).await.unwrap();
    bob.shutdown().await.unwrap();
    bob.read_to_end(&mut Vec::new()).await.unwrap();
    assert_eq!(gateway.count("agents_half_requests"), 1);
}

#[tokio::test]
async fn a_last_line_without_its_end_is_answered_and_lines_that_cannot_be_read_are_named() {
    let gateway = Gateway::open().await;
    for ends in ["", "\r"] {
        let mut alice = Lines::to(&gateway).await;
        alice.say(r#"{"op":"hello","name":"alice"}"#).await;
        assert_eq!(alice.hear().await.unwrap()["ev"], "welcome");
        alice.0.write_all(format!("{{\"op\":\"ping\",\"ref\":7}}{ends}").as_bytes()).await.unwrap();
        alice.0.shutdown().await.unwrap();
        let pong = alice.hear().await.unwrap();
        assert_eq!((&pong["ev"], &pong["ref"]), (&json!("pong"), &json!(7)), "{ends:?}");
    }
    let hello = "{\"op\":\"hello\",\"name\":\"alice\"}";
    let wide: Vec<u8> = format!("\u{FEFF}{hello}\n").encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (bytes, named) in [
        (format!("\u{FEFF}{hello}\n").into_bytes(), "byte order mark"),
        (wide, "UTF-16"),
        (format!("{hello}\r{{\"op\":\"ping\"}}\r").into_bytes(), "\\r alone"),
    ] {
        let mut strange = Lines::to(&gateway).await;
        strange.0.write_all(&bytes).await.unwrap();
        let said = strange.is_refused("bad_request").await;
        assert!(said.contains(named), "{said}");
    }
}

#[tokio::test]
async fn random_bytes_hurt_nobody_else() {
    let seed = u64::from(std::process::id()) ^ 0x5EED_A6E4;
    println!("seed {seed}");
    let mut rng = Rng::new(seed);
    let gateway = Gateway::open().await;
    let mut alice = Lines::to(&gateway).await;
    alice.hello("alice").await;
    let mut hello = Vec::new();
    encode(&Request::Hello(Hello::new(name("mallory"))), Codec::Postcard, &mut hello).unwrap();
    for round in 0..100 {
        let mut mallory = TcpStream::connect(gateway.address()).await.unwrap();
        let mut bytes: Vec<u8> = (0..rng.next_u64() % 2_000).map(|_| rng.next_u64() as u8).collect();
        match round % 3 {
            0 => bytes.insert(0, b'{'),
            1 => bytes.splice(0..0, hello.iter().copied()).for_each(drop),
            _ => {}
        }
        // The gateway may hang up before everything is said.
        let _ = mallory.write_all(&bytes).await;
        let _ = mallory.shutdown().await;
        let _ = mallory.read_to_end(&mut Vec::new()).await;
    }
    alice.say(r#"{"op":"ping","ref":1}"#).await;
    assert_eq!(alice.hear().await, Some(json!({"ev": "pong", "ref": 1})));
}

#[tokio::test]
async fn a_slow_reader_is_dropped_and_stalls_nobody() {
    let queue = QueueBound { events: 64, bytes: 256 * 1024 };
    let mut gateway = Gateway::tcp(Limits { queue, ..Limits::default() }, TokenCheck::open()).await;
    let mut slow = Lines::to(&gateway).await;
    slow.hello("slow").await;
    let mut alice = Lines::to(&gateway).await;
    alice.hello("alice").await;
    let body = "x".repeat(60_000);
    // Until the socket's buffers and the queue are full; the bound only keeps a mistake from running for ever.
    let mut sent = 0;
    while !matches!(gateway.seen.try_recv(), Ok(Seen::Slow(_))) {
        alice.say(&json!({"op": "send", "to": "slow", "type": "TASK", "text": body}).to_string()).await;
        assert_eq!(alice.hear().await.unwrap()["ev"], "accepted");
        assert_eq!(alice.hear().await.unwrap()["ev"], "receipt");
        sent += 1;
        assert!(sent < 2_000, "the queue has no bound");
    }
    gateway.until(Seen::Detach(name("slow"))).await;
    alice.say(r#"{"op":"ping","ref":1}"#).await;
    assert_eq!(alice.hear().await, Some(json!({"ev": "pong", "ref": 1})));
    assert_eq!(gateway.count("agents_unread"), 1);
}

#[tokio::test]
async fn who_asks_and_never_reads_is_slowed_and_then_dropped() {
    let queue = QueueBound { events: 64, bytes: 256 * 1024 };
    let mut gateway = Gateway::tcp(Limits { queue, ..Limits::default() }, TokenCheck::open()).await;
    let mut deaf = Lines::to(&gateway).await;
    deaf.hello("deaf").await;
    let nonsense = "{\"op\":\"nonsense\"}\n".repeat(1_000);
    // Writing fails when the gateway has had enough.
    while deaf.0.write_all(nonsense.as_bytes()).await.is_ok() {}
    gateway.until(Seen::Detach(name("deaf"))).await;
}

#[tokio::test]
async fn over_the_limit_is_told_in_its_own_codec() {
    let limits = Limits { connections: 1, ..Limits::default() };
    let mut gateway = Gateway::tcp(limits, TokenCheck::open()).await;
    let mut alice = Lines::to(&gateway).await;
    alice.hello("alice").await;
    let mut bob = Lines::to(&gateway).await;
    bob.say(r#"{"op":"hello","name":"bob"}"#).await;
    bob.is_refused("overloaded").await;
    let address = gateway.address().into();
    let error = mesh_agent::Client::connect(&address, Hello::new(name("carol"))).await.unwrap_err();
    assert!(error.to_string().starts_with("the gateway refused (overloaded)"), "{error}");
    assert_eq!(gateway.count("agents_refused_full"), 2);
    drop(alice);
    gateway.until(Seen::Detach(name("alice"))).await;
}

#[tokio::test]
async fn a_thousand_agents_attach_and_leave() {
    const AGENTS: usize = 1_000;
    let mut gateway = Gateway::open().await;
    let mut agents = Vec::new();
    for number in 0..AGENTS {
        let mut agent = Lines::to(&gateway).await;
        assert_eq!(agent.hello(&format!("agent-{number}")).await["ev"], "welcome");
        agents.push(agent);
    }
    for (number, agent) in agents.iter_mut().enumerate() {
        agent.say(&json!({"op": "ping", "ref": number}).to_string()).await;
    }
    for (number, agent) in agents.iter_mut().enumerate() {
        assert_eq!(agent.hear().await, Some(json!({"ev": "pong", "ref": number})));
    }
    drop(agents);
    let mut left = 0;
    while left < AGENTS {
        left += usize::from(matches!(gateway.seen.recv().await, Some(Seen::Detach(_))));
    }
}

#[tokio::test]
async fn the_unix_socket_is_private_needs_no_token_and_goes_with_the_gateway() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mesh.sock");
    let listen = || Listen {
        tcp: None,
        unix: Some(path.clone()),
        token: TokenCheck::new(&AccessToken::new("0123456789abcdef").unwrap()),
        limits: Limits::default(),
    };
    // What a gateway that was killed leaves behind.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let gateway = Gateway::start(listen()).await;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let mut alice = Lines(BufReader::new(UnixStream::connect(&path).await.unwrap()));
    assert_eq!(alice.hello("alice").await["ev"], "welcome");

    let second = Listener::bind(listen()).await.unwrap_err();
    assert!(matches!(second, ListenError::InUse(_)), "{second}");
    alice.say(r#"{"op":"bye"}"#).await;
    assert_eq!(alice.hear().await.unwrap()["ev"], "goodbye");
    drop(alice);
    gateway.stop().await;
    assert!(!path.exists());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);

    std::fs::write(&path, "precious").unwrap();
    let file = Listener::bind(listen()).await.unwrap_err();
    assert!(matches!(file, ListenError::NotASocket(_)), "{file}");
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
}

#[tokio::test]
async fn others_on_the_network_need_a_token() {
    let anywhere = "0.0.0.0:0".parse().unwrap();
    let mut listen =
        Listen { tcp: Some(anywhere), unix: None, token: TokenCheck::open(), limits: Limits::default() };
    let refused = Listener::bind(listen.clone()).await.unwrap_err();
    assert!(matches!(refused, ListenError::NeedsToken(_)), "{refused}");
    listen.token = TokenCheck::new(&AccessToken::new("0123456789abcdef").unwrap());
    assert!(Listener::bind(listen).await.is_ok());
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let holder = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = holder.local_addr().unwrap();
    let listen =
        Listen { tcp: Some(address), unix: None, token: TokenCheck::open(), limits: Limits::default() };
    let error = Listener::bind(listen).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot listen on {address}: ")), "{error}");
}
