//! The queue and the one thread that empties it, group by group. What a group means is [`super::batch`]'s, how it is
//! stored [`super::tables`]'s.

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
    closing: bool,
    failed: Option<StoreError>,
    stats: Stats,
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

    pub(super) fn finish(&self) {
        self.lock().closing = true;
        self.wake.notify_one();
    }

    pub(super) fn stats(&self) -> Stats {
        Stats { bytes_written: self.io.bytes(), ..self.lock().stats }
    }

    /// Waits for work; `None` when everything is done and the store is being closed.
    fn next_group(&self) -> Option<Vec<Submission>> {
        let mut queue = self.lock();
        while queue.waiting.is_empty() {
            if queue.closing {
                return None;
            }
            queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let (mut group, mut ops, mut bytes) = (Vec::new(), 0, 0);
        while ops < GROUP_OPS && bytes < GROUP_BYTES {
            let Some(submission) = queue.waiting.pop_front() else {
                break;
            };
            ops += submission.ops.len();
            bytes += submission.bytes;
            group.push(submission);
        }
        Some(group)
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
        let result = write_all(&database, &shared).and_then(|()| Ok(database.close()?));
        if let Err(error) = result {
            shared.fail(error.to_string());
        }
        guard.armed = false;
    })
}

fn write_all(database: &Database, shared: &Shared) -> Result<(), redb::Error> {
    while let Some(submissions) = shared.next_group() {
        let mut group = Group { submissions: submissions.len() as u64, ops: 0, bytes: 0 };
        let mut batch = Batch::default();
        for submission in submissions {
            group.ops += submission.ops.len() as u64;
            group.bytes += submission.bytes as u64;
            submission.ops.into_iter().for_each(|op| batch.add(op));
        }
        let applied = tables::write(database, &batch)?;
        shared.written(&group, applied);
    }
    Ok(())
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
