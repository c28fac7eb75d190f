//! What every command of a host has: when it came, what it returns, and the parameters that many of them share.
//!
//! Owns these words only. Which commands there are is `commands`' business.

use ble_bearer::sim::Radio;
use mesh_protocol::Instant;

/// What became of a host's command (Core Specification, Volume 1 Part F).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status(pub(super) u8);

impl Status {
    pub(super) const SUCCESS: Self = Self(0x00);
    pub(super) const UNKNOWN_COMMAND: Self = Self(0x01);
    pub(super) const MEMORY: Self = Self(0x07);
    pub(super) const DISALLOWED: Self = Self(0x0c);
    pub(super) const UNSUPPORTED: Self = Self(0x11);
    pub(super) const INVALID: Self = Self(0x12);
    pub(super) const TIMEOUT: Self = Self(0x3c);
    pub(super) const UNKNOWN_SET: Self = Self(0x42);
    pub(super) const LIMIT: Self = Self(0x43);
}

/// A host that has used commands of one style may not use those of the other until the next reset (3.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Legacy,
    Extended,
}

/// When a command came, and the radio.
pub(super) struct Call<'a, 'r> {
    pub(super) now: Instant,
    pub(super) radio: &'a mut Radio<'r>,
}

/// What a command returns behind its status.
pub(super) type Reply = Result<Vec<u8>, Status>;

/// An address is all there is.
pub(super) fn address(parameters: &[u8]) -> Result<[u8; 6], Status> {
    parameters.try_into().map_err(|_| Status::INVALID)
}

/// Whether a host's number for the type of its own address is that of a random one. Private addresses are not supported.
pub(super) const fn is_random(own: u8) -> Result<bool, Status> {
    match own {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Status::INVALID),
    }
}
