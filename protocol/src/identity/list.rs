//! The head of the list of members: which entries there are, in which version, signed by the owner.
//!
//! Owns these bytes, and the digest that ties the entries to them. The entries are `member`'s; who holds them is not known here.

use sha2::{Digest, Sha256};

use super::owner::{OwnerKey, OwnerSecret, SIGNATURE_LEN, SignedKind};
use crate::Address;

/// The layout that this code writes and reads.
const LAYOUT: u8 = 1;
/// Bytes before the signature.
const TEXT: usize = 1 + 4 + 4 + 2 + 32;
/// Bytes of a signed head.
pub const LIST_HEAD_LEN: usize = TEXT + SIGNATURE_LEN;

/// What the owner says of the whole list.
///
/// ```
/// use mesh_protocol::{Address, LIST_HEAD_LEN, ListDigest, ListHead, OwnerSecret};
///
/// let owner = OwnerSecret::from_seed([7; 32]);
/// let mut digest = ListDigest::new();
/// assert!(digest.add(Address::new(1), b"an entry"));
/// let head = ListHead { version: 3, epoch: 1, count: 1, digest: digest.finish() };
/// let mut bytes = [0; LIST_HEAD_LEN];
/// head.sign(&owner, &mut bytes);
/// assert_eq!(ListHead::parse(&bytes, &owner.public()), Ok(head));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListHead {
    /// Grows with each change of the list, and never goes back.
    pub version: u32,
    /// The epoch of the network's key when it was signed.
    pub epoch: u32,
    /// How many entries there are.
    pub count: u16,
    /// A [`ListDigest`] of them.
    pub digest: [u8; 32],
}

impl ListHead {
    /// Writes the head with its signature.
    pub fn sign(&self, owner: &OwnerSecret, out: &mut [u8; LIST_HEAD_LEN]) {
        out[0] = LAYOUT;
        out[1..5].copy_from_slice(&self.version.to_be_bytes());
        out[5..9].copy_from_slice(&self.epoch.to_be_bytes());
        out[9..11].copy_from_slice(&self.count.to_be_bytes());
        out[11..TEXT].copy_from_slice(&self.digest);
        owner.sign(SignedKind::List, out, TEXT).expect("the buffer has room for a signature");
    }

    /// Reads the head that these bytes are, all of them.
    ///
    /// # Errors
    /// [`SignedError`] says what of it cannot be.
    pub fn parse(bytes: &[u8], owner: &OwnerKey) -> Result<Self, SignedError> {
        let text = SignedError::check(SignedKind::List, LAYOUT, LIST_HEAD_LEN, bytes, owner)?;
        let number = |at: usize| u32::from_be_bytes(core::array::from_fn(|i| text[at + i]));
        Ok(Self {
            version: number(1),
            epoch: number(5),
            count: u16::from_be_bytes([text[9], text[10]]),
            digest: core::array::from_fn(|i| text[11 + i]),
        })
    }
}

/// SHA-256 over all entries of a list, signatures and all, in the order of their addresses.
#[derive(Clone, Debug, Default)]
pub struct ListDigest {
    hash: Sha256,
    last: Option<Address>,
}

impl ListDigest {
    /// That of an empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next entry; `false` if its address is not higher than that of the one before: then nothing changes.
    #[must_use]
    pub fn add(&mut self, address: Address, entry: &[u8]) -> bool {
        let higher = self.last.is_none_or(|last| last.bits() < address.bits());
        if higher {
            self.last = Some(address);
            self.hash.update(entry);
        }
        higher
    }

    /// The digest of the entries so far.
    #[must_use]
    pub fn finish(self) -> [u8; 32] {
        self.hash.finalize().into()
    }
}

/// Why bytes are not what the owner has signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignedError {
    /// They are too few, or too many.
    Length,
    /// They are of a layout that is not known.
    Layout,
    /// The network's owner has not signed them.
    Signature,
}

impl SignedError {
    /// The signed text of `len` bytes with its signature, if they are one of this kind and layout.
    pub(super) fn check<'a>(
        kind: SignedKind,
        layout: u8,
        len: usize,
        bytes: &'a [u8],
        owner: &OwnerKey,
    ) -> Result<&'a [u8], Self> {
        match bytes.first() {
            Some(&found) if found != layout => Err(Self::Layout),
            _ if bytes.len() != len => Err(Self::Length),
            _ => owner.check(kind, bytes).ok_or(Self::Signature),
        }
    }
}

impl core::fmt::Display for SignedError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Length => "what the owner is to have signed is not as long as it should be",
            Self::Layout => "what the owner is to have signed has a layout of a newer version",
            Self::Signature => "it is not signed by the network's owner",
        })
    }
}

impl core::error::Error for SignedError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_returns_as_it_was_and_nothing_else_passes_for_it() {
        let owner = OwnerSecret::from_seed([3; 32]);
        let head = ListHead { version: u32::MAX, epoch: 42, count: 500, digest: [0xa5; 32] };
        let mut bytes = [0; LIST_HEAD_LEN];
        head.sign(&owner, &mut bytes);
        assert_eq!(ListHead::parse(&bytes, &owner.public()), Ok(head));
        for bit in 0..bytes.len() * 8 {
            let mut bent = bytes;
            bent[bit / 8] ^= 1 << (bit % 8);
            let error = if bit < 8 { SignedError::Layout } else { SignedError::Signature };
            assert_eq!(ListHead::parse(&bent, &owner.public()), Err(error), "bit {bit}");
        }
        for cut in 0..bytes.len() {
            assert_eq!(ListHead::parse(&bytes[..cut], &owner.public()), Err(SignedError::Length));
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(ListHead::parse(&longer, &owner.public()), Err(SignedError::Length));
    }

    #[test]
    fn a_digest_is_of_entries_in_the_order_of_their_addresses() {
        let mut digest = ListDigest::new();
        assert!(digest.add(Address::new(2), b"two"));
        for low in [1, 2] {
            assert!(!digest.add(Address::new(low), b"again"), "{low} is not above 2");
        }
        assert!(digest.add(Address::new(9), b"nine"));
        assert_eq!(digest.finish(), <[u8; 32]>::from(Sha256::digest(b"twonine")));
    }
}
