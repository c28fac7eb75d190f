//! The maps: where nodes stand, how well they hear each other, how much they send.
//!
//! Owns which runs, links and names are drawn so that the page stays small, and states what is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::charts::WIDTH;
use super::summary::{by_stack, share};
use super::svg::{Anchor, Point, Shape, Svg, num, round_below};
use super::words::{count, escape, figure, percent, shorten, some};
use crate::results::{Campaign, NodeResult, RunResult};

/// Nodes on all maps together. One takes up to 200 bytes, and the page is to stay below 2 MB.
const NODES: usize = 5_000;
/// Links on all maps together; one takes about 20 bytes.
const LINKS: usize = 20_000;
/// Links on the maps of one run: more cannot be distinguished. A guess.
const LINKS_EACH: usize = 4_000;
/// Names on one map; the others are shown when a node is pointed at. A guess.
const NAMES: usize = 40;
/// The radius of the busiest node where there is room, and of the smallest, in units of the drawing. A guess.
const RADIUS: (f64, f64) = (11.0, 1.6);
/// Around what is drawn.
const MARGIN: f64 = 26.0;

/// The maps of one seed.
#[derive(Debug)]
pub(super) struct Maps {
    /// The seed.
    pub(super) seed: u64,
    /// For each floor its number and the HTML of its maps, one for each stack.
    pub(super) floors: Vec<(u32, String)>,
}

/// How large nodes are: one measure for all maps, so that sizes can be compared.
#[derive(Clone, Copy, Debug)]
struct Measure {
    /// Events of the busiest node.
    busiest: u64,
    /// Its radius.
    largest: f64,
}

impl Measure {
    fn radius(&self, sent: u64) -> f64 {
        let share = if self.busiest == 0 { 0.0 } else { sent as f64 / self.busiest as f64 };
        (self.largest * share.sqrt()).max(RADIUS.1)
    }
}

/// All maps, what their sizes and lines mean, and how many seeds have none.
pub(super) fn maps(campaign: &Campaign, names: &[String]) -> (Vec<Maps>, String, usize) {
    let stacks = by_stack(campaign);
    let mut seeds: BTreeMap<u64, Vec<(usize, &RunResult)>> = BTreeMap::new();
    for (place, (_, runs)) in stacks.iter().enumerate() {
        for run in runs.iter().filter(|run| !run.nodes.is_empty()) {
            seeds.entry(run.seed).or_default().push((place, run));
        }
    }
    let all = seeds.len();
    let mut nodes = 0;
    let shown: Vec<_> = seeds
        .into_iter()
        .enumerate()
        .take_while(|(n, (_, runs))| {
            nodes += runs.iter().map(|(_, run)| run.nodes.len()).sum::<usize>();
            *n == 0 || nodes <= NODES
        })
        .map(|(_, seed)| seed)
        .collect();
    let runs = shown.iter().map(|(_, runs)| runs.len()).sum::<usize>();
    let links = LINKS_EACH.min(LINKS / runs.max(1));
    let frames: Vec<Frame> = shown
        .iter()
        .map(|(_, runs)| Frame::new(runs.iter().flat_map(|(_, run)| &run.nodes), runs.len()))
        .collect();
    let runs_shown =
        || shown.iter().zip(&frames).flat_map(|((_, runs), frame)| runs.iter().map(move |r| (r.1, frame)));
    let measure = Measure {
        busiest: runs_shown().flat_map(|(run, _)| &run.nodes).map(|node| node.sent).max().unwrap_or(0),
        largest: runs_shown()
            .map(|(run, frame)| frame.room(run))
            .fold(RADIUS.0, f64::min)
            .max(2.0 * RADIUS.1),
    };
    let maps: Vec<Maps> = shown
        .iter()
        .zip(&frames)
        .map(|((seed, runs), frame)| seed_maps(*seed, runs, names, links, frame, measure))
        .collect();
    let missing = all - maps.len();
    (maps, legend(measure), missing)
}

fn legend(measure: Measure) -> String {
    let mut svg = Svg::new(1000.0, 34.0, "Legend of the maps");
    let mut x = 4.0;
    svg.text("tick", (x, 21.0), Anchor::Start, "advertising events sent");
    x += 152.0;
    for part in [measure.busiest / 16, measure.busiest / 4, measure.busiest] {
        svg.circle("dot", (x + 10.0, 17.0), measure.radius(part), "");
        svg.text("tick", (x + 26.0, 21.0), Anchor::Start, &count(part));
        x += 44.0 + 7.0 * count(part).len() as f64;
    }
    x += 14.0;
    svg.text("tick", (x, 21.0), Anchor::Start, "events heard");
    x += 84.0;
    for (class, name) in [("k2", "≤ 20 %"), ("k5", "≤ 50 %"), ("k10", "≤ 100 %")] {
        svg.line(&format!("link {class}"), (x, 17.0), (x + 26.0, 17.0));
        svg.text("tick", (x + 32.0, 21.0), Anchor::Start, name);
        x += 88.0;
    }
    svg.circle("dot missed", (x + 14.0, 17.0), 6.0, "");
    svg.text("tick", (x + 28.0, 21.0), Anchor::Start, "a message to it was lost");
    svg.finish()
}

/// Where metres lie on a map.
#[derive(Clone, Copy, Debug)]
struct Frame {
    width: f64,
    height: f64,
    /// Units for a metre.
    unit: f64,
    west: f64,
    north: f64,
    /// Where the western and the northern end lie.
    origin: Point,
}

impl Frame {
    /// For all of these nodes; `columns` maps stand side by side, unless the maps are long and narrow.
    fn new<'a>(nodes: impl Iterator<Item = &'a NodeResult>, columns: usize) -> Self {
        let mut ends: Option<[f64; 4]> = None;
        for (x, y) in nodes.map(place) {
            let [west, east, south, north] = ends.unwrap_or([x, x, y, y]);
            ends = Some([west.min(x), east.max(x), south.min(y), north.max(y)]);
        }
        let [west, east, south, north] = ends.unwrap_or_default();
        let (wide, high) = ((east - west).max(1.0), (north - south).max(1.0));
        // Long and narrow: one below the other.
        let columns = if wide > 3.0 * high { 1 } else { columns.clamp(1, 3) };
        let width = match columns {
            1 => WIDTH,
            2 => 560.0,
            _ => 368.0,
        };
        let tallest = if columns == 1 { 620.0 } else { width * 1.25 };
        let inner = width - 2.0 * MARGIN;
        let unit = (inner / wide).min((tallest - 2.0 * MARGIN) / high);
        // Room for a name below a single row of nodes, and below all for the scale.
        let height = (high * unit + 2.0 * MARGIN).max(90.0) + 24.0;
        let origin = ((width - wide * unit) / 2.0, (height - 24.0 - high * unit) / 2.0);
        Self { width, height, unit, west, north, origin }
    }

    /// The radius that leaves neighbours apart on the fullest floor of a run, were they spread evenly.
    fn room(&self, run: &RunResult) -> f64 {
        let mut floors: BTreeMap<u32, f64> = BTreeMap::new();
        for node in &run.nodes {
            *floors.entry(node.floor).or_default() += 1.0;
        }
        let most = floors.into_values().fold(1.0, f64::max);
        let area = (self.width - 2.0 * MARGIN) * (self.height - 2.0 * MARGIN).max(MARGIN);
        0.4 * (area / most).sqrt()
    }

    fn at(&self, node: &NodeResult) -> Point {
        let (x, y) = place(node);
        (self.origin.0 + (x - self.west) * self.unit, self.origin.1 + (self.north - y) * self.unit)
    }
}

/// A node's place; the origin for one that is nowhere.
fn place(node: &NodeResult) -> Point {
    // Farther away than any radio, and a map of it would have no room for the rest.
    const FAR: f64 = 1e7;
    let coordinate = |value: f64| if value.is_finite() { value.clamp(-FAR, FAR) } else { 0.0 };
    (coordinate(node.x), coordinate(node.y))
}

/// A pair of nodes that hear each other.
#[derive(Clone, Copy, Debug)]
struct Pair {
    ends: (usize, usize),
    /// Sum over the directions over which anything was heard, and how many those are.
    delivery: f64,
    directions: u32,
    rssi: f64,
}

impl Pair {
    fn mean(&self) -> f64 {
        self.delivery / f64::from(self.directions.max(1))
    }
}

fn pairs(run: &RunResult) -> Vec<Pair> {
    let mut pairs: BTreeMap<(usize, usize), Pair> = BTreeMap::new();
    for link in &run.links {
        let (from, to) = (link.from as usize, link.to as usize);
        if from == to || from.max(to) >= run.nodes.len() || !link.delivery.is_finite() {
            continue;
        }
        let ends = (from.min(to), from.max(to));
        let pair =
            pairs.entry(ends).or_insert(Pair { ends, delivery: 0.0, directions: 0, rssi: f64::NEG_INFINITY });
        pair.delivery += link.delivery.clamp(0.0, 1.0);
        pair.directions += 1;
        pair.rssi = pair.rssi.max(link.rssi);
    }
    let mut pairs: Vec<Pair> = pairs.into_values().collect();
    pairs.sort_by(|a, b| {
        b.mean().total_cmp(&a.mean()).then(b.rssi.total_cmp(&a.rssi)).then(a.ends.cmp(&b.ends))
    });
    pairs
}

fn seed_maps(
    seed: u64,
    runs: &[(usize, &RunResult)],
    names: &[String],
    most: usize,
    frame: &Frame,
    measure: Measure,
) -> Maps {
    let floors: BTreeSet<u32> = runs.iter().flat_map(|(_, run)| &run.nodes).map(|node| node.floor).collect();
    let mut html: Vec<(u32, String)> = floors.iter().map(|floor| (*floor, String::new())).collect();
    for (place, run) in runs {
        let all = pairs(run);
        let floor = |node: usize| run.nodes[node].floor;
        let (level, between): (Vec<Pair>, Vec<Pair>) =
            all.into_iter().partition(|pair| floor(pair.ends.0) == floor(pair.ends.1));
        let drawn = &level[..level.len().min(most)];
        let name = names.get(*place).map_or("", String::as_str);
        for (number, out) in &mut html {
            let here = |pairs: &[Pair]| {
                pairs.iter().filter(|pair| floor(pair.ends.0) == *number).copied().collect::<Vec<_>>()
            };
            let (links, wanted) = (here(drawn), here(&level).len());
            let mut caption = format!("{} drawn", some(links.len() as u64, "link", "links"));
            if links.len() < wanted {
                let _ = write!(caption, " of {}, the strongest", count(wanted as u64));
            }
            let leaving =
                between.iter().filter(|p| floor(p.ends.0) == *number || floor(p.ends.1) == *number).count();
            if leaving > 0 {
                let _ = write!(caption, "; {} to other floors are not", count(leaving as u64));
            }
            let svg = draw(run, frame, *number, &links, measure, &format!("Map, {name}, seed {seed}"));
            let _ = write!(
                out,
                "<figure class=\"map s{}\"><figcaption>{}<b>{}</b> <span>{caption}</span></figcaption>{svg}</figure>",
                (*place).min(4),
                key(*place),
                escape(name),
            );
        }
    }
    for (_, out) in &mut html {
        let columns = if frame.width < 400.0 {
            3
        } else if frame.width < 600.0 {
            2
        } else {
            1
        };
        *out = format!("<div class=\"maps m{columns}\">{out}</div>\n");
    }
    Maps { seed, floors: html }
}

/// A stack's mark for a line of text.
pub(super) fn key(place: usize) -> String {
    let mut svg = Svg::new(14.0, 14.0, "");
    svg.group(&format!("s{}", place.min(4)));
    svg.mark(Shape::of(place), "full", (7.0, 7.0), 5.0, "");
    svg.end();
    svg.finish().trim_end().replace("role=\"img\" aria-label=\"\"", "aria-hidden=\"true\"")
}

fn draw(run: &RunResult, frame: &Frame, floor: u32, links: &[Pair], measure: Measure, label: &str) -> String {
    let mut svg = Svg::new(frame.width, frame.height, label);
    // One path for each tenth of delivery: thousands of links, ten elements.
    let mut paths: BTreeMap<usize, String> = BTreeMap::new();
    for pair in links {
        let [(x1, y1), (x2, y2)] = [pair.ends.0, pair.ends.1].map(|node| frame.at(&run.nodes[node]));
        let tenth = ((pair.mean() * 10.0 - 1e-9).ceil() as usize).clamp(1, 10);
        let [x1, y1, x2, y2] = [x1, y1, x2, y2].map(num);
        let _ = write!(paths.entry(tenth).or_default(), "M{x1} {y1}L{x2} {y2}");
    }
    for (tenth, d) in paths {
        svg.path(&format!("link k{tenth}"), &d, "");
    }
    let mut lost: BTreeMap<usize, (u64, u64)> = BTreeMap::new();
    let mut refused: BTreeMap<usize, u64> = BTreeMap::new();
    for message in &run.messages {
        if message.sent_us.is_none() {
            *refused.entry(message.from as usize).or_default() += 1;
        } else if let Some(to) = message.to {
            let (missed, all) = lost.entry(to as usize).or_default();
            *missed += u64::from(share(message) == 0.0);
            *all += 1;
        }
    }
    let mut here: Vec<(usize, &NodeResult)> =
        run.nodes.iter().enumerate().filter(|(_, node)| node.floor == floor).collect();
    // Large ones first, so that none covers a smaller one.
    here.sort_by(|a, b| b.1.sent.cmp(&a.1.sent).then(a.0.cmp(&b.0)));
    svg.group("nodes");
    for (number, node) in &here {
        let mut tip = format!("node {number}");
        if !node.name.is_empty() {
            let _ = write!(tip, " “{}”", shorten(&node.name, 40));
        }
        let (x, y) = place(node);
        let _ = write!(
            tip,
            " at {} m, {} m\n{} events sent, on the air {} % of its time\n{} frames heard",
            num(x),
            num(y),
            count(node.sent),
            percent(node.airtime),
            count(node.heard)
        );
        let (missed, all) = lost.get(number).copied().unwrap_or_default();
        if missed > 0 {
            let _ = write!(tip, "\n{} of {} messages to it were lost", count(missed), count(all));
        }
        if let Some(refused) = refused.get(number) {
            let _ = write!(tip, "\n{} of its own were refused", count(*refused));
        }
        let class = if missed > 0 { "missed" } else { "" };
        svg.circle(class, frame.at(node), measure.radius(node.sent), &tip);
    }
    svg.end();
    here.sort_by_key(|(number, _)| *number);
    label_nodes(&mut svg, frame, &here, measure);
    scale_bar(&mut svg, frame);
    svg.finish()
}

/// Names beside nodes, wherever there is room; in a small mesh all have at least their number.
fn label_nodes(svg: &mut Svg, frame: &Frame, here: &[(usize, &NodeResult)], measure: Measure) {
    const CHARACTER: f64 = 6.2; // of the style sheet's 11 px, on average
    let numbers = here.len() <= NAMES;
    let mut taken: Vec<[f64; 4]> = here
        .iter()
        .map(|(_, node)| {
            let ((x, y), r) = (frame.at(node), measure.radius(node.sent));
            [x - r, y - r, x + r, y + r]
        })
        .collect();
    let named = here.iter().filter(|(_, node)| numbers || !node.name.is_empty()).take(NAMES);
    for (number, node) in named {
        let name = if node.name.is_empty() { number.to_string() } else { shorten(&node.name, 18) };
        let ((x, y), r) = (frame.at(node), measure.radius(node.sent) + 3.0);
        let wide = CHARACTER * name.chars().count() as f64;
        let places = [
            (x, y - r - 2.0, Anchor::Middle),
            (x, y + r + 9.0, Anchor::Middle),
            (x + r, y + 4.0, Anchor::Start),
            (x - r, y + 4.0, Anchor::End),
        ];
        for (x, y, anchor) in places {
            let left = match anchor {
                Anchor::Start => x,
                Anchor::Middle => x - wide / 2.0,
                Anchor::End => x - wide,
            };
            let [west, north, east, south] = [left, y - 9.0, left + wide, y + 2.0];
            let outside =
                west < 2.0 || north < 0.0 || east > frame.width - 2.0 || south > frame.height - 26.0;
            if outside || taken.iter().any(|t| west < t[2] && t[0] < east && north < t[3] && t[1] < south) {
                continue;
            }
            svg.text("label", (x, y), anchor, &name);
            taken.push([west, north, east, south]);
            break;
        }
    }
}

/// How long some round number of metres is.
fn scale_bar(svg: &mut Svg, frame: &Frame) {
    let metres = round_below(frame.width / frame.unit / 4.0);
    let (x, y) = (12.0, frame.height - 10.0);
    let end = x + metres * frame.unit;
    svg.line("scale", (x, y), (end, y));
    svg.line("scale", (x, y - 4.0), (x, y + 4.0));
    svg.line("scale", (end, y - 4.0), (end, y + 4.0));
    let metres = if metres >= 1.0 { count(metres.round() as u64) } else { figure(metres) };
    svg.text("tick", (end + 8.0, y + 4.0), Anchor::Start, &format!("{metres} m"));
}
