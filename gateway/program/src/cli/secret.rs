//! Where a secret that a command has made goes: a file of its own, or standard output.
//!
//! Owns that nobody but this user can read the file, and the warning where standard output leads to one that others can.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use gateway::datadir;

use super::fault::{Code, Failure};
use super::output::Output;

use crate::stdout::raw;

/// What takes one secret.
pub(super) enum SecretSink {
    Stdout,
    /// Empty so far; it goes again if nothing comes.
    File {
        path: PathBuf,
        file: File,
        filled: bool,
    },
}

impl SecretSink {
    /// The new file of that name, or standard output. To be had before the secret is made: what cannot be kept costs nothing.
    pub(super) fn open(path: Option<&Path>, what: &str, out: Output) -> anyhow::Result<Self> {
        let Some(path) = path else {
            if shown_to_others() {
                out.note(format_args!(
                    "standard output is a file that others can read: run `chmod 600` on it, or use --out FILE next time"
                ));
            }
            return Ok(Self::Stdout);
        };
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = made.map_err(|why| match why.kind() {
            io::ErrorKind::AlreadyExists => Failure(
                Code::Exists,
                format!(
                    "writing {what} to {}: it is there already; name a new file, or remove that one",
                    path.display()
                ),
            ),
            _ => Failure(
                Code::Io,
                format!(
                    "writing {what} to {}: {why}; check the path and that this user may write there",
                    path.display()
                ),
            ),
        })?;
        Ok(Self::File { path: path.to_owned(), file, filled: false })
    }

    /// Brings the secret there, to the disk where it is a file.
    pub(super) fn put(&mut self, secret: &[u8]) -> anyhow::Result<()> {
        match self {
            Self::Stdout => raw(secret),
            Self::File { path, file, filled } => {
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                let parent = parent.unwrap_or(Path::new("."));
                let written = file.write_all(secret).and_then(|()| file.sync_all());
                written
                    .and_then(|()| datadir::sync_folder(parent))
                    .with_context(|| format!("writing to {}", path.display()))?;
                *filled = true;
                Ok(())
            }
        }
    }

    /// Where it is now, for people.
    pub(super) fn about(&self) -> String {
        match self {
            Self::Stdout => "this line".to_owned(),
            Self::File { path, .. } => path.display().to_string(),
        }
    }
}

impl Drop for SecretSink {
    fn drop(&mut self) {
        if let Self::File { path, filled: false, .. } = self {
            // At worst an empty file stays.
            let _ = fs::remove_file(path);
        }
    }
}

/// Whether standard output is a file that others can read.
fn shown_to_others() -> bool {
    let file = io::stdout().as_fd().try_clone_to_owned().map(File::from);
    file.is_ok_and(|file| {
        file.metadata().is_ok_and(|about| about.is_file()) && datadir::open_to_others(&file).unwrap_or(false)
    })
}
