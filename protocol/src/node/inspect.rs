//! What can be seen of a node from outside: its tables and counters, without changing anything.

use super::{Capacity, Node};
use crate::contest::Conflict;
use crate::neighbours::Neighbours;
use crate::replay::ReplayMarks;
use crate::{Address, Instant, MessageId, Path, Routes, Stats};

every_size!(
    /// Looking in.
    impl Node {
        /// This node's address.
        #[must_use]
        pub const fn address(&self) -> Address {
            self.address
        }

        /// The epoch this node sends under.
        #[must_use]
        pub const fn epoch(&self) -> u32 {
            self.keys.current().epoch()
        }

        /// The counters.
        #[must_use]
        pub const fn stats(&self) -> &Stats {
            &self.stats
        }

        /// Who is or was in range.
        pub fn neighbours(&self) -> Neighbours<'_> {
            self.neighbours.iter()
        }

        /// How many neighbours were heard lately enough to count as there.
        #[must_use]
        pub fn neighbours_alive(&self, now: Instant) -> usize {
            self.neighbours.alive(now)
        }

        /// What is known of the path to other nodes: hops and round-trip time.
        pub fn paths(&self) -> core::slice::Iter<'_, Path> {
            self.paths.iter()
        }

        /// Which neighbour is asked to pass on what goes to other nodes.
        pub fn routes(&self, now: Instant) -> Routes<'_> {
            self.routes.iter(now)
        }

        /// The highest SEQ taken from each source: to be kept over a restart.
        pub fn replay_marks(&self) -> ReplayMarks<'_> {
            self.replay.marks()
        }

        /// Sources known, and how many can be.
        #[must_use]
        pub fn replay_use(&self) -> (usize, usize) {
            (self.replay.len(), SOURCES)
        }

        /// The next SEQ this node will use.
        #[must_use]
        pub const fn next_seq(&self) -> u32 {
            self.seq.next()
        }

        /// What is known of another node under this node's address, if one was heard lately.
        #[must_use]
        pub fn conflict(&self, now: Instant) -> Option<Conflict> {
            self.contest.known(now)
        }

        /// Whether this node may send frames of its own now: it has SEQs, and is not silent for another one under its address.
        #[must_use]
        pub fn can_seal(&self) -> bool {
            self.contest.silent_until().is_none() && self.seq.ready().is_ok()
        }

        /// Nodes of which frames were refused as replays, or as too far ahead, since the last one that was taken, and how many.
        pub fn refusals(&self) -> impl Iterator<Item = (Address, u16)> + '_ {
            self.replay.refusals()
        }

        /// Frames that were on the air in a second, and how many a second this node may add below CRITICAL; `None`: any number.
        #[must_use]
        pub fn load(&self, now: Instant) -> (u32, Option<u32>) {
            self.budget.load(now)
        }

        /// Own messages on their way, and frames waiting for the air.
        #[must_use]
        pub fn depth(&self) -> (usize, usize) {
            (self.outbox.len(), self.queue.len())
        }

        /// Whether own frames below CRITICAL wait, to some node at least, until neighbours have taken those before.
        #[must_use]
        pub fn waits_for_hops(&self) -> bool {
            self.queue.holds_back()
        }

        /// How many entries its tables have.
        #[must_use]
        pub const fn capacity(&self) -> Capacity {
            Capacity {
                sources: SOURCES,
                peers: PEERS,
                outbox: OUTBOX,
                queue: QUEUE,
                groups: GROUPS,
                routes: ROUTES,
            }
        }

        /// Whether [`send`](Self::send) has room for a message.
        #[must_use]
        pub fn has_room(&self) -> bool {
            self.outbox.has_room()
        }

        /// Own messages that were sent to one node again and again without any answer, so that others may go before them.
        pub fn unanswered(&self) -> impl Iterator<Item = MessageId> + '_ {
            self.outbox.unanswered()
        }

        /// How far transfer numbers are ahead of those that a start at this [`next_seq`](Self::next_seq) begins with: to be kept
        /// over a restart.
        #[must_use]
        pub const fn transfers_ahead(&self) -> u16 {
            self.outbox.next_transfer().bits().wrapping_sub((self.seq.next() >> 1) as u16)
        }
    }
);
