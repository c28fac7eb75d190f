//! The keys that an agent gave to its last messages: a message that is sent twice is accepted once.
//!
//! Owns which keys are remembered, and where each stands on the disk. The record is staged together with what else makes
//! a message accepted, so that a power cut takes both or neither.
//!
//! Full: the oldest key goes, and with it the knowledge that its message was sent.

use std::collections::VecDeque;

use mesh_protocol::MessageId;
use serde::{Deserialize, Serialize};

/// Keys remembered of each agent: as many messages as a session may have sent ahead of its *accepted*, which are those that
/// an agent sends again after a lost connection. 16 KiB in memory, and about 40 KiB on the disk, of agents that use them.
pub(super) const KEYS: u16 = 1_024;

/// A key as the store keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeyRecord {
    key: u64,
    id: MessageId,
}

/// The message that a key was first used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct First {
    pub(super) id: MessageId,
    pub(super) durable: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// Oldest first, each with its row on the disk. A key that was forgotten and used again stands twice at most for as long as its first record is on
    /// the disk; the later one counts.
    known: VecDeque<(u64, First, Option<u16>)>,
    /// Which row of the disk is written next; the rows are written round and round. One is deleted only when the disk
    /// failed.
    next_row: u16,
    /// The highest key ever remembered: most agents count, so that a new key is known to be new without a search.
    highest: Option<u64>,
}

impl Keys {
    /// The keys as the store had them.
    pub(super) fn recovered(mut rows: Vec<(u16, KeyRecord)>) -> Self {
        // Message numbers only grow, so they tell the order; where it began has long been overwritten.
        rows.sort_by_key(|(_, record)| record.id);
        let next_row = rows.last().map_or(0, |(row, _)| (row + 1) % KEYS);
        let highest = rows.iter().map(|(_, record)| record.key).max();
        let known = rows
            .into_iter()
            .map(|(row, KeyRecord { key, id })| (key, First { id, durable: true }, Some(row)));
        Self { known: known.collect(), next_row, highest }
    }

    /// The message this key was used for, if it is remembered.
    pub(super) fn find(&self, key: u64) -> Option<First> {
        if self.highest.is_none_or(|highest| key > highest) {
            return None;
        }
        self.known.iter().rev().find(|(known, ..)| *known == key).map(|(_, first, _)| *first)
    }

    /// Remembers a key; the row and record to put on the disk if its message is durable.
    pub(super) fn remember(&mut self, key: u64, first: First) -> Option<(u16, KeyRecord)> {
        while self.known.len() >= usize::from(KEYS) {
            self.known.pop_front();
        }
        let row = self.next_row;
        self.known.push_back((key, first, first.durable.then_some(row)));
        self.highest = self.highest.max(Some(key));
        // One that is not durable takes no row: after a power cut its message is gone as well, and may be sent again.
        first.durable.then(|| {
            self.next_row = (row + 1) % KEYS;
            (row, KeyRecord { key, id: first.id })
        })
    }

    /// The message was not accepted after all; the rows of the disk that say it was.
    pub(super) fn forget(&mut self, id: MessageId) -> Vec<u16> {
        let mut rows = Vec::new();
        self.known.retain(|(_, first, row)| {
            let stays = first.id != id;
            rows.extend(row.filter(|_| !stays));
            stays
        });
        rows
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn first(id: u32, durable: bool) -> First {
        First { id: MessageId(id), durable }
    }

    #[test]
    fn the_oldest_key_goes_when_the_table_is_full() {
        let mut keys = Keys::default();
        for n in 0..u32::from(KEYS) + 1 {
            keys.remember(n.into(), first(n + 1, n % 2 == 0));
        }
        assert_eq!(keys.find(0), None);
        assert_eq!(keys.find(1), Some(first(2, false)));
        assert_eq!(keys.find(KEYS.into()), Some(first(u32::from(KEYS) + 1, true)));
        assert_eq!(keys.known.len(), usize::from(KEYS));
    }

    #[test]
    fn the_disk_has_the_last_keys_whatever_came_between() {
        let mut keys = Keys::default();
        let mut disk = BTreeMap::new();
        for n in 0..3 * u32::from(KEYS) {
            // Every third is not durable and takes no row.
            let row = keys.remember(n.into(), first(n + 1, n % 3 > 0));
            assert_eq!(row.is_some(), n % 3 > 0);
            disk.extend(row);
        }
        assert_eq!(disk.len(), usize::from(KEYS));
        let mut again = Keys::recovered(disk.clone().into_iter().collect());
        let durable: Vec<u32> = (0..3 * u32::from(KEYS)).filter(|n| n % 3 > 0).collect();
        let (gone, kept) = durable.split_at(durable.len() - usize::from(KEYS));
        assert!(gone.iter().all(|n| again.find((*n).into()).is_none()));
        assert!(kept.iter().all(|n| again.find((*n).into()) == Some(first(n + 1, true))));
        // The next one takes the place of the oldest.
        let (row, _) = again.remember(u64::MAX, first(u32::MAX, true)).unwrap();
        assert_eq!(disk[&row].key, u64::from(kept[0]));
    }

    #[test]
    fn a_key_used_again_means_the_later_message() {
        let mut keys = Keys::default();
        let rows = [keys.remember(7, first(1, true)), keys.remember(7, first(2, true))];
        assert_eq!(keys.find(7), Some(first(2, true)));
        let recovered = Keys::recovered(rows.into_iter().flatten().collect());
        assert_eq!(recovered.find(7), Some(first(2, true)));
        assert_eq!(keys.forget(MessageId(2)), [1], "its row goes too");
        assert_eq!(keys.find(7), Some(first(1, true)));
    }
}
