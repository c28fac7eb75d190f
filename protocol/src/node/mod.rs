//! The node: where the small machines meet.
//!
//! Owns their order and the contract printed in the crate's documentation. This file is what the application
//! sees; `ingress` takes frames, `egress` gives them, `timeout` keeps the clock.

#[macro_use]
mod sizes;

mod any;
mod egress;
mod ingress;
mod interface;
mod timeout;

pub use any::AnyNode;
pub use interface::{Answer, Capacity, Config, Event, Host, Received, RouteError, SendError, Transmit};

use heapless::{Deque, Vec};

use crate::air_queue::{AirQueue, link_bit};
use crate::block::{BlockHead, MESSAGE_MAX, PART_LEN, fits_one_block, part_len};
use crate::contest::{Conflict, Contest};
use crate::control::{Control, NameHash, Verdict};
use crate::crypto::Keyring;
use crate::finished::FinishedList;
use crate::neighbours::{HELLO_INTERVAL, NeighbourTable, Neighbours};
use crate::outbox::{Delivery, Outbox, Outcome};
use crate::paths::PathTable;
use crate::reassembly::{Origin, Reassembly, SetIndex};
use crate::replay::{ReplayMarks, ReplayTable};
use crate::routes::{Route, RouteOrigin, RouteTable};
use crate::seen::SeenCache;
use crate::segment::{SEGMENT_LEN, SHORT_SEGMENT_LEN};
use crate::seq::{SeqCounter, SeqError};
use crate::shares::Shares;
use crate::{
    Address, Duration, Instant, LinkId, LinkInfo, LinkKind, MAX_FRAME, MessageId, Path, Priority, ReplayMark,
    Rng, Stats,
};

/// Events that can wait for the application between two drains.
const EVENTS: usize = 8;
/// Own control messages that can wait for the radio.
const CONTROLS: usize = 16;
/// First hello after the start: soon, so that a new node is known within seconds.
const FIRST_HELLO: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug)]
struct Link {
    id: LinkId,
    info: LinkInfo,
    free_at: Instant,
    shares: Shares,
}

/// An own control message waiting for the radio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OwnControl {
    destination: Address,
    priority: Priority,
    control: Control,
    /// Whether the one before it seems to have been lost.
    again: bool,
}

/// An event before the application has polled it.
#[derive(Clone, Debug)]
enum Queued<const FRAME: usize> {
    Single { source: Address, destination: Address, priority: Priority, hops: u8, body: Vec<u8, FRAME, u8> },
    Block(SetIndex),
    NextPart { id: MessageId, offset: u32, len: usize },
    Done { id: MessageId, outcome: Outcome, hops: Option<u8> },
    Processed { source: Address, id: MessageId },
    NameWanted { source: Address, name: NameHash },
    NameAt { source: Address, name: NameHash },
}

every_size!(
    /// One node of the mesh. See the crate's documentation for how to drive it.
    ///
    /// `LINKS` links (at most 8), `SOURCES` nodes whose frames it takes, `PEERS` neighbours, paths, routes
    /// and recent deliveries, `SEEN` frames in the duplicate cache, `REASM` reassembly sets, `OUTBOX` own messages under way,
    /// `QUEUE` frames of at most `FRAME` bytes waiting for the air, `GROUPS` groups that the node is in.
    #[derive(Clone, Debug)]
    pub struct Node {
        address: Address,
        ttl: u8,
        relay: bool,
        keys: Keyring,
        rng: Rng,
        seq: SeqCounter,
        contest: Contest,
        /// The SEQ that betrayed a conflict, until the application has heard of it.
        conflict_news: Option<u32>,
        links: Vec<Link, LINKS>,
        groups: Vec<Address, GROUPS>,
        replay: ReplayTable<SOURCES>,
        seen: SeenCache<SEEN>,
        neighbours: NeighbourTable<PEERS>,
        paths: PathTable<PEERS>,
        routes: RouteTable<PEERS>,
        reassembly: Reassembly<REASM>,
        finished: FinishedList<PEERS>,
        outbox: Outbox<OUTBOX>,
        queue: AirQueue<QUEUE, FRAME>,
        controls: Deque<OwnControl, CONTROLS>,
        /// Whether an own frame goes before a relay of the same class next time.
        own_turn: bool,
        hello_at: Instant,
        /// Hellos so far; their low byte is on the air.
        hello_count: u32,
        events: Deque<Queued<FRAME>, EVENTS>,
        /// The event whose bytes the application may still be reading.
        lent: Option<Queued<FRAME>>,
        stats: Stats,
    }
);

every_size!(
    /// What the application asks of a node, and how it runs it.
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
            let hello_at = now + rng.jitter(FIRST_HELLO);
            Self {
                address: config.address,
                ttl: config.ttl.clamp(1, crate::frame::TTL_MAX),
                relay: config.relay,
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
                paths: PathTable::new(),
                routes: RouteTable::new(),
                reassembly: Reassembly::new(),
                finished: FinishedList::new(),
                outbox: Outbox::new(config.address, first_transfer),
                queue: AirQueue::new(),
                controls: Deque::new(),
                own_turn: true,
                hello_at,
                hello_count: 0,
                events: Deque::new(),
                lent: None,
                stats: Stats::default(),
            }
        }

        // ---- looking in ----

        /// This node's address.
        #[must_use]
        pub const fn address(&self) -> Address {
            self.address
        }

        /// The epoch this node sends under.
        #[must_use]
        pub const fn epoch(&self) -> u32 {
            self.keys.current().epoch()
        }

        /// The counters.
        #[must_use]
        pub const fn stats(&self) -> &Stats {
            &self.stats
        }

        /// Who is or was in range.
        pub fn neighbours(&self) -> Neighbours<'_> {
            self.neighbours.iter()
        }

        /// How many neighbours were heard lately enough to count as there.
        #[must_use]
        pub fn neighbours_alive(&self, now: Instant) -> usize {
            self.neighbours.alive(now)
        }

        /// What is known of the way to other nodes: hops and round-trip time.
        pub fn paths(&self) -> core::slice::Iter<'_, Path> {
            self.paths.iter()
        }

        /// Which neighbour is asked to pass on what goes to other nodes.
        pub fn routes(&self) -> core::slice::Iter<'_, Route> {
            self.routes.iter()
        }

        /// The highest SEQ taken from each source: to be kept over a restart.
        pub fn replay_marks(&self) -> ReplayMarks<'_> {
            self.replay.marks()
        }

        /// Sources known, and how many can be.
        #[must_use]
        pub fn replay_use(&self) -> (usize, usize) {
            (self.replay.len(), SOURCES)
        }

        /// The next SEQ this node will use.
        #[must_use]
        pub const fn next_seq(&self) -> u32 {
            self.seq.next()
        }

        /// What is known of another node under this node's address, if one was heard lately.
        #[must_use]
        pub fn conflict(&self, now: Instant) -> Option<Conflict> {
            self.contest.known(now)
        }

        /// Whether this node may send frames of its own now: it has SEQs, and is not silent for another one under its address.
        #[must_use]
        pub fn can_seal(&self) -> bool {
            self.contest.silent_until().is_none() && self.seq.ready().is_ok()
        }

        /// Nodes of which frames were refused as replays, or as too far ahead, since the last one that was taken, and how many.
        pub fn refusals(&self) -> impl Iterator<Item = (Address, u16)> + '_ {
            self.replay.refusals()
        }

        /// Own messages on their way, and frames waiting for the air.
        #[must_use]
        pub fn depth(&self) -> (usize, usize) {
            (self.outbox.len(), self.queue.len())
        }

        /// How many entries its tables have.
        #[must_use]
        pub const fn capacity(&self) -> Capacity {
            Capacity { sources: SOURCES, peers: PEERS, outbox: OUTBOX, queue: QUEUE, groups: GROUPS }
        }

        /// Whether [`send`](Self::send) has room for a message.
        #[must_use]
        pub fn has_room(&self) -> bool {
            self.outbox.has_room()
        }

        /// Own messages that were sent to one node again and again without any answer, so that others may go before them.
        pub fn unanswered(&self) -> impl Iterator<Item = MessageId> + '_ {
            self.outbox.unanswered()
        }

        // ---- commands ----

        /// Shuts out every frame at or below a mark from before a restart.
        ///
        /// `false` when the replay table is full: the network has more nodes than this one can guard against.
        pub fn restore_mark(&mut self, mark: ReplayMark) -> bool {
            self.replay.restore(mark)
        }

        /// How far transfer numbers are ahead of those that a start at this [`next_seq`](Self::next_seq) begins with: to be kept
        /// over a restart.
        #[must_use]
        pub const fn transfers_ahead(&self) -> u16 {
            self.outbox.next_transfer().bits().wrapping_sub((self.seq.next() >> 1) as u16)
        }

        /// Begins with transfer numbers that much further on, so that none comes twice while receivers may remember it. To be
        /// called before the first message.
        pub fn restore_transfers(&mut self, ahead: u16) {
            self.outbox.skip_transfers(ahead);
        }

        /// The host has synced what [`Event::ReserveSeq`] asked for.
        pub fn seq_reserved(&mut self, up_to: u32) {
            self.seq.reserved(up_to);
        }

        /// Also takes messages to `group`; `false` when this node is in as many as it has room for, or it is no group.
        pub fn join_group(&mut self, group: Address) -> bool {
            group.is_group() && (self.groups.contains(&group) || self.groups.push(group).is_ok())
        }

        /// No longer takes messages to `group`.
        pub fn leave_group(&mut self, group: Address) {
            self.groups.retain(|joined| *joined != group);
        }

        /// Bytes to hand to [`send`](Self::send) for such a message of `total` bytes: all, or a first part. What a route leads
        /// to is cut shorter.
        #[must_use]
        pub fn first_part_len(&self, destination: Address, priority: Priority, total: usize) -> usize {
            let each = self.segment_len(destination, priority);
            if fits_one_block(total, each) { total } else { part_len(each) }
        }

        /// From now on a first attempt to reach `destination` is passed on by the neighbour `next_hop` alone, in place of any
        /// route before; without an answer it is flooded. CRITICAL messages use no routes. `cost` is only kept and shown.
        ///
        /// # Errors
        /// [`RouteError`], and nothing has changed.
        pub fn set_route(
            &mut self,
            now: Instant,
            destination: Address,
            next_hop: Address,
            cost: u16,
        ) -> Result<(), RouteError> {
            if !destination.is_node() || destination == self.address {
                return Err(RouteError::Destination);
            }
            if !next_hop.is_node() || next_hop == self.address {
                return Err(RouteError::NextHop);
            }
            let route = Route { destination, next_hop, cost, origin: RouteOrigin::Operator, since: now };
            if self.routes.set(route) { Ok(()) } else { Err(RouteError::Full) }
        }

        /// Forgets the route to `destination`; whether there was one.
        pub fn remove_route(&mut self, destination: Address) -> bool {
            self.routes.remove(destination)
        }

        /// Sends a message of `total` bytes; `first` are its first [`first_part_len`](Self::first_part_len) bytes, which are
        /// all of it when it fits one block. Further parts are asked for by [`Event::NextPart`].
        ///
        /// # Errors
        /// [`SendError`], and nothing has changed.
        pub fn send(
            &mut self,
            now: Instant,
            delivery: Delivery,
            total: usize,
            first: &[u8],
        ) -> Result<(), SendError> {
            if self.seq.ready() == Err(SeqError::Exhausted) {
                return Err(SendError::SeqExhausted);
            }
            if total == 0 || total > MESSAGE_MAX {
                return Err(SendError::Length);
            }
            if first.len() != self.first_part_len(delivery.destination, delivery.priority, total) {
                return Err(SendError::FirstPart);
            }
            if delivery.destination == Address::NONE || delivery.destination == self.address {
                return Err(SendError::Destination);
            }
            if self.outbox.holds(delivery.id) {
                return Err(SendError::IdInUse);
            }
            let each = self.segment_len(delivery.destination, delivery.priority);
            if self.outbox.push(now, delivery, total as u32, first, each as u8) {
                Ok(())
            } else {
                Err(SendError::OutboxFull)
            }
        }

        /// The bytes from `offset` on that [`Event::NextPart`] asked for; `false` if others or none are asked for now, or
        /// not as many.
        pub fn supply(&mut self, now: Instant, id: MessageId, offset: u32, bytes: &[u8]) -> bool {
            self.outbox.supply(now, id, offset, bytes)
        }

        /// Gives up an own message without an event.
        pub fn cancel(&mut self, id: MessageId) {
            self.outbox.cancel(id);
        }

        /// Tells a source what became of its message, now or again; `false` when there is no room for it now: try again
        /// after the next drain.
        pub fn report(&mut self, to: Address, id: MessageId, priority: Priority, verdict: Verdict) -> bool {
            self.finished.decide(to, id, verdict);
            self.control(to, priority, Control::Receipt { message: id, verdict }, false)
        }

        /// Tells everyone, or the node that asked, that an agent of this name is here.
        pub fn announce(&mut self, to: Address, name: NameHash) {
            self.control(to, Priority::High, Control::Here(name), false);
        }

        /// Asks everyone where the agent of this name is.
        pub fn find_name(&mut self, name: NameHash, priority: Priority) {
            self.control(Address::EVERYONE, priority, Control::WhoHas(name), false);
        }

        // ---- to whoever runs the node ----

        /// The next event. The bytes it lends stay until the next call.
        #[must_use]
        pub fn poll_event(&mut self) -> Option<Event<'_>> {
            if let Some(Queued::Block(set)) = self.lent.take() {
                self.reassembly.free(set);
            }
            if let Some(up_to) = self.seq.wants() {
                return Some(Event::ReserveSeq { up_to });
            }
            if self.seq.low() {
                return Some(Event::EpochWanted);
            }
            if let Some(seq) = self.conflict_news.take() {
                return Some(Event::AddressConflict { seq });
            }
            self.lent = self.events.pop_front();
            // A block is queued only after its head was read, so none is lost here.
            Some(match self.lent.as_ref()? {
                Queued::Single { source, destination, priority, hops, body } => {
                    let origin = Origin { src: *source, dst: *destination, priority: *priority, hops: *hops };
                    Event::Received(received(origin, self.replay.mark_of(*source), body)?)
                }
                Queued::Block(set) => {
                    let (origin, _, block) = self.reassembly.block(*set);
                    Event::Received(received(origin, self.replay.mark_of(origin.src), block)?)
                }
                &Queued::NextPart { id, offset, len } => Event::NextPart { id, offset, len },
                &Queued::Done { id, outcome, hops } => Event::Done { id, outcome, hops },
                &Queued::Processed { source, id } => Event::Processed { source, id },
                &Queued::NameWanted { source, name } => Event::NameWanted { source, name },
                &Queued::NameAt { source, name } => Event::NameAt { source, name },
            })
        }

        /// Does everything that is due at `now`: timers, events, frames. Returns when to call again at the latest.
        pub fn drive(&mut self, now: Instant, host: &mut (impl Host + ?Sized)) -> Option<Instant> {
            let mut frame = [0; MAX_FRAME];
            let mut part = [0; PART_LEN];
            loop {
                self.handle_timeout(now);
                while let Some(event) = self.poll_event() {
                    let reply = match event {
                        Event::Received(received) if received.destination.is_node() => {
                            Reply::Verdict(received.source, received.id, received.priority)
                        }
                        Event::ReserveSeq { up_to } => Reply::Reserved(up_to),
                        Event::NextPart { id, offset, len } => Reply::Part(id, offset, len),
                        _ => Reply::None,
                    };
                    match (host.event(event), reply) {
                        (Answer::Verdict(verdict), Reply::Verdict(to, id, priority)) => {
                            self.report(to, id, priority, verdict);
                        }
                        (Answer::Reserved, Reply::Reserved(up_to)) => self.seq_reserved(up_to),
                        (_, Reply::Part(id, offset, len)) => {
                            if let Some(part) = part.get_mut(..len)
                                && host.load(id, offset, part)
                            {
                                self.supply(now, id, offset, part);
                            }
                        }
                        _ => {}
                    }
                }
                while let Some(transmit) = self.poll_transmit(now, &mut frame) {
                    host.transmit(transmit.link, &frame[..transmit.len], transmit.copies);
                }
                let next = self.poll_timeout();
                let heard_all =
                    self.events.is_empty() && !self.seq.has_news() && self.conflict_news.is_none();
                if heard_all && next.is_none_or(|next| next > now) {
                    return next;
                }
            }
        }

        /// Queues an own control message; one that says the same takes its place, and one to nobody goes nowhere. Full: the
        /// newest of the least urgent gives way, or this one if it is no more urgent, as if the air had lost it. `again`: what
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
            let same = |known: &OwnControl| {
                known.destination == destination
                    && match (&known.control, &control) {
                        (Control::Ack(known), Control::Ack(new)) => known.transfer == new.transfer,
                        (Control::Receipt { message: known, .. }, Control::Receipt { message: new, .. }) => {
                            known == new
                        }
                        (Control::Hello { .. }, Control::Hello { .. }) => true,
                        (known, new) => known == new,
                    }
            };
            let own = OwnControl { destination, priority, control, again };
            match self.controls.iter_mut().find(|known| same(known)) {
                Some(known) => {
                    *known = own;
                    true
                }
                None => {
                    if self.controls.is_full() {
                        self.stats.count(crate::Discard::QueueFull);
                        let waiting = self.controls.iter().enumerate();
                        let last = waiting.max_by_key(|(at, own)| (own.priority, *at));
                        match last.filter(|(_, own)| own.priority > priority).map(|(at, _)| at) {
                            Some(at) => self.forget_control(at),
                            None => return false,
                        }
                    }
                    self.controls.push_back(own).is_ok()
                }
            }
        }

        fn forget_control(&mut self, at: usize) {
            for index in 0..self.controls.len() {
                if let Some(own) = self.controls.pop_front()
                    && index != at
                {
                    // As many go back as were taken out.
                    let _ = self.controls.push_back(own);
                }
            }
        }

        /// The neighbour that alone is to pass on what goes to `to`, if a route names one that has not fallen silent.
        fn next_hop(&self, now: Instant, to: Address) -> Option<Address> {
            self.routes.next_hop(to).filter(|next| !self.neighbours.fell_silent(now, *next))
        }

        /// Bytes of each segment of a message: short ones leave room to name a next hop.
        fn segment_len(&self, to: Address, priority: Priority) -> usize {
            let by_another = self.routes.next_hop(to).is_some_and(|next| next != to);
            if by_another && priority != Priority::Critical { SHORT_SEGMENT_LEN } else { SEGMENT_LEN }
        }

        /// The links that carry a frame of `len` bytes.
        fn links_for(&self, len: usize) -> u8 {
            self.links.iter().filter(|link| link.info.mtu >= len).fold(0, |set, link| set | link_bit(link.id))
        }

        /// The links that lose nothing.
        fn lossless(&self) -> u8 {
            let unicast = self.links.iter().filter(|link| link.info.kind == LinkKind::Unicast);
            unicast.fold(0, |set, link| set | link_bit(link.id))
        }

        /// Queues an event; `false` when the application has not drained.
        fn push_event(&mut self, event: Queued<FRAME>) -> bool {
            self.events.push_back(event).is_ok()
        }
    }
);

/// What `drive` does with an answer once the event no longer borrows the node.
enum Reply {
    None,
    Verdict(Address, MessageId, Priority),
    Reserved(u32),
    Part(MessageId, u32, usize),
}

fn received(origin: Origin, mark: Option<ReplayMark>, block: &[u8]) -> Option<Received<'_>> {
    let (head, bytes) = BlockHead::parse(block).ok()?;
    Some(Received {
        source: origin.src,
        destination: origin.dst,
        id: head.message,
        priority: origin.priority,
        hops: origin.hops,
        part: head.part,
        mark,
        bytes,
    })
}

/// The time of the next hello: the interval, less or more a tenth, so that neighbours do not stay in step.
fn next_hello(now: Instant, rng: &mut Rng, count: u32) -> Instant {
    // The first few come faster: a delivery estimate within seconds of the start.
    let interval = if count < 4 { Duration::from_secs(2) } else { HELLO_INTERVAL };
    let tenth = Duration::from_micros(interval.as_micros() / 10);
    now + interval - tenth + rng.jitter(tenth.times(2))
}
