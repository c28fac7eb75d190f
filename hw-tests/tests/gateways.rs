//! Whole gateways over virtual controllers, with relays between them: agents over TCP, the real HCI code, the real radio model.

use std::path::Path;

use ble_bearer::WallClock;
use ble_bearer::hci::{HciBearer, HciOptions, Port};
use firmware_sim::scenario::Scenario;
use firmware_sim::serve::{Options, Server};
use firmware_sim::virtual_controller::ControllerKind;
use gateway::agents::{Limits, Listen, TokenCheck};
use gateway::engine::{EngineConfig, Membership};
use gateway::{Gateway, Plan};
use mesh_agent::api::{Body, Destination, Hello, Name, Outcome, SendRequest};
use mesh_agent::{Client, Endpoint};
use mesh_protocol::{Duration, MessageType, Priority};

/// Six in a row of which each hears only the next; hosts have the two ends.
const CHAIN: &str = r#"
settle = "1s"
offered = "1h"
traffic = []
layout.diagonal = { nodes = 6, spacing = 1.0 }
links.radius = { reach = 1.7, attenuation = 95, beyond = 195 }
nodes = [
    { number = 0, gateway = true },
    { number = 5, gateway = true },
]
"#;

async fn serve(options: Options) -> Server {
    let scenario = Scenario::parse("chain.toml", CHAIN).unwrap();
    Server::bind(&scenario, options).await.unwrap()
}

async fn gateway(server: &Server, place: usize, dir: &Path) -> Gateway {
    let clock = WallClock::start();
    let port = Port::Tcp(server.local_addr().to_string());
    let bearer = HciBearer::open(port, HciOptions::new(place as u64), clock).await.unwrap();
    let network = server.network();
    let plan = Plan {
        config: EngineConfig {
            name: format!("gateway-{place}"),
            address: server.places()[place].address,
            adapter: "tcp".into(),
            default_deadline: Duration::from_secs(60),
            max_agents: 100,
            max_credits: 1_024,
            inbox_messages: 1_000,
            inbox_bytes: 16 << 20,
            inbox_total_bytes: 128 << 20,
        },
        membership: Membership::new(network.key(), network.epoch(), true),
        ttl: 10,
        seed: place as u64,
        bearer,
        clock,
        data_dir: dir,
        listen: Listen {
            tcp: Some("127.0.0.1:0".parse().unwrap()),
            unix: None,
            token: TokenCheck::open(),
            limits: Limits::default(),
        },
        peers: Vec::new(),
    };
    Gateway::start(plan).await.unwrap()
}

async fn agent(gateway: &Gateway, name: &str) -> Client {
    let endpoint = Endpoint::from(gateway.tcp_address().unwrap());
    Client::connect(&endpoint, Hello::new(Name::new(name).unwrap())).await.unwrap()
}

fn to_bob(kind: MessageType, priority: Priority, text: &str) -> SendRequest {
    let bob = Destination::agent(Name::new("bob").unwrap());
    SendRequest::new(bob, kind, Body::text(text)).with_priority(priority).with_durable(true)
}

#[tokio::test]
async fn every_type_and_priority_crosses_five_hops_of_real_hci_and_a_controller_that_comes_back_loses_nothing()
 {
    for controller in ControllerKind::ALL {
        println!("{}", controller.name());
        let options = Options { controller, seed: 7, ..Options::default() };
        let server = serve(options).await;
        let listen = server.local_addr();
        let (west, east) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (a, b) = (gateway(&server, 0, west.path()).await, gateway(&server, 1, east.path()).await);
        let alice = agent(&a, "alice").await;
        let mut bob = agent(&b, "bob").await;

        for kind in MessageType::ALL {
            for priority in Priority::ALL {
                let text = format!("{kind:?} {priority:?}");
                let sending = alice.handle().send(to_bob(kind, priority, &text)).await.unwrap();
                let message = bob.inbox().next_message().await.unwrap();
                assert_eq!(
                    (message.kind, message.priority, message.body.as_text()),
                    (kind, priority, Some(&*text))
                );
                let receipt = sending.receipt().await.unwrap();
                assert!(matches!(receipt.outcome, Outcome::Delivered | Outcome::Processed), "{receipt:?}");
                assert_eq!(receipt.hops, Some(5));
            }
        }
        // Several segments.
        let long = "0123456789abcdef".repeat(32);
        let sending = alice.handle().send(to_bob(MessageType::Task, Priority::Medium, &long)).await.unwrap();
        assert_eq!(bob.inbox().next_message().await.unwrap().body.as_text(), Some(&*long));
        assert!(matches!(sending.receipt().await.unwrap().outcome, Outcome::Delivered | Outcome::Processed));

        // Both controllers go away; what is said meanwhile is accepted and kept.
        server.stop().await;
        let away = async {
            loop {
                let radio = alice.handle().status().await.unwrap().radio;
                if radio.state == "away" {
                    break radio;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        let radio = away.await;
        assert!(radio.trouble.unwrap().contains("the adapter is gone"));
        let mut sending =
            alice.handle().send(to_bob(MessageType::Task, Priority::High, "meanwhile")).await.unwrap();
        assert!(sending.accepted().await.unwrap().durable);
        let server = serve(Options { listen, ..options }).await;
        assert_eq!(bob.inbox().next_message().await.unwrap().body.as_text(), Some("meanwhile"));
        assert!(matches!(sending.receipt().await.unwrap().outcome, Outcome::Delivered | Outcome::Processed));
        let radio = alice.handle().status().await.unwrap().radio;
        assert_eq!(radio.state, "up");
        assert!(radio.confirmed > 0 && radio.about.starts_with("Bluetooth 5."));

        a.stop().await.unwrap();
        b.stop().await.unwrap();
        server.stop().await;
    }
}
