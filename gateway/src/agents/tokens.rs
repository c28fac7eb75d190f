//! The access tokens as the file of them says now, each with what was taken of it and who came with it.
//!
//! Owns noticing that the file has changed, or that the time of a token is over, and telling those who wait for that. Who is let in
//! with which is [`super::token`]'s.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mesh_agent::api::Name;
use subtle::{ConditionallySelectable, ConstantTimeEq};
use tokio::sync::watch;

use super::presence::Present;
use crate::access::{self, AccessError, Bucket, Calendar, Digest, Grant, TokenFile};

pub(super) type Tokens = Vec<Arc<Held>>;

/// A token in use.
pub(super) struct Held {
    pub(super) grant: Grant,
    /// What was taken of its rate, by all sessions with it.
    pub(super) bucket: Option<Mutex<Bucket>>,
    /// What was taken of the questions that it may ask.
    pub(super) questions: Option<Mutex<Bucket>>,
    /// The sessions with it.
    pub(super) present: Present,
    /// Whether its time was over when that was looked at last.
    pub(super) expired: AtomicBool,
}

/// The token of this digest. All are compared, whichever it is.
pub(super) fn find(tokens: &[Arc<Held>], digest: &Digest) -> Option<Arc<Held>> {
    // Its place, counted from 1.
    let mut place = 0_u32;
    for (at, held) in (1_u32..).zip(tokens) {
        place.conditional_assign(&at, held.grant.sha256.bytes().ct_eq(digest.bytes()));
    }
    tokens.get((place as usize).checked_sub(1)?).cloned()
}

/// The file of tokens, and what it said last.
pub(super) struct Watched {
    path: PathBuf,
    pub(super) calendar: Calendar,
    stamp: Mutex<Option<Stamp>>,
    /// Whether it was ever there.
    pub(super) asked: AtomicBool,
    pub(super) now: watch::Sender<Tokens>,
    /// Tokens that were removed together with what they sent.
    pub(super) purged: Mutex<Vec<Name>>,
}

/// What tells a file from the one that was there before: each change by `mesh-gateway token` makes another file.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> io::Result<Option<Self>> {
        match std::fs::metadata(path) {
            Ok(about) => Ok(Some(Self {
                inode: about.ino(),
                len: about.len(),
                modified: (about.mtime(), about.mtime_nsec()),
                changed: (about.ctime(), about.ctime_nsec()),
            })),
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(why) => Err(why),
        }
    }
}

impl Watched {
    pub(super) fn open(path: PathBuf, calendar: Calendar) -> Result<Self, AccessError> {
        // Before reading: what changes in between is read again.
        let stamp = Stamp::of(&path).ok().flatten();
        let found = access::read_file(&path)?;
        let asked = AtomicBool::new(found.is_some());
        let TokenFile { tokens: grants, purged } = found.unwrap_or_default();
        let now = watch::Sender::new(held(grants, &[]));
        Ok(Self { path, calendar, stamp: Mutex::new(stamp), asked, now, purged: Mutex::new(purged) })
    }

    /// Reads the file if it is another one than before, and looks whose time is over.
    pub(super) fn refresh(&self) {
        self.read_again();
        let now = self.calendar.now();
        let mut changed = false;
        for held in self.now.borrow().iter() {
            let expired = held.grant.expires.is_some_and(|expires| expires.is_over(now));
            if held.expired.swap(expired, Ordering::Relaxed) != expired {
                let what =
                    if expired { "an access token has expired" } else { "an access token is good again" };
                tracing::info!(token = %held.grant.name, "{what}");
                changed = true;
            }
        }
        if changed {
            // Those who wait look at their own.
            self.now.send_modify(|_| ());
        }
    }

    /// Small and rarely changed: it is not worth a thread of its own.
    fn read_again(&self) {
        let mut stamp = self.stamp.lock().unwrap_or_else(PoisonError::into_inner);
        // What cannot be looked at now is as it was.
        let Ok(found) = Stamp::of(&self.path) else { return };
        if found == *stamp {
            return;
        }
        *stamp = found;
        match access::read_file(&self.path) {
            Ok(found) => {
                if found.is_some() {
                    self.asked.store(true, Ordering::Relaxed);
                }
                let TokenFile { tokens: grants, purged } = found.unwrap_or_default();
                *self.purged.lock().unwrap_or_else(PoisonError::into_inner) = purged;
                tracing::info!(tokens = grants.len(), "the access tokens have changed");
                let tokens = held(grants, &self.now.borrow());
                self.now.send_replace(tokens);
            }
            // Cutting everyone off for a slip of the pen helps nobody; the commands make none.
            Err(why) => tracing::error!(%why, "the access tokens stay as they were"),
        }
    }
}

/// The tokens with what was taken of their rates before.
pub(super) fn held(grants: Vec<Grant>, before: &[Arc<Held>]) -> Tokens {
    let kept = |grant: &Grant| {
        before.iter().find(|held| held.grant == *grant).cloned().unwrap_or_else(|| {
            let full = |rate| Mutex::new(Bucket::new(rate));
            let (bucket, questions) = (grant.rate.map(full), grant.questions().map(full));
            // Whatever was changed of it, its sessions are there.
            let known = before.iter().find(|held| held.grant.sha256 == grant.sha256);
            let present = known.map(|held| held.present.clone()).unwrap_or_default();
            let expired = AtomicBool::new(false);
            Arc::new(Held { grant: grant.clone(), bucket, questions, present, expired })
        })
    };
    grants.iter().map(kept).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_many_tokens_is_found() {
        let grants: Vec<_> = (0..1_000)
            .map(|n| Grant::new(Name::new(&format!("t{n}")).unwrap(), Digest::of(&n.to_string())))
            .collect();
        let tokens = held(grants, &[]);
        for n in 0..1_000 {
            let found = find(&tokens, &Digest::of(&n.to_string())).unwrap();
            assert_eq!(found.grant.name, Name::new(&format!("t{n}")).unwrap());
        }
        assert!(find(&tokens, &Digest::of("1000")).is_none());
    }
}
