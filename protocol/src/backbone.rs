//! Which nodes pass on what goes to many: a backbone that elects itself.
//!
//! Owns what neighbours say in hellos of whom they hear, and the choice that follows for this node. Every node is of the backbone
//! at first. At each of its hellos it leaves when, without it, each neighbour still hears [`COVER`] nodes of the backbone well, and those
//! are connected among themselves; it comes back when that is no longer so. What it does not know it takes for not so. Hellos
//! are sealed and never relayed, so no outsider has a say but by carrying them elsewhere.
//!
//! Full: a neighbour that is no longer there gives way. Where all are there a further one has no say: others speak for it.

use heapless::Vec;

use crate::control::{HELLO_REPORTS, HelloFlags, HelloReport};
use crate::{Address, Instant, Rng};

/// Neighbours that have a say: a bit for each.
const PEERS: usize = 32;
/// So many nodes of the backbone each neighbour is to hear well without this node. In the simulated office 33 of 100 nodes remain
/// with one, of which a node hears seven; with two, 50.
const COVER: u32 = 1;
/// The share of hellos, in 15ths, that counts as hearing well. A guess.
const HEARD_WELL: u8 = 9;
/// The share below which that is no longer so: what is measured from 16 hellos goes up and down.
const HEARD_ILL: u8 = 6;
/// One in so many of those that see a neighbour without the backbone steps in at its next hello: else all around it did at once.
const STEPS_IN: u64 = 8;
/// A neighbour that hears less than this share of ours needs others anyway, and has no use for this node.
const OF_USE: u8 = 4;
/// A neighbour that has not said hello for so many of its pauses has no say any more.
const PAUSES: u16 = 4;
/// Between two hellos whatever it says, for the neighbour that has just restarted.
const PAUSE_MIN: u16 = 10;

/// Packed: a small node has all of them as well.
#[derive(Clone, Copy, Debug)]
struct Peer {
    /// Bit n: it hears peer n well.
    hears: u32,
    /// The low 12 bits of its address, which is what reports name, and above them the flags.
    id: u16,
    /// Until when it has a say, in seconds; they wrap.
    until: u16,
}

impl Peer {
    /// It is of the backbone.
    const BACKBONE: u16 = 1 << 12;
    /// It has said that it hears this node.
    const HEARS_OWN: u16 = 1 << 13;
    /// It hardly hears this node, as it has said, or as it is hardly heard.
    const DEAF: u16 = 1 << 14;

    const fn id(&self) -> u16 {
        self.id & 0x0fff
    }

    const fn is(&self, flag: u16) -> bool {
        self.id & flag != 0
    }

    const fn set(&mut self, flag: u16, on: bool) {
        self.id = self.id & !flag | if on { flag } else { 0 };
    }
}

/// The neighbours and what they hear.
#[derive(Clone, Debug)]
pub(crate) struct Backbone {
    peers: Vec<Peer, PEERS, u8>,
    /// Whether this node is of it.
    member: bool,
}

const fn seconds(now: Instant) -> u16 {
    (now.since(Instant::ZERO).as_micros() / 1_000_000) as u16
}

const fn id(address: Address) -> u16 {
    address.bits() & 0x0fff
}

impl Backbone {
    pub(crate) const fn new() -> Self {
        Self { peers: Vec::new(), member: true }
    }

    /// Whether this node is of the backbone.
    pub(crate) const fn is_member(&self) -> bool {
        self.member
    }

    /// A hello came from the neighbour `from`, of whose hellos the node `own` hears the share `arrives`, in 255ths.
    pub(crate) fn hello(
        &mut self,
        now: Instant,
        own: Address,
        (from, arrives): (Address, Option<u8>),
        flags: HelloFlags,
        reports: &[Option<HelloReport>; HELLO_REPORTS],
    ) {
        let Some(at) = self.place(now, id(from)) else { return };
        let pause = PAUSE_MIN.max(1 << flags.pace().min(9));
        let mut peer = self.peers[at];
        peer.until = seconds(now).wrapping_add(pause * PAUSES);
        peer.set(Peer::BACKBONE, flags.has(HelloFlags::BACKBONE));
        // Links differ little by direction: who is hardly heard hardly hears.
        let ill = arrives.is_some_and(|share| HelloReport::of(from, share).delivery < OF_USE);
        if ill && !peer.is(Peer::HEARS_OWN) {
            peer.set(Peer::DEAF, true);
        }
        for report in reports.iter().flatten() {
            if report.is_of(own) {
                peer.set(Peer::HEARS_OWN, report.delivery >= OF_USE);
                peer.set(Peer::DEAF, report.delivery < OF_USE);
            } else if let Some(of) = self.peers.iter().position(|peer| peer.id() == report.neighbour) {
                let bit = 1 << of;
                match report.delivery {
                    HEARD_WELL.. => peer.hears |= bit,
                    ..HEARD_ILL => peer.hears &= !bit,
                    _ => {}
                }
            }
        }
        self.peers[at] = peer;
    }

    /// Chooses anew whether this node is of the backbone.
    pub(crate) fn choose(&mut self, now: Instant, rng: &mut Rng) {
        let now = seconds(now);
        let there = self.bits(|peer| !is_past(peer.until, now));
        let backbone = self.bits(|peer| peer.is(Peer::BACKBONE)) & there;
        let covered = |at: usize| {
            let peer = &self.peers[at];
            peer.is(Peer::DEAF) || (peer.hears & backbone).count_ones() >= COVER
        };
        let all_covered = ones(there).all(covered);
        let needed = backbone == 0 || !all_covered || !self.is_connected(backbone);
        self.member = needed && (self.member || rng.below(STEPS_IN) == 0);
    }

    /// Whether these peers reach each other by themselves.
    fn is_connected(&self, of: u32) -> bool {
        let mut reached = of & of.wrapping_neg();
        loop {
            let more = ones(of).filter(|&at| reached & 1 << at == 0).find(|&at| {
                // One of the two says that it hears the other.
                self.peers[at].hears & reached != 0
                    || ones(reached).any(|by| self.peers[by].hears & 1 << at != 0)
            });
            match more {
                Some(at) => reached |= 1 << at,
                None => return reached == of,
            }
        }
    }

    fn bits(&self, is: impl Fn(&Peer) -> bool) -> u32 {
        self.peers.iter().enumerate().fold(0, |bits, (at, peer)| bits | u32::from(is(peer)) << at)
    }

    fn place(&mut self, now: Instant, id: u16) -> Option<usize> {
        if let Some(at) = self.peers.iter().position(|peer| peer.id() == id) {
            return Some(at);
        }
        let fresh = Peer { hears: 0, id: id | Peer::BACKBONE, until: 0 };
        if self.peers.push(fresh).is_ok() {
            return Some(self.peers.len() - 1);
        }
        let now = seconds(now);
        let at = self.peers.iter().position(|peer| is_past(peer.until, now))?;
        self.peers[at] = fresh;
        for peer in &mut self.peers {
            peer.hears &= !(1 << at);
        }
        Some(at)
    }
}

/// Whether `until` lies behind `now`; both wrap.
const fn is_past(until: u16, now: u16) -> bool {
    now.wrapping_sub(until) < 1 << 15
}

/// The places of the bits that are set.
fn ones(bits: u32) -> impl Iterator<Item = usize> {
    (0..PEERS).filter(move |at| bits & 1 << at != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Duration;

    /// Nodes that say hello in turn, each heard by those it is linked with; reports go round.
    struct Mesh {
        nodes: std::vec::Vec<Backbone>,
        links: std::vec::Vec<std::vec::Vec<usize>>,
        rng: Rng,
        round: u64,
    }

    fn address(n: usize) -> Address {
        Address::new(n as u16 + 1)
    }

    impl Mesh {
        fn new(count: usize, linked: impl Fn(usize, usize) -> bool, seed: u64) -> Self {
            let links =
                (0..count).map(|a| (0..count).filter(|&b| a != b && linked(a, b)).collect()).collect();
            Self { nodes: std::vec![Backbone::new(); count], links, rng: Rng::new(seed), round: 0 }
        }

        /// Each node says hello once, in a random order.
        fn round(&mut self) {
            let now = Instant::ZERO + Duration::from_secs(10 * self.round);
            let mut order: std::vec::Vec<usize> = (0..self.nodes.len()).collect();
            for at in (1..order.len()).rev() {
                order.swap(at, self.rng.below(at as u64 + 1) as usize);
            }
            for from in order {
                self.nodes[from].choose(now, &mut self.rng);
                let heard = &self.links[from];
                let reports = core::array::from_fn(|n| {
                    let at = (self.round as usize * HELLO_REPORTS + n) % heard.len().max(1);
                    heard.get(at).map(|&of| HelloReport::of(address(of), 255))
                });
                let flags =
                    if self.nodes[from].is_member() { HelloFlags::BACKBONE } else { HelloFlags::default() };
                for &to in &self.links[from] {
                    self.nodes[to].hello(now, address(to), (address(from), Some(255)), flags, &reports);
                }
            }
            self.round += 1;
        }

        fn members(&self) -> std::vec::Vec<usize> {
            (0..self.nodes.len()).filter(|&at| self.nodes[at].is_member()).collect()
        }

        /// Whether a frame of any node reaches all that hear it over relays of any kind, over the members alone.
        fn reaches_all(&self) -> bool {
            let flood = |from: usize, relays: &dyn Fn(usize) -> bool| {
                let (mut reached, mut next) = (std::collections::BTreeSet::from([from]), std::vec![from]);
                while let Some(at) = next.pop() {
                    for &to in self.links[at].iter().filter(|_| at == from || relays(at)) {
                        if reached.insert(to) {
                            next.push(to);
                        }
                    }
                }
                reached
            };
            (0..self.nodes.len())
                .all(|from| flood(from, &|at| self.nodes[at].is_member()) == flood(from, &|_| true))
        }
    }

    #[test]
    fn of_nodes_that_all_hear_each_other_one_or_two_remain() {
        let mut mesh = Mesh::new(20, |_, _| true, 1);
        mesh.round();
        assert!(mesh.members().len() > 15, "few know enough: {:?}", mesh.members());
        for _ in 0..12 {
            mesh.round();
        }
        assert!((1..=2).contains(&mesh.members().len()), "{:?}", mesh.members());
    }

    #[test]
    fn in_a_line_all_remain() {
        let mut mesh = Mesh::new(8, |a, b| a.abs_diff(b) == 1, 1);
        for _ in 0..20 {
            mesh.round();
        }
        assert_eq!(mesh.members(), [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn whatever_the_graph_the_members_carry_a_frame_wherever_all_would() {
        for seed in 0..12 {
            let mut rng = Rng::new(seed);
            let places: std::vec::Vec<_> =
                (0..60).map(|_| (rng.below(1_000) as i64, rng.below(400) as i64)).collect();
            let near = |a: usize, b: usize| {
                let (x, y) = (places[a].0 - places[b].0, places[a].1 - places[b].1);
                x * x + y * y < 190 * 190
            };
            let mut mesh = Mesh::new(60, near, seed);
            for _ in 0..30 {
                mesh.round();
                if mesh.round < 6 || mesh.round.is_multiple_of(6) {
                    assert!(mesh.reaches_all(), "seed {seed}");
                }
            }
            assert!(mesh.members().len() < 40, "seed {seed}: {:?}", mesh.members());
        }
    }

    #[test]
    fn where_a_member_falls_silent_others_step_in() {
        let mut mesh = Mesh::new(20, |_, _| true, 3);
        for _ in 0..15 {
            mesh.round();
        }
        for gone in mesh.members() {
            for links in &mut mesh.links {
                links.retain(|&at| at != gone);
            }
            mesh.links[gone].clear();
        }
        for _ in 0..30 {
            mesh.round();
        }
        let there = mesh.members().into_iter().filter(|&at| !mesh.links[at].is_empty()).count();
        assert!((1..=3).contains(&there), "{there}");
        assert!(mesh.reaches_all());
    }

    #[test]
    fn who_hardly_hears_this_node_does_not_hold_it() {
        let mut node = Backbone::new();
        let (own, other) = (Address::new(1), Address::new(2));
        let hello = |node: &mut Backbone, arrives, reports: [Option<HelloReport>; 3]| {
            node.hello(Instant::ZERO, own, (other, arrives), HelloFlags::BACKBONE, &reports);
            node.choose(Instant::ZERO, &mut Rng::new(1));
            node.is_member()
        };
        assert!(hello(&mut node, None, [None; 3]), "nothing known");
        assert!(!hello(&mut node, Some(30), [None; 3]));
        let mut node = Backbone::new();
        assert!(hello(&mut node, Some(255), [Some(HelloReport::of(own, 255)), None, None]));
        assert!(!hello(&mut node, Some(255), [Some(HelloReport::of(own, 20)), None, None]));
    }
}
