//! Advertising on an extended controller: a frame in each advertising set, and the controller says when it is out.
//!
//! Owns the sets. A frame is started for one event, and *sent* once the controller says that it has taken place; a set of which
//! nothing is heard in time is stopped, its frame counted as lost, and after [`DEAD_AFTER`] such in a row the controller's
//! sending counts as dead.

use mesh_protocol::{Duration, Instant};

use super::adv_data::AdvData;
use super::command::{self, Command};
use super::options::ADV_DELAY;
use super::tally::Tally;

/// What a controller may take for a frame beyond what its event needs. A guess: scanning and a neighbour's
/// connections may stand in the way.
const PATIENCE: Duration = Duration::from_millis(250);
/// As many frames in a row that no event confirms are no accident. A guess.
pub(super) const DEAD_AFTER: u32 = 3;
/// An advertising event with three PDUs of the longest legacy kind, rounded up.
const EVENT: Duration = Duration::from_micros(1_500);
/// The least time between frames, however many sets there are: more would be a burden to the air. A guess.
const LEAST_GAP: Duration = Duration::from_millis(6);

#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    /// Set Data is on its way.
    Setting,
    /// The data are set.
    Set,
    /// Enable is on its way; whether its end was reported already.
    Starting { ended: bool },
    /// On the air; until then its end must be reported.
    Active { until: Instant },
    /// Stop is on its way.
    Stopping,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Extended {
    interval: Duration,
    sets: Vec<State>,
    /// The set whose command is on its way.
    current: Option<usize>,
    /// Lost in a row.
    unconfirmed: u32,
    pub(super) tally: Tally,
}

impl Extended {
    pub(super) fn new(interval: Duration, sets: u8) -> Self {
        let sets = (0..sets.max(1)).map(|_| State::Idle).collect();
        Self { interval, sets, current: None, unconfirmed: 0, tally: Tally::default() }
    }

    /// How long a frame takes when all sets are in use and each command takes `latency`.
    pub(super) fn min_gap(&self, latency: Duration) -> Duration {
        // A frame occupies its set for the delay, the event and two commands, and the controller's ear for the two commands, however
        // many sets there are.
        let (commands, sets) = (latency.times(2), self.sets.len() as u64);
        let busy = (ADV_DELAY + EVENT + commands).as_micros() / sets;
        Duration::from_micros(busy).max(commands).max(LEAST_GAP)
    }

    pub(super) fn next(&mut self, now: Instant, waiting: &mut Option<AdvData>) -> Option<Command> {
        // Stopping comes first: a set that is stuck is a set less for all that follows.
        let overdue = |state: &State| matches!(state, State::Active { until } if *until <= now);
        if let Some(set) = self.sets.iter().position(overdue) {
            self.sets[set] = State::Stopping;
            self.current = Some(set);
            self.tally.lost += 1;
            self.unconfirmed += 1;
            return Some(command::stop_set(set as u8));
        }
        // Then starting what is set: a frame in a set is older than one that waits.
        if let Some(set) = self.sets.iter().position(|state| matches!(state, State::Set)) {
            self.sets[set] = State::Starting { ended: false };
            self.current = Some(set);
            return Some(command::start_set(set as u8, 1));
        }
        let set = self.sets.iter().position(|state| matches!(state, State::Idle))?;
        let data = waiting.take()?;
        self.sets[set] = State::Setting;
        self.current = Some(set);
        Some(command::set_ext_adv_data(set as u8, &data.bytes))
    }

    /// The last command of [`Extended::next`] is done.
    pub(super) fn done(&mut self, now: Instant, ok: bool) {
        let Some(set) = self.current.take() else { return };
        let state = &mut self.sets[set];
        *state = match (std::mem::take(state), ok) {
            (State::Setting, true) => State::Set,
            // Its end may overtake the answer to its start.
            (State::Starting { ended: true }, true) => State::Idle,
            (State::Starting { ended: false }, true) => {
                // Generous: to stop a set that is only late would lose its frame, and three such count as a dead controller.
                State::Active { until: now + self.interval + ADV_DELAY + PATIENCE }
            }
            (State::Setting | State::Starting { .. }, false) => {
                self.tally.lost += 1;
                State::Idle
            }
            (State::Stopping, _) => State::Idle,
            (other, _) => other,
        };
    }

    /// The controller says that a set has ended, after so many events.
    pub(super) fn terminated(&mut self, handle: u8, events: u8) {
        let Some(state) = self.sets.get_mut(usize::from(handle)) else { return };
        match state {
            State::Active { .. } => *state = State::Idle,
            State::Starting { ended } if !*ended => *ended = true,
            // It was stopped and has ended by itself as well, or was never started.
            _ => return,
        }
        if events > 0 {
            // One that came out is proof enough that the controller sends.
            self.tally.sent += 1;
            self.unconfirmed = 0;
        } else {
            self.tally.lost += 1;
        }
    }

    pub(super) fn timeout(&self) -> Option<Instant> {
        let until = |state: &State| match state {
            State::Active { until } => Some(*until),
            _ => None,
        };
        self.sets.iter().filter_map(until).min()
    }

    /// Whether nothing that was handed over came out for a while.
    pub(super) fn is_dead(&self) -> bool {
        self.unconfirmed >= DEAD_AFTER
    }

    /// Forgets what was on the air, and says how to stop it.
    pub(super) fn restart(&mut self) -> impl Iterator<Item = Command> + use<> {
        let busy = self.sets.iter().filter(|state| !matches!(state, State::Idle)).count();
        self.tally.lost += busy as u64;
        self.unconfirmed = 0;
        self.current = None;
        self.sets.iter_mut().for_each(|state| *state = State::Idle);
        // All of them, whatever their states say: these are in doubt, or nobody would restart.
        (0..self.sets.len() as u8).map(command::stop_set)
    }
}
