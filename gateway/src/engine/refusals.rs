//! Why a message is not taken, in words for agents and for the command line.

use std::fmt::Display;

use mesh_agent::api::{ErrorCode, Refusal};

/// What to do while the store does not write.
const STORE_FAILED: &str = "see `mesh-gateway status`; the store is tried again by itself, and durable messages are taken then; one that is not durable (`durable: false`, `--no-durable`) is still taken, and may be lost";

/// A message is not taken.
pub(super) fn refused(code: ErrorCode, why: impl Display) -> Refusal {
    Refusal::new(code, format!("cannot accept the message: {why}"))
}

/// A durable message is not taken, as nothing can be made durable.
pub(super) fn store_failed() -> Refusal {
    refused(ErrorCode::Storage, "the store has failed").hint(STORE_FAILED)
}
