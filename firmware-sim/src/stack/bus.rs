//! A bus for the tests of the stacks that ours is compared with: nodes, who hears whom, and sets that take exactly as long as they say.
//!
//! Owns time, losses and the log of what was advertised. Everything happens at times that a node or a set named.

use std::collections::BTreeMap;

use ble_bearer::Full;
use mesh_protocol::{Duration, Instant, Rng};

use super::Sets;

/// An advertising event is over, and heard, after so long. A guess.
pub(super) const EVENT: Duration = Duration::from_millis(1);

/// What the bus needs of a node.
pub(super) trait Node {
    fn receive(&mut self, now: Instant, pdu: &[u8], rssi: i8) -> bool;
    fn run(&mut self, now: Instant, radio: &mut Port<'_>) -> Option<Instant>;
    fn sent(&mut self, now: Instant, set: usize);
}

/// What a node had advertised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Advertised {
    pub(super) at: Instant,
    pub(super) node: usize,
    pub(super) set: usize,
    pub(super) copies: u8,
    pub(super) pdu: Vec<u8>,
}

impl Advertised {
    /// When its last copy is over, at 20 ms from one to the next.
    pub(super) fn ends(&self) -> Instant {
        self.at + Duration::from_millis(20).times(u64::from(self.copies - 1)) + EVENT
    }
}

/// One node's sets.
#[derive(Debug)]
pub(super) struct Port<'a> {
    busy: &'a mut [bool],
    /// What was advertised: set, PDU, copies, interval.
    taken: Vec<(usize, Vec<u8>, u8, Duration)>,
    refusing: bool,
}

impl Sets for Port<'_> {
    fn advertise(&mut self, set: usize, pdu: &[u8], copies: u8, interval: Duration) -> Result<(), Full> {
        if self.refusing {
            return Err(Full);
        }
        assert!(!self.busy[set], "set {set} holds something already");
        self.busy[set] = true;
        self.taken.push((set, pdu.to_vec(), copies, interval));
        Ok(())
    }
}

#[derive(Debug)]
enum Event {
    Heard(usize, Vec<u8>),
    Sent(usize, usize),
}

/// Says whether what the first node sends reaches the second.
type Filter = Box<dyn FnMut(usize, usize, &[u8]) -> bool>;

/// Nodes on a bus.
pub(super) struct Bus<N> {
    pub(super) now: Instant,
    pub(super) nodes: Vec<N>,
    pub(super) log: Vec<Advertised>,
    /// Whether all sets refuse everything.
    pub(super) refusing: bool,
    filter: Filter,
    links: Vec<(usize, usize)>,
    loss: u32,
    rng: Rng,
    busy: Vec<[bool; 4]>,
    wakes: Vec<Option<Instant>>,
    events: BTreeMap<(Instant, u64), Event>,
    count: u64,
}

impl<N: Node> Bus<N> {
    /// Nodes in a row: each hears its neighbours, but for `loss` copies in a million.
    pub(super) fn line(nodes: Vec<N>, loss: u32, seed: u64) -> Self {
        let links = (1..nodes.len()).flat_map(|at| [(at - 1, at), (at, at - 1)]).collect();
        Self {
            now: Instant::ZERO,
            log: Vec::new(),
            refusing: false,
            filter: Box::new(|_, _, _| true),
            links,
            loss,
            rng: Rng::new(seed),
            busy: vec![[false; 4]; nodes.len()],
            wakes: vec![None; nodes.len()],
            events: BTreeMap::new(),
            count: 0,
            nodes,
        }
    }

    /// From now on only what passes the filter is heard.
    pub(super) fn filter(&mut self, filter: impl FnMut(usize, usize, &[u8]) -> bool + 'static) {
        self.filter = Box::new(filter);
    }

    /// Runs a node now, as after a post.
    pub(super) fn run(&mut self, node: usize) {
        let busy = &mut self.busy[node];
        let mut port = Port { busy, taken: Vec::new(), refusing: self.refusing };
        self.wakes[node] = self.nodes[node].run(self.now, &mut port);
        assert!(self.wakes[node].is_none_or(|at| at > self.now), "what is due now has been done");
        for (set, pdu, copies, interval) in port.taken {
            let mut at = self.now + EVENT;
            for copy in 0..copies {
                at = self.now + interval.times(copy.into()) + EVENT;
                for &(_, to) in self.links.iter().filter(|(from, _)| *from == node) {
                    if !self.rng.chance(self.loss) && (self.filter)(node, to, &pdu) {
                        self.count += 1;
                        self.events.insert((at, self.count), Event::Heard(to, pdu.clone()));
                    }
                }
            }
            self.count += 1;
            self.events.insert((at, self.count), Event::Sent(node, set));
            self.log.push(Advertised { at: self.now, node, set, copies, pdu });
        }
    }

    /// Lets time go on until nothing is left to happen, or `end`.
    pub(super) fn play(&mut self, end: Instant) {
        for _ in 0..1_000_000 {
            let event = self.events.first_key_value().map(|(&(at, _), _)| at);
            let wake = self.wakes.iter().copied().flatten().min();
            let Some(next) = [event, wake].into_iter().flatten().min().filter(|&next| next <= end) else {
                self.now = end;
                return;
            };
            self.now = next;
            if event == Some(next) {
                match self.events.pop_first() {
                    Some((_, Event::Heard(node, pdu))) => {
                        let runs = self.nodes[node].receive(next, &pdu, -60);
                        if runs {
                            self.run(node);
                        }
                    }
                    Some((_, Event::Sent(node, set))) => {
                        self.busy[node][set] = false;
                        self.nodes[node].sent(next, set);
                        self.run(node);
                    }
                    None => (),
                }
            } else if let Some(node) = self.wakes.iter().position(|&wake| wake == Some(next)) {
                self.run(node);
            }
        }
        panic!("the bus does not end");
    }

    /// What this node advertised.
    pub(super) fn adverts(&self, node: usize) -> Vec<Advertised> {
        self.log.iter().filter(|advert| advert.node == node).cloned().collect()
    }
}

/// A counter by its name.
pub(super) fn counter(counters: &[(&'static str, u64)], name: &str) -> u64 {
    let found = counters.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("no counter {name}")).1
}
