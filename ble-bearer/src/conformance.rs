//! What every bearer must do, as checks that any of them can be put through.
//!
//! Owns the checks and the report. An [`Arm`] makes the pairs of bearers: the simulated one in this crate's tests,
//! real adapters in `hw-tests`. Says nothing of speed or range.
//!
//! A real radio loses frames, so a check sends a frame again until it is heard or [`TRIES`] are used up; what must
//! never happen fails at the first sight of it.

use std::fmt;
use std::future::Future;

use mesh_protocol::{Duration, Instant, LinkId, LinkInfo, MAX_FRAME};

use crate::{Bearer, BearerEvent, Clock};

/// How long a bearer may take until its link is up. A guess: adapters take a second to be set up.
const UP_WITHIN: Duration = Duration::from_secs(5);
/// How long one try of a frame is waited for, beyond its gap. Through two shared adapters in an
/// emulated machine, one frame in a hundred took more than 250 ms, on a busy host 550 ms.
const TRY: Duration = Duration::from_millis(500);
/// How often a frame is sent before it counts as not arriving. A guess: 50 % loss still passes all but once in a
/// million.
pub const TRIES: usize = 20;
/// How often a bearer may find its promised gap too short and name a longer one. A guess.
const LONGER: usize = 8;
/// Frames of a check that counts. A guess.
const COUNT: usize = 20;
/// Frames handed over without a pause before a bearer must have refused one. A guess, far above any adapter's queue.
const FLOOD: usize = 10_000;

/// Makes pairs of bearers in range of each other.
pub trait Arm {
    /// The bearer under test.
    type Bearer: Bearer;
    /// The time it lives in.
    type Clock: Clock;

    /// Two fresh bearers that hear each other, and nobody else on the air. Called once for each check.
    ///
    /// # Errors
    /// Why there is none, say for want of a controller: the check is then skipped, not passed.
    fn pair(&mut self) -> impl Future<Output = Result<Pair<Self::Bearer, Self::Clock>, String>>;
}

/// Two bearers in range of each other.
#[derive(Debug)]
pub struct Pair<B, C> {
    /// The one that mostly sends.
    pub a: B,
    /// The one that mostly receives.
    pub b: B,
    /// Their time.
    pub clock: C,
}

/// How a check ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckOutcome {
    /// The bearer did what it must.
    Passed,
    /// It did not; what was seen.
    Failed(String),
    /// Nothing was tried; why not.
    Skipped(String),
}

/// The checks by name, in the order in which they ran.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConformanceReport {
    /// Each check's name and outcome.
    pub checks: Vec<(&'static str, CheckOutcome)>,
}

impl ConformanceReport {
    /// Whether every check passed; one that was skipped did not.
    #[must_use]
    pub fn all_passed(&self) -> bool {
        self.checks.iter().all(|(_, outcome)| *outcome == CheckOutcome::Passed)
    }

    /// Whether a check failed.
    #[must_use]
    pub fn any_failed(&self) -> bool {
        let failed = |outcome: &CheckOutcome| matches!(outcome, CheckOutcome::Failed(_));
        self.checks.iter().any(|(_, outcome)| failed(outcome))
    }
}

impl fmt::Display for ConformanceReport {
    /// A line for each check.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, outcome) in &self.checks {
            match outcome {
                CheckOutcome::Passed => writeln!(f, "passed   {name}")?,
                CheckOutcome::Failed(why) => writeln!(f, "FAILED   {name}: {why}")?,
                CheckOutcome::Skipped(why) => writeln!(f, "skipped  {name}: {why}")?,
            }
        }
        Ok(())
    }
}

/// Puts an arm's bearers through every check, each with a fresh pair.
pub async fn run_all<A: Arm>(arm: &mut A) -> ConformanceReport {
    let mut report = ConformanceReport::default();
    macro_rules! run {
        ($($check:ident),* $(,)?) => {$(
            let outcome = match arm.pair().await {
                Err(why) => CheckOutcome::Skipped(why),
                Ok(pair) => match checked($check, pair).await {
                    Ok(()) => CheckOutcome::Passed,
                    Err(why) => CheckOutcome::Failed(why),
                },
            };
            report.checks.push((stringify!($check), outcome));
        )*};
    }
    run!(
        link_up_comes_first_and_is_honest,
        frame_arrives_byte_for_byte_and_not_at_its_sender,
        too_long_a_frame_is_refused_and_the_next_one_works,
        frames_a_min_gap_apart_are_taken,
        who_says_ready_takes_a_frame,
        flood_is_refused_and_passes,
        next_event_is_cancel_safe,
        repeats_deliver_the_same_bytes,
        dropped_peer_leaves_the_other_working,
    );
    report
}

type Checked = Result<(), String>;

/// Waits for the links of a pair, then checks it.
async fn checked<B: Bearer, C: Clock>(
    check: impl AsyncFnOnce(Bench<B, C>) -> Checked,
    pair: Pair<B, C>,
) -> Checked {
    check(Bench::up(pair).await?).await
}

/// Which bearer of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    A,
    B,
}

/// A pair whose links are up.
struct Bench<B, C> {
    pair: Pair<B, C>,
    a: (LinkId, LinkInfo),
    b: (LinkId, LinkInfo),
    /// What A was given to send.
    sent: Vec<Vec<u8>>,
}

impl<B: Bearer, C: Clock> Pair<B, C> {
    /// What either bearer says next; `None` when neither says anything before `until`. Always listens to both: a
    /// simulated world stands still for one that is not listened to.
    async fn next(&mut self, until: Instant) -> Result<Option<(Side, BearerEvent)>, String> {
        let event = tokio::select! {
            biased;
            // Before the bearers: see `Clock::sleep_until`.
            () = self.clock.sleep_until(until) => return Ok(None),
            event = self.a.next_event() => (Side::A, event),
            event = self.b.next_event() => (Side::B, event),
        };
        match event {
            (side, Ok(event)) => Ok(Some((side, event))),
            (side, Err(error)) => Err(format!("bearer {side:?} failed: {error}")),
        }
    }
}

impl<B: Bearer, C: Clock> Bench<B, C> {
    async fn up(mut pair: Pair<B, C>) -> Result<Self, String> {
        let until = pair.clock.now() + UP_WITHIN;
        let (mut a, mut b) = (None, None);
        loop {
            if let (Some(a), Some(b)) = (a, b) {
                return Ok(Self { pair, a, b, sent: Vec::new() });
            }
            let Some((side, event)) = pair.next(until).await? else {
                return Err(format!("no link came up: A {a:?}, B {b:?}"));
            };
            let known = if side == Side::A { &mut a } else { &mut b };
            match event {
                BearerEvent::LinkUp { link, info } => *known = Some((link, info)),
                other if known.is_none() => {
                    return Err(format!("bearer {side:?} said {other:?} before its link was up"));
                }
                _ => {}
            }
        }
    }

    /// A frame that differs from others in length and in every byte.
    fn frame(number: usize, len: usize) -> Vec<u8> {
        (0..len).map(|at| (number * 31 + at * 7 + len) as u8 ^ 0xa5).collect()
    }

    /// Lets time pass. The frames that B heard; a frame at A fails, for B sent none.
    async fn listen(&mut self, span: Duration) -> Result<Vec<Vec<u8>>, String> {
        let until = self.pair.clock.now() + span;
        let mut heard = Vec::new();
        while let Some((side, event)) = self.pair.next(until).await? {
            match (side, event) {
                (Side::B, BearerEvent::Frame { link, bytes, .. }) if link == self.b.0 => {
                    heard.push(bytes.to_vec());
                }
                (_, BearerEvent::Ready { .. }) => {}
                (Side::A, BearerEvent::LinkUp { link, info }) => self.a = (link, info),
                (Side::B, BearerEvent::LinkUp { link, info }) => self.b = (link, info),
                (side, other) => return Err(format!("unexpected at bearer {side:?}: {other:?}")),
            }
        }
        Ok(heard)
    }

    /// Sends from A until B hears exactly that, and nothing that was never sent. A copy of an earlier frame may be late.
    async fn deliver(&mut self, frame: &[u8]) -> Checked {
        self.sent.push(frame.to_vec());
        let span = self.a.1.min_gap + TRY;
        for _ in 0..TRIES {
            let taken = self.pair.a.try_send(self.a.0, frame);
            let heard = self.listen(span).await?;
            if let Some(other) = heard.iter().find(|heard| !self.sent.contains(heard)) {
                return Err(format!("sent {frame:02x?}, heard {other:02x?}"));
            }
            if taken.is_ok() && heard.iter().any(|heard| heard == frame) {
                return Ok(());
            }
        }
        Err(format!("a frame of {} bytes did not arrive in {TRIES} tries", frame.len()))
    }
}

async fn link_up_comes_first_and_is_honest<B: Bearer, C: Clock>(mut bench: Bench<B, C>) -> Checked {
    for (_, info) in [bench.a, bench.b] {
        if info.mtu == 0 || info.mtu > MAX_FRAME {
            return Err(format!("an mtu of {} is not within 1..={MAX_FRAME}", info.mtu));
        }
        if info.min_gap == Duration::ZERO {
            return Err("no adapter sends without any gap, but min_gap is zero".into());
        }
    }
    let longest = Bench::<B, C>::frame(0, bench.a.1.mtu);
    bench.deliver(&longest).await
}

async fn frame_arrives_byte_for_byte_and_not_at_its_sender<B: Bearer, C: Clock>(
    mut bench: Bench<B, C>,
) -> Checked {
    let mtu = bench.a.1.mtu;
    for (number, len) in [1, mtu / 2, mtu - 1, mtu].into_iter().enumerate() {
        let frame = Bench::<B, C>::frame(number, len);
        bench.deliver(&frame).await?;
    }
    Ok(())
}

async fn too_long_a_frame_is_refused_and_the_next_one_works<B: Bearer, C: Clock>(
    mut bench: Bench<B, C>,
) -> Checked {
    let (link, info) = bench.a;
    for len in [info.mtu + 1, MAX_FRAME + 1, 4 * MAX_FRAME] {
        if bench.pair.a.try_send(link, &vec![0; len]).is_ok() {
            return Err(format!("took {len} bytes with an mtu of {}", info.mtu));
        }
    }
    let heard = bench.listen(TRY).await?;
    if !heard.is_empty() {
        return Err(format!("refused a frame, but something was heard: {heard:02x?}"));
    }
    bench.deliver(&Bench::<B, C>::frame(0, info.mtu)).await
}

async fn frames_a_min_gap_apart_are_taken<B: Bearer, C: Clock>(mut bench: Bench<B, C>) -> Checked {
    let (mut number, mut longer) = (0, 0);
    while number < COUNT {
        let (link, info) = bench.a;
        if bench.pair.a.try_send(link, &Bench::<B, C>::frame(number, info.mtu)).is_ok() {
            bench.listen(info.min_gap).await?;
            number += 1;
            continue;
        }
        // Unless its host has become slower, and it says so.
        bench.listen(TRY.times(2)).await?;
        longer += 1;
        if bench.a.1.min_gap <= info.min_gap || longer > LONGER {
            return Err(format!(
                "frame {number} was refused, a min_gap of {:?} after the one before",
                info.min_gap
            ));
        }
        number = 0;
    }
    Ok(())
}

async fn who_says_ready_takes_a_frame<B: Bearer, C: Clock>(mut bench: Bench<B, C>) -> Checked {
    for number in 0..COUNT {
        let (link, info) = bench.a;
        if bench.pair.a.try_send(link, &Bench::<B, C>::frame(number, info.mtu)).is_err() {
            return Err(format!("frame {number} was refused by a bearer that was ready for it"));
        }
        // Twice the gap, for a host that has become slower. Most bearers never say that they are ready.
        let until = bench.pair.clock.now() + info.min_gap.times(2) + TRY;
        while let Some((side, event)) = bench.pair.next(until).await? {
            match (side, event) {
                (Side::A, BearerEvent::Ready { .. }) => break,
                (Side::A, BearerEvent::LinkUp { link, info }) => bench.a = (link, info),
                _ => {}
            }
        }
    }
    Ok(())
}

async fn flood_is_refused_and_passes<B: Bearer, C: Clock>(mut bench: Bench<B, C>) -> Checked {
    let (link, info) = bench.a;
    let flood = Bench::<B, C>::frame(0, info.mtu);
    bench.sent.push(flood.clone());
    let taken = (0..FLOOD).take_while(|_| bench.pair.a.try_send(link, &flood).is_ok()).count();
    if taken == FLOOD {
        return Err(format!("took {FLOOD} frames at once: it keeps them without bound"));
    }
    // What was taken goes out; then there is room again.
    bench.listen(info.min_gap.times(taken as u64 + 1) + TRY).await?;
    bench.deliver(&Bench::<B, C>::frame(1, info.mtu)).await
}

async fn next_event_is_cancel_safe<B: Bearer, C: Clock>(mut bench: Bench<B, C>) -> Checked {
    let (link, info) = bench.a;
    let mut arrived = 0;
    for number in 0..COUNT {
        let frame = Bench::<B, C>::frame(number, info.mtu);
        if bench.pair.a.try_send(link, &frame).is_err() {
            return Err(format!("frame {number} was refused"));
        }
        // Every millisecond, both waits are dropped and begun again.
        let mut heard = Vec::new();
        for _ in 0..TRY.as_millis() {
            heard.extend(bench.listen(Duration::from_millis(1)).await?);
        }
        arrived += usize::from(heard.contains(&frame));
    }
    // A quarter may be the radio's fault; a guess.
    if arrived < COUNT * 3 / 4 {
        return Err(format!("only {arrived} of {COUNT} frames arrived while waits were dropped"));
    }
    Ok(())
}

async fn repeats_deliver_the_same_bytes<B: Bearer, C: Clock>(mut bench: Bench<B, C>) -> Checked {
    for number in 0..4 {
        let frame = Bench::<B, C>::frame(number, bench.a.1.mtu);
        for _ in 0..=number {
            bench.deliver(&frame).await?;
        }
    }
    Ok(())
}

async fn dropped_peer_leaves_the_other_working<B: Bearer, C: Clock>(bench: Bench<B, C>) -> Checked {
    let Bench { pair, b: (link, mut info), .. } = bench;
    let Pair { a, mut b, clock } = pair;
    drop(a);
    let mut refused = 0;
    for number in 0..COUNT {
        let taken = b.try_send(link, &Bench::<B, C>::frame(number, info.mtu));
        refused = if taken.is_ok() { 0 } else { refused + 1 };
        // As often as its host may become slower; see the check of gaps.
        if refused > LONGER {
            return Err(format!("with its peer gone, frame {number} was refused"));
        }
        let until = clock.now() + if refused == 0 { info.min_gap } else { TRY };
        loop {
            let event = tokio::select! {
                biased;
                () = clock.sleep_until(until) => break,
                event = b.next_event() => event,
            };
            match event {
                Ok(BearerEvent::Frame { bytes, .. }) => {
                    return Err(format!("heard {bytes:02x?} with nobody there"));
                }
                // A connection may notice that its peer is gone.
                Ok(BearerEvent::LinkDown { .. }) => return Ok(()),
                Ok(BearerEvent::LinkUp { info: now, .. }) => info = now,
                Ok(BearerEvent::Ready { .. }) => {}
                Err(error) => return Err(format!("with its peer gone, it failed: {error}")),
            }
        }
    }
    Ok(())
}
