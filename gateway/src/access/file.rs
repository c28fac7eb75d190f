//! The file of access tokens, `tokens.toml` in the data directory: digests and what they allow, never a token.
//!
//! Owns reading it, and changing it so that a gateway that reads meanwhile sees the old or the new list. What a token
//! allows is [`Grant`]'s.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mesh_agent::api::Name;
use mesh_agent::api::codec::byte_order_mark;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Digest, Grant};
use crate::datadir;

/// The file's name in the data directory.
pub const TOKENS_FILE: &str = "tokens.toml";
/// Held while the file changes; the file itself cannot be locked, as each change replaces it.
const LOCK_FILE: &str = "tokens.lock";
/// The layout of the file.
const VERSION: u32 = 1;
/// The most tokens. A guess: one for each agent that a gateway is meant for; every hello is compared with all of them.
const MAX_TOKENS: usize = 1_000;
/// The most patterns of a kind in a token. A guess, as many as an agent has groups.
const MAX_PATTERNS: usize = 64;
/// More than that many tokens with a dozen patterns each take, so that a wrong file is not read whole: a guess.
const MAX_LEN: u64 = 1 << 20;
/// Random bytes in a token: 192 bits, half as many again as nobody can try.
const RANDOM: usize = 24;
/// How a token begins, so that one that lies about is recognised.
const PREFIX: &str = "mgt_";

const HEAD: &str = "\
# Access tokens of this gateway: their SHA-256 and what each allows. A running gateway notices changes within a second.
# Change it with `mesh-gateway token`. While this file is here, agents over TCP must show a token.
";

/// Why the file of tokens cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The operating system refused.
    #[error("{doing} {path}: {source}; check the disk and that this user may read and write there")]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// Others may change it, and so let themselves in.
    #[error(
        "reading the access tokens {path}: others than its owner may read or change it; run `chmod 600 {path}`"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// It is no such file.
    #[error(
        "reading the access tokens {path}: {why}; correct that line, or make the tokens again with `mesh-gateway token`"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// There is one of that name.
    #[error(
        "adding the access token {0}: there is one of that name; remove it with `mesh-gateway token remove {0}`, or take another name"
    )]
    Exists(Name),
    /// There are too many, or they allow too much in detail.
    #[error(
        "adding the access token {0}: a gateway keeps {MAX_TOKENS} tokens, {MAX_PATTERNS} destinations and names of each, and {MAX_LEN} \
         bytes of them together; remove some with `mesh-gateway token remove NAME`"
    )]
    Full(Name),
    /// There is none of that name.
    #[error(
        "removing the access token {0}: there is none of that name; `mesh-gateway token list` shows them"
    )]
    Unknown(Name),
    /// The system gives no random numbers.
    #[error("drawing an access token: the system gives no random numbers; try again later")]
    NoRandomness,
}

/// A token that was just drawn, to be shown once. It is wiped when dropped and shows nothing of itself in debug texts.
pub struct Secret(Zeroizing<String>);

impl Secret {
    fn draw() -> Result<Self, AccessError> {
        let mut bytes = Zeroizing::new([0; RANDOM]);
        getrandom::fill(bytes.as_mut_slice()).map_err(|_| AccessError::NoRandomness)?;
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + RANDOM * 4 / 3));
        text.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(bytes.as_slice(), &mut text);
        Ok(Self(text))
    }

    /// The token.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    version: u32,
    /// Tokens that were removed together with what they sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    purged: Vec<Name>,
    #[serde(rename = "token", default)]
    tokens: Vec<Grant>,
}

/// What stands in a file of tokens.
#[derive(Debug, Default)]
pub struct TokenFile {
    /// Those that are let in.
    pub tokens: Vec<Grant>,
    /// The names of those that were removed together with what they sent.
    pub purged: Vec<Name>,
}

/// What stands in this file of tokens; `None` if there is no such file.
///
/// # Errors
/// [`AccessError::Io`], [`AccessError::Exposed`] or [`AccessError::Damaged`].
pub fn read_file(path: &Path) -> Result<Option<TokenFile>, AccessError> {
    let io_error =
        |source| AccessError::Io { doing: "reading the access tokens", path: path.to_owned(), source };
    let damaged = |why: String| AccessError::Damaged { path: path.to_owned(), why };
    let file = match File::open(path) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(io_error)?,
    };
    if datadir::open_to_others(&file).map_err(io_error)? {
        return Err(AccessError::Exposed { path: path.to_owned() });
    }
    let mut bytes = Vec::new();
    file.take(MAX_LEN + 1).read_to_end(&mut bytes).map_err(io_error)?;
    if bytes.len() as u64 > MAX_LEN {
        return Err(damaged(format!("it is longer than {MAX_LEN} bytes")));
    }
    let text = String::from_utf8(bytes).map_err(|error| match byte_order_mark(error.as_bytes()) {
        Some(mark) => damaged(format!("line 1: {mark}, and is to be UTF-8")),
        None => io_error(io::Error::new(io::ErrorKind::InvalidData, error)),
    })?;
    let Text { version, tokens, purged } = toml::from_str(&text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        damaged(format!("line {line}: {}", error.message()))
    })?;
    if version != VERSION {
        return Err(damaged(format!("it has the layout {version}, and this mesh-gateway reads {VERSION}")));
    }
    let most = tokens.len().max(purged.len());
    if most > MAX_TOKENS {
        return Err(damaged(format!("it has {most} tokens and {MAX_TOKENS} is the most")));
    }
    for (at, token) in tokens.iter().enumerate() {
        if tokens[..at].iter().any(|other| other.name == token.name || other.sha256 == token.sha256) {
            return Err(damaged(format!("the token {} is in it twice", token.name)));
        }
    }
    Ok(Some(TokenFile { tokens, purged }))
}

/// The tokens of this data directory; `None` if it has no file of them.
///
/// # Errors
/// As [`read_file`].
pub fn read_dir(data_dir: &Path) -> Result<Option<Vec<Grant>>, AccessError> {
    Ok(read_file(&data_dir.join(TOKENS_FILE))?.map(|file| file.tokens))
}

fn write(path: &Path, tokens: Vec<Grant>, purged: Vec<Name>) -> Result<(), AccessError> {
    let io_error =
        |source| AccessError::Io { doing: "writing the access tokens", path: path.to_owned(), source };
    let name = tokens.last().map(|token| token.name);
    let text = toml::to_string(&Text { version: VERSION, tokens, purged })
        .map_err(|why| io_error(io::Error::other(why)))?;
    let text = format!("{HEAD}{text}");
    match name {
        Some(name) if text.len() as u64 > MAX_LEN => Err(AccessError::Full(name)),
        _ => datadir::atomic_write(path, text.as_bytes(), 0o600).map_err(io_error),
    }
}

/// Draws a token and keeps its digest with what it allows: `grant` makes that of the digest.
///
/// # Errors
/// [`AccessError`]; nothing has changed then.
pub fn add(data_dir: &Path, grant: impl FnOnce(Digest) -> Grant) -> Result<(Secret, Grant), AccessError> {
    let _lock = lock(data_dir)?;
    let path = data_dir.join(TOKENS_FILE);
    let TokenFile { mut tokens, mut purged } = read_file(&path)?.unwrap_or_default();
    let secret = Secret::draw()?;
    let grant = grant(Digest::of(secret.as_str()));
    if tokens.iter().any(|token| token.name == grant.name) {
        return Err(AccessError::Exists(grant.name));
    }
    if tokens.len() >= MAX_TOKENS || grant.to.len() > MAX_PATTERNS || grant.names.len() > MAX_PATTERNS {
        return Err(AccessError::Full(grant.name));
    }
    tokens.push(grant.clone());
    purged.retain(|name| *name != grant.name);
    write(&path, tokens, purged)?;
    Ok((secret, grant))
}

/// Forgets a token; to `purge` is to take out what waits for the air of what it sent, too. How many are left.
///
/// # Errors
/// [`AccessError`]; nothing has changed then.
pub fn remove(data_dir: &Path, name: &Name, purge: bool) -> Result<usize, AccessError> {
    let _lock = lock(data_dir)?;
    let path = data_dir.join(TOKENS_FILE);
    let TokenFile { mut tokens, mut purged } = read_file(&path)?.unwrap_or_default();
    let before = tokens.len();
    tokens.retain(|token| token.name != *name);
    if tokens.len() == before {
        return Err(AccessError::Unknown(*name));
    }
    let left = tokens.len();
    if purge {
        // What the oldest ones sent has long been taken out.
        let too_many = (purged.len() + 1).saturating_sub(MAX_TOKENS);
        purged.drain(..too_many);
        purged.push(*name);
    }
    write(&path, tokens, purged)?;
    Ok(left)
}

/// Waits until nobody else changes the file; dropping the lock ends it.
fn lock(data_dir: &Path) -> Result<File, AccessError> {
    let path = data_dir.join(LOCK_FILE);
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .and_then(|file| file.lock().map(|()| file))
        .map_err(|source| AccessError::Io { doing: "locking the access tokens with", path, source })
}
