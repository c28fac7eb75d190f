//! What stands in the audit log: a message and what became of it, or who was not let in. Never a body.

use std::fmt;
use std::net::SocketAddr;
use std::time::SystemTime;

use mesh_agent::api::{ErrorCode, MessageRef, Name, SendRequest};
use serde_json::{Map, Value, json};

/// Where a session comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// This address and port, over TCP or TLS.
    Ip(SocketAddr),
    /// The Unix socket.
    Unix,
    /// The gateway's own process.
    Inside,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // An IPv4 address, also where the socket is one for both.
            Self::Ip(address) => SocketAddr::new(address.ip().to_canonical(), address.port()).fmt(f),
            Self::Unix => f.write_str("unix"),
            Self::Inside => f.write_str("inside"),
        }
    }
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditVerdict {
    /// It got this number.
    Accepted(MessageRef),
    /// It had this number already: its key was known.
    Again(MessageRef),
    /// It was refused.
    Refused(ErrorCode),
}

/// One message that somebody wanted to send.
#[derive(Debug)]
pub struct Entry<'a> {
    /// The session's number.
    pub session: u64,
    /// Where it comes from.
    pub caller: Caller,
    /// Who sent it.
    pub agent: Name,
    /// The token that was shown; `None` over the Unix socket, and where none is asked for.
    pub token: Option<Name>,
    /// The message.
    pub send: &'a SendRequest,
    /// What became of it.
    pub verdict: AuditVerdict,
}

/// Somebody whose hello was refused.
#[derive(Debug)]
pub struct NotLetIn {
    /// The session's number.
    pub session: u64,
    /// Where it comes from.
    pub caller: Caller,
    /// What it called itself, if it did.
    pub agent: Option<Name>,
    /// The token that was shown, if it was a good one, but not for this name.
    pub token: Option<Name>,
    /// Why it was refused.
    pub code: ErrorCode,
}

/// What every entry begins with.
fn begin(session: u64, caller: Caller, agent: Option<Name>, token: Option<Name>) -> Map<String, Value> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut entry = Map::new();
    entry.insert("at_ms".to_owned(), json!(u64::try_from(now.as_millis()).unwrap_or(u64::MAX)));
    entry.insert("session".to_owned(), json!(session));
    entry.insert("from".to_owned(), json!(caller.to_string()));
    if let Some(agent) = agent {
        entry.insert("agent".to_owned(), json!(agent.as_str()));
    }
    if let Some(token) = token {
        entry.insert("token".to_owned(), json!(token.as_str()));
    }
    entry
}

impl NotLetIn {
    pub(super) fn line(&self, unnoted: u64) -> String {
        let mut entry = begin(self.session, self.caller, self.agent, self.token);
        entry.insert("not_let_in".to_owned(), json!(self.code.to_string()));
        if unnoted > 0 {
            entry.insert("unnoted".to_owned(), json!(unnoted));
        }
        format!("{}\n", Value::Object(entry))
    }
}

impl Entry<'_> {
    pub(super) fn line(&self) -> String {
        let Self { session, caller, agent, token, send, verdict } = self;
        let mut entry = begin(*session, *caller, Some(*agent), *token);
        let mut put = |key: &str, value: Value| entry.insert(key.to_owned(), value);
        if let Some(reference) = send.reference {
            put("ref", json!(reference));
        }
        put("to", json!(send.to.to_string()));
        put("type", json!(send.kind.name()));
        put("priority", json!(send.priority.name()));
        put("bytes", json!(send.body.len()));
        match verdict {
            AuditVerdict::Accepted(id) => put("id", json!(id.to_string())),
            AuditVerdict::Again(id) => put("again", json!(id.to_string())),
            AuditVerdict::Refused(code) => put("refused", json!(code.to_string())),
        };
        format!("{}\n", Value::Object(entry))
    }
}
