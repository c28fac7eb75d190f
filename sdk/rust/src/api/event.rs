//! What the gateway sends to an agent.
//!
//! Owns the fields and their written forms; the engine decides what happens and the session carries it.

use std::borrow::Cow;

use mesh_protocol::{Address, MessageType, Priority};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::body::Base64;
use super::deliveries::{Deliveries, PeerDeliveries};
use super::destination::{address_text, optional_address_text};
use super::error::ErrorEvent;
use super::outcome::Outcome;
use super::report::{AgentEntry, Agents, Peer, PeerLink, Peers, Route, Routes, Status};
use super::way::{Detail, NodePong, Step, Timeline, Trace, TraceHop};
use super::{Body, Destination, MessageRef, Name, two_forms};

/// What the gateway sends to an agent: in JSON an object with `"ev"`, in postcard the variant's number and its fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "Self", tag = "ev", rename_all = "snake_case")]
pub enum Event {
    /// The hello was good; the session has begun.
    Welcome(Welcome),
    /// The gateway has taken a message over. Comes before anything else about that message.
    Accepted(Accepted),
    /// What became of a message.
    Receipt(Receipt),
    /// A message for the agent. Costs one credit.
    Message(Message),
    /// A request that was not carried out, or the end of the session.
    Error(ErrorEvent),
    /// How the gateway is.
    Status(Box<Status>),
    /// Which nodes are near.
    Peers(Peers),
    /// How far nodes are reached.
    Routes(Routes),
    /// Which agents are known.
    Agents(Agents),
    /// The answer to `ping`.
    Pong(Pong),
    /// The groups the agent now hears.
    Subscribed(Subscribed),
    /// The last event of a session.
    Goodbye(Goodbye),
    /// How well messages get through.
    Health(Box<Deliveries>),
    /// What was asked for holds from now on, also after a power cut.
    Done(Done),
    /// What became of a message, step by step.
    Timeline(Timeline),
    /// Whether a node answered.
    NodePong(NodePong),
    /// The way to a node.
    Trace(Trace),
}

/// The binary form's list of variants; the compiler holds it to [`Event`].
#[derive(Serialize, Deserialize)]
#[serde(remote = "Event")]
enum Packed {
    Welcome(Welcome),
    Accepted(Accepted),
    Receipt(Receipt),
    Message(Message),
    Error(ErrorEvent),
    Status(Box<Status>),
    Peers(Peers),
    Routes(Routes),
    Agents(Agents),
    Pong(Pong),
    Subscribed(Subscribed),
    Goodbye(Goodbye),
    Health(Box<Deliveries>),
    Done(Done),
    Timeline(Timeline),
    NodePong(NodePong),
    Trace(Trace),
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            Self::serialize(self, serializer)
        } else {
            Packed::serialize(self, serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            Self::deserialize(deserializer)
        } else {
            Packed::deserialize(deserializer)
        }
    }
}

impl Event {
    /// What the event weighs in a queue, in bytes: itself and what hangs on it, to the precision a bound needs.
    #[must_use]
    pub fn weight(&self) -> usize {
        let attached = match self {
            Self::Message(message) => message.body.len(),
            Self::Receipt(receipt) => receipt.why.as_ref().map_or(0, String::len),
            Self::Error(error) => {
                let [hint, field] =
                    [&error.hint, &error.field].map(|text| text.as_ref().map_or(0, String::len));
                error.message.len() + hint + field
            }
            Self::Welcome(welcome) => welcome.gateway.len(),
            // A counter is a name of some 20 letters, a number and their place in the map.
            Self::Status(status) => size_of::<Status>() + 64 * status.counters.len(),
            // A link has an address and what was wrong last, some 200 bytes.
            Self::Peers(peers) => {
                size_of::<Peer>() * peers.peers.len() + (size_of::<PeerLink>() + 200) * peers.links.len()
            }
            Self::Health(health) => {
                size_of::<Deliveries>() + size_of::<PeerDeliveries>() * health.peers.len() + 1_024
            }
            Self::Routes(routes) => size_of::<Route>() * routes.routes.len(),
            Self::Agents(agents) => size_of::<AgentEntry>() * agents.agents.len(),
            Self::Subscribed(subscribed) => size_of::<Name>() * subscribed.groups.len(),
            Self::Goodbye(goodbye) => goodbye.why.len(),
            Self::Timeline(timeline) => (size_of::<Step>() + 100) * timeline.steps.len(),
            Self::Trace(trace) => size_of::<TraceHop>() * trace.hops.len(),
            Self::Accepted(_) | Self::Pong(_) | Self::Done(_) | Self::NodePong(_) => 0,
        };
        size_of::<Self>() + attached
    }

    /// The number of the request that this event answers, if it answers one that had a number.
    #[must_use]
    pub fn reference(&self) -> Option<u64> {
        match self {
            Self::Accepted(accepted) => accepted.reference,
            Self::Receipt(receipt) => receipt.reference,
            Self::Error(error) => error.reference,
            Self::Status(status) => status.reference,
            Self::Peers(peers) => peers.reference,
            Self::Routes(routes) => routes.reference,
            Self::Agents(agents) => agents.reference,
            Self::Pong(pong) => pong.reference,
            Self::Health(health) => health.reference,
            Self::Done(done) => done.reference,
            Self::Timeline(timeline) => timeline.reference,
            Self::NodePong(pong) => pong.reference,
            Self::Trace(trace) => trace.reference,
            Self::Subscribed(subscribed) => subscribed.reference,
            Self::Welcome(_) | Self::Message(_) | Self::Goodbye(_) => None,
        }
    }
}

/// The session has begun.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "Self")]
pub struct Welcome {
    /// The agent's name: as asked for, or the one the gateway gives to a session that named none.
    pub name: Name,
    /// The gateway's name.
    pub gateway: String,
    /// The gateway's address in the mesh.
    #[serde(with = "address_text")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub node: Address,
    /// The number of this session; no other session of this run of the gateway has it.
    pub session: u64,
    /// The cursor after which the inbox goes on; 0 is its beginning.
    pub resumed_from: u64,
    /// How many messages may come before the agent must grant more.
    pub credits: u32,
    /// The longest body the gateway takes, in bytes.
    pub max_body: u32,
}
two_forms!(Welcome { name, gateway, node, session, resumed_from, credits, max_body });

/// The gateway has taken a message over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "Self")]
pub struct Accepted {
    /// The number the sender gave.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<u64>,
    /// What the message is called from now on.
    pub id: MessageRef,
    /// Whether it is written and synced, and survives a power cut.
    pub durable: bool,
    /// When, in microseconds on the gateway's clock.
    pub at_us: u64,
}
two_forms!(Accepted { reference, id, durable, at_us });

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "Self")]
pub struct Receipt {
    /// Its place in the agent's inbox, to be acknowledged; absent for a message that was not durable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<u64>,
    /// The number the sender gave.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<u64>,
    /// The message.
    pub id: MessageRef,
    /// What became of it.
    pub outcome: Outcome,
    /// The node that says so; `where` in JSON.
    #[serde(
        rename = "where",
        default,
        skip_serializing_if = "Option::is_none",
        with = "optional_address_text"
    )]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub at_node: Option<Address>,
    /// Why, where it went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// How many hops it took, where known; 0 is this gateway itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hops: Option<u8>,
    /// When, in microseconds on the gateway's clock.
    pub at_us: u64,
    /// What it waited for and where, if it was not delivered, or how many nodes have it, if it was for many; where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Detail>,
}
two_forms!(Receipt { cursor, reference, id, outcome, at_node, why, hops, at_us, detail });

/// A message for the agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Its place in the agent's inbox, to be acknowledged; absent for a message that was not durable.
    pub cursor: Option<u64>,
    /// What the message is called; a reply names it in `reply_to`.
    pub id: MessageRef,
    /// Who sent it, written so that a reply can be sent there.
    pub from: Destination,
    /// Whom it was sent to: the agent, its node, a group or everyone.
    pub to: Destination,
    /// What it asks of the agent; `type` in JSON.
    pub kind: MessageType,
    /// How urgent it is.
    pub priority: Priority,
    /// The message it answers.
    pub reply_to: Option<MessageRef>,
    /// How many hops it took; 0 is an agent on the same gateway.
    pub hops: u8,
    /// When the gateway had it, in microseconds on the gateway's clock.
    pub at_us: u64,
    /// What it says; `text` or `data` in JSON.
    pub body: Body,
}

/// [`Message`] as JSON has it: the body in one of two fields.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(
    feature = "schema",
    schemars(
        title = "Message",
        description = "A message for the agent; its body is `text` or `data`, not both."
    )
)]
pub(super) struct MessageJson<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cursor: Option<u64>,
    id: MessageRef,
    from: Destination,
    to: Destination,
    #[serde(rename = "type")]
    #[cfg_attr(feature = "schema", schemars(with = "super::schema_words::TypeName"))]
    kind: MessageType,
    #[cfg_attr(feature = "schema", schemars(with = "super::schema_words::PriorityName"))]
    priority: Priority,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply_to: Option<MessageRef>,
    hops: u8,
    at_us: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<Base64>,
}

impl Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let &Self { cursor, id, from, to, kind, priority, reply_to, hops, at_us, ref body } = self;
        let (text, data) = body.to_fields();
        MessageJson { cursor, id, from, to, kind, priority, reply_to, hops, at_us, text, data }
            .serialize(serializer)
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = MessageJson::deserialize(deserializer)?;
        let MessageJson { cursor, id, from, to, kind, priority, reply_to, hops, at_us, text, data } = json;
        let body = Body::from_fields(text, data).map_err(de::Error::custom)?;
        Ok(Self { cursor, id, from, to, kind, priority, reply_to, hops, at_us, body })
    }
}
two_forms!(Message { cursor, id, from, to, kind, priority, reply_to, hops, at_us, body });

/// The answer to `ping`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "Self")]
pub struct Pong {
    /// The number the ping had.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<u64>,
}
two_forms!(Pong { reference });

/// What was asked for holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "Self")]
pub struct Done {
    /// The number the ping had.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<u64>,
}
two_forms!(Done { reference });

/// The groups the agent now hears.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "Self")]
pub struct Subscribed {
    /// The number the request gave.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<u64>,
    /// All of them, by name.
    pub groups: Vec<Name>,
}
two_forms!(Subscribed { reference, groups });

/// The last event of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "Self")]
pub struct Goodbye {
    /// Why the session ends.
    pub why: String,
}
two_forms!(Goodbye { why });
