//! How the gateway says no: a word for programs and a sentence for people.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::two_forms;

/// Which kind of thing went wrong; programs may rely on the word, which never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The request cannot be read, or says something impossible.
    BadRequest,
    /// A request came before the hello.
    NotWelcome,
    /// No hello came in time.
    TooLate,
    /// The access token is missing or wrong, or does not allow this.
    Unauthorised,
    /// A newer session has taken the name over; said to the older one.
    NameTaken,
    /// Nobody of that name is known.
    UnknownReceiver,
    /// The body, the line or the frame is over its bound.
    TooLarge,
    /// The agent has too much on its way already; try again after a receipt.
    Busy,
    /// The agent's credits do not allow this.
    NoCredit,
    /// The gateway has all the sessions it takes.
    Overloaded,
    /// The message could not be written to the store, so it was not accepted.
    Storage,
    /// Two things claim one place, such as a second node on this node's address.
    Conflict,
    /// The gateway is going away.
    ShuttingDown,
    /// The radio or the mesh cannot be used now.
    NoNetwork,
    /// A mistake of the gateway's own.
    Internal,
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::BadRequest => "bad_request",
            Self::NotWelcome => "not_welcome",
            Self::TooLate => "too_late",
            Self::Unauthorised => "unauthorised",
            Self::NameTaken => "name_taken",
            Self::UnknownReceiver => "unknown_receiver",
            Self::TooLarge => "too_large",
            Self::Busy => "busy",
            Self::NoCredit => "no_credit",
            Self::Overloaded => "overloaded",
            Self::Storage => "storage",
            Self::Conflict => "conflict",
            Self::ShuttingDown => "shutting_down",
            Self::NoNetwork => "no_network",
            Self::Internal => "internal",
        })
    }
}

/// A request that was not carried out, or the end of the session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self")]
pub struct ErrorEvent {
    /// The number of the request it is about, where that could be read.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<u64>,
    /// For programs.
    pub code: ErrorCode,
    /// For people: what was attempted, what is wrong, what to do.
    pub message: String,
    /// Whether the session ends with it.
    pub fatal: bool,
}
two_forms!(ErrorEvent { reference, code, message, fatal });

impl ErrorEvent {
    /// An error about one request; the session goes on.
    #[must_use]
    pub fn about(reference: Option<u64>, code: ErrorCode, message: impl Into<String>) -> Self {
        Self { reference, code, message: message.into(), fatal: false }
    }

    /// An error that ends the session.
    #[must_use]
    pub fn fatal(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { reference: None, code, message: message.into(), fatal: true }
    }
}
