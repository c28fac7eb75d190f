//! Ping and trace: this node asks, or answers.
//!
//! A trace that is flooded is answered by its destination alone: were everyone to answer who passes it on, one question would fill the air.

use super::Node;
use super::events::PendingEvent;
use super::forwarding::Egress;
use crate::control::Control;
use crate::frame::{Frame, Kind};
use crate::probe::{Probe, TracedHop};
use crate::{Address, Discard, Instant, Priority};

/// Probes wait for nobody's jitter, and nobody suppresses them: they are to show the way and not the queue.
const PRIORITY: Priority = Priority::High;

every_size!(
    /// Probes.
    impl Node {
        /// Asks a node whether it is there; the answer is [`Event::Pong`](crate::Event::Pong). Asked once: it may be lost, and so may the
        /// answer. `false` when there is no room for it.
        pub fn ping(&mut self, to: Address, id: u16) -> bool {
            self.control(to, PRIORITY, Control::Probe(Probe::Ping(id)), false)
        }

        /// Asks all that pass this on along the route to a node to say so, each in an [`Event::Traced`](crate::Event::Traced); this node
        /// does so at once. Where there is no route only the destination answers. `false` when there is no room for it.
        pub fn trace(&mut self, now: Instant, to: Address, id: u8) -> bool {
            let (next, quality) = match self.egress(now, to, PRIORITY) {
                Egress::Flood => (Address::EVERYONE, 0),
                Egress::Direct => (to, self.quality(to)),
                Egress::Over(next) => (next, self.quality(next)),
            };
            let hop = TracedHop { id, hop: 0, keeps: self.keeps, next, quality };
            self.push_event(PendingEvent::Traced { source: self.address, hop });
            self.control(to, PRIORITY, Control::Probe(Probe::Trace(id)), false)
        }

        /// Says in traces that this node keeps messages for others until their receivers can be reached.
        pub const fn keeps_for_others(&mut self) {
            self.keeps = true;
        }

        /// A probe for this node.
        pub(super) fn take_probe(
            &mut self,
            now: Instant,
            frame: &Frame<'_>,
            probe: Probe,
            hops: u8,
        ) -> Result<(), Discard> {
            if frame.dst != self.address {
                return Err(Discard::Malformed);
            }
            let source = frame.src;
            match probe {
                Probe::Ping(id) => self.answer_probe(now, source, Probe::Pong(id)),
                Probe::Trace(id) => {
                    let hop = TracedHop { id, hop: hops, keeps: self.keeps, next: Address::NONE, quality: 0 };
                    self.answer_probe(now, source, Probe::Traced(hop))
                }
                Probe::Pong(id) => {
                    self.push_event(PendingEvent::Pong { source, id, hops });
                    Ok(())
                }
                Probe::Traced(hop) => {
                    self.push_event(PendingEvent::Traced { source, hop });
                    Ok(())
                }
            }
        }

        /// This node alone was asked to pass a frame on, and has asked `next`, or everyone: if it is a trace, it says so.
        pub(super) fn trace_passed(&mut self, now: Instant, frame: &Frame<'_>, next: Option<Address>) {
            if frame.kind != Kind::Control {
                return;
            }
            let Ok(Control::Probe(Probe::Trace(id))) = Control::parse(frame.body) else { return };
            let quality = next.map_or(0, |next| self.quality(next));
            let next = next.unwrap_or(Address::EVERYONE);
            let hop = TracedHop { id, hop: frame.ttl0 - frame.ttl + 1, keeps: self.keeps, next, quality };
            if let Err(why) = self.answer_probe(now, frame.src, Probe::Traced(hop)) {
                self.stats.count(why);
            }
        }

        fn answer_probe(&mut self, now: Instant, to: Address, answer: Probe) -> Result<(), Discard> {
            if !self.probes.take(now) {
                return Err(Discard::TooManyProbes);
            }
            self.control(to, PRIORITY, Control::Probe(answer), false);
            Ok(())
        }

        /// The share of this node's hellos that `neighbour` says it hears, in 255ths.
        fn quality(&self, neighbour: Address) -> u8 {
            let known = self.neighbours.iter().find(|known| known.address == neighbour);
            known.and_then(|known| known.delivery_out).unwrap_or(0)
        }
    }
);
