//! The key that a node makes for itself, and the key that two nodes have in common.
//!
//! Owns the X25519 keys, which of them are refused, and the derivation of a pair's key. Who a key belongs to is said
//! elsewhere, signed by the network's owner. The curve is x25519-dalek's.

use hkdf::Hkdf;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use x25519_dalek::{PublicKey, SharedSecret, StaticSecret};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Salt of the derivation of a pair's key from the secret that its two nodes agree on.
const PAIR_SALT: &[u8] = b"mesh-gw v1 pair";
/// Bytes of an X25519 key, secret or public.
const KEY_LEN: usize = 32;
/// The highest byte of the curve's prime, 2^255 - 19, with those below it all ones but for the last.
const PRIME_HIGH: u8 = 0x7f;
/// The lowest byte of the curve's prime.
const PRIME_LOW: u8 = 0xed;

/// The public key of a node: what others know it by.
///
/// It is printed as hexadecimal digits, since an operator compares it by eye.
///
/// ```
/// use mesh_protocol::NodeSecret;
///
/// let key = NodeSecret::new([1; 32]).public();
/// assert!(key.to_string().starts_with("a4e09292b651c278"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeKey(pub [u8; KEY_LEN]);

impl NodeKey {
    /// Whether these are the bytes that a node would write for this key: a number below the curve's prime.
    ///
    /// X25519 itself takes others for the same key, by which two names would be one node.
    pub(super) fn is_canonical(&self) -> bool {
        let [low, middle @ .., high] = &self.0;
        *high < PRIME_HIGH
            || (*high == PRIME_HIGH && (*low < PRIME_LOW || middle.iter().any(|&byte| byte != 0xff)))
    }
}

impl core::fmt::Display for NodeKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl core::fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "NodeKey({self})")
    }
}

/// The secret half of a node's key: wiped from memory when dropped, never printed.
///
/// ```
/// use mesh_protocol::{KeyError, NodeSecret};
///
/// let (a, b) = (NodeSecret::new([1; 32]), NodeSecret::new([2; 32]));
/// assert_eq!(a.pair(&b.public())?, b.pair(&a.public())?);
/// assert_eq!(a.pair(&a.public()), Err(KeyError::OwnKey));
/// assert_eq!(format!("{a:?}"), "NodeSecret(..)", "it is never printed");
/// # Ok::<(), KeyError>(())
/// ```
#[derive(Clone)]
pub struct NodeSecret {
    secret: StaticSecret,
    /// It takes as long to find as an agreement, and each agreement needs it.
    public: NodeKey,
}

impl NodeSecret {
    /// The secret of these 32 bytes, which must come from a source of randomness, or from where they were kept.
    #[must_use]
    pub fn new(bytes: [u8; KEY_LEN]) -> Self {
        let secret = StaticSecret::from(bytes);
        let public = NodeKey(PublicKey::from(&secret).to_bytes());
        Self { secret, public }
    }

    /// What others may know.
    #[must_use]
    pub const fn public(&self) -> NodeKey {
        self.public
    }

    /// Its bytes, to be kept where nobody else reads them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; KEY_LEN] {
        self.secret.as_bytes()
    }

    /// What this node and the one with the key `other` alone can find out.
    ///
    /// # Errors
    /// [`KeyError`] for a key that no other node can have.
    pub(crate) fn agree(&self, other: &NodeKey) -> Result<SharedSecret, KeyError> {
        if *other == self.public {
            return Err(KeyError::OwnKey);
        }
        if !other.is_canonical() {
            return Err(KeyError::NotCanonical);
        }
        let shared = self.secret.diffie_hellman(&PublicKey::from(other.0));
        if shared.was_contributory() { Ok(shared) } else { Err(KeyError::LowOrder) }
    }

    /// The key that this node has in common with the one whose key is `other`.
    ///
    /// Both public keys go into it, so that a key which gives the same shared secret gives another pair key.
    ///
    /// # Errors
    /// [`KeyError`] for a key that no other node can have.
    pub fn pair(&self, other: &NodeKey) -> Result<PairKey, KeyError> {
        let shared = self.agree(other)?;
        let (low, high) = if self.public < *other { (&self.public, other) } else { (other, &self.public) };
        let mut pair = [0; 16];
        Hkdf::<Sha256>::new(Some(PAIR_SALT), shared.as_bytes())
            .expand_multi_info(&[&low.0, &high.0], &mut pair)
            .expect("16 bytes are within what HKDF-SHA256 can give");
        Ok(PairKey(pair))
    }
}

impl core::fmt::Debug for NodeSecret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("NodeSecret(..)")
    }
}

/// The key of two nodes: what passes between them is sealed with it. Wiped from memory when dropped, never printed.
///
/// ```
/// use mesh_protocol::PairKey;
///
/// let key = PairKey::from_bytes([7; 16]);
/// assert_eq!(key, PairKey::from_bytes(*key.as_bytes()));
/// assert_eq!(format!("{key:?}"), "PairKey(..)");
/// ```
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct PairKey([u8; 16]);

impl PairKey {
    /// The key with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl PartialEq for PairKey {
    /// Takes the same time whatever differs.
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for PairKey {}

impl core::fmt::Debug for PairKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("PairKey(..)")
    }
}

/// Why nothing can be agreed on with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// It is this node's own: somebody sends back what this node sent.
    OwnKey,
    /// It is one of the few points with which everybody agrees on the same.
    LowOrder,
    /// It is a second way to write a key, by which one node could pass for two.
    NotCanonical,
}

impl core::fmt::Display for KeyError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::OwnKey => "the other node's key is this node's own",
            Self::LowOrder => "the other node's key is a point of low order, which no node can have",
            Self::NotCanonical => "the other node's key is not written as nodes write theirs",
        })
    }
}

impl core::error::Error for KeyError {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    /// What docs/protocol.md prints, computed with another implementation of the curve and of HKDF.
    #[test]
    fn the_pair_key_is_the_one_the_document_prints() {
        let a = NodeSecret::new(core::array::from_fn(|i| i as u8));
        let b = NodeSecret::new(core::array::from_fn(|i| 32 + i as u8));
        let [a_key, b_key] = [&a, &b].map(|secret| secret.public().to_string());
        assert_eq!(a_key, "8f40c5adb68f25624ae5b214ea767a6ec94d829d3d7b5e1ad1ba6f3e2138285f");
        assert_eq!(b_key, "358072d6365880d1aeea329adf9121383851ed21a28e3b75e965d0d2cd166254");
        let key = 0x2986_56e9_652f_8446_8649_9c6a_457e_2cd6_u128.to_be_bytes();
        assert_eq!(a.pair(&b.public()).unwrap().as_bytes(), &key, "what a finds");
        assert_eq!(b.pair(&a.public()).unwrap().as_bytes(), &key, "what b finds");
    }

    /// The orders 1, 2, 4 and 8, as numbers below the prime: what everybody agrees with on nothing but zeros.
    const LOW_ORDER: [&str; 5] = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];

    fn key(hex: &str) -> NodeKey {
        NodeKey(core::array::from_fn(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()))
    }

    #[test]
    fn a_key_that_no_other_node_can_have_is_refused_by_name() {
        let node = NodeSecret::new([7; 32]);
        assert_eq!(node.pair(&node.public()), Err(KeyError::OwnKey));
        for point in LOW_ORDER {
            assert_eq!(node.pair(&key(point)), Err(KeyError::LowOrder), "{point}");
        }
        // The same keys once more: with the bit that X25519 leaves out, and with the prime added.
        let mut own = node.public();
        own.0[31] |= 0x80;
        assert_eq!(node.pair(&own), Err(KeyError::NotCanonical), "its own key, disguised");
        for low in [0xed, 0xee, 0xff] {
            let mut twin = NodeKey([0xff; 32]);
            (twin.0[0], twin.0[31]) = (low, 0x7f);
            assert_eq!(node.pair(&twin), Err(KeyError::NotCanonical), "{twin}");
        }
        // The last number below the prime with another byte: a key like any other.
        let mut good = key(LOW_ORDER[4]);
        good.0[1] = 0xfe;
        assert!(node.pair(&good).is_ok());
    }

    #[test]
    fn every_pair_of_nodes_has_a_key_of_its_own() {
        let nodes: Vec<_> = (0..12).map(|n| NodeSecret::new([n; 32])).collect();
        let mut keys = std::collections::BTreeSet::new();
        for (i, a) in nodes.iter().enumerate() {
            for b in &nodes[..i] {
                let pair = a.pair(&b.public()).unwrap();
                assert_eq!(pair, b.pair(&a.public()).unwrap());
                keys.insert(*pair.as_bytes());
            }
        }
        assert_eq!(keys.len(), 12 * 11 / 2);
    }

    #[test]
    fn secrets_are_not_printed() {
        let node = NodeSecret::new([7; 32]);
        assert_eq!(std::format!("{node:?}"), "NodeSecret(..)");
        assert_eq!(std::format!("{:?}", PairKey::from_bytes([7; 16])), "PairKey(..)");
        assert_eq!(node.as_bytes(), &[7; 32], "as it was given");
    }
}
