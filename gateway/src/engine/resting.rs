//! Messages that are in nobody's queue: they wait until a node is heard, or for a while.
//!
//! Owns when each goes on. A message rests because its receiver was silent, or because another gateway keeps it. What is then done with it
//! is `outgoing`'s.

use std::collections::{BTreeMap, BTreeSet};

use mesh_protocol::{Address, Duration, Instant, MessageId};

#[derive(Clone, Copy, Debug)]
struct Rest {
    /// Who is to be heard.
    node: Address,
    since: Instant,
    until: Instant,
    heard: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Resting {
    of: BTreeMap<MessageId, Rest>,
    until: BTreeSet<(Instant, MessageId)>,
}

impl Resting {
    /// It rests from now on, until then at the latest.
    pub(super) fn rest(&mut self, now: Instant, id: MessageId, node: Address, until: Instant) {
        self.remove(id);
        self.of.insert(id, Rest { node, since: now, until, heard: false });
        self.until.insert((until, id));
    }

    pub(super) fn remove(&mut self, id: MessageId) {
        if let Some(rest) = self.of.remove(&id) {
            self.until.remove(&(rest.until, id));
        }
    }

    /// Who is listened for, and since when.
    pub(super) fn awaited(&self) -> BTreeMap<Address, Instant> {
        let mut awaited = BTreeMap::new();
        for rest in self.of.values().filter(|rest| !rest.heard) {
            let since = awaited.entry(rest.node).or_insert(rest.since);
            *since = rest.since.min(*since);
        }
        awaited
    }

    /// A node was heard then: what rests for it goes on `within` so long.
    pub(super) fn heard(&mut self, node: Address, at: Instant, within: impl Fn(MessageId) -> Duration) {
        for (id, rest) in &mut self.of {
            if rest.node == node && !rest.heard && at > rest.since {
                self.until.remove(&(rest.until, *id));
                rest.heard = true;
                rest.until = rest.until.min(at + within(*id));
                self.until.insert((rest.until, *id));
            }
        }
    }

    /// One whose time is over, and whether the node was heard.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(MessageId, bool)> {
        let &(until, id) = self.until.first()?;
        if until > now {
            return None;
        }
        let heard = self.of.get(&id).is_some_and(|rest| rest.heard);
        self.remove(id);
        Some((id, heard))
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.until.first().map(|(until, _)| *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: Address = Address::new(7);

    fn at(s: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(s)
    }

    #[test]
    fn it_rests_until_its_time_or_until_its_node_is_heard_after_it_began_to() {
        let mut resting = Resting::default();
        resting.rest(at(10), MessageId(1), NODE, at(60));
        resting.rest(at(20), MessageId(2), NODE, at(90));
        resting.rest(at(20), MessageId(3), Address::new(8), at(40));
        assert_eq!(resting.awaited(), [(NODE, at(10)), (Address::new(8), at(20))].into());
        let at_once = |_| Duration::ZERO;
        resting.heard(NODE, at(10), at_once);
        assert_eq!(resting.next(), Some(at(40)), "before it began");
        resting.heard(NODE, at(15), at_once);
        assert_eq!(resting.pop_due(at(15)), Some((MessageId(1), true)));
        assert_eq!(resting.pop_due(at(39)), None);
        assert_eq!(resting.pop_due(at(40)), Some((MessageId(3), false)));
        resting.heard(NODE, at(50), |_| Duration::from_secs(60));
        assert_eq!(resting.next(), Some(at(90)), "never later");
        assert!(resting.awaited().is_empty());
        assert_eq!(resting.pop_due(at(90)), Some((MessageId(2), true)));
        assert_eq!((resting.pop_due(at(99)), resting.next()), (None, None));
    }

    #[test]
    fn one_that_is_taken_out_is_gone() {
        let mut resting = Resting::default();
        resting.rest(at(0), MessageId(1), NODE, at(60));
        resting.rest(at(1), MessageId(1), NODE, at(70));
        resting.remove(MessageId(1));
        resting.remove(MessageId(1));
        assert_eq!((resting.next(), resting.awaited().len()), (None, 0));
    }
}
