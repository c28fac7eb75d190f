//! Own messages: their numbers, and when each may go to the node.
//!
//! Owns the queue of what waits, and the reservation of numbers. A number names one message for ever, over power cuts too: receivers know a
//! repeat by it, and answers name it. So numbers are reserved in flash before the first of them is used, in blocks, as SEQs are.

use mesh_protocol::{Address, Duration, Instant, MessageId, Priority};

use crate::tables::Queue;

/// Message numbers reserved at a time: as for SEQs on a small node (`docs/protocol.md`, "SEQ").
pub const MESSAGE_BLOCK: u32 = 1_024;

/// A message to send; `B` holds the bytes of its envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posting<B> {
    /// To which node.
    pub to: Address,
    /// How urgent.
    pub priority: Priority,
    /// How long anyone wants it, from when it is pushed on.
    pub within: Duration,
    /// The envelope's bytes.
    pub envelope: B,
}

/// A message that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting<B> {
    /// Its number.
    pub id: MessageId,
    /// When it is no longer wanted, by the node's clock: waiting takes of its time.
    pub deadline: Instant,
    /// The message.
    pub posting: Posting<B>,
}

/// There is no message number left, or flash says so: under its address this node sends nothing more of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumbersUsedUp;

impl core::fmt::Display for NumbersUsedUp {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("all message numbers are used: give the node a new address")
    }
}

impl core::error::Error for NumbersUsedUp {}

/// Own messages that wait for room in the node, and the numbers of those to come. `Q` is a queue of [`Waiting`] messages.
#[derive(Clone, Debug)]
pub struct Postings<Q> {
    next: u32,
    /// Numbers below this are in flash, or on their way there.
    asked: u32,
    waiting: Q,
}

impl<Q> Postings<Q> {
    /// None yet, and none reserved; `waiting` is empty.
    pub const fn new(waiting: Q) -> Self {
        // 0 is no number.
        Self { next: 1, asked: 0, waiting }
    }

    /// At a start: goes on behind all numbers below `reserved`, and behind the last message of an earlier life that is still to be sent.
    pub fn start(&mut self, reserved: u32, last: Option<MessageId>) {
        self.next = reserved.max(last.map_or(0, |id| id.0.saturating_add(1))).max(1);
        self.asked = reserved;
    }

    /// The number of the next message.
    ///
    /// # Errors
    /// All are used. The highest of all is never given: no reservation can be above it.
    pub const fn number(&mut self) -> Result<MessageId, NumbersUsedUp> {
        let id = MessageId(self.next);
        match self.next.checked_add(1) {
            Some(next) => self.next = next,
            None => return Err(NumbersUsedUp),
        }
        Ok(id)
    }

    /// Up to where numbers are to be reserved, when half of the last block is used: until it is [asked](Self::asked) for.
    #[must_use]
    pub const fn reservation(&self) -> Option<u32> {
        // Ahead of need: a write takes time, and a node that waits for it sends nothing meanwhile.
        if self.next.saturating_add(MESSAGE_BLOCK / 2) <= self.asked {
            return None;
        }
        Some(self.next.saturating_add(MESSAGE_BLOCK))
    }

    /// The [reservation](Self::reservation) up to here is in flash, or on its way there. If it does not arrive, this is said again, with what
    /// flash has: then it is wanted once more.
    pub const fn asked(&mut self, up_to: u32) {
        self.asked = up_to;
    }

    /// Puts a message with its number behind those that wait; its time runs from `now` on. `false` when there is no room.
    pub fn push<B>(&mut self, now: Instant, id: MessageId, posting: Posting<B>) -> bool
    where
        Q: Queue<Waiting<B>>,
    {
        self.waiting.push(Waiting { id, deadline: now + posting.within, posting })
    }

    /// What waits.
    pub const fn queue(&self) -> &Q {
        &self.waiting
    }

    /// The same, to take out what has become too old.
    pub const fn queue_mut(&mut self) -> &mut Q {
        &mut self.waiting
    }

    /// How many wait.
    pub fn waiting<B>(&self) -> usize
    where
        Q: Queue<Waiting<B>>,
    {
        self.waiting.len()
    }

    /// Whether one waits that may go: flash says that numbers below `reserved` may be used.
    pub fn is_ready<B>(&self, reserved: u32) -> bool
    where
        Q: Queue<Waiting<B>>,
    {
        self.waiting.front().is_some_and(|waiting| waiting.id.0 < reserved)
    }

    /// Takes that one, which the node must have room for. One whose deadline is over the node expires at once.
    pub fn pop_ready<B>(&mut self, reserved: u32) -> Option<Waiting<B>>
    where
        Q: Queue<Waiting<B>>,
    {
        if self.is_ready(reserved) { self.waiting.pop() } else { None }
    }

    /// Nothing waits any more, as after a power cut.
    pub fn clear<B>(&mut self)
    where
        Q: Queue<Waiting<B>>,
    {
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use heapless::Deque;

    use super::*;

    type Room = Deque<Waiting<[u8; 2]>, 3>;

    const NOW: Instant = Instant::from_micros(7_000_000);

    fn posting(to: u16) -> Posting<[u8; 2]> {
        let (to, priority) = (Address::new(to), Priority::High);
        Posting { to, priority, within: Duration::from_secs(1), envelope: [1, 2] }
    }

    #[test]
    fn no_message_goes_before_its_number_is_reserved() {
        let mut postings = Postings::new(Room::new());
        let id = postings.number().unwrap();
        assert!(postings.push(NOW, id, posting(9)));
        assert_eq!(postings.reservation(), Some(2 + MESSAGE_BLOCK));
        postings.asked(2 + MESSAGE_BLOCK);
        assert_eq!(postings.reservation(), None, "asked once");
        assert_eq!(postings.pop_ready(0), None, "flash has not said so yet");
        assert!(!postings.is_ready(1) && postings.is_ready(2));
        let deadline = NOW + Duration::from_secs(1);
        let waiting = Waiting { id: MessageId(1), deadline, posting: posting(9) };
        assert_eq!(postings.pop_ready(2 + MESSAGE_BLOCK), Some(waiting), "its time ran while it waited");
    }

    #[test]
    fn a_block_is_asked_for_when_half_of_the_last_one_is_used() {
        let mut postings = Postings::new(Room::new());
        let first = postings.reservation().unwrap();
        postings.asked(first);
        let mut ids = 0;
        let second = loop {
            postings.number().unwrap();
            ids += 1;
            if let Some(up_to) = postings.reservation() {
                break up_to;
            }
        };
        assert_eq!(ids, MESSAGE_BLOCK / 2 + 1);
        assert!(second > first && first > ids);
    }

    #[test]
    fn a_reservation_whose_write_failed_is_wanted_again() {
        let mut postings = Postings::new(Room::new());
        let up_to = postings.reservation();
        assert_eq!(up_to, Some(1 + MESSAGE_BLOCK));
        assert_eq!(postings.reservation(), up_to, "the write failed at once, and nothing was said");
        postings.asked(1 + MESSAGE_BLOCK);
        assert_eq!(postings.reservation(), None);
        // The write that was under way failed: flash still has none.
        postings.asked(0);
        assert_eq!(postings.reservation(), up_to);
    }

    #[test]
    fn the_last_numbers_are_refused_by_name_and_nothing_wraps() {
        for (reserved, last) in [(u32::MAX - 1, None), (7, Some(MessageId(u32::MAX - 2)))] {
            let mut postings = Postings::new(Room::new());
            postings.start(reserved, last);
            let id = postings.number().unwrap();
            assert_eq!(id, MessageId(u32::MAX - 1));
            assert_eq!(postings.reservation(), Some(u32::MAX));
            postings.asked(u32::MAX);
            assert_eq!(postings.reservation(), None, "there is no more to be had");
            assert!(postings.push(NOW, id, posting(9)) && postings.is_ready(u32::MAX));
            assert_eq!([postings.number(), postings.number()], [Err(NumbersUsedUp); 2]);
        }
        let mut postings = Postings::new(Room::new());
        postings.start(u32::MAX, Some(MessageId(u32::MAX)));
        assert_eq!((postings.number(), postings.reservation()), (Err(NumbersUsedUp), None));
    }

    #[test]
    fn after_a_start_numbers_go_on_where_none_was_reserved_or_sent() {
        for (reserved, last, next) in [(0, None, 1), (500, None, 500), (500, Some(MessageId(700)), 701)] {
            let mut postings = Postings::new(Room::new());
            postings.start(reserved, last);
            assert_eq!(postings.number(), Ok(MessageId(next)));
        }
    }

    #[test]
    fn a_full_queue_takes_no_more() {
        let mut postings = Postings::new(Room::new());
        let taken = (0..5).filter(|n| postings.push(NOW, MessageId(n + 1), posting(9))).count();
        assert_eq!((taken, postings.waiting()), (3, 3));
        postings.clear();
        assert_eq!(postings.waiting(), 0);
    }
}
