//! Control messages between nodes: hello, ack, receipt, the search for a name, and what custody says from hop to hop.
//!
//! Owns their bytes. All carry the long MIC, because all change state; so each fits the 9 bytes that a legacy
//! frame then has, and the 7 beside a next hop if it goes to one node. Fixed layouts, not varints: what must fit must
//! fit always.

use sha2::{Digest, Sha256};

use crate::feedback::{Feedback, NACK, TALLY};
use crate::probe::Probe;
use crate::segment::{SEGMENTS_MAX, TransferId};
use crate::{Address, Discard, MessageId};

/// The longest control body: a legacy frame with the long MIC.
pub const CONTROL_MAX: usize = 9;
/// Neighbours reported in one hello.
pub const HELLO_REPORTS: usize = 3;
/// Segments behind the first gap that an ack can speak of.
const ACK_BITS: u8 = 32;

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

/// The first six bytes of a name's SHA-256: what is asked for on the air.
///
/// ```
/// use mesh_protocol::NameHash;
///
/// let lamp = NameHash::of("lamp");
/// assert_eq!(lamp, NameHash::of("lamp"));
/// assert!(lamp.group_address().is_group());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameHash(pub [u8; 6]);

impl NameHash {
    /// The hash of a name.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let digest = Sha256::digest(name.as_bytes());
        Self(core::array::from_fn(|i| digest[i]))
    }

    /// The address of the group with this name: one of the 32,766 group addresses.
    ///
    /// Two names can share an address; the envelope carries the name, so a receiver can tell them apart.
    #[must_use]
    pub const fn group_address(self) -> Address {
        let n = u16::from_be_bytes([self.0[0], self.0[1]]) % 0x7ffe;
        Address::new(0x8000 + n)
    }
}

/// How well a neighbour was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HelloReport {
    /// The low 12 bits of its address: a node knows itself by them, and two of one neighbourhood seldom share them.
    pub neighbour: u16,
    /// The share of its hellos that arrived, in 15ths.
    pub delivery: u8,
}

impl HelloReport {
    /// A report of `neighbour`, of whose frames this share arrived, in 255ths.
    #[must_use]
    pub const fn of(neighbour: Address, share: u8) -> Self {
        Self { neighbour: neighbour.bits() & 0x0fff, delivery: ((share as u16 + 8) / 17) as u8 }
    }

    /// Whether it speaks of this node.
    #[must_use]
    pub const fn is_of(self, address: Address) -> bool {
        self.neighbour == address.bits() & 0x0fff
    }

    /// The share that arrived, in 255ths.
    #[must_use]
    pub const fn share(self) -> u8 {
        self.delivery * 17
    }
}

/// What a node says of itself in a hello.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HelloFlags(u8);

impl HelloFlags {
    /// It hears frames longer than a legacy one.
    pub const LONG_FRAMES: Self = Self(1);
    /// It relays.
    pub const RELAYS: Self = Self(2);
    /// It has chosen itself to relay what goes to many.
    pub const BACKBONE: Self = Self(4);
    const SPARE: u8 = 8;

    /// These, and the present pause between its hellos: 2 to the power of `log2` seconds.
    #[must_use]
    pub const fn with_pace(self, log2: u8) -> Self {
        Self(self.0 & 0x0f | (log2 & 0x0f) << 4)
    }

    /// Both together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` are among these.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The logarithm of the pause between its hellos, in seconds.
    #[must_use]
    pub const fn pace(self) -> u8 {
        self.0 >> 4
    }
}

/// The search for a route: what it says, each node that passes it on says anew under its own name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteRequest {
    /// Who searches; all who hear it learn the way back to it.
    pub origin: Address,
    /// Who is to answer; nobody if it is [`Address::EVERYONE`], and the origin only makes itself known.
    pub target: Address,
    /// How new this is at the origin.
    pub seqno: u16,
    /// From its sender to the origin, in eighths of a transmission.
    pub cost: u8,
    /// Hops that it may go on; at most 15.
    pub ttl: u8,
    /// Hops that it has come to its sender; at most 15.
    pub hops: u8,
}

/// The answer of the one searched for, handed from hop to hop on the way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteReply {
    /// Whom the route leads to: who answers.
    pub target: Address,
    /// Who searched.
    pub origin: Address,
    /// How new this is at the target.
    pub seqno: u16,
    /// From its sender to the target, in eighths of a transmission.
    pub cost: u8,
    /// Hops that it has come to its sender.
    pub hops: u8,
}

/// Which segments of a transfer the receiver holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Of which transfer.
    pub transfer: TransferId,
    /// All segments below this one; equal to their number when the block is whole.
    pub base: u8,
    /// Bit n: segment `base + 1 + n`.
    pub behind: u64,
}

impl Ack {
    /// The ack of a receiver that holds the segments in `have`, of `count` in all.
    #[must_use]
    pub const fn of(transfer: TransferId, have: u64, count: u8) -> Self {
        let base = (!have).trailing_zeros() as u8;
        if base >= count {
            return Self { transfer, base: count, behind: 0 };
        }
        let behind = if base >= 63 { 0 } else { (have >> (base + 1)) & ((1 << ACK_BITS) - 1) };
        Self { transfer, base, behind }
    }

    /// The segments that it says are held, and those that it says anything of.
    #[must_use]
    pub(crate) const fn held_and_said(&self) -> (u64, u64) {
        let below = crate::segment::all(self.base);
        let shift = self.base + 1;
        let said = crate::segment::all(if shift + ACK_BITS > 64 { 64 } else { shift + ACK_BITS });
        (below | if shift >= 64 { 0 } else { self.behind << shift }, said)
    }
}

/// Frames of one node that the sender of this has taken from the hop before: it passes them on, or they are for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HopAck {
    /// The node that sealed them.
    pub src: Address,
    /// The SEQ of the newest.
    pub seq: u32,
    /// Bit n: the one with SEQ `seq - 1 - n` as well.
    pub before: u8,
}

impl HopAck {
    /// Whether it names the frame of its `src` with this SEQ.
    #[must_use]
    pub const fn names(&self, seq: u32) -> bool {
        match self.seq.checked_sub(seq) {
            Some(0) => true,
            Some(behind @ 1..=8) => self.before >> (behind - 1) & 1 != 0,
            _ => false,
        }
    }
}

/// Why a node that had taken a frame in custody has given it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// No next hop passes it on.
    NoNextHop,
    /// It has waited too long.
    Stale,
    /// It had to give way to others.
    QueueFull,
}

impl Why {
    /// All reasons, in the order of their codes from 1.
    pub const ALL: [Self; 3] = [Self::NoNextHop, Self::Stale, Self::QueueFull];

    /// The reason in words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::NoNextHop => "no next hop passes it on",
            Self::Stale => "it has waited too long",
            Self::QueueFull => "it had to give way to others",
        }
    }
}

/// What a destination did with a message, or why it did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Verified, and stored if the destination promises to.
    Delivered,
    /// The receiving agent acknowledged it.
    Processed,
    /// Not taken, and why.
    Rejected(Reason),
    /// The destination lost earlier parts (it restarted): send from the first part again.
    Restart,
}

/// Why a destination did not take a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No agent of that name is there.
    NoSuchAgent,
    /// The agent's inbox is full.
    InboxFull,
    /// Larger than the destination takes.
    TooLarge,
    /// The deadline had passed on arrival.
    Expired,
    /// Storage failed.
    Storage,
    /// Not a message this destination understands.
    Malformed,
    /// Its names were said in an earlier message, which this destination does not know: they are to be said again.
    UnknownContext,
    /// It is older than all that the destination remembers of its sender, which may have had it before.
    Forgotten,
}

impl Reason {
    /// All reasons, in the order of their codes from 1.
    pub const ALL: [Self; 8] = [
        Self::NoSuchAgent,
        Self::InboxFull,
        Self::TooLarge,
        Self::Expired,
        Self::Storage,
        Self::Malformed,
        Self::UnknownContext,
        Self::Forgotten,
    ];

    const fn code(self) -> u8 {
        self as u8 + 1
    }

    /// The reason in words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::NoSuchAgent => "no agent of that name is there",
            Self::InboxFull => "the agent's inbox is full",
            Self::TooLarge => "larger than the destination takes",
            Self::Expired => "the deadline had passed on arrival",
            Self::Storage => "the destination could not store it",
            Self::Malformed => "the destination could not read it",
            Self::UnknownContext => "the destination does not know the names that it refers to",
            Self::Forgotten => "it is older than all that the destination remembers of this node",
        }
    }
}

impl Verdict {
    const fn codes(self) -> [u8; 2] {
        match self {
            Self::Delivered => [1, 0],
            Self::Processed => [2, 0],
            Self::Rejected(reason) => [3, reason.code()],
            Self::Restart => [4, 0],
        }
    }

    fn from_codes(codes: [u8; 2]) -> Option<Self> {
        Some(match codes {
            [1, 0] => Self::Delivered,
            [2, 0] => Self::Processed,
            [3, code] => Self::Rejected(*Reason::ALL.get(usize::from(code).checked_sub(1)?)?),
            [4, 0] => Self::Restart,
            _ => return None,
        })
    }
}

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
            [ACK, t0, t1, b0, b1, b2, b3] => Ok(Self::Ack(parse_ack([t0, t1], [b0, b1, b2, b3])?)),
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

fn parse_ack(head: [u8; 2], behind: [u8; 4]) -> Result<Ack, Discard> {
    let head = u16::from_be_bytes(head);
    let (base, behind) = ((head & 0x3f) as u8, u64::from(u32::from_be_bytes(behind)));
    let transfer = TransferId::new(head >> 6);
    // Behind the last place there is none; the first bit says that this one is held as well.
    match (usize::from(base) + 1 == SEGMENTS_MAX, behind) {
        (true, 1) => Ok(Ack { transfer, base: base + 1, behind: 0 }),
        (true, 2..) => Err(Discard::Malformed),
        _ => Ok(Ack { transfer, base, behind }),
    }
}

fn node(bytes: [u8; 2]) -> Result<Address, Discard> {
    let address = Address::new(u16::from_be_bytes(bytes));
    if address.is_node() { Ok(address) } else { Err(Discard::Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_report_keeps_a_share_to_a_fifteenth() {
        let me = Address::new(0x7123);
        for share in 0..=255u8 {
            let report = HelloReport::of(me, share);
            assert!(report.share().abs_diff(share) <= 8 && report.delivery <= 15, "{share}");
            assert!(report.is_of(me) && !report.is_of(Address::new(0x7124)));
        }
        let flags = HelloFlags::RELAYS.with_pace(6);
        assert!(flags.has(HelloFlags::RELAYS) && !flags.has(HelloFlags::LONG_FRAMES));
        assert_eq!(flags.pace(), 6);
    }

    #[test]
    fn an_ack_tells_of_the_first_gap_and_thirty_two_segments_behind_it() {
        let transfer = TransferId::new(1);
        let whole = Ack::of(transfer, u64::MAX, 64);
        assert_eq!((whole.base, whole.behind), (64, 0));
        assert_eq!(whole.held_and_said(), (u64::MAX, u64::MAX));

        let gap = Ack::of(transfer, !(1 << 3), 64);
        assert_eq!(gap.base, 3);
        let (held, said) = gap.held_and_said();
        assert_eq!(said, (1 << 36) - 1, "segments 0 to 35");
        assert_eq!(held, said & !(1 << 3));

        let end = Ack::of(transfer, !(1 << 63), 64);
        assert_eq!((end.base, end.held_and_said()), (63, (u64::MAX >> 1, u64::MAX)));
        assert_eq!(Ack::of(transfer, 0b111, 3).base, 3);
    }

    #[test]
    fn a_hop_ack_names_one_frame_and_eight_before_it() {
        let ack = HopAck { src: Address::new(1), seq: 10, before: 0b1000_0001 };
        assert_eq!((0..=12).filter(|seq| ack.names(*seq)).collect::<Vec<_>>(), [2, 9, 10]);
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

    #[test]
    fn group_addresses_are_groups() {
        for name in ["kitchen", "roof", "", "everyone"] {
            assert!(NameHash::of(name).group_address().is_group(), "{name}");
        }
    }
}
