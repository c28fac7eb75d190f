//! Messages from the mesh: parts into messages, and which were delivered before.
//!
//! Owns the parts and the window of delivered messages. Whose inbox a message goes to is decided in `reception`.
//!
//! Full: a message whose first part finds no room is started again by its sender, until its deadline.

use std::collections::BTreeMap;

use mesh_protocol::{Address, Duration, Instant, MessageId, Part};

/// Messages in parts at a time, of all sources. Each has at most 64 KiB and its envelope.
const ASSEMBLIES: usize = 64;
/// Parts that stopped coming are given up; six times the reassembly of one block, as the sender backs off.
const GIVE_UP_AFTER: Duration = Duration::from_secs(60);
/// Delivered messages remembered of each source, those with the highest numbers. So many newer ones may overtake a message on its
/// way. A guess: a quarter of what a source may have waiting, and 25 kB of memory.
pub(super) const WINDOW: usize = 2_048;
/// A number so far below the window is no old message but another life of the source, which has lost its disk and begun
/// elsewhere. A guess: hours of all that a busy gateway accepts, for its own agents too; and few of all numbers.
const ANOTHER_LIFE: u32 = 1 << 24;

#[derive(Debug)]
struct Assembly {
    total: u32,
    bytes: Vec<u8>,
    touched: Instant,
}

/// What a part did.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Assembled {
    /// More are to come.
    Waiting,
    /// Earlier ones are missing.
    Restart,
    /// The message is complete.
    Complete(Vec<u8>),
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
    /// It is older than all that is remembered of its source: nobody knows any more.
    Forgotten,
}

/// The messages of one source with the highest numbers, and whether each is on disk. When it is full, nothing with a lower number
/// is taken any more, and never what has left it or lies below: it may be a repeat.
#[derive(Debug, Default)]
struct Window {
    ids: BTreeMap<MessageId, bool>,
    /// The highest that has left it.
    floor: Option<MessageId>,
    /// Whether the disk holds it: only where fewer than make it full are left.
    floor_kept: bool,
}

impl Window {
    /// Nothing below this is taken, if there is such a number.
    fn edge(&self) -> Option<MessageId> {
        let first = self.ids.first_key_value().filter(|_| self.ids.len() >= WINDOW).map(|(id, _)| *id);
        first.max(self.floor.map(|floor| MessageId(floor.0.saturating_add(1))))
    }

    /// The floor is another: what is to be taken from the disk for it.
    fn rest_on(&mut self, floor: Option<MessageId>) -> Option<MessageId> {
        let kept = std::mem::take(&mut self.floor_kept);
        std::mem::replace(&mut self.floor, floor).filter(|_| kept)
    }
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
    ) -> Assembled {
        let key = (source, id);
        // A beginning always starts again: its sender gives the parts of one attempt in order, and what came of an earlier one is
        // incomplete.
        if part.offset == 0 {
            if !self.assemblies.contains_key(&key) && self.assemblies.len() >= ASSEMBLIES {
                return Assembled::Restart;
            }
            self.assemblies.insert(
                key,
                Assembly { total: part.total, bytes: Vec::with_capacity(part.total as usize), touched: now },
            );
        }
        let Some(assembly) = self.assemblies.get_mut(&key) else { return Assembled::Restart };
        if assembly.total != part.total || assembly.bytes.len() < part.offset as usize {
            return Assembled::Restart;
        }
        // One that begins before the end of what is there is a repeat, and changes nothing.
        if assembly.bytes.len() == part.offset as usize {
            assembly.bytes.extend_from_slice(bytes);
            assembly.touched = now;
        }
        if assembly.bytes.len() < assembly.total as usize {
            return Assembled::Waiting;
        }
        match self.assemblies.remove(&key) {
            Some(assembly) => Assembled::Complete(assembly.bytes),
            None => Assembled::Waiting,
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
        let Some(window) = self.delivered.get(&source) else { return Known::No };
        match (window.ids.get(&id), window.edge()) {
            (Some(false), _) => Known::Storing,
            (Some(true), _) => Known::Yes,
            (None, Some(edge)) if id < edge && edge.0 - id.0 <= ANOTHER_LIFE => Known::Forgotten,
            (None, _) => Known::No,
        }
    }

    /// Remembers a new message; returns those that leave the window for it.
    pub(super) fn remember(&mut self, source: Address, id: MessageId, synced: bool) -> Vec<MessageId> {
        let window = self.delivered.entry(source).or_default();
        let mut gone = Vec::new();
        // It was taken for new though it lies below the window: its source has begun another life, and what is remembered of the one
        // before says nothing of it.
        if window.edge().is_some_and(|edge| id < edge) {
            gone.extend(std::mem::take(&mut window.ids).into_keys());
            gone.extend(window.rest_on(None));
        }
        window.ids.insert(id, synced);
        while window.ids.len() > WINDOW
            && let Some((oldest, _)) = window.ids.pop_first()
        {
            gone.push(oldest);
            gone.extend(window.rest_on(Some(oldest)));
        }
        gone
    }

    /// A message that is remembered was not stored after all: it is new when it comes again. What has to be written now:
    /// that this one and all below it have left the window, which is full no more and would not say so after a restart.
    pub(super) fn forget(&mut self, source: Address, id: MessageId) -> Option<MessageId> {
        let window = self.delivered.get_mut(&source)?;
        // The window has room now, and without a floor on the disk a restart would take that for room from the beginning.
        window.ids.remove(&id)?;
        let kept = std::mem::replace(&mut window.floor_kept, window.floor.is_some());
        window.floor.filter(|_| !kept)
    }

    /// The disk says that this one and all below it have left the window.
    pub(super) fn restore_floor(&mut self, source: Address, floor: MessageId) {
        let window = self.delivered.entry(source).or_default();
        (window.floor, window.floor_kept) = (Some(floor), true);
    }

    /// A message that is remembered is on disk now.
    pub(super) fn synced(&mut self, source: Address, id: MessageId) {
        if let Some(synced) = self.delivered.get_mut(&source).and_then(|window| window.ids.get_mut(&id)) {
            *synced = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Address = Address::new(2);
    const M: MessageId = MessageId(7);

    fn part(incoming: &mut Incoming, offset: u32, bytes: &[u8]) -> Assembled {
        incoming.part(Instant::ZERO, A, M, Part { total: 6, offset }, bytes)
    }

    #[test]
    fn parts_in_order_make_the_message_and_repeats_do_no_harm() {
        let mut incoming = Incoming::default();
        assert_eq!(part(&mut incoming, 0, b"ab"), Assembled::Waiting);
        assert_eq!(part(&mut incoming, 2, b"cd"), Assembled::Waiting);
        assert_eq!(part(&mut incoming, 2, b"cd"), Assembled::Waiting);
        assert_eq!(part(&mut incoming, 4, b"ef"), Assembled::Complete(b"abcdef".to_vec()));
    }

    #[test]
    fn a_part_without_its_beginning_asks_for_a_restart() {
        let mut incoming = Incoming::default();
        assert_eq!(part(&mut incoming, 2, b"cd"), Assembled::Restart);
        assert_eq!(part(&mut incoming, 0, b"ab"), Assembled::Waiting);
        assert_eq!(part(&mut incoming, 4, b"ef"), Assembled::Restart);
        assert_eq!(
            incoming.part(Instant::ZERO, A, M, Part { total: 9, offset: 2 }, b"x"),
            Assembled::Restart
        );
    }

    #[test]
    fn a_full_table_makes_new_messages_start_again_later() {
        let mut incoming = Incoming::default();
        for n in 0..ASSEMBLIES as u32 {
            assert_eq!(
                incoming.part(Instant::ZERO, A, MessageId(n), Part { total: 2, offset: 0 }, b"a"),
                Assembled::Waiting
            );
        }
        let part = Part { total: 2, offset: 0 };
        assert_eq!(incoming.part(Instant::ZERO, A, MessageId(999), part, b"a"), Assembled::Restart);
        assert_eq!(incoming.expire(Instant::ZERO + GIVE_UP_AFTER), ASSEMBLIES);
        assert_eq!(incoming.part(Instant::ZERO, A, MessageId(999), part, b"a"), Assembled::Waiting);
    }

    /// Outsiders once pushed the window along: they repeated old messages in order, and each was taken for a new one.
    #[test]
    fn what_is_older_than_the_window_is_never_taken_for_new() {
        let mut incoming = Incoming::default();
        let all = 3 * WINDOW as u32;
        for n in 1..=all {
            assert_eq!(incoming.known(A, MessageId(n)), Known::No);
            let gone = incoming.remember(A, MessageId(n), true);
            assert_eq!(
                gone,
                n.checked_sub(WINDOW as u32)
                    .filter(|n| *n > 0)
                    .map(MessageId)
                    .into_iter()
                    .collect::<Vec<_>>()
            );
        }
        let known = |n| incoming.known(A, MessageId(n));
        let old = all - WINDOW as u32;
        assert!((1..=old).all(|n| known(n) == Known::Forgotten));
        assert!((old + 1..=all).all(|n| known(n) == Known::Yes));
        assert_eq!((known(all + 1), incoming.known(Address::new(3), MessageId(1))), (Known::No, Known::No));
    }

    #[test]
    fn a_message_that_others_overtook_is_new() {
        let mut incoming = Incoming::default();
        for n in (2..WINDOW as u32).chain([9_999]) {
            assert_eq!(incoming.remember(A, MessageId(n), true), []);
        }
        assert_eq!(incoming.known(A, MessageId(1)), Known::No);
        assert_eq!(incoming.remember(A, MessageId(1), false), []);
        assert_eq!(incoming.known(A, MessageId(1)), Known::Storing);
        incoming.synced(A, MessageId(1));
        assert_eq!(incoming.known(A, MessageId(1)), Known::Yes);
        assert_eq!(incoming.remember(A, MessageId(5_000), true), [MessageId(1)], "not what came first");
    }

    #[test]
    fn a_source_that_has_lost_its_disk_begins_a_window_of_its_own() {
        let mut incoming = Incoming::default();
        let far = 1 << 30;
        for n in 0..WINDOW as u32 {
            incoming.remember(A, MessageId(far + n), true);
        }
        assert_eq!(incoming.known(A, MessageId(far - ANOTHER_LIFE)), Known::Forgotten);
        let first = MessageId(far - ANOTHER_LIFE - 1);
        assert_eq!(incoming.known(A, first), Known::No);
        assert_eq!(incoming.remember(A, first, true).len(), WINDOW);
        assert_eq!(
            (incoming.known(A, first), incoming.known(A, MessageId(first.0 - 1))),
            (Known::Yes, Known::No)
        );
    }

    /// When the store failed, the newest message was forgotten, the window was full no more, and all that had ever left it was taken
    /// for new.
    #[test]
    fn a_message_taken_back_does_not_open_the_window_again_nor_after_a_restart() {
        let mut incoming = Incoming::default();
        let all = WINDOW as u32 + 10;
        let mut rows = std::collections::BTreeSet::new();
        for n in 1..=all {
            rows.insert(n);
            for gone in incoming.remember(A, MessageId(n), true) {
                rows.remove(&gone.0);
            }
        }
        rows.remove(&all);
        let floor = incoming.forget(A, MessageId(all)).unwrap();
        rows.remove(&(all - 1));
        assert_eq!(incoming.forget(A, MessageId(all - 1)), None, "it is written once");
        let mut restarted = Incoming::default();
        restarted.restore_floor(A, floor);
        for n in rows {
            assert_eq!(restarted.remember(A, MessageId(n), true), []);
        }
        for mut incoming in [incoming, restarted] {
            let known = |n| incoming.known(A, MessageId(n));
            assert!((1..=10).all(|n| known(n) == Known::Forgotten));
            assert!((11..=all - 2).all(|n| known(n) == Known::Yes));
            assert!((all - 1..=all + 1).all(|n| known(n) == Known::No), "it comes again");
            assert_eq!(incoming.remember(A, MessageId(all - 1), true), []);
            assert_eq!(incoming.remember(A, MessageId(all), true), []);
            let gone = incoming.remember(A, MessageId(all + 1), true);
            assert_eq!(gone, [MessageId(11), floor], "and what was written of the floor");
        }
    }
}
