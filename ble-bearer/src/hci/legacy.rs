//! Advertising on a legacy controller: one frame at a time.
//!
//! Owns the cycle Set Data, Enable, hold, Disable, and when the next step is due. A controller of this kind never says what
//! it has sent, so a frame is held for as long as its advertising event can take at the latest: an interval and the longest
//! random delay. It cannot listen while an advertising event lasts, which is 1.4 ms of each hold.

use mesh_protocol::{Duration, Instant};

use super::adv_data::AdvData;
use super::command::{self, Command};
use super::options::ADV_DELAY;
use super::tally::Tally;

#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    /// Set Data is on its way.
    Setting,
    /// The data are set.
    Set,
    /// Enable is on its way.
    Enabling,
    /// On the air until then.
    Held { until: Instant },
    /// Disable is on its way.
    Disabling,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Legacy {
    interval: Duration,
    state: State,
    /// When the frame's first command was due.
    began: Instant,
    /// What the last frame took beyond being held.
    beyond: Option<Duration>,
    /// The frame on the air has had its time, and that was not said yet.
    over: bool,
    pub(super) tally: Tally,
}

impl Legacy {
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            interval,
            state: State::Idle,
            began: Instant::ZERO,
            beyond: None,
            over: false,
            tally: Tally::default(),
        }
    }

    /// How long a frame takes, when each command takes `latency`.
    pub(super) fn min_gap(&self, latency: Duration) -> Duration {
        // The hold, and three commands: Set Data, Enable and Disable.
        self.interval + ADV_DELAY + latency.times(3)
    }

    pub(super) fn next(&mut self, now: Instant, waiting: &mut Option<AdvData>) -> Option<Command> {
        match self.state {
            State::Idle => {
                let data = waiting.take()?;
                // What it takes beyond its hold is counted from here, waking up late included.
                self.began = now;
                self.state = State::Setting;
                Some(command::set_adv_data(&data.bytes))
            }
            State::Set => {
                self.state = State::Enabling;
                Some(command::set_adv_enable(true))
            }
            State::Held { until } if until <= now => {
                self.state = State::Disabling;
                // Said before Disable is answered: whoever has the next frame needs about as long as the command.
                self.over = true;
                Some(command::set_adv_enable(false))
            }
            _ => None,
        }
    }

    /// The last command of [`Legacy::next`] is done.
    pub(super) fn done(&mut self, now: Instant, ok: bool) {
        self.state = match (std::mem::take(&mut self.state), ok) {
            (State::Setting, true) => State::Set,
            (State::Enabling, true) => State::Held { until: now + self.hold() },
            (State::Setting | State::Enabling, false) => {
                self.tally.lost += 1;
                State::Idle
            }
            // It has been on the air for its time, whatever came of the command.
            (State::Disabling, _) => {
                self.tally.sent += 1;
                self.beyond = Some(now.since(self.began + self.hold()));
                State::Idle
            }
            (other, _) => other,
        };
    }

    fn hold(&self) -> Duration {
        // When the event comes within this span is the controller's secret. Disabled sooner, a frame might
        // never leave. That some send it twice in that time costs air and harms nobody.
        self.interval + ADV_DELAY
    }

    /// Whether the frame on the air has had its time, once for each: the next one can be set as soon as this one is off.
    pub(super) fn take_over(&mut self) -> bool {
        std::mem::take(&mut self.over)
    }

    /// What each of a frame's three commands cost, once it is done: waking up late is part of it.
    pub(super) fn take_cost(&mut self) -> Option<Duration> {
        Some(Duration::from_micros(self.beyond.take()?.as_micros() / 3))
    }

    pub(super) fn timeout(&self) -> Option<Instant> {
        match self.state {
            State::Held { until } => Some(until),
            _ => None,
        }
    }

    /// Forgets what was on the air, and says how to stop it.
    pub(super) fn restart(&mut self) -> Command {
        self.tally.lost += u64::from(!matches!(self.state, State::Idle));
        self.state = State::Idle;
        command::set_adv_enable(false)
    }
}
