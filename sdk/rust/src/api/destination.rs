//! Where a message goes and what a message is called, as text and as type.
//!
//! Owns the spelling (`bob@0x0003`, `group:kitchen`, `0x0001/17`) in both directions. Who answers to a name is the
//! engine's business.

use std::fmt;
use std::str::FromStr;

use mesh_protocol::{Address, MessageId};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::name::{Name, NameError};

/// Where a message goes.
///
/// | text | meaning |
/// |---|---|
/// | `bob` | the agent of that name, wherever in the mesh |
/// | `bob@0x0003` | the agent of that name on that node |
/// | `node:0x0003` | that node's own agent |
/// | `group:kitchen` | every agent that subscribed to the group |
/// | `everyone` | every agent of the network |
///
/// ```
/// use mesh_agent::{Address, api::Destination};
///
/// let bob: Destination = "bob@0x0003".parse().unwrap();
/// assert_eq!(bob, Destination::agent_on("bob".parse().unwrap(), Address::new(3)));
/// assert_eq!(bob.to_string(), "bob@0x0003");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub enum Destination {
    /// One agent, on the given node or found by its name.
    Agent {
        /// The agent's name.
        name: Name,
        /// The node it is on; `None` leaves finding it to the mesh.
        node: Option<Address>,
    },
    /// The agent that answers for a node.
    Node(Address),
    /// Every agent that subscribed to this group.
    Group(Name),
    /// Every agent of the network.
    Everyone,
}

impl Destination {
    /// The agent of that name, wherever it is.
    #[must_use]
    pub const fn agent(name: Name) -> Self {
        Self::Agent { name, node: None }
    }

    /// The agent of that name on that node.
    #[must_use]
    pub const fn agent_on(name: Name, node: Address) -> Self {
        Self::Agent { name, node: Some(node) }
    }

    /// Whether what comes from there answers what was sent here. Who is in a group, its members know alone.
    #[must_use]
    pub fn may_answer(&self, from: &Self) -> bool {
        let Self::Agent { name, node } = from else { return self == from };
        match self {
            Self::Agent { name: asked, node: None } => asked == name,
            Self::Agent { name: asked, node: at } => asked == name && at == node,
            Self::Node(at) => Some(*at) == *node,
            Self::Group(_) | Self::Everyone => true,
        }
    }
}

/// Why a text is not a [`Destination`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DestinationError {
    /// The name in it breaks the rule for names.
    #[error("no such destination: {0}")]
    Name(#[from] NameError),
    /// The address in it is not that of one node.
    #[error("no such destination: {0:?} is not a node's address; write 0x0001 to 0x7fff")]
    Address(String),
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent { name, node: None } => write!(f, "{name}"),
            Self::Agent { name, node: Some(node) } => write!(f, "{name}@{node}"),
            Self::Node(node) => write!(f, "node:{node}"),
            Self::Group(name) => write!(f, "group:{name}"),
            Self::Everyone => f.write_str("everyone"),
        }
    }
}

impl FromStr for Destination {
    type Err = DestinationError;

    fn from_str(text: &str) -> Result<Self, DestinationError> {
        if text == "everyone" {
            return Ok(Self::Everyone);
        }
        if let Some(node) = text.strip_prefix("node:") {
            return Ok(Self::Node(node_address(node)?));
        }
        if let Some(group) = text.strip_prefix("group:") {
            return Ok(Self::Group(Name::new(group)?));
        }
        Ok(match text.split_once('@') {
            None => Self::agent(Name::new(text)?),
            Some((name, node)) => Self::agent_on(Name::new(name)?, node_address(node)?),
        })
    }
}

impl Serialize for Destination {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            Self::serialize(self, serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Destination {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return deserializer
                .deserialize_str(Spelled::new("a destination such as \"bob\" or \"group:kitchen\""));
        }
        let destination = Self::deserialize(deserializer)?;
        match destination {
            Self::Node(node) | Self::Agent { node: Some(node), .. } if !node.is_node() => {
                Err(de::Error::custom(DestinationError::Address(node.to_string())))
            }
            sound => Ok(sound),
        }
    }
}

/// What a message is called in the whole network: the node that accepted it and the number that node gave to it.
///
/// As text `0x0001/17`.
///
/// ```
/// use mesh_agent::{Address, MessageId, api::MessageRef};
///
/// let message = MessageRef { node: Address::new(1), id: MessageId(17) };
/// assert_eq!("0x0001/17".parse(), Ok(message));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct MessageRef {
    /// The node of the gateway that accepted the message.
    pub node: Address,
    /// The number the node gave to it.
    pub id: MessageId,
}

/// Why a text is not a [`MessageRef`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} does not name a message: write the node's address and the number, as in 0x0001/17")]
pub struct MessageRefError(String);

impl fmt::Display for MessageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.node, self.id)
    }
}

impl FromStr for MessageRef {
    type Err = MessageRefError;

    fn from_str(text: &str) -> Result<Self, MessageRefError> {
        let parsed = text.split_once('/').and_then(|(node, id)| {
            let plain = id.bytes().all(|b| b.is_ascii_digit());
            Some(Self { node: hex_address(node)?, id: MessageId(plain.then(|| id.parse().ok())??) })
        });
        parsed.ok_or_else(|| MessageRefError(shorten(text)))
    }
}

impl Serialize for MessageRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            Self::serialize(self, serializer)
        }
    }
}

impl<'de> Deserialize<'de> for MessageRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return deserializer.deserialize_str(Spelled::new("a message's name such as \"0x0001/17\""));
        }
        Self::deserialize(deserializer)
    }
}

/// Reads a value from its spelling, without an allocation where the input is at hand.
struct Spelled<T> {
    what: &'static str,
    value: std::marker::PhantomData<T>,
}

impl<T> Spelled<T> {
    const fn new(what: &'static str) -> Self {
        Self { what, value: std::marker::PhantomData }
    }
}

impl<T: FromStr<Err: fmt::Display>> de::Visitor<'_> for Spelled<T> {
    type Value = T;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

/// `0x` and four hexadecimal digits, whatever the address means.
fn hex_address(text: &str) -> Option<Address> {
    let digits =
        text.strip_prefix("0x").filter(|d| d.len() == 4 && d.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u16::from_str_radix(digits, 16).ok().map(Address::new)
}

fn node_address(text: &str) -> Result<Address, DestinationError> {
    hex_address(text).filter(|a| a.is_node()).ok_or_else(|| DestinationError::Address(shorten(text)))
}

/// The start of a text, so that an error does not repeat 300 KiB of nonsense.
fn shorten(text: &str) -> String {
    text.chars().take(40).collect()
}

/// Addresses as `"0x0003"` in JSON; for `#[serde(with)]` on the fields of events.
pub(super) mod address_text {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(address: &Address, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(address)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Address, D::Error> {
        Ok(deserializer.deserialize_str(Spelled::<Hex>::new("an address such as \"0x0003\""))?.0)
    }

    /// An address read from text.
    pub(super) struct Hex(pub(super) Address);

    impl FromStr for Hex {
        type Err = String;
        fn from_str(text: &str) -> Result<Self, String> {
            hex_address(text)
                .map(Self)
                .ok_or_else(|| format!("{:?} is not an address; write 0x0003", shorten(text)))
        }
    }
}

/// The same for an address that may be absent.
pub(super) mod optional_address_text {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(
        address: &Option<Address>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match address {
            Some(address) => serializer.collect_str(address),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Address>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        let hex = text.map(|t| t.parse::<address_text::Hex>()).transpose().map_err(de::Error::custom)?;
        Ok(hex.map(|hex| hex.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn every_destination_is_read_as_it_is_written() {
        let table = [
            ("bob", Destination::agent(name("bob"))),
            ("bob@0x0003", Destination::agent_on(name("bob"), Address::new(3))),
            ("node:0x7fff", Destination::Node(Address::LAST_NODE)),
            ("group:kitchen", Destination::Group(name("kitchen"))),
            ("everyone", Destination::Everyone),
        ];
        for (text, destination) in table {
            assert_eq!(text.parse(), Ok(destination));
            assert_eq!(destination.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_destination_is_refused_with_the_reason() {
        let address = |text: &str| DestinationError::Address(text.into());
        let table = [
            ("", NameError::Empty.into()),
            ("group:", NameError::Empty.into()),
            ("group:everyone", NameError::Reserved.into()),
            ("mailto:bob", NameError::Character(':').into()),
            ("bob@3", address("3")),
            ("bob@0x0000", address("0x0000")),
            ("bob@0x8001", address("0x8001")),
            ("bob@0x00003", address("0x00003")),
            ("node:0x+003", address("0x+003")),
            ("node:", address("")),
        ];
        for (text, error) in table {
            assert_eq!(text.parse::<Destination>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn a_binary_destination_is_held_to_the_same_rule() {
        let good = postcard::to_allocvec(&Destination::Node(Address::new(3))).unwrap();
        assert_eq!(postcard::from_bytes(&good), Ok(Destination::Node(Address::new(3))));
        let group_as_node = postcard::to_allocvec(&Destination::Node(Address::new(0x8001))).unwrap();
        assert!(postcard::from_bytes::<Destination>(&group_as_node).is_err());
    }

    #[test]
    fn a_message_is_named_by_node_and_number() {
        let reference = MessageRef { node: Address::new(1), id: MessageId(17) };
        assert_eq!(reference.to_string(), "0x0001/17");
        assert_eq!("0x0001/17".parse(), Ok(reference));
        for bad in ["", "1/17", "0x0001", "0x0001/", "0x0001/-1", "0x0001/+1", "0x0001/4294967296"] {
            assert!(bad.parse::<MessageRef>().is_err(), "{bad:?}");
        }
    }
}
