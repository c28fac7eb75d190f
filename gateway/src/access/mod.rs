//! Access for agents: what a token allows, the file of tokens, and the log of who sent what where.
//!
//! Owns [`Grant`], what one token allows, and the words that say so. The file is `file`'s, what may be written behind
//! `--to` and `--as` is `pattern`'s, how often is `rate`'s, how long `expiry`'s. Who has to show a token, and comparing it, is
//! [`crate::agents`]' business.

mod audit;
mod audit_entry;
mod audit_file;
mod cost;
mod expiry;
mod file;
mod pattern;
mod quota;
mod rate;

use std::fmt;
use std::time::SystemTime;

use mesh_agent::api::{Destination, ErrorCode, Name, Refusal, Request, SendRequest};
use mesh_protocol::Priority;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use audit::{AUDIT_FILE, Audit, AuditError};
pub use audit_entry::{AuditVerdict, Caller, Entry, NotLetIn};
pub use cost::Cost;
pub use expiry::{Calendar, Expiry, ExpiryError};
pub use file::{AccessError, Secret, TOKENS_FILE, TokenFile, add, read_dir, read_file, remove};
pub use pattern::{DestinationPattern, NamePattern, PatternError};
pub use quota::{Holder, Quota};
pub use rate::{Bucket, Rate, RateError};

/// The SHA-256 of a token. A token that the gateway draws has 192 random bits, so nobody finds it by trying, however fast:
/// a slow hash, made for passwords that people think of, would only make hellos dear.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of this token.
    #[must_use]
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// Its bytes. Compare them in constant time.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl TryFrom<String> for Digest {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let wrong = "a SHA-256 has 64 hexadecimal digits";
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong);
        }
        let mut bytes = [0; 32];
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| wrong)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong)?;
        }
        Ok(Self(bytes))
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(..)")
    }
}

/// A token without its secret: its name, its digest, and what it allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// What it is called, in lists, errors and the audit log.
    pub name: Name,
    /// The digest of the token.
    pub sha256: Digest,
    /// From when on it is not let in any more; always good if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Expiry>,
    /// What its holder's agents may be called; anything if empty.
    #[serde(rename = "as", default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<NamePattern>,
    /// Where its holder may send; anywhere if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<DestinationPattern>,
    /// The most urgent priority allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_priority: Option<Priority>,
    /// How many messages in a time, over all sessions with this token, and what costs airtime as they do; see also
    /// [`Self::questions`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// The longest body in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_body: Option<u32>,
    /// The most sessions of its holders at the same time; see [`Self::quota`] for what holds where these are absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_sessions: Option<u32>,
    /// The most agents of its holders that the gateway knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_agents: Option<u32>,
    /// The most groups that all of them hear, each agent's counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_groups: Option<u32>,
    /// The most messages of theirs that wait, on their way or in inboxes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_messages: Option<u32>,
    /// The most bytes of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u32>,
    /// The longest deadline, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_deadline_s: Option<u32>,
    /// Whether it may send to everyone and to groups, as far as `to` lets it.
    #[serde(default = "yes")]
    pub broadcast: bool,
    /// Whether it may change connections with other gateways and routes.
    #[serde(default)]
    pub operator: bool,
}

const fn yes() -> bool {
    true
}

impl Grant {
    /// A token that allows all that an agent can do, and nothing of an operator.
    #[must_use]
    pub const fn new(name: Name, sha256: Digest) -> Self {
        Self {
            name,
            sha256,
            expires: None,
            names: Vec::new(),
            to: Vec::new(),
            max_priority: None,
            rate: None,
            max_body: None,
            max_sessions: None,
            max_agents: None,
            max_groups: None,
            max_messages: None,
            max_bytes: None,
            max_deadline_s: None,
            broadcast: true,
            operator: false,
        }
    }

    /// Whether it is good at that time.
    ///
    /// # Errors
    /// Since when it is not.
    pub fn is_good(&self, now: SystemTime) -> Result<(), Refusal> {
        match self.expires {
            Some(expires) if expires.is_over(now) => {
                let why = format!("the access token {} has expired, at {expires}", self.name);
                let hint =
                    "ask for another one; if that time is not over, set the clock of the gateway's machine";
                Err(Refusal::new(ErrorCode::TokenExpired, why).hint(hint).field("token"))
            }
            _ => Ok(()),
        }
    }

    /// Whether its holder may have an agent of this name.
    ///
    /// # Errors
    /// What is allowed instead.
    pub fn allows_name(&self, name: &Name) -> Result<(), Refusal> {
        if self.names.is_empty() || self.names.iter().any(|pattern| pattern.fits(name)) {
            return Ok(());
        }
        let why =
            format!("cannot attach as {name}: the access token {} is for {}", self.name, list(&self.names));
        let refusal = Refusal::new(ErrorCode::Unauthorised, why);
        Err(refusal.hint("use such a name, or ask for another token").field("name"))
    }

    /// Whether it allows this request of an agent, however often it came before.
    ///
    /// # Errors
    /// What is allowed instead.
    pub fn allows(&self, agent: Name, request: &Request) -> Result<(), Refusal> {
        let what = match request {
            Request::Send(send) => return self.allows_send(send),
            Request::LinkAdd(_) | Request::LinkRemove(_) | Request::RouteAdd(_) | Request::RouteRemove(_) => {
                "change connections or routes"
            }
            Request::AgentForget(forget) if forget.name != agent => "forget another agent",
            _ => return Ok(()),
        };
        if self.operator {
            return Ok(());
        }
        let why = format!("cannot {what}: the access token {} is not an operator's", self.name);
        Err(Refusal::new(ErrorCode::Unauthorised, why)
            .hint("ask over the Unix socket, or make one with `mesh-gateway token add NAME --operator`"))
    }

    fn allows_send(&self, send: &SendRequest) -> Result<(), Refusal> {
        let refused = |what: String, instead: String, field: &str| {
            let why = format!("cannot accept the message: the access token {} {what}", self.name);
            let refusal = Refusal::new(ErrorCode::Unauthorised, why);
            Err(refusal.hint(format!("{instead}, or ask for another token")).field(field))
        };
        if !self.broadcast && matches!(send.to, Destination::Everyone | Destination::Group(_)) {
            return refused(
                format!("allows nothing to many, as {}", send.to),
                "write to one agent".to_owned(),
                "to",
            );
        }
        if !self.to.is_empty() && !self.to.iter().any(|pattern| pattern.fits(&send.to)) {
            return refused(
                format!("does not allow {}", send.to),
                format!("write to {}", list(&self.to)),
                "to",
            );
        }
        // The most urgent one is the least in order.
        if let Some(most) = self.max_priority.filter(|most| send.priority < *most) {
            return refused(
                format!("allows {most} at the most"),
                "send it with that priority".to_owned(),
                "priority",
            );
        }
        if let Some(most) = self.max_body.filter(|most| send.body.len() > *most as usize) {
            return refused(
                format!("allows bodies of {most} bytes and this one has {}", send.body.len()),
                "send it in parts".to_owned(),
                send.body.field(),
            );
        }
        if let Some(asked) = send.deadline_ms.map(u64::from)
            && let Some(quota) = self.quota().filter(|quota| asked > quota.deadline().as_millis())
        {
            return refused(
                format!("allows deadlines of {} s at the most", quota.deadline_s),
                "give it a shorter one".to_owned(),
                "deadline_ms",
            );
        }
        Ok(())
    }
}

/// The patterns as a person lists them; only the first of very many.
fn list(patterns: &[impl fmt::Display]) -> String {
    const SHOWN: usize = 8;
    let mut text = patterns.iter().take(SHOWN).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if patterns.len() > SHOWN {
        text.push_str(&format!(" or {} more", patterns.len() - SHOWN));
    }
    text
}

#[cfg(test)]
mod tests;
