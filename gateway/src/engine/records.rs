//! What the engine writes to the store and how it reads it back after a restart.
//!
//! Owns the encodings (one version byte, then postcard) and which records belong to the present network. The store
//! keeps bytes; what they mean to a running gateway is `state`'s.

use mesh_protocol::{Address, ContextId, MessageId, ReplayMark, Route, RouteOrigin};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::contexts::Definition;
use super::inbox::{Agent, AgentRecord, Item};
use super::keys::{KeyRecord, Keys};
use super::outgoing::Accepted;
use super::peers::PeerRecord;
use crate::store;

/// The version of every record; a record of another is not read.
const VERSION: u8 = 1;
/// First SEQ that no run has reserved, with the fingerprint of the key it belongs to.
pub(super) const SEQ: &str = "seq";
/// First message number that no run has reserved.
pub(super) const NEXT_ID: &str = "next_id";
/// Replay marks, with the fingerprint of the key they belong to.
pub(super) const REPLAY: &str = "replay";

/// Gateways to be connected with, and the certificates that such gateways are known by.
pub(super) const PEERS: &str = "peers";

/// The operator's routes.
pub(super) const ROUTES: &str = "routes";

/// What was on disk, for the network that is there now.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) fingerprint: [u8; 8],
    /// `None` when nothing says which SEQs were used under this key.
    pub(super) seq: Option<u32>,
    pub(super) next_id: u32,
    pub(super) marks: Vec<ReplayMark>,
    pub(super) agents: Vec<Agent>,
    pub(super) outbox: Vec<(MessageId, Accepted)>,
    pub(super) delivered: Vec<(Address, MessageId)>,
    /// Remembered deliveries of another network, to be taken out.
    pub(super) stale: Vec<(Address, MessageId)>,
    pub(super) contexts: Vec<((Address, ContextId), Definition)>,
    /// Contexts of another network, to be taken out.
    pub(super) stale_contexts: Vec<(Address, ContextId)>,
    pub(super) peers: PeerRecord,
    /// Destination, next hop and cost.
    pub(super) routes: Vec<(Address, Address, u16)>,
    /// Records that could not be read.
    pub(super) unreadable: usize,
}

/// A record as the store keeps it.
pub(super) fn encode(value: &impl Serialize) -> Vec<u8> {
    postcard::to_extend(value, vec![VERSION]).unwrap_or_default()
}

fn decode<T: DeserializeOwned>(record: &[u8]) -> Option<T> {
    let (&version, rest) = record.split_first()?;
    if version != VERSION {
        return None;
    }
    postcard::from_bytes(rest).ok()
}

/// An agent's record. Those of before end ahead of the reserved cursors: there were none.
fn decode_agent(record: &[u8]) -> Option<AgentRecord> {
    decode(record).or_else(|| decode(&[record, &[0]].concat()))
}

pub(super) fn encode_marks(fingerprint: [u8; 8], marks: impl Iterator<Item = ReplayMark>) -> Vec<u8> {
    let marks: Vec<(Address, u32, u32)> = marks.map(|mark| (mark.src, mark.epoch, mark.seq)).collect();
    encode(&(fingerprint, marks))
}

/// What is kept of a delivered message besides its number: how far its source's frames were taken by then.
pub(super) fn encode_delivered(mark: Option<ReplayMark>) -> Vec<u8> {
    mark.map(|mark| encode(&(mark.epoch, mark.seq))).unwrap_or_default()
}

pub(super) fn encode_routes<'a>(routes: impl Iterator<Item = &'a Route>) -> Vec<u8> {
    let own = routes.filter(|route| route.origin == RouteOrigin::Operator);
    let routes: Vec<(Address, Address, u16)> =
        own.map(|route| (route.destination, route.next_hop, route.cost)).collect();
    encode(&routes)
}

/// The first record of a new network: no SEQ of its key was used.
#[must_use]
pub fn fresh_seq(fingerprint: [u8; 8]) -> store::Op {
    store::Op::PutMeta { key: SEQ, value: encode(&(fingerprint, 0u32)) }
}

/// Reads what a store held.
pub(super) fn recover(mut raw: store::Recovered, fingerprint: [u8; 8]) -> Recovered {
    let mut unreadable = 0;
    let mut count = |missing: bool| unreadable += usize::from(missing);
    let own = |found: [u8; 8]| found == fingerprint;

    let seq = raw.meta.get(SEQ).and_then(|value| decode::<([u8; 8], u32)>(value));
    let same_network = seq.is_some_and(|(found, _)| own(found));
    let marks = raw.meta.get(REPLAY).and_then(|value| decode::<([u8; 8], Vec<(Address, u32, u32)>)>(value));
    let next_id = raw.meta.get(NEXT_ID).and_then(|value| decode::<u32>(value)).unwrap_or(1);
    let mut agents = Vec::new();
    for (key, record) in raw.agents {
        let Some(record) = decode_agent(&record) else {
            count(true);
            continue;
        };
        let mut kept = Vec::new();
        for (cursor, item) in raw.inbox.remove(&key).unwrap_or_default() {
            match decode::<Item>(&item) {
                Some(item) => kept.push((cursor, item)),
                None => count(true),
            }
        }
        let mut keys = Vec::new();
        for (row, record) in raw.keys.remove(&key).unwrap_or_default() {
            match decode::<KeyRecord>(&record) {
                Some(record) => keys.push((row, record)),
                None => count(true),
            }
        }
        agents.push(Agent::recovered(key, record, kept, Keys::recovered(keys)));
    }
    let mut outbox = Vec::new();
    for (id, record) in raw.outbox {
        match decode(&record) {
            Some(accepted) => outbox.push((id, accepted)),
            None => count(true),
        }
    }
    let marks = marks.filter(|(found, _)| own(*found)).map(|(_, marks)| marks).unwrap_or_default();
    let mut marks: Vec<ReplayMark> =
        marks.into_iter().map(|(src, epoch, seq)| ReplayMark { src, epoch, seq }).collect();
    let mut keys = Vec::new();
    for ((src, id), record) in raw.delivered {
        keys.push((src, id));
        // Those of before had none.
        if let Some((epoch, seq)) = decode(&record).filter(|_| same_network) {
            marks.push(ReplayMark { src, epoch, seq });
        }
    }
    let (delivered, stale) = if same_network { (keys, Vec::new()) } else { (Vec::new(), keys) };
    let (mut contexts, mut stale_contexts) = (Vec::new(), Vec::new());
    for (key, record) in raw.contexts {
        match decode::<Definition>(&record) {
            Some(definition) if same_network => contexts.push((key, definition)),
            found => {
                count(found.is_none());
                stale_contexts.push(key);
            }
        }
    }
    let peers = raw.meta.get(PEERS).map(|value| decode(value));
    count(matches!(peers, Some(None)));
    let routes = raw.meta.get(ROUTES).map(|value| decode(value));
    count(matches!(routes, Some(None)));
    Recovered {
        fingerprint,
        peers: peers.flatten().unwrap_or_default(),
        routes: routes.flatten().unwrap_or_default(),
        seq: seq.filter(|(found, _)| own(*found)).map(|(_, seq)| seq),
        next_id,
        marks,
        agents,
        outbox,
        delivered,
        stale,
        contexts,
        stale_contexts,
        unreadable,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use mesh_agent::api::Name;

    use super::super::inbox::Types;
    use super::*;

    #[test]
    fn an_agent_of_before_there_were_reserved_cursors_is_read() {
        let name = Name::new("bob").unwrap();
        let before: (Name, u64, BTreeMap<Name, Types>) = (name, 300, [(name, None)].into());
        let record = decode_agent(&encode(&before)).unwrap();
        assert_eq!((record.name, record.acked, record.reserved, record.groups), (name, 300, 0, before.2));
        let now = AgentRecord { name, acked: 7, groups: BTreeMap::new(), reserved: 1_025 };
        assert_eq!(decode_agent(&encode(&now)).unwrap().reserved, 1_025);
        assert!(decode_agent(&encode(&now)[..3]).is_none());
    }
}
