//! The page: one HTML file that needs nothing else, in light and dark.
//!
//! Owns its sections, in order, and the text of each. Losses come first. Style and script are
//! files of their own and come into the page whole.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::map::key;
use super::summary::{FEW, StackSummary, summary};
use super::words::{
    DAGGER, NONE, count, escape, maybe, maybe_percent, quantile, seeds as seeds_text, shorten, some, span,
};
use super::{plots, tables};
use crate::results::Campaign;
use crate::stack::StackKind;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// Characters of the scenario's text that the page shows. A guess.
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
        .map(|stack| {
            StackKind::named(&stack.stack)
                .map_or_else(|| shorten(&stack.stack, 20), |kind| kind.title().to_owned())
        })
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
        plots::load(&mut out, campaign, &names);
        plots::latency(&mut out, campaign, &stacks, &names);
        plots::airtime(&mut out, &stacks, &names);
        plots::place(&mut out, campaign, &names);
        plots::one_message(&mut out, campaign, &names);
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
        escape(&shorten(name(campaign), 80))
    )
}

fn name(campaign: &Campaign) -> &str {
    if campaign.scenario.is_empty() { "no name" } else { &campaign.scenario }
}

fn title(out: &mut String, campaign: &Campaign, stacks: &[StackSummary]) {
    let seeds: BTreeSet<u64> = campaign.runs.iter().map(|run| run.seed).collect();
    let seeds: Vec<u64> = seeds.into_iter().collect();
    let nodes = stacks.iter().map(|stack| stack.nodes).max().unwrap_or(0);
    let simulated = campaign.runs.iter().map(|run| run.simulated_ms).fold(0, u64::saturating_add);
    let _ = writeln!(
        out,
        "<header><p class=\"kicker\">mesh-sim report</p><h1>{}</h1><p class=\"lead\">{}</p><p class=\"facts\">\
         <span>{}</span><span>{}</span><span>{}</span><span>{}</span><span>{} simulated</span></p></header>",
        escape(&shorten(name(campaign), 80)),
        escape(&shorten(&campaign.description, DESCRIPTION)),
        some(stacks.len() as u64, "stack", "stacks"),
        some(campaign.runs.len() as u64, "run", "runs"),
        seeds_text(&seeds),
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
        if !all.silent() && all.reported("nothing") > 0 {
            said.push(format!("<b>{} without a report</b> to their senders", count(all.reported("nothing"))));
        }
        let missing: Vec<u64> = seeds.iter().filter(|seed| !stack.seeds.contains(seed)).copied().collect();
        if !missing.is_empty() {
            said.push(format!("not run with {}: its figures are of other runs", seeds_text(&missing)));
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
    out.push_str(if stacks.len() == 1 { "<div class=\"cards single\">" } else { "<div class=\"cards\">" });
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
        "<details><summary>What was reported to senders, and what was true</summary>{}<p class=\"note\">A stack without \
         receipts reports nothing. A message of unknown outcome may well have arrived.</p></details></section>",
        tables::reported(stacks, names)
    );
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
