//! How an engine begins: behind what its store says was used, or not at all.

use std::sync::Arc;

use ble_bearer::{Bearer, Clock};
use mesh_protocol::{Address, Config, EpochKeys, GatewayNode, Instant, Keyring, Rng, frame::SEQ_MAX};
use tokio::sync::mpsc;

use super::air::Air;
use super::air_watch::AirWatch;
use super::blocks::{FIRST_IDS, ID_BLOCK, SEQ_BLOCK, SEQ_LEAP};
use super::journal::Journal;
use super::membership::Membership;
use super::numbers::Start;
use super::peers::PeerBook;
use super::records::{self, Seqs};
use super::state::{EngineConfig, EngineState};
use super::{Engine, MARKS_EVERY};
use crate::access::Audit;
use crate::agents::{Counters, ToEngine};
use crate::peering::{PeerConfig, Peering};
use crate::store::{NEW_ADDRESS, Recovered, Store, StoreError};

/// Why an engine cannot start.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The store does not say which SEQs were used.
    #[error(
        "starting the gateway: the message store does not say which sequence numbers were used under the network's key, and \
         using one twice would betray what was sent under it; {NEW_ADDRESS}"
    )]
    NoSeqRecord,
    /// The store's record of SEQs is another address's.
    #[error(
        "starting the gateway: the message store belongs to the address {found} and network.toml says {own}; numbers that \
         were used under one address must not be used under another unnoticed: put {found} back into network.toml if it \
         was changed there; otherwise {NEW_ADDRESS}"
    )]
    OtherAddress {
        /// Whose record it is.
        found: Address,
        /// The gateway's address.
        own: Address,
    },
    /// The store's record of SEQs is of another key or epoch.
    #[error(
        "starting the gateway: the message store belongs to another key or epoch than network.toml, so that it does not say \
         which sequence numbers were used under this one; put network.toml back as it was if it was changed; otherwise \
         {NEW_ADDRESS}"
    )]
    OtherKey,
    /// The store failed at the end.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What an engine is made of.
#[derive(Debug)]
pub struct Parts<B, C> {
    /// Who it is, and its bounds.
    pub config: EngineConfig,
    /// Its network.
    pub membership: Membership,
    /// Hops allowed to its messages, 1 to 15.
    pub ttl: u8,
    /// Seeds the node's jitter.
    pub seed: u64,
    /// How it sends and receives.
    pub bearer: B,
    /// Its time.
    pub clock: C,
    /// Its disk.
    pub store: Store,
    /// What that held.
    pub recovered: Recovered,
    /// What sessions ask of it.
    pub commands: mpsc::Receiver<ToEngine>,
    /// What is counted where agents connect.
    pub transport_counters: Arc<Counters>,
    /// Where what agents send is noted.
    pub audit: Audit,
    /// Connections to other gateways.
    pub peering: Peering,
    /// Gateways of the settings to be connected with.
    pub peers: Vec<PeerConfig>,
}

impl<B: Bearer, C: Clock> Engine<B, C> {
    /// An engine that goes on where the store's last run ended.
    ///
    /// # Errors
    /// [`EngineError::NoSeqRecord`], [`EngineError::OtherAddress`] or [`EngineError::OtherKey`] for a key that may have been
    /// used, without a record of how far.
    pub fn new(parts: Parts<B, C>) -> Result<Self, EngineError> {
        let Parts { config, membership, ttl, seed, bearer, clock, store, .. } = parts;
        let now = clock.now();
        let mut recovered = records::recover(parts.recovered, membership.fingerprint, config.address);
        tell_of_unreadable(&recovered);
        let start = Start {
            id: first_id(&recovered, &membership, seed),
            seq: first_seq(&recovered, &membership, config.address)?,
            ids: recovered.ids,
            seqs: match recovered.seqs {
                Seqs::Known(seqs) => Some(seqs),
                _ => None,
            },
        };
        // A store that is refused is not spoken of as if the gateway went on with it.
        tell_of_lost_writes(&recovered);
        let node_config = Config {
            address: config.address,
            keys: Keyring::new(EpochKeys::derive(&membership.key, membership.epoch)),
            seed,
            ttl,
            relay: true,
            seq_start: start.seq,
            seq_block: SEQ_BLOCK,
        };
        let node = node(now, node_config, &recovered);
        let peers = PeerBook::new(parts.peers, std::mem::take(&mut recovered.peers));
        let lost = recovered.known_lost;
        let mut state = EngineState::new(now, config, Journal::new(store, lost), recovered, start);
        state.audit = parts.audit;
        parts.peering.want(peers.wanted());
        Ok(Self {
            node,
            bearer,
            clock,
            state,
            started: now,
            deadline: Some(now),
            air: Air::default(),
            watch: AirWatch::new(now),
            fingerprint: membership.fingerprint,
            marks_at: now + MARKS_EVERY,
            hold: None,
            commands: parts.commands,
            transport_counters: parts.transport_counters,
            peering: parts.peering,
            peers,
            due: Vec::new(),
        })
    }
}

fn tell_of_unreadable(recovered: &records::Recovered) {
    if recovered.unreadable > 0 {
        tracing::error!(
            records = recovered.unreadable,
            "records of the message store could not be read and are left out"
        );
    }
}

fn tell_of_lost_writes(recovered: &records::Recovered) {
    if recovered.known_lost > 0 {
        tracing::error!(
            writes = recovered.known_lost,
            "the message store has lost what it wrote last: messages may be missing, or come again; check the disk"
        );
    }
}

/// The first SEQ of this run: behind all that may have been used under the key.
fn first_seq(
    recovered: &records::Recovered,
    membership: &Membership,
    own: Address,
) -> Result<u32, EngineError> {
    match recovered.seqs {
        Seqs::Known(seqs) => Ok(seqs.start(recovered.lost, SEQ_BLOCK, SEQ_LEAP).min(SEQ_MAX + 1)),
        // Whatever the store holds is of other keys: under this one nothing was ever sealed.
        _ if membership.fresh => Ok(0),
        Seqs::OfAddress(found) => Err(EngineError::OtherAddress { found, own }),
        Seqs::OfOtherKey => Err(EngineError::OtherKey),
        Seqs::Unknown => Err(EngineError::NoSeqRecord),
    }
}

/// The first message number of this run.
fn first_id(recovered: &records::Recovered, membership: &Membership, seed: u64) -> u32 {
    match recovered.ids {
        Some(ids) => ids.start(recovered.lost, ID_BLOCK, 0),
        None if membership.fresh => 1,
        // The address may have had another disk: its numbers would be taken for repeats of those.
        None => 1 + Rng::stream(seed, "first message number").below(FIRST_IDS) as u32,
    }
}

fn node(now: Instant, config: Config, recovered: &records::Recovered) -> Box<GatewayNode> {
    let mut node = Box::new(GatewayNode::new(now, config));
    node.keeps_for_others();
    node.restore_transfers(recovered.transfers_ahead);
    for mark in &recovered.marks {
        node.restore_mark(*mark);
    }
    for (destination, next_hop, cost) in &recovered.routes {
        if let Err(error) = node.set_route(now, *destination, *next_hop, *cost) {
            tracing::warn!(%destination, %next_hop, %error, "a route of before the restart is left out");
        }
    }
    node
}
