//! A Bluetooth controller with one legacy advertising set, as seen from its host.
//!
//! Owns when advertising events start, how many copies go out, and how much may wait. Knows neither air nor
//! world: whoever runs it asks [`Controller::poll_timeout`], takes the frame of each event from
//! [`Controller::poll_transmit`], and reports receptions [`REPORT_LATENCY`] after they ended. No clock and no IO,
//! so that it can sit behind HCI later.

use mesh_protocol::{Duration, Instant, LEGACY_FRAME, LinkInfo, LinkKind, Rng};

use super::air::event_airtime;
use crate::{FrameBytes, Full};

/// From the host's command to the controller being ready to advertise: about 0.45 ms a command was measured on a
/// Raspberry Pi 4, rounded up.
pub const COMMAND_LATENCY: Duration = Duration::from_micros(500);
/// From the end of a received PDU to the host. With [`COMMAND_LATENCY`] it makes the 2 ms that pass in each
/// controller in the reference run V1 of the radio model.
pub const REPORT_LATENCY: Duration = Duration::from_micros(1_500);
/// The longest random delay before each event (Core Specification, Vol 6 Part B, 4.4.2.2.1: 0 to 10 ms). The
/// first event waits for one too: the radio model's V1 cannot be met without.
pub const ADV_DELAY: Duration = Duration::from_millis(10);
/// From the start of one copy to the start of the next, less the random delay: the shortest that legacy
/// advertising allows (Core Specification, Vol 6 Part B, 4.4.2.2.1).
pub const ADV_INTERVAL: Duration = Duration::from_millis(20);
/// Frames that go out once each and this far apart are never refused: command, longest delay and event take
/// 0.5 + 10 + 1.43 ms, rounded up.
pub const MIN_GAP: Duration = Duration::from_millis(12);

/// What this controller's one broadcast link can do.
#[must_use]
pub const fn link_info() -> LinkInfo {
    LinkInfo { mtu: LEGACY_FRAME, kind: LinkKind::Broadcast, min_gap: MIN_GAP }
}

/// The frame that the advertising set holds.
#[derive(Debug)]
struct Held {
    frame: FrameBytes,
    /// When the next event starts; `None` after the last one started.
    next: Option<Instant>,
    copies_left: u8,
    /// When the last event that started ends.
    end: Instant,
}

/// One legacy advertising set with room for one waiting frame.
#[derive(Debug)]
pub struct Controller {
    rng: Rng,
    held: Option<Held>,
    waiting: Option<(FrameBytes, u8)>,
}

impl Controller {
    /// An idle controller; `rng` draws its advertising delays.
    #[must_use]
    pub const fn new(rng: Rng) -> Self {
        Self { rng, held: None, waiting: None }
    }

    /// Takes a frame to be advertised in `copies` events (0 counts as 1).
    ///
    /// # Errors
    /// [`Full`] when one frame is held and another one waits, or when `frame` is longer than [`LEGACY_FRAME`].
    pub fn submit(&mut self, now: Instant, frame: &[u8], copies: u8) -> Result<(), Full> {
        self.settle(now);
        if frame.len() > LEGACY_FRAME || self.waiting.is_some() {
            return Err(Full);
        }
        let frame = FrameBytes::from_slice(frame).map_err(|_| Full)?;
        if self.held.is_some() {
            self.waiting = Some((frame, copies));
        } else {
            self.hold(now, frame, copies);
        }
        Ok(())
    }

    /// Takes up the waiting frame when the last event of the held one has ended.
    fn settle(&mut self, now: Instant) {
        while let Some(held) = &self.held
            && held.next.is_none()
            && held.end <= now
        {
            let end = held.end;
            self.held = None;
            if let Some((frame, copies)) = self.waiting.take() {
                self.hold(end, frame, copies);
            }
        }
    }

    fn hold(&mut self, now: Instant, frame: FrameBytes, copies: u8) {
        let start = now + COMMAND_LATENCY + self.rng.jitter(ADV_DELAY);
        self.held = Some(Held { frame, next: Some(start), copies_left: copies.max(1), end: start });
    }

    /// Forgets every frame, as a power cut does.
    pub fn reset(&mut self) {
        self.held = None;
        self.waiting = None;
    }

    /// When [`Controller::poll_transmit`] has something to do next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let held = self.held.as_ref()?;
        held.next.or(self.waiting.is_some().then_some(held.end))
    }

    /// The frame of the advertising event that starts at `now`, if one does.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<&FrameBytes> {
        self.settle(now);
        let held = self.held.as_mut()?;
        let start = held.next.filter(|start| *start <= now)?;
        held.end = start + event_airtime(held.frame.len());
        held.copies_left -= 1;
        held.next = (held.copies_left > 0).then(|| start + ADV_INTERVAL + self.rng.jitter(ADV_DELAY));
        Some(&held.frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the controller to its end; the start and first byte of every event.
    fn run(controller: &mut Controller) -> Vec<(Instant, u8)> {
        let mut events = Vec::new();
        while let Some(at) = controller.poll_timeout() {
            if let Some(frame) = controller.poll_transmit(at) {
                events.push((at, frame[0]));
            }
        }
        events
    }

    #[test]
    fn events_start_within_the_delays_and_copies_keep_the_interval() {
        for seed in 0..200 {
            println!("seed {seed}");
            let mut controller = Controller::new(Rng::new(seed));
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
        let mut controller = Controller::new(Rng::new(1));
        controller.submit(Instant::ZERO, &[1], 2).unwrap();
        controller.submit(Instant::ZERO, &[2], 0).unwrap();
        assert_eq!(controller.submit(Instant::ZERO, &[3], 1), Err(Full));
        let events = run(&mut controller);
        assert_eq!(events.iter().map(|event| event.1).collect::<Vec<_>>(), [1, 1, 2]);
        let handover = events[1].0 + event_airtime(1);
        assert!(events[2].0 >= handover + COMMAND_LATENCY);
        assert!(events[2].0 <= handover + COMMAND_LATENCY + ADV_DELAY);
    }

    #[test]
    fn frames_a_min_gap_apart_are_never_refused() {
        let mut controller = Controller::new(Rng::new(2));
        for turn in 0..1_000_u64 {
            let now = Instant::ZERO + MIN_GAP.times(turn);
            while let Some(at) = controller.poll_timeout().filter(|at| *at <= now) {
                controller.poll_transmit(at);
            }
            assert_eq!(controller.submit(now, &[0; LEGACY_FRAME], 1), Ok(()));
            assert!(controller.waiting.is_none(), "nor do they have to wait");
        }
    }

    #[test]
    fn too_long_a_frame_is_refused_and_changes_nothing() {
        let mut controller = Controller::new(Rng::new(3));
        assert_eq!(controller.submit(Instant::ZERO, &[0; LEGACY_FRAME + 1], 1), Err(Full));
        assert_eq!(controller.poll_timeout(), None);
        controller.submit(Instant::ZERO, &[0; LEGACY_FRAME], 1).unwrap();
        controller.reset();
        assert_eq!(controller.poll_timeout(), None);
    }
}
