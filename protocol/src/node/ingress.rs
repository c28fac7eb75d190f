//! Frames in: the order of checks, then what a verified new frame does.

use heapless::Vec;

use super::egress::Way;
use super::{Node, Queued};
use crate::air_queue::{Heard, Waiting, Whose};
use crate::block::BlockHead;
use crate::control::{Ack, Control, Verdict};
use crate::crypto::Mic;
use crate::finished::Finished;
use crate::frame::{Frame, Kind, decode, retarget_next, retarget_ttl};
use crate::reassembly::{Origin, Taken};
use crate::replay::Freshness;
use crate::seen::FrameKey;
use crate::segment::Segment;
use crate::shares::Shares;
use crate::{Address, Discard, Duration, Instant, LinkId, LinkInfo, LinkKind, Priority};

use super::Link;

/// With fewer neighbours than this nobody's relay is left out: each may be the only way on. A guess.
const DENSE: usize = 6;
/// Copies heard from others that make an own relay needless where it is dense. With one, MEDIUM and LOW lose more by
/// missed relays than they gain in air; three save little (`mesh-sim run scenarios/bulk.toml`).
const ENOUGH_HEARD: u8 = 2;
/// Relay jitter for each neighbour and its bound, by priority: those around have the time to be heard before this
/// node adds another copy. The urgent are never suppressed and wait for nobody. Guesses, held against the simulated
/// air: longer jitter saves more relays of bulk, and slows its acks.
const JITTER_PER_NEIGHBOUR: [Duration; 4] =
    [Duration::ZERO, Duration::ZERO, Duration::from_millis(2), Duration::from_millis(4)];
const JITTER_MAX: [Duration; 4] =
    [Duration::ZERO, Duration::ZERO, Duration::from_millis(20), Duration::from_millis(40)];

every_size!(
    /// Frames in.
    impl Node {
        /// A link is there, or has changed; `false`, and it is not used, when the table of links is full or the link is too
        /// narrow for a legacy frame.
        #[must_use]
        pub fn handle_link_up(&mut self, now: Instant, id: LinkId, info: LinkInfo) -> bool {
            if info.mtu < crate::LEGACY_FRAME {
                return false;
            }
            let link = Link { id, info, free_at: now, shares: Shares::default() };
            match self.links.iter_mut().find(|known| known.id == id) {
                Some(known) => {
                    // The gap behind the last frame stays, and who waited goes on waiting, whatever has changed.
                    known.info = info;
                    // A connection may have another node at its end now.
                    self.neighbours.cut(id);
                    true
                }
                None => usize::from(id.0) < LINKS && self.links.push(link).is_ok(),
            }
        }

        /// A link is gone; what waited for it alone is dropped.
        pub fn handle_link_down(&mut self, id: LinkId) {
            self.links.retain(|link| link.id != id);
            self.queue.drop_link(id);
            self.neighbours.cut(id);
        }

        /// A link takes the next frame sooner than its `min_gap` says.
        pub fn link_ready(&mut self, now: Instant, id: LinkId) {
            if let Some(link) = self.links.iter_mut().find(|link| link.id == id) {
                link.free_at = link.free_at.min(now);
            }
        }

        /// Takes a frame from the air. `bytes` are decrypted in place and of no use afterwards.
        ///
        /// # Errors
        /// The reason why nothing was delivered from it, already counted. A [`Discard::Duplicate`] may have been
        /// relayed once more.
        pub fn handle_frame(
            &mut self,
            now: Instant,
            link: LinkId,
            bytes: &mut [u8],
            rssi: Option<i8>,
        ) -> Result<(), Discard> {
            let taken = self.take_frame(now, link, bytes, rssi);
            if let Err(why) = taken {
                self.stats.count(why);
            }
            taken
        }

        fn take_frame(
            &mut self,
            now: Instant,
            link: LinkId,
            bytes: &mut [u8],
            rssi: Option<i8>,
        ) -> Result<(), Discard> {
            // A relay forwards the bytes as they came, so they are kept before they are opened in place.
            let sealed: Vec<u8, FRAME, u8> = Vec::from_slice(bytes).map_err(|_| Discard::TooLong)?;
            let verified = decode(bytes, &self.keys)?;
            self.stats.frames_verified += 1;
            let frame = verified.frame();
            let key = FrameKey { src: frame.src, epoch: verified.epoch(), seq: frame.seq };

            if frame.src == self.address {
                return Err(self.own_frame(now, key));
            }
            if frame.kind == Kind::Control && frame.mic == Mic::Short {
                return Err(Discard::WeakMic);
            }
            let except = self.unicast(link);
            let dst = frame.dst;
            let for_us = dst == self.address || dst == Address::EVERYONE || self.groups.contains(&dst);
            match self.replay.check(now, key.src, key.epoch, key.seq) {
                Ok(Freshness::New) => {}
                Ok(Freshness::Met) => return Err(self.copy(now, key, frame, sealed, except)),
                Err(Discard::ReplayTableFull | Discard::SeqJump) if self.seen.knows(key) => {
                    return Err(self.copy(now, key, frame, sealed, except));
                }
                Err(Discard::ReplayTableFull) if self.replay.make_room() => {}
                Err(Discard::ReplayTableFull) => {
                    self.pass_on(now, key, frame, sealed, except);
                    return if for_us { Err(Discard::ReplayTableFull) } else { Ok(()) };
                }
                Err(why) => {
                    self.replay.refused(now, key.src, key.seq, why);
                    if why == Discard::SeqJump {
                        // Those beyond can only find that it goes on there if they hear of it.
                        self.pass_on(now, key, frame, sealed, except);
                    }
                    return Err(why);
                }
            }

            self.replay.mark(key.src, key.epoch, key.seq, for_us);
            self.seen.insert(key);
            let hops = verified.hops();
            if self.replay.is_current(key.src) {
                self.paths.heard(now, frame.src, hops);
                if hops == 1 {
                    self.neighbours.heard(now, frame.src, rssi, except);
                }
            }
            if dst != self.address {
                self.relay(now, key, frame, sealed, except);
            }
            if for_us {
                self.deliver(now, key, frame, hops)?;
            }
            Ok(())
        }

        /// A frame that the replay windows can say nothing of: it is relayed, for which the duplicate cache is guard enough, and
        /// nothing is taken from it.
        fn pass_on(
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

        /// The link to leave out when relaying: a peer on a connection needs no echo, a broadcast has other listeners.
        fn unicast(&self, link: LinkId) -> Option<LinkId> {
            self.links
                .iter()
                .find(|known| known.id == link && known.info.kind == LinkKind::Unicast)
                .map(|known| known.id)
        }

        fn own_frame(&mut self, now: Instant, key: FrameKey) -> Discard {
            let foreign = key.epoch == self.epoch() && self.seq.never_sent(key.seq);
            if foreign {
                let heard = self.contest.heard(now, key.seq, self.seq.next());
                if heard.follow {
                    self.seq.go_beyond(key.seq);
                }
                if heard.news {
                    self.conflict_news = Some(key.seq);
                }
            }
            if foreign { Discard::AddressConflict } else { Discard::Own }
        }

        /// A further copy of a frame that was taken before: of use only for its TTL, and as a sign that others relay.
        fn copy(
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
            let enough = (self.neighbours.alive(now) >= DENSE).then_some(ENOUGH_HEARD);
            match self.queue.heard(key, frame.ttl, enough, except) {
                Heard::Suppressed => self.stats.count(Discard::Suppressed),
                Heard::Waits | Heard::NotWaiting => {
                    let mine = frame.next.is_none_or(|next| next == self.address);
                    if !self.relay || !mine || frame.dst == self.address || frame.ttl < 2 {
                        return Discard::Duplicate;
                    }
                    if self.queue.raise_ttl(key, frame.ttl - 1) {
                        // It has not left yet, or not as often as it will: more reach at no cost.
                        self.seen.raised(key, frame.ttl);
                    } else if self.seen.relay(key, frame.ttl, ttl_gain(frame.priority)) {
                        self.enqueue_relay(now, key, frame, sealed, except);
                    }
                }
            }
            Discard::Duplicate
        }

        fn relay(
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
            } else if self.seen.relay(key, frame.ttl, ttl_gain(frame.priority)) {
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
            let class = frame.priority as usize;
            let mut jitter =
                self.rng.jitter(JITTER_MAX[class].min(JITTER_PER_NEIGHBOUR[class].times(alive as u64)));
            let mut copies = relay_copies(alive);
            if let Some(me) = frame.next {
                // This node alone was asked: it waits for nobody, and sends as if it were its own. By its own route, which
                // must not lead back, to the destination if that hears it well, or to all.
                let next = self.next_hop(now, frame.dst).filter(|next| *next != frame.src);
                let next = next.or_else(|| self.hears_well(now, frame.dst).then_some(frame.dst));
                let len = retarget_next(&mut sealed, me, next);
                sealed.truncate(len);
                copies = self.copies(now, next.map_or(Way::Flood, Way::Over), frame.dst, frame.priority);
                jitter = Duration::ZERO;
            }
            let links = self.links_for(sealed.len()) & !except.map_or(0, crate::air_queue::link_bit);
            if links == 0 {
                return;
            }
            let waiting = Waiting {
                key,
                bytes: sealed,
                priority: frame.priority,
                ttl,
                whose: if frame.next.is_some() { Whose::Entrusted } else { Whose::Relayed },
                piece: None,
                due: now + jitter,
                links,
                once: self.lossless(),
                copies,
            };
            match self.queue.push(now, waiting) {
                Ok(false) => {}
                // Another frame gave way to this one, or this one to all others.
                Ok(true) | Err(_) => self.stats.count(Discard::QueueFull),
            }
        }

        fn deliver(
            &mut self,
            now: Instant,
            key: FrameKey,
            frame: &Frame<'_>,
            hops: u8,
        ) -> Result<(), Discard> {
            match frame.kind {
                Kind::Single => self.take_single(now, frame, hops),
                Kind::Segment => self.take_segment(now, frame, hops),
                Kind::Control => self.take_control(now, key, frame, hops),
            }
        }

        fn take_single(&mut self, now: Instant, frame: &Frame<'_>, hops: u8) -> Result<(), Discard> {
            let (head, _) = BlockHead::parse(frame.body)?;
            if let Some(finished) = self.finished.single(now, frame.src, head.message).copied() {
                self.answer(&finished, frame, true);
                return Err(Discard::Duplicate);
            }
            let body = Vec::from_slice(frame.body).map_err(|_| Discard::TooLong)?;
            let single = Queued::Single {
                source: frame.src,
                destination: frame.dst,
                priority: frame.priority,
                hops,
                body,
            };
            if !self.push_event(single) {
                return Err(Discard::EventQueueFull);
            }
            self.stats.blocks_received += 1;
            let message = head.message;
            self.finished.push(Finished {
                src: frame.src,
                message,
                transfer: None,
                last: true,
                verdict: None,
                at: now,
            });
            Ok(())
        }

        fn take_segment(&mut self, now: Instant, frame: &Frame<'_>, hops: u8) -> Result<(), Discard> {
            let segment = Segment::parse(frame.body)?;
            if let Some(finished) = self.finished.by_transfer(now, frame.src, segment.transfer).copied() {
                self.answer(&finished, frame, true);
                return Err(Discard::Duplicate);
            }
            let origin = Origin { src: frame.src, dst: frame.dst, priority: frame.priority, hops };
            let taken = self.reassembly.insert(now, origin, &segment);
            for _ in 0..self.reassembly.gave_way() {
                self.stats.count(Discard::ReassemblyAbandoned);
            }
            let Taken::Whole(set) = taken? else {
                return Ok(());
            };
            let count = self.reassembly.count(set);
            let (_, transfer, block) = self.reassembly.block(set);
            let parsed = BlockHead::parse(block).map(|(head, bytes)| (head, bytes.len()));
            let (head, len) = match parsed {
                Ok(parsed) if self.push_event(Queued::Block(set)) => parsed,
                Ok(_) => {
                    self.reassembly.free(set);
                    return Err(Discard::EventQueueFull);
                }
                Err(why) => {
                    self.reassembly.free(set);
                    return Err(why);
                }
            };
            self.stats.blocks_received += 1;
            let last = head.part.is_none_or(|part| part.offset as usize + len == part.total as usize);
            let finished = Finished {
                src: frame.src,
                message: head.message,
                transfer: Some((transfer, count)),
                last,
                verdict: None,
                at: now,
            };
            self.finished.push(finished);
            if !last {
                // The last block is answered by the application's verdict, the others at once.
                self.answer(&finished, frame, false);
            }
            Ok(())
        }

        /// Tells the sender of a finished block the verdict, or that the block is whole; `again` if it has not heard it.
        fn answer(&mut self, finished: &Finished, frame: &Frame<'_>, again: bool) {
            if frame.dst != self.address {
                return;
            }
            match (finished.verdict, finished.transfer) {
                (Some(verdict), _) => {
                    let message = finished.message;
                    self.control(frame.src, frame.priority, Control::Receipt { message, verdict }, again);
                }
                (None, Some((transfer, count))) => {
                    self.control(
                        frame.src,
                        frame.priority.min(Priority::High),
                        Control::Ack(Ack::of(transfer, u64::MAX, count)),
                        again,
                    );
                }
                // A single frame whose verdict is not in yet: the verdict will be the answer.
                (None, None) => {}
            }
        }

        fn take_control(
            &mut self,
            now: Instant,
            key: FrameKey,
            frame: &Frame<'_>,
            hops: u8,
        ) -> Result<(), Discard> {
            let control = Control::parse(frame.body)?;
            // What an ack or a receipt changes must not happen without the application hearing of it.
            if self.events.is_full() && !matches!(control, Control::Hello { .. }) {
                return Err(Discard::EventQueueFull);
            }
            match control {
                Control::Hello { count, reports } => {
                    if frame.ttl0 != 1 {
                        return Err(Discard::Malformed);
                    }
                    let own = reports.iter().flatten().find(|report| report.neighbour == self.address);
                    self.neighbours.hello(now, frame.src, count, own.map(|report| report.delivery));
                }
                Control::Ack(ack) => {
                    let timeout =
                        |priority, attempts| self.paths.timeout(frame.src, priority, self.ttl, attempts);
                    let (progress, sample) = self
                        .outbox
                        .acked(now, frame.src, &ack, (key.epoch, key.seq), timeout)
                        .ok_or(Discard::Unexpected)?;
                    if let Some(sample) = sample {
                        self.paths.measured(frame.src, sample);
                    }
                    if let Some((message, held)) = self.outbox.held(frame.src, ack.transfer) {
                        self.queue.said(message, held);
                    }
                    if let Some(progress) = progress {
                        self.progress(progress, Some(hops));
                    }
                }
                Control::Receipt { message, verdict } => {
                    match self.outbox.decided(now, frame.src, message, verdict) {
                        Some((progress, sample)) => {
                            if let Some(sample) = sample {
                                self.paths.measured(frame.src, sample);
                            }
                            self.progress(progress, Some(hops));
                        }
                        None if verdict == Verdict::Processed => {
                            self.push_event(Queued::Processed { source: frame.src, id: message });
                        }
                        None => return Err(Discard::Unexpected),
                    }
                }
                Control::WhoHas(name) => {
                    self.push_event(Queued::NameWanted { source: frame.src, name });
                }
                Control::Here(name) => {
                    self.push_event(Queued::NameAt { source: frame.src, name });
                }
            }
            Ok(())
        }
    }
);

/// How much higher a copy's TTL must be for relaying it once more.
///
/// Copies over a path one hop shorter often come late by chance; for bulk they are not worth the air. An outsider
/// whose lowered copy comes first can so cost such a frame one hop of reach at each relay; one who is ahead of a flood
/// with two rising copies uses up both turns of a relay (`seen`).
const fn ttl_gain(priority: Priority) -> u8 {
    if priority.suppressible() { 2 } else { 1 }
}

/// How often to relay a frame: the fewer neighbours can do it, the more often.
///
/// With two neighbours at most the next hop hangs on this node alone: three copies bring 10 % loss to 0.1 %. From
/// six on, six chances of one copy each do better than that, and a second copy of everything costs more by collision
/// than it brings (`mesh-sim run scenarios/bulk.toml`).
const fn relay_copies(alive: usize) -> u8 {
    match alive {
        0..=2 => 3,
        3..=5 => 2,
        _ => 1,
    }
}
