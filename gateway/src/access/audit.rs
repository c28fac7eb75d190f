//! The audit log: who sent what where, what was refused and who was not let in, one JSON object a line; never a body.
//!
//! Owns that who has something to note never waits for the disk: one thread writes (`audit_file`), and what an entry looks like is
//! `audit_entry`'s. What does not fit because the disk is slow, or fails, is counted and lost. Whoever is not let
//! in is noted seldom enough that nobody without a token can fill the disk, or push out what agents did.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::watch;

use super::Bucket;
use super::audit_entry::{Entry, NotLetIn};
use super::audit_file::{Job, Log};

/// The log's name in the data directory.
pub const AUDIT_FILE: &str = "audit.log";
/// The size at which the log becomes `audit.log.1`, and the one before goes. A guess: some 300,000 entries, so that both together are
/// little on a card of some gigabytes.
const MAX_FILE: u64 = 64 << 20;
/// Entries that may wait for the disk. A guess: a second of the most that agents send, some 2 MiB.
const WAITING: usize = 8_192;
/// How long the end waits for the last entries. A guess.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How many that were not let in are noted. A guess: the first ones of an attack at once, and then at most 2 MB a day.
const NOT_LET_IN: &str = "10/m";

/// Why there is no audit log.
#[derive(Debug, thiserror::Error)]
#[error("opening the audit log {path}: {source}; make room, or set agents.audit to false")]
pub struct AuditError {
    path: PathBuf,
    source: io::Error,
}

/// Where entries go. A clone is the same log.
#[derive(Clone, Default)]
pub struct Audit(Option<Arc<Desk>>);

struct Desk {
    lines: SyncSender<Job>,
    dropped: Arc<AtomicU64>,
    not_let_in: Mutex<NotLetInBudget>,
    /// Closed when the thread that writes is gone.
    writing: watch::Receiver<()>,
}

/// Who was not let in: what is left of the rate at which that is noted, and how many were not noted.
struct NotLetInBudget {
    bucket: Bucket,
    unnoted: u64,
}

impl Audit {
    /// No log.
    #[must_use]
    pub const fn off() -> Self {
        Self(None)
    }

    /// The log in this folder, which is gone on with if it is there.
    ///
    /// # Errors
    /// [`AuditError`].
    pub fn open(folder: &Path) -> Result<Self, AuditError> {
        Self::with(folder.join(AUDIT_FILE), MAX_FILE, WAITING)
    }

    fn with(path: PathBuf, most: u64, waiting: usize) -> Result<Self, AuditError> {
        let error = |source| AuditError { path: path.clone(), source };
        let (lines, jobs) = sync_channel(waiting);
        let dropped = Arc::<AtomicU64>::default();
        let mut log = Log::open(path.clone(), most).map_err(error)?;
        let lost = Arc::clone(&dropped);
        let (writes, writing) = watch::channel(());
        let thread = thread::Builder::new().name("audit".into());
        let write = move || {
            let _writes = writes;
            log.run(&jobs, &lost);
        };
        thread.spawn(write).map_err(error)?;
        Ok(Self(Some(Arc::new(Desk::new(lines, dropped, writing)))))
    }

    /// Notes an entry, or counts it as dropped. Never waits.
    pub fn note(&self, entry: &Entry<'_>) {
        if let Some(desk) = &self.0 {
            desk.put(entry.line());
        }
    }

    /// Notes that somebody was not let in; if that happens often, only every so often, with how many were not noted since. Never
    /// waits.
    pub fn note_not_let_in(&self, who: &NotLetIn, now: mesh_protocol::Instant) {
        let Some(desk) = &self.0 else { return };
        let unnoted = {
            // Two numbers that are whole between any two statements.
            let mut budget = desk.not_let_in.lock().unwrap_or_else(PoisonError::into_inner);
            if budget.bucket.take(now).is_err() {
                budget.unnoted += 1;
                return;
            }
            std::mem::take(&mut budget.unnoted)
        };
        desk.put(who.line(unnoted));
    }

    /// Entries that were lost, or that may be because they could not be synced.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.as_ref().map_or(0, |desk| desk.dropped.load(Ordering::Relaxed))
    }

    /// Has the file opened anew, for whoever moved or removed it. Never waits: it is seen with the next entry at the latest.
    pub fn reopen(&self) {
        if let Some(desk) = &self.0 {
            let _ = desk.lines.try_send(Job::Reopen);
        }
    }

    /// Waits until the log is not written any more, which it always is unless something is broken. Cancel safe.
    pub async fn ended(&self) {
        let Some(desk) = &self.0 else { return std::future::pending().await };
        let mut writing = desk.writing.clone();
        while writing.changed().await.is_ok() {}
    }

    /// Waits until what was noted is written and synced, for a bounded time: the disk may be slow.
    pub fn finish(&self) {
        if let Some(desk) = &self.0 {
            let (done, written) = sync_channel(1);
            // Without a writer, or a writer in time, there is nothing to wait for.
            if desk.lines.try_send(Job::Flush(done)).is_ok() {
                let _ = written.recv_timeout(LAST_WORDS);
            }
        }
    }
}

impl Desk {
    fn new(lines: SyncSender<Job>, dropped: Arc<AtomicU64>, writing: watch::Receiver<()>) -> Self {
        let bucket = Bucket::new(NOT_LET_IN.parse().expect("a rate"));
        Self { lines, dropped, not_let_in: Mutex::new(NotLetInBudget { bucket, unnoted: 0 }), writing }
    }

    fn put(&self, line: String) {
        if self.lines.try_send(Job::Line(line)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Audit(on)" } else { "Audit(off)" })
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::PermissionsExt;
    use std::time::Instant;

    use mesh_agent::api::{Body, ErrorCode, MessageRef, Name, SendRequest};
    use mesh_protocol::{Address, MessageId, MessageType};

    use serde_json::{Value, json};

    use super::super::audit_entry::{AuditVerdict, Caller};
    use super::super::audit_file::Unsynced;
    use super::*;

    fn note(audit: &Audit, verdict: AuditVerdict) {
        let mut send = SendRequest::new("bob".parse().unwrap(), MessageType::Task, Body::text("a secret"));
        send.reference = Some(7);
        let (agent, token) = (Name::new("alice").unwrap(), Name::new("sensor").ok());
        let caller = Caller::Ip("[::ffff:192.0.2.7]:51234".parse().unwrap());
        audit.note(&Entry { session: 3, caller, agent, token, send: &send, verdict });
    }

    fn id() -> MessageRef {
        MessageRef { node: Address::new(1), id: MessageId(17) }
    }

    #[test]
    fn an_entry_says_who_sent_what_where_and_no_body() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(AUDIT_FILE);
        fs::write(&path, "{\"at_ms\":1,\"half a line, from a power cu").unwrap();
        let audit = Audit::open(folder.path()).unwrap();
        note(&audit, AuditVerdict::Accepted(id()));
        note(&audit, AuditVerdict::Again(id()));
        note(&audit, AuditVerdict::Refused(ErrorCode::Unauthorised));
        audit.finish();
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains("secret"), "{text}");
        let mut entries: Vec<Value> =
            text.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
        for entry in &mut entries {
            assert!(entry.as_object_mut().unwrap().remove("at_ms").is_some_and(|at| at.is_u64()));
        }
        let with = |key: &str, value: &str| {
            let mut entry = json!({
                "session": 3, "from": "192.0.2.7:51234", "agent": "alice", "token": "sensor", "ref": 7, "to": "bob", "type": "TASK",
                "priority": "MEDIUM", "bytes": 8,
            });
            entry[key] = json!(value);
            entry
        };
        assert_eq!(
            entries,
            [with("id", "0x0001/17"), with("again", "0x0001/17"), with("refused", "unauthorised")]
        );
        assert_eq!(audit.dropped(), 0);
    }

    #[test]
    fn the_log_is_its_owners_goes_on_and_keeps_two_files_at_the_most() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(AUDIT_FILE);
        for round in 0..4 {
            let audit = Audit::with(path.clone(), 1_000, WAITING).unwrap();
            for _ in 0..5 {
                note(&audit, AuditVerdict::Accepted(id()));
                audit.finish();
            }
            let names = fs::read_dir(folder.path()).unwrap().count();
            assert!(names <= 2, "round {round}: {names} files");
        }
        for name in ["audit.log", "audit.log.1"] {
            let path = folder.path().join(name);
            let about = fs::metadata(&path).unwrap();
            assert_eq!(about.permissions().mode() & 0o777, 0o600);
            assert!(about.len() <= 1_000, "{name} has {} bytes", about.len());
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{text}");
        }
    }

    #[tokio::test]
    async fn a_log_that_was_moved_or_removed_goes_on_in_a_new_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(AUDIT_FILE);
        let audit = Audit::open(folder.path()).unwrap();
        let lines = |path: &Path| fs::read_to_string(path).unwrap().lines().count();
        note(&audit, AuditVerdict::Accepted(id()));
        audit.finish();
        fs::rename(&path, folder.path().join("moved")).unwrap();
        // By itself, with the next entry.
        note(&audit, AuditVerdict::Accepted(id()));
        note(&audit, AuditVerdict::Accepted(id()));
        audit.finish();
        assert_eq!((lines(&folder.path().join("moved")), lines(&path)), (1, 2));
        // At once, for whoever asks.
        fs::remove_file(&path).unwrap();
        audit.reopen();
        audit.finish();
        assert_eq!((lines(&path), audit.dropped()), (0, 0));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_the_disk_does_not_take_is_counted_and_nobody_waits() {
        // Nobody takes from this one: the disk is as slow as can be.
        let (lines, _jobs) = sync_channel(2);
        let audit = Audit(Some(Arc::new(Desk::new(lines, Arc::default(), watch::channel(()).1))));
        for _ in 0..5 {
            note(&audit, AuditVerdict::Accepted(id()));
        }
        assert_eq!(audit.dropped(), 3);
        let full = Audit::with("/dev/full".into(), MAX_FILE, WAITING).unwrap();
        note(&full, AuditVerdict::Accepted(id()));
        full.finish();
        assert_eq!(full.dropped(), 1);
    }

    #[test]
    fn what_is_written_is_synced_within_a_second_of_its_first_entry() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(folder.path().join(AUDIT_FILE), 100).unwrap();
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        for ms in [0, 300, 999] {
            log.write("{}\n", 2, at(ms)).unwrap();
        }
        assert_eq!(log.unsynced, Some(Unsynced { entries: 6, due: at(1_000) }));
        assert_eq!((log.sync(), log.unsynced), (0, None));
        assert_eq!(log.sync(), 0, "nothing is synced twice");
        log.write("{}\n", 1, at(5_000)).unwrap();
        assert_eq!(log.unsynced, Some(Unsynced { entries: 1, due: at(6_000) }));
        // The file that is put aside is synced first, so that only the new one's entries wait.
        log.write(&format!("{}\n", "x".repeat(99)), 1, at(5_500)).unwrap();
        assert_eq!(log.unsynced, Some(Unsynced { entries: 1, due: at(6_500) }));
    }

    #[test]
    fn the_end_syncs_and_what_cannot_be_synced_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let (lines, jobs) = sync_channel(4);
        lines.send(Job::Line("{}\n".to_owned())).unwrap();
        drop(lines);
        let (mut log, dropped) = (Log::open(folder.path().join(AUDIT_FILE), 100).unwrap(), AtomicU64::new(0));
        log.run(&jobs, &dropped);
        assert_eq!((log.unsynced, dropped.into_inner()), (None, 0));

        // A pipe takes bytes and knows no sync.
        let (_reader, writer) = io::pipe().unwrap();
        log.file = File::from(std::os::fd::OwnedFd::from(writer));
        log.write("{}\n{}\n", 2, Instant::now()).unwrap();
        assert_eq!((log.sync(), log.torn), (2, true));
    }

    #[test]
    fn a_crowd_that_is_not_let_in_does_not_fill_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let audit = Audit::open(folder.path()).unwrap();
        let who = |session| NotLetIn {
            session,
            caller: Caller::Unix,
            agent: Name::new("mallory").ok(),
            token: None,
            code: ErrorCode::Unauthorised,
        };
        let at = |ms| mesh_protocol::Instant::from_micros(1_000_000_000 + ms * 1_000);
        // A thousand in a second, and one when the next is due to be noted.
        for n in 0..1_000 {
            audit.note_not_let_in(&who(n), at(n));
        }
        audit.note_not_let_in(&who(1_000), at(6_000));
        note(&audit, AuditVerdict::Accepted(id()));
        audit.finish();
        let text = fs::read_to_string(folder.path().join(AUDIT_FILE)).unwrap();
        let entries: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(entries.len(), 12, "{text}");
        assert_eq!(entries[9]["session"], 9);
        assert_eq!(entries[9].get("unnoted"), None);
        let mut last = entries[10].clone();
        assert!(last.as_object_mut().unwrap().remove("at_ms").is_some());
        let wanted = json!({"session": 1_000, "from": "unix", "agent": "mallory", "not_let_in": "unauthorised", "unnoted": 990});
        assert_eq!(last, wanted);
        assert_eq!(entries[11]["id"], "0x0001/17", "agents' own entries have no such bound");
        assert_eq!(audit.dropped(), 0);
    }
}
