//! Segments back into blocks.
//!
//! Owns the open sets, their bounds and the moments at which an ack is due. Reads no block; hears only verified
//! segments addressed to this node.
//!
//! Full: two sets per source and `N` in all. A segment of a further transfer is dropped, unless a less urgent set
//! (of that source, or of any when all are taken) can give way.

mod set;

use set::{Set, State};

use crate::control::{Ack, Control};
use crate::feedback::{Feedback, Nack};
use crate::segment::{BLOCK_MAX, CRC_LEN, Segment, TransferId, all, block_crc};
use crate::{Address, Discard, Duration, Instant, Priority};

/// A set without a new segment for this long is given up; `docs/protocol.md`, "Receiving a message".
const GIVE_UP_AFTER: Duration = Duration::from_secs(10);
/// One that stands still for this long gives way to a third of its source. A guess: longer than a pause between two segments.
const STANDS_STILL: Duration = Duration::from_millis(300);
/// A set of a source is at most one of two.
const SETS_PER_SOURCE: usize = 2;
/// Where segments come slower than that, it waits for two of their pauses, but no more than so many times as long. A guess.
const SLOW_MOST: u64 = 4;
/// What is missing of a message to many is asked for when no new segment came for this long, and a random part of [`NACK_SPREAD`]
/// more: the first who says so does it for all that lack the same. Guesses, held against the simulated air.
const NACK_QUIET: Duration = Duration::from_millis(250);
/// See [`NACK_QUIET`].
pub(crate) const NACK_SPREAD: Duration = Duration::from_millis(250);
/// A stalled set is acked at most this often before only a new segment wakes it.
const STALL_ACKS: u8 = 3;

/// A place in the table.
pub(crate) type SetIndex = usize;

/// What a segment did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The set is not whole yet.
    Open,
    /// The block is whole and its CRC right.
    Whole(SetIndex),
}

/// Where a segment came from and was going.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) src: Address,
    pub(crate) dst: Address,
    pub(crate) priority: Priority,
    pub(crate) hops: u8,
    /// Whether each hop on the way keeps it until the next has it.
    pub(crate) in_custody: bool,
}

/// An ack that is due, or a nack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DueAck {
    pub(crate) to: Address,
    pub(crate) priority: Priority,
    pub(crate) control: Control,
    /// Nothing new has come since the ack before it.
    pub(crate) again: bool,
}

/// At most `N` sets.
#[derive(Clone, Debug)]
pub(crate) struct Reassembly<const N: usize> {
    sets: [Set; N],
    /// Sets that gave way to a more urgent one since this was last asked.
    gave_way: usize,
}

impl<const N: usize> Reassembly<N> {
    pub(crate) const fn new() -> Self {
        const EMPTY: Set = Set {
            state: State::Free,
            src: Address::NONE,
            dst: Address::NONE,
            transfer: TransferId::new(0),
            priority: Priority::Low,
            hops: 0,
            count: 0,
            have: 0,
            each: 0,
            continued: false,
            in_custody: false,
            tail: 0,
            progressed: Instant::ZERO,
            ack_due: None,
            stall_acks: 0,
            bytes: [0; BLOCK_MAX],
        };
        Self { sets: [EMPTY; N], gave_way: 0 }
    }

    /// Takes a segment in. `spread`: a random part of [`NACK_SPREAD`].
    pub(crate) fn insert(
        &mut self,
        now: Instant,
        from: Origin,
        segment: &Segment<'_>,
        spread: Duration,
    ) -> Result<Taken, Discard> {
        let at = match self.find(from.src, segment.transfer) {
            Some(at) => at,
            None => self.open(now, from, segment)?,
        };
        let set = &mut self.sets[at];
        let count = segment.last + 1;
        // The first segment says what the set is. One that says otherwise is of another block under the same number; it
        // must not cost the set what is there.
        if set.count != count || set.dst != from.dst || !set.fits(segment) {
            return Err(Discard::SegmentConflict);
        }
        let unicast = from.dst.is_node();
        let bit = 1u64 << segment.offset;
        if set.have & bit != 0 {
            // The sender repeats what is here: it has not heard an ack. Whole sets are the application's turn.
            if unicast && set.state == State::Open && set.ack_due.is_none() {
                set.ack_due = Some(now + set.quiet());
            }
            return Err(Discard::Duplicate);
        }
        let len = segment.data.len();
        // A gap is left where a segment is missing: each but the last has its place from its own length, so that none has to
        // be moved when others come in any order.
        let start = if segment.offset == segment.last {
            set.tail = len as u8;
            BLOCK_MAX - len
        } else {
            if segment.offset == 0 || !set.continued {
                set.each = len as u8;
            }
            set.cut().before(segment.offset.into())
        };
        set.bytes[start..start + len].copy_from_slice(segment.data);
        set.have |= bit;
        set.hops = from.hops;
        let quiet = set.quiet();
        // A slow radio, or one that sends two blocks in turn, is not a silent one; after an ack, the pause was not the sender's alone.
        let pause = if set.stall_acks == 0 { now.since(set.progressed) } else { Duration::ZERO };
        let quiet = quiet.max(pause.times(2)).min(quiet.times(SLOW_MOST));
        set.progressed = now;
        set.stall_acks = 0;
        // Nothing new follows the last segment: what is missing then is late by the spread of the paths, or lost.
        let wait = if set.have >> segment.last & 1 != 0 {
            Duration::from_micros(quiet.as_micros() / 2)
        } else {
            quiet
        };
        // Of a group or everyone, only those that lack something speak: all members at once would be louder than the message.
        set.ack_due = Some(now + if unicast { wait } else { NACK_QUIET + spread });
        if set.have != all(count) {
            return Ok(Taken::Open);
        }
        // The answer to a whole block is not an ack of this table: `finished` knows whether a verdict is to follow.
        set.ack_due = None;
        let len = set.len();
        set.bytes.copy_within(BLOCK_MAX - usize::from(set.tail).., len - usize::from(set.tail));
        let whole = len > CRC_LEN && {
            let (block, crc) = set.bytes[..len].split_at(len - CRC_LEN);
            block_crc(set.src, set.dst, block) == *crc
        };
        if !whole {
            // Nothing shows which of the segments is of the other block: all have to come again.
            set.state = State::Free;
            return Err(Discard::Crc);
        }
        set.state = State::Whole;
        Ok(Taken::Whole(at))
    }

    /// The block in a whole set, without its CRC, and where it came from.
    pub(crate) fn block(&self, at: SetIndex) -> (Origin, TransferId, &[u8]) {
        let set = &self.sets[at];
        (set.origin(), set.transfer, &set.bytes[..set.len() - CRC_LEN])
    }

    /// What the head of this transfer to one node has said of it, if its further segments come in continuation frames: where it
    /// comes from and goes, and which is the last one.
    pub(crate) fn continued(&self, src: Address, transfer: TransferId) -> Option<(Origin, u8)> {
        let set = &self.sets[self.find(src, transfer)?];
        (set.continued && set.dst.is_node()).then(|| (set.origin(), set.count - 1))
    }

    /// How many segments the block in a whole set came in.
    pub(crate) fn count(&self, at: SetIndex) -> u8 {
        self.sets[at].count
    }

    /// How many sets gave way to a more urgent one since this was last asked.
    pub(crate) fn gave_way(&mut self) -> usize {
        core::mem::take(&mut self.gave_way)
    }

    /// Gives a set's place back.
    pub(crate) fn free(&mut self, at: SetIndex) {
        self.sets[at].state = State::Free;
    }

    /// Another receiver of a transfer to many has asked its `sender` for what is missing. If this one lacks nothing else, it waits
    /// for the answer to that.
    pub(crate) fn asked(&mut self, now: Instant, sender: Address, nack: &Nack, spread: Duration) {
        let Some(at) = self.find(sender, nack.transfer) else { return };
        let set = &mut self.sets[at];
        let missing = all(set.count) & !set.have;
        if set.state == State::Open
            && set.dst.is_many()
            && set.ack_due.is_some()
            && missing & !nack.missing() == 0
        {
            set.ack_due = Some(now + NACK_QUIET.times(2) + spread);
        }
    }

    /// Takes the next ack or nack that is due.
    pub(crate) fn due_ack(&mut self, now: Instant) -> Option<DueAck> {
        let set = self
            .sets
            .iter_mut()
            .find(|set| set.state == State::Open && set.ack_due.is_some_and(|due| due <= now))?;
        set.stall_acks += 1;
        // Each waits twice as long as the one before: what made the sender miss one ack may last.
        let nack = if set.dst.is_many() { Nack::of(set.transfer, set.have, set.count) } else { None };
        let (quiet, control, priority) = match nack {
            Some(nack) => {
                (NACK_QUIET, Control::Feedback(Feedback::Nack(nack)), set.priority.min(Priority::Medium))
            }
            None => (
                set.quiet(),
                Control::Ack(Ack::of(set.transfer, set.have, set.count)),
                set.priority.min(Priority::High),
            ),
        };
        set.ack_due = (set.stall_acks < STALL_ACKS).then(|| now + quiet.times(1 << set.stall_acks));
        Some(DueAck { to: set.src, priority, control, again: set.stall_acks > 1 })
    }

    /// Gives up sets that make no progress; returns how many.
    pub(crate) fn expire(&mut self, now: Instant) -> usize {
        let mut given_up = 0;
        for set in self.sets.iter_mut().filter(|set| set.state == State::Open) {
            if set.progressed + GIVE_UP_AFTER <= now {
                set.state = State::Free;
                given_up += 1;
            }
        }
        given_up
    }

    /// When an ack is due or a set is given up.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.sets
            .iter()
            .filter(|set| set.state == State::Open)
            .map(|set| {
                set.ack_due
                    .map_or(set.progressed + GIVE_UP_AFTER, |ack| ack.min(set.progressed + GIVE_UP_AFTER))
            })
            .min()
    }

    fn find(&self, src: Address, transfer: TransferId) -> Option<SetIndex> {
        self.sets
            .iter()
            .position(|set| set.state != State::Free && set.src == src && set.transfer == transfer)
    }

    fn open(&mut self, now: Instant, from: Origin, segment: &Segment<'_>) -> Result<SetIndex, Discard> {
        if segment.continued && segment.offset != 0 {
            return Err(Discard::NoContext);
        }
        let of_source =
            self.sets.iter().filter(|set| set.state == State::Open && set.src == from.src).count();
        // A whole set counts for nobody: it waits for the application, and its sender may go on with the next block.
        let free = self.sets.iter().position(|set| set.state == State::Free);
        let at = match free {
            Some(at) if of_source < SETS_PER_SOURCE => at,
            _ => {
                let crowded = of_source >= SETS_PER_SOURCE;
                (0..N)
                    .filter(|&at| {
                        let set = &self.sets[at];
                        set.state == State::Open
                            && set.priority > from.priority
                            && (!crowded || set.src == from.src)
                    })
                    // Its sender notices by the acks that stay out, and sends again.
                    .max_by_key(|&at| self.sets[at].priority)
                    // No source has more transfers on their way here than this: of one that stands still it has cut the block anew.
                    .or_else(|| {
                        let stands_still = |at: &usize| {
                            let set = &self.sets[*at];
                            set.state == State::Open
                                && set.src == from.src
                                && set.progressed + STANDS_STILL <= now
                        };
                        (0..N)
                            .filter(|_| crowded)
                            .filter(stands_still)
                            .min_by_key(|&at| self.sets[at].progressed)
                    })
                    .ok_or(Discard::ReassemblyFull)?
            }
        };
        let set = &mut self.sets[at];
        self.gave_way += usize::from(set.state == State::Open);
        set.state = State::Open;
        set.src = from.src;
        set.dst = from.dst;
        set.transfer = segment.transfer;
        set.priority = from.priority;
        set.hops = from.hops;
        set.count = segment.last + 1;
        set.have = 0;
        set.each = 0;
        set.continued = segment.continued;
        set.in_custody = from.in_custody;
        set.tail = 0;
        set.progressed = now;
        set.ack_due = None;
        set.stall_acks = 0;
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::{Cut, LONG_SEGMENT_LEN, SEGMENT_HEADER, SEGMENT_LEN, SHORT_SEGMENT_LEN, segments};

    const DST: Address = Address::new(9);

    fn from(src: u16, priority: Priority) -> Origin {
        Origin { src: Address::new(src), dst: DST, priority, hops: 2, in_custody: false }
    }

    fn sealed(src: u16, block: &[u8]) -> ([u8; BLOCK_MAX], usize) {
        let mut bytes = [0; BLOCK_MAX];
        bytes[..block.len()].copy_from_slice(block);
        bytes[block.len()..block.len() + CRC_LEN].copy_from_slice(&block_crc(Address::new(src), DST, block));
        (bytes, block.len() + CRC_LEN)
    }

    fn give<const N: usize>(
        table: &mut Reassembly<N>,
        now: Instant,
        origin: Origin,
        transfer: u16,
        sealed: &([u8; BLOCK_MAX], usize),
        offset: u8,
    ) -> Result<Taken, Discard> {
        give_short(table, now, origin, transfer, sealed, offset, SEGMENT_LEN)
    }

    fn give_short<const N: usize>(
        table: &mut Reassembly<N>,
        now: Instant,
        origin: Origin,
        transfer: u16,
        sealed: &([u8; BLOCK_MAX], usize),
        offset: u8,
        each: usize,
    ) -> Result<Taken, Discard> {
        let mut out = [0; SEGMENT_HEADER + LONG_SEGMENT_LEN];
        let len =
            Segment::cut(TransferId::new(transfer), &sealed.0[..sealed.1], offset, Cut::even(each), &mut out);
        table.insert(now, origin, &Segment::parse(&out[..len]).unwrap(), Duration::ZERO)
    }

    #[test]
    fn segments_in_any_order_make_the_block() {
        let mut table = Reassembly::<2>::new();
        let text: [u8; 45] = core::array::from_fn(|i| i as u8);
        let block = sealed(1, &text);
        let order = [4, 0, 2, 3, 1];
        assert_eq!(usize::from(segments(block.1, SEGMENT_LEN)), order.len());
        for (n, offset) in order.into_iter().enumerate() {
            let taken = give(&mut table, Instant::ZERO, from(1, Priority::High), 7, &block, offset);
            assert_eq!(taken, Ok(if n == 4 { Taken::Whole(0) } else { Taken::Open }));
        }
        let (origin, transfer, bytes) = table.block(0);
        assert_eq!((origin.src.bits(), transfer.bits(), bytes), (1, 7, &text[..]));
        table.free(0);
        assert_eq!(table.next_timeout(), None);
    }

    #[test]
    fn short_segments_in_any_order_make_the_block_whatever_its_length() {
        for len in 1..=SHORT_SEGMENT_LEN * 64 - CRC_LEN {
            let mut table = Reassembly::<2>::new();
            let text: [u8; BLOCK_MAX] = core::array::from_fn(|i| i as u8);
            let block = sealed(1, &text[..len]);
            let count = segments(block.1, SHORT_SEGMENT_LEN);
            let mut whole = 0;
            // The last one first: nothing tells yet where it belongs.
            for offset in (0..count).rev() {
                let each = SHORT_SEGMENT_LEN;
                let origin = from(1, Priority::High);
                let taken = give_short(&mut table, Instant::ZERO, origin, 7, &block, offset, each);
                whole += usize::from(taken.unwrap() == Taken::Whole(0));
            }
            assert_eq!((whole, table.block(0).2), (1, &text[..len]), "{len} bytes");
        }
    }

    #[test]
    fn segments_of_two_lengths_are_not_of_one_block() {
        let block = sealed(1, &[1; 26]);
        let mut table = Reassembly::<4>::new();
        let mut give = |transfer, offset, each| {
            give_short(&mut table, Instant::ZERO, from(1, Priority::High), transfer, &block, offset, each)
        };
        // 28 bytes: 10, 10, 8 or 8, 8, 8, 4; a set is of as many segments as its first one says.
        assert_eq!(give(1, 0, 8), Ok(Taken::Open));
        assert_eq!(give(1, 1, 10), Err(Discard::SegmentConflict), "another number of segments");
        let segment = |offset, last, data| Segment {
            transfer: TransferId::new(2),
            offset,
            last,
            continued: false,
            data,
        };
        let mut insert =
            |segment| table.insert(Instant::ZERO, from(1, Priority::High), &segment, Duration::ZERO);
        assert_eq!(insert(segment(0, 2, &[0; 8])), Ok(Taken::Open));
        assert_eq!(insert(segment(1, 2, &[0; 10])), Err(Discard::SegmentConflict));
        assert_eq!(insert(segment(2, 2, &[0; 9])), Err(Discard::SegmentConflict), "longer than the others");
        let segment = |offset, last, data| Segment {
            transfer: TransferId::new(3),
            offset,
            last,
            continued: false,
            data,
        };
        let mut insert =
            |segment| table.insert(Instant::ZERO, from(2, Priority::High), &segment, Duration::ZERO);
        assert_eq!(insert(segment(2, 2, &[0; 9])), Ok(Taken::Open));
        assert_eq!(insert(segment(0, 2, &[0; 8])), Err(Discard::SegmentConflict), "shorter than the last");
        assert_eq!(insert(segment(0, 2, &[0; 10])), Ok(Taken::Open));
    }

    #[test]
    fn segments_of_two_blocks_under_one_number_do_not_pass_the_crc() {
        let mut table = Reassembly::<2>::new();
        let (one, other) = (sealed(1, &[1; 15]), sealed(1, &[2; 15]));
        assert_eq!(give(&mut table, Instant::ZERO, from(1, Priority::High), 7, &one, 0), Ok(Taken::Open));
        assert_eq!(give(&mut table, Instant::ZERO, from(1, Priority::High), 7, &other, 1), Err(Discard::Crc));
        assert_eq!(table.next_timeout(), None, "the set is free again");
    }

    #[test]
    fn a_conflicting_segment_is_dropped_and_the_set_lives() {
        let mut table = Reassembly::<2>::new();
        let (short, long) = (sealed(1, &[1; 15]), sealed(1, &[2; 35]));
        assert_eq!(give(&mut table, Instant::ZERO, from(1, Priority::High), 7, &short, 0), Ok(Taken::Open));
        assert_eq!(
            give(&mut table, Instant::ZERO, from(1, Priority::High), 7, &long, 1),
            Err(Discard::SegmentConflict)
        );
        assert_eq!(
            give(&mut table, Instant::ZERO, from(1, Priority::High), 7, &short, 1),
            Ok(Taken::Whole(0))
        );
    }

    #[test]
    fn a_third_transfer_of_a_source_needs_more_urgency() {
        let mut table = Reassembly::<4>::new();
        let block = sealed(1, &[1; 15]);
        let mut try_open =
            |transfer, priority| give(&mut table, Instant::ZERO, from(1, priority), transfer, &block, 0);
        assert_eq!(try_open(1, Priority::Low), Ok(Taken::Open));
        assert_eq!(try_open(2, Priority::Medium), Ok(Taken::Open));
        assert_eq!(try_open(3, Priority::Low), Err(Discard::ReassemblyFull));
        assert_eq!(try_open(4, Priority::Critical), Ok(Taken::Open), "the LOW one gave way");
        assert_eq!(try_open(1, Priority::Low), Err(Discard::ReassemblyFull));
    }

    #[test]
    fn a_full_table_refuses_what_is_not_more_urgent() {
        let mut table = Reassembly::<2>::new();
        let block = sealed(1, &[1; 15]);
        for src in [1, 2] {
            assert_eq!(
                give(&mut table, Instant::ZERO, from(src, Priority::High), 1, &block, 0),
                Ok(Taken::Open)
            );
        }
        assert_eq!(
            give(&mut table, Instant::ZERO, from(3, Priority::High), 1, &block, 0),
            Err(Discard::ReassemblyFull)
        );
        assert_eq!(
            give(&mut table, Instant::ZERO, from(3, Priority::Critical), 1, &block, 0),
            Ok(Taken::Open)
        );
    }

    #[test]
    fn a_stall_is_acked_a_few_times_and_given_up_after_ten_seconds() {
        let mut table = Reassembly::<2>::new();
        let block = sealed(1, &[1; 35]);
        give(&mut table, Instant::ZERO, from(1, Priority::High), 7, &block, 1).unwrap();
        let mut acks = 0;
        let mut now = Instant::ZERO;
        while let Some(next) = table.next_timeout() {
            assert_eq!(table.due_ack(next - Duration::from_micros(1)), None, "nothing before its time");
            now = next;
            match table.due_ack(now) {
                Some(due) => {
                    assert_eq!(
                        due.control,
                        Control::Ack(Ack { transfer: TransferId::new(7), base: 0, behind: 1 })
                    );
                    acks += 1;
                }
                None => assert_eq!(table.expire(now), 1),
            }
        }
        assert_eq!((acks, now), (3, Instant::ZERO + GIVE_UP_AFTER));
    }
}
