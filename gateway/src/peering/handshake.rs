//! The first words of two gateways on a TLS connection: that both are of one network, and who they are.
//!
//! Owns the proof. Each side shows that it knows the network's key, bound to this very connection by keying material that only its two
//! ends have (RFC 9266 names the idea): whoever sits between two gateways with a certificate of his own cannot pass either proof on.

use std::io;

use hkdf::Hkdf;
use mesh_protocol::Address;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use mesh_agent::Fingerprint;
use mesh_agent::api::Name;

/// The longest greeting, in bytes: an address and a name.
const GREETING_MAX: u16 = 256;

/// What proves membership: made of the network's key, of no use for anything on the air.
#[derive(Clone)]
pub struct PeerKey([u8; 32]);

impl PeerKey {
    /// That of a network's key in an epoch.
    #[must_use]
    pub fn derive(key: &[u8; 16], epoch: u32) -> Self {
        let mut out = [0; 32];
        Hkdf::<Sha256>::new(Some(b"mesh-gw v1 peer"), key)
            .expand(&epoch.to_be_bytes(), &mut out)
            .expect("32 bytes are not too many for HKDF-SHA256");
        Self(out)
    }

    fn proof(&self, side: Side, binding: &[u8; 32]) -> [u8; 32] {
        let side: &[u8] = match side {
            Side::Dialler => b"dialler",
            Side::Listener => b"listener",
        };
        let mut out = [0; 32];
        Hkdf::<Sha256>::new(Some(binding), &self.0)
            .expand(side, &mut out)
            .expect("32 bytes are not too many for HKDF-SHA256");
        out
    }
}

impl std::fmt::Debug for PeerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PeerKey")
    }
}

impl Drop for PeerKey {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Dialler,
    Listener,
}

impl Side {
    const fn other(self) -> Self {
        match self {
            Self::Dialler => Self::Listener,
            Self::Listener => Self::Dialler,
        }
    }
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Remote {
    pub(super) node: Address,
    pub(super) name: Name,
    pub(super) fingerprint: Fingerprint,
}

/// Why two gateways do not get together.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error(
        "it does not speak TLS as a mesh-gateway does ({0}); check the address, and that both are of one version"
    )]
    Tls(String),
    #[error("it is no gateway of this network, or in another epoch of its key")]
    NotOfTheNetwork,
    #[error("it has this gateway's address {0}: invite one of the two again under another name")]
    SameAddress(Address),
    #[error(
        "that address leads back to this gateway itself: remove it, and add the one of the other gateway"
    )]
    Itself,
    #[error("its first words cannot be read: it may be of another version")]
    Malformed,
}

#[derive(Serialize, Deserialize)]
struct Greeting {
    node: u16,
    name: String,
}

/// Says who this is and hears who that is, over a stream whose two ends have `binding` in common. The proofs come first, alone: who has
/// none is told no address and no name.
pub(super) async fn greet<S>(
    stream: &mut S,
    side: Side,
    key: &PeerKey,
    binding: &[u8; 32],
    (node, name): (Address, Name),
    fingerprint: Fingerprint,
) -> Result<Remote, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(&key.proof(side, binding)).await?;
    stream.flush().await?;
    let mut proof = [0; 32];
    stream.read_exact(&mut proof).await?;
    if !bool::from(proof.ct_eq(&key.proof(side.other(), binding))) {
        return Err(HandshakeError::NotOfTheNetwork);
    }
    let mine = Greeting { node: node.bits(), name: name.as_str().to_owned() };
    let bytes = postcard::to_allocvec(&mine).map_err(|_| HandshakeError::Malformed)?;
    let len = u16::try_from(bytes.len()).map_err(|_| HandshakeError::Malformed)?;
    stream.write_all(&[&len.to_be_bytes(), bytes.as_slice()].concat()).await?;
    stream.flush().await?;
    let len = stream.read_u16().await?;
    if len > GREETING_MAX {
        return Err(HandshakeError::Malformed);
    }
    let mut bytes = vec![0; usize::from(len)];
    stream.read_exact(&mut bytes).await?;
    let theirs: Greeting = postcard::from_bytes(&bytes).map_err(|_| HandshakeError::Malformed)?;
    let remote = Address::new(theirs.node);
    if remote == node {
        return Err(HandshakeError::SameAddress(node));
    }
    let name = Name::new(&theirs.name).map_err(|_| HandshakeError::Malformed)?;
    if !remote.is_node() {
        return Err(HandshakeError::Malformed);
    }
    Ok(Remote { node: remote, name, fingerprint })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(n: u16) -> (Address, Name) {
        (Address::new(n), Name::new(&format!("gateway-{n}")).unwrap())
    }

    async fn meet(
        keys: [PeerKey; 2],
        bindings: [[u8; 32]; 2],
        nodes: [u16; 2],
    ) -> [Result<Remote, HandshakeError>; 2] {
        let (mut a, mut b) = tokio::io::duplex(1_024);
        let print = Fingerprint::of(b"certificate");
        let (left, right) = tokio::join!(
            greet(&mut a, Side::Dialler, &keys[0], &bindings[0], who(nodes[0]), print),
            greet(&mut b, Side::Listener, &keys[1], &bindings[1], who(nodes[1]), print),
        );
        [left, right]
    }

    #[tokio::test]
    async fn two_of_one_network_get_to_know_each_other() {
        let key = PeerKey::derive(&[7; 16], 3);
        let [left, right] = meet([key.clone(), key], [[1; 32]; 2], [1, 2]).await;
        assert_eq!(left.unwrap().node, Address::new(2));
        assert_eq!(right.unwrap().name, who(1).1);
    }

    #[tokio::test]
    async fn a_stranger_another_epoch_and_one_between_are_refused() {
        let key = PeerKey::derive(&[7; 16], 3);
        for other in [PeerKey::derive(&[8; 16], 3), PeerKey::derive(&[7; 16], 4)] {
            let both = meet([key.clone(), other], [[1; 32]; 2], [1, 2]).await;
            assert!(both.iter().all(|met| matches!(met, Err(HandshakeError::NotOfTheNetwork))));
        }
        // Who sits between has one connection to each, and passes on what he hears.
        let both = meet([key.clone(), key.clone()], [[1; 32], [2; 32]], [1, 2]).await;
        assert!(both.iter().all(|met| matches!(met, Err(HandshakeError::NotOfTheNetwork))));
        let both = meet([key.clone(), key], [[1; 32]; 2], [1, 1]).await;
        assert!(both.iter().all(|met| matches!(met, Err(HandshakeError::SameAddress(_)))));
    }

    #[tokio::test]
    async fn a_proof_thrown_back_proves_nothing() {
        let key = PeerKey::derive(&[7; 16], 3);
        let (mut a, mut b) = tokio::io::duplex(1_024);
        let echo = async {
            let mut proof = [0; 32];
            b.read_exact(&mut proof).await.unwrap();
            b.write_all(&proof).await.unwrap();
        };
        let print = Fingerprint::of(b"certificate");
        let (met, ()) = tokio::join!(greet(&mut a, Side::Dialler, &key, &[1; 32], who(1), print), echo);
        assert!(matches!(met, Err(HandshakeError::NotOfTheNetwork)));
    }

    #[tokio::test]
    async fn a_stranger_is_told_neither_name_nor_address() {
        let key = PeerKey::derive(&[7; 16], 3);
        for side in [Side::Dialler, Side::Listener] {
            let (mut a, mut b) = tokio::io::duplex(1_024);
            let (key, name, print) = (key.clone(), who(1), Fingerprint::of(b"c"));
            let ours = async move { greet(&mut a, side, &key, &[1; 32], name, print).await };
            let heard = async {
                b.write_all(&[0; 64]).await.unwrap();
                let mut heard = Vec::new();
                b.read_to_end(&mut heard).await.unwrap();
                heard
            };
            let (met, heard) = tokio::join!(ours, heard);
            assert!(matches!(met, Err(HandshakeError::NotOfTheNetwork)));
            assert_eq!(heard.len(), 32, "its proof, of which nothing follows");
        }
    }

    #[tokio::test]
    async fn nonsense_is_refused_before_it_costs_memory() {
        let key = PeerKey::derive(&[7; 16], 3);
        for nonsense in [&[0xFF, 0xFF][..], &[0, 0], &[0, 3, 1, 2, 3]] {
            let (mut a, mut b) = tokio::io::duplex(1_024);
            b.write_all(&key.proof(Side::Dialler, &[1; 32])).await.unwrap();
            b.write_all(nonsense).await.unwrap();
            let met = greet(&mut a, Side::Listener, &key, &[1; 32], who(1), Fingerprint::of(b"c")).await;
            assert!(matches!(met, Err(HandshakeError::Malformed)), "{nonsense:?}");
        }
    }
}
