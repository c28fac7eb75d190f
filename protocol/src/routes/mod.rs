//! Which neighbours to hand a frame to that is for a node.
//!
//! Owns the table: what may take a place in it, which of two next hops is asked, and who gives way. Links, and when to search for a
//! route, are for others. A route is a hint: what gets no answer goes another way.
//!
//! A learned route has a *label*: how new it is at its destination, and what it costs from here. A next hop is taken only if its own label
//! is better than this node's: newer, or as new and cheaper ([`may_replace`]). Labels only ever get better, so along next hops they do
//! strictly, and no frame goes in a circle.
//!
//! Full: of the learned routes that were not used of late the oldest gives way, but none that is only seconds old: what is said of its
//! destination may still be under way, and would be believed again. A route that the operator gave never does; when there is none to
//! give way, the newcomer is refused.

mod entry;

use heapless::Vec;

use crate::{Address, Duration, Instant};
use entry::{Entry, FAILS_MAX, LINK_MIN, NODE, OPERATOR, USED, seconds};
pub(crate) use entry::{Label, may_replace};

/// A learned route that is not used is forgotten after this. A guess: no shorter than pauses of what is said now and then.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(900);
/// Labels older than this say nothing any more: their 16 bits may have come round. At the most 83 frames a second leave a node.
const LABEL_LASTS: Duration = Duration::from_secs(300);
/// No route younger than this gives way in a full table: for so long what is said of its destination may be under way.
const SETTLED_AFTER: Duration = Duration::from_secs(5);
/// An operator's route that failed is tried again after this.
const TRIED_AGAIN_AFTER: Duration = Duration::from_secs(60);
/// What each failure of late adds to what is said of the same next hop: half a transmission.
const FAILED_COST: u8 = 4;

/// Who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteOrigin {
    /// The operator.
    Operator,
    /// The mesh itself.
    Learned,
}

/// The route to one node.
///
/// ```
/// use mesh_protocol::*;
///
/// # let config = Config {
/// #     address: Address::new(1),
/// #     keys: Keyring::new(EpochKeys::derive(&NetKey::new([7; 16]), 1)),
/// #     seed: 1, ttl: 5, relay: true, seq_start: 0, seq_block: 1024,
/// # };
/// let mut node = SmallNode::new(Instant::ZERO, config);
/// node.set_route(Instant::ZERO, Address::new(9), Address::new(2), 1)?;
/// let route = node.routes(Instant::ZERO).next().unwrap();
/// assert_eq!((route.destination, route.next_hop), (Address::new(9), Address::new(2)));
/// # Ok::<(), RouteError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// To whom.
    pub destination: Address,
    /// The neighbour that alone passes on what goes there; the destination itself if that is one.
    pub next_hop: Address,
    /// The neighbour that is asked when the first does not answer.
    pub second: Option<Address>,
    /// What the route costs: learned, in eighths of a transmission; the operator's, in whatever unit that counts in.
    pub cost: u16,
    /// Who says so.
    pub origin: RouteOrigin,
    /// Since when it stands like this, to the second; 17 hours at the most.
    pub since: Instant,
    /// Whether its next hops have failed, so that it is not used now.
    pub broken: bool,
}

/// What became of a route that a neighbour offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    /// It is no better, or there is no room.
    Refused,
    /// It is a second way.
    Second,
    /// It is the way now, at this cost from here.
    First(u8),
}

/// The routes of a node, in no order.
#[derive(Clone, Debug)]
pub struct Routes<'a> {
    entries: core::slice::Iter<'a, Entry>,
    now: Instant,
}

impl Iterator for Routes<'_> {
    type Item = Route;

    fn next(&mut self) -> Option<Route> {
        let entry = self.entries.next()?;
        let learned = entry.is_learned();
        Some(Route {
            destination: entry.destination(),
            next_hop: entry.hop(0),
            second: Some(entry.hop(1)).filter(|second| *second != Address::NONE),
            cost: if learned { entry.cost.into() } else { entry.seqno },
            origin: if learned { RouteOrigin::Learned } else { RouteOrigin::Operator },
            since: self.now - Duration::from_secs(entry.age(self.now).into()),
            broken: entry.usable(0).is_none() && entry.usable(1).is_none(),
        })
    }
}

/// At most `N` routes.
#[derive(Clone, Debug)]
pub(crate) struct RouteTable<const N: usize> {
    entries: Vec<Entry, N>,
}

impl<const N: usize> RouteTable<N> {
    pub(crate) const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// Takes in what the operator says, in the place of what the operator said of the same destination before; `false` when there is no
    /// room.
    pub(crate) fn set(&mut self, now: Instant, destination: Address, next_hop: Address, cost: u16) -> bool {
        let fresh = Entry {
            destination: destination.bits() | OPERATOR,
            seqno: cost,
            next: [next_hop.bits(), 0],
            cost: 0,
            fails: 0,
            stamp: seconds(now),
        };
        match self.entries.iter_mut().find(|known| known.destination == fresh.destination) {
            Some(known) => *known = fresh,
            None => match self.room(now) {
                Some(place) => *place = fresh,
                None => return self.entries.push(fresh).is_ok(),
            },
        }
        true
    }

    /// Forgets what the operator said of `destination`; whether that was anything.
    pub(crate) fn remove(&mut self, destination: Address) -> bool {
        let before = self.entries.len();
        self.entries.retain(|known| known.destination != destination.bits() | OPERATOR);
        self.entries.len() != before
    }

    /// The neighbour `from` says with this label that it leads to `destination`; it is reached over a link of this cost.
    pub(crate) fn offered(
        &mut self,
        now: Instant,
        destination: Address,
        from: Address,
        label: Label,
        link: u8,
    ) -> Offered {
        debug_assert!(link >= LINK_MIN, "no link is better than one that loses nothing");
        let total = |more: u8| label.cost.checked_add(link)?.checked_add(more);
        let Some(known) = self.entries.iter_mut().find(|known| known.destination == destination.bits())
        else {
            let Some(cost) = total(0) else { return Offered::Refused };
            let fresh = Entry {
                destination: destination.bits(),
                seqno: label.seqno,
                next: [from.bits(), 0],
                cost,
                fails: 0,
                stamp: seconds(now),
            };
            let placed = match self.room(now) {
                Some(place) => {
                    *place = fresh;
                    true
                }
                None => self.entries.push(fresh).is_ok(),
            };
            return if placed { Offered::First(fresh.cost) } else { Offered::Refused };
        };
        // What failed of late is believed less, until it is said often enough.
        let place = known.place_of(from);
        let fails = place.map_or(0, |at| known.fails(at));
        let Some(cost) = total(fails * FAILED_COST) else { return Offered::Refused };
        if known.is_older_than(now, LABEL_LASTS)
            || label.seqno != known.seqno && may_replace(known.label(), label)
        {
            let used = known.next[0] & USED;
            *known = Entry {
                seqno: label.seqno,
                next: [from.bits() | used, 0],
                cost,
                fails: fails.saturating_sub(1),
                stamp: seconds(now),
                ..*known
            };
            return Offered::First(cost);
        }
        if !may_replace(known.label(), label) {
            return Offered::Refused;
        }
        // As new and cheaper there than it is here.
        let empty = known.usable(0).is_none() && known.usable(1).is_none();
        if cost < known.cost {
            // Those before may be further away than this node now is: they were let in by its dearer label.
            known.next = [known.next[0] & USED | from.bits(), 0];
            known.fails = 0;
            known.set_fails(0, fails.saturating_sub(1));
            known.cost = cost;
            return Offered::First(cost);
        }
        match place {
            Some(at) => known.set_fails(at, fails.saturating_sub(1)),
            None if known.usable(1).is_none() => {
                known.next[1] = from.bits();
                known.set_fails(1, 0);
            }
            None => return Offered::Refused,
        }
        if known.usable(0).is_none() && known.usable(1).is_some() {
            known.swap();
        }
        // A way again where there was none: those who were told so have to hear it.
        if empty { Offered::First(known.cost) } else { Offered::Second }
    }

    /// Whom to ask to pass on what goes to `destination`: first the first. The operator has the first word.
    pub(crate) fn next_hops(&self, now: Instant, destination: Address) -> [Option<Address>; 2] {
        let of = |bits: u16| self.entries.iter().find(move |known| known.destination == bits);
        let operators = of(destination.bits() | OPERATOR)
            .filter(|entry| entry.fails(0) < FAILS_MAX || entry.is_older_than(now, TRIED_AGAIN_AFTER));
        let operators = operators.map(|entry| entry.hop(0));
        let learned = of(destination.bits());
        let mut hops = [operators, None];
        for hop in (0..2).filter_map(|at| learned.and_then(|entry| entry.usable(at))) {
            match hops {
                [None, _] => hops[0] = Some(hop),
                [Some(first), None] if first != hop => hops[1] = Some(hop),
                _ => {}
            }
        }
        hops
    }

    /// What the operator says of `destination`, whether it works or not.
    pub(crate) fn operators(&self, destination: Address) -> Option<Address> {
        let bits = destination.bits() | OPERATOR;
        self.entries.iter().find(|known| known.destination == bits).map(|entry| entry.hop(0))
    }

    /// What is known of how to reach `destination`, also if no next hop of it is left.
    pub(crate) fn label(&self, destination: Address) -> Option<Label> {
        self.entries.iter().find(|known| known.destination == destination.bits()).map(Entry::label)
    }

    /// What was sent to `destination` by `next` arrived.
    pub(crate) fn worked(&mut self, now: Instant, destination: Address, next: Address) {
        for entry in self.of(destination) {
            if let Some(at) = entry.place_of(next) {
                entry.set_fails(at, 0);
                if entry.is_learned() {
                    entry.next[0] |= USED;
                    // In use it is not forgotten; as for its label, it is as old as labels get.
                    if entry.is_older_than(now, LABEL_LASTS) {
                        entry.stamp = seconds(now - LABEL_LASTS).wrapping_sub(1);
                    }
                }
            }
        }
    }

    /// What was sent to `destination` by `next` got no answer. `true` if that was the last next hop there was.
    pub(crate) fn failed(&mut self, now: Instant, destination: Address, next: Address) -> bool {
        let mut lost = false;
        for entry in self.of(destination) {
            let Some(at) = entry.place_of(next) else { continue };
            let fails = entry.fails(at) + 1;
            entry.set_fails(at, fails.min(FAILS_MAX));
            if !entry.is_learned() {
                entry.stamp = seconds(now);
            } else if fails == FAILS_MAX {
                if at == 0 && entry.usable(1).is_some() {
                    entry.swap();
                }
                lost |= entry.usable(0).is_none();
            }
        }
        lost
    }

    /// `next` says that it does not lead to `destination` any more, and knew it as new as this. As [`Self::failed`].
    pub(crate) fn broken(&mut self, destination: Address, next: Address, seqno: u16) -> bool {
        let Some(entry) = self.entries.iter_mut().find(|known| known.destination == destination.bits())
        else {
            return false;
        };
        // What is newer here than there came since, perhaps over it.
        let newer = entry.seqno.wrapping_sub(seqno);
        let Some(at) = entry.place_of(next).filter(|at| entry.usable(*at).is_some()) else { return false };
        if newer != 0 && newer < 0x8000 {
            return false;
        }
        entry.set_fails(at, FAILS_MAX);
        if at == 0 && entry.usable(1).is_some() {
            entry.swap();
        }
        entry.usable(0).is_none()
    }

    /// Forgets what was not used for long. To be called every few hours at the least: the stamps come round.
    pub(crate) fn expire(&mut self, now: Instant) {
        for entry in self.entries.iter_mut().filter(|entry| entry.age(now) > Entry::AGE_MAX) {
            entry.stamp = seconds(now).wrapping_sub(Entry::AGE_MAX);
        }
        self.entries.retain(|entry| !entry.is_learned() || !entry.is_older_than(now, FORGOTTEN_AFTER));
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn iter(&self, now: Instant) -> Routes<'_> {
        Routes { entries: self.entries.iter(), now }
    }

    fn of(&mut self, destination: Address) -> impl Iterator<Item = &mut Entry> {
        let bits = destination.bits();
        self.entries.iter_mut().filter(move |known| known.destination & NODE == bits)
    }

    /// The place of one that gives way, if the table is full and one can.
    fn room(&mut self, now: Instant) -> Option<&mut Entry> {
        if !self.entries.is_full() {
            return None;
        }
        let settled = |entry: &Entry| entry.is_learned() && entry.is_older_than(now, SETTLED_AFTER);
        if !self.entries.iter().any(|entry| settled(entry) && entry.next[0] & USED == 0) {
            // All were used since the last time: they begin anew.
            for entry in &mut self.entries {
                entry.next[0] &= NODE;
            }
        }
        let free = self.entries.iter_mut().filter(|entry| settled(entry) && entry.next[0] & USED == 0);
        free.max_by_key(|entry| entry.age(now))
    }
}

#[cfg(test)]
mod tests;
