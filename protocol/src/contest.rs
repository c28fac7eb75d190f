//! Another node that sends under this node's address.
//!
//! Owns how long this node keeps silent then, and behind which SEQ it goes on. Whoever it was, a twin or a member that forges, nodes
//! that took the other's frame refuse all of this node's below it; so it goes on a block above, where a twin in turn hears that it is
//! behind. Each time within [`CALM`] the silence doubles, lest two that take turns use up the epoch.

use crate::replay::JUMP;
use crate::{Duration, Instant};

/// The first silence. A guess.
const SILENCE: Duration = Duration::from_secs(10);
/// The longest: at a leap each hour, 2^24 SEQs last ten days.
const SILENCE_MOST: Duration = Duration::from_secs(3_600);
/// An address is contested for so long after the last frame of the other: longer than any silence.
const CALM: Duration = SILENCE_MOST.times(2);

/// What is known of another node under this node's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The highest SEQ of its that was heard.
    pub seq: u32,
    /// When it was heard last.
    pub heard: Instant,
    /// Until when this node sends nothing of its own.
    pub silent_until: Option<Instant>,
}

/// What follows from a frame of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ContestStep {
    /// This node is to go beyond its SEQ.
    pub(crate) follow: bool,
    /// The application is to be notified.
    pub(crate) news: bool,
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Contest {
    known: Option<Conflict>,
    /// This node's next SEQ when the silence began: however many frames come in one, it follows them no further than `JUMP`.
    base: u32,
    /// Silences in a row.
    silences: u8,
    /// When the application was notified last.
    notified: Instant,
}

impl Contest {
    pub(crate) const fn new() -> Self {
        Self { known: None, base: 0, silences: 0, notified: Instant::ZERO }
    }

    /// A frame of this node's address has come with a SEQ that it never sent, as `next` is its next one. Whether this node has to go
    /// beyond it, and whether the application is to be notified, now or again.
    ///
    /// One further ahead than others take at once is reported and changes nothing: to follow it would use up the epoch.
    pub(crate) fn heard(&mut self, now: Instant, seq: u32, next: u32) -> ContestStep {
        let before = self.known(now);
        // Calm since: the one before was another conflict, and does not count towards how long to be silent now.
        if before.is_none() {
            self.silences = 0;
        }
        let mut silent_until = before.and_then(|before| before.silent_until);
        let mut news = before.is_none() || now.since(self.notified) >= SILENCE;
        // Counted from where the silence began: else each frame in it, a little further ahead than the last, would lead this
        // node on without end.
        let base = if silent_until.is_some() { self.base } else { next };
        // Further than that others refuse the frame as well: it did no harm, and going beyond it would.
        let follow = seq.saturating_sub(base) < JUMP;
        if follow && silent_until.is_none() {
            // 2^16 times is far beyond the longest silence, and keeps the shift in range.
            let silence = SILENCE.times(1 << self.silences.min(16)).min(SILENCE_MOST);
            silent_until = Some(now + silence);
            self.silences = self.silences.saturating_add(1);
            (self.base, news) = (next, true);
        }
        // In a silence that runs on, its end stays: frames that keep coming must not keep this node silent for ever.
        let seq = before.map_or(seq, |before| before.seq.max(seq));
        self.known = Some(Conflict { seq, heard: now, silent_until });
        if news {
            self.notified = now;
        }
        ContestStep { follow, news }
    }

    /// Another node has this address, as far as is known now.
    pub(crate) fn known(&self, now: Instant) -> Option<Conflict> {
        self.known.filter(|known| known.silent_until.is_some() || now.since(known.heard) <= CALM)
    }

    /// Until when this node keeps silent.
    pub(crate) fn silent_until(&self) -> Option<Instant> {
        self.known.as_ref()?.silent_until
    }

    /// Ends a silence that is over.
    pub(crate) fn end_silence(&mut self, now: Instant) {
        if let Some(known) = &mut self.known {
            known.silent_until.take_if(|until| *until <= now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(secs)
    }

    #[test]
    fn the_silence_doubles_each_time_up_to_an_hour_and_begins_again_after_a_calm_one() {
        let mut contest = Contest::new();
        let (mut now, mut next) = (at(5), 100);
        let mut silence = |contest: &mut Contest, wait: u64| {
            now += Duration::from_secs(wait);
            assert_eq!(contest.heard(now, next + 7, next), ContestStep { follow: true, news: true });
            assert_eq!(
                contest.heard(now, next + 9, next + 8),
                ContestStep { follow: true, news: false },
                "notified once"
            );
            let more = contest.heard(now, next + JUMP, next + JUMP - 1);
            assert!(!more.follow, "no further in one silence");
            let until = contest.silent_until().unwrap();
            contest.end_silence(until - Duration::from_micros(1));
            assert_eq!(contest.silent_until(), Some(until));
            let length = until.since(now).as_millis() / 1_000;
            now = until;
            contest.end_silence(now);
            assert_eq!(contest.silent_until(), None);
            next += 10;
            length
        };
        let lengths = [(); 11].map(|()| silence(&mut contest, 60));
        assert_eq!(lengths, [10, 20, 40, 80, 160, 320, 640, 1_280, 2_560, 3_600, 3_600]);
        assert_eq!(silence(&mut contest, 3_700), 10);
    }

    #[test]
    fn what_is_too_far_ahead_to_be_taken_by_others_is_reported_and_not_followed() {
        let mut contest = Contest::new();
        let heard = |contest: &mut Contest, secs, seq| {
            let ContestStep { follow, news } = contest.heard(at(secs), seq, 1_000);
            (follow, news)
        };
        assert_eq!(heard(&mut contest, 1, 1_000 + JUMP), (false, true));
        assert_eq!(heard(&mut contest, 2, 1_001 + JUMP), (false, false));
        assert_eq!(heard(&mut contest, 12, 1_001 + JUMP), (false, true), "notified again, not too often");
        let known = Conflict { seq: 1_001 + JUMP, heard: at(12), silent_until: None };
        assert_eq!(contest.known(at(7_212)), Some(known));
        assert_eq!(contest.known(at(7_213)), None, "it is calm again");
        assert_eq!(heard(&mut contest, 8_000, 1_000 + JUMP - 1), (true, true));
        assert_eq!(contest.silent_until(), Some(at(8_010)));
    }
}
