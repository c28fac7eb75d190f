//! What an agent asks of the gateway.
//!
//! Owns the fields, their defaults and their written forms. The rules of a session (hello first, the longest body) are
//! the session's, in the gateway.

use std::fmt;

use mesh_protocol::MessageType;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroize;

use super::operator::{AgentForget, LinkAdd, LinkRemove, RouteAdd, RouteRemove};
use super::send::SendRequest;
use super::way::{AskNode, AskWhy};
use super::{DEFAULT_CREDITS, Name, two_forms};

/// What an agent asks of the gateway: in JSON an object with `"op"`, in postcard the variant's number and its fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "Self", tag = "op", rename_all = "snake_case")]
pub enum Request {
    /// The first request of every session: who the agent is.
    Hello(Hello),
    /// Send a message. Answered by `accepted` or `error`, later by a `receipt`.
    Send(SendRequest),
    /// Everything up to a cursor has been handled and need not be kept for the agent.
    Ack(Ack),
    /// Allow more messages to be sent to the agent.
    Credit(Credit),
    /// Also receive what is sent to these groups. Answered by `subscribed`.
    Subscribe(Subscribe),
    /// No longer receive what is sent to these groups. Answered by `subscribed`.
    Unsubscribe(Unsubscribe),
    /// Ask how the gateway is. Answered by `status`.
    Status(Ask),
    /// Ask which nodes are near. Answered by `peers`.
    Peers(Ask),
    /// Ask how far nodes are reached. Answered by `routes`.
    Routes(Ask),
    /// Ask which agents are known. Answered by `agents`.
    Agents(Ask),
    /// Ask for a `pong`, which comes after everything asked before.
    Ping(Ask),
    /// End the session. Answered by `goodbye`.
    Bye(Bye),
    /// Ask how well messages get through. Answered by `health`.
    Health(Ask),
    /// Connect with another gateway over IP, and stay so. Answered by `done` or `error`.
    LinkAdd(LinkAdd),
    /// No longer connect with another gateway. Answered by `done` or `error`.
    LinkRemove(LinkRemove),
    /// Send to a node through a neighbour. Answered by `done` or `error`.
    RouteAdd(RouteAdd),
    /// No longer send to a node through a neighbour. Answered by `done` or `error`.
    RouteRemove(RouteRemove),
    /// Forget an agent of the gateway, with its inbox. Answered by `done` or `error`.
    AgentForget(AgentForget),
    /// Ask what became of a message, step by step. Answered by `timeline` or `error`.
    Why(AskWhy),
    /// Ask whether a node answers. Answered by `node_pong` or `error`.
    PingNode(AskNode),
    /// Ask over which nodes the way to a node leads. Answered by `trace` or `error`.
    TraceNode(AskNode),
}

/// The binary form's list of variants; the compiler holds it to [`Request`].
#[derive(Serialize, Deserialize)]
#[serde(remote = "Request")]
enum Packed {
    Hello(Hello),
    Send(SendRequest),
    Ack(Ack),
    Credit(Credit),
    Subscribe(Subscribe),
    Unsubscribe(Unsubscribe),
    Status(Ask),
    Peers(Ask),
    Routes(Ask),
    Agents(Ask),
    Ping(Ask),
    Bye(Bye),
    Health(Ask),
    LinkAdd(LinkAdd),
    LinkRemove(LinkRemove),
    RouteAdd(RouteAdd),
    RouteRemove(RouteRemove),
    AgentForget(AgentForget),
    Why(AskWhy),
    PingNode(AskNode),
    TraceNode(AskNode),
}

impl Serialize for Request {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            Self::serialize(self, serializer)
        } else {
            Packed::serialize(self, serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Request {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            Self::deserialize(deserializer)
        } else {
            Packed::deserialize(deserializer)
        }
    }
}

impl Request {
    /// The number that an answer to this request repeats, if the agent gave one.
    #[must_use]
    pub fn reference(&self) -> Option<u64> {
        match self {
            Self::Send(send) => send.reference,
            Self::Status(ask)
            | Self::Peers(ask)
            | Self::Routes(ask)
            | Self::Agents(ask)
            | Self::Ping(ask)
            | Self::Health(ask) => ask.reference,
            Self::LinkAdd(add) => add.reference,
            Self::LinkRemove(remove) => remove.reference,
            Self::RouteAdd(add) => add.reference,
            Self::RouteRemove(remove) => remove.reference,
            Self::AgentForget(forget) => forget.reference,
            Self::Why(why) => why.reference,
            Self::PingNode(ask) | Self::TraceNode(ask) => ask.reference,
            Self::Subscribe(subscribe) => subscribe.reference,
            Self::Unsubscribe(unsubscribe) => unsubscribe.reference,
            Self::Hello(_) | Self::Ack(_) | Self::Credit(_) | Self::Bye(_) => None,
        }
    }
}

/// Who an agent is and how it wants to be served.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct Hello {
    /// The name others reach the agent by. One session at a time bears it. Absent: the gateway gives the session a name, and
    /// forgets it with all that waits for it when the session ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// The access token, where the gateway asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
    /// The last cursor the agent has handled: acknowledged with this, and the gateway goes on after it. A cursor it never
    /// gave is ignored. Absent: after the last `ack`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<u64>,
    /// How many `message` events the agent takes before it must grant more (`credit`). Other events cost nothing.
    #[serde(default = "default_credits")]
    pub credits: u32,
}
two_forms!(Hello { name, token, resume, credits });

const fn default_credits() -> u32 {
    DEFAULT_CREDITS
}

impl Hello {
    /// A hello of that name, with no token, going on after the last ack, with the usual credits.
    #[must_use]
    pub const fn new(name: Name) -> Self {
        Self { name: Some(name), token: None, resume: None, credits: DEFAULT_CREDITS }
    }

    /// A hello of a session that needs no name of its own: to ask how the gateway is, or to ask another agent.
    #[must_use]
    pub const fn unnamed() -> Self {
        Self { name: None, token: None, resume: None, credits: DEFAULT_CREDITS }
    }
}

/// An access token. It is wiped from memory when dropped and never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// The token of this text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The token itself: for comparing it, never for showing it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(a token)")
    }
}

/// Everything up to a cursor has been handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct Ack {
    /// The cursor of the last event handled, with everything before it.
    pub cursor: u64,
}
two_forms!(Ack { cursor });

/// More messages may be sent to the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct Credit {
    /// How many more.
    pub n: u32,
}
two_forms!(Credit { n });

/// Groups the agent wants to hear.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct Subscribe {
    /// Repeated in the answer.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<u64>,
    /// The groups, at most [`super::MAX_GROUPS`].
    pub groups: Vec<Name>,
    /// Of what is sent to these groups, only messages of these types; absent means all. What is sent to the agent itself or to
    /// everyone comes whatever its type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Vec<super::schema_words::TypeName>>"))]
    pub types: Option<Vec<MessageType>>,
}
two_forms!(Subscribe { reference, groups, types });

/// Groups the agent no longer wants to hear.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct Unsubscribe {
    /// Repeated in the answer.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<u64>,
    /// The groups, at most [`super::MAX_GROUPS`].
    pub groups: Vec<Name>,
}
two_forms!(Unsubscribe { reference, groups });

/// A question to the gateway itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct Ask {
    /// Repeated in the answer.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<u64>,
}
two_forms!(Ask { reference });

/// The end of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct Bye {}
two_forms!(Bye {});
