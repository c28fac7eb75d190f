//! Agents of a gateway that keep so many messages in flight: lean ones, which write and read as the echo's client does,
//! and ones made with the client library.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use gateway::Gateway;
use mesh_agent::api::codec::{Bounds, Codec, Decoder, encode};
use mesh_agent::api::{Ack, Ask, Body, Credit, ErrorCode, Event, Hello, Outcome, Request, Status};
use mesh_agent::{Agent, ClientError, Endpoint, Handle, Inbox};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::JoinHandle;

use crate::common::{agent, name};
use crate::frames::{fill, request};
use crate::{BODY, Turn};

/// Messages that the receiver takes before it grants more.
const CREDITS: u32 = 1_024;

/// Whether messages are to be on the disk before they are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// No.
    Off,
    /// Written and synced.
    Synced,
}

/// A sender and a receiver.
#[derive(Debug)]
pub(crate) struct Pair {
    sender: Lean,
    receiving: JoinHandle<()>,
    body: Body,
    reference: u64,
}

impl Pair {
    /// Attaches both.
    pub(crate) async fn attach(address: SocketAddr) -> Self {
        let receiver = Lean::attach(address, "receiver").await;
        let receiving = tokio::spawn(receive(receiver));
        let sender = Lean::attach(address, "sender").await;
        Self { sender, receiving, body: Body::data(vec![7; BODY]), reference: 0 }
    }

    /// Keeps so many messages without a receipt for so long.
    pub(crate) async fn turn(
        &mut self,
        time: Duration,
        most_in_flight: usize,
        durability: Durability,
    ) -> Turn {
        let durable = durability == Durability::Synced;
        let before = self.sender.usage().await;
        let begin = Instant::now();
        let (mut in_flight, mut done) = (0, 0u64);
        loop {
            if begin.elapsed() < time {
                while in_flight < most_in_flight {
                    in_flight += 1;
                    self.reference += 1;
                    self.sender.queue(&Request::Send(request(
                        "receiver",
                        &self.body,
                        self.reference,
                        durable,
                    )));
                }
            } else if in_flight == 0 {
                break;
            }
            self.sender.flush().await;
            self.sender.read().await;
            let mut cursor = None;
            while let Some(event) = self.sender.event() {
                match event {
                    Event::Accepted(accepted) => assert_eq!(accepted.durable, durable),
                    Event::Receipt(receipt) => {
                        assert_eq!(receipt.outcome, Outcome::Delivered);
                        in_flight -= 1;
                        done += 1;
                        cursor = receipt.cursor.or(cursor);
                    }
                    // The receiver is more than an inbox behind: the message is sent again.
                    Event::Error(error) if error.code == ErrorCode::Busy => in_flight -= 1,
                    other => panic!("{other:?}"),
                }
            }
            if let Some(cursor) = cursor {
                self.sender.queue(&Request::Ack(Ack { cursor }));
            }
        }
        self.sender.flush().await;
        let took = begin.elapsed();
        self.sender.usage().await.since(before, done, took)
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.receiving.abort();
    }
}

/// Acknowledges once for every read.
async fn receive(mut agent: Lean) {
    let mut spent = 0;
    loop {
        agent.read().await;
        let mut cursor = None;
        while let Some(event) = agent.event() {
            if let Event::Message(message) = event {
                assert_eq!(message.body.len(), BODY);
                spent += 1;
                cursor = message.cursor.or(cursor);
            }
        }
        if let Some(cursor) = cursor {
            agent.queue(&Request::Ack(Ack { cursor }));
        }
        if spent >= CREDITS / 2 {
            agent.queue(&Request::Credit(Credit { n: std::mem::take(&mut spent) }));
        }
        agent.flush().await;
    }
}

/// An agent without a library: a connection, and a buffer each way.
#[derive(Debug)]
struct Lean {
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    decoder: Decoder,
    out: Vec<u8>,
}

impl Lean {
    async fn attach(address: SocketAddr, who: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("the gateway listens");
        stream.set_nodelay(true).expect("a TCP connection");
        let (reader, writer) = stream.into_split();
        let decoder = Decoder::with_codec(Bounds::EVENT, Codec::Postcard);
        let mut agent = Self { reader, writer, decoder, out: Vec::new() };
        agent.queue(&Request::Hello(Hello { credits: CREDITS, ..Hello::new(name(who)) }));
        agent.flush().await;
        assert!(matches!(agent.next().await, Event::Welcome(_)));
        agent
    }

    fn queue(&mut self, request: &Request) {
        encode(request, Codec::Postcard, &mut self.out).expect("a value of ours");
    }

    async fn flush(&mut self) {
        if !self.out.is_empty() {
            self.writer.write_all(&self.out).await.expect("the gateway is there");
            self.out.clear();
        }
    }

    async fn read(&mut self) {
        assert!(fill(&mut self.reader, self.decoder.space()).await.expect("the gateway is there"));
    }

    fn event(&mut self) -> Option<Event> {
        self.decoder.decode().expect("the gateway's own words")
    }

    async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.event() {
                return event;
            }
            self.read().await;
        }
    }

    async fn usage(&mut self) -> Usage {
        self.queue(&Request::Status(Ask { reference: None }));
        self.flush().await;
        let Event::Status(status) = self.next().await else { panic!("no status") };
        Usage::new(&status)
    }
}

/// What the disk was used for.
#[derive(Clone, Copy, Debug)]
struct Usage {
    disk: u64,
    stored: u64,
    commits: u64,
}

impl Usage {
    fn new(status: &Status) -> Self {
        Self { disk: written_to_disk(), stored: status.store.bytes, commits: status.store.commits }
    }

    fn since(self, before: Self, messages: u64, time: Duration) -> Turn {
        let each = |now: u64, then: u64| (now - then) as f64 / messages as f64;
        let commits = self.commits - before.commits;
        Turn {
            messages,
            per_second: messages as f64 / time.as_secs_f64(),
            disk: each(self.disk, before.disk),
            stored: each(self.stored, before.stored),
            grouped: if commits == 0 { 0.0 } else { messages as f64 / commits as f64 },
            ..Turn::default()
        }
    }
}

/// Bytes that this process has sent to the disk; 0 where the system does not say.
fn written_to_disk() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    io.lines().find_map(|line| line.strip_prefix("write_bytes: ")?.parse().ok()).unwrap_or(0)
}

/// A sender and a receiver made with the client library, used the plain way: a task each, a call for each message. Their
/// names are as long as the lean ones', because names are read for every message.
#[derive(Debug)]
pub(crate) struct Clients {
    sender: Handle,
    _inbox: Inbox,
    receiver: &'static str,
    receiving: JoinHandle<()>,
    body: Body,
}

impl Clients {
    /// Attaches both, for one session each.
    pub(crate) async fn attach(gateway: &Gateway) -> Self {
        let (receiver, sender) = (agent(gateway, "listener").await, agent(gateway, "talker").await);
        Self::of("listener", receiver.split().1, sender.split())
    }

    /// Attaches both to stay: what was not accepted would be sent again.
    pub(crate) async fn stay(gateway: &Gateway) -> Self {
        let endpoint = Endpoint::from(gateway.tcp_address().expect("a TCP door"));
        let agent = |text| Agent::builder(name(text)).endpoint(endpoint.clone()).connect();
        let (receiver, sender) = tokio::join!(agent("resident"), agent("keeper"));
        let (receiver, sender) = (receiver.expect("a session"), sender.expect("a session"));
        Self::of("resident", receiver.split().1, sender.split())
    }

    fn of(receiver: &'static str, mut inbox: Inbox, (sender, sent): (Handle, Inbox)) -> Self {
        let receiving = tokio::spawn(async move {
            while let Ok(message) = inbox.next_message().await {
                assert_eq!(message.body.len(), BODY);
            }
        });
        Self { sender, _inbox: sent, receiver, receiving, body: Body::data(vec![7; BODY]) }
    }

    /// As [`Pair::turn`].
    pub(crate) async fn turn(
        &mut self,
        time: Duration,
        most_in_flight: usize,
        durability: Durability,
    ) -> Turn {
        let before = self.usage().await;
        let begin = Instant::now();
        let mut in_flight = VecDeque::new();
        let (mut done, mut over) = (0, false);
        loop {
            // The lean ones look at the clock once for many, too.
            if done % 32 == 0 {
                over = begin.elapsed() >= time;
            }
            if !over {
                while in_flight.len() < most_in_flight {
                    let request = request(self.receiver, &self.body, 0, durability == Durability::Synced);
                    in_flight.push_back(self.sender.send(request).await.expect("the gateway is there"));
                }
            }
            let Some(pending) = in_flight.pop_front() else { break };
            match pending.receipt().await {
                Ok(receipt) => {
                    assert_eq!(receipt.outcome, Outcome::Delivered);
                    done += 1;
                }
                // As above.
                Err(ClientError::Refused(error)) if error.code == ErrorCode::Busy => {}
                Err(error) => panic!("{error}"),
            }
        }
        let took = begin.elapsed();
        self.usage().await.since(before, done, took)
    }

    async fn usage(&self) -> Usage {
        Usage::new(&self.sender.status().await.expect("the gateway is there"))
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.receiving.abort();
    }
}
