//! That the network's key moves on, signed by the owner.
//!
//! Owns these bytes. The next key follows from the one before by the ratchet, so that an announcement has no secret in it. When
//! a node moves on is not decided here.

use super::list::SignedError;
use super::owner::{OwnerKey, OwnerSecret, SIGNATURE_LEN, SignedKind};

/// The layout that this code writes and reads.
const LAYOUT: u8 = 1;
/// Bytes before the signature.
const TEXT: usize = 1 + 4 + 4 + 1;
/// Bytes of a signed announcement.
pub const ANNOUNCEMENT_LEN: usize = TEXT + SIGNATURE_LEN;

/// Why the network's key moves on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotationCause {
    /// Its time is over.
    Time,
    /// Somebody runs out of SEQs: there is no time to lose.
    SeqsRunOut,
    /// The owner has said so.
    Command,
    /// A cause of a newer version. It is carried on all the same: who does not move on is left behind.
    Other(u8),
}

impl RotationCause {
    /// The byte in an announcement.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::Time => 0,
            Self::SeqsRunOut => 1,
            Self::Command => 2,
            Self::Other(bits) => bits,
        }
    }

    /// The cause of this byte.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        match bits {
            0 => Self::Time,
            1 => Self::SeqsRunOut,
            2 => Self::Command,
            other => Self::Other(other),
        }
    }
}

/// What the owner says when the network's key moves on.
///
/// ```
/// use mesh_protocol::{ANNOUNCEMENT_LEN, Announcement, OwnerSecret, RotationCause};
///
/// let owner = OwnerSecret::from_seed([7; 32]);
/// let announcement = Announcement { epoch: 2, list_version: 9, cause: RotationCause::Time };
/// let mut bytes = [0; ANNOUNCEMENT_LEN];
/// announcement.sign(&owner, &mut bytes);
/// assert_eq!(Announcement::parse(&bytes, &owner.public()), Ok(announcement));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// The epoch that begins.
    pub epoch: u32,
    /// The version of the list of members that holds then.
    pub list_version: u32,
    /// Why.
    pub cause: RotationCause,
}

impl Announcement {
    /// Writes the announcement with its signature.
    pub fn sign(&self, owner: &OwnerSecret, out: &mut [u8; ANNOUNCEMENT_LEN]) {
        out[0] = LAYOUT;
        out[1..5].copy_from_slice(&self.epoch.to_be_bytes());
        out[5..9].copy_from_slice(&self.list_version.to_be_bytes());
        out[9] = self.cause.bits();
        owner.sign(SignedKind::Epoch, out, TEXT).expect("the buffer has room for a signature");
    }

    /// Reads the announcement that these bytes are, all of them.
    ///
    /// # Errors
    /// [`SignedError`] says what of it cannot be.
    pub fn parse(bytes: &[u8], owner: &OwnerKey) -> Result<Self, SignedError> {
        let text = SignedError::check(SignedKind::Epoch, LAYOUT, ANNOUNCEMENT_LEN, bytes, owner)?;
        let number = |at: usize| u32::from_be_bytes(core::array::from_fn(|i| text[at + i]));
        Ok(Self { epoch: number(1), list_version: number(5), cause: RotationCause::from_bits(text[9]) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announcement_returns_as_it_was_and_nothing_else_passes_for_it() {
        let owner = OwnerSecret::from_seed([3; 32]);
        let mut bytes = [0; ANNOUNCEMENT_LEN];
        for bits in 0..=255 {
            let cause = RotationCause::from_bits(bits);
            let announcement = Announcement { epoch: u32::MAX, list_version: 7, cause };
            announcement.sign(&owner, &mut bytes);
            assert_eq!(Announcement::parse(&bytes, &owner.public()), Ok(announcement));
            assert_eq!(bytes[9], bits, "whatever the cause, it is carried on");
        }
        for bit in 0..bytes.len() * 8 {
            let mut bent = bytes;
            bent[bit / 8] ^= 1 << (bit % 8);
            let error = if bit < 8 { SignedError::Layout } else { SignedError::Signature };
            assert_eq!(Announcement::parse(&bent, &owner.public()), Err(error), "bit {bit}");
        }
        assert_eq!(Announcement::parse(&bytes[1..], &owner.public()), Err(SignedError::Layout));
        assert_eq!(Announcement::parse(&bytes[..9], &owner.public()), Err(SignedError::Length));
        assert_eq!(Announcement::parse(&[], &owner.public()), Err(SignedError::Length));
    }
}
