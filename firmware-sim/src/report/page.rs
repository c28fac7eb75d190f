//! The page: one HTML file that needs nothing else, in light and dark.
//!
//! Owns its sections, in order, and what is said about each. What bad news there is stands first. Style and script are
//! files of their own and come into the page whole.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::charts::{self, Spot, Words};
use super::map::{self, key};
use super::series::{self, Table};
use super::summary::{Quantiles, StackSummary, summary};
use super::words::{
    DAGGER, NONE, count, escape, figure, list, maybe, maybe_percent, quantile, shorten, some, span,
};
use super::{FEW, tables, timeline};
use crate::results::Campaign;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// Bytes of the scenario's text that the page shows. A guess.
const SOURCE: usize = 100_000;
/// Characters of the description. A guess.
const DESCRIPTION: usize = 4_000;
/// Stacks that have a colour and a mark; a file of results may name any number.
const STACKS: usize = 5;

/// The campaign as one self-contained HTML page: no other file, no network. About 2 MB at most.
#[must_use]
pub fn html(campaign: &Campaign) -> String {
    let mut stacks = summary(campaign);
    let unknown = stacks.len().saturating_sub(STACKS);
    let kept;
    let campaign = if unknown > 0 {
        stacks.truncate(STACKS);
        let known: BTreeSet<&str> = stacks.iter().map(|stack| stack.stack.as_str()).collect();
        let mut fewer = campaign.clone();
        fewer.runs.retain(|run| known.contains(run.stack.as_str()));
        kept = fewer;
        &kept
    } else {
        campaign
    };
    let names: Vec<String> = stacks
        .iter()
        .map(|stack| if stack.stack == "mesh" { "mesh (ours)".to_owned() } else { shorten(&stack.stack, 20) })
        .collect();
    let mut out = head(campaign);
    title(&mut out, campaign, &stacks);
    if unknown > 0 {
        let _ = writeln!(out, "<p class=\"note\">{} more stacks are not shown.</p>", count(unknown as u64));
    }
    if stacks.is_empty() {
        out.push_str(
            "<section class=\"alert\"><h2>No runs</h2><p>There is nothing to report.</p></section>\n",
        );
    } else {
        news(&mut out, &stacks, &names);
        cards(&mut out, &stacks, &names);
        overview(&mut out, &stacks, &names);
        load(&mut out, campaign, &names);
        latency(&mut out, campaign, &stacks, &names);
        airtime(&mut out, &stacks, &names);
        place(&mut out, campaign, &names);
        one_message(&mut out, campaign, &names);
    }
    provenance(&mut out, campaign, &stacks, &names);
    let _ = write!(out, "</main>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n");
    out
}

fn head(campaign: &Campaign) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
         script-src 'unsafe-inline'\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{} – mesh-sim</title>\n<style>\n{STYLE}</style>\n\
         </head>\n<body>\n<main>\n",
        escape(&shorten(&campaign.scenario, 80))
    )
}

fn title(out: &mut String, campaign: &Campaign, stacks: &[StackSummary]) {
    let seeds: BTreeSet<u64> = campaign.runs.iter().map(|run| run.seed).collect();
    let seeds: Vec<u64> = seeds.into_iter().collect();
    let nodes = stacks.iter().map(|stack| stack.nodes).max().unwrap_or(0);
    let simulated = campaign.runs.iter().map(|run| run.simulated_ms).fold(0, u64::saturating_add);
    let _ = writeln!(
        out,
        "<header><p class=\"kicker\">mesh-sim report</p><h1>{}</h1><p class=\"lead\">{}</p><p class=\"facts\">\
         <span>{}</span><span>{}</span><span>seed {}</span><span>{}</span><span>{} simulated</span></p></header>",
        escape(&shorten(&campaign.scenario, 80)),
        escape(&shorten(&campaign.description, DESCRIPTION)),
        some(stacks.len() as u64, "stack", "stacks"),
        some(campaign.runs.len() as u64, "run", "runs"),
        list(&seeds),
        some(nodes as u64, "node", "nodes"),
        span(simulated)
    );
}

/// What went wrong, before anything else.
fn news(out: &mut String, stacks: &[StackSummary], names: &[String]) {
    let mut bad: Vec<String> = Vec::new();
    let seeds: BTreeSet<u64> = stacks.iter().flat_map(|stack| stack.seeds.iter().copied()).collect();
    for (place, (stack, name)) in stacks.iter().zip(names).enumerate() {
        let all = &stack.all;
        let mut said: Vec<String> = Vec::new();
        if all.offered == 0 {
            said.push("no message was offered".to_owned());
        }
        if all.refused > 0 {
            let mut whys: Vec<(&String, &u64)> = all.refusals.iter().collect();
            whys.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
            let more = if whys.len() > 5 { ", …" } else { "" };
            let whys: Vec<String> = whys
                .iter()
                .take(5)
                .map(|(why, n)| format!("{} {}", escape(&shorten(why, 60)), count(**n)))
                .collect();
            said.push(format!(
                "<b>{} refused</b> of {} offered ({}{more})",
                count(all.refused),
                count(all.offered),
                whys.join(", ")
            ));
        }
        if all.undelivered > 0 {
            said.push(format!("<b>{} lost</b> of {} sent", count(all.undelivered), count(all.sent)));
        }
        if all.partly > 0 {
            said.push(format!("<b>{}</b> to everyone reached only some", count(all.partly)));
        }
        if all.falsely_delivered() > 0 {
            said.push(format!(
                "<b>{} reported as delivered</b> that reached nobody",
                count(all.falsely_delivered())
            ));
        }
        let missing: Vec<u64> = seeds.iter().filter(|seed| !stack.seeds.contains(seed)).copied().collect();
        if !missing.is_empty() {
            said.push(format!("not run with seed {}: its figures are of other runs", list(&missing)));
        }
        if !said.is_empty() {
            bad.push(format!("<li>{}<b>{}</b>: {}</li>", key(place), escape(name), said.join("; ")));
        }
    }
    if bad.is_empty() {
        out.push_str(
            "<section class=\"fine\"><p>Every message that was offered was taken and reached all it was for.</p></section>\n",
        );
    } else {
        let _ = writeln!(
            out,
            "<section class=\"alert\"><h2>Refused, lost and doubtful</h2><ul>{}</ul></section>",
            bad.concat()
        );
    }
}

fn cards(out: &mut String, stacks: &[StackSummary], names: &[String]) {
    out.push_str("<div class=\"cards\">");
    for (place, (stack, name)) in stacks.iter().zip(names).enumerate() {
        let (all, latency) = (&stack.all, &stack.all.latency);
        let _ = write!(
            out,
            "<section class=\"card s{place}\"><h3>{}{}</h3><p class=\"big\">{}<small> % delivered</small></p>\
             <p class=\"of\">{} of {} offered messages arrived{}</p><dl>\
             <dt>latency p50</dt><dd>{} ms</dd><dt>latency p99</dt><dd>{} ms</dd><dt>airtime</dt><dd>{} µs/byte</dd>\
             <dt>events</dt><dd>{} per message</dd></dl></section>",
            key(place),
            escape(name),
            escape(&maybe_percent(all.delivery)),
            count(all.delivered),
            count(all.offered),
            if all.partly > 0 { format!(", {} in part", count(all.partly)) } else { String::new() },
            quantile(latency.p50_us, latency),
            quantile(latency.p99_us, latency),
            maybe(stack.airtime_us_per_byte),
            maybe(stack.events_per_message),
        );
    }
    out.push_str("</div>\n");
}

fn overview(out: &mut String, stacks: &[StackSummary], names: &[String]) {
    let _ = writeln!(
        out,
        "<section><h2>Summary</h2>{}<p class=\"note\">All seeds together. <i>Delivery</i>: the share of its receivers \
         that a message reached, on average and rounded down; of the offered ones, a refused one reached none. \
         <i>Arrived</i>: it reached all it was for; <i>lost</i>: taken by the stack, reached nobody. <i>Latency</i>, \
         <i>hops</i>: of the n that arrived, and only of those; percentiles by nearest rank, so that p99 of fewer than \
         100 is the largest. A message to everyone counts until the last node it reached, in rows of its own; the rows \
         of all leave it out of latency and hops where there are others. {DAGGER} fewer than {FEW} samples. \
         <i>Cost</i>: time on air and advertising events of all nodes, upkeep included, for each byte of a body and for \
         each message that arrived (at everyone: bytes once for each node; answers count too). Nodes relay for all \
         priorities, so cost has no rows by priority.</p>",
        tables::summary(stacks, names)
    );
    let _ = writeln!(
        out,
        "<details><summary>What senders were told, and what was true</summary>{}<p class=\"note\">A stack without \
         receipts tells nothing. A message of unknown fate may well have arrived.</p></details></section>",
        tables::told(stacks, names)
    );
}

fn load(out: &mut String, campaign: &Campaign, names: &[String]) {
    let (table, untimed) = series::by_load(campaign);
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
    let words = Words {
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
         together; where there are many loads, they are joined into ranges that hold about as many messages each. A \
         refused message has no time of its own and counts in the second of the last one that was taken before it. \
         Hollow: fewer than {FEW} messages.",
        legend(names),
        charts::categories(words, names, &spots, true)
    );
    if untimed > 0 {
        let _ = write!(
            out,
            " <b>{} messages are missing here</b>: in their runs none was taken, so that no time is known.",
            count(untimed)
        );
    }
    let cell = |n: usize, stack: usize| {
        let cell = table.cells.get(stack).and_then(|cells| cells.get(n)).copied().unwrap_or_default();
        vec![maybe_percent(cell.share()), count(cell.messages)]
    };
    let numbers =
        tables::numbers(("messages/s", &table.categories), names, &["delivery, %", "offered"], cell);
    let _ = writeln!(out, "</p>{numbers}</section>");
}

fn latency(out: &mut String, campaign: &Campaign, stacks: &[StackSummary], names: &[String]) {
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
    let words = Words { label: "Latency by hops", y: "latency, ms", x: "hops", rows: "messages arrived" };
    let _ = writeln!(
        out,
        "<h3>By hops</h3>{}{}<p class=\"note\">Of messages {whose}, by the hops they came: mark at the median, dash at the \
         99th percentile, logarithmic. Below, how many arrived. Hollow: fewer than {FEW}; such a percentile says \
         little.</p>{}",
        legend(names),
        charts::categories(words, names, &ranges(&hops, " hops"), false),
        numbers(&hops, "hops")
    );
    let priorities = series::by_priority(stacks);
    let words =
        Words { label: "Latency by priority", y: "latency, ms", x: "priority", rows: "messages arrived" };
    let _ = writeln!(
        out,
        "<h3>By priority</h3>{}{}<p class=\"note\">As above. Only ours knows priorities; for the others this shows the same \
         messages. Messages to everyone count until the last node they reached.</p>{}</section>",
        legend(names),
        charts::categories(words, names, &ranges(&priorities, ""), false),
        numbers(&priorities, "priority")
    );
}

fn airtime(out: &mut String, stacks: &[StackSummary], names: &[String]) {
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

fn place(out: &mut String, campaign: &Campaign, names: &[String]) {
    let (maps, missing) = map::maps(campaign, names);
    if maps.is_empty() {
        return;
    }
    let _ = write!(out, "<section><h2>Map</h2><div class=\"scroll\">{}</div>", map::legend(&maps, campaign));
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

fn one_message(out: &mut String, campaign: &Campaign, names: &[String]) {
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
        let _ = write!(
            out,
            "<div class=\"option\" data-name=\"{seed}\"><p class=\"title\">seed {seed}</p>{html}</div>\n"
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

fn provenance(out: &mut String, campaign: &Campaign, stacks: &[StackSummary], names: &[String]) {
    let source: String = campaign.source.chars().take(SOURCE).collect();
    let cut = if source.len() < campaign.source.len() { "\n…" } else { "" };
    let _ = writeln!(
        out,
        "<section><h2>Where this comes from</h2><p class=\"note\">A run with the same scenario, stack and seed has the \
         same trace: a hash over everything that happened on the air.</p><details><summary>Runs</summary>{}</details>\
         <details><summary>Counters</summary>{}</details>\
         <details><summary>The scenario</summary><pre>{}{cut}</pre></details></section>",
        tables::runs(campaign),
        tables::counters(stacks, names),
        if source.is_empty() { NONE.to_owned() } else { escape(&source) }
    );
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
