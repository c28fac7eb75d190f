//! What may stand behind `--to` and `--as`: destinations and names as the protocol writes them, and those that begin so.
//!
//! Owns the spelling and what it covers. A pattern names what is allowed; what it does not name is not.

use std::fmt;
use std::str::FromStr;

use mesh_agent::api::{Destination, DestinationError, Name, NameError};
use serde::{Deserialize, Serialize};

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// A name in it breaks the rule for names.
    #[error("no such pattern: {0}; a * stands at the end alone")]
    Name(#[from] NameError),
    /// It is no destination.
    #[error("{0}; a * stands at the end alone, as in sensor-*, group:*, node:* or *")]
    Destination(#[from] DestinationError),
}

/// A name, or with a `*` at its end every name that begins so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NamePattern {
    text: String,
    prefix: bool,
}

impl NamePattern {
    /// Whether it covers more than one name.
    #[must_use]
    pub const fn is_prefix(&self) -> bool {
        self.prefix
    }

    /// Exactly this name.
    #[must_use]
    pub fn exactly(name: &Name) -> Self {
        Self { text: name.as_str().to_owned(), prefix: false }
    }

    /// Whether it covers this name.
    #[must_use]
    pub fn fits(&self, name: &Name) -> bool {
        if self.prefix { name.as_str().starts_with(&self.text) } else { name.as_str() == self.text }
    }
}

impl FromStr for NamePattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let (start, prefix) = text.strip_suffix('*').map_or((text, false), |start| (start, true));
        if !(prefix && start.is_empty()) {
            Name::new(start)?;
        }
        Ok(Self { text: start.to_owned(), prefix })
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.text, if self.prefix { "*" } else { "" })
    }
}

/// Destinations that are allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DestinationPattern {
    /// `*`: all of them.
    Any,
    /// This one; a name without an address covers the name on every node.
    One(Destination),
    /// `sensor-*`: agents whose name begins so, on every node. Never `everyone`.
    Agents(NamePattern),
    /// `node:*`: every node's own agent.
    Nodes,
    /// `group:*`, `group:kit*`: groups whose name begins so.
    Groups(NamePattern),
}

impl DestinationPattern {
    /// Whether it covers this destination.
    #[must_use]
    pub fn fits(&self, to: &Destination) -> bool {
        match (self, to) {
            (Self::Any, _) | (Self::Nodes, Destination::Node(_)) => true,
            (Self::One(Destination::Agent { name, node: None }), Destination::Agent { name: asked, .. }) => {
                name == asked
            }
            (Self::One(one), to) => one == to,
            (Self::Agents(names), Destination::Agent { name, .. }) => names.fits(name),
            (Self::Groups(names), Destination::Group(name)) => names.fits(name),
            _ => false,
        }
    }

    /// Whether it covers nothing but what goes to many.
    #[must_use]
    pub const fn is_for_many(&self) -> bool {
        matches!(self, Self::Groups(_) | Self::One(Destination::Everyone | Destination::Group(_)))
    }
}

impl FromStr for DestinationPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        match (text, text.strip_prefix("group:")) {
            ("*", _) => Ok(Self::Any),
            ("node:*", _) => Ok(Self::Nodes),
            (_, Some(group)) if group.ends_with('*') => Ok(Self::Groups(group.parse()?)),
            (_, None) if text.ends_with('*') => Ok(Self::Agents(text.parse()?)),
            _ => Ok(Self::One(text.parse()?)),
        }
    }
}

impl fmt::Display for DestinationPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::One(one) => one.fmt(f),
            Self::Agents(names) => names.fmt(f),
            Self::Nodes => f.write_str("node:*"),
            Self::Groups(names) => write!(f, "group:{names}"),
        }
    }
}

/// A type that is a text in files: by its two spellings.
macro_rules! as_text {
    ($type:ty, $error:ty) => {
        impl TryFrom<String> for $type {
            type Error = $error;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }
    };
}
as_text!(NamePattern, PatternError);
as_text!(DestinationPattern, PatternError);
pub(super) use as_text;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pattern_covers_what_it_names_and_nothing_else() {
        let all = [
            "bob",
            "bob@0x0003",
            "bo",
            "bobby",
            "sensor-1@0x0002",
            "node:0x0003",
            "node:0x0004",
            "group:kitchen",
            "group:k",
            "everyone",
        ];
        let table: [(&str, &[&str]); 9] = [
            ("*", &all),
            ("bob", &["bob", "bob@0x0003"]),
            ("bob@0x0003", &["bob@0x0003"]),
            ("bob*", &["bob", "bob@0x0003", "bobby"]),
            ("node:0x0003", &["node:0x0003"]),
            ("node:*", &["node:0x0003", "node:0x0004"]),
            ("group:kit*", &["group:kitchen"]),
            ("group:*", &["group:kitchen", "group:k"]),
            ("e*", &[]),
        ];
        for (text, covered) in table {
            let pattern: DestinationPattern = text.parse().unwrap();
            assert_eq!(pattern.to_string(), text);
            let fits: Vec<_> = all.into_iter().filter(|to| pattern.fits(&to.parse().unwrap())).collect();
            assert_eq!(fits, covered, "{text}");
        }
        for wrong in ["", "a*b", "**", "two words", "bob@*", "node:0x0", "group:", "bob@0x00*"] {
            assert!(wrong.parse::<DestinationPattern>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_are_covered_whole_or_by_their_beginning() {
        let fits =
            |pattern: &str, name| pattern.parse::<NamePattern>().unwrap().fits(&Name::new(name).unwrap());
        assert!(fits("alice", "alice") && !fits("alice", "alice2") && !fits("alice", "Alice"));
        assert!(
            fits("cli-*", "cli-7") && fits("cli-*", "cli-") && !fits("cli-*", "xcli-7") && fits("*", "x")
        );
        for wrong in ["", "a b", "*a", "a**", "everyone"] {
            assert!(wrong.parse::<NamePattern>().is_err(), "{wrong}");
        }
    }
}
