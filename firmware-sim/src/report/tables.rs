//! The tables of the page: the summary, what was reported to senders, the runs, counters, and the numbers behind the plots.
//!
//! Owns rows and columns. The figures are `summary`'s, the place of a table on the page is `page`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::map::key;
use super::summary::{FEW, Figures, Quantiles, StackSummary};
use super::words::{NONE, count, escape, figure, maybe, maybe_percent, millis, quantile, shorten};
use crate::results::Campaign;

/// Counters of one kind in a table: no stack has as many, and a file of results may have any number. A guess.
const COUNTERS: usize = 200;
/// Runs in the table of runs. A guess.
const RUNS: usize = 200;

/// The summary.
pub(super) fn summary(stacks: &[StackSummary], names: &[String]) -> String {
    let figures =
        || stacks.iter().flat_map(|s| std::iter::once(&s.all).chain(s.groups.iter().map(|g| &g.figures)));
    let shows = Columns {
        partly: figures().any(|f| f.partly > 0),
        rejected: figures().any(|f| f.reported("rejected") > 0),
        trips: figures().any(|f| f.round_trip.samples > 0),
    };
    let mut out = String::from(
        "<div class=\"scroll\"><table class=\"summary\"><thead><tr class=\"over\"><th colspan=\"2\"></th>",
    );
    let _ = write!(
        out,
        "<th colspan=\"{}\">messages</th><th colspan=\"2\">delivery, %</th><th colspan=\"{}\">reported to the sender</th>\
         <th></th><th colspan=\"3\">latency, ms</th>",
        5 + usize::from(shows.partly),
        2 + usize::from(shows.rejected)
    );
    if shows.trips {
        out.push_str("<th colspan=\"3\">there and back, ms</th>");
    }
    out.push_str("<th colspan=\"2\">hops</th><th colspan=\"2\">cost</th></tr><tr>");
    let mut heads = vec!["stack", "priority", "offered", "refused", "sent", "arrived"];
    heads.extend(shows.partly.then_some("in part"));
    heads.extend(["lost", "of offered", "of sent", "unknown", "expired"]);
    heads.extend(shows.rejected.then_some("rejected"));
    heads.extend(["dupli&shy;cates", "p50", "p99", "n"]);
    heads.extend(shows.trips.then_some(["p50", "p99", "n"]).into_iter().flatten());
    heads.extend(["mean", "most", "airtime, µs/byte", "events/ message"]);
    for (n, head) in heads.iter().enumerate() {
        let class = if n < 2 { " class=\"l\"" } else { "" };
        let _ = write!(out, "<th{class}>{head}</th>");
    }
    out.push_str("</tr></thead>");
    for (place, (stack, name)) in stacks.iter().zip(names).enumerate() {
        let silent = stack.all.silent();
        out.push_str("<tbody><tr class=\"whole\">");
        let _ = write!(out, "<th class=\"l\">{}{}</th><td class=\"l\">all</td>", key(place), escape(name));
        cells(&mut out, &stack.all, &shows, silent);
        let (byte, message) = (maybe(stack.airtime_us_per_byte), maybe(stack.events_per_message));
        let _ = write!(out, "<td>{byte}</td><td>{message}</td></tr>");
        for group in &stack.groups {
            let to = if group.everyone { " to all" } else { "" };
            let priority = escape(&shorten(&group.priority, 20));
            let _ = write!(out, "<tr><th></th><td class=\"l\">{priority}{to}</td>");
            cells(&mut out, &group.figures, &shows, silent);
            out.push_str("<td></td><td></td></tr>");
        }
        out.push_str("</tbody>");
    }
    out.push_str("</table></div>\n");
    out
}

/// Which columns there are only where they hold anything.
struct Columns {
    partly: bool,
    rejected: bool,
    trips: bool,
}

fn cells(out: &mut String, figures: &Figures, shows: &Columns, silent: bool) {
    // What is bad stands out, nothing bad does not.
    let bad = |out: &mut String, value: u64| {
        let class = if value > 0 { "bad" } else { "zero" };
        let _ = write!(out, "<td class=\"{class}\">{}</td>", count(value));
    };
    let good = |out: &mut String, text: String| {
        let _ = write!(out, "<td>{text}</td>");
    };
    let escaped = |share| escape(&maybe_percent(share));
    good(out, count(figures.offered));
    bad(out, figures.refused);
    good(out, count(figures.sent));
    good(out, count(figures.delivered));
    if shows.partly {
        bad(out, figures.partly);
    }
    bad(out, figures.undelivered);
    let _ = write!(out, "<td class=\"main\">{}</td>", escaped(figures.delivery));
    good(out, escaped(figures.delivery_of_sent));
    for outcome in ["unknown", "expired", "rejected"].iter().take(2 + usize::from(shows.rejected)) {
        if silent {
            good(out, NONE.to_owned());
        } else {
            bad(out, figures.reported(outcome));
        }
    }
    good(out, count(figures.duplicates));
    for quantiles in
        [Some(&figures.latency), shows.trips.then_some(&figures.round_trip)].into_iter().flatten()
    {
        good(out, quantile(quantiles.p50_us, quantiles));
        good(out, quantile(quantiles.p99_us, quantiles));
        let _ = write!(out, "<td class=\"zero\">{}</td>", count(quantiles.samples as u64));
    }
    good(out, maybe(figures.hops.mean));
    good(out, maybe(figures.hops.max.map(f64::from)).replace(".00", "").replace(".0", ""));
}

/// What was reported to senders, by what was true.
pub(super) fn reported(stacks: &[StackSummary], names: &[String]) -> String {
    let mut out = String::from(
        "<div class=\"scroll\"><table><tr><th class=\"l\">stack</th><th class=\"l\">reported to the sender</th>\
         <th>messages sent</th><th>reached all they were for</th><th>reached some</th><th>reached nobody</th></tr>",
    );
    for (place, (stack, name)) in stacks.iter().zip(names).enumerate() {
        for (outcome, arrived) in &stack.all.reported {
            let false_word = outcome == "delivered" && arrived.none > 0;
            let _ = write!(
                out,
                "<tr><th class=\"l\">{}{}</th><td class=\"l\">{}</td><td>{}</td><td>{}</td><td>{}</td>\
                 <td class=\"{}\">{}</td></tr>",
                key(place),
                escape(name),
                escape(&shorten(outcome, 30)),
                count(arrived.total()),
                count(arrived.all),
                count(arrived.some),
                if false_word { "bad" } else { "" },
                count(arrived.none)
            );
        }
    }
    out.push_str("</table></div>\n");
    out
}

/// The runs: what is needed to run them again and to see that they were the same.
pub(super) fn runs(campaign: &Campaign) -> String {
    let mut out = String::from(
        "<div class=\"scroll\"><table><tr><th class=\"l\">stack</th><th>seed</th><th>nodes</th><th>simulated, s</th>\
         <th>messages</th><th class=\"l\">trace</th></tr>",
    );
    for run in campaign.runs.iter().take(RUNS) {
        let _ = write!(
            out,
            "<tr><th class=\"l\">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td class=\"l code\">{}</td></tr>",
            escape(&shorten(&run.stack, 30)),
            run.seed,
            count(run.nodes.len() as u64),
            figure(run.simulated_ms as f64 / 1e3),
            count(run.messages.len() as u64),
            escape(&shorten(&run.trace, 80))
        );
    }
    out.push_str("</table></div>\n");
    more(&mut out, campaign.runs.len(), RUNS, "runs");
    out
}

/// Says that something is cut short.
fn more(out: &mut String, all: usize, shown: usize, what: &str) {
    if all > shown {
        let _ = writeln!(out, "<p class=\"note\">The first {shown} of {} {what}.</p>", count(all as u64));
    }
}

/// Counters side by side: of the air and of the stacks themselves.
pub(super) fn counters(stacks: &[StackSummary], names: &[String]) -> String {
    let mut out = String::new();
    type Of = fn(&StackSummary) -> &BTreeMap<String, u64>;
    let kinds: [(&str, Of); 2] =
        [("what became of PDUs", |stack| &stack.air), ("counters of the stack", |stack| &stack.counters)];
    for (head, of) in kinds {
        let all: BTreeSet<&String> = stacks.iter().flat_map(|stack| of(stack).keys()).collect();
        if all.is_empty() {
            continue;
        }
        let _ = write!(out, "<div class=\"scroll\"><table><tr><th class=\"l\">{head}</th>");
        for name in names {
            let _ = write!(out, "<th>{}</th>", escape(name));
        }
        out.push_str("</tr>");
        for counter in all.iter().take(COUNTERS) {
            let _ = write!(out, "<tr><td class=\"l\">{}</td>", escape(&shorten(counter, 60)));
            for stack in stacks {
                let value = of(stack).get(*counter).map_or_else(|| NONE.to_owned(), |n| count(*n));
                let _ = write!(out, "<td>{value}</td>");
            }
            out.push_str("</tr>");
        }
        out.push_str("</table></div>\n");
        more(&mut out, all.len(), COUNTERS, "counters");
    }
    out
}

/// The numbers behind a plot: for each category and stack some cells. Closed until asked for.
pub(super) fn numbers(
    categories: (&str, &[String]),
    names: &[String],
    heads: &[&str],
    cell: impl Fn(usize, usize) -> Vec<String>,
) -> String {
    let mut out = format!(
        "<details><summary>The numbers behind it</summary><div class=\"scroll\"><table><tr class=\"over\">\
         <th class=\"l\">{}</th>",
        escape(categories.0)
    );
    for (place, name) in names.iter().enumerate() {
        let _ = write!(out, "<th colspan=\"{}\">{}{}</th>", heads.len(), key(place), escape(name));
    }
    out.push_str("</tr><tr><th></th>");
    for _ in names {
        for head in heads {
            let _ = write!(out, "<th>{}</th>", escape(head));
        }
    }
    out.push_str("</tr>");
    for (n, category) in categories.1.iter().enumerate() {
        let _ = write!(out, "<tr><td class=\"l\">{}</td>", escape(&shorten(category, 40)));
        for stack in 0..names.len() {
            for text in cell(n, stack) {
                let _ = write!(out, "<td>{}</td>", escape(&text));
            }
        }
        out.push_str("</tr>");
    }
    out.push_str("</table></div></details>\n");
    out
}

/// A percentile in words, for a tip.
pub(super) fn quantile_tip(name: &str, category: &str, q: &Quantiles) -> String {
    let text = |us: Option<u64>| us.map_or_else(|| NONE.to_owned(), millis);
    let few = if q.samples < FEW { " – few" } else { "" };
    format!(
        "{name}, {category}\np50 {} ms, p99 {} ms, largest {} ms\n{} samples{few}",
        text(q.p50_us),
        text(q.p99_us),
        text(q.max_us),
        count(q.samples as u64)
    )
}
