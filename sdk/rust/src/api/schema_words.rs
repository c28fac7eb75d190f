//! Words of the core in the JSON schema. The core's types cannot describe them themselves, because the core knows no schema.

use schemars::JsonSchema;

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
