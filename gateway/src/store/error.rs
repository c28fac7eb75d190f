//! Why the store cannot be opened or written, and what helps.

use std::path::PathBuf;

use thiserror::Error;

/// What helps where numbers may be used twice: numbers of an address that nobody has used.
pub(crate) const NEW_ADDRESS: &str = "give this gateway a new address: on the network's owner run `mesh-gateway invite NEW-NAME`, here \
     run `mesh-gateway init --invite -` with an empty data directory (operations.md, \"A new address\")";

/// Why the store cannot be opened or written.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum StoreError {
    /// Another process has the file open.
    #[error(
        "opening the message store {path}: another process has it open; stop the other mesh-gateway first"
    )]
    AlreadyOpen {
        /// The store's file.
        path: PathBuf,
    },
    /// The file is damaged, or something else of that name.
    #[error(
        "opening the message store {path}: it is damaged or not a message store ({reason}), and with it the record of the \
         sequence numbers used; do not put a copy back, they would be used twice, which betrays what was sent: {NEW_ADDRESS}"
    )]
    Damaged {
        /// The store's file.
        path: PathBuf,
        /// What the database found.
        reason: String,
    },
    /// The same, of a network whose key is made anew at each start, so that no number can be used twice.
    #[error(
        "opening the message store {path}: it is damaged or not a message store ({reason}); move it away to start \
         with an empty one, messages in it are lost"
    )]
    DamagedFresh {
        /// The store's file.
        path: PathBuf,
        /// What the database found.
        reason: String,
    },
    /// Another version wrote it.
    #[error(
        "opening the message store {path}: it has format {found}, this program knows format {known}; run the version \
         of mesh-gateway that wrote it"
    )]
    Format {
        /// The store's file.
        path: PathBuf,
        /// The file's format.
        found: u32,
        /// This program's format.
        known: u32,
    },
    /// The operating system refused the file.
    #[error("opening the message store {path}: {reason}; check the disk and that this user may write there")]
    Open {
        /// The store's file.
        path: PathBuf,
        /// The operating system's reason.
        reason: String,
    },
    /// The file has had more commits than it holds.
    #[error(
        "opening the message store {path}: it is older than what was written last, {found} commits of {known}, as an old copy or \
         a disk that lost its writes is, and sequence numbers used since would be used twice, which betrays what was sent: \
         {NEW_ADDRESS}"
    )]
    Older {
        /// The store's file.
        path: PathBuf,
        /// Commits in it.
        found: u64,
        /// Commits that there were.
        known: u64,
    },
    /// A group could not be written. It is tried again.
    #[error(
        "writing to the message store {path}: {reason}; what was accepted before is safe, and durable messages are refused until \
         it can be written: make room or check the disk, it is tried again by itself"
    )]
    Failed {
        /// The store's file.
        path: PathBuf,
        /// The database's reason.
        reason: String,
    },
    /// Nothing is written any more.
    #[error(
        "writing to the message store {path}: {reason}; what was accepted before is safe, durable messages are refused from now on: \
         restart mesh-gateway"
    )]
    Stopped {
        /// The store's file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl StoreError {
    /// Why, without what was attempted.
    pub(super) fn into_reason(self) -> String {
        match self {
            Self::Open { reason, .. } | Self::Damaged { reason, .. } | Self::Failed { reason, .. } => reason,
            other => other.to_string(),
        }
    }

    /// The same, of a network whose key is made anew at each start.
    #[must_use]
    pub fn of_a_fresh_key(self) -> Self {
        match self {
            Self::Damaged { path, reason } => Self::DamagedFresh { path, reason },
            other => other,
        }
    }
}
