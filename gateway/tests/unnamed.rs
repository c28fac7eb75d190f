//! Sessions without a name: they may ask and be answered, and nothing of them is left.

mod common;

use std::path::Path;

use common::{agent, cable, gateway, name, plan};
use gateway::Gateway;
use gateway::engine::Membership;
use gateway::store::Store;
use mesh_agent::api::{Body, ErrorCode, Hello, MessageRef, Outcome, ReceiptRequest, SendRequest};
use mesh_agent::{Client, ClientError, Endpoint};
use mesh_protocol::MessageType;

async fn unnamed(gateway: &Gateway) -> Client {
    Client::connect(&Endpoint::from(gateway.tcp_address().unwrap()), Hello::unnamed()).await.unwrap()
}

fn question(to: &str) -> SendRequest {
    SendRequest::new(to.parse().unwrap(), MessageType::Query, Body::text("how warm is it?"))
}

fn answer(question: &mesh_agent::api::Message) -> SendRequest {
    SendRequest::answer(question, Body::text("21.5 C"))
}

#[tokio::test]
async fn after_1010_questions_with_late_answers_the_gateway_lets_everyone_in() {
    let dir = tempfile::tempdir().unwrap();
    let (end, _other) = cable();
    // It keeps 100 agents.
    let gateway = gateway(1, end, dir.path()).await;
    let mut bob = agent(&gateway, "bob").await;
    let mut askers = std::collections::BTreeSet::new();
    for _ in 0..1_010 {
        let asker = unnamed(&gateway).await;
        askers.insert(asker.welcome().name);
        asker.handle().send(question("bob")).await.unwrap().accepted().await.unwrap();
        asker.handle().bye().await;
        let question = bob.inbox().next_message().await.unwrap();
        // Nobody waits for it any more, and nobody keeps it.
        let late = bob.handle().send(answer(&question)).await.unwrap().accepted().await;
        assert!(
            matches!(&late, Err(ClientError::Refused(error)) if error.code == ErrorCode::UnknownReceiver),
            "{late:?}"
        );
    }
    assert_eq!(askers.len(), 1_010, "each had a name of its own");
    let status = unnamed(&gateway).await.handle().status().await.unwrap();
    assert_eq!((status.agents.local, status.agents.connected), (1, 1));
    agent(&gateway, "alice").await.handle().status().await.unwrap();
    gateway.stop().await.unwrap();
}

#[tokio::test]
async fn questions_of_unnamed_sessions_and_their_answers_write_nothing() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (end_a, end_b) = cable();
    let (a, b) = (gateway(1, end_a, dirs[0].path()).await, gateway(2, end_b, dirs[1].path()).await);
    let (bob, mut questions) = agent(&b, "bob").await.split();
    tokio::spawn(async move {
        while let Ok(question) = questions.next_message().await {
            bob.send(answer(&question)).await.unwrap();
        }
    });
    // SEQs, message numbers and what is said of bob are on the disk from the first ones on.
    let ask = async || {
        let asker = unnamed(&a).await;
        let answer = asker.handle().query(question("bob")).await.unwrap();
        assert_eq!(answer.body.as_text(), Some("21.5 C"));
        asker.handle().bye().await;
    };
    ask().await;
    let commits = async || unnamed(&a).await.handle().status().await.unwrap().store.commits;
    let before = commits().await;
    for _ in 0..50 {
        ask().await;
    }
    // Sequence numbers are reserved in blocks, small at first; the questions themselves cost nothing.
    let more = commits().await - before;
    assert!(more < 5, "{more} commits for 50 questions");
    a.stop().await.unwrap();
    b.stop().await.unwrap();
}

#[tokio::test]
async fn two_hundred_sessions_without_a_name_ask_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (end, _other) = cable();
    let gateway = gateway(1, end, dir.path()).await;
    let mut sessions = Vec::new();
    for _ in 0..200 {
        sessions.push(unnamed(&gateway).await);
    }
    for session in &sessions {
        let status = session.handle().status().await.unwrap();
        let agents = session.handle().agents().await.unwrap().agents;
        assert_eq!((status.agents.local, agents.len()), (0, 0), "they are nobody to write to");
    }
    // Nobody else gets the name that one has been given.
    let own = sessions[0].welcome().name;
    let endpoint = Endpoint::from(gateway.tcp_address().unwrap());
    let taken = Client::connect(&endpoint, Hello::new(own)).await.unwrap_err();
    assert!(matches!(&taken, ClientError::Refused(error) if error.code == ErrorCode::BadRequest), "{taken}");
    gateway.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_said_to_everyone_does_not_wait_for_who_passes() {
    let dir = tempfile::tempdir().unwrap();
    let (end, _other) = cable();
    let gateway = gateway(1, end, dir.path()).await;
    let passing = unnamed(&gateway).await;
    let alice = agent(&gateway, "alice").await;
    let all = SendRequest::new("everyone".parse().unwrap(), MessageType::Notification, Body::text("fire"));
    alice.handle().send(all).await.unwrap().accepted().await.unwrap();
    passing.handle().ping().await.unwrap();
    passing.handle().bye().await;
    let (_, mut inbox) = passing.split();
    assert!(inbox.next().await.is_err(), "nothing came");
    gateway.stop().await.unwrap();
}

#[tokio::test]
async fn an_agent_is_forgotten_by_an_operator_or_by_itself_also_on_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let (end, _other) = cable();
    let first = gateway(1, end, dir.path()).await;
    let alice = agent(&first, "alice").await;
    for gone in ["old", "older"] {
        agent(&first, gone).await.handle().bye().await;
    }
    let task =
        SendRequest::new("old".parse().unwrap(), MessageType::Task, Body::text("are you still there?"));
    alice.handle().send(task).await.unwrap().accepted().await.unwrap();
    let operator = unnamed(&first).await;
    let refused = |told: Result<(), ClientError>| match told {
        Err(ClientError::Refused(error)) => error.code,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(operator.handle().forget_agent(name("alice")).await), ErrorCode::Busy);
    assert_eq!(refused(operator.handle().forget_agent(name("zed")).await), ErrorCode::BadRequest);
    operator.handle().forget_agent(name("old")).await.unwrap();
    // It goes on until its session ends.
    alice.handle().forget_agent(name("alice")).await.unwrap();
    alice.handle().ping().await.unwrap();
    alice.handle().bye().await;
    let names = async |of: &Gateway| {
        let told = unnamed(of).await.handle().agents().await.unwrap();
        told.agents.iter().map(|agent| agent.name).collect::<Vec<_>>()
    };
    assert_eq!(names(&first).await, [name("older")]);
    first.stop().await.unwrap();

    let (end, _other) = cable();
    let second = gateway(1, end, dir.path()).await;
    assert_eq!(names(&second).await, [name("older")]);
    let mut old = agent(&second, "old").await;
    old.handle().ping().await.unwrap();
    old.handle().bye().await;
    assert!(old.inbox().next().await.is_err(), "what waited for it is gone");
    second.stop().await.unwrap();
}

#[tokio::test]
async fn status_counts_the_agents_elsewhere_that_agents_lists() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (end_a, end_b) = cable();
    let (a, b) = (gateway(1, end_a, dirs[0].path()).await, gateway(2, end_b, dirs[1].path()).await);
    // The mesh is told of the first by a hash of its name alone, and of the second by what it writes.
    let _mute = agent(&b, "mute").await;
    let alice = agent(&a, "alice").await;
    let bob = agent(&b, "bob").await;
    let mut sent = bob.handle().send(question("alice")).await.unwrap();
    let id: MessageRef = sent.accepted().await.unwrap().id;
    assert_eq!(sent.receipt().await.unwrap().id, id);
    let (status, listed) =
        (alice.handle().status().await.unwrap(), alice.handle().agents().await.unwrap().agents);
    let elsewhere = listed.iter().filter(|agent| !agent.local).count() as u64;
    assert_eq!((status.agents.remote, elsewhere), (1, 1), "{listed:?}");
    a.stop().await.unwrap();
    b.stop().await.unwrap();
}

/// A task that its sender wants to be told the ack of.
fn task(to: &str) -> SendRequest {
    let task = SendRequest::new(to.parse().unwrap(), MessageType::Task, Body::text("water the plants"));
    SendRequest { receipt: ReceiptRequest::Processed, ..task }
}

/// Waits until this gateway has been told so often that a message was delivered.
async fn until_delivered(by: &Client, messages: u64) {
    let delivered = async || by.handle().status().await.unwrap().counters.get("messages_delivered").copied();
    while delivered().await < Some(messages) {}
}

/// Messages in the outbox on the disk of a gateway that has stopped.
fn in_outbox(dir: &Path) -> usize {
    let (store, found) = Store::open(dir).unwrap();
    store.close().unwrap();
    found.outbox.len()
}

#[tokio::test]
async fn after_5000_unnamed_sends_that_nobody_acknowledged_others_are_still_told_processed() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (end_a, end_b) = cable();
    let a = gateway(1, end_a, dirs[0].path()).await;
    let mut roomy = plan(2, end_b, dirs[1].path(), Membership::new([7; 16], 1, true));
    roomy.config.inbox_messages = 10_000;
    let b = Gateway::start(roomy).await.unwrap();
    agent(&b, "bob").await.handle().bye().await;
    for n in 1..=10 {
        let passing = unnamed(&a).await;
        let mut pending = Vec::new();
        for _ in 0..500 {
            pending.push(passing.handle().send(task("bob")).await.unwrap());
        }
        for sent in &mut pending {
            sent.accepted().await.unwrap();
        }
        until_delivered(&passing, n * 500).await;
        if n < 10 {
            passing.handle().bye().await;
            continue;
        }
        let alice = agent(&a, "alice").await;
        let mut own = alice.handle().send(task("cleo")).await.unwrap();
        own.accepted().await.unwrap();
        let _cleo = agent(&b, "cleo").await;
        until_delivered(&alice, 5_001).await;
        a.stop().await.unwrap();
        b.stop().await.unwrap();
        // The last one was there to the end.
        assert_eq!(in_outbox(dirs[0].path()), 501);
        break;
    }

    let (end_a, end_b) = cable();
    let (a, b) = (gateway(1, end_a, dirs[0].path()).await, gateway(2, end_b, dirs[1].path()).await);
    let (_alice, mut told) = agent(&a, "alice").await.split();
    let mut cleo = agent(&b, "cleo").await;
    let task = cleo.inbox().next_message().await.unwrap();
    cleo.handle().ack(task.cursor.unwrap()).unwrap();
    let mut outcomes = Vec::new();
    while outcomes.last() != Some(&Outcome::Processed) {
        if let mesh_agent::Incoming::Receipt(receipt) = told.next().await.unwrap() {
            outcomes.push(receipt.outcome);
        }
    }
    // The first of the two comes again, unless its client took it just before the stop.
    let delivered = outcomes.len() - 1;
    assert!(
        delivered <= 1 && outcomes[..delivered].iter().all(|it| *it == Outcome::Delivered),
        "{outcomes:?}"
    );
    a.stop().await.unwrap();
    b.stop().await.unwrap();
    assert_eq!(in_outbox(dirs[0].path()), 0, "nothing is left of any of them");
}
