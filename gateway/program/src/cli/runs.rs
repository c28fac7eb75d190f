//! What people type for runs on the simulated air: how fast, and with which seeds.

use super::values::speed;

/// The most seeds of one command. A guess: an hour of demos.
const MAX_SEEDS: u64 = 1_000;

/// How fast a demo goes; `None` is as fast as it goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct DemoSpeed(pub(super) Option<f64>);

/// A factor above zero, or `max`.
pub(super) fn demo_speed(text: &str) -> Result<DemoSpeed, String> {
    if text.eq_ignore_ascii_case("max") {
        return Ok(DemoSpeed(None));
    }
    speed(text).map(|speed| DemoSpeed(Some(speed))).map_err(|why| format!("{why}, or max"))
}

/// The seeds of several runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seeds(pub(super) Vec<u64>);

/// One seed, or the first and the last of several: `7`, `1..20`.
pub(super) fn seeds(text: &str) -> Result<Seeds, String> {
    let wrong = || format!("write one number, or the first and the last of at most {MAX_SEEDS}, as in 1..20");
    let (first, last) = text.split_once("..").unwrap_or((text, text));
    let first: u64 = first.parse().map_err(|_| wrong())?;
    let last: u64 = last.parse().map_err(|_| wrong())?;
    match last.checked_sub(first) {
        Some(more) if more < MAX_SEEDS => Ok(Seeds((first..=last).collect())),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_one_or_a_range_with_both_ends() {
        assert_eq!(seeds("7"), Ok(Seeds(vec![7])));
        assert_eq!(seeds("1..3"), Ok(Seeds(vec![1, 2, 3])));
        for wrong in ["", "..", "3..1", "1..=3", "0..1000", "0..18446744073709551615"] {
            assert!(seeds(wrong).is_err(), "{wrong}");
        }
    }
}
