//! Many agents, too many connections, agents that do not read, and lines that never end: everyone else is served.
//!
//! The gateway is the program itself, so that its memory and its file descriptors are its own.
#![cfg(feature = "sim")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use mesh_agent::api::{
    Body, Destination, ErrorCode, Event, Hello, MAX_BODY, Message, Name, Outcome, SendRequest,
};
use mesh_agent::{Client, ClientError, Endpoint, Handle};
use mesh_protocol::MessageType;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// How often a state that must come is asked for. Each attempt is a round trip.
const ATTEMPTS: usize = 100_000;

/// A gateway on a simulated air with one other node. It is killed when dropped.
struct Daemon {
    child: Child,
    tcp: String,
    unix: String,
}

impl Daemon {
    /// Starts it with these `[agents]` settings and waits until it says that it is ready.
    fn start(dir: &Path, agents: &str) -> Self {
        let config = dir.join("settings.toml");
        std::fs::write(&config, format!("[agents]\n{agents}\n")).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_mesh-gateway"))
            .args([
                "--adapter",
                "sim",
                "--sim-nodes",
                "1",
                "--listen",
                "127.0.0.1:0",
                "--log-level",
                "error",
                "--json",
            ])
            .arg("--config")
            .arg(config)
            .arg("--data-dir")
            .arg(dir.join("data"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        let ready: Value = serde_json::from_str(&ready).unwrap();
        let [tcp, unix] = ["tcp", "unix"].map(|door| ready[door].as_str().unwrap().to_owned());
        Self { child, tcp, unix }
    }

    async fn agent(&self, name: &str) -> Client {
        self.try_agent(name).await.unwrap()
    }

    async fn try_agent(&self, name: &str) -> Result<Client, ClientError> {
        Client::connect(&Endpoint::Tcp(self.tcp.clone()), Hello::new(Name::new(name).unwrap())).await
    }

    async fn tcp(&self) -> TcpStream {
        TcpStream::connect(&self.tcp).await.unwrap()
    }

    /// Its open files.
    fn files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// The most memory it ever had, in MiB.
    fn peak_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() / 1_024
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn to(name: &str, body: Body) -> SendRequest {
    SendRequest::new(Destination::agent(Name::new(name).unwrap()), MessageType::Notification, body)
}

/// Sends and waits for the receipt.
async fn deliver(sender: &Handle, receiver: &str, text: &str) {
    let pending = sender.send(to(receiver, Body::text(text))).await.unwrap();
    assert_eq!(pending.receipt().await.unwrap().outcome, Outcome::Delivered);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_agents_each_receive_their_message() {
    const AGENTS: usize = 1_000;
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), "max_agents = 1000");
    let names: Vec<String> = (0..AGENTS).map(|n| format!("agent-{n:03}")).collect();
    let mut agents = Vec::new();
    for name in &names {
        agents.push(daemon.agent(name).await);
    }
    let one_more = daemon.try_agent("one-more").await.unwrap_err();
    assert!(
        matches!(&one_more, ClientError::Refused(error) if error.code == ErrorCode::Overloaded),
        "{one_more}"
    );

    let sender = agents[0].handle().clone();
    let mut sent = Vec::new();
    for name in &names {
        sent.push(sender.send(to(name, Body::text(format!("for {name}")))).await.unwrap());
    }
    for pending in sent {
        assert_eq!(pending.receipt().await.unwrap().outcome, Outcome::Delivered);
    }
    for (name, agent) in names.iter().zip(&mut agents) {
        let message = agent.inbox().next_message().await.unwrap();
        assert_eq!(message.body.as_text(), Some(format!("for {name}").as_str()));
    }
    let status = sender.status().await.unwrap();
    assert_eq!((status.agents.connected, status.agents.local), (AGENTS as u64, AGENTS as u64));
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_connections_do_not_keep_an_agent_from_sending() {
    const LIMIT: usize = 200;
    /// Files that the gateway needs besides: its store, sockets, events, and connections that it is turning away.
    const BESIDES: usize = 64 + 36;
    let connections = 10_000.min(open_files().saturating_sub(200));
    println!("{connections} connections against a limit of {LIMIT}");
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &format!("max_connections = {LIMIT}"));
    let alice = daemon.agent("alice").await;
    let mut bob = daemon.agent("bob").await;
    // These say hello, so that their places stay taken; the others never say a word.
    let mut idle = Vec::new();
    for n in 2..LIMIT {
        idle.push(daemon.agent(&format!("idle-{n}")).await);
    }

    let mut crowd = Vec::new();
    for n in LIMIT..connections {
        crowd.push(daemon.tcp().await);
        if n % 500 == 0 {
            deliver(alice.handle(), "bob", &format!("{n} came")).await;
            let message = bob.inbox().next_message().await.unwrap();
            assert_eq!(message.body.as_text(), Some(format!("{n} came").as_str()));
            assert!(daemon.files() <= LIMIT + BESIDES, "{} open files", daemon.files());
        }
    }
    // A door that is full says so to whoever speaks.
    let refused = loop {
        match daemon.try_agent("carol").await {
            Err(ClientError::Refused(error)) => break error.code,
            // More were being told so at the time than are told so at a time.
            Err(ClientError::Lost(_)) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused, ErrorCode::Overloaded);

    drop((crowd, idle));
    let mut came = None;
    for _ in 0..ATTEMPTS {
        came = daemon.try_agent("carol").await.ok();
        if came.is_some() {
            break;
        }
    }
    let carol = came.expect("there is room again");
    deliver(carol.handle(), "bob", "they left").await;
    assert_eq!(bob.inbox().next_message().await.unwrap().body.as_text(), Some("they left"));
}

/// How many files this process may have open, after asking for as many as it may ask for.
fn open_files() -> usize {
    let me = std::process::id().to_string();
    let limits = || {
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
        let mut numbers = line.split_whitespace().map(|number| number.parse().unwrap_or(usize::MAX));
        (numbers.next().unwrap(), numbers.next().unwrap())
    };
    let most = limits().1;
    // Where the tool is missing, the limit stays as it is.
    let _ = Command::new("prlimit").args(["--pid", &me, &format!("--nofile={most}:{most}")]).status();
    limits().0
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_does_not_read_stalls_nobody_and_loses_nothing() {
    const MESSAGES: usize = 100;
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), "");
    let alice = daemon.agent("alice").await;
    let mut carol = daemon.agent("carol").await;
    // Over the Unix socket, where little fits between the two ends.
    let mut silent = UnixStream::connect(&daemon.unix).await.unwrap();
    silent.write_all(b"{\"op\":\"hello\",\"name\":\"bob\",\"credits\":4096}\n").await.unwrap();
    assert!(first_line(&mut silent).await.starts_with("{\"ev\":\"welcome\""));

    for n in 0..MESSAGES {
        let to_bob = alice.handle().send(to("bob", Body::data(vec![n as u8; MAX_BODY]))).await.unwrap();
        deliver(alice.handle(), "carol", &n.to_string()).await;
        assert_eq!(carol.inbox().next_message().await.unwrap().body.as_text(), Some(n.to_string().as_str()));
        assert_eq!(to_bob.receipt().await.unwrap().outcome, Outcome::Delivered);
    }
    let counters = alice.handle().status().await.unwrap().counters;
    assert_eq!(
        counters.get("sessions_too_slow"),
        None,
        "what is kept anyway waits without harm: {counters:?}"
    );

    // Credits for all 6.4 MiB, three times what may wait for a session: it is shown as fast as it reads.
    let hello = Hello { credits: 4096, ..Hello::new(Name::new("bob").unwrap()) };
    let mut bob = Client::connect(&Endpoint::Tcp(daemon.tcp.clone()), hello).await.unwrap();
    for n in 0..MESSAGES {
        let Message { body, .. } = bob.inbox().next_message().await.unwrap();
        assert!(body.bytes()[..] == vec![n as u8; MAX_BODY], "message {n}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn half_lines_and_lines_of_10_mib_end_only_their_own_session() {
    const LONG: usize = 10 << 20;
    const TIMES: usize = 8;
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), "");
    let alice = daemon.agent("alice").await;
    let mut bob = daemon.agent("bob").await;
    let before = daemon.peak_mib();

    let mut half = Vec::new();
    for start in ["{", "{\"op\":\"hello\",\"na", "\0\0\0\u{10}\0"] {
        let mut stream = daemon.tcp().await;
        stream.write_all(start.as_bytes()).await.unwrap();
        half.push(stream);
    }
    for _ in 0..TIMES {
        // Before the hello, after it, and as a frame whose length says so.
        let stranger = daemon.tcp().await;
        assert_eq!(too_long(stranger, "{\"op\":\"hello\",\"name\":\"", LONG).await, ["error", "goodbye"]);
        let mut mallory = daemon.tcp().await;
        mallory.write_all(b"{\"op\":\"hello\",\"name\":\"mallory\"}\n").await.unwrap();
        assert!(first_line(&mut mallory).await.starts_with("{\"ev\":\"welcome\""));
        assert_eq!(too_long(mallory, "{\"op\":\"send\",\"text\":\"", LONG).await, ["error", "goodbye"]);
        assert_eq!(too_long_frame(&daemon, LONG).await, ErrorCode::TooLarge);
        deliver(alice.handle(), "bob", "still here").await;
        assert_eq!(bob.inbox().next_message().await.unwrap().body.as_text(), Some("still here"));
    }
    drop(half);
    deliver(alice.handle(), "bob", "and now").await;
    assert_eq!(bob.inbox().next_message().await.unwrap().body.as_text(), Some("and now"));
    let after = daemon.peak_mib();
    assert!(after - before < (LONG >> 20) as u64, "{before} MiB before, {after} MiB after");
}

/// One line, and no byte after it.
async fn first_line(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        line.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(line).unwrap()
}

/// Writes the beginning of a line and so much more without an end; what events come, of which the error is to be that
/// it is too long.
async fn too_long(stream: TcpStream, start: &str, more: usize) -> Vec<String> {
    let (reader, mut writer) = stream.into_split();
    let writing = async {
        writer.write_all(start.as_bytes()).await.unwrap();
        let piece = [b'x'; 64 << 10];
        for _ in 0..more / piece.len() {
            // The gateway may have closed it by now.
            if writer.write_all(&piece).await.is_err() {
                break;
            }
        }
        let _ = writer.shutdown().await;
    };
    let reading = async {
        let mut lines = tokio::io::BufReader::new(reader).lines();
        let mut kinds = Vec::new();
        while let Ok(Some(line)) = lines.next_line().await {
            let event: Value = serde_json::from_str(&line).unwrap();
            if event["ev"] == json!("error") {
                assert_eq!((&event["code"], &event["fatal"]), (&json!("too_large"), &json!(true)), "{event}");
            }
            kinds.push(event["ev"].as_str().unwrap().to_owned());
        }
        kinds
    };
    tokio::join!(writing, reading).1
}

async fn too_long_frame(daemon: &Daemon, length: usize) -> ErrorCode {
    use mesh_agent::api::codec::{Bounds, Codec, Decoder};
    let mut stream = daemon.tcp().await;
    stream.write_all(&u32::try_from(length).unwrap().to_be_bytes()).await.unwrap();
    stream.write_all(&[0; 4_096]).await.unwrap();
    let mut decoder = Decoder::with_codec(Bounds::EVENT, Codec::Postcard);
    loop {
        match decoder.decode().unwrap() {
            Some(Event::Error(error)) => return error.code,
            Some(other) => panic!("{other:?}"),
            None => assert!(stream.read_buf(decoder.space()).await.unwrap() > 0),
        }
    }
}
