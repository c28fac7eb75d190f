//! Custody from hop to hop: who is asked to take a frame, what becomes of one that nobody takes, and what is said of those
//! that came from the hop before.

use super::Node;
use super::forwarding::Egress;
use crate::air_queue::{Custody, Gone, LAST_WINDOW, Overdue, Piece, Taken, Whose};
use crate::control::{Control, HopAck, Why};
use crate::feedback::NACK;
use crate::frame::{Frame, Kind};
use crate::hop_acks::GATHER;
use crate::seen::FrameKey;
use crate::steps::Step;
use crate::{Address, Discard, Duration, Instant, MessageId, PerClass, Priority};

/// A next hop is asked at most this often for one frame: at a loss of a third each way, one in a thousand is then still not heard.
const TRIES_MAX: u8 = 12;
/// What is urgent and stands alone is said again so soon, whatever was measured: little is lost if that was needless.
const URGENT_WAIT: Duration = Duration::from_millis(24);
/// In quiet air so many tries in vain are enough to ask the second next hop, where there is one: the first may have taken the frame, and
/// one more way of it costs less than the wait.
const SECOND_AFTER: u8 = 2;
/// From this try on each waits half as long again as the first.
const SLOWER_FROM: u8 = 2;
/// In busy air each from there on waits twice as long as the one before, up to this.
const BUSY_WAIT_MAX: Duration = Duration::from_secs(1);
/// One that does not answer is asked again after twice this at the least, where there is no other and no flood.
const ASKED_AGAIN: Duration = Duration::from_millis(40);
/// The most doublings of both.
const BUSY_DOUBLINGS: u8 = 4;
/// A destination says together what it has of several segments: it is given the time for that, a link's gap and an advert more.
const LAST_PATIENCE: PerClass<u8> = PerClass::new([75, 75, 85, 85]);
/// A destination answers a single frame that came from its origin, and the answer says that the frame is here: a hop ack is
/// due only if it stays out for so long.
const ANSWER_WAITS: Duration = Duration::from_millis(10);

every_size!(
    /// Custody.
    impl Node {
        /// Who is to take a frame for `to` that leaves like this, if one node alone is; `kind`: what it is.
        pub(super) fn custody(&self, egress: Egress, to: Address, kind: Kind, priority: Priority) -> Custody {
            let (next, named) = match egress {
                Egress::Over(next) => (next, true),
                Egress::Direct if to.is_node() => (to, false),
                _ => return Custody::NONE,
            };
            // A connection loses nothing.
            if self.neighbours.wire(next).is_some() {
                return Custody::NONE;
            }
            let patience = if next == to && kind == Kind::Segment { LAST_PATIENCE[priority] } else { 0 };
            let urgent = kind != Kind::Segment && !priority.suppressible();
            Custody { next, to, named, data: kind != Kind::Control, second: false, urgent, patience }
        }

        /// How long to wait for the next hop, the `tries`th time.
        pub(super) fn hop_wait(&self, now: Instant, custody: Custody, tries: u8) -> Duration {
            let wait = self.hops.timeout(custody.next).max(Duration::from_millis(custody.patience.into()));
            // In busy air the next hop sends no sooner than this node does.
            let wait = wait + self.budget.pause().times(2);
            if let Some(wait) = self.budget.crowded(now, wait) {
                return wait.times(1 << tries.min(BUSY_DOUBLINGS)).min(BUSY_WAIT_MAX.max(wait));
            }
            let busy = self.budget.is_busy(now);
            if tries < SLOWER_FROM {
                let soon = custody.urgent && (!busy || custody.next == custody.to);
                return if soon { wait.min(URGENT_WAIT) } else { wait };
            }
            let wait = Duration::from_micros(wait.as_micros() * 3 / 2);
            let doublings = if busy { (tries - SLOWER_FROM).min(BUSY_DOUBLINGS) } else { 0 };
            wait.times(1 << doublings).min(BUSY_WAIT_MAX.max(wait))
        }

        /// Whether an own frame for `to` may be handed on: not while too many are that nobody has been heard to take.
        pub(super) fn may_hand_on(&self, to: Address, class: Priority) -> bool {
            class == Priority::Critical
                || to.is_many()
                || self.queue.unheard(to) < LAST_WINDOW && !self.queue.is_full_of_custody()
        }

        /// A new frame for this node came: if the hop before keeps it until it hears of it, it is told.
        pub(super) fn plan_hop_ack(&mut self, now: Instant, key: FrameKey, frame: &Frame<'_>) {
            if frame.dst != self.address || !is_entrusted(frame) {
                return;
            }
            self.seen.keep(key);
            let direct = frame.ttl == frame.ttl0 && frame.next.is_none_or(|next| next == self.address);
            let within = match frame.kind {
                Kind::Segment => GATHER[frame.priority],
                Kind::Single if direct => ANSWER_WAITS,
                _ => Duration::ZERO,
            };
            self.hop_acks.add(now, key, frame.priority, within, direct);
        }

        /// A copy of a known frame came: its next hop passes it on, or the hop before asks again.
        pub(super) fn heard_again(&mut self, now: Instant, key: FrameKey, frame: &Frame<'_>) {
            if let Some(taken) = self.queue.passed_on(now, key, frame.ttl) {
                self.taken(now, taken);
            }
            let to_me = frame.dst == self.address || frame.next == Some(self.address);
            let mine = to_me && is_entrusted(frame);
            let higher = self.queue.holds(key).is_none_or(|ttl| frame.ttl > ttl);
            if !mine || !higher || !self.seen.is_kept(key) {
                return;
            }
            if frame.kind != Kind::Control && self.seen.comes_round(key, frame.ttl) {
                // Ways lead in a circle: each node on it has handed the frame on, and none of them would keep it.
                self.give_back(now, key, frame.priority);
            } else {
                self.hop_acks.add(now, key, frame.priority, Duration::ZERO, false);
            }
        }

        /// Sends the hop acks that are due.
        pub(super) fn say_hop_acks(&mut self, now: Instant) {
            while let Some(due) = self.hop_acks.due(now) {
                let FrameKey { src, seq, .. } = due.key;
                let kept = |n: &u32| {
                    let before = seq.checked_sub(1 + n);
                    before.is_some_and(|seq| self.seen.is_kept(FrameKey { seq, ..due.key }))
                };
                let before = (0..8).filter(kept).fold(0, |bits, n| bits | 1 << n);
                let ack = Control::HopAck(HopAck { src, seq, before });
                self.control(Address::EVERYONE, due.priority.min(Priority::High), ack, false);
            }
        }

        /// What `from` says it has.
        pub(super) fn hop_acked(&mut self, now: Instant, from: Address, ack: &HopAck) {
            self.queue.left_out(now, from, ack);
            while let Some(taken) = self.queue.hop_acked(now, from, ack) {
                if taken.again {
                    self.hops.hurried(taken.next);
                }
                self.taken(now, taken);
            }
        }

        /// A neighbour has taken a frame.
        pub(super) fn taken(&mut self, now: Instant, taken: Taken) {
            self.budget.hop(true);
            self.neighbours.sent_to(now, taken.next, true);
            self.hops.answered(taken.next, taken.after);
            self.routes.worked(now, taken.to, taken.next);
            if let Some(id) = taken.piece.and_then(|piece| self.message_of(piece)) {
                self.steps.push(id, Step::Custody(taken.next));
            }
        }

        /// Whoever was asked to take a frame was not heard to.
        pub(super) fn unheard(&mut self, now: Instant) {
            while let Some(late) = self.queue.overdue(now) {
                let Overdue { at, custody, piece, tries, .. } = late;
                // While all hold back for the urgent nobody can be heard.
                let opens = self.budget.silent_until();
                if opens > now && late.priority != Priority::Critical {
                    self.queue.wait(at, opens + self.hop_wait(now, custody, tries));
                    continue;
                }
                let known = self.hops.shuns(now, custody.next);
                // Of frames in a row the silence is one loss: of the answer to all, or of the first of a block, without which none of the others
                // can be taken.
                let shunned = if self.queue.follows_unheard(at) {
                    known
                } else {
                    self.budget.hop(false);
                    self.neighbours.sent_to(now, custody.next, false);
                    self.hops.missed(now, custody.next, tries, self.budget.is_lively(now))
                };
                let soon = custody.named && tries >= SECOND_AFTER && !self.budget.is_busy(now);
                if soon && self.ask_second(now, &late) {
                    continue;
                }
                if !shunned && tries < TRIES_MAX {
                    self.queue.repeat(now, at);
                    if let Some(id) = piece.and_then(|piece| self.message_of(piece)) {
                        self.steps.push(id, Step::Repeated(custody.next));
                        let wait = self.paths.timeout(custody.to, late.priority, self.ttl, 0);
                        self.outbox.postpone(id, now + wait);
                    }
                    continue;
                }
                if shunned && !known {
                    self.queue.hurry(now, custody.next);
                }
                self.fail_over(now, &late);
            }
        }

        /// The next hop does not take a frame: another one is asked, or all.
        fn fail_over(&mut self, now: Instant, late: &Overdue) {
            let Overdue { at, custody, piece, tries, .. } = *late;
            let id = piece.and_then(|piece| self.message_of(piece));
            if self.routes.failed(now, custody.to, custody.next) {
                self.tell_broken(now, custody.to);
                self.wants_route(now, custody.to, true);
                if let Some(id) = id {
                    self.steps.push(id, Step::Repair);
                }
            }
            if !custody.named {
                let gone = self.queue.give_up(at);
                return self.gone(gone, Why::NoNextHop);
            }
            if self.ask_second(now, late) {
                return;
            }
            if !self.budget.is_busy(now) && self.hops.may_flood(now) {
                let copies = self.copies(now, Egress::Flood, custody.to, late.priority);
                self.queue.flood(now, at, copies);
                if let Some(id) = id {
                    self.steps.push(id, Step::Flooded);
                }
            } else {
                // Floods are few, and none in busy air. The same next hop is asked again, until it has waited too long.
                let doublings = tries.min(BUSY_DOUBLINGS);
                let wait = self.hops.timeout(custody.next).max(ASKED_AGAIN).times(1 << doublings);
                self.queue.repeat(now + wait + self.rng.jitter(ASKED_AGAIN), at);
            }
        }

        /// Asks another neighbour to take a frame, if there is one that was not asked yet.
        fn ask_second(&mut self, now: Instant, late: &Overdue) -> bool {
            let Overdue { at, custody, piece, src, .. } = *late;
            let second = if custody.second { None } else { self.second_hop(now, custody, src) };
            let Some(next) = second else { return false };
            self.queue.ask(now, at, Custody { next, second: true, ..custody });
            if let Some(id) = piece.and_then(|piece| self.message_of(piece)) {
                self.steps.push(id, Step::SecondHop(next));
            }
            true
        }

        /// Who else may pass on what the first next hop does not take.
        fn second_hop(&self, now: Instant, custody: Custody, src: Address) -> Option<Address> {
            let other =
                |next: &Address| *next != custody.next && *next != src && !self.hops.shuns(now, *next);
            let there = |next: &Address| other(next) && !self.neighbours.fell_silent(now, *next);
            let by_route = self.routes.next_hops(now, custody.to).into_iter().flatten().find(there);
            by_route.or_else(|| Some(custody.to).filter(|to| other(to) && self.reaches(now, *to)))
        }

        /// A frame is no longer here, though no neighbour has taken it.
        pub(super) fn gone(&mut self, gone: Gone, why: Why) {
            let Gone { key, whose, piece, custody, unsent } = gone;
            let in_custody = custody.next != Address::NONE;
            if !custody.data {
                return;
            }
            match (whose, piece) {
                (Whose::Own, Some(piece)) if in_custody => self.lost(piece),
                // The hop before counts on this node also for what was to go to all.
                (Whose::Entrusted, _) if in_custody || unsent => {
                    let control = Control::Undelivered { seq: key.seq, why };
                    self.control(key.src, Priority::High, control, false);
                }
                _ => {}
            }
        }

        /// A frame had to give way to another.
        pub(super) fn gave_way(&mut self, gone: Gone) {
            self.stats.count(Discard::QueueFull);
            self.gone(gone, Why::QueueFull);
        }

        /// What of an own message its receiver holds need not be said again.
        pub(super) fn said(&mut self, now: Instant, message: MessageId, held: u64) {
            if let Some(taken) = self.queue.said(now, message, held) {
                self.taken(now, taken);
            }
        }

        /// The own message that a piece is of, if it is still on its way.
        fn message_of(&self, piece: Piece) -> Option<MessageId> {
            self.outbox.ids().find(|id| piece.is_of(*id))
        }

        /// What a piece of an own message carried goes again, to all.
        fn lost(&mut self, piece: Piece) {
            if let Some(id) = self.message_of(piece) {
                self.outbox.lost(id, piece.index() as u8);
                self.steps.push(id, Step::Undelivered { at: self.address, hops: 0, why: Why::NoNextHop });
            }
        }

        /// A node on the way has given up an own frame.
        pub(super) fn undelivered(
            &mut self,
            now: Instant,
            at: Address,
            hops: u8,
            seq: u32,
            why: Why,
        ) -> Result<(), Discard> {
            let id = self.outbox.undelivered(now, seq).ok_or(Discard::Unexpected)?;
            self.steps.push(id, Step::Undelivered { at, hops, why });
            Ok(())
        }
    }
);

/// Whether a frame is a nack, which comes again by itself as long as something is missing: no hop keeps it, and no ack of it takes the
/// air of the source that all receivers ask.
pub(super) fn says_itself_again(kind: Kind, body: &[u8]) -> bool {
    kind == Kind::Control && body.first() == Some(&NACK)
}

/// Whether the hop before keeps a frame until it hears what became of it.
pub(super) fn is_entrusted(frame: &Frame<'_>) -> bool {
    frame.dst.is_node()
        && (frame.next.is_some() || frame.ttl0 == 1)
        && !says_itself_again(frame.kind, frame.body)
}
