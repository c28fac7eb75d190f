//! Settings of the network stacks.
//!
//! Owns their meaning as plain data. What a stack does with them is its own business.

use mesh_protocol::Duration;

/// Settings of the stacks.
#[derive(Clone, Debug, PartialEq)]
pub struct Stacks {
    /// TTL of our messages.
    pub mesh_ttl: u8,
    /// The SIG baseline.
    pub sig: SigOptions,
    /// TTL of the plain flood.
    pub flood_ttl: u8,
}

/// The SIG baseline's settings.
#[derive(Clone, Debug, PartialEq)]
pub struct SigOptions {
    /// TTL of messages and acks.
    pub ttl: u8,
    /// Copies of an originated network PDU.
    pub transmit: u8,
    /// From one of these copies to the next.
    pub transmit_interval: Duration,
    /// Copies of a relayed network PDU.
    pub retransmit: u8,
    /// From one of these copies to the next.
    pub retransmit_interval: Duration,
    /// Advertising sets for relaying beside the node's own; 0 relays through the own one.
    pub relay_sets: u8,
    /// From the reception of a PDU to the host's next command. A stack's own delay, beside the controller's.
    pub host_delay: Duration,
}
