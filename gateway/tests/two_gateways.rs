//! Agents on two gateways exchange every kind of message, each with a truthful receipt.

mod common;

use common::{agent, cable, gateway, name};
use mesh_agent::api::{Body, Destination, Outcome, SendRequest};
use mesh_protocol::{MessageType, Priority};

#[tokio::test]
async fn every_type_and_priority_arrives_once_with_its_receipt() {
    let (dir_a, dir_b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (end_a, end_b) = cable();
    let a = gateway(1, end_a, dir_a.path()).await;
    let b = gateway(2, end_b, dir_b.path()).await;
    let alice = agent(&a, "alice").await;
    let mut bob = agent(&b, "bob").await;

    let mut sent = Vec::new();
    for kind in MessageType::ALL {
        for priority in Priority::ALL {
            let body = Body::text(format!("{kind} at {priority}"));
            let request = SendRequest::new(Destination::agent(name("bob")), kind, body)
                .with_priority(priority)
                .with_durable(true);
            let mut pending = alice.handle().send(request).await.unwrap();
            let accepted = pending.accepted().await.unwrap();
            assert!(accepted.durable);
            sent.push((accepted.id, kind, priority, pending));
        }
    }
    let mut received = Vec::new();
    for _ in 0..sent.len() {
        let message = bob.inbox().next_message().await.unwrap();
        assert_eq!(
            message.body.as_text(),
            Some(format!("{} at {}", message.kind, message.priority).as_str())
        );
        assert_eq!(message.from.to_string(), "alice@0x0001");
        received.push((message.id, message.kind, message.priority));
    }
    received.sort();
    let expected: Vec<_> = sent.iter().map(|(id, kind, priority, _)| (*id, *kind, *priority)).collect();
    assert_eq!(received, expected);
    for (_, _, _, pending) in sent {
        let receipt = pending.receipt().await.unwrap();
        assert_eq!((receipt.outcome, receipt.hops), (Outcome::Delivered, Some(1)));
    }
    a.stop().await.unwrap();
    b.stop().await.unwrap();
}

#[tokio::test]
async fn a_body_of_64_kib_arrives_whole() {
    let (dir_a, dir_b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (end_a, end_b) = cable();
    let a = gateway(1, end_a, dir_a.path()).await;
    let b = gateway(2, end_b, dir_b.path()).await;
    let alice = agent(&a, "alice").await;
    let mut bob = agent(&b, "bob").await;
    let bytes: Vec<u8> = (0..65_536u32).map(|n| (n * 7 + n / 251) as u8).collect();
    let to = Destination::agent(name("bob"));
    let request = SendRequest {
        priority: Priority::High,
        ..SendRequest::new(to, MessageType::ParameterUpdate, Body::data(bytes.clone()))
    };
    let pending = alice.handle().send(request).await.unwrap();
    let message = bob.inbox().next_message().await.unwrap();
    assert!(message.body.bytes() == &bytes[..]);
    assert_eq!(pending.receipt().await.unwrap().outcome, Outcome::Delivered);
    a.stop().await.unwrap();
    b.stop().await.unwrap();
}
