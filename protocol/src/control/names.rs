//! What stands for a name on the air.

use sha2::{Digest, Sha256};

use crate::Address;

/// The first six bytes of a name's SHA-256: what is asked for on the air.
///
/// ```
/// use mesh_protocol::NameHash;
///
/// let lamp = NameHash::of("lamp");
/// assert_eq!(lamp, NameHash::of("lamp"));
/// assert!(lamp.group_address().is_group());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameHash(pub [u8; 6]);

impl NameHash {
    /// The hash of a name.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let digest = Sha256::digest(name.as_bytes());
        Self(core::array::from_fn(|i| digest[i]))
    }

    /// The address of the group with this name: one of the 32,766 group addresses.
    ///
    /// Two names can share an address; the envelope carries the name, so a receiver can tell them apart.
    #[must_use]
    pub const fn group_address(self) -> Address {
        let n = u16::from_be_bytes([self.0[0], self.0[1]]) % 0x7ffe;
        Address::new(0x8000 + n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_addresses_are_groups() {
        for name in ["kitchen", "roof", "", "everyone"] {
            assert!(NameHash::of(name).group_address().is_group(), "{name}");
        }
    }
}
