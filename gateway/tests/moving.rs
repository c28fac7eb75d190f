//! Agents that move from one gateway to another, and namesakes: mail goes to the one that is there.

mod common;

use common::{agent, cable, gateway};
use gateway::Gateway;
use mesh_agent::api::{Body, Outcome, Receipt, SendRequest};
use mesh_agent::{Client, Handle};
use mesh_protocol::{Address, MessageType};
use tempfile::TempDir;

/// Two gateways on a cable.
async fn west_and_east() -> (Gateway, Gateway, [TempDir; 2]) {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (end_a, end_b) = cable();
    let west = gateway(1, end_a, dirs[0].path()).await;
    let east = gateway(2, end_b, dirs[1].path()).await;
    (west, east, dirs)
}

fn text(to: &str, body: &str) -> SendRequest {
    SendRequest::new(to.parse().unwrap(), MessageType::Task, Body::text(body))
}

async fn receipt(handle: &Handle, to: &str, body: &str) -> Receipt {
    let receipt = handle.send(text(to, body)).await.unwrap().receipt().await.unwrap();
    assert_eq!(receipt.outcome, Outcome::Delivered, "{:?}", receipt.why);
    receipt
}

async fn next(client: &mut Client) -> String {
    client.inbox().next_message().await.unwrap().body.as_text().unwrap().to_owned()
}

/// Its mail once went into the inbox that it had left behind, and was called delivered.
#[tokio::test]
async fn mail_goes_where_an_agent_has_moved_to_and_back() {
    let (west, east, _dirs) = west_and_east().await;
    let mut alice = agent(&west, "alice").await;
    let mut mover = agent(&west, "mover").await;
    let here = receipt(alice.handle(), "mover", "at home").await;
    assert_eq!(
        (here.at_node, here.hops, next(&mut mover).await.as_str()),
        (Some(Address::new(1)), Some(0), "at home")
    );
    mover.handle().bye().await;

    let mut mover = agent(&east, "mover").await;
    receipt(mover.handle(), "alice", "I have moved").await;
    assert_eq!(next(&mut alice).await, "I have moved");
    let there = receipt(alice.handle(), "mover", "in the east").await;
    assert_eq!((there.at_node, next(&mut mover).await.as_str()), (Some(Address::new(2)), "in the east"));
    let addressed = receipt(alice.handle(), "mover@0x0001", "to the old address").await;
    assert_eq!(addressed.at_node, Some(Address::new(1)), "who names a node means it");
    mover.handle().bye().await;
    let waiting = receipt(alice.handle(), "mover", "while away").await;
    assert_eq!(waiting.at_node, Some(Address::new(2)), "where it was last");

    let mut mover = agent(&west, "mover").await;
    let mut came = next(&mut mover).await;
    if came == "at home" {
        // Its ack may have been lost with the session.
        came = next(&mut mover).await;
    }
    assert_eq!(came, "to the old address");
    let back = receipt(alice.handle(), "mover", "back home").await;
    assert_eq!((back.at_node, next(&mut mover).await.as_str()), (Some(Address::new(1)), "back home"));
}

/// A gateway that was off when an agent moved away asks once mail comes for it.
#[tokio::test]
async fn a_gateway_that_did_not_hear_of_the_move_finds_out() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (end_a, end_b, plug) = common::cable_with_a_plug();
    let east = gateway(1, end_a, dirs[0].path()).await;
    let west = gateway(2, end_b, dirs[1].path()).await;
    agent(&west, "mover").await.handle().bye().await;
    west.stop().await.unwrap();
    let mut mover = agent(&east, "mover").await;
    let west = gateway(2, plug.again(), dirs[1].path()).await;
    let alice = agent(&west, "alice").await;
    let mut sent = 0;
    loop {
        sent += 1;
        if receipt(alice.handle(), "mover", &sent.to_string()).await.at_node == Some(Address::new(1)) {
            break;
        }
    }
    assert_eq!(next(&mut mover).await, sent.to_string());
}

#[tokio::test]
async fn an_agent_that_is_connected_twice_is_named_to_both_operators() {
    let (west, east, _dirs) = west_and_east().await;
    let alice = agent(&west, "alice").await;
    let bob = agent(&east, "bob").await;
    receipt(alice.handle(), "bob", "the gateways hear each other").await;
    let (_one, _other) = (agent(&west, "twin").await, agent(&east, "twin").await);
    for (client, own, other) in [(&alice, "0x0001", "0x0002"), (&bob, "0x0002", "0x0001")] {
        let says = loop {
            let health = client.handle().status().await.unwrap().health;
            if let Some(line) = health.problems.iter().find(|line| line.contains("twin")) {
                break line.clone();
            }
            tokio::task::yield_now().await;
        };
        assert!(says.contains(&format!("connected here, at {own}, and at {other};")), "{says}");
    }
}
