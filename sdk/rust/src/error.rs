//! Why something could not be done with a gateway, and whether trying again may help.

use std::io;
use std::path::{Path, PathBuf};

use crate::api::codec::DecodeError;
use crate::api::{ErrorCode, ErrorEvent, Receipt};
use crate::{Endpoint, Fingerprint, KnownError};

/// Why no gateway answers, as far as this machine can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// Nothing listens there.
    Down,
    /// The name of the host has no address.
    UnknownHost,
    /// This user may not use the socket.
    NotAllowed,
    /// Something listens there and says nothing.
    Silent,
    /// The network does not lead there.
    Unreachable,
    /// Something answers there that does not speak TLS as a gateway does.
    NoTls,
}

impl Absence {
    /// What to do about it.
    #[must_use]
    pub const fn hint(self) -> &'static str {
        match self {
            Self::Down => "check that it runs there (`systemctl status mesh-gateway`), and the address",
            Self::UnknownHost => "check the host's name, or give its IP address",
            Self::NotAllowed => "run this as the user that the gateway runs as, or connect over TCP",
            Self::Silent => "check that it is a gateway that listens there, and restart it if it hangs",
            Self::Unreachable => "check the network between here and there, and the address",
            Self::NoTls => {
                "check that it is a gateway that listens there, with TLS 1.3; one that is full says so in the clear: try again"
            }
        }
    }
}

impl From<&io::Error> for Absence {
    fn from(why: &io::Error) -> Self {
        match why.kind() {
            io::ErrorKind::PermissionDenied => Self::NotAllowed,
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Self::Down,
            _ => Self::Unreachable,
        }
    }
}

/// Why something could not be done with the gateway.
///
/// ```no_run
/// # async fn example() -> Result<(), mesh_agent::ClientError> {
/// use mesh_agent::{Client, ClientError, Endpoint, api::Hello};
///
/// match Client::connect(&Endpoint::default(), Hello::unnamed()).await {
///     Err(ClientError::NoGateway { cause, .. }) => eprintln!("{}", cause.hint()),
///     Err(why) if why.is_passing() => eprintln!("try again: {why}"),
///     Err(why) => return Err(why),
///     Ok(client) => println!("{}", client.welcome().gateway),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers there.
    #[error("no gateway answers at {endpoint}: {why}; {}", .cause.hint())]
    NoGateway {
        /// Where it was looked for.
        endpoint: Endpoint,
        /// What kind of obstacle it is.
        cause: Absence,
        /// What the system says.
        why: String,
    },
    /// What answers over TLS is not the gateway that is wanted. Nothing was said to it.
    #[error(
        "the gateway at {address} is not the one that is wanted: its certificate's fingerprint is {shown} and not {wanted}. Nothing was \
         sent; {}", changed(address, .kept.as_deref())
    )]
    WrongGateway {
        /// Where it answers.
        address: String,
        /// What the wanted one is known by.
        wanted: Fingerprint,
        /// What this one shows.
        shown: Fingerprint,
        /// The file that has what it is known by; `None` where the caller said it.
        kept: Option<PathBuf>,
    },
    /// It cannot be told whether it is the right gateway.
    #[error(transparent)]
    Known(#[from] KnownError),
    /// There is no TLS in this program.
    #[error(
        "cannot connect with {0}: this program was built without TLS; build it with the feature `tls` of mesh-agent, or give HOST:PORT"
    )]
    WithoutTls(Endpoint),
    /// The gateway would not. Its words say what to do.
    #[error("the gateway refused ({}): {}", .0.code, .0)]
    Refused(ErrorEvent),
    /// The connection ended. What was in flight may or may not have arrived; connect again to learn more.
    #[error("the connection to the gateway ended ({0}): connect again to go on")]
    Lost(String),
    /// A message's deadline passed while the gateway was away, before it had said *accepted*.
    #[error(
        "the message's deadline passed while the gateway was away{}: send it again if it is still worth something",
        if *.sent { "; it may have been accepted before" } else { ", and it was not sent" }
    )]
    Overdue {
        /// Whether it had been sent, so that it may have been accepted. Its receipt is then in the inbox.
        sent: bool,
    },
    /// A query was not delivered, so that no answer can be expected.
    #[error(
        "the query {} got no answer: {:?}{}; see `mesh-gateway agents` for who is there",
        .0.id, .0.outcome, .0.why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default()
    )]
    Undelivered(Receipt),
    /// What came is not the agents' protocol.
    #[error("cannot understand what answers there: {0}; is it a gateway, and of the same version?")]
    Protocol(#[from] DecodeError),
}

impl ClientError {
    /// Whether a new connection may help: the gateway is away, goes away, or has too much to do. Not after a newer
    /// session has taken over the name, which would take it back, and so on without end.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::NoGateway { .. } | Self::Lost(_) => true,
            Self::Refused(refusal) => {
                matches!(refusal.code, ErrorCode::ShuttingDown | ErrorCode::Overloaded | ErrorCode::TooLate)
            }
            Self::WrongGateway { .. }
            | Self::Known(_)
            | Self::WithoutTls(_)
            | Self::Overdue { .. }
            | Self::Undelivered(_)
            | Self::Protocol(_) => false,
        }
    }

    /// Whether a newer session has the agent's name now.
    #[must_use]
    pub fn is_taken_over(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.code == ErrorCode::NameTaken)
    }
}

/// What to do about a gateway that shows another certificate.
fn changed(address: &str, kept: Option<&Path>) -> String {
    let known = "if it lost its data directory, `mesh-gateway peers` there prints that fingerprint:";
    let otherwise = "otherwise somebody else answers at its address";
    match kept {
        None => format!("{known} then give that one, {otherwise}"),
        Some(file) => {
            let file = file.display();
            format!("{known} then remove the line of {address} from {file}, {otherwise}")
        }
    }
}

/// A connection that ended by itself.
pub(crate) fn lost(why: impl ToString) -> ClientError {
    ClientError::Lost(why.to_string())
}
