//! The tables in the database file: their keys, their format's number, reading them all and applying a batch. When and
//! how much is written is the writer's business.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use mesh_protocol::{Address, ContextId, MessageId};
use redb::{
    Builder, Database, DatabaseError, Durability, Key, ReadableDatabase, ReadableTable, StorageBackend,
    StorageError, Table, TableDefinition, TableError, WriteTransaction,
};

use super::batch::Batch;
use super::error::StoreError;
use super::op::AgentKey;
use super::witness::Witness;

/// Raised whenever tables or keys change.
const FORMAT: u32 = 4;
/// Formats that are the same with fewer tables: before agents' messages had keys, before there were contexts, and before
/// runs were noted.
const WITH_FEWER: [u32; 3] = [1, 2, 3];
/// Bytes of pages kept in memory. The store is read once and then works on the last pages of each table: measured with
/// 300,000 rows, 64 MiB wrote no faster; 64 KiB wrote twice the bytes.
const CACHE: usize = 1 << 20;

type Bytes = &'static [u8];

const OUTBOX: TableDefinition<'_, u32, Bytes> = TableDefinition::new("outbox");
const INBOX: TableDefinition<'_, (u32, u64), Bytes> = TableDefinition::new("inbox");
const AGENTS: TableDefinition<'_, u32, Bytes> = TableDefinition::new("agents");
const KEYS: TableDefinition<'_, (u32, u16), Bytes> = TableDefinition::new("keys");
const DELIVERED: TableDefinition<'_, (u16, u32), Bytes> = TableDefinition::new("delivered");
const CONTEXTS: TableDefinition<'_, (u16, u8), Bytes> = TableDefinition::new("contexts");
const META: TableDefinition<'_, &str, Bytes> = TableDefinition::new("meta");
/// Holds [`FORMAT`] alone; apart from `meta`, so that no key of the engine's can meet it.
const ABOUT: TableDefinition<'_, &str, u32> = TableDefinition::new("about");
const ABOUT_FORMAT: &str = "format";

/// The store's own numbers.
const RUN: TableDefinition<'_, &str, u64> = TableDefinition::new("run");
/// 1 from when the store is opened until it is closed in order.
const RUN_OPEN: &str = "open";
/// How many commits there were, with the one that says so.
const RUN_COMMITS: &str = "commits";
/// A store that has lost more than this is not taken: it is no damage but an older copy. A guess.
const MOST_LOST: u64 = 256;

/// All that the store held when it was opened, each table in the order of its keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Messages accepted for the mesh, by number.
    pub outbox: Vec<(MessageId, Vec<u8>)>,
    /// Messages that wait for local agents, by cursor.
    pub inbox: BTreeMap<AgentKey, Vec<(u64, Vec<u8>)>>,
    /// Agents.
    pub agents: Vec<(AgentKey, Vec<u8>)>,
    /// Keys of agents' messages, by their place.
    pub keys: BTreeMap<AgentKey, Vec<(u16, Vec<u8>)>>,
    /// Delivered messages that are remembered, by source and number.
    pub delivered: Vec<((Address, MessageId), Vec<u8>)>,
    /// What sources said once, to refer to it.
    pub contexts: Vec<((Address, ContextId), Vec<u8>)>,
    /// The engine's own values.
    pub meta: BTreeMap<String, Vec<u8>>,
    /// Whether the last run did not [close](super::Store::close) the store: its last write may be lost.
    pub cut: bool,
    /// Commits that there were and that are not in the file: it is damaged, or an older one.
    pub lost: u64,
}

/// What a batch did to the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Applied {
    pub(super) put: u64,
    pub(super) deleted: u64,
}

/// The open database.
#[derive(Debug)]
pub(super) struct Tables {
    database: Database,
    /// How many it has had.
    commits: u64,
    witness: Witness,
}

/// What an opening found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening {
    cut: bool,
    lost: u64,
}

impl Tables {
    /// Opens or makes the database, checks it, makes missing tables, and notes that it is open. Of one that was open in this
    /// process before, nothing may be lost of so many commits.
    pub(super) fn open(
        backend: impl StorageBackend,
        witness: Witness,
        path: &Path,
        before: Option<u64>,
    ) -> Result<(Self, Opening), StoreError> {
        let database = Builder::new()
            .set_cache_size(CACHE)
            // Without this an altered file may be trusted, or panic, at any later time.
            .set_check_integrity_on_open(true)
            .create_with_backend(backend)
            .map_err(|error| match error {
                DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
                    StoreError::AlreadyOpen { path: path.to_owned() }
                }
                other => open_error(path, other.into()),
            })?;
        let found = found(&database).map_err(|error| open_error(path, error))?;
        if let Some(format) = found.format.filter(|format| *format != FORMAT && !WITH_FEWER.contains(format))
        {
            return Err(StoreError::Format { path: path.to_owned(), found: format, known: FORMAT });
        }
        let noted = found.format.is_none_or(|format| format == FORMAT);
        let known = before.or_else(|| witness.commits()).filter(|_| noted).unwrap_or(found.commits);
        let lost = known.saturating_sub(found.commits);
        if lost > if before.is_some() { 0 } else { MOST_LOST } {
            return Err(StoreError::Older { path: path.to_owned(), found: found.commits, known });
        }
        // Before format 4 nothing was noted.
        let cut = found.open.unwrap_or(found.format.is_some());
        let mut tables = Self { database, commits: found.commits.max(known), witness };
        tables.begin_run().map_err(|error| open_error(path, error))?;
        Ok((tables, Opening { cut, lost }))
    }

    /// How many commits it has had.
    pub(super) const fn commits(&self) -> u64 {
        self.commits
    }

    /// Makes what is missing, and notes that the store is open.
    fn begin_run(&mut self) -> Result<(), redb::Error> {
        let transaction = self.begin()?;
        transaction.open_table(ABOUT)?.insert(ABOUT_FORMAT, FORMAT)?;
        transaction.open_table(RUN)?.insert(RUN_OPEN, 1)?;
        transaction.open_table(OUTBOX)?;
        transaction.open_table(INBOX)?;
        transaction.open_table(AGENTS)?;
        transaction.open_table(KEYS)?;
        transaction.open_table(DELIVERED)?;
        transaction.open_table(CONTEXTS)?;
        transaction.open_table(META)?;
        self.commit(transaction)
    }

    /// Brings a batch to the disk in one transaction, or writes nothing at all when it changes nothing. On return it is
    /// synced.
    pub(super) fn write(&mut self, batch: &Batch) -> Result<Applied, redb::Error> {
        let transaction = self.begin()?;
        let applied = apply(&transaction, batch)?;
        if applied == Applied::default() {
            transaction.abort()?;
        } else {
            self.commit(transaction)?;
        }
        Ok(applied)
    }

    /// Notes that the store was closed in order, and closes it.
    pub(super) fn close(mut self) -> Result<(), redb::Error> {
        let transaction = self.begin()?;
        transaction.open_table(RUN)?.insert(RUN_OPEN, 0)?;
        self.commit(transaction)?;
        self.let_go()
    }

    /// Closes it without a note.
    pub(super) fn let_go(self) -> Result<(), redb::Error> {
        Ok(self.database.close()?)
    }

    fn begin(&self) -> Result<WriteTransaction, redb::Error> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        // With one phase, damage to the last commit is taken for a commit that was cut off, and the one before is served.
        transaction.set_two_phase_commit(true);
        Ok(transaction)
    }

    fn commit(&mut self, transaction: WriteTransaction) -> Result<(), redb::Error> {
        let commits = self.commits + 1;
        transaction.open_table(RUN)?.insert(RUN_COMMITS, commits)?;
        transaction.commit()?;
        self.commits = commits;
        self.witness.saw(commits);
        Ok(())
    }

    /// Reads everything.
    pub(super) fn recover(&self, opening: Opening) -> Result<Recovered, redb::Error> {
        let transaction = self.database.begin_read()?;
        let mut recovered = Recovered { cut: opening.cut, lost: opening.lost, ..Recovered::default() };
        for row in transaction.open_table(OUTBOX)?.iter()? {
            let (id, record) = row?;
            recovered.outbox.push((MessageId(id.value()), record.value().to_vec()));
        }
        for row in transaction.open_table(INBOX)?.iter()? {
            let (key, record) = row?;
            let (agent, cursor) = key.value();
            recovered.inbox.entry(AgentKey(agent)).or_default().push((cursor, record.value().to_vec()));
        }
        for row in transaction.open_table(AGENTS)?.iter()? {
            let (agent, record) = row?;
            recovered.agents.push((AgentKey(agent.value()), record.value().to_vec()));
        }
        for row in transaction.open_table(KEYS)?.iter()? {
            let (key, record) = row?;
            let (agent, row) = key.value();
            recovered.keys.entry(AgentKey(agent)).or_default().push((row, record.value().to_vec()));
        }
        for row in transaction.open_table(DELIVERED)?.iter()? {
            let (key, record) = row?;
            let (source, id) = key.value();
            recovered.delivered.push(((Address::new(source), MessageId(id)), record.value().to_vec()));
        }
        for row in transaction.open_table(CONTEXTS)?.iter()? {
            let (key, record) = row?;
            let (source, context) = key.value();
            recovered
                .contexts
                .push(((Address::new(source), ContextId::new(context)), record.value().to_vec()));
        }
        for row in transaction.open_table(META)?.iter()? {
            let (key, value) = row?;
            recovered.meta.insert(key.value().to_owned(), value.value().to_vec());
        }
        Ok(recovered)
    }
}

/// What a database says of itself.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    /// `None` in a new one.
    format: Option<u32>,
    commits: u64,
    /// Whether it is open; `None` where that is not noted.
    open: Option<bool>,
}

fn found(database: &Database) -> Result<Found, redb::Error> {
    let transaction = database.begin_read()?;
    let format = match transaction.open_table(ABOUT) {
        Ok(about) => about.get(ABOUT_FORMAT)?.map(|format| format.value()),
        Err(TableError::TableDoesNotExist(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let run = match transaction.open_table(RUN) {
        Ok(run) => run,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Found { format, ..Found::default() }),
        Err(error) => return Err(error.into()),
    };
    let commits = run.get(RUN_COMMITS)?.map_or(0, |commits| commits.value());
    let open = run.get(RUN_OPEN)?.map(|open| open.value() != 0);
    Ok(Found { format, commits, open })
}

/// The error of an opening that failed with this.
pub(super) fn open_error(path: &Path, error: redb::Error) -> StoreError {
    let (path, reason) = (path.to_owned(), error.to_string());
    // So the database says that a file does not begin like one of its own, or ends too early.
    let misshapen = [ErrorKind::InvalidData, ErrorKind::UnexpectedEof];
    match error {
        redb::Error::Io(io) if !misshapen.contains(&io.kind()) => StoreError::Open { path, reason },
        _ => StoreError::Damaged { path, reason },
    }
}

fn apply(transaction: &WriteTransaction, batch: &Batch) -> Result<Applied, redb::Error> {
    let mut applied = Applied::default();
    if !batch.outbox.is_empty() {
        let mut table = transaction.open_table(OUTBOX)?;
        for (id, record) in &batch.outbox {
            applied.set(&mut table, id.0, record.as_deref())?;
        }
    }
    if !batch.inbox_through.is_empty() || !batch.inbox.is_empty() {
        let mut table = transaction.open_table(INBOX)?;
        for (agent, cursor) in &batch.inbox_through {
            // One pass down the tree for the whole range, not one for each row.
            table.retain_in((agent.0, 0)..=(agent.0, *cursor), |_, _| {
                applied.deleted += 1;
                false
            })?;
        }
        for ((agent, cursor), record) in &batch.inbox {
            applied.set(&mut table, (agent.0, *cursor), record.as_deref())?;
        }
    }
    if !batch.agents.is_empty() {
        let mut table = transaction.open_table(AGENTS)?;
        for (agent, record) in &batch.agents {
            applied.set(&mut table, agent.0, record.as_deref())?;
        }
    }
    if !batch.keys_of.is_empty() || !batch.keys.is_empty() {
        let mut table = transaction.open_table(KEYS)?;
        for agent in &batch.keys_of {
            table.retain_in((agent.0, 0)..=(agent.0, u16::MAX), |_, _| {
                applied.deleted += 1;
                false
            })?;
        }
        for ((agent, row), record) in &batch.keys {
            applied.set(&mut table, (agent.0, *row), record.as_deref())?;
        }
    }
    if !batch.delivered.is_empty() {
        let mut table = transaction.open_table(DELIVERED)?;
        for ((source, id), record) in &batch.delivered {
            applied.set(&mut table, (source.bits(), id.0), record.as_deref())?;
        }
    }
    if !batch.contexts.is_empty() {
        let mut table = transaction.open_table(CONTEXTS)?;
        for ((source, context), record) in &batch.contexts {
            applied.set(&mut table, (source.bits(), context.bits()), record.as_deref())?;
        }
    }
    if !batch.meta.is_empty() {
        let mut table = transaction.open_table(META)?;
        for (key, value) in &batch.meta {
            applied.set(&mut table, *key, Some(value))?;
        }
    }
    Ok(applied)
}

impl Applied {
    fn set<'k, K: Key>(
        &mut self,
        table: &mut Table<'_, K, Bytes>,
        key: K::SelfType<'k>,
        record: Option<&[u8]>,
    ) -> Result<(), StorageError> {
        match record {
            Some(record) => {
                table.insert(key, record)?;
                self.put += 1;
            }
            None => self.deleted += u64::from(table.remove(key)?.is_some()),
        }
        Ok(())
    }
}
