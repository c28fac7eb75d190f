//! What comes back of messages to many: nacks, and sums of the nodes that have them.

use super::Node;
use crate::control::Control;
use crate::feedback::{Feedback, Tallied};
use crate::steps::Step;
use crate::tallies::TALLY_SPREAD;
use crate::{Address, Discard, Instant, MessageId, Priority};

every_size!(
    /// What comes back of messages to many.
    impl Node {
        pub(super) fn take_feedback(&mut self, now: Instant, feedback: Feedback) -> Result<(), Discard> {
            match feedback {
                Feedback::Nack(nack) => {
                    self.outbox.nacked(now, &nack).then_some(()).ok_or(Discard::Unexpected)
                }
                Feedback::Tally(Tallied { origin, message, count }) if origin == self.address => {
                    let (destination, at_least) =
                        self.outbox.tallied(message, count).ok_or(Discard::Unexpected)?;
                    let known = if destination == Address::EVERYONE { self.replay.len() as u16 } else { 0 };
                    self.steps.push(message, Step::Reached { at_least, known });
                    Ok(())
                }
                Feedback::Tally(Tallied { origin, message, count }) => {
                    let spread = self.rng.jitter(TALLY_SPREAD);
                    self.tallies.add(now, (origin, message), count, None, spread);
                    Ok(())
                }
            }
        }

        /// The application has all of a message to many, and did not refuse it.
        pub(super) fn has_taken(&mut self, now: Instant, source: Address, id: MessageId) {
            let hops = self.paths.iter().find(|path| path.destination == source).map_or(1, |path| path.hops);
            let spread = self.rng.jitter(TALLY_SPREAD);
            self.tallies.add(now, (source, id), 1, Some(hops), spread);
        }

        /// Hands on the sums that are due: to the next hop, or to their origin where that is a neighbour. Without a route
        /// they are lost.
        pub(super) fn hand_on_tallies(&mut self, now: Instant) {
            while let Some(tally) = self.tallies.due(now) {
                let to = self.next_hop(now, tally.origin).or_else(|| {
                    let there = |known: &crate::Neighbour| known.address == tally.origin;
                    self.neighbours.iter().any(there).then_some(tally.origin)
                });
                if let Some(to) = to {
                    let tallied =
                        Tallied { origin: tally.origin, message: tally.message, count: tally.count };
                    let control = Control::Feedback(Feedback::Tally(tallied));
                    self.control(to, Priority::Medium, control, false);
                }
            }
        }
    }
);
