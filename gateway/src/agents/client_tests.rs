//! The client against real sessions and a small engine.

use mesh_agent::api::codec::Codec;
use mesh_agent::api::{Body, ErrorCode, Hello, MAX_BODY, Outcome, SendRequest};
use mesh_agent::{Client, ClientError, Endpoint};
use mesh_protocol::MessageType;
use tokio::net::TcpListener;

use super::fake::{Gateway, Seen, name, send};

async fn client(gateway: &Gateway, who: &str) -> Client {
    Client::connect(&gateway.address().into(), Hello::new(name(who))).await.unwrap()
}

#[tokio::test]
async fn a_message_is_accepted_delivered_and_read() {
    let gateway = Gateway::open().await;
    for codec in [Codec::Postcard, Codec::Json] {
        let endpoint = gateway.address().into();
        let mut bob = Client::connect_with(&endpoint, Hello::new(name("bob")), codec).await.unwrap();
        let alice = Client::connect_with(&endpoint, Hello::new(name("alice")), codec).await.unwrap();
        assert_eq!(alice.welcome().gateway, "fake");
        let data = SendRequest { body: Body::data(vec![0xFF; MAX_BODY]), ..send("bob", "") };
        let mut pending = alice.handle().send(data).await.unwrap();
        let accepted = pending.accepted().await.unwrap();
        assert_eq!(pending.accepted().await.unwrap(), accepted, "asked again, it says the same");
        let receipt = pending.receipt().await.unwrap();
        assert_eq!((receipt.id, receipt.outcome), (accepted.id, Outcome::Delivered));
        let message = bob.inbox().next_message().await.unwrap();
        assert_eq!(message.id, accepted.id);
        assert_eq!(message.body, Body::data(vec![0xFF; MAX_BODY]));
        alice.handle().bye().await;
        bob.handle().bye().await;
    }
}

#[tokio::test]
async fn many_in_flight_are_told_apart() {
    const MESSAGES: usize = 2_000;
    let gateway = Gateway::open().await;
    let (_bob, mut inbox) = client(&gateway, "bob").await.split();
    let alice = client(&gateway, "alice").await;
    let mut pendings = Vec::new();
    for number in 0..MESSAGES {
        pendings.push(alice.handle().send(send("bob", &number.to_string())).await.unwrap());
        if pendings.len() == 256 || number + 1 == MESSAGES {
            let first = number + 1 - pendings.len();
            for (offset, mut pending) in pendings.drain(..).enumerate() {
                let accepted = pending.accepted().await.unwrap();
                let message = inbox.next_message().await.unwrap();
                assert_eq!(message.body.as_text(), Some(&*(first + offset).to_string()));
                assert_eq!(message.id, accepted.id);
                assert_eq!(pending.receipt().await.unwrap().id, accepted.id);
            }
        }
    }
}

#[tokio::test]
async fn queries_find_their_answers() {
    let gateway = Gateway::open().await;
    let (echo, mut questions) = client(&gateway, "echo").await.split();
    let alice = client(&gateway, "alice").await;
    let answering = async {
        for _ in 0..2 {
            let question = questions.next_message().await.unwrap();
            assert_eq!(question.kind, MessageType::Query);
            // Something else comes first, which must not be taken for the answer.
            echo.send(send("alice", "by the way")).await.unwrap();
            let answer = SendRequest {
                kind: MessageType::Response,
                reply_to: Some(question.id),
                ..SendRequest::new(question.from, MessageType::Response, question.body)
            };
            echo.send(answer).await.unwrap();
        }
    };
    let (one, two) = (send("echo", "one"), send("echo", "two"));
    let (one, two, ()) = tokio::join!(alice.handle().query(one), alice.handle().query(two), answering);
    assert_eq!(one.unwrap().body.as_text(), Some("one"));
    assert_eq!(two.unwrap().body.as_text(), Some("two"));
    let (_alice, mut inbox) = alice.split();
    for _ in 0..2 {
        assert_eq!(inbox.next_message().await.unwrap().body.as_text(), Some("by the way"));
    }
}

#[tokio::test]
async fn a_query_without_hope_ends() {
    let gateway = Gateway::open().await;
    let _bob = client(&gateway, "bob").await;
    let alice = client(&gateway, "alice").await;
    let Err(ClientError::Undelivered(receipt)) = alice.handle().query(send("bob", "fail")).await else {
        panic!()
    };
    assert_eq!(receipt.outcome, Outcome::Expired);
    let Err(ClientError::Refused(error)) = alice.handle().query(send("zed", "?")).await else { panic!() };
    assert_eq!(error.code, ErrorCode::UnknownReceiver);
}

#[tokio::test]
async fn a_query_nobody_waits_for_leaves_its_answer_to_the_inbox() {
    let gateway = Gateway::open().await;
    let (bob, mut questions) = client(&gateway, "bob").await.split();
    let (alice, mut inbox) = client(&gateway, "alice").await.split();
    let question = tokio::select! {
        _ = alice.query(send("bob", "?")) => panic!("nobody has answered yet"),
        question = questions.next_message() => question.unwrap(),
    };
    let answer = SendRequest { reply_to: Some(question.id), ..send("alice", "!") };
    bob.send(answer).await.unwrap();
    assert_eq!(inbox.next_message().await.unwrap().body.as_text(), Some("!"));
}

#[tokio::test]
async fn everything_can_be_asked() {
    let gateway = Gateway::open().await;
    let alice = client(&gateway, "alice").await;
    let handle = alice.handle();
    handle.ping().await.unwrap();
    assert_eq!(handle.status().await.unwrap().adapter, "sim");
    assert_eq!(handle.peers().await.unwrap().peers, []);
    assert_eq!(handle.routes().await.unwrap().routes, []);
    assert_eq!(handle.agents().await.unwrap().agents, []);
    assert_eq!(handle.subscribe(vec![name("kitchen")], None).await.unwrap(), [name("kitchen")]);
    assert_eq!(handle.unsubscribe(vec![name("kitchen")]).await.unwrap(), []);
}

#[tokio::test]
async fn what_is_handled_is_acknowledged_and_its_credits_come_back() {
    let mut gateway = Gateway::open().await;
    let alice = client(&gateway, "alice").await;
    let (bob, mut inbox) = client(&gateway, "bob").await.split();
    for number in 1..=128 {
        alice.handle().send(send("bob", "hi")).await.unwrap().receipt().await.unwrap();
        assert_eq!(inbox.next_message().await.unwrap().cursor, Some(number));
    }
    gateway.until(Seen::Credit(name("bob"), 128)).await;
    // The last message is still in hand; asking for the next one, or leaving it, decides about it.
    inbox.set_auto_ack(false);
    bob.ack(128).unwrap();
    gateway.until(Seen::Ack(name("bob"), 128)).await;

    // Out of order: nothing is acknowledged before what is still open.
    for _ in 0..3 {
        alice.handle().send(send("bob", "hi")).await.unwrap().receipt().await.unwrap();
        inbox.next_message().await.unwrap();
    }
    bob.ack(131).unwrap();
    bob.ack(130).unwrap();
    bob.ack(129).unwrap();
    bob.ping().await.unwrap();
    bob.bye().await;
    let mut acks = Vec::new();
    loop {
        match gateway.seen.recv().await.unwrap() {
            Seen::Ack(_, cursor) => acks.push(cursor),
            Seen::Detach(_) => break,
            _ => {}
        }
    }
    assert_eq!(acks, [131]);
}

#[tokio::test]
async fn errors_say_what_to_do() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = Client::connect(&free.into(), Hello::new(name("alice"))).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("no gateway answers at {free}: ")), "{error}");
    assert!(error.contains("check that it runs there"), "{error}");
    let unix = Endpoint::Unix("/nowhere/mesh.sock".into());
    let error = Client::connect(&unix, Hello::new(name("alice"))).await.unwrap_err().to_string();
    assert!(error.starts_with("no gateway answers at unix:/nowhere/mesh.sock: "), "{error}");

    let gateway = Gateway::open().await;
    let alice = client(&gateway, "alice").await;
    let long = SendRequest { body: Body::data(vec![0; MAX_BODY + 1]), ..send("alice", "") };
    let Err(ClientError::Refused(error)) = alice.handle().send(long).await else { panic!() };
    assert_eq!(error.code, ErrorCode::TooLarge);
    let refused = alice.handle().send(send("zed", "?")).await.unwrap().accepted().await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the gateway refused (unknown_receiver): nobody is called zed: see `agents`"
    );
    let Err(ClientError::Refused(error)) =
        Client::connect(&gateway.address().into(), Hello::new(name("alice"))).await
    else {
        panic!()
    };
    assert_eq!(error.code, ErrorCode::NameTaken);
}

#[tokio::test]
async fn dropping_everything_ends_the_session() {
    let mut gateway = Gateway::open().await;
    let bob = client(&gateway, "bob").await;
    let alice = client(&gateway, "alice").await;
    let pending = alice.handle().send(send("bob", "hi")).await.unwrap();
    drop(alice);
    assert_eq!(pending.receipt().await.unwrap().outcome, Outcome::Delivered);
    gateway.until(Seen::Detach(name("alice"))).await;
    drop(bob);
    gateway.until(Seen::Detach(name("bob"))).await;
}
