//! A gateway by hand: it reads what agents ask, and says what the test has it say.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};

use mesh_protocol::Address;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;

use crate::api::codec::{Bounds, Codec, Decoder, encode};
use crate::api::samples::{id, message, name};
use crate::api::{Accepted, Event, Hello, Message, Outcome, Pong, Receipt, Request, SendRequest, Welcome};
use crate::{Absence, Agent, AgentBuilder, ClientError, Endpoint};

/// Where agents come to.
pub(super) struct Gateway {
    knocks: mpsc::UnboundedReceiver<DuplexStream>,
    off: Arc<Mutex<bool>>,
    /// Attempts to connect while it was off.
    missed: Arc<Mutex<u32>>,
}

/// One session of it.
pub(super) struct Session {
    stream: DuplexStream,
    decoder: Decoder,
}

impl Gateway {
    /// The gateway, and an agent that can connect to it.
    pub(super) fn new() -> (Self, AgentBuilder) {
        let (knock, knocks) = mpsc::unbounded_channel();
        let (off, missed) = (Arc::new(Mutex::new(false)), Arc::new(Mutex::new(0)));
        let gateway = Self { knocks, off: Arc::clone(&off), missed: Arc::clone(&missed) };
        let dial = move || {
            let (here, there) = duplex(1 << 20);
            let is_off = *off.lock().unwrap() || knock.send(there).is_err();
            *missed.lock().unwrap() += u32::from(is_off);
            let why = io::ErrorKind::ConnectionRefused.to_string();
            let absent = ClientError::NoGateway { endpoint: Endpoint::default(), cause: Absence::Down, why };
            std::future::ready(if is_off { Err(absent) } else { Ok(here) })
        };
        (gateway, Agent::builder(name("alice")).dial(dial))
    }

    /// An agent with its first session.
    pub(super) async fn welcomed() -> (Self, Session, Agent) {
        let (mut gateway, builder) = Self::new();
        let connecting = tokio::spawn(builder.connect());
        let (session, hello) = gateway.welcome(0).await;
        assert_eq!(hello, Hello::new(name("alice")));
        let agent = connecting.await.unwrap().unwrap();
        (gateway, session, agent)
    }

    pub(super) fn switch(&self, off: bool) {
        *self.off.lock().unwrap() = off;
    }

    pub(super) fn missed(&self) -> u32 {
        *self.missed.lock().unwrap()
    }

    /// Whether nobody tries to connect.
    pub(super) fn is_left_alone(&mut self) -> bool {
        self.knocks.try_recv().is_err()
    }

    /// The next one to come, before it has been welcomed.
    pub(super) async fn visitor(&mut self) -> (Session, Hello) {
        let stream = self.knocks.recv().await.expect("the agent comes");
        let mut session = Session { stream, decoder: Decoder::new(Bounds::REQUEST) };
        let Request::Hello(hello) = session.read().await else { panic!("first comes the hello") };
        (session, hello)
    }

    /// Says welcome to the next one to come, at this cursor.
    pub(super) async fn welcome(&mut self, resumed_from: u64) -> (Session, Hello) {
        let (mut session, hello) = self.visitor().await;
        let credits = hello.credits;
        let welcome = Welcome {
            name: hello.name.expect("an agent that stays has a name"),
            gateway: "script".into(),
            node: Address::new(1),
            session: 1,
            resumed_from,
            credits,
            max_body: 65_536,
        };
        session.say(Event::Welcome(welcome)).await;
        (session, hello)
    }
}

impl Session {
    /// The next request; the stream must not end.
    pub(super) async fn read(&mut self) -> Request {
        self.next().await.expect("a request, and not the end")
    }

    /// The next request, or `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Request> {
        loop {
            if let Some(request) = self.decoder.decode().unwrap() {
                return Some(request);
            }
            if self.stream.read_buf(self.decoder.space()).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// The next message to be sent.
    pub(super) async fn sent(&mut self) -> SendRequest {
        match self.read().await {
            Request::Send(send) => send,
            other => panic!("a message was expected: {other:?}"),
        }
    }

    pub(super) async fn say(&mut self, event: Event) {
        let mut bytes = Vec::new();
        encode(&event, Codec::Postcard, &mut bytes).unwrap();
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// Answers the ping behind all that is sent again; what came before it.
    pub(super) async fn barrier(&mut self) -> VecDeque<Request> {
        let mut before = VecDeque::new();
        loop {
            match self.read().await {
                Request::Ping(ask) => {
                    self.say(Event::Pong(Pong { reference: ask.reference })).await;
                    return before;
                }
                other => before.push_back(other),
            }
        }
    }

    /// Reads until an acknowledgement comes; its cursor. Credits are skipped.
    pub(super) async fn acked(&mut self) -> u64 {
        loop {
            match self.read().await {
                Request::Ack(ack) => return ack.cursor,
                Request::Credit(_) => {}
                other => panic!("an ack was expected: {other:?}"),
            }
        }
    }
}

pub(super) fn accepted(reference: Option<u64>, number: u32) -> Event {
    Event::Accepted(Accepted { reference, id: id(number), durable: true, at_us: 1 })
}

/// What became of a durable message.
pub(super) fn receipt(cursor: u64, reference: Option<u64>, number: u32, outcome: Outcome) -> Event {
    let (id, cursor) = (id(number), Some(cursor));
    let (at_node, why, hops) = (None, None, None);
    Event::Receipt(Receipt { cursor, reference, id, outcome, at_node, why, hops, at_us: 2, detail: None })
}

/// A message that answers none.
pub(super) fn plain(cursor: u64, text: &str) -> Event {
    Event::Message(Message { cursor: Some(cursor), reply_to: None, ..message(text) })
}
