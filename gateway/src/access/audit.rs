//! The audit log: who sent what where, and what was refused, one JSON object a line; never a body.
//!
//! Owns the form of an entry, the file `audit.log` and its size. One thread writes; who has something to note never waits
//! for it. What does not fit because the disk is slow, or fails, is counted and lost.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, SystemTime};

use mesh_agent::api::{ErrorCode, MessageRef, Name, SendRequest};
use serde_json::{Map, Value, json};

/// The log's name in the data directory.
pub const AUDIT_FILE: &str = "audit.log";
/// The size at which the log becomes `audit.log.1`, and the one before goes. A guess: some 300,000 entries, so that both together are
/// little on a card of some gigabytes.
const MAX_FILE: u64 = 64 << 20;
/// Entries that may wait for the disk. A guess: a second of the most that agents send, some 2 MiB.
const WAITING: usize = 8_192;
/// How much is put together for one write, in bytes. A guess.
const WRITE: usize = 64 * 1024;
/// How long the end waits for the last entries. A guess.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Why there is no audit log.
#[derive(Debug, thiserror::Error)]
#[error("opening the audit log {path}: {source}; make room, or set agents.audit to false")]
pub struct AuditError {
    path: PathBuf,
    source: io::Error,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It got this number.
    Accepted(MessageRef),
    /// It had this number already: its key was known.
    Again(MessageRef),
    /// It was refused.
    Refused(ErrorCode),
}

/// One message that somebody wanted to send.
#[derive(Debug)]
pub struct Entry<'a> {
    /// The session's number.
    pub session: u64,
    /// Who sent it.
    pub agent: Name,
    /// The token that was shown; `None` over the Unix socket, and where none is asked for.
    pub token: Option<Name>,
    /// The message.
    pub send: &'a SendRequest,
    /// What became of it.
    pub verdict: Verdict,
}

impl Entry<'_> {
    fn line(&self) -> String {
        let Self { session, agent, token, send, verdict } = self;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut entry = Map::new();
        let mut put = |key: &str, value: Value| entry.insert(key.to_owned(), value);
        put("at_ms", json!(u64::try_from(now.as_millis()).unwrap_or(u64::MAX)));
        put("session", json!(session));
        put("agent", json!(agent.as_str()));
        if let Some(token) = token {
            put("token", json!(token.as_str()));
        }
        if let Some(reference) = send.reference {
            put("ref", json!(reference));
        }
        put("to", json!(send.to.to_string()));
        put("type", json!(send.kind.name()));
        put("priority", json!(send.priority.name()));
        put("bytes", json!(send.body.len()));
        match verdict {
            Verdict::Accepted(id) => put("id", json!(id.to_string())),
            Verdict::Again(id) => put("again", json!(id.to_string())),
            Verdict::Refused(code) => put("refused", json!(code.to_string())),
        };
        format!("{}\n", Value::Object(entry))
    }
}

/// Where entries go. A clone is the same log.
#[derive(Clone, Default)]
pub struct Audit(Option<Arc<Desk>>);

struct Desk {
    lines: SyncSender<Job>,
    dropped: Arc<AtomicU64>,
}

enum Job {
    Line(String),
    /// Everything before it is to be written; then the answer.
    Flush(SyncSender<()>),
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
        let thread = thread::Builder::new().name("audit".into());
        thread.spawn(move || log.run(&jobs, &lost)).map_err(error)?;
        Ok(Self(Some(Arc::new(Desk { lines, dropped }))))
    }

    /// Notes an entry, or counts it as dropped. Never waits.
    pub fn note(&self, entry: &Entry<'_>) {
        if let Some(desk) = &self.0
            && desk.lines.try_send(Job::Line(entry.line())).is_err()
        {
            desk.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Entries that were lost.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.as_ref().map_or(0, |desk| desk.dropped.load(Ordering::Relaxed))
    }

    /// Waits until what was noted is written, for a bounded time: the disk may be slow.
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

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Audit(on)" } else { "Audit(off)" })
    }
}

/// The file, written by one thread.
struct Log {
    path: PathBuf,
    most: u64,
    file: File,
    len: u64,
    /// Whether the last write failed, so that half a line may stand at the end.
    torn: bool,
}

impl Log {
    fn open(path: PathBuf, most: u64) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path)?;
        let len = file.metadata()?.len();
        let mut last = [b'\n'];
        if len > 0 {
            file.read_exact_at(&mut last, len - 1)?;
        }
        // A power cut may have left half a line.
        Ok(Self { path, most, file, len, torn: last != [b'\n'] })
    }

    fn run(&mut self, jobs: &Receiver<Job>, dropped: &AtomicU64) {
        while let Ok(first) = jobs.recv() {
            let (mut text, mut entries, mut done) = (String::new(), 0, None);
            let mut next = Some(first);
            while let Some(job) = next {
                match job {
                    Job::Line(line) => {
                        text.push_str(&line);
                        entries += 1;
                    }
                    Job::Flush(told) => done = Some(told),
                }
                next = if done.is_none() && text.len() < WRITE { jobs.try_recv().ok() } else { None };
            }
            if let Err(why) = self.write(&text) {
                if !self.torn {
                    tracing::error!(path = %self.path.display(), %why, "the audit log cannot be written: entries are lost; make room");
                }
                self.torn = true;
                dropped.fetch_add(entries, Ordering::Relaxed);
            }
            // Whoever waited may have given up.
            if let Some(done) = done {
                let _ = done.try_send(());
            }
        }
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        if self.len + text.len() as u64 > self.most && self.len > 0 {
            let mut old = self.path.clone().into_os_string();
            old.push(".1");
            fs::rename(&self.path, &old)?;
            *self = Self::open(self.path.clone(), self.most)?;
        }
        if self.torn {
            self.file.write_all(b"\n")?;
            self.len += 1;
        }
        self.file.write_all(text.as_bytes())?;
        self.len += text.len() as u64;
        self.torn = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use mesh_agent::api::Body;
    use mesh_protocol::{Address, MessageId, MessageType};

    use super::*;

    fn note(audit: &Audit, verdict: Verdict) {
        let mut send = SendRequest::new("bob".parse().unwrap(), MessageType::Task, Body::text("a secret"));
        send.reference = Some(7);
        let (agent, token) = (Name::new("alice").unwrap(), Name::new("sensor").ok());
        audit.note(&Entry { session: 3, agent, token, send: &send, verdict });
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
        note(&audit, Verdict::Accepted(id()));
        note(&audit, Verdict::Again(id()));
        note(&audit, Verdict::Refused(ErrorCode::Unauthorised));
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
                "session": 3, "agent": "alice", "token": "sensor", "ref": 7, "to": "bob", "type": "TASK",
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
                note(&audit, Verdict::Accepted(id()));
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

    #[test]
    fn what_the_disk_does_not_take_is_counted_and_nobody_waits() {
        // Nobody takes from this one: the disk is as slow as can be.
        let (lines, _jobs) = sync_channel(2);
        let audit = Audit(Some(Arc::new(Desk { lines, dropped: Arc::default() })));
        for _ in 0..5 {
            note(&audit, Verdict::Accepted(id()));
        }
        assert_eq!(audit.dropped(), 3);
        let full = Audit::with("/dev/full".into(), MAX_FILE, WAITING).unwrap();
        note(&full, Verdict::Accepted(id()));
        full.finish();
        assert_eq!(full.dropped(), 1);
    }
}
