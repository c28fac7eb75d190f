//! HCI packets as they pass a transport, and finding them in a stream of bytes.
//!
//! Owns the H4 framing (Core Specification, Vol 4 Part A): one byte that says what follows, a header, and as many bytes
//! as the header says. What is in a packet is for [`super::event`] and [`super::command`].

use heapless::Vec;

/// The longest packet that a host of advertising needs: kind, header and 255 bytes.
pub(super) const MAX_PACKET: usize = 1 + 3 + 255;

/// Says that a command follows.
pub(super) const COMMAND: u8 = 0x01;
/// Says that an event follows.
pub(super) const EVENT: u8 = 0x04;

/// One packet, its kind in the first byte.
pub(super) type Packet = Vec<u8, MAX_PACKET>;

/// The bytes make no sense: the controller and its host no longer agree where a packet begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the controller sent byte {0:#04x} where a packet begins: the line is out of step")]
pub struct OutOfStep(pub u8);

/// Finds packets in a stream of bytes. Holds at most one that is not whole yet.
#[derive(Debug, Default)]
pub(super) struct Framer {
    /// The packet so far.
    packet: Packet,
    /// Bytes of a packet of no interest that are still to come.
    skip: usize,
}

/// Where a packet ends.
enum Extent {
    /// Its header is not whole yet.
    Unknown,
    /// So many bytes, kind and header included.
    Whole(usize),
}

impl Framer {
    /// Takes bytes from the front of `bytes` up to the end of the next packet of interest, an event. `None` when the bytes
    /// are used up before it is whole. Data packets, which a host without connections has no use for, are passed over.
    ///
    /// # Errors
    /// [`OutOfStep`] when no packet begins where one should. All bytes are used up then.
    pub(super) fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Packet>, OutOfStep> {
        loop {
            if self.skip > 0 {
                let passed = self.skip.min(bytes.len());
                *bytes = &bytes[passed..];
                self.skip -= passed;
            }
            match extent(&self.packet).inspect_err(|_| self.forget(bytes))? {
                Extent::Whole(length) if self.packet.first() != Some(&EVENT) => {
                    self.skip = length - self.packet.len();
                    self.packet.clear();
                    continue;
                }
                Extent::Whole(length) if self.packet.len() == length => {
                    return Ok(Some(core::mem::take(&mut self.packet)));
                }
                Extent::Whole(_) | Extent::Unknown => {}
            }
            let Some((next, rest)) = bytes.split_first() else { return Ok(None) };
            *bytes = rest;
            // Never full: what is longer than an event is skipped as soon as its header is known.
            let _ = self.packet.push(*next);
        }
    }

    fn forget(&mut self, bytes: &mut &[u8]) {
        *bytes = &[];
        *self = Self::default();
    }
}

fn extent(packet: &[u8]) -> Result<Extent, OutOfStep> {
    Ok(match *packet {
        [] | [0x01..=0x05] => Extent::Unknown,
        // Command and SCO: two bytes, then the length in one.
        [0x01 | 0x03, _, _, length, ..] => Extent::Whole(4 + usize::from(length)),
        // ACL: the length in two; ISO likewise, in 14 bits.
        [0x02, _, _, low, high, ..] => Extent::Whole(5 + usize::from(u16::from_le_bytes([low, high]))),
        [0x05, _, _, low, high, ..] => {
            Extent::Whole(5 + usize::from(u16::from_le_bytes([low, high]) & 0x3fff))
        }
        [EVENT, _, length, ..] => Extent::Whole(3 + usize::from(length)),
        [0x01..=0x05, ..] => Extent::Unknown,
        [kind, ..] => return Err(OutOfStep(kind)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_protocol::Rng;

    const RESET_DONE: [u8; 7] = [0x04, 0x0e, 0x04, 0x01, 0x03, 0x0c, 0x00];

    #[test]
    fn packets_are_found_however_the_bytes_are_cut() {
        let mut stream = RESET_DONE.to_vec();
        stream.extend([0x02, 0x40, 0x20, 0x03, 0x00, 9, 9, 9]);
        stream.extend(RESET_DONE);
        for seed in 0..200 {
            println!("seed {seed}");
            let mut rng = Rng::new(seed);
            let (mut framer, mut found, mut rest) = (Framer::default(), Vec::<Packet, 8>::new(), &stream[..]);
            while !rest.is_empty() {
                let (mut piece, left) = rest.split_at(1 + rng.below(rest.len() as u64) as usize);
                rest = left;
                while let Some(packet) = framer.next(&mut piece).unwrap() {
                    found.push(packet).unwrap();
                }
            }
            assert_eq!(found.len(), 2);
            assert!(found.iter().all(|packet| *packet == RESET_DONE));
        }
    }

    #[test]
    fn a_byte_where_no_packet_begins_is_named_and_the_next_stream_is_clean() {
        let mut framer = Framer::default();
        assert_eq!(framer.next(&mut &[0x7f, 0x04][..]), Err(OutOfStep(0x7f)));
        assert_eq!(framer.next(&mut &RESET_DONE[..]).unwrap().unwrap(), RESET_DONE);
    }

    #[test]
    fn random_bytes_never_panic_and_are_all_used_up() {
        for seed in 0..2_000 {
            println!("seed {seed}");
            let mut rng = Rng::new(seed);
            let noise: std::vec::Vec<u8> = (0..600).map(|_| rng.below(256) as u8).collect();
            let (mut framer, mut bytes) = (Framer::default(), &noise[..]);
            while let Ok(Some(packet)) = framer.next(&mut bytes) {
                assert_eq!(packet[0], EVENT);
                assert_eq!(packet.len(), 3 + usize::from(packet[2]));
            }
            assert!(bytes.is_empty());
        }
    }
}
