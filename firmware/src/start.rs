//! A start: what a node is made of each time its power is back.
//!
//! Owns what goes from settings and flash into a new node, and in which order things are first said. Where flash comes from is `flash_log`'s
//! business.

use mesh_protocol::{Address, AnyNode, Config, Duration, EpochKeys, Instant, Keyring};

use crate::flash_log::{Kept, Marks};

/// SEQs reserved at a time by a small node; `docs/protocol.md`, "SEQ".
pub const SEQ_BLOCK: u32 = 1_024;
/// Hops allowed to a node's messages: more than any field here is long.
pub const TTL: u8 = 12;
/// What the node is told that a route costs: it decides nothing.
const ROUTE_COST: u16 = 1;
/// A node says its names no earlier than this after a start, when its neighbours have had their first hellos.
const ANNOUNCE_AFTER: Duration = Duration::from_millis(1_000);
/// And within so many milliseconds from then on, so that nodes that were switched on together do not say theirs together. A guess.
const ANNOUNCE_SPREAD: u64 = 3_000;

/// What a node is set up with, apart from what is in flash: it joined a network, and somebody gave it settings.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// Its lease.
    pub address: Address,
    /// The keys of the epoch that it sends in.
    pub keys: &'a EpochKeys,
    /// Hops allowed to its messages, 1 to 15.
    pub ttl: u8,
    /// Whether it relays.
    pub relay: bool,
    /// SEQs reserved at a time.
    pub seq_block: u32,
    /// To whom by which neighbour, as an operator says it.
    pub routes: &'a [(Address, Address)],
}

impl Setup<'_> {
    /// What a node is made with. It begins behind every SEQ that flash says may have been used; `seed` is another one at each start.
    #[must_use]
    pub fn config<M: Marks>(&self, kept: &Kept<M>, seed: u64) -> Config {
        Config {
            address: self.address,
            keys: Keyring::new(self.keys.clone()),
            seed,
            ttl: self.ttl,
            relay: self.relay,
            // Reserved counts as used: which of them went out before power was cut, nobody knows.
            seq_start: kept.seq_start(self.keys.epoch()),
            seq_block: self.seq_block,
        }
    }

    /// Gives a new node, before it has heard anything, its routes and the marks of earlier lives. Routes that it has no room for are left
    /// out. Marks are of no more sources than it has room for, as a node with as much room brought them.
    pub fn restore<M: Marks>(&self, now: Instant, node: &mut (impl AnyNode + ?Sized), kept: &Kept<M>) {
        for &(to, next) in self.routes {
            // As documented: what is not taken is left out.
            let _ = node.set_route(now, to, next, ROUTE_COST);
        }
        for mark in kept.marks().iter() {
            node.restore_mark(mark);
        }
    }
}

/// How long after a start a node says its names, each node at its own time.
#[must_use]
pub fn announce_after(seed: u64) -> Duration {
    ANNOUNCE_AFTER + Duration::from_millis(seed % ANNOUNCE_SPREAD)
}

#[cfg(test)]
mod tests {
    use mesh_protocol::{Delivery, MessageId, NetKey, Priority, ReplayMark, SendError, SmallNode};

    use super::*;
    use crate::flash::tests::Ram;
    use crate::flash_log::{Change, FlashLog, MarkTable};

    #[test]
    fn a_new_node_goes_on_behind_what_flash_says_and_shuts_out_what_earlier_lives_took() {
        let mut chip = Ram::new();
        let mut log = FlashLog::open(&mut chip, MarkTable::<4>::new()).unwrap();
        let mark = ReplayMark { src: Address::new(8), epoch: 3, seq: 77 };
        log.write(&mut chip, &[Change::Seq { epoch: 3, up_to: 640 }, Change::Mark(mark)]).unwrap();
        let (to, by) = (Address::new(30), Address::new(8));
        let start = |epoch, routes: &[(Address, Address)]| {
            let keys = EpochKeys::derive(&NetKey::new([7; 16]), epoch);
            let (address, relay) = (Address::new(4), true);
            let setup = Setup { address, keys: &keys, ttl: TTL, relay, seq_block: SEQ_BLOCK, routes };
            let mut node = SmallNode::new(Instant::ZERO, setup.config(log.kept(), 1));
            setup.restore(Instant::ZERO, &mut node, log.kept());
            node
        };
        let node = start(3, &[(to, by), (Address::new(4), by)]);
        assert_eq!((node.next_seq(), node.epoch()), (640, 3));
        assert_eq!(node.replay_marks().collect::<Vec<_>>(), [mark]);
        assert_eq!(node.routes(Instant::ZERO).count(), 1, "the one to itself is left out");
        assert_eq!(start(4, &[]).next_seq(), 0, "another key");
        let (id, priority) = (MessageId(1), Priority::High);
        let delivery = Delivery { id, destination: to, priority, deadline: Instant::MAX };
        let sent = start(2, &[]).send(Instant::ZERO, delivery, 1, &[1]);
        assert_eq!(
            sent,
            Err(SendError::SeqExhausted),
            "under the key of an epoch that is over it says nothing"
        );
    }

    #[test]
    fn names_are_said_within_seconds_of_a_start_and_not_by_all_at_once() {
        let times: Vec<_> = (0..6_000).map(announce_after).collect();
        assert!(times.iter().all(|time| (1_000..4_000).contains(&time.as_millis())));
        assert_ne!(times[1], times[2]);
    }
}
