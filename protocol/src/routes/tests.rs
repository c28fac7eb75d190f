//! The table's promises, and freedom from loops, tried out in full on small graphs.

use std::collections::{BTreeSet, VecDeque};
use std::vec::Vec;

use super::*;

const D: Address = Address::new(99);
const A: Address = Address::new(1);
const B: Address = Address::new(2);
const C: Address = Address::new(3);

fn at(secs: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(secs)
}

const fn label(seqno: u16, cost: u8) -> Label {
    Label { seqno, cost }
}

fn known<const N: usize>(table: &RouteTable<N>) -> Vec<u16> {
    table.iter(at(0)).map(|route| route.destination.bits()).collect()
}

#[test]
fn an_entry_takes_twelve_bytes() {
    assert_eq!(size_of::<Entry>(), 12);
}

#[test]
fn newer_is_better_and_of_as_new_the_cheaper() {
    assert!(may_replace(label(7, 8), label(8, 200)));
    assert!(may_replace(label(7, 9), label(7, 8)));
    assert!(!may_replace(label(7, 8), label(7, 8)));
    assert!(!may_replace(label(8, 200), label(7, 0)));
    assert!(may_replace(label(0xffff, 0), label(0, 9)), "numbers come round");
    assert!(!may_replace(label(0, 9), label(0xffff, 0)));
}

#[test]
fn the_cheapest_is_asked_first_and_another_second() {
    let mut table = RouteTable::<4>::new();
    assert_eq!(table.offered(at(0), D, A, label(1, 16), 12), Offered::First(28));
    assert_eq!(
        table.offered(at(0), D, B, label(1, 24), 8),
        Offered::Second,
        "dearer, but nearer there than here"
    );
    assert_eq!(
        table.offered(at(0), D, C, label(1, 28), 8),
        Offered::Refused,
        "as far from there as this node"
    );
    assert_eq!(table.next_hops(at(0), D), [Some(A), Some(B)]);
    assert_eq!(table.offered(at(0), D, B, label(1, 8), 8), Offered::First(16), "much cheaper");
    assert_eq!(
        table.next_hops(at(0), D),
        [Some(B), None],
        "the first may be further away than this node now"
    );
    assert_eq!(table.offered(at(1), D, C, label(2, 100), 8), Offered::First(108), "newer");
    assert_eq!(table.next_hops(at(1), D), [Some(C), None]);
    assert_eq!(table.offered(at(1), D, B, label(1, 0), 8), Offered::Refused, "old news");
}

#[test]
fn what_fails_twice_gives_way_and_what_works_is_forgiven() {
    let mut table = RouteTable::<4>::new();
    table.offered(at(0), D, A, label(1, 16), 8);
    table.offered(at(0), D, B, label(1, 20), 8);
    assert!(!table.failed(at(0), D, A));
    table.worked(at(0), D, A);
    assert!(!table.failed(at(0), D, A));
    assert_eq!(table.next_hops(at(0), D), [Some(A), Some(B)], "once in a row");
    assert!(!table.failed(at(0), D, A));
    assert_eq!(table.next_hops(at(0), D), [Some(B), None]);
    assert!(!table.failed(at(0), D, B));
    assert!(table.failed(at(0), D, B), "that was the last");
    assert_eq!((table.next_hops(at(0), D), table.label(D)), ([None; 2], Some(label(1, 24))));
    assert_eq!(
        table.offered(at(1), D, C, label(1, 24), 8),
        Offered::Refused,
        "no better than what was known"
    );
    assert_eq!(table.offered(at(1), D, C, label(1, 23), 30), Offered::First(24), "a way again");
    assert_eq!(table.next_hops(at(1), D), [Some(C), None]);
    // What has failed is believed less when it is said anew.
    assert!(table.failed(at(1), D, C) | table.failed(at(1), D, C));
    assert_eq!(table.offered(at(2), D, C, label(2, 8), 8), Offered::First(16 + 2 * FAILED_COST));
}

#[test]
fn who_says_that_it_leads_nowhere_is_not_asked() {
    let mut table = RouteTable::<4>::new();
    table.offered(at(0), D, A, label(5, 16), 8);
    table.offered(at(0), D, B, label(5, 20), 8);
    assert!(!table.broken(D, C, 5), "nobody asks it");
    assert!(!table.broken(D, A, 4), "it speaks of an older one");
    assert_eq!(table.next_hops(at(0), D), [Some(A), Some(B)]);
    assert!(!table.broken(D, A, 5));
    assert_eq!(table.next_hops(at(0), D), [Some(B), None]);
    assert!(table.broken(D, B, 6) && !table.broken(D, B, 6), "once");
}

#[test]
fn the_operator_has_the_first_word_as_long_as_it_works() {
    let mut table = RouteTable::<4>::new();
    table.offered(at(0), D, A, label(1, 16), 8);
    assert!(table.set(at(0), D, B, 3));
    assert_eq!(table.next_hops(at(0), D), [Some(B), Some(A)]);
    assert!(!table.failed(at(1), D, B));
    assert!(!table.failed(at(1), D, B));
    assert_eq!(table.next_hops(at(1), D), [Some(A), None]);
    assert_eq!(table.next_hops(at(62), D), [Some(B), Some(A)], "it is tried again");
    table.failed(at(62), D, B);
    assert_eq!(table.next_hops(at(62), D), [Some(A), None]);
    assert_eq!(table.next_hops(at(123), D), [Some(B), Some(A)]);
    table.worked(at(123), D, B);
    let route = table.iter(at(130)).find(|route| route.origin == RouteOrigin::Operator).unwrap();
    assert_eq!((route.next_hop, route.cost, route.broken), (B, 3, false));
    assert!(table.remove(D) && !table.remove(D));
    assert_eq!(table.next_hops(at(123), D), [Some(A), None]);
}

#[test]
fn in_a_full_table_only_what_was_learned_and_is_not_used_gives_way() {
    let mut table = RouteTable::<3>::new();
    let learn = |table: &mut RouteTable<3>, to: u16, secs: u64| {
        table.offered(at(secs), Address::new(to), A, label(1, 0), 8) != Offered::Refused
    };
    assert!(learn(&mut table, 1, 1) && learn(&mut table, 2, 0) && learn(&mut table, 3, 2));
    assert!(!learn(&mut table, 4, 5), "what is only seconds old stays");
    assert!(learn(&mut table, 4, 10), "the oldest gave way");
    assert_eq!(known(&table), [1, 4, 3]);
    table.worked(at(10), Address::new(1), A);
    assert!(learn(&mut table, 5, 20));
    assert_eq!(known(&table), [1, 4, 5], "1 is in use");
    let rule = |table: &mut RouteTable<3>, to: u16, secs: u64| table.set(at(secs), Address::new(to), B, 1);
    assert!(rule(&mut table, 6, 30) && rule(&mut table, 7, 31) && rule(&mut table, 8, 32));
    assert!(!rule(&mut table, 9, 40) && !learn(&mut table, 9, 40));
    assert_eq!(known(&table).into_iter().collect::<BTreeSet<_>>(), BTreeSet::from([6, 7, 8]));
}

#[test]
fn what_is_not_used_is_forgotten_and_what_is_stays() {
    let mut table = RouteTable::<4>::new();
    table.offered(at(0), D, A, label(1, 16), 8);
    table.offered(at(0), C, A, label(1, 16), 8);
    assert!(table.set(at(0), B, A, 1));
    table.worked(at(800), D, A);
    table.expire(at(902));
    assert_eq!(known(&table), [D.bits(), B.bits()]);
    assert_eq!(
        table.offered(at(902), D, B, label(0, 200), 8),
        Offered::First(208),
        "its number may have come round"
    );
    table.expire(at(902 + 901));
    assert_eq!(known(&table), [B.bits()]);
    for hour in 1..50 {
        table.expire(at(902 + hour * 3600));
    }
    let age = at(902 + 49 * 3600).since(table.iter(at(902 + 49 * 3600)).next().unwrap().since);
    assert_eq!(age, Duration::from_secs(17 * 3600));
}

// Every order of events on every small graph: what each node has said is heard by its neighbours at any time after, any number of
// times or never; links fail and are noticed on either side at any time. In no state do next hops lead in a circle.

type Node = RouteTable<2>;

#[derive(Clone)]
struct World {
    nodes: Vec<Node>,
    /// Who has said what, for good.
    said: BTreeSet<(usize, u16, u8)>,
    failures: u8,
}

/// What tells two states of the world apart.
type Key = (Vec<Vec<[u16; 5]>>, BTreeSet<(usize, u16, u8)>, u8);

impl World {
    fn key(&self) -> Key {
        let entry = |entry: &Entry| {
            [entry.seqno, entry.next[0] & NODE, entry.next[1], entry.cost.into(), entry.fails.into()]
        };
        let nodes = self.nodes.iter().map(|node| node.entries.iter().map(entry).collect()).collect();
        (nodes, self.said.clone(), self.failures)
    }

    fn is_free_of_loops(&self) -> bool {
        // Along all next hops at once: whoever is reached from itself is on a circle.
        (1..self.nodes.len()).all(|start| {
            let mut reached = BTreeSet::new();
            let mut open = vec![start];
            while let Some(at) = open.pop() {
                for next in self.nodes[at].next_hops(Instant::ZERO, address(0)).into_iter().flatten() {
                    let next = usize::from(next.bits()) - 1;
                    if reached.insert(next) {
                        open.push(next);
                    }
                }
            }
            !reached.contains(&start)
        })
    }
}

fn address(at: usize) -> Address {
    Address::new(at as u16 + 1)
}

/// All states that can be reached; node 0 is the destination, and speaks so many times. Returns how many.
fn explore(count: usize, cost: impl Fn(usize, usize) -> Option<u8>, waves: u16, failures: u8) -> usize {
    let said = (0..waves).map(|wave| (0, 0xffff_u16.wrapping_add(wave), 0)).collect();
    let first = World { nodes: vec![Node::new(); count], said, failures };
    let mut met = BTreeSet::from([first.key()]);
    let mut open = VecDeque::from([first]);
    let visit = |world: World, open: &mut VecDeque<World>, met: &mut BTreeSet<_>| {
        assert!(world.is_free_of_loops(), "{:?}", world.key());
        if met.insert(world.key()) {
            open.push_back(world);
        }
    };
    while let Some(world) = open.pop_front() {
        for node in 1..count {
            for &(from, seqno, paid) in &world.said {
                let Some(link) = (from != node).then(|| cost(from, node)).flatten() else { continue };
                let mut next = world.clone();
                let offered = next.nodes[node].offered(
                    Instant::ZERO,
                    address(0),
                    address(from),
                    label(seqno, paid),
                    link,
                );
                if let Offered::First(total) = offered {
                    next.said.insert((node, seqno, total));
                }
                visit(next, &mut open, &mut met);
            }
            for hop in world.nodes[node].next_hops(Instant::ZERO, address(0)).into_iter().flatten() {
                if world.failures > 0 {
                    let mut next = world.clone();
                    next.failures -= 1;
                    next.nodes[node].failed(Instant::ZERO, address(0), hop);
                    next.nodes[node].failed(Instant::ZERO, address(0), hop);
                    visit(next, &mut open, &mut met);
                }
            }
        }
    }
    met.len()
}

#[test]
fn no_order_of_events_leads_in_a_circle() {
    let mut states = 0;
    // All graphs of three nodes with links of three kinds, and a link that fails.
    for kinds in 0..27u32 {
        let kind = |at: u32| [None, Some(8), Some(13)][(kinds / 3u32.pow(at) % 3) as usize];
        states += explore(3, |a, b| kind((a + b - 1) as u32), 2, 1);
    }
    // Four nodes: a ring, a ring with a chord, and a square of which each hears each.
    for (present, waves) in [(0b011110, 2), (0b011111, 2), (0b111111, 1)] {
        let pair = |a: usize, b: usize| [[9, 0, 1, 2], [0, 9, 3, 4], [1, 3, 9, 5], [2, 4, 5, 9]][a][b];
        let link = |a, b| (present >> pair(a, b) & 1 == 1).then_some([8, 11, 8, 9, 8, 14][pair(a, b)]);
        states += explore(4, link, waves, 0);
    }
    assert!(states > 10_000, "{states}");
}
