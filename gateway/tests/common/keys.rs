//! Messages that are sent under a key.

use mesh_agent::api::{Accepted, Body, SendRequest};
use mesh_agent::{Client, Handle, Incoming};
use mesh_protocol::MessageType;

/// As in `docs/agents.md`, "Limits".
pub(crate) const KEYS: u64 = 1_024;

pub(crate) fn task(to: &str, key: u64) -> SendRequest {
    let body = Body::text(format!("under {key}"));
    SendRequest { key: Some(key), ..SendRequest::new(to.parse().unwrap(), MessageType::Task, body) }
}

pub(crate) async fn accepted(handle: &Handle, request: SendRequest) -> Accepted {
    handle.send(request).await.unwrap().accepted().await.unwrap()
}

/// Everything that is in an inbox, once nothing more can come.
pub(crate) async fn rest(client: Client) -> Vec<Incoming> {
    client.handle().ping().await.unwrap();
    client.handle().bye().await;
    let (_, mut inbox) = client.split();
    let mut all = Vec::new();
    while let Ok(incoming) = inbox.next().await {
        all.push(incoming);
    }
    all
}
