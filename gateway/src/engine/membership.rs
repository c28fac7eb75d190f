//! The network that a gateway is in: its key and epoch, and what is derived from them.

use mesh_protocol::NetKey;
use sha2::{Digest, Sha256};

use crate::peering::PeerKey;

/// The network a gateway is in.
#[derive(Debug)]
pub struct Membership {
    /// The network's key in its epoch.
    pub key: NetKey,
    /// The epoch.
    pub epoch: u32,
    /// A number that names the key without betraying it; records of another key are not used.
    pub fingerprint: [u8; 8],
    /// Whether the key was made for this run, so that no SEQ can have been used under it.
    pub fresh: bool,
    /// What proves to other gateways that this one is of the network.
    pub peer_key: PeerKey,
}

impl Membership {
    /// The membership of this key and epoch.
    #[must_use]
    pub fn new(key: [u8; 16], epoch: u32, fresh: bool) -> Self {
        Self {
            fingerprint: fingerprint(&key, epoch),
            peer_key: PeerKey::derive(&key, epoch),
            key: NetKey::new(key),
            epoch,
            fresh,
        }
    }
}

/// Names a key in an epoch without betraying it.
#[must_use]
pub fn fingerprint(key: &[u8; 16], epoch: u32) -> [u8; 8] {
    let digest = Sha256::new()
        .chain_update(b"mesh-gw store fingerprint")
        .chain_update(key)
        .chain_update(epoch.to_be_bytes())
        .finalize();
    std::array::from_fn(|i| digest[i])
}
