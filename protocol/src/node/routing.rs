//! Routes that are learned: what this node asks, answers and passes on, and what becomes of a route in use.
//!
//! What each node says is its own frame, heard by neighbours and never relayed: so whoever hears it knows over which link it came.

use super::Node;
use crate::control::{Control, RouteReply, RouteRequest};
use crate::discovery::{ANSWER_AFTER, DueSearch};
use crate::frame::Frame;
use crate::routes::{Label, Offered};
use crate::{Address, Discard, Duration, Instant, Priority};

/// Jitter of a search that is passed on, for each neighbour, and at the least and the most.
const ASK_PER_NEIGHBOUR: Duration = Duration::from_millis(3);
const ASK_LEAST: Duration = Duration::from_millis(4);
const ASK_MOST: Duration = Duration::from_millis(45);
/// Of one that nobody answers, which has time.
const KNOWN_PER_NEIGHBOUR: Duration = Duration::from_millis(25);
const KNOWN_MOST: Duration = Duration::from_millis(500);
/// The dearer the link, the later: for each eighth of a transmission above the least. So what comes first is mostly the best.
const ASK_PER_COST: Duration = Duration::from_millis(2);
/// With fewer neighbours than this every search is passed on; and every one that nobody answers.
const DENSE: usize = 6;
const DENSE_KNOWN: usize = 3;

every_size!(
    /// Learned routes.
    impl Node {
        /// What is for `destination` goes without a route: one is searched for, unless that is under way or was in vain of late; unless
        /// `surely` only if it is not the first time.
        pub(super) fn wants_route(&mut self, now: Instant, destination: Address, surely: bool) {
            if destination.is_node() && destination != self.address {
                let hops =
                    self.paths.iter().find(|path| path.destination == destination).map(|path| path.hops);
                self.discovery.want(now, destination, surely, hops);
            }
        }

        /// Sends what is due of searches.
        pub(super) fn search(&mut self, now: Instant) {
            while let Some(due) = self.discovery.handle_timeout(now, self.address, self.ttl) {
                match due {
                    DueSearch::Ask { target, ring } => {
                        if ring >= self.ttl {
                            self.discovery.announced(now, &mut self.rng, false);
                        }
                        self.ask(target, ring);
                    }
                    DueSearch::Announce => {
                        // In a network larger than tables those who speak make themselves known when they do.
                        let alone = self.neighbours.alive(now) == 0;
                        let full = self.routes.len() >= ROUTES - ROUTES / 4 && !self.discovery.is_unknown();
                        self.discovery.announced(now, &mut self.rng, full || alone);
                        if !full && !alone {
                            self.ask(Address::EVERYONE, self.ttl);
                        }
                    }
                    DueSearch::PassOn(request) => {
                        self.tell(request_class(&request), Control::RouteRequest(request))
                    }
                    DueSearch::Answer { origin } => self.answer_search(now, origin),
                }
            }
        }

        fn ask(&mut self, target: Address, ttl: u8) {
            let request =
                RouteRequest { origin: self.address, target, seqno: self.seqno(), cost: 0, ttl, hops: 0 };
            self.tell(request_class(&request), Control::RouteRequest(request));
        }

        fn answer_search(&mut self, now: Instant, origin: Address) {
            let reply = RouteReply { target: self.address, origin, seqno: self.seqno(), cost: 0, hops: 0 };
            if let Some(next) = self.next_hop(now, origin) {
                self.control(next, Priority::High, Control::RouteReply(reply), false);
            }
        }

        fn tell(&mut self, class: Priority, control: Control) {
            self.control(Address::EVERYONE, class, control, false);
        }

        /// How new what this node says of itself is.
        const fn seqno(&self) -> u16 {
            self.seq.next() as u16
        }

        pub(super) fn take_request(
            &mut self,
            now: Instant,
            frame: &Frame<'_>,
            request: &RouteRequest,
        ) -> Result<(), Discard> {
            if frame.ttl0 != 1 {
                return Err(Discard::Malformed);
            }
            if request.origin == self.address {
                return Ok(());
            }
            let link = self.neighbours.link_cost(now, frame.src).ok_or(Discard::WeakLink)?;
            let heard_of =
                self.routes.label(request.origin).is_some_and(|label| label.seqno == request.seqno);
            let label = Label { seqno: request.seqno, cost: request.cost };
            let offered = self.routes.offered(now, request.origin, frame.src, label, link);
            let cost = if let Offered::First(cost) = offered { Some(cost) } else { None };
            let alive = self.neighbours.alive(now);
            if heard_of {
                let dense = if request.target == Address::EVERYONE { DENSE_KNOWN } else { DENSE };
                if self.discovery.heard(self.address, request, cost, alive >= dense) {
                    self.stats.count(Discard::Suppressed);
                }
                return Ok(());
            }
            let Some(cost) = cost else { return Ok(()) };
            self.discovery.found(now, request.origin);
            let mine = request.target == self.address;
            if !mine && (!self.relay || request.ttl < 2) {
                return Ok(());
            }
            let due = if mine {
                now + ANSWER_AFTER
            } else {
                let (each, most) = match request.target {
                    Address::EVERYONE => (KNOWN_PER_NEIGHBOUR, KNOWN_MOST),
                    _ => (ASK_PER_NEIGHBOUR, ASK_MOST),
                };
                let jitter = self.rng.jitter(each.times(alive as u64).max(ASK_LEAST).min(most));
                now + jitter + ASK_PER_COST.times(u64::from(link.saturating_sub(8)))
            };
            let request = RouteRequest {
                cost,
                ttl: request.ttl.saturating_sub(1),
                hops: (request.hops + 1).min(15),
                ..*request
            };
            self.discovery.pass_on(request, due);
            Ok(())
        }

        /// A reply, to this node or to a neighbour: who hears it knows as well as that one where it leads.
        pub(super) fn take_reply(
            &mut self,
            now: Instant,
            frame: &Frame<'_>,
            reply: &RouteReply,
        ) -> Result<(), Discard> {
            if frame.ttl0 != 1 {
                return Err(Discard::Malformed);
            }
            if reply.target == self.address {
                return Ok(());
            }
            let link = self.neighbours.link_cost(now, frame.src).ok_or(Discard::WeakLink)?;
            let label = Label { seqno: reply.seqno, cost: reply.cost };
            let offered = self.routes.offered(now, reply.target, frame.src, label, link);
            if offered != Offered::Refused {
                self.discovery.found(now, reply.target);
            }
            let Offered::First(cost) = offered else { return Ok(()) };
            if frame.dst == self.address
                && reply.origin != self.address
                && let Some(next) = self.next_hop(now, reply.origin)
            {
                let reply = RouteReply { cost, hops: reply.hops.saturating_add(1), ..*reply };
                self.control(next, Priority::High, Control::RouteReply(reply), false);
            }
            Ok(())
        }

        /// What a neighbour says to another one.
        pub(super) fn overhear_reply(&mut self, now: Instant, frame: &Frame<'_>, reply: &RouteReply) {
            if frame.ttl == 1 {
                let _ = self.take_reply(now, frame, reply);
            }
        }

        pub(super) fn take_broken(
            &mut self,
            now: Instant,
            frame: &Frame<'_>,
            destination: Address,
            seqno: u16,
        ) -> Result<(), Discard> {
            if frame.ttl0 != 1 {
                return Err(Discard::Malformed);
            }
            if self.routes.broken(destination, frame.src, seqno) {
                self.tell_broken(now, destination);
            }
            Ok(())
        }

        /// Tells the neighbours that this node leads to `destination` no more.
        pub(super) fn tell_broken(&mut self, now: Instant, destination: Address) {
            if let Some(label) = self.routes.label(destination)
                && self.discovery.may_tell(now)
            {
                self.tell(Priority::Medium, Control::RouteBroken { destination, seqno: label.seqno });
            }
        }
    }
);

/// A search that nobody answers is in no hurry.
fn request_class(request: &RouteRequest) -> Priority {
    if request.target == Address::EVERYONE { Priority::Low } else { Priority::Medium }
}
