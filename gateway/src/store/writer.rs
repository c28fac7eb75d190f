//! The queue and what empties it, group by group: one thread, or a [`Hand`]. What a group means is [`super::batch`]'s,
//! how it is stored [`super::tables`]'s.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use redb::Database;
use tokio::sync::watch;

use super::backend::IoCount;
use super::batch::Batch;
use super::tables::{self, Applied};
use super::{Op, Progress, Stats, StoreError, Ticket};

/// A group is closed once it holds this many ops. Measured with 100-byte messages, each put and then acked: 256 in
/// flight never fill it (127 to 250 ops a group); 8192 in flight wrote 0.8 kB each with this cap, 2.4 kB with 512 and
/// 2.7 kB with 64; more than 4096 gained little and made commits longer.
const GROUP_OPS: usize = 4096;
/// A group is closed once its ops hold this many bytes, about 16 of the longest messages. A guess: it bounds the memory
/// and time of one transaction.
const GROUP_BYTES: usize = 1 << 20;

/// What submitters and the writer share.
#[derive(Debug)]
pub(super) struct Shared {
    path: PathBuf,
    io: Arc<IoCount>,
    queue: Mutex<Queue>,
    /// Told when something waits or the end is near.
    wake: Condvar,
    pub(super) progress: watch::Sender<Progress>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Submission>,
    last: Ticket,
    closing: Option<Closing>,
    failed: Option<StoreError>,
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

impl Queue {
    /// The submissions of the next group; none when none wait.
    fn take_group(&mut self) -> Vec<Submission> {
        let (mut group, mut ops, mut bytes) = (Vec::new(), 0, 0);
        while ops < GROUP_OPS && bytes < GROUP_BYTES {
            let Some(submission) = self.waiting.pop_front() else {
                break;
            };
            ops += submission.ops.len();
            bytes += submission.bytes;
            group.push(submission);
        }
        group
    }
}

#[derive(Debug)]
struct Submission {
    ops: Vec<Op>,
    bytes: usize,
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

    pub(super) fn submit(&self, ops: Vec<Op>) -> Result<Ticket, StoreError> {
        let bytes = ops.iter().map(Op::size).sum();
        let mut queue = self.lock();
        if let Some(failed) = &queue.failed {
            return Err(failed.clone());
        }
        queue.last.0 += 1;
        queue.stats.waiting_ops += ops.len() as u64;
        queue.stats.waiting_bytes += bytes as u64;
        queue.waiting.push_back(Submission { ops, bytes });
        self.wake.notify_one();
        Ok(queue.last)
    }

    pub(super) fn finish(&self, in_order: bool) {
        self.lock().closing = Some(if in_order { Closing::InOrder } else { Closing::Dropped });
        self.wake.notify_one();
    }

    pub(super) fn stats(&self) -> Stats {
        Stats { bytes_written: self.io.bytes(), ..self.lock().stats }
    }

    /// Waits for work; `None` when everything is done and the store is being closed.
    fn next_group(&self) -> Option<Vec<Submission>> {
        let mut queue = self.lock();
        while queue.waiting.is_empty() {
            if queue.closing.is_some() {
                return None;
            }
            queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        Some(queue.take_group())
    }

    fn written(&self, group: &Group, applied: Applied) {
        let stats = &mut self.lock().stats;
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
        self.progress.send_modify(|progress| progress.through.0 += group.submissions);
    }

    /// Ends everything that waits and refuses what comes.
    fn fail(&self, reason: String) {
        let failed = StoreError::Failed { path: self.path.clone(), reason };
        let mut queue = self.lock();
        queue.waiting.clear();
        (queue.stats.waiting_ops, queue.stats.waiting_bytes) = (0, 0);
        queue.failed = Some(failed.clone());
        drop(queue);
        self.progress.send_modify(|progress| progress.failed = Some(failed));
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics while it is held; if it did, numbers in the queue would still be whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Size of a group, once its ops are merged.
struct Group {
    submissions: u64,
    ops: u64,
    bytes: u64,
}

/// Starts the writer, which owns the database from now on.
pub(super) fn start(database: Database, shared: Arc<Shared>) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name("store-writer".to_owned()).spawn(move || {
        let mut guard = PanicGuard { shared: &shared, armed: true };
        let written = write_all(&database, &shared);
        let closing = shared.lock().closing;
        let result = written.and_then(|()| match closing {
            Some(Closing::InOrder) => tables::close(database),
            _ => Ok(database.close()?),
        });
        if let Err(error) = result {
            shared.fail(error.to_string());
        }
        guard.armed = false;
    })
}

fn write_all(database: &Database, shared: &Shared) -> Result<(), redb::Error> {
    while let Some(submissions) = shared.next_group() {
        write(database, shared, submissions)?;
    }
    Ok(())
}

fn write(database: &Database, shared: &Shared, submissions: Vec<Submission>) -> Result<(), redb::Error> {
    let mut group = Group { submissions: submissions.len() as u64, ops: 0, bytes: 0 };
    let mut batch = Batch::default();
    for submission in submissions {
        group.ops += submission.ops.len() as u64;
        group.bytes += submission.bytes as u64;
        submission.ops.into_iter().for_each(|op| batch.add(op));
    }
    let applied = tables::write(database, &batch)?;
    shared.written(&group, applied);
    Ok(())
}

/// Writes a store's groups, one at a time, when it is told to. Clones are of the same store; without it they do nothing.
#[derive(Clone, Debug)]
pub struct Hand {
    shared: Arc<Shared>,
    /// `None` once the store is closed, dropped or failed.
    database: Arc<Mutex<Option<Database>>>,
}

impl Hand {
    pub(super) fn new(database: Database, shared: Arc<Shared>) -> Self {
        Self { shared, database: Arc::new(Mutex::new(Some(database))) }
    }

    /// Writes and syncs the next group. False when nothing waits, or nothing can be written any more.
    pub fn write(&self) -> bool {
        let mut database = self.lock();
        let Some(open) = &*database else { return false };
        let group = self.shared.lock().take_group();
        if group.is_empty() {
            return false;
        }
        match write(open, &self.shared, group) {
            Ok(()) => true,
            Err(error) => {
                *database = None;
                self.shared.fail(error.to_string());
                false
            }
        }
    }

    /// Transactions so far.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.shared.lock().stats.commits
    }

    /// Writes all that waits and closes the database.
    pub(super) fn finish(&self) {
        while self.write() {}
        let database = self.lock().take();
        if let Some(Err(error)) = database.map(tables::close) {
            self.shared.fail(error.to_string());
        }
    }

    /// The store is gone: what waits is lost.
    pub(super) fn let_go(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Database>> {
        // Should the database panic while it writes, whoever called has the panic; what is left can still be dropped.
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
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
            self.shared.fail("the database stopped with a bug".to_owned());
        }
    }
}
