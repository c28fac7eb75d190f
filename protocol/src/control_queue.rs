//! This node's own control messages that wait for the radio: acks, receipts, hellos, names.
//!
//! Owns which of them say the same, so that the newer takes the older one's place, and the bound. Seals nothing: a
//! message gets its SEQ when it leaves, so that one that is replaced before costs none.
//!
//! Full: the newest of the least urgent gives way, or the newcomer if it is no more urgent, as if the air had lost it.

use heapless::Deque;

use crate::control::Control;
use crate::feedback::Feedback;
use crate::{Address, Priority};

/// Own control messages that can wait for the radio.
const CONTROLS: usize = 16;

/// An own control message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OwnControl {
    pub(crate) destination: Address,
    pub(crate) priority: Priority,
    pub(crate) control: Control,
    /// Whether the one before it seems to have been lost.
    pub(crate) again: bool,
}

impl OwnControl {
    /// Whether the two say the same to the same node. An ack or a receipt says what is true now of its transfer or
    /// message: the newer one makes the older one wrong, not only superfluous.
    fn replaces(&self, known: &Self) -> bool {
        known.destination == self.destination
            && match (&known.control, &self.control) {
                (Control::Ack(known), Control::Ack(new)) => known.transfer == new.transfer,
                (Control::Receipt { message: known, .. }, Control::Receipt { message: new, .. }) => {
                    known == new
                }
                (Control::Feedback(Feedback::Nack(known)), Control::Feedback(Feedback::Nack(new))) => {
                    known.transfer == new.transfer
                }
                (Control::Hello { .. }, Control::Hello { .. }) => true,
                // One names eight before it, so the newer says what the older does.
                (Control::HopAck(known), Control::HopAck(new)) => {
                    known.src == new.src && new.seq >= known.seq && new.seq - known.seq <= 8
                }
                (Control::Undelivered { .. }, Control::Undelivered { .. }) => true,
                // Two that say the same count different nodes.
                (Control::Feedback(_), Control::Feedback(_)) => false,
                (known, new) => known == new,
            }
    }
}

/// What became of a message that was to be queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It waits.
    Waits,
    /// It waits, and another gave way.
    Evicted,
    /// All that wait are as urgent: it is dropped.
    Refused,
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct ControlQueue {
    waiting: Deque<OwnControl, CONTROLS>,
}

impl ControlQueue {
    pub(crate) const fn new() -> Self {
        Self { waiting: Deque::new() }
    }

    /// Queues a message, in the place of one that says the same if there is one.
    pub(crate) fn push(&mut self, own: OwnControl) -> Pushed {
        if let Some(known) = self.waiting.iter_mut().find(|known| own.replaces(known)) {
            // It keeps the place in the queue: what is renewed again and again must not fall behind for ever.
            *known = own;
            return Pushed::Waits;
        }
        let mut pushed = Pushed::Waits;
        if self.waiting.is_full() {
            let last = self.waiting.iter().enumerate().max_by_key(|(at, own)| (own.priority, *at));
            let Some(at) = last.filter(|(_, last)| last.priority > own.priority).map(|(at, _)| at) else {
                return Pushed::Refused;
            };
            self.remove(at);
            pushed = Pushed::Evicted;
        }
        // There is room: it was made.
        let _ = self.waiting.push_back(own);
        pushed
    }

    /// The place of the first that fits.
    pub(crate) fn position(&self, fits: impl FnMut(&OwnControl) -> bool) -> Option<usize> {
        self.waiting.iter().position(fits)
    }

    pub(crate) fn get(&self, at: usize) -> Option<&OwnControl> {
        self.waiting.iter().nth(at)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &OwnControl> + '_ {
        self.waiting.iter()
    }

    /// Takes out the one at this place; the order of the others stays.
    pub(crate) fn remove(&mut self, at: usize) {
        for index in 0..self.waiting.len() {
            if let Some(own) = self.waiting.pop_front()
                && index != at
            {
                // As many go back as were taken out.
                let _ = self.waiting.push_back(own);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Ack, NameHash, Verdict};
    use crate::{MessageId, TransferId};

    fn to(node: u16, priority: Priority, control: Control) -> OwnControl {
        OwnControl { destination: Address::new(node), priority, control, again: false }
    }

    fn receipt(message: u32, verdict: Verdict) -> Control {
        Control::Receipt { message: MessageId(message), verdict }
    }

    #[test]
    fn what_says_the_same_takes_the_place_of_what_waits() {
        let mut queue = ControlQueue::new();
        let ack = |have| Control::Ack(Ack::of(TransferId::new(7), have, 9));
        for control in [ack(1), receipt(1, Verdict::Delivered)] {
            assert_eq!(queue.push(to(2, Priority::High, control)), Pushed::Waits);
        }
        assert_eq!(queue.push(to(2, Priority::Low, ack(3))), Pushed::Waits);
        assert_eq!(queue.push(to(3, Priority::High, ack(3))), Pushed::Waits, "to another node");
        let waiting: Vec<_> = queue.iter().map(|own| (own.destination.bits(), own.control)).collect();
        assert_eq!(waiting, [(2, ack(3)), (2, receipt(1, Verdict::Delivered)), (3, ack(3))]);
        assert_eq!(queue.get(0).unwrap().priority, Priority::Low, "the newer one counts");
    }

    #[test]
    fn a_full_queue_lets_the_newest_of_the_least_urgent_go() {
        let mut queue = ControlQueue::new();
        for n in 0..CONTROLS as u32 {
            let priority = if n % 2 == 0 { Priority::High } else { Priority::Medium };
            queue.push(to(2, priority, receipt(n, Verdict::Delivered)));
        }
        let hash = Control::WhoHas(NameHash::of("lamp"));
        assert_eq!(queue.push(to(2, Priority::Medium, hash)), Pushed::Refused, "nothing is less urgent");
        assert_eq!(queue.push(to(2, Priority::High, hash)), Pushed::Evicted);
        let gone = CONTROLS as u32 - 1;
        assert_eq!(queue.position(|own| own.control == receipt(gone, Verdict::Delivered)), None);
        assert_eq!(
            queue.position(|own| own.control == hash),
            Some(CONTROLS - 1),
            "the others keep their order"
        );
    }
}
