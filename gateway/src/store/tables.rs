//! The tables in the database file: their keys, their format's number, reading them all and applying a batch. When and
//! how much is written is the writer's business.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use mesh_protocol::{Address, ContextId, MessageId};
use redb::{
    Builder, Database, DatabaseError, Durability, Key, ReadableDatabase, ReadableTable, StorageBackend,
    StorageError, Table, TableDefinition, WriteTransaction,
};

use super::batch::Batch;
use super::{AgentKey, StoreError};

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

/// All that the store held when it was opened, each table in the order of its keys.
#[derive(Debug, Default, PartialEq, Eq)]
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
}

/// What a batch did to the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Applied {
    pub(super) put: u64,
    pub(super) deleted: u64,
}

/// Opens or makes the database, checks it, makes missing tables, notes that it is open, and reads everything.
pub(super) fn open(backend: impl StorageBackend, path: &Path) -> Result<(Database, Recovered), StoreError> {
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
    let opening = make_tables(&database).map_err(|error| open_error(path, error))?;
    if opening.format != FORMAT {
        return Err(StoreError::Format { path: path.to_owned(), found: opening.format, known: FORMAT });
    }
    let recovered = recover(&database, opening).map_err(|error| open_error(path, error))?;
    Ok((database, recovered))
}

/// What an opening found.
#[derive(Clone, Copy, Debug)]
struct Opening {
    format: u32,
    cut: bool,
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

/// Makes what is missing, and notes that the store is open.
fn make_tables(database: &Database) -> Result<Opening, redb::Error> {
    let transaction = begin(database)?;
    let found = transaction.open_table(ABOUT)?.get(ABOUT_FORMAT)?.map(|format| format.value());
    if let Some(format) = found.filter(|found| *found != FORMAT && !WITH_FEWER.contains(found)) {
        transaction.abort()?;
        return Ok(Opening { format, cut: false });
    }
    transaction.open_table(ABOUT)?.insert(ABOUT_FORMAT, FORMAT)?;
    let was_open = transaction.open_table(RUN)?.insert(RUN_OPEN, 1)?.map(|open| open.value() != 0);
    // Before format 4 nothing was noted.
    let cut = was_open.unwrap_or(found.is_some());
    transaction.open_table(OUTBOX)?;
    transaction.open_table(INBOX)?;
    transaction.open_table(AGENTS)?;
    transaction.open_table(KEYS)?;
    transaction.open_table(DELIVERED)?;
    transaction.open_table(CONTEXTS)?;
    transaction.open_table(META)?;
    transaction.commit()?;
    Ok(Opening { format: FORMAT, cut })
}

/// Notes that the store was closed in order, and closes it.
pub(super) fn close(database: Database) -> Result<(), redb::Error> {
    let transaction = begin(&database)?;
    transaction.open_table(RUN)?.insert(RUN_OPEN, 0)?;
    transaction.commit()?;
    Ok(database.close()?)
}

/// Reads everything.
fn recover(database: &Database, opening: Opening) -> Result<Recovered, redb::Error> {
    let transaction = database.begin_read()?;
    let mut recovered = Recovered { cut: opening.cut, ..Recovered::default() };
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
        recovered.contexts.push(((Address::new(source), ContextId::new(context)), record.value().to_vec()));
    }
    for row in transaction.open_table(META)?.iter()? {
        let (key, value) = row?;
        recovered.meta.insert(key.value().to_owned(), value.value().to_vec());
    }
    Ok(recovered)
}

/// Brings a batch to the disk in one transaction, or writes nothing at all when it changes nothing. On return it is
/// synced.
pub(super) fn write(database: &Database, batch: &Batch) -> Result<Applied, redb::Error> {
    let transaction = begin(database)?;
    let applied = apply(&transaction, batch)?;
    if applied == Applied::default() {
        transaction.abort()?;
    } else {
        transaction.commit()?;
    }
    Ok(applied)
}

fn begin(database: &Database) -> Result<WriteTransaction, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    Ok(transaction)
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
            applied.set(&mut table, (agent.0, *cursor), Some(record))?;
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
            applied.set(&mut table, (agent.0, *row), Some(record))?;
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
