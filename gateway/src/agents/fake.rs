//! A small engine for tests: agents on one gateway, no mesh, no store.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use mesh_agent::api::{
    Accepted, Agents, Body, Destination, Done, ErrorCode, ErrorEvent, Event, MAX_BODY, Message, MessageRef,
    Name, Outcome, Peers, Pong, Receipt, Refusal, Request, Routes, SendRequest, Status, Subscribed, Welcome,
};
use mesh_protocol::{Address, MessageId, MessageType};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::{Counters, Limits, Listen, Listener, PushError, SessionId, SessionPort, ToEngine, TokenCheck};

const NODE: Address = Address::new(1);

/// The name of this text.
pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn status() -> Status {
    let json = serde_json::json!({
        "gateway": "fake", "node": NODE.to_string(), "adapter": "sim", "version": "0", "epoch": 1, "uptime_ms": 1,
        "network": {"seq_used_percent": 0.0}, "agents": {"connected": 1, "local": 1, "remote": 0}, "outbox": 0,
        "inbox": 0,
        "radio": {"frames_sent": 0, "frames_received": 0, "neighbours": 0, "state": "up", "about": "", "confirmed": 0,
                  "lost": 0, "repairs": 0},
        "counters": {}, "store": {"healthy": true, "commits": 0, "bytes": 0}, "health": "ok",
    });
    serde_json::from_value(json).unwrap()
}

/// A task for somebody.
pub(crate) fn send(to: &str, text: &str) -> SendRequest {
    SendRequest::new(to.parse().unwrap(), MessageType::Task, Body::text(text))
}

/// What the engine saw, in words.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Attach(Name),
    Detach(Name),
    Slow(Name),
    Ack(Name, u64),
    Credit(Name, u32),
}

/// A gateway with the small engine behind it.
pub(crate) struct Gateway {
    pub(crate) address: Option<SocketAddr>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) seen: mpsc::UnboundedReceiver<Seen>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Gateway {
    pub(crate) async fn tcp(limits: Limits, token: TokenCheck) -> Self {
        let tcp = Some("127.0.0.1:0".parse().unwrap());
        Self::start(Listen { tcp, unix: None, token, limits }).await
    }

    pub(crate) async fn open() -> Self {
        Self::tcp(Limits::default(), TokenCheck::open()).await
    }

    pub(crate) async fn start(listen: Listen) -> Self {
        let listener = Listener::bind(listen).await.unwrap();
        let (address, counters) = (listener.tcp_address(), listener.counters());
        let (stop, stopped) = oneshot::channel();
        let (to_engine, from_sessions) = mpsc::channel(64);
        let (tell, seen) = mpsc::unbounded_channel();
        let engine = Engine { sessions: BTreeMap::new(), names: BTreeMap::new(), last: 0, tell };
        tokio::spawn(engine.run(from_sessions));
        let serving = tokio::spawn(listener.serve(to_engine, async { drop(stopped.await) }));
        Self { address, counters, seen, stop, serving }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address.unwrap()
    }

    /// The count of that name.
    pub(crate) fn count(&self, name: &str) -> u64 {
        self.counters.snapshot().iter().find(|(known, _)| *known == name).unwrap().1
    }

    /// Waits until the engine has seen this; what it saw before is skipped.
    pub(crate) async fn until(&mut self, what: Seen) {
        while self.seen.recv().await.expect("the engine runs") != what {}
    }

    /// Stops the listener and waits for the sessions.
    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        self.serving.await.unwrap();
    }
}

struct Engine {
    sessions: BTreeMap<SessionId, (Name, SessionPort)>,
    names: BTreeMap<Name, SessionId>,
    last: u32,
    tell: mpsc::UnboundedSender<Seen>,
}

impl Engine {
    async fn run(mut self, mut from_sessions: mpsc::Receiver<ToEngine>) {
        while let Some(event) = from_sessions.recv().await {
            match event {
                ToEngine::Attach { session, port, agent, .. } => self.attach(session, port, agent),
                ToEngine::Requests { session, batch } => {
                    assert!(!batch.is_empty() && batch.len() <= super::MAX_BATCH);
                    batch.into_iter().for_each(|request| self.request(session, request));
                }
                ToEngine::Room { .. } | ToEngine::Changed { .. } | ToEngine::Purge { .. } => {}
                ToEngine::Detach { session } => {
                    let Some((name, _)) = self.sessions.remove(&session) else {
                        continue;
                    };
                    self.names.remove(&name);
                    self.tell(Seen::Detach(name));
                }
            }
        }
    }

    fn tell(&self, seen: Seen) {
        // A test that is over listens no more.
        let _ = self.tell.send(seen);
    }

    fn attach(&mut self, session: SessionId, port: SessionPort, name: Name) {
        if self.names.contains_key(&name) {
            return port.refuse(ErrorEvent::fatal(
                Refusal::new(ErrorCode::NameTaken, "that name is taken").hint("choose another"),
            ));
        }
        let welcome = Event::Welcome(Welcome {
            name,
            gateway: "fake".into(),
            node: NODE,
            session: session.0,
            resumed_from: 0,
            credits: 256,
            max_body: MAX_BODY as u32,
        });
        // Whoever has hung up already sends its detach.
        let _ = port.push(welcome);
        self.names.insert(name, session);
        self.sessions.insert(session, (name, port));
        self.tell(Seen::Attach(name));
    }

    fn push(&self, session: SessionId, event: Event) {
        let Some((name, port)) = self.sessions.get(&session) else {
            return;
        };
        if port.push(event) == Err(PushError::Slow) {
            self.tell(Seen::Slow(*name));
            port.close("too slow");
        }
    }

    fn request(&mut self, session: SessionId, request: Request) {
        let Some((name, _)) = self.sessions.get(&session) else {
            return;
        };
        let (name, reference) = (*name, request.reference());
        match request {
            Request::Hello(_) | Request::Bye(_) => panic!("these are the session's"),
            Request::Send(send) => self.send(session, name, send),
            Request::Ack(ack) => self.tell(Seen::Ack(name, ack.cursor)),
            Request::Credit(credit) => self.tell(Seen::Credit(name, credit.n)),
            Request::Subscribe(subscribe) => {
                self.push(session, Event::Subscribed(Subscribed { reference, groups: subscribe.groups }));
            }
            Request::Unsubscribe(_) => {
                self.push(session, Event::Subscribed(Subscribed { reference, groups: vec![] }));
            }
            Request::Status(_) => {
                let status = Status { reference, ..status() };
                self.push(session, Event::Status(Box::new(status)));
            }
            Request::Peers(_) => self.push(
                session,
                Event::Peers(Peers { reference, peers: vec![], links: vec![], fingerprint: None }),
            ),
            Request::Routes(_) => self.push(session, Event::Routes(Routes { reference, routes: vec![] })),
            Request::Agents(_) => self.push(session, Event::Agents(Agents { reference, agents: vec![] })),
            Request::Health(_) | Request::Why(_) | Request::PingNode(_) | Request::TraceNode(_) => {
                panic!("the engine's own")
            }
            Request::LinkAdd(_)
            | Request::LinkRemove(_)
            | Request::RouteAdd(_)
            | Request::RouteRemove(_)
            | Request::AgentForget(_) => self.push(session, Event::Done(Done { reference })),
            Request::Ping(_) => self.push(session, Event::Pong(Pong { reference })),
        }
    }

    /// Local agents only. A text of `fail` is accepted and then expires.
    fn send(&mut self, session: SessionId, from: Name, send: SendRequest) {
        let receiver = match send.to {
            Destination::Agent { name, .. } => self.names.get(&name).copied(),
            _ => None,
        };
        let Some(receiver) = receiver else {
            let message = format!("nobody is called {}: see `agents`", send.to);
            let error = ErrorEvent::about(send.reference, Refusal::new(ErrorCode::UnknownReceiver, message));
            return self.push(session, Event::Error(error));
        };
        self.last += 1;
        let id = MessageRef { node: NODE, id: MessageId(self.last) };
        let cursor = Some(u64::from(self.last));
        let reference = send.reference;
        self.push(session, Event::Accepted(Accepted { reference, id, durable: false, at_us: 0 }));
        let failed = send.body.as_text() == Some("fail");
        if !failed {
            let message = Message {
                cursor,
                id,
                from: Destination::agent_on(from, NODE),
                to: send.to,
                kind: send.kind,
                priority: send.priority,
                reply_to: send.reply_to,
                hops: 0,
                at_us: 0,
                body: send.body,
            };
            self.push(receiver, Event::Message(message));
        }
        let receipt = Receipt {
            cursor: None,
            reference,
            id,
            outcome: if failed { Outcome::Expired } else { Outcome::Delivered },
            at_node: Some(NODE),
            why: failed.then(|| "no time".to_owned()),
            hops: Some(0),
            at_us: 0,
            detail: None,
        };
        self.push(session, Event::Receipt(receipt));
    }
}
