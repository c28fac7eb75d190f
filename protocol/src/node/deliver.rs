//! What a frame that is for this node does: blocks and their answers, and control messages.

use heapless::Vec;

use super::Node;
use super::custody::is_entrusted;
use super::events::PendingEvent;
use crate::block::BlockHead;
use crate::control::{Ack, Control, Verdict};
use crate::finished::{Finished, Millis};
use crate::frame::{Frame, Kind};
use crate::reassembly::{NACK_SPREAD, Origin, Taken};
use crate::seen::FrameKey;
use crate::segment::Segment;
use crate::{Discard, Duration, Instant, Priority};

every_size!(
    /// Frames for this node.
    impl Node {
        pub(super) fn deliver(
            &mut self,
            now: Instant,
            key: FrameKey,
            frame: &Frame<'_>,
            hops: u8,
        ) -> Result<(), Discard> {
            match frame.kind {
                Kind::Single => self.take_single(now, frame, hops),
                Kind::Segment => {
                    let origin = Origin {
                        src: frame.src,
                        dst: frame.dst,
                        priority: frame.priority,
                        hops,
                        in_custody: is_entrusted(frame),
                    };
                    self.take_segment(now, origin, &Segment::parse(frame.body)?)
                }
                Kind::Control => self.take_control(now, key, frame, hops),
            }
        }

        fn take_single(&mut self, now: Instant, frame: &Frame<'_>, hops: u8) -> Result<(), Discard> {
            let (head, _) = BlockHead::of_single(frame.body)?;
            // It comes again because the answer was lost: the answer goes again, and the application hears nothing.
            if let Some(finished) = self.finished.cut_anew(now, frame.src, head.message, None, false) {
                let origin = Origin {
                    src: frame.src,
                    dst: frame.dst,
                    priority: frame.priority,
                    hops,
                    in_custody: false,
                };
                self.answer(now, &finished, origin, true);
                return Err(Discard::Duplicate);
            }
            let body = Vec::from_slice(frame.body).map_err(|_| Discard::TooLong)?;
            let single = PendingEvent::Single {
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
                priority: frame.priority,
                continued: false,
                last: true,
                verdict: None,
                at: Millis::of(now),
                answered: Millis::of(now),
            });
            Ok(())
        }

        pub(super) fn take_segment(
            &mut self,
            now: Instant,
            origin: Origin,
            segment: &Segment<'_>,
        ) -> Result<(), Discard> {
            if let Some(finished) = self.finished.by_transfer(now, origin.src, segment.transfer).copied() {
                self.answer(now, &finished, origin, true);
                return Err(Discard::Duplicate);
            }
            // Its sender did not hear that the block is here, and has cut it anew: its head says so.
            if segment.offset == 0
                && let Ok((head, _)) = BlockHead::parse(segment.data)
                && self.is_known(now, origin, segment, head)
            {
                return Err(Discard::Duplicate);
            }
            let spread = if origin.dst.is_many() { self.rng.jitter(NACK_SPREAD) } else { Duration::ZERO };
            let taken = self.reassembly.insert(now, origin, segment, spread);
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
                Ok((head, _)) if self.is_known(now, origin, segment, head) => {
                    self.reassembly.free(set);
                    return Err(Discard::Duplicate);
                }
                Ok(parsed) if self.push_event(PendingEvent::Block(set)) => parsed,
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
                src: origin.src,
                message: head.message,
                transfer: Some((transfer, count)),
                priority: origin.priority,
                continued: segment.continued && origin.dst == self.address,
                last,
                verdict: None,
                at: Millis::of(now),
                answered: Millis::of(now),
            };
            self.finished.push(finished);
            if !last {
                // The last block is answered by the application's verdict, the others at once.
                self.answer(now, &finished, origin, false);
            }
            Ok(())
        }

        /// Whether the whole message that a segment is of was taken before, under another transfer; its sender is told.
        fn is_known(&mut self, now: Instant, origin: Origin, segment: &Segment<'_>, head: BlockHead) -> bool {
            let transfer = Some((segment.transfer, segment.last + 1));
            let continued = segment.continued && origin.dst == self.address;
            let whole = head.part.is_none();
            let known = whole
                .then(|| self.finished.cut_anew(now, origin.src, head.message, transfer, continued))
                .flatten();
            if let Some(finished) = known {
                self.answer(now, &finished, origin, true);
            }
            known.is_some()
        }

        /// Tells the sender of a finished block the verdict, or that the block is whole; `again` if it has not heard it.
        fn answer(&mut self, now: Instant, finished: &Finished, origin: Origin, again: bool) {
            if origin.dst != self.address {
                return;
            }
            let hops = self.paths.hops(origin.src).unwrap_or(origin.hops);
            if again && !self.finished.answers(now, finished, hops) {
                return;
            }
            match (finished.verdict, finished.transfer) {
                (Some(verdict), _) => {
                    let message = finished.message;
                    self.control(origin.src, origin.priority, Control::Receipt { message, verdict }, again);
                }
                (None, Some((transfer, count))) => {
                    self.control(
                        origin.src,
                        origin.priority.min(Priority::High),
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
            if self.events.is_full() && !matches!(control, Control::Hello { .. } | Control::HopAck(_)) {
                return Err(Discard::EventQueueFull);
            }
            match control {
                Control::Hello { count, flags, reports } => {
                    // One that could have been relayed would make neighbours of nodes that are out of range.
                    if frame.ttl0 != 1 {
                        return Err(Discard::Malformed);
                    }
                    let own = reports.iter().flatten().find(|report| report.is_of(self.address));
                    self.neighbours.hello(now, frame.src, count, flags, own.map(|report| report.share()));
                    // Of one that found no room among the neighbours others take care.
                    if let Some(known) = self.neighbours.iter().find(|known| known.address == frame.src) {
                        let arrives = known.delivery_in;
                        self.backbone.hello(now, self.address, (frame.src, arrives), flags, &reports);
                    }
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
                    // Repeats that still wait for the air are for segments that the receiver may hold by now.
                    if let Some((message, held)) = self.outbox.held(frame.src, ack.transfer) {
                        self.said(now, message, held);
                    }
                    if let Some(progress) = progress {
                        self.progress(now, progress, Some(hops));
                    }
                }
                Control::Receipt { message, verdict } => {
                    match self.outbox.decided(now, frame.src, message, verdict) {
                        Some((progress, sample)) => {
                            if let Some(sample) = sample {
                                self.paths.measured(frame.src, sample);
                            }
                            self.progress(now, progress, Some(hops));
                        }
                        // It comes after *delivered*, with which the message left the outbox.
                        None if verdict == Verdict::Processed => {
                            self.push_event(PendingEvent::Processed { source: frame.src, id: message });
                        }
                        None => return Err(Discard::Unexpected),
                    }
                }
                Control::Feedback(feedback) => self.take_feedback(now, feedback)?,
                Control::Probe(probe) => self.take_probe(now, frame, probe, hops)?,
                Control::RouteRequest(request) => self.take_request(now, frame, &request)?,
                Control::RouteReply(reply) => self.take_reply(now, frame, &reply)?,
                Control::RouteBroken { destination, seqno } => {
                    self.take_broken(now, frame, destination, seqno)?
                }
                Control::WhoHas(name) => {
                    self.push_event(PendingEvent::NameWanted { source: frame.src, name });
                }
                Control::Here(name) => {
                    self.push_event(PendingEvent::NameAt { source: frame.src, name });
                }
                Control::HopAck(ack) => {
                    // One that could have been relayed would speak for another hop.
                    if frame.ttl0 != 1 {
                        return Err(Discard::Malformed);
                    }
                    self.hop_acked(now, frame.src, &ack);
                }
                Control::Undelivered { seq, why } => self.undelivered(now, frame.src, hops, seq, why)?,
            }
            Ok(())
        }
    }
);
