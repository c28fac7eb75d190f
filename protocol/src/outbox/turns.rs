//! Which transfers may run at a time.
//!
//! A receiver keeps at most two sets of one source (`reassembly`). A third transfer to it would only be refused, segment by
//! segment, and the air it takes would be lost.

use super::Outbox;
use super::slot::Slot;
use crate::Address;

impl<const N: usize> Outbox<N> {
    /// Whether this transfer may run now: no receiver keeps more than two of one source. What has nothing to send but
    /// probes holds no place, and a message to many needs one at each receiver that another transfer goes to.
    pub(super) fn may_run(&self, slot: &Slot) -> bool {
        // A single frame needs no set at its receiver.
        if slot.single || slot.is_idle() {
            return true;
        }
        let to = slot.delivery.destination;
        if to.is_many() {
            self.slots().all(|other| self.one_of_two(slot, other.delivery.destination))
        } else {
            self.one_of_two(slot, to)
        }
    }

    /// Whether it is one of the two that run to this receiver: the most urgent one, and of the others the one that has
    /// begun, or else is the oldest; so that no flood of urgent ones stops the others for ever.
    fn one_of_two(&self, slot: &Slot, receiver: Address) -> bool {
        let rivals = || {
            self.slots().filter(|other| {
                let to = other.delivery.destination;
                !other.single && !other.is_idle() && (to == receiver || to.is_many())
            })
        };
        let first = rivals().min_by_key(|other| (other.delivery.priority, !other.has_begun(), other.born));
        let first = first.map(|first| first.born);
        let others = rivals().filter(|other| Some(other.born) != first);
        let second = others.min_by_key(|other| (!other.has_begun(), other.born)).map(|second| second.born);
        [first, second].contains(&Some(slot.born))
    }
}
