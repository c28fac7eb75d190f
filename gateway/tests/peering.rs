//! Gateways over IP: islands of radio that are one mesh, what happens when a connection goes, and who is kept out.

mod common;

use std::net::SocketAddr;
use std::path::Path;

use common::links::{links, nowhere, to, until};
use common::{Cable, agent, cable, name, plan};
use gateway::Gateway;
use gateway::engine::Membership;
use mesh_agent::Client;
use mesh_agent::api::{Destination, LinkState, Name, Outcome, ReceiptRequest};
use mesh_protocol::{Address, Priority};

/// A gateway of the network of `key` on one end of a cable, on a port of its own or on the one it had.
async fn gateway(n: u16, cable: Cable, dir: &Path, key: u8, tcp: Option<SocketAddr>) -> Gateway {
    let mut plan = plan(n, cable, dir, Membership::new([key; 16], 1, true));
    plan.listen.tcp = tcp.or(plan.listen.tcp);
    Gateway::start(plan).await.unwrap()
}

#[tokio::test]
async fn two_islands_of_radio_are_one_mesh() {
    let dirs: [_; 4] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let ((one, two), (three, four)) = (cable(), cable());
    let a = gateway(1, one, dirs[0].path(), 7, None).await;
    let b = gateway(2, two, dirs[1].path(), 7, None).await;
    let c = gateway(3, three, dirs[2].path(), 7, None).await;
    let d = gateway(4, four, dirs[3].path(), 7, None).await;
    let alice = agent(&a, "alice").await;
    let mut dave = agent(&d, "dave").await;
    let clerk = agent(&b, "clerk").await;
    links(&clerk, &c, "cellar").await;
    let up = until(clerk.handle(), "cellar", LinkState::Up).await;
    assert_eq!(up.node, Some(Address::new(3)));
    // The other side sees it, too, by the name that the gateway gives itself.
    let clerk_c = agent(&c, "clerk-c").await;
    until(clerk_c.handle(), "gateway-2", LinkState::Up).await;

    // Nobody tells where dave is: the name is found across the connection.
    for priority in Priority::ALL {
        let mut send = to("dave", &format!("{priority}"));
        send.priority = priority;
        send.receipt = ReceiptRequest::Delivered;
        let receipt = alice.handle().send(send).await.unwrap().receipt().await.unwrap();
        assert_eq!((receipt.outcome, receipt.at_node), (Outcome::Delivered, Some(Address::new(4))));
        assert_eq!(receipt.hops, Some(3), "radio, connection, radio");
        let message = dave.inbox().next_message().await.unwrap();
        assert_eq!(message.body.as_text(), Some(&*format!("{priority}")));
    }
    let long = "0123456789abcdef".repeat(1_024);
    let receipt = alice.handle().send(to("dave", &long)).await.unwrap().receipt().await.unwrap();
    assert_eq!(receipt.outcome, Outcome::Delivered);
    assert_eq!(dave.inbox().next_message().await.unwrap().body.as_text(), Some(&*long));
    let health = alice.handle().health().await.unwrap();
    assert_eq!((health.overall.settled, health.overall.success_rate), (5, Some(1.0)));
    let to_d = health.peers.iter().find(|peer| peer.node == Address::new(4)).unwrap();
    assert!(to_d.healthy && to_d.figures.p50_latency_ms.is_some() && to_d.hops == Some(3));

    // A second way closes a ring: nothing comes twice.
    links(&alice, &d, "roof").await;
    until(alice.handle(), "roof", LinkState::Up).await;
    let mut everyone = to("everyone", "to all");
    everyone.to = Destination::Everyone;
    alice.handle().send(everyone).await.unwrap();
    assert_eq!(dave.inbox().next_message().await.unwrap().body.as_text(), Some("to all"));
    let last = alice.handle().send(to("dave", "last")).await.unwrap().receipt().await.unwrap();
    assert_eq!(last.outcome, Outcome::Delivered);
    assert_eq!(dave.inbox().next_message().await.unwrap().body.as_text(), Some("last"));

    clerk.handle().remove_link(name("cellar")).await.unwrap();
    assert!(clerk.handle().peers().await.unwrap().links.iter().all(|link| link.name != name("cellar")));
    for gateway in [a, b, c, d] {
        gateway.stop().await.unwrap();
    }
}

#[tokio::test]
async fn what_is_said_while_a_gateway_is_away_arrives_once_when_it_is_back() {
    let dirs: [_; 2] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let a = gateway(1, nowhere(), dirs[0].path(), 7, None).await;
    let b = gateway(2, nowhere(), dirs[1].path(), 7, None).await;
    let alice = agent(&a, "alice").await;
    let bob = agent(&b, "bob").await;
    links(&alice, &b, "b").await;
    until(alice.handle(), "b", LinkState::Up).await;
    let first = alice.handle().send(to("bob", "first")).await.unwrap().receipt().await.unwrap();
    assert_eq!(first.outcome, Outcome::Delivered);
    let port = b.tcp_address();
    drop(bob);
    b.cut().await;
    let away = until(alice.handle(), "b", LinkState::Away).await;
    assert!(away.why.is_some());

    let mut pending = Vec::new();
    for n in 0..20 {
        let mut sending = alice.handle().send(to("bob@0x0002", &format!("meanwhile {n}"))).await.unwrap();
        assert!(sending.accepted().await.unwrap().durable);
        pending.push(sending);
    }
    // Its key and its records are those it had.
    let b = {
        let mut plan = plan(2, nowhere(), dirs[1].path(), Membership::new([7; 16], 1, false));
        plan.listen.tcp = port;
        Gateway::start(plan).await.unwrap()
    };
    for pending in pending {
        assert_eq!(pending.receipt().await.unwrap().outcome, Outcome::Delivered);
    }
    let mut bob = agent(&b, "bob").await;
    let mut heard: Vec<String> = Vec::new();
    while heard.len() < 21 {
        heard.push(bob.inbox().next_message().await.unwrap().body.as_text().unwrap().to_owned());
    }
    heard.sort();
    heard.dedup();
    assert_eq!(heard.len(), 21, "each once");

    // A restarted gateway connects by itself with those that were added to it.
    let port = a.tcp_address();
    drop(alice);
    a.cut().await;
    let a = {
        let mut plan = plan(1, nowhere(), dirs[0].path(), Membership::new([7; 16], 1, false));
        plan.listen.tcp = port;
        Gateway::start(plan).await.unwrap()
    };
    let alice = agent(&a, "alice").await;
    let up = until(alice.handle(), "b", LinkState::Up).await;
    assert_eq!(up.node, Some(Address::new(2)));
    a.stop().await.unwrap();
    b.stop().await.unwrap();
}

#[tokio::test]
async fn other_networks_and_changed_certificates_are_kept_out_and_told() {
    let dirs: [_; 3] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let a = gateway(1, nowhere(), dirs[0].path(), 7, None).await;
    let stranger = gateway(2, nowhere(), dirs[1].path(), 8, None).await;
    let alice = agent(&a, "alice").await;
    links(&alice, &stranger, "stranger").await;
    let away = until(alice.handle(), "stranger", LinkState::Away).await;
    assert!(away.why.unwrap().contains("no gateway of this network"));
    let echo = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = echo.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = echo.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.into_split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    alice.handle().add_link(name("echo"), address, None).await.unwrap();
    let away = until(alice.handle(), "echo", LinkState::Away).await;
    assert!(away.why.unwrap().contains("does not speak TLS as a mesh-gateway does"));

    let b = gateway(3, nowhere(), dirs[2].path(), 7, None).await;
    let wrong = Some("ab".repeat(32));
    let address = b.tcp_address().unwrap().to_string();
    alice.handle().add_link(name("b"), address.clone(), wrong).await.unwrap();
    let away = until(alice.handle(), "b", LinkState::Away).await;
    assert!(away.why.unwrap().contains("another certificate than before"));
    let bob = agent(&b, "bob").await;
    let right = bob.handle().peers().await.unwrap().fingerprint;
    alice.handle().remove_link(name("b")).await.unwrap();
    alice.handle().add_link(name("b"), address, right.clone()).await.unwrap();
    assert_eq!(until(alice.handle(), "b", LinkState::Up).await.fingerprint, right);
    for gateway in [a, stranger, b] {
        gateway.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_certificate_that_is_given_later_counts_at_once() {
    let dirs: [_; 2] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let a = gateway(1, nowhere(), dirs[0].path(), 7, None).await;
    let b = gateway(2, nowhere(), dirs[1].path(), 7, None).await;
    let alice = agent(&a, "alice").await;
    links(&alice, &b, "b").await;
    let seen = until(alice.handle(), "b", LinkState::Up).await.fingerprint.unwrap();
    let address = || b.tcp_address().unwrap().to_string();
    let wrong: String = seen.chars().map(|c| if c == '0' { '1' } else { '0' }).collect();
    alice.handle().add_link(name("b"), address(), Some(wrong.clone())).await.unwrap();
    let away = until(alice.handle(), "b", LinkState::Away).await;
    assert!(away.why.as_deref().is_some_and(|why| why.contains("another certificate")), "{away:?}");
    assert_eq!(away.fingerprint, Some(wrong), "what was seen does not take its place");
    alice.handle().add_link(name("b"), address(), Some(seen)).await.unwrap();
    until(alice.handle(), "b", LinkState::Up).await;
    a.stop().await.unwrap();
    b.stop().await.unwrap();
}

#[tokio::test]
async fn a_clone_under_a_gateways_address_is_never_shown_as_that_gateway() {
    let dirs: [_; 3] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let a = gateway(1, nowhere(), dirs[0].path(), 7, None).await;
    // Of the same network and address, with a certificate of its own. It is there before the one that is meant.
    let clone = gateway(2, nowhere(), dirs[2].path(), 7, None).await;
    let (alice, mallory) = (agent(&a, "alice").await, agent(&clone, "mallory").await);
    links(&mallory, &a, "a").await;
    let unknown = until(alice.handle(), "gateway-2", LinkState::Up).await;

    let b = gateway(2, nowhere(), dirs[1].path(), 7, None).await;
    let bob = agent(&b, "bob").await;
    let right = bob.handle().peers().await.unwrap().fingerprint;
    assert_ne!(unknown.fingerprint, right);
    alice.handle().add_link(name("b"), b.tcp_address().unwrap().to_string(), right.clone()).await.unwrap();
    let up = until(alice.handle(), "b", LinkState::Up).await;
    assert_eq!((up.node, up.fingerprint), (Some(Address::new(2)), right.clone()), "the one that is wanted");
    until(mallory.handle(), "a", LinkState::Away).await;

    // With the right one gone, the clone does not get its place.
    drop(bob);
    b.cut().await;
    until(alice.handle(), "b", LinkState::Away).await;
    mallory.handle().remove_link(name("a")).await.unwrap();
    links(&mallory, &a, "a").await;
    until(mallory.handle(), "a", LinkState::Away).await;
    let links = alice.handle().peers().await.unwrap().links;
    assert_eq!(links.len(), 1, "{links:?}");
    assert_eq!((links[0].state, &links[0].fingerprint), (LinkState::Away, &right));
    assert!(links[0].why.is_some() && links[0].last_heard_ms.is_none());
    a.stop().await.unwrap();
    clone.stop().await.unwrap();
}

#[tokio::test]
async fn one_gateway_under_two_names_is_up_under_the_one_that_reached_it() {
    let dirs: [_; 2] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let a = gateway(1, nowhere(), dirs[0].path(), 7, None).await;
    let b = gateway(2, nowhere(), dirs[1].path(), 7, None).await;
    let alice = agent(&a, "alice").await;
    links(&alice, &b, "b").await;
    let right = until(alice.handle(), "b", LinkState::Up).await.fingerprint;
    // Nobody listens there.
    alice.handle().add_link(name("b-old"), "127.0.0.1:1".into(), right).await.unwrap();
    let old = until(alice.handle(), "b-old", LinkState::Away).await;
    assert!(old.why.unwrap().contains("cannot be reached"));
    until(alice.handle(), "b", LinkState::Up).await;
    a.stop().await.unwrap();
    b.stop().await.unwrap();
}

#[tokio::test]
async fn a_gateway_whose_only_link_is_away_is_not_well() {
    let dirs: [_; 2] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let a = gateway(1, nowhere(), dirs[0].path(), 7, None).await;
    let b = gateway(2, nowhere(), dirs[1].path(), 7, None).await;
    let alice = agent(&a, "alice").await;
    links(&alice, &b, "b").await;
    let up = until(alice.handle(), "b", LinkState::Up).await;
    assert!(up.last_heard_ms.is_some());
    assert_eq!(alice.handle().status().await.unwrap().health.problems, [""; 0]);
    b.cut().await;
    until(alice.handle(), "b", LinkState::Away).await;
    let problems = alice.handle().status().await.unwrap().health.problems;
    assert!(problems[0].starts_with("the gateway b is away"), "{problems:?}");
    alice.handle().remove_link(name("b")).await.unwrap();
    assert_eq!(alice.handle().status().await.unwrap().health.problems, [""; 0], "it is not wanted");
    a.stop().await.unwrap();
}

#[tokio::test]
async fn two_that_dial_each_other_keep_one_connection() {
    let dirs: [_; 2] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let a = gateway(1, nowhere(), dirs[0].path(), 7, None).await;
    let b = gateway(2, nowhere(), dirs[1].path(), 7, None).await;
    let (alice, bob) = (agent(&a, "alice").await, agent(&b, "bob").await);
    tokio::join!(links(&alice, &b, "b"), links(&bob, &a, "a"));
    until(alice.handle(), "b", LinkState::Up).await;
    until(bob.handle(), "a", LinkState::Up).await;
    // Which of the two it is settles by itself; both sides always name the other once.
    for (client, other) in [(&alice, "b"), (&bob, "a")] {
        let links = client.handle().peers().await.unwrap().links;
        let names: Vec<Name> = links.iter().map(|link| link.name).collect();
        assert_eq!(names, [name(other)]);
    }
    let receipt = alice.handle().send(to("bob", "hello")).await.unwrap().receipt().await.unwrap();
    assert_eq!(receipt.outcome, Outcome::Delivered);
    a.stop().await.unwrap();
    b.stop().await.unwrap();
}

#[tokio::test]
async fn a_connection_that_is_removed_leaves_the_radio_as_the_way() {
    let dirs: [_; 2] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let (one, two) = cable();
    let a = gateway(1, one, dirs[0].path(), 7, None).await;
    let b = gateway(2, two, dirs[1].path(), 7, None).await;
    let (alice, bob) = (agent(&a, "alice").await, agent(&b, "bob").await);
    let outcome = async |n: usize| {
        let receipt = alice.handle().send(to("bob", &n.to_string())).await.unwrap().receipt().await.unwrap();
        assert_eq!(receipt.outcome, Outcome::Delivered);
    };
    let sent_again = async |client: &Client| {
        let counters = client.handle().status().await.unwrap().counters;
        counters.get("retransmissions").copied().unwrap_or(0)
    };
    for round in 0..3 {
        links(&alice, &b, "b").await;
        until(alice.handle(), "b", LinkState::Up).await;
        outcome(round).await;
        alice.handle().remove_link(name("b")).await.unwrap();
        while !bob.handle().peers().await.unwrap().links.is_empty()
            || !alice.handle().peers().await.unwrap().links.is_empty()
        {
            tokio::task::yield_now().await;
        }
        let before = sent_again(&alice).await + sent_again(&bob).await;
        for n in 0..3 {
            outcome(n).await;
        }
        assert_eq!(sent_again(&alice).await + sent_again(&bob).await, before, "round {round}");
    }
    a.stop().await.unwrap();
    b.stop().await.unwrap();
}

#[tokio::test]
async fn a_crowd_that_says_nothing_does_not_push_a_connected_gateway_out() {
    let dirs: [_; 2] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let a = gateway(1, nowhere(), dirs[0].path(), 7, None).await;
    let mut plan = plan(2, nowhere(), dirs[1].path(), Membership::new([7; 16], 1, true));
    plan.listen.limits.unauthenticated = 4;
    let b = Gateway::start(plan).await.unwrap();
    let (alice, bob) = (agent(&a, "alice").await, agent(&b, "bob").await);
    links(&alice, &b, "b").await;
    let up = until(alice.handle(), "b", LinkState::Up).await;
    let mut crowd = Vec::new();
    for _ in 0..40 {
        crowd.push(tokio::net::TcpStream::connect(b.tcp_address().unwrap()).await.unwrap());
    }
    // All of them were met before this.
    drop(agent(&b, "one-more").await);
    let status = bob.handle().status().await.unwrap();
    assert!(status.counters["agents_refused_crowd"] >= 30, "{:?}", status.counters);
    let receipt = alice.handle().send(to("bob", "still here?")).await.unwrap().receipt().await.unwrap();
    assert_eq!(receipt.outcome, Outcome::Delivered);
    let still = until(alice.handle(), "b", LinkState::Up).await;
    assert!(still.since_ms >= up.since_ms, "it is the same connection");
    a.stop().await.unwrap();
    b.stop().await.unwrap();
}
