//! What an agent asks of the gateway.
//!
//! Owns the fields, their defaults and their written forms. The rules of a session (hello first, the longest body) are
//! the session's, in the gateway.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use mesh_protocol::{Address, MessageType, Priority};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroize;

use super::body::Base64;
use super::destination::address_text;
use super::{
    Body, DEFAULT_CREDITS, Destination, MAX_DEADLINE_MS, Message, MessageRef, Name, schema, two_forms,
};

/// What an agent asks of the gateway: in JSON an object with `"op"`, in postcard the variant's number and its fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// Send to a node by way of a neighbour. Answered by `done` or `error`.
    RouteAdd(RouteAdd),
    /// No longer send to a node by way of a neighbour. Answered by `done` or `error`.
    RouteRemove(RouteRemove),
    /// Forget an agent of the gateway, with its inbox. Answered by `done` or `error`.
    AgentForget(AgentForget),
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
            Self::Subscribe(subscribe) => subscribe.reference,
            Self::Unsubscribe(unsubscribe) => unsubscribe.reference,
            Self::Hello(_) | Self::Ack(_) | Self::Credit(_) | Self::Bye(_) => None,
        }
    }
}

/// Who an agent is and how it wants to be served.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

/// Which receipt a sender waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReceiptWish {
    /// When the destination's gateway has the message.
    #[default]
    Delivered,
    /// When the receiving agent has acknowledged it.
    Processed,
}

/// A message to send.
#[derive(Clone, Debug, PartialEq)]
pub struct SendRequest {
    /// Repeated in `accepted`, `receipt` and `error`, so that the sender knows which message they are about.
    pub reference: Option<u64>,
    /// Where it goes.
    pub to: Destination,
    /// What it asks of the receiver; `type` in JSON.
    pub kind: MessageType,
    /// How urgent it is.
    pub priority: Priority,
    /// Milliseconds after which it is worth nothing; `None` leaves it to the gateway.
    pub deadline_ms: Option<u32>,
    /// Whether *accepted* must mean written and synced.
    pub durable: bool,
    /// The message this one answers.
    pub reply_to: Option<MessageRef>,
    /// Which receipt the sender waits for.
    pub receipt: ReceiptWish,
    /// What it says, at most [`super::MAX_BODY`] bytes; `text` or `data` in JSON.
    pub body: Body,
    /// A number of the sender's own that makes the message safe to send again: a second one with the key of a recent one
    /// is answered by the `accepted` of the first, and not sent.
    pub key: Option<u64>,
}

impl SendRequest {
    /// A MEDIUM message without a deadline. It is durable, but for a QUERY: the answer is its receipt, and who has none asks
    /// again.
    #[must_use]
    pub fn new(to: Destination, kind: MessageType, body: impl Into<Body>) -> Self {
        Self {
            reference: None,
            to,
            kind,
            priority: Priority::Medium,
            deadline_ms: None,
            durable: kind != MessageType::Query,
            reply_to: None,
            receipt: ReceiptWish::Delivered,
            body: body.into(),
            key: None,
        }
    }

    /// The answer to a message: a RESPONSE to its sender, as urgent as it was. It is durable, but for one to a QUERY.
    #[must_use]
    pub fn answer(message: &Message, body: impl Into<Body>) -> Self {
        let new = Self::new(message.from, MessageType::Response, body);
        let durable = message.kind != MessageType::Query;
        Self { priority: message.priority, reply_to: Some(message.id), durable, ..new }
    }

    /// The same with this priority.
    #[must_use]
    pub fn with_priority(self, priority: Priority) -> Self {
        Self { priority, ..self }
    }

    /// The same, written and synced before it is *accepted*, or not.
    #[must_use]
    pub fn with_durable(self, durable: bool) -> Self {
        Self { durable, ..self }
    }

    /// The same with a deadline: worth nothing after this span, to the millisecond, at most [`super::MAX_DEADLINE_MS`].
    #[must_use]
    pub fn within(self, span: Duration) -> Self {
        let ms = u32::try_from(span.as_millis()).unwrap_or(u32::MAX);
        Self { deadline_ms: Some(ms.min(MAX_DEADLINE_MS)), ..self }
    }
}

/// [`SendRequest`] as JSON has it: the body in one of two fields.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "SendRequest", description = "A message to send; its body is `text` or `data`, not both.")]
struct Json<'a> {
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    reference: Option<u64>,
    to: Destination,
    #[serde(rename = "type")]
    #[schemars(with = "schema::TypeName")]
    kind: MessageType,
    #[serde(default)]
    #[schemars(with = "schema::PriorityName")]
    priority: Priority,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deadline_ms: Option<u32>,
    #[serde(default = "yes")]
    durable: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply_to: Option<MessageRef>,
    #[serde(default)]
    receipt: ReceiptWish,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<Base64>,
}

const fn yes() -> bool {
    true
}

impl SendRequest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let &Self { reference, to, kind, priority, deadline_ms, durable, reply_to, receipt, ref body, key } =
            self;
        let (text, data) = body.to_fields();
        let json =
            Json { reference, to, kind, priority, deadline_ms, durable, reply_to, receipt, key, text, data };
        json.serialize(serializer)
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Json::deserialize(deserializer)?;
        let Json { reference, to, kind, priority, deadline_ms, durable, reply_to, receipt, key, text, data } =
            json;
        let body = Body::from_fields(text, data).map_err(de::Error::custom)?;
        Ok(Self { reference, to, kind, priority, deadline_ms, durable, reply_to, receipt, body, key })
    }
}
two_forms!(SendRequest { reference, to, kind, priority, deadline_ms, durable, reply_to, receipt, body, key });

impl JsonSchema for SendRequest {
    fn schema_name() -> Cow<'static, str> {
        "SendRequest".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Json::json_schema(generator)
    }
}

/// Everything up to a cursor has been handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct Ack {
    /// The cursor of the last event handled, with everything before it.
    pub cursor: u64,
}
two_forms!(Ack { cursor });

/// More messages may be sent to the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct Credit {
    /// How many more.
    pub n: u32,
}
two_forms!(Credit { n });

/// Groups the agent wants to hear.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    #[schemars(with = "Option<Vec<schema::TypeName>>")]
    pub types: Option<Vec<MessageType>>,
}
two_forms!(Subscribe { reference, groups, types });

/// Groups the agent no longer wants to hear.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct Ask {
    /// Repeated in the answer.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<u64>,
}
two_forms!(Ask { reference });

/// A gateway to be connected with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct LinkRemove {
    /// Repeated in the answer.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<u64>,
    /// What it is called on this gateway.
    pub name: Name,
}
two_forms!(LinkRemove { reference, name });

/// A way to a node, by an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct RouteAdd {
    /// Repeated in the answer.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<u64>,
    /// The node it leads to.
    #[serde(with = "address_text")]
    #[schemars(with = "String")]
    pub destination: Address,
    /// The neighbour it begins with.
    #[serde(with = "address_text")]
    #[schemars(with = "String")]
    pub next_hop: Address,
    /// What it costs; smaller is better.
    #[serde(default = "one")]
    pub cost: u16,
}
two_forms!(RouteAdd { reference, destination, next_hop, cost });

const fn one() -> u16 {
    1
}

/// A way that is no longer to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct RouteRemove {
    /// Repeated in the answer.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<u64>,
    /// The node it led to.
    #[serde(with = "address_text")]
    #[schemars(with = "String")]
    pub destination: Address,
}
two_forms!(RouteRemove { reference, destination });

/// An agent that the gateway is to forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct AgentForget {
    /// Repeated in the answer.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<u64>,
    /// Its name. One that is connected is not forgotten, but for whoever asks: that is forgotten when its session ends.
    pub name: Name,
}
two_forms!(AgentForget { reference, name });

/// The end of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct Bye {}
two_forms!(Bye {});
