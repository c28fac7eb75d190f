//! Continuation frames in: what a head segment has said says for whom they are.

use heapless::Vec;

use super::Node;
use super::forwarding::Egress;
use crate::air_queue::{Custody, Waiting, Whose, link_bit};
use crate::contexts::Context;
use crate::continuation::{Continuation, decode, retarget_hop};
use crate::control::{Control, Why};
use crate::frame::{Frame, Kind};
use crate::hop_acks::GATHER;
use crate::reassembly::Origin;
use crate::replay::Freshness;
use crate::seen::FrameKey;
use crate::segment::Segment;
use crate::{Address, Discard, Duration, Instant, LinkId, Priority};

/// As TTL is to other frames: it goes down with each hop. A frame that comes a whole round of HOP further is never met here.
pub(super) const ROUND: u8 = 4;

/// What a continuation frame is to this node.
#[derive(Clone, Copy)]
enum Whom {
    /// It is for this node; which segment is the last one.
    Us(Origin, u8),
    /// This node was asked to pass it on.
    Others(Context),
}

every_size!(
    /// Continuation frames in.
    impl Node {
        pub(super) fn take_continuation(
            &mut self,
            now: Instant,
            link: LinkId,
            bytes: &mut [u8],
            sealed: Vec<u8, FRAME, u8>,
            rssi: Option<i8>,
        ) -> Result<(), Discard> {
            let verified = decode(bytes, &self.keys)?;
            self.stats.frames_verified += 1;
            let frame = verified.frame();
            let key = FrameKey { src: frame.src, epoch: verified.epoch(), seq: frame.seq };
            if frame.src == self.address {
                if let Some(taken) = self.queue.passed_on(now, key, ROUND - frame.hop) {
                    self.taken(now, taken);
                }
                return Err(self.own_frame(now, key));
            }
            let except = self.peer_link(link);
            let whom = self.whom(now, frame).ok_or(Discard::NoContext)?;
            match self.replay.check(now, key.src, key.epoch, key.seq) {
                Ok(Freshness::New) => {}
                Ok(Freshness::Met) => {
                    self.continued_again(now, key, frame, whom);
                    if let Whom::Others(context) = whom
                        && context.hop == frame.hop
                        && !self.seen.is_kept(key)
                    {
                        // There was no room for it the first time.
                        self.pass_continuation(now, key, frame, context, sealed, except);
                    }
                    return Err(Discard::Duplicate);
                }
                Err(why) => {
                    self.replay.refused(now, key.src, key.seq, why);
                    return Err(why);
                }
            }
            // What comes from further back than this node was named is passed on by others first; their turn comes.
            if let Whom::Others(context) = whom
                && context.hop != frame.hop
            {
                return Err(Discard::NotNextHop);
            }
            self.replay.mark(key.src, key.epoch, key.seq, matches!(whom, Whom::Us(..)));
            self.seen.insert(key);
            match whom {
                Whom::Us(origin, last) => {
                    self.seen.keep(key);
                    let direct = origin.hops == 1 && frame.hop == 0;
                    self.hop_acks.add(now, key, origin.priority, GATHER[origin.priority], direct);
                    if origin.hops == 1 && frame.hop == 0 && self.replay.is_current(key.src) {
                        self.neighbours.heard(now, frame.src, rssi, except);
                    }
                    let Continuation { transfer, offset, data, .. } = *frame;
                    if offset > last {
                        return Err(Discard::SegmentConflict);
                    }
                    self.take_segment(now, origin, &Segment { transfer, offset, last, continued: true, data })
                }
                Whom::Others(context) => {
                    self.pass_continuation(now, key, frame, context, sealed, except);
                    Ok(())
                }
            }
        }

        /// A copy of a known frame came: its next hop passes it on, or the hop before asks again.
        fn continued_again(&mut self, now: Instant, key: FrameKey, frame: &Continuation<'_>, whom: Whom) {
            // This node sends it with one HOP more than it comes with, and its next hop with two. The hop before the one before has one
            // less, and repeats it while it has not heard that it went on; modulo 4, only who is further back yet looks like the next hop.
            let (mine, passed, priority) = match whom {
                Whom::Us(origin, _) => (true, false, origin.priority),
                Whom::Others(Context { hop, priority, .. }) => {
                    (frame.hop == hop, frame.hop == (hop + 2) % ROUND, priority)
                }
            };
            if passed && let Some(taken) = self.queue.passed_on(now, key, ROUND - 2) {
                self.taken(now, taken);
            }
            if mine && self.seen.is_kept(key) {
                self.hop_acks.add(now, key, priority, Duration::ZERO, false);
            }
        }

        fn whom(&mut self, now: Instant, frame: &Continuation<'_>) -> Option<Whom> {
            if let Some((origin, last)) = self.reassembly.continued(frame.src, frame.transfer) {
                return Some(Whom::Us(origin, last)).filter(|_| origin.dst == self.address);
            }
            if let Some(context) = self.contexts.find(now, frame.src, frame.transfer) {
                return Some(Whom::Others(context));
            }
            // The block is whole, and its sender has not heard so.
            let finished = self.finished.by_transfer(now, frame.src, frame.transfer)?;
            let (_, count) = finished.transfer.filter(|_| finished.continued)?;
            let origin = Origin {
                src: frame.src,
                dst: self.address,
                priority: finished.priority,
                hops: 0,
                in_custody: true,
            };
            Some(Whom::Us(origin, count - 1))
        }

        /// Keeps what the head segment of a block says of the others, which come here to be passed on to `next` as it is. `true`
        /// where there is no such neighbour: the others could not follow it, and its source is told.
        pub(super) fn is_stranded(
            &mut self,
            now: Instant,
            key: FrameKey,
            frame: &Frame<'_>,
            next: Option<Address>,
        ) -> bool {
            let Ok(Segment { transfer, continued: true, .. }) = Segment::parse(frame.body) else {
                return false;
            };
            let Frame { src, dst, priority, .. } = *frame;
            let Some(next) = next else {
                self.give_back(now, key, priority);
                return true;
            };
            let hop = (frame.ttl0 - frame.ttl) % ROUND;
            self.contexts.open(now, Context { src, transfer, dst, next, priority, hop });
            false
        }

        /// Tells the source of a frame that it goes no further from here.
        pub(super) fn give_back(&mut self, now: Instant, key: FrameKey, priority: Priority) {
            // The hop before has done its part.
            self.seen.keep(key);
            self.hop_acks.add(now, key, priority, Duration::ZERO, false);
            let control = Control::Undelivered { seq: key.seq, why: Why::NoNextHop };
            self.control(key.src, Priority::High, control, false);
        }

        fn pass_continuation(
            &mut self,
            now: Instant,
            key: FrameKey,
            frame: &Continuation<'_>,
            context: Context,
            mut sealed: Vec<u8, FRAME, u8>,
            except: Option<LinkId>,
        ) {
            retarget_hop(&mut sealed, frame.hop, (frame.hop + 1) % ROUND);
            let links = self.links_for(sealed.len()) & !except.map_or(0, link_bit);
            if !self.relay || links == 0 || !self.seen.relay(key, ROUND, 1) {
                return;
            }
            let Context { dst, next, priority, .. } = context;
            let over = Egress::Over(next);
            let custody = self.custody(over, dst, Kind::Segment, priority);
            let waiting = Waiting {
                key,
                bytes: sealed,
                priority,
                ttl: ROUND - 1,
                whose: Whose::Entrusted,
                piece: None,
                due: now,
                links,
                once: self.lossless(),
                copies: self.copies(now, over, dst, priority),
                custody: Custody { named: false, ..custody },
            };
            match self.queue.push(now, waiting) {
                Ok(gone) => {
                    self.seen.keep(key);
                    if let Some(gone) = gone {
                        self.gave_way(gone);
                    }
                }
                Err(_) => {
                    // It stays with the hop before, which asks again.
                    self.seen.refused(key);
                    self.stats.count(Discard::QueueFull);
                }
            }
        }
    }
);
