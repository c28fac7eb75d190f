//! A device's flash: what is left of it after its power was cut.
//!
//! Owns writes that take time, what a cut does to the one under way, and the checksum that finds half a write. What is
//! written, and what may be done only behind it, is the device's business.
//!
//! A write is one record with everything that was staged by the time it began, so that a cut leaves all or nothing of
//! it. Records are only bytes once a cut has come: until then the parsed state says the same.

use std::collections::{BTreeMap, BTreeSet};

use mesh_protocol::{Address, Duration, Instant, MessageId, MessageRef, Priority, ReplayMark};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Letter;
use crate::scenario;

/// Bytes of SHA-256 that guard a record. A guess: one damaged record in 2^64 passes.
const CHECKSUM: usize = 8;
/// Message numbers reserved at a time: as for SEQs on a small node (`docs/protocol.md`, "SEQ").
pub(super) const ID_BLOCK: u32 = 1_024;

/// One thing that a device wants kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Change {
    /// SEQs below this may be used.
    Seq(u32),
    /// So may message numbers below this.
    Ids(u32),
    /// The highest SEQ taken of a source when it brought a message, and its epoch.
    Mark(Address, u32, u32),
    /// A message that arrived.
    Inbox {
        source: Address,
        id: MessageId,
        priority: Priority,
        hops: u8,
        body: Vec<u8>,
        reply_to: Option<MessageRef>,
    },
    /// An own message.
    Outbox(MessageId, Letter),
    /// One that is done.
    Settled(MessageId),
}

/// What flash holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) seq: u32,
    pub(super) ids: u32,
    pub(super) marks: BTreeMap<Address, (u32, u32)>,
    pub(super) inbox: BTreeSet<(Address, MessageId)>,
    pub(super) outbox: BTreeMap<MessageId, Letter>,
}

impl Kept {
    /// Whether nothing up to this mark will be taken after a restart.
    pub(super) fn has(&self, mark: ReplayMark) -> bool {
        self.marks.get(&mark.src).is_some_and(|kept| *kept >= (mark.epoch, mark.seq))
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Seq(up_to) => self.seq = self.seq.max(*up_to),
            Change::Ids(up_to) => self.ids = self.ids.max(*up_to),
            Change::Mark(source, epoch, seq) => {
                let known = self.marks.entry(*source).or_default();
                *known = (*known).max((*epoch, *seq));
            }
            Change::Inbox { source, id, .. } => drop(self.inbox.insert((*source, *id))),
            Change::Outbox(id, letter) => drop(self.outbox.insert(*id, letter.clone())),
            Change::Settled(id) => drop(self.outbox.remove(id)),
        }
    }
}

/// A write under way.
#[derive(Clone, Debug)]
struct Write {
    done: Instant,
    changes: Vec<Change>,
}

/// The flash of one device.
#[derive(Clone, Debug)]
pub(super) struct Flash {
    /// How long a write takes.
    takes: Duration,
    kept: Kept,
    staged: Vec<Change>,
    write: Option<Write>,
    /// What stands behind the last whole record since a cut.
    tail: Vec<u8>,
}

impl Flash {
    /// An empty one whose writes take so long.
    pub(super) fn new(takes: Duration) -> Self {
        Self { takes, kept: Kept::default(), staged: Vec::new(), write: None, tail: Vec::new() }
    }

    /// The same, with numbers below `used` taken.
    pub(super) fn used(takes: Duration, used: u32) -> Self {
        let mut flash = Self::new(takes);
        (flash.kept.seq, flash.kept.ids) = (used, used);
        flash
    }

    /// Everything whose write is done.
    pub(super) const fn kept(&self) -> &Kept {
        &self.kept
    }

    /// Wants something written; [`poll`](Self::poll) tells when it is.
    pub(super) fn stage(&mut self, change: Change) {
        self.staged.push(change);
    }

    /// Ends a write that is done by `now` and begins the next. The changes that have just become safe, in order; empty
    /// when nothing has.
    pub(super) fn poll(&mut self, now: Instant) -> Vec<Change> {
        let mut safe = Vec::new();
        loop {
            if let Some(write) = self.write.take_if(|write| write.done <= now) {
                write.changes.iter().for_each(|change| self.kept.apply(change));
                safe.extend(write.changes);
            }
            if self.write.is_some() || self.staged.is_empty() {
                return safe;
            }
            self.write = Some(Write { done: now + self.takes, changes: std::mem::take(&mut self.staged) });
        }
    }

    /// When a write will be done, if one is under way.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.write.as_ref().map(|write| write.done)
    }

    /// Power is cut. Whether a write was under way; only of that one anything can be lost, as nobody was told that it is done.
    pub(super) fn cut(&mut self, flash: scenario::Flash) -> bool {
        self.staged.clear();
        let Some(write) = self.write.take() else { return false };
        let mut record = record(&write.changes);
        match flash {
            scenario::Flash::Kept => {}
            scenario::Flash::Lost => record.clear(),
            scenario::Flash::Torn => record.truncate(record.len() / 2),
        }
        self.tail = record;
        true
    }

    /// Power is back: a last record that is whole counts, half a one does not. What it says, which nobody has acted on yet.
    pub(super) fn recover(&mut self) -> Vec<Change> {
        let changes = read(&std::mem::take(&mut self.tail)).unwrap_or_default();
        changes.iter().for_each(|change| self.kept.apply(change));
        changes
    }
}

fn record(changes: &[Change]) -> Vec<u8> {
    // Numbers, strings and lists of them: serde_json writes them all.
    let text = serde_json::to_vec(changes).unwrap_or_default();
    let mut bytes = Sha256::digest(&text)[..CHECKSUM].to_vec();
    bytes.extend(text);
    bytes
}

fn read(bytes: &[u8]) -> Option<Vec<Change>> {
    let (checksum, text) = bytes.split_at_checked(CHECKSUM)?;
    (Sha256::digest(text)[..CHECKSUM] == *checksum).then(|| serde_json::from_slice(text).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAKES: Duration = Duration::from_millis(5);

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn letter() -> Letter {
        let (to, priority) = (Address::new(9), Priority::High);
        Letter { to, priority, within: Duration::from_secs(1), envelope: vec![1, 2, 3] }
    }

    fn inbox(source: u16, id: u32) -> Change {
        let (source, id) = (Address::new(source), MessageId(id));
        Change::Inbox { source, id, priority: Priority::Low, hops: 3, body: vec![7; 5], reply_to: None }
    }

    #[test]
    fn a_write_takes_its_time_and_what_came_meanwhile_goes_with_the_next() {
        let mut flash = Flash::new(TAKES);
        flash.stage(Change::Seq(8));
        assert_eq!(flash.poll(at(0)), []);
        flash.stage(Change::Ids(4));
        flash.stage(Change::Seq(16));
        assert_eq!((flash.poll(at(4)), flash.poll_timeout()), (vec![], Some(at(5))));
        assert_eq!(flash.kept().seq, 0);
        assert_eq!(flash.poll(at(5)), [Change::Seq(8)]);
        assert_eq!(flash.poll_timeout(), Some(at(10)));
        assert_eq!(flash.poll(at(10)), [Change::Ids(4), Change::Seq(16)]);
        assert_eq!((flash.kept().seq, flash.kept().ids, flash.poll_timeout()), (16, 4, None));
    }

    #[test]
    fn a_flash_that_takes_no_time_is_done_at_once() {
        let mut flash = Flash::new(Duration::ZERO);
        flash.stage(Change::Seq(8));
        assert_eq!(flash.poll(at(0)), [Change::Seq(8)]);
        assert!(!flash.cut(scenario::Flash::Lost), "nothing is under way");
        assert_eq!(flash.recover(), []);
        assert_eq!(flash.kept().seq, 8);
    }

    #[test]
    fn a_cut_keeps_loses_or_tears_the_write_under_way_and_nothing_else() {
        for (how, seq) in
            [(scenario::Flash::Kept, 16), (scenario::Flash::Lost, 8), (scenario::Flash::Torn, 8)]
        {
            let mut flash = Flash::new(TAKES);
            flash.stage(Change::Seq(8));
            flash.poll(at(0));
            flash.poll(at(5));
            flash.stage(Change::Seq(16));
            flash.stage(Change::Outbox(MessageId(3), letter()));
            flash.poll(at(6));
            flash.stage(Change::Seq(24));
            assert!(flash.cut(how));
            let found = flash.recover();
            assert_eq!(found.len(), if seq == 16 { 2 } else { 0 }, "{how:?}");
            assert_eq!(flash.kept().seq, seq, "{how:?}");
            assert_eq!(flash.kept().outbox.len(), usize::from(seq == 16), "{how:?}: all or nothing");
            assert_eq!(flash.poll(at(99)), [], "what had not begun is gone");
        }
    }

    #[test]
    fn half_a_record_is_never_read_wherever_it_breaks_off() {
        let changes = vec![Change::Mark(Address::new(1), 1, 7), inbox(2, 5)];
        let whole = record(&changes);
        assert_eq!(read(&whole), Some(changes));
        for len in 0..whole.len() {
            assert_eq!(read(&whole[..len]), None, "{len}");
        }
    }

    #[test]
    fn everything_kept_is_found_again() {
        let mut flash = Flash::new(Duration::ZERO);
        for change in [
            Change::Mark(Address::new(1), 1, 7),
            Change::Mark(Address::new(2), 1, 9),
            Change::Mark(Address::new(1), 1, 5),
            inbox(1, 2),
            Change::Outbox(MessageId(3), letter()),
            Change::Outbox(MessageId(4), letter()),
            Change::Settled(MessageId(3)),
        ] {
            flash.stage(change);
        }
        flash.poll(at(1));
        flash.cut(scenario::Flash::Torn);
        assert_eq!(flash.recover(), [], "all was acted on");
        let kept = flash.kept();
        assert_eq!(kept.marks, BTreeMap::from([(Address::new(1), (1, 7)), (Address::new(2), (1, 9))]));
        assert_eq!(kept.inbox, BTreeSet::from([(Address::new(1), MessageId(2))]));
        assert_eq!(kept.outbox, BTreeMap::from([(MessageId(4), letter())]));
    }
}
