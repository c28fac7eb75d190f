//! What the engine writes to the store and how it reads it back after a restart.
//!
//! Owns which records belong to the present network. The store
//! keeps bytes; what they mean to a running gateway is said in `state`.

use std::collections::BTreeMap;

use mesh_agent::api::Name;
use mesh_protocol::{Address, ContextId, MessageId, ReplayMark, Route, RouteOrigin, SEQ_FIRST_BLOCK};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::accepted::Accepted;
use super::accounts::Accounts;
use super::agent::{Agent, AgentRecord};
use super::blocks::{ID_BLOCK, Numbers, SEQ_BLOCK};
use super::contexts::Definition;
use super::encoding::{decode, decode_grown, encode};
use super::item::Item;
use super::keys::{KeyRecord, Keys};
use super::peers::PeerRecord;
use super::receipt_requests::Delivered;
use crate::store;

/// In the place of a version: what is left of a message of the outbox that was delivered and waits for its ack.
const WAITING: u8 = 2;
/// In the place of what is kept of a delivered message: it and all below it are no longer remembered.
pub(super) const FLOOR: &[u8] = &[2];
/// How far transfer numbers were ahead of SEQs when the gateway stopped in order.
pub(super) const TRANSFERS: &str = "transfers";
/// Which SEQs may have been used: a [`SeqRecord`].
pub(super) const SEQ: &str = "seq";
/// Which message numbers may have been used: a [`Numbers`].
pub(super) const NEXT_ID: &str = "next_id";
/// Replay marks, with the fingerprint of the key they belong to.
pub(super) const REPLAY: &str = "replay";

/// Gateways to be connected with, and the certificates that such gateways are known by.
pub(super) const PEERS: &str = "peers";

/// The operator's routes.
pub(super) const ROUTES: &str = "routes";

/// Which SEQs may have been used, and of whom: under another key or of another address they are other numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SeqRecord {
    /// Of the key and the epoch.
    fingerprint: [u8; 8],
    numbers: Numbers,
    address: Address,
}

/// What the store says of SEQs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seqs {
    /// They are this node's.
    Known(Numbers),
    /// They are another address's, under the same key.
    OfAddress(Address),
    /// They are of another key or epoch.
    OfOtherKey,
    /// Nothing.
    Unknown,
}

/// What was on disk, for the network that is there now.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) fingerprint: [u8; 8],
    pub(super) seqs: Seqs,
    /// How far transfer numbers are ahead of SEQs.
    pub(super) transfers_ahead: u16,
    /// `None` when no message was ever numbered.
    pub(super) ids: Option<Numbers>,
    /// How many writes of the last run may be lost, those that are known to be among them.
    pub(super) lost: u64,
    /// How many are known to be.
    pub(super) known_lost: u64,
    pub(super) marks: Vec<ReplayMark>,
    pub(super) agents: Vec<Agent>,
    /// What waits for them of the messages that came with each token.
    pub(super) accounts: Accounts,
    pub(super) outbox: Vec<(MessageId, Accepted)>,
    /// What is left of messages that wait for an ack.
    pub(super) waiting: Vec<(MessageId, Delivered)>,
    pub(super) delivered: Vec<(Address, MessageId)>,
    /// The highest of each source that is no longer remembered, where that was written.
    pub(super) floors: Vec<(Address, MessageId)>,
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

pub(super) fn encode_waiting(delivered: Delivered) -> Vec<u8> {
    postcard::to_extend(&delivered, vec![WAITING]).unwrap_or_default()
}

fn decode_waiting(record: &[u8]) -> Option<Delivered> {
    let rest = record.strip_prefix(&[WAITING])?;
    postcard::from_bytes(rest).ok()
}

pub(super) fn encode_marks(fingerprint: [u8; 8], marks: impl Iterator<Item = ReplayMark>) -> Vec<u8> {
    let marks: Vec<(Address, u32, u32)> = marks.map(|mark| (mark.src, mark.epoch, mark.seq)).collect();
    encode(&(fingerprint, marks))
}

/// What is kept of a delivered message besides its number: how far its source's frames were taken by then.
pub(super) fn encode_delivered(mark: Option<ReplayMark>) -> Vec<u8> {
    mark.map(|mark| encode(&(mark.epoch, mark.seq))).unwrap_or_default()
}

pub(super) fn encode_routes(routes: impl Iterator<Item = Route>) -> Vec<u8> {
    let own = routes.filter(|route| route.origin == RouteOrigin::Operator);
    let routes: Vec<(Address, Address, u16)> =
        own.map(|route| (route.destination, route.next_hop, route.cost)).collect();
    encode(&routes)
}

/// The first record of a new node: no SEQ of its address was used under the key.
#[must_use]
pub fn fresh_seq(fingerprint: [u8; 8], address: Address) -> store::Op {
    put_seqs(fingerprint, address, Numbers { unused_from: 0, next_block: SEQ_FIRST_BLOCK })
}

/// The record of a node's SEQs.
pub(super) fn put_seqs(fingerprint: [u8; 8], address: Address, numbers: Numbers) -> store::Op {
    store::Op::PutMeta { key: SEQ, value: encode(&SeqRecord { fingerprint, numbers, address }) }
}

/// The record of transfer numbers.
pub(super) fn put_transfers(ahead: u16) -> store::Op {
    store::Op::PutMeta { key: TRANSFERS, value: encode(&ahead) }
}

/// The record of message numbers.
pub(super) fn put_ids(numbers: Numbers) -> store::Op {
    store::Op::PutMeta { key: NEXT_ID, value: encode(&numbers) }
}

/// What the store says of SEQs. Before format 4 the record had neither an address nor the size of a block.
fn seqs(raw: &store::Recovered, fingerprint: [u8; 8], address: Address) -> Seqs {
    let Some(value) = raw.meta.get(SEQ) else { return Seqs::Unknown };
    let record = decode(value).or_else(|| {
        let (fingerprint, unused_from) = decode(value)?;
        let numbers = Numbers { unused_from, next_block: SEQ_BLOCK };
        Some(SeqRecord { fingerprint, numbers, address })
    });
    match record {
        None => Seqs::Unknown,
        Some(record) if record.fingerprint != fingerprint => Seqs::OfOtherKey,
        Some(record) if record.address != address => Seqs::OfAddress(record.address),
        Some(record) => Seqs::Known(record.numbers),
    }
}

/// What the store says of message numbers; before format 4 without the size of a block.
fn ids(raw: &store::Recovered) -> Option<Numbers> {
    let value = raw.meta.get(NEXT_ID)?;
    let old = || Some(Numbers { unused_from: decode(value)?, next_block: ID_BLOCK });
    decode(value).or_else(old)
}

/// Reads what a store held.
pub(super) fn recover(mut raw: store::Recovered, fingerprint: [u8; 8], address: Address) -> Recovered {
    let mut reader = Reader::default();
    let seqs = seqs(&raw, fingerprint, address);
    // Numbers, contexts and marks are of the network under one key. What agents have is theirs under any.
    let same_network = matches!(seqs, Seqs::Known(_) | Seqs::OfAddress(_));
    let ids = ids(&raw);
    let transfers_ahead = raw.meta.get(TRANSFERS).and_then(|value| decode(value)).unwrap_or_default();
    let (agents, accounts) = reader.agents(&mut raw);
    let (mut outbox, mut waiting) = (Vec::new(), Vec::new());
    for (id, record) in raw.outbox {
        match (decode_grown(&record), decode_waiting(&record)) {
            (Some(accepted), _) => outbox.push((id, accepted)),
            (_, Some(delivered)) => waiting.push((id, delivered)),
            (None, None) => reader.unreadable += 1,
        }
    }
    let mut marks = marks(&raw.meta, fingerprint);
    let (mut keys, mut floors) = (Vec::new(), Vec::new());
    for ((src, id), record) in raw.delivered {
        if record == FLOOR && same_network {
            floors.push((src, id));
            continue;
        }
        keys.push((src, id));
        // Those of before had none.
        if let Some((epoch, seq)) = decode(&record).filter(|_| same_network) {
            marks.push(ReplayMark { src, epoch, seq });
        }
    }
    let (delivered, stale) = if same_network { (keys, Vec::new()) } else { (Vec::new(), keys) };
    let (contexts, stale_contexts) = reader.contexts(raw.contexts, same_network);
    Recovered {
        fingerprint,
        peers: reader.meta(&raw.meta, PEERS).unwrap_or_default(),
        routes: reader.meta(&raw.meta, ROUTES).unwrap_or_default(),
        seqs,
        transfers_ahead,
        ids,
        // After a cut the last write may be missing without anything that says so.
        lost: raw.lost + u64::from(raw.cut),
        known_lost: raw.lost,
        marks,
        agents,
        accounts,
        outbox,
        waiting,
        delivered,
        floors,
        stale,
        contexts,
        stale_contexts,
        unreadable: reader.unreadable,
    }
}

/// Replay marks of the network under this key.
fn marks(meta: &BTreeMap<String, Vec<u8>>, fingerprint: [u8; 8]) -> Vec<ReplayMark> {
    let record = meta.get(REPLAY).and_then(|value| decode::<([u8; 8], Vec<(Address, u32, u32)>)>(value));
    let marks = record.filter(|(found, _)| *found == fingerprint).map(|(_, marks)| marks);
    marks.unwrap_or_default().into_iter().map(|(src, epoch, seq)| ReplayMark { src, epoch, seq }).collect()
}

/// A context of a source, and its definition.
type Defined = ((Address, ContextId), Definition);

/// Reads records and counts those that cannot be read: they are left out, and somebody is told how many there were.
#[derive(Debug, Default)]
struct Reader {
    unreadable: usize,
}

impl Reader {
    /// Agents, with what waits for them, and the accounts that it stands on.
    fn agents(&mut self, raw: &mut store::Recovered) -> (Vec<Agent>, Accounts) {
        let mut agents = Vec::new();
        let mut accounts = Accounts::default();
        for (key, record) in std::mem::take(&mut raw.agents) {
            let Some(record) = self.read(decode_grown::<AgentRecord>(&record)) else { continue };
            let mut kept = Vec::new();
            for (cursor, item) in raw.inbox.remove(&key).unwrap_or_default() {
                if let Some((item, token)) = self.read(decode_grown::<(Item, Option<Name>)>(&item)) {
                    let charge = accounts.charge(token, item.body_len());
                    kept.push((cursor, item, charge));
                }
            }
            let rows = raw.keys.remove(&key).unwrap_or_default().into_iter();
            let keys = rows
                .filter_map(|(row, record)| Some((row, self.read(decode::<KeyRecord>(&record))?)))
                .collect();
            agents.push(Agent::recovered(key, record, kept, Keys::recovered(keys)));
        }
        (agents, accounts)
    }

    /// Contexts of this network, and which there are beside them.
    fn contexts(
        &mut self,
        raw: Vec<((Address, ContextId), Vec<u8>)>,
        same_network: bool,
    ) -> (Vec<Defined>, Vec<(Address, ContextId)>) {
        let (mut contexts, mut stale) = (Vec::new(), Vec::new());
        for (key, record) in raw {
            match self.read(decode::<Definition>(&record)).filter(|_| same_network) {
                Some(definition) => contexts.push((key, definition)),
                None => stale.push(key),
            }
        }
        (contexts, stale)
    }

    /// One of the engine's own values, if it is there.
    fn meta<T: DeserializeOwned>(&mut self, meta: &BTreeMap<String, Vec<u8>>, key: &str) -> Option<T> {
        self.read(decode(meta.get(key)?))
    }

    fn read<T>(&mut self, record: Option<T>) -> Option<T> {
        self.unreadable += usize::from(record.is_none());
        record
    }
}

#[cfg(test)]
mod tests {
    use mesh_agent::api::{Detail, Receipt, WaitedFor};
    use mesh_protocol::frame::SEQ_MAX;
    use mesh_protocol::{Config, EpochKeys, Event, Instant, Keyring, SmallNode};

    use super::super::Membership;
    use super::super::agent::Types;
    use super::super::blocks::{Reservations, SEQ_LEAP};
    use super::super::item::samples::receipt;
    use super::*;

    const OWN: Address = Address::new(2);

    fn membership(key: u8, epoch: u32) -> Membership {
        Membership::new([key; 16], epoch, false)
    }

    fn holding(op: store::Op) -> store::Recovered {
        let store::Op::PutMeta { key, value } = op else { panic!("{op:?}") };
        store::Recovered { meta: [(key.to_owned(), value)].into(), ..Default::default() }
    }

    fn known(raw: &store::Recovered) -> Numbers {
        match seqs(raw, membership(7, 1).fingerprint, OWN) {
            Seqs::Known(numbers) => numbers,
            other => panic!("{other:?}"),
        }
    }

    /// Starts over and over; each run says one thing. How far the SEQs are used in the end.
    fn used_after(starts: u32, cut: bool) -> u32 {
        let membership = membership(7, 1);
        let mut raw = holding(fresh_seq(membership.fingerprint, OWN));
        for _ in 0..starts {
            let start = known(&raw).start(cut.into(), SEQ_BLOCK, SEQ_LEAP);
            let keys = Keyring::new(EpochKeys::derive(&membership.key, membership.epoch));
            let config = Config {
                address: OWN,
                keys,
                seed: 1,
                ttl: 7,
                relay: true,
                seq_start: start,
                seq_block: SEQ_BLOCK,
            };
            let mut node = SmallNode::new(Instant::ZERO, config);
            let Some(Event::ReserveSeq { up_to }) = node.poll_event() else { panic!("nothing is reserved") };
            let mut run = Reservations::new(known(&raw), SEQ_FIRST_BLOCK, SEQ_BLOCK);
            let mut numbers = run.toward(up_to);
            while !run.grant(up_to) {
                numbers = run.toward(up_to);
            }
            let numbers = if cut { numbers } else { Numbers { unused_from: start + 1, ..numbers } };
            raw = holding(put_seqs(membership.fingerprint, OWN, numbers));
        }
        known(&raw).start(cut.into(), SEQ_BLOCK, SEQ_LEAP)
    }

    #[test]
    fn four_thousand_one_hundred_starts_do_not_end_an_address() {
        assert_eq!(used_after(4_100, false), 4_100, "after stops in order just what was said");
        let cut = used_after(4_100, true);
        assert!(cut < SEQ_MAX / 16, "{cut}");
    }

    #[test]
    fn a_record_is_this_nodes_only_with_its_address_key_and_epoch() {
        let raw = holding(fresh_seq(membership(7, 1).fingerprint, OWN));
        assert_eq!(known(&raw).start(0, SEQ_BLOCK, SEQ_LEAP), 0);
        let of = |key, epoch, address| seqs(&raw, membership(key, epoch).fingerprint, address);
        assert_eq!(of(7, 1, Address::new(3)), Seqs::OfAddress(OWN));
        assert_eq!((of(8, 1, OWN), of(7, 2, OWN)), (Seqs::OfOtherKey, Seqs::OfOtherKey));
        assert_eq!(seqs(&store::Recovered::default(), [0; 8], OWN), Seqs::Unknown);
    }

    #[test]
    fn records_from_before_format_4_are_read_and_a_block_of_then_is_skipped() {
        let fingerprint = membership(7, 1).fingerprint;
        let raw = holding(store::Op::PutMeta { key: SEQ, value: encode(&(fingerprint, 5_000u32)) });
        assert_eq!(known(&raw).start(1, SEQ_BLOCK, SEQ_LEAP), 5_000 + SEQ_BLOCK);
        let raw = holding(store::Op::PutMeta { key: NEXT_ID, value: encode(&70_000u32) });
        assert_eq!(ids(&raw).unwrap().start(1, ID_BLOCK, 0), 70_000 + ID_BLOCK);
    }

    #[test]
    fn what_has_left_a_window_is_told_from_what_is_in_it() {
        let (membership, from) = (membership(7, 1), Address::new(9));
        let mut raw = holding(fresh_seq(membership.fingerprint, OWN));
        let mark = ReplayMark { src: from, epoch: 1, seq: 77 };
        raw.delivered = vec![
            ((from, MessageId(3)), FLOOR.to_vec()),
            ((from, MessageId(4)), encode_delivered(Some(mark))),
        ];
        let found = recover(raw, membership.fingerprint, OWN);
        assert_eq!((found.floors, found.delivered), (vec![(from, MessageId(3))], vec![(from, MessageId(4))]));
        assert_eq!(found.marks, [mark]);
    }

    #[test]
    fn a_receipt_of_before_nodes_were_counted_is_read() {
        let read = |bytes: &[u8]| decode_grown::<(Item, Option<Name>)>(bytes).unwrap();
        let Item::Receipt(receipt) = receipt() else { panic!("no receipt") };
        let waited = Detail { waited_for: WaitedFor::Name, since_ms: Some(900), ..Detail::default() };
        let counted = Detail { reached: Some(3), known: Some(4), ..Detail::default() };
        let stored = |detail| encode(&(Item::Receipt(Receipt { detail, ..receipt.clone() }), None::<Name>));
        let detail = |bytes: &[u8]| match read(bytes) {
            (Item::Receipt(receipt), None) => receipt.detail,
            other => panic!("{other:?}"),
        };
        let now = stored(Some(waited));
        assert_eq!(detail(&now[..now.len() - 2]), Some(waited), "without the two last fields of `detail`");
        assert_eq!(detail(&now), Some(waited));
        assert_eq!(detail(&stored(Some(counted))), Some(counted));
        assert_eq!(detail(&stored(None)), None);
    }

    #[test]
    fn an_agent_of_before_there_were_reserved_cursors_is_read() {
        let name = Name::new("bob").unwrap();
        let before: (Name, u64, BTreeMap<Name, Types>) = (name, 300, [(name, None)].into());
        let record: AgentRecord = decode_grown(&encode(&before)).unwrap();
        assert_eq!(record.token, None);
        assert_eq!((record.name, record.acked, record.reserved, record.groups), (name, 300, 0, before.2));
        let now = AgentRecord { name, acked: 7, groups: BTreeMap::new(), reserved: 1_025, token: Some(name) };
        let read = |bytes: &[u8]| decode_grown::<AgentRecord>(bytes);
        let record = read(&encode(&now)).unwrap();
        assert_eq!((record.reserved, record.token), (1_025, Some(name)));
        assert!(read(&encode(&now)[..3]).is_none());
    }
}
