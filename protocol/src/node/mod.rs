//! The node: where the small machines meet.
//!
//! Owns their order and the contract printed in the crate's documentation. Here are its parts and its start. In:
//! `ingress` takes frames and checks them, `relay` passes them on, `deliver` takes what they bring. Out: `egress` gives
//! frames, `forwarding` says where they go, `events` tells the application. `commands`, `inspect`, `links` and `timeout`
//! are what their names say.

#[macro_use]
mod sizes;

mod any;
mod commands;
mod continued;
mod custody;
mod deliver;
mod drafting;
mod egress;
mod events;
mod forwarding;
mod ingress;
mod inspect;
mod interface;
mod links;
mod many;
mod probes;
mod relay;
mod routing;
mod timeout;

pub use any::AnyNode;
pub use interface::{Answer, Capacity, Config, Event, Host, Received, RouteError, SendError, Transmit};

use heapless::{Deque, Vec};

use crate::air_queue::AirQueue;
use crate::backbone::Backbone;
use crate::budget::Budget;
use crate::contest::Contest;
use crate::contexts::ContextTable;
use crate::control::Control;
use crate::control_queue::{ControlQueue, OwnControl, Pushed};
use crate::crypto::Keyring;
use crate::discovery::Discovery;
use crate::finished::FinishedList;
use crate::hellos::Hellos;
use crate::hop_acks::HopAcks;
use crate::hops::Hops;
use crate::neighbours::NeighbourTable;
use crate::outbox::Outbox;
use crate::paths::PathTable;
use crate::probe::ProbeAllowance;
use crate::reassembly::Reassembly;
use crate::replay::ReplayTable;
use crate::routes::RouteTable;
use crate::seen::SeenCache;
use crate::seq::SeqCounter;
use crate::steps::Steps;
use crate::tallies::Tallies;
use crate::{Address, Discard, Instant, MAX_FRAME, Priority, Rng, Stats};

use events::PendingEvent;
use links::Link;

/// Events that can wait for the application between two drains.
const EVENTS: usize = 8;

every_size!(
    /// One node of the mesh. See the crate's documentation for how to drive it.
    ///
    /// `LINKS` links (at most 8), `SOURCES` nodes whose frames it takes, `PEERS` neighbours, paths
    /// and recent deliveries, `SEEN` frames in the duplicate cache, `REASM` reassembly sets, `OUTBOX` own messages under way,
    /// `QUEUE` frames of at most `FRAME` bytes waiting for the air, `GROUPS` groups that the node is in,
    /// `ROUTES` routes.
    #[derive(Clone, Debug)]
    pub struct Node {
        address: Address,
        ttl: u8,
        relay: bool,
        /// Whether it says that it keeps messages for others.
        keeps: bool,
        keys: Keyring,
        rng: Rng,
        seq: SeqCounter,
        contest: Contest,
        /// The SEQ that showed a conflict, until the application was notified.
        conflict_news: Option<u32>,
        links: Vec<Link, LINKS>,
        groups: Vec<Address, GROUPS>,
        replay: ReplayTable<SOURCES>,
        seen: SeenCache<SEEN>,
        neighbours: NeighbourTable<PEERS>,
        backbone: Backbone,
        paths: PathTable<PEERS>,
        /// Transfers of others that it passes on.
        contexts: ContextTable<REASM>,
        routes: RouteTable<ROUTES>,
        discovery: Discovery,
        reassembly: Reassembly<REASM>,
        finished: FinishedList<PEERS>,
        outbox: Outbox<OUTBOX>,
        queue: AirQueue<QUEUE, FRAME>,
        controls: ControlQueue,
        hops: Hops,
        hop_acks: HopAcks,
        probes: ProbeAllowance,
        budget: Budget,
        /// Whether an own frame goes before a relay of the same class next time.
        own_turn: bool,
        hellos: Hellos,
        events: Deque<PendingEvent<FRAME>, EVENTS>,
        /// The event whose bytes the application may still be reading.
        lent: Option<PendingEvent<FRAME>>,
        /// What became of own messages on their way, until the application was told.
        tallies: Tallies,
        steps: Steps,
        stats: Stats,
    }
);

every_size!(
    /// Its start, and its own control messages.
    impl Node {
        /// A node that has just been switched on at `now`.
        ///
        /// # Panics
        /// When the configured address is not one node's.
        #[must_use]
        pub fn new(now: Instant, config: Config) -> Self {
            const {
                assert!(LINKS <= 8, "links are counted in the bits of a byte");
                assert!(FRAME >= crate::LEGACY_FRAME && FRAME <= MAX_FRAME, "frames of 27 to 245 bytes");
            }
            assert!(config.address.is_node(), "a node has one node's address, not {}", config.address);
            let mut rng = Rng::new(config.seed);
            // Like SEQs, transfer numbers go on behind those of an earlier run, which receivers may still remember: each
            // took two SEQs, unless it was given up before. See `transfers_ahead`.
            let first_transfer = (config.seq_start >> 1) as u16;
            let hellos = Hellos::new(now, &mut rng);
            let discovery = Discovery::new(now, &mut rng);
            Self {
                address: config.address,
                ttl: config.ttl.clamp(1, crate::frame::TTL_MAX),
                relay: config.relay,
                keeps: false,
                keys: config.keys,
                rng,
                seq: SeqCounter::new(config.seq_start, config.seq_block),
                contest: Contest::new(),
                conflict_news: None,
                links: Vec::new(),
                groups: Vec::new(),
                replay: ReplayTable::new(),
                seen: SeenCache::new(),
                neighbours: NeighbourTable::new(),
                backbone: Backbone::new(),
                paths: PathTable::new(),
                contexts: ContextTable::new(),
                routes: RouteTable::new(),
                discovery,
                reassembly: Reassembly::new(),
                finished: FinishedList::new(),
                outbox: Outbox::new(config.address, first_transfer),
                queue: AirQueue::new(),
                controls: ControlQueue::new(),
                hops: Hops::new(),
                hop_acks: HopAcks::new(),
                probes: ProbeAllowance::new(now),
                budget: Budget::new(),
                own_turn: true,
                hellos,
                events: Deque::new(),
                lent: None,
                tallies: Tallies::new(),
                steps: Steps::new(),
                stats: Stats::default(),
            }
        }

        /// Queues an own control message; one to nobody goes nowhere. `false` when there is no room for it. `again`: what
        /// it says was said before, and seems to have been lost.
        fn control(
            &mut self,
            destination: Address,
            priority: Priority,
            control: Control,
            again: bool,
        ) -> bool {
            if destination == Address::NONE || destination == self.address {
                return true;
            }
            let pushed = self.controls.push(OwnControl { destination, priority, control, again });
            if pushed != Pushed::Waits {
                self.stats.count(Discard::QueueFull);
            }
            pushed != Pushed::Refused
        }
    }
);
