//! What a session is worth when its connection ends. With real sessions of a gateway the client is tested there.

use tokio::net::TcpListener;

use crate::api::codec::{Codec, encode};
use crate::api::samples::{self, name, send};
use crate::api::{Event, Hello, Message};
use crate::{Client, ClientError, Endpoint, Incoming};

#[tokio::test]
async fn a_lost_connection_is_told_to_everyone_who_waits() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::from(listener.local_addr().unwrap());
    let connecting = tokio::spawn(async move { Client::connect(&endpoint, Hello::new(name("alice"))).await });
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut welcome = Vec::new();
    let event = samples::events().remove(0);
    encode(&event, Codec::Postcard, &mut welcome).unwrap();
    let message = Event::Message(Message { cursor: Some(100), ..samples::message("last words") });
    encode(&message, Codec::Postcard, &mut welcome).unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, &welcome).await.unwrap();
    let (alice, mut inbox) = connecting.await.unwrap().unwrap().split();
    let mut pending = alice.send(send("bob", "hi")).await.unwrap();
    drop(stream);
    assert!(matches!(pending.accepted().await, Err(ClientError::Lost(_))));
    assert!(matches!(pending.receipt().await, Err(ClientError::Lost(_))));
    assert!(matches!(alice.ping().await, Err(ClientError::Lost(_))));
    assert!(matches!(alice.send(send("bob", "hi")).await, Err(ClientError::Lost(_))));
    let Ok(Incoming::Message(message)) = inbox.next().await else { panic!("what had come is given out") };
    assert_eq!(message.body.as_text(), Some("last words"));
    let error = inbox.next().await.unwrap_err().to_string();
    assert!(error.ends_with("connect again to go on"), "{error}");
    alice.bye().await;
}
