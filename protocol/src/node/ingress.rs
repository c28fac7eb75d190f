//! Frames in: the order of checks. What a verified new frame does is for `relay` and `deliver`.

use heapless::Vec;

use super::Node;
use crate::continuation::is_continuation;
use crate::control::Control;
use crate::crypto::Mic;
use crate::feedback::Feedback;
use crate::frame::{Frame, Kind, decode};
use crate::reassembly::NACK_SPREAD;
use crate::replay::Freshness;
use crate::seen::FrameKey;
use crate::{Address, Discard, Instant, LinkId, Priority};

every_size!(
    /// Frames in.
    impl Node {
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
            if self.peer_link(link).is_none() {
                self.budget.on_air(now);
            }
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
            if is_continuation(bytes) {
                return self.take_continuation(now, link, bytes, sealed, rssi);
            }
            let verified = decode(bytes, &self.keys)?;
            self.stats.frames_verified += 1;
            let frame = verified.frame();
            let key = FrameKey { src: frame.src, epoch: verified.epoch(), seq: frame.seq };

            if frame.src == self.address {
                if let Some(taken) = self.queue.passed_on(now, key, frame.ttl) {
                    self.taken(now, taken);
                }
                return Err(self.own_frame(now, key));
            }
            if frame.kind == Kind::Control && frame.mic == Mic::Short {
                return Err(Discard::WeakMic);
            }
            let except = self.peer_link(link);
            let dst = frame.dst;
            let for_us = dst == self.address || dst == Address::EVERYONE || self.groups.contains(&dst);
            match self.replay.check(now, key.src, key.epoch, key.seq) {
                Ok(Freshness::New) => {}
                Ok(Freshness::Met) => return Err(self.copy(now, key, frame, sealed, except)),
                Err(Discard::ReplayTableFull | Discard::SeqJump) if self.seen.knows(key) => {
                    return Err(self.copy(now, key, frame, sealed, except));
                }
                // One that only passed through has given way to it.
                Err(Discard::ReplayTableFull) if self.replay.make_room() => {}
                Err(Discard::ReplayTableFull) => {
                    self.pass_on(now, key, frame, sealed, except);
                    return if for_us { Err(Discard::ReplayTableFull) } else { Ok(()) };
                }
                Err(why) => {
                    self.replay.refused(now, key.src, key.seq, why);
                    if why == Discard::SeqJump {
                        // Nodes further away can confirm the jump only if they receive such frames too.
                        self.pass_on(now, key, frame, sealed, except);
                    }
                    return Err(why);
                }
            }

            // Before delivery: what that refuses, say for want of room, comes again under a new SEQ. A repeat of these bytes
            // must be known as one whatever becomes of them.
            self.replay.mark(key.src, key.epoch, key.seq, for_us);
            self.seen.insert(key);
            if frame.priority == Priority::Critical {
                self.stats.silences += u64::from(self.budget.urgent(now));
            }
            let hops = verified.hops();
            if self.replay.is_current(key.src) {
                self.paths.heard(now, frame.src, hops);
                if hops == 1 && self.neighbours.heard(now, frame.src, rssi, except) {
                    self.hellos.hurry(now, &mut self.rng);
                    if self.discovery.is_unknown() {
                        self.discovery.begin(now, &mut self.rng);
                    }
                }
            }
            // Relayed before it is delivered, so that a full table here does not keep it from others.
            if dst != self.address {
                self.overhear(now, frame);
                self.relay(now, key, frame, sealed, except);
            }
            if for_us {
                self.plan_hop_ack(now, key, frame);
                self.deliver(now, key, frame, hops)?;
            }
            Ok(())
        }

        /// What passes by and is of use here too: another one's nack, which makes an own one needless (it can only put that off), and
        /// a way that a neighbour tells another one of.
        fn overhear(&mut self, now: Instant, frame: &Frame<'_>) {
            if frame.kind != Kind::Control {
                return;
            }
            match Control::parse(frame.body) {
                Ok(Control::Feedback(Feedback::Nack(nack))) => {
                    let spread = self.rng.jitter(NACK_SPREAD);
                    self.reassembly.asked(now, frame.dst, &nack, spread);
                }
                Ok(Control::RouteReply(reply)) => self.overhear_reply(now, frame, &reply),
                _ => {}
            }
        }

        pub(super) fn own_frame(&mut self, now: Instant, key: FrameKey) -> Discard {
            // Below its next SEQ a frame may be an echo, or a recording of an earlier run: it proves no other node.
            let foreign = key.epoch == self.epoch() && self.seq.never_sent(key.seq);
            if foreign {
                let step = self.contest.heard(now, key.seq, self.seq.next());
                if step.follow {
                    self.seq.go_beyond(key.seq);
                }
                if step.news {
                    self.conflict_news = Some(key.seq);
                }
            }
            if foreign { Discard::AddressConflict } else { Discard::Own }
        }
    }
);
