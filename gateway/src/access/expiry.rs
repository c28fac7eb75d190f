//! Until when a token is good: a moment on the calendar of this machine.
//!
//! Owns the spelling, and where the calendar comes from. Nothing of the mesh knows a calendar: what a wrong one does here, it does to
//! this gateway's agents alone.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::pattern::as_text;

/// The longest span that is asked for, in days: a guess, longer than any gateway lasts.
const MOST_DAYS: u64 = 36_500;
/// Seconds of a day.
const DAY: u64 = 86_400;

/// A moment, to the second, from which on a token is not let in any more. Written as `2027-01-31T12:00:00Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Expiry(OffsetDateTime);

/// Why a text is no [`Expiry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no such time: write a date or a moment, as in 2027-01-31 (its first second, UTC) or 2027-01-31T12:00:00Z, or a number and m, h or \
     d from now, as in 30d; at most {MOST_DAYS}d"
)]
pub struct ExpiryError;

impl Expiry {
    /// What a person means: a date, a moment, or a span from `now` on.
    ///
    /// # Errors
    /// [`ExpiryError`].
    pub fn read(text: &str, now: SystemTime) -> Result<Self, ExpiryError> {
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let scale = match unit {
            "m" => 60,
            "h" => 3_600,
            "d" => DAY,
            // A date is the moment at which it begins.
            _ if text.len() == "2027-01-31".len() => return format!("{text}T00:00:00Z").parse(),
            _ => return text.parse(),
        };
        let number = number.parse::<u64>().ok().and_then(|number| number.checked_mul(scale));
        let span = number.filter(|span| (1..=MOST_DAYS * DAY).contains(span)).ok_or(ExpiryError)?;
        let moment = now.checked_add(Duration::from_secs(span)).ok_or(ExpiryError)?;
        // A part of a second longer rather than shorter than was asked for.
        let since = moment.duration_since(SystemTime::UNIX_EPOCH).map_err(|_| ExpiryError)?;
        Self::at(since.as_secs() + u64::from(since.subsec_nanos() > 0))
    }

    fn at(seconds: u64) -> Result<Self, ExpiryError> {
        let seconds = i64::try_from(seconds).map_err(|_| ExpiryError)?;
        OffsetDateTime::from_unix_timestamp(seconds).map(Self).map_err(|_| ExpiryError)
    }

    /// Whether that moment has come.
    #[must_use]
    pub fn is_over(self, now: SystemTime) -> bool {
        self.0 <= now
    }
}

impl FromStr for Expiry {
    type Err = ExpiryError;

    fn from_str(text: &str) -> Result<Self, ExpiryError> {
        let moment = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| ExpiryError)?;
        let seconds = u64::try_from(moment.unix_timestamp()).map_err(|_| ExpiryError)?;
        Self::at(seconds)
    }
}

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.format(&Rfc3339).map_err(|_| fmt::Error)?)
    }
}
as_text!(Expiry, ExpiryError);

/// What time it is on the calendar: this machine's, or that of a test.
#[derive(Clone)]
pub struct Calendar(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl Calendar {
    /// One that this function tells.
    #[must_use]
    pub fn new(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        (self.0)()
    }
}

impl Default for Calendar {
    /// This machine's.
    fn default() -> Self {
        Self::new(SystemTime::now)
    }
}

impl fmt::Debug for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Calendar")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-12-01 at 05:00 UTC.
    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_796_101_200)
    }

    #[test]
    fn a_moment_is_written_as_a_date_a_time_or_a_span() {
        for (text, meant) in [
            ("2027-01-31", "2027-01-31T00:00:00Z"),
            ("2027-01-31T12:30:00Z", "2027-01-31T12:30:00Z"),
            ("2027-01-31T12:30:00.7+02:00", "2027-01-31T10:30:00Z"),
            ("30d", "2026-12-31T05:00:00Z"),
            ("36h", "2026-12-02T17:00:00Z"),
            ("5m", "2026-12-01T05:05:00Z"),
        ] {
            let expiry = Expiry::read(text, now()).unwrap();
            assert_eq!(expiry.to_string(), meant, "{text}");
            assert_eq!(meant.parse(), Ok(expiry));
        }
        for wrong in [
            "",
            "soon",
            "30",
            "0d",
            "-1d",
            "30s",
            "30 d",
            "36501d",
            "99999999999999999999d",
            "2027-02-30",
            "2027-1-31",
            "1969-12-31",
            "2027-01-31T25:00:00Z",
            "ä027-01-31",
        ] {
            assert_eq!(Expiry::read(wrong, now()), Err(ExpiryError), "{wrong}");
        }
    }

    #[test]
    fn it_is_over_from_its_second_on_and_a_clock_before_1970_is_before_it() {
        let second = Duration::from_secs(1);
        let expiry = Expiry::read("5m", now() + Duration::from_millis(1)).unwrap();
        let end = now() + Duration::from_secs(301);
        assert!(!expiry.is_over(end - Duration::from_nanos(1)) && expiry.is_over(end));
        assert!(!expiry.is_over(SystemTime::UNIX_EPOCH - second));
        assert_eq!(Expiry::read("5m", SystemTime::UNIX_EPOCH - 1_000 * second), Err(ExpiryError));
    }
}
