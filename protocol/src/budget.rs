//! What a node offers to the air below CRITICAL, so that the air carries it and urgent frames pass.
//!
//! Owns how busy the air is, and from when on lower classes may send. The rule is one function of the frames that are heard in a
//! second: up to [`FREE`] of them nothing is held back, and for each [`STEP`] more the pause behind a frame doubles. All that
//! hear the same air come to the same pause, and the more of them there are, the longer it gets. Who is next among those
//! that may send is for `shares`.

use crate::{Duration, Instant};

/// After a new CRITICAL frame the lower classes are silent for so long: while it floods on, and its answer comes back.
const HOLD: Duration = Duration::from_millis(80);
/// However many CRITICAL frames come, one silence is no longer than this,
const HOLD_MOST: Duration = Duration::from_millis(800);
/// and a pause of a tenth of its length follows it.
const PAUSE_SHARE: u64 = 10;
/// For so long behind such a silence the air is kept light: further copies, answers and second attempts come in it.
const ALERT: Duration = Duration::from_secs(4);
/// The frames of a second are counted over about so long.
const SPAN: Duration = Duration::from_secs(1);
/// Frames in a second, somewhat more than are heard in a crowded office that is flooded from everywhere: to pause there costs messages
/// their time. A guess for air that is more crowded.
const FREE: u32 = 400;
/// The same within [`ALERT`]. Where 25 nodes hear each other, this and the rule let each send about 14 times in a second; beyond
/// 20 the 99th percentile of CRITICAL rises steeply.
const FREE_IN_ALERT: u32 = 200;
/// From so many frames in a second on nothing that was sent before is flooded, and repeats come slower: a flood of each message that got
/// no answer is what a busy air has no answers for.
const BUSY: u32 = 80;
/// From so many on an answer of a next hop is late, or collides, often enough that silence says less of that neighbour. A guess.
const LIVELY: u32 = 40;
/// Where so many are heard and more than [`UNANSWERED`] of the next hops do not answer, the air is crowded: more is lost than carried, and
/// every further repeat takes more away than it brings. A guess, held against the simulated air.
const CROWDED: u32 = 150;
/// In thousandths. Where nodes in a row send as fast as they can, fewer do not answer.
const UNANSWERED: u16 = 500;
/// So many thousandths more add the wait for a next hop once more.
const UNANSWERED_STEP: u64 = 50;
/// The share is taken over about so many answers.
const ANSWERS: u32 = 16;
/// So many more frames in a second double the pause.
const STEP: u32 = 40;
/// So many frames in a second double the time that is waited for an answer end to end.
const SLOWED: u64 = 100;
/// The shortest pause where there is one: what a link needs for a frame anyway.
const PAUSE: u32 = 12_000;
/// The longest, so that each node keeps a twentieth of what a link can take.
const PAUSE_MOST: u32 = 240_000;
/// So many frames may leave without the pause before, if none has left for a while: one now and then never waits.
const AHEAD: u64 = 4;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    held_since: Instant,
    held_until: Instant,
    /// Thousandths of frames in a second.
    heard: u32,
    counted_at: Instant,
    /// The share of hops that were not answered, in thousandths.
    unanswered: u16,
    /// Microseconds behind each frame below CRITICAL.
    pause: u32,
    /// When the pauses behind all that was sent are over.
    paid_at: Instant,
}

impl Budget {
    pub(crate) const fn new() -> Self {
        const START: Instant = Instant::ZERO;
        Self {
            held_since: START,
            held_until: START,
            heard: 0,
            counted_at: START,
            unanswered: 0,
            pause: 0,
            paid_at: START,
        }
    }

    /// A frame, whoever sent it, was on the air.
    pub(crate) fn on_air(&mut self, now: Instant) {
        let since = now.since(self.counted_at).as_micros();
        let span = SPAN.as_micros();
        self.counted_at = now;
        self.heard = (u64::from(self.heard) * span / (span + since)) as u32 + 1_000;
        let in_alert = self.held_until > Instant::ZERO && now < self.held_until + ALERT;
        self.pause = pause(self.heard / 1_000, if in_alert { FREE_IN_ALERT } else { FREE });
        // What was sent in busier air is paid for at the price of now: in air that is quiet again nothing is left to wait for.
        let most = Duration::from_micros((AHEAD + 1) * u64::from(self.pause));
        self.paid_at = self.paid_at.min(now + most);
    }

    /// A next hop has answered in time, or not.
    pub(crate) fn hop(&mut self, answered: bool) {
        let last = if answered { 0 } else { 1_000 };
        self.unanswered = ((u32::from(self.unanswered) * (ANSWERS - 1) + last) / ANSWERS) as u16;
    }

    /// This node has sent one below CRITICAL. Whether a pause follows.
    pub(crate) fn sent(&mut self, now: Instant) -> bool {
        self.paid_at = self.paid_at.max(now) + Duration::from_micros(self.pause.into());
        self.pause > 0
    }

    /// A CRITICAL frame that this node did not know passes: lower classes hold back for a moment. In the pause behind a
    /// silence that was as long as it may be, they do not.
    pub(crate) fn urgent(&mut self, now: Instant) -> bool {
        let begins = self.held_until <= now;
        if begins {
            let length = self.held_until.since(self.held_since).as_micros();
            if now.since(self.held_until).as_micros() < length / PAUSE_SHARE {
                return false;
            }
            self.held_since = now;
        }
        self.held_until = (now + HOLD).min(self.held_since + HOLD_MOST);
        begins
    }

    /// Until when classes below CRITICAL are silent for it.
    pub(crate) const fn silent_until(&self) -> Instant {
        self.held_until
    }

    /// When the pauses behind what they have sent are over, but for the few that may leave ahead of that.
    pub(crate) fn paused_until(&self) -> Instant {
        let ahead = Duration::from_micros(AHEAD * u64::from(self.pause));
        Instant::ZERO + (self.paid_at.since(Instant::ZERO) - ahead)
    }

    /// The pause behind each frame below CRITICAL; that of the neighbours as well, as far as they hear the same air.
    pub(crate) const fn pause(&self) -> Duration {
        Duration::from_micros(self.pause as u64)
    }

    /// Whether the air has no room for floods that may be needless.
    pub(crate) fn is_busy(&self, now: Instant) -> bool {
        self.load(now).0 >= BUSY
    }

    /// Whether silence of a next hop says little of it.
    pub(crate) fn is_lively(&self, now: Instant) -> bool {
        self.load(now).0 >= LIVELY
    }

    /// How long to wait for a next hop in crowded air where it would be `quiet` otherwise; `None` where the air is not.
    pub(crate) fn crowded(&self, now: Instant, quiet: Duration) -> Option<Duration> {
        let over = self.unanswered.checked_sub(UNANSWERED)?;
        let steps = quiet.as_micros() * u64::from(over) / UNANSWERED_STEP;
        (over > 0 && self.load(now).0 >= CROWDED).then(|| quiet + Duration::from_micros(steps))
    }

    /// How long to wait end to end where an answer would take `quiet` in quiet air.
    pub(crate) fn slowed(&self, now: Instant, quiet: Duration) -> Duration {
        let (heard, _) = self.load(now);
        quiet + Duration::from_micros(quiet.as_micros() * u64::from(heard) / SLOWED)
    }

    /// Frames that were on the air in a second, and how many this node may add to them below CRITICAL; `None`: all.
    pub(crate) fn load(&self, now: Instant) -> (u32, Option<u32>) {
        let span = SPAN.as_micros();
        let since = now.since(self.counted_at).as_micros();
        let heard = u64::from(self.heard) * span / (span + since) / 1_000;
        (heard as u32, (self.pause > 0).then(|| 1_000_000 / self.pause))
    }
}

/// The pause behind each frame, in microseconds, when so many are `heard` in a second.
fn pause(heard: u32, free: u32) -> u32 {
    let over = heard.saturating_sub(free);
    if over == 0 {
        return 0;
    }
    let doubled = PAUSE << (over / STEP).min(8);
    (doubled + doubled / STEP * (over % STEP)).min(PAUSE_MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn a_critical_frame_silences_the_rest_for_a_moment() {
        let mut budget = Budget::new();
        assert_eq!(budget.silent_until(), at(0));
        budget.urgent(at(1_000));
        assert_eq!(budget.silent_until(), at(1_080));
        budget.urgent(at(1_050));
        assert_eq!(budget.silent_until(), at(1_130), "its answer");
    }

    #[test]
    fn the_pause_doubles_with_each_step_of_load() {
        let pauses = [0, 100, 120, 140, 180, 200, 220, 900].map(|heard| pause(heard, 100));
        assert_eq!(pauses, [0, 0, 18_000, 24_000, 48_000, 72_000, 96_000, 240_000]);
        assert!((0..2_000).all(|heard| pause(heard, 100) <= pause(heard + 1, 100)), "never shorter for more");
        assert!((0..2_000).all(|heard| pause(heard, FREE) <= pause(heard, FREE_IN_ALERT)));
    }

    #[test]
    fn where_most_hops_fail_in_loud_air_a_next_hop_is_waited_for_the_longer() {
        let mut budget = after(200);
        let quiet = Duration::from_millis(40);
        (0..100).for_each(|n| budget.hop(n % 5 < 3));
        assert_eq!(budget.crowded(at(10_000), quiet), None, "two of five");
        (0..100).for_each(|n| budget.hop(n % 5 < 2));
        let wait = budget.crowded(at(10_000), quiet).unwrap();
        assert!(wait > quiet.times(2) && wait < quiet.times(6), "{wait:?}");
        assert_eq!(budget.crowded(at(12_000), quiet), None, "nothing is heard");
        (0..100).for_each(|_| budget.hop(true));
        assert_eq!(budget.crowded(at(10_000), quiet), None);
    }

    /// A budget after ten seconds in which `rate` frames a second were heard.
    fn after(rate: u64) -> Budget {
        let mut budget = Budget::new();
        (0..10 * rate).for_each(|n| budget.on_air(Instant::from_micros(n * 1_000_000 / rate)));
        budget
    }

    #[test]
    fn what_is_heard_in_a_second_is_counted_and_fades() {
        assert_eq!(after(200).load(at(10_000)), (199, None));
        assert_eq!(after(200).load(at(11_000)), (100, None), "a second of silence");
        assert_eq!(after(440).load(at(10_000)), (439, Some(41)));
    }

    #[test]
    fn the_busier_the_air_the_longer_an_answer_end_to_end_is_waited_for() {
        let (quiet, busy) = (after(40), after(200));
        assert!(!quiet.is_busy(at(10_000)) && busy.is_busy(at(10_000)) && !busy.is_busy(at(12_000)));
        let waits = |budget: &Budget| budget.slowed(at(10_000), Duration::from_millis(200)).as_millis();
        assert_eq!((waits(&Budget::new()), waits(&quiet), waits(&busy)), (200, 278, 598));
    }

    #[test]
    fn in_busy_air_a_few_frames_leave_at_once_and_the_rest_at_the_pause() {
        let mut budget = after(440);
        let mut now = at(10_000);
        let mut sent = 0;
        while now < at(11_000) {
            now = now.max(budget.paused_until());
            budget.sent(now);
            sent += 1;
        }
        assert_eq!(sent, 5 + 42, "so many at once, then one every 24 ms");
    }

    #[test]
    fn in_air_that_is_quiet_again_nothing_waits_for_pauses_of_busier_air() {
        let mut budget = after(600);
        for _ in 0..=AHEAD {
            assert!(budget.paused_until() <= at(10_000));
            assert!(budget.sent(at(10_000)));
        }
        assert!(budget.paused_until() > at(10_200), "{:?}", budget.paused_until());
        budget.on_air(at(10_600));
        assert_eq!(budget.pause(), Duration::ZERO);
        assert!(budget.paused_until() <= at(10_600), "{:?}", budget.paused_until());
    }

    #[test]
    fn behind_a_critical_frame_the_air_is_kept_light_for_a_while() {
        let mut budget = after(300);
        assert_eq!(budget.load(at(10_000)).1, None);
        budget.urgent(at(10_000));
        let allowed = |budget: &mut Budget, millis| {
            (0..300).for_each(|n| budget.on_air(Instant::from_micros(millis * 1_000 - 900_000 + n * 3_000)));
            budget.load(at(millis)).1
        };
        assert!(allowed(&mut budget, 11_000).is_some());
        assert!(allowed(&mut budget, 14_000).is_some());
        assert_eq!(allowed(&mut budget, 15_000), None, "80 ms and ALERT behind it");
    }

    #[test]
    fn critical_frames_without_end_leave_the_rest_a_tenth_of_the_time() {
        let mut budget = Budget::new();
        let open = (1_000..11_000u64)
            .filter(|&millis| {
                budget.urgent(at(millis));
                budget.silent_until() <= at(millis)
            })
            .count();
        assert_eq!(open, 880, "of 10,000 ms");
    }
}
