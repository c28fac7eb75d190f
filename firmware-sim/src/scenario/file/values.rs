//! The values of a scenario file: times, numbers within a range, and references to nodes.
//!
//! Owns how each is written and the text of its errors. The line is added where the file is read.

use std::fmt;

use mesh_protocol::Duration;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use toml::Spanned;

/// Microseconds in a millisecond.
pub(super) const MS: u64 = 1_000;
/// Microseconds in a second.
pub(super) const S: u64 = 1_000 * MS;
/// Microseconds in a day: the longest time in a scenario. A guess.
pub(super) const DAY: u64 = 24 * 3_600 * S;

/// The units of a time, the longest first, in microseconds.
const UNITS: [(&str, u64); 5] = [("h", 3_600 * S), ("m", 60 * S), ("s", S), ("ms", MS), ("us", 1)];

/// A time from `MIN` to `MAX` microseconds, written as in "1m30s".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Time<const MIN: u64, const MAX: u64>(pub(super) Duration);

/// The span of a time.
pub(super) const fn time<const MIN: u64, const MAX: u64>(time: Time<MIN, MAX>) -> Duration {
    time.0
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Time<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TimeVisitor::<MIN, MAX>)
    }
}

impl<const MIN: u64, const MAX: u64> Serialize for Time<MIN, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&written(self.0.as_micros()))
    }
}

struct TimeVisitor<const MIN: u64, const MAX: u64>;

impl<const MIN: u64, const MAX: u64> Visitor<'_> for TimeVisitor<MIN, MAX> {
    type Value = Time<MIN, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time with its unit, such as \"150ms\", \"2s\" or \"1m30s\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        let micros = micros(text).ok_or_else(|| {
            E::custom(format_args!(
                "{text:?} is no time; write numbers and units from h, m, s, ms, us in this order, such as \"150ms\", \
                 \"2s\" or \"1m30s\""
            ))
        })?;
        if !(MIN..=MAX).contains(&micros) {
            let (least, most) = (written(MIN), written(MAX));
            return Err(E::custom(format_args!(
                "{text:?} is out of range; write a time from \"{least}\" to \"{most}\""
            )));
        }
        Ok(Time(Duration::from_micros(micros)))
    }
}

/// The microseconds of a time such as "1m30s" or "0.5s"; `None` if it is none, or not whole microseconds.
fn micros(text: &str) -> Option<u64> {
    let (mut rest, mut units, mut sum) = (text, &UNITS[..], 0_u64);
    while !rest.is_empty() {
        let number = &rest[..rest.find(|c: char| !c.is_ascii_digit() && c != '.')?];
        rest = &rest[number.len()..];
        let unit = &rest[..rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len())];
        rest = &rest[unit.len()..];
        let at = units.iter().position(|(name, _)| *name == unit)?;
        let length = units[at].1;
        units = &units[at + 1..];

        let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
        if part.is_empty() {
            return None;
        }
        sum = sum.checked_add(whole.parse::<u64>().ok()?.checked_mul(length)?)?;
        let parts = part.parse::<u64>().ok()?.checked_mul(length)?;
        let of = 10_u64.checked_pow(u32::try_from(part.len()).ok()?)?;
        if parts % of != 0 {
            return None;
        }
        sum = sum.checked_add(parts / of)?;
    }
    (!text.is_empty()).then_some(sum)
}

/// A time as [`micros`] reads it.
pub(super) fn written(micros: u64) -> String {
    let (mut rest, mut text) = (micros, String::new());
    for (name, length) in UNITS {
        if rest / length > 0 {
            text.push_str(&format!("{}{name}", rest / length));
        }
        rest %= length;
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Whole<const MIN: i64, const MAX: i64>(pub(super) u32);

impl<'de, const MIN: i64, const MAX: i64> Deserialize<'de> for Whole<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_i64(WholeVisitor::<MIN, MAX>)
    }
}

impl<const MIN: i64, const MAX: i64> Serialize for Whole<MIN, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.0)
    }
}

struct WholeVisitor<const MIN: i64, const MAX: i64>;

impl<const MIN: i64, const MAX: i64> Visitor<'_> for WholeVisitor<MIN, MAX> {
    type Value = Whole<MIN, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from {MIN} to {MAX}")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        match u32::try_from(number) {
            Ok(fits) if (MIN..=MAX).contains(&number) => Ok(Whole(fits)),
            _ => Err(E::custom(format_args!(
                "{number} is out of range; write a whole number from {MIN} to {MAX}"
            ))),
        }
    }
}

/// A number from `MIN` to `MAX`, with or without a point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Real<const MIN: i64, const MAX: i64>(pub(super) f64);

impl<'de, const MIN: i64, const MAX: i64> Deserialize<'de> for Real<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_f64(RealVisitor::<MIN, MAX>)
    }
}

impl<const MIN: i64, const MAX: i64> Serialize for Real<MIN, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0)
    }
}

struct RealVisitor<const MIN: i64, const MAX: i64>;

impl<const MIN: i64, const MAX: i64> Visitor<'_> for RealVisitor<MIN, MAX> {
    type Value = Real<MIN, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a number from {MIN} to {MAX}")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        self.visit_f64(number as f64)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        // Not a number is in no range.
        if (MIN as f64..=MAX as f64).contains(&number) {
            Ok(Real(number))
        } else {
            Err(E::custom(format_args!("{number} is out of range; write a number from {MIN} to {MAX}")))
        }
    }
}

/// A node, by number or by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NodeRef {
    Number(i64),
    Name(String),
}

impl<'de> Deserialize<'de> for NodeRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

impl Serialize for NodeRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_i64(*number),
            Self::Name(name) => serializer.serialize_str(name),
        }
    }
}

struct NodeVisitor;

impl Visitor<'_> for NodeVisitor {
    type Value = NodeRef;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a node's number or its name in quotes")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(NodeRef::Number(number))
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(NodeRef::Name(name.to_owned()))
    }
}

/// Some of the nodes: one, a list, or a word for several, which reads like a name.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum WhoRef {
    One(NodeRef),
    Several(Vec<Spanned<NodeRef>>),
}

impl<'de> Deserialize<'de> for WhoRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WhoVisitor)
    }
}

impl Serialize for WhoRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::One(node) => node.serialize(serializer),
            Self::Several(nodes) => nodes.serialize(serializer),
        }
    }
}

struct WhoVisitor;

impl<'de> Visitor<'de> for WhoVisitor {
    type Value = WhoRef;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a node's number or name, a list of these, \"any\", \"everyone\" or \"gateways\"")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        NodeVisitor.visit_i64(number).map(WhoRef::One)
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        NodeVisitor.visit_str(name).map(WhoRef::One)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element()? {
            nodes.push(node);
        }
        Ok(WhoRef::Several(nodes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_units_to_the_microsecond() {
        for (text, expected) in [
            ("150ms", 150_000),
            ("2s", 2_000_000),
            ("1m30s", 90_000_000),
            ("90s", 90_000_000),
            ("1.5s", 1_500_000),
            ("0.000001s", 1),
            ("1h0.5m250us", 3_630_000_250),
            ("0s", 0),
        ] {
            assert_eq!(micros(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_not_taken_for_one() {
        for text in [
            "",
            "1",
            "s",
            "1 s",
            "-1s",
            "1s1m",
            "1s1s",
            "1.s",
            ".5s",
            "1.2.3s",
            "1e3s",
            "1d",
            "0.5us",
            "0.0000001s",
            "99999999999999999999s",
            "9999999999999999h",
            "1s ",
            "1\u{b5}s",
            "\u{663}s",
        ] {
            assert_eq!(micros(text), None, "{text}");
        }
    }

    #[test]
    fn a_time_as_written_is_the_time_as_read() {
        assert_eq!(written(3_723_004_005), "1h2m3s4ms5us");
        assert_eq!(written(0), "0s");
        let mut rng = mesh_protocol::Rng::new(1);
        for _ in 0..2_000 {
            let digits = 1 + rng.below(17);
            let time = rng.below(10_u64.pow(digits as u32));
            assert_eq!(micros(&written(time)), Some(time), "seed 1");
        }
    }
}
