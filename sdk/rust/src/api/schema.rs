//! The JSON schema of the agents' protocol, for `mesh-gateway schema`.
//!
//! It is made from the types themselves. Owns what cannot be derived: the types whose JSON form is
//! written by hand. With the feature `schema` only, as a client needs none of it.

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::body::Base64;
use super::event::MessageJson;
use super::send::SendJson;
use super::{Destination, Event, Health, Message, MessageRef, Name, Request, SendRequest};

/// The schema of both directions: an object with `request` and `event`, each a complete schema of one line.
#[must_use]
pub fn schema() -> Value {
    // Everything about a line stands in one place, so that people can read it too.
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    json!({
        "request": settings.clone().into_generator().into_root_schema_for::<Request>(),
        "event": settings.into_generator().into_root_schema_for::<Event>(),
    })
}

impl JsonSchema for Base64 {
    fn schema_name() -> Cow<'static, str> {
        "Base64".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "contentEncoding": "base64" })
    }
}

impl JsonSchema for Destination {
    fn schema_name() -> Cow<'static, str> {
        "Destination".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "\"bob\", \"bob@0x0003\", \"node:0x0003\", \"group:kitchen\" or \"everyone\".",
            "pattern": "^(everyone|node:0x[0-9a-fA-F]{4}|group:[A-Za-z0-9._-]{1,32}|[A-Za-z0-9._-]{1,32}(@0x[0-9a-fA-F]{4})?)$",
        })
    }
}

impl JsonSchema for MessageRef {
    fn schema_name() -> Cow<'static, str> {
        "MessageRef".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A message: the node that accepted it and the number it gave, as in \"0x0001/17\".",
            "pattern": "^0x[0-9a-fA-F]{4}/[0-9]{1,10}$",
        })
    }
}

impl JsonSchema for Message {
    fn schema_name() -> Cow<'static, str> {
        "Message".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        MessageJson::json_schema(generator)
    }
}

impl JsonSchema for Name {
    fn schema_name() -> Cow<'static, str> {
        "Name".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[A-Za-z0-9._-]{1,32}$", "not": { "const": "everyone" } })
    }
}

impl JsonSchema for Health {
    fn schema_name() -> Cow<'static, str> {
        "Health".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "\"ok\", or the list of what is not well.",
            "anyOf": [{ "const": "ok" }, { "type": "array", "items": { "type": "string" } }],
        })
    }
}

impl JsonSchema for SendRequest {
    fn schema_name() -> Cow<'static, str> {
        "SendRequest".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        SendJson::json_schema(generator)
    }
}
