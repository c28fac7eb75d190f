//! A message that is sent twice under one key is accepted once, and what that means after a power cut.

mod common;

use common::keys::{KEYS, accepted, rest, task};
use common::{agent, cable, gateway};
use mesh_agent::Incoming;
use mesh_agent::api::{MessageRef, Outcome, SendRequest};

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
