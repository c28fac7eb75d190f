//! The name of an agent or of a group: a short, copyable value that is valid by construction.
//!
//! Owns the rule for names and nothing about who bears one.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::MAX_NAME;

/// The name of an agent or a group: 1 to [`MAX_NAME`] ASCII letters, digits, `.`, `_` and `-`, but not `everyone`.
///
/// It lies in place, so that messages carry names without an allocation. Names differ in case.
///
/// ```
/// use mesh_agent::api::Name;
///
/// assert_eq!(Name::new("pump-1").unwrap().as_str(), "pump-1");
/// assert!(Name::new("pump 1").is_err() && Name::new("everyone").is_err());
/// ```
#[derive(Clone, Copy)]
pub struct Name {
    len: u8,
    bytes: [u8; MAX_NAME],
}

/// Why a text is not a [`Name`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It has no letters at all.
    #[error("a name may not be empty: give 1 to {MAX_NAME} letters, digits, '.', '_' or '-'")]
    Empty,
    /// It has more than [`MAX_NAME`] bytes.
    #[error("the name has {0} bytes: give at most {MAX_NAME}")]
    TooLong(usize),
    /// It has a character that names do not have.
    #[error("the name has the character {0:?}: use letters, digits, '.', '_' and '-' only")]
    Character(char),
    /// It is `everyone`, which is a destination.
    #[error("\"everyone\" is a destination and cannot be a name: choose another one")]
    Reserved,
}

impl Name {
    /// The name that `text` spells.
    ///
    /// # Errors
    /// Says which rule the text breaks.
    pub fn new(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if let Some(odd) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')))
        {
            return Err(NameError::Character(odd));
        }
        if text.len() > MAX_NAME {
            return Err(NameError::TooLong(text.len()));
        }
        if text == "everyone" {
            return Err(NameError::Reserved);
        }
        let mut bytes = [0; MAX_NAME];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self { len: text.len() as u8, bytes })
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).expect("a name is ASCII: new() admits nothing else")
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        // The bytes after the end are zero in both, so the whole array may be compared.
        self.len == other.len && self.bytes == other.bytes
    }
}
impl Eq for Name {}
impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        // As the texts' order: both are by bytes.
        self.as_bytes().cmp(other.as_bytes())
    }
}
impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}
impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}
impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}
impl FromStr for Name {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}
impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NameVisitor)
    }
}

struct NameVisitor;

impl de::Visitor<'_> for NameVisitor {
    type Value = Name;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Name, E> {
        Name::new(text).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_plain_ascii() {
        for good in ["a", "worker-1", "node_001", "a.b.c", &"x".repeat(MAX_NAME)] {
            assert_eq!(Name::new(good).unwrap().as_str(), good);
        }
        assert_eq!(Name::new(""), Err(NameError::Empty));
        assert_eq!(Name::new(&"x".repeat(MAX_NAME + 1)), Err(NameError::TooLong(MAX_NAME + 1)));
        assert_eq!(Name::new("a b"), Err(NameError::Character(' ')));
        assert_eq!(Name::new("bob@0x0003"), Err(NameError::Character('@')));
        assert_eq!(Name::new("Zoë"), Err(NameError::Character('ë')));
        assert_eq!(Name::new("everyone"), Err(NameError::Reserved));
    }

    #[test]
    fn names_sort_as_their_text_does() {
        let mut names: Vec<Name> = ["b", "a", "ab", "B"].map(|n| Name::new(n).unwrap()).to_vec();
        names.sort();
        assert_eq!(names.iter().map(Name::as_str).collect::<Vec<_>>(), ["B", "a", "ab", "b"]);
    }
}
