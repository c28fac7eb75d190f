//! Messages that came: which are known, which wait for flash, and which receipts are still to be sent.
//!
//! Owns the order of things: a message is delivered, and its receipt sent, only when flash has the replay mark of its source. Before that, a
//! power cut would let frames that are on their way in again, and the agent would have the message twice.

use heapless::Deque;
use mesh_protocol::{Address, MessageId, Priority, Reason, ReplayMark, Verdict};

use crate::flash_log::{Kept, Marks};
use crate::tables::{MessageName, MessageSet, Queue};

/// Messages that may wait for flash to have the mark of their source; more are refused. A guess.
pub const HELD: usize = 8;

/// A receipt that says *delivered*: to whom, of which message, how urgent.
pub type Receipt = (Address, MessageId, Priority);

/// What a message that comes is to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Something new.
    New,
    /// The same as before, and it waits for flash still: nothing is to be said of it yet.
    Waits,
    /// Its source is to hear this.
    Verdict(Verdict),
}

/// A message that waits for flash; `D` is what its agent is to have.
#[derive(Clone, Debug)]
pub struct Held<D> {
    /// Its source, and its number there.
    pub name: MessageName,
    /// How urgent.
    pub priority: Priority,
    /// What flash must have first.
    pub mark: ReplayMark,
    /// Who waits for a receipt, if anyone does, and of which message of its: its source, or who has kept it for this node.
    pub receipt: Option<MessageName>,
    /// What its agent is to have.
    pub message: D,
}

/// Messages that came. `S` is a table of names, `R` a queue of receipts.
#[derive(Clone, Debug)]
pub struct Intake<D, S, R> {
    /// Delivered, by which a repeat is recognised.
    known: S,
    /// On their way to flash themselves.
    pending: S,
    /// Waiting for the marks of their sources; and whether that was renewed.
    held: Deque<(Held<D>, bool), HELD>,
    receipts: R,
}

impl<D, S: MessageSet, R: Queue<Receipt>> Intake<D, S, R> {
    /// Nothing has come; all of these are empty. While `pending` is full nothing new is taken: one that gave way there would be delivered twice.
    pub const fn new(known: S, pending: S, receipts: R) -> Self {
        Self { known, pending, held: Deque::new(), receipts }
    }

    /// What a message of this name is.
    pub fn arrival(&self, name: MessageName) -> Arrival {
        if self.known.contains(name) {
            // Its receipt was lost: it hears it again.
            Arrival::Verdict(Verdict::Delivered)
        } else if self.pending.contains(name) || self.held.iter().any(|(held, _)| held.name == name) {
            Arrival::Waits
        } else if self.held.is_full() || self.pending.is_full() {
            Arrival::Verdict(Verdict::Rejected(Reason::InboxFull))
        } else {
            Arrival::New
        }
    }

    /// A new message goes to flash itself: until [`delivered`](Self::delivered) it is neither new nor delivered. `false`, and it must not go
    /// there, when there is no room, which [`arrival`](Self::arrival) has said before.
    pub fn expect(&mut self, name: MessageName) -> bool {
        let taken = !self.pending.is_full();
        if taken {
            self.pending.insert(name);
        }
        taken
    }

    /// A new message waits for the mark of its source. `false` when there is no room, which [`arrival`](Self::arrival) has said before.
    pub fn hold(&mut self, held: Held<D>) -> bool {
        self.held.push_back((held, false)).is_ok()
    }

    /// While a message waited, its source may have sent it again, under SEQs above its mark: who recorded those could bring it back after a
    /// power cut. The mark as it is now, `newest`, is to be written as well before it is delivered; once, as flash may be slower than
    /// its source. To be called before [`pop_safe`](Self::pop_safe).
    pub fn renew<M: Marks>(
        &mut self,
        kept: &Kept<M>,
        newest: impl FnOnce(Address) -> Option<ReplayMark>,
    ) -> Option<ReplayMark> {
        let (held, renewed) = self.held.front_mut()?;
        if *renewed || !kept.has(held.mark) {
            return None;
        }
        held.mark = newest(held.mark.src).filter(|mark| !kept.has(*mark))?;
        *renewed = true;
        Some(held.mark)
    }

    /// A message that waited, and that flash now has the mark of: it is delivered. First in, first out.
    pub fn pop_safe<M: Marks>(&mut self, kept: &Kept<M>) -> Option<Held<D>> {
        if !self.held.front().is_some_and(|(held, _)| kept.has(held.mark)) {
            return None;
        }
        let (held, _) = self.held.pop_front()?;
        self.delivered(held.name);
        Some(held)
    }

    /// A message is delivered: from now on a repeat is known.
    pub fn delivered(&mut self, name: MessageName) {
        self.pending.remove(name);
        self.known.insert(name);
    }

    /// A receipt is to be sent. One that there is no room for is left out: its source asks again, by sending the message again.
    pub fn owe_receipt(&mut self, receipt: Receipt) {
        self.receipts.push(receipt);
    }

    /// Gives each receipt that is to be sent to `report`, in order; those that it does not take are kept.
    pub fn report(&mut self, mut report: impl FnMut(Receipt) -> bool) {
        for _ in 0..self.receipts.len() {
            if let Some(receipt) = self.receipts.pop()
                && !report(receipt)
            {
                self.receipts.push(receipt);
            }
        }
    }

    /// A power cut: RAM is gone. What is known from flash is said again by [`delivered`](Self::delivered).
    pub fn clear(&mut self) {
        self.known.clear();
        self.pending.clear();
        self.held.clear();
        self.receipts.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flash::tests::Ram;
    use crate::flash_log::{Change, FlashLog, MarkTable};
    use crate::tables::RecentMessages;

    type Known = RecentMessages<16>;

    const fn name(id: u32) -> MessageName {
        (Address::new(5), MessageId(id))
    }

    const fn held(id: u32) -> Held<u32> {
        let mark = ReplayMark { src: Address::new(5), epoch: 1, seq: 10 * id };
        Held { name: name(id), priority: Priority::High, mark, receipt: Some(name(id)), message: id }
    }

    fn intake() -> Intake<u32, Known, Deque<Receipt, 2>> {
        Intake::new(Known::new(), Known::new(), Deque::new())
    }

    #[test]
    fn what_came_again_meanwhile_is_shut_out_too_before_a_message_is_delivered() {
        let mut chip = Ram::new();
        let mut log = FlashLog::open(&mut chip, MarkTable::<4>::new()).unwrap();
        let mut intake = intake();
        assert!(intake.hold(held(1)));
        let newest = |seq| move |src| Some(ReplayMark { src, epoch: 1, seq });
        assert_eq!(intake.renew(log.kept(), newest(17)), None, "its own mark is not written yet");
        log.write(&mut chip, &[Change::Mark(held(1).mark)]).unwrap();
        let renewed = intake.renew(log.kept(), newest(17)).unwrap();
        assert_eq!(renewed.seq, 17);
        assert!(intake.pop_safe(log.kept()).is_none());
        log.write(&mut chip, &[Change::Mark(renewed)]).unwrap();
        assert_eq!(intake.renew(log.kept(), newest(99)), None, "once");
        assert_eq!(intake.pop_safe(log.kept()).map(|held| held.message), Some(1));
    }

    #[test]
    fn a_message_is_delivered_only_behind_its_mark_and_known_only_from_then_on() {
        let mut chip = Ram::new();
        let mut log = FlashLog::open(&mut chip, MarkTable::<4>::new()).unwrap();
        let mut intake = intake();
        for id in 1..=3 {
            assert_eq!(intake.arrival(name(id)), Arrival::New);
            assert!(intake.hold(held(id)));
        }
        assert!(intake.pop_safe(log.kept()).is_none());
        assert_eq!(intake.arrival(name(1)), Arrival::Waits);
        log.write(&mut chip, &[Change::Mark(held(2).mark)]).unwrap();
        assert_eq!(intake.pop_safe(log.kept()).map(|held| held.message), Some(1));
        assert_eq!(intake.pop_safe(log.kept()).map(|held| held.message), Some(2));
        assert!(intake.pop_safe(log.kept()).is_none(), "the third has a higher mark");
        assert_eq!(intake.arrival(name(2)), Arrival::Verdict(Verdict::Delivered));
        assert_eq!(intake.arrival(name(3)), Arrival::Waits);
    }

    #[test]
    fn while_as_many_wait_as_may_more_are_refused_and_repeats_still_known() {
        let mut intake = intake();
        intake.delivered(name(99));
        for id in 1..=HELD as u32 {
            assert!(intake.hold(held(id)));
        }
        let full = Arrival::Verdict(Verdict::Rejected(Reason::InboxFull));
        assert_eq!(intake.arrival(name(50)), full);
        assert!(!intake.hold(held(50)));
        assert_eq!(intake.arrival(name(50)), full, "it left nothing behind");
        assert_eq!(intake.arrival(name(1)), Arrival::Waits);
        assert_eq!(intake.arrival(name(99)), Arrival::Verdict(Verdict::Delivered));
        intake.clear();
        assert_eq!(intake.arrival(name(99)), Arrival::New);
    }

    #[test]
    fn a_message_that_waits_is_never_new_again_however_small_the_table_of_pending_ones_is() {
        type Few = RecentMessages<2>;
        let mut intake = Intake::<u32, Few, Deque<Receipt, 2>>::new(Few::new(), Few::new(), Deque::new());
        for id in 1..=HELD as u32 {
            assert_eq!(intake.arrival(name(id)), Arrival::New);
            assert!(intake.hold(held(id)));
        }
        assert!((1..=HELD as u32).all(|id| intake.arrival(name(id)) == Arrival::Waits));
        intake.clear();
        // Those that go to flash themselves: with a table that is full no more are taken.
        assert!(intake.expect(name(1)) && intake.expect(name(2)) && !intake.expect(name(3)));
        assert_eq!(intake.arrival(name(3)), Arrival::Verdict(Verdict::Rejected(Reason::InboxFull)));
        assert_eq!([1, 2].map(|id| intake.arrival(name(id))), [Arrival::Waits; 2]);
        intake.delivered(name(1));
        assert_eq!(intake.arrival(name(3)), Arrival::New);
    }

    #[test]
    fn receipts_that_the_node_has_no_room_for_are_kept_in_order_and_no_more_than_there_is_room_for() {
        let mut intake = intake();
        let receipt = |id| (Address::new(5), MessageId(id), Priority::High);
        (1..=3).for_each(|id| intake.owe_receipt(receipt(id)));
        intake.report(|(_, id, _)| id.0 == 1);
        let mut left = Vec::new();
        intake.report(|(_, id, _)| {
            left.push(id.0);
            true
        });
        assert_eq!(left, [2]);
        intake.report(|_| unreachable!("all are sent"));
    }
}
