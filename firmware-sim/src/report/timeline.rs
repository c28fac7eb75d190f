//! One message, step by step: which node did what when.
//!
//! Owns how the steps of a run's timeline are drawn and which of them, where they are too many. The run chooses the
//! message.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::charts::{WIDTH, tick};
use super::map::key;
use super::summary::by_stack;
use super::svg::{Anchor, Point, Scale, Shape, Svg};
use super::words::{count, escape, figure, shorten};
use crate::results::{Campaign, RunResult, TimelineStep};

/// Timelines on the page; one takes up to 100 kB.
const TIMELINES: usize = 9;
/// Lanes of one: what a screen holds. A guess.
const LANES: usize = 30;
/// Steps drawn of one: more cannot be distinguished. A guess.
const STEPS: usize = 500;
/// Steps of one in words. A guess.
const ROWS: usize = 60;
/// From one lane to the next.
const LANE: f64 = 20.0;
const LEFT: f64 = 150.0;
const TOP: f64 = 10.0;

/// Kinds of steps, in the order in which they are drawn, the later above: name, shape and size.
const KINDS: [(&str, Shape, f64); 5] = [
    ("heard", Shape::Circle, 3.2),
    ("sent", Shape::Triangle, 4.6),
    ("posted", Shape::Diamond, 5.4),
    ("delivered", Shape::Square, 5.6),
    ("settled", Shape::Cross, 6.0),
];

/// For each seed the timelines of its runs, as HTML, and how many runs' timelines are missing.
pub(super) fn timelines(campaign: &Campaign, names: &[String]) -> (Vec<(u64, String)>, usize) {
    let mut seeds: BTreeMap<u64, Vec<(usize, &RunResult)>> = BTreeMap::new();
    for (place, (_, runs)) in by_stack(campaign).iter().enumerate() {
        for run in runs.iter().filter(|run| !run.timeline.is_empty()) {
            seeds.entry(run.seed).or_default().push((place, run));
        }
    }
    let (mut out, mut drawn, mut missing) = (Vec::new(), 0, 0);
    for (seed, runs) in seeds {
        if drawn > 0 && drawn + runs.len() > TIMELINES {
            missing += runs.len();
            continue;
        }
        drawn += runs.len();
        let mut html = String::new();
        for (place, run) in runs {
            one(&mut html, place, names.get(place).map_or("", String::as_str), run);
        }
        out.push((seed, html));
    }
    (out, missing)
}

/// What the marks mean.
pub(super) fn legend() -> String {
    let mut svg = Svg::new(560.0, 24.0, "Legend of the timelines");
    for (n, (name, shape, size)) in KINDS.iter().enumerate() {
        let x = 12.0 + 96.0 * n as f64;
        svg.mark(*shape, &format!("w{n}"), (x, 12.0), *size, "");
        svg.text("tick", (x + 12.0, 16.0), Anchor::Start, name);
    }
    svg.finish()
}

fn kind(step: &TimelineStep) -> usize {
    KINDS.iter().position(|(name, ..)| *name == step.what).unwrap_or(KINDS.len())
}

/// The lanes of a timeline: nodes that do more than hear and relay, then the first ones; in order of appearance.
fn lanes(steps: &[&TimelineStep]) -> (Vec<u32>, usize) {
    let mut order: Vec<u32> = Vec::new();
    let mut seen = BTreeSet::new();
    for step in steps {
        if seen.insert(step.node) {
            order.push(step.node);
        }
    }
    let mut wanted: BTreeSet<u32> =
        steps.iter().filter(|step| kind(step) >= 2).map(|step| step.node).take(LANES).collect();
    for node in &order {
        if wanted.len() >= LANES {
            break;
        }
        wanted.insert(*node);
    }
    let all = order.len();
    order.retain(|node| wanted.contains(node));
    let missing = all - order.len();
    (order, missing)
}

fn node_name(run: &RunResult, node: u32, most: usize) -> String {
    let name = run.nodes.get(node as usize).map_or("", |node| node.name.as_str());
    if name.is_empty() { format!("node {node}") } else { shorten(&format!("{node} {name}"), most) }
}

fn one(out: &mut String, place: usize, name: &str, run: &RunResult) {
    let mut steps: Vec<&TimelineStep> = run.timeline.iter().collect();
    steps.sort_by_key(|step| step.at_us);
    let start = steps.first().map_or(0, |step| step.at_us);
    let since = |step: &TimelineStep| (step.at_us - start) as f64 / 1e3;
    let end = steps.last().map_or(0.0, |step| since(step));
    let (lanes, hidden) = lanes(&steps);
    let lane: BTreeMap<u32, usize> = lanes.iter().enumerate().map(|(n, node)| (*node, n)).collect();

    let bottom = TOP + LANE * lanes.len() as f64;
    let label = format!("Timeline of a message, {name}, seed {}", run.seed);
    let mut svg = Svg::new(WIDTH, bottom + 44.0, &label);
    let x = Scale::linear(end, LEFT, WIDTH - 30.0);
    for value in x.ticks() {
        svg.line("grid", (x.at(value), TOP), (x.at(value), bottom));
        svg.text("tick", (x.at(value), bottom + 18.0), Anchor::Middle, &tick(value));
    }
    svg.text("axis", (WIDTH - 30.0, bottom + 38.0), Anchor::End, "ms since the first step");
    let y = |n: usize| TOP + LANE * (n as f64 + 0.5);
    for (n, node) in lanes.iter().enumerate() {
        svg.line("lane", (LEFT, y(n)), (WIDTH - 30.0, y(n)));
        svg.text("tick", (LEFT - 10.0, y(n) + 4.0), Anchor::End, &node_name(run, *node, 20));
    }
    // A step that is not drawn is one of the frequent kinds.
    let visible: Vec<(&TimelineStep, Point)> = steps
        .iter()
        .filter_map(|step| lane.get(&step.node).map(|n| (*step, (x.at(since(step)), y(*n)))))
        .collect();
    let rare = visible.iter().filter(|(step, _)| kind(step) >= 2).count();
    let mut common = STEPS.saturating_sub(rare);
    let kept: Vec<_> = visible
        .into_iter()
        .filter(|(step, _)| {
            let keep = kind(step) >= 2 || common > 0;
            common -= usize::from(kind(step) < 2 && common > 0);
            keep
        })
        .take(2 * STEPS)
        .collect();
    for level in 0..=KINDS.len() {
        for (step, at) in kept.iter().filter(|(step, _)| kind(step) == level) {
            let (_, shape, size) = KINDS.get(level).copied().unwrap_or(("", Shape::Circle, 3.0));
            let mut tip =
                format!("{} ms: {}, {}", figure(since(step)), node_name(run, step.node, 40), step.what);
            if !step.detail.is_empty() {
                let _ = write!(tip, "\n{}", shorten(&step.detail, 80));
            }
            svg.mark(shape, &format!("w{level}"), *at, size, &tip);
        }
    }
    let mut missing = String::new();
    if hidden > 0 {
        let _ = write!(missing, "; {} more nodes took part and have no lane", count(hidden as u64));
    }
    if kept.len() < steps.len() {
        let _ = write!(missing, "; {} steps are not drawn", count((steps.len() - kept.len()) as u64));
    }
    let _ = write!(
        out,
        "<figure class=\"wide s{}\"><figcaption>{}<b>{}</b> <span>{} steps over {} ms{missing}</span></figcaption>{}",
        place.min(4),
        key(place),
        escape(name),
        count(steps.len() as u64),
        figure(end),
        svg.finish()
    );
    words(out, run, &steps, start);
    out.push_str("</figure>\n");
}

/// The same in words.
fn words(out: &mut String, run: &RunResult, steps: &[&TimelineStep], start: u64) {
    out.push_str(
        "<details><summary>The steps in words</summary><div class=\"scroll\"><table class=\"left\">\
         <tr><th>ms</th><th>node</th><th>what</th><th>more</th></tr>",
    );
    for step in steps.iter().take(ROWS) {
        let _ = write!(
            out,
            "<tr><td class=\"n\">{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            figure((step.at_us - start) as f64 / 1e3),
            escape(&node_name(run, step.node, 40)),
            escape(&shorten(&step.what, 40)),
            escape(&shorten(&step.detail, 80))
        );
    }
    out.push_str("</table></div>");
    if steps.len() > ROWS {
        let _ = write!(out, "<p class=\"note\">The first {ROWS} of {}.</p>", count(steps.len() as u64));
    }
    out.push_str("</details>");
}
