//! Messages from the mesh: parts into wholes, and which were delivered before.
//!
//! Owns the parts and the window of delivered messages. Whose inbox a message goes to is `state`'s.
//!
//! Full: a message whose first part finds no room is started again by its sender, until its deadline.

use std::collections::{BTreeMap, VecDeque};

use mesh_protocol::{Address, Duration, Instant, MessageId, Part};

/// Messages in parts at a time, of all sources. Each has at most 64 KiB and its envelope.
const ASSEMBLIES: usize = 64;
/// Parts that stopped coming are given up; six times the reassembly of one block, as the sender backs off.
const GIVE_UP_AFTER: Duration = Duration::from_secs(60);
/// Delivered messages remembered of each source: the window within which a message arrives at most once.
pub(super) const WINDOW: usize = 512;

#[derive(Debug)]
struct Assembly {
    total: u32,
    bytes: Vec<u8>,
    touched: Instant,
}

/// What a part did.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parts {
    /// More are to come.
    Waiting,
    /// Earlier ones are missing.
    Restart,
    /// The message is whole.
    Whole(Vec<u8>),
}

/// Whether a message of this number was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It is new.
    No,
    /// It is being stored.
    Storing,
    /// It is stored.
    Yes,
}

/// The last messages of one source, in the order in which they came: that is not the order of their numbers, as the
/// urgent overtake.
#[derive(Debug, Default)]
struct Window {
    order: VecDeque<MessageId>,
    /// Whether each is on disk.
    synced: BTreeMap<MessageId, bool>,
}

/// Parts and the window.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    assemblies: BTreeMap<(Address, MessageId), Assembly>,
    delivered: BTreeMap<Address, Window>,
}

impl Incoming {
    /// Takes a part in.
    pub(super) fn part(
        &mut self,
        now: Instant,
        source: Address,
        id: MessageId,
        part: Part,
        bytes: &[u8],
    ) -> Parts {
        let key = (source, id);
        if part.offset == 0 {
            if !self.assemblies.contains_key(&key) && self.assemblies.len() >= ASSEMBLIES {
                return Parts::Restart;
            }
            self.assemblies.insert(
                key,
                Assembly { total: part.total, bytes: Vec::with_capacity(part.total as usize), touched: now },
            );
        }
        let Some(assembly) = self.assemblies.get_mut(&key) else { return Parts::Restart };
        if assembly.total != part.total || assembly.bytes.len() < part.offset as usize {
            return Parts::Restart;
        }
        if assembly.bytes.len() == part.offset as usize {
            assembly.bytes.extend_from_slice(bytes);
            assembly.touched = now;
        }
        if assembly.bytes.len() < assembly.total as usize {
            return Parts::Waiting;
        }
        match self.assemblies.remove(&key) {
            Some(assembly) => Parts::Whole(assembly.bytes),
            None => Parts::Waiting,
        }
    }

    /// Gives up what no longer comes.
    pub(super) fn expire(&mut self, now: Instant) -> usize {
        let before = self.assemblies.len();
        self.assemblies.retain(|_, assembly| now.since(assembly.touched) < GIVE_UP_AFTER);
        before - self.assemblies.len()
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.assemblies.values().map(|assembly| assembly.touched + GIVE_UP_AFTER).min()
    }

    pub(super) fn known(&self, source: Address, id: MessageId) -> Known {
        match self.delivered.get(&source).and_then(|window| window.synced.get(&id)) {
            None => Known::No,
            Some(false) => Known::Storing,
            Some(true) => Known::Yes,
        }
    }

    /// Remembers a new message; returns the one that leaves the window for it.
    pub(super) fn remember(&mut self, source: Address, id: MessageId, synced: bool) -> Option<MessageId> {
        let window = self.delivered.entry(source).or_default();
        if window.synced.insert(id, synced).is_none() {
            window.order.push_back(id);
        }
        if window.order.len() <= WINDOW {
            return None;
        }
        let oldest = window.order.pop_front()?;
        window.synced.remove(&oldest);
        Some(oldest)
    }

    /// A message that is remembered is on disk now.
    pub(super) fn synced(&mut self, source: Address, id: MessageId) {
        if let Some(synced) = self.delivered.get_mut(&source).and_then(|window| window.synced.get_mut(&id)) {
            *synced = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Address = Address::new(2);
    const M: MessageId = MessageId(7);

    fn part(incoming: &mut Incoming, offset: u32, bytes: &[u8]) -> Parts {
        incoming.part(Instant::ZERO, A, M, Part { total: 6, offset }, bytes)
    }

    #[test]
    fn parts_in_order_make_the_message_and_repeats_do_no_harm() {
        let mut incoming = Incoming::default();
        assert_eq!(part(&mut incoming, 0, b"ab"), Parts::Waiting);
        assert_eq!(part(&mut incoming, 2, b"cd"), Parts::Waiting);
        assert_eq!(part(&mut incoming, 2, b"cd"), Parts::Waiting);
        assert_eq!(part(&mut incoming, 4, b"ef"), Parts::Whole(b"abcdef".to_vec()));
    }

    #[test]
    fn a_part_without_its_beginning_asks_for_a_restart() {
        let mut incoming = Incoming::default();
        assert_eq!(part(&mut incoming, 2, b"cd"), Parts::Restart);
        assert_eq!(part(&mut incoming, 0, b"ab"), Parts::Waiting);
        assert_eq!(part(&mut incoming, 4, b"ef"), Parts::Restart);
        assert_eq!(incoming.part(Instant::ZERO, A, M, Part { total: 9, offset: 2 }, b"x"), Parts::Restart);
    }

    #[test]
    fn a_full_table_makes_new_messages_start_again_later() {
        let mut incoming = Incoming::default();
        for n in 0..ASSEMBLIES as u32 {
            assert_eq!(
                incoming.part(Instant::ZERO, A, MessageId(n), Part { total: 2, offset: 0 }, b"a"),
                Parts::Waiting
            );
        }
        let part = Part { total: 2, offset: 0 };
        assert_eq!(incoming.part(Instant::ZERO, A, MessageId(999), part, b"a"), Parts::Restart);
        assert_eq!(incoming.expire(Instant::ZERO + GIVE_UP_AFTER), ASSEMBLIES);
        assert_eq!(incoming.part(Instant::ZERO, A, MessageId(999), part, b"a"), Parts::Waiting);
    }

    #[test]
    fn the_window_forgets_the_oldest_of_a_source() {
        let mut incoming = Incoming::default();
        for n in 0..WINDOW as u32 {
            assert_eq!(incoming.remember(A, MessageId(n), true), None);
        }
        assert_eq!(incoming.remember(A, MessageId(9_999), false), Some(MessageId(0)));
        assert_eq!(incoming.known(A, MessageId(0)), Known::No);
        assert_eq!(incoming.known(A, MessageId(9_999)), Known::Storing);
        incoming.synced(A, MessageId(9_999));
        assert_eq!(incoming.known(A, MessageId(9_999)), Known::Yes);
        assert_eq!(
            incoming.remember(A, MessageId(0), true),
            Some(MessageId(1)),
            "a late low number is not the oldest"
        );
        assert_eq!(incoming.known(A, MessageId(0)), Known::Yes);
    }
}
