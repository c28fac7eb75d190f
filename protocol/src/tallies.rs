//! How many nodes have a message to many: counts that are summed up on the way back to its sender.
//!
//! Owns the sums that wait here. A node adds itself when it has the whole message, adds what those further away have counted, and
//! hands the sum to its next hop towards the sender once all further away have had their turn. What is lost is not counted, and nobody
//! is counted twice: the sum is a lower bound.
//!
//! Full: a further message is not counted here.

use heapless::Vec;

use crate::{Address, Duration, Instant, MessageId};

/// Messages counted at a time. A guess.
const TALLIES: usize = 4;
/// Nodes at so many hops from the sender and beyond hand on their sums first.
const FAR: u8 = 8;
/// Each hop nearer waits so much longer: a frame to a neighbour, twice, and room for those beside it.
const EACH_HOP: Duration = Duration::from_millis(80);
/// Of nodes at the same distance each takes a random part of this.
pub(crate) const TALLY_SPREAD: Duration = Duration::from_millis(60);
/// By then the sums are at the sender, if there are routes.
pub(crate) const TALLIED_AFTER: Duration = EACH_HOP.times(FAR as u64 + 4);

/// A sum that is to be handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Whose message.
    pub(crate) origin: Address,
    pub(crate) message: MessageId,
    pub(crate) count: u16,
    due: Instant,
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Tallies {
    waiting: Vec<Tally, TALLIES, u8>,
}

impl Tallies {
    pub(crate) const fn new() -> Self {
        Self { waiting: Vec::new() }
    }

    /// So many more nodes have a message of `origin`: this one, which is `hops` away from there, or `None` for others.
    pub(crate) fn add(
        &mut self,
        now: Instant,
        (origin, message): (Address, MessageId),
        count: u16,
        hops: Option<u8>,
        spread: Duration,
    ) {
        let known = |tally: &&mut Tally| tally.origin == origin && tally.message == message;
        if let Some(tally) = self.waiting.iter_mut().find(known) {
            tally.count = tally.count.saturating_add(count);
            return;
        }
        // Those further away have had their turn already when a sum of theirs comes.
        let turns = hops.map_or(1, |hops| FAR.saturating_sub(hops));
        let due = now + EACH_HOP.times(u64::from(turns)) + spread;
        let _ = self.waiting.push(Tally { origin, message, count, due });
    }

    /// Takes a sum that is to be handed on now.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Tally> {
        let at = self.waiting.iter().position(|tally| tally.due <= now)?;
        Some(self.waiting.swap_remove(at))
    }

    /// When [`due`](Self::due) has something.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.waiting.iter().map(|tally| tally.due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_further_away_is_first_and_sums_grow_until_they_are_due() {
        let mut tallies = Tallies::new();
        let of = |n| (Address::new(1), MessageId(n));
        let far = Instant::ZERO + EACH_HOP.times(3);
        tallies.add(Instant::ZERO, of(1), 1, Some(2), Duration::ZERO);
        tallies.add(Instant::ZERO, of(2), 1, Some(5), Duration::ZERO);
        tallies.add(far, of(1), 7, None, Duration::ZERO);
        assert_eq!(tallies.next_due(), Some(far));
        assert_eq!(tallies.due(far).map(|tally| (tally.message.0, tally.count)), Some((2, 1)));
        assert_eq!(tallies.due(far), None);
        let near = Instant::ZERO + EACH_HOP.times(6);
        assert_eq!(tallies.due(near).map(|tally| (tally.message.0, tally.count)), Some((1, 8)));
        assert_eq!(tallies.next_due(), None);
    }

    /// Each hop once waited as for those further away, whose sum it had: over five of them it came when nobody listened any more.
    #[test]
    fn a_sum_of_others_waits_for_one_turn_where_nothing_waits() {
        let mut tallies = Tallies::new();
        tallies.add(Instant::ZERO, (Address::new(1), MessageId(1)), 3, None, Duration::ZERO);
        assert_eq!(tallies.next_due(), Some(Instant::ZERO + EACH_HOP));
    }

    #[test]
    fn a_further_message_is_not_counted() {
        let mut tallies = Tallies::new();
        for n in 0..=TALLIES as u32 {
            tallies.add(Instant::ZERO, (Address::new(1), MessageId(n)), 1, Some(9), Duration::ZERO);
        }
        assert_eq!(core::iter::from_fn(|| tallies.due(Instant::ZERO)).count(), TALLIES);
    }
}
