//! Messages that wait for room in the node, and how many may be in it: which one is next.
//!
//! Owns the order: higher classes first, and what was deferred behind all others. Within a class lanes take turns.

use std::collections::BTreeMap;

use mesh_protocol::{Address, MessageId, PerClass, Priority};

use super::lanes::{Lane, Lanes};

/// Messages of each priority in the node at a time: the node has 16 places, and the lower classes leave some of
/// them to the higher ones, so that a CRITICAL message never waits for a LOW one to be answered.
const IN_FLIGHT: PerClass<usize> = PerClass::new([16, 14, 12, 10]);
/// Of these, to one destination: one that sleeps does not take the places of all others. The node sends two long ones
/// to one receiver at a time; four keep it busy with short ones.
const IN_FLIGHT_TO_ONE: usize = 4;
/// Of all in the node, those that were deferred: enough to notice that a receiver is back, and little air. A guess.
const IN_FLIGHT_DEFERRED: usize = 2;

/// Where one message waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) priority: Priority,
    /// Its receiver has long been silent: it goes behind all others, whatever its priority.
    pub(super) deferred: bool,
    pub(super) lane: Lane,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Queues {
    classes: PerClass<Lanes>,
    deferred: Lanes,
    /// How many are in the node, for each destination. None is zero.
    in_flight: BTreeMap<Address, usize>,
}

impl Queues {
    pub(super) fn push(&mut self, slot: Slot, id: MessageId) {
        self.lanes(slot).push(slot.lane, id);
    }

    /// Puts a message back where it was taken from.
    pub(super) fn push_first(&mut self, slot: Slot, id: MessageId) {
        self.lanes(slot).push_first(slot.lane, id);
    }

    /// Takes out a message that waits no more.
    pub(super) fn forget(&mut self, slot: Slot, id: MessageId) {
        self.lanes(slot).forget(slot.lane, id);
    }

    /// The next message that the node may have; it is in flight until it is [released](Self::release).
    pub(super) fn pop(&mut self) -> Option<(MessageId, Address)> {
        let all: usize = self.in_flight.values().sum();
        let may_send = |to: Address| self.in_flight.get(&to).is_none_or(|count| *count < IN_FLIGHT_TO_ONE);
        let classes = self.classes.iter_mut().map(|(class, lanes)| (IN_FLIGHT[class], lanes));
        for (bound, lanes) in classes.chain([(IN_FLIGHT_DEFERRED, &mut self.deferred)]) {
            // The bounds only get lower: with no room for this class there is none for those behind it.
            if all >= bound {
                return None;
            }
            if let Some(((_, destination), id)) = lanes.pop(may_send) {
                *self.in_flight.entry(destination).or_default() += 1;
                return Some((id, destination));
            }
        }
        None
    }

    /// One message to this destination is in flight no more.
    pub(super) fn release(&mut self, destination: Address) {
        if let Some(count) = self.in_flight.get_mut(&destination) {
            *count -= 1;
            if *count == 0 {
                self.in_flight.remove(&destination);
            }
        }
    }

    /// Takes out all that was deferred for a destination.
    pub(super) fn take_deferred(&mut self, destination: Address) -> Vec<MessageId> {
        self.deferred.take(destination)
    }

    /// Whether something waits for a place in the node that those in flight may have.
    pub(super) fn is_crowded(&self) -> bool {
        self.classes.iter().map(|(_, lanes)| lanes).chain([&self.deferred]).any(|lanes| !lanes.is_empty())
    }

    fn lanes(&mut self, slot: Slot) -> &mut Lanes {
        if slot.deferred { &mut self.deferred } else { &mut self.classes[slot.priority] }
    }
}
