//! The queue and what empties it, group by group: one thread, or a [`Hand`]. What a group means is [`super::batch`]'s,
//! how it is stored [`super::tables`]'s.
//!
//! A group that cannot be written is held, and all that comes is merged into it. Once whoever submits has taken back what is not to
//! be, and has said so, the file is opened again and the whole of it written at once, over and
//! over with growing pauses, until the disk takes it.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::watch;

use super::backend::IoCount;
use super::batch::Batch;
use super::tables::{Applied, Tables};
use super::{Op, Progress, Stats, StoreError, Ticket};

/// A group is closed once it holds this many ops. Measured with 100-byte messages, each put and then acked: 256 in
/// flight never fill it (127 to 250 ops a group); 8192 in flight wrote 0.8 kB each with this cap, 2.4 kB with 512 and
/// 2.7 kB with 64; more than 4096 gained little and made commits longer.
const GROUP_OPS: u64 = 4096;
/// A group is closed once its ops hold this many bytes, about 16 of the longest messages. A guess: it bounds the memory
/// and time of one transaction.
const GROUP_BYTES: u64 = 1 << 20;
/// How long the first and the longest pause are before a disk that failed is tried again. Guesses: opening reads the whole
/// file.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Opens the database again, which has had so many commits.
pub(super) type Reopen = Box<dyn Fn(u64) -> Result<Tables, StoreError> + Send>;

/// What submitters and the writer share.
#[derive(Debug)]
pub(super) struct Shared {
    path: PathBuf,
    io: Arc<IoCount>,
    queue: Mutex<Queue>,
    /// Told when something waits, may be tried again, or the end is near.
    wake: Condvar,
    pub(super) progress: watch::Sender<Progress>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Submission>,
    last: Ticket,
    closing: Option<Closing>,
    /// What could not be written, and what has come since.
    held: Option<Group>,
    /// Whether what is held may be tried again.
    resumed: bool,
    stats: Stats,
}

/// How the store is being closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    /// All that its owner had is written.
    InOrder,
    /// Its owner is gone.
    Dropped,
}

#[derive(Debug)]
struct Submission {
    ops: Vec<Op>,
    bytes: usize,
}

/// Submissions, merged.
#[derive(Debug, Default)]
struct Group {
    submissions: u64,
    ops: u64,
    bytes: u64,
    batch: Batch,
}

impl Group {
    fn add(&mut self, submission: Submission) {
        self.submissions += 1;
        self.ops += submission.ops.len() as u64;
        self.bytes += submission.bytes as u64;
        submission.ops.into_iter().for_each(|op| self.batch.add(op));
    }
}

impl Queue {
    /// The next group; `None` when nothing waits, or what is held may not be tried again yet.
    fn take_group(&mut self) -> Option<Group> {
        if self.held.is_some() {
            return if self.resumed { self.held.take() } else { None };
        }
        let mut group = Group::default();
        while group.ops < GROUP_OPS && group.bytes < GROUP_BYTES {
            let Some(submission) = self.waiting.pop_front() else { break };
            group.add(submission);
        }
        (group.submissions > 0).then_some(group)
    }
}

impl Shared {
    pub(super) fn new(path: PathBuf, io: Arc<IoCount>) -> Self {
        Self {
            path,
            io,
            queue: Mutex::default(),
            wake: Condvar::new(),
            progress: watch::Sender::new(Progress::default()),
        }
    }

    pub(super) fn submit(&self, ops: Vec<Op>) -> Ticket {
        let bytes = ops.iter().map(Op::size).sum();
        let mut queue = self.lock();
        queue.last.0 += 1;
        queue.stats.waiting_ops += ops.len() as u64;
        queue.stats.waiting_bytes += bytes as u64;
        let submission = Submission { ops, bytes };
        match &mut queue.held {
            Some(held) => held.add(submission),
            None => queue.waiting.push_back(submission),
        }
        self.wake.notify_one();
        queue.last
    }

    pub(super) fn resume(&self) {
        let mut queue = self.lock();
        // It may come late, when all is written already: the next failure is not to be tried again before its owner knows of it.
        queue.resumed |= queue.held.is_some();
        self.wake.notify_one();
    }

    pub(super) fn finish(&self, in_order: bool) {
        let mut queue = self.lock();
        queue.closing = Some(if in_order { Closing::InOrder } else { Closing::Dropped });
        queue.resumed = true;
        self.wake.notify_one();
    }

    pub(super) fn stats(&self) -> Stats {
        Stats { bytes_written: self.io.bytes(), ..self.lock().stats }
    }

    /// Waits for work, after a failure at least for this pause; `None` when everything is done and the store is being
    /// closed.
    fn next_group(&self, pause: Option<Duration>) -> Option<Group> {
        let mut queue = self.lock();
        if let Some(pause) = pause {
            let waited = self.wake.wait_timeout_while(queue, pause, |queue| queue.closing.is_none());
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        loop {
            if let Some(group) = queue.take_group() {
                return Some(group);
            }
            if queue.closing.is_some() {
                return None;
            }
            queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn closing(&self) -> Option<Closing> {
        self.lock().closing
    }

    fn written(&self, group: &Group, applied: Applied) {
        let mut queue = self.lock();
        queue.resumed = false;
        let stats = &mut queue.stats;
        stats.submissions += group.submissions;
        stats.ops += group.ops;
        stats.rows_put += applied.put;
        stats.rows_deleted += applied.deleted;
        if applied == Applied::default() {
            stats.commits_saved += 1;
        } else {
            stats.commits += 1;
        }
        stats.largest_group = stats.largest_group.max(group.ops);
        stats.waiting_ops -= group.ops;
        stats.waiting_bytes -= group.bytes;
        self.progress.send_modify(|progress| {
            progress.through.0 += group.submissions;
            progress.failed = None;
        });
    }

    /// Holds what could not be written, with what has come behind it, and says why.
    fn hold(&self, mut group: Group, reason: String) {
        let mut queue = self.lock();
        std::mem::take(&mut queue.waiting).into_iter().for_each(|submission| group.add(submission));
        queue.held = Some(group);
        drop(queue);
        self.fail(StoreError::Failed { path: self.path.clone(), reason });
    }

    fn fail(&self, failed: StoreError) {
        self.progress.send_modify(|progress| progress.failed = Some(failed));
    }

    /// Closes what was written, and notes that it was closed in order if it was.
    fn close(&self, written: Written) {
        let Some(tables) = written.tables else { return };
        let closed = match self.closing() {
            Some(Closing::InOrder) => tables.close(),
            _ => tables.let_go(),
        };
        if let Err(error) = closed {
            self.fail(StoreError::Failed { path: self.path.clone(), reason: error.to_string() });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics while it is held; if it did, numbers in the queue would still be whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The database while it works, and how it is opened again when it did not.
pub(super) struct Written {
    tables: Option<Tables>,
    commits: u64,
    reopen: Reopen,
}

impl std::fmt::Debug for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Written").field("commits", &self.commits).finish_non_exhaustive()
    }
}

impl Written {
    pub(super) fn new(tables: Tables, reopen: Reopen) -> Self {
        Self { commits: tables.commits(), tables: Some(tables), reopen }
    }

    /// Writes a group, or holds it; whether it is written.
    fn write(&mut self, shared: &Shared, group: Group) -> bool {
        match self.try_write(&group.batch) {
            Ok(applied) => {
                shared.written(&group, applied);
                true
            }
            Err(reason) => {
                shared.hold(group, reason);
                false
            }
        }
    }

    fn try_write(&mut self, batch: &Batch) -> Result<Applied, String> {
        let tables = match &mut self.tables {
            Some(tables) => tables,
            none => none.insert((self.reopen)(self.commits).map_err(StoreError::into_reason)?),
        };
        match tables.write(batch) {
            Ok(applied) => {
                self.commits = tables.commits();
                Ok(applied)
            }
            Err(error) => {
                // The database does not go on after an error of its file.
                self.tables = None;
                Err(error.to_string())
            }
        }
    }
}

/// Starts the writer, which owns the database from now on.
pub(super) fn start(mut written: Written, shared: Arc<Shared>) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name("store-writer".to_owned()).spawn(move || {
        let mut guard = PanicGuard { shared: &shared, armed: true };
        write_all(&mut written, &shared);
        shared.close(written);
        guard.armed = false;
    })
}

fn write_all(written: &mut Written, shared: &Shared) {
    let mut pause = None;
    while let Some(group) = shared.next_group(pause) {
        if written.write(shared, group) {
            pause = None;
        } else if shared.closing().is_some() {
            return;
        } else {
            pause = Some(pause.map_or(PAUSE, |last: Duration| LONGEST_PAUSE.min(last * 2)));
        }
    }
}

/// Writes a store's groups, one at a time, when it is told to. Clones are of the same store; without it they do nothing.
#[derive(Clone, Debug)]
pub struct Hand {
    shared: Arc<Shared>,
    /// `None` once the store is closed or dropped.
    written: Arc<Mutex<Option<Written>>>,
}

impl Hand {
    pub(super) fn new(written: Written, shared: Arc<Shared>) -> Self {
        Self { shared, written: Arc::new(Mutex::new(Some(written))) }
    }

    /// Writes and syncs the next group, after a failure all that is held. False when that has changed nothing: nothing waits, or it
    /// still cannot be written.
    pub fn write(&self) -> bool {
        let mut written = self.lock();
        let Some(open) = &mut *written else { return false };
        let group = self.shared.lock().take_group();
        let failing = self.shared.progress.borrow().failed.is_some();
        group.is_some_and(|group| open.write(&self.shared, group) || !failing)
    }

    /// Transactions so far.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.shared.lock().stats.commits
    }

    /// Writes all that waits and closes the database.
    pub(super) fn finish(&self) {
        self.shared.finish(true);
        while self.write() {}
        if let Some(written) = self.lock().take() {
            self.shared.close(written);
        }
    }

    /// The store is gone: what waits is lost.
    pub(super) fn let_go(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Written>> {
        // Should the database panic while it writes, whoever called has the panic; what is left can still be dropped.
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sees to it that nobody waits for ever if the database should panic.
struct PanicGuard<'a> {
    shared: &'a Shared,
    armed: bool,
}

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if self.armed {
            let reason = "the database stopped with a bug".to_owned();
            self.shared.fail(StoreError::Stopped { path: self.shared.path.clone(), reason });
        }
    }
}
