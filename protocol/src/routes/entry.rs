//! One entry of the table of routes, in twelve bytes, and the label that loop freedom rests on.

use crate::{Address, Duration, Instant};

/// A next hop that failed this often in a row is not asked any more.
pub(super) const FAILS_MAX: u8 = 2;
/// The best link, in eighths of a transmission: one each time.
pub(super) const LINK_MIN: u8 = 8;

/// In a destination: the operator says so.
pub(super) const OPERATOR: u16 = 0x8000;
/// In the first next hop: it was used of late.
pub(super) const USED: u16 = 0x8000;
/// The bits of a node's address.
pub(super) const NODE: u16 = 0x7fff;

/// How new a route is, and what it costs from the node that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) seqno: u16,
    pub(crate) cost: u8,
}

/// Whether `offered`, the label of a neighbour, lets it be a next hop of a node that has `known`. All that loop freedom rests on.
pub(crate) const fn may_replace(known: Label, offered: Label) -> bool {
    let ahead = offered.seqno.wrapping_sub(known.seqno);
    match ahead {
        0 => offered.cost < known.cost,
        // Serial numbers (RFC 1982): less than half of them ahead is newer.
        _ => ahead < 0x8000,
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// With [`OPERATOR`], if the operator says so.
    pub(super) destination: u16,
    /// Of the operator's: the cost.
    pub(super) seqno: u16,
    /// None is 0; of the first, with [`USED`].
    pub(super) next: [u16; 2],
    pub(super) cost: u8,
    /// How often each failed in a row: 4 bits for each.
    pub(super) fails: u8,
    /// Of a learned one, when its label came; of the operator's, when it was set or failed. In seconds; it comes round.
    pub(super) stamp: u16,
}

impl Entry {
    /// Older ones are taken for this old: 17 hours, an hour before stamps come round.
    pub(super) const AGE_MAX: u16 = 17 * 3600;

    pub(super) const fn is_learned(&self) -> bool {
        self.destination & OPERATOR == 0
    }

    pub(super) const fn destination(&self) -> Address {
        Address::new(self.destination & NODE)
    }

    pub(super) const fn hop(&self, at: usize) -> Address {
        Address::new(self.next[at] & NODE)
    }

    pub(super) const fn fails(&self, at: usize) -> u8 {
        self.fails >> (4 * at) & 0x0f
    }

    pub(super) const fn set_fails(&mut self, at: usize, fails: u8) {
        let shift = 4 * at;
        self.fails = self.fails & !(0x0f << shift) | fails << shift;
    }

    pub(super) const fn place_of(&self, next: Address) -> Option<usize> {
        let bits = next.bits();
        if bits == self.next[0] & NODE {
            Some(0)
        } else if bits == self.next[1] & NODE {
            Some(1)
        } else {
            None
        }
    }

    pub(super) fn usable(&self, at: usize) -> Option<Address> {
        let hop = self.hop(at);
        (hop != Address::NONE && self.fails(at) < FAILS_MAX).then_some(hop)
    }

    pub(super) const fn label(&self) -> Label {
        Label { seqno: self.seqno, cost: self.cost }
    }

    pub(super) const fn age(&self, now: Instant) -> u16 {
        seconds(now).wrapping_sub(self.stamp)
    }

    pub(super) const fn is_older_than(&self, now: Instant, span: Duration) -> bool {
        self.age(now) as u64 > span.as_micros() / 1_000_000
    }

    pub(super) const fn swap(&mut self) {
        let used = self.next[0] & USED;
        self.next = [self.next[1] & NODE | used, self.next[0] & NODE];
        self.fails = self.fails.rotate_left(4);
    }
}

pub(super) const fn seconds(now: Instant) -> u16 {
    (now.as_micros() / 1_000_000) as u16
}
