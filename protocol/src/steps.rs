//! What became of an own message on its way, for whoever tells its story.
//!
//! Owns the words and the bound. Nothing in the node depends on it.
//!
//! Full: the oldest step gives way, as what matters of a story is how it goes on.

use heapless::Deque;

use crate::control::Why;
use crate::{Address, MessageId};

/// Steps that can wait between two drains: one drain gives each link a frame at the most.
const STEPS: usize = 8;

/// One thing that happened to an own message before its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// A frame of it left for all that hear it to pass on.
    Flooded,
    /// A frame of it left for this neighbour alone: the destination itself, or a next hop that is to pass it on.
    SentTo(Address),
    /// A frame of it that had left before was flooded, end to end: no answer had come.
    FloodedAgain,
    /// As [`SentTo`](Self::SentTo), of what had left before, end to end.
    SentAgain(Address),
    /// A next hop was not heard to pass a frame on, and was asked again, with the same frame.
    Repeated(Address),
    /// This neighbour has taken custody of a frame: it was heard to pass it on, or said so.
    Custody(Address),
    /// The first next hop did not take it: this one was asked instead.
    SecondHop(Address),
    /// No next hop took it: a route was looked for anew.
    Repair,
    /// So many other nodes are known to have it, a message to many, by now.
    Reached {
        /// Those that said so; more may have it.
        at_least: u16,
        /// How many nodes this one knows, if it was for everyone; otherwise 0.
        known: u16,
    },
    /// This node on the way gave a frame up, and why.
    Undelivered {
        /// Which node says so.
        at: Address,
        /// How many hops from this one it is.
        hops: u8,
        /// Why.
        why: Why,
    },
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Steps {
    waiting: Deque<(MessageId, Step), STEPS>,
}

impl Steps {
    pub(crate) const fn new() -> Self {
        Self { waiting: Deque::new() }
    }

    pub(crate) fn push(&mut self, id: MessageId, step: Step) {
        if self.waiting.is_full() {
            let _ = self.waiting.pop_front();
        }
        // There is room: it was made.
        let _ = self.waiting.push_back((id, step));
    }

    pub(crate) fn pop(&mut self) -> Option<(MessageId, Step)> {
        self.waiting.pop_front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_record_lets_the_oldest_step_go() {
        let mut steps = Steps::new();
        for n in 0..STEPS as u32 + 2 {
            steps.push(MessageId(n), Step::Flooded);
        }
        let left: Vec<u32> = core::iter::from_fn(|| steps.pop()).map(|(id, _)| id.0).collect();
        assert_eq!(left, (2..STEPS as u32 + 2).collect::<Vec<_>>());
        assert!(steps.is_empty());
    }
}
