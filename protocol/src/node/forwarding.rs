//! Where a frame goes from here: to all, to one neighbour, or over one; on which links, and how often.
//!
//! Owns the choice. Reads routes, neighbours and links, and changes none of them.

use super::Node;
use crate::control::Control;
use crate::control_queue::OwnControl;
use crate::crypto::Mic;
use crate::frame::overhead;
use crate::segment::{Cut, LONG_SEGMENT_LEN, SEGMENT_HEADER, SEGMENT_LEN, SHORT_SEGMENT_LEN};
use crate::{Address, Instant, LEGACY_FRAME, LinkId, Priority};

/// By whom a frame goes on from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Egress {
    /// Every node in range may pass it on.
    Flood,
    /// It is for nodes in range, and nobody passes it on.
    Direct,
    /// This neighbour alone passes it on.
    Over(Address),
}

every_size!(
    /// Where frames go.
    impl Node {
        /// The neighbour that alone is to pass on what goes to `to`, if a route names one that has not fallen silent.
        pub(super) fn next_hop(&self, now: Instant, to: Address) -> Option<Address> {
            // One that does not answer is still asked where there is no other: what it does not take is flooded one by one, and
            // each frame may find it there again.
            let hops = self.routes.next_hops(now, to);
            let mut there =
                hops.into_iter().flatten().filter(|next| !self.neighbours.fell_silent(now, *next));
            let first = there.next()?;
            let answers = |next: &Address| !self.hops.shuns(now, *next);
            Some(Some(first).filter(answers).or_else(|| there.find(answers)).unwrap_or(first))
        }

        /// How a block of a message that sets out now is cut: into segments as long as whoever is to hear them takes. In legacy frames,
        /// all but the first go as continuation frames where one neighbour at a time is to take them; a short first one leaves room
        /// to name it. `legacy`: somebody further on takes no long frames.
        pub(super) fn cut(&self, now: Instant, to: Address, priority: Priority, legacy: bool) -> Cut {
            let (next, first) = match self.egress(now, to, priority) {
                Egress::Flood => return self.cut_for_all(),
                Egress::Direct => (to, SEGMENT_LEN),
                Egress::Over(next) => (next, SHORT_SEGMENT_LEN),
            };
            let frame = self.frame_to(next);
            if frame > LEGACY_FRAME && !legacy { long(frame) } else { Cut::of(first, true) }
        }

        /// How a block is cut that everyone takes.
        pub(super) fn cut_for_all(&self) -> Cut {
            let frame = self.frame_for_all();
            if frame > LEGACY_FRAME { long(frame) } else { Cut::even(SEGMENT_LEN) }
        }

        /// The connection that alone carries a frame for `to`: the first try to a neighbour at the connection's other end.
        pub(super) fn wire(&self, to: Address, class: Priority, again: bool) -> Option<LinkId> {
            // Most nodes have one link, and need not look.
            let may = self.links.len() > 1 && !again && class != Priority::Critical;
            let wire = if may { self.neighbours.wire(to) } else { None };
            wire.filter(|_| self.routes.operators(to).is_none())
        }

        /// As [`Self::wire`], of something in the queue of own controls.
        pub(super) fn wire_of(&self, own: &OwnControl) -> Option<LinkId> {
            match own.control {
                Control::Ack(_) | Control::Receipt { .. } | Control::Probe(_) | Control::RouteReply(_) => {
                    self.wire(own.destination, own.priority, own.again)
                }
                _ => None,
            }
        }

        /// Whether `link` is one for what is to a node, of a class, said again or not.
        pub(super) fn takes(&self, link: LinkId) -> impl Fn(Address, Priority, bool) -> bool + '_ {
            move |to, class, again| {
                self.wire(to, class, again).is_none_or(|wire| wire == link)
                    && (again || self.may_hand_on(to, class))
            }
        }

        /// By whom what is for `to` goes on the first time it is sent; the second time it is flooded, as the urgent are at
        /// once. A neighbour that hears this node well needs no one to pass it on.
        pub(super) fn egress(&self, now: Instant, to: Address, class: Priority) -> Egress {
            if class == Priority::Critical {
                return Egress::Flood;
            }
            match self.next_hop(now, to) {
                Some(next) if next == to => Egress::Direct,
                Some(next) if self.routes.operators(to) == Some(next) => Egress::Over(next),
                _ if self.hears_well(now, to) => Egress::Direct,
                Some(next) => Egress::Over(next),
                None if self.reaches(now, to) => Egress::Direct,
                None => Egress::Flood,
            }
        }

        /// How often to send a frame that is this node's own, or that this node alone was asked to pass on.
        pub(super) fn copies(&self, now: Instant, egress: Egress, to: Address, class: Priority) -> u8 {
            match egress {
                Egress::Flood => own_copies(self.neighbours.alive(now), class),
                Egress::Direct => copies_to_one(self.neighbours.heard_there(now, to), true, class),
                Egress::Over(next) => copies_to_one(self.neighbours.heard_there(now, next), false, class),
            }
        }

        /// Whether `to` is a neighbour that hears enough of this node for a frame that is repeated until it is there.
        pub(super) fn reaches(&self, now: Instant, to: Address) -> bool {
            self.neighbours.is_reached(now, to, self.hellos.count())
        }

        pub(super) fn hears_well(&self, now: Instant, to: Address) -> bool {
            self.neighbours.hears_well(now, to, self.hellos.count())
        }
    }
);

/// How often to send an own frame that all pass on: nobody else can do it, so the urgent go once or twice more than a relay
/// would send them. The third copy of CRITICAL takes its 99th percentile down by a tenth
/// (`mesh-sim run scenarios/bulk.toml`).
const fn own_copies(alive: usize, priority: Priority) -> u8 {
    match alive {
        0..=5 => 3,
        _ => match priority {
            Priority::Critical => 3,
            Priority::High => 2,
            _ => 1,
        },
    }
}

/// How often to send a frame that one neighbour takes or passes on, and nobody else: as often as it takes for all but a few to arrive,
/// where this share of frames does, in 255ths. `last`: it is for that neighbour itself.
///
/// Never once only, but for what is not urgent and has arrived then. Fewer may be lost of HIGH, or its 99th percentile rises by half (`mesh-sim run scenarios/office.toml`); and of what has further hops
/// before it, as the losses of all hops add up before the sender notices.
const fn copies_to_one(heard_there: Option<u8>, last: bool, priority: Priority) -> u8 {
    let Some(share) = heard_there else { return COPIES_UNKNOWN };
    let (most, loss) = (LOST_MOST[2 * last as usize + priority.suppressible() as usize], 255 - share as u32);
    let (mut copies, mut lost) = (1, 1_000 * loss / 255);
    if !(last && priority.suppressible()) {
        (copies, lost) = (2, lost * loss / 255);
    }
    while lost > most && copies < COPIES_MOST {
        copies += 1;
        lost = lost * loss / 255;
    }
    copies
}

/// Copies to a neighbour of which it is not known how well it hears.
const COPIES_UNKNOWN: u8 = 3;
/// Copies to one that hears badly; what is lost then is for repeats.
const COPIES_MOST: u8 = 4;
/// Of a thousand frames, how many may be lost on a hop: to be passed on, and to the one they are for; urgent, and not.
const LOST_MOST: [u32; 4] = [5, 10, 20, 120];

/// Segments of so long frames, with room for a next hop.
const fn long(frame: usize) -> Cut {
    let each = frame - overhead(true, Mic::Short) - SEGMENT_HEADER;
    Cut::even(if each < SEGMENT_LEN {
        SEGMENT_LEN
    } else if each > LONG_SEGMENT_LEN {
        LONG_SEGMENT_LEN
    } else {
        each
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_follow_what_is_heard_in_small_steps() {
        let copies = |last, priority| {
            [None, Some(255), Some(235), Some(217), Some(190), Some(128), Some(0)]
                .map(|share| copies_to_one(share, last, priority))
        };
        assert_eq!(copies(true, Priority::Low), [3, 1, 1, 2, 2, 4, 4]);
        assert_eq!(copies(true, Priority::High), [3, 2, 2, 3, 3, 4, 4]);
        assert_eq!(copies(false, Priority::Medium), [3, 2, 2, 3, 4, 4, 4]);
        assert_eq!(copies(false, Priority::High), [3, 2, 3, 3, 4, 4, 4]);
    }
}
