//! Simulated islands that are joined over IP.

#[path = "../../../gateway/tests/common/mod.rs"]
mod common;

use std::path::Path;

use common::links::{links, nowhere, to, until};
use common::{agent, name, plan};
use gateway::{Gateway, Membership, Plan};
use mesh_agent::api::{Destination, LinkState};
use mesh_protocol::MessageType;
use mesh_testbed::simulated::{Seat, SimulatedAir, Simulation};

/// A gateway on an island of its own, and the air it stands on.
async fn islander(n: u16, dir: &Path) -> (Gateway, SimulatedAir) {
    let key = [7; 16];
    let simulation =
        Simulation { nodes: 8, seed: n.into(), speed: Some(1.0), loss_percent: 5.0, key, island: n, run: 0 };
    let (air, [Seat { bearer, clock, .. }]) = SimulatedAir::start(&simulation);
    let address = air.network().gateway_address(0);
    let plan = plan(address.bits(), nowhere(), dir, Membership::new(key, air.network().epoch(), true));
    let Plan { config, membership, ttl, seed, data_dir, listen, peers, .. } = plan;
    let plan = Plan { config, membership, ttl, seed, bearer, clock, data_dir, listen, peers };
    (Gateway::start(plan).await.unwrap(), air)
}

#[tokio::test(flavor = "multi_thread")]
async fn simulated_islands_of_one_key_are_one_mesh_down_to_their_devices() {
    let dirs: [_; 2] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let (a, air_a) = islander(1, dirs[0].path()).await;
    let (b, air_b) = islander(2, dirs[1].path()).await;
    // Both islands have an agent of that name; before they are one mesh each has its own.
    let far = agent(&b, "asker").await;
    let mut ask = to("echo", "are you there?");
    ask.kind = MessageType::Query;
    let node = far.handle().query(ask.clone()).await.unwrap().id.node;
    assert!(node.bits() > 1_024, "{node} is of the second island");
    let alice = agent(&a, "alice").await;
    links(&alice, &b, "b").await;
    until(alice.handle(), "b", LinkState::Up).await;
    ask.to = Destination::agent_on(name("echo"), node);
    let answer = alice.handle().query(ask).await.unwrap();
    assert_eq!((answer.id.node, answer.body.as_text()), (node, Some("are you there?")));
    a.stop().await.unwrap();
    b.stop().await.unwrap();
    drop((air_a, air_b));
}
