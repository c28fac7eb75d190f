//! Which gateway is to keep what is for a node that does not answer: the last one on the way there that keeps messages for others.
//!
//! Owns the search, a trace of the way as far as it leads, and how often one is made. Full: no search begins.

use std::collections::BTreeMap;

use mesh_protocol::{Address, Duration, Instant, TracedHop};

/// How long the answers of those on the way are waited for.
const ANSWERS_WITHIN: Duration = Duration::from_secs(3);
/// Where there is nobody who keeps it, a search goes out again after so long. A guess: a trace is a frame and an answer for each hop.
const NOBODY_FOR: Duration = Duration::from_secs(60);
/// Who would not keep a message, or did not answer, is not asked again for so long.
const REFUSED_FOR: Duration = Duration::from_secs(300);
/// Who was found is asked without a further search for so long: the way may be another by then.
const FOUND_FOR: Duration = Duration::from_secs(120);
/// Silent nodes at a time. A guess.
const NODES: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Search {
    /// A trace of this number is under way; the best so far, and how many hops it is from here.
    Asked {
        number: u8,
        best: Option<(u8, Address)>,
    },
    Found(u8, Address),
    Nobody,
}

/// What is known of who keeps messages for a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keeper {
    /// Nothing: the way there is to be traced.
    Unknown,
    /// Answers are waited for, or there is nobody.
    NotNow,
    /// This gateway, so many hops from here.
    Found(u8, Address),
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Keepers {
    /// For each silent node, until when it holds.
    searches: BTreeMap<Address, (Instant, Search)>,
    /// Who would not keep something, until when.
    refused: BTreeMap<Address, Instant>,
}

impl Keepers {
    /// Who keeps what is for a node.
    pub(super) fn of(&self, now: Instant, receiver: Address) -> Keeper {
        let Some(&(until, search)) = self.searches.get(&receiver) else {
            return if self.searches.len() < NODES { Keeper::Unknown } else { Keeper::NotNow };
        };
        if let (Search::Found(hops, keeper), true) = (search, until > now) {
            return Keeper::Found(hops, keeper);
        }
        if until > now { Keeper::NotNow } else { Keeper::Unknown }
    }

    /// A trace of this number has left.
    pub(super) fn asked(&mut self, now: Instant, receiver: Address, number: u8) {
        self.searches.insert(receiver, (now + ANSWERS_WITHIN, Search::Asked { number, best: None }));
    }

    /// A node on the way has answered a trace.
    pub(super) fn traced(&mut self, own: Address, source: Address, hop: TracedHop) {
        if !hop.keeps || source == own || self.refused.contains_key(&source) {
            return;
        }
        for (receiver, (_, search)) in &mut self.searches {
            if let Search::Asked { number, best } = search
                && *number == hop.id
                && *receiver != source
                && best.is_none_or(|(hops, _)| hops < hop.hop)
            {
                *best = Some((hop.hop, source));
            }
        }
    }

    /// It would not keep a message, or did not answer.
    pub(super) fn refused(&mut self, now: Instant, keeper: Address) {
        if self.refused.len() < NODES {
            self.refused.insert(keeper, now + REFUSED_FOR);
        }
        for (until, search) in self.searches.values_mut() {
            if matches!(search, Search::Found(_, found) if *found == keeper) {
                (*until, *search) = (now + NOBODY_FOR, Search::Nobody);
            }
        }
    }

    /// A node was heard: what is for it goes straight there.
    pub(super) fn heard(&mut self, receiver: Address) {
        self.searches.remove(&receiver);
    }

    /// What is over by now: answers are no longer waited for, and what was found or was not holds no more.
    pub(super) fn timeout(&mut self, now: Instant) {
        self.refused.retain(|_, until| *until > now);
        self.searches.retain(|_, (until, search)| {
            if *until > now {
                return true;
            }
            let Search::Asked { best, .. } = *search else { return false };
            (*until, *search) = match best {
                Some((hops, keeper)) => (now + FOUND_FOR, Search::Found(hops, keeper)),
                None => (now + NOBODY_FOR, Search::Nobody),
            };
            true
        });
    }

    /// When answers are no longer waited for. What else ends is found when it is asked for.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let asked = self.searches.values().filter(|(_, search)| matches!(search, Search::Asked { .. }));
        asked.map(|(until, _)| *until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Address = Address::new(1);
    const FAR: Address = Address::new(9);

    fn at(s: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(s)
    }

    fn hop(number: u8, hop: u8, keeps: bool) -> TracedHop {
        TracedHop { id: number, hop, keeps, next: Address::NONE, quality: 255 }
    }

    #[test]
    fn the_last_on_the_way_that_keeps_messages_is_found_and_neither_this_gateway_nor_the_receiver() {
        let mut keepers = Keepers::default();
        assert_eq!(keepers.of(at(0), FAR), Keeper::Unknown);
        keepers.asked(at(0), FAR, 7);
        for (source, hop) in [
            (OWN, hop(7, 0, true)),
            (Address::new(4), hop(7, 3, true)),
            (Address::new(2), hop(7, 1, true)),
            (Address::new(5), hop(7, 4, false)),
            (FAR, hop(7, 5, true)),
            (Address::new(6), hop(8, 6, true)),
        ] {
            keepers.traced(OWN, source, hop);
        }
        assert_eq!((keepers.of(at(2), FAR), keepers.next_timeout()), (Keeper::NotNow, Some(at(3))));
        keepers.timeout(at(3));
        assert_eq!(keepers.of(at(3), FAR), Keeper::Found(3, Address::new(4)));
        assert_eq!(keepers.next_timeout(), None);
        assert_eq!(keepers.of(at(123), FAR), Keeper::Unknown, "the way may be another by now");
        keepers.heard(FAR);
        assert_eq!(keepers.of(at(3), FAR), Keeper::Unknown, "it is back");
    }

    #[test]
    fn who_would_not_is_not_asked_again_soon_and_where_nobody_is_no_trace_goes_out_for_a_while() {
        let mut keepers = Keepers::default();
        let keeper = Address::new(4);
        let search = |keepers: &mut Keepers, s, number| {
            keepers.timeout(at(s));
            keepers.asked(at(s), FAR, number);
            keepers.traced(OWN, keeper, hop(number, 1, true));
            keepers.timeout(at(s + 3));
            keepers.of(at(s + 3), FAR)
        };
        assert_eq!(search(&mut keepers, 0, 1), Keeper::Found(1, keeper));
        keepers.refused(at(10), keeper);
        assert_eq!(keepers.of(at(69), FAR), Keeper::NotNow);
        assert_eq!(keepers.of(at(70), FAR), Keeper::Unknown);
        assert_eq!(search(&mut keepers, 70, 2), Keeper::NotNow);
        assert_eq!(search(&mut keepers, 400, 3), Keeper::Found(1, keeper));
    }

    #[test]
    fn searches_are_few() {
        let mut keepers = Keepers::default();
        for n in 0..NODES as u16 {
            assert_eq!(keepers.of(at(0), Address::new(100 + n)), Keeper::Unknown);
            keepers.asked(at(0), Address::new(100 + n), n as u8);
        }
        assert_eq!(keepers.of(at(0), FAR), Keeper::NotNow);
        keepers.timeout(at(3));
        keepers.timeout(at(63));
        assert_eq!(keepers.of(at(63), FAR), Keeper::Unknown);
    }
}
