//! One number for everything that happened on the air.
//!
//! Owns the hash by which two runs are compared: every frame sent and heard, by whom and when.

use ble_bearer::sim::{Observer, Reception, StationId};
use mesh_protocol::Instant;
use sha2::{Digest, Sha256};

/// Hashes what it observes.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    hash: Sha256,
    /// Advertising events begun.
    pub transmitted: u64,
    /// Frames that reached a host.
    pub received: u64,
}

impl Trace {
    /// The hash so far, in hex.
    #[must_use]
    pub fn digest(&self) -> String {
        self.hash.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Everything so far.
    #[must_use]
    pub const fn events(&self) -> u64 {
        self.transmitted + self.received
    }

    /// A frame is sent.
    pub fn sent(&mut self, now: Instant, from: StationId, frame: &[u8]) {
        self.transmitted += 1;
        self.update(0, now, from, frame);
    }

    /// A frame reaches a host.
    pub fn heard(&mut self, now: Instant, heard: &Reception<'_>) {
        self.received += 1;
        self.update(1, now, heard.to, heard.frame);
    }

    fn update(&mut self, what: u8, now: Instant, station: StationId, frame: &[u8]) {
        let mut head = [what; 13];
        head[1..9].copy_from_slice(&now.as_micros().to_le_bytes());
        head[9..].copy_from_slice(&station.0.to_le_bytes());
        self.hash.update(head);
        self.hash.update(frame);
    }
}

impl<S> Observer<S> for Trace {
    fn transmitted(&mut self, now: Instant, from: StationId, frame: &[u8]) {
        self.sent(now, from, frame);
    }

    fn received(&mut self, now: Instant, heard: &Reception<'_>) {
        self.heard(now, heard);
    }
}
