//! How the gateway says no: a word for programs and a sentence for people.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::two_forms;

/// Which kind of thing went wrong; programs may rely on the word, which never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
    /// The agent has too much in flight already; try again after a receipt.
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
    /// The access token was good, and is so no longer.
    TokenExpired,
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
            Self::TokenExpired => "token_expired",
        })
    }
}

/// Why something is not done, before it is known which request of which agent that answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For programs.
    pub code: ErrorCode,
    /// For people: what was attempted, and what is wrong.
    pub message: String,
    /// For people: what to do about it.
    pub hint: Option<String>,
    /// The field of the request that is wrong, as JSON writes it.
    pub field: Option<String>,
}

impl Refusal {
    /// A refusal without a hint, of the request as a whole.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, field: None }
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The same about one field of the request.
    #[must_use]
    pub fn field(self, field: impl Into<String>) -> Self {
        Self { field: Some(field.into()), ..self }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        said(f, &self.message, self.hint.as_deref())
    }
}

/// Message and hint in one line for people.
fn said(f: &mut fmt::Formatter<'_>, message: &str, hint: Option<&str>) -> fmt::Result {
    f.write_str(message)?;
    hint.map_or(Ok(()), |hint| write!(f, "; {hint}"))
}

/// A request that was not carried out, or the end of the session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "Self")]
pub struct ErrorEvent {
    /// The number of the request it is about, where that could be read.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<u64>,
    /// For programs.
    pub code: ErrorCode,
    /// For people: what was attempted, and what is wrong.
    pub message: String,
    /// Whether the session ends with it.
    pub fatal: bool,
    /// For people: what to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The field of the request that is wrong, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}
two_forms!(ErrorEvent { reference, code, message, fatal, hint, field });

impl ErrorEvent {
    /// An error about one request; the session goes on.
    #[must_use]
    pub fn about(reference: Option<u64>, refusal: Refusal) -> Self {
        let Refusal { code, message, hint, field } = refusal;
        Self { reference, code, message, fatal: false, hint, field }
    }

    /// An error that ends the session.
    #[must_use]
    pub fn fatal(refusal: Refusal) -> Self {
        Self { fatal: true, ..Self::about(None, refusal) }
    }
}

impl fmt::Display for ErrorEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        said(f, &self.message, self.hint.as_deref())
    }
}
