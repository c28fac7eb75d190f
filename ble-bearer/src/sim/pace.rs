//! Lets a world go on by itself, beside asynchronous devices.
//!
//! Owns the relation of simulated time to the clock on the wall, and nothing else: what happens is the
//! [`World`]'s business, when it must stand still the seats'.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mesh_protocol::{Duration, Instant};
use tokio::time::Instant as Wall;

use super::lockstep::{Running, Shared, Still, Stopped};
use super::station::{Observer, Station};
use super::world::{Step, World};

/// Events in one go before other tasks get their turn; a guess: well under a millisecond of work.
const BATCH: usize = 64;
/// A world that is further behind the wall than this goes on from where it is instead of sprinting. A guess: above
/// the wall timers' 1 ms, and no one notices.
const MAX_LAG: std::time::Duration = std::time::Duration::from_millis(20);
/// The slowest and the fastest pace, in simulated seconds a second. A guess: room for anyone's patience.
const SPEEDS: (f64, f64) = (1e-3, 1e6);
const FOREVER: Instant = Instant::from_micros(u64::MAX);

/// Drives a world, as fast as it goes or in step with the wall. Clones drive the same world.
#[derive(Debug)]
pub struct Pacer<S, O = ()> {
    world: Arc<Mutex<World<S, O>>>,
    shared: Arc<Shared>,
    speed: Option<f64>,
}

impl<S, O> Clone for Pacer<S, O> {
    fn clone(&self) -> Self {
        Self { world: Arc::clone(&self.world), shared: Arc::clone(&self.shared), speed: self.speed }
    }
}

/// What to wait for before going on.
enum Wait {
    /// Nothing; only let others have their turn.
    Turn,
    /// A seat, a hold, or something new to do.
    Change,
    /// The same, but no longer than until then.
    Until(Wall),
}

impl<S: Station, O: Observer<S>> Pacer<S, O> {
    /// A pacer of `world`: at `speed` simulated seconds for each second on the wall (0.001 to 1,000,000, others are
    /// brought within), or as fast as it goes without one.
    #[must_use]
    pub fn new(world: World<S, O>, speed: Option<f64>) -> Self {
        let within = |speed: f64| {
            if speed.is_nan() { 1.0 } else { speed.clamp(SPEEDS.0, SPEEDS.1) }
        };
        Self {
            shared: Arc::clone(world.shared()),
            world: Arc::new(Mutex::new(world)),
            speed: speed.map(within),
        }
    }

    /// Looks into the world or pokes it, at the time that its clocks show. Do not block in it.
    pub fn with<R>(&self, access: impl FnOnce(&mut World<S, O>) -> R) -> R {
        let mut world = self.lock();
        // What is poked may set an alarm that the running clock does not know of.
        self.shared.lock().stop_clock(Stopped::No);
        let result = access(&mut world);
        drop(world);
        self.shared.changed.notify_one();
        result
    }

    /// Lets the world go on until the future is dropped. Run one at a time.
    #[expect(clippy::disallowed_methods, reason = "the pacer waits for the wall")]
    pub async fn run(&self) {
        let mut anchor = None;
        loop {
            match self.batch(&mut anchor) {
                Wait::Turn => tokio::task::yield_now().await,
                Wait::Change => self.shared.changed.notified().await,
                Wait::Until(wall) => tokio::select! {
                    () = tokio::time::sleep_until(wall) => {}
                    () = self.shared.changed.notified() => {}
                },
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, World<S, O>> {
        // A device that panicked has said why; looking at what is left does no harm.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what is due, up to a bound. `anchor` is a moment on the wall and the simulated time that belongs to it;
    /// it is thrown away after a hold, and when the world fell behind: that time is not to be made up.
    #[expect(clippy::disallowed_methods, reason = "the pacer holds simulated time against the wall")]
    fn batch(&self, anchor: &mut Option<Running>) -> Wait {
        let mut world = self.lock();
        self.check(anchor, world.now());
        for _ in 0..BATCH {
            let wall = Wall::now();
            let limit = match (self.speed, *anchor) {
                (None, _) => FOREVER,
                (Some(_), Some(running)) => running.at(wall),
                (Some(speed), None) => {
                    let sim = world.now();
                    *anchor = Some(Running { wall, sim, speed, limit: sim });
                    sim
                }
            };
            match (world.step_until(limit), *anchor) {
                (Step::Done(at), Some(running)) if at + lag(running.speed) < limit => *anchor = None,
                (Step::Done(_), _) => {}
                (Step::Still(still), _) => {
                    if still == Still::Held {
                        *anchor = None;
                    }
                    return Wait::Change;
                }
                (Step::Quiet(next), Some(running)) => {
                    self.shared.lock().run_clock(Running { limit: next.unwrap_or(FOREVER), ..running });
                    return next.and_then(|next| running.wall_at(next)).map_or(Wait::Change, Wait::Until);
                }
                (Step::Quiet(_), None) => return Wait::Change,
            }
        }
        Wait::Turn
    }

    /// Throws the anchor away if the clock was stopped for a hold, or for long, since it was last looked at.
    #[expect(clippy::disallowed_methods, reason = "the pacer holds simulated time against the wall")]
    fn check(&self, anchor: &mut Option<Running>, now: Instant) {
        let stopped = self.shared.lock().take_stopped();
        if let Some(running) = anchor {
            let behind = running.at(Wall::now()) > now + lag(running.speed);
            if stopped == Stopped::ByHold || (stopped == Stopped::ByWork && behind) {
                *anchor = None;
            }
        }
    }
}

/// [`MAX_LAG`] in simulated time.
fn lag(speed: f64) -> Duration {
    Duration::from_micros((MAX_LAG.as_micros() as f64 * speed) as u64)
}
