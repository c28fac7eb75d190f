//! Power cuts: the program is killed at any moment, and nothing it accepted is lost or delivered twice.
#![cfg(feature = "sim")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Child;

use common::{name, program};
use mesh_agent::api::{Body, Destination, Hello, SendRequest};
use mesh_agent::{Client, Endpoint};
use mesh_protocol::{Address, MessageType, Rng};

/// A gateway process on the simulated air.
struct Process {
    child: Child,
    endpoint: Endpoint,
}

impl Process {
    fn start(dir: &Path) -> Self {
        let (child, ready) = program(dir, "1");
        let endpoint = ready["tcp"].as_str().unwrap().parse().unwrap();
        Self { child, endpoint }
    }

    async fn agent(&self, text: &str) -> Client {
        Client::connect(&self.endpoint, Hello::new(name(text))).await.unwrap()
    }

    /// SIGKILL: no last words.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[tokio::test]
async fn what_was_accepted_survives_kill_9_and_arrives_once() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x0ff);
    println!("seed {seed} (set SEED to repeat another)");
    let mut rng = Rng::new(seed);
    let dir = tempfile::tempdir().unwrap();
    let mut accepted = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut doubtful = BTreeSet::new();
    for round in 0..6 {
        let process = Process::start(dir.path());
        let (alice, _inbox) = process.agent("alice").await.split();
        let sending = tokio::spawn(async move {
            let mut said = Vec::new();
            for n in 0..10_000u32 {
                let text = format!("round {round} message {n}");
                let request = SendRequest::new(
                    Destination::agent(name("bob")),
                    MessageType::Task,
                    Body::text(text.clone()),
                );
                let Ok(mut pending) = alice.send(request).await else { break };
                match pending.accepted().await {
                    Ok(accepted) => said.push((accepted.id, text, true)),
                    Err(_) => {
                        // Nobody said whether it was accepted.
                        said.push((
                            mesh_agent::api::MessageRef { node: Address::NONE, id: Default::default() },
                            text,
                            false,
                        ));
                        break;
                    }
                }
            }
            said
        });
        // The receiver takes some messages, then power goes.
        let mut bob = process.agent("bob").await;
        for _ in 0..rng.below(40) {
            let message = bob.inbox().next_message().await.unwrap();
            // Handled, and acked by the client as it comes; a repeat of what the cut left unacked is recognised.
            seen.insert((message.id, message.body.as_text().unwrap().to_owned()));
        }
        process.kill();
        for (id, text, sure) in sending.await.unwrap() {
            if sure {
                assert_eq!(accepted.insert(id, text), None, "a message number was used twice");
            } else {
                doubtful.insert(text);
            }
        }
    }
    let process = Process::start(dir.path());
    let mut bob = process.agent("bob").await;
    let mut last = BTreeSet::new();
    while !accepted.keys().all(|id| seen.iter().chain(&last).any(|(known, _)| known == id)) {
        let message = bob.inbox().next_message().await.unwrap();
        assert!(
            last.insert((message.id, message.body.as_text().unwrap().to_owned())),
            "{} came twice",
            message.id
        );
    }
    for (id, text) in seen.iter().chain(&last) {
        match accepted.get(id) {
            Some(sent) => assert_eq!(sent, text),
            None => assert!(doubtful.contains(text), "{id} was never sent: {text}"),
        }
    }
    process.kill();
}
