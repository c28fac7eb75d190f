//! The JSON schema of the agents' protocol, for `mesh-gateway schema`.
//!
//! It is made from the types themselves. Owns only the names that the core's types cannot describe, because the core
//! knows no schema.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::{Event, Request};

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

/// Stands for `mesh_protocol::MessageType` in the schema; a test holds it to the words on the wire.
#[derive(JsonSchema)]
#[schemars(rename = "MessageType", rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(dead_code, reason = "only its description is used")]
pub(super) enum TypeName {
    Task,
    Query,
    Response,
    Notification,
    ParameterUpdate,
}

/// Stands for `mesh_protocol::Priority` in the schema; a test holds it to the words on the wire.
#[derive(JsonSchema)]
#[schemars(rename = "Priority", rename_all = "UPPERCASE")]
#[expect(dead_code, reason = "only its description is used")]
pub(super) enum PriorityName {
    Critical,
    High,
    Medium,
    Low,
}
