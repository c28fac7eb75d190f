//! Puts the parts of longer messages together.
//!
//! Owns messages of which not all parts have come. When there are too many of them, the one longest without a new part is given up.

use std::collections::BTreeMap;

/// Messages put together at a time. A guess.
pub(super) const ASSEMBLIES: usize = 16;

/// A message by its source and the SEQ of its first part.
pub(super) type MessageKey = (u16, u32);

/// A message of which parts have come.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Assembly {
    last: u8,
    bytes: Vec<u8>,
    have: [u64; 4],
    missing: u32,
    touched: u64,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Assemblies {
    /// Bytes of a part that is not the last.
    part: usize,
    known: BTreeMap<MessageKey, Assembly>,
    touches: u64,
    given_up: u64,
}

impl Assemblies {
    /// Of messages whose parts have so many bytes, the last one excepted.
    pub(super) const fn new(part: usize) -> Self {
        Self { part, known: BTreeMap::new(), touches: 0, given_up: 0 }
    }

    /// How many were given up for others.
    pub(super) const fn given_up(&self) -> u64 {
        self.given_up
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Forgets all of them.
    pub(super) fn clear(&mut self) {
        self.known.clear();
    }

    /// Takes a part; the whole message when that was the last one missing.
    pub(super) fn add(&mut self, key: MessageKey, part: u8, last: u8, bytes: &[u8]) -> Option<Vec<u8>> {
        if self.known.len() >= ASSEMBLIES && !self.known.contains_key(&key) {
            let stalest = self.known.iter().min_by_key(|(_, known)| known.touched).map(|(&key, _)| key);
            stalest.and_then(|key| self.known.remove(&key));
            self.given_up += 1;
        }
        let parts = usize::from(last) + 1;
        let assembly = self.known.entry(key).or_insert_with(|| Assembly {
            last,
            bytes: vec![0; parts * self.part],
            have: [0; 4],
            missing: parts as u32,
            touched: 0,
        });
        self.touches += 1;
        assembly.touched = self.touches;
        let (word, bit) = (&mut assembly.have[usize::from(part / 64)], 1 << (part % 64));
        if assembly.last != last || *word & bit != 0 {
            return None;
        }
        *word |= bit;
        assembly.missing -= 1;
        let from = usize::from(part) * self.part;
        assembly.bytes[from..from + bytes.len()].copy_from_slice(bytes);
        if part == last {
            assembly.bytes.truncate(from + bytes.len());
        }
        if assembly.missing > 0 {
            return None;
        }
        self.known.remove(&key).map(|whole| whole.bytes)
    }
}
