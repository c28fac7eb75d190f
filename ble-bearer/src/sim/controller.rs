//! A Bluetooth controller that advertises, as seen from its host.
//!
//! Owns when advertising events start, how many events a frame gets, and how much may wait: one or several advertising sets that share
//! one radio. Knows neither air nor world: whoever runs it asks [`Controller::poll_timeout`], takes the frame of each event from
//! [`Controller::poll_transmit`], and reports receptions [`REPORT_LATENCY`] after they ended. No clock and no IO,
//! so that it can sit behind HCI.

use mesh_protocol::{Duration, Instant, LEGACY_FRAME, LinkInfo, Rng};

use super::advert::{Advert, Cargo};
use super::host::{HCI_HOLD, HCI_LEAST_GAP, HostModel};
use super::spec::RadioSpec;
use crate::airtime::Shape;
use crate::{FrameBytes, Full};

/// From the host's command to the controller being ready to advertise: about 0.45 ms a command was measured on a
/// Raspberry Pi 4, rounded up.
pub const COMMAND_LATENCY: Duration = Duration::from_micros(500);
/// From the end of a received PDU to the host. With [`COMMAND_LATENCY`] it makes the 2 ms that pass in each
/// controller in run V1 of `docs/simulator.md`.
pub const REPORT_LATENCY: Duration = Duration::from_micros(1_500);
/// The longest random delay before each event (Core Specification, Vol 6 Part B, 4.4.2.2.1: 0 to 10 ms). The
/// first event waits for one too: V1 cannot be met without.
pub const ADV_DELAY: Duration = Duration::from_millis(10);
/// From the start of one copy to the start of the next, less the random delay: the shortest that legacy
/// advertising allows (Core Specification, Vol 6 Part B, 4.4.2.2.1).
pub const ADV_INTERVAL: Duration = Duration::from_millis(20);
/// Frames that go out once each and this far apart are never refused: command, longest delay and event take
/// 0.5 + 10 + 1.43 ms, rounded up.
pub const MIN_GAP: Duration = Duration::from_millis(12);

/// What the one broadcast link of a controller with the usual radio can do.
#[must_use]
pub const fn link_info() -> LinkInfo {
    LinkInfo::advertising(LEGACY_FRAME, MIN_GAP)
}

impl RadioSpec {
    /// What the one broadcast link of such a radio can do. Its gap is the shortest in which no frame is refused: commands, the longest
    /// delay and the longest event, rounded up to a millisecond; or what the host needs.
    #[must_use]
    pub fn link_info(&self) -> LinkInfo {
        let event = self.shape(self.mtu()).airtime();
        let sets = self.sets.max(1) as u64;
        let gap = match self.host {
            HostModel::Firmware => {
                let micros = (COMMAND_LATENCY + ADV_DELAY + event).as_micros() / sets;
                Duration::from_millis(micros.div_ceil(1_000))
            }
            HostModel::HciLegacy => HCI_HOLD + COMMAND_LATENCY.times(3),
            HostModel::HciSets => {
                let busy = COMMAND_LATENCY.times(2) + ADV_DELAY + event;
                Duration::from_micros(busy.as_micros() / sets).max(HCI_LEAST_GAP)
            }
        };
        LinkInfo::advertising(self.mtu(), gap)
    }
}

/// How often a frame is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Schedule {
    /// Events that are to start yet; `None`: until it is stopped.
    copies: Option<u8>,
    interval: Duration,
    /// Whether it is held for a fixed time, in which events start as they may.
    held: bool,
}

/// The frame that an advertising set holds.
#[derive(Debug)]
struct Held {
    cargo: Cargo,
    /// When the next event starts; `None` after the last one started.
    next: Option<Instant>,
    schedule: Schedule,
    /// When the last event that started ends.
    end: Instant,
    /// Events that have started.
    started: u64,
    /// No event starts later than this.
    until: Instant,
}

/// One advertising set with room for one waiting frame.
#[derive(Debug, Default)]
struct Set {
    held: Option<Held>,
    waiting: Option<(Cargo, Schedule)>,
}

impl Set {
    /// When something happens in it next.
    fn timeout(&self, reports_sent: bool) -> Option<Instant> {
        let held = self.held.as_ref()?;
        held.next.or((reports_sent || self.waiting.is_some()).then_some(held.end))
    }
}

/// Some advertising sets on one radio.
#[derive(Debug)]
pub struct Controller {
    rng: Rng,
    spec: RadioSpec,
    sets: Vec<Set>,
    /// When the event that started last ends: the radio sends one at a time.
    free: Instant,
    /// Sets whose last event has ended, and whose end was not reported yet.
    sent: Vec<usize>,
}

impl Controller {
    /// An idle controller of such a radio; `rng` draws its advertising delays.
    #[must_use]
    pub fn new(rng: Rng, spec: RadioSpec) -> Self {
        let sets = (0..spec.sets.max(1)).map(|_| Set::default()).collect();
        Self { rng, spec, sets, free: Instant::ZERO, sent: Vec::new() }
    }

    /// Takes a frame to be advertised by the set that is free first, in `copies` events (0 counts as 1), [`ADV_INTERVAL`] apart; where the
    /// [host](RadioSpec::host) holds it instead, in as many as come of that.
    ///
    /// # Errors
    /// As for [`Controller::advertise`].
    pub fn submit(&mut self, now: Instant, frame: &[u8], copies: u8) -> Result<(), Full> {
        self.take_up_waiting(now);
        let load = |set: &Set| u8::from(set.held.is_some()) + u8::from(set.waiting.is_some());
        let set = (0..self.sets.len()).min_by_key(|set| load(&self.sets[*set])).unwrap_or(0);
        let held = self.spec.host == HostModel::HciLegacy;
        let copies = (!held).then_some(copies.max(1));
        self.take(now, set, frame, Schedule { copies, interval: ADV_INTERVAL, held })
    }

    /// Takes a frame to be advertised by a set in `copies` events (0 counts as 1). From the start of one to the start of
    /// the next `interval` passes, but never less than [`ADV_INTERVAL`], and a random delay of up to [`ADV_DELAY`].
    ///
    /// # Errors
    /// [`Full`] when the set holds one frame and another one waits, when there is no such set, or when `frame` is longer than the
    /// radio can send.
    pub fn advertise(
        &mut self,
        now: Instant,
        set: usize,
        frame: &[u8],
        copies: u8,
        interval: Duration,
    ) -> Result<(), Full> {
        self.take_up_waiting(now);
        let interval = interval.max(ADV_INTERVAL);
        self.take(now, set, frame, Schedule { copies: Some(copies.max(1)), interval, held: false })
    }

    fn take(&mut self, now: Instant, set: usize, frame: &[u8], schedule: Schedule) -> Result<(), Full> {
        let place = self.sets.get_mut(set).ok_or(Full)?;
        if frame.len() > self.spec.mtu() || place.waiting.is_some() {
            return Err(Full);
        }
        let cargo = Cargo::frame(FrameBytes::from_slice(frame).map_err(|_| Full)?);
        // Room for one more: whoever is a little early need not try again.
        if place.held.is_some() {
            place.waiting = Some((cargo, schedule));
        } else {
            self.hold(now, set, cargo, schedule);
        }
        Ok(())
    }

    /// Has a set advertise `advert` in so many `events` (0 counts as 1), or until [`Controller::stop`], instead of what it holds.
    /// The times are those of [`Controller::advertise`].
    ///
    /// # Errors
    /// [`Full`] when there is no such set.
    pub fn start(
        &mut self,
        now: Instant,
        set: usize,
        advert: Advert,
        events: Option<u8>,
        interval: Duration,
    ) -> Result<(), Full> {
        // Others that have ended stay as they are until that is reported.
        *self.sets.get_mut(set).ok_or(Full)? = Set::default();
        let copies = events.map(|events| events.max(1));
        self.hold(
            now,
            set,
            Cargo::advert(advert),
            Schedule { copies, interval: interval.max(ADV_INTERVAL), held: false },
        );
        Ok(())
    }

    /// Has a set carry something else from its next event on. Nothing when it holds nothing.
    pub fn change(&mut self, set: usize, advert: Advert) {
        if let Some(held) = self.sets.get_mut(set).and_then(|set| set.held.as_mut()) {
            held.cargo = Cargo::advert(advert);
        }
    }

    /// Has a set hold nothing: no more of its events start, and no end is reported. How many have started.
    pub fn stop(&mut self, set: usize) -> u64 {
        let held = self.sets.get_mut(set).and_then(|set| std::mem::take(set).held);
        held.map_or(0, |held| held.started)
    }

    /// Takes up waiting frames where the last event of the held one has ended.
    fn take_up_waiting(&mut self, now: Instant) {
        for set in 0..self.sets.len() {
            while let Some(held) = &self.sets[set].held
                && held.next.is_none()
                && held.end <= now
            {
                // The next begins where this one ended, also if nobody polled just then: how late a caller is changes no time.
                let end = held.end;
                self.sets[set].held = None;
                if self.spec.reports_sent {
                    self.sent.push(set);
                }
                if let Some((cargo, schedule)) = self.sets[set].waiting.take() {
                    self.hold(end, set, cargo, schedule);
                }
            }
        }
    }

    fn hold(&mut self, now: Instant, set: usize, cargo: Cargo, schedule: Schedule) {
        // The delay is drawn here and with each event, never when it is asked for: how often a caller polls changes no draw.
        let delay = self.rng.jitter(ADV_DELAY);
        let forever = Instant::from_micros(u64::MAX);
        let (start, end, until) = if schedule.held {
            // Set Data and Enable come first, Disable last.
            let enabled = now + COMMAND_LATENCY.times(2);
            let end = enabled + HCI_HOLD + COMMAND_LATENCY;
            // Disable is done when no event is on any more: one that would last longer does not start.
            let event = shape(&self.spec, &cargo).airtime();
            (enabled + delay, end, Instant::from_micros(end.as_micros() - event.as_micros()))
        } else {
            let start = now + COMMAND_LATENCY + delay;
            (start, start, forever)
        };
        self.sets[set].held = Some(Held { cargo, next: Some(start), schedule, end, started: 0, until });
    }

    /// Forgets every frame, as a power cut does.
    pub fn reset(&mut self) {
        self.sets.iter_mut().for_each(|set| *set = Set::default());
        self.sent.clear();
        self.free = Instant::ZERO;
    }

    /// When [`Controller::poll_transmit`] has something to do next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let reports_sent = self.spec.reports_sent;
        self.sets.iter().filter_map(|set| set.timeout(reports_sent)).min()
    }

    /// What the advertising event that starts at `now` carries, if one does.
    ///
    /// An event that would overlap another set's event starts when that one has ended.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<&Cargo> {
        self.take_up_waiting(now);
        let starts = self.sets.iter().enumerate();
        let due =
            starts.filter_map(|(n, set)| Some((set.held.as_ref()?.next.filter(|start| *start <= now)?, n)));
        // The earliest first, and of two at the same time the lower set.
        let (start, set) = due.min()?;
        if self.free > start {
            let held = self.sets[set].held.as_mut()?;
            // One radio: it waits for the other set's event without a new delay, and keeps its own pace from there.
            held.next = Some(self.free);
            return if self.free <= now { self.poll_transmit(now) } else { None };
        }
        let held = self.sets[set].held.as_mut()?;
        self.free = start + shape(&self.spec, &held.cargo).airtime();
        // One that is held ends when its time is over, whenever its events were.
        held.end = held.end.max(self.free);
        held.started += 1;
        if let Some(copies) = &mut held.schedule.copies {
            *copies -= 1;
        }
        let again = held.schedule.copies != Some(0);
        // From start to start, so that the length of an event does not slow down its set.
        let next = again.then(|| start + held.schedule.interval + self.rng.jitter(ADV_DELAY));
        held.next = next.filter(|next| *next <= held.until);
        Some(&held.cargo)
    }

    /// A set whose last event has ended, once for each frame, if the radio reports it.
    pub fn poll_sent(&mut self) -> Option<usize> {
        (!self.sent.is_empty()).then(|| self.sent.remove(0))
    }
}

/// The advertising event in which such a radio sends it.
pub(super) fn shape(spec: &RadioSpec, cargo: &Cargo) -> Shape {
    cargo.advert.as_ref().map_or_else(|| spec.shape(cargo.frame.len()), |advert| advert.shape())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::airtime::Phy;

    /// Runs the controller to its end; the start and first byte of every event.
    fn run(controller: &mut Controller) -> Vec<(Instant, u8)> {
        let mut events = Vec::new();
        while let Some(at) = controller.poll_timeout() {
            if let Some(frame) = controller.poll_transmit(at) {
                events.push((at, frame.frame[0]));
            }
        }
        events
    }

    #[test]
    fn events_start_within_the_delays_and_copies_keep_the_interval() {
        for seed in 0..200 {
            println!("seed {seed}");
            let mut controller = Controller::new(Rng::new(seed), RadioSpec::default());
            let now = Instant::from_micros(1_000_000);
            controller.submit(now, &[1; LEGACY_FRAME], 3).unwrap();
            let events = run(&mut controller);
            assert_eq!(events.len(), 3);
            let first = events[0].0.since(now);
            assert!(first >= COMMAND_LATENCY && first <= COMMAND_LATENCY + ADV_DELAY);
            for pair in events.windows(2) {
                let gap = pair[1].0.since(pair[0].0);
                assert!(gap >= ADV_INTERVAL && gap <= ADV_INTERVAL + ADV_DELAY);
            }
        }
    }

    #[test]
    fn one_frame_is_held_one_waits_and_a_third_is_refused() {
        let mut controller = Controller::new(Rng::new(1), RadioSpec::default());
        controller.submit(Instant::ZERO, &[1], 2).unwrap();
        controller.submit(Instant::ZERO, &[2], 0).unwrap();
        assert_eq!(controller.submit(Instant::ZERO, &[3], 1), Err(Full));
        let events = run(&mut controller);
        assert_eq!(events.iter().map(|event| event.1).collect::<Vec<_>>(), [1, 1, 2]);
        let handover = events[1].0 + RadioSpec::default().shape(1).airtime();
        assert!(events[2].0 >= handover + COMMAND_LATENCY);
        assert!(events[2].0 <= handover + COMMAND_LATENCY + ADV_DELAY);
    }

    #[test]
    fn frames_a_min_gap_apart_are_never_refused() {
        let mut controller = Controller::new(Rng::new(2), RadioSpec::default());
        for turn in 0..1_000_u64 {
            let now = Instant::ZERO + MIN_GAP.times(turn);
            while let Some(at) = controller.poll_timeout().filter(|at| *at <= now) {
                controller.poll_transmit(at);
            }
            assert_eq!(controller.submit(now, &[0; LEGACY_FRAME], 1), Ok(()));
            assert!(controller.sets[0].waiting.is_none(), "nor do they have to wait");
        }
    }

    #[test]
    fn a_host_that_holds_frames_takes_its_time_for_each_and_some_go_out_twice() {
        let spec = RadioSpec { host: HostModel::HciLegacy, ..RadioSpec::default() };
        let gap = spec.link_info().min_gap;
        assert_eq!(gap, Duration::from_micros(31_500));
        let mut controller = Controller::new(Rng::new(5), spec);
        let mut events = Vec::new();
        for turn in 0..200_u64 {
            let now = Instant::ZERO + gap.times(turn);
            while let Some(at) = controller.poll_timeout().filter(|at| *at <= now) {
                if let Some(cargo) = controller.poll_transmit(at) {
                    events.push((at, u64::from(cargo.frame[0])));
                }
            }
            assert_eq!(controller.submit(now, &[turn as u8], 3), Ok(()));
            assert!(controller.sets[0].waiting.is_none(), "nor does it have to wait");
        }
        for turn in 0..199 {
            let own: Vec<_> = events.iter().filter(|event| event.1 == turn).map(|event| event.0).collect();
            assert!((1..=2).contains(&own.len()), "{own:?}");
            let span = own.iter().map(|at| at.since(Instant::ZERO + gap.times(turn)));
            let enabled = COMMAND_LATENCY.times(2);
            assert!(span.clone().all(|span| span >= enabled && span <= enabled + HCI_HOLD));
        }
        let twice = events.len() - 199;
        assert!((60..140).contains(&twice), "half of them: {twice}");
    }

    #[test]
    fn the_gap_is_what_the_longest_frame_needs_and_several_sets_share_it() {
        let gap = |spec: RadioSpec| spec.link_info().min_gap.as_micros();
        assert_eq!(RadioSpec::default().link_info(), link_info());
        let long = |phy| RadioSpec { extended: Some(phy), ..RadioSpec::default() };
        assert_eq!([Phy::OneM, Phy::TwoM, Phy::CodedS8].map(|phy| gap(long(phy))), [14_000, 13_000, 29_000]);
        assert_eq!(long(Phy::TwoM).link_info().mtu, 245);
        assert_eq!(gap(RadioSpec { sets: 4, host: HostModel::HciSets, ..long(Phy::OneM) }), 6_000);
        let spec = RadioSpec { sets: 4, host: HostModel::HciSets, ..long(Phy::OneM) };
        let gap = spec.link_info().min_gap;
        let mut controller = Controller::new(Rng::new(6), spec);
        for turn in 0..1_000_u64 {
            let now = Instant::ZERO + gap.times(turn);
            while let Some(at) = controller.poll_timeout().filter(|at| *at <= now) {
                controller.poll_transmit(at);
            }
            assert_eq!(controller.submit(now, &[0; 245], 1), Ok(()), "turn {turn}");
        }
    }

    #[test]
    fn too_long_a_frame_is_refused_and_changes_nothing() {
        let mut controller = Controller::new(Rng::new(3), RadioSpec::default());
        assert_eq!(controller.submit(Instant::ZERO, &[0; LEGACY_FRAME + 1], 1), Err(Full));
        assert_eq!(controller.poll_timeout(), None);
        controller.submit(Instant::ZERO, &[0; LEGACY_FRAME], 1).unwrap();
        controller.reset();
        assert_eq!(controller.poll_timeout(), None);
    }

    fn advert(byte: u8) -> Advert {
        let address = super::super::AdvAddress::of(super::super::StationId(0));
        Advert::new(address, super::super::AdvPdu::NonConnectable, &[2, 0xff, byte]).unwrap()
    }

    /// Runs the controller up to a time; the start and last byte of every event.
    fn run_to(controller: &mut Controller, to: Instant) -> Vec<(Instant, u8)> {
        let mut events = Vec::new();
        while let Some(at) = controller.poll_timeout().filter(|at| *at <= to) {
            if let Some(cargo) = controller.poll_transmit(at) {
                events.push((at, cargo.advert.as_ref().unwrap().data()[2]));
            }
        }
        events
    }

    #[test]
    fn a_set_that_is_started_goes_on_until_it_is_stopped_and_changes_with_its_next_event() {
        let mut controller = Controller::new(Rng::new(4), RadioSpec::default());
        let interval = Duration::from_millis(100);
        controller.start(Instant::ZERO, 0, advert(1), None, interval).unwrap();
        let first = run_to(&mut controller, Instant::from_micros(1_000_000));
        assert!((9..=10).contains(&first.len()));
        for pair in first.windows(2) {
            let gap = pair[1].0.since(pair[0].0);
            assert!(gap >= interval && gap <= interval + ADV_DELAY);
        }
        controller.change(0, advert(2));
        let second = run_to(&mut controller, Instant::from_micros(2_000_000));
        assert!(first.iter().all(|event| event.1 == 1) && second.iter().all(|event| event.1 == 2));
        assert!(second[0].0.since(first[first.len() - 1].0) <= interval + ADV_DELAY, "it keeps its pace");
        assert_eq!(controller.stop(0), (first.len() + second.len()) as u64);
        assert_eq!((controller.poll_timeout(), controller.stop(0)), (None, 0));
        controller.change(0, advert(3));
        assert_eq!(controller.poll_timeout(), None, "nothing is held that could change");
    }

    #[test]
    fn a_set_that_is_stopped_before_its_first_event_never_has_one() {
        for seed in 0..50 {
            println!("seed {seed}");
            let mut controller = Controller::new(Rng::new(seed), RadioSpec::default());
            controller.start(Instant::ZERO, 0, advert(1), None, ADV_INTERVAL).unwrap();
            assert_eq!(controller.stop(0), 0);
            assert_eq!(controller.poll_timeout(), None);
        }
    }

    #[test]
    fn starting_one_set_hides_no_other_s_end() {
        let spec = RadioSpec { sets: 2, reports_sent: true, ..RadioSpec::default() };
        let mut controller = Controller::new(Rng::new(5), spec);
        controller.start(Instant::ZERO, 0, advert(1), Some(1), ADV_INTERVAL).unwrap();
        let start = controller.poll_timeout().unwrap();
        assert!(controller.poll_transmit(start).is_some());
        let end = controller.poll_timeout().unwrap();
        controller.start(end, 1, advert(2), None, ADV_INTERVAL).unwrap();
        assert_eq!(controller.poll_timeout(), Some(end), "it is still to be reported");
        assert!(controller.poll_transmit(end).is_none());
        assert_eq!((controller.poll_sent(), controller.poll_sent()), (Some(0), None));
        assert!(controller.start(end, 2, advert(3), None, ADV_INTERVAL).is_err(), "no such set");
    }

    #[test]
    fn sets_share_one_radio_and_report_when_they_have_sent() {
        for seed in 0..100 {
            println!("seed {seed}");
            let spec = RadioSpec { sets: 3, reports_sent: true, ..RadioSpec::default() };
            let event = spec.shape(LEGACY_FRAME).airtime();
            let mut controller = Controller::new(Rng::new(seed), spec);
            for set in 0..3 {
                let frame = [set as u8; LEGACY_FRAME];
                controller.advertise(Instant::ZERO, set, &frame, 3, ADV_INTERVAL).unwrap();
            }
            assert_eq!(controller.advertise(Instant::ZERO, 3, &[1], 1, ADV_INTERVAL), Err(Full));
            let (mut events, mut sent) = (Vec::new(), Vec::new());
            while let Some(at) = controller.poll_timeout() {
                if let Some(frame) = controller.poll_transmit(at) {
                    events.push((at, frame.frame[0]));
                }
                while let Some(set) = controller.poll_sent() {
                    assert!(events.iter().filter(|(_, from)| usize::from(*from) == set).count() == 3);
                    sent.push(set);
                }
            }
            assert_eq!(events.len(), 9);
            assert!(events.windows(2).all(|pair| pair[1].0 >= pair[0].0 + event), "{events:?}");
            sent.sort_unstable();
            assert_eq!(sent, [0, 1, 2]);
        }
    }
}
