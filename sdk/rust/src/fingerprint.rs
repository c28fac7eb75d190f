//! What a gateway is known by over TLS.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The SHA-256 of a gateway's certificate, which each gateway makes itself. `mesh-gateway peers` prints a gateway's own.
///
/// ```
/// use mesh_agent::Fingerprint;
///
/// let digits = "5b".repeat(32);
/// assert_eq!(digits.parse::<Fingerprint>().unwrap().to_string(), digits);
/// assert!("5b5b".parse::<Fingerprint>().is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint([u8; 32]);

/// Why a text is no [`Fingerprint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no such fingerprint: it has 64 hexadecimal digits, and `mesh-gateway peers` at that gateway prints its own"
)]
pub struct FingerprintError;

impl Fingerprint {
    /// That of a certificate.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn of(certificate: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(certificate).into())
    }

    /// Reads 64 hexadecimal digits; colons between them do not matter.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':').collect();
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        (digits.len() == 64 && digits.iter().all(u8::is_ascii_hexdigit)).then_some(Self(bytes))
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        Self::parse(text.trim()).ok_or(FingerprintError)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_64_digits_with_or_without_colons() {
        let digits = "ab".repeat(32);
        let colons = vec!["AB"; 32].join(":");
        assert_eq!(Fingerprint::parse(&digits), Fingerprint::parse(&colons));
        assert!(Fingerprint::parse(&digits).is_some());
        for wrong in ["", "ab", &digits[1..], &format!("{digits}ab"), &digits.replace("ab", "+b"), "ä"] {
            assert_eq!(Fingerprint::parse(wrong), None, "{wrong}");
        }
    }
}
