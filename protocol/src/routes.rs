//! Which neighbour to hand a frame to that is for a node.
//!
//! Owns the table, and who gives way in it. Whether a next hop is there, and what is sent by a route at all, is
//! `node`'s to decide: a route is a hint, and what gets no answer is flooded.
//!
//! Full: the oldest learned route gives way. A route that the operator gave never does; when all are such, a further
//! one is refused.

use heapless::Vec;

use crate::{Address, Instant};

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
/// let route = node.routes().next().unwrap();
/// assert_eq!((route.destination, route.next_hop), (Address::new(9), Address::new(2)));
/// # Ok::<(), RouteError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// To whom.
    pub destination: Address,
    /// The neighbour that alone passes on what goes there; the destination itself if that is one.
    pub next_hop: Address,
    /// What the route costs, in whatever unit its origin counts. Nothing is decided by it yet.
    pub cost: u16,
    /// Who says so.
    pub origin: RouteOrigin,
    /// Since when it stands like this.
    pub since: Instant,
}

/// At most `N` destinations, a route to each.
#[derive(Clone, Debug)]
pub(crate) struct RouteTable<const N: usize> {
    routes: Vec<Route, N>,
}

impl<const N: usize> RouteTable<N> {
    pub(crate) const fn new() -> Self {
        Self { routes: Vec::new() }
    }

    /// Takes a route in, in the place of the one to the same destination; `false` when it is not taken: there is no room,
    /// or the operator has said otherwise.
    pub(crate) fn set(&mut self, route: Route) -> bool {
        let learned = |known: &Route| known.origin == RouteOrigin::Learned;
        if let Some(known) = self.routes.iter_mut().find(|known| known.destination == route.destination) {
            let better = learned(known) || !learned(&route);
            if better {
                *known = route;
            }
            return better;
        }
        let Err(route) = self.routes.push(route) else { return true };
        let oldest = self.routes.iter_mut().filter(|known| learned(known)).min_by_key(|known| known.since);
        oldest.map(|oldest| *oldest = route).is_some()
    }

    /// Forgets the route to `destination`; whether there was one.
    pub(crate) fn remove(&mut self, destination: Address) -> bool {
        let before = self.routes.len();
        self.routes.retain(|known| known.destination != destination);
        self.routes.len() != before
    }

    pub(crate) fn next_hop(&self, destination: Address) -> Option<Address> {
        self.routes.iter().find(|known| known.destination == destination).map(|known| known.next_hop)
    }

    pub(crate) fn iter(&self) -> core::slice::Iter<'_, Route> {
        self.routes.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Duration;

    fn route(destination: u16, origin: RouteOrigin, secs: u64) -> Route {
        let next_hop = Address::new(destination + 100);
        let since = Instant::ZERO + Duration::from_secs(secs);
        Route { destination: Address::new(destination), next_hop, cost: 1, origin, since }
    }

    fn known(table: &RouteTable<2>) -> [u16; 2] {
        let mut known = [0; 2];
        for (slot, route) in known.iter_mut().zip(table.iter()) {
            *slot = route.destination.bits();
        }
        known
    }

    #[test]
    fn in_a_full_table_only_what_was_learned_gives_way() {
        let mut table = RouteTable::<2>::new();
        assert!(table.set(route(1, RouteOrigin::Learned, 1)));
        assert!(table.set(route(2, RouteOrigin::Learned, 0)));
        assert!(table.set(route(3, RouteOrigin::Learned, 2)), "the oldest gave way");
        assert_eq!(known(&table), [1, 3]);
        assert!(table.set(route(4, RouteOrigin::Operator, 3)));
        assert!(table.set(route(5, RouteOrigin::Operator, 4)));
        assert_eq!(known(&table), [4, 5]);
        assert!(!table.set(route(6, RouteOrigin::Operator, 5)));
        assert!(!table.set(route(7, RouteOrigin::Learned, 6)));
        assert_eq!(known(&table), [4, 5]);
        assert!(table.remove(Address::new(4)) && !table.remove(Address::new(4)));
        assert!(table.set(route(6, RouteOrigin::Operator, 7)));
        assert_eq!(known(&table), [5, 6]);
    }

    #[test]
    fn the_operator_has_the_last_word() {
        let mut table = RouteTable::<2>::new();
        let to = Address::new(1);
        assert!(table.set(route(1, RouteOrigin::Learned, 1)));
        assert!(table.set(Route { next_hop: Address::new(9), ..route(1, RouteOrigin::Operator, 2) }));
        assert!(!table.set(route(1, RouteOrigin::Learned, 3)));
        assert_eq!(table.next_hop(to), Some(Address::new(9)));
        assert!(table.set(Route { next_hop: Address::new(8), ..route(1, RouteOrigin::Operator, 4) }));
        assert_eq!((table.next_hop(to), table.iter().count()), (Some(Address::new(8)), 1));
    }
}
