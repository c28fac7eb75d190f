//! What a node says of itself and of those it hears.

use crate::Address;

/// How well a neighbour was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HelloReport {
    /// The low 12 bits of its address: a node knows itself by them, and two of one neighbourhood seldom share them.
    pub neighbour: u16,
    /// The share of its hellos that arrived, in 15ths.
    pub delivery: u8,
}

impl HelloReport {
    /// A report of `neighbour`, of whose frames this share arrived, in 255ths.
    #[must_use]
    pub const fn of(neighbour: Address, share: u8) -> Self {
        Self { neighbour: neighbour.bits() & 0x0fff, delivery: ((share as u16 + 8) / 17) as u8 }
    }

    /// Whether it speaks of this node.
    #[must_use]
    pub const fn is_of(self, address: Address) -> bool {
        self.neighbour == address.bits() & 0x0fff
    }

    /// The share that arrived, in 255ths.
    #[must_use]
    pub const fn share(self) -> u8 {
        self.delivery * 17
    }
}

/// What a node says of itself in a hello.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HelloFlags(pub(super) u8);

impl HelloFlags {
    /// It hears frames longer than a legacy one.
    pub const LONG_FRAMES: Self = Self(1);
    /// It relays.
    pub const RELAYS: Self = Self(2);
    /// It has chosen itself to relay what goes to many.
    pub const BACKBONE: Self = Self(4);
    pub(super) const SPARE: u8 = 8;

    /// These, and the present pause between its hellos: 2 to the power of `log2` seconds.
    #[must_use]
    pub const fn with_pace(self, log2: u8) -> Self {
        Self(self.0 & 0x0f | (log2 & 0x0f) << 4)
    }

    /// Both together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` are among these.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The logarithm of the pause between its hellos, in seconds.
    #[must_use]
    pub const fn pace(self) -> u8 {
        self.0 >> 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_keeps_a_share_to_a_fifteenth() {
        let me = Address::new(0x7123);
        for share in 0..=255u8 {
            let report = HelloReport::of(me, share);
            assert!(report.share().abs_diff(share) <= 8 && report.delivery <= 15, "{share}");
            assert!(report.is_of(me) && !report.is_of(Address::new(0x7124)));
        }
        let flags = HelloFlags::RELAYS.with_pace(6);
        assert!(flags.has(HelloFlags::RELAYS) && !flags.has(HelloFlags::LONG_FRAMES));
        assert_eq!(flags.pace(), 6);
    }
}
