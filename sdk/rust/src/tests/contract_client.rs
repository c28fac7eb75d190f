//! The client says what agents say in the contract, and understands what gateways say there.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, duplex};
use tokio::task::JoinHandle;

use super::contract::{Line, Side, contract};
use crate::api::codec::Codec;
use crate::api::{
    Done, Event, Message, MessageRef, Receipt, ReceiptRequest, Request, SendRequest, Subscribed,
};
use crate::{Client, ClientError, Handle, Inbox, Incoming, Pending, Wall};

/// What became of something asked, as the event that says so.
type Answered = Result<Event, ClientError>;

/// A connection whose far end is the contract.
struct Play {
    stream: BufReader<DuplexStream>,
    ours: Option<DuplexStream>,
    joining: Option<JoinHandle<Result<Client, ClientError>>>,
    handle: Option<Handle>,
    inbox: Option<Inbox>,
    /// The client's number for each `ref` of the contract, and for each message.
    numbers: BTreeMap<u64, u64>,
    of_message: BTreeMap<MessageRef, u64>,
    /// Messages without a `ref` that have no *accepted* yet, by the client's number.
    unnumbered: VecDeque<u64>,
    /// Messages handed over, by the client's number, and which receipt each waits for.
    pending: BTreeMap<u64, (Pending, ReceiptRequest)>,
    receipts: BTreeMap<MessageRef, (JoinHandle<Result<Receipt, ClientError>>, ReceiptRequest)>,
    /// Queries, by their name once they have one.
    asked: BTreeMap<u64, JoinHandle<Result<Message, ClientError>>>,
    answers: BTreeMap<MessageRef, JoinHandle<Result<Message, ClientError>>>,
    /// Questions to the gateway, by the client's number.
    questions: BTreeMap<u64, JoinHandle<Answered>>,
    groups: VecDeque<JoinHandle<Answered>>,
}

impl Play {
    fn new() -> Self {
        let (ours, theirs) = duplex(1 << 20);
        Self {
            stream: BufReader::new(theirs),
            ours: Some(ours),
            joining: None,
            handle: None,
            inbox: None,
            numbers: BTreeMap::new(),
            of_message: BTreeMap::new(),
            unnumbered: VecDeque::new(),
            pending: BTreeMap::new(),
            receipts: BTreeMap::new(),
            asked: BTreeMap::new(),
            answers: BTreeMap::new(),
            questions: BTreeMap::new(),
            groups: VecDeque::new(),
        }
    }

    fn handle(&self) -> Handle {
        self.handle.clone().expect("a session")
    }

    /// Reads what the client says until it says this; acknowledgements and credits are its own business.
    async fn hears(&mut self, line: &Line) -> Value {
        let mut there = line.json();
        loop {
            let mut text = String::new();
            self.stream.read_line(&mut text).await.unwrap();
            let mut here: Value = serde_json::from_str(&text).unwrap_or_else(|why| panic!("{text:?}: {why}"));
            let number = here.get("ref").cloned();
            // The client uses numbers of its own, and writes what the contract leaves to the defaults.
            here.as_object_mut().unwrap().remove("ref");
            there.as_object_mut().unwrap().remove("ref");
            let defaults = [
                ("credits", json!(256)),
                ("priority", json!("MEDIUM")),
                ("durable", json!(true)),
                ("receipt", json!("delivered")),
            ];
            for (field, value) in defaults {
                if here.get(field) == Some(&value) && there.get(field).is_none() {
                    here.as_object_mut().unwrap().remove(field);
                }
            }
            if here == there {
                return number.unwrap_or_default();
            }
            let own = ["ack", "credit"].map(|op| json!(op)).contains(&here["op"]);
            assert!(own, "line {}: {}\nthe client says: {text}", line.number, line.text);
        }
    }

    /// The agent says this line.
    async fn say(&mut self, line: &Line, has_answer: bool) {
        let request: Request = serde_json::from_str(&line.text).unwrap();
        let reference = request.reference();
        let question = match request {
            Request::Hello(hello) => {
                let stream = self.ours.take().expect("the first hello");
                let joining = Client::over(stream, hello, Codec::Json, Wall::default());
                self.joining = Some(tokio::spawn(joining));
                self.hears(line).await;
                return;
            }
            Request::Send(send) => return self.send(line, send, reference, has_answer).await,
            Request::Ack(ack) => {
                // What came before it is in the application's hands, one after the other.
                for cursor in 1..=ack.cursor {
                    self.handle().ack(cursor).unwrap();
                }
                self.hears(line).await;
                return;
            }
            // Given back by the client itself.
            Request::Credit(_) => return,
            Request::Bye(_) => {
                let handle = self.handle();
                tokio::spawn(async move { handle.bye().await });
                self.hears(line).await;
                return;
            }
            Request::Subscribe(asked) => {
                let handle = self.handle();
                let answered = tokio::spawn(async move {
                    let groups = handle.subscribe(asked.groups, asked.types).await?;
                    Ok(Event::Subscribed(Subscribed { reference: None, groups }))
                });
                self.groups.push_back(answered);
                self.hears(line).await;
                return;
            }
            Request::Unsubscribe(asked) => {
                let handle = self.handle();
                let answered = tokio::spawn(async move {
                    let groups = handle.unsubscribe(asked.groups).await?;
                    Ok(Event::Subscribed(Subscribed { reference: None, groups }))
                });
                self.groups.push_back(answered);
                self.hears(line).await;
                return;
            }
            other => other,
        };
        let answered = tokio::spawn(asked(self.handle(), question));
        let number = self.hears(line).await.as_u64().expect("a number");
        self.numbers.insert(reference.unwrap(), number);
        self.questions.insert(number, answered);
    }

    async fn send(&mut self, line: &Line, send: SendRequest, reference: Option<u64>, has_answer: bool) {
        let receipt_request = send.receipt;
        let (mut query, mut pending) = (None, None);
        if has_answer {
            let handle = self.handle();
            query = Some(tokio::spawn(async move { handle.query(send).await }));
        } else {
            pending = Some(self.handle().send(send).await.unwrap());
        }
        let number = self.hears(line).await.as_u64().expect("a number");
        match reference {
            Some(reference) => drop(self.numbers.insert(reference, number)),
            None => self.unnumbered.push_back(number),
        }
        query.map(|query| self.asked.insert(number, query));
        pending.map(|pending| self.pending.insert(number, (pending, receipt_request)));
    }

    /// The gateway says this line, and the client takes it for what it is.
    async fn answered(&mut self, line: &Line) {
        let event: Event = serde_json::from_str(&line.text).unwrap();
        // With the client's number in place of the contract's.
        let number = match &event {
            Event::Accepted(accepted) => match accepted.reference {
                Some(reference) => Some(self.numbers[&reference]),
                None => self.unnumbered.pop_front(),
            },
            Event::Receipt(receipt) => self.of_message.get(&receipt.id).copied(),
            other => other.reference().map(|reference| self.numbers[&reference]),
        };
        let mut json = line.json();
        if let Some(number) = number {
            json.as_object_mut().unwrap().insert("ref".into(), number.into());
        }
        // After a fatal error the client may have gone before the goodbye.
        let written = self.stream.write_all(format!("{json}\n").as_bytes()).await;
        assert!(written.is_ok() || matches!(event, Event::Goodbye(_)), "line {}: {written:?}", line.number);
        let here = self.taken(serde_json::from_value(json.clone()).unwrap(), number).await;
        let Some(here) = here else { return };
        let here = match here {
            Ok(event) => event,
            Err(ClientError::Refused(error)) => Event::Error(error),
            Err(other) => panic!("line {}: {other}", line.number),
        };
        // Through text: as a value, a short fraction would be a long one.
        let mut here: Value = serde_json::from_str(&serde_json::to_string(&here).unwrap()).unwrap();
        for value in [&mut here, &mut json] {
            value.as_object_mut().unwrap().remove("ref");
        }
        assert_eq!(here, json, "line {}", line.number);
    }

    /// What the client makes of an event, from where it gives it out; nothing where it keeps it to itself.
    async fn taken(&mut self, event: Event, number: Option<u64>) -> Option<Answered> {
        match event {
            Event::Welcome(_) => {
                let client = self.joining.take().unwrap().await.unwrap();
                Some(client.map(|client| {
                    let welcome = client.welcome().clone();
                    let (handle, mut inbox) = client.split();
                    inbox.set_auto_ack(false);
                    (self.handle, self.inbox) = (Some(handle), Some(inbox));
                    Event::Welcome(welcome)
                }))
            }
            Event::Accepted(accepted) => {
                let number = number.expect("of a message that was sent");
                self.of_message.insert(accepted.id, number);
                if let Some(query) = self.asked.remove(&number) {
                    self.answers.insert(accepted.id, query);
                    return None;
                }
                let (mut pending, receipt_request) = self.pending.remove(&number).unwrap();
                let answered = pending.accepted().await.map(Event::Accepted);
                // A repeat gets no receipt of its own.
                let receipt = tokio::spawn(pending.receipt());
                self.receipts.entry(accepted.id).or_insert((receipt, receipt_request));
                Some(answered)
            }
            Event::Receipt(receipt) => {
                let Some((_, receipt_request)) = self.receipts.get(&receipt.id) else {
                    // A query waits for its answer instead.
                    return if self.answers.contains_key(&receipt.id) {
                        None
                    } else {
                        Some(self.incoming().await)
                    };
                };
                if *receipt_request == ReceiptRequest::Processed
                    && receipt.outcome == crate::api::Outcome::Delivered
                {
                    return None;
                }
                let (answered, _) = self.receipts.remove(&receipt.id).unwrap();
                Some(answered.await.unwrap().map(Event::Receipt))
            }
            Event::Message(message) => match message.reply_to.and_then(|id| self.answers.remove(&id)) {
                Some(answer) => Some(answer.await.unwrap().map(Event::Message)),
                None => Some(self.incoming().await),
            },
            Event::Error(error) if error.fatal => Some(self.incoming().await),
            Event::Error(_) => {
                let number = number.expect("of a request");
                if let Some((mut pending, _)) = self.pending.remove(&number) {
                    return Some(pending.accepted().await.map(Event::Accepted));
                }
                Some(self.questions.remove(&number).unwrap().await.unwrap())
            }
            Event::Subscribed(_) => Some(self.groups.pop_front().unwrap().await.unwrap()),
            Event::Goodbye(_) => {
                if let Some(handle) = &self.handle {
                    handle.bye().await;
                    assert!(handle.ping().await.is_err(), "it is over");
                }
                None
            }
            _ => Some(self.questions.remove(&number.unwrap()).unwrap().await.unwrap()),
        }
    }

    /// The next thing in the inbox.
    async fn incoming(&mut self) -> Answered {
        self.inbox.as_mut().expect("a session").next().await.map(|incoming| match incoming {
            Incoming::Message(message) => Event::Message(message),
            Incoming::Receipt(receipt) => Event::Receipt(receipt),
            Incoming::Error(error) => Event::Error(error),
        })
    }
}

/// One connection of a transcript.
async fn play(lines: &[&Line]) {
    let mut play = Play::new();
    let mut lines = lines.iter().copied();
    while let Some(line) = lines.next() {
        match line.side {
            // The client cannot say what is wrong.
            Side::Agent if line.wrong => drop(lines.next()),
            Side::Agent => {
                let id = lines.clone().find_map(|next| {
                    let json = next.json();
                    (json["ev"] == "accepted" && json["ref"] == line.json()["ref"])
                        .then(|| json["id"].clone())
                });
                let is_answer = |next: &Line| {
                    next.side == Side::Gateway && id.is_some() && next.json().get("reply_to") == id.as_ref()
                };
                let has_answer = lines.clone().any(is_answer);
                play.say(line, has_answer).await;
            }
            Side::Gateway => play.answered(line).await,
        }
    }
}

#[tokio::test]
async fn the_client_speaks_and_understands_the_contract() {
    let contract = contract();
    for (_, lines) in &contract.transcripts {
        let mut connections: BTreeMap<&str, Vec<&Line>> = BTreeMap::new();
        for line in lines {
            connections.entry(&line.connection).or_default().push(line);
        }
        for (_, lines) in connections {
            // Whoever is not welcome is no client: that one says hello first.
            if lines[0].json()["op"] == "hello" {
                play(&lines).await;
            }
        }
    }
}

/// Asks the gateway itself, and says what it answers.
async fn asked(handle: Handle, question: Request) -> Answered {
    let done = || Event::Done(Done { reference: None });
    Ok(match question {
        Request::Status(_) => Event::Status(Box::new(handle.status().await?)),
        Request::Peers(_) => Event::Peers(handle.peers().await?),
        Request::Routes(_) => Event::Routes(handle.routes().await?),
        Request::Agents(_) => Event::Agents(handle.agents().await?),
        Request::Health(_) => Event::Health(Box::new(handle.health().await?)),
        Request::LinkAdd(add) => {
            handle.add_link(add.name, add.address, add.fingerprint).await?;
            done()
        }
        Request::LinkRemove(remove) => {
            handle.remove_link(remove.name).await?;
            done()
        }
        Request::RouteAdd(add) => {
            handle.add_route(add.destination, add.next_hop, add.cost).await?;
            done()
        }
        Request::RouteRemove(remove) => {
            handle.remove_route(remove.destination).await?;
            done()
        }
        Request::AgentForget(forget) => {
            handle.forget_agent(forget.name).await?;
            done()
        }
        Request::Why(why) => Event::Timeline(handle.why(why.id).await?),
        Request::PingNode(ask) => Event::NodePong(handle.ping_node(ask.node, ask.timeout_ms).await?),
        Request::TraceNode(ask) => Event::Trace(handle.trace_node(ask.node, ask.timeout_ms).await?),
        Request::Ping(_) => {
            handle.ping().await?;
            Event::Pong(crate::api::Pong { reference: None })
        }
        other => panic!("the client cannot say {other:?}"),
    })
}
