//! The table for the terminal.
//!
//! Owns its columns and the lines below. The figures are `summary`'s.

use std::fmt::Write as _;

use super::summary::{Figures, StackSummary, summary};
use super::words::{
    DAGGER, NONE, count, figure, maybe, maybe_percent, millis, plain, quantile, seeds, shorten, some, span,
};
use crate::results::Campaign;

/// The longest name in a cell; longer ones lose their end. A guess.
const NAME: usize = 20;

const HEAD: [&str; 16] = [
    "stack", "messages", "offered", "refused", "sent", "arrived", "deliv %", "unknown", "expired", "again",
    "p50 ms", "p99 ms", "of", "hops", "us/byte", "events",
];

/// The campaign's summary as text, up to about 130 columns wide, ending in a newline.
#[must_use]
pub fn table(campaign: &Campaign) -> String {
    let stacks = summary(campaign);
    let mut out = String::new();
    let name = if campaign.scenario.is_empty() { "no name" } else { &campaign.scenario };
    let _ = writeln!(out, "{}", shorten(&plain(name), 4 * NAME));
    if stacks.is_empty() {
        out.push_str("no runs\n");
        return out;
    }
    let mut rows = vec![HEAD.map(str::to_owned)];
    for stack in &stacks {
        let name = shorten(&plain(&stack.stack), NAME);
        rows.push(row(&name, "all", &stack.all, stack, true));
        for group in &stack.groups {
            let to = if group.everyone { " to all" } else { "" };
            let of = format!("{}{to}", shorten(&plain(&group.priority), NAME));
            rows.push(row("", &of, &group.figures, stack, false));
        }
    }
    let widths: [usize; HEAD.len()] =
        std::array::from_fn(|n| rows.iter().map(|row| row[n].chars().count()).max().unwrap_or(0));
    for row in &rows {
        let mut line = String::new();
        for (n, (cell, width)) in row.iter().zip(widths).enumerate() {
            let gap = if n == 0 { "" } else { "  " };
            // Names to the left, numbers to the right.
            let _ =
                if n < 2 { write!(line, "{gap}{cell:<width$}") } else { write!(line, "{gap}{cell:>width$}") };
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
    remarks(&mut out, &stacks);
    out
}

fn row(stack: &str, of: &str, figures: &Figures, whole: &StackSummary, cost: bool) -> [String; HEAD.len()] {
    let latency = &figures.latency;
    let reported =
        |outcome| if whole.all.silent() { NONE.to_owned() } else { count(figures.reported(outcome)) };
    [
        stack.to_owned(),
        of.to_owned(),
        count(figures.offered),
        count(figures.refused),
        count(figures.sent),
        count(figures.delivered),
        maybe_percent(figures.delivery),
        reported("unknown"),
        reported("expired"),
        count(figures.duplicates),
        quantile(latency.p50_us, latency),
        quantile(latency.p99_us, latency),
        count(latency.samples as u64),
        maybe(figures.hops.mean),
        if cost { maybe(whole.airtime_us_per_byte) } else { String::new() },
        if cost { maybe(whole.events_per_message) } else { String::new() },
    ]
}

fn remarks(out: &mut String, stacks: &[StackSummary]) {
    for stack in stacks {
        let name = shorten(&plain(&stack.stack), NAME);
        let all = &stack.all;
        let runs = some(stack.seeds.len() as u64, "run", "runs");
        let simulated = span(stack.simulated_ms);
        let nodes = some(stack.nodes as u64, "node", "nodes");
        let _ = writeln!(out, "{name}: {runs} of {nodes}, {}, {simulated}", seeds(&stack.seeds));
        for (why, number) in &all.refusals {
            let why = shorten(&plain(why), 3 * NAME);
            let _ = writeln!(out, "{name}: {} refused: {why}", count(*number));
        }
        if all.undelivered > 0 {
            let _ = writeln!(out, "{name}: {} sent, but reached nobody", count(all.undelivered));
        }
        if all.partly > 0 {
            let _ = writeln!(out, "{name}: {} to everyone reached only some", count(all.partly));
        }
        if all.falsely_delivered() > 0 {
            let lost = count(all.falsely_delivered());
            let _ = writeln!(out, "{name}: {lost} reported as delivered, but reached nobody");
        }
        if !all.silent() && all.reported("nothing") > 0 {
            let unreported = count(all.reported("nothing"));
            let _ = writeln!(out, "{name}: {unreported} sent, and nothing was reported to the sender");
        }
        let trips = &all.round_trip;
        if let (Some(p50), Some(p99)) = (trips.p50_us, trips.p99_us) {
            let few = if trips.samples < super::FEW { DAGGER } else { "" };
            let (p50, p99, of) = (millis(p50), millis(p99), count(trips.samples as u64));
            let _ = writeln!(out, "{name}: there and back p50 {p50}{few} ms, p99 {p99}{few} ms, of {of}");
        }
    }
    let _ = writeln!(
        out,
        "deliv %: share of its receivers that an offered message reached, on average, rounded down; a refused one reached \
         none\np50, p99: of those that arrived, so many as \"of\" says; {DAGGER} of fewer than {}\nus/byte, events: time \
         on air for each byte of a body that arrived, advertising events for each message that arrived",
        figure(super::FEW as f64).trim_end_matches(".0")
    );
}
