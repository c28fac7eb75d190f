//! A member of the network: its address, its name, its key and its role, signed by the owner.
//!
//! Owns these bytes and the rules for what stands in them. Who keeps members, and which of them is the newest, is for
//! whoever holds the list.

use super::node_key::NodeKey;
use super::owner::{OwnerKey, OwnerSecret, SIGNATURE_LEN, SignedKind};
use crate::{Address, NAME_MAX};

/// The layout of an entry that this code writes and reads.
const LAYOUT: u8 = 1;
/// Bytes before the name: layout, address, role, version, key, length of the name.
const HEAD: usize = 1 + 2 + 1 + 4 + 32 + 1;
/// The longest signed entry.
pub const MEMBER_MAX: usize = HEAD + NAME_MAX + SIGNATURE_LEN;
/// A name that is a destination, so that no member can have it.
const EVERYONE: &str = "everyone";

/// What a member is to the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// It has agents, and may invite.
    Gateway = 1,
    /// A sensor or a relay.
    Node = 2,
}

impl Role {
    /// The byte in an entry.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self as u8
    }

    /// The role of this byte, if there is one.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            1 => Some(Self::Gateway),
            2 => Some(Self::Node),
            _ => None,
        }
    }
}

/// Whether `name` can be a member's: 1 to 32 letters, digits, `.`, `_` and `-`, and not `everyone`.
pub(super) fn is_name(name: &[u8]) -> bool {
    (1..=NAME_MAX).contains(&name.len())
        && name.iter().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-'))
        && name != EVERYONE.as_bytes()
}

/// What the owner says of one member.
///
/// ```
/// use mesh_protocol::{Address, MEMBER_MAX, Member, MemberError, NodeSecret, OwnerSecret, Role};
///
/// let owner = OwnerSecret::from_seed([7; 32]);
/// let member = Member {
///     address: Address::new(9),
///     key: NodeSecret::new([1; 32]).public(),
///     role: Role::Node,
///     version: 3,
///     name: "roof",
/// };
/// let mut bytes = [0; MEMBER_MAX];
/// let len = member.sign(&owner, &mut bytes)?;
/// assert_eq!(Member::parse(&bytes[..len], &owner.public())?, member);
/// let other = OwnerSecret::from_seed([8; 32]).public();
/// assert_eq!(Member::parse(&bytes[..len], &other), Err(MemberError::Signature));
/// # Ok::<(), MemberError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// The address that it leases.
    pub address: Address,
    /// Its key.
    pub key: NodeKey,
    /// What it is to the network.
    pub role: Role,
    /// The version of the list in which this was last changed.
    pub version: u32,
    /// Its name: 1 to 32 letters, digits, `.`, `_` and `-`.
    pub name: &'a str,
}

impl<'a> Member<'a> {
    /// Writes the entry with its signature into `out`; returns its length.
    ///
    /// # Errors
    /// [`MemberError`] for what [`Member::parse`] would refuse. `out` is then as it was or cut off in the middle.
    pub fn sign(&self, owner: &OwnerSecret, out: &mut [u8; MEMBER_MAX]) -> Result<usize, MemberError> {
        self.check()?;
        let name = self.name.as_bytes();
        out[0] = LAYOUT;
        out[1..3].copy_from_slice(&self.address.bits().to_be_bytes());
        out[3] = self.role.bits();
        out[4..8].copy_from_slice(&self.version.to_be_bytes());
        out[8..40].copy_from_slice(&self.key.0);
        out[40] = name.len() as u8;
        out[HEAD..HEAD + name.len()].copy_from_slice(name);
        owner.sign(SignedKind::Member, out, HEAD + name.len()).ok_or(MemberError::Length)
    }

    /// Reads the entry that these bytes are, all of them.
    ///
    /// # Errors
    /// [`MemberError`] says what of it cannot be; the owner's signature is checked last.
    pub fn parse(bytes: &'a [u8], owner: &OwnerKey) -> Result<Self, MemberError> {
        if Self::entry_len(bytes) != Some(bytes.len()) {
            return Err(if bytes.first().is_some_and(|&layout| layout != LAYOUT) {
                MemberError::Layout
            } else {
                MemberError::Length
            });
        }
        let name = &bytes[HEAD..bytes.len() - SIGNATURE_LEN];
        let member = Self {
            address: Address::new(u16::from_be_bytes([bytes[1], bytes[2]])),
            key: NodeKey(core::array::from_fn(|i| bytes[8 + i])),
            role: Role::from_bits(bytes[3]).ok_or(MemberError::Role)?,
            version: u32::from_be_bytes(core::array::from_fn(|i| bytes[4 + i])),
            name: core::str::from_utf8(name).map_err(|_| MemberError::Name)?,
        };
        member.check()?;
        owner.check(SignedKind::Member, bytes).ok_or(MemberError::Signature)?;
        Ok(member)
    }

    /// How long the entry is that these bytes begin with; `None` if they begin with none, or with less than one.
    #[must_use]
    pub fn entry_len(bytes: &[u8]) -> Option<usize> {
        let head = bytes.get(..HEAD).filter(|head| head[0] == LAYOUT)?;
        let len = HEAD + usize::from(head[HEAD - 1]) + SIGNATURE_LEN;
        (len <= bytes.len()).then_some(len)
    }

    /// What does not depend on the signature.
    fn check(&self) -> Result<(), MemberError> {
        if !self.address.is_node() {
            return Err(MemberError::Address);
        }
        if !self.key.is_canonical() {
            return Err(MemberError::Key);
        }
        if is_name(self.name.as_bytes()) { Ok(()) } else { Err(MemberError::Name) }
    }
}

/// Why bytes are no entry of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberError {
    /// They are too few, or too many.
    Length,
    /// They are of a layout that is not known.
    Layout,
    /// The address is not one node's.
    Address,
    /// The role is not known.
    Role,
    /// The key is not written as nodes write theirs.
    Key,
    /// The name is empty, too long, has a character that names do not have, or is `everyone`.
    Name,
    /// The network's owner has not signed it.
    Signature,
}

impl core::fmt::Display for MemberError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Length => "the member's entry is not as long as it says",
            Self::Layout => "the member's entry has a layout of a newer version",
            Self::Address => "the member's address is not one node's",
            Self::Role => "the member's role is of a newer version",
            Self::Key => "the member's key is not written as nodes write theirs",
            Self::Name => {
                "the member's name is not 1 to 32 letters, digits, '.', '_' and '-', or is \"everyone\""
            }
            Self::Signature => "the member's entry is not signed by the network's owner",
        })
    }
}

impl core::error::Error for MemberError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NodeSecret;
    use std::string::String;

    fn member(name: &str) -> Member<'_> {
        let key = NodeSecret::new(core::array::from_fn(|i| i as u8)).public();
        Member { address: Address::new(0x0102), key, role: Role::Gateway, version: 7, name }
    }

    fn owner() -> OwnerSecret {
        OwnerSecret::from_seed(core::array::from_fn(|i| 64 + i as u8))
    }

    /// What docs/protocol.md prints, signed once with another implementation.
    #[test]
    fn the_entry_is_the_one_the_document_prints() {
        let mut bytes = [0; MEMBER_MAX];
        let len = member("roof").sign(&owner(), &mut bytes).unwrap();
        let hex: String = bytes[..len].iter().map(|byte| std::format!("{byte:02x}")).collect();
        assert_eq!(hex, GOLDEN.concat());
    }
    const GOLDEN: [&str; 3] = [
        "01010201000000078f40c5adb68f25624ae5b214ea767a6ec94d829d3d7b5e1ad1ba6f3e2138285f04726f6f66",
        "4d04e23e7b9e2653b8fd3b6f0ea5fc9fde8b186431081d94b6e89de50334b5ae",
        "430658d0f16b71f815821039f164eab2761756051e82c60d6efba6c71d3b1f01",
    ];

    #[test]
    fn an_entry_returns_as_it_was_and_with_any_bit_turned_it_is_refused() {
        let (owner, longest) = (owner(), "x".repeat(NAME_MAX));
        for name in ["a", "node-1_b.c", &longest] {
            for role in [Role::Gateway, Role::Node] {
                let member = Member { role, version: u32::MAX, address: Address::LAST_NODE, ..member(name) };
                let mut bytes = [0; MEMBER_MAX];
                let len = member.sign(&owner, &mut bytes).unwrap();
                assert_eq!(Member::parse(&bytes[..len], &owner.public()), Ok(member));
                assert_eq!(Member::entry_len(&[&bytes[..len], b"more"].concat()), Some(len));
            }
        }
        let mut bytes = [0; MEMBER_MAX];
        let len = member("roof").sign(&owner, &mut bytes).unwrap();
        for bit in 0..len * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Member::parse(&bytes[..len], &owner.public()).is_err(), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        for cut in 0..len {
            assert_eq!(
                Member::parse(&bytes[..cut], &owner.public()),
                Err(MemberError::Length),
                "cut at {cut}"
            );
        }
        let longer = [&bytes[..len], &[0]].concat();
        assert_eq!(Member::parse(&longer, &owner.public()), Err(MemberError::Length));
    }

    #[test]
    fn what_cannot_be_is_refused_by_name_even_where_the_owner_has_signed_it() {
        let owner = owner();
        let mut out = [0; MEMBER_MAX];
        for name in ["", &"x".repeat(NAME_MAX + 1), "a b", "bob@0x0003", "Zoë", "everyone"] {
            assert_eq!(member(name).sign(&owner, &mut out), Err(MemberError::Name), "{name}");
        }
        for address in [0, 0x8000, 0xffff] {
            let member = Member { address: Address::new(address), ..member("a") };
            assert_eq!(member.sign(&owner, &mut out), Err(MemberError::Address), "{address:#06x}");
        }
        let disguised = Member { key: NodeKey([0xff; 32]), ..member("a") };
        assert_eq!(disguised.sign(&owner, &mut out), Err(MemberError::Key));

        // An owner of another make signs what this one would not.
        let mut signed = |at: usize, byte: u8| {
            let len = member("roof").sign(&owner, &mut out).unwrap() - SIGNATURE_LEN;
            out[at] = byte;
            let len = owner.sign(SignedKind::Member, &mut out, len).unwrap();
            Member::parse(&out[..len], &owner.public()).map(drop)
        };
        assert_eq!(signed(0, 1), Ok(()), "the layout there is");
        for (at, byte, error) in [
            (0, 2, MemberError::Layout),
            (1, 0x80, MemberError::Address),
            (3, 0, MemberError::Role),
            (3, 3, MemberError::Role),
            (39, 0xff, MemberError::Key),
            (40, 3, MemberError::Length),
            (40, 5, MemberError::Length),
            (HEAD, b' ', MemberError::Name),
            (HEAD, 0xff, MemberError::Name),
        ] {
            assert_eq!(signed(at, byte), Err(error), "byte {at} is {byte}");
        }
    }
}
