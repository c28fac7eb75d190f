//! Who sent the last messages of this gateway's agents, and to whom. An answer is taken only from the receiver of the message that it
//! answers, and only for its sender.
//!
//! Full: the oldest is forgotten. Of what is not known here, any answer is taken; clients look themselves.

use std::collections::VecDeque;

use mesh_agent::api::{Destination, Name};
use mesh_protocol::MessageId;

/// Messages remembered, in memory alone. A guess: those of minutes, and 100 KiB.
const MESSAGES: usize = 1_024;

#[derive(Clone, Copy, Debug)]
struct Sent {
    id: MessageId,
    from: Name,
    to: Destination,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Recent(VecDeque<Sent>);

impl Recent {
    /// A message was accepted; their numbers only grow.
    pub(super) fn remember(&mut self, id: MessageId, from: Name, to: Destination) {
        if self.0.len() == MESSAGES {
            self.0.pop_front();
        }
        self.0.push_back(Sent { id, from, to });
    }

    /// Who sent it, and to whom.
    pub(super) fn find(&self, id: MessageId) -> Option<(Name, Destination)> {
        let at = self.0.binary_search_by_key(&id, |sent| sent.id).ok()?;
        self.0.get(at).map(|sent| (sent.from, sent.to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_messages_are_known_by_their_numbers() {
        let mut recent = Recent::default();
        let alice = Name::new("alice").unwrap();
        let last = 3 * MESSAGES as u32;
        // Numbers are left out where a store has lost something.
        for id in (0..=last).step_by(3) {
            recent.remember(MessageId(id), alice, Destination::Everyone);
        }
        let known = (0..=last).filter(|id| recent.find(MessageId(*id)).is_some());
        assert!(known.eq((3..=last).step_by(3)), "the first one has gone, and what lies between never was");
    }
}
