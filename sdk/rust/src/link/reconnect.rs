//! How an agent reconnects to its gateway: when it tries, and what it says.
//!
//! Owns the pauses. What is asked again in the new session is [`super::state`]'s.

use std::time::Duration;

use mesh_protocol::Rng;

use super::dial::{Dial, Session};
use super::{Connection, Link};
use crate::api::Hello;
use crate::api::codec::Codec;
use crate::error::lost;
use crate::{ClientError, Time};

/// How long a gateway may take from the connection to the welcome. As long as it waits itself for a hello.
pub(crate) const WELCOME_WITHIN: Duration = Duration::from_secs(10);

/// The pauses between attempts to connect: each about twice the one before, up to a bound, less a random part of up to
/// half, so that the agents of a gateway that restarts do not all come at once.
///
/// ```
/// use std::time::Duration;
///
/// use mesh_agent::Backoff;
///
/// let eager = Backoff { longest: Duration::from_secs(1), ..Backoff::default() };
/// assert_eq!(eager.first, Duration::from_millis(100));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first pause.
    pub first: Duration,
    /// The longest pause. A session that lasted longer than this makes the next pause the first again.
    pub longest: Duration,
}

impl Default for Backoff {
    /// From 100 ms to 10 s. Guesses: a gateway restarts within a second; one that is off is found soon enough.
    fn default() -> Self {
        Self { first: Duration::from_millis(100), longest: Duration::from_secs(10) }
    }
}

impl Backoff {
    /// The pause before this attempt, the first being 0.
    fn pause(&self, attempt: u32, rng: &mut Rng) -> Duration {
        let longest = u64::try_from(self.longest.as_micros()).unwrap_or(u64::MAX);
        let first = u64::try_from(self.first.as_micros()).unwrap_or(u64::MAX);
        let whole = first.checked_shl(attempt).filter(|micros| micros >> attempt == first);
        let whole = whole.unwrap_or(longest).min(longest);
        Duration::from_micros(whole - rng.below(whole / 2 + 1))
    }
}

/// What an agent needs to reconnect.
#[derive(Debug)]
pub(crate) struct Reconnect {
    dial: Dial,
    hello: Hello,
    codec: Codec,
    backoff: Backoff,
    rng: Rng,
    attempts: u32,
    /// How long nothing may come before the gateway is asked whether it is still there.
    pub(crate) heartbeat: Duration,
}

impl Reconnect {
    pub(crate) fn new(
        dial: Dial,
        hello: Hello,
        codec: Codec,
        backoff: Backoff,
        heartbeat: Duration,
        seed: u64,
    ) -> Self {
        Self { dial, hello, codec, backoff, rng: Rng::new(seed), attempts: 0, heartbeat }
    }

    /// One attempt to begin a session.
    pub(crate) async fn attempt(&self, hello: Hello, time: &impl Time) -> Result<Session, ClientError> {
        let begin = async { self.dial.stream().await?.greet(hello, self.codec).await };
        tokio::select! {
            biased;
            begun = begin => begun,
            () = time.pause(WELCOME_WITHIN) => {
                Err(lost(format_args!("no welcome within {} s", WELCOME_WITHIN.as_secs())))
            }
        }
    }

    /// Tries to begin the first session until that works.
    pub(crate) async fn begin(&mut self, time: &impl Time) -> Result<Session, ClientError> {
        loop {
            match self.attempt(self.hello.clone(), time).await {
                Err(why) if why.is_passing() => time.pause(self.pause()).await,
                done => return done,
            }
        }
    }

    /// The hello of the first session.
    pub(crate) fn hello(&self) -> Hello {
        self.hello.clone()
    }

    /// A session has ended that lasted so long.
    pub(crate) const fn lasted(&mut self, span: Duration) {
        if span.as_micros() > self.backoff.longest.as_micros() {
            self.attempts = 0;
        }
    }

    fn pause(&mut self) -> Duration {
        let pause = self.backoff.pause(self.attempts, &mut self.rng);
        self.attempts = self.attempts.saturating_add(1);
        pause
    }

    /// Tries to begin another session until that works, is hopeless, or is not wanted any more; and the cursor behind
    /// which it goes on.
    pub(crate) async fn next_session(
        &mut self,
        link: &Link,
        time: &impl Time,
        mut why: ClientError,
    ) -> Result<(Session, u64), ClientError> {
        loop {
            link.connection.send_replace(Connection::Away { why, attempts: self.attempts });
            let pause = self.pause();
            let parting = || lost("bye was said while the gateway was away");
            tokio::select! {
                biased;
                () = link.parting() => return Err(parting()),
                () = time.pause(pause) => {}
            }
            let asked = {
                let state = &mut link.lock().state;
                state.overdue(time.now());
                state.mail.handled_through()
            };
            // Before any credit, what was sent again must be answered.
            let hello = Hello { resume: Some(asked), credits: 0, ..self.hello.clone() };
            let attempt = tokio::select! {
                biased;
                () = link.parting() => return Err(parting()),
                attempt = self.attempt(hello, time) => attempt,
            };
            match attempt {
                Ok(session) => return Ok((session, asked)),
                Err(error) if error.is_passing() => why = error,
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_differ_by_chance() {
        let backoff = Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(3) };
        let mut rng = Rng::new(1);
        let whole = [100, 200, 400, 800, 1_600, 3_000, 3_000].map(Duration::from_millis);
        for (attempt, whole) in (0..).zip(whole) {
            for _ in 0..100 {
                let pause = backoff.pause(attempt, &mut rng);
                assert!(pause >= whole / 2 && pause <= whole, "attempt {attempt}: {pause:?}");
            }
        }
        for attempt in [63, 64, u32::MAX] {
            assert!(backoff.pause(attempt, &mut rng) >= backoff.longest / 2, "no shift is too far");
        }
        let pauses: std::collections::BTreeSet<Duration> =
            (0..100).map(|_| backoff.pause(5, &mut rng)).collect();
        assert!(pauses.len() > 90, "{pauses:?}");
    }
}
