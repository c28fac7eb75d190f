//! A small file beside the store that says how many commits it has had: a store that lost some is noticed.
//!
//! It is written behind each commit and not synced, so it costs no waiting; after a power cut it may say too little,
//! never too much. What cannot be read says nothing.

use std::fs::{File, OpenOptions};
use std::io::Result;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// The number and its complement, so that damage is not taken for a number.
const LEN: usize = 16;

/// See the module. Without a file it knows nothing.
#[derive(Debug, Default)]
pub(super) struct Witness(Option<File>);

impl Witness {
    /// The witness of a store, made if it is missing.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let options =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        options.map(|file| Self(Some(file)))
    }

    /// How many commits it knows of.
    pub(super) fn commits(&self) -> Option<u64> {
        let mut bytes = [0; LEN];
        self.0.as_ref()?.read_exact_at(&mut bytes, 0).ok()?;
        let (number, complement) = bytes.split_at(LEN / 2);
        let number = u64::from_le_bytes(number.try_into().ok()?);
        (u64::from_le_bytes(complement.try_into().ok()?) == !number).then_some(number)
    }

    /// There have been so many.
    pub(super) fn saw(&self, commits: u64) {
        let Some(file) = &self.0 else { return };
        let mut bytes = [0; LEN];
        bytes[..LEN / 2].copy_from_slice(&commits.to_le_bytes());
        bytes[LEN / 2..].copy_from_slice(&(!commits).to_le_bytes());
        // It is what is there beside the database's own checks: a full disk, say, is told of by those.
        let _ = file.write_all_at(&bytes, 0);
    }
}
