//! Where agents find the gateway, and why it may not listen there.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::limits::Limits;
use super::token::TokenCheck;

/// Connections that may wait to be taken, as far as the system allows. A guess: the thousand agents that a gateway is meant for, all at once.
pub(super) const BACKLOG: i32 = 1_024;

/// Where agents find the gateway, and what is asked of them.
#[derive(Clone, Debug)]
pub struct Listen {
    /// The TCP address; port 0 takes a free one.
    pub tcp: Option<SocketAddr>,
    /// The path of the Unix socket. Its mode lets in this gateway's user and root alone, and they are asked for no token; where
    /// somebody has changed that mode, others are asked as over TCP.
    pub unix: Option<PathBuf>,
    /// The tokens asked for over TCP.
    pub token: TokenCheck,
    /// The limits.
    pub limits: Limits,
}

/// Why the gateway cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Others on the network could connect, and nothing is asked of them.
    #[error(
        "cannot listen on {0}: others on the network could send in your name; make an access token with `mesh-gateway token \
         add NAME`, or use 127.0.0.1"
    )]
    NeedsToken(SocketAddr),
    /// The TCP port cannot be had.
    #[error("cannot listen on {address}: {why}; stop what uses the port or choose another one")]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        why: io::Error,
    },
    /// A gateway answers on the Unix socket.
    #[error("cannot listen on {}: another gateway answers there; stop it or choose another path", .0.display())]
    InUse(PathBuf),
    /// Something else is at the place of the Unix socket.
    #[error("cannot listen on {}: a file that is no socket is there; move it or choose another path", .0.display())]
    NotASocket(PathBuf),
    /// The Unix socket cannot be made.
    #[error("cannot listen on {}: {why}; choose a path in a folder the gateway may write", path.display())]
    Unix {
        /// The path.
        path: PathBuf,
        /// What the system says.
        why: io::Error,
    },
}
