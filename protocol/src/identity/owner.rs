//! The key of a network's owner, and what it signs.
//!
//! Owns signing and checking of short texts, each kind with a prefix of its own, so that a signature of one kind is none of
//! another. What the texts say is for the files of each kind. The curve is ed25519-dalek's.
//!
//! No text names its network: an owner's key is made for one network, so that the key that signed is the network.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

/// Bytes of a signature, which stands behind what it signs.
pub(super) const SIGNATURE_LEN: usize = 64;
/// The longest text that is signed, with its prefix: a member's entry has less.
const TEXT_MAX: usize = 128;

/// What a signed text is about.
#[derive(Clone, Copy)]
pub(super) enum SignedKind {
    /// Who a member is.
    Member,
    /// Which entries make up the list of members.
    List,
    /// That the network's key changes.
    Epoch,
}

impl SignedKind {
    /// What stands before the text when it is signed. None of them is the beginning of another.
    const fn prefix(self) -> &'static [u8] {
        match self {
            Self::Member => b"mesh-gw v1 member",
            Self::List => b"mesh-gw v1 list",
            Self::Epoch => b"mesh-gw v1 epoch",
        }
    }
}

/// The public key of a network's owner, an Ed25519 key. It is printed as hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct OwnerKey(pub [u8; 32]);

impl OwnerKey {
    /// Whether the last [`SIGNATURE_LEN`] bytes of `signed` are the owner's signature of those before: what is signed, if so.
    ///
    /// Strict: keys and signatures that verify in more than one way are refused.
    pub(super) fn check<'a>(&self, kind: SignedKind, signed: &'a [u8]) -> Option<&'a [u8]> {
        let (text, signature) = signed.split_last_chunk::<SIGNATURE_LEN>()?;
        let prefix = kind.prefix();
        let mut whole = [0; TEXT_MAX];
        let whole = whole.get_mut(..prefix.len() + text.len())?;
        whole[..prefix.len()].copy_from_slice(prefix);
        whole[prefix.len()..].copy_from_slice(text);
        let key = VerifyingKey::from_bytes(&self.0).ok()?;
        key.verify_strict(whole, &Signature::from_bytes(signature)).ok()?;
        Some(text)
    }
}

impl core::fmt::Display for OwnerKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl core::fmt::Debug for OwnerKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "OwnerKey({self})")
    }
}

/// The secret half of the owner's key: wiped from memory when dropped, never printed.
///
/// ```
/// use mesh_protocol::OwnerSecret;
///
/// let owner = OwnerSecret::from_seed([7; 32]);
/// assert!(owner.public().to_string().starts_with("ea4a6c63e29c520a"));
/// assert_eq!(format!("{owner:?}"), "OwnerSecret(..)");
/// ```
#[derive(Clone)]
pub struct OwnerSecret(SigningKey);

impl OwnerSecret {
    /// The secret that follows from these 32 bytes, which must come from a source of randomness, or from where they were kept.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(SigningKey::from_bytes(&seed))
    }

    /// The seed, to be kept where nobody else reads it.
    #[must_use]
    pub fn as_seed(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// What everybody may know.
    #[must_use]
    pub fn public(&self) -> OwnerKey {
        OwnerKey(self.0.verifying_key().to_bytes())
    }

    /// Signs the first `len` bytes of `out` and puts the signature behind them; the length of both, or `None` if they do not fit.
    pub(super) fn sign(&self, kind: SignedKind, out: &mut [u8], len: usize) -> Option<usize> {
        let prefix = kind.prefix();
        let end = len.checked_add(SIGNATURE_LEN).filter(|&end| end <= out.len())?;
        let mut whole = [0; TEXT_MAX];
        let whole = whole.get_mut(..prefix.len() + len)?;
        whole[..prefix.len()].copy_from_slice(prefix);
        whole[prefix.len()..].copy_from_slice(&out[..len]);
        out[len..end].copy_from_slice(&self.0.sign(whole).to_bytes());
        Some(end)
    }
}

impl core::fmt::Debug for OwnerSecret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("OwnerSecret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_of_one_kind_one_owner_and_one_text() {
        let owner = OwnerSecret::from_seed([1; 32]);
        let mut signed = [0; 4 + SIGNATURE_LEN];
        signed[..4].copy_from_slice(b"text");
        assert_eq!(owner.sign(SignedKind::Member, &mut signed, 4), Some(68));
        let key = owner.public();
        assert_eq!(key.check(SignedKind::Member, &signed), Some(&b"text"[..]));
        for other in [SignedKind::List, SignedKind::Epoch] {
            assert_eq!(key.check(other, &signed), None, "a signature of another kind");
        }
        let other_owner = OwnerSecret::from_seed([2; 32]).public();
        assert_eq!(other_owner.check(SignedKind::Member, &signed), None);
        for bit in 0..signed.len() * 8 {
            let mut bent = signed;
            bent[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key.check(SignedKind::Member, &bent), None, "bit {bit}");
        }
        for cut in 0..signed.len() {
            assert_eq!(key.check(SignedKind::Member, &signed[..cut]), None, "cut at {cut}");
        }
    }

    #[test]
    fn what_does_not_fit_is_not_signed() {
        let owner = OwnerSecret::from_seed([1; 32]);
        assert_eq!(owner.sign(SignedKind::List, &mut [0; 67], 4), None);
        assert_eq!(owner.sign(SignedKind::List, &mut [0; 400], TEXT_MAX), None);
        assert_eq!(owner.sign(SignedKind::List, &mut [0; 4], usize::MAX), None);
        assert_eq!(owner.public().check(SignedKind::List, &[0; 400]), None, "nor checked");
    }

    /// The points of order 1, 2 and 4: anybody could sign for them.
    #[test]
    fn a_weak_key_signs_for_nobody() {
        let mut one = [0; 32];
        one[0] = 1;
        for weak in [one, [0; 32]] {
            // R the neutral element and S zero: by the loose equation it verifies for whatever text.
            let mut signed = [0; 4 + SIGNATURE_LEN];
            signed[4] = 1;
            assert_eq!(OwnerKey(weak).check(SignedKind::Member, &signed), None);
        }
    }
}
