//! Frames of others that this node passes on: whether, when, and how often.

use heapless::Vec;

use super::Node;
use super::custody::says_itself_again;
use super::forwarding::Egress;
use crate::air_queue::{Custody, Heard, Waiting, Whose, link_bit};
use crate::frame::{Frame, Kind, retarget_next, retarget_ttl};
use crate::seen::FrameKey;
use crate::{Discard, Duration, Instant, LEGACY_FRAME, LinkId, PerClass};

/// With fewer neighbours than this nobody's relay is left out: each may be the only path on. A guess.
pub(super) const DENSE: usize = 6;
/// Copies heard from others that make an own relay needless where it is dense. With one, MEDIUM and LOW lose more by
/// missed relays than they gain in air; three save little (`mesh-sim run scenarios/bulk.toml`).
const ENOUGH_HEARD: u8 = 2;
/// Relay jitter for each neighbour and its bound, by priority: those around have the time to be heard before this
/// node adds another copy. The urgent are never suppressed and wait for nobody. Guesses, held against the simulated
/// air: longer jitter saves more relays of bulk, and slows its acks.
const JITTER_PER_NEIGHBOUR: PerClass<Duration> =
    PerClass::new([Duration::ZERO, Duration::ZERO, Duration::from_millis(2), Duration::from_millis(4)]);
const JITTER_MAX: PerClass<Duration> =
    PerClass::new([Duration::ZERO, Duration::ZERO, Duration::from_millis(20), Duration::from_millis(40)]);
/// A node beside the backbone relays only what it has not heard [`ENOUGH_HEARD`] others relay by then, and a random part of
/// [`SPARE_JITTER`] more. Guesses, held against the simulated air.
const SPARE_AFTER: Duration = Duration::from_millis(80);
/// See [`SPARE_AFTER`].
const SPARE_JITTER: Duration = Duration::from_millis(60);

every_size!(
    /// Frames passed on.
    impl Node {
        /// Whether this node is one of those that pass on what goes to many. Where it is not dense, all are.
        pub(super) fn is_relay(&self, now: Instant) -> bool {
            self.relay && (self.backbone.is_member() || self.neighbours.alive(now) < DENSE)
        }

        /// A frame that the replay windows can say nothing of: it is relayed, for which the duplicate cache is guard enough, and
        /// nothing is taken from it.
        pub(super) fn pass_on(
            &mut self,
            now: Instant,
            key: FrameKey,
            frame: &Frame<'_>,
            sealed: Vec<u8, FRAME, u8>,
            except: Option<LinkId>,
        ) {
            if frame.dst != self.address {
                self.seen.insert(key);
                self.relay(now, key, frame, sealed, except);
            }
        }

        /// A further copy of a frame that was taken before: of use only for its TTL, and as a sign that others relay.
        pub(super) fn copy(
            &mut self,
            now: Instant,
            key: FrameKey,
            frame: &Frame<'_>,
            sealed: Vec<u8, FRAME, u8>,
            except: Option<LinkId>,
        ) -> Discard {
            if let Some(link) = except.filter(|_| frame.ttl == frame.ttl0) {
                self.neighbours.wired(frame.src, link);
            }
            self.heard_again(now, key, frame);
            let enough = (self.neighbours.alive(now) >= DENSE).then_some(ENOUGH_HEARD);
            match self.queue.heard(key, frame.ttl, enough, except) {
                Heard::Suppressed => self.stats.count(Discard::Suppressed),
                Heard::Waits | Heard::NotWaiting => {
                    let mine = frame.next.is_none_or(|next| next == self.address);
                    if !self.relay || !mine || frame.dst == self.address || frame.ttl < 2 {
                        return Discard::Duplicate;
                    }
                    // A copy over a shorter path: it reaches further than the one that was taken first.
                    if self.queue.raise_ttl(key, frame.ttl - 1) {
                        // It has not left yet, or not as often as it will: more reach at no cost.
                        self.seen.raised(key, frame.ttl);
                    } else if self.seen.relay(key, frame.ttl, ttl_gain(frame)) {
                        self.enqueue_relay(now, key, frame, sealed, except);
                    }
                }
            }
            Discard::Duplicate
        }

        pub(super) fn relay(
            &mut self,
            now: Instant,
            key: FrameKey,
            frame: &Frame<'_>,
            sealed: Vec<u8, FRAME, u8>,
            except: Option<LinkId>,
        ) {
            if !self.relay {
                return;
            }
            if frame.next.is_some_and(|next| next != self.address) {
                self.stats.count(Discard::NotNextHop);
            } else if self.seen.relay(key, frame.ttl, ttl_gain(frame)) {
                self.enqueue_relay(now, key, frame, sealed, except);
            }
        }

        fn enqueue_relay(
            &mut self,
            now: Instant,
            key: FrameKey,
            frame: &Frame<'_>,
            mut sealed: Vec<u8, FRAME, u8>,
            except: Option<LinkId>,
        ) {
            let ttl = frame.ttl - 1;
            retarget_ttl(&mut sealed, frame.ttl, ttl);
            let alive = self.neighbours.alive(now);
            let class = frame.priority;
            // Only where those who lack something ask for it does the backbone stand for all of the urgent.
            let spare = !self.is_relay(now) && is_asked_for(frame);
            let mut jitter =
                self.rng.jitter(JITTER_MAX[class].min(JITTER_PER_NEIGHBOUR[class].times(alive as u64)));
            if spare {
                jitter = SPARE_AFTER + self.rng.jitter(SPARE_JITTER);
            }
            let mut copies = relay_copies(alive);
            let mut custody = Custody::NONE;
            if let Some(me) = frame.next {
                // This node alone was asked: it waits for nobody, and sends as if it were its own. By its own route, which
                // must not lead back, to the destination if that hears it well, or to all.
                let next = self.next_hop(now, frame.dst).filter(|next| *next != frame.src);
                let next = next.or_else(|| self.reaches(now, frame.dst).then_some(frame.dst));
                self.trace_passed(now, frame, next);
                if next.is_none() {
                    self.tell_broken(now, frame.dst);
                }
                let room = next.map_or_else(|| self.frame_for_all(), |next| self.frame_to(next));
                let too_long = sealed.len() > room.max(LEGACY_FRAME) && frame.kind != Kind::Control;
                if too_long {
                    self.give_back(now, key, class);
                    return;
                }
                if frame.kind == Kind::Segment && self.is_stranded(now, key, frame, next) {
                    return;
                }
                let len = retarget_next(&mut sealed, me, next);
                sealed.truncate(len);
                let egress = next.map_or(Egress::Flood, Egress::Over);
                copies = self.copies(now, egress, frame.dst, frame.priority);
                custody = self.custody(egress, frame.dst, frame.kind, frame.priority);
                custody.data = frame.kind != Kind::Control;
                if says_itself_again(frame.kind, frame.body) {
                    custody = Custody::NONE;
                }
                jitter = Duration::ZERO;
            }
            let links = self.links_for(sealed.len()) & !except.map_or(0, link_bit);
            if links == 0 {
                return;
            }
            let waiting = Waiting {
                key,
                bytes: sealed,
                priority: frame.priority,
                ttl,
                whose: match (frame.next, spare) {
                    (Some(_), _) => Whose::Entrusted,
                    (None, true) => Whose::Spare,
                    (None, false) => Whose::Relayed,
                },
                piece: None,
                due: now + jitter,
                links,
                once: self.lossless(),
                copies,
                custody,
            };
            match self.queue.push(now, waiting) {
                Ok(gone) => {
                    if frame.next.is_some() {
                        self.seen.keep(key);
                    }
                    if let Some(gone) = gone {
                        self.gave_way(gone);
                    }
                }
                Err(_) => {
                    // It stays with the hop before, which asks again.
                    if frame.next.is_some() {
                        self.seen.refused(key);
                    }
                    self.stats.count(Discard::QueueFull);
                }
            }
        }
    }
);

/// How much higher a copy's TTL must be for relaying it once more.
///
/// Copies over a path one hop shorter often come late by chance; for bulk they are not worth the air. An outsider
/// whose lowered copy comes first can so cost such a frame one hop of reach at each relay; one who is ahead of a flood
/// with two rising copies uses up both turns of a relay (`seen`).
const fn ttl_gain(frame: &Frame<'_>) -> u8 {
    match (frame.priority.suppressible(), is_asked_for(frame)) {
        (false, false) => 1,
        _ => 2,
    }
}

/// Whether it is part of a message to many, so that who misses it asks for it.
const fn is_asked_for(frame: &Frame<'_>) -> bool {
    matches!(frame.kind, Kind::Segment) && frame.dst.is_many()
}

/// How often to relay a frame: the fewer neighbours can do it, the more often.
///
/// With two neighbours at most the next hop hangs on this node alone: three copies bring 10 % loss to 0.1 %. From
/// six on, six chances of one copy each do better than that, and a second copy of everything costs more by collision
/// than it brings (`mesh-sim run scenarios/bulk.toml`).
pub(super) const fn relay_copies(alive: usize) -> u8 {
    match alive {
        0..=2 => 3,
        3..=5 => 2,
        _ => 1,
    }
}
