//! What is said once: names cross the mesh in full the first time, and never name anybody else.

mod common;

use std::sync::{Arc, Mutex};

use ble_bearer::{Trace, Traced};
use common::{Plug, agent, cable_with_a_plug, name, plan};
use gateway::Gateway;
use gateway::engine::Membership;
use mesh_agent::Client;
use mesh_agent::api::{Body, Destination, Message, Outcome, SendRequest};
use mesh_protocol::continuation::is_continuation;
use mesh_protocol::frame::{self, Kind};
use mesh_protocol::{EpochKeys, Keyring, MessageType, NetKey};
use tempfile::TempDir;

/// Two gateways on a cable, of which the second can lose its power.
struct Two {
    a: Gateway,
    b: Option<Gateway>,
    plug: Plug,
    dirs: [TempDir; 2],
    /// Frames of messages that the first has sent.
    frames: Arc<Mutex<Vec<Kind>>>,
}

fn membership() -> Membership {
    Membership::new([7; 16], 1, true)
}

impl Two {
    async fn start() -> Self {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let (end_a, end_b, plug) = cable_with_a_plug();
        let frames = Arc::new(Mutex::new(Vec::new()));
        let (seen, keys) = (Arc::clone(&frames), Keyring::new(EpochKeys::derive(&NetKey::new([7; 16]), 1)));
        let observer = move |trace: Trace<'_>| {
            if let Trace::Sent { frame, .. } = trace {
                let mut bytes = frame.to_vec();
                let kind = if is_continuation(&bytes) {
                    Kind::Segment
                } else {
                    frame::decode(&mut bytes, &keys).unwrap().frame().kind
                };
                if kind != Kind::Control {
                    seen.lock().unwrap().push(kind);
                }
            }
        };
        let end_a = Traced::new(end_a, observer);
        let a = Gateway::start(plan(1, end_a, dirs[0].path(), membership())).await.unwrap();
        let b = Gateway::start(plan(2, end_b, dirs[1].path(), membership())).await.unwrap();
        Self { a, b: Some(b), plug, dirs, frames }
    }

    fn b(&self) -> &Gateway {
        self.b.as_ref().unwrap()
    }

    /// The power of the second is cut, and comes back.
    async fn cut(&mut self) {
        self.b.take().unwrap().cut().await;
        let plan = plan(2, self.plug.again(), self.dirs[1].path(), membership());
        self.b = Some(Gateway::start(plan).await.unwrap());
    }

    /// Frames of messages since it was asked last. A frame for who was not yet heard often goes out several times.
    fn frames(&self) -> Vec<Kind> {
        std::mem::take(&mut *self.frames.lock().unwrap())
    }
}

async fn said(from: &Client, to: &str, body: &[u8]) {
    let to = Destination::agent(name(to));
    let request = SendRequest::new(to, MessageType::Task, Body::data(body.to_vec()));
    let receipt = from.handle().send(request).await.unwrap().receipt().await.unwrap();
    assert_eq!(receipt.outcome, Outcome::Delivered, "{:?}", receipt.why);
}

async fn heard(by: &mut Client) -> (Destination, MessageType, Vec<u8>) {
    let Message { from, kind, body, .. } = by.inbox().next_message().await.unwrap();
    let Destination::Agent { name, .. } = from else { panic!("{from}") };
    (Destination::agent(name), kind, body.bytes().to_vec())
}

#[tokio::test]
async fn eight_bytes_between_agents_that_have_spoken_take_one_frame_even_after_a_power_cut() {
    let mut two = Two::start().await;
    let alice = agent(&two.a, "agent_001").await;
    let mut bob = agent(two.b(), "worker_001").await;
    let from_alice = |body: &[u8]| (Destination::agent(name("agent_001")), MessageType::Task, body.to_vec());
    said(&alice, "worker_001", &[1; 8]).await;
    assert_eq!(heard(&mut bob).await, from_alice(&[1; 8]));
    assert!(two.frames().iter().all(|kind| *kind == Kind::Segment), "with all names it takes several");
    said(&alice, "worker_001", &[2; 8]).await;
    assert_eq!(heard(&mut bob).await, from_alice(&[2; 8]));
    assert!(two.frames().contains(&Kind::Single));

    two.frames();
    two.cut().await;
    let mut bob = agent(two.b(), "worker_001").await;
    said(&alice, "worker_001", &[3; 8]).await;
    loop {
        // What it had not acknowledged comes again.
        let came = heard(&mut bob).await;
        if came.2 == [3; 8] {
            assert_eq!(came, from_alice(&[3; 8]));
            break;
        }
    }
    assert!(two.frames().contains(&Kind::Single), "what was said is on its disk");
    let counters = alice.handle().status().await.unwrap().counters;
    assert_eq!(counters.get("messages_said_in_full"), None);
}

#[tokio::test]
async fn a_reply_says_which_question_it_answers() {
    let two = Two::start().await;
    let (asker, _inbox) = agent(&two.a, "asker").await.split();
    let (answerer, mut questions) = agent(two.b(), "answerer").await.split();
    tokio::spawn(async move {
        while let Ok(question) = questions.next_message().await {
            let (reply_to, body) = (Some(question.id), question.body.clone());
            let answer = SendRequest::new(question.from, MessageType::Response, body);
            answerer.send(SendRequest { reply_to, ..answer }).await.unwrap();
        }
    });
    for n in 0..4 {
        let body = Body::text(n.to_string());
        let question =
            SendRequest::new(Destination::agent(name("answerer")), MessageType::Query, body.clone());
        let answer = asker.query(question).await.unwrap();
        assert_eq!((answer.kind, answer.body), (MessageType::Response, body));
    }
}

#[tokio::test]
async fn more_agents_than_contexts_are_never_confused() {
    const AGENTS: usize = 40;
    let two = Two::start().await;
    let mut bob = agent(two.b(), "bob").await;
    let mut agents = Vec::new();
    for n in 0..AGENTS {
        agents.push(agent(&two.a, &format!("agent-{n}")).await);
    }
    for round in 0..3 {
        for (n, alice) in agents.iter().enumerate() {
            let body = format!("{round} of {n}");
            said(alice, "bob", body.as_bytes()).await;
            let from = Destination::agent(name(&format!("agent-{n}")));
            assert_eq!(heard(&mut bob).await, (from, MessageType::Task, body.into_bytes()));
        }
    }
}
