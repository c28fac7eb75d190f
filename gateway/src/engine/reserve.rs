//! Takes message numbers and reserves more of them, and SEQs, before they are used.
//!
//! Owns when the disk is asked. In which blocks is `numbers`'.

use mesh_agent::api::{ErrorCode, Refusal};
use mesh_protocol::{MessageId, SEQ_FIRST_BLOCK};

use super::acceptance::refused;
use super::journal::After;
use super::numbers::{FIRST_ID_BLOCK, Numbers};
use super::records;
use super::state::{EngineState, UNWRITTEN_BYTES};
use crate::agents::MAX_BATCH;
use crate::store::NEW_ADDRESS;

impl EngineState {
    pub(super) fn take_id(&mut self, durable: bool) -> Result<MessageId, Refusal> {
        // A number used by a message that is not synced must be reserved on disk already, or it could come again.
        if !durable && self.next_id >= self.ids_reserved {
            return Err(match self.journal.failure() {
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
        self.reserve_ids();
        Ok(id)
    }

    /// Whether requests can be taken: not while no number is reserved, as at the start, nor while very much waits for
    /// the disk; unless the disk has failed, as then neither will ever end.
    pub(super) fn takes_requests(&self) -> bool {
        let batch = MAX_BATCH as u32;
        let has_numbers =
            self.next_id.saturating_add(batch) <= self.ids_reserved || self.ids_reserved == u32::MAX;
        let disk_keeps_up = self.journal.unwritten_bytes() < 2 * UNWRITTEN_BYTES;
        has_numbers && disk_keeps_up || self.journal.failure().is_some()
    }

    /// Asks for more message numbers, when few are left.
    pub(super) fn reserve_ids(&mut self) {
        // The next block is twice the last one: half of that one is left.
        let few = self.ids_asked.saturating_sub(self.next_id) <= self.ids.block() / 4;
        if few && self.ids_asked < u32::MAX {
            self.ids_asked = self.ids_asked.saturating_add(self.ids.block());
            self.stage_ids(self.ids_asked);
        }
    }

    /// Goes on towards the use of message numbers below `up_to`: stages the next record.
    pub(super) fn stage_ids(&mut self, up_to: u32) {
        let record = self.ids.toward(up_to);
        self.journal.stage(records::put_ids(record));
        self.journal.after(After::IdsReserved(up_to));
    }

    /// Goes on towards the use of SEQs below `up_to`: stages the next record.
    pub(super) fn reserve_seqs(&mut self, up_to: u32) {
        let record = self.seqs.toward(up_to);
        self.journal.stage(records::put_seqs(self.fingerprint, self.config.address, record));
        self.journal.after(After::SeqReserved(up_to));
    }

    /// Stages how far numbers were used, for a stop in order: none is lost by it. `next_seq` is the first SEQ that was not.
    pub(super) fn stage_used(&mut self, next_seq: u32) {
        let seqs = Numbers { unused_from: next_seq, next_block: SEQ_FIRST_BLOCK };
        self.journal.stage(records::put_seqs(self.fingerprint, self.config.address, seqs));
        self.journal
            .stage(records::put_ids(Numbers { unused_from: self.next_id, next_block: FIRST_ID_BLOCK }));
    }
}
