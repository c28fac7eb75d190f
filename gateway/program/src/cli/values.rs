//! What people type for a value, read into types: durations, names of types and priorities, addresses, hex.
//!
//! Owns the spelling and its error texts, which end up behind the flag's name. Ranges that depend on more than the
//! value are checked by whoever uses it.

use std::time::{Duration, SystemTime};

use gateway::access::Expiry;
use gateway::settings::{Adapter, UnknownAdapter};
use mesh_agent::api::{MAX_DEADLINE_MS, MAX_PROBE_TIMEOUT_MS};
use mesh_protocol::frame::Kind;
use mesh_protocol::{Address, MessageType, Mic, Priority};

/// `30s`, `500ms`, `5m`, `2h`; a bare number is seconds. At most what a deadline can be, 2^32 - 1 ms.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "write a number and ms, s, m or h, as in 30s; at most 1193h".to_owned();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let scale: u64 = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let ms = number.checked_mul(scale).filter(|ms| *ms <= u64::from(u32::MAX));
    ms.map(Duration::from_millis).ok_or_else(wrong)
}

/// How long a message is worth something, or its answer: [`duration`], of at most a day.
pub(super) fn deadline(text: &str) -> Result<Duration, String> {
    let most = Duration::from_millis(MAX_DEADLINE_MS.into());
    let wrong = || "write a number and ms, s, m or h, as in 30s; more than 0 and at most 24h".to_owned();
    duration(text).ok().filter(|span| !span.is_zero() && *span <= most).ok_or_else(wrong)
}

/// Until when a token is good, from now on where it is a span.
pub(super) fn expiry(text: &str) -> Result<Expiry, String> {
    let now = SystemTime::now();
    let expiry = Expiry::read(text, now).map_err(|why| why.to_string())?;
    if expiry.is_over(now) {
        return Err(format!("{expiry} is over; name a later time, or set this machine's clock"));
    }
    Ok(expiry)
}

/// How long an answer of a node is waited for: [`duration`], of at most ten seconds.
pub(super) fn probe_timeout(text: &str) -> Result<Duration, String> {
    let most = Duration::from_millis(MAX_PROBE_TIMEOUT_MS.into());
    let wrong = || "write a number and ms or s, as in 3s; more than 0 and at most 10s".to_owned();
    duration(text).ok().filter(|span| !span.is_zero() && *span <= most).ok_or_else(wrong)
}

/// A message type by its name, in any case.
pub(super) fn message_type(text: &str) -> Result<MessageType, String> {
    let found = MessageType::ALL.into_iter().find(|kind| same(kind.name(), text));
    found.ok_or_else(|| format!("use one of {}", MessageType::ALL.map(MessageType::name).join(", ")))
}

/// A priority by its name, in any case.
pub(super) fn priority(text: &str) -> Result<Priority, String> {
    let found = Priority::ALL.into_iter().find(|priority| same(priority.name(), text));
    found.ok_or_else(|| format!("use one of {}", Priority::ALL.map(Priority::name).join(", ")))
}

/// A priority by its name or its two bits.
pub(super) fn priority_bits(text: &str) -> Result<Priority, String> {
    let by_bits = Priority::ALL.into_iter().find(|priority| priority.bits().to_string() == text);
    by_bits.map_or_else(|| priority(text), Ok).map_err(|why| format!("{why}, or 0 to 3"))
}

/// A kind of frame by its name or its two bits.
pub(super) fn kind(text: &str) -> Result<Kind, String> {
    match text.to_ascii_lowercase().as_str() {
        "single" | "0" => Ok(Kind::Single),
        "segment" | "1" => Ok(Kind::Segment),
        "control" | "2" => Ok(Kind::Control),
        _ => Err("use one of single, segment, control, or 0 to 2".to_owned()),
    }
}

/// The length of a MIC.
pub(super) fn mic(text: &str) -> Result<Mic, String> {
    match text {
        "4" => Ok(Mic::Short),
        "8" => Ok(Mic::Long),
        _ => Err("a MIC has 4 or 8 bytes".to_owned()),
    }
}

/// An address, as `0x0102` or as a decimal number.
pub(super) fn address(text: &str) -> Result<Address, String> {
    let bits = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) if hex.bytes().all(|b| b.is_ascii_hexdigit()) => u16::from_str_radix(hex, 16).ok(),
        None if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    };
    bits.map(Address::new).ok_or_else(|| "write an address as 0x0000 to 0xffff".to_owned())
}

/// What the radio is.
pub(super) fn adapter(text: &str) -> Result<Adapter, String> {
    // The library knows no simulator; this program may have one.
    let wrong = |error: UnknownAdapter| match error {
        UnknownAdapter::Name(_) if cfg!(feature = "sim") => format!("{error}; or sim, a simulated air"),
        _ => error.to_string(),
    };
    let adapter = text.parse().map_err(wrong)?;
    #[cfg(not(feature = "sim"))]
    if adapter == Adapter::Sim {
        return Err(crate::daemon::NO_SIMULATOR.to_owned());
    }
    Ok(adapter)
}

/// A factor above zero.
pub(super) fn speed(text: &str) -> Result<f64, String> {
    let speed = text.parse().ok().filter(|speed: &f64| speed.is_finite() && *speed > 0.0);
    speed.ok_or_else(|| "write a number above 0, as in 2.5".to_owned())
}

/// A share in percent.
pub(super) fn percent(text: &str) -> Result<f64, String> {
    let percent = text.parse().ok().filter(|percent| (0.0..=100.0).contains(percent));
    percent.ok_or_else(|| "write a number from 0 to 100".to_owned())
}

/// Bytes from hexadecimal digits; white space at the ends does not matter. `None` for anything else.
pub(super) fn hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim().as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|nibble| u8::try_from(nibble).ok());
    digits.chunks_exact(2).map(|pair| Some(nibble(pair[0])? << 4 | nibble(pair[1])?)).collect()
}

/// Bytes as lower-case hexadecimal digits.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a name was typed, in any case and with `-` for `_`.
fn same(name: &str, typed: &str) -> bool {
    name.eq_ignore_ascii_case(&typed.replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, ms) in [("30", 30_000), ("30s", 30_000), ("500ms", 500), ("5m", 300_000), ("0s", 0)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for wrong in ["", "s", "-1s", "1.5s", "1d", "1194h", "99999999999999999999h", "1 s", "é"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_deadline_is_a_day_at_most_and_says_so_in_hours() {
        for (text, ms) in [("24h", 86_400_000), ("1ms", 1), ("30", 30_000)] {
            assert_eq!(deadline(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for wrong in ["48h", "0s", "0", "1d", "86400001ms"] {
            let why = deadline(wrong).unwrap_err();
            assert!(why.contains("24h") && !why.contains("86400"), "{why}");
        }
    }

    #[test]
    fn names_are_read_in_any_case() {
        assert_eq!(message_type("task"), Ok(MessageType::Task));
        assert_eq!(message_type("Parameter-Update"), Ok(MessageType::ParameterUpdate));
        assert!(message_type("order").unwrap_err().contains("PARAMETER_UPDATE"));
        assert_eq!(priority("critical"), Ok(Priority::Critical));
        assert!(priority("0").is_err());
        assert_eq!(priority_bits("0"), Ok(Priority::Critical));
        assert_eq!(priority_bits("low"), Ok(Priority::Low));
        assert_eq!(kind("Segment"), Ok(Kind::Segment));
        assert!(kind("3").is_err());
    }

    #[test]
    fn addresses_and_bytes_are_hexadecimal() {
        assert_eq!(address("0x0102"), Ok(Address::new(0x0102)));
        assert_eq!(address("258"), Ok(Address::new(0x0102)));
        for wrong in ["", "0x", "0x10000", "+1", "0x+1", "65536"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
        assert_eq!(hex(" 00fF\n"), Some(vec![0, 255]));
        assert_eq!(to_hex(&[0, 255]), "00ff");
        for wrong in ["0", "0g", "+0", "éé"] {
            assert_eq!(hex(wrong), None, "{wrong}");
        }
    }
}
