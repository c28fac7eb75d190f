//! Questions about the way to a node: ping, and trace, which every node on a route answers.
//!
//! Owns their bytes, and how often a node answers. Each fits beside NEXT with the long MIC: 7 bytes.

use crate::{Address, Discard, Duration, Instant};

const PING: u8 = 0x0c;
const PONG: u8 = 0x0d;
const TRACE: u8 = 0x0e;
const TRACED: u8 = 0x0f;

/// Of the place of a node that keeps messages for others.
const KEEPS: u8 = 0x80;

/// The longest of them.
const PROBE_MAX: usize = 6;

/// Probes that a node answers at once, and the time in which it may answer one more: whoever asks faster gets no answer. A guess: five
/// nodes may trace each other at a time, and nobody fills the air with it.
const PROBES: u8 = 6;
const PROBE_EVERY: Duration = Duration::from_millis(250);

/// One question or answer about a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Are you there?
    Ping(u16),
    /// The answer to the ping of this number.
    Pong(u16),
    /// Who passes this on, say so.
    Trace(u8),
    /// The answer of one node to the trace of this number.
    Traced(TracedHop),
}

/// What one node on the way says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TracedHop {
    /// Of which trace.
    pub id: u8,
    /// How many hops from the origin it is.
    pub hop: u8,
    /// Whether it keeps messages for others until their receivers can be reached.
    pub keeps: bool,
    /// Whom it has asked to pass the trace on; everyone where it floods, nobody at the destination.
    pub next: Address,
    /// The share of its hellos that arrive there, in 255ths, as that one has reported; 0 if it has not.
    pub quality: u8,
}

impl Probe {
    /// Its bytes, and how many of them there are.
    pub(crate) const fn bytes(&self) -> ([u8; PROBE_MAX], usize) {
        match *self {
            Self::Ping(id) | Self::Pong(id) => {
                let op = if matches!(self, Self::Ping(_)) { PING } else { PONG };
                let [i0, i1] = id.to_be_bytes();
                ([op, i0, i1, 0, 0, 0], 3)
            }
            Self::Trace(id) => ([TRACE, id, 0, 0, 0, 0], 2),
            Self::Traced(TracedHop { id, hop, keeps, next, quality }) => {
                let [n0, n1] = next.bits().to_be_bytes();
                let place = if keeps { hop | KEEPS } else { hop };
                ([TRACED, id, place, n0, n1, quality], PROBE_MAX)
            }
        }
    }

    pub(crate) const fn parse(body: &[u8]) -> Result<Self, Discard> {
        match *body {
            [PING, i0, i1] => Ok(Self::Ping(u16::from_be_bytes([i0, i1]))),
            [PONG, i0, i1] => Ok(Self::Pong(u16::from_be_bytes([i0, i1]))),
            [TRACE, id] => Ok(Self::Trace(id)),
            [TRACED, id, place, n0, n1, quality] => {
                let (hop, keeps) = (place & !KEEPS, place & KEEPS != 0);
                let next = Address::new(u16::from_be_bytes([n0, n1]));
                if hop > crate::frame::TTL_MAX || next.is_group() {
                    return Err(Discard::Malformed);
                }
                Ok(Self::Traced(TracedHop { id, hop, keeps, next, quality }))
            }
            _ => Err(Discard::Malformed),
        }
    }
}

/// How many probes a node may still answer.
#[derive(Clone, Debug)]
pub(crate) struct ProbeAllowance {
    left: u8,
    /// Up to when the allowance has grown.
    since: Instant,
}

impl ProbeAllowance {
    pub(crate) const fn new(now: Instant) -> Self {
        Self { left: PROBES, since: now }
    }

    /// Takes one, if there is one.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let grown = now.since(self.since).as_micros() / PROBE_EVERY.as_micros();
        if grown >= u64::from(PROBES - self.left) {
            (self.left, self.since) = (PROBES, now);
        } else {
            self.left += grown as u8;
            self.since += PROBE_EVERY.times(grown);
        }
        let may = self.left > 0;
        self.left -= u8::from(may);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_probe_returns_as_it_was_and_fits_beside_a_next_hop() {
        let hop = |next| Probe::Traced(TracedHop { id: 255, hop: 15, keeps: false, next, quality: 230 });
        let keeps = TracedHop { id: 1, hop: 0, keeps: true, next: Address::NONE, quality: 0 };
        for probe in [
            Probe::Ping(0),
            Probe::Pong(u16::MAX),
            Probe::Trace(9),
            Probe::Traced(keeps),
            hop(Address::new(0x7fff)),
            hop(Address::NONE),
            hop(Address::EVERYONE),
        ] {
            let (bytes, len) = probe.bytes();
            assert!(len <= 7, "{probe:?}");
            assert_eq!(Probe::parse(&bytes[..len]), Ok(probe));
        }
        for body in [
            &[PING, 1][..],
            &[TRACE],
            &[TRACED, 0, 16, 0, 1, 0],
            &[TRACED, 0, 0x90, 0, 1, 0],
            &[TRACED, 0, 1, 0x80, 1, 0],
            &[0x10, 0],
        ] {
            assert_eq!(Probe::parse(body), Err(Discard::Malformed), "{body:?}");
        }
    }

    #[test]
    fn answers_are_few_and_grow_again_with_time() {
        let at = |ms| Instant::ZERO + Duration::from_millis(ms);
        let mut allowance = ProbeAllowance::new(at(0));
        let mut granted = |ms, asked: u8| (0..asked).filter(|_| allowance.take(at(ms))).count();
        assert_eq!(granted(0, 9), 6, "all at once");
        assert_eq!(granted(249, 9), 0);
        assert_eq!(granted(250, 9), 1);
        assert_eq!(granted(700, 9), 1, "what is left of a pause counts on");
        assert_eq!(granted(750, 9), 1);
        assert_eq!(granted(60_000, 9), 6, "never more than at first");
    }
}
