//! Searches for routes: which run, what of others' searches is to be passed on and when, and when this node makes itself known.
//!
//! Owns time and bounds of searching. Knows neither routes nor links; what is due, `node` says and sends.
//!
//! Full: a new search takes the place of the one that rests longest from now, or is not begun if all run. Of others' searches the newest is
//! left out, as if the air had lost it.

use heapless::Vec;

use crate::control::RouteRequest;
use crate::{Address, Duration, Instant, Rng};

/// Searches that run, rest, or were wanted once.
const SEARCHES: usize = 4;
/// Searches of others that wait to be passed on.
const RELAYS: usize = 8;
/// Hops of the first ring, if it is not known how far away the target is.
const FIRST_RING: u8 = 3;
/// Hops further than it was heard from.
const RING_MARGIN: u8 = 1;
/// There and back, for each hop of a ring: jitter, gap and airtime both ways. Then the next ring is tried.
const RING_TIME: Duration = Duration::from_millis(150);
/// A search that found nothing is not repeated before this, then twice as long each time, up to 16 times.
const REST: Duration = Duration::from_secs(5);
const REST_DOUBLINGS: u8 = 4;
/// Nor one that found a way: what fails so soon fails for want of air, which a search takes more of.
const FOUND_LASTS: Duration = Duration::from_secs(2);
/// A message to a node without a route is remembered for so long: with a second one a search begins.
const WANTED_FOR: Duration = Duration::from_secs(60);
/// Between two searches of one node.
const BETWEEN: Duration = Duration::from_millis(250);
/// What a target waits for a better way before it answers.
pub(crate) const ANSWER_AFTER: Duration = Duration::from_millis(25);
/// A node makes itself known this long after its start, when it knows its links, and within the span after.
const KNOWN_AFTER: Duration = Duration::from_secs(6);
const KNOWN_WITHIN: Duration = Duration::from_secs(24);
/// And again after this, so that no route to it is forgotten.
const KNOWN_AGAIN: Duration = Duration::from_secs(600);
/// Between two messages that a route is broken.
const BROKEN_BETWEEN: Duration = Duration::from_millis(100);
/// Copies of a search heard from others that make this node's own needless where it is dense.
const ENOUGH_ASKED: u8 = 3;
/// Of one that nobody answers: it may leave out a node, which is then found when it is needed.
const ENOUGH_KNOWN: u8 = 2;

/// Who is no further than this away is as near, in eighths of a transmission.
const AS_NEAR: u8 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// One message went without a route.
    Wanted,
    /// A ring is asked at `due`; or it was, and the next is then.
    Runs,
    /// It found nothing.
    Rests,
}

#[derive(Clone, Copy, Debug)]
struct Search {
    target: Address,
    phase: Phase,
    /// Hops of the next ring.
    ring: u8,
    /// Searches that found nothing.
    vain: u8,
    due: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Relay {
    request: RouteRequest,
    /// Copies heard from others.
    heard: u8,
    due: Instant,
}

/// Something to send now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DueSearch {
    /// A ring of a search of this node's own, of so many hops at the most.
    Ask { target: Address, ring: u8 },
    /// This node answers the search of `origin`.
    Answer { origin: Address },
    /// What another node searches for.
    PassOn(RouteRequest),
    /// This node makes itself known to all.
    Announce,
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Discovery {
    searches: Vec<Search, SEARCHES>,
    relays: Vec<Relay, RELAYS>,
    announce_at: Instant,
    /// It was left out because the network is too large, until this node has something to say.
    unknown: bool,
    /// No own search before this.
    free_at: Instant,
    /// No word of a broken route before this.
    broken_at: Instant,
}

impl Discovery {
    pub(crate) fn new(now: Instant, rng: &mut Rng) -> Self {
        Self {
            searches: Vec::new(),
            relays: Vec::new(),
            announce_at: now + KNOWN_AFTER + rng.jitter(KNOWN_WITHIN),
            unknown: false,
            free_at: now,
            broken_at: now,
        }
    }

    /// Something for `target` goes without a route; `surely`: more is to come, so that a search pays. It was last heard over `hops`.
    pub(crate) fn want(&mut self, now: Instant, target: Address, surely: bool, hops: Option<u8>) {
        let ring = hops.map_or(FIRST_RING, |hops| hops + RING_MARGIN);
        if let Some(search) = self.searches.iter_mut().find(|search| search.target == target) {
            let over = search.phase == Phase::Wanted || search.phase == Phase::Rests && search.due <= now;
            if over {
                (search.phase, search.ring, search.due) = (Phase::Runs, ring, now.max(self.free_at));
            }
            return;
        }
        let (phase, due) = match surely {
            true => (Phase::Runs, now.max(self.free_at)),
            false => (Phase::Wanted, now + WANTED_FOR),
        };
        let fresh = Search { target, phase, ring, vain: 0, due };
        if self.searches.push(fresh).is_err() {
            let idle = self.searches.iter_mut().filter(|search| search.phase != Phase::Runs);
            if let Some(place) = idle.max_by_key(|search| search.due) {
                *place = fresh;
            }
        }
    }

    /// Whether a search for `target` runs.
    pub(crate) fn searches(&self, target: Address) -> bool {
        self.searches.iter().any(|search| search.target == target && search.phase == Phase::Runs)
    }

    /// There is a route to `target` now.
    pub(crate) fn found(&mut self, now: Instant, target: Address) {
        self.searches.retain(|search| search.target != target || search.phase != Phase::Wanted);
        let runs = |search: &&mut Search| search.target == target && search.phase == Phase::Runs;
        if let Some(search) = self.searches.iter_mut().find(runs) {
            (search.phase, search.due, search.vain) = (Phase::Rests, now + FOUND_LASTS, 0);
        }
    }

    /// There is someone to hear this node now: it makes itself known as after a start.
    pub(crate) fn begin(&mut self, now: Instant, rng: &mut Rng) {
        self.announce_at = self.announce_at.min(now + KNOWN_AFTER + rng.jitter(KNOWN_WITHIN));
    }

    /// This node has something to say, so that answers to it pay a route, however large the network.
    pub(crate) fn speaks(&mut self, now: Instant) {
        if self.unknown {
            self.announce_at = self.announce_at.min(now);
        }
    }

    /// Whether this node is to make itself known only once it speaks.
    pub(crate) const fn is_unknown(&self) -> bool {
        self.unknown
    }

    /// All have heard of this node; or, if `left_out`, it was left out.
    pub(crate) fn announced(&mut self, now: Instant, rng: &mut Rng, left_out: bool) {
        self.unknown = left_out;
        self.announce_at = now + KNOWN_AGAIN + rng.jitter(KNOWN_AGAIN);
    }

    /// Passes a search on at `due`, or answers it there if it is for this node.
    pub(crate) fn pass_on(&mut self, request: RouteRequest, due: Instant) {
        // What could not be taken in is as good as lost.
        let _ = self.relays.push(Relay { request, heard: 0, due });
    }

    /// The search of `request` was heard again; `cost` is what it costs from here now. `dense`: others are there to pass it on.
    pub(crate) fn heard(
        &mut self,
        own: Address,
        request: &RouteRequest,
        cost: Option<u8>,
        dense: bool,
    ) -> bool {
        let same = |known: &RouteRequest| (known.origin, known.seqno) == (request.origin, request.seqno);
        let Some(at) = self.relays.iter().position(|relay| same(&relay.request)) else { return false };
        let relay = &mut self.relays[at];
        if let Some(cost) = cost {
            (relay.request.cost, relay.request.hops) = (cost, request.hops.saturating_add(1).min(15));
        }
        // Whoever hears both needs this node only if it is nearer.
        relay.heard += u8::from(request.cost <= relay.request.cost.saturating_add(AS_NEAR));
        let enough = if relay.request.target == Address::EVERYONE { ENOUGH_KNOWN } else { ENOUGH_ASKED };
        if dense && relay.heard >= enough && relay.request.target != own {
            self.relays.swap_remove(at);
            return true;
        }
        false
    }

    /// Whether the neighbours may be told now that a route is broken; then for a while not again.
    pub(crate) fn may_tell(&mut self, now: Instant) -> bool {
        let may = self.broken_at <= now;
        if may {
            self.broken_at = now + BROKEN_BETWEEN;
        }
        may
    }

    /// The next thing that is due. `own` is this node, `farthest` the hops that its frames may go.
    pub(crate) fn handle_timeout(&mut self, now: Instant, own: Address, farthest: u8) -> Option<DueSearch> {
        if let Some(at) = self.relays.iter().position(|relay| relay.due <= now) {
            let request = self.relays.swap_remove(at).request;
            return Some(match request.target == own {
                true => DueSearch::Answer { origin: request.origin },
                false => DueSearch::PassOn(request),
            });
        }
        self.searches.retain(|search| search.phase != Phase::Wanted || search.due > now);
        while let Some(at) =
            self.searches.iter().position(|search| search.phase == Phase::Runs && search.due <= now)
        {
            let search = &mut self.searches[at];
            if search.ring == 0 {
                let rest = REST.times(1 << search.vain.min(REST_DOUBLINGS));
                (search.phase, search.due, search.vain) =
                    (Phase::Rests, now + rest, search.vain.saturating_add(1));
                continue;
            }
            if self.free_at > now {
                search.due = self.free_at;
                continue;
            }
            self.free_at = now + BETWEEN;
            let (target, ring) = (search.target, search.ring.min(farthest));
            search.due = now + RING_TIME.times(ring.into());
            // Twice as far, then all, then it is over.
            search.ring = if ring >= farthest { 0 } else { ring.saturating_mul(2) };
            return Some(DueSearch::Ask { target, ring });
        }
        (self.announce_at <= now).then_some(DueSearch::Announce)
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn next_timeout(&self) -> Instant {
        let searches =
            self.searches.iter().filter(|search| search.phase != Phase::Rests).map(|search| search.due);
        let relays = self.relays.iter().map(|relay| relay.due);
        searches.chain(relays).min().map_or(self.announce_at, |due| due.min(self.announce_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: Address = Address::new(1);
    const T: Address = Address::new(7);

    fn ms(n: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(n)
    }

    fn discovery() -> Discovery {
        let mut discovery = Discovery::new(Instant::ZERO, &mut Rng::new(1));
        discovery.announce_at = Instant::MAX;
        discovery
    }

    fn request(origin: u16, seqno: u16) -> RouteRequest {
        RouteRequest { origin: Address::new(origin), target: T, seqno, cost: 8, ttl: 3, hops: 1 }
    }

    /// Every ring that is asked until `end`, and when.
    fn asked(discovery: &mut Discovery, end: Instant) -> std::vec::Vec<(u64, u8)> {
        let mut asked = std::vec::Vec::new();
        while discovery.next_timeout() <= end {
            let now = discovery.next_timeout();
            match discovery.handle_timeout(now, ME, 10) {
                Some(DueSearch::Ask { ring, .. }) => asked.push((now.as_micros() / 1000, ring)),
                other => assert_eq!(other, None),
            }
        }
        asked
    }

    #[test]
    fn a_search_goes_further_each_time_and_rests_when_it_was_in_vain() {
        let mut discovery = discovery();
        discovery.want(ms(0), T, false, None);
        assert_eq!(asked(&mut discovery, ms(500)), [], "one message is no reason");
        discovery.want(ms(500), T, false, None);
        discovery.want(ms(500), T, true, None);
        assert_eq!(asked(&mut discovery, ms(5_000)), [(500, 3), (950, 6), (1_850, 10)]);
        discovery.want(ms(5_000), T, true, None);
        assert_eq!(asked(&mut discovery, ms(8_300)), [], "it rests");
        discovery.want(ms(8_351), T, true, Some(4));
        assert_eq!(
            asked(&mut discovery, ms(60_000)),
            [(8_351, 5), (9_101, 10)],
            "as far as it was heard from"
        );
        discovery.want(ms(60_000), T, true, Some(1));
        discovery.found(ms(60_000), T);
        discovery.want(ms(61_999), T, true, Some(1));
        assert_eq!(asked(&mut discovery, ms(62_000)), []);
        discovery.want(ms(62_000), T, true, Some(1));
        assert_eq!(asked(&mut discovery, ms(62_200)), [(62_000, 2)]);
    }

    #[test]
    fn searches_are_not_begun_all_at_once_and_no_more_than_there_is_room_for() {
        let mut discovery = discovery();
        for n in 10..16 {
            discovery.want(ms(0), Address::new(n), true, Some(9));
        }
        let begun = asked(&mut discovery, ms(1_400));
        assert_eq!(begun, [(0, 10), (250, 10), (500, 10), (750, 10)]);
    }

    #[test]
    fn what_enough_others_have_asked_is_not_asked_again() {
        let mut discovery = discovery();
        discovery.pass_on(request(9, 1), ms(20));
        assert!(!discovery.heard(ME, &request(9, 2), None, true), "another search");
        assert!(!discovery.heard(ME, &request(9, 1), Some(10), true));
        assert!(
            !discovery.heard(ME, &RouteRequest { cost: 15, ..request(9, 1) }, None, true),
            "from further away"
        );
        assert!(!discovery.heard(ME, &request(9, 1), None, true));
        assert_eq!(discovery.next_timeout(), ms(20));
        assert!(discovery.heard(ME, &request(9, 1), None, true));
        assert_eq!(discovery.next_timeout(), Instant::MAX);
        // Where few are there it is; and at the least cost that was heard of.
        discovery.pass_on(request(9, 3), ms(40));
        for cost in [Some(7), None, None, None] {
            assert!(!discovery.heard(ME, &request(9, 3), cost, false));
        }
        let due = discovery.handle_timeout(ms(40), ME, 10);
        assert_eq!(due, Some(DueSearch::PassOn(RouteRequest { cost: 7, hops: 2, ..request(9, 3) })));
        for seqno in 0..20 {
            discovery.pass_on(request(9, seqno), ms(50));
        }
        assert_eq!(discovery.relays.len(), RELAYS);
        assert!(matches!(discovery.handle_timeout(ms(50), T, 10), Some(DueSearch::Answer { .. })));
    }

    #[test]
    fn a_node_makes_itself_known_once_and_long_after_again() {
        let mut rng = Rng::new(3);
        let mut discovery = Discovery::new(Instant::ZERO, &mut rng);
        let first = discovery.next_timeout();
        assert!(first >= Instant::ZERO + KNOWN_AFTER && first <= Instant::ZERO + KNOWN_AFTER + KNOWN_WITHIN);
        assert_eq!(discovery.handle_timeout(first, ME, 10), Some(DueSearch::Announce));
        discovery.announced(first, &mut rng, true);
        assert_eq!(discovery.handle_timeout(first, ME, 10), None);
        assert!(discovery.next_timeout() >= first + KNOWN_AGAIN);
        discovery.speaks(first);
        assert_eq!(discovery.next_timeout(), first, "it was left out");
        discovery.announced(first, &mut rng, false);
        discovery.speaks(first);
        assert!(discovery.next_timeout() > first);
    }
}
