//! The comparison as text for the terminal.
//!
//! Owns its columns.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{Comparison, Fallen, Spread};
use crate::play::StackKind;
use crate::report::words::{NONE, figure, list};

/// The table, ending in a newline.
#[must_use]
pub fn table(comparison: &Comparison) -> String {
    let there: BTreeSet<&str> =
        comparison.figures.iter().flat_map(|figure| figure.stacks.keys().map(String::as_str)).collect();
    let stacks: Vec<&str> =
        StackKind::ALL.into_iter().map(StackKind::name).filter(|name| there.contains(name)).collect();
    let mut lines = vec![head(&stacks)];
    for compared in &comparison.figures {
        let mut line = vec![compared.name(), compared.unit.clone()];
        for stack in &stacks {
            line.push(compared.stacks.get(*stack).map_or_else(|| NONE.to_owned(), cell));
        }
        let missed = if compared.met == Some(false) { ": missed" } else { "" };
        line.push(format!("{}{missed}", compared.wanted));
        lines.push(line);
    }
    let columns = lines[0].len();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for line in &lines {
        let mut text = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            let _ = write!(text, "{cell:<width$}  ");
        }
        let _ = writeln!(out, "{}", text.trim_end());
    }
    let goals = comparison.figures.iter().filter_map(|compared| compared.met);
    let (all, met) = (goals.clone().count(), goals.filter(|met| *met).count());
    let _ = writeln!(
        out,
        "seeds {}; the middle of the seeds, the lowest and highest in brackets; {met} of {all} as wanted",
        list(&comparison.seeds)
    );
    out
}

fn head(stacks: &[&str]) -> Vec<String> {
    let names = ["row", "unit"].into_iter().chain(stacks.iter().copied()).chain(["wanted"]);
    names.map(str::to_owned).collect()
}

fn cell(spread: &Spread) -> String {
    let shown = |value: Option<f64>| value.map_or_else(|| NONE.to_owned(), figure);
    let (low, median, high) = (shown(spread.low), shown(spread.median), shown(spread.high));
    if low == high { median } else { format!("{median} ({low} to {high})") }
}

/// What is worse than recorded, a line each.
#[must_use]
pub fn fallen_table(fallen: &[Fallen]) -> String {
    let shown = |value: Option<f64>| value.map_or_else(|| "nothing".to_owned(), figure);
    let mut out = String::new();
    for one in fallen {
        let (then, now) = (shown(one.recorded), shown(one.now));
        let _ = writeln!(out, "{}: {now} {}, and {then} is recorded", one.name, one.unit);
    }
    out
}
