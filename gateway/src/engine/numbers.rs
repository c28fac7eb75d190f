//! Message numbers and SEQs: takes the former, and reserves both before they are used.
//!
//! Owns when the disk is asked for more. In which blocks is `blocks`'s.
//!
//! # Why numbers are reserved
//! A receiver takes a number that it knows for a repeat and drops the message; a SEQ that is used twice under one key betrays what both
//! frames hold. So after a power cut none may come again that was on the air, though most of them are never written down. They are reserved on the
//! disk ahead of them, in blocks: a run begins behind the last block that any record before it can have granted.
//!
//! The number of a durable message needs no reservation of its own: it is in the record of the message, and nothing of that is on the air before
//! it is synced.

use mesh_agent::api::{ErrorCode, Refusal};
use mesh_protocol::{Address, MessageId, SEQ_FIRST_BLOCK};

use super::blocks::{FIRST_ID_BLOCK, ID_BLOCK, Numbers, Reservations, SEQ_BLOCK};
use super::journal::{After, Journal};
use super::records;
use super::refusals::refused;
use crate::store::NEW_ADDRESS;

/// The first numbers of a run, and what the store says of those before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    pub(super) id: u32,
    pub(super) seq: u32,
    /// `None` when no message was ever numbered.
    pub(super) ids: Option<Numbers>,
    /// `None` when no SEQ of this address was used under the key.
    pub(super) seqs: Option<Numbers>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct NumberSource {
    /// Of the key, and the address: SEQs of others are other numbers.
    of: ([u8; 8], Address),
    next_id: u32,
    /// Message numbers below this are reserved, by a record that is synced.
    ids_reserved: u32,
    /// Below this they are reserved or asked for.
    ids_asked: u32,
    ids: Reservations,
    seqs: Reservations,
}

impl NumberSource {
    pub(super) fn new(fingerprint: [u8; 8], own: Address, start: Start) -> Self {
        let ids = start.ids.unwrap_or(Numbers { unused_from: start.id, next_block: FIRST_ID_BLOCK });
        let seqs = start.seqs.unwrap_or(Numbers { unused_from: start.seq, next_block: SEQ_FIRST_BLOCK });
        Self {
            of: (fingerprint, own),
            next_id: start.id,
            ids_reserved: start.id,
            ids_asked: start.id,
            ids: Reservations::new(ids, FIRST_ID_BLOCK, ID_BLOCK),
            seqs: Reservations::new(seqs, SEQ_FIRST_BLOCK, SEQ_BLOCK),
        }
    }

    /// The number of the next message.
    pub(super) const fn next_id(&self) -> u32 {
        self.next_id
    }

    /// Whether so many more messages can be numbered at once; with the last block, as far as it goes.
    pub(super) fn has_ids_for(&self, messages: u32) -> bool {
        self.next_id.saturating_add(messages) <= self.ids_reserved || self.ids_reserved == u32::MAX
    }

    /// Takes a message number. The last step that may refuse a message: a number that is taken is used.
    pub(super) fn take_id(&mut self, durable: bool, journal: &mut Journal) -> Result<MessageId, Refusal> {
        // A number used by a message that is not synced must be reserved on disk already, or it could come again.
        if !durable && self.next_id >= self.ids_reserved {
            return Err(match journal.failure() {
                Some(_) => {
                    let why = "the store has failed and no more message numbers can be reserved";
                    refused(ErrorCode::Storage, why).hint("see `mesh-gateway status`")
                }
                None => refused(ErrorCode::Busy, "message numbers are being reserved").hint("send it again"),
            });
        }
        if self.next_id == u32::MAX {
            let why = "all message numbers of this gateway's address are used";
            return Err(refused(ErrorCode::Conflict, why).hint(NEW_ADDRESS));
        }
        let id = MessageId(self.next_id);
        self.next_id += 1;
        self.reserve_ids(journal);
        Ok(id)
    }

    /// Asks for more message numbers, when few are left.
    pub(super) fn reserve_ids(&mut self, journal: &mut Journal) {
        // The next block is twice the last one: half of that one is left.
        let few = self.ids_asked.saturating_sub(self.next_id) <= self.ids.block() / 4;
        if few && self.ids_asked < u32::MAX {
            self.ids_asked = self.ids_asked.saturating_add(self.ids.block());
            self.stage_ids(self.ids_asked, journal);
        }
    }

    /// A record on the way to message numbers below `up_to` is synced.
    pub(super) fn ids_synced(&mut self, up_to: u32, journal: &mut Journal) {
        // What goes further than the record before it foretold takes two: the first one grants nothing.
        if self.ids.grant(up_to) {
            self.ids_reserved = up_to;
        } else {
            self.stage_ids(up_to, journal);
        }
    }

    /// Goes on towards the use of SEQs below `up_to`: stages the next record.
    pub(super) fn reserve_seqs(&mut self, up_to: u32, journal: &mut Journal) {
        let record = self.seqs.toward(up_to);
        journal.stage(records::put_seqs(self.of.0, self.of.1, record));
        journal.after(After::SeqReserved(up_to));
    }

    /// A record on the way to SEQs below `up_to` is synced. Whether they may be used now; if not, the next one is staged.
    pub(super) fn seqs_synced(&mut self, up_to: u32, journal: &mut Journal) -> bool {
        let granted = self.seqs.grant(up_to);
        if !granted {
            self.reserve_seqs(up_to, journal);
        }
        granted
    }

    /// Stages how far numbers were used, for a stop in order: none is lost by it. `next_seq` is the first SEQ that was not.
    pub(super) fn stage_used(&self, next_seq: u32, journal: &mut Journal) {
        let seqs = Numbers { unused_from: next_seq, next_block: SEQ_FIRST_BLOCK };
        journal.stage(records::put_seqs(self.of.0, self.of.1, seqs));
        journal.stage(records::put_ids(Numbers { unused_from: self.next_id, next_block: FIRST_ID_BLOCK }));
    }

    /// Goes on towards the use of message numbers below `up_to`: stages the next record.
    fn stage_ids(&mut self, up_to: u32, journal: &mut Journal) {
        let record = self.ids.toward(up_to);
        journal.stage(records::put_ids(record));
        journal.after(After::IdsReserved(up_to));
    }
}
