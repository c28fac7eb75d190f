//! What can be seen of a node after it ran: tables, numbers, and what it must still hold.
//!
//! Owns the rules `bounds`, `accounted`, `conflict`, `backwards` and `reservation`.

use super::findings::Fault;
use super::state::{Invariants, NodeHistory};
use crate::NodeSnapshot;

impl Invariants {
    pub(super) fn check_snapshot(
        &mut self,
        snapshot: &NodeSnapshot,
        history: &mut NodeHistory,
    ) -> Result<(), Fault> {
        let tables = [
            ("outbox", snapshot.outbox),
            ("queue", snapshot.queue),
            ("sources", snapshot.sources),
            ("neighbours", snapshot.neighbours),
            ("paths", snapshot.paths),
            ("routes", snapshot.routes),
        ];
        if let Some((name, (used, room))) = tables.into_iter().find(|(_, (used, room))| used > room) {
            return Err(("bounds", format!("its table of {name} holds {used} and has room for {room}")));
        }
        if let Some(id) = self.messages.overdue(snapshot.address, snapshot.clock) {
            return Err((
                "silence",
                format!("the deadline of message {id} is over, and nobody was told of it"),
            ));
        }
        let held = self.messages.open(snapshot.address);
        if held != snapshot.outbox.0 {
            let text = format!(
                "it has taken {held} messages that it has not spoken of, and holds {}",
                snapshot.outbox.0
            );
            return Err(("accounted", text));
        }
        if snapshot.conflict && !self.allowed.contested(snapshot.address) {
            return Err(("conflict", "it thinks that another node has its address".into()));
        }
        if snapshot.epoch < history.epoch || snapshot.next_seq < history.next_seq {
            let (epoch, seq) = (snapshot.epoch, snapshot.next_seq);
            return Err(("backwards", format!("it went back to epoch {epoch}, SEQ {seq}")));
        }
        (history.epoch, history.next_seq) = (snapshot.epoch, snapshot.next_seq);
        history.used_below = snapshot.next_seq.min(snapshot.reserved);
        // A node whose address is contested may go on beyond what it has reserved, once that is reserved too.
        let waits = !snapshot.can_seal
            && snapshot.next_seq > snapshot.reserved
            && self.allowed.moved(snapshot.address);
        if snapshot.next_seq > snapshot.reserved && !waits {
            let text = format!(
                "it goes on at SEQ {}, and flash has those below {}",
                snapshot.next_seq, snapshot.reserved
            );
            return Err(("reservation", text));
        }
        Ok(())
    }
}
