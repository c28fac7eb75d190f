//! A message that an agent sends.
//!
//! Owns its fields, their defaults and their written forms. Whether it is accepted is the engine's to say, in the gateway.

use std::borrow::Cow;
use std::time::Duration;

use mesh_protocol::{MessageType, Priority};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::body::Base64;
use super::{Body, Destination, MAX_DEADLINE_MS, Message, MessageRef, two_forms};

/// Which receipt a sender waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ReceiptRequest {
    /// When the destination's gateway has the message.
    #[default]
    Delivered,
    /// When the receiving agent has acknowledged it.
    Processed,
}

/// A message to send.
///
/// ```
/// use std::time::Duration;
///
/// use mesh_agent::api::{Destination, ReceiptRequest, SendRequest};
/// use mesh_agent::{MessageType, Priority};
///
/// let alarm = SendRequest::new(Destination::Everyone, MessageType::Notification, "the pump is off")
///     .with_priority(Priority::Critical)
///     .within(Duration::from_secs(10));
/// assert_eq!(alarm.deadline_ms, Some(10_000));
///
/// // A receipt when the agent has processed it, not only when its gateway has it.
/// let task = SendRequest::new("bob".parse().unwrap(), MessageType::Task, "pump on");
/// let task = SendRequest { receipt: ReceiptRequest::Processed, ..task };
/// assert!(task.durable);
/// ```
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
    pub receipt: ReceiptRequest,
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
            receipt: ReceiptRequest::Delivered,
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
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[cfg_attr(
    feature = "schema",
    schemars(
        title = "SendRequest",
        description = "A message to send; its body is `text` or `data`, not both."
    )
)]
pub(super) struct SendJson<'a> {
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    reference: Option<u64>,
    to: Destination,
    #[serde(rename = "type")]
    #[cfg_attr(feature = "schema", schemars(with = "super::schema_words::TypeName"))]
    kind: MessageType,
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "super::schema_words::PriorityName"))]
    priority: Priority,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deadline_ms: Option<u32>,
    #[serde(default = "yes")]
    durable: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply_to: Option<MessageRef>,
    #[serde(default)]
    receipt: ReceiptRequest,
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
        let json = SendJson {
            reference,
            to,
            kind,
            priority,
            deadline_ms,
            durable,
            reply_to,
            receipt,
            key,
            text,
            data,
        };
        json.serialize(serializer)
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = SendJson::deserialize(deserializer)?;
        let SendJson {
            reference,
            to,
            kind,
            priority,
            deadline_ms,
            durable,
            reply_to,
            receipt,
            key,
            text,
            data,
        } = json;
        let body = Body::from_fields(text, data).map_err(de::Error::custom)?;
        Ok(Self { reference, to, kind, priority, deadline_ms, durable, reply_to, receipt, body, key })
    }
}
two_forms!(SendRequest { reference, to, kind, priority, deadline_ms, durable, reply_to, receipt, body, key });
