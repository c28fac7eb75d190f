//! The access token that agents must show: reading its file. Comparing it is the agent session's business.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use mesh_agent::api::codec::byte_order_mark;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::datadir;

/// The fewest characters: 96 bits when drawn as base64.
const MIN_LEN: usize = 16;
/// The most characters: a guess.
const MAX_LEN: usize = 256;

/// Why an access token cannot be used. None of these repeats any of it.
#[derive(Debug, Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error(
        "reading the access token {path}: {source}; check the path (--token-file of a command, agents.access_token_file of the gateway) and that this user may read it"
    )]
    Read {
        /// The token's file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// Others may read it.
    #[error("reading the access token {path}: others than its owner may read it; run `chmod 600 {path}`")]
    Exposed {
        /// The token's file.
        path: PathBuf,
    },
    /// It is text of another kind than is read here.
    #[error("reading the access token {path}: {mark}; save it as UTF-8 without one")]
    Marked {
        /// The token's file.
        path: PathBuf,
        /// What its first bytes say.
        mark: &'static str,
    },
    /// It is no token.
    #[error(
        "reading the access token {path}: it must be one line of {MIN_LEN} to {MAX_LEN} printable ASCII characters; \
         make one with `openssl rand -base64 24 > {path}`"
    )]
    Form {
        /// The token's file.
        path: PathBuf,
    },
}

/// The token that agents must show. It is wiped when dropped and shows nothing of itself in debug texts.
#[derive(Clone)]
pub struct AccessToken(Zeroizing<String>);

impl AccessToken {
    /// The token of this text; `None` unless it is 16 to 256 printable ASCII characters without a space.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let sound = (MIN_LEN..=MAX_LEN).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        sound.then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// Reads the token from a file that only its owner may read.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        let read_error = |source| TokenError::Read { path: path.to_owned(), source };
        let form_error = || TokenError::Form { path: path.to_owned() };
        let file = File::open(path).map_err(read_error)?;
        if datadir::open_to_others(&file).map_err(read_error)? {
            return Err(TokenError::Exposed { path: path.to_owned() });
        }
        // One more than fits with its line end, so that a longer one is noticed.
        let limit = MAX_LEN + 3;
        let mut bytes = Zeroizing::new(Vec::with_capacity(limit));
        file.take(limit as u64).read_to_end(&mut bytes).map_err(read_error)?;
        if let Some(mark) = byte_order_mark(&bytes) {
            return Err(TokenError::Marked { path: path.to_owned(), mark });
        }
        let line = std::str::from_utf8(&bytes).map_err(|_| form_error())?;
        Self::new(line.trim_end_matches(['\r', '\n'])).ok_or_else(form_error)
    }

    /// The token. Compare it in constant time.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken(..)")
    }
}
