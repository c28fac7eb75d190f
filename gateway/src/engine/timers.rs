//! What the clock asks of the engine's state.

use mesh_agent::api::Outcome;
use mesh_protocol::{Instant, MessageId};

use super::completion::Completion;
use super::state::EngineState;

impl EngineState {
    pub(super) fn timeout(&mut self) {
        while let Some(overdue) = self.outgoing.overdue(self.now) {
            self.complete(
                overdue.id,
                Completion::new(Outcome::Expired).because(overdue.why).waiting_for(overdue.waited_for),
            );
            if let Some(name) = overdue.name
                && !self.outgoing.waits_for(name)
            {
                self.directory.drop_question(name);
            }
        }
        for (name, priority) in self.directory.due(self.now) {
            self.commands.find(name, priority);
        }
        self.probes_over();
        self.keepers.timeout(self.now);
        for _ in 0..self.incoming.expire(self.now) {
            self.counts.count("assemblies_given_up");
        }
    }

    /// These messages were sent again and again without an answer: the agents they are for may be on other nodes by now.
    pub(super) fn doubt(&mut self, unanswered: impl Iterator<Item = MessageId>) {
        let silent = unanswered.filter_map(|id| self.outgoing.named_receiver(id)).collect();
        for (name, priority) in self.directory.doubt(self.now, &silent) {
            self.commands.find(name, priority);
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let timers = [
            self.outgoing.next_deadline(),
            self.directory.next_timeout(),
            self.incoming.next_timeout(),
            self.probes.next_timeout(),
            self.keepers.next_timeout(),
            self.outgoing.resting.next(),
        ];
        timers.into_iter().flatten().min()
    }
}
