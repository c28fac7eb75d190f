//! How far numbers of which none may come twice are reserved, in blocks: SEQs and the numbers of messages.
//!
//! Owns where a run begins behind what a store may have lost. Taking them is `numbers`'s.

use mesh_protocol::SEQ_JUMP;
use serde::{Deserialize, Serialize};

/// The most SEQs reserved at a time; `docs/protocol.md`, "SEQ".
pub(super) const SEQ_BLOCK: u32 = 4096;
/// The most SEQs that the node leaves out at once, to go on behind another's under its address, with the blocks on either side.
pub(super) const SEQ_LEAP: u32 = SEQ_JUMP + 2 * SEQ_BLOCK;
/// The most message numbers reserved at a time, in one write; the first block after a start, of which each next one is
/// twice the one before. The first one holds many batches of requests. Guesses.
pub(super) const ID_BLOCK: u32 = 65_536;
pub(super) const FIRST_ID_BLOCK: u32 = 4_096;
/// An address that has numbered no message begins below this, at random: half of the numbers with which eight bytes fit one frame.
pub(super) const FIRST_IDS: u64 = 1 << 20;

/// Numbers of which none may be used twice, as they were reserved last, or as they were used when the gateway stopped in
/// order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Numbers {
    /// None from here on can have been used, as far as this record knows.
    pub(super) unused_from: u32,
    /// How many more a reservation behind this one grants. A record that was lost was one of those.
    pub(super) next_block: u32,
}

impl Numbers {
    /// Where a new run begins when the last `lost` writes behind this record may be missing. Each of them may have granted a block,
    /// of at most `most` numbers, and every second one a leap of `leap` numbers: a leap takes two writes.
    pub(super) fn start(self, lost: u64, most: u32, leap: u32) -> u32 {
        let (mut start, mut block) = (self.unused_from, self.next_block);
        for n in 1..=lost {
            start = start.saturating_add(block);
            block = block.saturating_mul(2).min(most);
            if n % 2 == 0 {
                start = start.saturating_add(leap);
            }
        }
        start
    }
}

/// The numbers that a run reserves, in blocks that double.
///
/// A record says in `next_block` how much the record after it will grant, so that a lost record can be made up for. A larger step, to
/// above another node's numbers or above those skipped at the start, is therefore announced by a write of its own first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reservations {
    record: Numbers,
    block: u32,
    most: u32,
}

impl Reservations {
    /// Those of a new run behind the record on disk, from a block of `first` up to one of `most` numbers.
    pub(super) const fn new(record: Numbers, first: u32, most: u32) -> Self {
        Self { record, block: first, most }
    }

    /// The record to write next, so that numbers below `up_to` may be used once one that [`grant`](Self::grant)s them is synced.
    pub(super) fn toward(&mut self, up_to: u32) -> Numbers {
        let Numbers { unused_from, next_block } = self.record;
        self.record = if up_to > unused_from.saturating_add(next_block) {
            Numbers { unused_from, next_block: up_to - unused_from }
        } else {
            self.block = self.block.saturating_mul(2).min(self.most);
            Numbers { unused_from: up_to, next_block: self.block }
        };
        self.record
    }

    /// Whether the last record grants the numbers below `up_to`.
    pub(super) const fn grant(&self, up_to: u32) -> bool {
        self.record.unused_from >= up_to
    }

    /// How many the next reservation is good for.
    pub(super) const fn block(&self) -> u32 {
        self.block
    }
}
