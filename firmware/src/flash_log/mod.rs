//! The log in flash: which SEQs and message numbers are reserved, and how far the frames of others were taken.
//!
//! Owns where records stand, how they are found again, and what is left of a write that a power cut broke. What is written, and what may be
//! done only behind it, is for whoever calls; how a record looks is `record`'s business.
//!
//! The region is two halves. Records are appended in one of them until it is full; then the other is erased, gets one record with
//! all that is kept, and then its head, with a generation that is one higher. So at every moment one half is whole: a half counts only with
//! its head, and until that is written the older one does. Last, the older one gets a mark at its end that says so: without it, a head that is
//! lost later would look like one that a cut has kept from being written, and the node would go on with what the older half has.
//!
//! A record is all or nothing. One that a cut broke can only be the last, and lacks its last byte; behind it nothing is written any more, the
//! next write begins the other half. So a broken record that has its last byte, or bytes behind it, means that flash has lost something,
//! perhaps a reservation, and a node that went on would use a SEQ twice under one key. The log then says [`LogError::Damaged`] and the node must not start: it needs a new address or a new epoch.

mod halves;
mod marks;
mod record;
#[cfg(test)]
mod tests;

use mesh_protocol::frame::SEQ_MAX;
use mesh_protocol::{Address, ReplayMark};

use crate::flash::Flash;
use halves::{
    HALF_HEAD, Half, half_head, half_len, has_moved, is_erased, mark_moved, read_half, records_len,
};
pub(crate) use marks::covers;
pub use marks::{MarkTable, Marks};
use record::{ALIGN, CHANGE, ERASED, HEAD, MOST};

/// Something that is to be kept over a power cut. Numbers only go up: of two changes of one thing the higher counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// SEQs below this may be used in this epoch.
    Seq {
        /// Under which key: each epoch has its own, and its own SEQs.
        epoch: u32,
        /// The first that may not.
        up_to: u32,
    },
    /// Message numbers below this may be used.
    Messages(u32),
    /// Frames of a source were taken up to here.
    Mark(ReplayMark),
}

/// Why the log could not be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogError<E> {
    /// Flash does not answer as it should.
    Flash(E),
    /// Something that was written is lost: the node must not go on under its address in this epoch.
    Damaged,
    /// There is no room for all that is to be kept, in flash or in the table of marks. Nothing was written.
    Full,
    /// SEQs were to be reserved in an epoch earlier than the kept one, in which nobody knows what was used. Nothing was written.
    OldEpoch,
    /// The halves have been begun as often as can be counted, which no flash lives to see unless it says so itself. Nothing was written.
    UsedUp,
}

impl<E: core::fmt::Display> core::fmt::Display for LogError<E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Flash(error) => write!(f, "using flash: {error}"),
            Self::Damaged => f.write_str("flash has lost records: erase it and give the node a new address"),
            Self::Full => f.write_str("there is no room for all that is to be kept: give the log more flash"),
            Self::UsedUp => {
                f.write_str("flash says that it was written for longer than any lives: set it up again")
            }
            Self::OldEpoch => f.write_str("this epoch is over: SEQs are reserved in a later one"),
        }
    }
}

impl<E: core::fmt::Debug + core::fmt::Display> core::error::Error for LogError<E> {}

/// What the log keeps. It says what is in flash, never what is only about to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept<M> {
    epoch: u32,
    seq: u32,
    messages: u32,
    marks: M,
}

impl<M: Marks> Kept<M> {
    /// The first SEQ that no earlier life can have used in this epoch; behind the last one there is in an epoch earlier than the kept one.
    #[must_use]
    pub const fn seq_start(&self, epoch: u32) -> u32 {
        if epoch > self.epoch {
            // It has another key, under which no SEQ was used.
            0
        } else if epoch == self.epoch {
            self.seq
        } else {
            // How many were used under that key nobody knows any more: a node that goes back to it finds them all used.
            SEQ_MAX + 1
        }
    }

    /// Whether one of these changes reserves SEQs of an epoch that is over, or that the changes before it end.
    fn goes_back(&self, changes: &[Change]) -> bool {
        let epochs = changes.iter().filter_map(|change| match change {
            Change::Seq { epoch, .. } => Some(*epoch),
            Change::Messages(_) | Change::Mark(_) => None,
        });
        !epochs.clone().all(|epoch| epoch >= self.epoch) || !epochs.is_sorted()
    }

    /// The first message number that no earlier life can have used.
    #[must_use]
    pub const fn messages(&self) -> u32 {
        self.messages
    }

    /// How far the frames of each source were taken.
    #[must_use]
    pub const fn marks(&self) -> &M {
        &self.marks
    }

    /// Whether nothing up to this mark will be taken after a restart.
    #[must_use]
    pub fn has(&self, mark: ReplayMark) -> bool {
        self.marks.get(mark.src).is_some_and(|kept| covers(kept, mark))
    }

    /// All of it as changes.
    fn iter(&self) -> impl Iterator<Item = Change> + '_ {
        let numbers = [Change::Seq { epoch: self.epoch, up_to: self.seq }, Change::Messages(self.messages)];
        numbers.into_iter().chain(self.marks.iter().map(Change::Mark))
    }

    fn apply(&mut self, change: Change) -> bool {
        match change {
            Change::Seq { epoch, up_to } => {
                (self.epoch, self.seq) = (self.epoch, self.seq).max((epoch, up_to));
                true
            }
            Change::Messages(up_to) => {
                self.messages = self.messages.max(up_to);
                true
            }
            Change::Mark(mark) => self.marks.raise(mark),
        }
    }

    /// Whether these changes bring no more new sources than there is room for.
    fn has_room_for(&self, changes: &[Change]) -> bool {
        let room = self.marks.room();
        if room >= changes.len() {
            return true;
        }
        let source = |change: &Change| match change {
            Change::Mark(mark) if self.marks.get(mark.src).is_none() => Some(mark.src),
            _ => None,
        };
        let is_first =
            |at: usize, src: Address| changes[..at].iter().all(|before| source(before) != Some(src));
        let new = changes
            .iter()
            .enumerate()
            .filter(|(at, change)| source(change).is_some_and(|src| is_first(*at, src)));
        new.count() <= room
    }
}

/// The log of one node.
#[derive(Clone, Debug)]
pub struct FlashLog<M> {
    kept: Kept<M>,
    /// Of the half that counts: 0 when neither has ever been written.
    generation: u32,
    /// Where that half begins.
    half: u32,
    /// Where the next record goes; `None` when it must go into the other half.
    end: Option<u32>,
}

impl<M: Marks> FlashLog<M> {
    /// Reads what is kept, and ends what a cut has left to be done. `marks` is an empty table.
    ///
    /// # Errors
    /// Flash does not answer, has lost something, or has marks of more sources than the table has room for. Erased flash is
    /// an empty log. So is flash of which a cut broke the very first write, unless it was in the middle of its head: then it counts
    /// as damaged, and whoever sets up the board erases it and begins again.
    pub fn open<F: Flash>(flash: &mut F, marks: M) -> Result<Self, LogError<F::Error>> {
        const {
            assert!(ALIGN.is_multiple_of(F::WORD), "records begin where words do");
        }
        let kept = Kept { epoch: 0, seq: 0, messages: 0, marks };
        let second = half_len(flash);
        let heads = [read_half(flash, 0)?, read_half(flash, second)?];
        let (half, generation) = match heads {
            [Half::Head(first), Half::Head(other)] => {
                let (counts, older, generation) =
                    if other > first { ((second, other), 0, first) } else { ((0, first), second, other) };
                // A cut came between the head of the one and the mark of the other. Without it, a head that is lost later would go unnoticed.
                if !has_moved(flash, older)? {
                    mark_moved(flash, older, generation)?;
                }
                counts
            }
            // What stands in the other one may be anything: an erase that a cut breaks leaves what it likes.
            [Half::Head(first), _] if !has_moved(flash, 0)? => (0, first),
            [_, Half::Head(other)] if !has_moved(flash, second)? => (second, other),
            [Half::Erased, Half::Erased] => return Ok(Self { kept, generation: 0, half: second, end: None }),
            _ => return Err(LogError::Damaged),
        };
        let mut log = Self { kept, generation, half, end: None };
        log.read_records(flash)?;
        Ok(log)
    }

    /// What is in flash.
    #[must_use]
    pub const fn kept(&self) -> &Kept<M> {
        &self.kept
    }

    /// Writes these changes, all or nothing, and returns when they are in flash: only now may be done what waits for them. Without changes
    /// it still writes a record, with which something that stands elsewhere in flash can be made to count.
    ///
    /// # Errors
    /// Whether they are in flash is unknown; nothing that waits for them may be done. They may be written again. There may be
    /// [no room](LogError::Full), too, or the [epoch is over](LogError::OldEpoch), or
    /// [nothing can be written any more](LogError::UsedUp).
    pub fn write<F: Flash>(&mut self, flash: &mut F, changes: &[Change]) -> Result<(), LogError<F::Error>> {
        if !self.kept.has_room_for(changes) {
            return Err(LogError::Full);
        }
        // It would be written and count for nothing, and the node would use what it takes for reserved.
        if self.kept.goes_back(changes) {
            return Err(LogError::OldEpoch);
        }
        // Whatever happens now, what stands here is in doubt until the write is done.
        let end = self.end.take();
        let limit = self.half + records_len(flash);
        // A record never crosses the end of a half: the other one may be erased at any time.
        let fits = |end: &u32| {
            changes.len() <= MOST && *end as usize + record::length(changes.len()) <= limit as usize
        };
        let here = end.filter(fits);
        match here {
            Some(at) => {
                let length = write_record(flash, at, self.generation, || changes.iter().copied())?;
                self.end = Some(at + length);
            }
            None => self.write_half(flash, changes)?,
        }
        for &change in changes {
            // There is room, as was looked up before.
            self.kept.apply(change);
        }
        Ok(())
    }

    /// Makes the other half the one that counts: all that is kept, and these changes.
    fn write_half<F: Flash>(&mut self, flash: &mut F, changes: &[Change]) -> Result<(), LogError<F::Error>> {
        let len = half_len(flash);
        let half = if self.half == 0 { len } else { 0 };
        let generation = self.generation.checked_add(1).ok_or(LogError::UsedUp)?;
        let all = || self.kept.iter().chain(changes.iter().copied());
        let room = (records_len(flash) as usize).saturating_sub(HALF_HEAD);
        if all().count() > MOST || record::length(all().count()) > room {
            return Err(LogError::Full);
        }
        flash.erase(half, half + len).map_err(LogError::Flash)?;
        let length = write_record(flash, half + HALF_HEAD as u32, generation, all)?;
        // The head comes last: until it is there, the older half counts.
        flash.write(half, &half_head(generation)).map_err(LogError::Flash)?;
        let before = (self.generation, self.half);
        // Before the mark is written: if that fails, this half counts all the same.
        (self.generation, self.half) = (generation, half);
        if before.0 > 0 {
            mark_moved(flash, before.1, before.0)?;
        }
        self.end = Some(half + HALF_HEAD as u32 + length);
        Ok(())
    }

    fn read_records<F: Flash>(&mut self, flash: &mut F) -> Result<(), LogError<F::Error>> {
        let limit = self.half + records_len(flash);
        let mut at = self.half + HALF_HEAD as u32;
        // The head was written behind the first record: that one cannot be broken by a cut.
        let mut first = true;
        while at as usize + HEAD <= limit as usize {
            let mut head = [0; HEAD];
            flash.read(at, &mut head).map_err(LogError::Flash)?;
            let behind = match record::read_head(head) {
                Some((count, crc)) if at as usize + record::length(count.into()) <= limit as usize => {
                    let behind = at + record::length(count.into()) as u32;
                    if self.read_changes(flash, at, count, crc)? {
                        (at, first) = (behind, false);
                        continue;
                    }
                    // Bytes are written in order: one that has its last byte was whole once, and whoever wrote it was told so.
                    if ends_written(flash, at + (HEAD + CHANGE * usize::from(count)) as u32)? {
                        return Err(LogError::Damaged);
                    }
                    behind
                }
                // The same goes for a head, and nothing follows one that is not whole.
                _ if head[HEAD - 1] != ERASED => return Err(LogError::Damaged),
                _ => at + HEAD as u32,
            };
            let is_clean = head == [ERASED; HEAD];
            if first || !is_erased(flash, behind, limit)? {
                return Err(LogError::Damaged);
            }
            // Behind a torn record nothing is appended: its words cannot be written again, and the next record would not be found.
            self.end = is_clean.then_some(at);
            return Ok(());
        }
        self.end = Some(at);
        Ok(())
    }

    /// Takes the changes of a record if it is whole.
    fn read_changes<F: Flash>(
        &mut self,
        flash: &mut F,
        record: u32,
        count: u16,
        crc: u32,
    ) -> Result<bool, LogError<F::Error>> {
        let at = |n: u16| record + (HEAD + CHANGE * usize::from(n)) as u32;
        let mut bytes = [0; CHANGE];
        let mut sum = record::begin(self.generation, count);
        for n in 0..count {
            flash.read(at(n), &mut bytes).map_err(LogError::Flash)?;
            sum = sum.add(&bytes);
        }
        // Nothing of it has been applied so far: a record counts whole or not at all.
        if sum.value() != crc {
            return Ok(false);
        }
        // Read again now that they are known to be right: a buffer for all of them is more than a small board has.
        for n in 0..count {
            flash.read(at(n), &mut bytes).map_err(LogError::Flash)?;
            if !record::decode(bytes).is_none_or(|change| self.kept.apply(change)) {
                return Err(LogError::Full);
            }
        }
        Ok(true)
    }
}

/// Whether the byte before `end`, a multiple of four, was written.
fn ends_written<F: Flash>(flash: &mut F, end: u32) -> Result<bool, LogError<F::Error>> {
    let mut bytes = [0; 4];
    flash.read(end - 4, &mut bytes).map_err(LogError::Flash)?;
    Ok(bytes[3] != ERASED)
}

/// Writes a record, head first; its length.
fn write_record<F: Flash, I: Iterator<Item = Change>>(
    flash: &mut F,
    at: u32,
    generation: u32,
    changes: impl Fn() -> I,
) -> Result<u32, LogError<F::Error>> {
    let count = changes().count() as u16;
    let sum =
        changes().fold(record::begin(generation, count), |sum, change| sum.add(&record::encode(change)));
    flash.write(at, &record::head(count, sum.value())).map_err(LogError::Flash)?;
    // Two changes are three of the longest words: so no word is written twice, and no record needs a buffer.
    let mut at = at + HEAD as u32;
    let mut pair = [ERASED; 2 * CHANGE];
    let mut held = 0;
    for change in changes() {
        pair[held..held + CHANGE].copy_from_slice(&record::encode(change));
        held += CHANGE;
        if held == pair.len() {
            flash.write(at, &pair).map_err(LogError::Flash)?;
            at += pair.len() as u32;
            (pair, held) = ([ERASED; 2 * CHANGE], 0);
        }
    }
    if held > 0 {
        flash.write(at, &pair[..held.next_multiple_of(ALIGN)]).map_err(LogError::Flash)?;
    }
    Ok(record::length(count.into()) as u32)
}
