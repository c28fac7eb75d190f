//! How often: a number of messages in a second, a minute or an hour.
//!
//! Owns the spelling and the counting. The time comes with each question.

use std::fmt;
use std::str::FromStr;

use mesh_protocol::{Duration, Instant};
use serde::{Deserialize, Serialize};

use super::pattern::as_text;

/// The most messages in a rate. A guess, far above what a gateway takes; a message's share of the shortest span is still a
/// microsecond, the finest time there is.
const MOST: u32 = 1_000_000;

/// So many messages in such a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rate {
    messages: u32,
    unit: char,
}

/// Why a text is no rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such rate: write 1 to {MOST} and /s, /m or /h, as in 5/s")]
pub struct RateError;

impl Rate {
    pub(crate) const fn per_minute(messages: u32) -> Self {
        Self { messages, unit: 'm' }
    }

    /// The one of both that allows more in the long run; the other where they allow the same.
    pub(super) fn max_of(self, other: Self) -> Self {
        // So many in all the other's seconds: a million times an hour is not near the end of the number.
        let over = |rate: Self, of: Self| u64::from(rate.messages) * of.span().as_micros();
        if over(self, other) > over(other, self) { self } else { other }
    }

    const fn span(self) -> Duration {
        Duration::from_secs(match self.unit {
            's' => 1,
            'm' => 60,
            _ => 3_600,
        })
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let (messages, unit) = text.split_once('/').ok_or(RateError)?;
        let unit = match unit {
            "s" => 's',
            "m" => 'm',
            "h" => 'h',
            _ => return Err(RateError),
        };
        let messages =
            messages.parse().ok().filter(|messages| (1..=MOST).contains(messages)).ok_or(RateError)?;
        Ok(Self { messages, unit })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.messages, self.unit)
    }
}
as_text!(Rate, RateError);

/// What was taken of a rate. From full, a whole span's messages may come at once, and then one whenever its share of the span
/// has passed; so within any span there are at most twice as many as the rate says, and in the long run as many.
#[derive(Debug)]
pub struct Bucket {
    rate: Rate,
    /// When all that was taken is made up for.
    level: Instant,
}

impl Bucket {
    /// A full one.
    #[must_use]
    pub const fn new(rate: Rate) -> Self {
        Self { rate, level: Instant::from_micros(0) }
    }

    /// Its rate.
    #[must_use]
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// Whether all that was taken is made up for.
    pub(crate) fn is_full(&self, now: Instant) -> bool {
        self.level <= now
    }

    /// Takes one message.
    ///
    /// # Errors
    /// How long until there is one.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let span = self.rate.span();
        let share = Duration::from_micros(span.as_micros() / u64::from(self.rate.messages));
        let full_again = self.level.max(now) + share;
        let over = full_again.since(now).as_micros().saturating_sub(span.as_micros());
        if over > 0 {
            return Err(Duration::from_micros(over));
        }
        self.level = full_again;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_of_messages_comes_at_once_and_then_one_for_each_share() {
        let mut bucket = Bucket::new("4/s".parse().unwrap());
        let at = |ms: u64| Instant::from_micros(5_000_000 + ms * 1_000);
        for _ in 0..4 {
            assert_eq!(bucket.take(at(0)), Ok(()));
        }
        assert_eq!(bucket.take(at(0)), Err(Duration::from_millis(250)));
        assert_eq!(bucket.take(at(100)), Err(Duration::from_millis(150)), "a refused one costs nothing");
        assert_eq!(bucket.take(at(250)), Ok(()));
        assert_eq!(bucket.take(at(250)), Err(Duration::from_millis(250)));
        // Silence saves up one span and no more.
        let taken = (0..100).filter(|_| bucket.take(at(100_000)).is_ok()).count();
        assert_eq!(taken, 4);
    }

    #[test]
    fn rates_are_written_as_they_are_read() {
        for text in ["1/s", "1000000/s", "30/m", "5/h"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        for wrong in ["", "5", "0/s", "1000001/s", "-1/s", "5/d", "5/ s", "5/s/s"] {
            assert_eq!(wrong.parse::<Rate>(), Err(RateError), "{wrong}");
        }
    }
}
