//! A device's flash: what is left of it after its power was cut.
//!
//! Owns writes that take time, and what a cut does to the one under way. What a record looks like, and that half of one does not count, is
//! the firmware's business (`mesh_firmware::flash_log`); what is written, and what may be done only behind it, the device's.
//!
//! A write is one record with everything that was staged by the time it began, so that a cut leaves all or nothing of it.

use std::collections::{BTreeMap, BTreeSet};

use mesh_firmware::flash_log::{self, FlashLog, Kept};
use mesh_firmware::tables::MessageName;
use mesh_protocol::{Address, Duration, Instant, MessageId, MessageRef, Priority};

use super::Posting;
use super::chip::Chip;
use super::memory::AllMarks;
use crate::scenario;

/// One thing that a device wants kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// What every firmware keeps.
    Log(flash_log::Change),
    /// A message that arrived.
    Inbox {
        source: Address,
        id: MessageId,
        priority: Priority,
        hops: u8,
        body: Vec<u8>,
        reply_to: Option<MessageRef>,
        /// Who waits for a receipt, and of which message of its.
        receipt: Option<MessageName>,
    },
    /// An own message, and when the device was given it by its clock.
    Outbox { id: MessageId, posting: Posting, posted: Instant },
    /// One that is done.
    Completed(MessageId),
}

/// Messages that a device keeps as a gateway does. They do not stand in the log: a device that has room for them has a disk. But they count
/// only with the record of the log that was written behind them, so that a cut leaves both or neither.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct KeptMessages {
    pub(super) inbox: BTreeSet<(Address, MessageId)>,
    pub(super) outbox: BTreeMap<MessageId, Posting>,
}

impl KeptMessages {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Log(_) => {}
            Change::Inbox { source, id, .. } => drop(self.inbox.insert((*source, *id))),
            Change::Outbox { id, posting, .. } => drop(self.outbox.insert(*id, posting.clone())),
            Change::Completed(id) => drop(self.outbox.remove(id)),
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
    chip: Chip,
    log: FlashLog<AllMarks>,
    messages: KeptMessages,
    staged: Vec<Change>,
    write: Option<Write>,
    /// What a cut has left whole of the write that it met: it counts once it is found.
    unread: Vec<Change>,
}

impl Flash {
    /// One whose writes take so long, and that says that SEQs of this epoch and message numbers below `used` are taken.
    pub(super) fn used(takes: Duration, epoch: u32, used: u32) -> Self {
        let mut chip = Chip::default();
        let mut log = open(&mut chip);
        // It leaves the factory with a first record: a cut that broke that one would leave a device that cannot start.
        write(
            &mut log,
            &mut chip,
            &[flash_log::Change::Seq { epoch, up_to: used }, flash_log::Change::Messages(used)],
        );
        let messages = KeptMessages::default();
        Self { takes, chip, log, messages, staged: Vec::new(), write: None, unread: Vec::new() }
    }

    /// What firmware keeps, as far as its write is done.
    pub(super) const fn kept(&self) -> &Kept<AllMarks> {
        self.log.kept()
    }

    /// What a gateway keeps, as far as its write is done.
    pub(super) const fn messages(&self) -> &KeptMessages {
        &self.messages
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
            if let Some(done) = self.write.take_if(|write| write.done <= now) {
                write(&mut self.log, &mut self.chip, &logged(&done.changes));
                done.changes.iter().for_each(|change| self.messages.apply(change));
                safe.extend(done.changes);
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

    /// Power is cut. Whether a write was under way; only of that one anything can be lost, as nobody acted on it yet.
    pub(super) fn cut(&mut self, flash: scenario::Flash) -> bool {
        self.staged.clear();
        let Some(broken) = self.write.take() else { return false };
        let changes = logged(&broken.changes);
        // How long the write is, a copy of the chip tells: it may be a record, or a whole half.
        let mut whole = self.chip.clone();
        write(&mut self.log.clone(), &mut whole, &changes);
        let length = whole.written() - self.chip.written();
        self.chip.cut_behind(Some(match flash {
            scenario::Flash::Kept => length,
            scenario::Flash::Lost => 0,
            scenario::Flash::Torn => length / 2,
        }));
        // The write goes through a copy: what a log holds in RAM is lost with the power, and `self.log` stays as it was until it is
        // opened again.
        let is_whole = self.log.clone().write(&mut self.chip, &changes).is_ok();
        self.chip.cut_behind(None);
        if is_whole {
            self.unread = broken.changes;
        }
        true
    }

    /// Power is back: a last record that is whole counts, half a one does not. What it says, which nobody has acted on yet.
    pub(super) fn recover(&mut self) -> Vec<Change> {
        self.log = open(&mut self.chip);
        let changes = std::mem::take(&mut self.unread);
        changes.iter().for_each(|change| self.messages.apply(change));
        changes
    }
}

/// The part of these changes that stands in the log.
fn logged(changes: &[Change]) -> Vec<flash_log::Change> {
    let log = changes.iter().filter_map(|change| match change {
        Change::Log(change) => Some(*change),
        _ => None,
    });
    log.collect()
}

fn open(chip: &mut Chip) -> FlashLog<AllMarks> {
    FlashLog::open(chip, AllMarks::default()).expect("a cut damages nothing but the write that it meets")
}

fn write(log: &mut FlashLog<AllMarks>, chip: &mut Chip, changes: &[flash_log::Change]) {
    log.write(chip, changes)
        .expect("the chip has power, and room for the marks of more sources than a node knows");
}

#[cfg(test)]
mod tests {
    use mesh_firmware::flash_log::Marks;
    use mesh_protocol::ReplayMark;

    use super::*;

    const TAKES: Duration = Duration::from_millis(5);

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn posting() -> Posting {
        let (to, priority) = (Address::new(9), Priority::High);
        Posting { to, priority, within: Duration::from_secs(1), envelope: vec![1, 2, 3] }
    }

    fn outbox(id: MessageId) -> Change {
        Change::Outbox { id, posting: posting(), posted: at(0) }
    }

    const fn seqs(up_to: u32) -> Change {
        Change::Log(flash_log::Change::Seq { epoch: 1, up_to })
    }

    const fn mark(source: u16, seq: u32) -> Change {
        Change::Log(flash_log::Change::Mark(ReplayMark { src: Address::new(source), epoch: 1, seq }))
    }

    fn inbox(source: u16, id: u32) -> Change {
        let (source, id) = (Address::new(source), MessageId(id));
        Change::Inbox {
            source,
            id,
            priority: Priority::Low,
            hops: 3,
            body: vec![7; 5],
            reply_to: None,
            receipt: Some((source, id)),
        }
    }

    #[test]
    fn a_write_takes_its_time_and_what_came_meanwhile_goes_with_the_next() {
        let mut flash = Flash::used(TAKES, 1, 0);
        flash.stage(seqs(8));
        assert_eq!(flash.poll(at(0)), []);
        flash.stage(Change::Log(flash_log::Change::Messages(4)));
        flash.stage(seqs(16));
        assert_eq!((flash.poll(at(4)), flash.poll_timeout()), (vec![], Some(at(5))));
        assert_eq!(flash.kept().seq_start(1), 0);
        assert_eq!(flash.poll(at(5)), [seqs(8)]);
        assert_eq!(flash.poll_timeout(), Some(at(10)));
        assert_eq!(flash.poll(at(10)), [Change::Log(flash_log::Change::Messages(4)), seqs(16)]);
        assert_eq!((flash.kept().seq_start(1), flash.kept().messages(), flash.poll_timeout()), (16, 4, None));
    }

    #[test]
    fn a_flash_that_takes_no_time_is_done_at_once() {
        let mut flash = Flash::used(Duration::ZERO, 1, 0);
        flash.stage(seqs(8));
        assert_eq!(flash.poll(at(0)), [seqs(8)]);
        assert!(!flash.cut(scenario::Flash::Lost), "nothing is under way");
        assert_eq!(flash.recover(), []);
        assert_eq!(flash.kept().seq_start(1), 8);
    }

    #[test]
    fn a_cut_keeps_loses_or_tears_the_write_under_way_and_nothing_else() {
        for (how, seq) in
            [(scenario::Flash::Kept, 16), (scenario::Flash::Lost, 8), (scenario::Flash::Torn, 8)]
        {
            let mut flash = Flash::used(TAKES, 1, 0);
            flash.stage(seqs(8));
            flash.poll(at(0));
            flash.poll(at(5));
            flash.stage(seqs(16));
            flash.stage(outbox(MessageId(3)));
            flash.poll(at(6));
            flash.stage(seqs(24));
            assert!(flash.cut(how));
            let found = flash.recover();
            assert_eq!(found.len(), if seq == 16 { 2 } else { 0 }, "{how:?}");
            assert_eq!(flash.kept().seq_start(1), seq, "{how:?}");
            assert_eq!(flash.messages().outbox.len(), usize::from(seq == 16), "{how:?}: all or nothing");
            assert_eq!(flash.poll(at(99)), [], "what had not begun is gone");
        }
    }

    /// That half a record does not count wherever it breaks off, `mesh_firmware::flash_log` tests; here, that the chip does break it off, and
    /// that the log goes on behind it.
    #[test]
    fn a_torn_write_leaves_bytes_on_the_chip_and_the_next_one_is_found_behind_them() {
        let mut flash = Flash::used(TAKES, 1, 0);
        for life in 1..200 {
            flash.stage(seqs(8 * life));
            flash.stage(inbox(2, life));
            flash.poll(at(0));
            let written = flash.chip.written();
            flash.cut(scenario::Flash::Torn);
            assert!(flash.chip.written() > written);
            assert_eq!(flash.recover(), []);
            assert_eq!(flash.kept().seq_start(1), 8 * (life - 1));
            flash.stage(seqs(8 * life));
            flash.poll(at(10));
            flash.cut(scenario::Flash::Kept);
            assert_eq!(flash.recover(), [seqs(8 * life)]);
            assert_eq!(flash.kept().seq_start(1), 8 * life);
        }
        assert_eq!(flash.messages().inbox, BTreeSet::new());
    }

    #[test]
    fn everything_kept_is_found_again() {
        let mut flash = Flash::used(Duration::ZERO, 1, 0);
        for change in [
            mark(1, 7),
            mark(2, 9),
            mark(1, 5),
            inbox(1, 2),
            outbox(MessageId(3)),
            outbox(MessageId(4)),
            Change::Completed(MessageId(3)),
        ] {
            flash.stage(change);
        }
        flash.poll(at(1));
        flash.cut(scenario::Flash::Torn);
        assert_eq!(flash.recover(), [], "all was acted on");
        let marks: Vec<_> =
            flash.kept().marks().iter().map(|mark| (mark.src.bits(), mark.epoch, mark.seq)).collect();
        assert_eq!(marks, [(1, 1, 7), (2, 1, 9)]);
        let kept = flash.messages();
        assert_eq!(kept.inbox, BTreeSet::from([(Address::new(1), MessageId(2))]));
        assert_eq!(kept.outbox, BTreeMap::from([(MessageId(4), posting())]));
    }
}
