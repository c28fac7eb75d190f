//! The network's key at rest: drawn, written as hex, wiped. What is derived from it belongs to the protocol crate.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use mesh_agent::api::codec::byte_order_mark;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Why a file holds no network key. No error repeats any of it.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read.
    #[error("reading the network key {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// It begins with what a text editor puts before a text in another encoding.
    #[error("reading the network key {}: {mark}; save it as UTF-8 without one", path.display())]
    Marked {
        /// The file.
        path: PathBuf,
        /// Which mark.
        mark: &'static str,
    },
    /// It holds something else.
    #[error("reading the network key {}: {}", .0.display(), NetKey::FORM)]
    Form(PathBuf),
}

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

    /// What a key looks like, for people.
    pub const FORM: &str = "a network key has 32 hexadecimal digits";

    /// The key in a file, as hex digits.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn read(path: &Path) -> Result<Self, KeyFileError> {
        // Longer than a key with its line end, so that more is noticed; growing would leave a copy behind.
        let mut text = Zeroizing::new(Vec::with_capacity(64));
        let read = File::open(path).and_then(|file| file.take(64).read_to_end(&mut text));
        read.map_err(|source| KeyFileError::Read { path: path.to_owned(), source })?;
        if let Some(mark) = byte_order_mark(&text) {
            return Err(KeyFileError::Marked { path: path.to_owned(), mark });
        }
        let key = std::str::from_utf8(&text).ok().and_then(|text| Self::from_hex(text.trim()));
        key.ok_or_else(|| KeyFileError::Form(path.to_owned()))
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
