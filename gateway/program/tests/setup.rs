//! A network from nothing: one gateway makes it, another is invited, and agents on both talk.

mod common;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{agent, cable, name, plan};
use gateway::Gateway;
use gateway::engine::Membership;
use gateway::network::Network;
use mesh_agent::api::{Body, Destination, Outcome, SendRequest};
use mesh_protocol::MessageType;

fn run(data_dir: &Path, arguments: &[&str], input: &[u8]) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_mesh-gateway"))
        .args(arguments)
        .arg("--data-dir")
        .arg(data_dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn a_gateway_made_by_init_and_one_made_by_invitation_are_one_network() {
    let (folder_a, folder_b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (dir_a, dir_b) = (folder_a.path().join("a"), folder_b.path().join("b"));
    run(&dir_a, &["init", "--network", "farm", "--name", "roof"], b"");
    let invitation = run(&dir_a, &["invite", "barn"], b"");
    run(&dir_b, &["init", "--invite", "-"], invitation.as_bytes());

    let (end_a, end_b) = cable();
    let mut gateways = Vec::new();
    for (dir, end) in [(&dir_a, end_a), (&dir_b, end_b)] {
        let network = Network::load(dir).unwrap();
        // Not fresh: `init` has written that no SEQ of this key is used.
        let membership = Membership::new(*network.key.as_bytes(), network.epoch, false);
        let plan = plan(network.address.bits(), end, dir, membership);
        gateways.push(Gateway::start(plan).await.unwrap());
    }
    let alice = agent(&gateways[0], "alice").await;
    let mut bob = agent(&gateways[1], "bob").await;
    let request =
        SendRequest::new(Destination::agent(name("bob")), MessageType::Task, Body::text("feed the hens"));
    let pending = alice.handle().send(request).await.unwrap();
    let message = bob.inbox().next_message().await.unwrap();
    assert_eq!((message.from.to_string().as_str(), message.hops), ("alice@0x0001", 1));
    assert_eq!(pending.receipt().await.unwrap().outcome, Outcome::Delivered);
}
