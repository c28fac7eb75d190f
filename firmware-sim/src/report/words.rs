//! Numbers and names as text: separators, units, escaping.
//!
//! Owns how a value is spelled, the same in the table and on the page. The text around it is for the callers.

use super::summary::{FEW, Quantiles};

/// Where there is no value.
pub(crate) const NONE: &str = "–";
/// Behind a percentile of fewer than [`FEW`] samples.
pub(crate) const DAGGER: &str = "†";

/// `text` as HTML text or as the value of a quoted attribute; control characters become U+FFFD.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || turns_text(c) => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// `text` for a terminal: on one line, and nothing in it moves the cursor or changes a colour.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || turns_text(c) { '\u{fffd}' } else { c }).collect()
}

/// Whether a character changes the direction of the text behind it.
fn turns_text(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// At most `most` characters of `text`, the last one an ellipsis where some are missing.
pub(crate) fn shorten(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// A whole number in groups of three digits.
pub(crate) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Three digits or all before the point, whichever is more.
pub(crate) fn figure(value: f64) -> String {
    if !value.is_finite() || value < 0.0 {
        NONE.to_owned()
    } else if value == 0.0 {
        "0".to_owned()
    } else if value < 9.995 {
        format!("{value:.2}")
    } else if value < 99.95 {
        format!("{value:.1}")
    } else {
        count(value.round() as u64)
    }
}

/// The same for a value that may be missing.
pub(crate) fn maybe(value: Option<f64>) -> String {
    value.map_or_else(|| NONE.to_owned(), figure)
}

/// Microseconds as milliseconds, without the unit.
pub(crate) fn millis(us: u64) -> String {
    figure(us as f64 / 1_000.0)
}

/// A share as a percentage, without the sign. Rounded down: only all of it is 100.
pub(crate) fn percent(share: f64) -> String {
    if !share.is_finite() || share <= 0.0 {
        "0".to_owned()
    } else if share >= 1.0 {
        "100".to_owned()
    } else if share < 0.001 {
        "<0.1".to_owned()
    } else {
        // The small number makes up for what a sum of doubles may lack, so that 0.943 stays 94.3.
        format!("{:.1}", ((share * 1_000.0 + 1e-7).floor() / 10.0).min(99.9))
    }
}

/// The same for a share that may be missing.
pub(crate) fn maybe_percent(share: Option<f64>) -> String {
    share.map_or_else(|| NONE.to_owned(), percent)
}

/// A percentile in milliseconds, with a dagger if there are few samples.
pub(crate) fn quantile(value: Option<u64>, of: &Quantiles) -> String {
    match value {
        Some(us) if of.samples < FEW => format!("{}{DAGGER}", millis(us)),
        Some(us) => millis(us),
        None => NONE.to_owned(),
    }
}

/// Milliseconds of simulated time as a span that people use.
pub(crate) fn span(ms: u64) -> String {
    match ms {
        0..10_000 => format!("{} s", figure(ms as f64 / 1e3)),
        10_000..600_000 => format!("{} s", count((ms + 500) / 1_000)),
        600_000..36_000_000 => format!("{} min", figure(ms as f64 / 6e4)),
        _ => format!("{} h", figure(ms as f64 / 3.6e6)),
    }
}

/// One or many of something: `1 run`, `3 runs`.
pub(crate) fn some(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// Seeds with what they are: `seeds 1, 2`.
pub(crate) fn seeds(numbers: &[u64]) -> String {
    format!("{} {}", if numbers.len() == 1 { "seed" } else { "seeds" }, list(numbers))
}

/// Numbers as a list, of long ones only the beginning.
pub(crate) fn list(numbers: &[u64]) -> String {
    const MOST: usize = 12; // a line of text; a guess
    let mut out: Vec<String> = numbers.iter().take(MOST).map(u64::to_string).collect();
    if numbers.len() > MOST {
        out.push(format!("… ({} in all)", numbers.len()));
    }
    out.join(", ")
}
