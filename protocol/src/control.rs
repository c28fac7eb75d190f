//! Control messages between nodes: hello, ack, receipt, the search for a name, and what custody says from hop to hop.
//!
//! Owns their bytes. All carry the long MIC, because all change state; so each fits the 9 bytes that a legacy
//! frame then has, and the 7 beside a next hop if it goes to one node. Fixed layouts, not varints: what must fit must
//! fit always.

mod ack;
mod hello;
mod names;
mod routes;
mod verdict;

pub use ack::{Ack, HopAck};
pub use hello::{HelloFlags, HelloReport};
pub use names::NameHash;
pub use routes::{RouteReply, RouteRequest};
pub use verdict::{Reason, Verdict, Why};

use crate::feedback::{Feedback, NACK, TALLY};
use crate::probe::Probe;
use crate::segment::SEGMENTS_MAX;
use crate::{Address, Discard, MessageId};

/// The longest control body: a legacy frame with the long MIC.
pub const CONTROL_MAX: usize = 9;
/// Neighbours reported in one hello.
pub const HELLO_REPORTS: usize = 3;

const HELLO: u8 = 1;
const ACK: u8 = 2;
const RECEIPT: u8 = 3;
const WHO_HAS: u8 = 4;
const HERE: u8 = 5;
const HOP_ACK: u8 = 9;
const UNDELIVERED: u8 = 0x0b;
pub(crate) const ROUTE_REQUEST: u8 = 6;
const ROUTE_REPLY: u8 = 7;
pub(crate) const ROUTE_BROKEN: u8 = 8;

/// One control message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// I am here; this is how well I hear some of you. Never relayed.
    Hello {
        /// Counts this node's hellos, so that a listener knows what it missed.
        count: u8,
        /// What it can do, and when its next hello comes.
        flags: HelloFlags,
        /// Neighbours in turn.
        reports: [Option<HelloReport>; HELLO_REPORTS],
    },
    /// These segments I hold.
    Ack(Ack),
    /// This became of your message.
    Receipt {
        /// Which message of the addressed node.
        message: MessageId,
        /// What became of it.
        verdict: Verdict,
    },
    /// Which node has an agent of this name?
    WhoHas(NameHash),
    /// An agent of this name is at my address.
    Here(NameHash),
    /// These frames I have. Never relayed.
    HopAck(HopAck),
    /// A frame of yours that I had in custody is given up.
    Undelivered {
        /// Its SEQ.
        seq: u32,
        /// Why.
        why: Why,
    },
    /// A question about the way to a node, or the answer.
    Probe(Probe),
    /// Who knows the way to this node? To neighbours, never relayed as it is.
    RouteRequest(RouteRequest),
    /// This is the way. To the neighbour that asked.
    RouteReply(RouteReply),
    /// I know no way to this node any more. To neighbours.
    RouteBroken {
        /// Whom the route led to.
        destination: Address,
        /// How new what is known of it was.
        seqno: u16,
    },
    /// What a receiver of a message to many says of it.
    Feedback(Feedback),
}

impl Control {
    /// Writes the body; returns its length.
    pub(crate) fn write(&self, out: &mut [u8; CONTROL_MAX]) -> usize {
        match self {
            Self::Hello { count, flags, reports } => {
                out[..3].copy_from_slice(&[HELLO, *count, flags.0]);
                let mut len = 3;
                for report in reports.iter().flatten() {
                    let bits = report.neighbour | u16::from(report.delivery) << 12;
                    out[len..len + 2].copy_from_slice(&bits.to_be_bytes());
                    len += 2;
                }
                len
            }
            Self::Ack(ack) => {
                // A base of 64 has no room in 6 bits: it is 63 and the segment behind it, which is none.
                let (base, behind) = if usize::from(ack.base) == SEGMENTS_MAX {
                    (ack.base - 1, 1)
                } else {
                    (ack.base, ack.behind)
                };
                out[0] = ACK;
                out[1..3].copy_from_slice(&(ack.transfer.bits() << 6 | u16::from(base)).to_be_bytes());
                out[3..7].copy_from_slice(&behind.to_be_bytes()[4..]);
                7
            }
            Self::Receipt { message, verdict } => {
                out[0] = RECEIPT;
                out[1..5].copy_from_slice(&message.0.to_be_bytes());
                out[5..7].copy_from_slice(&verdict.codes());
                7
            }
            Self::Probe(probe) => {
                let (bytes, len) = probe.bytes();
                out[..len].copy_from_slice(&bytes[..len]);
                len
            }
            Self::Feedback(feedback) => {
                let (bytes, len) = feedback.bytes();
                out[..len].copy_from_slice(&bytes[..len]);
                len
            }
            Self::WhoHas(name) | Self::Here(name) => {
                out[0] = if matches!(self, Self::WhoHas(_)) { WHO_HAS } else { HERE };
                out[1..7].copy_from_slice(&name.0);
                7
            }
            Self::HopAck(ack) => {
                out[0] = HOP_ACK;
                out[1..3].copy_from_slice(&ack.src.bits().to_be_bytes());
                out[3..6].copy_from_slice(&ack.seq.to_be_bytes()[1..]);
                out[6] = ack.before;
                7
            }
            Self::Undelivered { seq, why } => {
                out[0] = UNDELIVERED;
                out[1..4].copy_from_slice(&seq.to_be_bytes()[1..]);
                out[4] = *why as u8 + 1;
                5
            }
            Self::RouteRequest(request) => {
                out[0] = ROUTE_REQUEST;
                out[1..3].copy_from_slice(&request.origin.bits().to_be_bytes());
                out[3..5].copy_from_slice(&request.target.bits().to_be_bytes());
                out[5..7].copy_from_slice(&request.seqno.to_be_bytes());
                out[7..9].copy_from_slice(&[request.cost, request.ttl << 4 | request.hops & 0x0f]);
                9
            }
            Self::RouteReply(reply) => {
                out[0] = ROUTE_REPLY;
                out[1..3].copy_from_slice(&reply.target.bits().to_be_bytes());
                out[3..5].copy_from_slice(&reply.origin.bits().to_be_bytes());
                out[5..7].copy_from_slice(&reply.seqno.to_be_bytes());
                out[7..9].copy_from_slice(&[reply.cost, reply.hops]);
                9
            }
            Self::RouteBroken { destination, seqno } => {
                out[0] = ROUTE_BROKEN;
                out[1..3].copy_from_slice(&destination.bits().to_be_bytes());
                out[3..5].copy_from_slice(&seqno.to_be_bytes());
                5
            }
        }
    }

    /// Reads a control body.
    ///
    /// # Errors
    /// [`Discard::Malformed`] for an unknown opcode, a wrong length or a value out of range.
    pub fn parse(body: &[u8]) -> Result<Self, Discard> {
        match *body {
            [HELLO, count, flags, ref rest @ ..]
                if flags & HelloFlags::SPARE == 0
                    && rest.len().is_multiple_of(2)
                    && rest.len() <= 2 * HELLO_REPORTS =>
            {
                let mut reports = [None; HELLO_REPORTS];
                for (report, bytes) in reports.iter_mut().zip(rest.chunks_exact(2)) {
                    let bits = u16::from_be_bytes([bytes[0], bytes[1]]);
                    *report = Some(HelloReport { neighbour: bits & 0x0fff, delivery: (bits >> 12) as u8 });
                }
                Ok(Self::Hello { count, flags: HelloFlags(flags), reports })
            }
            [ACK, t0, t1, b0, b1, b2, b3] => Ok(Self::Ack(ack::parse_ack([t0, t1], [b0, b1, b2, b3])?)),
            [RECEIPT, m0, m1, m2, m3, code, detail] => Ok(Self::Receipt {
                message: MessageId(u32::from_be_bytes([m0, m1, m2, m3])),
                verdict: Verdict::from_codes([code, detail]).ok_or(Discard::Malformed)?,
            }),
            [op @ (WHO_HAS | HERE), ref name @ ..] => {
                let name = NameHash(name.try_into().map_err(|_| Discard::Malformed)?);
                Ok(if op == WHO_HAS { Self::WhoHas(name) } else { Self::Here(name) })
            }
            [HOP_ACK, a0, a1, s0, s1, s2, before] => {
                let (src, seq) =
                    (Address::new(u16::from_be_bytes([a0, a1])), u32::from_be_bytes([0, s0, s1, s2]));
                if !src.is_node() {
                    return Err(Discard::Malformed);
                }
                Ok(Self::HopAck(HopAck { src, seq, before }))
            }
            [UNDELIVERED, s0, s1, s2, why] => Ok(Self::Undelivered {
                seq: u32::from_be_bytes([0, s0, s1, s2]),
                why: *usize::from(why)
                    .checked_sub(1)
                    .and_then(|at| Why::ALL.get(at))
                    .ok_or(Discard::Malformed)?,
            }),
            [ROUTE_REQUEST, o0, o1, t0, t1, s0, s1, cost, hops] => {
                let target = Address::new(u16::from_be_bytes([t0, t1]));
                if !target.is_node() && target != Address::EVERYONE {
                    return Err(Discard::Malformed);
                }
                Ok(Self::RouteRequest(RouteRequest {
                    origin: node([o0, o1])?,
                    target,
                    seqno: u16::from_be_bytes([s0, s1]),
                    cost,
                    ttl: hops >> 4,
                    hops: hops & 0x0f,
                }))
            }
            [ROUTE_REPLY, t0, t1, o0, o1, s0, s1, cost, hops] => Ok(Self::RouteReply(RouteReply {
                target: node([t0, t1])?,
                origin: node([o0, o1])?,
                seqno: u16::from_be_bytes([s0, s1]),
                cost,
                hops,
            })),
            [ROUTE_BROKEN, d0, d1, s0, s1] => {
                Ok(Self::RouteBroken { destination: node([d0, d1])?, seqno: u16::from_be_bytes([s0, s1]) })
            }
            [NACK | TALLY, ..] => Feedback::parse(body).map(Self::Feedback),
            _ => Probe::parse(body).map(Self::Probe),
        }
    }
}

fn node(bytes: [u8; 2]) -> Result<Address, Discard> {
    let address = Address::new(u16::from_be_bytes(bytes));
    if address.is_node() { Ok(address) } else { Err(Discard::Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::TransferId;

    #[test]
    fn every_control_message_returns_as_it_was_and_fits_a_legacy_frame() {
        let report = |n| Some(HelloReport::of(Address::new(n), 200));
        let (one, other) = (Address::new(0x0102), Address::LAST_NODE);
        let messages = [
            Control::Ack(Ack::of(TransferId::new(0x3ff), 0b1011, 64)),
            Control::Ack(Ack::of(TransferId::new(0x3ff), u64::MAX, 64)),
            Control::Ack(Ack::of(TransferId::new(0x3ff), u64::MAX >> 1, 64)),
            Control::Hello { count: 9, flags: HelloFlags::default(), reports: [None; 3] },
            Control::Hello {
                count: 255,
                flags: HelloFlags::LONG_FRAMES.and(HelloFlags::RELAYS).with_pace(15),
                reports: [report(1), report(0x7fff), report(0x1000)],
            },
            Control::RouteRequest(RouteRequest {
                origin: one,
                target: other,
                seqno: 0xfffe,
                cost: 255,
                ttl: 15,
                hops: 14,
            }),
            Control::RouteRequest(RouteRequest {
                origin: other,
                target: Address::EVERYONE,
                seqno: 0,
                cost: 0,
                ttl: 0,
                hops: 0,
            }),
            Control::RouteReply(RouteReply { target: one, origin: other, seqno: 7, cost: 8, hops: 1 }),
            Control::RouteBroken { destination: other, seqno: 0x0102 },
            Control::Receipt { message: MessageId(u32::MAX), verdict: Verdict::Delivered },
            Control::Receipt { message: MessageId(0), verdict: Verdict::Restart },
            Control::WhoHas(NameHash::of("worker")),
            Control::Here(NameHash::of("worker")),
            Control::HopAck(HopAck { src: Address::new(0x7fff), seq: 0xff_ffff, before: 0x81 }),
        ];
        let given_up = Why::ALL.map(|why| Control::Undelivered { seq: 0xff_fffe, why });
        let rejected = Reason::ALL
            .map(|reason| Control::Receipt { message: MessageId(5), verdict: Verdict::Rejected(reason) });
        for message in messages.into_iter().chain(rejected).chain(given_up) {
            let mut out = [0; CONTROL_MAX];
            let len = message.write(&mut out);
            let one_hop =
                matches!(message, Control::Hello { .. } | Control::RouteRequest(_) | Control::RouteReply(_));
            assert!(len <= 7 || one_hop, "{message:?} goes by a route");
            assert_eq!(Control::parse(&out[..len]), Ok(message));
        }
    }

    #[test]
    fn bytes_that_are_no_control_message_are_malformed() {
        for body in [
            &[][..],
            &[0],
            &[ACK, 0, 63, 0, 0, 0, 2],
            &[ACK, 0, 0, 0, 0, 0],
            &[HOP_ACK, 0, 0, 0, 0, 1, 0],
            &[HOP_ACK, 0x80, 0, 0, 0, 1, 0],
            &[UNDELIVERED, 0, 0, 1, 0],
            &[UNDELIVERED, 0, 0, 1, 4],
            &[99, 1, 2],
            &[ROUTE_REQUEST, 0x80, 1, 0, 1, 0, 0, 0, 0],
            &[ROUTE_REQUEST, 0, 1, 0x80, 1, 0, 0, 0, 0],
            &[ROUTE_REQUEST, 0, 1, 0, 1, 0, 0, 0],
            &[ROUTE_REPLY, 0, 0, 0, 1, 0, 0, 0, 0],
            &[ROUTE_REPLY, 0, 1, 0xff, 0xff, 0, 0, 0, 0],
            &[ROUTE_BROKEN, 0, 0, 0, 1],
            &[RECEIPT, 0, 0, 0, 1, 3, 0],
            &[RECEIPT, 0, 0, 0, 1, 3, 9],
            &[RECEIPT, 0, 0, 0, 1, 5, 0],
            &[HELLO, 1, 0, 0, 1, 0, 2, 0, 3, 0, 4],
            &[HELLO, 1, 8],
            &[HELLO, 1, 0, 1],
            &[WHO_HAS, 1],
        ] {
            assert_eq!(Control::parse(body), Err(Discard::Malformed), "{body:?}");
        }
    }
}
