//! The tables of a simulated device: as large as an experiment needs.
//!
//! Owns nothing but their growth. A board has bounded ones, of which `mesh_firmware` brings some; here a bound would be one more thing that
//! an experiment measures.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use mesh_firmware::flash_log::Marks;
use mesh_firmware::tables::{MessageName, MessageSet, Queue};
use mesh_protocol::{Address, ReplayMark};

/// A queue that takes everything.
#[derive(Clone, Debug)]
pub(super) struct Unbounded<T>(VecDeque<T>);

impl<T> Default for Unbounded<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Queue<T> for Unbounded<T> {
    fn push(&mut self, item: T) -> bool {
        self.0.push_back(item);
        true
    }

    fn front(&self) -> Option<&T> {
        self.0.front()
    }

    fn pop(&mut self) -> Option<T> {
        self.0.pop_front()
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

/// A table that forgets no message.
#[derive(Clone, Debug, Default)]
pub(super) struct AllMessages(BTreeSet<MessageName>);

impl MessageSet for AllMessages {
    fn contains(&self, name: MessageName) -> bool {
        self.0.contains(&name)
    }

    fn insert(&mut self, name: MessageName) {
        self.0.insert(name);
    }

    fn remove(&mut self, name: MessageName) {
        self.0.remove(&name);
    }

    fn clear(&mut self) {
        self.0.clear();
    }

    fn is_full(&self) -> bool {
        false
    }
}

/// Marks of all sources, in order of their addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct AllMarks(BTreeMap<Address, ReplayMark>);

impl Marks for AllMarks {
    fn get(&self, source: Address) -> Option<ReplayMark> {
        self.0.get(&source).copied()
    }

    fn raise(&mut self, mark: ReplayMark) -> bool {
        let kept = self.0.entry(mark.src).or_insert(mark);
        if (kept.epoch, kept.seq) < (mark.epoch, mark.seq) {
            *kept = mark;
        }
        true
    }

    fn room(&self) -> usize {
        usize::MAX
    }

    fn iter(&self) -> impl Iterator<Item = ReplayMark> + '_ {
        self.0.values().copied()
    }
}
