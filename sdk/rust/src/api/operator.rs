//! What an operator asks of the gateway: connections to other gateways, routes, and to forget an agent.
//!
//! Owns the fields and their written forms. Who may ask for it is for the gateway to say.

use mesh_protocol::Address;
use serde::{Deserialize, Serialize};

use super::destination::address_text;
use super::{Name, two_forms};

/// A gateway to be connected with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct LinkAdd {
    /// Repeated in the answer.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<u64>,
    /// What it is called on this gateway.
    pub name: Name,
    /// Where it listens for agents and gateways: host and port.
    pub address: String,
    /// The SHA-256 of its certificate, in hexadecimal; absent: the first one it shows is kept to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
}
two_forms!(LinkAdd { reference, name, address, fingerprint });

/// A gateway that is no longer to be connected with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct LinkRemove {
    /// Repeated in the answer.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<u64>,
    /// What it is called on this gateway.
    pub name: Name,
}
two_forms!(LinkRemove { reference, name });

/// An operator's route to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct RouteAdd {
    /// Repeated in the answer.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<u64>,
    /// The node it leads to.
    #[serde(with = "address_text")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub destination: Address,
    /// The neighbour it begins with.
    #[serde(with = "address_text")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub next_hop: Address,
    /// What it costs; smaller is better.
    #[serde(default = "one")]
    pub cost: u16,
}
two_forms!(RouteAdd { reference, destination, next_hop, cost });

const fn one() -> u16 {
    1
}

/// An operator's route that is to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct RouteRemove {
    /// Repeated in the answer.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<u64>,
    /// The node it led to.
    #[serde(with = "address_text")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub destination: Address,
}
two_forms!(RouteRemove { reference, destination });

/// An agent that the gateway is to forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct AgentForget {
    /// Repeated in the answer.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<u64>,
    /// Its name. One that is connected is not forgotten, but for whoever asks: that is forgotten when its session ends.
    pub name: Name,
}
two_forms!(AgentForget { reference, name });
