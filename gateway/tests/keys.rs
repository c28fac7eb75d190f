//! A message that is sent twice under one key is accepted once, and what that means after a power cut.

mod common;

use common::{agent, cable, gateway, name};
use mesh_agent::api::codec::Codec;
use mesh_agent::api::{Accepted, Hello, MessageRef, Outcome, SendRequest};
use mesh_agent::{Client, ClientError, Handle, Incoming};
use mesh_gateway::whole::{Inside, Office};
use mesh_protocol::{Duration, MessageType};

/// As in `docs/agents.md`, "Limits".
const KEYS: u64 = 1_024;

fn task(to: &str, key: u64) -> SendRequest {
    let body = mesh_agent::api::Body::text(format!("under {key}"));
    SendRequest { key: Some(key), ..SendRequest::new(to.parse().unwrap(), MessageType::Task, body) }
}

async fn accepted(handle: &Handle, request: SendRequest) -> Accepted {
    handle.send(request).await.unwrap().accepted().await.unwrap()
}

/// Everything that is in an inbox, once nothing more can come.
async fn rest(client: Client) -> Vec<Incoming> {
    client.handle().ping().await.unwrap();
    client.handle().bye().await;
    let (_, mut inbox) = client.split();
    let mut all = Vec::new();
    while let Ok(incoming) = inbox.next().await {
        all.push(incoming);
    }
    all
}

fn message(incoming: &Incoming) -> (MessageRef, &str) {
    let Incoming::Message(message) = incoming else { panic!("{incoming:?}") };
    (message.id, message.body.as_text().unwrap())
}

#[tokio::test]
async fn a_message_sent_twice_is_accepted_once_and_arrives_once() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (end_a, end_b) = cable();
    let (a, b) = (gateway(1, end_a, dirs[0].path()).await, gateway(2, end_b, dirs[1].path()).await);
    let (alice, carol, bob) = (agent(&a, "alice").await, agent(&a, "carol").await, agent(&b, "bob").await);

    let handle = alice.handle();
    let mut first = handle.send(task("bob", 5)).await.unwrap();
    // While the first still waits for the disk, and with another body: the key decides.
    let mut second = handle.send(SendRequest { key: Some(5), ..task("carol", 6) }).await.unwrap();
    let id = first.accepted().await.unwrap().id;
    let again = second.accepted().await.unwrap();
    assert_eq!((again.id, again.durable), (id, true));
    let receipt = first.receipt().await.unwrap();
    assert_eq!((receipt.id, receipt.outcome), (id, Outcome::Delivered));
    // And when it is long over.
    assert_eq!(accepted(handle, task("bob", 5)).await.id, id);

    // Another key, and another agent's same key, are other messages.
    let other = handle.send(task("bob", 6)).await.unwrap().receipt().await.unwrap();
    let hers = carol.handle().send(task("bob", 5)).await.unwrap().receipt().await.unwrap();
    assert!(other.id != id && hers.id != id);

    let bobs: Vec<Incoming> = rest(bob).await;
    let heard: Vec<_> = bobs.iter().map(message).collect();
    assert_eq!(heard, [(id, "under 5"), (other.id, "under 6"), (hers.id, "under 5")]);
    assert_eq!(rest(carol).await, [], "nothing went to the second's receiver");
    // A receipt too many would be left over here.
    assert_eq!(rest(alice).await, []);
    a.stop().await.unwrap();
    b.stop().await.unwrap();
}

#[tokio::test]
async fn the_oldest_key_is_forgotten_when_there_are_too_many() {
    let dir = tempfile::tempdir().unwrap();
    let (end, _other) = cable();
    let a = gateway(1, end, dir.path()).await;
    agent(&a, "bob").await.handle().bye().await;
    let alice = agent(&a, "alice").await;
    let mut ids = Vec::new();
    for key in 0..=KEYS {
        // The inbox is not what is tried here.
        let sent = SendRequest { durable: key % 2 == 0, ..task("group:nobody", key) };
        ids.push(accepted(alice.handle(), sent).await.id);
    }
    for key in 1..=KEYS {
        assert_eq!(accepted(alice.handle(), task("bob", key)).await.id, ids[key as usize]);
    }
    let anew = accepted(alice.handle(), task("bob", 0)).await.id;
    assert!(anew > ids[KEYS as usize], "its key had made room for the last one");
    assert_eq!(rest(agent(&a, "bob").await).await.len(), 1);
    a.stop().await.unwrap();
}

fn small() -> Office {
    Office { relays: 2, gateways: 2, within: Duration::from_secs(60), ..Office::default() }
}

async fn alice(inside: &Inside) -> Client {
    inside.connect(0, Hello::new(name("alice")), Codec::Postcard).await.unwrap()
}

#[test]
fn a_key_is_known_after_a_power_cut_if_and_only_if_its_message_was_accepted() {
    let ran = small().run(async |inside| {
        let session = alice(&inside).await;
        let kept = accepted(session.handle(), task("bob", 1)).await.id;
        let fleeting = SendRequest { durable: false, ..task("bob", 2) };
        let dead = accepted(session.handle(), fleeting.clone()).await;
        let again = accepted(session.handle(), fleeting).await;
        assert_eq!((again.id, again.durable), (dead.id, false));
        // Said, and power is gone before it is on the disk.
        let mut lost = session.handle().send(task("bob", 3)).await.unwrap();
        inside.cut(0).await.unwrap();
        assert!(matches!(lost.accepted().await, Err(ClientError::Lost(_))));
        inside.restart(0).unwrap();

        let session = alice(&inside).await;
        assert_eq!(accepted(session.handle(), task("bob", 1)).await.id, kept);
        let second = accepted(session.handle(), task("bob", 2)).await;
        assert!(second.durable && second.id != dead.id, "it died with the power");
        let third = accepted(session.handle(), task("bob", 3)).await.id;

        let mut bob = inside.connect(1, Hello::new(name("bob")), Codec::Json).await.unwrap();
        let mut heard = Vec::new();
        for _ in 0..3 {
            heard.push(bob.inbox().next_message().await.unwrap().id);
        }
        heard.sort();
        assert_eq!(heard, [kept, second.id, third]);
        inside.pause(Duration::from_secs(30)).await;
        assert_eq!(rest(bob).await, []);
    });
    ran.unwrap();
}

#[test]
fn keys_that_were_overwritten_are_overwritten_after_a_restart_too() {
    let ran = small().run(async |inside| {
        let session = alice(&inside).await;
        let mut last = None;
        for key in 0..KEYS + 10 {
            last = Some(accepted(session.handle(), task("group:nobody", key)).await.id);
        }
        inside.cut(0).await.unwrap();
        inside.restart(0).unwrap();
        let session = alice(&inside).await;
        for key in 10..KEYS + 10 {
            assert!(accepted(session.handle(), task("group:nobody", key)).await.id <= last.unwrap());
        }
        assert!(accepted(session.handle(), task("group:nobody", 9)).await.id > last.unwrap());
    });
    ran.unwrap();
}

#[test]
fn a_key_costs_no_further_sync() {
    let commits = [None, Some(1)].map(|first| {
        let ran = small().run(async move |inside| {
            let session = alice(&inside).await;
            for n in 0..50 {
                let key = first.map(|first| first + n);
                accepted(session.handle(), SendRequest { key, ..task("bob", n) }).await;
            }
        });
        ran.unwrap().commits
    });
    assert!(commits[0] >= 50 && commits[0] == commits[1], "{commits:?}");
}
