//! Agents over TLS: they talk to the gateway whose certificate they know, and say nothing to any other.

mod common;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use common::{agent, cable, gateway, name, plan};
use gateway::Gateway;
use gateway::agents::TokenCheck;
use gateway::engine::Membership;
use gateway::settings::AccessToken;
use mesh_agent::api::{Body, Destination, Hello, Outcome, SendRequest, Token};
use mesh_agent::{Absence, Agent, Client, ClientError, Endpoint, Fingerprint, Handle, MessageType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const TOKEN: &str = "a-token-of-some-length";

/// Passes bytes on to a gateway, and keeps those of the agents.
async fn relay(to: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, seen) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<u8>>>::default());
    let kept = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((from, _)) = listener.accept().await {
            let kept = Arc::clone(&kept);
            tokio::spawn(async move {
                let (mut up, mut up_writer) = from.into_split();
                let (mut down, mut down_writer) = TcpStream::connect(to).await.unwrap().into_split();
                let back = async move { tokio::io::copy(&mut down, &mut up_writer).await };
                let there = async move {
                    let mut buffer = [0; 4_096];
                    while let Ok(read @ 1..) = up.read(&mut buffer).await {
                        kept.lock().unwrap().extend_from_slice(&buffer[..read]);
                        if down_writer.write_all(&buffer[..read]).await.is_err() {
                            break;
                        }
                    }
                };
                tokio::join!(back, there)
            });
        }
    });
    (address, seen)
}

async fn fingerprint(handle: &Handle) -> Fingerprint {
    handle.peers().await.unwrap().fingerprint.unwrap().parse().unwrap()
}

fn over_tls(address: SocketAddr, pin: Fingerprint) -> Endpoint {
    Endpoint::from(address).known_by(pin)
}

fn hello(text: &str) -> Hello {
    Hello { token: Some(Token::new(TOKEN)), ..Hello::new(name(text)) }
}

fn task(to: &str, text: impl Into<String>) -> SendRequest {
    SendRequest::new(Destination::agent(name(to)), MessageType::Task, Body::text(text.into()))
}

#[tokio::test]
async fn what_is_said_over_tls_cannot_be_read_on_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = plan(1, cable().0, folder.path(), Membership::new([7; 16], 1, true));
    plan.listen.token = TokenCheck::new(&AccessToken::new(TOKEN).unwrap());
    let gateway = Gateway::start(plan).await.unwrap();
    let (address, seen) = relay(gateway.tcp_address().unwrap()).await;
    let saw = |text: &str| seen.lock().unwrap().windows(text.len()).any(|bytes| bytes == text.as_bytes());

    let plain = Client::connect(&Endpoint::from(address), hello("plain")).await.unwrap();
    let pin = fingerprint(plain.handle()).await;
    assert!(saw(TOKEN) && saw("plain"), "the relay would have seen it");
    seen.lock().unwrap().clear();

    let endpoint = over_tls(address, pin);
    let alice = Client::connect(&endpoint, hello("alice")).await.unwrap();
    let mut bob = Client::connect(&endpoint, hello("bob")).await.unwrap();
    for length in [20, 60_000] {
        let body = "a secret ".repeat(length / 9);
        let pending = alice.handle().send(task("bob", body.clone())).await.unwrap();
        let message = bob.inbox().next_message().await.unwrap();
        assert_eq!(message.body.as_text(), Some(body.as_str()));
        assert_eq!(pending.receipt().await.unwrap().outcome, Outcome::Delivered);
    }
    assert!(seen.lock().unwrap().len() > 60_000);
    for secret in [TOKEN, "a secret", "alice"] {
        assert!(!saw(secret), "{secret} was read on the way");
    }
}

#[tokio::test]
async fn another_certificate_is_refused_before_anything_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = gateway(1, cable().0, folder.path()).await;
    let address = gateway.tcp_address().unwrap();
    let watching = agent(&gateway, "watching").await;
    let shows = fingerprint(watching.handle()).await;
    let wants: Fingerprint = "ab".repeat(32).parse().unwrap();
    let refused = Client::connect(&over_tls(address, wants), hello("alice")).await.unwrap_err();
    let ClientError::WrongGateway { wanted, shown, kept: None, .. } = &refused else { panic!("{refused}") };
    assert_eq!((*wanted, *shown), (wants, shows));
    let text = refused.to_string();
    for part in ["Nothing was sent", "`mesh-gateway peers`", &shows.to_string(), &wants.to_string()] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    // An agent that stays gives up as well: a certificate does not change back by itself.
    let stays = Agent::builder(name("alice")).endpoint(over_tls(address, wants)).patient(true);
    assert!(matches!(stays.connect().await, Err(ClientError::WrongGateway { .. })));
    let agents = watching.handle().agents().await.unwrap().agents;
    assert!(agents.iter().all(|agent| agent.name != name("alice")), "{agents:?}");
    gateway.stop().await.unwrap();
}

#[tokio::test]
async fn an_agent_that_stays_finds_its_gateway_again_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let first = gateway(1, cable().0, folder.path()).await;
    let address = first.tcp_address().unwrap();
    let pin = fingerprint(agent(&first, "watching").await.handle()).await;
    let alice = Agent::builder(name("alice")).endpoint(over_tls(address, pin)).connect().await.unwrap();
    first.stop().await.unwrap();
    let mut plan = plan(1, cable().0, folder.path(), Membership::new([7; 16], 1, false));
    plan.listen.tcp = Some(address);
    let second = Gateway::start(plan).await.unwrap();
    let mut bob = agent(&second, "bob").await;
    let pending = alice.handle().send(task("bob", "still here")).await.unwrap();
    assert_eq!(bob.inbox().next_message().await.unwrap().body.as_text(), Some("still here"));
    assert_eq!(pending.receipt().await.unwrap().outcome, Outcome::Delivered);
    second.stop().await.unwrap();
}

#[tokio::test]
async fn what_speaks_no_tls_is_told_to_be_none() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 1]).await;
            let _ = stream.write_all(b"{\"ev\":\"error\",\"code\":\"overloaded\",\"fatal\":true}\n").await;
            let _ = stream.shutdown().await;
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        }
    });
    let pin: Fingerprint = "ab".repeat(32).parse().unwrap();
    let refused = Client::connect(&over_tls(address, pin), hello("alice")).await.unwrap_err();
    let ClientError::NoGateway { cause: Absence::NoTls, .. } = &refused else { panic!("{refused}") };
    // As a gateway that is full would: later it may have room.
    assert!(refused.is_passing() && refused.to_string().contains("TLS 1.3"), "{refused}");
}
