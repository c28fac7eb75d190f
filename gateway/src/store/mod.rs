//! The durable record of what this gateway has promised: one redb file, written by one thread, read only when it is
//! opened.
//!
//! The engine keeps its state in memory and hands every change in here as an [`Op`]; what it finds again after a power
//! cut is [`Recovered`]. *Accepted* may be said once [`Progress::through`] has reached the change's [`Ticket`]. Records
//! are opaque bytes here: their encoding and its version belong to the engine.
//!
//! Writing is in groups: everything that waits goes to the disk in one transaction with one sync, so that under load a
//! message costs a fraction of a sync, and a message that is accepted and done within one group costs nothing.

mod backend;
mod batch;
mod disk;
mod error;
mod op;
mod tables;
mod witness;
mod writer;

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use redb::StorageBackend;
use redb::backends::FileBackend;
use tokio::sync::watch;

pub use disk::Disk;
pub(crate) use error::NEW_ADDRESS;
pub use error::StoreError;
pub use op::{AgentKey, Op};
pub use tables::Recovered;
pub use writer::Hand;

use crate::datadir;
use backend::{Counting, IoCount};
use tables::Tables;
use witness::Witness;
use writer::{Shared, Written};

/// The store's file in the data directory.
pub const STORE_FILE: &str = "gateway.redb";

/// The number of a submission, in the order in which they were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// How far the writer has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Every submission up to this ticket and including it is on the disk.
    pub through: Ticket,
    /// Why the later ones are not, if that is so. They are tried again until they are.
    pub failed: Option<StoreError>,
}

/// What the store has done since it was opened, and what waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Submissions on the disk.
    pub submissions: u64,
    /// Ops in them.
    pub ops: u64,
    /// Rows put into the file; less than the ops, as later ones replace or cancel earlier ones.
    pub rows_put: u64,
    /// Rows taken out of the file.
    pub rows_deleted: u64,
    /// Transactions, each with its sync.
    pub commits: u64,
    /// Groups that left nothing to write, because their ops cancelled out.
    pub commits_saved: u64,
    /// The most ops in one group.
    pub largest_group: u64,
    /// Bytes written to the file, with all that the database adds; the wear of the disk.
    pub bytes_written: u64,
    /// Ops that wait or are being written.
    pub waiting_ops: u64,
    /// About how many bytes of memory these hold.
    pub waiting_bytes: u64,
}

/// The open store. [`close`](Store::close) it to be sure that all is written; dropping it writes what waits too, unless it is
/// written by hand, but the next opening finds it [cut](Recovered::cut).
#[derive(Debug)]
pub struct Store {
    shared: Arc<Shared>,
    writer: Writing,
}

/// Who writes.
#[derive(Debug)]
enum Writing {
    /// A thread, until it is joined.
    Thread(Option<JoinHandle<()>>),
    /// Whoever has the other hand.
    ByHand(Hand),
}

impl Store {
    /// Opens the store in a data directory or makes an empty one, checks all of it, and reads what it holds.
    ///
    /// After a power cut this repairs the file; it always takes time in proportion to the file's size.
    ///
    /// # Errors
    /// All but [`StoreError::Failed`] and [`StoreError::Stopped`].
    pub fn open(data_dir: &Path) -> Result<(Self, Recovered), StoreError> {
        let path = data_dir.join(STORE_FILE);
        if !path.exists() {
            make_empty(data_dir, &path)?;
        }
        Self::in_file(path)
    }

    /// Opens the store on a disk in memory, without a thread: groups are written when [`Hand::write`] says so, so that
    /// nothing but the caller decides what is on the disk when. Dropping such a store writes nothing.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] and [`StoreError::Format`].
    pub fn open_by_hand(disk: Disk) -> Result<(Self, Recovered, Hand), StoreError> {
        let (written, shared, recovered) =
            Self::begin("(memory)".into(), move || Ok((disk.clone(), Witness::default())))?;
        let hand = Hand::new(written, shared.clone());
        Ok((Self { shared, writer: Writing::ByHand(hand.clone()) }, recovered, hand))
    }

    fn in_file(path: PathBuf) -> Result<(Self, Recovered), StoreError> {
        let file = path.clone();
        Self::with_thread(path, move || {
            let witness = Witness::open(&witness_of(&file)).map_err(|error| not_opened(&file, &error))?;
            Ok((open_file(&file, false)?, witness))
        })
    }

    fn with_thread<B: StorageBackend>(
        path: PathBuf,
        open: impl Fn() -> Result<(B, Witness), StoreError> + Send + 'static,
    ) -> Result<(Self, Recovered), StoreError> {
        let (written, shared, recovered) = Self::begin(path.clone(), open)?;
        let writer = writer::start(written, shared.clone()).map_err(|error| not_opened(&path, &error))?;
        Ok((Self { shared, writer: Writing::Thread(Some(writer)) }, recovered))
    }

    fn begin<B: StorageBackend>(
        path: PathBuf,
        open: impl Fn() -> Result<(B, Witness), StoreError> + Send + 'static,
    ) -> Result<(Written, Arc<Shared>, Recovered), StoreError> {
        let io = Arc::new(IoCount::default());
        let shared = Arc::new(Shared::new(path.clone(), io.clone()));
        let at = path.clone();
        let open = move |before| {
            let (backend, witness) = open()?;
            Tables::open(Counting::new(backend, io.clone()), witness, &at, before)
        };
        let (tables, opening) = open(None)?;
        let recovered = tables.recover(opening).map_err(|error| tables::open_error(&path, error))?;
        let reopen = Box::new(move |commits| open(Some(commits)).map(|(tables, _)| tables));
        Ok((Written::new(tables, reopen), shared, recovered))
    }

    /// Queues changes and returns at once; they reach the disk together or not at all, after all earlier ones.
    ///
    /// The queue has no bound, so that this never blocks the radio: whoever accepts messages watches
    /// [`Stats::waiting_bytes`] and stops in time. No ops at all give a ticket that is due when the earlier ones are.
    pub fn submit(&self, ops: Vec<Op>) -> Ticket {
        self.shared.submit(ops)
    }

    /// After a [failure](Progress::failed), once what was promised in vain has been taken back: what waits may be written.
    pub fn resume(&self) {
        self.shared.resume();
    }

    /// How far the writer has come, now and at every change. Each call gives a receiver of its own.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.shared.progress.subscribe()
    }

    /// Counters since the store was opened, and what waits.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Writes all that waits and closes the file; blocks until that is done.
    ///
    /// # Errors
    /// [`StoreError::Failed`] when something that was submitted is not on the disk.
    pub fn close(mut self) -> Result<(), StoreError> {
        if let Writing::ByHand(hand) = &self.writer {
            hand.finish();
        }
        self.finish(true);
        let failed = self.shared.progress.borrow().failed.clone();
        failed.map_or(Ok(()), Err)
    }

    fn finish(&mut self, in_order: bool) {
        match &mut self.writer {
            Writing::Thread(writer) => {
                if let Some(writer) = writer.take() {
                    self.shared.finish(in_order);
                    // A panic of the writer has been reported as a failure by then.
                    let _ = writer.join();
                }
            }
            Writing::ByHand(hand) => hand.let_go(),
        }
    }
}

/// Makes an empty store under another name and then gives it its own, so that a power cut in between leaves nothing
/// that would look like a damaged store.
fn make_empty(data_dir: &Path, path: &Path) -> Result<(), StoreError> {
    let unfinished = path.with_extension("new");
    // What it knows is of a store that is gone. Both have it under the same name.
    match fs::remove_file(witness_of(path)) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(not_opened(path, &error)),
        _ => {}
    }
    drop(open_file(&unfinished, true)?);
    let (store, _) = Store::in_file(unfinished.clone())?;
    store.close()?;
    fs::rename(&unfinished, path)
        .and_then(|()| datadir::sync_folder(data_dir))
        .map_err(|error| not_opened(path, &error))
}

/// Where it stands beside the store how many commits that has had.
fn witness_of(store: &Path) -> PathBuf {
    store.with_extension("commits")
}

fn not_opened(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Open { path: path.to_owned(), reason: error.to_string() }
}

/// Opens the file, or makes it anew and empty.
fn open_file(path: &Path, anew: bool) -> Result<FileBackend, StoreError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(anew)
        .truncate(anew)
        .mode(0o600)
        .open(path)
        .map_err(|error| not_opened(path, &error))?;
    FileBackend::new(file).map_err(|error| tables::open_error(path, error.into()))
}

impl Drop for Store {
    fn drop(&mut self) {
        self.finish(false);
    }
}

#[cfg(test)]
mod tests;
