//! The audit log's file, written by one thread: its size, and when it is synced.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use crate::datadir;

/// How much is put together for one write, in bytes. A guess.
const WRITE: usize = 64 * 1024;
/// How long what is written may wait to be synced: what a power cut may take, for a sync a second at most. A guess.
const SYNC_WITHIN: Duration = Duration::from_secs(1);

/// What the thread is asked for.
pub(super) enum Job {
    Line(String),
    /// Everything before it is to be written; then the answer.
    Flush(SyncSender<()>),
    /// The file may have been moved or removed.
    Reopen,
}

/// The file, written by one thread.
pub(super) struct Log {
    pub(super) path: PathBuf,
    pub(super) most: u64,
    pub(super) file: File,
    pub(super) len: u64,
    /// Whether the last write failed, so that half a line may stand at the end.
    pub(super) torn: bool,
    pub(super) unsynced: Option<Unsynced>,
}

/// What is written and not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unsynced {
    pub(super) entries: u64,
    /// When it has to be.
    pub(super) due: Instant,
}

impl Log {
    pub(super) fn open(path: PathBuf, most: u64) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path)?;
        let len = file.metadata()?.len();
        let mut last = [b'\n'];
        if len > 0 {
            file.read_exact_at(&mut last, len - 1)?;
        }
        // A power cut may have left half a line.
        Ok(Self { path, most, file, len, torn: last != [b'\n'], unsynced: None })
    }

    pub(super) fn run(&mut self, jobs: &Receiver<Job>, dropped: &AtomicU64) {
        loop {
            let first = match self.unsynced {
                None => jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(Unsynced { due, .. }) => {
                    jobs.recv_timeout(due.saturating_duration_since(Instant::now()))
                }
            };
            let over = matches!(first, Err(RecvTimeoutError::Disconnected));
            let Gathered { text, entries, done, reopen } = gather(first.ok(), jobs);
            let (mut lost, mut ready) = (0, Ok(()));
            if (reopen || entries > 0) && self.is_elsewhere() {
                lost += self.sync();
                ready = self.open_again();
            }
            if let Err(why) = ready.and_then(|()| self.write(&text, entries, Instant::now())) {
                lost += entries;
                self.complain(&why);
            }
            let due = self.unsynced.is_some_and(|unsynced| unsynced.due <= Instant::now());
            if due || over || done.is_some() {
                lost += self.sync();
            }
            dropped.fetch_add(lost, Ordering::Relaxed);
            // Whoever waited may have given up.
            if let Some(done) = done {
                let _ = done.try_send(());
            }
            if over {
                return;
            }
        }
    }

    /// Whether the file is not at its place any more: it was moved or removed.
    fn is_elsewhere(&self) -> bool {
        let place = |about: fs::Metadata| (about.dev(), about.ino());
        let [here, there] =
            [self.file.metadata(), fs::metadata(&self.path)].map(|about| about.map(place).ok());
        here.is_none() || here != there
    }

    /// Begins a new file.
    fn open_again(&mut self) -> io::Result<()> {
        *self = Self::open(self.path.clone(), self.most)?;
        datadir::sync_folder(self.path.parent().unwrap_or(Path::new(".")))
    }

    pub(super) fn write(&mut self, text: &str, entries: u64, now: Instant) -> io::Result<()> {
        if entries == 0 {
            return Ok(());
        }
        if self.len + text.len() as u64 > self.most && self.len > 0 {
            self.turn_over()?;
        }
        if self.torn {
            self.file.write_all(b"\n")?;
            self.len += 1;
        }
        self.file.write_all(text.as_bytes())?;
        self.len += text.len() as u64;
        self.torn = false;
        let unsynced = self.unsynced.get_or_insert(Unsynced { entries: 0, due: now + SYNC_WITHIN });
        unsynced.entries += entries;
        Ok(())
    }

    /// Puts the file that is full aside.
    fn turn_over(&mut self) -> io::Result<()> {
        // The renamed file is no longer at hand to be synced later.
        self.file.sync_data()?;
        let mut old = self.path.clone().into_os_string();
        old.push(".1");
        match fs::rename(&self.path, &old) {
            // Somebody took it away, or the last turn came only half-way.
            Err(why) if why.kind() == io::ErrorKind::NotFound => {}
            renamed => renamed?,
        }
        self.open_again()
    }

    /// Has everything written put on the disk for good; how many entries may be lost because that failed.
    pub(super) fn sync(&mut self) -> u64 {
        let Some(Unsynced { entries, .. }) = self.unsynced.take() else { return 0 };
        match self.file.sync_data() {
            Ok(()) => 0,
            Err(why) => {
                self.complain(&why);
                entries
            }
        }
    }

    /// Says once that the disk does not take it.
    fn complain(&mut self, why: &io::Error) {
        if !self.torn {
            tracing::error!(path = %self.path.display(), %why, "the audit log cannot be written: entries are lost; make room");
        }
        self.torn = true;
    }
}

/// What is put together for one write.
#[derive(Default)]
struct Gathered {
    text: String,
    entries: u64,
    /// Who wants to know when it is written.
    done: Option<SyncSender<()>>,
    /// Whether the file may have been moved.
    reopen: bool,
}

/// Puts together for one write what waits.
fn gather(first: Option<Job>, jobs: &Receiver<Job>) -> Gathered {
    let mut all = Gathered::default();
    let mut next = first;
    while let Some(job) = next {
        match job {
            Job::Line(line) => {
                all.text.push_str(&line);
                all.entries += 1;
            }
            Job::Flush(told) => all.done = Some(told),
            Job::Reopen => all.reopen = true,
        }
        next = if all.done.is_none() && all.text.len() < WRITE { jobs.try_recv().ok() } else { None };
    }
    all
}
