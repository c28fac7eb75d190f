//! Blocks that were taken whole a short while ago, and what the application said of them.
//!
//! Owns the memory that lets a sender which missed the answer hear it again instead of delivering twice. The
//! lasting memory of delivered messages is the application's.
//!
//! Full: the oldest gives way; its sender would then be asked for the block again, and the application would
//! recognise the message.

use heapless::Deque;

use crate::control::{Reason, Verdict};
use crate::segment::TransferId;
use crate::{Address, Duration, Instant, MessageId, Priority};

/// How long an answer is remembered: the longest retransmission timer five times over, and less than a 10-bit
/// transfer number takes to come round again (1,024 blocks of two segments at 80 frames/s: 25 s).
const REMEMBERED_FOR: Duration = Duration::from_secs(20);

/// What comes again this long after its answer, for each hop there and back, had crossed with it: no timer of a sender is as short. A
/// guess, below the least of `paths`.
const ANSWER_WAY: Duration = Duration::from_millis(50);

/// One block that was taken whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Finished {
    pub(crate) src: Address,
    pub(crate) message: MessageId,
    /// The transfer and its number of segments; `None` for a single frame.
    pub(crate) transfer: Option<(TransferId, u8)>,
    pub(crate) priority: Priority,
    /// Whether its segments came in continuation frames, to this node alone.
    pub(crate) continued: bool,
    /// Whether it was the message's last block, so that the application answers for it.
    pub(crate) last: bool,
    /// What the application said so far.
    pub(crate) verdict: Option<Verdict>,
    pub(crate) at: Millis,
    /// When it was answered last.
    pub(crate) answered: Millis,
}

/// The low bits of a time in milliseconds: a small node has no room for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Millis(u32);

impl Millis {
    pub(crate) fn of(now: Instant) -> Self {
        Self((now.as_micros() / 1_000) as u32)
    }

    /// How long ago it was.
    fn ago(self, now: Instant) -> Duration {
        Duration::from_millis(u64::from(Self::of(now).0.wrapping_sub(self.0)))
    }
}

/// The last `N` blocks.
#[derive(Clone, Debug, Default)]
pub(crate) struct FinishedList<const N: usize> {
    list: Deque<Finished, N>,
}

impl<const N: usize> FinishedList<N> {
    pub(crate) const fn new() -> Self {
        Self { list: Deque::new() }
    }

    pub(crate) fn push(&mut self, finished: Finished) {
        if self.list.is_full() {
            self.list.pop_front();
        }
        // There is room: one was just taken out.
        let _ = self.list.push_back(finished);
    }

    /// The block of this transfer, if it was taken a short while ago.
    pub(crate) fn by_transfer(&self, now: Instant, src: Address, transfer: TransferId) -> Option<&Finished> {
        self.recent(now).find(|f| f.src == src && f.transfer.is_some_and(|(id, _)| id == transfer))
    }

    /// The whole message of this number, if it was taken a short while ago; from now on it is known as this transfer, too: its sender
    /// has cut it anew.
    pub(crate) fn cut_anew(
        &mut self,
        now: Instant,
        src: Address,
        message: MessageId,
        transfer: Option<(TransferId, u8)>,
        continued: bool,
    ) -> Option<Finished> {
        let is_it = |f: &&mut Finished| f.src == src && f.message == message && f.last;
        let recent = self.list.iter_mut().rev().take_while(|f| f.at.ago(now) < REMEMBERED_FOR);
        let known = { recent }.find(is_it)?;
        (known.transfer, known.continued) = (transfer, continued);
        Some(*known)
    }

    /// Whether a sender that comes again is to be answered: not if the last answer can still be under way to it, over so many
    /// `hops`. If so, it counts as answered.
    pub(crate) fn answers(&mut self, now: Instant, finished: &Finished, hops: u8) -> bool {
        let is_it = |f: &&mut Finished| {
            f.src == finished.src && f.message == finished.message && f.transfer == finished.transfer
        };
        let Some(known) = self.list.iter_mut().rev().find(is_it) else { return true };
        let due = known.answered.ago(now) >= ANSWER_WAY.times(u64::from(hops.max(1)));
        if due {
            known.answered = Millis::of(now);
        }
        due
    }

    /// Forgets what was finished so long ago that nobody asks for it. It has to be called once in a while, as times come round.
    pub(crate) fn expire(&mut self, now: Instant) {
        while self.list.front().is_some_and(|f| f.at.ago(now) >= REMEMBERED_FOR) {
            self.list.pop_front();
        }
    }

    /// Records what the application said of a message. That nobody is here by that name may change at any time, and a message whose
    /// names are not known is sent again with them: neither is kept, and what comes again is shown to the application again.
    pub(crate) fn decide(&mut self, src: Address, message: MessageId, verdict: Verdict) {
        if matches!(verdict, Verdict::Rejected(Reason::NoSuchAgent | Reason::UnknownContext)) {
            self.list.retain(|f| f.src != src || f.message != message);
            return;
        }
        for finished in self.list.iter_mut().filter(|f| f.src == src && f.message == message && f.last) {
            finished.verdict = Some(verdict);
        }
    }

    fn recent(&self, now: Instant) -> impl Iterator<Item = &Finished> + '_ {
        self.list.iter().rev().take_while(move |f| f.at.ago(now) < REMEMBERED_FOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(n: u16, at: Instant) -> Finished {
        Finished {
            src: Address::new(1),
            message: MessageId(u32::from(n)),
            transfer: Some((TransferId::new(n), 3)),
            priority: Priority::Low,
            continued: false,
            last: true,
            verdict: None,
            at: Millis::of(at),
            answered: Millis::of(at),
        }
    }

    #[test]
    fn who_comes_again_is_answered_only_when_the_last_answer_must_have_come() {
        let mut list = FinishedList::<2>::new();
        let at = |millis| Instant::ZERO + Duration::from_millis(millis);
        let finished = block(1, at(1_000));
        list.push(finished);
        let answered: Vec<u64> =
            (1_000..1_400).filter(|millis| list.answers(at(*millis), &finished, 3)).collect();
        assert_eq!(answered, [1_150, 1_300], "over three hops");
        assert!(list.answers(at(1_350), &finished, 1) && list.answers(at(1_400), &finished, 0));
        assert!(list.answers(at(1_401), &block(2, at(0)), 3), "an unknown one");
    }

    #[test]
    fn what_was_finished_long_ago_is_forgotten_before_its_time_comes_round() {
        let mut list = FinishedList::<2>::new();
        list.push(block(1, Instant::ZERO));
        list.expire(Instant::ZERO + REMEMBERED_FOR);
        let round = Instant::ZERO + Duration::from_millis(1 << 32);
        assert_eq!(list.by_transfer(round, Address::new(1), TransferId::new(1)), None);
    }

    #[test]
    fn an_answer_is_remembered_for_a_while_and_the_oldest_gives_way() {
        let mut list = FinishedList::<2>::new();
        for n in 1..=3 {
            list.push(block(n, Instant::ZERO));
        }
        let find = |list: &FinishedList<2>, now, n| {
            list.by_transfer(now, Address::new(1), TransferId::new(n)).copied()
        };
        assert_eq!(find(&list, Instant::ZERO, 1), None);
        list.decide(Address::new(1), MessageId(3), Verdict::Delivered);
        assert_eq!(find(&list, Instant::ZERO, 3).unwrap().verdict, Some(Verdict::Delivered));
        assert_eq!(find(&list, Instant::ZERO, 2).unwrap().verdict, None);
        assert_eq!(find(&list, Instant::ZERO + REMEMBERED_FOR, 3), None);
    }
}
