//! What the gateway reports: status, peers, routes, agents.
//!
//! Owns the fields and their written forms. The figures are the engine's, which must have measured them.

use std::collections::BTreeMap;

use mesh_protocol::Address;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::destination::{address_text, optional_address_text};
use super::{Name, two_forms};

/// How the gateway is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "Self")]
pub struct Status {
    /// The number the question had.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<u64>,
    /// The gateway's name.
    pub gateway: String,
    /// Its address in the mesh.
    #[serde(with = "address_text")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub node: Address,
    /// The adapter it uses, such as `hci0` or `sim`.
    pub adapter: String,
    /// The version of the program.
    pub version: String,
    /// The epoch of the network key.
    pub epoch: u32,
    /// Since the start, in milliseconds.
    pub uptime_ms: u64,
    /// The network key's use.
    pub network: StatusNetwork,
    /// How many agents there are.
    pub agents: StatusAgents,
    /// Messages accepted and not yet completed by a receipt.
    pub outbox: u64,
    /// Events kept for agents that have not acknowledged them.
    pub inbox: u64,
    /// What the radio did.
    pub radio: StatusRadio,
    /// Counts by name: discards by reason, refusals, whatever is worth counting. All since the start.
    pub counters: BTreeMap<String, u64>,
    /// How the store is.
    pub store: StatusStore,
    /// Whether all is well.
    pub health: Health,
}
two_forms!(Status {
    reference,
    gateway,
    node,
    adapter,
    version,
    epoch,
    uptime_ms,
    network,
    agents,
    outbox,
    inbox,
    radio,
    counters,
    store,
    health,
});

/// The network key's use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StatusNetwork {
    /// How much of the sequence numbers of this gateway's address is used, in percent. From 75 on a new address is due; at 100
    /// nothing is sent any more.
    pub seq_used_percent: f32,
}

/// How many agents there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StatusAgents {
    /// Agents with a session on this gateway.
    pub connected: u64,
    /// Agents this gateway keeps an inbox for, connected or not.
    pub local: u64,
    /// Agents known on other nodes.
    pub remote: u64,
}

/// What the radio did since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "Self")]
pub struct StatusRadio {
    /// Frames given to the bearer.
    pub frames_sent: u64,
    /// Frames taken from the bearer, good or not.
    pub frames_received: u64,
    /// Nodes heard lately.
    pub neighbours: u64,
    /// Whether the adapter carries frames: `starting`, `up`, `repairing` or `away`.
    pub state: String,
    /// What the adapter says of itself; empty on the simulated air.
    pub about: String,
    /// The last trouble with it and what was done, if there was any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Frames that the adapter confirmed, or had on the air for their time. The simulated air and
    /// bluetoothd do not say: 0.
    pub confirmed: u64,
    /// Frames given to the adapter that never went out, as far as is known.
    pub lost: u64,
    /// How often the adapter was repaired.
    pub repairs: u64,
}
two_forms!(StatusRadio {
    frames_sent,
    frames_received,
    neighbours,
    state,
    about,
    trouble,
    confirmed,
    lost,
    repairs,
});

/// How the store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StatusStore {
    /// Whether the last write succeeded.
    pub healthy: bool,
    /// Synced commits since the start.
    pub commits: u64,
    /// Bytes written to it since the start: the wear of the disk.
    pub bytes: u64,
}

/// Whether all is well: `"ok"` in JSON, or the list of what is not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// What is not well; empty means all is.
    pub problems: Vec<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum HealthJson {
    Word(HealthWord),
    Problems(Vec<String>),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum HealthWord {
    Ok,
}

impl Serialize for Health {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() && self.problems.is_empty() {
            HealthWord::Ok.serialize(serializer)
        } else {
            self.problems.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Health {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return Ok(Self { problems: Vec::deserialize(deserializer)? });
        }
        Ok(match HealthJson::deserialize(deserializer)? {
            HealthJson::Word(HealthWord::Ok) => Self::default(),
            HealthJson::Problems(problems) => Self { problems },
        })
    }
}

/// Which nodes are near.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "Self")]
pub struct Peers {
    /// The number the question had.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<u64>,
    /// The nodes, by address.
    pub peers: Vec<Peer>,
    /// Gateways that this one is connected with over IP, or is to be.
    #[serde(default)]
    pub links: Vec<PeerLink>,
    /// The SHA-256 of this gateway's certificate, in hexadecimal; absent where it has no sockets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
}
two_forms!(Peers { reference, peers, links, fingerprint });

/// Whether a gateway is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// It is being connected for the first time.
    Connecting,
    /// It is connected, and answers.
    Up,
    /// It is not, or does not answer, and is tried again.
    Away,
}

/// A gateway that is connected over IP, or is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "Self")]
pub struct PeerLink {
    /// What it is called here; of one that connected by itself, what it calls itself.
    pub name: Name,
    /// Where it is connected; of one that connected by itself, where it came from.
    pub address: String,
    /// Whether it is connected.
    pub state: LinkState,
    /// Its address in the mesh, once it has been connected.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_address_text")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub node: Option<Address>,
    /// Why it is away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// How long it has been as it is, in milliseconds.
    pub since_ms: u64,
    /// How long ago anything came over the connection, in milliseconds; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_heard_ms: Option<u64>,
    /// The SHA-256 of the certificate that it must show, in hexadecimal, once that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
}
two_forms!(PeerLink { name, address, state, node, why, since_ms, last_heard_ms, fingerprint });

/// A node that was heard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "Self")]
pub struct Peer {
    /// Its address.
    #[serde(with = "address_text")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub node: Address,
    /// How loud it was heard last, in dBm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rssi: Option<i8>,
    /// How long ago it was heard, in milliseconds.
    pub last_heard_ms: u64,
    /// The share of its frames that arrive here, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery_in: Option<f32>,
    /// The share of our frames that arrive there, 0 to 1, as it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery_out: Option<f32>,
    /// How many hops away it is; 1 is a neighbour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hops: Option<u8>,
}
two_forms!(Peer { node, rssi, last_heard_ms, delivery_in, delivery_out, hops });

/// How far nodes are reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "Self")]
pub struct Routes {
    /// The number the question had.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<u64>,
    /// The routes, by destination.
    pub routes: Vec<Route>,
}
two_forms!(Routes { reference, routes });

/// Who made a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RouteOrigin {
    /// A person did.
    Operator,
    /// The mesh learned it.
    Learned,
}

/// A route or path to a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "Self")]
pub struct Route {
    /// The node it leads to.
    #[serde(with = "address_text")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub destination: Address,
    /// The neighbour it begins with; absent where frames are flooded and every neighbour may be the first.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_address_text")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub next_hop: Option<Address>,
    /// What it costs; smaller is better. A learned route costs eighths of a transmission: of one that no frame is lost on, eight for each
    /// hop. Where frames are flooded, the hops.
    pub cost: u32,
    /// Who made it.
    pub origin: RouteOrigin,
    /// The smoothed time from a message to its answer, in milliseconds, once one was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_trip_ms: Option<u64>,
    /// Since it was made or last confirmed, in milliseconds.
    pub age_ms: u64,
    /// The neighbour that is asked when the first does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_address_text")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub second_hop: Option<Address>,
    /// Whether its next hops have failed, so that frames are flooded until it works again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub broken: bool,
}
two_forms!(Route { destination, next_hop, cost, origin, round_trip_ms, age_ms, second_hop, broken });

/// Which agents are known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "Self")]
pub struct Agents {
    /// The number the question had.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<u64>,
    /// The agents, by name.
    pub agents: Vec<AgentEntry>,
}
two_forms!(Agents { reference, agents });

/// An agent someone may write to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "Self")]
pub struct AgentEntry {
    /// Its name.
    pub name: Name,
    /// The node it is on.
    #[serde(with = "address_text")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub node: Address,
    /// Whether that is this gateway.
    pub local: bool,
    /// Whether it has a session now; absent where nobody here can know, as of an agent elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected: Option<bool>,
    /// Of an agent elsewhere: how long ago it was heard of, by a message of its own or by its node's word, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_heard_ms: Option<u64>,
}
two_forms!(AgentEntry { name, node, local, connected, last_heard_ms });
