//! What a command says when it did not work: a word for programs, a sentence for people, and what to do.
//!
//! Owns the words and which error has which; `docs/agents.md` lists them. Our errors are written as "what was attempted: what is
//! wrong; what to do", and here that is taken apart.

use std::io;

use gateway::access::AccessError;
use gateway::datadir::DataDirError;
use gateway::engine::EngineError;
use gateway::network::{InvitationError, KeyFileError, NetworkError};
use gateway::settings::{Origin, Problem, SettingsError, TokenError};
use gateway::store::StoreError;
use gateway::{Ended, StartError};
use mesh_agent::ClientError;
use mesh_agent::api::{ErrorCode, ErrorEvent};
use serde_json::{Value, json};

use super::output::{Output, chain, with_data_dir, without_keys, without_keys_but};

/// Which kind of thing went wrong; programs may rely on the word, which never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    /// The gateway's own word.
    Gateway(ErrorCode),
    Usage,
    NoGateway,
    ConnectionLost,
    NotAGateway,
    WrongGateway,
    DeadlinePassed,
    NotDelivered,
    NoAnswer,
    Unwell,
    Settings,
    DataDir,
    Network,
    Token,
    NoAdapter,
    Exists,
    Io,
    Failed,
}

impl Code {
    /// Those that are not the gateway's.
    #[cfg(test)]
    const OWN: [Self; 17] = [
        Self::Usage,
        Self::NoGateway,
        Self::ConnectionLost,
        Self::NotAGateway,
        Self::WrongGateway,
        Self::DeadlinePassed,
        Self::NotDelivered,
        Self::NoAnswer,
        Self::Unwell,
        Self::Settings,
        Self::DataDir,
        Self::Network,
        Self::Token,
        Self::NoAdapter,
        Self::Exists,
        Self::Io,
        Self::Failed,
    ];

    fn word(self) -> String {
        let word = match self {
            Self::Gateway(code) => return code.to_string(),
            Self::Usage => "usage",
            Self::NoGateway => "no_gateway",
            Self::ConnectionLost => "connection_lost",
            Self::NotAGateway => "not_a_gateway",
            Self::WrongGateway => "wrong_gateway",
            Self::DeadlinePassed => "deadline_passed",
            Self::NotDelivered => "not_delivered",
            Self::NoAnswer => "no_answer",
            Self::Unwell => "unwell",
            Self::Settings => "settings",
            Self::DataDir => "data_dir",
            Self::Network => "network",
            Self::Token => "token",
            Self::NoAdapter => "no_adapter",
            Self::Exists => "exists",
            Self::Io => "io",
            Self::Failed => "failed",
        };
        word.to_owned()
    }
}

/// An error whose kind only the command knows.
#[derive(Debug, thiserror::Error)]
#[error("{1}")]
pub(super) struct Failure(pub(super) Code, pub(super) String);

/// A command line that is wrong in a way that only shows when it is carried out.
pub(super) fn usage(text: impl Into<String>) -> Failure {
    Failure(Code::Usage, text.into())
}

/// What did not work, as it is told. Keys that were given in the wrong place are not repeated.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) code: Code,
    /// All of it in one text for people.
    text: String,
    hint: Option<String>,
    field: Option<String>,
    problems: Vec<Problem>,
}

impl Fault {
    /// A command line that cannot be read. What its parser says may have any form.
    pub(super) fn usage(text: &str) -> Self {
        const HINT: &str = "see --help";
        let text = format!("{}; {HINT}", without_keys(text));
        Self { code: Code::Usage, text, hint: Some(HINT.to_owned()), field: None, problems: Vec::new() }
    }

    pub(super) fn of(error: &anyhow::Error) -> Self {
        let fingerprints = match error.downcast_ref() {
            Some(ClientError::WrongGateway { wanted, shown, .. }) => {
                [wanted, shown].map(ToString::to_string).to_vec()
            }
            _ => Vec::new(),
        };
        let mut fault = Self::split(code(error), &chain(error), &fingerprints);
        match error.downcast_ref() {
            Some(ClientError::Refused(ErrorEvent { hint, field, .. })) => {
                // What a command adds after it is no part of the gateway's hint.
                fault.hint = fault.hint.or_else(|| hint.clone());
                fault.field.clone_from(field);
            }
            Some(ClientError::NoGateway { cause, .. }) => fault.hint = Some(cause.hint().to_owned()),
            _ => {}
        }
        if let Some(SettingsError::Invalid(problems)) = error.downcast_ref() {
            fault.problems.clone_from(problems);
        }
        fault
    }

    fn split(code: Code, text: &str, fingerprints: &[String]) -> Self {
        let text = with_data_dir(&without_keys_but(text, fingerprints));
        let hint = text.rsplit_once("; ").map(|(_, hint)| hint.to_owned());
        Self { code, text, hint, field: None, problems: Vec::new() }
    }

    /// Says it where errors are said.
    pub(super) fn tell(&self, out: Output) {
        out.error(|| self.json(), &self.text);
    }

    /// The object for programs.
    fn json(&self) -> Value {
        let rest = |hint: &String| self.text.strip_suffix(hint.as_str())?.strip_suffix("; ");
        let message = self.hint.as_ref().and_then(rest).unwrap_or(&self.text);
        let mut error = json!({ "code": self.code.word(), "message": message, "hint": self.hint });
        if let Some(field) = &self.field {
            error["field"] = json!(field);
        }
        if !self.problems.is_empty() {
            error["problems"] = self.problems.iter().map(problem).collect();
        }
        json!({ "error": error })
    }
}

/// One thing that is wrong in the settings.
fn problem(problem: &Problem) -> Value {
    match &problem.origin {
        Origin::File { path, line } => {
            json!({ "file": path.display().to_string(), "line": line, "message": problem.what })
        }
        Origin::Override | Origin::Default => json!({ "message": problem.what }),
    }
}

/// The kind of an error, by the innermost of ours that is in it.
fn code(error: &anyhow::Error) -> Code {
    if let Some(Failure(code, _)) = error.downcast_ref() {
        return *code;
    }
    if let Some(error) = error.downcast_ref() {
        return match error {
            ClientError::NoGateway { .. } => Code::NoGateway,
            ClientError::Refused(refusal) => Code::Gateway(refusal.code),
            ClientError::Lost(_) => Code::ConnectionLost,
            ClientError::Overdue { .. } => Code::DeadlinePassed,
            ClientError::Undelivered(_) => Code::NotDelivered,
            ClientError::Protocol(_) => Code::NotAGateway,
            ClientError::WrongGateway { .. } => Code::WrongGateway,
            ClientError::Known(_) => Code::Io,
            ClientError::WithoutTls(_) => Code::Failed,
        };
    }
    if let Some(error) = error.downcast_ref() {
        return match error {
            SettingsError::Read { .. } | SettingsError::Invalid(_) => Code::Settings,
            SettingsError::DataDir(_) => Code::DataDir,
        };
    }
    if error.is::<DataDirError>() {
        Code::DataDir
    } else if error.is::<NetworkError>() || error.is::<InvitationError>() {
        Code::Network
    } else if error.is::<AccessError>() || error.is::<TokenError>() {
        Code::Token
    } else if of_store(error) {
        Code::Gateway(ErrorCode::Storage)
    } else if error.is::<io::Error>() || matches!(error.downcast_ref(), Some(KeyFileError::Read { .. })) {
        Code::Io
    } else {
        Code::Failed
    }
}

/// Whether it is the store's. What wraps a gateway's errors shows their texts as its own, and so hides their types.
fn of_store(error: &anyhow::Error) -> bool {
    let started = matches!(
        error.downcast_ref(),
        Some(StartError::Store(_) | StartError::Engine(EngineError::Store(_)))
    );
    let ended = matches!(error.downcast_ref(), Some(Ended::Engine(EngineError::Store(_))));
    started || ended || error.is::<StoreError>()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use mesh_agent::api::{Refusal, schema};

    use super::*;

    /// The first column of the table under a heading, without its backticks.
    fn listed(page: &str, heading: &str) -> BTreeSet<String> {
        let (_, section) = page.split_once(heading).expect("the heading is there");
        let rows = section
            .lines()
            .skip_while(|line| !line.starts_with("| `"))
            .take_while(|line| line.starts_with('|'));
        rows.skip(2)
            .filter_map(|row| row.strip_prefix("| `")?.split_once('`'))
            .map(|(word, _)| word.to_owned())
            .collect()
    }

    #[test]
    fn the_page_lists_every_code() {
        let page =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/agents.md")).unwrap();
        let own: BTreeSet<String> = Code::OWN.map(Code::word).into();
        assert_eq!(own.len(), Code::OWN.len());
        assert_eq!(listed(&page, "\n### Codes of commands\n"), own);
        let schema = schema::schema().to_string();
        let listed = listed(&page, "\n## Errors\n");
        for word in &listed {
            assert!(schema.contains(&format!("\"{word}\"")), "the protocol has no code {word}");
        }
        let codes = [
            ErrorCode::BadRequest,
            ErrorCode::NotWelcome,
            ErrorCode::TooLate,
            ErrorCode::Unauthorised,
            ErrorCode::NameTaken,
            ErrorCode::UnknownReceiver,
            ErrorCode::TooLarge,
            ErrorCode::Busy,
            ErrorCode::NoCredit,
            ErrorCode::Overloaded,
            ErrorCode::Storage,
            ErrorCode::Conflict,
            ErrorCode::ShuttingDown,
            ErrorCode::NoNetwork,
            ErrorCode::Internal,
            ErrorCode::TokenExpired,
        ];
        assert!(codes.iter().all(|code| listed.contains(&code.to_string())), "{listed:?}");
    }

    #[test]
    fn an_error_is_taken_apart_into_what_is_wrong_and_what_to_do() {
        let source = NetworkError::BadName;
        let told = Fault::of(&anyhow::Error::new(source).context("inviting")).json();
        let error = &told["error"];
        assert_eq!(error["code"], "network");
        assert!(error["hint"].as_str().unwrap().starts_with("choose another"), "{told}");
        assert!(!error["message"].as_str().unwrap().contains("choose another"), "{told}");

        let refusal = Refusal::new(ErrorCode::UnknownReceiver, "cannot accept it: nobody; or so")
            .hint("see who is there");
        let error = ClientError::Refused(ErrorEvent::about(None, refusal.field("to")));
        let told = Fault::of(&anyhow::Error::new(error).context("sending to zed")).json();
        assert_eq!(
            told["error"],
            json!({
                "code": "unknown_receiver",
                "message": "sending to zed: the gateway refused (unknown_receiver): cannot accept it: nobody; or so",
                "hint": "see who is there",
                "field": "to",
            })
        );
        let told = Fault::of(&anyhow::anyhow!("it fell over")).json();
        assert_eq!(told["error"], json!({ "code": "failed", "message": "it fell over", "hint": null }));
    }
}
