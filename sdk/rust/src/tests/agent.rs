//! An agent that stays: what it says again, and when it gives up.

use std::time::Duration;

use mesh_protocol::MessageType;

use super::script::{Gateway, accepted, plain, receipt};
use crate::api::samples::{id, message, name, send};
use crate::api::{
    ErrorCode, ErrorEvent, Event, Goodbye, Message, Outcome, Refusal, Request, SendRequest, Subscribe,
    Subscribed, Unsubscribe,
};
use crate::link::state::UNACCEPTED;
use crate::{Agent, ClientError, Connection};

/// Lets every other task get on as far as it can.
async fn run_other_tasks() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_not_accepted_is_sent_again_in_order_under_the_same_key() {
    let (mut gateway, mut session, agent) = Gateway::welcomed().await;
    let handle = agent.handle();
    let mut pending = Vec::new();
    for n in 0..4 {
        pending.push(handle.send(send("bob", &n.to_string())).await.unwrap());
    }
    let mut first = Vec::new();
    for _ in 0..4 {
        first.push(session.sent().await);
    }
    assert!(first.iter().all(|sent| sent.key == sent.reference && sent.key.is_some()));
    // The second is accepted, the third refused; then the connection is lost.
    session.say(accepted(first[1].reference, 11)).await;
    let no = ErrorEvent::about(first[2].reference, Refusal::new(ErrorCode::UnknownReceiver, "nobody"));
    session.say(Event::Error(no)).await;
    assert_eq!(pending[1].accepted().await.unwrap().id, id(11));
    assert!(matches!(pending[2].accepted().await, Err(ClientError::Refused(_))));
    drop(session);
    // What is asked while the gateway is away waits, and comes behind.
    run_other_tasks().await;
    pending.push(handle.send(SendRequest { key: Some(99), ..send("bob", "late") }).await.unwrap());

    let (mut session, hello) = gateway.welcome(0).await;
    assert_eq!((hello.resume, hello.credits), (Some(0), 0));
    let again = [session.sent().await, session.sent().await];
    assert_eq!(again[..], [first[0].clone(), first[3].clone()]);
    let late = session.sent().await;
    assert_eq!((late.key, late.body.as_text()), (Some(99), Some("late")), "a key of one's own stays");
    // The answer of the one before the loss was lost with it; the receipt says so first.
    session.say(receipt(1, first[0].reference, 10, Outcome::Delivered)).await;
    session.say(accepted(first[0].reference, 10)).await;
    session.say(receipt(2, first[1].reference, 11, Outcome::Rejected)).await;
    session.say(accepted(first[3].reference, 12)).await;
    session.say(accepted(late.reference, 13)).await;
    assert!(session.barrier().await.is_empty());
    assert_eq!(pending[0].accepted().await.unwrap().id, id(10));
    assert_eq!(pending[3].accepted().await.unwrap().id, id(12));
    assert_eq!(pending[4].accepted().await.unwrap().id, id(13));
    let mut pending = pending.into_iter();
    assert_eq!(pending.next().unwrap().receipt().await.unwrap().outcome, Outcome::Delivered);
    assert_eq!(pending.next().unwrap().receipt().await.unwrap().outcome, Outcome::Rejected);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_waits_in_the_inbox_finds_the_query_whose_acceptance_was_lost() {
    let (mut gateway, mut session, agent) = Gateway::welcomed().await;
    let (handle, mut inbox) = agent.split();
    let asking = tokio::spawn({
        let handle = handle.clone();
        async move { handle.query(send("bob", "how warm?")).await }
    });
    let question = session.sent().await;
    drop(session);
    let (mut session, hello) = gateway.welcome(0).await;
    assert_eq!(hello.credits, 0, "no message may come before the query has its number again");
    assert_eq!(session.sent().await, question);
    session.say(accepted(question.reference, 16)).await;
    assert!(session.barrier().await.is_empty());
    let Request::Credit(credit) = session.read().await else { panic!("now messages may come") };
    assert_eq!(credit.n, 256);
    // The sample answers number 16.
    session.say(Event::Message(Message { cursor: Some(1), ..message("21.5 C") })).await;
    session.say(plain(2, "something else")).await;
    assert_eq!(asking.await.unwrap().unwrap().body.as_text(), Some("21.5 C"));
    assert_eq!(inbox.next_message().await.unwrap().body.as_text(), Some("something else"));
}

#[tokio::test(start_paused = true)]
async fn an_answer_counts_only_from_the_node_and_agent_that_was_asked() {
    // Asked, somebody else, who is a forger, and one who was asked. The sample answers number 16.
    for (to, forgers, right) in [
        ("bob", &["mallory@0x0003"][..], "bob@0x0009"),
        ("bob@0x0003", &["bob@0x0004", "mallory@0x0003"][..], "bob@0x0003"),
        ("node:0x0003", &["bob@0x0004"][..], "gateway@0x0003"),
        ("group:kitchen", &[][..], "anyone@0x0007"),
        ("everyone", &[][..], "anyone@0x0007"),
    ] {
        let (_gateway, mut session, agent) = Gateway::welcomed().await;
        let (handle, mut inbox) = agent.split();
        let asking = tokio::spawn(async move { handle.query(send(to, "how warm?")).await });
        let question = session.sent().await;
        session.say(accepted(question.reference, 16)).await;
        let answer = |cursor: usize, from: &str| {
            let from = from.parse().unwrap();
            Event::Message(Message { cursor: Some(cursor as u64), from, ..message("an answer") })
        };
        for (n, forger) in forgers.iter().enumerate() {
            session.say(answer(n + 1, forger)).await;
            let forged = inbox.next_message().await.unwrap();
            assert_eq!(forged.from.to_string(), *forger, "{to}: it is a message like any other");
        }
        session.say(answer(forgers.len() + 1, right)).await;
        assert_eq!(asking.await.unwrap().unwrap().from.to_string(), right, "{to}");
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_go_on_with_growing_pauses_until_the_gateway_is_back() {
    let (mut gateway, session, agent) = Gateway::welcomed().await;
    let mut connection = agent.handle().connection();
    gateway.switch(true);
    let began = tokio::time::Instant::now();
    drop(session);
    connection.wait_for(|now| matches!(now, Connection::Away { attempts: 9, .. })).await.unwrap();
    // Nine pauses of 0.1 s and twice as long each time, up to 10 s, each up to a half shorter.
    let whole = Duration::from_millis(100 + 200 + 400 + 800 + 1_600 + 3_200 + 6_400 + 10_000 + 10_000);
    assert!(began.elapsed() >= whole / 2 && began.elapsed() <= whole, "{:?}", began.elapsed());
    assert_eq!(gateway.missed(), 9);
    gateway.switch(false);
    let (mut session, _) = gateway.welcome(0).await;
    session.barrier().await;
    connection.wait_for(|now| matches!(now, Connection::Up)).await.unwrap();
    // A session that did not last leaves the pauses as they were; one that did makes them short again.
    for (lasted, attempts) in [(1, 10), (11, 0)] {
        tokio::time::sleep(Duration::from_secs(lasted)).await;
        drop(session);
        let away = |now: &Connection| matches!(now, Connection::Away { attempts: n, .. } if *n == attempts);
        connection.wait_for(away).await.unwrap();
        session = gateway.welcome(0).await.0;
        connection.wait_for(|now| matches!(now, Connection::Up)).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_is_going_away_is_come_back_to_and_one_that_says_no_is_not() {
    let passing = [ErrorCode::ShuttingDown, ErrorCode::Overloaded, ErrorCode::TooLate];
    let final_ones = [ErrorCode::NameTaken, ErrorCode::Unauthorised, ErrorCode::BadRequest];
    for code in passing.into_iter().chain(final_ones) {
        let (mut gateway, mut session, agent) = Gateway::welcomed().await;
        let pending = agent.handle().send(send("bob", "?")).await.unwrap();
        session.sent().await;
        session.say(Event::Error(ErrorEvent::fatal(Refusal::new(code, "no")))).await;
        session.say(Event::Goodbye(Goodbye { why: "no".into() })).await;
        if passing.contains(&code) {
            gateway.welcome(0).await;
            continue;
        }
        let Err(ClientError::Refused(error)) = pending.receipt().await else { panic!("{code}") };
        assert_eq!(error.code, code);
        let later = agent.handle().ping().await;
        assert!(matches!(later, Err(ClientError::Refused(error)) if error.code == code));
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        assert!(gateway.is_left_alone(), "{code}");
    }
    // The same while coming back.
    let (mut gateway, session, agent) = Gateway::welcomed().await;
    drop(session);
    let (mut session, _) = gateway.visitor().await;
    session
        .say(Event::Error(ErrorEvent::fatal(Refusal::new(ErrorCode::Unauthorised, "another token"))))
        .await;
    assert!(matches!(agent.handle().ping().await, Err(ClientError::Refused(_))));
    assert!(gateway.is_left_alone());
}

#[tokio::test(start_paused = true)]
async fn groups_and_questions_are_asked_for_again() {
    let (mut gateway, mut session, agent) = Gateway::welcomed().await;
    let (handle, _inbox) = agent.split();
    let kitchen = Subscribe { reference: None, groups: vec![name("kitchen"), name("hall")], types: None };
    let lamps =
        Subscribe { reference: None, groups: vec![name("lamps")], types: Some(vec![MessageType::Task]) };
    for (subscribe, all) in [(&kitchen, vec!["kitchen", "hall"]), (&lamps, vec!["kitchen", "hall", "lamps"])]
    {
        let Subscribe { groups, types, .. } = subscribe.clone();
        let asked = handle.subscribe(groups, types);
        let answering = async {
            let Request::Subscribe(Subscribe { reference, groups, types }) = session.read().await else {
                panic!("the groups")
            };
            assert_eq!(Subscribe { reference: None, groups, types }, *subscribe);
            let groups = all.into_iter().map(name).collect();
            session.say(Event::Subscribed(Subscribed { reference, groups })).await;
        };
        tokio::join!(asked, answering).0.unwrap();
    }
    // These two lose their answers.
    let gone = tokio::spawn({
        let handle = handle.clone();
        async move { handle.unsubscribe(vec![name("hall")]).await }
    });
    run_other_tasks().await;
    let ping = tokio::spawn(async move { handle.ping().await });
    let unsubscribe = session.read().await;
    let number = unsubscribe.reference();
    assert!(number.is_some());
    let hall = Unsubscribe { reference: number, groups: vec![name("hall")] };
    assert_eq!(unsubscribe, Request::Unsubscribe(hall));
    let Request::Ping(_) = session.read().await else { panic!("the ping") };
    drop(session);

    let (mut session, _) = gateway.welcome(0).await;
    // Names are sorted, and so come the requests for them.
    let kitchen = Subscribe { reference: None, groups: vec![name("hall"), name("kitchen")], types: None };
    assert_eq!(session.read().await, Request::Subscribe(kitchen));
    assert_eq!(session.read().await, Request::Subscribe(lamps.clone()));
    assert_eq!(session.read().await, unsubscribe);
    let all = vec!["hall", "kitchen", "lamps"];
    for (reference, groups) in [(None, all.clone()), (None, all), (number, vec!["kitchen", "lamps"])] {
        let groups = groups.into_iter().map(name).collect();
        session.say(Event::Subscribed(Subscribed { reference, groups })).await;
    }
    assert_eq!(gone.await.unwrap().unwrap(), [name("kitchen"), name("lamps")]);
    session.barrier().await;
    ping.await.unwrap().unwrap();
    drop(session);

    // What it no longer hears is not asked for again.
    let (mut session, _) = gateway.welcome(0).await;
    let kitchen = Subscribe { reference: None, groups: vec![name("kitchen")], types: None };
    assert_eq!(session.barrier().await, [Request::Subscribe(kitchen), Request::Subscribe(lamps)]);
}

#[tokio::test(start_paused = true)]
async fn of_what_is_not_durable_nobody_tells_after_a_loss() {
    let (mut gateway, mut session, agent) = Gateway::welcomed().await;
    let fleeting = SendRequest { durable: false, ..send("bob", "now") };
    let mut pending = agent.handle().send(fleeting.clone()).await.unwrap();
    let untold = agent.handle().send(fleeting).await.unwrap();
    let (first, second) = (session.sent().await, session.sent().await);
    let Event::Accepted(mut taken) = accepted(first.reference, 1) else { unreachable!() };
    taken.durable = false;
    session.say(Event::Accepted(taken)).await;
    pending.accepted().await.unwrap();
    drop(session);
    assert!(matches!(pending.receipt().await, Err(ClientError::Lost(_))), "it is not waited for without end");
    // The other one was not accepted as far as anyone knows.
    let (mut session, _) = gateway.welcome(0).await;
    assert_eq!(session.sent().await, second);
    session.say(receipt(1, second.reference, 2, Outcome::Sent)).await;
    assert_eq!(untold.receipt().await.unwrap().outcome, Outcome::Sent);
}

#[tokio::test(start_paused = true)]
async fn queries_and_their_answers_are_not_durable_unless_asked_for() {
    let (_gateway, mut session, agent) = Gateway::welcomed().await;
    for durable in [false, true] {
        let to = "bob".parse().unwrap();
        let question = SendRequest::new(to, MessageType::Query, "how warm?");
        let question = if durable { question.with_durable(true) } else { question };
        let handle = agent.handle().clone();
        let asking = tokio::spawn(async move { handle.query(question).await });
        assert_eq!(session.sent().await.durable, durable);
        asking.abort();
    }
    for kind in MessageType::ALL {
        let answer = SendRequest::answer(&Message { kind, ..message("how warm?") }, "21.5 C");
        assert_eq!(answer.durable, kind != MessageType::Query, "{kind}");
        assert!(answer.with_durable(true).durable);
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_goes_on_while_the_gateway_is_away() {
    let (mut gateway, mut session, agent) = Gateway::welcomed().await;
    let handle = agent.handle();
    let within = |seconds| send("bob", "soon").within(Duration::from_secs(seconds));
    let mut sent = handle.send(within(5)).await.unwrap();
    let mut kept = handle.send(within(3_600)).await.unwrap();
    session.sent().await;
    let first = session.sent().await;
    gateway.switch(true);
    drop(session);
    run_other_tasks().await;
    let mut unsent = handle.send(within(5)).await.unwrap();
    let before = tokio::time::Instant::now();
    let overdue = sent.accepted().await.unwrap_err();
    assert!(matches!(overdue, ClientError::Overdue { sent: true }));
    assert!(overdue.to_string().contains("it may have been accepted before"), "{overdue}");
    let overdue = unsent.accepted().await.unwrap_err();
    assert!(matches!(overdue, ClientError::Overdue { sent: false }));
    assert!(overdue.to_string().contains("it was not sent"), "{overdue}");
    gateway.switch(false);
    let (mut session, _) = gateway.welcome(0).await;
    let again = session.sent().await;
    assert_eq!((again.reference, again.key), (first.reference, first.key));
    let passed = u32::try_from(before.elapsed().as_millis()).unwrap();
    let left = again.deadline_ms.unwrap();
    assert!(left <= 3_600_000 - passed && left + 10 >= 3_600_000 - passed, "{left} ms after {passed} ms");
    session.say(accepted(again.reference, 3)).await;
    kept.accepted().await.unwrap();
    assert!(session.barrier().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn no_more_waits_for_acceptance_than_the_gateway_knows_again() {
    let (_gateway, mut session, agent) = Gateway::welcomed().await;
    let handle = agent.handle().clone();
    for n in 0..UNACCEPTED {
        handle.send(send("bob", &n.to_string())).await.unwrap();
    }
    let one_more = tokio::spawn(async move { handle.send(send("bob", "more")).await });
    let first = session.sent().await;
    run_other_tasks().await;
    assert!(!one_more.is_finished(), "it waits for room");
    session.say(accepted(first.reference, 1)).await;
    one_more.await.unwrap().unwrap();
    for _ in 1..UNACCEPTED {
        session.sent().await;
    }
    assert_eq!(session.sent().await.body.as_text(), Some("more"));
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_says_nothing_for_long_is_asked_and_then_left() {
    let (mut gateway, mut session, agent) = Gateway::welcomed().await;
    // It answers once.
    let Request::Ping(ask) = session.read().await else { panic!("is anybody there?") };
    session.say(Event::Pong(crate::api::Pong { reference: ask.reference })).await;
    let began = tokio::time::Instant::now();
    let Request::Ping(_) = session.read().await else { panic!("is anybody there?") };
    let (_again, _) = gateway.welcome(0).await;
    assert!(began.elapsed() >= Duration::from_secs(30), "{:?}", began.elapsed());
    assert_eq!(session.next().await, None, "the silent session is hung up");
    drop(agent);
}

#[tokio::test(start_paused = true)]
async fn an_agent_can_leave_while_its_gateway_is_away() {
    for all_at_once in [true, false] {
        let (mut gateway, session, agent) = Gateway::welcomed().await;
        gateway.switch(true);
        drop(session);
        run_other_tasks().await;
        let pending = agent.handle().send(send("bob", "?")).await.unwrap();
        let (handle, mut inbox) = agent.split();
        if all_at_once {
            drop((handle, inbox, pending));
        } else {
            handle.bye().await;
            let why = pending.receipt().await.unwrap_err().to_string();
            assert!(why.contains("bye was said while the gateway was away"), "{why}");
            assert!(inbox.next().await.is_err());
        }
        run_other_tasks().await;
        gateway.switch(false);
        let missed = gateway.missed();
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        assert!(gateway.is_left_alone());
        assert_eq!(gateway.missed(), missed);
    }
}

#[tokio::test(start_paused = true)]
async fn only_a_patient_agent_waits_for_its_first_session() {
    let (gateway, builder) = Gateway::new();
    gateway.switch(true);
    assert!(matches!(builder.connect().await, Err(ClientError::NoGateway { .. })));
    assert_eq!(gateway.missed(), 1);

    let (mut gateway, builder) = Gateway::new();
    gateway.switch(true);
    let connecting = tokio::spawn(builder.patient(true).connect());
    tokio::time::sleep(Duration::from_secs(60)).await;
    gateway.switch(false);
    let (_session, hello) = gateway.welcome(0).await;
    assert_eq!((hello.resume, hello.credits), (None, 256));
    let agent: Agent = connecting.await.unwrap().unwrap();
    assert_eq!(agent.welcome().gateway, "script");
    // Whoever takes the connection and says nothing is no gateway.
    drop(agent);
    let (mut gateway, builder) = Gateway::new();
    let connecting = tokio::spawn(builder.connect());
    let (_mute, _) = gateway.visitor().await;
    let why = connecting.await.unwrap().unwrap_err().to_string();
    assert!(why.contains("no welcome within 10 s"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_question_about_groups_is_told_to_the_one_who_asked_it() {
    let (_gateway, mut session, agent) = Gateway::welcomed().await;
    let handle = agent.handle();
    let answering = async {
        let (first, second) = (session.read().await.reference(), session.read().await.reference());
        let groups = vec![name("lamps")];
        session.say(Event::Subscribed(Subscribed { reference: second, groups })).await;
        session
            .say(Event::Error(ErrorEvent::about(first, Refusal::new(ErrorCode::TooLarge, "too many groups"))))
            .await;
    };
    let first = handle.subscribe(vec![name("kitchen")], None);
    let second = handle.subscribe(vec![name("lamps")], None);
    let (first, second, ()) = tokio::join!(first, second, answering);
    assert!(matches!(first, Err(ClientError::Refused(error)) if error.code == ErrorCode::TooLarge));
    assert_eq!(second.unwrap(), [name("lamps")]);
}
