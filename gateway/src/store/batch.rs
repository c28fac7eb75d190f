//! A group of ops merged into what remains to be done: the last op for each row counts. Nothing here touches the disk.

use std::collections::{BTreeMap, BTreeSet};

use mesh_protocol::{Address, ContextId, MessageId};

use super::op::{AgentKey, Op};

/// What a group of ops comes to. `None` deletes a row.
///
/// The maps are ordered so that the database is written from one end to the other.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) outbox: BTreeMap<MessageId, Option<Vec<u8>>>,
    /// Deletes the inbox through a cursor, before `inbox` is put.
    pub(super) inbox_through: BTreeMap<AgentKey, u64>,
    pub(super) inbox: BTreeMap<(AgentKey, u64), Option<Vec<u8>>>,
    pub(super) agents: BTreeMap<AgentKey, Option<Vec<u8>>>,
    /// Deletes all keys of an agent, before `keys` are put.
    pub(super) keys_of: BTreeSet<AgentKey>,
    pub(super) keys: BTreeMap<(AgentKey, u16), Option<Vec<u8>>>,
    pub(super) delivered: BTreeMap<(Address, MessageId), Option<Vec<u8>>>,
    pub(super) contexts: BTreeMap<(Address, ContextId), Option<Vec<u8>>>,
    pub(super) meta: BTreeMap<&'static str, Vec<u8>>,
}

impl Batch {
    /// Adds an op after all earlier ones.
    pub(super) fn add(&mut self, op: Op) {
        match op {
            Op::PutOutbox { id, record } => {
                self.outbox.insert(id, Some(record));
            }
            Op::DeleteOutbox { id } => {
                self.outbox.insert(id, None);
            }
            Op::PutInbox { agent, cursor, record } => {
                self.inbox.insert((agent, cursor), Some(record));
            }
            Op::DeleteInbox { agent, cursor } => {
                self.inbox.insert((agent, cursor), None);
            }
            Op::DeleteInboxThrough { agent, cursor } => self.delete_inbox(agent, cursor),
            Op::PutAgent { agent, record } => {
                self.agents.insert(agent, Some(record));
            }
            Op::PutKey { agent, row, record } => {
                self.keys.insert((agent, row), Some(record));
            }
            Op::DeleteKey { agent, row } => {
                self.keys.insert((agent, row), None);
            }
            Op::DeleteAgent { agent } => {
                self.agents.insert(agent, None);
                self.delete_inbox(agent, u64::MAX);
                self.keys.retain(|(of, _), _| *of != agent);
                self.keys_of.insert(agent);
            }
            Op::PutDelivered { source, id, record } => {
                self.delivered.insert((source, id), Some(record));
            }
            Op::DeleteDelivered { source, id } => {
                self.delivered.insert((source, id), None);
            }
            Op::PutContext { source, context, record } => {
                self.contexts.insert((source, context), Some(record));
            }
            Op::DeleteContext { source, context } => {
                self.contexts.insert((source, context), None);
            }
            Op::PutMeta { key, value } => {
                self.meta.insert(key, value);
            }
        }
    }

    fn delete_inbox(&mut self, agent: AgentKey, cursor: u64) {
        while let Some((key, _)) = self.inbox.range((agent, 0)..=(agent, cursor)).next() {
            let key = *key;
            self.inbox.remove(&key);
        }
        let through = self.inbox_through.entry(agent).or_default();
        *through = cursor.max(*through);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGENT: AgentKey = AgentKey(1);

    fn merged(ops: impl IntoIterator<Item = Op>) -> Batch {
        let mut batch = Batch::default();
        ops.into_iter().for_each(|op| batch.add(op));
        batch
    }

    fn put_outbox(record: u8) -> Op {
        Op::PutOutbox { id: MessageId(1), record: vec![record] }
    }

    fn put_inbox(cursor: u64, record: u8) -> Op {
        Op::PutInbox { agent: AGENT, cursor, record: vec![record] }
    }

    fn delete_through(cursor: u64) -> Op {
        Op::DeleteInboxThrough { agent: AGENT, cursor }
    }

    #[test]
    fn the_last_op_for_a_row_counts() {
        let delete = Op::DeleteOutbox { id: MessageId(1) };
        let cases = [
            (vec![put_outbox(1), put_outbox(2)], Some(vec![2])),
            (vec![put_outbox(1), delete.clone()], None),
            (vec![delete, put_outbox(3)], Some(vec![3])),
        ];
        for (ops, expected) in cases {
            let outbox = [(MessageId(1), expected)].into();
            assert_eq!(merged(ops), Batch { outbox, ..Batch::default() });
        }
    }

    #[test]
    fn a_range_delete_takes_earlier_puts_along_and_leaves_later_ones() {
        let other = Op::PutInbox { agent: AgentKey(2), cursor: 1, record: vec![] };
        let ops =
            [put_inbox(1, 1), put_inbox(2, 2), put_inbox(3, 3), other, delete_through(2), put_inbox(1, 9)];
        let inbox =
            [((AGENT, 1), Some(vec![9])), ((AGENT, 3), Some(vec![3])), ((AgentKey(2), 1), Some(vec![]))]
                .into();
        assert_eq!(merged(ops), Batch { inbox_through: [(AGENT, 2)].into(), inbox, ..Batch::default() });
    }

    #[test]
    fn of_several_range_deletes_the_furthest_counts() {
        let batch = merged([delete_through(5), delete_through(3)]);
        assert_eq!(batch.inbox_through, [(AGENT, 5)].into());
    }

    #[test]
    fn deleting_an_agent_deletes_its_inbox_and_its_keys() {
        let key = |row| Op::PutKey { agent: AGENT, row, record: vec![] };
        let batch = merged([put_inbox(1, 1), key(1), Op::DeleteAgent { agent: AGENT }, key(2)]);
        assert_eq!((batch.inbox.len(), batch.inbox_through), (0, [(AGENT, u64::MAX)].into()));
        assert_eq!((batch.keys, batch.keys_of), ([((AGENT, 2), Some(vec![]))].into(), [AGENT].into()));
        assert_eq!(batch.agents, [(AGENT, None)].into());
    }
}
