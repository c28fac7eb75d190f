//! What is known of other gateways: those that are wanted, and the connections that are up.

use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_agent::Fingerprint;
use mesh_agent::api::{LinkState, Name, PeerLink};
use mesh_protocol::Address;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::CONNECTIONS;
use super::handshake::Remote;
use super::link::ANSWERS_WITHIN;

#[derive(Debug, Default)]
pub(super) struct Table {
    /// Gateways that are to be connected.
    pub(super) wanted: BTreeMap<Name, Wanted>,
    /// Connections that are up, by link number less one.
    pub(super) up: [Option<Connection>; CONNECTIONS],
    /// Tells the ends of life of a number apart.
    pub(super) claims: u64,
}

/// Keeps one connection; the table's count when it was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Keeper(pub(super) u64);

#[derive(Debug)]
pub(super) struct Wanted {
    /// Who keeps it; a name that is wanted again has another keeper.
    pub(super) keeper: Keeper,
    pub(super) address: String,
    pub(super) pin: Option<Fingerprint>,
    /// The node found there.
    pub(super) node: Option<Address>,
    pub(super) why: Option<String>,
    /// Since when it is as it is.
    pub(super) since: Instant,
    pub(super) tried: bool,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) remote: Remote,
    pub(super) from: String,
    /// Who dialled.
    pub(super) dialler: Address,
    /// For whom, if it was this gateway.
    pub(super) keeper: Option<Keeper>,
    pub(super) since: Instant,
    /// When anything came over it last.
    pub(super) heard: Instant,
    pub(super) claim: u64,
    /// Another connection takes its place, or it is not wanted any more.
    pub(super) give_up: Arc<Notify>,
}

impl Wanted {
    /// Whether this is the connection with it: its own, or one that it dialled itself.
    fn has(&self, up: &Connection) -> bool {
        match up.keeper {
            Some(keeper) => keeper == self.keeper,
            None => Some(up.remote.fingerprint) == self.pin,
        }
    }
}

impl Connection {
    /// Whether the other end answers, since when that is so, and why it is not up.
    fn state(&self) -> (LinkState, Instant, Option<String>) {
        let silent = self.heard.elapsed();
        if silent <= ANSWERS_WITHIN {
            return (LinkState::Up, self.since, None);
        }
        let why = format!("it is connected and has said nothing for {} s", silent.as_secs());
        (LinkState::Away, self.heard + ANSWERS_WITHIN, Some(why))
    }
}

impl Table {
    /// What is known of each gateway that is wanted or connected.
    pub(super) fn links(&self) -> Vec<PeerLink> {
        let mut links = Vec::new();
        let mut listed = Vec::new();
        let ms = |since: Instant| u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        for (name, wanted) in &self.wanted {
            let up = self.up.iter().flatten().find(|up| wanted.has(up));
            listed.extend(up.map(|up| up.claim));
            let (state, since, why) = match (up, wanted.tried) {
                (Some(up), _) => up.state(),
                (None, false) => (LinkState::Connecting, wanted.since, None),
                (None, true) => (LinkState::Away, wanted.since, wanted.why.clone()),
            };
            links.push(PeerLink {
                name: *name,
                address: wanted.address.clone(),
                state,
                node: up.map(|up| up.remote.node).or(wanted.node),
                why,
                since_ms: ms(since),
                last_heard_ms: up.map(|up| ms(up.heard)),
                fingerprint: wanted.pin.map(|pin| pin.to_string()),
            });
        }
        for up in self.up.iter().flatten().filter(|up| !listed.contains(&up.claim)) {
            let (state, since, why) = up.state();
            links.push(PeerLink {
                name: up.remote.name,
                address: up.from.clone(),
                state,
                node: Some(up.remote.node),
                why,
                since_ms: ms(since),
                last_heard_ms: Some(ms(up.heard)),
                fingerprint: Some(up.remote.fingerprint.to_string()),
            });
        }
        links
    }
}
