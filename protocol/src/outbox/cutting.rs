//! How a block goes on the air: as a single frame, or cut into segments; and when it is cut anew.
//!
//! Owns the choice for one message. Whether there is a route, and how long its frames may be, `node::drafting` says.

use super::slot::{RESEND_ALL, Slot};
use crate::Address;
use crate::segment::{CRC_LEN, Cut, SEGMENT_HEADER, TransferId, all, block_crc};

/// Timeouts in a row after which a block is cut anew: a relay may have lost what the first segment said, or somebody on the way takes
/// no long ones. A guess: by then it was sent twice.
const RECUT_AFTER: u8 = 2;
/// Of a long block, so many times anew for the route before it is cut for everyone and flooded. A guess.
const CUTS_BY_ROUTE: u8 = 3;

impl Slot {
    /// Makes a transfer of the block, or a single frame if it fits one; nobody holds any of it.
    pub(super) fn number(&mut self, own: Address, next_transfer: &mut TransferId, whole: bool) {
        // A single frame needs no mark that it holds the whole.
        self.single = whole && self.block.len() - 1 <= SEGMENT_HEADER + self.cut.first();
        if !self.single {
            let crc = block_crc(own, self.delivery.destination, &self.block);
            let _ = self.block.extend_from_slice(&crc);
            self.transfer = *next_transfer;
            *next_transfer = self.transfer.next();
        }
        self.via = Address::NONE;
        self.held = 0;
        self.sent = 0;
        self.passed = 0;
        self.pending = if self.single { 1 } else { all(self.count()) };
        self.last_ack = None;
    }

    /// Whether the block is to be cut anew, and if so whether for everyone: because its long segments get no answer, or because the
    /// neighbour that took the first of its continuation frames takes no more.
    pub(super) fn wants_cut(&self, for_all: Cut) -> Option<bool> {
        let continued = self.cut.is_continued() && !self.single;
        let is_long = self.cut.first() > for_all.first();
        if !is_long && !continued {
            return None;
        }
        let by_route = if self.is_long() { CUTS_BY_ROUTE } else { 0 };
        if self.attempts >= RECUT_AFTER * (self.cuts.min(by_route) + 1) {
            Some(self.cuts >= by_route)
        } else {
            self.astray.then_some(self.cuts > by_route && !is_long)
        }
    }

    /// Whether it takes so many segments that a flood of it would fill the air.
    pub(super) fn is_long(&self) -> bool {
        !self.single && u32::from(self.count()) > RESEND_ALL
    }

    /// Whether nothing of the block has been on the air.
    pub(super) const fn is_unsent(&self) -> bool {
        self.sent == 0
    }

    /// Cuts the block so, as another transfer.
    pub(super) fn cut_anew(&mut self, own: Address, next_transfer: &mut TransferId, cut: Cut) {
        if !self.single {
            self.block.truncate(self.block.len() - CRC_LEN);
        }
        self.legacy |= self.cut.first() > cut.first();
        self.cut = cut;
        self.cuts = self.cuts.saturating_add(1);
        self.frames = 0;
        self.astray = false;
        self.number(own, next_transfer, self.part_len == self.total);
        self.retransmitted = true;
    }
}
