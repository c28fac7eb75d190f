//! The page's sections with plots: each with its legend, what it shows in words, and the numbers behind it.
//!
//! Owns the definitions that a reader needs beside a plot. The groupings are `series`', the drawings `charts`', `map`'s
//! and `timeline`'s.

use std::fmt::Write as _;

use super::charts::{self, Spot, Words};
use super::map::{self, key};
use super::series::{self, Table};
use super::summary::{FEW, Quantiles, StackSummary};
use super::words::{count, escape, figure, maybe_percent, quantile, shorten, some, span};
use super::{tables, timeline};
use crate::results::Campaign;

pub(super) fn load(out: &mut String, campaign: &Campaign, names: &[String]) {
    let table = series::by_load(campaign);
    let spots = each(&table, |n, stack, cell| {
        let share = cell.share()?;
        let percent = maybe_percent(Some(share));
        let category = &table.categories[n];
        let few = if cell.messages < FEW as u64 { " – few" } else { "" };
        let tip = format!(
            "{}, {category} messages/s\n{percent} % of {} messages{few}",
            names.get(stack)?,
            count(cell.messages)
        );
        Some(Spot { value: share, until: None, samples: cell.messages, tip })
    });
    let axes = Words {
        label: "Delivery against offered load",
        y: "delivery of offered, %",
        x: "offered load, messages/s in the whole mesh",
        rows: "messages offered",
    };
    let _ = writeln!(
        out,
        "<section><h2>Delivery against offered load</h2>{}{}<p class=\"note\">The load of a message is how many messages \
         the scenario offered in the same second of the same run, itself included. Each point is the delivery of the \
         offered messages of that load, refused ones as not delivered; below it, how many those are. All seeds \
         together; where there are many loads, they are joined into ranges that hold about as many messages each. \
         Hollow: fewer than {FEW} messages.",
        legend(names),
        charts::categories(axes, names, &spots, true)
    );
    let cell = |n: usize, stack: usize| {
        let cell = table.cells.get(stack).and_then(|cells| cells.get(n)).copied().unwrap_or_default();
        vec![maybe_percent(cell.share()), count(cell.messages)]
    };
    let numbers =
        tables::numbers(("messages/s", &table.categories), names, &["delivery, %", "offered"], cell);
    let _ = writeln!(out, "</p>{numbers}</section>");
}

pub(super) fn latency(out: &mut String, campaign: &Campaign, stacks: &[StackSummary], names: &[String]) {
    let whose =
        if series::to_one(campaign) { "to one node" } else { "to everyone, until the last node reached" };
    let arrivals = series::arrivals(campaign);
    let _ = writeln!(
        out,
        "<section><h2>Latency</h2><h3>How much had arrived after how long</h3>{}{}<p class=\"note\">Of all offered \
         messages {whose}. What was refused or lost never arrives, so each curve ends at the share that did: {}.</p>",
        legend(names),
        charts::curves("Arrivals over time", "ms after the stack took the message", names, &arrivals),
        names
            .iter()
            .zip(&arrivals)
            .map(|(name, s)| format!("{} {} of {}", escape(name), count(s.arrived), count(s.offered)))
            .collect::<Vec<_>>()
            .join(", ")
    );
    let ranges = |table: &Table<Quantiles>, unit: &str| {
        each(table, |n, stack, q| {
            let tip = tables::quantile_tip(names.get(stack)?, &format!("{}{unit}", table.categories[n]), q);
            Some(Spot {
                value: q.p50_us? as f64 / 1e3,
                until: Some(q.p99_us? as f64 / 1e3),
                samples: q.samples as u64,
                tip,
            })
        })
    };
    let numbers = |table: &Table<Quantiles>, head: &str| {
        tables::numbers(
            (head, &table.categories),
            names,
            &["p50, ms", "p99, ms", "largest, ms", "n"],
            |n, stack| {
                let q = table.cells.get(stack).and_then(|cells| cells.get(n)).copied().unwrap_or_default();
                vec![
                    quantile(q.p50_us, &q),
                    quantile(q.p99_us, &q),
                    quantile(q.max_us, &q),
                    count(q.samples as u64),
                ]
            },
        )
    };
    let hops = series::by_hops(campaign);
    let axes = Words { label: "Latency by hops", y: "latency, ms", x: "hops", rows: "messages arrived" };
    let _ = writeln!(
        out,
        "<h3>By hops</h3>{}{}<p class=\"note\">Of messages {whose}, by the hops they came: mark at the median, dash at the \
         99th percentile, logarithmic. Below, how many arrived. Hollow: fewer than {FEW}; such a percentile says \
         little.</p>{}",
        legend(names),
        charts::categories(axes, names, &ranges(&hops, " hops"), false),
        numbers(&hops, "hops")
    );
    let priorities = series::by_priority(stacks);
    let axes =
        Words { label: "Latency by priority", y: "latency, ms", x: "priority", rows: "messages arrived" };
    let _ = writeln!(
        out,
        "<h3>By priority</h3>{}{}<p class=\"note\">As above. Only ours knows priorities; for the others this shows the same \
         messages. Messages to everyone count until the last node they reached.</p>{}</section>",
        legend(names),
        charts::categories(axes, names, &ranges(&priorities, ""), false),
        numbers(&priorities, "priority")
    );
}

pub(super) fn airtime(out: &mut String, stacks: &[StackSummary], names: &[String]) {
    let causes = charts::causes(stacks);
    if causes.is_empty() {
        out.push_str(
            "<section><h2>Airtime by cause</h2><p class=\"note\">Nothing was on the air.</p></section>\n",
        );
        return;
    }
    let mut keys = String::from("<p class=\"legend\">");
    for (n, cause) in causes.iter().enumerate() {
        let _ = write!(keys, "<span><i class=\"swatch c{n}\"></i>{}</span>", escape(&shorten(cause, 30)));
    }
    keys.push_str("</p>");
    let cell = |n: usize, stack: usize| {
        let seconds = stacks.get(stack).map(|stack| charts::seconds(stack, &causes)).unwrap_or_default();
        let (value, total) = (seconds.get(n).copied().unwrap_or(0.0), seconds.iter().sum::<f64>());
        vec![figure(value), maybe_percent((total > 0.0).then(|| value / total))]
    };
    let runs: Vec<String> = stacks
        .iter()
        .zip(names)
        .map(|(stack, name)| {
            let runs = some(stack.seeds.len() as u64, "run", "runs");
            format!("{}: {runs}, {}", escape(name), span(stack.simulated_ms))
        })
        .collect();
    let _ = writeln!(
        out,
        "<section><h2>Airtime by cause</h2>{keys}{}<p class=\"note\">Time on air of all nodes on all channels, on average \
         over the runs of a stack, from the start of a run to its end ({}). A stack that delivers less may be on the air \
         less: see the cost in the summary.</p>{}</section>",
        charts::bars("Airtime by cause", names, stacks, &causes),
        runs.join("; "),
        tables::numbers(("cause", &causes), names, &["s in a run", "%"], cell)
    );
}

pub(super) fn place(out: &mut String, campaign: &Campaign, names: &[String]) {
    let (maps, legend, missing) = map::maps(campaign, names);
    if maps.is_empty() {
        return;
    }
    let _ = write!(out, "<section><h2>Map</h2><div class=\"scroll\">{}</div>", legend);
    out.push_str("<div class=\"choice\" data-label=\"seed\">");
    for maps in &maps {
        let _ =
            write!(out, "<div class=\"option\" data-name=\"{0}\"><p class=\"title\">seed {0}</p>", maps.seed);
        let floors = maps.floors.len() > 1;
        if floors {
            out.push_str("<div class=\"choice\" data-label=\"floor\" data-all=\"all\">");
        }
        for (floor, html) in &maps.floors {
            if floors {
                let _ = write!(
                    out,
                    "<div class=\"option\" data-name=\"{floor}\"><p class=\"floor\">floor {floor}</p>"
                );
            }
            out.push_str(html);
            if floors {
                out.push_str("</div>");
            }
        }
        out.push_str(if floors { "</div></div>\n" } else { "</div>\n" });
    }
    out.push_str(
        "</div><p class=\"note\">A node's area is in proportion to the advertising events it sent, by the same measure on \
         every map here. A line is a pair of nodes, the darker the larger the share of the advertising events that \
         crossed it, on average of the directions over which anything did. On crowded maps only the links with the \
         largest share are drawn, of equals those with the strongest signal.",
    );
    if missing > 0 {
        let _ = write!(
            out,
            " {} not drawn, to keep this page small.",
            some(missing as u64, "more seed is", "more seeds are")
        );
    }
    out.push_str("</p></section>\n");
}

pub(super) fn one_message(out: &mut String, campaign: &Campaign, names: &[String]) {
    let (timelines, missing) = timeline::timelines(campaign, names);
    if timelines.is_empty() {
        return;
    }
    let _ = write!(
        out,
        "<section><h2>One message, step by step</h2><div class=\"scroll\">{}</div><div class=\"choice\" data-label=\"seed\">",
        timeline::legend()
    );
    for (seed, html) in &timelines {
        let _ = writeln!(
            out,
            "<div class=\"option\" data-name=\"{seed}\"><p class=\"title\">seed {seed}</p>{html}</div>"
        );
    }
    out.push_str(
        "</div><p class=\"note\">The first message of each run that needed the most hops: not a typical one, and not \
         the same one for each stack. Each timeline has a time axis of its own.",
    );
    if missing > 0 {
        let _ = write!(
            out,
            " Of {} none is drawn, to keep this page small.",
            some(missing as u64, "more run", "more runs")
        );
    }
    out.push_str("</p></section>\n");
}

/// Which mark is which stack.
fn legend(names: &[String]) -> String {
    let mut out = String::from("<p class=\"legend\">");
    for (place, name) in names.iter().enumerate() {
        let _ = write!(out, "<span>{}{}</span>", key(place), escape(name));
    }
    out.push_str("</p>");
    out
}

/// A table of spots from one of values; the function has the category, the stack and the value.
fn each<T>(table: &Table<T>, spot: impl Fn(usize, usize, &T) -> Option<Spot>) -> Table<Option<Spot>> {
    let row = |(stack, cells): (usize, &Vec<T>)| {
        cells.iter().enumerate().map(|(n, cell)| spot(n, stack, cell)).collect()
    };
    Table { categories: table.categories.clone(), cells: table.cells.iter().enumerate().map(row).collect() }
}
