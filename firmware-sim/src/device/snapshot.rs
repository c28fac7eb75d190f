//! What can be seen of a device from outside, at one moment.
//!
//! Owns the list. What of it must hold is `chaos::invariants`' business.

use mesh_protocol::{Address, Instant};

use super::Device;

/// What can be seen of a device after it ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeSnapshot {
    /// Whether it has power; without, the rest is what it was before.
    pub powered: bool,
    /// What its clock shows.
    pub clock: Instant,
    /// Its address.
    pub address: Address,
    /// The epoch it sends under.
    pub epoch: u32,
    /// The next SEQ.
    pub next_seq: u32,
    /// SEQs below this are reserved in flash.
    pub reserved: u32,
    /// Own messages under way, and how many can be.
    pub outbox: (usize, usize),
    /// Frames that wait for the radio, and how many can.
    pub queue: (usize, usize),
    /// Sources, and how many can be known.
    pub sources: (usize, usize),
    /// Neighbours, and how many can be known.
    pub neighbours: (usize, usize),
    /// Paths to others, and how many can be known.
    pub paths: (usize, usize),
    /// Routes, and how many it can have.
    pub routes: (usize, usize),
    /// Neighbours heard lately.
    pub alive: usize,
    /// Whether it remembers over a power cut what it delivered and what it sends.
    pub durable: bool,
    /// Whether it relays.
    pub relays: bool,
    /// Whether it has heard its own address from another node.
    pub conflict: bool,
    /// Whether the node is able to send own frames: numbers are reserved and nobody else uses its address.
    pub can_seal: bool,
    /// Whether the air is so busy, or neighbours take frames so slowly, that it holds back what is not CRITICAL.
    pub paced: bool,
}

impl Device {
    /// What can be seen of it, at the world's time `now`.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> NodeSnapshot {
        let capacity = self.node.capacity();
        let local = self.clock.local(now);
        let node = &*self.node;
        NodeSnapshot {
            powered: self.powered,
            clock: local,
            address: node.address(),
            epoch: node.epoch(),
            next_seq: node.next_seq(),
            reserved: self.reserved(),
            outbox: (node.depth().0, capacity.outbox),
            queue: (node.depth().1, capacity.queue),
            sources: node.replay_use(),
            neighbours: (node.neighbours().count(), capacity.peers),
            paths: (node.paths().count(), capacity.peers),
            routes: (node.routes(local).count(), capacity.routes),
            alive: node.neighbours_alive(local),
            durable: self.boot.options.durable,
            relays: self.boot.options.relay,
            conflict: node.conflict(local).is_some(),
            can_seal: node.can_seal(),
            paced: node.load(local).1.is_some() || node.waits_for_hops(),
        }
    }
}
