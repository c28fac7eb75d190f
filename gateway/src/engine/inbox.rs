//! One agent's inbox: messages and receipts under cursors, until the agent acknowledges them.
//!
//! Owns what may be shown to the agent, the cursors, and whether there is room for another item (`has_room_for`). Everything durable in it is in the store too; staging that is for the
//! callers, who know what else belongs to the same step. Who is shown it, and how fast, is `agent`'s.
//!
//! # Why some items wait and others do not
//! An agent that resumes says the last cursor that it handled. So no cursor that it was shown may ever stand for another item, also
//! after a power cut. A durable item keeps its cursor by being on the disk: it is shown once it is synced. An item in memory only is lost
//! in a power cut, and its cursor with it; it may be shown once the disk says that cursors up to that one were given away.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mesh_agent::api::{Destination, MessageRef};
use mesh_protocol::Priority;

use super::accounts::Charge;
use super::encoding::encode;
use super::item::Item;
use crate::share::for_priority;

/// Cursors reserved at a time, in one write.
const CURSORS: u64 = 1_024;

/// An item in an inbox, and whether the store has it too.
#[derive(Debug)]
struct Kept {
    cursor: u64,
    item: Item,
    durable: bool,
    /// On whose account it stands.
    charge: Option<Charge>,
}

/// What an ack takes out of an inbox.
#[derive(Debug)]
pub(super) struct Acked {
    /// The items, and whether the store had each.
    pub(super) items: Vec<(Item, bool)>,
    /// Whether it had any.
    pub(super) durable: bool,
}

/// Bytes that several inboxes hold together.
#[derive(Clone, Debug, Default)]
pub(super) struct Held(Arc<AtomicUsize>);

impl Held {
    pub(super) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Inbox {
    kept: VecDeque<Kept>,
    /// How many of `kept` the present session has been shown.
    shown: usize,
    /// What came after the store had failed and need not be on the disk, and waits for credit.
    fleeting: VecDeque<(Item, Option<Charge>)>,
    bytes: usize,
    /// Where its bytes are counted together with those of others.
    all: Held,
    acked: u64,
    next_cursor: u64,
    /// Everything durable up to here is on disk; what lies behind is shown to nobody, or a power cut could give its cursor to
    /// another item.
    synced: u64,
    /// Cursors below this one are given to no other item after a power cut, and so may be shown without being on disk.
    reserved: u64,
    /// What `reserved` becomes once the write that is under way is synced.
    reserving: u64,
}

/// How much one inbox may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct InboxBound {
    pub(super) messages: usize,
    pub(super) bytes: usize,
    /// For all inboxes together.
    pub(super) total_bytes: usize,
}

impl Default for Inbox {
    fn default() -> Self {
        Self {
            kept: VecDeque::new(),
            shown: 0,
            fleeting: VecDeque::new(),
            bytes: 0,
            all: Held::default(),
            acked: 0,
            next_cursor: 1,
            synced: 0,
            reserved: 0,
            reserving: 0,
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.all.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Inbox {
    /// The inbox as the store had it: acknowledged up to `acked`, with cursors below `reserved` given away.
    pub(super) fn recovered(acked: u64, reserved: u64, kept: Vec<(u64, Item, Option<Charge>)>) -> Self {
        let last = kept.last().map_or(acked, |(cursor, ..)| *cursor).max(acked);
        let mut inbox = Self::default();
        inbox.weigh(kept.iter().map(|(_, item, _)| item.weight()).sum());
        let kept = kept.into_iter();
        inbox.kept =
            kept.map(|(cursor, item, charge)| Kept { cursor, item, durable: true, charge }).collect();
        inbox.acked = acked;
        inbox.next_cursor = (last + 1).max(reserved);
        inbox.synced = last;
        (inbox.reserved, inbox.reserving) = (reserved, reserved);
        inbox
    }

    /// No later agent can have its cursors: all of them may be shown at once.
    pub(super) fn reserve_all(&mut self) {
        (self.reserved, self.reserving) = (u64::MAX, u64::MAX);
    }

    /// Counts its bytes together with those of others from now on.
    pub(super) fn count_into(&mut self, all: &Held) {
        let bytes = self.bytes;
        self.lighten(bytes);
        self.all = all.clone();
        self.weigh(bytes);
    }

    fn weigh(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.all.0.fetch_add(bytes, Ordering::Relaxed);
    }

    fn lighten(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.all.0.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// The cursors below which some may have been given to items that are not on the disk, as its record is to say.
    pub(super) const fn reserving(&self) -> u64 {
        self.reserving
    }

    /// Whether one more message of this priority fits. The last sixteenth is for CRITICAL ones.
    pub(super) fn has_room_for(&self, bound: InboxBound, priority: Priority) -> bool {
        let left = |most| for_priority(most, priority);
        self.has_room(InboxBound {
            messages: left(bound.messages),
            bytes: left(bound.bytes),
            total_bytes: left(bound.total_bytes),
        })
    }

    /// Whether one more item fits.
    pub(super) fn has_room(&self, bound: InboxBound) -> bool {
        self.depth() < bound.messages && self.bytes < bound.bytes && self.all.bytes() < bound.total_bytes
    }

    /// Puts an item into the inbox; returns its place. One that is not `durable` is in memory only.
    pub(super) fn keep(&mut self, item: Item, durable: bool, charge: Option<Charge>) -> u64 {
        let cursor = self.next_cursor;
        self.next_cursor += 1;
        self.weigh(item.weight());
        self.kept.push_back(Kept { cursor, item: item.at(Some(cursor)), durable, charge });
        cursor
    }

    /// The item that was kept last, as the store has it.
    pub(super) fn last_kept(&self) -> Option<Vec<u8>> {
        self.kept.back().map(Kept::record)
    }

    /// Whether more cursors have to be reserved for items that are not on disk. If so, its record says which.
    pub(super) fn reserves(&mut self) -> Option<u64> {
        if self.reserving.saturating_sub(self.next_cursor) > CURSORS / 2 {
            return None;
        }
        self.reserving = self.next_cursor + CURSORS;
        Some(self.reserving)
    }

    /// That record is on disk.
    pub(super) fn reserved(&mut self, up_to: u64) {
        self.reserved = self.reserved.max(up_to);
    }

    /// Gives everything that is in memory only, to be put on the disk; its record has to follow it there.
    pub(super) fn in_memory(&mut self) -> impl Iterator<Item = (u64, Vec<u8>)> {
        (self.reserved, self.reserving) = (0, 0);
        self.kept.iter().filter(|kept| !kept.durable).map(|kept| (kept.cursor, kept.record()))
    }

    /// Whether its record has cursors reserved that need not be.
    pub(super) const fn has_reserved(&self) -> bool {
        self.reserving > 0
    }

    /// Holds something that cannot be kept until there is credit for it.
    pub(super) fn hold(&mut self, item: Item, charge: Option<Charge>) {
        self.weigh(item.weight());
        self.fleeting.push_back((item, charge));
    }

    /// The store has failed: takes out what was refused, and receipts of it. What need not be on the disk does not wait for it: it
    /// is shown without a cursor, as cursors that are not on the disk belong to others after a restart. The rest waits. The cursors
    /// of which nothing is to get to the disk.
    pub(super) fn take_back(&mut self, refused: &BTreeSet<MessageRef>) -> Vec<u64> {
        let (mut gone, mut waits) = (Vec::new(), false);
        for kept in std::mem::take(&mut self.kept) {
            let stays = kept.may_be_shown(self.synced, self.reserved);
            if kept.cursor > self.synced && refused.contains(kept.item.id()) {
                self.lighten(kept.item.weight());
                gone.extend(kept.durable.then_some(kept.cursor));
            } else if kept.durable || stays && !waits {
                waits |= !stays;
                self.kept.push_back(kept);
            } else {
                self.lighten(kept.item.weight());
                self.hold(kept.item.at(None), kept.charge);
            }
        }
        gone
    }

    /// The store writes again: what was held meanwhile, to be kept.
    pub(super) fn take_held(&mut self) -> VecDeque<(Item, Option<Charge>)> {
        let held = std::mem::take(&mut self.fleeting);
        self.lighten(held.iter().map(|(item, _)| item.weight()).sum());
        held
    }

    /// A session begins at `resume`, or behind the last ack; returns where.
    pub(super) fn begin(&mut self, resume: Option<u64>) -> u64 {
        let from = resume.unwrap_or(self.acked).clamp(self.acked, self.next_cursor - 1);
        self.shown = self.kept.partition_point(|kept| kept.cursor <= from);
        from
    }

    /// The session has ended: nothing of it is shown to anybody.
    pub(super) fn end(&mut self) {
        self.shown = 0;
    }

    /// What is to be shown next, if it may be.
    pub(super) fn next(&self) -> Option<&Item> {
        let fleeting = self.fleeting.front().map(|(item, _)| item);
        let kept = self.kept.get(self.shown).filter(|kept| kept.may_be_shown(self.synced, self.reserved));
        fleeting.or(kept.map(|kept| &kept.item))
    }

    /// [`Self::next`] was shown. What is fleeting is gone with it, as no ack can name it.
    pub(super) fn advance(&mut self) {
        match self.fleeting.pop_front() {
            Some((item, _)) => self.lighten(item.weight()),
            None => self.shown += 1,
        }
    }

    /// The agent has handled everything up to `cursor`: gives it away. `None` when nothing changes.
    pub(super) fn ack(&mut self, cursor: u64) -> Option<Acked> {
        let count = self.kept.partition_point(|known| known.cursor <= cursor);
        if count == 0 {
            return None;
        }
        self.acked = self.kept[count - 1].cursor;
        self.shown = self.shown.saturating_sub(count);
        let items: Vec<(Item, bool)> =
            self.kept.drain(..count).map(|kept| (kept.item, kept.durable)).collect();
        self.lighten(items.iter().map(|(item, _)| item.weight()).sum());
        let durable = items.iter().any(|(_, durable)| *durable);
        Some(Acked { items, durable })
    }

    /// Everything up to `cursor` is on disk now.
    pub(super) fn synced(&mut self, cursor: u64) {
        self.synced = self.synced.max(cursor);
    }

    /// Whether a cursor was ever given to this agent.
    pub(super) const fn knows(&self, cursor: u64) -> bool {
        cursor < self.next_cursor
    }

    /// Whether nothing waits for an ack.
    pub(super) fn has_none_kept(&self) -> bool {
        self.kept.is_empty()
    }

    pub(super) const fn acked(&self) -> u64 {
        self.acked
    }

    /// Events that wait for this agent.
    pub(super) fn depth(&self) -> usize {
        self.kept.len() + self.fleeting.len()
    }

    /// What would be lost with it, least first; `None` when it must not be.
    pub(super) fn worth(&self) -> Option<Worth> {
        let items = self.kept.iter().map(|kept| &kept.item).chain(self.fleeting.iter().map(|(item, _)| item));
        let of_items = items.map(|item| match item {
            Item::Message(message, _)
                if matches!(message.to, Destination::Group(_) | Destination::Everyone)
                    && message.priority != Priority::Critical =>
            {
                Some(Worth::SaidToMany)
            }
            Item::Message(..) => None,
            Item::Receipt(_) => Some(Worth::Receipts),
        });
        of_items.into_iter().try_fold(Worth::Nothing, |most, one| Some(most.max(one?)))
    }
}

impl Kept {
    fn record(&self) -> Vec<u8> {
        encode(&(&self.item, self.charge.as_ref().map(Charge::token)))
    }

    fn may_be_shown(&self, synced: u64, reserved: u64) -> bool {
        self.cursor <= synced || (!self.durable && self.cursor < reserved)
    }
}

/// What an absent agent has here that nobody else has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Worth {
    /// A name.
    Nothing,
    /// Subscriptions, and what was said to groups or everyone and was not CRITICAL.
    SaidToMany,
    /// Receipts that it has not acknowledged, or that may still come.
    Receipts,
}

#[cfg(test)]
mod tests {
    use mesh_protocol::Address;

    use super::super::item::samples::{message, receipt};
    use super::*;

    #[test]
    fn a_failing_disk_takes_back_what_was_refused_and_nothing_else() {
        let mut bob = Inbox::default();
        let to_bob = || message(Destination::Node(Address::new(1)));
        assert_eq!(
            (bob.keep(to_bob(), true, None), bob.keep(to_bob(), true, None), bob.keep(receipt(), true, None)),
            (1, 2, 3)
        );
        bob.synced(1);
        let refused = [*to_bob().id()].into();
        assert_eq!(bob.take_back(&refused), [2]);
        let kept: Vec<u64> = bob.kept.iter().map(|kept| kept.cursor).collect();
        assert_eq!(kept, [1, 3], "of the same number, the first is on the disk");
        assert_eq!(bob.take_back(&[*receipt().id()].into()), [3]);
    }

    #[test]
    fn what_is_in_memory_only_is_shown_under_reserved_cursors() {
        let mut bob = Inbox::default();
        let to_bob = || message(Destination::Node(Address::new(1)));
        let shown = |bob: &Inbox| -> Vec<u64> {
            let may = bob.kept.iter().filter(|kept| kept.may_be_shown(bob.synced, bob.reserved));
            may.map(|kept| kept.cursor).collect()
        };
        let up_to = bob.reserves().unwrap();
        bob.keep(to_bob(), false, None);
        assert_eq!((shown(&bob), bob.reserves()), (vec![], None));
        bob.reserved(up_to);
        bob.keep(to_bob(), true, None);
        assert_eq!(shown(&bob), [1], "the second must be on disk");
        let reserving = bob.reserving();
        assert!(!bob.ack(1).unwrap().durable && bob.ack(2).unwrap().durable);
        let again = Inbox::recovered(0, reserving, Vec::new());
        assert_eq!((again.next_cursor, again.acked), (up_to, 0), "no cursor is given twice");
        while bob.next_cursor < up_to - CURSORS / 2 {
            assert_eq!(bob.reserves(), None);
            bob.keep(to_bob(), false, None);
        }
        assert_eq!(bob.reserves(), Some(up_to + CURSORS / 2), "in time");
    }

    #[test]
    fn a_failing_disk_takes_nothing_that_it_need_not_have() {
        let mut bob = Inbox::default();
        let to_bob = || message(Destination::Node(Address::new(1)));
        bob.reserved(9);
        for durable in [false, true, false] {
            bob.keep(to_bob(), durable, None);
        }
        assert!(bob.take_back(&BTreeSet::new()).is_empty());
        let kept: Vec<u64> = bob.kept.iter().map(|kept| kept.cursor).collect();
        assert_eq!(kept, [1, 2], "the second waits for the disk, the third not for the second");
        let [(Item::Message(held, _), _)] = bob.fleeting.make_contiguous() else { panic!("the third") };
        assert_eq!(held.cursor, None);
    }

    #[test]
    fn bytes_are_counted_together_through_every_change() {
        let all = Held::default();
        let mut bob = Inbox::default();
        bob.keep(receipt(), true, None);
        bob.count_into(&all);
        let one = all.bytes();
        bob.keep(message(Destination::Everyone), false, None);
        bob.hold(receipt(), None);
        assert!(one > 0 && all.bytes() == bob.bytes);
        let bound = InboxBound { messages: 10, bytes: 1 << 20, total_bytes: all.bytes() };
        assert!(!bob.has_room(bound) && bob.has_room(InboxBound { total_bytes: all.bytes() + 1, ..bound }));
        bob.ack(1);
        bob.synced(1);
        bob.take_back(&[*receipt().id()].into());
        assert_eq!(all.bytes(), bob.bytes);
        drop(bob);
        assert_eq!(all.bytes(), 0);
    }
}
