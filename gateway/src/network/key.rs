//! The network's key at rest: drawn, written as hex, wiped. What is derived from it belongs to the protocol crate.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// A network's 16-byte key. It is wiped when dropped and shows nothing of itself in debug texts.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct NetKey([u8; 16]);

impl NetKey {
    /// The key with these bytes.
    #[must_use]
    pub fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// A new key from the operating system's random numbers, `None` when it has none.
    #[must_use]
    pub fn random() -> Option<Self> {
        let mut key = Self([0; 16]);
        getrandom::fill(&mut key.0).ok()?;
        Some(key)
    }

    /// The key of these 32 hex digits, upper or lower case; `None` for anything else.
    #[must_use]
    pub fn from_hex(hex: &str) -> Option<Self> {
        let digits = hex.as_bytes();
        if digits.len() != 32 {
            return None;
        }
        let mut key = Self([0; 16]);
        for (byte, pair) in key.0.iter_mut().zip(digits.chunks_exact(2)) {
            for digit in pair {
                let nibble = char::from(*digit).to_digit(16)?;
                *byte = *byte << 4 | u8::try_from(nibble).ok()?;
            }
        }
        Some(key)
    }

    /// The key's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The key as 32 lower-case hex digits, wiped when dropped.
    pub(super) fn to_hex(&self) -> Zeroizing<String> {
        // As long as it will get: growing would leave a copy behind.
        let mut hex = Zeroizing::new(String::with_capacity(32));
        for nibble in self.0.iter().flat_map(|byte| [byte >> 4, byte & 0xf]) {
            hex.extend(char::from_digit(u32::from(nibble), 16));
        }
        hex
    }
}

impl fmt::Debug for NetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NetKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_read_in_either_case_and_nothing_else_is() {
        let key = NetKey::from_hex("000102030405060708090a0b0c0D0E0F").unwrap();
        assert_eq!(key.as_bytes(), &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
        assert_eq!(*key.to_hex(), "000102030405060708090a0b0c0d0e0f");
        for wrong in ["", "00", "000102030405060708090a0b0c0d0e0g", "+00102030405060708090a0b0c0d0e0f"] {
            assert!(NetKey::from_hex(wrong).is_none(), "{wrong}");
        }
        assert!(NetKey::from_hex(&"é".repeat(16)).is_none());
    }

    #[test]
    fn a_debug_text_shows_nothing_of_the_key() {
        assert_eq!(format!("{:?}", NetKey::new([0xab; 16])), "NetKey(..)");
    }

    #[test]
    fn two_random_keys_differ() {
        assert_ne!(NetKey::random().unwrap().as_bytes(), NetKey::random().unwrap().as_bytes());
    }
}
