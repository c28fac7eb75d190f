//! Gateways that are connected over IP.

use gateway::Gateway;
use mesh_agent::api::{Body, LinkState, PeerLink, SendRequest};
use mesh_agent::{Client, Handle};
use mesh_protocol::MessageType;

use super::{Cable, cable, name};

/// A cable that leads nowhere.
pub(crate) fn nowhere() -> Cable {
    cable().0
}

pub(crate) fn to(name: &str, text: &str) -> SendRequest {
    let mut send = SendRequest::new(name.parse().unwrap(), MessageType::Task, Body::text(text));
    send.deadline_ms = Some(120_000);
    send
}

/// Waits until the link of that name is in that state.
pub(crate) async fn until(handle: &Handle, link: &str, state: LinkState) -> PeerLink {
    loop {
        let links = handle.peers().await.unwrap().links;
        if let Some(found) =
            links.into_iter().find(|found| found.name.as_str() == link && found.state == state)
        {
            return found;
        }
        tokio::task::yield_now().await;
    }
}

pub(crate) async fn links(client: &Client, to: &Gateway, called: &str) {
    let address = to.tcp_address().unwrap().to_string();
    client.handle().add_link(name(called), address, None).await.unwrap();
}
