//! How much of a gateway the holders of one token may take, and what is kept for others.

mod common;

use std::path::Path;

use common::{agent, cable, gateway, name, plan};
use gateway::Gateway;
use gateway::access::{self, Grant, NamePattern};
use gateway::agents::TokenCheck;
use gateway::engine::Membership;
use mesh_agent::api::{Body, ErrorCode, ErrorEvent, Hello, Outcome, ReceiptRequest, SendRequest, Token};
use mesh_agent::{Client, ClientError, Endpoint, Incoming};
use mesh_protocol::{MessageType, Priority};

/// A gateway that keeps 100 agents, and goes by the tokens of this folder.
async fn start(dir: &Path) -> Gateway {
    let mut plan = plan(1, cable().0, dir, Membership::new([7; 16], 1, true));
    plan.listen.token = TokenCheck::open().with_tokens_of(dir).unwrap();
    Gateway::start(plan).await.unwrap()
}

/// A token that allows everything, and one with these limits whose agents may have any name.
fn tokens(dir: &Path, limits: impl FnOnce(Grant) -> Grant) -> (Token, Token) {
    let any: NamePattern = "*".parse().unwrap();
    let (all, _) = access::add(dir, |sha256| Grant::new(name("all"), sha256)).unwrap();
    let limited = |sha256| limits(Grant { names: vec![any], ..Grant::new(name("limited"), sha256) });
    let (limited, _) = access::add(dir, limited).unwrap();
    (Token::new(all.as_str()), Token::new(limited.as_str()))
}

async fn attach(gateway: &Gateway, agent: &str, token: &Token) -> Result<Client, ClientError> {
    let hello = Hello { token: Some(token.clone()), ..Hello::new(name(agent)) };
    Client::connect(&Endpoint::from(gateway.tcp_address().unwrap()), hello).await
}

fn task(to: &str) -> SendRequest {
    SendRequest::new(to.parse().unwrap(), MessageType::Task, Body::text("12345678"))
}

#[track_caller]
fn refused<T>(told: Result<T, ClientError>) -> ErrorEvent {
    match told {
        Err(ClientError::Refused(error)) => error,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was allowed"),
    }
}

async fn sends(client: &Client, request: SendRequest) -> Result<(), ClientError> {
    client.handle().send(request).await.unwrap().accepted().await.map(drop)
}

#[tokio::test]
async fn a_token_has_so_many_sessions_and_an_agent_that_comes_back_is_let_in() {
    let folder = tempfile::tempdir().unwrap();
    let (all, limited) = tokens(folder.path(), |grant| Grant { max_sessions: Some(2), ..grant });
    let gateway = start(folder.path()).await;
    let _first = attach(&gateway, "a", &limited).await.unwrap();
    let second = attach(&gateway, "b", &limited).await.unwrap();
    let error = refused(attach(&gateway, "c", &limited).await);
    assert_eq!(error.code, ErrorCode::Overloaded);
    assert!(error.message.contains("limited allows 2 sessions") && error.message.contains("max_sessions"));
    let _again = attach(&gateway, "a", &limited).await.unwrap();
    let _other = attach(&gateway, "c", &all).await.unwrap();
    second.handle().bye().await;
    // Its session ends behind its goodbye.
    while attach(&gateway, "d", &limited).await.is_err() {}
    gateway.stop().await.unwrap();
}

#[tokio::test]
async fn names_by_the_hundred_push_out_nobody_elses_agents() {
    let folder = tempfile::tempdir().unwrap();
    let (all, limited) = tokens(folder.path(), |grant| Grant { max_agents: Some(3), ..grant });
    let gateway = start(folder.path()).await;
    for n in 0..20 {
        attach(&gateway, &format!("other-{n}"), &all).await.unwrap().handle().bye().await;
    }
    for n in 0..200 {
        attach(&gateway, &format!("hasty-{n}"), &limited).await.unwrap().handle().bye().await;
    }
    let operator = attach(&gateway, "operator", &all).await.unwrap();
    let known = operator.handle().agents().await.unwrap().agents;
    let count = |start: &str| known.iter().filter(|agent| agent.name.as_str().starts_with(start)).count();
    assert_eq!((count("other-"), count("hasty-")), (20, 3));

    // While all three are there, there is no fourth.
    let mut there = Vec::new();
    for n in 0..3 {
        there.push(attach(&gateway, &format!("there-{n}"), &limited).await.unwrap());
    }
    for new in ["fourth", "other-1"] {
        let error = refused(attach(&gateway, new, &limited).await);
        assert_eq!(error.code, ErrorCode::Overloaded);
        assert!(error.message.contains("limited allows 3 agents (max_agents)"), "{error}");
    }
    gateway.stop().await.unwrap();
}

#[tokio::test]
async fn limited_tokens_leave_the_last_agents_to_others() {
    let folder = tempfile::tempdir().unwrap();
    let (all, limited) = tokens(folder.path(), |grant| Grant { max_agents: Some(1_000), ..grant });
    let gateway = start(folder.path()).await;
    let mut there = Vec::new();
    let refusal = loop {
        match attach(&gateway, &format!("hasty-{}", there.len()), &limited).await {
            Ok(client) => there.push(client),
            told => break refused(told),
        }
    };
    assert!(refusal.code == ErrorCode::Overloaded && there.len() == 94, "{}: {refusal}", there.len());
    attach(&gateway, "operator", &all).await.unwrap().handle().status().await.unwrap();
    gateway.stop().await.unwrap();
}

#[tokio::test]
async fn what_waits_counts_against_its_token_also_after_a_restart_until_it_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let (all, limited) = tokens(dir, |grant| Grant { max_messages: Some(5), max_bytes: Some(48), ..grant });
    let first = start(dir).await;
    attach(&first, "bob", &all).await.unwrap().handle().bye().await;
    let hasty = attach(&first, "hasty", &limited).await.unwrap();
    // Three for one who is away, and two for a node that nobody has heard of.
    for to in ["bob", "bob", "bob", "nobody@0x0009", "nobody@0x0009"] {
        sends(&hasty, task(to)).await.unwrap();
    }
    let over = async |hasty: &Client| {
        for to in ["bob", "nobody@0x0009"] {
            let error = refused(sends(hasty, task(to)).await);
            assert_eq!(error.code, ErrorCode::Busy);
            assert!(error.message.contains("limited allows 5 messages (max_messages)"), "{error}");
        }
    };
    over(&hasty).await;
    sends(&attach(&first, "alice", &all).await.unwrap(), task("bob")).await.unwrap();
    first.stop().await.unwrap();

    let second = start(dir).await;
    let hasty = attach(&second, "hasty", &limited).await.unwrap();
    over(&hasty).await;
    let mut bob = attach(&second, "bob", &all).await.unwrap();
    for _ in 0..4 {
        bob.inbox().next_message().await.unwrap();
    }
    // The last one is acknowledged when the next is asked for, or here.
    bob.handle().ack(4).unwrap();
    bob.handle().ping().await.unwrap();
    let long = SendRequest { body: Body::text("x".repeat(33)), ..task("bob") };
    let error = refused(sends(&hasty, long).await);
    assert!(error.message.contains("48 bytes of messages (max_bytes)"), "{error}");
    sends(&hasty, task("bob")).await.unwrap();
    second.stop().await.unwrap();
}

#[tokio::test]
async fn groups_and_deadlines_of_a_token_have_a_bound() {
    let folder = tempfile::tempdir().unwrap();
    let (all, limited) =
        tokens(folder.path(), |grant| Grant { max_groups: Some(3), max_deadline_s: Some(60), ..grant });
    let gateway = start(folder.path()).await;
    let (first, second) =
        (attach(&gateway, "a", &limited).await.unwrap(), attach(&gateway, "b", &limited).await.unwrap());
    let groups = |names: &[&str]| names.iter().map(|text| name(text)).collect::<Vec<_>>();
    first.handle().subscribe(groups(&["x", "y"]), None).await.unwrap();
    let error = refused(second.handle().subscribe(groups(&["x", "y"]), None).await);
    assert!(error.code == ErrorCode::TooLarge && error.message.contains("(max_groups)"), "{error}");
    second.handle().subscribe(groups(&["x"]), None).await.unwrap();
    attach(&gateway, "c", &all)
        .await
        .unwrap()
        .handle()
        .subscribe(groups(&["u", "v", "w", "z"]), None)
        .await
        .unwrap();

    let late = |deadline_ms| SendRequest { deadline_ms: Some(deadline_ms), ..task("a") };
    sends(&first, late(60_000)).await.unwrap();
    let error = refused(sends(&first, late(60_001)).await);
    assert_eq!((error.code, error.field.as_deref()), (ErrorCode::Unauthorised, Some("deadline_ms")));
    gateway.stop().await.unwrap();
}

#[tokio::test]
async fn the_last_sixteenth_of_an_inbox_is_for_what_is_critical() {
    let dir = tempfile::tempdir().unwrap();
    // An inbox has a thousand places.
    let gateway = start(dir.path()).await;
    agent(&gateway, "bob").await.handle().bye().await;
    let alice = agent(&gateway, "alice").await;
    let fleeting = |priority| SendRequest { durable: false, priority, ..task("bob") };
    for _ in 0..938 {
        sends(&alice, fleeting(Priority::High)).await.unwrap();
    }
    assert_eq!(refused(sends(&alice, fleeting(Priority::High)).await).code, ErrorCode::Busy);
    for _ in 938..1_000 {
        sends(&alice, fleeting(Priority::Critical)).await.unwrap();
    }
    assert_eq!(refused(sends(&alice, fleeting(Priority::Critical)).await).code, ErrorCode::Busy);
    gateway.stop().await.unwrap();
}

#[tokio::test]
async fn a_token_that_is_removed_takes_along_what_waits_of_what_it_sent_if_asked() {
    let folder = tempfile::tempdir().unwrap();
    let (all, limited) = tokens(folder.path(), |grant| Grant { max_body: Some(100), ..grant });
    let gateway = start(folder.path()).await;
    let alice = attach(&gateway, "alice", &all).await.unwrap();
    let sensor = attach(&gateway, "sensor", &limited).await.unwrap();
    for from in [&alice, &sensor, &sensor] {
        // Nobody answers for that name, so it waits.
        sends(from, task("nobody")).await.unwrap();
    }
    let waiting = async || alice.handle().status().await.unwrap().outbox;
    assert_eq!(waiting().await, 3);
    access::remove(folder.path(), &name("limited"), true).unwrap();
    while waiting().await > 1 {}
    // Whoever has the name next is told.
    let (_, mut inbox) = attach(&gateway, "sensor", &all).await.unwrap().split();
    for _ in 0..2 {
        let Incoming::Receipt(told) = inbox.next().await.unwrap() else { panic!() };
        assert_eq!(told.outcome, Outcome::Rejected);
        assert_eq!(told.why.as_deref(), Some("its access token was removed before it was sent"));
    }
    gateway.stop().await.unwrap();
    // A new token of that name is another one.
    let purged = || access::read_file(&folder.path().join(access::TOKENS_FILE)).unwrap().unwrap().purged;
    assert_eq!(purged(), [name("limited")]);
    access::add(folder.path(), |sha256| Grant::new(name("limited"), sha256)).unwrap();
    assert_eq!(purged(), []);
}

#[tokio::test]
async fn one_token_leaves_others_room_to_be_told_processed_whatever_names_it_uses() {
    let folder = tempfile::tempdir().unwrap();
    let (all, limited) =
        tokens(folder.path(), |grant| Grant { max_agents: Some(3), max_messages: Some(5_000), ..grant });
    let gateway = start(folder.path()).await;
    let task = || SendRequest { receipt: ReceiptRequest::Processed, durable: false, ..task("nobody@0x0009") };
    let mut there = Vec::new();
    for (n, messages) in [(0, 500), (1, 524)] {
        let hasty = attach(&gateway, &format!("hasty-{n}"), &limited).await.unwrap();
        for _ in 0..messages {
            sends(&hasty, task()).await.unwrap();
        }
        there.push(hasty);
    }
    for hasty in &there {
        let error = refused(sends(hasty, task()).await);
        assert!(error.code == ErrorCode::Busy && error.message.contains("to be acknowledged"), "{error}");
        sends(hasty, SendRequest { receipt: ReceiptRequest::Delivered, ..task() }).await.unwrap();
    }
    // Those of one agent count while they are on their way, too.
    let alice = attach(&gateway, "alice", &all).await.unwrap();
    for _ in 0..1_024 {
        sends(&alice, task()).await.unwrap();
    }
    assert_eq!(refused(sends(&alice, task()).await).code, ErrorCode::Busy);
    sends(&attach(&gateway, "carol", &all).await.unwrap(), task()).await.unwrap();
    gateway.stop().await.unwrap();
}

#[tokio::test]
async fn an_agent_whose_only_claim_is_an_ack_that_never_came_gives_way_also_after_a_restart() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (end_a, end_b) = cable();
    // Each keeps a hundred agents.
    let (a, b) = (gateway(1, end_a, dirs[0].path()).await, gateway(2, end_b, dirs[1].path()).await);
    agent(&b, "bob").await.handle().bye().await;
    let request = SendRequest { receipt: ReceiptRequest::Processed, ..task("bob") };
    for n in 0..100u64 {
        let sender = agent(&a, &format!("cli-{n}")).await;
        sends(&sender, request.clone()).await.unwrap();
        let delivered =
            async || sender.handle().status().await.unwrap().counters.get("messages_delivered").copied();
        while delivered().await <= Some(n) {}
        // Its receipt is read.
        sender.handle().ack(1).unwrap();
        sender.handle().ping().await.unwrap();
        sender.handle().bye().await;
    }
    agent(&a, "new").await.handle().bye().await;
    agent(&a, "newer").await.handle().bye().await;
    let names = async |of: &Gateway| {
        let told = agent(of, "cli-99").await.handle().agents().await.unwrap();
        told.agents.iter().filter(|agent| agent.local).map(|agent| agent.name).collect::<Vec<_>>()
    };
    let known = names(&a).await;
    assert!(known.len() == 100 && known.contains(&name("newer")), "{known:?}");
    assert!(!known.contains(&name("cli-0")) && known.contains(&name("cli-1")), "{known:?}");
    assert!(!known.contains(&name("new")), "what is worth nothing goes first: {known:?}");
    a.stop().await.unwrap();

    let a = gateway(1, cable().0, dirs[0].path()).await;
    agent(&a, "newest").await.handle().bye().await;
    agent(&a, "last").await.handle().ping().await.unwrap();
    assert!(names(&a).await.contains(&name("last")));
    a.stop().await.unwrap();
    b.stop().await.unwrap();
}
