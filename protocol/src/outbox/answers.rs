//! What others say of this node's messages: acks, nacks, tallies, verdicts, and what was given up on the way.

use super::outcome::Progress;
use super::slot::Slot;
use super::{Outbox, release_if_done};
use crate::control::{Ack, Verdict};
use crate::feedback::Nack;
use crate::segment::TransferId;
use crate::{Address, Duration, Instant, MessageId, Priority};

impl<const N: usize> Outbox<N> {
    /// An ack of a destination, sealed under (epoch, SEQ) `stamp`; `timeout` is how long to wait for the receipt of a
    /// message of this priority and so many attempts, if nothing else is missing. Also gives the round-trip time, where
    /// the ack shows it. `None` if nothing waits for it.
    pub(crate) fn acked(
        &mut self,
        now: Instant,
        from: Address,
        ack: &Ack,
        stamp: (u32, u32),
        timeout: impl FnOnce(Priority, u8) -> Duration,
    ) -> Option<(Option<Progress>, Option<Duration>)> {
        let slot = self.slots.iter_mut().flatten().find(|slot| {
            slot.delivery.destination == from
                && !slot.single
                && slot.transfer == ack.transfer
                && !slot.wants_part
        })?;
        slot.acked(now, ack, stamp, timeout)
    }

    /// One of the receivers of a message to many lacks segments; `false` if nothing comes of it.
    pub(crate) fn nacked(&mut self, now: Instant, nack: &Nack) -> bool {
        let asked = |slot: &&mut Slot| {
            slot.delivery.destination.is_many()
                && !slot.single
                && slot.transfer == nack.transfer
                && !slot.wants_part
        };
        let slot = self.slots.iter_mut().flatten().find(asked);
        slot.is_some_and(|slot| slot.nacked(now, nack.missing()))
    }

    /// So many more nodes have an own message to many: to whom it is, and how many have it now. `None` if it is not under way.
    pub(crate) fn tallied(&mut self, id: MessageId, count: u16) -> Option<(Address, u16)> {
        let asked = |slot: &&mut Slot| slot.delivery.id == id && slot.delivery.destination.is_many();
        let slot = self.slots.iter_mut().flatten().find(asked)?;
        slot.tallied = slot.tallied.saturating_add(count);
        Some((slot.delivery.destination, slot.tallied))
    }

    /// Which message this transfer to a node is of, and which segments that node is known to hold.
    pub(crate) fn held(&self, to: Address, transfer: TransferId) -> Option<(MessageId, u64)> {
        let slot = self
            .slots()
            .find(|slot| slot.delivery.destination == to && !slot.single && slot.transfer == transfer)?;
        Some((slot.delivery.id, slot.held))
    }

    /// A destination's verdict on a message, with the round-trip time where it shows it. `None` if nothing waits
    /// for it.
    pub(crate) fn decided(
        &mut self,
        now: Instant,
        from: Address,
        id: MessageId,
        verdict: Verdict,
    ) -> Option<(Progress, Option<Duration>)> {
        // A verdict of anyone else than the destination means nothing, whatever number it names.
        let asked = |slot: &Slot| slot.delivery.id == id && slot.delivery.destination == from;
        let slot = self.slots.iter_mut().find(|slot| slot.as_ref().is_some_and(asked))?;
        let found = slot.as_mut()?;
        let (progress, sample) = found.decided(now, verdict)?;
        if matches!(verdict, Verdict::Delivered | Verdict::Processed) && found.shows_service() {
            self.usual.took(found.total, found.began.until(now));
        }
        release_if_done(slot, progress);
        Some((progress, sample))
    }

    /// A node on the way has given up the frame with this SEQ: its message, which is sent again at once.
    pub(crate) fn undelivered(&mut self, now: Instant, seq: u32) -> Option<MessageId> {
        let of = |slot: &&mut Slot| slot.frames > 0 && (slot.first_seq..=slot.last_seq).contains(&seq);
        let slot = self.slots.iter_mut().flatten().find(of)?;
        slot.undelivered(now);
        Some(slot.delivery.id)
    }
}
