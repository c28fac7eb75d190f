//! The search for a route, and its answer.

use crate::Address;

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
