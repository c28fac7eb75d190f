//! What agents can rely on: names, groups, inboxes, receipts, and truth about what did not work.

mod common;

use common::{agent, cable, gateway, name};
use gateway::Gateway;
use mesh_agent::api::{
    Body, Destination, ErrorCode, Hello, MessageRef, Outcome, ReceiptRequest, SendRequest,
};
use mesh_agent::{Client, ClientError, Endpoint, Handle};
use mesh_protocol::{MessageType, Priority};
use tempfile::TempDir;

/// Two gateways on a cable.
struct Two {
    a: Gateway,
    b: Gateway,
    _dirs: [TempDir; 2],
}

impl Two {
    async fn start() -> Self {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let (end_a, end_b) = cable();
        let a = gateway(1, end_a, dirs[0].path()).await;
        let b = gateway(2, end_b, dirs[1].path()).await;
        Self { a, b, _dirs: dirs }
    }
}

fn text(to: &str, body: &str) -> SendRequest {
    SendRequest::new(to.parse().unwrap(), MessageType::Notification, Body::text(body))
}

async fn outcome(handle: &Handle, request: SendRequest) -> (Outcome, Option<String>) {
    let receipt = handle.send(request).await.unwrap().receipt().await.unwrap();
    (receipt.outcome, receipt.why)
}

#[tokio::test]
async fn a_query_is_answered_across_the_mesh_with_many_in_flight() {
    let two = Two::start().await;
    let (asker, _inbox) = agent(&two.a, "asker").await.split();
    let (answerer, mut questions) = agent(&two.b, "answerer").await.split();
    tokio::spawn(async move {
        while let Ok(question) = questions.next_message().await {
            let body = Body::text(format!("answer to {}", question.body.as_text().unwrap()));
            let reply_to = Some(question.id);
            let answer = SendRequest::new(question.from, MessageType::Response, body);
            answerer.send(SendRequest { reply_to, ..answer }).await.unwrap();
        }
    });
    let questions = (0..20).map(|n| {
        let asker = asker.clone();
        async move {
            let question = SendRequest::new(
                Destination::agent(name("answerer")),
                MessageType::Query,
                Body::text(n.to_string()),
            );
            asker.query(question).await.unwrap().body.as_text().unwrap().to_owned()
        }
    });
    let mut running = tokio::task::JoinSet::new();
    questions.for_each(|question| drop(running.spawn(question)));
    let mut answers = running.join_all().await;
    answers.sort_by_key(|answer| answer.len());
    assert_eq!(answers.len(), 20);
    assert!(answers.contains(&"answer to 7".to_owned()) && answers.contains(&"answer to 19".to_owned()));
}

/// Whoever may write to an asker could answer in another's place: the numbers of messages can be guessed.
#[tokio::test]
async fn an_answer_to_somebody_elses_message_is_refused() {
    let two = Two::start().await;
    let (alice, mut heard) = agent(&two.a, "alice").await.split();
    let [carol, eve] = [agent(&two.a, "carol").await, agent(&two.a, "eve").await];
    let [bob, mallory] = [agent(&two.b, "bob").await, agent(&two.b, "mallory").await];
    let ask = async |to: &str| {
        let question =
            SendRequest::new(to.parse().unwrap(), MessageType::Query, Body::text("how warm is it?"));
        let mut asked = alice.send(question).await.unwrap();
        let id = asked.accepted().await.unwrap().id;
        asked.receipt().await.unwrap();
        id
    };
    let answer = |to: &str, id| SendRequest { reply_to: Some(id), ..text(to, "100 C") };
    let refused = async |from: &Client, to: &str, id| match from
        .handle()
        .send(answer(to, id))
        .await
        .unwrap()
        .accepted()
        .await
    {
        Err(ClientError::Refused(error)) => {
            assert_eq!((error.code, error.field.as_deref()), (ErrorCode::BadRequest, Some("reply_to")));
        }
        other => panic!("{other:?}"),
    };
    let mut hears = async |from: &Client, id, as_an_answer: bool| {
        let sent = from.handle().send(answer("alice@0x0001", id)).await.unwrap();
        assert_eq!(sent.receipt().await.unwrap().outcome, Outcome::Delivered);
        let heard = heard.next_message().await.unwrap();
        assert_eq!(heard.reply_to, Some(id).filter(|_| as_an_answer), "{}", heard.from);
    };
    let [near, far, there, all] =
        [ask("carol").await, ask("bob").await, ask("bob@0x0002").await, ask("everyone").await];
    for id in [near, far, there] {
        refused(&eve, "alice", id).await;
        hears(&mallory, id, false).await;
    }
    refused(&carol, "eve", near).await;
    refused(&carol, "node:0x0002", near).await;
    hears(&carol, near, true).await;
    hears(&bob, far, true).await;
    hears(&bob, there, true).await;
    // Whom it reached, and what happened before it remembers, the gateway does not know.
    let never = MessageRef { id: mesh_protocol::MessageId(u32::MAX), ..near };
    for id in [all, never] {
        hears(&eve, id, true).await;
        hears(&mallory, id, true).await;
    }
    // One's own message is nobody else's, and what somebody else was asked is not for carol.
    alice.send(answer("bob", far)).await.unwrap().accepted().await.unwrap();
    let sent = bob.handle().send(answer("carol@0x0001", far)).await.unwrap();
    assert_eq!(sent.receipt().await.unwrap().outcome, Outcome::Delivered);
    let (_carol, mut told) = carol.split();
    let heard = loop {
        let message = told.next_message().await.unwrap();
        if message.kind == MessageType::Notification {
            break message;
        }
    };
    assert_eq!(heard.reply_to, None);
    let counted = alice.status().await.unwrap().counters["answers_of_others"];
    assert_eq!(counted, 4);
}

#[tokio::test]
async fn a_group_and_everyone_reach_all_who_want_it_once() {
    let two = Two::start().await;
    let alice = agent(&two.a, "alice").await;
    let mut carol = agent(&two.a, "carol").await;
    let mut bob = agent(&two.b, "bob").await;
    let mut dave = agent(&two.b, "dave").await;
    for client in [&carol, &bob] {
        client.handle().subscribe(vec![name("kitchen")], None).await.unwrap();
    }
    dave.handle().subscribe(vec![name("kitchen")], Some(vec![MessageType::Task])).await.unwrap();
    assert_eq!(outcome(alice.handle(), text("group:kitchen", "soup")).await.0, Outcome::Sent);
    for client in [&mut carol, &mut bob] {
        let message = client.inbox().next_message().await.unwrap();
        assert_eq!(
            (message.to.to_string().as_str(), message.body.as_text()),
            ("group:kitchen", Some("soup"))
        );
    }
    assert_eq!(outcome(alice.handle(), text("everyone", "fire")).await.0, Outcome::Sent);
    for client in [&mut carol, &mut bob, &mut dave] {
        let message = client.inbox().next_message().await.unwrap();
        assert_eq!(message.body.as_text(), Some("fire"), "dave wants only tasks from the kitchen");
    }
    assert_eq!(outcome(alice.handle(), text("bob", "end")).await.0, Outcome::Delivered);
    assert_eq!(bob.inbox().next_message().await.unwrap().body.as_text(), Some("end"), "nothing came twice");
}

#[tokio::test]
async fn an_agent_that_is_away_finds_its_messages_in_order_when_it_returns() {
    let two = Two::start().await;
    let alice = agent(&two.a, "alice").await;
    agent(&two.b, "bob").await.handle().bye().await;
    for n in 0..5 {
        assert_eq!(outcome(alice.handle(), text("bob", &n.to_string())).await.0, Outcome::Delivered);
    }
    let endpoint = Endpoint::from(two.b.tcp_address().unwrap());
    let mut bob = Client::connect(&endpoint, Hello::new(name("bob"))).await.unwrap();
    bob.inbox().set_auto_ack(false);
    let mut cursor = None;
    for n in 0..3 {
        let message = bob.inbox().next_message().await.unwrap();
        assert_eq!(message.body.as_text(), Some(n.to_string().as_str()));
        cursor = message.cursor;
    }
    drop(bob);
    let resume = cursor;
    let hello = Hello { resume, credits: 1, ..Hello::new(name("bob")) };
    let mut bob = Client::connect(&endpoint, hello).await.unwrap();
    assert_eq!(bob.welcome().resumed_from, cursor.unwrap());
    for n in 3..5 {
        let message = bob.inbox().next_message().await.unwrap();
        assert_eq!(message.body.as_text(), Some(n.to_string().as_str()));
    }
}

#[tokio::test]
async fn processed_is_said_when_the_agent_has_acknowledged_it() {
    let two = Two::start().await;
    let alice = agent(&two.a, "alice").await;
    let mut bob = agent(&two.b, "bob").await;
    let mut near = agent(&two.a, "near").await;
    for (to, client) in [("bob", &mut bob), ("near", &mut near)] {
        let request = SendRequest { receipt: ReceiptRequest::Processed, ..text(to, "do it") };
        let pending = alice.handle().send(request).await.unwrap();
        // The client acknowledges a message when the next one is asked for.
        client.inbox().next_message().await.unwrap();
        let next = alice.handle().send(text(to, "next")).await.unwrap();
        client.inbox().next_message().await.unwrap();
        assert_eq!(pending.receipt().await.unwrap().outcome, Outcome::Processed, "{to}");
        assert_eq!(next.receipt().await.unwrap().outcome, Outcome::Delivered);
    }
}

#[tokio::test]
async fn what_cannot_be_delivered_is_reported_with_the_reason() {
    let two = Two::start().await;
    let alice = agent(&two.a, "alice").await;
    let handle = alice.handle();
    let brief = |to: &str| SendRequest { deadline_ms: Some(1_500), ..text(to, "hello?") };
    let (nobody, why) = outcome(handle, brief("nobody")).await;
    assert_eq!(
        (nobody, why.as_deref()),
        (Outcome::Expired, Some("no node answered for that name before the deadline"))
    );
    let (elsewhere, why) = outcome(handle, text("ghost@0x0002", "hello?")).await;
    assert_eq!((elsewhere, why.as_deref()), (Outcome::Rejected, Some("no agent of that name is there")));
    assert_eq!(outcome(handle, brief("node:0x0055")).await.0, Outcome::Unknown);
    let refused = handle.send(brief("ghost@0x0001")).await.unwrap().receipt().await;
    assert!(matches!(refused, Err(ClientError::Refused(error)) if error.code == ErrorCode::UnknownReceiver));
}

#[tokio::test]
async fn a_message_for_a_name_that_attaches_later_is_delivered_wherever_that_is() {
    let two = Two::start().await;
    let (alice, _inbox) = agent(&two.a, "alice").await.split();
    for (gateway, late) in [(&two.a, "late-here"), (&two.b, "late-there")] {
        let mut pending = alice.send(text(late, "welcome")).await.unwrap();
        let id: MessageRef = pending.accepted().await.unwrap().id;
        let mut late = agent(gateway, late).await;
        let message = late.inbox().next_message().await.unwrap();
        assert_eq!((message.id, message.body.as_text()), (id, Some("welcome")));
        assert_eq!(pending.receipt().await.unwrap().outcome, Outcome::Delivered);
    }
}

#[tokio::test]
async fn a_message_accepted_while_its_receiver_attaches_is_delivered() {
    let two = Two::start().await;
    let alice = agent(&two.a, "alice").await;
    for n in 0..50 {
        let receiver = format!("late-{n}");
        // The sender does not wait until it is on the disk, and neither does the receiver.
        let pending = alice.handle().send(text(&receiver, "just in time")).await.unwrap();
        let mut client = agent(&two.a, &receiver).await;
        let message = client.inbox().next_message().await.unwrap();
        assert_eq!(message.body.as_text(), Some("just in time"));
        assert_eq!(pending.receipt().await.unwrap().outcome, Outcome::Delivered);
    }
}

#[tokio::test]
async fn what_need_not_last_is_said_to_be_so() {
    let two = Two::start().await;
    let alice = agent(&two.a, "alice").await;
    let mut near = agent(&two.a, "near").await;
    let request = SendRequest { durable: false, priority: Priority::Low, ..text("near", "psst") };
    let mut pending = alice.handle().send(request).await.unwrap();
    assert!(!pending.accepted().await.unwrap().durable);
    let message = near.inbox().next_message().await.unwrap();
    assert_eq!((message.cursor, message.hops), (Some(1), 0));
    let receipt = pending.receipt().await.unwrap();
    assert_eq!((receipt.cursor, receipt.outcome), (None, Outcome::Delivered));
}

/// Within one gateway such a message was once told *delivered*, and gone with the receiver's connection or with an orderly stop.
#[tokio::test]
async fn what_need_not_last_survives_its_receivers_connection_and_an_orderly_stop() {
    let dir = tempfile::tempdir().unwrap();
    let first = gateway(1, cable().0, dir.path()).await;
    let alice = agent(&first, "alice").await;
    let bob_of = |gateway: &Gateway| {
        let endpoint = Endpoint::from(gateway.tcp_address().unwrap());
        async move {
            let mut bob = Client::connect(&endpoint, Hello::new(name("bob"))).await.unwrap();
            bob.inbox().set_auto_ack(false);
            bob
        }
    };
    let psst = |n: u64| SendRequest { durable: n == 2, ..text("bob", &n.to_string()) };
    let mut bob = bob_of(&first).await;
    for n in 1..=4 {
        assert_eq!(outcome(alice.handle(), psst(n)).await.0, Outcome::Delivered);
    }
    let expect = async |bob: &mut Client, from: u64| {
        for n in from..=4 {
            let message = bob.inbox().next_message().await.unwrap();
            assert_eq!((message.cursor, message.body.as_text()), (Some(n), Some(n.to_string().as_str())));
        }
    };
    expect(&mut bob, 1).await;
    drop(bob);
    let mut bob = bob_of(&first).await;
    expect(&mut bob, 1).await;
    bob.handle().ack(1).unwrap();
    bob.handle().status().await.unwrap();
    first.stop().await.unwrap();

    let second = gateway(1, cable().0, dir.path()).await;
    let mut bob = bob_of(&second).await;
    expect(&mut bob, 2).await;
    let alice = agent(&second, "alice").await;
    assert_eq!(outcome(alice.handle(), text("bob", "5")).await.0, Outcome::Delivered);
    assert_eq!(bob.inbox().next_message().await.unwrap().cursor, Some(5), "nothing was left out");
}

#[tokio::test]
async fn a_cursor_of_what_died_with_the_power_is_not_given_again() {
    let dir = tempfile::tempdir().unwrap();
    let first = gateway(1, cable().0, dir.path()).await;
    let alice = agent(&first, "alice").await;
    let mut bob = agent(&first, "bob").await;
    let psst = SendRequest { durable: false, ..text("bob", "psst") };
    assert_eq!(outcome(alice.handle(), psst).await.0, Outcome::Delivered);
    let seen = bob.inbox().next_message().await.unwrap().cursor;
    first.cut().await;
    let second = gateway(1, cable().0, dir.path()).await;
    let alice = agent(&second, "alice").await;
    assert_eq!(outcome(alice.handle(), text("bob", "new")).await.0, Outcome::Delivered);
    let endpoint = Endpoint::from(second.tcp_address().unwrap());
    let mut bob =
        Client::connect(&endpoint, Hello { resume: seen, ..Hello::new(name("bob")) }).await.unwrap();
    let new = bob.inbox().next_message().await.unwrap();
    assert!(new.body.as_text() == Some("new") && new.cursor > seen, "{new:?}");
}

#[tokio::test]
async fn the_first_message_of_a_new_gateway_is_not_busy_with_numbers_being_reserved() {
    for _ in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let gateway = gateway(1, cable().0, dir.path()).await;
        let alice = agent(&gateway, "alice").await;
        let _near = agent(&gateway, "near").await;
        let request = SendRequest { durable: false, ..text("near", "psst") };
        assert_eq!(outcome(alice.handle(), request).await.0, Outcome::Delivered);
    }
}

#[tokio::test]
async fn gateways_that_are_off_hold_up_nobody() {
    let two = Two::start().await;
    let alice = agent(&two.a, "alice").await;
    let _bob = agent(&two.b, "bob").await;
    let mut waiting = Vec::new();
    for n in 0..32 {
        let request = SendRequest {
            priority: Priority::Critical,
            deadline_ms: Some(86_400_000),
            ..text(&format!("ghost@0x010{}", n % 8), "are you there?")
        };
        let mut pending = alice.handle().send(request).await.unwrap();
        pending.accepted().await.unwrap();
        waiting.push(pending);
    }
    let low = SendRequest { priority: Priority::Low, ..text("bob", "and you?") };
    assert_eq!(outcome(alice.handle(), low).await.0, Outcome::Delivered);
    let status = alice.handle().status().await.unwrap();
    assert_eq!(status.outbox, 32, "none of the others was given up");
}

#[tokio::test]
async fn a_deadline_of_more_than_a_day_is_refused() {
    let two = Two::start().await;
    let alice = agent(&two.a, "alice").await;
    let request = SendRequest { deadline_ms: Some(86_400_001), ..text("bob", "one day") };
    let refused = alice.handle().send(request).await.unwrap().receipt().await;
    assert!(matches!(refused, Err(ClientError::Refused(error)) if error.code == ErrorCode::BadRequest));
}

/// Lines to a gateway by hand, and all that it answers until the connection ends.
async fn by_hand(gateway: &Gateway, lines: String) -> Vec<serde_json::Value> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let stream = tokio::net::TcpStream::connect(gateway.tcp_address().unwrap()).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let writing = tokio::spawn(async move {
        writer.write_all(lines.as_bytes()).await.unwrap();
        writer
    });
    let mut answers = String::new();
    reader.read_to_string(&mut answers).await.unwrap();
    drop(writing.await.unwrap());
    answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn five_thousand_lines_at_once_are_answered_one_by_one_and_nobody_is_called_too_slow() {
    let two = Two::start().await;
    let (_near, mut inbox) = agent(&two.a, "near").await.split();
    tokio::spawn(async move { while inbox.next_message().await.is_ok() {} });
    let mut lines = String::from("{\"op\":\"hello\",\"name\":\"hasty\"}\n");
    for n in 0..5_000 {
        lines +=
            &format!("{{\"op\":\"send\",\"ref\":{n},\"to\":\"near\",\"type\":\"TASK\",\"text\":\"x\"}}\n");
    }
    lines += "{\"op\":\"ping\",\"ref\":5000}\n{\"op\":\"bye\"}\n";
    let answers = by_hand(&two.a, lines).await;
    let count =
        |wanted: &[&str]| answers.iter().filter(|answer| wanted.iter().any(|ev| answer["ev"] == *ev)).count();
    // It acknowledges no receipt, so its inbox is full at last and the rest is refused, each by itself. So it may be with the other one
    // before, whose last sixteenth is for CRITICAL messages.
    assert_eq!(count(&["accepted", "error"]), 5_000);
    assert!(
        count(&["accepted"]) >= 1_000 - 1_000 / 16 && count(&["pong"]) == 1,
        "{} accepted",
        count(&["accepted"])
    );
    assert_eq!(answers.last().unwrap()["why"], "bye");
}

#[tokio::test]
async fn a_receipt_from_an_agent_next_door_waits_for_its_sender_like_any_other() {
    let two = Two::start().await;
    let _near = agent(&two.a, "near").await;
    let lines = "{\"op\":\"hello\",\"name\":\"brief\"}\n{\"op\":\"send\",\"ref\":1,\"to\":\"near\",\"type\":\"TASK\",\"text\":\"x\"}\n{\"op\":\"bye\"}\n";
    by_hand(&two.a, lines.into()).await;
    let lines = "{\"op\":\"hello\",\"name\":\"brief\"}\n{\"op\":\"ping\"}\n{\"op\":\"bye\"}\n";
    let answers = by_hand(&two.a, lines.into()).await;
    let receipt =
        answers.iter().find(|answer| answer["ev"] == "receipt").expect("it comes again until it is acked");
    assert_eq!(
        (&receipt["outcome"], &receipt["ref"], &receipt["cursor"]),
        (&"delivered".into(), &1.into(), &1.into())
    );
}

#[tokio::test]
async fn names_that_come_and_go_make_room_and_who_is_owed_a_message_is_never_forgotten() {
    let two = Two::start().await;
    let alice = agent(&two.a, "alice").await;
    drop(agent(&two.a, "keeper").await);
    assert_eq!(outcome(alice.handle(), text("keeper", "keep this")).await.0, Outcome::Delivered);
    // The table holds a hundred; each of these has a group, and something that was said to everyone.
    for n in 0..150 {
        let passer = agent(&two.a, &format!("passer-{n}")).await;
        passer.handle().subscribe(vec![name("all-passers")], None).await.unwrap();
        if n % 10 == 0 {
            assert_eq!(outcome(alice.handle(), text("everyone", "hear")).await.0, Outcome::Sent);
        }
        passer.handle().ping().await.unwrap();
        passer.handle().bye().await;
    }
    let mut keeper = agent(&two.a, "keeper").await;
    assert_eq!(keeper.inbox().next_message().await.unwrap().body.as_text(), Some("keep this"));
}

#[tokio::test]
async fn a_group_beyond_what_the_gateway_can_hear_is_refused_and_not_silent() {
    let two = Two::start().await;
    let (mut agents, mut group) = (Vec::new(), 0);
    for n in 0..4 {
        let member = agent(&two.a, &format!("member-{n}")).await;
        let groups = (0..64).map(|m| name(&format!("group-{n}-{m}"))).collect();
        member.handle().subscribe(groups, None).await.unwrap();
        member.handle().ping().await.unwrap();
        agents.push(member);
    }
    let mut subscribe = async || {
        group += 1;
        let hello = format!("{{\"op\":\"hello\",\"name\":\"late-{group}\"}}\n");
        // Some names share an address, so one more may still fit.
        let rest = "{\"op\":\"subscribe\",\"groups\":[\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\",\"h\"]}\n{\"op\":\"bye\"}\n";
        let answers = by_hand(&two.a, hello + rest).await;
        let error = answers.iter().find(|answer| answer["ev"] == "error");
        error.map(|error| error["message"].as_str().unwrap().to_owned())
    };
    let why = subscribe().await.expect("it would hear nothing of it");
    assert!(why.contains("256"), "{why}");
    let some = (0..8).map(|m| name(&format!("group-0-{m}"))).collect();
    agents[0].handle().unsubscribe(some).await.unwrap();
    agents[0].handle().ping().await.unwrap();
    assert_eq!(subscribe().await, None);
}

#[tokio::test]
async fn status_peers_routes_and_agents_tell_what_is_there() {
    let two = Two::start().await;
    let alice = agent(&two.a, "alice").await;
    let _bob = agent(&two.b, "bob").await;
    assert_eq!(outcome(alice.handle(), text("bob", "hi")).await.0, Outcome::Delivered);
    let status = alice.handle().status().await.unwrap();
    assert_eq!((status.gateway.as_str(), status.outbox, status.agents.connected), ("gateway-1", 0, 1));
    assert!(status.health.problems.is_empty() && status.store.healthy && status.radio.frames_sent > 0);
    assert_eq!(status.counters.get("messages_delivered"), Some(&1));
    let routes = alice.handle().routes().await.unwrap().routes;
    assert_eq!(
        routes
            .iter()
            .map(|route| (route.destination.bits(), route.next_hop.map(|hop| hop.bits())))
            .collect::<Vec<_>>(),
        [(2, Some(2))]
    );
    let peers = alice.handle().peers().await.unwrap().peers;
    assert_eq!(peers.iter().map(|peer| peer.node.bits()).collect::<Vec<_>>(), [2]);
    let agents = alice.handle().agents().await.unwrap().agents;
    assert!(
        agents
            .iter()
            .any(|entry| entry.name == name("alice") && entry.local && entry.connected == Some(true))
    );
}

#[tokio::test]
async fn an_agent_that_left_another_gateway_is_not_called_connected() {
    let two = Two::start().await;
    let mut alice = agent(&two.a, "alice").await;
    let bob = agent(&two.b, "bob").await;
    bob.handle().send(text("alice", "hi")).await.unwrap();
    alice.inbox().next_message().await.unwrap();
    bob.handle().bye().await;
    let agents = alice.handle().agents().await.unwrap().agents;
    let entry = agents.iter().find(|entry| entry.name == name("bob")).unwrap();
    assert_eq!((entry.node.bits(), entry.local, entry.connected), (2, false, None));
    assert!(entry.last_heard_ms.is_some(), "that it was heard is all that is known");
    let alice = agents.iter().find(|entry| entry.name == name("alice")).unwrap();
    assert_eq!((alice.connected, alice.last_heard_ms), (Some(true), None));
}

#[tokio::test]
async fn what_an_agent_that_is_not_there_rejects_is_not_its_nodes_fault() {
    let two = Two::start().await;
    let alice = agent(&two.a, "alice").await;
    for _ in 0..10 {
        assert_eq!(outcome(alice.handle(), text("nobody@0x0002", "hi")).await.0, Outcome::Rejected);
    }
    let health = alice.handle().health().await.unwrap();
    let two_of = health.peers.iter().find(|peer| peer.node.bits() == 2).unwrap();
    assert!(two_of.healthy, "it has answered each time: {two_of:?}");
    assert_eq!((two_of.figures.settled, two_of.figures.success_rate), (0, None));
    assert_eq!((health.overall.settled, health.overall.success_rate), (10, Some(0.0)));
    assert_eq!(health.by_outcome.get("rejected"), Some(&10));
}

#[tokio::test]
async fn a_stale_cursor_from_another_life_skips_nothing() {
    let two = Two::start().await;
    let alice = agent(&two.a, "alice").await;
    let endpoint = Endpoint::from(two.a.tcp_address().unwrap());
    let hello = Hello { resume: Some(1_000), ..Hello::new(name("bob")) };
    let mut bob = Client::connect(&endpoint, hello).await.unwrap();
    assert_eq!(bob.welcome().resumed_from, 0);
    assert_eq!(outcome(alice.handle(), text("bob", "first")).await.0, Outcome::Delivered);
    assert_eq!(bob.inbox().next_message().await.unwrap().body.as_text(), Some("first"));
}

#[tokio::test]
async fn an_agent_cannot_subscribe_without_end() {
    let two = Two::start().await;
    let alice = agent(&two.a, "alice").await;
    let groups = |from: usize| (from..from + 40).map(|n| name(&format!("group-{n}"))).collect::<Vec<_>>();
    assert_eq!(alice.handle().subscribe(groups(0), None).await.unwrap().len(), 40);
    let refused = alice.handle().subscribe(groups(100), None).await;
    assert!(matches!(&refused, Err(ClientError::Refused(error)) if error.code == ErrorCode::TooLarge));
    assert_eq!(alice.handle().subscribe(groups(20), None).await.unwrap().len(), 60);
}
